"""Histogram and white balance: against what the simulator makes true, and refusals in words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs import make_rig

from scope_sr.config import Rig
from scope_sr.errors import InputError
from scope_sr.frame import Position
from scope_sr.live.levels import gains_of_blank, gains_of_neutral, histogram
from scope_sr.live.seen import Window
from scope_sr.microscope import open_microscope

BLANK = Position(7500.0, 5500.0, 0.0)


@pytest.fixture(scope="module")
def rig() -> Rig:
    changes = {
        "width_px = 1024": "width_px = 256",
        "height_px = 1024": "height_px = 192",
        'tissue = "tnbc"': 'tissue = "tnbc"',
    }
    return make_rig(**changes)


def snapped(rig: Rig, objective: str, at: Position) -> np.ndarray:
    with open_microscope(rig) as microscope:
        microscope.select_objective(objective)
        microscope.set_exposure(rig.objectives[objective].exposure_ms)
        microscope.move_to(at)
        return microscope.snap().image


def glass(
    light: tuple[int, int, int] = (220, 210, 200), shape: tuple[int, int] = (192, 256)
) -> np.ndarray:
    noisy = np.random.default_rng(0).normal(light, 2.0, (*shape, 3))
    return noisy.round().clip(0, 255).astype(np.uint8)


@given(st.integers(1, 20), st.integers(1, 20))
def test_the_histogram_counts_every_fourth_pixel(rows: int, columns: int) -> None:
    rgb = np.random.default_rng(rows).integers(0, 256, (rows, columns, 3)).astype(np.uint8)
    levels = histogram(rgb)
    thin = rgb[::4, ::4]
    assert levels.counts.shape == (3, 256)
    assert levels.counts.sum(axis=1).tolist() == [thin[..., 0].size] * 3
    for channel in range(3):
        assert levels.counts[channel, 7] == (thin[..., channel] == 7).sum()
    np.testing.assert_allclose(levels.high, (thin == 255).mean(axis=(0, 1)))
    np.testing.assert_allclose(levels.low, (thin == 0).mean(axis=(0, 1)))


@pytest.mark.parametrize("objective", ["5x", "10x", "20x"])
def test_a_blank_field_gives_the_colour_of_the_light(rig: Rig, objective: str) -> None:
    rgb = snapped(rig, objective, BLANK)
    true = np.array(rig.simulation.objectives[objective].color_gain)
    gains = np.array(gains_of_blank(rgb))
    # the dark level, 2 of 255, is not light: it makes the difference of 0.001
    np.testing.assert_allclose(gains, true.max() / true, atol=0.002)
    assert gains.min() == 1.0  # what is clipped stays white
    balanced = (rgb * gains).mean(axis=(0, 1))
    assert np.ptp(balanced) < 0.5
    assert (rgb * gains).max() <= 255


def test_gains_that_are_set_are_taken_off_first() -> None:
    rgb = glass()
    first = gains_of_blank(rgb)
    balanced = (rgb * np.array(first)).round().clip(0, 255).astype(np.uint8)
    assert gains_of_blank(balanced) == pytest.approx((1, 1, 1), abs=0.002)
    assert gains_of_blank(balanced, current=first) == pytest.approx(first, abs=0.002)
    assert gains_of_neutral(balanced, 90, 90, current=first) == pytest.approx(first, abs=0.006)


def test_dust_does_not_count() -> None:
    rgb = glass(shape=(768, 1024))
    clean = gains_of_blank(rgb)
    rgb[40:140, 40:140] = (90, 20, 10)
    rgb[300:330, 800:820] = 0
    assert gains_of_blank(rgb) == pytest.approx(clean, abs=0.0005)
    counted = rgb.mean(axis=(0, 1))
    assert (counted.max() / counted)[2] > clean[2] + 0.002  # had it counted


def test_a_grey_camera_needs_no_gains() -> None:
    grey = np.repeat(glass()[..., :1], 3, axis=2)
    assert gains_of_blank(grey) == (1.0, 1.0, 1.0)


def test_a_field_with_tissue_is_refused_but_for_its_glass(rig: Rig) -> None:
    rgb = snapped(rig, "10x", Position(0.0, 0.0, 0.0))
    with pytest.raises(InputError, match=r"not blank: \d+ % of it takes light away"):
        gains_of_blank(rgb)
    half = glass()
    half[:, 128:] = (190, 120, 170)
    with pytest.raises(InputError, match="not blank: 52 %"):
        gains_of_blank(half)
    window = Window(0, 0, 192, 100)
    assert gains_of_blank(half, window) == pytest.approx(gains_of_blank(half[:, :100]))


@pytest.mark.parametrize(
    ("light", "words"),
    [
        ((255, 210, 200), "the field is overexposed: 60 % of its pixels"),
        ((60, 50, 40), "the field is too dark: 4. of 255"),
        ((210, 150, 190), "evenly pink, not glass: green is 79 %"),
    ],
)
def test_a_field_without_a_white_to_be_had_is_refused(
    light: tuple[int, int, int], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        gains_of_blank(glass(light))


def test_a_click_on_glass_makes_it_neutral(rig: Rig) -> None:
    rgb = snapped(rig, "10x", BLANK)
    true = np.array(rig.simulation.objectives["10x"].color_gain)
    for row, column in ((96.0, 128.0), (0.0, 0.0), (191.9, 255.9)):
        gains = gains_of_neutral(rgb, row, column)
        assert gains == pytest.approx(true.max() / true, abs=0.01)


@pytest.mark.parametrize(
    ("color", "words"),
    [
        ((210, 140, 180), "this spot is stained: it lets 9. % of the red light"),
        ((255, 250, 250), "this spot is overexposed"),
        ((30, 30, 30), "this spot is too dark"),
    ],
)
def test_a_click_on_anything_else_is_refused(color: tuple[int, int, int], words: str) -> None:
    rgb = glass()
    rgb[80:110, 80:110] = color
    with pytest.raises(InputError, match=words):
        gains_of_neutral(rgb, 95, 95)
    assert gains_of_neutral(rgb, 20, 20) == pytest.approx((1, 1.048, 1.1), abs=0.01)


@pytest.mark.parametrize("at", [(-1.0, 5.0), (5.0, 256.0), (192.0, 5.0)])
def test_a_click_beside_the_picture_is_refused(at: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="beside the picture"):
        gains_of_neutral(glass(), *at)
