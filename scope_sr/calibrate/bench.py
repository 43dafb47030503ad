"""The bench a calibration works at: a microscope, a slide, and what is known so far."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scope_sr.calibrate.words import describe
from scope_sr.calibration import (
    CalibrationRecord,
    Check,
    ObjectiveCalibration,
    Section,
    Verdict,
)
from scope_sr.config import Rig
from scope_sr.errors import MicroscopeError
from scope_sr.focusing import Focused, autofocus
from scope_sr.frame import Frame, Position
from scope_sr.imaging.flat_field import clipped_share, correct, exposure_share, is_blank
from scope_sr.imaging.focus import depth_of_field_um
from scope_sr.imaging.shift import green
from scope_sr.imaging.tissue import densest
from scope_sr.microscope import Ask, GuardedMicroscope
from scope_sr.plan import outside

Tell = Callable[[str], None]

CLIPPED = 0.2  # of the pixels at full scale: too bright to tell glass from tissue
DARK = 0.2  # of full scale, at the brightest place: too dark to tell
FAR = 300.0  # by how much the exposure may be off to begin with
GLASS = 0.93  # of the brightest light seen so far: darker is not glass, however even
FOCUS_SEARCH_DEPTHS = 4.0  # how far the operator's focus may be off
RINGS = (1, 2, 3, 4, 6, 8, 12, 16, 24)  # fields from home that are looked at, nearest first
MUCH, LEAST = 0.6, 0.25  # share of tissue in a place to be measured at, and to begin at
BESIDE = ((1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1), (-1, -1), (1, -1))


class CalibrationError(MicroscopeError):
    """A quantity cannot be measured here: what is wrong, and what to do."""


@dataclass
class Bench:
    """What the sections of a calibration share.

    Attributes
    ----------
    record
        What is known so far: measured, or else as the rig file says.
    home
        Where the operator had the stage, in the frame of the reference objective.
    tell
        Told in a few words what is being done.
    ask
        Puts a question to the operator; None where nobody is there.
    checks
        What the section under way has found.
    """

    microscope: GuardedMicroscope
    rig: Rig
    record: CalibrationRecord
    objectives: tuple[str, ...]
    folder: Path
    tell: Tell
    ask: Ask | None
    home: Position
    section: Section = "flat-field"
    checks: list[Check] = field(default_factory=list)
    _brightest: dict[str, float] = field(default_factory=dict)
    _in_focus: dict[str, Position] = field(default_factory=dict)
    acquainted: set[str] = field(default_factory=set)
    _fields: dict[tuple[str, str], NDArray[np.float32] | None] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """The objective all offsets are counted from."""
        return self.record.reference

    @property
    def others(self) -> tuple[str, ...]:
        """The objectives that are measured against the reference."""
        return tuple(name for name in self.objectives if name != self.reference)

    def lens(self, objective: str) -> ObjectiveCalibration:
        """Give what is known of an objective."""
        return self.record.objectives[objective]

    def know(self, objective: str, **values: object) -> None:
        """Take over what was found out about an objective."""
        lens = ObjectiveCalibration.model_validate({**self.lens(objective).model_dump(), **values})
        lenses = {**self.record.objectives, objective: lens}
        self.record = self.record.model_copy(update={"objectives": lenses})
        self._fields.clear()

    def note(
        self,
        name: str,
        value: float | tuple[float, ...] | NDArray,
        unit: str,
        limit: str,
        verdict: Verdict = "ok",
        *,
        sigma: float | tuple[float, ...] | NDArray | None = None,
        advice: str = "",
        picture: str = "",
    ) -> None:
        """Put a quantity on the record, with the judgement on it."""
        check = Check(
            section=self.section,
            name=name,
            value=_numbers(value),
            sigma=() if sigma is None else _numbers(sigma),
            unit=unit,
            limit=limit,
            verdict=verdict,
            advice="" if verdict == "ok" else advice,
            picture=picture,
            made_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        self.checks.append(check)
        self.tell(describe(check))

    # ---- driving ---------------------------------------------------------------------------

    def turn_to(self, objective: str) -> None:
        """Bring an objective into the light path, with its exposure; it stays retracted."""
        if self.microscope.objective() != objective:
            self.tell(f"turning the nosepiece to {objective}")
        self.microscope.select_objective(objective)
        self.expose(self.exposure_ms(objective))

    def expose(self, exposure_ms: float) -> None:
        """Set the exposure."""
        self.microscope.set_exposure(exposure_ms)

    def exposure_ms(self, objective: str) -> float:
        """Give the exposure as measured, else as the rig file says."""
        return self.lens(objective).exposure_ms or self.rig.objectives[objective].exposure_ms

    def place(self, objective: str, at_um: tuple[float, float]) -> Position:
        """Give the stage position that centres a place of the reference frame, in focus."""
        known = self._in_focus.get(objective)
        if known is not None:
            wanted = self.record.position(objective, at_um, 0.0)
            return replace(wanted, z_um=known.z_um)
        focus_um = self._in_focus.get(self.reference, self.home).z_um
        return self.record.position(objective, at_um, focus_um)

    def see(self, objective: str, at_um: tuple[float, float]) -> Frame:
        """Centre a place of the reference frame under the objective in place, and snap."""
        self.microscope.move_to(self.place(objective, at_um))
        frame = self.microscope.snap()
        brightest = max(self._brightest.get(objective, 0.0), self._light(frame))
        self._brightest[objective] = brightest
        return frame

    def inside(self, objective: str, at_um: tuple[float, float]) -> bool:
        """Say whether the stage may go there."""
        return not outside(self.rig, self.place(objective, at_um))

    def focus(self, objective: str, at_um: tuple[float, float]) -> Focused:
        """Bring a place into focus and remember the z of the objective; the caller judges it."""
        depth_um, search_um = self.depth_um(objective), self._search_um(objective)
        found = autofocus(
            self.microscope, self.place(objective, at_um), depth_um, search_um=search_um
        )
        if found.accepted:
            self._in_focus[objective] = found.position
        return found

    def _search_um(self, objective: str) -> float:
        """Give how far off the focus of an objective may be; the first time it is little known."""
        if objective in self._in_focus:
            return self.depth_um(objective)
        if self.reference in self._in_focus and self.lens(objective).parfocal_sigma_um is not None:
            return 2 * self.depth_um(objective)
        return FOCUS_SEARCH_DEPTHS * self.depth_um(self.reference)

    def focus_or_fail(self, objective: str, at_um: tuple[float, float]) -> Focused:
        """Bring a place into focus, or say why it cannot be."""
        found = self.focus(objective, at_um)
        if not found.accepted:
            msg = (
                f"{objective} finds no focus at {found.position.describe()}: {found.why}; focus on"
                " tissue by hand with the reference objective and begin again"
            )
            raise CalibrationError(msg)
        return found

    def depth_um(self, objective: str) -> float:
        """Give the depth of field of an objective."""
        aperture = self.rig.objectives[objective].numerical_aperture
        return depth_of_field_um(aperture, self.lens(objective).pixel_size_um)

    # ---- looking ---------------------------------------------------------------------------

    def levels(self, frame: Frame) -> NDArray[np.float32]:
        """Give a frame in grey levels of 8 bits, flat-corrected if its objective was measured."""
        image = np.asarray(frame.image, np.float32)
        flat, dark = (self._field(frame.objective, kind) for kind in ("flat", "dark"))
        if flat is not None and dark is not None:
            image = correct(frame.image, flat, dark)
        return image * np.float32(255 / self.rig.camera.full_scale)

    def field_um(self, objective: str) -> float:
        """Give the shorter side of the field of view."""
        camera = self.rig.camera
        return min(camera.width_px, camera.height_px) * self.lens(objective).pixel_size_um

    def around_home(self) -> Iterator[tuple[float, float]]:
        """Walk outward from home, eight places a ring, as far as the stage may go."""
        side_um = self.field_um(self.reference)
        yield self.home.x_um, self.home.y_um
        for ring in RINGS:
            for right, up in BESIDE:
                at_um = (
                    self.home.x_um + right * ring * side_um,
                    self.home.y_um + up * ring * side_um,
                )
                if self.inside(self.reference, at_um):
                    yield at_um

    def find_tissue(self) -> tuple[float, float]:
        """Give a place with tissue, focused: home, or the nearest place that shows some."""
        if self.record.tissue_um is not None and self._in_focus:
            return self.record.tissue_um
        self.turn_to(self.reference)
        self.tell("looking for tissue")
        best_um, most = (self.home.x_um, self.home.y_um), 0.0
        for number, at_um in enumerate(self.around_home()):
            dense_um, share = self._densest(at_um)
            if share > most:
                best_um, most = dense_um, share
            if most > MUCH or (number > 16 and most > LEAST):
                break
        if most < LEAST:
            side_mm = RINGS[-1] * self.field_um(self.reference) / 1000
            msg = (
                f"tissue too sparse: no field within {side_mm:.1f} mm shows enough of it to be"
                " measured; put tissue under the objective, focus on it, and begin again"
            )
            raise CalibrationError(msg)
        self.focus_or_fail(self.reference, best_um)
        self.record = self.record.model_copy(update={"tissue_um": best_um})
        return best_um

    def tissue_places(self, count: int, spread: float = 0.7) -> list[tuple[float, float]]:
        """Give places with tissue near the first one, a share of a field apart, the nearest first.

        Raises
        ------
        CalibrationError
            Fewer than half as many could be found.
        """
        middle = self.find_tissue()
        self.turn_to(self.reference)
        step_um = spread * self.field_um(self.reference)
        found = [middle]
        for ring in (1, 2, 3):
            for right, up in BESIDE:
                at_um = (middle[0] + right * ring * step_um, middle[1] + up * ring * step_um)
                if len(found) == count:
                    return found
                if not self.inside(self.reference, at_um):
                    continue
                dense_um, share = self._densest(at_um)
                apart_um = min(math.dist(dense_um, other) for other in found)
                if share > MUCH and apart_um > step_um / 3:
                    found.append(dense_um)
        if len(found) < (count + 1) // 2:
            msg = (
                f"tissue too sparse: only {len(found)} of {count} places near"
                f" {middle[0]:.0f}, {middle[1]:.0f} µm show tissue; begin where there is more of it"
            )
            raise CalibrationError(msg)
        return found

    def find_blank(self, objective: str) -> tuple[float, float]:
        """Give a place where an objective sees bare glass, on it and 60 µm about it.

        Raises
        ------
        CalibrationError
            There is none in reach, or what looks empty is darker than other places.
        """
        self.turn_to(objective)
        blank_um, seen = self._nearest_blank(objective)
        self.expose(self.exposure_ms(objective))
        if blank_um is not None:
            self.record = self.record.model_copy(update={"blank_um": blank_um})
            return blank_um
        least = f"{seen} empty-looking places were too near to tissue or dirt"
        msg = (
            "no bare glass found"
            + (f" ({least})" if seen else "")
            + f": looked up to {RINGS[-1]} fields from here, inside the stage limits; begin nearer"
            " to an empty part of the slide, or clean it"
        )
        raise CalibrationError(msg)

    def _nearest_blank(self, objective: str) -> tuple[tuple[float, float] | None, int]:
        """Look for bare glass: where it was before, then around home; and count what looks so."""
        if self.record.blank_um is not None and self._is_blank(objective, self.record.blank_um):
            return self.record.blank_um, 1
        self.tell(f"looking for bare glass with {objective}")
        seen = 0
        for at_um in self.around_home():
            if self._shows_glass(objective, at_um):
                seen += 1
                if self._is_blank(objective, at_um):
                    return at_um, seen
        return None, seen

    def _densest(self, at_um: tuple[float, float]) -> tuple[tuple[float, float], float]:
        """Look at a field; give the place in it with most tissue, and the share of tissue there.

        A place is as large as the smallest field of the objectives.
        """
        plane = green(self.levels(self.see(self.reference, at_um)))
        smallest_um = min(self.field_um(objective) for objective in self.objectives)
        window_px = smallest_um / self.lens(self.reference).pixel_size_um
        offset_px, share = densest(plane, min(window_px, 0.9 * min(plane.shape)))
        x_um, y_um = np.add(at_um, self.lens(self.reference).affine @ offset_px).tolist()
        return ((x_um, y_um), share) if self.inside(self.reference, (x_um, y_um)) else (at_um, 0.0)

    def _light(self, frame: Frame) -> float:
        """Give the brightest light in a frame, in grey levels per ms."""
        level = np.percentile(green(frame.image)[::4, ::4], 95)
        return float(level) / frame.exposure_ms

    def _well_exposed(self, objective: str, at_um: tuple[float, float]) -> Frame:
        """Snap a place so that glass can be told: where all is white or black, all looks empty."""
        frame = self.see(objective, at_um)
        while (factor := self._by_what_to_expose(frame)) != 1.0:
            exposure_ms = factor * frame.exposure_ms
            if not 1 / FAR <= exposure_ms / self.exposure_ms(objective) <= FAR:
                what = "saturated" if factor < 1 else "too dark"
                msg = (
                    f"{objective}: {what} at {frame.exposure_ms:.3g} ms: look at lamp, shutter and"
                    " filters, switch off automatic exposure of the camera, and begin again"
                )
                raise CalibrationError(msg)
            self.expose(exposure_ms)
            self._brightest.pop(objective, None)  # the dark level is part of it
            frame = self.see(objective, at_um)
        return frame

    def _by_what_to_expose(self, frame: Frame) -> float:
        full_scale = self.rig.camera.full_scale
        if clipped_share(frame.image, full_scale) > CLIPPED:
            return 0.25
        return 4.0 if exposure_share(frame.image, full_scale) < DARK else 1.0

    def _shows_glass(self, objective: str, at_um: tuple[float, float]) -> bool:
        frame = self._well_exposed(objective, at_um)
        return is_blank(frame.image) and self._light(frame) >= GLASS * self._brightest[objective]

    def _is_blank(self, objective: str, at_um: tuple[float, float]) -> bool:
        """Look at a place and its surroundings."""
        around = (
            (at_um[0] + 60.0 * right, at_um[1] + 60.0 * up)
            for right, up in ((0, 0), (1, 1), (-1, -1), (1, -1), (-1, 1))
        )
        return all(self.inside(objective, at) and self._shows_glass(objective, at) for at in around)

    def _field(self, objective: str, kind: str) -> NDArray[np.float32] | None:
        key = (objective, kind)
        if key not in self._fields:
            known = objective in self.record.objectives
            self._fields[key] = self.record.field(objective, kind) if known else None  # type: ignore[arg-type]
        return self._fields[key]


def _numbers(value: float | tuple[float, ...] | NDArray) -> tuple[float, ...]:
    return tuple(float(f"{v:.10g}") for v in np.atleast_1d(np.asarray(value, float)))
