"""Shifts of pictures against shifts that were put in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textures import texture

from scope_sr.imaging.shift import block_shifts, green, template_shift, whitened, wide_shift

TEXTURE = texture((128, 160))
few = settings(max_examples=15, deadline=None)
fraction = st.floats(-2.9, 2.9)


def test_the_peak_of_blocks_is_not_drawn_to_zero() -> None:
    # a window without correction shrinks the shifts of blocks of 32 px by 2.4 %
    for side_px in (32, 48, 64):
        for shift in (-2.75, -0.5, 0.3, 1.5, 3.0):
            moved = texture((128, 160), (shift, -shift))
            found = block_shifts(TEXTURE, moved, side_px=side_px)
            assert len(found) > 8
            error = np.median(found.shift_px, axis=0) - (shift, -shift)
            assert np.abs(error).max() < 0.002, (side_px, shift, error)


@given(x=fraction, y=fraction)
@few
def test_each_block_tells_the_shift_to_a_fiftieth_of_a_pixel(x: float, y: float) -> None:
    found = block_shifts(TEXTURE, texture((128, 160), (x, y)))
    assert len(found) == 12
    assert np.abs(found.shift_px - (x, y)).max() < 0.02
    assert found.likeness.min() > 0.7
    assert found.to_px == pytest.approx(found.at_px + found.shift_px)


@given(x=st.floats(-70, 70), y=st.floats(-50, 50))
@few
def test_a_wide_search_finds_any_shift_and_its_opposite(x: float, y: float) -> None:
    moved = texture((128, 160), (x, y))
    shift, likeness = wide_shift(TEXTURE, moved)
    assert shift == pytest.approx((x, y), abs=0.02)
    assert likeness > 0.6
    back, again = wide_shift(moved, TEXTURE)
    assert back == pytest.approx(-shift, abs=0.002)
    assert again == pytest.approx(likeness, abs=1e-3)


@given(x=fraction, y=fraction)
@few
def test_blocks_expected_elsewhere_follow(x: float, y: float) -> None:
    shift = np.array([37.0 + x, -22.0 + y])
    found = block_shifts(TEXTURE, texture((128, 160), tuple(shift)), np.array([37.0, -22.0]))
    assert len(found) > 3
    assert np.abs(found.shift_px - shift).max() < 0.03
    assert np.abs(found.to_px).max() <= (160 - 64) / 2 + 3.5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_any_kind_of_pixel_will_do(dtype: type) -> None:
    first, second = (t.clip(0, 255).round() for t in (TEXTURE, texture((128, 160), (1.3, -0.8))))
    found = block_shifts(first.astype(dtype), second.astype(dtype))
    assert np.abs(found.shift_px - (1.3, -0.8)).max() < 0.02
    assert wide_shift(first.astype(dtype), second.astype(dtype))[0] == pytest.approx(
        (1.3, -0.8), abs=0.02
    )


def test_noise_of_a_camera_costs_a_few_hundredths() -> None:
    rng = np.random.default_rng(1)
    first, second = (
        t + rng.normal(0, 2.5, t.shape) for t in (TEXTURE, texture((128, 160), (1.3, -0.8)))
    )
    found = block_shifts(first, second)
    assert len(found) == 12
    assert np.abs(found.shift_px - (1.3, -0.8)).max() < 0.08
    assert np.median(found.shift_px, axis=0) == pytest.approx((1.3, -0.8), abs=0.02)


def test_light_and_contrast_do_not_matter() -> None:
    found = block_shifts(TEXTURE, 60 + 0.4 * texture((128, 160), (1.3, -0.8)))
    assert np.abs(found.shift_px - (1.3, -0.8)).max() < 0.02


def test_different_tissue_is_not_likened() -> None:
    other = texture((128, 160), seed=7)
    assert wide_shift(TEXTURE, other)[1] < 0.2
    assert template_shift(TEXTURE, other[:60, :60])[1] < 0.25
    assert len(block_shifts(TEXTURE, other)) == 0


def test_blank_pictures_show_nothing() -> None:
    rng = np.random.default_rng(0)
    even, noisy = np.full((128, 160), 200.0), 200 + rng.normal(0, 2, (128, 160))
    for blank in (even, noisy):
        for first, second in ((TEXTURE, blank), (blank, TEXTURE), (blank, blank + 1)):
            assert len(block_shifts(first, second)) == 0
        assert wide_shift(TEXTURE, blank)[1] < 0.2
        assert template_shift(TEXTURE, blank[:60, :60])[1] < 0.2
    assert wide_shift(even, even)[1] == 0


def test_blocks_without_texture_are_left_out() -> None:
    half = TEXTURE.copy()
    half[:, :80] = 200
    found = block_shifts(half, half)
    assert 0 < len(found) < len(block_shifts(TEXTURE, TEXTURE))
    assert found.at_px[:, 0].min() > -32


def test_pictures_that_barely_overlap_are_not_measured() -> None:
    # what is left of a picture this small is narrower than a peak with its neighbours
    small = texture((48, 64))
    for shift in ((56.2, 0.0), (0.0, 41.0)):
        found, _ = wide_shift(small, texture((48, 64), shift))
        assert found == pytest.approx(shift, abs=1)
    assert len(block_shifts(small, small)) == 0
    assert len(block_shifts(TEXTURE, TEXTURE, np.array([120.0, 0.0]))) == 0
    assert len(block_shifts(TEXTURE, TEXTURE, np.array([0.0, -400.0]))) == 0


@pytest.mark.parametrize(("rows", "columns"), [(60, 80), (61, 81), (128, 40), (33, 160)])
def test_a_small_picture_is_found_in_a_large_one(rows: int, columns: int) -> None:
    for left, top in ((0, 0), (160 - columns, 128 - rows)):
        found, likeness = template_shift(
            TEXTURE, TEXTURE[top : top + rows, left : left + columns] * 0.5 + 20
        )
        centre = np.array([left + (columns - 1) / 2, top + (rows - 1) / 2])
        assert found == pytest.approx(centre - (159 / 2, 127 / 2))
        assert likeness > 0.9


def test_offsets_count_from_the_centre_of_either_picture() -> None:
    # 40 px of the large picture cut off on the left, 9 above: centres are 20 and 4.5 px apart
    small = texture((119, 120), (1.25, -0.5), corner_px=(80, 49))
    between = np.array([-20.0, -4.5])
    found = block_shifts(TEXTURE, small, between)
    assert len(found) > 3
    assert np.abs(found.shift_px - between - (1.25, -0.5)).max() < 0.02
    back = block_shifts(small, TEXTURE, -between)
    assert np.abs(back.shift_px + between + (1.25, -0.5)).max() < 0.02
    assert np.abs(found.at_px).max() <= 48
    assert found.at_px.mean(axis=0) == pytest.approx((20, 4.5), abs=1)


def test_colour_is_measured_in_green() -> None:
    image = np.stack([TEXTURE[::-1], TEXTURE, TEXTURE.T[:128, :128].repeat(2, 1)[:, :160]], axis=2)
    assert green(image) == pytest.approx(TEXTURE, abs=1e-4)
    assert green(TEXTURE.astype(np.uint16)).dtype == np.float32


def test_whitening_has_no_mean_and_no_slope() -> None:
    slope = np.add.outer(np.arange(128.0), 2 * np.arange(160.0))
    assert abs(float(whitened(TEXTURE).mean())) < 1e-4
    assert np.abs(whitened(slope)[8:-8, 8:-8]).max() < 0.2
