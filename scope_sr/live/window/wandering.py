"""The stage of the simulator wanders until somebody touches something: a newcomer sees it live."""

from __future__ import annotations

import math

from PySide6 import QtCore

from scope_sr.live.pipeline import Pipeline
from scope_sr.live.seen import Seen

FIRST_MS, EVERY_MS = 1500, 6000
SHARE = 1 / 20  # of the field: farther off lies tissue the simulator first has to make
TURN_RAD = 2.4  # the golden angle: it does not come back to the same places
NOTE = "Demo: the stage wanders until you press a key or click"
TOUCHES = (
    QtCore.QEvent.Type.KeyPress, QtCore.QEvent.Type.MouseButtonPress, QtCore.QEvent.Type.Wheel,
)  # fmt: skip


class Wandering(QtCore.QObject):
    """Moves the stage now and then; ends for good with the first key or click."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__()
        self.seen: Seen | None = None
        self._pipeline = pipeline
        self._steps = 0
        self._home: tuple[float, float] | None = None
        self._timer = QtCore.QTimer(self, interval=FIRST_MS)
        self._timer.timeout.connect(self._step)

    def start(self) -> None:
        """Begin, with the first frame."""
        _application().installEventFilter(self)
        self._timer.start()

    def follow(self, seen: Seen) -> None:
        """Take the frame on the screen; with the first one it is known whether this can move."""
        first, self.seen = self.seen is None, seen
        if first and not self._pipeline.stand.driven:
            self.stop()  # the rig of a session that is replayed
        elif first and self._timer.isActive():
            self._pipeline.board.say("demo", NOTE, bad=False)

    def stop(self) -> None:
        """End for good."""
        if self._timer.isActive():
            self._timer.stop()
            _application().removeEventFilter(self)
            self._pipeline.board.clear("demo")

    def eventFilter(self, _: QtCore.QObject, event: QtCore.QEvent) -> bool:  # noqa: N802
        """Look out for somebody; take nothing away from anybody."""
        if event.type() in TOUCHES and event.spontaneous():
            self.stop()
        return False

    def _step(self) -> None:
        seen, abilities = self.seen, self._pipeline.stand.abilities()
        if seen is None or seen.um_per_px is None or abilities.stage or self._pipeline.hands.busy:
            return
        self._timer.setInterval(EVERY_MS)
        here = seen.frame.position
        self._home = self._home or (here.x_um, here.y_um)
        self._steps += 1
        far_um = SHARE * min(seen.shape) * seen.um_per_px
        x_um, y_um = (
            _within(home + 2 * far_um * turned(self._steps * TURN_RAD / 2), at, far_um, limits)
            for home, turned, at, limits in zip(
                self._home,
                (math.sin, math.cos),
                (here.x_um, here.y_um),
                abilities.stage_limits_um or ((-math.inf, math.inf),) * 2,
                strict=True,
            )
        )
        self._pipeline.hands.go(x_um, y_um)


def _application() -> QtCore.QCoreApplication:
    app = QtCore.QCoreApplication.instance()
    assert app is not None  # noqa: S101 - there is no window without
    return app


def _within(goal_um: float, at_um: float, far_um: float, limits_um: tuple[float, float]) -> float:
    """Go towards a goal by at most `far_um`, within the limits.

    >>> _within(100.0, 0.0, 30.0, (-50.0, 20.0))
    20.0
    """
    step_um = min(max(goal_um - at_um, -far_um), far_um)
    return min(max(at_um + step_um, limits_um[0]), limits_um[1])
