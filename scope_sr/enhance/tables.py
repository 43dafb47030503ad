"""Nuclei as tables: CSV for people and spreadsheets, Parquet for programs, GeoJSON for QuPath.

Nuclei are taken one after the other: a slide has a million, and more than memory may hold.
"""

from __future__ import annotations

import csv
import json
import uuid
from collections.abc import Iterable
from dataclasses import astuple
from itertools import islice
from pathlib import Path
from typing import Any

from scope_sr.disk import whole
from scope_sr.enhance.measure import COLUMNS, Measured, Nucleus, Outline

DECIMALS = 4
ROW_GROUP = 65_536
SPACE = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")  # the same nucleus keeps its name
PLACES = ("id", "x_um", "y_um")  # not measurements


def write_csv(path: Path, nuclei: Iterable[Measured]) -> None:
    """Write a line for each nucleus, after one with the names of the columns.

    Numbers have four decimals; `on_edge` is 0 or 1.

    Raises
    ------
    OSError
        The system refused; nothing stands under `path`. So it is with the other tables.
    """
    with whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(_rounded(nucleus).values() for nucleus, _ in nuclei)


def write_parquet(path: Path, nuclei: Iterable[Measured]) -> None:
    """Write the same table for pandas, polars, R and DuckDB, nothing rounded."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"id": pa.int64(), "on_edge": pa.bool_()}
    schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in COLUMNS])
    rows = (astuple(nucleus) for nucleus, _ in nuclei)
    with whole(path) as part, pq.ParquetWriter(part, schema) as file:
        while group := list(islice(rows, ROW_GROUP)):
            columns = zip(*group, strict=True)
            arrays = [pa.array(c, kind) for c, kind in zip(columns, schema.types, strict=True)]
            file.write_table(pa.table(arrays, schema=schema))


def write_geojson(path: Path, nuclei: Iterable[Measured], name: str) -> None:
    """Write outlines as detections that QuPath imports, in pixels of the picture `name`."""
    with whole(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"type":"FeatureCollection","features":[')
        for number, (nucleus, outline) in enumerate(nuclei):
            file.write(",\n" if number else "\n")
            file.write(json.dumps(_feature(nucleus, outline, name), separators=(",", ":")))
        file.write("\n]}\n")


def _feature(nucleus: Nucleus, outline: Outline, name: str) -> dict[str, Any]:
    measurements = {key: value for key, value in _rounded(nucleus).items() if key not in PLACES}
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(SPACE, f"{name}/{nucleus.id}")),
        "geometry": {"type": "Polygon", "coordinates": [outline.tolist()]},
        "properties": {
            "objectType": "detection",
            "name": f"nucleus {nucleus.id}",
            "measurements": measurements,
        },
    }


def _rounded(nucleus: Nucleus) -> dict[str, int | float]:
    """Name the values as they are written for people; of yes and no, 1 and 0.

    >>> _rounded(Nucleus(7, 2.0, 3.0, 40.0, 22.5, 0.5, 0.97, 30.0, 0.41234567, True))
    {'id': 7, 'x_um': 2.0, 'y_um': 3.0, 'area_um2': 40.0, 'perimeter_um': 22.5,
     'eccentricity': 0.5, 'solidity': 0.97, 'orientation_deg': 30.0, 'haematoxylin_od': 0.4123,
     'on_edge': 1}
    """
    values = zip(COLUMNS, astuple(nucleus), strict=True)
    return {
        name: round(value, DECIMALS) if isinstance(value, float) else int(value)
        for name, value in values
    }
