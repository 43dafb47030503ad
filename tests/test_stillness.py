"""What counts as another view: known motions, known noise, and nobody who reports them."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from textures import texture

from scope_sr.frame import Frame, Position
from scope_sr.live.source.stillness import Stillness

SIDE_PX = 256
HERE = Position(100.0, -50.0, 3.0)


class Scene:
    """A field of light, seen again and again by a camera of 10000 electrons at full scale."""

    def __init__(self, light: NDArray[np.float32], seed: int = 0) -> None:
        self.light = light
        self.still = Stillness()
        self._rng = np.random.default_rng(seed)
        self.frame = Frame(self.shot(), HERE, "10x", 10.0, 0.0, 1)

    def shot(self, light: NDArray[np.float32] | None = None) -> NDArray[np.uint8]:
        light = self.light if light is None else light
        noisy = light + self._rng.standard_normal(light.shape, np.float32) * np.sqrt(light / 39)
        grey = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)

    def look(
        self, light: NDArray[np.float32] | None = None, gains: object = None, **changes: Any
    ) -> int:
        """Look at one more frame; give the number of the view."""
        image = self.shot(light)
        self.frame = dataclasses.replace(self.frame, number=self.frame.number + 1)
        frame = dataclasses.replace(self.frame, image=image, **changes)
        self.still.look(frame, image, gains, float(frame.number), 0.5, 0.30)
        return self.still.view

    def rest(self, frames: int = 20) -> int:
        return max(self.look() for _ in range(frames))


@cache
def pushed(by_px: float) -> NDArray[np.float32]:
    return texture((SIDE_PX, SIDE_PX), (by_px, 0.0)).clip(1, 254).astype(np.float32)


GLASS = np.full((SIDE_PX, SIDE_PX), 220, np.float32)


@pytest.mark.parametrize("kind", ["glass", "tissue", "dark"])
def test_noise_is_no_motion(kind: str) -> None:
    light = {"glass": GLASS, "tissue": pushed(0), "dark": GLASS * 0.02}[kind]
    assert Scene(light).rest(100) == 1


def test_a_lamp_that_flickers_is_no_motion() -> None:
    scene = Scene(pushed(0))
    rng = np.random.default_rng(3)
    flickers = [scene.light * np.float32(1 + rng.uniform(-0.02, 0.02)) for _ in range(100)]
    assert max(map(scene.look, flickers)) == 1


def test_a_lamp_turned_up_is_another_view() -> None:
    scene = Scene(GLASS * 0.8)
    scene.rest()
    assert scene.look(scene.light * 1.12) == 2


@pytest.mark.parametrize("by_px", [1, 2, 8, 40])
def test_a_slide_pushed_by_hand_is_another_view(by_px: float) -> None:
    scene = Scene(pushed(0))
    assert scene.rest() == 1
    assert scene.look(pushed(by_px)) == 2
    assert scene.look(pushed(by_px)) == 2, "and from then on it is still"


def test_a_little_tissue_in_a_corner_is_enough() -> None:
    def corner(by_px: float) -> NDArray[np.float32]:
        light = GLASS.copy()
        light[-40:, -40:] = pushed(by_px)[-40:, -40:]
        return light

    scene = Scene(corner(0))
    assert scene.rest() == 1
    assert scene.look(corner(2)) == 2


def test_a_focus_turned_by_hand_is_another_view() -> None:
    scene = Scene(pushed(0))
    assert scene.rest() == 1
    assert scene.look(np.asarray(cv2.GaussianBlur(pushed(0), (0, 0), 1.5), np.float32)) == 2


def test_each_frame_of_a_motion_is_a_view_of_its_own() -> None:
    scene = Scene(pushed(0))
    scene.rest()
    views = [scene.look(pushed(step)) for step in range(1, 17)]
    assert views == list(range(2, 18))
    assert scene.look(pushed(16)) == views[-1]


def test_a_stand_that_trembles_is_learnt() -> None:
    """Within a fifth of a pixel is how this stand stands; two pixels are a motion still."""
    scene = Scene(pushed(0))
    places = [pushed(by_px) for by_px in (0.0, 0.05, 0.1, 0.15, 0.2)]
    swing = np.random.default_rng(5).integers(0, len(places), 200)
    for step in swing[:40]:
        scene.look(places[step])
    settled = scene.still.view
    assert max(scene.look(places[step]) for step in swing[40:]) == settled
    assert scene.look(pushed(2.1)) > settled


@pytest.mark.parametrize(
    ("changes", "another"),
    [
        ({"position": dataclasses.replace(HERE, x_um=HERE.x_um + 0.1)}, False),
        ({"position": dataclasses.replace(HERE, x_um=HERE.x_um + 0.2)}, True),
        ({"position": dataclasses.replace(HERE, z_um=HERE.z_um + 1.0)}, False),
        ({"position": dataclasses.replace(HERE, z_um=HERE.z_um + 2.0)}, True),
        ({"objective": "20x"}, True),
        ({"exposure_ms": 11.0}, True),
        ({"gains": (1.1, 1.0, 1.0)}, True),
        ({}, False),
    ],
)
def test_what_devices_report(changes: dict[str, Any], another: bool) -> None:
    """On glass, where the picture tells nothing: 0.125 µm are a quarter pixel, 1.5 µm a depth's."""
    scene = Scene(GLASS)
    scene.rest()
    assert (scene.look(**changes) == 2) is another
    assert (scene.look(**changes) == 2) is another


def test_another_shape_is_another_view() -> None:
    scene = Scene(GLASS)
    scene.rest()
    assert scene.look(GLASS[:100, :96]) == 2
    assert scene.look(GLASS[:100, :96]) == 2
    for rows, columns in ((3, 2000), (2000, 3), (2, 2)):
        assert scene.look(np.full((rows, columns), 200, np.float32)) == scene.still.view


def test_it_is_told_when_the_view_began() -> None:
    scene = Scene(pushed(0))
    scene.rest(5)
    assert scene.still.since_s == 2.0
    scene.look(pushed(4))
    assert scene.still.since_s == scene.frame.number
