"""The source of the live view: opened, lost, opened again, and left as it was found."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from scope_sr.calibration import CalibrationRecord
from scope_sr.calibration.quantities import Fingerprint
from scope_sr.config import Rig
from scope_sr.errors import MicroscopeError
from scope_sr.frame import CameraFacts
from scope_sr.live.seen import Abilities
from scope_sr.microscope import Ask, GuardedMicroscope, open_microscope
from scope_sr.microscope.protocol import Microscope

log = logging.getLogger(__name__)

CLOSE_S = 0.65  # with the camera's thread before it, within the second a window may take to go
SAME_SCALE = 0.1  # a binning is a whole number; a pixel size within this share of one is it


class Stand:
    """A microscope, or a replay of one, that may vanish and come back; for any thread.

    Attributes
    ----------
    name
        What a person calls it: ``simulated``, ``demo``, ``slide17 (replay)``.
    rig, record
        None where there is none. Where the camera is not the one that the record was made with,
        `record` is the rig's word instead, and `remark` says so.
    expected_objective
        Whoever turns the nosepiece writes here beforehand where to; what turns without that was
        turned by hand.
    gain
        Of the camera; None where it has none. Whoever sets it writes it here, since frames do not
        tell it: another gain is another view.
    """

    def __init__(
        self,
        name: str,
        opener: Callable[[], Microscope],
        *,
        rig: Rig | None = None,
        record: CalibrationRecord | None = None,
        um_per_px: float | None = None,
    ) -> None:
        self.name = name
        self.rig = rig
        self.record = record
        self.remark = ""
        self.expected_objective = ""
        self.gain: float | None = None
        self._opener = opener
        self._made_with = record
        self._um_per_px = um_per_px
        self._coarser: float | None = 1.0
        self._facts = CameraFacts("")
        self._found: tuple[float, float] | None = None
        self._microscope: Microscope | None = None
        self._opening = threading.Lock()
        self._over = False

    @classmethod
    def of_rig(cls, rig: Rig, ask: Ask | None = None) -> Stand:
        """Take the instrument of a rig, behind its guard; it is opened later.

        Raises
        ------
        InputError
            Its calibration record cannot be read.
        """
        record = CalibrationRecord.of_rig(rig)
        return cls(rig.name, lambda: open_microscope(rig, ask=ask), rig=rig, record=record)

    @property
    def microscope(self) -> Microscope | None:
        """The open microscope; None while it is gone."""
        return self._microscope

    @property
    def driven(self) -> bool:
        """Whether there is an instrument to be driven, and not a replay of one."""
        return isinstance(self._microscope, GuardedMicroscope)

    def open(self) -> Microscope:
        """Open it, unless it is open; note how the camera was set. May take as long as it takes.

        Raises
        ------
        MicroscopeError
            It does not answer, or the stand was closed.
        InputError
            The instrument is not as the rig says.
        """
        with self._opening:
            if self._over:
                msg = f"{self.name}: the live view was closed"
                raise MicroscopeError(msg)
            if self._microscope is None:
                self._microscope = self._opened()
            return self._microscope

    def lose(self) -> None:
        """Let go of it after a failure, so that :meth:`open` opens it anew; never raises."""
        with self._opening:
            microscope, self._microscope = self._microscope, None
        if microscope is not None:
            _within(CLOSE_S, lambda: _quietly(microscope.close))

    def close(self) -> None:
        """Stop all motion and the stream, give exposure and gain back, close; never raises.

        It waits for a second at most: what hangs longer is left to end by itself.
        """
        self._over = True
        _within(CLOSE_S if self._microscope else 0.0, self._leave)

    def abilities(self) -> Abilities:
        """Say what can be done here, and why the rest cannot; asks no device."""
        microscope = self._microscope
        if microscope is None:
            return _none("the instrument is not there")
        if self.rig is None or not self.driven:
            return _none("a replay cannot be driven")
        lenses, stage = self.rig.objectives, self.rig.stage
        limits = self._facts.gain_limits
        return Abilities(
            gain="" if limits else "this camera has no gain that can be set",
            objectives=tuple(sorted(lenses, key=lambda name: lenses[name].magnification)),
            gain_limits=limits,
            stage_limits_um=(stage.x_limits_um, stage.y_limits_um),
        )

    def um_per_px(self, objective: str) -> float | None:
        """Say what one pixel covers of the specimen, in µm; None where nobody knows."""
        known_um = self._um_per_px or self._nominal_um(objective)
        if known_um is None or self._coarser is None:
            return None
        return known_um * self._coarser

    def look_again(self, shape: tuple[int, ...], objective: str) -> None:
        """Find out the scale of a camera whose frames have another shape than before.

        A region of interest leaves the size of a pixel alone, binning does not; what Micro-Manager
        says tells them apart. Where nothing says it, nobody knows the pixel size any more.
        """
        rig, microscope = self.rig, self._microscope
        self._coarser = 1.0
        if rig is None or microscope is None:
            return
        if shape[:2] == (rig.camera.height_px, rig.camera.width_px):
            return
        self._coarser = None
        said_um = microscope.camera().pixel_size_um
        if said_um and objective in rig.objectives:
            self._coarser = _binning(said_um / rig.pixel_size_um(objective))

    def _nominal_um(self, objective: str) -> float | None:
        if self.record is not None and objective in self.record.objectives:
            return self.record.objectives[objective].pixel_size_um
        if self.rig is not None and objective in self.rig.objectives:
            return self.rig.pixel_size_um(objective)
        return None

    def _opened(self) -> Microscope:
        microscope = self._opener()
        try:
            if self._over:
                msg = f"{self.name}: the live view was closed while it opened"
                raise MicroscopeError(msg)
            self._facts = microscope.camera()
            self._coarser = 1.0
            self._note_setting(microscope)
            self._judge_record()
        except BaseException:
            _quietly(microscope.close)
            raise
        return microscope

    def _note_setting(self, microscope: Microscope) -> None:
        """Note what is to be given back: as found first, however often it was lost in between."""
        if self._found is None and isinstance(microscope, GuardedMicroscope):
            self._found = microscope.exposure_ms(), microscope.gain()
        self.gain = microscope.gain() if self._facts.gain_limits else None

    def _judge_record(self) -> None:
        """Put up with the rig's word where the record is of another camera: a view is no data."""
        record, rig = self._made_with, self.rig
        self.record, self.remark = record, ""
        if rig is None or record is None or record.fingerprint is None:
            return
        shared = tuple(name for name in record.fingerprint.slots if name in rig.objectives)
        difference = record.fingerprint.difference(Fingerprint.of(rig, self._facts.name), shared)
        if difference:
            self.record = CalibrationRecord.nominal(rig)
            self.remark = (
                f"{record.folder or 'the calibration record'}: {difference}; scale and offsets are"
                " the rig's word and shading stays in: calibrate again, or put it back as it was"
            )

    def _leave(self) -> None:
        with self._opening:
            microscope, self._microscope = self._microscope, None
        if microscope is None:
            return
        for step in (
            microscope.stop,
            microscope.stop_stream,
            lambda: self._give_back(microscope),
            microscope.close,
        ):
            _quietly(step)

    def _give_back(self, microscope: Microscope) -> None:
        """Set exposure and gain as they were found, where they are others now."""
        if self._found is None:
            return
        exposure_ms, gain = self._found
        if microscope.exposure_ms() != exposure_ms:
            microscope.set_exposure(exposure_ms)
        if microscope.gain() != gain:
            microscope.set_gain(gain)


def _none(why: str) -> Abilities:
    return Abilities(stage=why, focus=why, nosepiece=why, exposure=why, gain=why)


def _binning(ratio: float) -> float | None:
    """Take a ratio of pixel sizes for a binning, or for none.

    >>> _binning(2.03), _binning(0.5), _binning(1.0), _binning(1.4)
    (2.0, 0.5, 1.0, None)
    """
    factor = float(round(ratio)) if ratio >= 0.75 else 1.0 / round(1 / ratio)
    return factor if abs(ratio / factor - 1) <= SAME_SCALE else None


def _within(seconds: float, step: Callable[[], None]) -> None:
    """Do something in a thread of its own, and wait for it so long and no longer."""
    thread = threading.Thread(target=step, name="scope-sr leaving", daemon=True)
    thread.start()
    thread.join(seconds)


def _quietly(step: Callable[[], None]) -> None:
    """Do one step of leaving; the next must come whatever becomes of it."""
    try:
        step()
    except Exception as error:  # noqa: BLE001 - devices fail in their own ways
        log.warning("on leaving the microscope: %s", error)
