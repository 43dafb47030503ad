"""PSNR and SSIM against known answers and against scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, shift
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from scope_sr.degradation import bicubic_low
from scope_sr.imaging.picture_scores import (
    BEST_DB,
    bicubic,
    consistency_db,
    fitted_psnr_db,
    lanczos,
    luma,
    picture_scores,
    psnr_db,
    ssim,
)


def tissue(seed: int, size: int = 96) -> np.ndarray:
    rng = np.random.default_rng(seed)
    waves = [gaussian_filter(rng.standard_normal((size, size, 3)), (s, s, 0)) for s in (1.5, 6)]
    light = 128 + sum(25 * wave / wave.std() for wave in waves)
    return light.clip(0, 255).astype(np.uint8)


def noisy(image: np.ndarray, seed: int, sigma: float = 8) -> np.ndarray:
    off = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return (image + off).clip(0, 255).astype(np.uint8)


def moved(image: np.ndarray, down_right: tuple[float, float]) -> np.ndarray:
    found = shift(image.astype(float), (*down_right, 0), order=3, mode="mirror")
    return np.clip(np.rint(found), 0, 255).astype(np.uint8)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), crop=st.integers(0, 6), sigma=st.floats(0.5, 60))
def test_psnr_and_ssim_are_those_of_scikit_image(seed: int, crop: int, sigma: float) -> None:
    truth = tissue(seed)
    image = noisy(truth, seed, sigma)
    inner = (slice(crop, 96 - crop),) * 2
    assert psnr_db(image, truth, crop) == pytest.approx(
        peak_signal_noise_ratio(truth[inner], image[inner], data_range=255)
    )
    theirs = structural_similarity(
        truth[inner],
        image[inner],
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=2,
        data_range=255,
    )
    assert ssim(image, truth, crop) == pytest.approx(theirs, abs=1e-9)


def test_one_grey_level_is_48_db_wherever_the_eye_would_look() -> None:
    truth = tissue(0).clip(1, 250)
    assert psnr_db(truth + 1, truth) == pytest.approx(20 * math.log10(255))


def test_what_is_the_same_has_the_best_score_not_an_infinite_one() -> None:
    truth = tissue(1)
    scores = picture_scores(truth, truth, 4)
    assert (scores.psnr_db, scores.y_psnr_db) == (BEST_DB, BEST_DB)
    assert scores.ssim == pytest.approx(1) == scores.y_ssim


def test_the_border_does_not_count() -> None:
    truth = tissue(2)
    image = truth.copy()
    image[:4], image[-4:], image[:, :4], image[:, -4:] = 0, 0, 0, 0
    assert psnr_db(image, truth, 4) == BEST_DB
    assert psnr_db(image, truth, 3) < 40
    assert ssim(image, truth, 4) == pytest.approx(1)


def test_luma_is_that_of_bt_601_in_studio_swing() -> None:
    pure = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    assert luma(pure)[0] == pytest.approx([81.481, 144.553, 40.966, 235.0], abs=1e-3)


def test_scores_of_y_are_those_of_the_plane() -> None:
    truth = tissue(3)
    image = noisy(truth, 3)
    scores = picture_scores(image, truth, 2)
    assert scores.y_psnr_db == psnr_db(luma(image), luma(truth), 2)
    assert scores.y_psnr_db > scores.psnr_db  # noise of three channels, averaged, and less swing


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999))
def test_scores_know_no_direction(seed: int) -> None:
    truth = tissue(seed, 48)
    image = noisy(truth, seed)
    assert ssim(image, truth) == pytest.approx(ssim(truth, image))
    assert psnr_db(image, truth) == pytest.approx(psnr_db(truth, image))
    turned = [np.rot90(one).copy() for one in (image, truth)]
    assert ssim(*turned) == pytest.approx(ssim(image, truth))


def test_a_picture_smaller_than_the_window_is_refused() -> None:
    small = tissue(4, 18)
    assert ssim(small, small, 3) == pytest.approx(1)
    with pytest.raises(ValueError, match="10x10 px is too small for SSIM"):
        ssim(small, small, 4)


@pytest.mark.parametrize("enlarged", [bicubic, lanczos])
@pytest.mark.parametrize("scale", [2, 4])
def test_enlarging_undoes_making_small_as_far_as_it_can(enlarged, scale: int) -> None:
    smooth = gaussian_filter(tissue(5).astype(float), (6, 6, 0)).astype(np.uint8)
    found = enlarged(bicubic_low(smooth, scale), scale)
    assert found.shape == smooth.shape
    assert psnr_db(found, smooth, 8) > 45  # half a pixel off would be 35


def test_bicubic_and_lanczos_are_two_methods() -> None:
    low = noisy(tissue(6, 48), 6)
    assert not np.array_equal(bicubic(low, 2), lanczos(low, 2))


def test_consistency_is_best_for_the_truth_and_low_for_what_adds_what_is_not_there() -> None:
    truth = tissue(7)
    low = bicubic_low(truth, 2)

    def degrade(image: np.ndarray) -> np.ndarray:
        return bicubic_low(image, 2)

    assert consistency_db(truth, low, degrade) == BEST_DB
    honest = consistency_db(bicubic(low, 2), low, degrade)
    dreamt = consistency_db(tissue(8), low, degrade)
    assert dreamt < 25 < honest


SHIFTS = [(0.0, 0.0), (1.0, -2.0), (0.4, -1.3), (-1.7, 0.25)]


@pytest.mark.parametrize("by", SHIFTS, ids=str)
def test_a_shift_of_up_to_two_pixels_is_taken_away(by: tuple[float, float]) -> None:
    truth = tissue(9)
    found, _ = fitted_psnr_db(moved(truth, by), truth, 2)
    assert found > 50
    if any(by):
        assert psnr_db(moved(truth, by), truth, 4) < 40


def test_a_shift_of_more_is_not() -> None:
    truth = tissue(9)
    found, _ = fitted_psnr_db(moved(truth, (4.0, 0.0)), truth, 2)
    assert found < 35


def test_colours_are_taken_away_but_not_what_is_wrong() -> None:
    truth = tissue(10)
    matrix = np.array([[0.8, 0.1, 0], [0, 0.9, 0.05], [0.1, 0, 0.7]])
    other = np.clip(np.rint(truth @ matrix.T + 9), 0, 255).astype(np.uint8)
    shifted_db, colored_db = fitted_psnr_db(other, truth, 2)
    assert shifted_db < 30 < 45 < colored_db
    _, wrong_db = fitted_psnr_db(noisy(other, 1), truth, 2)
    assert wrong_db < 32


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999))
def test_a_fit_never_makes_a_figure_worse(seed: int) -> None:
    truth = tissue(seed, 64)
    image = noisy(tissue(seed + 1, 64), seed, 20)  # nothing in common: the fit goes astray
    shifted_db, colored_db = fitted_psnr_db(image, truth, 2)
    assert psnr_db(image, truth, 4) - 1e-9 <= shifted_db <= colored_db + 1e-9
