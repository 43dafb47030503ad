"""The colour matrix between two objectives, on tissue seen by two simulated cameras."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scope_sr.config import Camera, Specimen, TrueCamera, TrueObjective
from scope_sr.imaging.color import apply_color_matrix, color_matrix, usable
from scope_sr.specimen.sensor import Sensor
from scope_sr.specimen.slide import open_slide

SIDE = 256
MIXING = np.array([[0.90, 0.08, 0.02], [0.05, 0.90, 0.05], [0.02, 0.10, 0.88]])


def seen(
    light: NDArray[np.float32], color_gain: tuple[float, float, float], seed: int
) -> NDArray[np.float32]:
    """Expose light at 8 bits and take off dark level and shading, as known; blurred."""
    lens = TrueObjective(light_e_per_ms=870.0, vignetting=0.10, color_gain=color_gain)
    tested = Sensor(
        Camera(width_px=SIDE, height_px=SIDE),
        TrueCamera(read_noise_e=6.0, dark_dn=2.0, pixel_response=0.004),
        lens,
        seed=0,
    )
    flat = tested.rate_e_per_ms / tested.rate_e_per_ms.mean(axis=(0, 1))
    image = tested.expose(light, 9.0, np.random.default_rng(seed))
    return cv2.GaussianBlur((image - np.float32(2)) / flat, (0, 0), 1.5)


@lru_cache
def tissue() -> NDArray[np.float32]:
    slide = open_slide(Specimen(tissue="tnbc"), seed=0, folder=Path())
    return slide.region(-8000, -5000, SIDE, SIDE) / np.float32(255)


@lru_cache
def pair() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    low = seen(tissue(), (1.05, 1.0, 0.90), 0)
    mixed = np.clip(tissue() @ MIXING.T.astype(np.float32), 0, 1)
    return low, seen(mixed, (0.98, 1.0, 1.03), 1)


def samples(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return image.reshape(-1, 3)


def test_two_objectives_agree_after_the_matrix() -> None:
    low, high = pair()
    assert np.sqrt(np.square(low - high).mean()) > 8
    matrix, residual_dn = color_matrix(samples(low)[::2], samples(high)[::2])
    assert matrix.shape == (3, 4)
    assert matrix.dtype == np.float64
    mapped = apply_color_matrix(high, matrix)
    assert mapped.dtype == np.float32
    held_out = (mapped - low).reshape(-1, 3)[1::2]
    assert np.sqrt(np.square(held_out).mean()) < 1.0
    assert residual_dn == pytest.approx(np.sqrt(np.square(held_out).mean()), rel=0.1)
    # the truth: gains of one times the inverse mixing times the inverse gains of the other
    expected = (
        np.diag([1.05, 1, 0.90]) @ np.linalg.inv(MIXING) @ np.diag(1 / np.array([0.98, 1, 1.03]))
    )
    colors = np.array([[220, 200, 230], [150, 90, 160], [90, 60, 120]])
    np.testing.assert_allclose(colors @ matrix[:, :3].T + matrix[:, 3], colors @ expected.T, atol=4)


def test_folds_and_dirt_do_not_count() -> None:
    low, high = (image.copy() for image in pair())
    clean, _ = color_matrix(samples(low), samples(high))
    low[:60, :60] = 30.0
    spoiled, residual_dn = color_matrix(samples(low), samples(high))
    assert residual_dn < 1.0
    difference = samples(apply_color_matrix(high, clean) - apply_color_matrix(high, spoiled))
    assert np.abs(difference).max() < 1.0


@settings(max_examples=25, deadline=None)
@given(
    entries=st.lists(st.floats(-0.3, 0.3), min_size=9, max_size=9),
    offset=st.lists(st.floats(-20, 20), min_size=3, max_size=3),
    scale=st.sampled_from([1.0, 16.0, 257.0]),
)
def test_an_affine_map_is_given_back(
    entries: list[float], offset: list[float], scale: float
) -> None:
    true = np.column_stack([np.eye(3) + np.reshape(entries, (3, 3)), offset])
    source = np.random.default_rng(0).uniform(20, 230, (500, 3)).astype(np.float32) * scale
    target = (source @ true[:, :3].T + true[:, 3]).astype(np.float32)
    matrix, residual_dn = color_matrix(target, source)
    np.testing.assert_allclose(matrix[:, :3], true[:, :3], atol=1e-4)
    np.testing.assert_allclose(matrix[:, 3], true[:, 3], atol=1e-3 * scale)
    assert residual_dn < 1e-3 * scale
    applied = apply_color_matrix(source.reshape(20, 25, 3), matrix).reshape(-1, 3)
    np.testing.assert_allclose(applied, target, atol=1e-2 * scale)


def test_glass_and_grey_do_not_tell_colours() -> None:
    glass = samples(seen(np.ones((SIDE, SIDE, 3), np.float32), (1.0, 1.0, 1.0), 2))
    with pytest.raises(ValueError, match="too few colours"):
        color_matrix(glass, glass)
    grey = np.random.default_rng(0).uniform(20, 230, (999, 1)) * np.ones(3)
    with pytest.raises(ValueError, match="too few colours"):
        color_matrix(grey.astype(np.float32), grey.astype(np.float32))
    with pytest.raises(ValueError, match="too few"):
        color_matrix(glass[:9], glass[:9])


def test_clipped_pixels_are_marked_in_8_and_12_bits() -> None:
    for dtype, full_scale in ((np.uint8, 255), (np.uint16, 4095)):
        image = np.full((4, 4, 3), 100, dtype)
        image[0, 0, 2], image[1, 1, 0] = full_scale, 0
        mask = usable(image, full_scale)
        assert mask.shape == (4, 4)
        assert mask.sum() == 14
