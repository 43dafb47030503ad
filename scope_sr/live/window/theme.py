"""Three palettes: dark for a dim room, light for a bright one, high contrast for weak eyes.

Contrast is that of WCAG 2.2, at least 4.5 to 1 for words (7 in the high-contrast theme), and the
colours laid over tissue keep apart from it and from each other for colour-blind people as well;
tests compute both.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

from PySide6 import QtGui, QtWidgets

LEAST_PT = 10.0


@dataclass(frozen=True)
class Theme:
    """Colours, each ``#rrggbb``.

    Attributes
    ----------
    field
        Around the picture.
    panel, raised, hover, line
        Ground of the panels, of what can be pressed, the same under the cursor, and edges.
    text, quiet
        Words, and words that may wait.
    accent, on_accent
        What is chosen or has the focus, and words upon it.
    good, warn, bad
        Words and dots that say how things are.
    stop, on_stop
        The button that stops the stage.
    nuclei, clipped_high, clipped_low
        Laid over the picture.
    red, green, blue
        The channels of the histogram.
    """

    name: str
    words: str
    field: str
    panel: str
    raised: str
    hover: str
    line: str
    text: str
    quiet: str
    accent: str
    on_accent: str
    good: str
    warn: str
    bad: str
    stop: str = "#c22727"
    on_stop: str = "#ffffff"
    nuclei: str = "#ffdc00"
    clipped_high: str = "#ff5a00"
    clipped_low: str = "#00a0ff"
    red: str = "#ff6b6b"
    green: str = "#5fd38d"
    blue: str = "#6fb3ff"


THEMES = {
    theme.name: theme
    for theme in (
        Theme(
            "dark", "Dark", field="#0d1014", panel="#161b22", raised="#232b36", hover="#2f3a48",
            line="#3b4756", text="#e8edf2", quiet="#a7b3c1", accent="#4cb8ff", on_accent="#06121c",
            good="#5fd38d", warn="#ffb454", bad="#ff8080",
        ),
        Theme(
            "light", "Light", field="#c9d0d8", panel="#f3f5f8", raised="#ffffff", hover="#e3e9f0",
            line="#b4bfcb", text="#14191f", quiet="#4a5563", accent="#0b5cad", on_accent="#ffffff",
            good="#12683a", warn="#855000", bad="#b3261e",
            red="#c8322b", green="#14803f", blue="#1f63c4",
        ),
        Theme(
            "contrast", "High contrast", field="#000000", panel="#000000", raised="#000000",
            hover="#3a3a00", line="#ffffff", text="#ffffff", quiet="#ffffff", accent="#ffe14d",
            on_accent="#000000", good="#7dff9b", warn="#ffd24d", bad="#ffa0a0", stop="#b00000",
            red="#ff8f8f", green="#7dff9b", blue="#8fc7ff",
        ),
    )
}  # fmt: skip


def contrast(one: str, other: str) -> float:
    """Give the contrast of two colours, 1 to 21, as WCAG 2.2 defines it.

    Examples
    --------
    >>> contrast("#000000", "#ffffff")
    21.0
    """
    bright, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    levels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def dress(app: QtWidgets.QApplication, theme: Theme) -> None:
    """Give the whole application a theme; the size of its writing stays the system's."""
    font = app.font()
    if 0 < font.pointSizeF() < LEAST_PT:
        font.setPointSizeF(LEAST_PT)
        app.setFont(font)
    worn = sheet(theme, max(font.pointSizeF(), LEAST_PT))
    if app.styleSheet() == worn:  # each widget there is would be looked at again
        return
    if not app.styleSheet():
        app.setStyle("fusion")
    app.setPalette(palette(theme))
    app.setStyleSheet(worn)


def digits(font: QtGui.QFont) -> QtGui.QFont:
    """Give a font whose digits are all of one width: numbers that change do not dance."""
    fixed = QtGui.QFont(font)
    fixed.setFeature(QtGui.QFont.Tag("tnum"), 1)
    return fixed


def palette(theme: Theme) -> QtGui.QPalette:
    """Give the colours to the widgets that Qt draws itself."""
    role = QtGui.QPalette.ColorRole
    made = QtGui.QPalette()
    colours = {
        role.Window: theme.panel, role.Base: theme.raised, role.AlternateBase: theme.panel,
        role.Button: theme.raised, role.Text: theme.text, role.WindowText: theme.text,
        role.ButtonText: theme.text, role.BrightText: theme.text, role.ToolTipBase: theme.raised,
        role.ToolTipText: theme.text, role.PlaceholderText: theme.quiet,
        role.Highlight: theme.accent, role.HighlightedText: theme.on_accent,
        role.Link: theme.accent, role.Light: theme.hover, role.Midlight: theme.hover,
        role.Mid: theme.line, role.Dark: theme.line, role.Shadow: theme.field,
    }  # fmt: skip
    for part, colour in colours.items():
        made.setColor(part, QtGui.QColor(colour))
    off = QtGui.QPalette.ColorGroup.Disabled
    for part in (role.Text, role.WindowText, role.ButtonText):
        made.setColor(off, part, QtGui.QColor(faded(theme)))
    return made


def faded(theme: Theme) -> str:
    """Give the colour of words that cannot be pressed: part of the way to the ground."""

    def between(at: int) -> int:
        word, ground = (int(one[at : at + 2], 16) for one in (theme.quiet, theme.panel))
        return (3 * word + 2 * ground) // 5

    return "#" + "".join(f"{between(at):02x}" for at in (1, 3, 5))


def sheet(theme: Theme, base_pt: float) -> str:
    """Write the style sheet."""
    sizes = {"base": f"{base_pt:g}pt", "big": f"{2.3 * base_pt:g}pt", "head": f"{base_pt:g}pt"}
    return Template(SHEET).substitute(vars(theme) | sizes | {"faded": faded(theme)})


SHEET = """
QMainWindow, QDialog { background: $panel; }
QToolTip { background: $raised; color: $text; border: 1px solid $line; padding: 4px; }
QMenuBar { background: $panel; color: $text; padding: 0 4px; }
QMenuBar::item { padding: 4px 9px; background: transparent; border-radius: 4px; }
QMenuBar::item:selected { background: $hover; color: $text; }
QMenu { background: $raised; color: $text; border: 1px solid $line; padding: 4px; }
QMenu::item { padding: 5px 26px 5px 26px; border-radius: 4px; }
QMenu::item:selected { background: $accent; color: $on_accent; }
QMenu::item:disabled { color: $faded; }
QMenu::separator { height: 1px; background: $line; margin: 4px 8px; }

QToolBar { background: $panel; border: 0; border-bottom: 1px solid $line; padding: 3px 6px;
           spacing: 3px; }
QToolBar::separator { background: $line; width: 1px; margin: 6px 5px; }
QToolBar QToolButton { background: transparent; color: $text; border: 1px solid transparent;
                       border-radius: 5px; padding: 4px 6px; }
QToolBar QToolButton:hover { background: $hover; }
QToolBar QToolButton:focus { border-color: $accent; }
QToolBar QToolButton:checked { background: $accent; color: $on_accent; }
QToolBar QToolButton:disabled { color: $faded; }
QToolBar QToolButton#qt_toolbar_ext_button { padding: 0; }
QToolBar QToolButton#record:checked { background: $stop; color: $on_stop; }

QPushButton { background: $raised; color: $text; border: 1px solid $line; border-radius: 5px;
              padding: 4px 9px; }
QPushButton:hover { background: $hover; }
QPushButton:focus { border: 1px solid $accent; }
QPushButton:pressed, QPushButton:checked { background: $accent; color: $on_accent; }
QPushButton:disabled { color: $faded; background: $panel; }
QPushButton#stop { background: $stop; color: $on_stop; border-color: $stop; font-weight: 600; }
QPushButton#stop:focus { border: 2px solid $text; }
QPushButton#stop:disabled { background: $panel; color: $faded; border-color: $line; }
QPushButton#jog { padding: 2px; }

QToolButton#fold { background: transparent; border: 1px solid transparent; border-radius: 4px;
                   padding: 4px 2px; font-weight: 600; color: $text; }
QToolButton#fold:hover { background: $hover; }
QToolButton#fold:focus { border-color: $accent; }
QFrame#rule { background: $line; border: 0; max-height: 1px; min-height: 1px; }

QSlider::groove:horizontal { height: 4px; background: $line; border-radius: 2px; }
QSlider::sub-page:horizontal { background: $accent; border-radius: 2px; }
QSlider::sub-page:horizontal:disabled { background: $line; }
QSlider::handle:horizontal { width: 14px; height: 14px; margin: -5px 0; border-radius: 7px;
                             background: $text; }
QSlider::handle:horizontal:hover { background: $accent; }
QSlider::handle:horizontal:focus { background: $accent; border: 2px solid $text;
                                   width: 10px; height: 10px; }
QSlider::handle:horizontal:disabled { background: $faded; }
QCheckBox::indicator { width: 13px; height: 13px; border: 2px solid $quiet; border-radius: 4px;
                       background: $raised; }
QCheckBox::indicator:checked { background: $accent; border-color: $accent; }
QCheckBox:focus { color: $accent; }
QDoubleSpinBox:disabled { background: $panel; color: $faded; }
QCheckBox { spacing: 6px; }

QScrollArea#column { background: $panel; border: 0; border-left: 1px solid $line; }
QWidget#columnInside { background: $panel; }
QScrollBar:vertical { background: $panel; width: 10px; margin: 0; }
QScrollBar::handle:vertical { background: $line; border-radius: 4px; min-height: 30px;
                              margin: 1px; }
QScrollBar:horizontal { background: $panel; height: 10px; margin: 0; }
QScrollBar::handle:horizontal { background: $line; border-radius: 4px; min-width: 30px;
                                margin: 1px; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }

QLabel { color: $text; background: transparent; }
QLabel:disabled { color: $faded; }
QLabel[look="quiet"] { color: $quiet; }
QLabel[look="warn"] { color: $warn; }
QLabel[look="bad"] { color: $bad; }
QLabel[look="big"] { font-size: $big; font-weight: 600; }
QLabel[look="head"] { font-weight: 600; }

QFrame#banner { background: $raised; border: 0; border-bottom: 1px solid $line; }
QFrame#banner[look="bad"] { border-left: 4px solid $bad; }
QFrame#banner[look="good"] { border-left: 4px solid $accent; }
QFrame#banner QToolButton { background: transparent; color: $text; border: 1px solid transparent;
                            border-radius: 4px; padding: 1px 7px; }
QFrame#banner QToolButton:hover { background: $hover; }
QFrame#banner QToolButton:focus { border-color: $accent; }
QFrame#statusLine { background: $panel; border: 0; border-top: 1px solid $line; }
QScrollArea#film { background: $panel; border: 0; }
QToolButton#shot { background: $raised; border: 1px solid $line; border-radius: 4px; padding: 0; }
QToolButton#shot:hover, QToolButton#shot:focus { border-color: $accent; }
"""
