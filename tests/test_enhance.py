"""``scope-sr enhance`` from input to page: what comes out, and that nothing stops it for good."""

from __future__ import annotations

import csv
import errno
import json
import os
import pickle
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rigs import make_rig
from sessions import tree
from test_mosaic import low_session

from scope_sr import disk
from scope_sr.calibration import CalibrationRecord
from scope_sr.engine import Engine, chosen
from scope_sr.enhance import Asked, enhance, enlarging, making, run
from scope_sr.enhance import ranks as joining
from scope_sr.enhance.mosaic import laid_out
from scope_sr.enhance.ranks import Ranks
from scope_sr.errors import InputError, ScopeSRError
from scope_sr.imaging.fidelity import disagreement
from scope_sr.session import Session
from scope_sr.software import NOTICE
from scope_sr.specimen.tissue_array import patients, read_pieces

pytestmark = pytest.mark.xdist_group("enhance")
SHAPE = (100, 140)
WINDOW_PX, BLOCK_PX = 80, 128  # small, so that a small picture is divided, too
ENDINGS = (
    "sr.ome.tif", "fidelity.ome.tif", "labels.ome.tif",
    "nuclei.csv", "nuclei.parquet", "nuclei.geojson", "overlay.png",
)  # fmt: skip
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@cache
def engine(model: str) -> Engine:
    """Open a model once; what it made of the same pixels it need not make again."""
    found, known = chosen(model, "cpu"), {}
    compute = found.runtime.run

    def remembered(pictures: np.ndarray) -> np.ndarray:
        key = (pictures.shape, pictures.tobytes())
        if key not in known:
            known[key] = compute(pictures)
        return known[key]

    found.runtime = replace(found.runtime, run=remembered)
    return found


@cache
def tissue(number: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Real tissue at 0.5 µm per pixel."""
    image = read_pieces(patients()[number].patient)[0].image
    small = cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small[: shape[0], : shape[1]])


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick(monkeypatch)


def make_quick(patch: pytest.MonkeyPatch) -> None:
    """Open each model once; divide what is enhanced and counted into small parts."""

    def opened(model: str, _wanted: str, *, tell: Callable[[str], None]) -> Engine:
        found = replace(engine(model))
        if found.card.kind == "sr":
            found.window_px = WINDOW_PX
        tell(f"{model}: computing with {found.runtime.name}")
        return found

    patch.setattr(run, "chosen", opened)
    patch.setattr(making, "counted", partial(making.counted, side=BLOCK_PX))
    patch.setattr(enlarging, "BAND_ROWS", 48)
    patch.setattr(enlarging, "SAMPLES", 1)
    patch.setattr("scope_sr.enhance.page.histograms", lambda _nuclei: "")  # drawing takes longest


def asked(out: Path, *inputs: Path, **options: Any) -> Asked:
    options = {"model": "compact-x2", "runtime": "cpu", **options}
    return Asked(inputs=inputs, out=out, **options)


EVERYTHING = {"nuclei": "nuclei", "fidelity": True}


def png(path: Path, number: int = 0) -> Path:
    Image.fromarray(tissue(number)).save(path)
    return path


def tiff(path: Path, number: int = 0) -> Path:
    tifffile.imwrite(
        path, tissue(number), photometric="rgb", tile=(32, 32), compression="zlib",
        resolution=(20000, 20000), resolutionunit="CENTIMETER",
    )  # fmt: skip
    return path


def damaged(path: Path) -> Path:
    """Spoil a tile that is read late; what a file says of itself stays whole."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        where, size = page.dataoffsets[-1], page.databytecounts[-1]
    with path.open("r+b") as stream:
        stream.seek(where)
        stream.write(b"\xff" * size)
    return path


def summary(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "summary.json").read_bytes())
    return found


def entries(out: Path) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in summary(out)["inputs"]}


def but_for_time(out: Path) -> dict[str, bytes]:
    """Give all a run made, with what it says of how long it took taken out."""
    found = tree(out)
    found["summary.json"] = re.sub(rb'"seconds": [0-9.]+', b"", found["summary.json"])
    found["summary.html"] = re.sub(rb">[0-9]+ s<", b"", found["summary.html"])
    return found


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return png(tmp_path_factory.mktemp("field") / "field.png")


@pytest.fixture(scope="module")
def stretch(field: Path) -> Path:
    """What is made of one field at a stretch, with all there is to ask for."""
    out = field.parent / "stretch"
    with pytest.MonkeyPatch.context() as patch:
        make_quick(patch)
        found = enhance(asked(out, field, um_per_px=0.5, **EVERYTHING))
    assert (found.page, found.done, found.failed) == (out / "summary.html", 1, ())
    return out


# What comes out -----------------------------------------------------------------------------------


def test_every_file_is_there_and_nothing_else(stretch: Path) -> None:
    made = {f"field.{ending}" for ending in ENDINGS}
    assert {path.name for path in stretch.iterdir()} == made | {"summary.html", "summary.json"}
    entry = entries(stretch)["field"]
    assert set(entry["files"].values()) == made
    assert entry["state"] == "done"
    assert (entry["shape_in"], entry["shape_out"]) == ([100, 140], [200, 280])
    assert (entry["um_per_px_in"], entry["um_per_px_out"]) == (0.5, 0.25)
    assert entry["warnings"] == []


def test_the_enhanced_picture_is_that_of_the_whole_one(stretch: Path) -> None:
    with tifffile.TiffFile(stretch / "field.sr.ome.tif") as file:
        assert np.array_equal(file.asarray(), engine("compact-x2")(tissue(0)))
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
    assert pixels["Pixels"]["PhysicalSizeX"] == pixels["Pixels"]["PhysicalSizeY"] == 0.25
    assert pixels["Pixels"]["PhysicalSizeXUnit"] == "µm"
    note = pixels["Description"]
    run_of = summary(stretch)
    for words in ("Enhanced x2 by compact-x2", "nuclei by nuclei", "made of field.png", NOTICE):
        assert words in note
    for model in ("model", "nuclei_model"):
        assert run_of[model]["sha256"] in note


def test_the_fidelity_map_is_that_of_the_whole_picture(stretch: Path) -> None:
    said = entries(stretch)["field"]["fidelity"]
    truth = disagreement(tissue(0), engine("compact-x2")(tissue(0)), said["blur_taken_off_px"])
    with tifffile.TiffFile(stretch / "field.fidelity.ome.tif") as file:
        found = file.asarray()
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    assert pixels["PhysicalSizeX"] == 0.5
    assert found.shape == SHAPE
    assert np.allclose(found, truth, atol=1e-3)
    assert said["mean_levels"] == pytest.approx(truth.mean(), abs=1e-3)
    for share in (95, 99):
        assert said[f"p{share}_levels"] == pytest.approx(np.percentile(truth, share), abs=0.02)


def test_all_tables_count_the_same_nuclei(stretch: Path) -> None:
    labels = tifffile.imread(stretch / "field.labels.ome.tif")
    count = int(labels.max())
    assert count > 5
    assert labels.shape == (200, 280)
    assert set(np.unique(labels)) == set(range(count + 1))
    with (stretch / "field.nuclei.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    table = pq.read_table(stretch / "field.nuclei.parquet").to_pydict()
    outlines = json.loads((stretch / "field.nuclei.geojson").read_text("utf-8"))["features"]
    assert [int(row["id"]) for row in rows] == table["id"] == list(range(1, count + 1))
    assert len(outlines) == entries(stretch)["field"]["nuclei"]["count"] == count
    area_px = np.bincount(labels.ravel())[1:]
    assert table["area_um2"] == pytest.approx(area_px * 0.25**2)
    assert f"{count}" in (stretch / "summary.html").read_text("utf-8")
    with Image.open(stretch / "field.overlay.png") as drawn:
        assert drawn.size == (280, 200)


def test_what_it_says_while_it_works(field: Path, tmp_path: Path) -> None:
    said: list[str] = []
    told: list[tuple[str, int, int]] = []
    enhance(asked(tmp_path / "out", field, um_per_px=0.5), lambda *what: told.append(what),
            said.append)  # fmt: skip
    assert said[0] == "compact-x2: computing with cpu"
    assert re.fullmatch(r"field: 280 x 200 px, \d+ s", said[1])
    assert [stage for stage, _, _ in told] == ["field: enhancing"] * len(told)
    assert told[0][1:] == (0, 200)
    assert told[-1][1:] == (200, 200)
    assert len(told) > 2


@pytest.mark.parametrize("name", ["lock", "summary", "nuclei.jsonl", "a b&c'é#1"])
def test_no_name_is_in_the_way_of_the_runs_own_files(name: str, tmp_path: Path) -> None:
    found = enhance(asked(tmp_path / "out", png(tmp_path / f"{name}.png"), um_per_px=0.5))
    assert found.failed == ()
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == sorted([f"{name}.sr.ome.tif", "summary.html", "summary.json"])


# Stopped ------------------------------------------------------------------------------------------


class Stop:
    """Tell that ends the run the n-th time a stage is told."""

    def __init__(self, stage: str, time: int) -> None:
        self.stage, self.time = stage, time
        self.told: list[tuple[str, int]] = []

    def __call__(self, stage: str, done: int, _total: int) -> None:
        self.told.append((stage, done))
        if stage.endswith(self.stage):
            self.time -= 1
            if self.time == 0:
                raise KeyboardInterrupt


STAGES = (
    ("enhancing", 2), ("comparing", 2), ("looking for nuclei", 1), ("looking for nuclei", 2),
    ("counting nuclei", 4), ("writing nuclei", 1), ("writing nuclei", 3), ("writing nuclei", 6),
)  # fmt: skip


def test_stopped_again_and_again_it_gives_the_same_bytes(
    field: Path, stretch: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    question = asked(out, field, um_per_px=0.5, resume=True, **EVERYTHING)
    for stage, count in STAGES:
        with pytest.raises(KeyboardInterrupt):
            enhance(question, Stop(stage, count))
        assert not list(out.glob("*.part"))
        assert entries(out)["field"]["state"] == "waiting"
        for path in out.glob("field.*"):
            assert path.read_bytes() == (stretch / path.name).read_bytes()
    with pytest.raises(InputError, match="holds a run; go on with --resume"):
        enhance(replace(question, resume=False))
    last = Stop("", 0)
    enhance(question, last)
    assert but_for_time(out) == but_for_time(stretch)
    # nothing was computed a second time
    assert not {stage for stage, _ in last.told} & {"field: enhancing", "field: looking for nuclei"}
    assert [stage for stage, _ in last.told].count("field: counting nuclei") == 1


def test_it_goes_on_with_the_rows_that_are_there(field: Path, tmp_path: Path) -> None:
    question = asked(tmp_path / "out", field, um_per_px=0.5)
    with pytest.raises(KeyboardInterrupt):
        enhance(question, first := Stop("enhancing", 2))
    enhance(replace(question, resume=True), second := Stop("", 0))
    assert 0 < first.told[-1][1] < 200
    assert second.told[0] == first.told[-1]


def test_stopped_once_all_is_made_nothing_is_made_again(
    field: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = asked(tmp_path / "out", field, um_per_px=0.5)
    remove = shutil.rmtree
    with monkeypatch.context() as patch:

        def stop(*args: Any, **options: Any) -> None:
            remove(*args, **options)
            raise KeyboardInterrupt

        patch.setattr(shutil, "rmtree", stop)
        with pytest.raises(KeyboardInterrupt):
            enhance(question)
    enhance(replace(question, resume=True), again := Stop("", 0))
    assert again.told == []
    assert not (tmp_path / "out/.work").exists()


def test_what_lies_there_of_another_model_is_not_gone_on_with(field: Path, tmp_path: Path) -> None:
    question = asked(tmp_path / "out", field, um_per_px=0.5)
    with pytest.raises(KeyboardInterrupt):
        enhance(question, Stop("enhancing", 2))
    Image.fromarray(tissue(3)).save(field.with_name("other.png"))
    shutil.copy(field.with_name("other.png"), changed := tmp_path / "field.png")
    enhance(replace(question, inputs=(changed,), resume=True))
    found = tifffile.imread(tmp_path / "out/field.sr.ome.tif")
    assert np.array_equal(found, engine("compact-x2")(tissue(3)))


# Several inputs -----------------------------------------------------------------------------------


def test_one_that_fails_stops_no_other_and_is_made_once_it_is_whole(tmp_path: Path) -> None:
    """One is refused before anything is made, another breaks off in the middle."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number, name in enumerate("abc"):
        tiff(folder / f"{name}.tif", number)
    damaged(folder / "b.tif")
    tifffile.imwrite(folder / "deep.tif", tissue(0).astype(np.uint16), photometric="rgb")
    found = enhance(asked(out, folder))
    assert found.done == 2
    assert [name for name, _ in found.failed] == ["b", "deep"]
    assert dict(found.failed)["b"].startswith(f"{folder / 'b.tif'}: ")
    assert "save it as 8-bit RGB" in dict(found.failed)["deep"]
    assert all(error.count("\n") == 0 for _, error in found.failed)
    assert sorted(path.name for path in out.glob("*.tif")) == ["a.sr.ome.tif", "c.sr.ome.tif"]
    page = found.page.read_text("utf-8")
    for name, error in found.failed:
        assert entries(out)[name]["state"] == "failed"
        assert entries(out)[name]["error"] == error
        assert "b.tif" in page
        assert "8-bit RGB" in page
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.tif")}
    tiff(folder / "b.tif", 1)
    tiff(folder / "deep.tif", 3)
    found = enhance(asked(out, folder, resume=True))
    assert (found.done, found.failed) == (4, ())
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not (out / ".work").exists()
    assert not any("error" in entry for entry in entries(out).values())
    for number, name in enumerate("abc"):
        made = tifffile.imread(out / f"{name}.sr.ome.tif")
        assert np.array_equal(made, engine("compact-x2")(tissue(number)))


def test_where_no_input_can_be_enhanced_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="say --um-per-px"):
        enhance(asked(tmp_path / "out", png(tmp_path / "a.png")))
    assert not (tmp_path / "out").exists()


# A session ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Two by two fields of real tissue, captured without a calibration."""
    size = {"width_px = 64": "width_px = 128", "height_px = 48": "height_px = 96"}
    rig = make_rig(**size, **{'tissue = "procedural"': 'tissue = "tnbc"'})
    folder = tmp_path_factory.mktemp("sessions") / "slide 17"
    record = CalibrationRecord.nominal(rig)
    return low_session(folder, rig, record, rows=2, columns=2, overlap=0.2)


@pytest.fixture(scope="module")
def stitched(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stitched") / "out"
    with pytest.MonkeyPatch.context() as patch:
        make_quick(patch)
        assert enhance(asked(out, session.folder, fidelity=True)).failed == ()
    return out


def test_a_session_becomes_one_picture_of_its_fields(session: Session, stitched: Path) -> None:
    entry = entries(stitched)["slide 17"]
    mosaic = laid_out(session, lambda *_: None)
    made = tifffile.imread(stitched / "slide 17.sr.ome.tif")
    assert made.shape == (*mosaic.shape(2), 3)
    assert entry["shape_in"] == list(mosaic.shape(1))
    assert entry["kind"] == "session"
    assert entry["seams"]["pairs"] == 4
    assert entry["seams"]["linked"] + len(entry["seams"]["by_stage"]) > 0
    assert entry["warnings"] == list(mosaic.warnings)
    assert "captured without a calibration" in entry["warnings"][0]
    for name, (left, top) in zip(mosaic.names, mosaic.corners(2), strict=True):
        alone = engine("compact-x2")(mosaic.field(name))
        inside = slice(60, -60), slice(80, -80)  # of 192 x 256, seams are some 50 px wide
        there = made[top : top + 192, left : left + 256]
        assert np.array_equal(there[inside], alone[inside])


def test_of_a_session_the_fidelity_is_that_of_its_fields(session: Session, stitched: Path) -> None:
    mosaic = laid_out(session, lambda *_: None)
    found = tifffile.imread(stitched / "slide 17.fidelity.ome.tif")
    assert found.shape == mosaic.shape(1)
    taken_off_px = entries(stitched)["slide 17"]["fidelity"]["blur_taken_off_px"]
    for name, (left, top) in zip(mosaic.names, mosaic.corners(1), strict=True):
        low = mosaic.field(name)
        alone = disagreement(low, engine("compact-x2")(low), taken_off_px)
        inside = slice(30, -30), slice(40, -40)
        there = found[top : top + 96, left : left + 128]
        assert np.allclose(there[inside], alone[inside], atol=1e-4)


def test_a_session_goes_on_where_it_was_stopped(
    session: Session, stitched: Path, tmp_path: Path
) -> None:
    question = asked(tmp_path / "out", session.folder, fidelity=True, resume=True)
    for stage in ("laying out", "enhancing fields", "stitching", "comparing"):
        with pytest.raises(KeyboardInterrupt):
            enhance(question, Stop(stage, 3))
    enhance(question, last := Stop("", 0))
    stages = {stage for stage, _ in last.told}
    assert "slide 17: enhancing fields" not in stages
    assert "slide 17: stitching" not in stages
    assert but_for_time(tmp_path / "out") == but_for_time(stitched)


# A full disk --------------------------------------------------------------------------------------


def test_too_little_room_is_said_before_it_is_taken(
    field: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(disk, "free_bytes", lambda _folder: 100_000)
        found = enhance(asked(tmp_path / "out", field, um_per_px=0.5))
    ((name, error),) = found.failed
    assert name == "field"
    assert "168.0 kB are needed for the work, 100.0 kB are free; make room" in error
    assert not list((tmp_path / "out").glob("field.*"))
    again = enhance(asked(tmp_path / "out", field, um_per_px=0.5, resume=True))
    assert (again.done, again.failed) == (1, ())


@pytest.mark.parametrize("calls", [0, 3, 6])
def test_a_disk_that_fills_up_leaves_nothing_half_written(
    field: Path, stretch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    out, left = tmp_path / "out", [calls]
    question = asked(out, field, um_per_px=0.5, **EVERYTHING)
    sync = disk.sync_file

    def full(path: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise FULL
        sync(path)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "sync_file", full)
        found = enhance(question)
    ((_, error),) = found.failed
    assert error.endswith("No space left on device")
    assert error.count("\n") == 0
    assert not list(out.glob("*.part"))
    assert len(list(out.glob("field.*"))) == calls
    for path in out.glob("field.*"):
        assert path.read_bytes() == (stretch / path.name).read_bytes()
    enhance(replace(question, resume=True))
    assert but_for_time(out) == but_for_time(stretch)


@pytest.mark.parametrize("calls", range(6))
def test_a_disk_full_for_what_it_keeps_of_itself_is_one_line(
    field: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """Either the input fails, or the run where not even that can be put down."""
    out, left, write = tmp_path / "out", [calls], disk._write

    def full(*what: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise FULL
        write(*what)

    question = asked(out, field, um_per_px=0.5)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "_write", full)
        with pytest.raises(ScopeSRError, match=r"No space left on device.*make room") as caught:
            enhance(question)
        assert "\n" not in str(caught.value)
    assert not [*out.rglob("*.part")]
    assert enhance(replace(question, resume=True)).failed == ()
    assert np.array_equal(
        tifffile.imread(out / "field.sr.ome.tif"), engine("compact-x2")(tissue(0))
    )


# Several processes --------------------------------------------------------------------------------


class Wire:
    """Stands for the processes' line: the first says all it has to say before the others come."""

    def __init__(self) -> None:
        self.said: list[bytes] = []
        self.heard = 0

    def broadcast_object_list(self, told: list[Any]) -> None:
        if told == [None, None] and self.heard < len(self.said):
            told[:] = pickle.loads(self.said[self.heard])
            self.heard += 1
        else:
            self.said.append(pickle.dumps(told))

    def barrier(self) -> None:
        """Let all pass."""


@given(st.lists(st.integers()), st.integers(1, 9))
def test_each_item_is_in_one_share(items: list[int], world: int) -> None:
    shares = [Ranks(rank, world).share(items) for rank in range(world)]
    assert sorted(item for share in shares for item in share) == sorted(items)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_what_is_done_once_all_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "dist", Wire())
    assert Ranks(0, 2).once(lambda: "done") == "done"
    assert Ranks(1, 2).once(lambda: pytest.fail("done twice")) == "done"

    def refuse() -> None:
        raise InputError("--out: occupied")

    for rank in (0, 1):
        with pytest.raises(InputError, match="--out: occupied"):
            Ranks(rank, 2).once(refuse if rank == 0 else lambda: pytest.fail("done twice"))


def test_a_process_that_comes_late_makes_its_share_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is through with its share before the second has looked at what there is to do."""
    monkeypatch.setattr(joining, "dist", Wire())
    paths = [tiff(tmp_path / f"{name}.tif", number) for number, name in enumerate("abcd")]
    for rank, here in ((0, ["a", "c"]), (1, ["a", "b", "c", "d"])):

        @contextmanager
        def joined(rank: int = rank) -> Iterator[Ranks]:
            yield Ranks(rank, 2)

        monkeypatch.setattr(run, "joined", joined)
        enhance(asked(tmp_path / "out", *paths))
        made = sorted(path.name[0] for path in (tmp_path / "out").glob("*.sr.ome.tif"))
        assert made == here
    assert {entry["state"] for entry in entries(tmp_path / "out").values()} == {"done"}


def program(*words: object, cwd: Path, processes: int = 1) -> subprocess.Popen[str]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [
        sys.executable, *(torchrun if processes > 1 else []), "-m", "scope_sr", "enhance",
        "--model", "compact-x2", "--nuclei", "nuclei", "--runtime", "cpu", *map(str, words),
    ]  # fmt: skip
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_make_each_input_once_and_the_same(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number, name in enumerate("abcd"):
        tiff(tmp_path / "in" / f"{name}.tif", number)
    damaged(tmp_path / "in/b.tif")
    for out, processes in (("one", 1), ("two", 2)):
        running = program("in", "--out", out, cwd=tmp_path, processes=processes)
        said, err = running.communicate(timeout=120)
        assert running.returncode == 1, err
        assert "Traceback" not in err or processes == 2, err  # torchrun's own, of the exit code
        assert said.count("FAILED b: ") == 1
        assert "3 enhanced, 1 failed" in said
        assert {name: entry["state"] for name, entry in entries(tmp_path / out).items()} == {
            "a": "done", "b": "failed", "c": "done", "d": "done",
        }  # fmt: skip
    one, two = ({**but_for_time(tmp_path / out)} for out in ("one", "two"))
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []
    tiff(tmp_path / "in/b.tif", 1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "two").glob("*.tif")}
    running = program("in", "--out", "two", "--resume", cwd=tmp_path, processes=2)
    assert running.communicate(timeout=120)[0].startswith("4 enhanced\n")
    assert running.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL on Windows")
def test_killed_at_any_moment_it_gives_the_same_bytes(tmp_path: Path) -> None:
    moments = random.Random(7)
    (tmp_path / "in").mkdir()
    for number, name in enumerate(("a", "b")):
        large = cv2.resize(tissue(number, (256, 256)), (448, 448), interpolation=cv2.INTER_CUBIC)
        Image.fromarray(large).save(tmp_path / f"in/{name}.png")
    words = ("in", "--um-per-px", "0.5", "--fidelity", "--resume")
    straight = program(*words, "--out", "stretch", cwd=tmp_path)
    assert straight.communicate(timeout=120)[0].startswith("2 enhanced\n")
    kills, out = 0, tmp_path / "out"
    while kills < 8:
        running = program(*words, "--out", "out", cwd=tmp_path)
        assert running.stderr
        next((line for line in running.stderr if "nuclei: computing with" in line), None)
        try:
            running.communicate(timeout=moments.uniform(0, 6))
        except subprocess.TimeoutExpired:
            running.kill()
            running.communicate()
            kills += 1
        else:  # it was done before: once more, from the beginning
            assert but_for_time(out) == but_for_time(tmp_path / "stretch")
            shutil.rmtree(out)
    _, err = (last := program(*words, "--out", "out", cwd=tmp_path)).communicate(timeout=120)
    assert last.returncode == 0, err
    assert but_for_time(out) == but_for_time(tmp_path / "stretch")
