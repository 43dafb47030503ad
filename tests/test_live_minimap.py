"""The map of visited fields, by its pixels and by where it sends the stage."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("PySide6")

from PySide6 import QtGui, QtWidgets
from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtTest import QTest

from scope_sr.frame import Frame, Position
from scope_sr.live.seen import Seen
from scope_sr.live.window.minimap import MOST, SIDE_PX, Minimap

pytestmark = pytest.mark.xdist_group("qt")

UM = 50.0  # side of a field
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture(scope="module")
def app():
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication([])


@pytest.fixture
def minimap(app):
    made = Minimap()
    made.show()
    app.processEvents()
    yield made
    made.close()
    made.deleteLater()
    app.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def seen(x_um=0.0, y_um=0.0, rgb=(128, 128, 128), objective="10x", um_per_px=0.5):
    picture = np.full((100, 100, 3), rgb, np.uint8)
    frame = Frame(picture, Position(x_um, y_um, 0.0), objective, 10.0, 0.0, 1)
    return Seen(frame, picture, um_per_px, 1.0, 1, 1.0)


def middle_of(minimap, rgb):
    """Where on the map a colour is: x and y."""
    image = minimap.grab().toImage().convertToFormat(QtGui.QImage.Format.Format_RGB888)
    pixels = np.array(image.constBits()).reshape(SIDE_PX, -1)[:, : 3 * SIDE_PX]
    found = np.abs(pixels.reshape(SIDE_PX, SIDE_PX, 3).astype(int) - rgb).max(axis=2) < 60
    rows, columns = np.nonzero(found)
    assert len(rows), "not on the map"
    return columns.mean() + 0.5, rows.mean() + 0.5


@pytest.mark.parametrize(
    ("right", "down"),
    [((1, 0), (0, -1)), ((1, 0), (0, 1)), ((-1, 0), (0, 1)), ((0, 1), (1, 0)), ((0, -1), (1, 0))],
)
def test_right_and_down_are_those_of_the_picture_and_a_click_goes_there(minimap, right, down):
    turn = np.array([[np.cos(0.02), -np.sin(0.02)], [np.sin(0.02), np.cos(0.02)]])
    minimap.set_axes(turn @ (0.5 * np.array([right, down], float).T))
    minimap.visit(seen(*(2 * UM * np.array(right)), rgb=RED))  # what lies two fields to the right
    minimap.visit(seen(*(2 * UM * np.array(down)), rgb=GREEN))
    minimap.visit(seen(rgb=BLUE))
    here, to_right, below = (middle_of(minimap, rgb) for rgb in (BLUE, RED, GREEN))
    assert to_right[0] > here[0] + 15
    assert to_right[1] == pytest.approx(here[1], abs=2)
    assert below[1] > here[1] + 15
    assert below[0] == pytest.approx(here[0], abs=2)
    asked = []
    minimap.go_asked.connect(lambda x, y: asked.append((x, y)))
    for rgb in (RED, GREEN, BLUE):
        at = QPointF(*middle_of(minimap, rgb)).toPoint()
        QTest.mouseClick(minimap, Qt.MouseButton.LeftButton, pos=at)
    assert asked[0] == pytest.approx(2 * UM * np.array(right), abs=4)
    assert asked[1] == pytest.approx(2 * UM * np.array(down), abs=4)
    assert asked[2] == pytest.approx((0, 0), abs=4)


def test_objectives_that_look_elsewhere_are_put_where_they_look(minimap):
    aside = {"10x": (0.0, 0.0), "20x": (30.0, -20.0)}

    def looks_at(one):
        x, y = aside[one.frame.objective]
        return one.frame.position.x_um + x, one.frame.position.y_um + y

    minimap.centre_um = looks_at
    minimap.visit(seen(100.0, 0.0, RED))
    minimap.visit(seen(0.0, 0.0, BLUE, objective="20x", um_per_px=0.25))
    asked = []
    minimap.go_asked.connect(lambda x, y: asked.append((x, y)))
    at = QPointF(*middle_of(minimap, RED)).toPoint()
    QTest.mouseClick(minimap, Qt.MouseButton.LeftButton, pos=at)
    assert asked[0] == pytest.approx((70.0, 20.0), abs=3)  # there the 20x sees what the 10x saw


def test_a_field_visited_again_replaces_its_picture_and_old_ones_are_dropped(minimap):
    minimap.visit(seen(rgb=RED))
    minimap.visit(seen(2.0, -3.0, rgb=GREEN))  # the same place, as stages arrive
    assert len(minimap) == 1
    with pytest.raises(AssertionError):
        middle_of(minimap, RED)
    for number in range(MOST + 30):
        minimap.visit(seen(UM * (number % 20), UM * (number // 20)))
    assert len(minimap) == MOST


def test_nothing_beyond_the_limits_is_asked_for(minimap):
    minimap.set_limits(((-60.0, 60.0), (-80.0, 80.0)))
    minimap.visit(seen())
    asked = []
    minimap.go_asked.connect(lambda x, y: asked.append((x, y)))
    QTest.mouseClick(minimap, Qt.MouseButton.LeftButton, pos=QPointF(1, SIDE_PX - 2).toPoint())
    assert asked == [(-60.0, -80.0)]


def test_keys_choose_a_place_and_go_there(minimap):
    asked = []
    minimap.go_asked.connect(lambda x, y: asked.append((x, y)))
    QTest.keyClick(minimap, Qt.Key.Key_Return)
    minimap.visit(seen(10.0, 20.0))
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Return):
        QTest.keyClick(minimap, key)
    assert asked == [(10.0 + UM, 20.0 + UM / 2)]
    for key in (Qt.Key.Key_Left, Qt.Key.Key_Escape, Qt.Key.Key_Return):
        QTest.keyClick(minimap, key)
    assert len(asked) == 1


def test_escape_is_left_to_the_stop_of_the_stage_when_no_place_is_chosen(minimap):
    minimap.visit(seen())

    def claimed(key):
        event = QtGui.QKeyEvent(QEvent.Type.ShortcutOverride, key, Qt.KeyboardModifier.NoModifier)
        event.ignore()
        QtWidgets.QApplication.sendEvent(minimap, event)
        return event.isAccepted()

    assert claimed(Qt.Key.Key_Left)
    assert not claimed(Qt.Key.Key_Escape)
    QTest.keyClick(minimap, Qt.Key.Key_Left)
    assert claimed(Qt.Key.Key_Escape)


def test_before_the_first_field_a_click_asks_for_nothing(minimap):
    asked = []
    minimap.go_asked.connect(lambda x, y: asked.append((x, y)))
    QTest.mouseClick(minimap, Qt.MouseButton.LeftButton)
    minimap.grab()
    assert asked == []
    assert minimap.accessibleName()
    assert minimap.toolTip()
