"""A Micro-Manager that runs elsewhere: the same sessions, and every way it can fail us."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from java_server import serving
from rigs import demo_rig, remote_rig

from scope_sr.acquire_pairs import capture_pairs
from scope_sr.calibration import CalibrationRecord
from scope_sr.config import Rig
from scope_sr.errors import DeadlineError, MicroscopeError, StoppedError
from scope_sr.frame import Position
from scope_sr.microscope import inventory_of, open_microscope
from scope_sr.microscope.running import connect, in_rows, link_running
from scope_sr.plan import plan_pairs
from scope_sr.session import Session

SHORT = {
    "[deadlines]\nmove_s = 10.0": "[deadlines]\nmove_s = 1.0",
    "turn_s = 20.0": "turn_s = 1.0",
    "snap_s = 30.0": "snap_s = 1.0",
}


@pytest.fixture
def specimen(tmp_path: Path) -> Path:
    """Write the rig whose specimen the server shows."""
    path = tmp_path / "specimen.toml"
    path.write_text(demo_rig().text, encoding="utf-8")
    return path


def captured(rig: Rig, folder: Path) -> Session:
    record = CalibrationRecord.nominal(rig)
    plan = plan_pairs(rig, record, rows=2, columns=1, coverage="center", origin=Position(0, 0, 0))
    with (
        open_microscope(rig) as microscope,
        Session.create(folder, plan, rig, record) as session,
    ):
        assert capture_pairs(microscope, session).complete
    return Session.open(folder)


@pytest.mark.slow
def test_the_session_is_the_one_the_demo_rig_gives(tmp_path: Path, specimen: Path) -> None:
    here = captured(demo_rig(), tmp_path / "here")
    with serving(rig=specimen) as server:
        there = captured(remote_rig(server.port), tmp_path / "there")
    assert there.plan == here.plan
    for step in here.plan.steps:
        assert np.array_equal(there.read(step.name), here.read(step.name)), step.name
        ours, theirs = here.entries[step.name], there.entries[step.name]
        assert ours.position == theirs.position
        assert (ours.exposure_ms, ours.shape, ours.dtype) == (
            theirs.exposure_ms,
            theirs.shape,
            theirs.dtype,
        )
    assert there.verify().ok


@dataclass(frozen=True)
class Fault:
    """What the server does wrong, and the words it must end in."""

    words: str
    within_s: float
    faults: dict[str, object]


FAULTS = {
    "dies in a snap": Fault("the camera did not answer within 1.0 s", 1, {"die_on": "snapImage"}),
    "dies in a move": Fault("the stage did not answer within", 3, {"die_on": "setXYPosition"}),
    "camera hangs": Fault("the camera did not answer within", 1, {"delay": {"snapImage": 60}}),
    "stage hangs": Fault("the stage did not answer within", 3, {"delay": {"setXYPosition": 60}}),
    "nosepiece hangs": Fault(
        "the nosepiece did not answer within", 3, {"delay": {"setStateLabel": 60}}
    ),
    "refuses": Fault(
        "Micro-Manager, set_xy_position: Stage is stuck (13)",
        1,
        {"error": {"setXYPosition": "Stage is stuck (13)"}},
    ),
    "stops short": Fault("was sent to x = 50.00", 1, {"stops_short_um": 3.0}),
    "wrong label": Fault("the nosepiece reports 4-Unknown", 1, {"nosepiece_label": "4-Unknown"}),
    "live left on": Fault("live view is on in Micro-Manager", 1, {"live_on": True}),
    "other version": Fault("server speaks version 4.2.0", 1, {"version": "4.2.0"}),
    "too busy": Fault(
        "does not answer as Micro-Manager does; if it is", 6, {"delay": {"connect": 60}}
    ),
}


FEW = {"refuses"}  # the rest by -m slow


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=name, marks=[] if name in FEW else pytest.mark.slow)
        for name, fault in FAULTS.items()
    ],
)
def test_a_fault_ends_in_one_line_in_time_and_the_session_resumes(
    tmp_path: Path, specimen: Path, fault: Fault
) -> None:
    with serving(rig=specimen, **fault.faults) as server:
        rig = tmp_path / "stand.toml"
        rig.write_text(remote_rig(server.port, **SHORT).text, encoding="utf-8")
        ended = scope_sr("--rig", "stand.toml", "--out", "S", *GRID, cwd=tmp_path)
        server.kill()
    assert ended.code == 1
    assert len(ended.error) == 1
    assert ended.error[0].startswith("Error: ")
    assert fault.words in ended.error[0]
    assert ended.seconds < fault.within_s + 12, "starting up included"
    assert ended.exit_s < 5
    began = (tmp_path / "S").exists()
    again = ("--resume", "--out", "S") if began else ("--rig", "stand.toml", "--out", "S", *GRID)
    with serving(port=server.port, rig=specimen):
        assert scope_sr(*again, cwd=tmp_path).code == 0
    assert Session.open(tmp_path / "S").verify().ok


GRID = ("--grid", "1x1", "--coverage", "center", "--origin", "50,50,2")


@dataclass(frozen=True)
class Ended:
    """How a run of the program ended; `exit_s` is from its last word to its end."""

    code: int
    error: list[str]
    seconds: float
    exit_s: float


def scope_sr(*options: str, cwd: Path) -> Ended:
    began_s = time.monotonic()
    lines: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-m", "scope_sr", "acquire-pairs", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
    ) as process:
        for line in process.stderr:
            lines.append(line.strip())
            said_s = time.monotonic()
            if line.startswith("Error"):
                break
        said_s = time.monotonic()
        lines += [line.strip() for line in process.stderr]
        process.wait(60)
    ended_s = time.monotonic()
    error = [line for line in lines if not line[:1].isdigit()]
    return Ended(process.returncode, error, ended_s - began_s, ended_s - said_s)


@pytest.mark.slow
def test_after_a_death_the_same_port_is_connected_to_again(specimen: Path) -> None:
    before = threading.active_count()
    with serving(rig=specimen) as server:
        with open_microscope(remote_rig(server.port, **SHORT)) as microscope:
            microscope.snap()
            server.kill()
            for _ in range(2):
                began_s = time.monotonic()
                with pytest.raises(DeadlineError, match="did not answer within"):
                    microscope.snap()
            assert time.monotonic() - began_s < 0.1, "a dead connection is not tried again"
    with serving(port=server.port, rig=specimen):
        with open_microscope(remote_rig(server.port, **SHORT)) as microscope:
            assert microscope.snap().number == 1
    settle(before)


def test_nothing_is_left_after_closing(specimen: Path) -> None:
    before = threading.active_count()
    with serving(rig=specimen) as server:
        objects = server.change()["objects"]
        for _ in range(3):
            with open_microscope(remote_rig(server.port)) as microscope:
                microscope.start_stream()
                microscope.latest(0)
        assert server.change()["objects"] == objects
    settle(before)


def settle(threads: int) -> None:
    deadline = time.monotonic() + 3
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() == threads


def test_lost_frames_are_counted(specimen: Path) -> None:
    with serving(rig=specimen, drop_every=2) as server:
        with open_microscope(remote_rig(server.port)) as microscope:
            microscope.start_stream()
            numbers = [frames_of(microscope, after=0)]
            while len(numbers) < 4:
                numbers.append(frames_of(microscope, after=numbers[-1]))
            missing = numbers[-1] - numbers[0] + 1 - len(numbers)
            assert missing > 0
            assert microscope.frames_lost == missing


def frames_of(microscope: object, after: int) -> int:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        frame = microscope.latest(after)
        if frame is not None:
            return frame.number
    raise AssertionError("no frame came")


def test_a_stream_ended_in_micro_manager_is_noticed(specimen: Path) -> None:
    with serving(rig=specimen) as server:
        gui = connect(server.port)
        with open_microscope(remote_rig(server.port)) as microscope:
            microscope.start_stream()
            after = frames_of(microscope, after=0)
            gui.hardware.stop_sequence_acquisition()
            with pytest.raises(MicroscopeError, match="the stream was ended in Micro-Manager"):
                microscope.latest(after + 1000)
        gui.abandon()


@pytest.mark.slow
def test_frames_do_not_wait_for_a_stage_that_blocks() -> None:
    """The Ti2's calls return only when the move is done: 2 s on the hardware's own socket."""
    stock = {name: name for name in ("width_px = 512", "height_px = 512")}
    with serving(delay={"setXYPosition": 2.0}) as server:
        with open_microscope(remote_rig(server.port, **stock)) as microscope:
            microscope.start_stream()
            newest = frames_of(microscope, after=0)
            mover = threading.Thread(target=microscope.move_to, args=(Position(200, 0, 0),))
            mover.start()
            worst_s, came_s = 0.0, time.monotonic()
            while mover.is_alive():
                newest = frames_of(microscope, after=newest)
                worst_s, came_s = max(worst_s, time.monotonic() - came_s), time.monotonic()
            mover.join()
            microscope.stop_stream()
    assert worst_s < 0.5, "benchmarks/live_stream.py measures it; here a freeze of 2 s must show"


def test_a_stop_does_not_wait_for_a_stage_that_blocks(specimen: Path) -> None:
    with serving(rig=specimen, delay={"setXYPosition": 1.0}) as server:
        with open_microscope(remote_rig(server.port)) as microscope:
            ended: list[Exception] = []
            mover = threading.Thread(target=far, args=(microscope, ended))
            mover.start()
            time.sleep(0.2)
            began_s = time.monotonic()
            microscope.stop()
            assert time.monotonic() - began_s < 0.5
            mover.join()
    assert [type(error) for error in ended] == [StoppedError]


def far(microscope: object, ended: list[Exception]) -> None:
    try:
        microscope.move_to(Position(5000, 0, 0))
    except MicroscopeError as error:
        ended.append(error)


def test_nothing_there_is_said_at_once(free_port: int) -> None:
    began_s = time.monotonic()
    with pytest.raises(MicroscopeError, match=f"answers on port {free_port}; start Micro-Manager"):
        link_running(free_port)
    assert time.monotonic() - began_s < 1


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_core_in_this_process_is_not_taken_for_the_other(specimen: Path) -> None:
    """pycromanager would give the core in this process, whatever the port."""
    with serving(rig=specimen) as server, open_microscope(demo_rig()):
        with pytest.raises(MicroscopeError, match="open in this program already"):
            open_microscope(remote_rig(server.port))


@pytest.mark.slow
def test_an_opening_that_hangs_is_given_up(specimen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scope_sr.microscope.ANSWER_S", 1.0)
    for opening in (inventory_of, open_microscope):
        with serving(rig=specimen) as server:
            server.change(delay={"getLoadedDevices": 60})
            with pytest.raises(DeadlineError, match="did not answer within 1 s"):
                opening(remote_rig(server.port))


def test_without_metadata_objects_the_newest_frame_comes_by_its_tags(
    specimen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scope_sr.microscope import running

    def refuse(*_: object) -> None:
        raise Exception("No valid java constructor found")

    monkeypatch.setattr(running.NewestByMetadata, "__init__", refuse)
    with serving(rig=specimen) as server:
        with open_microscope(remote_rig(server.port)) as microscope:
            microscope.start_stream()
            first = frames_of(microscope, after=0)
            assert frames_of(microscope, after=first) > first


def test_pixels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(MicroscopeError, match="geometry changed while it ran: 10 pixels"):
        in_rows(np.zeros(10, np.uint16), 4, 3)
