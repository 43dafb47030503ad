"""The panels beside the picture: what they show, what they ask for, why they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from live_window_fakes import ALL
from PySide6 import QtCore, QtTest, QtWidgets

from scope_sr.frame import Position
from scope_sr.live.board import Board
from scope_sr.live.levels import histogram
from scope_sr.live.seen import Abilities
from scope_sr.live.window.panels.banner import Banner
from scope_sr.live.window.panels.camera import NO_GAIN, CameraPanel
from scope_sr.live.window.panels.enhancement import EnhancementPanel, Picker
from scope_sr.live.window.panels.nuclei import Census, Course, NucleiPanel
from scope_sr.live.window.panels.parts import Fold, Slider
from scope_sr.live.window.panels.snapshots import KEPT, SnapshotsPanel
from scope_sr.live.window.panels.stage import StagePanel
from scope_sr.live.window.panels.status import PLACES, StatusLine
from scope_sr.live.window.showing import application
from scope_sr.modelfile import read_card

pytestmark = pytest.mark.xdist_group("qt")
LEFT = QtCore.Qt.MouseButton.LeftButton


@pytest.fixture(autouse=True)
def app() -> QtWidgets.QApplication:
    return application()


def told(signal: QtCore.SignalInstance) -> list[object]:
    said: list[object] = []
    signal.connect(lambda *what: said.append(what[0] if len(what) == 1 else what))
    return said


def test_exposure_is_asked_for_by_number_and_slider() -> None:
    panel = CameraPanel()
    asked = told(panel.exposure_asked)
    panel.exposure.setValue(40.0)
    assert asked == [40.0]
    assert panel.exposure_slider.number() == pytest.approx(40.0, rel=0.02)
    panel.exposure_slider.setValue(500)
    assert asked[-1] == pytest.approx((0.05 * 2000.0) ** 0.5, abs=0.01)  # half way, in ratios


def test_the_camera_is_followed_unless_somebody_sets_it() -> None:
    panel = CameraPanel()
    asked = told(panel.exposure_asked)
    panel.follow(12.5)
    assert panel.exposure.value() == 12.5
    panel.exposure.setValue(40.0)
    panel.follow(12.5)  # a frame from before
    assert panel.exposure.value() == 40.0
    assert asked == [40.0]


def test_learning_the_limits_of_the_gain_asks_for_none() -> None:
    panel = CameraPanel()
    asked = told(panel.gain_asked)
    assert panel.gain.toolTip() == NO_GAIN
    panel.set_abilities(ALL)
    panel.set_abilities(ALL)
    assert asked == []
    assert panel.gain.isEnabled()
    assert panel.gain.text() == "as found"
    panel.gain.setValue(2.0)
    assert asked == [2.0]


def test_clipping_turns_amber_and_says_so() -> None:
    panel = CameraPanel()
    picture = np.full((64, 64, 3), 128, np.uint8)
    panel.show_levels(histogram(picture))
    assert panel.clipped.property("look") == "quiet"
    picture[:32, :, 1] = 255
    panel.show_levels(histogram(picture))
    assert panel.clipped.property("look") == "warn"
    assert panel.clipped.text() == "⚠ 50.0 % too bright, 0.0 % too dark"


@pytest.mark.parametrize(
    ("abilities", "control"),
    [
        (Abilities(stage="no stage here"), lambda panel: panel.jogs["left"]),
        (Abilities(focus="no focus here"), lambda panel: panel.focus_up),
        (
            Abilities(nosepiece="by hand", objectives=("10x",)),
            lambda panel: panel.objectives["10x"],
        ),
    ],
)
def test_what_cannot_be_done_says_why(abilities: Abilities, control: object) -> None:
    panel = StagePanel()
    panel.set_abilities(abilities)
    why = abilities.stage or abilities.focus or abilities.nosepiece
    assert not control(panel).isEnabled()
    assert control(panel).toolTip() == why
    assert control(panel).accessibleDescription() == why
    panel.set_abilities(ALL)
    panel.set_abilities(Abilities(objectives=abilities.objectives))
    assert control(panel).isEnabled()
    assert control(panel).toolTip() != why


def test_stop_stays_while_anything_moves() -> None:
    panel = StagePanel()
    panel.set_abilities(Abilities(stage="none", focus="none"))
    assert panel.stop.isEnabled()
    stops = told(panel.stop_asked)
    panel.stop.click()
    assert len(stops) == 1
    panel.set_abilities(Abilities(stage="none", focus="none", nosepiece="none"))
    assert not panel.stop.isEnabled()


def test_objectives_and_place() -> None:
    panel = StagePanel()
    assert panel.set_abilities(ALL, {"10x": ("10×", "10x: 10×/0.30")})
    assert not panel.set_abilities(ALL)
    asked = told(panel.objective_asked)
    panel.show_place(Position(-1.25, 2.0, 3.0), "10x")
    assert panel.position.text() == "x −1.2   y 2.0   z 3.00 µm"
    assert [name for name, one in panel.objectives.items() if one.isChecked()] == ["10x"]
    panel.objectives["20x"].click()
    assert asked == ["20x"]
    jogs = told(panel.jog_asked)
    panel.jogs["up"].click()
    assert jogs == [(0.0, -1.0)]


def test_the_picker_chooses_and_comes_back_from_the_file() -> None:
    picker = Picker("Model")
    picker.offer(["compact-x2", "compact-x4"])
    picker.offer(["compact-x2", "compact-x4"])
    assert [picker.itemText(at) for at in range(picker.count())] == [
        "Automatic, by pixel size", "compact-x2", "compact-x4", "None", "Open model file...",
    ]  # fmt: skip
    chosen, files = told(picker.chosen), told(picker.file_asked)
    picker.activated.emit(1)
    picker.activated.emit(picker.count() - 1)
    assert chosen == ["compact-x2"]
    assert len(files) == 1
    assert picker.currentData() == "compact-x2"
    picker.choose("/runs/mine/gan.ts")
    assert picker.currentText() == "gan.ts"
    assert picker.currentData() == "/runs/mine/gan.ts"


def test_the_card_and_its_warnings() -> None:
    panel = EnhancementPanel()
    panel.show_card(None, loading=True)
    assert panel.card.text() == "Loading the model ..."
    panel.show_card(None, loading=False, reason="no model fits 0.25 µm per pixel")
    assert panel.card.text() == "No model fits 0.25 µm per pixel"
    panel.show_card(read_card("compact-x2"), loading=False)
    assert panel.card.text().startswith("compact-x2: ×2, 0.501 → 0.25 µm per pixel; learnt from")
    panel.show_warnings(("the pixels are too large",))
    assert panel.warning.text() == "⚠ The pixels are too large"
    assert not panel.warning.isHidden()
    panel.show_warnings(())
    assert panel.warning.isHidden()


def test_the_census_in_words() -> None:
    panel = NucleiPanel()
    panel.show_census(Census(1250, 250_000.0, 31.26, 0.4))
    assert panel.count.text() == "1 250"
    assert panel.density.text() == "5 000 per mm²"
    assert panel.mean.text() == "mean area 31.3 µm²"
    assert panel.share.text() == "counted in 40 % of the field"
    panel.show_census(Census(3, None, None, 1.0))
    assert (panel.density.text(), panel.mean.text()) == ("", "")
    assert panel.share.text() == "whole field"
    panel.show_census(None, "Not looked for; N shows them.")
    assert panel.count.text() == "–"


def test_the_course_forgets_after_a_minute() -> None:
    course = Course()
    for second in range(100):
        course.add(float(second), float(second))
    assert [value for _, value in course._points] == [float(one) for one in range(39, 100)]
    assert not course.grab().isNull()


def test_the_film_keeps_the_newest(tmp_path: Path) -> None:
    panel = SnapshotsPanel()
    opened = told(panel.opened)
    picture = np.random.default_rng(0).integers(0, 255, (48, 65, 3), np.uint8)
    for number in range(KEPT + 3):
        panel.add(tmp_path / f"{number}.png", picture)
    shots = [panel.row.itemAt(at).widget() for at in range(panel.row.count() - 1)]
    assert len(shots) == KEPT
    assert shots[0].accessibleName() == f"Snapshot {KEPT + 2}.png"
    shots[0].click()
    assert opened == [tmp_path / f"{KEPT + 2}.png"]


def test_the_banner_shows_the_worst_and_forgets_what_was_put_away() -> None:
    board, banner = Board(), Banner()
    board.say("snapshot", "saved", bad=False)
    board.say("camera", "the camera is gone")
    board.say("stage", "arrived", bad=False)
    banner.tell(board.notes())
    assert banner.words.text() == "The camera is gone"
    assert banner.property("look") == "bad"
    assert not banner._fade.isActive()
    QtTest.QTest.mouseClick(banner.close_, LEFT)
    assert banner.words.text() == "Arrived"
    assert banner.property("look") == "good"
    assert banner._fade.isActive()
    banner._fade.timeout.emit()
    banner._fade.timeout.emit()
    assert banner.isHidden()
    banner.tell(board.notes())
    assert banner.isHidden()
    board.clear("camera")
    banner.tell(board.notes())
    board.say("camera", "the camera is gone")
    banner.tell(board.notes())
    assert not banner.isHidden()
    board.clear("camera")
    banner.tell(board.notes())
    assert banner.isHidden()


def test_a_narrow_status_line_keeps_what_matters() -> None:
    line = StatusLine()
    line.resize(2400, 26)
    line.tell(original="30.0 fps", backend="OpenVINO, CPU")
    line.show()
    assert all(not line.labels[name].isHidden() for name, _, _ in PLACES if name != "recording")
    line.resize(400, 26)
    assert not line.labels["original"].isHidden()
    assert line.labels["colour"].isHidden()
    line.tell_recording("● 00:00:01  9 GB free")
    assert not line.labels["recording"].isHidden()


def test_numbers_do_not_move_the_line() -> None:
    line = StatusLine()
    line.resize(1400, 26)
    line.show()
    line.tell(original=" 9.9 fps", latency="latency 9 ms (p95 12)", backend="CPU")
    application().processEvents()
    before = [label.x() for label in line.labels.values()]
    line.tell(original="30.0 fps", latency="latency 1234 ms (p95 2345)")
    application().processEvents()
    assert [label.x() for label in line.labels.values()] == before


def test_a_fold_closes_and_says_so() -> None:
    inside = QtWidgets.QWidget()
    QtWidgets.QVBoxLayout(inside).addWidget(QtWidgets.QLabel("inside"))
    fold = Fold("Camera", inside)
    fold.head.click()
    assert inside.isHidden()
    assert fold.head.accessibleDescription() == "folded"
    fold.head.click()
    assert not inside.isHidden()


@pytest.mark.parametrize("ratios", [False, True])
def test_a_slider_stands_where_it_is_told(ratios: bool) -> None:
    slider = Slider("x", 0.1, 10.0, ratios=ratios)
    moves = told(slider.moved_to)
    for number in (0.1, 1.0, 10.0):
        slider.stand_at(number)
        assert slider.number() == pytest.approx(number, abs=0.02)
    assert moves == []
    slider.setValue(0)
    assert moves == [pytest.approx(0.1)]
