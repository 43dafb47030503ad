"""Flat, dark, exposure and blankness against the truth of the simulated sensor."""

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
from scope_sr.imaging import flat_field as ff
from scope_sr.specimen.sensor import Sensor
from scope_sr.specimen.slide import open_slide

SIDE = 256


def sensor(side: int = SIDE, *, bits: int = 8, color: bool = True, **changes: object) -> Sensor:
    camera = Camera(width_px=side, height_px=side, bits=bits, color=color)
    lens = TrueObjective(
        light_e_per_ms=870.0,
        vignetting=changes.pop("vignetting", 0.10),
        illumination_centre=(-0.05, 0.05),
        color_gain=(1.02, 1.0, 0.96),
    )
    true = {"read_noise_e": 6.0, "dark_dn": 2.0, "pixel_response": 0.004, "dust": 6, **changes}
    return Sensor(camera, TrueCamera(**true), lens, seed=0)


def glass(side: int = SIDE) -> NDArray[np.float32]:
    return np.ones((side, side, 3), np.float32)


def dirty(rng: np.random.Generator, side: int = SIDE, specks: int = 3) -> NDArray[np.float32]:
    """Glass with dirt of 2 to 10 px that takes 5 to 50 % of the light."""
    light = glass(side)
    y, x = np.indices((side, side))
    for _ in range(specks):
        (column, row), radius = rng.uniform(0, side, 2), rng.uniform(2, 10)
        distance2 = ((x - column) ** 2 + (y - row) ** 2) / radius**2
        light *= (1 - rng.uniform(0.05, 0.5) * np.exp(-(distance2**2)))[..., None]
    return light


def truth(tested: Sensor) -> NDArray[np.float64]:
    return tested.rate_e_per_ms / tested.rate_e_per_ms.mean(axis=(0, 1), dtype=float)


def dark_of(image: NDArray, level_dn: float = 2.0) -> NDArray[np.float32]:
    return np.full(image.shape, level_dn, np.float32)


# ---- the flat ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "color", "response"), [(8, True, 0.004), (12, False, 0.0)])
def test_the_flat_of_16_dirty_blanks_is_true_to_0_4_percent(
    bits: int, color: bool, response: float
) -> None:
    tested, rng = sensor(512, bits=bits, color=color, pixel_response=response), rng_of(1)
    # the lamp wanders by some percent meanwhile
    frames = [
        tested.expose(dirty(rng, 512, 10), 10.0 * rng.uniform(0.95, 1.02), rng) for _ in range(16)
    ]
    found = ff.flat_from_blanks(frames, dark_of(frames[0]))
    error = found / truth(tested) - 1
    assert found.dtype == np.float32
    assert found.shape == frames[0].shape
    np.testing.assert_allclose(found.mean(axis=(0, 1), dtype=float), 1, atol=1e-5)
    assert error.std() < (0.0026 if response else 0.001)
    assert np.abs(error).max() < 0.02


def test_dust_stays_in_the_flat_and_dirt_does_not() -> None:
    tested, rng = sensor(dust=20, color=False), rng_of(2)
    here = glass()
    here[100:112, 60:72] = 0.6
    frames = [tested.expose(glass(), 10.0, rng) for _ in range(7)]
    found = ff.flat_from_blanks([*frames, tested.expose(here, 10.0, rng)], dark_of(frames[0]))
    error = found / truth(tested) - 1
    specks = truth(tested) < 0.8
    assert specks.sum() > 50
    assert np.abs(error[specks]).mean() < 0.006
    assert abs(error[100:112, 60:72].mean()) < 0.002


@pytest.mark.parametrize("clean", [1, 2])
def test_two_dirty_frames_of_three_or_four_are_seen(clean: int) -> None:
    tested, rng = sensor(color=False, dust=0), rng_of(3)
    here = glass()
    here[100:112, 60:72] = 0.5
    frames = [tested.expose(light, 10.0, rng) for light in [here] * 2 + [glass()] * clean]
    error = ff.flat_from_blanks(frames, dark_of(frames[0])) / truth(tested) - 1
    assert abs(error[100:112, 60:72].mean()) < 0.01


def test_no_frame_or_no_light_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ff.flat_from_blanks([], np.zeros((8, 8), np.float32))
    black = np.full((32, 32, 3), 2, np.uint8)
    with pytest.raises(ValueError, match="no light"):
        ff.flat_from_blanks([black] * 3, dark_of(black))


def test_dead_pixels_do_not_divide_by_zero() -> None:
    frames = [np.full((64, 64), 200, np.uint8) for _ in range(4)]
    for frame in frames:
        frame[20, 20] = 2
    found = ff.flat_from_blanks(frames, dark_of(frames[0]))
    assert found.min() >= 0.049
    assert np.isfinite(ff.correct(frames[0], found, dark_of(frames[0]))).all()


@settings(max_examples=30, deadline=None)
@given(level=st.floats(20, 3000), dark_dn=st.floats(0, 100), seed=st.integers(0, 99))
def test_what_glass_shows_becomes_uniform(level: float, dark_dn: float, seed: int) -> None:
    flat = np.random.default_rng(seed).uniform(0.3, 1.5, (24, 32, 3)).astype(np.float32)
    dark = np.full(flat.shape, dark_dn, np.float32)
    image = np.rint(flat * level + dark).astype(np.uint16)
    corrected = ff.correct(image, flat, dark)
    assert corrected.dtype == np.float32
    assert np.abs(corrected - level).max() <= 0.51 / 0.3 + level * 1e-5


def test_tissue_is_the_same_wherever_the_lamp_shines() -> None:
    rng = rng_of(4)
    light = tissue(-8000, -5000)
    images = []
    for tested in (sensor(vignetting=0.3, dust=8), sensor(vignetting=0.0, dust=0)):
        blanks = [tested.expose(glass(), 9.0, rng) for _ in range(16)]
        image = tested.expose(light, 9.0, rng)
        level = ff.blank_level(blanks, dark_of(image))
        flat = ff.flat_from_blanks(blanks, dark_of(image))
        images.append(ff.correct(image, flat, dark_of(image)) / level)
    assert abs((images[0] - images[1]).mean()) < 0.001
    assert cv2.blur(images[0] - images[1], (8, 8)).std() < 0.003


# ---- dark --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "level_dn", "tolerance_dn"), [(8, 2.0, 0.05), (12, 60.0, 1.0)])
def test_dark_is_found_without_a_shutter(bits: int, level_dn: float, tolerance_dn: float) -> None:
    tested, rng = sensor(bits=bits, dark_dn=level_dn), rng_of(5)
    short, long = ([tested.expose(glass(), t, rng) for _ in range(4)] for t in (1.0, 4.0))
    found = ff.dark_from_exposures(short, long, 4.0)
    assert found.dtype == np.float32
    assert found.shape == short[0].shape
    assert found.mean() == pytest.approx(level_dn, abs=tolerance_dn / 5)
    assert np.abs(found - level_dn).max() < tolerance_dn


def test_dark_frames_are_averaged_and_never_negative() -> None:
    frames = [np.array([[0, 4]], np.uint8), np.array([[2, 5]], np.uint8)]
    assert ff.dark_from_shutter(frames).tolist() == [[1.0, 4.5]]
    low, high = np.full((2, 8, 8), 10, np.uint8), np.full((2, 8, 8), 41, np.uint8)
    assert ff.dark_from_exposures(low, high, 4.0).max() == 0
    with pytest.raises(ValueError, match="longer"):
        ff.dark_from_exposures(low, high, 1.0)


# ---- level and exposure ------------------------------------------------------------------------


@pytest.mark.parametrize("color", [True, False])
def test_the_level_of_glass_goes_with_the_flat(color: bool) -> None:
    tested, rng = sensor(color=color), rng_of(6)
    frames = [tested.expose(dirty(rng), 9.0, rng) for _ in range(5)]
    level = ff.blank_level(frames, dark_of(frames[0]))
    expected = tested.rate_e_per_ms.mean(axis=(0, 1)) * 9.0 / tested.gain_e_per_dn
    np.testing.assert_allclose(level, np.atleast_1d(expected), rtol=2e-3)
    gains = ff.white_gains(level)
    expected_gains = [1 / 1.02, 1.0, 1 / 0.96] if color else [1.0]
    np.testing.assert_allclose(gains, expected_gains, rtol=2e-3)


@pytest.mark.parametrize("start_ms", [0.2, 3.0, 12.0, 80.0])
@pytest.mark.parametrize(("bits", "dark_dn"), [(8, 2.0), (12, 100.0)])
def test_exposure_arrives_in_a_few_steps(start_ms: float, bits: int, dark_dn: float) -> None:
    tested, rng, exposure_ms = sensor(bits=bits, dark_dn=dark_dn), rng_of(7), start_ms
    full_scale = 2**bits - 1
    for _ in range(5):
        image = tested.expose(glass(), exposure_ms, rng)
        image[3, 3] = full_scale  # a hot pixel
        if ff.exposure_ok(ff.exposure_share(image, full_scale)):
            break
        exposure_ms = ff.next_exposure_ms(image, dark_dn, exposure_ms, full_scale)
    assert ff.exposure_share(image, full_scale) == pytest.approx(0.875, abs=0.025)
    brightest = (tested.rate_e_per_ms * exposure_ms / tested.gain_e_per_dn).max(axis=2)
    level = np.percentile(cv2.blur(brightest, (16, 16)), 99) + dark_dn
    assert 0.845 < level / full_scale < 0.905


@settings(max_examples=30, deadline=None)
@given(scale=st.floats(0.5, 2), exposure_ms=st.floats(0.1, 100), level=st.floats(9000, 15000))
def test_the_step_does_not_depend_on_where_it_starts(
    scale: float, exposure_ms: float, level: float
) -> None:
    flat = np.linspace(0.8, 1, 64)[:, None] * np.ones((1, 48))
    one, other = (np.rint(flat * level * k).astype(np.uint16) for k in (1.0, scale))
    first = ff.next_exposure_ms(one, 0.0, exposure_ms, 65535)
    second = ff.next_exposure_ms(other, 0.0, exposure_ms * scale, 65535)
    assert first == pytest.approx(second, rel=2e-3)


def test_black_and_white_frames_step_safely() -> None:
    white, black = np.full((32, 32, 3), 255, np.uint8), np.full((32, 32, 3), 2, np.uint8)
    assert ff.next_exposure_ms(white, 2.0, 8.0, 255) == 2.0
    assert ff.next_exposure_ms(black, 2.0, 8.0, 255) == 128.0
    assert ff.next_exposure_ms(black, 5.0, 8.0, 255) == 128.0


def test_clipping_counts_the_worst_channel() -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    image[:2, :, 1] = 255
    assert ff.clipped_share(image, 255) == pytest.approx(0.2)
    assert ff.clipped_share(image[..., 1], 255) == pytest.approx(0.2)
    assert ff.clipped_share(image[..., 0], 255) == 0


# ---- blank or not ------------------------------------------------------------------------------


@pytest.mark.parametrize("exposure_ms", [1.0, 9.0])
@pytest.mark.parametrize(("bits", "color"), [(8, True), (12, False)])
def test_glass_is_blank(exposure_ms: float, bits: int, color: bool) -> None:
    tested = sensor(512, bits=bits, color=color, vignetting=0.3, pixel_response=0.01)
    image = tested.expose(glass(512), exposure_ms, rng_of(8))
    assert ff.structure(image) < 0.003
    assert ff.is_blank(image)
    flat = truth(tested).astype(np.float32)
    assert ff.structure(image, flat) < 0.003


def test_dirty_sensors_and_steep_lamps_are_blank_too() -> None:
    specks = sensor(512, dust=30).expose(glass(512), 9.0, rng_of(9))
    assert ff.is_blank(specks)
    y, x = np.indices((SIDE, SIDE)) / SIDE / 2 - 0.25
    # the fourth power of a cosine, centre off the field: no quadratic surface
    light = (1 / (1 + (x - 0.1) ** 2 + y**2) ** 2)[..., None] * glass()
    assert ff.is_blank(sensor().expose(light.astype(np.float32), 9.0, rng_of(10)))


@pytest.mark.parametrize("centre", [(-8000, -5000), (2000, -3000)])
@pytest.mark.parametrize("sigma_px", [0.0, 6.0])
def test_tissue_is_not_blank_even_out_of_focus(centre: tuple[int, int], sigma_px: float) -> None:
    light = tissue(*centre)
    if sigma_px:
        light = cv2.GaussianBlur(light, (0, 0), sigma_px)
    image = sensor().expose(light, 9.0, rng_of(11))
    assert ff.structure(image) > (0.012 if sigma_px else 0.02)
    assert not ff.is_blank(image)


def test_a_tenth_of_tissue_is_enough() -> None:
    light = glass()
    light[:80, :80] = tissue(2000, -3000)[:80, :80]
    assert ff.structure(sensor().expose(light, 9.0, rng_of(12))) > 0.02


# ---- drift -------------------------------------------------------------------------------------


def test_drift_is_seen_and_dirt_and_lamp_level_are_not() -> None:
    tested, rng = sensor(), rng_of(13)
    flat = truth(tested).astype(np.float32)
    same = tested.expose(dirty(rng), 8.0, rng)
    dark = dark_of(same)
    assert ff.flat_ratio_rms(same, flat, dark) < 0.002
    tilt = glass() * np.linspace(0.98, 1.02, SIDE, dtype=np.float32)[:, None]
    moved = tested.expose(tilt, 8.0, rng)
    assert ff.flat_ratio_rms(moved, flat, dark) == pytest.approx(0.04 / 12**0.5, rel=0.1)


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@lru_cache
def tissue(column: int, row: int) -> NDArray[np.float32]:
    slide = open_slide(Specimen(tissue="tnbc"), seed=0, folder=Path())
    return slide.region(column, row, SIDE, SIDE) / np.float32(255)
