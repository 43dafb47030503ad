"""Sharpness, peaks and focus surfaces, by their laws and against scenes with a known truth."""

from __future__ import annotations

import dataclasses
import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scope_sr.errors import InputError
from scope_sr.imaging.focus import (
    depth_of_field_um,
    find_broad_peak,
    find_peak,
    laplacian_of_gaussian_variance,
    normalised_variance,
)
from scope_sr.imaging.focus_surface import FocusSurface, fit_surface

DEPTH_UM = depth_of_field_um(0.75, 0.25)
METRICS = (normalised_variance, laplacian_of_gaussian_variance)
PLANES = np.arange(-3.0, 4.0)


def texture(seed: int = 0, side: int = 128) -> NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(side, side))
    field = sum(s * cv2.GaussianBlur(noise, (0, 0), s) for s in (1.0, 2.0, 4.0, 8.0))  # as 1/f
    return np.clip(8000 + 4000 * field / field.std(), 0, 30000).astype(np.uint16)


@pytest.mark.parametrize(
    ("aperture", "pixel_um", "depth_um"),
    [(0.45, 0.5, 3.83), (0.75, 0.25, 1.31), (0.95, 0.125, 0.74), (1.4, 0.065, 0.50)],
)
def test_depths_of_field_are_those_of_the_textbook(
    aperture: float, pixel_um: float, depth_um: float
) -> None:
    assert depth_of_field_um(aperture, pixel_um) == pytest.approx(depth_um, abs=0.006)


@pytest.mark.parametrize("metric", METRICS)
def test_blur_makes_an_image_less_sharp(metric: object) -> None:
    image = texture()
    values = [metric(image)] + [metric(cv2.GaussianBlur(image, (0, 0), s)) for s in (1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 1.15 * values[1]


@pytest.mark.parametrize("metric", METRICS)
def test_a_brighter_lamp_makes_nothing_sharper(metric: object) -> None:
    image = texture()
    assert metric(image * 2) == pytest.approx(metric(image), rel=1e-4)


@pytest.mark.parametrize("metric", METRICS)
def test_only_green_counts_in_colour(metric: object) -> None:
    green = texture()
    image = np.stack([texture(1), green, np.zeros_like(green)], 2)
    assert metric(image) == metric(green)


@pytest.mark.parametrize("metric", METRICS)
def test_a_black_image_has_no_sharpness(metric: object) -> None:
    assert metric(np.zeros((32, 32, 3), np.uint8)) == 0.0


def test_the_fine_metric_is_the_narrower_one() -> None:
    sharp, soft = texture(), cv2.GaussianBlur(texture(), (0, 0), 1.0)
    broad, narrow = (np.log(metric(sharp) / metric(soft)) for metric in METRICS)
    assert narrow > 1.5 * broad


peaked = st.tuples(
    st.floats(-1.9, 1.9), st.floats(1.0, 4.0), st.floats(-500, 500), st.floats(1e-6, 1e6)
)


@given(peaked)
def test_a_shifted_or_brighter_stack_has_its_peak_shifted_as_far(
    stack: tuple[float, float, float, float],
) -> None:
    focus_um, width_um, shift_um, gain = stack
    values = np.exp(-((PLANES - focus_um) ** 2) / (2 * width_um**2))
    peak, moved = find_peak(PLANES, values), find_peak(PLANES + shift_um, values * gain)
    assert peak.accepted
    assert moved.accepted
    assert peak.z_um == pytest.approx(focus_um, abs=1e-6)
    assert moved.z_um == pytest.approx(focus_um + shift_um, abs=1e-6)
    assert moved.sigma_um == pytest.approx(peak.sigma_um, rel=1e-6)


@given(st.permutations(range(7)))
def test_the_order_of_the_planes_does_not_matter(order: list[int]) -> None:
    values = np.exp(-((PLANES - 0.3) ** 2) / 4)
    assert find_peak(PLANES[order], values[order]) == find_peak(PLANES, values)


@given(st.floats(-1.4, 1.4), st.floats(0.5, 2.0), st.floats(1e-6, 1e6))
def test_three_wide_planes_find_a_broad_peak_exactly_where_blur_grows_as_defocus(
    focus: float, width: float, gain: float
) -> None:
    planes = np.array([-1.5, 0.0, 1.5])
    peak = find_broad_peak(planes, gain * (1 + ((planes - focus) / width) ** 2) ** -0.5)
    assert peak.accepted
    assert peak.z_um == pytest.approx(focus, abs=1e-6)


def narrow(z_um: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(-(z_um**2) / 8)


def broad(z_um: NDArray[np.float64]) -> NDArray[np.float64]:
    return (1 + z_um**2) ** -0.5


@pytest.mark.parametrize(("find", "shape"), [(find_peak, narrow), (find_broad_peak, broad)])
def test_a_focus_beyond_the_stack_is_said_to_be_there(find: object, shape: object) -> None:
    above, below = find(PLANES, shape(PLANES - 4.2)), find(PLANES, shape(PLANES + 4.2))
    assert (above.accepted, above.z_um, above.beyond) == (False, 3.0, 1)
    assert (below.accepted, below.z_um, below.beyond) == (False, -3.0, -1)
    assert above.why == "the sharpest plane is the last one: the focus lies above the stack"
    assert below.why == "the sharpest plane is the first one: the focus lies below the stack"
    assert np.isinf(above.sigma_um)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.ones(7), "no plane is sharper"),
        (np.zeros(7), "no plane is sharper"),
        (np.exp([0, 0, 1, 1.01, 0, 1, 0.0]), "does not follow one peak"),
        (np.exp([1.0, 0, 0, 1.1, 0, 0, 1.0]), "does not follow one peak"),
    ],
)
def test_what_is_no_peak_is_not_accepted_and_says_why(
    values: NDArray[np.float64], why: str
) -> None:
    peak = find_peak(PLANES, values)
    assert not peak.accepted
    assert why in peak.why


def test_noise_as_on_glass_is_never_a_peak() -> None:
    rng = np.random.default_rng(0)
    stacks = 1 + rng.normal(0, 0.03, (2000, 7))
    assert sum(find_peak(PLANES, stack).accepted for stack in stacks) <= 2
    assert sum(find_broad_peak(PLANES[:3], stack[:3]).accepted for stack in stacks) <= 2


def test_the_standard_error_of_a_peak_is_what_its_errors_are() -> None:
    rng = np.random.default_rng(0)
    found = [
        find_peak(PLANES, np.exp(-((PLANES - 0.2) ** 2) / 8 + rng.normal(0, 0.04, 7)))
        for _ in range(300)
    ]
    errors = [peak.z_um - 0.2 for peak in found if peak.accepted]
    assert len(errors) > 295
    stated = np.sqrt(np.mean([peak.sigma_um**2 for peak in found if peak.accepted]))
    assert np.std(errors) == pytest.approx(stated, rel=0.25)


def test_two_planes_are_no_stack() -> None:
    with pytest.raises(ValueError, match="three planes"):
        find_peak([0, 1], [1, 2])


tilts = st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.floats(-100, 100))


def scattered(seed: int, count: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(-4000, 6000, (count, 2))


@settings(deadline=None, max_examples=40)
@given(tilts, st.sampled_from([4, 5, 8, 9, 12, 16, 25]), st.integers(0, 9))
def test_a_plane_is_met_exactly_from_any_number_of_points(
    tilt: tuple[float, float, float], count: int, seed: int
) -> None:
    xy = scattered(seed, count)
    z = xy @ np.array(tilt[:2]) / 1000 + tilt[2]
    surface = fit_surface(xy, z)
    there = scattered(99, 50)
    assert surface.at(there) == pytest.approx(there @ np.array(tilt[:2]) / 1000 + tilt[2], abs=1e-5)
    assert surface.tilt_um_per_mm == pytest.approx(tilt[:2], abs=1e-5)
    assert surface.sigma_um == pytest.approx(0, abs=1e-5)
    assert not any(surface.outliers)


def test_a_bow_is_met_exactly_from_nine_points() -> None:
    xy = np.stack(np.meshgrid([0, 5000, 10000], [0, 5000, 10000]), -1).reshape(-1, 2)
    z = 3 + 2e-3 * xy[:, 0] + 7e-8 * (xy**2).sum(1)
    assert fit_surface(xy, z).at([2500.0, 7000.0]) == pytest.approx(8 + 7e-8 * 55.25e6)


@pytest.mark.parametrize("count", [8, 16, 25, 49])
def test_one_blunder_is_cut_and_changes_nothing(count: int) -> None:
    xy = scattered(3, count)
    z = 2e-3 * xy[:, 0] + np.random.default_rng(0).normal(0, 0.1, count)
    spoilt = z + np.eye(count)[count // 2] * 8
    surface = fit_surface(xy, spoilt)
    assert surface.outliers == tuple(i == count // 2 for i in range(count))
    without = np.arange(count) != count // 2
    middle = scattered(1, 20)
    assert surface.at(middle) == pytest.approx(
        fit_surface(xy[without], z[without]).at(middle), abs=1e-6
    )


def test_a_doubtful_point_counts_less() -> None:
    xy = scattered(5, 8)
    z, sigma = np.random.default_rng(0).normal(0, 0.5, 8), np.full(8, 0.2)
    z[0], sigma[0] = 1.0, 2.0
    trusted, doubted = fit_surface(xy, z), fit_surface(xy, z, sigma)
    assert not any(trusted.outliers + doubted.outliers)
    ignored = fit_surface(xy[1:], z[1:]).at(xy[0])
    assert abs(doubted.at(xy[0]) - ignored) < 0.1 * abs(trusted.at(xy[0]) - ignored)


@pytest.mark.parametrize(
    "xy", [[], [[0, 0], [1, 1]], [[0, 0], [1000, 1000], [2000, 2000]], [[5, 5]] * 12]
)
def test_points_on_a_line_are_refused(xy: list) -> None:
    with pytest.raises(InputError, match="not on one line"):
        fit_surface(xy, np.zeros(len(xy)))


def test_two_rows_of_points_are_no_quadratic() -> None:
    xy = np.stack(np.meshgrid(np.arange(6) * 1000.0, [0.0, 1000.0]), -1).reshape(-1, 2)
    assert len(fit_surface(xy, np.arange(12.0)).coefficients) == 3


def test_a_surface_can_be_written_down_and_read_again() -> None:
    xy = scattered(0, 25)
    surface = fit_surface(xy, np.sin(xy[:, 0] / 900))
    table = json.loads(json.dumps(dataclasses.asdict(surface)))
    table = {key: tuplewise(value) for key, value in table.items()}
    assert FocusSurface(**table) == surface
    assert surface.at(np.zeros((4, 5, 2))).shape == (4, 5)


def tuplewise(value: object) -> object:
    return tuple(map(tuplewise, value)) if isinstance(value, list) else value


def slide(seed: int, count: int) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Lay out the slide of the focus experiment: 10 x 10 mm, seen at `count` places.

    Tilt of 2 µm/mm, a bow of 3.5 µm at the corners, relief of 0.3 µm rms that forgets itself over
    2 mm (correlation exp(-d²/2 mm²)), autofocus noise of 0.2 µm, one in twenty off by 5 µm.
    """
    rng = np.random.default_rng(seed)
    line = np.linspace(-5, 5, 41)
    fields = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    side = round(count**0.5)
    line = (np.arange(side) + 0.5) / side * 10 - 5
    points = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    points = points + rng.uniform(-3, 3, points.shape) / side
    waves, phases = rng.normal(size=(400, 2)), rng.uniform(0, 2 * np.pi, 400)
    angle = rng.uniform(0, 2 * np.pi)

    def height_um(mm: NDArray) -> NDArray:
        relief = 0.3 * np.cos(mm @ waves.T + phases).sum(1) * (2 / 400) ** 0.5
        return 2 * mm @ [np.cos(angle), np.sin(angle)] + 0.07 * (mm**2).sum(1) + relief

    blunder = np.where(rng.random(len(points)) < 0.05, rng.choice([-5.0, 5.0], len(points)), 0.0)
    found = height_um(points) + rng.normal(0, 0.2, len(points)) + blunder
    return points * 1000, found, fields * 1000, height_um(fields)


@pytest.mark.parametrize(("count", "share"), [(25, 0.965), (49, 0.985)])
def test_the_surface_keeps_nearly_all_fields_of_a_slide_in_focus(count: int, share: float) -> None:
    kept = []
    for seed in range(40):
        xy, z, fields, truth = slide(seed, count)
        kept.append(np.mean(np.abs(fit_surface(xy, z).at(fields) - truth) <= DEPTH_UM / 2))
    assert np.mean(kept) >= share
