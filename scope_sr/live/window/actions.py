"""The one table of what the window can do: toolbar, menus, keys and the `?` sheet are made of it.

Plain keys (``1``, ``Space``) go to whatever has the focus first: in a field for numbers they are
writing. Those marked `everywhere` are the window's wherever the focus is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6 import QtCore, QtGui

if TYPE_CHECKING:
    from scope_sr.live.window.deeds import Deeds

GROUPS = ("File", "View", "Overlay", "Camera", "Stage", "Help")
ZOOM = 1.25
SPLIT_STEP = 0.05
FAR = 10.0  # Shift and an arrow


@dataclass(frozen=True)
class Act:
    """One thing the window does.

    Attributes
    ----------
    name
        For programs.
    words
        On the button and in the menu.
    keys
        The first is the one that is shown; the others do the same on other keyboards.
    tells
        What it does, in a sentence.
    does, ends
        What is called, and, for one that lasts as long as its key is held, at the end.
    checks
        Whether it is on or off.
    among
        Name of a set of which one is on.
    on_bar, everywhere
        Whether it has a button on the toolbar; whether its key goes past whatever has the focus.
    """

    name: str
    words: str
    keys: tuple[str, ...]
    group: str
    tells: str
    does: Callable[[Deeds], None]
    ends: Callable[[Deeds], None] | None = None
    checks: bool = False
    among: str = ""
    on_bar: bool = False
    everywhere: bool = False


def _mode(name: str, words: str, key: str, tells: str) -> Act:
    def does(deeds: Deeds) -> None:
        deeds.look(name)

    return Act(name, words, (key,), "View", tells, does, checks=True, among="mode", on_bar=True)


def _jog(name: str, words: str, key: str, right: int, down: int) -> tuple[Act, Act]:
    far = f"{words}, far"
    return (
        Act(f"jog_{name}", words, (key,), "Stage", f"Move the view {name} by one step.",
            lambda deeds: deeds.jog(right, down)),
        Act(f"jog_{name}_far", far, (f"Shift+{key}",), "Stage",
            f"Move the view {name} by ten steps.",
            lambda deeds: deeds.jog(FAR * right, FAR * down)),
    )  # fmt: skip


ACTIONS: tuple[Act, ...] = (
    Act("freeze", "Freeze", ("Space",), "Camera",
        "Hold the picture still, or go on; all tools keep working.",
        lambda deeds: deeds.freeze(), checks=True, on_bar=True),
    Act("snapshot", "Snapshot", ("S",), "File",
        "Save original, enhanced picture, nuclei and provenance.",
        lambda deeds: deeds.snapshot(), on_bar=True),
    Act("record", "Record", ("R",), "File", "Begin or end a recording.",
        lambda deeds: deeds.record(), checks=True, on_bar=True),
    Act("open_model", "Open model file...", ("Ctrl+O",), "File",
        "Take a model of your own.", lambda deeds: deeds.open_model(), everywhere=True),
    Act("open_folder", "Show the folder of snapshots", (), "File",
        "Show where snapshots and recordings lie.", lambda deeds: deeds.open_folder()),
    Act("quit", "Quit", ("Ctrl+Q",), "File",
        "Finish a recording, give the microscope back and close.",
        lambda deeds: deeds.quit(), everywhere=True),
    _mode("original", "Original", "1", "The camera's picture alone; nothing is computed for it."),
    _mode("enhanced", "Enhanced", "2", "The enhanced picture, where there is one."),
    _mode("split", "Split", "3", "Original left, enhanced right, with a line to drag."),
    _mode("lens", "Lens", "4", "A lens under the cursor shows the enhanced picture."),
    _mode("side", "Side by side", "5", "Both beside each other, moved and zoomed together."),
    Act("hold_original", "Compare: original while held", ("O",), "View",
        "Show the original for as long as the key is held.",
        lambda deeds: deeds.hold_original(True), ends=lambda deeds: deeds.hold_original(False)),
    Act("split_left", "Move the split left", ("[", ","), "View",
        "Show more of the enhanced picture.", lambda deeds: deeds.split_by(-SPLIT_STEP)),
    Act("split_right", "Move the split right", ("]", "."), "View",
        "Show more of the original.", lambda deeds: deeds.split_by(SPLIT_STEP)),
    Act("lens_smaller", "Smaller lens", ("K",), "View", "Make the lens smaller.",
        lambda deeds: deeds.lens_by(1 / ZOOM)),
    Act("lens_larger", "Larger lens", ("L",), "View", "Make the lens larger.",
        lambda deeds: deeds.lens_by(ZOOM)),
    Act("nuclei", "Nuclei", ("N",), "Overlay", "Show or hide the nuclei that were found.",
        lambda deeds: deeds.nuclei(), checks=True, on_bar=True),
    Act("disagreement", "Disagreement", ("D",), "Overlay",
        "Show where the enhanced picture contradicts the original.",
        lambda deeds: deeds.disagreement(), checks=True),
    Act("clipping", "Clipped pixels", ("G",), "Overlay",
        "Mark pixels that are too bright or too dark to measure.",
        lambda deeds: deeds.clipping(), checks=True),
    Act("crosshair", "Crosshair", ("X",), "Overlay", "Show a cross in the middle of the field.",
        lambda deeds: deeds.crosshair(), checks=True),
    Act("fit", "Fit", ("F",), "View", "Show the whole field.",
        lambda deeds: deeds.fit(), on_bar=True),
    Act("one_to_one", "1:1", ("Z",), "View", "One pixel of the camera to one of the screen.",
        lambda deeds: deeds.one_to_one(), on_bar=True),
    Act("zoom_in", "Zoom in", ("+", "="), "View", "Magnify.", lambda deeds: deeds.zoom(ZOOM)),
    Act("zoom_out", "Zoom out", ("-",), "View", "Reduce.", lambda deeds: deeds.zoom(1 / ZOOM)),
    Act("full_screen", "Full screen", ("F11",), "View", "Fill the screen, or go back.",
        lambda deeds: deeds.full_screen(), checks=True, on_bar=True, everywhere=True),
    Act("theme", "Next theme", ("T",), "View", "Dark, light, high contrast.",
        lambda deeds: deeds.next_theme()),
    Act("white_balance", "White balance from this field", ("W",), "Camera",
        "Make a field without tissue neutral.", lambda deeds: deeds.white_balance()),
    Act("neutral_point", "White balance from a point", ("Shift+W",), "Camera",
        "Click a point that is colourless; it becomes neutral.",
        lambda deeds: deeds.neutral_point(), checks=True),
    Act("reset_balance", "No white balance", (), "Camera", "Show the colours as they come.",
        lambda deeds: deeds.reset_balance()),
    *_jog("left", "Left", "Left", -1, 0),
    *_jog("right", "Right", "Right", 1, 0),
    *_jog("up", "Up", "Up", 0, -1),
    *_jog("down", "Down", "Down", 0, 1),
    Act("focus_up", "Focus up", ("PgUp",), "Stage", "Raise the focus drive by one step.",
        lambda deeds: deeds.focus(1)),
    Act("focus_up_far", "Focus up, far", ("Shift+PgUp",), "Stage",
        "Raise the focus drive by ten steps.", lambda deeds: deeds.focus(FAR)),
    Act("focus_down", "Focus down", ("PgDown",), "Stage", "Lower the focus drive by one step.",
        lambda deeds: deeds.focus(-1)),
    Act("focus_down_far", "Focus down, far", ("Shift+PgDown",), "Stage",
        "Lower the focus drive by ten steps.", lambda deeds: deeds.focus(-FAR)),
    Act("stop", "Stop", ("Esc",), "Stage", "Stop the stage at once.",
        lambda deeds: deeds.stop(), everywhere=True),
    Act("keys", "Keys", ("?", "F1"), "Help", "Show this sheet.",
        lambda deeds: deeds.keys(), on_bar=True),
    Act("tour", "Tour", (), "Help", "Five steps through the window.",
        lambda deeds: deeds.tour()),
    Act("about", "About scope-sr live", (), "Help", "Version, licence, and what it is not for.",
        lambda deeds: deeds.about()),
)  # fmt: skip

BY_NAME = {act.name: act for act in ACTIONS}
BY_KEY = {key: act for act in ACTIONS for key in act.keys}

_SPECIAL = {
    QtCore.Qt.Key.Key_Space: "Space", QtCore.Qt.Key.Key_Left: "Left",
    QtCore.Qt.Key.Key_Right: "Right", QtCore.Qt.Key.Key_Up: "Up", QtCore.Qt.Key.Key_Down: "Down",
    QtCore.Qt.Key.Key_PageUp: "PgUp", QtCore.Qt.Key.Key_PageDown: "PgDown",
}  # fmt: skip


def act_of(event: QtGui.QKeyEvent) -> Act | None:
    """Find what a plain key does; those that go everywhere come as shortcuts of Qt instead."""
    modifier = QtCore.Qt.KeyboardModifier
    held = event.modifiers() & ~(modifier.KeypadModifier | modifier.GroupSwitchModifier)
    shift = held & modifier.ShiftModifier
    special = _SPECIAL.get(QtCore.Qt.Key(event.key()))
    if special:
        plain = held & ~modifier.ShiftModifier == modifier.NoModifier
        return BY_KEY.get(f"Shift+{special}" if shift else special) if plain else None
    letter = event.text().upper()
    alt_gr = held & ~modifier.ShiftModifier == modifier.ControlModifier | modifier.AltModifier
    if not letter.isprintable() or (held & ~modifier.ShiftModifier and not alt_gr):
        return None  # a menu's, or the desktop's
    if shift and letter.isalpha():
        return BY_KEY.get(f"Shift+{letter}")
    return BY_KEY.get(letter)
