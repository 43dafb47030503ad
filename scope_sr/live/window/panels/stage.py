"""Objective and stage: turn the nosepiece, see the position, move in steps, stop."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6 import QtCore, QtWidgets

from scope_sr.frame import Position
from scope_sr.live.seen import Abilities
from scope_sr.live.window.panels.parts import Number, allow, button, words
from scope_sr.live.window.theme import digits

STEP_UM, FOCUS_STEP_UM = 50.0, 1.0
NO_SOURCE = "there is no microscope yet"
NO_OBJECTIVES = "this source has no objectives to turn to"


class StagePanel(QtWidgets.QWidget):
    """Buttons for the objectives, the position, a cross to move by, focus, and Stop."""

    objective_asked = QtCore.Signal(str)
    jog_asked = QtCore.Signal(float, float)  # steps to the right and down
    focus_asked = QtCore.Signal(float)  # steps up
    stop_asked = QtCore.Signal()

    def __init__(self) -> None:
        super().__init__()
        self.turret = QtWidgets.QHBoxLayout()
        self.turret.setSpacing(5)
        self.objectives: dict[str, QtWidgets.QPushButton] = {}
        self.no_objective = words("No objective to choose", "quiet")
        self.turret.addWidget(self.no_objective)
        self.position = words("x —   y —   z — µm")
        self.position.setFont(digits(self.position.font()))
        self.position.setAccessibleName("Position of the stage")
        self.busy = words("", "quiet")
        self.step = Number("Step of the stage", "µm", 0.1, 10_000.0)
        self.step.setValue(STEP_UM)
        self.focus_step = Number("Step of the focus", "µm", 0.05, 500.0, decimals=2)
        self.focus_step.setValue(FOCUS_STEP_UM)
        self.jogs = {
            name: self._jog(sign, f"Move {name}", f"{key}; with Shift ten steps")
            for name, sign, key in (
                ("left", "◀", "←"), ("right", "▶", "→"), ("up", "▲", "↑"), ("down", "▼", "↓"),
            )
        }  # fmt: skip
        self.focus_up = self._jog("▲", "Focus up", "PgUp; with Shift ten steps")
        self.focus_down = self._jog("▼", "Focus down", "PgDn; with Shift ten steps")
        self.stop = button("■ Stop", "Stop the stage", "Esc, from anywhere")
        self.stop.setObjectName("stop")
        self._lay_out()
        self._connect()
        self.set_abilities(Abilities(NO_SOURCE, NO_SOURCE, NO_SOURCE, NO_SOURCE, NO_SOURCE))

    def set_abilities(
        self, abilities: Abilities, labels: Mapping[str, tuple[str, str]] | None = None
    ) -> bool:
        """Take what the source can do, and the objectives' labels and descriptions by name.

        Returns
        -------
        bool
            Whether there are other buttons now.
        """
        others = tuple(self.objectives) != abilities.objectives
        if others:
            self._fill_turret(abilities.objectives, labels or {})
        for pressed in self.objectives.values():
            allow(pressed, abilities.nosepiece)
        self.no_objective.setToolTip(abilities.nosepiece or NO_OBJECTIVES)
        for control in (*self.jogs.values(), self.step):
            allow(control, abilities.stage)
        for control in (self.focus_up, self.focus_down, self.focus_step):
            allow(control, abilities.focus)
        nothing_moves = abilities.stage and abilities.focus and abilities.nosepiece
        allow(self.stop, abilities.stage if nothing_moves else "")
        return others

    def show_place(self, position: Position, objective: str) -> None:
        """Show where the stage is and which objective is in place."""
        x, y, z = position.x_um, position.y_um, position.z_um
        self.position.setText(f"x {x:.1f}   y {y:.1f}   z {z:.2f} µm".replace("-", "−"))
        for name, pressed in self.objectives.items():
            pressed.setChecked(name == objective)

    def show_busy(self, what: str) -> None:
        """Say what the stage is doing."""
        self.busy.setText(what)

    def _jog(self, sign: str, name: str, tells: str) -> QtWidgets.QPushButton:
        made = button(sign, name, tells)
        made.setObjectName("jog")
        made.setFixedSize(38, 27)
        made.setAutoRepeat(True)
        made.setAutoRepeatDelay(350)
        made.setAutoRepeatInterval(120)
        return made

    def _lay_out(self) -> None:
        cross = QtWidgets.QGridLayout()
        cross.setSpacing(3)
        for name, row, at in (("up", 0, 1), ("left", 1, 0), ("right", 1, 2), ("down", 2, 1)):
            cross.addWidget(self.jogs[name], row, at)
        focus = QtWidgets.QVBoxLayout()
        focus.setSpacing(3)
        focus.addWidget(self.focus_up)
        focus.addWidget(words("Focus", "quiet"), 0, QtCore.Qt.AlignmentFlag.AlignCenter)
        focus.addWidget(self.focus_down)
        steps = QtWidgets.QGridLayout()
        steps.setHorizontalSpacing(6)
        steps.setVerticalSpacing(4)
        for row, (name, number) in enumerate((("xy", self.step), ("z", self.focus_step))):
            steps.addWidget(words(name, "quiet"), row, 0)
            steps.addWidget(number, row, 1)
        steps.addWidget(self.stop, 2, 0, 1, 2)
        steps.setColumnStretch(1, 1)
        moves = QtWidgets.QHBoxLayout()
        moves.setSpacing(12)
        moves.addLayout(cross)
        moves.addLayout(focus)
        moves.addLayout(steps, 1)
        column = QtWidgets.QVBoxLayout(self)
        column.setSpacing(7)
        column.addLayout(self.turret)
        place = QtWidgets.QHBoxLayout()
        place.addWidget(self.position)
        place.addStretch(1)
        place.addWidget(self.busy)
        column.addLayout(place)
        column.addLayout(moves)

    def _connect(self) -> None:
        ways = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
        for name, (right, down) in ways.items():
            self.jogs[name].clicked.connect(
                lambda _=False, right=right, down=down: self._emit_jog(right, down)
            )
        self.focus_up.clicked.connect(lambda: self.focus_asked.emit(_times()))
        self.focus_down.clicked.connect(lambda: self.focus_asked.emit(-_times()))
        self.stop.clicked.connect(self.stop_asked)

    def _emit_jog(self, right: float, down: float) -> None:
        self.jog_asked.emit(_times() * right, _times() * down)

    def _fill_turret(self, names: tuple[str, ...], labels: Mapping[str, tuple[str, str]]) -> None:
        for pressed in self.objectives.values():
            self.turret.removeWidget(pressed)
            pressed.deleteLater()
        self.objectives = {}
        for name in names:
            label, tells = labels.get(name, (name, ""))
            pressed = button(label, f"Objective {label}", tells)
            pressed.setCheckable(True)
            pressed.clicked.connect(lambda _=False, name=name: self.objective_asked.emit(name))
            self.objectives[name] = pressed
            self.turret.addWidget(pressed, 1)
            pressed.show()
        self.no_objective.setVisible(not names)
        layout = self.layout()
        if layout is not None:
            layout.activate()  # who asks where the new buttons are gets to know


def _times() -> float:
    shift = QtCore.Qt.KeyboardModifier.ShiftModifier
    return 10.0 if QtWidgets.QApplication.keyboardModifiers() & shift else 1.0
