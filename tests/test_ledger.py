"""summary.json: what a run makes, how far it is, and whose it is."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from scope_sr import disk
from scope_sr.enhance.ledger import DONE, FAILED, JSON, WAITING, Ledger
from scope_sr.errors import InputError, ScopeSRError

HEAD: dict[str, Any] = {
    "model": {"name": "compact-x2", "sha256": "a"},
    "nuclei_model": None,
    "fidelity": False,
    "runtime": {},
}


def waiting(name: str, size: int = 1) -> dict[str, Any]:
    return {
        "name": name, "path": f"{name}.png", "state": WAITING, "source": {"bytes": size},
        "um_per_px_in": 0.5, "warnings": [], "files": {},
    }  # fmt: skip


def done(ledger: Ledger, name: str) -> dict[str, Any]:
    (ledger.out / f"{name}.sr.ome.tif").write_bytes(b"x")
    return {**waiting(name), "state": DONE, "files": {"sr": f"{name}.sr.ome.tif"}}


def states(ledger: Ledger) -> dict[str, str]:
    return {entry["name"]: entry["state"] for entry in ledger.read()["inputs"]}


def test_going_on_knows_what_is_done(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "out")
    ledger.begin(HEAD, [waiting("a"), waiting("b")], resume=False)
    ledger.note(done(ledger, "a"))
    ledger.note_runtime("model", "openvino")
    ledger.begin(HEAD, [waiting("a"), waiting("b"), waiting("c")], resume=True)
    assert states(ledger) == {"a": DONE, "b": WAITING, "c": WAITING}
    assert ledger.read()["runtime"] == {"model": "openvino"}


@pytest.mark.parametrize("change", ["source", "pixel size", "output gone", "failed"])
def test_what_changed_is_made_again(tmp_path: Path, change: str) -> None:
    ledger = Ledger(tmp_path / "out")
    ledger.begin(HEAD, [waiting("a")], resume=False)
    entry = done(ledger, "a")
    ledger.note({**entry, "state": FAILED, "error": "x"} if change == "failed" else entry)
    asked = waiting("a")
    if change == "source":
        asked["source"] = {"bytes": 2}
    elif change == "pixel size":
        asked["um_per_px_in"] = 0.4
    elif change == "output gone":
        (ledger.out / "a.sr.ome.tif").unlink()
    ledger.begin(HEAD, [asked], resume=True)
    assert states(ledger) == {"a": WAITING}


def test_an_input_left_out_stays_as_it_was(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "out")
    ledger.begin(HEAD, [waiting("a")], resume=False)
    ledger.note(done(ledger, "a"))
    ledger.begin(HEAD, [waiting("b")], resume=True)
    assert states(ledger) == {"a": DONE, "b": WAITING}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"model": {"name": "mine", "sha256": "b"}},
            "was begun with --model compact-x2; do the same again",
        ),
        (
            {"nuclei_model": {"name": "n", "sha256": "c"}},
            "was begun without --nuclei; do the same again",
        ),
        ({"fidelity": True}, "was begun without --fidelity; do the same again"),
    ],
)
def test_another_question_needs_another_folder(tmp_path: Path, change: dict, said: str) -> None:
    ledger = Ledger(tmp_path / "out")
    ledger.begin(HEAD, [waiting("a")], resume=False)
    before = (ledger.out / JSON).read_bytes()
    with pytest.raises(InputError, match=said):
        ledger.begin({**HEAD, **change}, [waiting("a")], resume=True)
    assert (ledger.out / JSON).read_bytes() == before


def test_a_run_is_not_begun_over(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "out")
    ledger.begin(HEAD, [waiting("a")], resume=False)
    with pytest.raises(InputError, match="holds a run; go on with --resume"):
        ledger.begin(HEAD, [waiting("a")], resume=False)


@pytest.mark.parametrize("content", ["", "{", '{"schema": "other"}', "[]"])
def test_a_strangers_folder_is_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / JSON).write_text(content)
    for resume in (False, True):
        with pytest.raises(InputError, match="not empty and holds no run of ours"):
            Ledger(tmp_path).begin(HEAD, [waiting("a")], resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == [JSON]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="name a folder of its own"):
        Ledger(tmp_path / "file").begin(HEAD, [waiting("a")], resume=False)


def test_many_write_at_once_and_none_is_lost(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "out")
    names = [f"s{number}" for number in range(12)]
    ledger.begin(HEAD, [waiting(name) for name in names], resume=False)
    threads = [threading.Thread(target=ledger.note, args=(done(ledger, name),)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(states(ledger).values()) == {DONE}


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "store", full)
    with pytest.raises(ScopeSRError, match=r"cannot be written .*No space left.*make room"):
        Ledger(tmp_path / "out").begin(HEAD, [waiting("a")], resume=False)
