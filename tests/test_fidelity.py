"""Where an enhanced picture says something else than the picture it was made of."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scope_sr.imaging.fidelity import REACH_PX, disagreement, sharper_by_px


def picture(rows: int, columns: int, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (rows, columns, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.clip((smooth - 127) * 5 + 127, 0, 255).astype(np.uint8)


def enlarged(low: np.ndarray, scale: int) -> np.ndarray:
    """Enlarge so that the mean of each block is its low pixel."""
    return low.repeat(scale, 0).repeat(scale, 1)


@pytest.mark.parametrize("scale", [2, 4])
def test_nothing_disagrees_where_each_block_has_the_mean_of_its_low_pixel(scale: int) -> None:
    low = picture(40, 50)
    fine = enlarged(low, scale).astype(np.int16)
    fine[::2, ::2] += 20
    fine[1::2, 1::2] -= 20  # a texture finer than low pixels
    fine = np.clip(fine, 0, 255).astype(np.uint8)
    there = (low.min(axis=2) > 20) & (low.max(axis=2) < 235)
    inner = cv2.erode(there.astype(np.uint8), np.ones((9, 9))) > 0
    assert inner.any()
    assert disagreement(low, fine)[inner].max() < 0.01


def test_an_invented_nucleus_is_found_where_it_stands_and_nowhere_else() -> None:
    low = np.full((64, 64, 3), 220, np.uint8)
    fine = enlarged(low, 4)
    cv2.circle(fine, (4 * 40, 4 * 20), 14, (90, 60, 140), -1)
    found = disagreement(low, fine)
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert (abs(row - 20), abs(column - 40)) <= (1, 1)
    assert found.max() > 60
    assert found[40:].max() == 0


def test_the_cameras_noise_counts_little() -> None:
    clean = picture(100, 100)
    noise = np.random.default_rng(2).normal(0, 4, clean.shape)
    low = np.clip(clean + noise, 0, 255).astype(np.uint8)
    inside = (clean.min(axis=2) > 20) & (clean.max(axis=2) < 235)
    found = disagreement(low, enlarged(clean, 2))
    # a Gaussian of 1 px leaves 1 / (2 sqrt(pi)) of white noise
    assert found[inside].mean() == pytest.approx(4 / (2 * np.sqrt(np.pi)), rel=0.15)


@given(st.integers(1, 60), st.integers(1, 30), st.integers(1, 30), st.sampled_from([2, 4]))
@settings(max_examples=25, deadline=None)
def test_bands_say_what_the_whole_says(rows: int, columns: int, band: int, scale: int) -> None:
    low, other = picture(rows, columns, 3), picture(rows, columns, 4)
    fine = enlarged(other, scale)
    whole = disagreement(low, fine)
    for top in range(0, rows, band):
        bottom = min(rows, top + band)
        first, last = max(0, top - REACH_PX), min(rows, bottom + REACH_PX)
        part = disagreement(low[first:last], fine[scale * first : scale * last])
        np.testing.assert_allclose(part[top - first : bottom - first], whole[top:bottom], atol=1e-3)


@pytest.mark.parametrize("sigma_px", [0.0, 0.7, 1.2])
def test_what_is_only_sharper_does_not_disagree(sigma_px: float) -> None:
    sharp = picture(120, 120, 5)
    low = cv2.GaussianBlur(sharp, (0, 0), sigma_px) if sigma_px else sharp
    pair = (low, enlarged(sharp, 2))
    found = sharper_by_px([pair])
    assert found == pytest.approx(sigma_px, abs=0.15)
    left = disagreement(*pair, found).mean()
    assert left < 0.5
    if sigma_px:
        assert disagreement(*pair).mean() > 5 * left
