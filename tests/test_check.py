"""``check`` finds what is missing, changed or foreign, and says what a resume would do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sessions import fill, filled, frame_of, small_plan, small_rig, tree

from scope_sr.calibration import CalibrationRecord
from scope_sr.check import check
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
    found = check(
        tmp_path / "A", list_fields=True, progress=lambda done, of: told.append((done, of))
    )
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


def test_no_session(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no session there"):
        check(tmp_path)
    assert not check(filled(tmp_path / "B")).report.problems
