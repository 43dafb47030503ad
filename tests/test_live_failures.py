"""The live view outlives its source: what it says, how it comes back, and that it can be closed."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from java_server import serving
from live import Live, live
from rigs import demo_rig, make_rig, remote_rig

from scope_sr.config import Rig
from scope_sr.errors import DeadlineError, MicroscopeError
from scope_sr.frame import Frame
from scope_sr.live.source import camera
from scope_sr.live.source.stand import Stand
from scope_sr.microscope import open_microscope
from scope_sr.microscope.running import connect

QUICK = {"snap_s = 30.0": "snap_s = 1.0"}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once: two seconds are for people."""
    monkeypatch.setattr(camera, "AGAIN_S", 0.2)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand where nobody has calibrated anything."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def specimen(home: Path) -> Path:
    path = home / "specimen.toml"
    path.write_text(demo_rig().text, encoding="utf-8")
    return path


@pytest.fixture(params=["simulated", "demo", "remote"])
def running(request: pytest.FixtureRequest, home: Path) -> Iterator[Live]:
    """Run a camera thread on each kind of source."""
    with contextlib.ExitStack() as stack:
        if request.param == "remote":
            server = stack.enter_context(serving(rig=request.getfixturevalue("specimen")))
            rig = remote_rig(server.port, **QUICK)
        else:
            rig = demo_rig(**QUICK) if request.param == "demo" else make_rig(home, **QUICK)
        yield stack.enter_context(live(Stand.of_rig(rig)))


def backend_of(running: Live) -> Any:
    return running.stand.microscope._backend  # type: ignore[union-attr]


def unplug(running: Live, error: BaseException) -> Callable[[], None]:
    """Let the camera fail from now on, whoever opens it anew, until the cable is put back."""
    kind = type(backend_of(running))
    patch = pytest.MonkeyPatch()

    def fails(*_: object) -> None:
        raise error

    patch.setattr(kind, "latest", fails)
    return patch.undo


ERRORS = {
    "its driver says so": MicroscopeError(
        "Micro-Manager, the camera's stream: camera is gone (11)"
    ),
    "the system says so": OSError(5, "Input/output error"),
    "without a word": RuntimeError(),
}


@pytest.mark.parametrize("error", [pytest.param(error, id=name) for name, error in ERRORS.items()])
def test_a_camera_that_is_unplugged_comes_back(
    home: Path, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    with live(Stand.of_rig(make_rig(home))) as running:
        before = running.frames(2).seen
        plug_in = unplug(running, error)
        try:
            note = running.hears("camera", "trying again every 0.2 s", bad=True)
            assert str(error) in note.words or "Input/output error" in note.words
            running.until(lambda: running.stand.microscope is None)
        finally:
            plug_in()
        running.hears("camera", "the camera is back", bad=False)
        assert running.frames(2).seen.view >= before.view
        assert not [note for note in running.board.notes() if note.bad]
        assert len(running.board.errors) >= 1


def test_it_comes_back_on_every_kind_of_source(running: Live) -> None:
    running.frames(2)
    plug_in = unplug(running, MicroscopeError("the camera is gone"))
    running.hears("camera", "the camera is gone; trying again", bad=True)
    plug_in()
    running.hears("camera", "the camera is back", bad=False)
    running.frames(2)
    assert running.close() < 1.0


def test_a_stream_ended_behind_our_back_is_started_again(home: Path) -> None:
    with live(Stand.of_rig(demo_rig())) as running:
        running.frames(2)
        opened = running.stand.microscope
        backend_of(running)._link.hardware.stop_sequence_acquisition()
        running.hears("camera", "it was started again", bad=False)
        running.frames(2)
        assert running.stand.microscope is opened, "nothing was opened anew for it"
        assert not running.board.errors


@pytest.mark.slow
def test_a_stream_ended_in_micro_manager_is_started_again(specimen: Path) -> None:
    with gui_at(specimen) as (gui, rig), live(Stand.of_rig(rig)) as running:
        running.frames(2)
        gui.stop_sequence_acquisition()
        running.hears("camera", "it was started again", bad=False)
        running.frames(2)
        assert not running.board.errors


@contextlib.contextmanager
def gui_at(specimen: Path, **faults: Any) -> Iterator[tuple[Any, Rig]]:
    """Serve a Micro-Manager; give what its own window does there, and a rig to reach it."""
    with serving(rig=specimen, **faults) as server:
        gui = connect(server.port)  # first, and cut last: pyjavaz shares connections to a port
        yield gui.hardware, remote_rig(server.port, **QUICK)
        gui.abandon()


@pytest.mark.slow
def test_micro_manager_killed_and_started_again(specimen: Path) -> None:
    with contextlib.ExitStack() as first:
        server = first.enter_context(serving(rig=specimen))
        stand = Stand.of_rig(remote_rig(server.port, **QUICK))
        with live(stand) as running:
            running.frames(2)
            server.kill()
            running.hears("camera", "did not answer within 1.0 s", bad=True)
            running.hears("camera", f"no Micro-Manager answers on port {server.port}", bad=True)
            with serving(port=server.port, rig=specimen):
                running.hears("camera", "the camera is back", bad=False)
                running.frames(2)
                assert running.close() < 1.0


@pytest.mark.slow
def test_an_objective_turned_behind_our_back(specimen: Path) -> None:
    with gui_at(specimen) as (gui, rig), live(Stand.of_rig(rig)) as running:
        before = running.frames(2).seen
        gui.set_state_label("Objective", rig.objectives["20x"].label)
        running.hears("objective", "the objective is now 20x (turned at the stand)", bad=False)
        after = running.frames(1).seen
        assert (before.um_per_px, after.um_per_px) == (1.0, 0.5)
        assert after.view > before.view


def test_an_objective_the_rig_does_not_know_has_no_scale(home: Path) -> None:
    with live(Stand.of_rig(make_rig(home))) as running:
        running.frames(1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backend_of(running), "_frame", unknown(backend_of(running)))
            running.hears("objective", "which small.toml does not know: no scale", bad=True)
            assert running.frames(1).seen.um_per_px is None
        running.hears("objective", "the objective is now 10x (turned at the stand)", bad=False)
        assert running.frames(1).seen.um_per_px == 0.5


def unknown(backend: Any) -> Callable[..., Frame]:
    """Make frames whose nosepiece stands between two objectives."""
    whole = backend._frame
    return lambda *args: dataclasses.replace(whole(*args), objective="4-Unknown")


@contextlib.contextmanager
def unwatched(running: Live) -> Iterator[Any]:
    """Stop the stream of a core for a change that it refuses while it runs."""
    core = backend_of(running)._link.hardware
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(backend_of(running)), "latest", lambda *_: None)
        core.stop_sequence_acquisition()
        yield core


def test_binning_changed_behind_our_back(home: Path) -> None:
    with live(Stand.of_rig(demo_rig())) as running:
        before = running.frames(2).seen
        with unwatched(running) as core:
            core.set_property("Camera", "Binning", "2")
        note = running.hears("camera", "the camera gives 32x24 px now", bad=False)
        assert "a pixel is 2 µm now" in note.words
        after = running.frames(2).seen
        assert after.shape == (24, 32)
        assert (before.um_per_px, after.um_per_px) == (1.0, 2.0)
        assert after.view > before.view
        assert len([one for one in running.said if "px now" in one.words]) == 1


def test_a_region_of_interest_leaves_the_scale_alone(home: Path) -> None:
    with live(Stand.of_rig(demo_rig())) as running:
        before = running.frames(2).seen
        with unwatched(running) as core:
            core.set_roi(8, 8, 40, 32)
        running.hears("camera", "the camera gives 40x32 px now", bad=False)
        assert running.frames(1).seen.um_per_px == before.um_per_px


def test_a_geometry_nobody_explains_has_no_scale(home: Path) -> None:
    """The simulated camera says no pixel size, so that nobody knows whether this is a binning."""
    rig = make_rig(home)
    with live(Stand.of_rig(rig)) as running:
        running.frames(1)
        kind, whole = type(backend_of(running)), type(backend_of(running))._frame
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kind, "_frame", lambda self, image, at: whole(self, image[::2, ::2], at))
            running.hears("camera", "the scale is not known now", bad=False)
            assert running.frames(1).seen.um_per_px is None
        running.hears("camera", "the camera gives 64x48 px now", bad=False)
        assert running.frames(1).seen.um_per_px == 0.5


def test_silence_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "SILENT_S", 0.2)
    monkeypatch.setattr(camera, "LOOK_S", 0.05)
    with live(Stand.of_rig(make_rig(home))) as running:
        running.frames(2)
        with monkeypatch.context() as patch:
            patch.setattr(type(backend_of(running)), "latest", lambda *_: None)
            running.hears("camera", "the camera gives no frames", bad=True)
        running.hears("camera", "the camera is back", bad=False)


# -- closing, whatever hangs -----------------------------------------------------------------------


def test_closing_does_not_wait_for_an_opening_that_hangs(rig: Rig) -> None:
    let_go, opened = threading.Event(), []

    def opener() -> Any:
        let_go.wait(20)
        opened.append(open_microscope(rig))
        return opened[0]

    with live(Stand("slow", opener, rig=rig)) as running:
        running.hears("camera", "opening slow", bad=False)
        assert running.close() < 1.2
    let_go.set()
    for thread in threading.enumerate():
        if thread.name.startswith("scope-sr live"):
            thread.join(5)
    assert opened[0]._closed, "what was opened too late is closed"


def test_closing_does_not_wait_for_a_driver_that_hangs(home: Path) -> None:
    let_go = threading.Event()
    with live(Stand.of_rig(make_rig(home, **QUICK))) as running:
        running.frames(1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(backend_of(running)), "latest", lambda *_: let_go.wait(20))
            reached = len(running.shown)
            assert running.close() < 1.2
            assert len(running.shown) <= reached + 1
            let_go.set()


def test_closing_while_it_is_gone_and_restoring_after_it_came_back(home: Path) -> None:
    with live(Stand.of_rig(make_rig(home))) as running:
        running.frames(1)
        plug_in = unplug(running, DeadlineError("the camera did not answer within 1 s"))
        running.hears("camera", "did not answer within 1 s; trying again", bad=True)
        assert running.close() < 1.0
        plug_in()


def test_exposure_is_given_back_to_micro_manager(specimen: Path) -> None:
    with gui_at(specimen) as (gui, rig):
        gui.set_exposure(7.0)
        with live(Stand.of_rig(rig)) as running:
            running.frames(1)
            microscope = running.stand.microscope
            assert microscope is not None
            microscope.set_exposure(20.0)
            running.until(lambda: running.shown[-1].seen.frame.exposure_ms == 20.0)
            assert running.close() < 1.0
        assert float(gui.get_exposure()) == 7.0
        assert not gui.is_sequence_running()


@pytest.mark.slow
def test_live_view_left_on_in_micro_manager_is_waited_for(specimen: Path) -> None:
    with gui_at(specimen, live_on=True) as (gui, rig), live(Stand.of_rig(rig)) as running:
        running.hears("camera", "live view is on in Micro-Manager; stop it there", bad=True)
        gui.stop_sequence_acquisition()
        running.frames(2)
