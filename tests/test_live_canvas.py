"""The canvas, by its pixels, its signals and its buffers."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("PySide6")
pytest.importorskip("pyqtgraph")

from PySide6 import QtGui, QtWidgets
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtTest import QTest

from scope_sr.frame import Frame, Position
from scope_sr.live.mailbox import Latest, Pool
from scope_sr.live.seen import Nuclei, Patch, Seen, Shown, Window
from scope_sr.live.window.panels.status import under_the_cursor
from scope_sr.live.window.theme import THEMES
from scope_sr.live.window.view import marks
from scope_sr.live.window.view.canvas import Canvas

pytestmark = pytest.mark.xdist_group("qt")

ROWS, COLUMNS, ZOOM = 120, 160, 5  # of the screen to one of the camera, when it just fits
WIDE, HIGH = ZOOM * COLUMNS, ZOOM * ROWS
WHOLE = Window(0, 0, ROWS, COLUMNS)
ORIGINAL, ENHANCED, NUCLEUS = (200, 120, 40), (30, 90, 220), (0, 255, 0)
MARKS = ("draw_tag", "draw_bar", "draw_borders", "draw_split", "draw_lens")

Left, No = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


@pytest.fixture(scope="module")
def app():
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication([])


@pytest.fixture
def canvas(app):
    made = Canvas()
    made.resize(WIDE, HIGH)
    made.show()
    app.processEvents()
    yield made
    made.close()
    made.deleteLater()
    app.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.fixture
def bare(canvas, monkeypatch):
    """The canvas without anything over the picture."""
    for name in MARKS:
        monkeypatch.setattr(marks, name, lambda *args, **more: None)
    return canvas


def seen(view=1, um_per_px=0.5, shape=(ROWS, COLUMNS), objective="10x", at_s=None):
    rgb = np.full((*shape, 3), ORIGINAL, np.uint8)
    now_s = time.monotonic() if at_s is None else at_s
    frame = Frame(rgb, Position(0.0, 0.0, 0.0), objective, 10.0, 0.0, view)
    return Seen(frame, rgb, um_per_px, now_s, view, now_s)


def shown(of=None, pixels=None):
    of = of or seen()
    return Shown(of, bgra(of.shape, ORIGINAL) if pixels is None else pixels)


def bgra(shape, rgb):
    pixels = np.full((*shape, 4), 255, np.uint8)
    pixels[..., :3] = rgb[::-1]
    return pixels


def patch(of, window=WHOLE, scale=2, classes=None, apart=None):
    shape = (scale * window.rows, scale * window.columns)
    nuclei = None
    if classes is not None:
        made = np.full(shape, classes, np.uint8)
        nuclei = Nuclei((made > 0).astype(np.int32), made, np.array([1.0]))
    return Patch(of, window, scale, bgra(shape, ENHANCED), nuclei, apart, "compact-x2")


def colours(canvas):
    """What is on the screen: (row, column, red green blue)."""
    image = canvas.grab().toImage().convertToFormat(QtGui.QImage.Format.Format_RGB888)
    rows, columns = image.height(), image.width()
    return np.array(image.constBits()).reshape(rows, -1)[:, : 3 * columns].reshape(rows, columns, 3)


def is_colour(pixels, rgb):
    return (np.abs(pixels.astype(int) - rgb) <= 2).all(axis=-1)


def both(canvas, **more):
    canvas.show(shown())
    canvas.lay([patch(canvas.shown.seen, **more)])


def mouse(canvas, kind, at, button=Left, buttons=Left, modifiers=No, pane=0):
    viewport = canvas.panes[pane].viewport()
    at = QPointF(*at)
    there = viewport.mapToGlobal(at)
    event = QtGui.QMouseEvent(kind, at, there, button, buttons, modifiers)
    QtWidgets.QApplication.sendEvent(viewport, event)


def drag(canvas, start, end, modifiers=No):
    mouse(canvas, QEvent.Type.MouseButtonPress, start, modifiers=modifiers)
    none = Qt.MouseButton.NoButton
    for share in (0.5, 1.0):
        at = [a + share * (b - a) for a, b in zip(start, end, strict=True)]
        mouse(canvas, QEvent.Type.MouseMove, at, button=none, modifiers=modifiers)
    mouse(canvas, QEvent.Type.MouseButtonRelease, end, buttons=none, modifiers=modifiers)


def wheel(canvas, at, notches, modifiers=No):
    viewport = canvas.panes[0].viewport()
    at = QPointF(*at)
    event = QtGui.QWheelEvent(
        at, viewport.mapToGlobal(at), QPoint(), QPoint(0, 120 * notches),
        Qt.MouseButton.NoButton, modifiers, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QtWidgets.QApplication.sendEvent(viewport, event)


@pytest.mark.parametrize("split", [0.5, 0.2])
def test_both_sides_of_the_split_have_their_colours_to_the_pixel(bare, split):
    both(bare)
    bare.set_mode("split")
    bare.set_split(split)
    pixels = colours(bare)
    line = round(split * WIDE)
    assert is_colour(pixels[:, :line], ORIGINAL).all()
    assert is_colour(pixels[:, line:], ENHANCED).all()


def test_nothing_is_flipped_or_turned(bare):
    one = shown()
    quarters = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]
    halves = [slice(0, 1 / 2), slice(1 / 2, 1)]
    for number, rgb in enumerate(quarters):
        row, column = (halves[number // 2], halves[number % 2])
        one.pixels[
            int(row.start * ROWS) : int(row.stop * ROWS),
            int(column.start * COLUMNS) : int(column.stop * COLUMNS),
            :3,
        ] = rgb[::-1]
    bare.set_mode("original")
    bare.show(one)
    pixels = colours(bare)
    corners = [pixels[40, 40], pixels[40, -40], pixels[-40, 40], pixels[-40, -40]]
    assert [tuple(corner.tolist()) for corner in corners] == quarters


def test_the_lens_is_a_circle_around_the_cursor(bare):
    both(bare, classes=1)
    bare.set_nuclei(True, True, True, 1.0)
    bare.set_mode("lens")
    mouse(bare, QEvent.Type.MouseMove, (250, 300), button=Qt.MouseButton.NoButton)
    radius = bare.comparison.radius_px
    inside = ~is_colour(colours(bare), ORIGINAL)  # nuclei as well: none outside
    rows, columns = np.mgrid[:HIGH, :WIDE] + 0.5
    away = np.hypot(rows - 300, columns - 250)
    assert inside[away < radius - 2].all()
    assert not inside[away > radius + 2].any()
    wheel(bare, (250, 300), 1, Qt.KeyboardModifier.ControlModifier)
    assert bare.comparison.radius_px == pytest.approx(1.25 * radius)
    assert bare.sight.fitted  # the lens grew, not the picture


@pytest.mark.parametrize("opacity", [1.0, 0.4, 0.0])
def test_nuclei_lie_over_the_enhanced_side_only_as_opaque_as_asked(bare, opacity):
    both(bare, classes=2)
    bare.set_mode("split")
    bare.set_nuclei(True, True, True, opacity)
    bare.set_theme(replace(THEMES["dark"], nuclei="#00ff00"))
    pixels = colours(bare)
    mixed = [opacity * n + (1 - opacity) * e for n, e in zip(NUCLEUS, ENHANCED, strict=True)]
    assert is_colour(pixels[:, : WIDE // 2], ORIGINAL).all()
    assert is_colour(pixels[:, WIDE // 2 :], np.array(mixed)).all()
    bare.set_nuclei(False, True, True, opacity)
    assert is_colour(colours(bare)[:, WIDE // 2 :], ENHANCED).all()


def test_disagreement_lies_over_the_enhanced_side_only(bare):
    both(bare, apart=np.full((ROWS, COLUMNS), 40.0, np.float32))
    bare.set_mode("split")
    assert is_colour(colours(bare)[:, WIDE // 2 :], ENHANCED).all()
    bare.set_disagreement(True)
    pixels = colours(bare)
    assert is_colour(pixels[:, : WIDE // 2], ORIGINAL).all()
    assert not is_colour(pixels[:, WIDE // 2 :], ENHANCED).any()


@pytest.mark.parametrize("mode", Canvas.MODES)
def test_holding_shows_the_original_everywhere(bare, mode):
    both(bare, classes=1)
    bare.set_nuclei(True, True, True, 1.0)
    bare.set_mode(mode)
    bare.hold_original(True)
    pixels = colours(bare)
    field = QtGui.QColor(THEMES["dark"].field).getRgb()[:3]
    around = is_colour(pixels, field)
    assert (is_colour(pixels, ORIGINAL) | around).all()
    assert around.any() == (mode == "side")
    bare.hold_original(False)
    assert is_colour(colours(bare), ORIGINAL).all() == (mode == "original")


def test_side_by_side_each_has_its_own_and_both_move_together(bare):
    both(bare)
    bare.set_mode("side")
    pixels = colours(bare)
    middle = pixels[HIGH // 2]
    assert is_colour(middle[10 : WIDE // 2 - 10], ORIGINAL).all()
    assert is_colour(middle[WIDE // 2 + 10 : -10], ENHANCED).all()
    wheel(bare, (100, 300), 3)
    drag(bare, (200, 300), (140, 260))
    ranges = [pane._box.viewRect() for pane in bare.panes]
    assert ranges[0].center().x() == pytest.approx(ranges[1].center().x())
    assert ranges[0].center().y() == pytest.approx(ranges[1].center().y())
    assert ranges[0].height() == pytest.approx(ranges[1].height())
    assert ranges[0].center().x() != 0


def test_where_the_enhanced_picture_is_not_yet_the_original_shows_and_a_line_tells_them_apart(
    canvas, monkeypatch
):
    for name in ("draw_tag", "draw_bar"):
        monkeypatch.setattr(marks, name, lambda *args, **more: None)
    canvas.set_mode("enhanced")
    canvas.show(shown())
    canvas.lay([patch(canvas.shown.seen, Window(0, 0, ROWS, 80))])
    pixels = colours(canvas)
    assert is_colour(pixels[:, : WIDE // 2 - 10], ENHANCED).all()
    assert is_colour(pixels[:, WIDE // 2 + 10 :], ORIGINAL).all()
    border = pixels[10:-10, WIDE // 2 - 10 : WIDE // 2 + 10].astype(int).min(axis=2).max(axis=1)
    assert (border > 180).any()  # white dashes
    assert (border < 180).any()  # and gaps
    canvas.lay([patch(canvas.shown.seen)])
    assert is_colour(colours(canvas), ENHANCED).all()


def test_an_older_picture_stays_at_its_place_on_the_tissue(bare):
    bare.set_mode("enhanced")
    both(bare)
    bare.offset_px = lambda old, new: (40.0, -20.0)
    bare.show(shown(seen(view=2)))
    pixels = colours(bare)
    assert is_colour(pixels[: HIGH - 20 * ZOOM - 5, 40 * ZOOM + 5 :], ENHANCED).all()
    assert is_colour(pixels[HIGH - 20 * ZOOM + 5 :], ORIGINAL).all()
    assert is_colour(pixels[:, : 40 * ZOOM - 5], ORIGINAL).all()
    bare.offset_px = lambda old, new: None
    bare.show(shown(seen(view=3)))
    assert is_colour(colours(bare), ORIGINAL).all()


@pytest.mark.parametrize("zoomed", [False, True])
@pytest.mark.parametrize("ratio", [(1, 1), (2, 1)])
def test_a_double_click_gives_the_place_that_is_seen_there(bare, zoomed, ratio):
    bare.resize(WIDE * ratio[0], HIGH * ratio[1])
    QtWidgets.QApplication.processEvents()
    one = shown()
    one.pixels[70, 50, :3] = (255, 255, 255)  # one pixel of the camera
    bare.set_mode("original")
    bare.show(one)
    if zoomed:
        wheel(bare, (300, 400), 3)
        drag(bare, (200, 200), (170, 260))
    bright = np.argwhere(colours(bare).min(axis=2) > 200) + 0.5
    assert len(bright)
    y, x = bright.mean(axis=0)
    asked = []
    bare.centre_asked.connect(lambda row, column: asked.append((row, column)))
    mouse(bare, QEvent.Type.MouseButtonDblClick, (x, y))
    assert asked[0] == pytest.approx((70, 50), abs=0.15)


def test_a_double_click_beside_the_picture_or_on_the_line_moves_nothing(bare):
    bare.resize(2 * WIDE, HIGH)
    QtWidgets.QApplication.processEvents()
    both(bare)
    asked = []
    bare.centre_asked.connect(lambda row, column: asked.append((row, column)))
    mouse(bare, QEvent.Type.MouseButtonDblClick, (10, 300))
    bare.set_split(0.3)
    line = bare.comparison.line(bare.sight)
    mouse(bare, QEvent.Type.MouseButtonDblClick, (line + 3, 200))
    assert asked == []
    assert bare.split == 0.5


def test_the_line_is_dragged_and_nothing_else(bare):
    both(bare)
    bare.set_mode("split")
    moves = []
    bare.split_moved.connect(moves.append)
    none = Qt.MouseButton.NoButton
    mouse(bare, QEvent.Type.MouseMove, (WIDE / 2 + 4, 100), button=none, buttons=none)
    assert bare.panes[0].viewport().cursor().shape() == Qt.CursorShape.SplitHCursor
    drag(bare, (WIDE / 2 + 4, 100), (200, 100))
    assert bare.split == pytest.approx(0.25)
    assert moves[-1] == bare.split
    assert bare.sight.fitted
    drag(bare, (600, 100), (500, 100))  # away from it: the picture would move, but it fits
    assert bare.split == pytest.approx(0.25)
    bare.zoom_by(8)
    assert 0 < bare.comparison.line(bare.sight) < WIDE  # never out of reach


def test_alt_and_drag_moves_the_stage_by_what_the_hand_moved(bare):
    bare.show(shown())
    asked = []
    bare.dragged.connect(lambda rows, columns: asked.append((rows, columns)))
    drag(bare, (300, 300), (350, 280), Qt.KeyboardModifier.AltModifier)
    assert np.sum(asked, axis=0) == pytest.approx([-20 / ZOOM, 50 / ZOOM])
    assert bare.sight.fitted


def test_a_click_is_picked_only_when_asked_for(bare):
    bare.show(shown())
    picked = []
    bare.picked.connect(lambda row, column: picked.append((row, column)))
    drag(bare, (300, 300), (300, 300))
    bare.set_picking(True)
    drag(bare, (302.5, 252.5), (302.5, 252.5))
    bare.set_picking(False)
    drag(bare, (300, 300), (300, 300))
    assert picked == [pytest.approx((50.0, 60.0))]


def test_what_is_under_the_cursor(bare):
    both(bare, window=Window(0, 80, ROWS, 80))
    heard = []
    bare.pointed.connect(heard.append)
    none = Qt.MouseButton.NoButton
    for x in (100, 500):
        mouse(bare, QEvent.Type.MouseMove, (x, 252.5), button=none, buttons=none)
    QtWidgets.QApplication.sendEvent(bare.panes[0].viewport(), QEvent(QEvent.Type.Leave))
    bare.panes[0].leaveEvent(QEvent(QEvent.Type.Leave))
    left, right, *gone = heard
    assert (left.row, left.rgb, left.enhanced) == (pytest.approx(50), ORIGINAL, None)
    assert (right.column, right.enhanced) == (pytest.approx(99.5), ENHANCED)
    assert set(gone) == {None}
    assert bare.at(-1, 5) is None
    assert bare.at(5, COLUMNS) is None


def test_the_wheel_zooms_about_the_cursor_and_fit_brings_all_back(bare):
    bare.show(shown())
    before = bare.sight.place(QPointF(600, 100))
    wheel(bare, (600, 100), 4)
    assert bare.sight.place(QPointF(600, 100)) == pytest.approx(before)
    assert bare.sight.zoom == pytest.approx(ZOOM * 1.25**4)
    bare.one_to_one()
    assert bare.sight.zoom == pytest.approx(1.0)
    bare.fit()
    assert (bare.sight.zoom, bare.sight.picture.left()) == (ZOOM, 0)
    for _ in range(40):
        drag(bare, (100, 100), (700, 500))
    assert bare.sight.visible.width() > 0  # the field cannot be lost


@pytest.mark.parametrize(
    ("um_per_px", "unit"), [(0.5, "µm"), (0.25, "µm"), (500.0, "mm"), (None, "px")]
)
@pytest.mark.parametrize("factor", [1.0, 7.0])
def test_the_scale_bar_is_as_long_as_it_says(canvas, monkeypatch, um_per_px, unit, factor):
    for name in ("draw_tag", "draw_split"):
        monkeypatch.setattr(marks, name, lambda *args, **more: None)
    canvas.set_mode("original")
    canvas.show(shown(seen(um_per_px=um_per_px), bgra((ROWS, COLUMNS), (0, 0, 0))))
    canvas.zoom_by(factor)
    words = marks.length(canvas.sight, known=um_per_px is not None)[1]
    value, said = words.split()
    assert said == unit
    true_px = float(value) * (1000 if unit == "mm" else 1) / (um_per_px or 1) * ZOOM * factor
    bar = colours(canvas)[HIGH - 25 :].min(axis=2).max(axis=0) > 250
    assert np.count_nonzero(bar) == pytest.approx(true_px, abs=1)
    assert 60 <= true_px <= 180


def test_another_objective_or_camera_keeps_the_share_of_the_field_that_is_seen(bare):
    bare.show(shown())
    bare.zoom_by(2)
    seen_before = bare.sight.shown_um.width() / (COLUMNS * 0.5)
    bare.show(shown(seen(view=2, um_per_px=0.25, objective="20x")))
    assert bare.sight.shown_um.width() / (COLUMNS * 0.25) == pytest.approx(seen_before)
    bare.show(shown(seen(view=3, shape=(2 * ROWS, 2 * COLUMNS))))
    assert bare.sight.shown_um.width() / (2 * COLUMNS * 0.5) == pytest.approx(seen_before)
    bare.set_mode("original")
    bare.fit()
    assert is_colour(colours(bare), ORIGINAL).all()


def test_clipped_pixels_are_striped(bare):
    one = shown()
    one.pixels[:60, :, 1] = 255
    one.pixels[60:, :80, 2] = 0
    bare.set_mode("original")
    bare.show(one)
    bare.set_clipping(True)
    theme = THEMES["dark"]
    pixels = colours(bare)
    high, low = (
        is_colour(pixels, QtGui.QColor(c).getRgb()[:3])
        for c in (theme.clipped_high, theme.clipped_low)
    )
    assert 0.3 < high[: HIGH // 2].mean() < 0.7
    assert 0.3 < low[HIGH // 2 :, : WIDE // 2].mean() < 0.7
    assert not high[HIGH // 2 :].any()
    assert not low[: HIGH // 2].any()
    assert is_colour(pixels[HIGH // 2 + 10 :, WIDE // 2 + 10 :], ORIGINAL).all()


def test_tags_say_what_it_is_and_how_old(canvas):
    now_s = time.monotonic()
    canvas.objective_words = lambda name: "10×/0.30"
    canvas.offset_px = lambda older, newer: (0.0, 0.0)
    canvas.set_mode("split")
    canvas.show(shown(seen(at_s=now_s)))
    assert canvas._tags["original"] == marks.Tag("Original 10×/0.30", marks.LIVE)
    assert canvas._tags["enhanced"].words == "Enhanced: nothing here yet"
    canvas.lay([patch(seen(at_s=now_s - 1.2))])
    words = "Enhanced ×2 · compact-x2 · 1.2 s old"
    assert canvas._tags["enhanced"] == marks.Tag(words, marks.LIVE)  # nothing has changed since
    canvas.show(shown(seen(at_s=now_s, view=2)))
    assert canvas._tags["enhanced"] == marks.Tag(words, marks.LATE)
    canvas.show(shown(seen(at_s=now_s)))
    canvas.set_frozen(True)
    assert {tag.dot for tag in canvas._tags.values()} == {marks.STILL}
    canvas.set_frozen(False)
    canvas._shown = replace(canvas.shown, seen=seen(at_s=now_s - 5))
    canvas._tick()  # the camera has gone silent: nothing else would look
    assert canvas._tags["original"].words == "Original 10×/0.30 · 5 s old"


def test_each_frame_is_painted_once_and_given_back(canvas, app):
    heard, given = [], []
    canvas.painted.connect(heard.append)
    frames = [shown(seen(view=view)) for view in range(4)]
    for mode, frame in zip(("original", "split", "side", "lens"), frames, strict=True):
        canvas.set_mode(mode)
        given.append(canvas.show(frame))
        for _ in range(3):
            for pane in canvas.panes:
                pane.viewport().repaint()
            app.processEvents()
    assert heard == frames
    assert given == [None, *frames[:-1]]


def test_a_frame_and_its_patches_are_painted_at_once_and_only_once(canvas, app):
    pane, paints = canvas.panes[0], []
    finish = pane.finish
    pane.finish = lambda pane, painter: (finish(pane, painter), paints.append(painter))
    canvas._clock.stop()
    canvas.show(shown())
    QTest.qWait(30)
    paints.clear()
    canvas.show(shown())
    canvas.lay([patch(canvas.shown.seen)])
    QTest.qWait(30)
    assert len(paints) == 2  # with the painter of the marks, and at the end


def test_no_picture_is_torn_though_its_buffers_are_used_again(bare, app):
    pool, box, stop = Pool(), Latest(), threading.Event()

    def produce():
        level = 0
        while not stop.is_set():
            pixels = pool.get((ROWS, COLUMNS, 4))
            level = level % 250 + 1
            for row in range(ROWS):  # slowly: who paints it meanwhile would see it
                pixels[row] = level
            before = box.put(Shown(seen(view=level), pixels))
            if before is not None:
                pool.put(before.pixels)

    bare.set_mode("original")
    producer = threading.Thread(target=produce)
    producer.start()
    levels = []
    try:
        while len(levels) < 60:
            frame = box.take(1.0)
            before = bare.show(frame)
            image = colours(bare)
            assert image.min() == image.max() == frame.pixels[0, 0, 0]
            levels.append(int(image[0, 0, 0]))
            if before is not None:
                pool.put(before.pixels)
    finally:
        stop.set()
        producer.join()
    assert len(set(levels)) > 30


def test_no_reference_to_none_or_true_is_lost(bare):
    import sys

    frames = [shown(seen(view=view)) for view in range(2)]
    for turn in range(20):
        bare.show(frames[turn % 2])
        bare.panes[0].viewport().repaint()
    before = sys.getrefcount(None), sys.getrefcount(True)
    for turn in range(100):
        bare.show(frames[turn % 2])
        bare.panes[0].viewport().repaint()
    after = sys.getrefcount(None), sys.getrefcount(True)
    assert all(abs(now - was) < 50 for now, was in zip(after, before, strict=True))


@pytest.mark.parametrize("theme", list(THEMES.values()))
def test_the_background_is_the_themes(bare, theme):
    bare.resize(2 * WIDE, HIGH)
    bare.set_theme(theme)
    bare.show(shown())
    pixels = colours(bare)
    assert is_colour(pixels[:, :10], QtGui.QColor(theme.field).getRgb()[:3]).all()


def test_the_canvas_says_what_it_is(canvas):
    assert canvas.accessibleName()
    words = set()
    for mode in canvas.MODES:
        canvas.set_mode(mode)
        words.add(canvas.accessibleDescription())
    assert len(words) == len(canvas.MODES)
    assert canvas.focusPolicy() & Qt.FocusPolicy.TabFocus
    with pytest.raises(ValueError, match="upside down"):
        canvas.set_mode("upside down")


def test_what_can_be_seen_of_the_enhanced_picture(canvas):
    both(canvas)
    canvas.set_split(0.25)
    assert canvas.area_px == pytest.approx((0, COLUMNS / 4, ROWS, 3 * COLUMNS / 4), abs=0.01)
    canvas.set_mode("enhanced")
    assert canvas.area_px == pytest.approx((0, 0, ROWS, COLUMNS), abs=0.01)
    canvas.zoom_by(4)
    middle = (3 * ROWS / 8, 3 * COLUMNS / 8, ROWS / 4, COLUMNS / 4)
    assert canvas.area_px == pytest.approx(middle, abs=0.01)
    canvas.set_mode("lens")
    side = 2 * canvas.comparison.radius_px / (4 * ZOOM)
    lens = ((ROWS - side) / 2, (COLUMNS - side) / 2, side, side)
    assert canvas.area_px == pytest.approx(lens, abs=0.01)
    canvas.set_mode("side")
    QtWidgets.QApplication.processEvents()
    top, left, rows, columns = canvas.area_px
    assert columns < COLUMNS / 7  # of half the pane
    assert top + rows / 2 == pytest.approx(ROWS / 2, abs=1)
    assert left + columns / 2 == pytest.approx(COLUMNS / 2, abs=1)


def test_the_status_line_says_how_old_the_place_under_the_cursor_is(bare):
    now = seen()
    bare.show(shown(now))
    assert "old" not in under_the_cursor(bare.at(3, 3), now)["colour"]
    bare.lay([patch(seen(at_s=time.monotonic() - 12.0))])
    colours = " → ".join(" ".join(map(str, rgb)) for rgb in (ORIGINAL, ENHANCED))
    assert under_the_cursor(bare.at(3, 3), now)["colour"] == f"RGB {colours} (12 s old)"
    assert under_the_cursor(None, now) == {"cursor": "", "colour": ""}
