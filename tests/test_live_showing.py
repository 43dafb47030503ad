"""The application around the window: drawn into a file, and ended by Ctrl-C; without a screen."""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from live_window_fakes import seen_at
from PIL import Image
from PySide6 import QtWidgets
from rigs import make_rig

from scope_sr.errors import InputError, MicroscopeError
from scope_sr.live.pipeline import Pipeline
from scope_sr.live.seen import Wishes
from scope_sr.live.source.stand import Stand
from scope_sr.live.window import probe, showing
from scope_sr.live.window.settings import Settings
from scope_sr.live.window.wandering import Wandering
from scope_sr.live.window.window import LiveWindow
from scope_sr.software import NOTICE

pytestmark = pytest.mark.xdist_group("qt")


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """The simulated microscope, and no model: nothing to wait for but its pictures."""
    monkeypatch.chdir(tmp_path)  # no calibration record lies here
    return Pipeline(Stand.of_rig(make_rig()), tmp_path / "out", Wishes(model="", nuclei=""))


def test_the_window_is_drawn_into_a_file(pipeline: Pipeline, tmp_path: Path) -> None:
    drawn: list[LiveWindow] = []
    path = tmp_path / "window.png"
    showing.screenshot(pipeline, path, 20, (1000, 700), prepare=drawn.append)
    with Image.open(path) as picture:
        assert (picture.size, picture.mode, picture.format) == ((1000, 700), "RGB", "PNG")
        assert len(picture.getcolors(2**20) or []) > 1000, "tissue"
        assert picture.info["Description"] == NOTICE
    (window,) = drawn
    assert window.banner.words.text() == NOTICE
    assert sorted(one.name for one in tmp_path.iterdir()) == ["window.png"]
    assert not [one for one in threading.enumerate() if one.name.startswith("scope-sr")]


def test_what_is_wrong_does_not_hide_the_notice(pipeline: Pipeline, tmp_path: Path) -> None:
    drawn: list[LiveWindow] = []
    pipeline.board.say("model", "out of memory")
    showing.screenshot(pipeline, tmp_path / "window.png", 20, prepare=drawn.append)
    assert drawn[0].banner.words.text() == f"Out of memory. {NOTICE}"


def test_where_no_frame_comes_it_says_why(pipeline: Pipeline, tmp_path: Path) -> None:
    def fail() -> None:
        msg = "the cable is out"
        raise MicroscopeError(msg)

    pipeline.stand.open = fail  # type: ignore[method-assign, assignment]
    with pytest.raises(MicroscopeError, match=r"no frame within 0\.5 s; .*the cable is out"):
        showing.screenshot(pipeline, tmp_path / "window.png", 0.5)
    assert not list(tmp_path.glob("*.png"))


def test_a_folder_that_is_gone_leaves_nothing(pipeline: Pipeline, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"):
        showing.screenshot(pipeline, tmp_path / "gone" / "window.png", 20)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_window(
    pipeline: Pipeline, tmp_path: Path, number: signal.Signals
) -> None:
    sent_s: list[float] = []
    before = signal.getsignal(number)

    def interrupt() -> None:
        until_s = time.monotonic() + 20
        while pipeline.original.total < 3 and time.monotonic() < until_s:
            time.sleep(0.01)
        sent_s.append(time.monotonic())
        signal.raise_signal(number)

    threading.Thread(target=interrupt, daemon=True).start()
    assert showing.show(pipeline, Settings(tmp_path / "live.ini")) == 0
    assert time.monotonic() - sent_s[0] < 3
    assert pipeline.original.total >= 3
    assert signal.getsignal(number) is before
    assert not [one for one in QtWidgets.QApplication.topLevelWidgets() if one.isVisible()]
    assert not [one for one in threading.enumerate() if one.name.startswith("scope-sr")]


@pytest.mark.parametrize(("driven", "says"), [(True, True), (False, False)])
def test_only_a_simulator_wanders_not_the_replay_of_one(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, driven: bool, says: bool
) -> None:
    showing.application()
    monkeypatch.setattr(Stand, "driven", driven)
    wandering = Wandering(pipeline)
    wandering.start()
    assert pipeline.board.notes() == []
    wandering.follow(seen_at())
    assert ("demo" in [note.topic for note in pipeline.board.notes()]) is says
    assert wandering._timer.isActive() is says
    wandering.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="X and Wayland")
@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "no display to open a window on"),
        ({"DISPLAY": ":6543"}, "the display :6543 does not answer"),
        ({"WAYLAND_DISPLAY": "wayland-9"}, "the display wayland-9 does not answer"),
        ({"QT_QPA_PLATFORM": "wayland", "DISPLAY": ":0"}, "Wayland does not answer"),
        ({"QT_QPA_PLATFORM": "foo"}, "QT_QPA_PLATFORM=foo: this Qt has no platform 'foo'"),
    ],
)
def test_what_qt_would_abort_for_is_refused(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], words: str
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as refused:
        probe.refuse_what_cannot_be()
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("platform", ["offscreen", "minimal", "vnc:size=800x600"])
def test_what_needs_no_screen_is_let_through(
    monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("QT_QPA_PLATFORM", platform)
    probe.refuse_what_cannot_be()


@pytest.mark.skipif(sys.platform != "linux", reason="X")
def test_libraries_of_the_system_that_are_missing_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plugin = tmp_path / "libqxcb.so"
    plugin.write_bytes(b"no library")
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    monkeypatch.setenv("DISPLAY", ":6543")
    monkeypatch.setattr(probe, "_plugins", lambda: tmp_path)
    with pytest.raises(InputError, match=r"Qt cannot open a window: .*libxcb-cursor0"):
        probe.refuse_what_cannot_be()
