"""Kill it anywhere, pull any plug: nothing captured is lost and nothing false is kept."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from sessions import fill, filled, frame_of, picture, small_plan, small_rig

from scope_sr import disk
from scope_sr.errors import SessionError
from scope_sr.session import Session

SYSCALLS = (
    "_open",
    "_write",
    "_sync",
    "_truncate",
    "_replace",
    "_remove",
    "_make_folder",
    "_sync_folder",
)
RIG = small_rig()
PLAN = small_plan(RIG)


class Killed(BaseException):
    """The process has ended; no code of it runs any more."""


class Plug:
    """Stands before every call to the system and lets `before` of them pass."""

    def __init__(self, before: int, error: Callable[[], BaseException], *, again: bool) -> None:
        self.left, self.error, self.again, self.pulled = before, error, again, ""

    def wrap(self, name: str, call: Callable) -> Callable:
        def wrapped(*args: object) -> object:
            self.left -= 1
            if self.left >= 0 or (self.pulled and not self.again):
                return call(*args)
            if name == "_write" and not self.pulled:  # a disk takes what it can
                file, data = args
                call(file, data[: len(data) // 2])
            self.pulled = self.pulled or name
            raise self.error()

        return wrapped


@contextmanager
def pulled_after(calls: int, error: Callable[[], BaseException], *, again: bool) -> Iterator[Plug]:
    plug = Plug(calls, error, again=again)
    with pytest.MonkeyPatch.context() as patch:
        for name in SYSCALLS:
            patch.setattr(disk, name, plug.wrap(name, getattr(disk, name)))
        yield plug


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fields_in_order(folder: Path) -> list[str]:
    whole, _, _ = (folder / "journal.jsonl").read_bytes().rpartition(b"\n")
    events = [json.loads(line) for line in whole.splitlines()]
    return [event["step"] for event in events if event["event"] == "captured"]


def assert_whole(folder: Path) -> None:
    session = Session.open(folder)
    assert session.verify().problems == ()
    assert session.remaining() == ()
    assert fields_in_order(folder) == [step.name for step in session.plan.steps]  # each once
    for step in session.plan.steps:
        np.testing.assert_array_equal(session.read(step.name), picture(step, session.rig))


def count_calls(act: Callable[[], object]) -> int:
    with pulled_after(10**9, Killed, again=True) as plug:
        act()
    return 10**9 - plug.left


def capture(folder: Path) -> None:
    """Begin or resume, capture everything, close; each as often as needed."""
    begin = Session.resume if (folder / "session.json").exists() else create
    with begin(folder) as session:
        fill(session)


def create(folder: Path) -> Session:
    return Session.create(folder, PLAN, RIG)


def test_killed_at_every_call_to_the_system(tmp_path: Path) -> None:
    calls = count_calls(lambda: capture(tmp_path / "count"))
    assert calls > 50
    for number in range(calls):
        folder = tmp_path / f"{number}"
        with pulled_after(number, Killed, again=True) as plug, pytest.raises(Killed):
            capture(folder)
        assert plug.pulled
        safe = fields_in_order(folder) if (folder / "session.json").exists() else []
        capture(folder)
        assert fields_in_order(folder)[: len(safe)] == safe
        assert_whole(folder)


@pytest.mark.slow
def test_killed_while_resuming(tmp_path: Path) -> None:
    def torn(folder: Path) -> Path:
        with create(folder) as session:
            session.write(PLAN.steps[0], frame_of(PLAN.steps[0], RIG))
        (folder / "low" / "r00c00.ome.tif.part").write_bytes(b"half")
        with (folder / "journal.jsonl").open("ab") as file:
            file.write(b'{"event": "capt' + b"x" * 200)
        return folder

    calls = count_calls(lambda: capture(torn(tmp_path / "count")))
    made = count_calls(lambda: torn(tmp_path / "made"))
    for number in range(calls - made):
        folder = torn(tmp_path / f"{number}")
        with pulled_after(number, Killed, again=True), pytest.raises(Killed):
            capture(folder)
        capture(folder)
        assert_whole(folder)


@pytest.mark.slow
def test_journal_torn_at_every_byte_of_its_last_line(tmp_path: Path) -> None:
    folder = filled(tmp_path / "A")
    journal = folder / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    whole, last = b"".join(lines[:-2]), lines[-2]  # the last field; behind it stands "stop"
    assert b'"high/' in last
    for length in range(len(last)):
        journal.write_bytes(whole + last[:length])
        session = Session.resume(folder)
        assert [step.name for step in session.remaining()] == [PLAN.steps[1].name]
        assert journal.read_bytes().startswith(whole + b'{"event": "note", "what": "resume"')
        assert journal.read_bytes().endswith(b"\n")
        session._lock.release()
    capture(folder)
    assert_whole(folder)


def test_disk_full_at_every_call_of_a_capture(tmp_path: Path) -> None:
    def write_one(session: Session, number: int) -> None:
        session.write(PLAN.steps[number], frame_of(PLAN.steps[number], RIG))

    with create(tmp_path / "count") as session:
        calls = count_calls(lambda: write_one(session, 0))
    for number in range(calls):
        folder = tmp_path / f"{number}"
        with create(folder) as session:
            write_one(session, 0)
            with (
                pulled_after(number, full, again=False),
                pytest.raises(SessionError) as caught,
            ):
                write_one(session, 1)
            assert str(caught.value) == (
                f"{folder / 'high' / 'r00c00-r00c00.ome.tif'}: No space left on device;"
                " 1 of 2 fields are safe; make room, then"
                f" scope-sr acquire-pairs --resume --out {folder}"
            )
            assert not list(folder.rglob("*.part"))
            for path in (folder / "high").iterdir():  # whole, or not there
                assert path.stat().st_size > 2000
            assert [step.name for step in session.remaining()] == [PLAN.steps[1].name]
            write_one(session, 1)  # the same session goes on once there is room
        assert_whole(folder)


def test_disk_full_for_good_then_resumed(tmp_path: Path) -> None:
    for number in range(9):
        folder = tmp_path / f"{number}"
        with pytest.raises(SessionError, match="No space left"), create(folder) as session:
            with pulled_after(number, full, again=True):
                fill(session)
        capture(folder)
        assert_whole(folder)


def test_disk_full_while_beginning_leaves_no_session(tmp_path: Path) -> None:
    calls = count_calls(lambda: create(tmp_path / "count")._lock.release())
    for number in range(calls):
        folder = tmp_path / f"{number}"
        with pulled_after(number, full, again=False), pytest.raises(SessionError) as caught:
            create(folder)
        assert "No space left on device; make room, then begin again" in str(caught.value)
        left = [path.name for path in folder.iterdir()] if folder.exists() else []
        assert set(left) <= {"session.lock"}
        capture(folder)
        assert_whole(folder)


def test_disk_full_while_closing(tmp_path: Path) -> None:
    session = create(tmp_path / "A")
    fill(session)
    with pulled_after(0, full, again=True), pytest.raises(SessionError, match="2 of 2 fields are"):
        session.close()
    with Session.resume(tmp_path / "A"):  # the lock is free, and closing writes what was missing
        pass
    assert_whole(tmp_path / "A")


def test_an_error_is_not_hidden_by_a_full_disk(tmp_path: Path) -> None:
    def stopped_midway() -> None:
        with create(tmp_path / "A") as session:
            fill(session)
            plug.left = 0
            raise KeyboardInterrupt

    with pulled_after(10**9, full, again=True) as plug, pytest.raises(KeyboardInterrupt):
        stopped_midway()
    assert plug.pulled


def test_a_virus_scanner_holds_the_file_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals, replace = [PermissionError(), PermissionError()], Path.replace

    def held(path: Path, target: Path) -> Path:
        if refusals:
            raise refusals.pop()
        return replace(path, target)

    monkeypatch.setattr(disk, "RETRY_S", (0.0, 0.0))
    monkeypatch.setattr(Path, "replace", held)
    disk.store(tmp_path / "a", b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from sessions import frame_of
from scope_sr.session import Session
session = Session.resume(sys.argv[2])
for step in session.remaining():
    session.write(step, frame_of(step, session.rig))
    print(step.name, flush=True)
"""


def test_killed_for_real(tmp_path: Path) -> None:
    folder = tmp_path / "A"
    Session.create(folder, small_plan(RIG, rows=10, columns=20), RIG).close()
    told: list[str] = []
    for fields in (3, 7):
        command = [sys.executable, "-c", WRITER, str(Path(__file__).parent), str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            told += [process.stdout.readline().strip() for _ in range(fields)]
            time.sleep(0.01 * np.random.default_rng(fields).random())
            process.kill()
            told += process.stdout.read().split()
        # what was told is safe; at most the field in hand may be there besides
        captured = fields_in_order(folder)
        assert captured[: len(told)] == told
        assert len(captured) - len(told) <= 1
        told = captured
    with Session.resume(folder) as session:
        assert len(session.remaining()) == 400 - len(told)
        for name in told:
            assert session.read(name).shape == (32, 32, 3)
