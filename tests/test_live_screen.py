"""The live view on a screen, with a window manager, driven by a mouse and a keyboard."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from math import dist, hypot
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from screen import MISSING, Live, Screen, screen, until

from scope_sr.software import NOTICE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("screen"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {' '.join(MISSING)}"),
]
CLOSE_S = 3.0  # threads within one, then the interpreter; and the computer may be busy


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    with screen(tmp_path_factory.mktemp("screen")) as made:
        yield made


@pytest.fixture(scope="module")
def shared(on: Screen) -> Iterator[Live]:
    """One window for all that leaves it open."""
    started = Live(on)
    try:
        yield started
        assert "Traceback" not in started.stderr
        assert started.stderr == ""
    finally:
        started.leave()


@pytest.fixture
def live(shared: Live) -> Live:
    """The window at rest: the stage stands, the keys go to the picture, the split is shown."""
    shared.until("a picture", lambda facts: facts["rects"]["pane"])
    shared.key("Escape", "3", "f")
    shared.until("the split", lambda facts: facts["mode"] == "split")
    if "10x" != shared.still()["seen"]["objective"]:
        shared.click("10x")
        shared.until("10x", lambda facts: facts["seen"]["objective"] == "10x")
    shared.still()
    return shared


@pytest.fixture
def own(on: Screen) -> Iterator[Live]:
    """A window of its own, that may be closed."""
    started = Live(on)
    try:
        started.until("a picture", lambda facts: facts["rects"]["pane"])
        yield started
    finally:
        started.leave()


def stage_um(facts: dict[str, Any]) -> tuple[float, float]:
    x_um, y_um, _ = facts["seen"]["stage_um"]
    return x_um, y_um


def faults(facts: dict[str, Any]) -> list[str]:
    """List what went wrong; on a busy computer the simulator may take seconds for new tissue."""
    return [words for words in facts["errors"] if "the camera gives no frames" not in words]


def moved(live: Live, before: dict[str, Any]) -> tuple[float, float]:
    """Wait for the stage to come to rest elsewhere; give by how many µm."""
    live.until("a move", lambda facts: stage_um(facts) != stage_um(before))
    x_um, y_um = stage_um(live.still())
    return x_um - stage_um(before)[0], y_um - stage_um(before)[1]


def _same(live: Live) -> Any:
    """Give what is seen if it is what was seen half a second before."""
    before = live.facts["seen"]
    time.sleep(0.5)
    return before if live.facts["seen"] == before else None


def _windows(on: Screen) -> list[str]:
    searched = subprocess.run(
        ["xdotool", "search", "--onlyvisible", "--name", "scope-sr live"],
        env=on.environment(), capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    return searched.stdout.split()


def test_a_slide_moves_within_seconds_until_somebody_comes(on: Screen) -> None:
    begun_s = time.monotonic()
    live = Live(on)
    try:
        first = live.until("the first frame", lambda facts: True)
        assert time.monotonic() - begun_s < 15  # 3 on a computer that is not busy
        assert first["writing_pt"] >= 10
        live.until("a stage that wanders", lambda facts: stage_um(facts) != stage_um(first))
        assert "demo" in [topic for topic, *_ in live.facts["notes"]]
        assert [NOTICE, False] in [words for _, *words in live.facts["notes"]]
        live.key("x")
        live.until("the end of it", lambda facts: "demo" not in [n[0] for n in facts["notes"]])
        stands = stage_um(live.still())
        number = live.facts["seen"]["number"]
        later = live.until("later", lambda facts: facts["seen"]["number"] > number + 7 * 30)
        assert stage_um(later) == stands
        assert faults(later) == []
    finally:
        live.leave()


def test_white_balance_is_taken_from_glass_only(own: Live) -> None:
    own.key("w")
    own.until("a refusal", lambda facts: any("not blank" in note[1] for note in facts["notes"]))
    own.key(*["Right"] * 7, *["Up"] * 7)  # 350 µm each: between four cores
    own.until("glass", lambda facts: dist(stage_um(facts), (350, 350)) < 10)
    own.still()
    own.click("20x")
    own.until("20x", lambda facts: facts["seen"]["objective"] == "20x")
    own.still()
    own.click("blank")
    facts = own.until("gains", lambda facts: facts["gains"] != [1, 1, 1])
    facts = own.until("grey glass", lambda facts: np.ptp(facts["seen"]["mean"]) < 3)
    assert min(facts["gains"]) > 0.5


@pytest.mark.parametrize("way", ["keys", "window manager", "interrupt", "terminate"])
def test_closing_ends_the_program(own: Live, way: str) -> None:
    own.until("a model", lambda facts: facts["covered"] > 0)
    if way == "keys":
        own.key("ctrl+q")
    elif way == "window manager":
        own.key("alt+F4")
    else:
        own.process.send_signal(signal.SIGINT if way == "interrupt" else signal.SIGTERM)
    assert own.ended() < CLOSE_S
    assert own.process.returncode == 0
    assert own.stderr == ""
    assert (own.on.folder / "config" / "scope-sr").is_dir(), "settings beside this user's own"


def test_it_is_the_program_itself(on: Screen) -> None:
    """What the other tests start tells of itself; this is the command as anybody types it."""
    live = Live(on, told=False)
    try:
        found = until("its window", lambda: _windows(on))
        on.do("windowactivate", "--sync", found[0], "key", "ctrl+q")
        live.ended()
        assert (live.process.returncode, live.stderr) == (0, "")
    finally:
        live.leave()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "no display to open a window on"),
        ({"DISPLAY": ":6543"}, "the display :6543 does not answer"),
        ({"DISPLAY": "nonsense"}, "the display nonsense does not answer"),
        ({"WAYLAND_DISPLAY": "wayland-9"}, "the display wayland-9 does not answer"),
        ({"DISPLAY": ":0", "QT_QPA_PLATFORM": "wayland"}, "the display of Wayland does not answer"),
        ({"QT_QPA_PLATFORM": "foo"}, "this Qt has no platform 'foo'; unset it"),
    ],
)
def test_without_a_screen_it_says_so_in_a_line(
    tmp_path: Path, changed: dict[str, str], words: str
) -> None:
    bare = {key: value for key, value in os.environ.items()
            if key not in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")}  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-m", "scope_sr", "live", "--out", str(tmp_path)],
        env=bare | changed, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 2
    assert words in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_line_is_dragged(live: Live) -> None:
    x, y = live.facts["grip"]
    live.drag((x, y), (x - 150, y + 40))
    facts = live.until("a line", lambda facts: facts["grip"][0] < x - 140)
    assert abs(facts["grip"][0] - (x - 150)) <= 2
    live.drag((x - 150, y), (x, y))
    live.until("the line back", lambda facts: abs(facts["grip"][0] - x) <= 2)


def test_the_lens_follows_and_grows(live: Live) -> None:
    live.key("4")
    x, y = live.middle("pane")
    live.move(x + 80, y - 60)
    facts = live.until("the lens there", lambda facts: facts["lens_at"] == [x + 80, y - 60])
    size = facts["lens_px"]
    live.key("l", "l")
    live.until("a larger lens", lambda facts: facts["lens_px"] > 1.5 * size)
    live.key("k", "k")
    live.until("the lens as before", lambda facts: abs(facts["lens_px"] - size) < 1)


def test_steps_by_keys_and_by_buttons(live: Live) -> None:
    for press, way in (
        (lambda: live.key("Right"), (50, 0)),
        (lambda: live.click("jog_left"), (-50, 0)),
        (lambda: live.key("Down"), (0, -50)),  # the picture's down; stage y grows upwards
        (lambda: live.click("jog_up"), (0, 50)),
    ):
        before = live.still()
        press()
        assert dist(moved(live, before), way) < 1


@pytest.mark.parametrize(("right", "down"), [(120, -90), (-200, 160)])
def test_a_double_click_moves_by_what_was_clicked(live: Live, right: int, down: int) -> None:
    before = live.still()
    x, y = before["middle"]
    live.click_at(x + right, y + down, times=2)
    x_um, y_um = moved(live, before)
    um = before["seen"]["um_per_px"] / before["zoom"]  # of a pixel of the screen
    assert hypot(x_um, y_um) == pytest.approx(um * hypot(right, down), abs=1)
    # the camera of this rig stands askew to the stage by less than a degree
    assert dist((x_um, y_um), (um * right, -um * down)) < 0.02 * um * hypot(right, down) + 1


def test_an_objective_brings_its_scale_and_its_model(live: Live) -> None:
    live.click("5x")
    facts = live.until("5x", lambda facts: facts["seen"]["objective"] == "5x")
    assert facts["seen"]["um_per_px"] == pytest.approx(1, rel=0.02)
    live.until("its model", lambda facts: facts["model"] == "compact-x4")
    live.click("10x")
    facts = live.until("10x", lambda facts: facts["seen"]["objective"] == "10x")
    assert facts["seen"]["um_per_px"] == pytest.approx(0.5, rel=0.02)
    live.until("its model", lambda facts: facts["model"] == "compact-x2")


def test_freeze_holds_the_picture_and_its_tools(live: Live) -> None:
    live.key("space")
    live.until("a frozen picture", lambda facts: facts["frozen"])
    frozen = until("the last frame", lambda: _same(live))
    zoom = live.facts["zoom"]
    live.key("plus")
    assert live.until("zoom", lambda facts: facts["zoom"] > zoom)["seen"] == frozen
    live.click("freeze")
    live.until("going on", lambda facts: facts["seen"]["number"] > frozen["number"] + 5)


def test_a_snapshot_is_whole_and_tells_the_place(live: Live) -> None:
    live.until("something enhanced", lambda facts: facts["covered"] > 0.02)
    there = set(live.out.glob("*.json"))
    live.key("s")
    (path,) = until("a snapshot", lambda: set(live.out.glob("*.json")) - there)
    told = json.loads(path.read_text())
    assert told["notice"] == NOTICE
    assert told["model"]["name"] == "compact-x2"
    x_um, y_um = stage_um(live.facts)
    assert dist((told["frame"]["stage_um"]["x"], told["frame"]["stage_um"]["y"]), (x_um, y_um)) < 1
    assert path.with_suffix(".png").is_file()
    for kind, entry in told["files"].items():
        pixels = tifffile.imread(path.parent / entry["file"])
        assert list(pixels.shape) == entry["shape"], kind
    original, enhanced = (
        tifffile.imread(path.parent / told["files"][kind]["file"])
        for kind in ("original", "enhanced")
    )
    assert enhanced.shape[0] == 2 * original.shape[0]
    lit = enhanced[::2, ::2].any(axis=2)
    apart = np.abs(enhanced[::2, ::2][lit].astype(float) - original[lit])
    assert apart.mean() < 12  # the same place


def test_a_recording_is_played_again(live: Live, on: Screen) -> None:
    live.click("record")
    live.until("a recording", lambda facts: facts["recording"])
    number = live.facts["seen"]["number"]
    live.until("some frames", lambda facts: facts["seen"]["number"] > number + 60)
    live.key("r")
    live.until("its end", lambda facts: not facts["recording"])
    (folder,) = until("the folder", lambda: [
        one for one in live.out.glob("recording-*") if one.suffix != ".part"])  # fmt: skip
    lines = (folder / "frames.jsonl").read_text().splitlines()
    assert len(lines) > 2
    assert json.loads((folder / "recording.json").read_text())["notice"] == NOTICE
    replay = Live(on, "--replay", folder)
    try:
        facts = replay.until("a frame of it", lambda facts: True)
        assert dist(stage_um(facts), stage_um(live.facts)) < 1
        assert facts["seen"]["objective"] == "10x"
        number = facts["seen"]["number"]
        later = replay.until("more of it", lambda facts: facts["seen"]["number"] > number + 20)
        assert "demo" not in [topic for topic, *_ in later["notes"]]
        assert faults(later) == []
    finally:
        replay.leave()


def test_themes_follow_each_other(live: Live) -> None:
    for name in ("light", "contrast", "dark"):
        live.key("t")
        live.until(name, lambda facts, name=name: facts["theme"] == name)


def test_the_sheet_of_keys_leaves_the_keys_to_the_window(live: Live) -> None:
    live.key("question")
    facts = live.until("the sheet", lambda facts: facts["dialogs"])
    (_, _, wide, high) = facts["dialogs"][0]
    assert wide <= 1270
    assert high <= 700
    live.key("5")
    live.until("a key that works", lambda facts: facts["mode"] == "side")
    live.key("question")
    live.until("no sheet", lambda facts: not facts["dialogs"])


def test_the_original_while_o_is_held(live: Live) -> None:
    live.on.do("keydown", "o")
    live.until("the original", lambda facts: facts["held"])
    live.on.do("keyup", "o")
    live.until("both", lambda facts: not facts["held"])


def test_overlays_go_on_and_off(live: Live) -> None:
    live.key(*["plus"] * 6)  # nuclei are looked for where there is a picture of all that is seen
    live.key("n")
    live.until("no nuclei", lambda facts: facts["wishes"]["nuclei"] == "")
    live.click("nuclei")
    live.until("nuclei", lambda facts: facts["wishes"]["nuclei"] and facts["count"], 90)
    live.key("d")
    live.until("the map", lambda facts: facts["apart"])
    live.key("d")
    live.until("no map", lambda facts: not facts["wishes"]["apart"])


def test_wheel_and_one_to_one(live: Live) -> None:
    zoom = live.facts["zoom"]
    x, y = live.middle("pane")
    live.click_at(x + 50, y + 50, button=4, times=3)
    live.until("three notches", lambda facts: abs(facts["zoom"] / zoom - 1.25**3) < 0.01)
    live.key("z")
    live.until("1:1", lambda facts: facts["zoom"] == 1)
    live.click("fit")
    live.until("all of it", lambda facts: abs(facts["zoom"] - zoom) < 0.01)


def test_the_map_is_clicked(live: Live) -> None:
    if not live.facts["rects"]["minimap"]:
        live.click("fold Map")
        live.until("the map", lambda facts: facts["rects"]["minimap"])
    before = live.still()
    left, top, wide, high = before["rects"]["minimap"]
    live.click_at(left + wide / 2 + 25, top + high / 2 - 15)
    x_um, y_um = moved(live, before)
    assert x_um > 50
    assert y_um > 50  # stage y grows upwards, rows downwards
    live.click("fold Map")


def test_size_and_full_screen(live: Live) -> None:
    live.on.do("search", "--onlyvisible", "--name", "scope-sr live", "windowsize", 1280, 720)
    facts = live.until("the size", lambda facts: facts["size"] == [1280, 720])
    assert facts["rects"]["keys"], "the last button of the bar"
    live.key("F11")
    live.until("all of the screen", lambda facts: facts["size"][0] == 1920)
    live.key("F11")
    live.until("a window again", lambda facts: facts["size"] == [1280, 720])
    live.on.do("search", "--onlyvisible", "--name", "scope-sr live", "windowsize", 1440, 900)
    live.until("the size", lambda facts: facts["size"] == [1440, 900])
