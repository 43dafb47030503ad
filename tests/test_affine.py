"""From shifts to pixel size, rotation and distortion: exact laws, true sigmas, a made-up stage."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from grids import grid, overlaps
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from scope_sr.config import AXES
from scope_sr.imaging.affine import (
    Overlap,
    bent,
    fit_affine,
    lay_out,
    radius_px,
    rotation_rad,
    rough_affine,
    shear_rad,
    straightened,
)
from scope_sr.imaging.robust import robust_lstsq, scatter
from scope_sr.imaging.shift import BlockShifts

MOUNTINGS = [
    np.array([AXES[right], AXES[down]], float).T
    for right, down in itertools.product(AXES, AXES)
    if right[1] != down[1]
]
PLACES = np.array([(x, y) for y in range(5) for x in range(5)]) * 60.0
SIZE = (256, 192)
RADIUS = radius_px(SIZE)


def turned(angle_rad: float) -> NDArray[np.float64]:
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[cos, -sin], [sin, cos]])


matrices = st.builds(
    lambda axes, angle, size, shear: size * turned(angle) @ [[1, shear], [0, 1]] @ axes,
    st.sampled_from(MOUNTINGS),
    st.floats(-0.7, 0.7),
    st.floats(0.05, 2.0),
    st.floats(-0.05, 0.05),
)


def made_overlaps(
    places: NDArray, distortion: float, noise_px: float = 0.0, seed: int = 0
) -> list[Overlap]:
    """Lay pictures of a known place and distortion on each other, without any picture."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(-96, 96, 7), np.linspace(-64, 64, 5))
    lattice = np.stack([x.ravel(), y.ravel()], axis=1)
    found = []
    for i, j in itertools.combinations(range(len(places)), 2):
        tissue = bent(lattice, distortion, RADIUS) + places[i]
        v = straightened(tissue - places[j], distortion, RADIUS)
        seen = (np.abs(v) < np.array(SIZE) / 2 - 32).all(axis=1)
        shift = (v - lattice)[seen] + rng.normal(0, noise_px or 1e-300, (seen.sum(), 2))
        found.append(Overlap(i, j, BlockShifts(lattice[seen], shift, np.ones(seen.sum()))))
    return found


# ---- distortion --------------------------------------------------------------------------------


@given(
    st.tuples(st.floats(-1000, 1000), st.floats(-1000, 1000)),
    st.floats(-0.01, 0.01),
)
def test_straightening_undoes_bending(at_px: tuple[float, float], distortion: float) -> None:
    there = bent(np.array([at_px]), distortion, 1024.0)
    back = straightened(there, distortion, 1024.0)
    assert back == pytest.approx(np.array([at_px]), abs=1e-4)


def test_distortion_is_that_of_the_corner() -> None:
    corner = np.array([30.0, 40.0])
    assert bent(corner, 0.002, radius_px((60, 80))) == pytest.approx(corner * 1.002)
    assert bent(corner / 2, 0.002, radius_px((60, 80))) == pytest.approx(corner / 2 * 1.0005)


# ---- the mounting ------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", MOUNTINGS, ids=str)
def test_a_rough_affine_knows_every_mounting(axes: NDArray) -> None:
    matrix = 0.5 * turned(0.02) @ axes
    moves_um = np.array([[10.0, 0], [0, 10.0], [20.0, 5.0]])
    # what stands still on the slide goes the other way in the picture
    shifts_px = -moves_um @ np.linalg.inv(matrix).T
    assert rough_affine(moves_um, shifts_px) == pytest.approx(matrix, abs=1e-12)
    rng = np.random.default_rng(0)
    noisy = rough_affine(moves_um, shifts_px + rng.normal(0, 0.1, (3, 2)))
    assert noisy == pytest.approx(matrix, abs=0.01)


@pytest.mark.parametrize("axes", MOUNTINGS, ids=str)
@pytest.mark.parametrize("angle", [-0.7, -0.01, 0.0, 0.3])
def test_rotation_is_counted_from_the_mounting(axes: NDArray, angle: float) -> None:
    matrix = 0.5 * turned(angle) @ axes
    assert rotation_rad(matrix) == pytest.approx(angle, abs=1e-12)
    assert shear_rad(matrix) == pytest.approx(0, abs=1e-12)
    # rows and columns that lean towards each other turn the picture neither way
    lean = np.array([[math.cos(0.01), math.sin(0.01)], [math.sin(0.01), math.cos(0.01)]])
    sheared = turned(angle) @ lean @ axes
    assert rotation_rad(sheared) == pytest.approx(angle, abs=1e-12)
    mirror = axes[0].sum() * axes[1].sum()
    assert shear_rad(sheared) == pytest.approx(mirror * 0.02)


# ---- the fit -----------------------------------------------------------------------------------


@given(matrices, st.tuples(st.floats(-4000, 4000), st.floats(-4000, 4000)))
@settings(deadline=None, max_examples=50)
def test_exact_places_give_the_exact_affine(
    matrix: NDArray, origin_um: tuple[float, float]
) -> None:
    found = fit_affine(PLACES, PLACES @ matrix.T + origin_um)
    assert found.matrix == pytest.approx(matrix, abs=1e-9)
    assert found.pixel_size_um == pytest.approx(math.sqrt(abs(np.linalg.det(matrix))))
    assert not found.outliers.any()
    assert np.abs(found.residuals_um).max() < 1e-8
    assert found.stage_sigma_um < 1e-8


@pytest.mark.parametrize("axes", [MOUNTINGS[0], MOUNTINGS[-1]], ids=str)
def test_the_sigmas_are_true(axes: NDArray) -> None:
    rng = np.random.default_rng(5)
    matrix = 0.5 * turned(0.01) @ axes
    draws = 200
    off = np.empty((draws, 3))
    for number in range(draws):
        found = fit_affine(PLACES, PLACES @ matrix.T + rng.normal(0, 0.3, PLACES.shape))
        off[number] = (
            (found.pixel_size_um / 0.5 - 1) / found.scale_sigma,
            (rotation_rad(found.matrix) - 0.01) / found.rotation_sigma_rad,
            found.stage_sigma_um,
        )
    low, high = stats.chi2.ppf([0.0005, 0.9995], draws) / draws
    for squares in (off[:, :2] ** 2).mean(axis=0):
        assert 0.95 * low < squares < 1.1 * high, squares
    assert off[:, 2].mean() == pytest.approx(0.3, rel=0.05)


def test_a_place_the_stage_missed_is_flagged_and_left_out() -> None:
    rng = np.random.default_rng(2)
    matrix = 0.5 * turned(0.01) @ MOUNTINGS[1]
    stage_um = PLACES @ matrix.T + rng.normal(0, 0.1, PLACES.shape)
    clean = fit_affine(PLACES, stage_um)
    stage_um[[3, 17]] += [(25.0, -10.0), (0.0, 4.0)]
    found = fit_affine(PLACES, stage_um)
    assert np.flatnonzero(found.outliers).tolist() == [3, 17]
    assert found.matrix == pytest.approx(clean.matrix, abs=3 * clean.scale_sigma * 0.5)
    assert found.residuals_um[3] == pytest.approx((25, -10), abs=0.5)
    assert found.stage_sigma_um < 0.2


def test_too_few_places_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        fit_affine(PLACES[:3], PLACES[:3])
    with pytest.raises(ValueError, match="in one line"):
        fit_affine(PLACES[:5], PLACES[:5])
    rng = np.random.default_rng(0)
    line = np.outer(np.arange(9), [40.0, 30.0])
    with pytest.raises(ValueError, match="in one line"):
        fit_affine(line + rng.normal(0, 0.05, line.shape), line)


def test_least_squares_that_false_values_cannot_pull() -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(-1, 1, 60)
    design = np.column_stack([x, np.ones(60)])
    values = 3 * x - 1 + rng.normal(0, 0.01, 60)
    values[::6] += 40
    fit = robust_lstsq(design, values)
    assert fit.solution == pytest.approx([3, -1], abs=0.01)
    assert np.flatnonzero(fit.outliers).tolist() == list(range(0, 60, 6))
    assert fit.sigma == pytest.approx(0.01, rel=0.25)
    assert fit.covariance[0, 0] == pytest.approx(1 / (x[~fit.outliers] ** 2).sum(), rel=0.05)
    with pytest.raises(ValueError, match="do not determine"):
        robust_lstsq(np.ones((5, 2)), np.ones(5))
    assert scatter(rng.normal(0, 2, 4000)) == pytest.approx(2, rel=0.05)
    assert scatter(np.empty(0)) == 0


# ---- the layout --------------------------------------------------------------------------------


@given(
    st.floats(-0.005, 0.005),
    st.integers(0, 1000),
)
@settings(deadline=None, max_examples=12)
def test_exact_shifts_give_the_exact_layout(distortion: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    places = PLACES[:9] + rng.normal(0, 6, (9, 2))
    places -= places[0]
    found = lay_out(made_overlaps(places, distortion), len(places), SIZE)
    assert found.at_px == pytest.approx(places, abs=1e-6)
    assert found.distortion == pytest.approx(distortion, abs=1e-8)
    assert found.linked.all()


def test_the_sigma_of_the_distortion_is_true() -> None:
    off = []
    for seed in range(60):
        made = made_overlaps(PLACES[[0, 1, 2, 5, 6, 7]], 0.002, 0.05, seed)
        found = lay_out(made, 6, SIZE)
        assert found.residual_px == pytest.approx(0.05, rel=0.3)
        off.append((found.distortion - 0.002) / found.distortion_sigma)
    low, high = stats.chi2.ppf([0.0005, 0.9995], 60) / 60
    assert 0.95 * low < np.mean(np.square(off)) < 1.1 * high


def test_a_picture_that_shares_nothing_is_marked() -> None:
    places = np.array([(0, 0), (60, 0), (900, 0), (0, 60), (960, 0)], float)
    found = lay_out(made_overlaps(places, 0.001), 5, SIZE)
    assert found.linked.tolist() == [True, True, False, True, False]
    assert found.at_px[found.linked] == pytest.approx(places[[0, 1, 3]], abs=1e-6)
    with pytest.raises(ValueError, match="no two pictures"):
        lay_out(made_overlaps(places[[0, 2]], 0.0), 2, SIZE)
    with pytest.raises(ValueError, match="no two pictures"):
        lay_out([], 3, SIZE)


def test_false_blocks_do_not_pull_the_layout() -> None:
    rng = np.random.default_rng(4)
    made = made_overlaps(PLACES[:9], 0.001, 0.02)
    for overlap in made:
        if len(overlap.shifts):
            overlap.shifts.shift_px[rng.random(len(overlap.shifts)) < 0.08] += 2.5
    found = lay_out(made, 9, SIZE)
    assert np.abs(found.at_px - PLACES[:9]).max() < 0.05
    assert found.distortion == pytest.approx(0.001, abs=3e-4)


# ---- pictures of the simulated microscope ------------------------------------------------------


@pytest.mark.slow
def test_a_grid_of_pictures_against_the_truth() -> None:
    fields = grid()
    matrix, distortion = fields[0].matrix, fields[0].distortion
    laid = lay_out(overlaps(), len(fields), (256, 256))
    assert laid.linked.all()
    assert laid.residual_px < 0.04
    assert abs(laid.distortion - distortion) < 4 * laid.distortion_sigma
    assert laid.distortion_sigma < 5e-5
    true_px = (np.array([f.centre_um for f in fields]) - fields[0].centre_um) @ np.linalg.inv(
        matrix
    ).T
    assert np.abs(laid.at_px - true_px).max() < 0.06
    # the layout itself is far better than the stage it is compared with
    exact = fit_affine(laid.at_px, np.array([f.centre_um for f in fields]))
    assert exact.matrix == pytest.approx(matrix, abs=2e-4 * 0.5)

    found = fit_affine(laid.at_px, np.array([f.sent_um for f in fields]))
    size_um = math.sqrt(abs(np.linalg.det(matrix)))
    assert abs(found.pixel_size_um / size_um - 1) < 4 * found.scale_sigma
    assert found.scale_sigma < 6e-4
    turn = rotation_rad(found.matrix) - rotation_rad(matrix)
    assert abs(turn) < 4 * found.rotation_sigma_rad
    assert found.rotation_sigma_rad < 6e-4
    assert rotation_rad(matrix) == pytest.approx(math.radians(0.6))
    assert shear_rad(found.matrix) == pytest.approx(0, abs=2e-3)
    # the stage of the rig comes back to 0.3 µm
    assert found.stage_sigma_um == pytest.approx(0.3, rel=0.3)
    assert not found.outliers.any()
