"""Camera: exposure, gain, histogram, white balance."""

from __future__ import annotations

import time

from PySide6 import QtCore, QtWidgets

from scope_sr.live.levels import Levels
from scope_sr.live.seen import Abilities
from scope_sr.live.window.panels.histogram import Histogram
from scope_sr.live.window.panels.parts import Number, Slider, allow, button, look, words
from scope_sr.live.window.theme import Theme, digits

EXPOSURES_MS = (0.05, 2000.0)
SETTLING_S = 2.0  # so long what was asked for is shown, not what the camera still says
CLIPPED = 0.001  # share of pixels from which a clipped picture is worth a warning
UNSET = 0.01  # below the least gain
NO_GAIN = "this camera has no gain to set"


class CameraPanel(QtWidgets.QWidget):
    """Exposure and gain with slider and number, the histogram, and the white balance."""

    exposure_asked = QtCore.Signal(float)
    gain_asked = QtCore.Signal(float)
    blank_asked = QtCore.Signal()
    neutral_asked = QtCore.Signal()
    reset_asked = QtCore.Signal()

    def __init__(self) -> None:
        super().__init__()
        self.exposure = Number("Exposure", "ms", *EXPOSURES_MS, decimals=2)
        self.exposure_slider = Slider("Exposure, slider", *EXPOSURES_MS, ratios=True)
        self.gain = Number("Gain", "", 0.0, 1e3, decimals=2)
        self.gain_slider = Slider("Gain, slider", 1.0, 10.0)
        self.histogram = Histogram()
        self.clipped = words("", "quiet")
        self.clipped.setFont(digits(self.clipped.font()))
        self.blank = button("From this field", "White balance from this field",
                            "Move to a field without tissue first (W)")  # fmt: skip
        self.neutral = button("From a point", "White balance from a point",
                              "Then click a colourless point of the picture (Shift W)")  # fmt: skip
        self.neutral.setCheckable(True)
        self.reset = button("Reset", "Reset the white balance", "Show the colours as they come")
        self.balance = words("none", "quiet")
        self.balance.setFont(digits(self.balance.font()))
        self._gains: tuple[float, float] | None = None
        self._asked = {"exposure": 0.0, "gain": 0.0}
        self._lay_out()
        self._connect()
        allow(self.gain, NO_GAIN)
        allow(self.gain_slider, NO_GAIN)

    def set_abilities(self, abilities: Abilities) -> None:
        """Take what the source can do."""
        for control in (self.exposure, self.exposure_slider):
            allow(control, abilities.exposure)
        limits = abilities.gain_limits
        for control in (self.gain, self.gain_slider):
            allow(control, abilities.gain or ("" if limits else NO_GAIN))
        if limits and not abilities.gain and limits != self._gains:
            self._limit_gain(*limits)

    def follow(self, exposure_ms: float, gain: float | None = None) -> None:
        """Show what the camera says, unless somebody is setting it right now."""
        self._follow("exposure", self.exposure, self.exposure_slider, exposure_ms)
        if gain is not None:
            self._follow("gain", self.gain, self.gain_slider, gain)

    def show_gains(self, gains: tuple[float, float, float]) -> None:
        """Show the white balance."""
        none = gains == (1.0, 1.0, 1.0)
        red, green, blue = gains
        self.balance.setText("none" if none else f"R {red:.2f}  G {green:.2f}  B {blue:.2f}")
        self.reset.setEnabled(not none)

    def show_levels(self, levels: Levels) -> None:
        """Show the histogram and what is clipped."""
        low, high = float(levels.low.max()), float(levels.high.max())
        self.histogram.show_levels(levels, low=low > CLIPPED, high=high > CLIPPED)
        warns = max(low, high) > CLIPPED
        mark = "⚠ " if warns else ""
        self.clipped.setText(f"{mark}{100 * high:.1f} % too bright, {100 * low:.1f} % too dark")
        look(self.clipped, "warn" if warns else "quiet")

    def set_theme(self, theme: Theme) -> None:
        """Take other colours."""
        self.histogram.set_theme(theme)

    def _lay_out(self) -> None:
        grid = QtWidgets.QGridLayout()
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(5)
        rows = (
            ("Exposure", self.exposure_slider, self.exposure),
            ("Gain", self.gain_slider, self.gain),
        )
        for row, (name, slider, number) in enumerate(rows):
            grid.addWidget(words(name), row, 0)
            grid.addWidget(slider, row, 1)
            grid.addWidget(number, row, 2)
            number.setFixedWidth(number.fontMetrics().horizontalAdvance("2000.00 ms") + 14)
        grid.setColumnStretch(1, 1)
        balance = QtWidgets.QHBoxLayout()
        balance.setSpacing(5)
        for pressed in (self.blank, self.neutral, self.reset):
            balance.addWidget(pressed)
        title = QtWidgets.QHBoxLayout()
        title.addWidget(words("White balance"))
        title.addStretch(1)
        title.addWidget(self.balance)
        column = QtWidgets.QVBoxLayout(self)
        column.setSpacing(6)
        column.addLayout(grid)
        column.addWidget(self.histogram)
        column.addWidget(self.clipped)
        column.addLayout(title)
        column.addLayout(balance)

    def _connect(self) -> None:
        self.exposure.valueChanged.connect(lambda value: self._ask("exposure", value))
        self.exposure_slider.moved_to.connect(self.exposure.setValue)
        self.gain.valueChanged.connect(lambda value: self._ask("gain", value))
        self.gain_slider.moved_to.connect(self.gain.setValue)
        self.blank.clicked.connect(self.blank_asked)
        self.neutral.clicked.connect(self.neutral_asked)
        self.reset.clicked.connect(self.reset_asked)

    def _limit_gain(self, least: float, most: float) -> None:
        """Take the camera's limits; below them the field says that nobody has set a gain yet."""
        self._gains = (least, most)
        before = self.gain.blockSignals(True)
        self.gain.setRange(least - UNSET, most)
        self.gain.setSpecialValueText("as found")
        self.gain.setValue(least - UNSET)
        self.gain.blockSignals(before)
        self.gain_slider.set_limits(least, most)

    def _ask(self, what: str, value: float) -> None:
        self._asked[what] = time.monotonic()
        if what == "exposure":
            self.exposure_slider.stand_at(value)
            self.exposure_asked.emit(value)
        elif self._gains and value >= self._gains[0]:
            self.gain_slider.stand_at(value)
            self.gain_asked.emit(value)

    def _follow(self, what: str, number: Number, slider: Slider, value: float) -> None:
        settling = time.monotonic() - self._asked[what] < SETTLING_S
        if settling or number.hasFocus() or slider.isSliderDown():
            return
        if abs(number.value() - value) < 0.5 * 10 ** -number.decimals():
            return
        before = number.blockSignals(True)
        number.setValue(value)
        number.blockSignals(before)
        slider.stand_at(value)
