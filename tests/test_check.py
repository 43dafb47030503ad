"""``check`` finds what is missing, changed or foreign in a session or a dataset.

Of a session it says what a resume would do, of a dataset what stands in two of its splits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from datasets import Making, rewrite, three_slides, tissue
from sessions import fill, filled, frame_of, small_plan, small_rig, tree

from scope_sr.calibration import CalibrationRecord
from scope_sr.check import check
from scope_sr.cli import cli
from scope_sr.dataset import SPLITS, Dataset, Gate
from scope_sr.errors import InputError
from scope_sr.session import Session

LOW, HIGH = "low/r00c00.ome.tif", "high/r00c00-r00c00.ome.tif"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b'{"event"')


def litter(path: Path) -> None:
    path.write_bytes(b"not ours")


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def forget(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if LOW.encode() not in line))


# file, what happens to it, the problems (file, then words), and how many fields a resume captures
DAMAGES: dict[str, tuple[str, Callable[[Path], None], list[tuple[str, str]], int]] = {
    "missing": (LOW, Path.unlink, [(LOW, "missing; bring it back or let it be")], 1),
    "cut": (HIGH, cut, [(HIGH, "bytes long, ")], 1),
    "flipped": (LOW, flip, [(LOW, "its bytes are not those that were written; delete it")], 0),
    "extra": ("notes.txt", litter, [("notes.txt", "not of this session; move it elsewhere")], 0),
    "extra field": ("low/x.tif", litter, [("low/x.tif", "not of this session")], 0),
    "part": (LOW + ".part", litter, [(LOW + ".part", "left by a capture that was cut short")], 0),
    "torn": ("journal.jsonl", tear, [("journal.jsonl", "its last line is torn")], 0),
    "unjournaled": (
        "journal.jsonl",
        forget,
        [(LOW, "left by a capture that was cut short")],
        1,
    ),
    "plan": ("plan.json", edit, [("plan.json", "changed since the session began")], 0),
    "rig": ("rig.toml", edit, [("rig.toml", "changed since the session began")], 0),
    "record": ("calibration/record.json", Path.unlink, [("calibration/record.json", "no cal")], 0),
    "companion": ("low.companion.ome", Path.unlink, [("low.companion.ome", "missing (it is")], 0),
    "broken companion": ("low.companion.ome", litter, [("low.companion.ome", "cannot be read")], 0),
    "desktop": ("low/Thumbs.db", litter, [], 0),
    "known": ("contact-sheet.png", litter, [], 0),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rig = small_rig()
    measured = CalibrationRecord.nominal(rig).model_copy(update={"measured": True})
    with Session.create(tmp_path / "A", small_plan(rig), rig, measured) as session:
        fill(session)
    return tmp_path / "A"


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_found_and_named(folder: Path, damage: tuple) -> None:
    name, harm, expected, remaining = damage
    harm(folder / name)
    before = tree(folder)
    found = check(folder)
    assert tree(folder) == before
    assert len(found.report.problems) == len(expected)
    for problem, (file, words) in zip(found.report.problems, expected, strict=True):
        assert problem.startswith(f"{folder / file}: ")
        assert words in problem
        assert problem in found.text
    assert found.ok == (not expected)
    assert found.report.remaining == remaining


@pytest.mark.parametrize("name", ["missing", "cut", "part", "torn", "unjournaled", "companion"])
def test_what_a_resume_heals(folder: Path, name: str) -> None:
    file, harm, _, _ = DAMAGES[name]
    harm(folder / file)
    with Session.resume(folder) as session:
        fill(session)
    assert check(folder).report.problems == ()


def test_a_whole_session_in_words(tmp_path: Path) -> None:
    rig = small_rig()
    plan = small_plan(rig, columns=2)
    with Session.create(tmp_path / "A", plan, rig) as session:
        session.write(plan.steps[0], frame_of(plan.steps[0], rig))
        session.write(plan.steps[1], frame_of(plan.steps[1], rig), ("no contrast",))
        session.skip(plan.steps[2], "glass")
    told: list[tuple[int, int]] = []
    found = check(tmp_path / "A", list_all=True, progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2)]
    assert found.ok
    for line in (
        "objectives   10x (0.5 µm/px) and 20x (0.25 µm/px)",
        "grid         1x2, overlap 5%, center, serpentine",
        "calibration  nominal values of the rig",
        "high         0 of 2 fields, 0 rejected, 1 left out, 0 bytes",
        "rejected     low/r00c01: no contrast",
        "every file captured so far is there and as it was written",
        "a resume would capture 2 fields (first: low/r00c01)",
    ):
        assert line in found.text.splitlines()
    assert "good" in found.text
    assert "left out: glass" in found.text
    assert "to be captured" in found.text


def test_complete(folder: Path) -> None:
    assert check(str(folder)).text.endswith("complete: nothing remains to be captured")


def test_neither_session_nor_dataset(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match=r"neither dataset\.json nor session\.json") as error:
            check(folder)
        assert str(error.value).startswith(f"{folder}: no dataset and no session there")
    assert not check(filled(tmp_path / "B")).report.problems


def pairs_with_rejects(folder: Path) -> Dataset:
    dataset = three_slides(folder, level="patient").done()
    first, *rest = dataset.items
    first = replace(first, gates={"shift_px": Gate(0.0213, most=0.25), "ghost": Gate(None)})
    rejected = [
        replace(first, name=f"A/x{number}", split="", high="", high_sha256="", reasons=reasons)
        for number, reasons in enumerate(
            [("focus 0.31, at least 0.8", "no tissue"), ("focus 0.2, at least 0.8",)]
        )
    ]
    return rewrite(folder, [first, *rest, *rejected])


def test_a_whole_dataset_in_words(tmp_path: Path) -> None:
    pairs_with_rejects(tmp_path / "ds")
    told: list[tuple[int, int]] = []
    found = check(tmp_path / "ds", list_all=True, progress=lambda *step: told.append(step))
    assert told == [(step, 12) for step in range(1, 13)] * 2  # files, then the search for leaks
    assert found.ok
    for line in (
        f"{tmp_path / 'ds'}: dataset small of pairs, built with scope-sr 0.1.0",
        "scale        x2, 0.5 µm/px to 0.25 µm/px, 8 bit colour",
        "source       A (session, 000000000000, CC BY 4.0)",
        "split by     patient",
        "train        2 pairs of 1 patient and 1 slide, 0.00205 mm² usable",
        "rejected     2 of 8",
        "           2 focus",
        "train/f0  train  good  shift_px 0.0213",
        "A/x1      -      rejected: focus 0.2, at least 0.8",
        "every file is there and as it was written",
        "no leak: nothing was found in two splits",
    ):
        assert line in found.text.splitlines()
    assert "note" not in found.text


@pytest.mark.parametrize(("level", "words"), [("area", "areas of the same"), ("image", "nobody")])
def test_what_a_split_does_not_promise(tmp_path: Path, level: str, words: str) -> None:
    found = check(three_slides(tmp_path / "ds", level=level).done().folder)
    assert found.ok
    (note,) = (line for line in found.text.splitlines() if line.startswith("note "))
    assert words in note


def test_images_with_nuclei_in_words(tmp_path: Path) -> None:
    making = Making(tmp_path / "ds", kind="nuclei", scale=1, level="image")
    for number, split in enumerate(SPLITS):
        labels = np.zeros((48, 48), np.uint16)
        making.nuclei(f"n{number}", split, tissue(number, 48), labels, nuclei=number)
    making.done()
    lines = check(tmp_path / "ds", list_all=True).text.splitlines()
    assert "pixels       0.5 µm/px, 8 bit colour" in lines
    assert "val          1 image" in lines
    assert "n1  val    good  1 nucleus" in lines
    assert "n2  test   good  2 nuclei" in lines


def test_the_command_tells_good_from_bad_by_its_exit_code(tmp_path: Path) -> None:
    dataset = pairs_with_rejects(tmp_path / "ds")
    run = CliRunner().invoke
    good = run(cli, ["check", str(dataset.folder)])
    assert good.exit_code == 0
    rewrite(dataset.folder, [replace(dataset.items[0], split="test"), *dataset.items[1:]])
    leaking = run(cli, ["check", "--list", str(dataset.folder)])
    assert leaking.exit_code == 1
    assert "3 leaks between splits:" in leaking.output  # a patient, a slide, 4 µm of tissue
    assert "every file is there" in leaking.output
    (dataset.folder / dataset.items[1].high).unlink()
    broken = run(cli, ["check", str(dataset.folder)])
    assert broken.exit_code == 1
    assert "1 problem:" in broken.output
    (dataset.folder / "dataset.json").write_bytes(b"{")
    assert isinstance(run(cli, ["check", str(dataset.folder)]).exception, InputError)


def test_damaged_cells_are_a_problem_not_a_crash(tmp_path: Path) -> None:
    dataset = three_slides(tmp_path / "ds").done()
    rewrite(dataset.folder, [replace(dataset.items[0], cells=("zz",)), *dataset.items[1:]])
    found = check(dataset.folder)
    assert len(found.problems) == 1
    assert "the cells of train/f0 do not fit its box" in found.text
