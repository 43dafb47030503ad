"""Nuclei as tables: what is written is what was measured, whole or not at all."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from scope_sr.enhance import tables
from scope_sr.enhance.measure import COLUMNS, Measured, Nucleus, measured
from scope_sr.imaging.nuclei import components
from scope_sr.specimen.tissue_array import patients, read_pieces

UM = 0.25
Write = Callable[[Path, Iterator[Measured]], None]
WRITERS: dict[str, Write] = {
    "csv": tables.write_csv,
    "parquet": tables.write_parquet,
    "geojson": lambda path, nuclei: tables.write_geojson(path, nuclei, "slide"),
}


@pytest.fixture(scope="module")
def nuclei() -> list[Measured]:
    """Give the nuclei of a piece of real tissue."""
    piece = read_pieces(patients()[0].patient)[0]
    found = measured(components(piece.labels), piece.image, UM)
    assert len(found) > 20
    return found


def test_csv_holds_each_nucleus_in_a_line(tmp_path: Path, nuclei: list[Measured]) -> None:
    tables.write_csv(tmp_path / "n.csv", iter(nuclei))
    with (tmp_path / "n.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(nuclei)
    for row, (nucleus, _) in zip(rows, nuclei, strict=True):
        for name, value in zip(COLUMNS, astuple(nucleus), strict=True):
            assert float(row[name]) == pytest.approx(float(value), abs=5.1e-5)
    assert b"\r" not in (tmp_path / "n.csv").read_bytes()


def test_parquet_holds_the_same_unrounded(
    tmp_path: Path, nuclei: list[Measured], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP", 7)
    tables.write_parquet(tmp_path / "n.parquet", iter(nuclei))
    assert pq.ParquetFile(tmp_path / "n.parquet").num_row_groups == -(-len(nuclei) // 7)
    rows = pq.read_table(tmp_path / "n.parquet").to_pylist()
    assert [Nucleus(**row) for row in rows] == [nucleus for nucleus, _ in nuclei]


def test_an_empty_parquet_keeps_its_columns(tmp_path: Path) -> None:
    tables.write_parquet(tmp_path / "n.parquet", iter([]))
    table = pq.read_table(tmp_path / "n.parquet")
    assert tuple(table.column_names) == COLUMNS
    assert [str(kind) for kind in table.schema.types] == ["int64", *["double"] * 8, "bool"]


def test_geojson_holds_outlines_of_the_areas_measured(
    tmp_path: Path, nuclei: list[Measured]
) -> None:
    tables.write_geojson(tmp_path / "n.geojson", iter(nuclei), "slide <1>")
    found = json.loads((tmp_path / "n.geojson").read_text(encoding="utf-8"))
    assert found["type"] == "FeatureCollection"
    assert len({feature["id"] for feature in found["features"]}) == len(nuclei)
    for feature, (nucleus, _) in zip(found["features"], nuclei, strict=True):
        assert feature["type"] == "Feature"
        assert feature["geometry"]["type"] == "Polygon"
        assert feature["properties"]["objectType"] == "detection"
        (ring,) = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        x, y = np.array(ring).T
        area = abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2 * UM**2
        assert area == pytest.approx(nucleus.area_um2, rel=0.05, abs=UM**2)
        assert x.min() <= nucleus.x_um / UM <= x.max()
        assert y.min() <= nucleus.y_um / UM <= y.max()
        values = feature["properties"]["measurements"]
        assert values["area_um2"] == round(nucleus.area_um2, 4)
        assert values["on_edge"] == int(nucleus.on_edge)
        assert all(type(value) in (int, float) for value in values.values())  # QuPath takes no bool


def test_a_nucleus_keeps_its_identity_and_pictures_have_their_own(
    tmp_path: Path, nuclei: list[Measured]
) -> None:
    ids = {}
    for run, name in enumerate(("a", "a", "b")):
        path = tmp_path / f"{run}.geojson"
        tables.write_geojson(path, iter(nuclei), name)
        ids[run] = [f["id"] for f in json.loads(path.read_text(encoding="utf-8"))["features"]]
    assert ids[0] == ids[1]
    assert not set(ids[0]) & set(ids[2])


@pytest.mark.parametrize("ending", WRITERS)
def test_the_same_nuclei_give_the_same_bytes(
    ending: str, tmp_path: Path, nuclei: list[Measured]
) -> None:
    for name in "ab":
        WRITERS[ending](tmp_path / name, iter(nuclei))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("ending", WRITERS)
def test_a_table_cut_off_leaves_what_was_there(
    ending: str, tmp_path: Path, nuclei: list[Measured]
) -> None:
    path = tmp_path / f"n.{ending}"
    path.write_bytes(b"of an earlier run")

    def cut_off() -> Iterator[Measured]:
        yield from nuclei[:5]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        WRITERS[ending](path, cut_off())
    assert path.read_bytes() == b"of an earlier run"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("ending", WRITERS)
def test_nuclei_are_taken_as_they_come(ending: str, tmp_path: Path, nuclei: list[Measured]) -> None:
    alive: list[int] = []

    class Counting(Nucleus):
        def __del__(self) -> None:
            alive.remove(id(self))

    def many() -> Iterator[Measured]:
        for _ in range(50):
            for nucleus, outline in nuclei[:20]:
                one = Counting(*astuple(nucleus))
                alive.append(id(one))
                assert len(alive) < 10
                yield one, outline
                del one

    WRITERS[ending](tmp_path / "n", many())
    assert not alive
