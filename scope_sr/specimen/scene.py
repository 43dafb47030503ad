"""A slide seen through the lenses of a rig by its camera: what simulated pixels are made of."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from scope_sr.config import AXES, Camera, Rig, TrueObjective
from scope_sr.errors import InputError
from scope_sr.frame import Position
from scope_sr.specimen.fast import FastRenderer
from scope_sr.specimen.optics import View, transmit
from scope_sr.specimen.sensor import Sensor
from scope_sr.specimen.slide import open_slide

Image = NDArray[np.uint8] | NDArray[np.uint16]


class Scene:
    """The specimen of a rig, its true lenses and sensors.

    Raises
    ------
    InputError
        The specimen cannot be read, or the low or high objective samples finer than it was.
    """

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._slide = open_slide(rig.specimen, seed=rig.simulation.seed, folder=rig.folder)
        self._lenses = {name: _lens(rig, name) for name in rig.objectives}
        self._sensors: dict[tuple[str, Camera], Sensor] = {}
        self._fast = FastRenderer(self._slide)
        for name in (rig.low, rig.high):
            self.refuse_empty_magnification(name)

    def refuse_empty_magnification(self, name: str) -> None:
        """Raise InputError for pixels finer than the specimen's: they show what nobody ever saw."""
        size_um, specimen_um = self._lenses[name].pixel_size_um or 0.0, self._slide.um_per_px
        if size_um < specimen_um * 0.999:
            msg = (
                f"{self._rig.source}: pixels of {size_um:.4g} µm with {name} are finer than the"
                f" specimen's own {specimen_um:.4g} µm; is um_per_px right? Else take weaker"
                " objectives (--low, --high) or a finer image"
            )
            raise InputError(msg)

    def view(
        self,
        objective: str,
        stage: Position,
        turn_um: tuple[float, float, float] = (0.0, 0.0, 0.0),
        camera: Camera | None = None,
        pixel_size_um: float | None = None,
    ) -> View:
        """Give what an objective sees while the specimen stands at a place.

        Parameters
        ----------
        stage
            Where the specimen really is.
        turn_um
            By how much the last turn of the nosepiece missed, in x, y and focus.
        camera, pixel_size_um
            Where they differ from the rig's, as with binning.
        """
        lens, camera = self._lenses[objective], camera or self._rig.camera
        centre_um = (
            stage.x_um + lens.parcentric_um[0] + turn_um[0],
            stage.y_um + lens.parcentric_um[1] + turn_um[1],
        )
        in_focus_um = self._surface_um(*centre_um) + lens.parfocal_um + turn_um[2]
        return View(
            centre_um=centre_um,
            matrix=_axes(self._rig) * (pixel_size_um or lens.pixel_size_um or 1.0),
            size_px=(camera.width_px, camera.height_px),
            numerical_aperture=self._rig.objectives[objective].numerical_aperture,
            defocus_um=stage.z_um - in_focus_um,
            distortion=lens.distortion,
            lateral_chromatic=lens.lateral_chromatic,
            axial_chromatic_um=lens.axial_chromatic_um,
        )

    def expose(
        self,
        objective: str,
        view: View,
        exposure_ms: float,
        rng: np.random.Generator,
        camera: Camera | None = None,
        gain: float = 1.0,
    ) -> Image:
        """Render a view exactly and expose it."""
        light = transmit(self._slide, view)
        return self._sensor(objective, camera).expose(light, exposure_ms, rng, gain)

    def expose_fast(
        self,
        objective: str,
        view: View,
        exposure_ms: float,
        number: int,
        camera: Camera | None = None,
        gain: float = 1.0,
    ) -> Image:
        """Render a view at the pace of a camera and expose it; one thread at a time."""
        light = self._fast.transmit(view)
        return self._sensor(objective, camera).expose_fast(light, exposure_ms, number, gain)

    def _surface_um(self, x_um: float, y_um: float) -> float:
        """Height of the tissue over the plane of the stage: tilt and gentle relief."""
        surface = self._rig.simulation.surface
        tilt_um = (x_um * surface.tilt_um_per_mm[0] + y_um * surface.tilt_um_per_mm[1]) / 1000
        phase = 2 * math.pi / surface.relief_scale_um
        relief = math.sin(phase * x_um + 1.3) + math.sin(phase * 0.83 * y_um + 0.4)
        return tilt_um + surface.relief_um * relief / math.sqrt(2)

    def _sensor(self, objective: str, camera: Camera | None) -> Sensor:
        key = (objective, camera or self._rig.camera)
        if key not in self._sensors:
            truth = self._rig.simulation
            self._sensors[key] = Sensor(
                key[1], truth.camera, self._lenses[objective], seed=truth.seed
            )
        return self._sensors[key]


def _lens(rig: Rig, name: str) -> TrueObjective:
    """Give the truth of an objective; where the rig is silent, the engraved value is true."""
    lens = rig.simulation.objectives.get(name, TrueObjective())
    size_um = lens.pixel_size_um or rig.pixel_size_um(name)
    return lens.model_copy(update={"pixel_size_um": size_um})


def _axes(rig: Rig) -> NDArray[np.float64]:
    """Give the directions of image columns and rows on the stage, sensor rotation included."""
    axes = np.array([AXES[rig.camera.image_right], AXES[rig.camera.image_down]]).T
    angle = math.radians(rig.simulation.camera.rotation_deg)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    directions: NDArray[np.float64] = turn @ axes
    return directions
