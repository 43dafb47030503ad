"""The window without a microscope: what it shows, what it asks for, and whose keys are whose."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import shiboken6
from live_window_fakes import FakePipeline, patch_of, seen_at
from PySide6 import QtCore, QtTest, QtWidgets

from scope_sr.calibration import CalibrationRecord
from scope_sr.errors import InputError
from scope_sr.live.seen import Abilities
from scope_sr.live.window import probe
from scope_sr.live.window.actions import ACTIONS, BY_NAME, GROUPS
from scope_sr.live.window.asking import Asking
from scope_sr.live.window.bridge import Bridge
from scope_sr.live.window.directions import along_the_picture, offset_px, with_the_picture
from scope_sr.live.window.readouts import Readouts
from scope_sr.live.window.settings import Settings
from scope_sr.live.window.sheet import Sheet, told
from scope_sr.live.window.showing import application
from scope_sr.live.window.theme import THEMES
from scope_sr.live.window.tour import STEPS, Tour
from scope_sr.live.window.wandering import Wandering
from scope_sr.live.window.window import LiveWindow
from scope_sr.software import NOTICE

pytestmark = pytest.mark.xdist_group("qt")
Key, Modifier = QtCore.Qt.Key, QtCore.Qt.KeyboardModifier
OFTEN_S = 5.0


def until(true: Callable[[], object]) -> None:
    app, end_s = application(), time.monotonic() + OFTEN_S
    while not true():
        assert time.monotonic() < end_s, "it did not happen"
        app.processEvents(QtCore.QEventLoop.ProcessEventsFlag.AllEvents, 20)


@pytest.fixture
def pipeline(tmp_path: Path) -> FakePipeline:
    return FakePipeline(tmp_path)


@pytest.fixture
def window(pipeline: FakePipeline, tmp_path: Path) -> Iterator[LiveWindow]:
    application()
    made = LiveWindow(pipeline, Settings(tmp_path / "live.ini"))
    made.show()
    made.activateWindow()
    until(made.isActiveWindow)
    made.canvas.setFocus()
    yield made
    made.close()
    shiboken6.delete(made)


def press(widget: QtWidgets.QWidget, key: Key, modifier: Modifier = Modifier.NoModifier) -> None:
    QtTest.QTest.keyClick(widget, key, modifier)


def test_a_frame_comes_to_the_screen_and_its_buffer_goes_back(
    window: LiveWindow, pipeline: FakePipeline
) -> None:
    first, second = seen_at(), seen_at(number=2)
    pipeline.give(first)
    until(lambda: window.seen is first)
    until(lambda: pipeline.original.total == 1)
    pipeline.give(second)
    until(lambda: window.seen is second)
    assert pipeline.pool.get((48, 64, 4)) is not window.canvas.shown.pixels


def test_a_patch_is_laid_and_counted(window: LiveWindow, pipeline: FakePipeline) -> None:
    seen = seen_at()
    pipeline.give(seen)
    pipeline.tray.put(patch_of(seen))
    pipeline.notify()
    until(lambda: window.canvas.enhanced.covered == 1.0)
    assert pipeline.enhanced.total == 1
    window.readouts.read_picture()
    assert window.nuclei_panel.count.text() == "4"
    # 4 nuclei in 64 x 48 px of 0.5 µm
    assert window.nuclei_panel.density.text() == f"{4 / (64 * 48 * 0.25e-6):,.0f} per mm²".replace(
        ",", " "
    )


def test_nuclei_of_another_view_are_not_counted(window: LiveWindow, pipeline: FakePipeline) -> None:
    seen = seen_at()
    pipeline.give(seen)
    pipeline.tray.put(patch_of(seen))
    pipeline.give(seen_at(500.0, view=2))
    until(lambda: window.canvas.enhanced.covered == 1.0)
    window.readouts.read_picture()
    assert window.nuclei_panel.count.text() == "–"


def test_number_keys_take_the_modes(window: LiveWindow) -> None:
    modes = [act for act in ACTIONS if act.among == "mode"]
    assert [act.name for act in modes] == list(window.canvas.MODES)
    for act in modes:
        press(window.canvas, getattr(Key, f"Key_{act.keys[0]}"))
        assert window.canvas.mode == act.name
        assert window.is_on(act.name)


def test_the_original_alone_asks_for_nothing(window: LiveWindow, pipeline: FakePipeline) -> None:
    press(window.canvas, Key.Key_N)
    press(window.canvas, Key.Key_1)
    assert not pipeline.model.wishes.enhance
    assert pipeline.model.wishes.nuclei == ""
    press(window.canvas, Key.Key_N)
    assert pipeline.model.wishes.enhance
    assert pipeline.model.wishes.nuclei == "auto"
    press(window.canvas, Key.Key_N)
    press(window.canvas, Key.Key_D)
    assert pipeline.model.wishes.enhance
    assert pipeline.model.wishes.disagreement


def test_o_shows_the_original_while_it_is_held(window: LiveWindow) -> None:
    QtTest.QTest.keyPress(window.canvas, Key.Key_O)
    assert window.canvas.comparison.held
    QtTest.QTest.keyRelease(window.canvas, Key.Key_O)
    assert not window.canvas.comparison.held


def test_arrows_move_the_view_by_steps(window: LiveWindow, pipeline: FakePipeline) -> None:
    pipeline.give(seen_at())
    until(lambda: window.seen)
    window.stage_panel.step.setValue(40.0)
    press(window.canvas, Key.Key_Right)
    press(window.canvas, Key.Key_Down)
    press(window.canvas, Key.Key_Left, Modifier.ShiftModifier)
    press(window.canvas, Key.Key_PageUp)
    moves = [call for call in pipeline.hands.calls if call[0] == "move_by"]
    assert moves == [
        ("move_by", 40.0, 0.0), ("move_by", 0.0, -40.0), ("move_by", -400.0, 0.0),
        ("move_by", 0.0, 0.0, 1.0),
    ]  # fmt: skip


def test_numbers_keep_their_keys(window: LiveWindow, pipeline: FakePipeline) -> None:
    field = window.camera_panel.exposure
    window.readouts.read_status()
    field.setFocus()
    field.selectAll()
    QtTest.QTest.keyClicks(field, "25")
    press(field, Key.Key_Right)
    assert window.canvas.mode == "split"
    assert not pipeline.hands.calls
    press(field, Key.Key_Return)
    assert pipeline.hands.calls == [("set_exposure", 25.0)]
    assert not field.hasFocus()


def test_escape_stops_from_a_number_as_well(window: LiveWindow, pipeline: FakePipeline) -> None:
    window.camera_panel.exposure.setFocus()
    press(window.camera_panel.exposure, Key.Key_Escape)
    assert ("stop",) in pipeline.hands.calls


def test_a_click_on_a_button_leaves_the_keys_with_the_picture(window: LiveWindow) -> None:
    QtTest.QTest.mouseClick(window.stage_panel.jogs["up"], QtCore.Qt.MouseButton.LeftButton)
    assert window.canvas.hasFocus()


def test_plain_keys_work_from_a_focused_button(window: LiveWindow, pipeline: FakePipeline) -> None:
    head = window.folds[0].head
    head.setFocus()
    press(head, Key.Key_2)
    assert window.canvas.mode == "enhanced"
    press(head, Key.Key_PageDown)
    assert pipeline.hands.calls == [("move_by", 0.0, 0.0, -1.0)]
    press(head, Key.Key_Space)  # its own
    assert not pipeline.camera.frozen
    assert not head.isChecked()


def test_every_control_has_a_name(window: LiveWindow) -> None:
    window.readouts.read_status()
    nameless = [
        f"{type(one).__name__} {one.objectName()}"
        for one in window.findChildren(QtWidgets.QWidget)
        if one.window() is window
        and one.focusPolicy() & QtCore.Qt.FocusPolicy.TabFocus
        and not one.accessibleName()
        and not isinstance(one.parentWidget(), QtWidgets.QDoubleSpinBox)
    ]
    assert nameless == []


def test_tab_goes_as_one_reads(window: LiveWindow) -> None:
    window.readouts.read_status()
    chain, one = [], window.toolbar.widgetForAction(window.actions_by_name["freeze"])
    for _ in range(200):
        chain.append(one)
        one = one.nextInFocusChain()
        if one is chain[0]:
            break
    order = [
        window.banner.close_, window.canvas, window.folds[0].head,
        window.camera_panel.exposure_slider, window.camera_panel.exposure,
        window.camera_panel.gain_slider, window.camera_panel.blank, window.camera_panel.neutral,
        window.folds[1].head, *window.stage_panel.objectives.values(),
        window.stage_panel.jogs["up"], window.stage_panel.stop, window.folds[3].head,
        window.enhancement_panel.picker, window.folds[4].head, window.nuclei_panel.outline,
        window.nuclei_panel.fill, window.nuclei_panel.opacity, window.folds[5].head,
    ]  # fmt: skip
    places = [chain.index(one) for one in order]
    assert places == sorted(places)


def test_one_table_makes_toolbar_menus_and_sheet(window: LiveWindow) -> None:
    on_bar = {action.toolTip() for action in window.toolbar.actions() if action.text()}
    assert on_bar == {window.actions_by_name[act.name].toolTip() for act in ACTIONS if act.on_bar}
    menus = [action.menu() for action in window.menuBar().actions()]
    assert [menu.title().strip("&") for menu in menus] == list(GROUPS)
    in_menus = {id(action) for menu in menus for action in menu.actions()}
    for act in ACTIONS:
        assert (id(window.actions_by_name[act.name]) in in_menus) != act.name.endswith("_far")
    words = [line for group in told().values() for line in group]
    assert all(any(act.tells == tells for _, tells in words) for act in ACTIONS if act.keys)
    texts = " ".join(
        label.text() for label in Sheet(window, window.theme).findChildren(QtWidgets.QLabel)
    )
    assert all(act.tells.rstrip(".") in texts for act in ACTIONS if act.keys)


def test_no_key_means_two_things() -> None:
    keys = [key for act in ACTIONS for key in act.keys]
    assert len(keys) == len(set(keys))


def test_freeze_stops_what_is_handed_on(window: LiveWindow, pipeline: FakePipeline) -> None:
    press(window.canvas, Key.Key_Space)
    assert pipeline.camera.frozen
    assert window.is_on("freeze")
    window.actions_by_name["freeze"].trigger()
    assert not pipeline.camera.frozen
    assert not window.is_on("freeze")


def test_white_balance_of_glass_and_the_refusal_of_tissue(
    window: LiveWindow, pipeline: FakePipeline
) -> None:
    seen = seen_at()
    seen.rgb[:] = (180, 200, 160)
    pipeline.give(seen)
    until(lambda: window.seen)
    press(window.canvas, Key.Key_W)
    assert pipeline.camera.gains == pytest.approx((200 / 180, 1.0, 200 / 160), rel=1e-3)
    seen.rgb[:24] = (150, 70, 120)
    window.deeds.reset_balance()
    press(window.canvas, Key.Key_W)
    assert pipeline.camera.gains == (1.0, 1.0, 1.0)
    until(lambda: "not blank" in window.banner.words.text())


def test_a_click_makes_a_point_neutral(window: LiveWindow, pipeline: FakePipeline) -> None:
    seen = seen_at()
    seen.rgb[:] = (180, 200, 160)
    pipeline.give(seen)
    until(lambda: window.seen)
    window.deeds.neutral_point()
    assert window.canvas.gestures.picking
    window.canvas.picked.emit(20.0, 30.0)
    assert not window.canvas.gestures.picking
    assert not window.camera_panel.neutral.isChecked()
    assert pipeline.camera.gains[2] == pytest.approx(200 / 160, rel=1e-3)


def test_a_snapshot_holds_what_is_seen(window: LiveWindow, pipeline: FakePipeline) -> None:
    press(window.canvas, Key.Key_S)
    assert not pipeline.writer.calls
    seen = seen_at()
    pipeline.give(seen)
    pipeline.tray.put(patch_of(seen))
    until(lambda: window.canvas.enhanced.covered == 1.0)
    press(window.canvas, Key.Key_S)
    _, moment, done = pipeline.writer.calls[-1]
    assert moment.seen is seen
    assert moment.enhanced.shape == (96, 128, 3)
    assert moment.labels.max() == 4
    thread = threading.Thread(target=done, args=(Path("snapshot-1.png"),))
    thread.start()
    thread.join()
    until(lambda: not window.snapshots_panel.film.isHidden())


def test_what_is_enhanced_of_another_place_is_not_saved(
    window: LiveWindow, pipeline: FakePipeline
) -> None:
    seen = seen_at()
    pipeline.give(seen)
    pipeline.tray.put(patch_of(seen))
    later = seen_at(500.0, view=2)
    pipeline.give(later)
    until(lambda: window.seen is later)
    window.deeds.snapshot()
    assert pipeline.writer.calls[-1][1].enhanced is None


def test_settings_come_back(pipeline: FakePipeline, tmp_path: Path) -> None:
    application()
    first = LiveWindow(pipeline, Settings(tmp_path / "live.ini"))
    first.deeds.look("lens")
    first.set_theme(THEMES["light"])
    first.canvas.set_split(0.25)
    first.nuclei_panel.opacity.stand_at(0.4)
    first.folds[0].head.setChecked(False)
    first.enhancement_panel.picker.choose("compact-x4")
    first.deeds.set_gains((1.2, 1.0, 1.5))
    first.close()
    shiboken6.delete(first)
    again = FakePipeline(tmp_path)
    second = LiveWindow(again, Settings(tmp_path / "live.ini"))
    assert second.canvas.mode == "lens"
    assert second.theme is THEMES["light"]
    assert second.canvas.split == pytest.approx(0.25)
    assert second.nuclei_panel.opacity.number() == pytest.approx(0.4)
    assert not second.folds[0].head.isChecked()
    assert again.model.wishes.model == "compact-x4"
    assert again.camera.gains == (1.2, 1.0, 1.5)
    second.close()
    shiboken6.delete(second)


def test_damaged_settings_are_none(pipeline: FakePipeline, tmp_path: Path) -> None:
    (tmp_path / "live.ini").write_text(
        "[General]\ngeometry=@ByteArray(no)\ntheme=pink\nmode=7\nsplit=nan\nopacity=-3\n"
        "outline=perhaps\nstep_um=@Invalid()\nmodel=/nowhere/model.ts\n[gains]\n"
        "simulated\\red=1e9\n[folded]\nCamera=what\n\xff",
        encoding="latin-1",
    )
    application()
    window = LiveWindow(pipeline, Settings(tmp_path / "live.ini"))
    assert window.canvas.mode == "split"
    assert window.theme is THEMES["dark"]
    assert window.canvas.split == 0.5
    assert window.stage_panel.step.value() == 50.0
    assert pipeline.model.wishes.model == "auto"
    assert pipeline.camera.gains == (1.0, 1.0, 1.0)
    assert window.folds[0].head.isChecked()
    window.close()
    shiboken6.delete(window)


def test_closing_finishes_a_recording_and_the_pipeline(
    window: LiveWindow, pipeline: FakePipeline
) -> None:
    pipeline.writer.recording = object()
    window.readouts.stop()
    window.close()
    window.close()
    assert ("end_recording",) in pipeline.writer.calls
    assert pipeline.closed == 1


def test_the_notice_is_said_at_the_start(window: LiveWindow) -> None:
    until(lambda: window.banner.words.text() == NOTICE)
    assert window.banner.shown is not None
    assert not window.banner.shown.bad


def test_the_bridge_posts_one_event_at_most() -> None:
    app, ran = application(), []
    bridge = Bridge(lambda: ran.append(threading.current_thread()))
    threads = [
        threading.Thread(target=lambda: [bridge.notify() for _ in range(200)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    app.processEvents()
    assert ran == [threading.main_thread()]
    bridge.notify()
    app.processEvents()
    assert len(ran) == 2


def test_a_question_from_another_thread_is_answered_by_a_button() -> None:
    application()
    asking, answers = Asking(), []
    thread = threading.Thread(
        target=lambda: answers.append(asking.ask("Which one?", ("10x", "20x")))
    )
    thread.start()
    until(lambda: asking._dialog is None and QtWidgets.QApplication.activeModalWidget() is None)
    QtCore.QTimer.singleShot(50, lambda: _click("20x"))
    until(lambda: answers)
    thread.join()
    assert answers == ["20x"]


def _click(words: str) -> None:
    box = QtWidgets.QApplication.activeModalWidget()
    if box is None:
        QtCore.QTimer.singleShot(20, lambda: _click(words))
        return
    next(one for one in box.findChildren(QtWidgets.QPushButton) if words in one.text()).click()


def test_closing_answers_what_nobody_did() -> None:
    application()
    asking, answers = Asking(), []
    thread = threading.Thread(target=lambda: answers.append(asking.ask("Which?", ("10x",))))
    thread.start()
    asking.close()
    thread.join(OFTEN_S)
    assert answers == [""]
    assert asking.ask("Which?", ("10x",)) == ""


def test_the_stage_wanders_within_its_limits_until_somebody_comes(
    window: LiveWindow, pipeline: FakePipeline
) -> None:
    pipeline.able = Abilities(stage_limits_um=((-5.0, 5.0), (-2.0, 2.0)))
    wandering = Wandering(pipeline)
    wandering.start()
    wandering.seen = seen_at()
    for _ in range(5):
        wandering._step()
    goals = [call[1:] for call in pipeline.hands.calls if call[0] == "go"]
    assert len(set(goals)) > 2
    assert all(abs(x) <= 5 and abs(y) <= 2 for x, y in goals)
    press(window.canvas, Key.Key_X)
    assert not wandering._timer.isActive()
    assert all(note.topic != "demo" for note in pipeline.board.notes())


def test_steps_go_along_the_picture_and_offsets_undo_them() -> None:
    record = CalibrationRecord.nominal(FakePipeline(Path()).stand.rig)
    lens = record.objectives["10x"]
    turned = lens.model_copy(update={"affine_um_per_px": ((0.0, -0.5), (-0.5, 0.0))})
    record = record.model_copy(update={"objectives": {"10x": turned}})
    assert along_the_picture(record, "10x", 20.0, 0.0) == (0.0, -20.0)
    assert with_the_picture(record, "10x", rows=0, columns=40) == (0.0, 20.0)
    # the stage went where 20 µm to the right was: what was in the middle lies 40 px to the left
    assert offset_px(record, seen_at(), seen_at(0.0, -20.0)) == pytest.approx((-40.0, 0.0))
    assert offset_px(None, seen_at(), seen_at()) is None


def test_the_tour_can_be_walked_and_left(window: LiveWindow) -> None:
    tour = Tour(window)
    tour.show()
    for _ in STEPS:
        tour.next.click()
    assert not tour.isVisible()
    tour = Tour(window)
    tour.show()
    tour.skip.click()
    assert not tour.isVisible()


def test_the_status_line_reads_off_the_meters(window: LiveWindow, pipeline: FakePipeline) -> None:
    window.readouts.stop()
    readouts = Readouts(window)
    readouts.stop()
    readouts.read_status()
    now_s = time.monotonic()
    for frame in range(30):
        pipeline.original.add(0.040, now_s - (29 - frame) / 30)
    pipeline.camera.skipped = 10
    readouts.read_status()
    texts = {name: label.text() for name, label in window.status.labels.items()}
    assert texts["original"] == "30.0 fps"
    assert texts["latency"] == "latency 40 ms (p95 40)"
    assert texts["skipped"] == "skipped 25 %"


def test_the_model_hears_what_can_be_seen(window: LiveWindow, pipeline: FakePipeline) -> None:
    pipeline.give(seen_at())
    until(lambda: window.seen is not None)
    window.canvas.set_mode("split")
    window.canvas.set_split(0.75)
    window.readouts.read_picture()
    area = pipeline.model.wishes.area_px
    assert area == pytest.approx((0, 48, 48, 16), abs=0.2)
    window.deeds.look("enhanced")
    assert pipeline.model.wishes.area_px == pytest.approx((0, 0, 48, 64), abs=0.2)


def test_a_missing_library_is_one_line_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PySide6.QtGui", None)
    with pytest.raises(InputError, match=r"PySide6.*pip install \"scope-sr\[live\]\""):
        probe.refuse_what_cannot_be()
    words = probe.why_not(ImportError("libGL.so.1: cannot open shared object file"))
    assert "libGL.so.1" in words
    assert "\n" not in words
    if sys.platform == "linux":
        assert "apt install --no-install-recommends" in words


def test_a_qt_that_loses_references_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe.keeps_references()
    monkeypatch.setattr(probe, "keeps_references", lambda: False)
    with pytest.raises(InputError, match=r"PySide6-Essentials<6\.12"):
        probe.refuse_what_cannot_be(screen=False)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_no_display_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="--headless and --screenshot need no screen"):
        probe.refuse_what_cannot_be()
    probe.refuse_what_cannot_be(screen=False)


def test_each_action_names_what_it_does() -> None:
    assert all(act.tells.endswith(".") and act.group in GROUPS for act in ACTIONS)
    assert BY_NAME["stop"].everywhere
