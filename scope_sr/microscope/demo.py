"""Micro-Manager's own demo configuration, its camera looking at the virtual slide.

Configuration, nosepiece, stage motion, buffers and metadata are those of a real MMCore. Only the
pixels are rendered: the stock demo camera ignores the objective and could never give a pair.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.config import Rig
from scope_sr.errors import InputError
from scope_sr.frame import Position
from scope_sr.microscope.in_process import link_to, loaded_core, newest_frame
from scope_sr.microscope.link import Link
from scope_sr.specimen.scene import Scene


def link_demo(rig: Rig) -> Link:
    """Load the demo configuration in this process and let its camera see the rig's specimen.

    Raises
    ------
    InputError
        The demo devices are not installed, or the rig asks of the demo camera what it cannot do.
    MicroscopeError
        A Micro-Manager core is open in this process already.
    """
    try:
        import mm_test_adapters
    except ImportError as error:
        msg = (
            f"the demo rig needs Micro-Manager's demo devices ({error.name} is missing):"
            ' pip install "scope-sr[demo]"'
        )
        raise InputError(msg) from error
    scene = Scene(rig)
    adapters = Path(mm_test_adapters.device_adapter_path())
    with loaded_core(adapters, str(adapters / "MMConfig_demo.cfg")) as core:
        _set_up(core, rig)
        rendered = RenderedCore(core, rig, scene)
        return dataclasses.replace(
            link_to(core),
            hardware=rendered,
            frames=rendered,
            emergency=rendered,
            newest=rendered.newest,
        )


DECIBELS = 20.0  # to a factor of ten


class RenderedCore:
    """A core whose images show the specimen; all else is the core's own.

    The demo camera's gain, -5 to 8 in whole numbers and without a meaning, is taken for decibels.
    """

    def __init__(self, core: Any, rig: Rig, scene: Scene) -> None:
        self._core = core
        self._rig = rig
        self._scene = scene
        self._names = {lens.label: name for name, lens in rig.objectives.items()}
        self._snaps = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def get_image(self) -> NDArray[Any]:
        """Fetch the snapped image, its pixels rendered exactly for where the core's stage is."""
        raw = self._core.get_image()
        self._snaps += 1
        rng = np.random.default_rng((self._rig.simulation.seed, self._snaps))
        name, view, camera = self._look(raw)
        exposure_ms = self._core.get_exposure()
        image = self._scene.expose(name, view, exposure_ms, rng, camera, self._gain())
        return _packed(image, raw)

    def newest(self) -> tuple[NDArray[Any], int] | None:
        """Fetch the newest frame of a stream, rendered, with its number."""
        found = newest_frame(self._core)
        return found and (self.render_live(*found), found[1])

    def render_live(self, raw: NDArray[Any], number: int) -> NDArray[Any]:
        """Render a streamed image at the pace of a camera."""
        name, view, camera = self._look(raw)
        exposure_ms = self._core.get_exposure()
        image = self._scene.expose_fast(name, view, exposure_ms, number, camera, self._gain())
        return _packed(image, raw)

    def _gain(self) -> float:
        return 10 ** (float(self._core.get_property("Camera", "Gain")) / DECIBELS)

    def _look(self, raw: NDArray[Any]) -> tuple[str, Any, Any]:
        """Ask the core for everything that decides what its camera sees."""
        name = self._names[str(self._core.get_state_label("Objective"))]
        stage = Position(
            self._core.get_x_position(), self._core.get_y_position(), self._core.get_position()
        )
        size = {"width_px": raw.shape[1], "height_px": raw.shape[0]}
        camera = self._rig.camera.model_copy(update=size)
        pixel_size_um = self._core.get_pixel_size_um()
        view = self._scene.view(name, stage, camera=camera, pixel_size_um=pixel_size_um)
        return name, view, camera


def _set_up(core: Any, rig: Rig) -> None:
    """Give the demo camera the size and depth of the rig, and the objective it begins with."""
    camera = rig.camera
    if camera.color and camera.bits != 8:
        msg = f"{rig.source}: camera.bits = {camera.bits}: colour has 8 bits on the demo camera"
        raise InputError(msg)
    pixel_type = "32bitRGB" if camera.color else "8bit" if camera.bits == 8 else "16bit"
    settings = {
        "OnCameraCCDXSize": camera.width_px,
        "OnCameraCCDYSize": camera.height_px,
        "PixelType": pixel_type,
        "FastImage": 1,
        **({} if camera.color else {"BitDepth": camera.bits}),
    }
    try:
        for name, value in settings.items():
            core.set_property("Camera", name, str(value))
    except RuntimeError as error:
        msg = f"{rig.source}: the demo camera refuses {name} = {value}; see configs/demo.toml"
        raise InputError(msg) from error
    core.set_state_label("Objective", rig.objectives[rig.low].label)


def _packed(image: NDArray[np.uint8] | NDArray[np.uint16], raw: NDArray[Any]) -> NDArray[Any]:
    """Lay pixels out as the core does: colour as uint32 of B, G, R, 0."""
    if raw.dtype != np.uint32:
        return image.astype(raw.dtype, copy=False)
    bgra = np.zeros((*raw.shape, 4), np.uint8)
    for channel in range(3):
        bgra[..., 2 - channel] = image[..., channel]
    packed: NDArray[np.uint32] = bgra.view(np.uint32)[..., 0]
    return packed
