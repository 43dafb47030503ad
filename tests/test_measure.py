"""Measures of nuclei against shapes of known size, form and direction."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label as pieces_of
from scipy.special import ellipe
from skimage.measure import euler_number

from scope_sr.enhance.counting import Counted, counted
from scope_sr.enhance.measure import Nucleus, Outline, measured
from scope_sr.enhance.statistics import BINS, statistics, tissue_share
from scope_sr.imaging import stain
from scope_sr.imaging.nuclei import planes, targets

UM = 0.25
WHITE = np.full((400, 400, 3), 255, np.uint8)


def ellipse(a_px: float, b_px: float, angle_deg: float, at: tuple[float, float]) -> np.ndarray:
    """Give the pixels whose middle lies in an ellipse about x and y, in a frame of 200 px."""
    y, x = np.mgrid[:200, :200] + 0.5
    turn = np.radians(angle_deg)  # anticlockwise on the screen, where y counts downwards
    along = (x - at[0]) * np.cos(turn) - (y - at[1]) * np.sin(turn)
    across = (x - at[0]) * np.sin(turn) + (y - at[1]) * np.cos(turn)
    return ((along / a_px) ** 2 + (across / b_px) ** 2 <= 1).astype(np.int32)


def only(labels: np.ndarray, picture: np.ndarray = WHITE, **how) -> tuple[Nucleus, Outline]:
    """Measure the one nucleus there is."""
    rows, columns = labels.shape
    (found,) = measured(labels.astype(np.int32), picture[:rows, :columns], UM, **how)
    return found


def shoelace(outline: np.ndarray) -> float:
    x, y = outline.T
    return abs(float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))) / 2


def crosses(outline: np.ndarray) -> bool:
    """Whether a polygon touches or crosses itself: looked for among all pairs of its sides."""
    sides = list(itertools.pairwise(outline))

    def turn(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> float:
        return float(np.sign((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])))

    def within(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> bool:
        return bool((np.minimum(p, q) <= r).all() and (r <= np.maximum(p, q)).all())

    def meet(a: tuple, b: tuple) -> bool:
        turns = [turn(*a, b[0]), turn(*a, b[1]), turn(*b, a[0]), turn(*b, a[1])]
        if turns[0] != turns[1] and turns[2] != turns[3]:
            return True
        on = [(a, b[0]), (a, b[1]), (b, a[0]), (b, a[1])]
        return any(t == 0 and within(*side, p) for t, (side, p) in zip(turns, on, strict=True))

    last = len(sides) - 1
    return any(
        meet(sides[i], sides[j])
        for i in range(len(sides))
        for j in range(i + 2, len(sides))
        if (i, j) != (0, last)
    )


# Ellipses --------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    a_px=st.floats(9, 60),
    share=st.floats(0.3, 0.8),
    angle_deg=st.floats(-89, 90),
    x=st.floats(95, 105),
    y=st.floats(95, 105),
)
def test_ellipses_are_measured_as_they_are(
    a_px: float, share: float, angle_deg: float, x: float, y: float
) -> None:
    b_px = max(4.0, share * a_px)
    nucleus, outline = only(ellipse(a_px, b_px, angle_deg, (x, y)))
    flat = 1 - (b_px / a_px) ** 2
    # a row of pixels more or less, where the axes lie along them
    assert nucleus.area_um2 == pytest.approx(np.pi * a_px * b_px * UM**2, rel=0.35 / b_px)
    assert nucleus.perimeter_um == pytest.approx(4 * a_px * ellipe(flat) * UM, rel=0.06)
    assert nucleus.eccentricity == pytest.approx(np.sqrt(flat), abs=0.09)
    assert (nucleus.x_um, nucleus.y_um) == pytest.approx((x * UM, y * UM), abs=0.3 * UM)
    off = (nucleus.orientation_deg - angle_deg + 90) % 180 - 90
    assert abs(off) < 16 / b_px / flat
    assert nucleus.solidity > 1 - 0.5 / b_px
    assert shoelace(outline) * UM**2 == pytest.approx(nucleus.area_um2 - UM**2 / 2, rel=1e-6)


def test_many_ellipses_are_measured_without_bias() -> None:
    rng = np.random.default_rng(1)
    off = []
    for _ in range(150):
        a_px, b_px = sorted(rng.uniform(8, 30, 2), reverse=True)
        nucleus, _ = only(ellipse(a_px, b_px, rng.uniform(-90, 90), tuple(rng.uniform(99, 101, 2))))
        flat = 1 - (b_px / a_px) ** 2
        off.append((
            nucleus.area_um2 / (np.pi * a_px * b_px * UM**2) - 1,
            nucleus.perimeter_um / (4 * a_px * ellipe(flat) * UM) - 1,
        ))  # fmt: skip
    assert np.abs(np.mean(off, axis=0)).max() < 0.01


@pytest.mark.parametrize(
    ("angle_deg", "expected"), [(0, 0), (30, 30), (90, 90), (-90, 90), (-30, -30)]
)
def test_the_angle_is_that_on_the_screen(angle_deg: float, expected: float) -> None:
    nucleus, _ = only(ellipse(50, 20, angle_deg, (100, 100)))
    assert nucleus.orientation_deg == pytest.approx(expected, abs=0.3)


def test_a_nucleus_that_is_bent_fills_less_of_its_hull() -> None:
    ring = np.zeros((60, 60), int)
    ring[10:50, 10:50] = 1
    ring[20:50, 20:40] = 0  # a U turned over
    nucleus, _ = only(ring)
    assert nucleus.solidity == pytest.approx(1000 / 1600, rel=0.01)


def test_a_single_pixel_has_all_measures() -> None:
    labels = np.zeros((5, 5), int)
    labels[2, 3] = 1
    nucleus, outline = only(labels)
    assert (nucleus.area_um2, nucleus.eccentricity, nucleus.solidity) == (UM**2, 0.0, 1.0)
    assert shoelace(outline) == 0.5


# Outlines --------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.35, 0.8))
def test_outlines_are_simple_closed_and_of_the_area_of_their_pixels(
    seed: int, share: float
) -> None:
    picked = np.random.default_rng(seed).random((9, 11)) < share
    corners = np.ones((3, 3))
    labels, pieces = pieces_of(picked, corners)
    sizes = np.bincount(labels.ravel())[1:] if pieces else []
    for number in np.flatnonzero(np.asarray(sizes) > 1) + 1:
        mask = labels == number
        _, outline = only(mask.astype(int))
        assert (outline[0] == outline[-1]).all()
        assert not crosses(outline)
        holes = 1 - euler_number(mask, connectivity=2)
        if holes == 0:
            rises = np.abs(np.diff(mask.astype(int), axis=0)).sum()
            assert abs(shoelace(outline) - mask.sum()) <= 0.5 + rises / 8
        steps = np.diff(outline, axis=0)
        turns = steps[:-1, 0] * steps[1:, 1] - steps[:-1, 1] * steps[1:, 0]
        assert (turns != 0).all()  # corners only


def test_pixels_that_touch_diagonally_are_within_one_outline() -> None:
    labels = np.zeros((12, 12), int)
    labels[1:5, 1:5] = labels[5:9, 5:9] = 1
    nucleus, outline = only(labels)
    assert nucleus.area_um2 == 32 * UM**2
    assert outline.min() == 1
    assert outline.max() == 9
    assert not crosses(outline)


def test_two_sides_that_cross_are_seen_by_the_test_itself() -> None:
    assert crosses(np.array([[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]], float))
    assert not crosses(np.array([[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]], float))


def test_outlines_lie_in_the_picture_where_the_pixels_do() -> None:
    labels = np.zeros((20, 30), int)
    labels[4:10, 7:15] = 1
    nucleus, outline = only(labels, corner=(100, 200), whole=(400, 400))
    assert outline.min(axis=0).tolist() == [207, 104]
    assert outline.max(axis=0).tolist() == [215, 110]
    assert (nucleus.x_um, nucleus.y_um) == (211 * UM, 107 * UM)


@pytest.mark.parametrize("edge", range(4))
def test_a_nucleus_on_an_edge_of_the_picture_is_marked(edge: int) -> None:
    labels = np.zeros((20, 30), int)
    labels[:5, 10:15] = 1
    turned = np.rot90(labels, edge)
    assert only(turned)[0].on_edge
    assert not only(np.pad(turned, 1))[0].on_edge
    assert not only(turned, corner=(7, 7), whole=(400, 400))[0].on_edge


# Colour ----------------------------------------------------------------------------------------


@given(st.floats(0.1, 1.2), st.floats(0.0, 0.5))
def test_haematoxylin_is_measured_beside_eosin(blue: float, pink: float) -> None:
    density = blue * stain.stains()[0] + pink * stain.stains()[1]
    picture = np.round(255 * 10**-density).astype(np.uint8) * np.ones((30, 30, 1), np.uint8)
    nucleus, _ = only(np.pad(np.ones((10, 10), int), 10), picture)
    # of 8 bits, where the darkest channel has a few grey levels left
    assert nucleus.haematoxylin_od == pytest.approx(blue, abs=0.05)


def test_haematoxylin_does_not_hang_on_the_window() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    labels = np.zeros((90, 90), np.int32)
    labels[41:60, 43:59] = 1
    whole = only(labels, picture)[0]
    for top, left in ((0, 3), (17, 41), (41, 43)):
        part = (slice(top, 61), slice(left, 60))
        ((nucleus, _),) = measured(
            labels[part], picture[part], UM, corner=(top, left), whole=(90, 90)
        )
        assert nucleus == whole


# All nuclei of a picture -----------------------------------------------------------------------


def disks(side: int, radius: int, seed: int) -> tuple[np.ndarray, int]:
    """Lay disks that do not touch onto a plane that goes on at its other side; and count them."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((side, side), np.int32)
    y, x = np.mgrid[:side, :side]
    number = 0
    for at in rng.uniform(0, side, (400, 2)):
        away = [np.minimum(abs(p - q), side - abs(p - q)) for p, q in zip((x, y), at, strict=True)]
        near = away[0] ** 2 + away[1] ** 2
        if not labels[near <= (radius + 2) ** 2].any():
            number += 1
            labels[near <= radius**2] = number
    return labels, number


def counted_in(labels: np.ndarray, folder: Path, picture: np.ndarray) -> Counted:
    return counted(planes(*targets(labels)), picture, UM, folder, {})


def test_density_is_that_of_the_plane_though_edges_cut_nuclei(tmp_path: Path) -> None:
    plane, number = disks(360, 14, 1)
    truth = number / (360 * UM / 1e3) ** 2
    found, naive = [], []
    for down, right in itertools.product((0, 120, 240), repeat=2):  # each place as often
        seen = np.roll(plane, (down, right), axis=(0, 1))[:260, :260]
        work = tmp_path / f"{down}-{right}"
        known = statistics(counted_in(seen, work, WHITE[:260, :260]), WHITE[:260, :260])
        found.append(known["per_mm2"])
        naive.append(known["count"] / known["area_mm2"])
    assert np.mean(found) == pytest.approx(truth, rel=0.02)
    assert np.mean(naive) > 1.1 * truth


def test_distributions_leave_out_what_an_edge_cuts(tmp_path: Path) -> None:
    labels, _ = disks(260, 14, 1)
    known = statistics(counted_in(labels, tmp_path, WHITE[:260, :260]), WHITE[:260, :260])
    area = known["area_um2"]
    whole = known["count"] - known["on_edge"]
    assert 0 < whole < known["count"]
    assert area["quartiles"] == pytest.approx([np.pi * 14**2 * UM**2] * 3, rel=0.03)
    assert area["mean"] == pytest.approx(np.pi * 14**2 * UM**2, rel=0.02)
    assert area["sd"] < 1
    for name in BINS:
        histogram = known[name]["histogram"]
        assert sum(histogram["counts"]) == whole
        assert len(histogram["edges"]) == len(histogram["counts"]) + 1


def test_a_picture_without_nuclei_has_no_distributions(tmp_path: Path) -> None:
    empty = np.zeros((40, 40), np.int32)
    known = statistics(counted_in(empty, tmp_path, WHITE[:40, :40]), WHITE[:40, :40])
    assert (known["count"], known["per_mm2"], known["tissue_mm2"]) == (0, 0.0, 0.0)
    assert known["per_mm2_tissue"] is None
    assert all(known[name] is None for name in BINS)


def test_the_share_of_tissue_is_found_at_any_size_of_pixels() -> None:
    picture = np.full((400, 600, 3), 245, np.uint8)
    picture[:, :300] = (200, 120, 180)
    for um_per_px in (0.25, 0.5, 2.0):
        assert tissue_share(picture, um_per_px) == pytest.approx(0.5, abs=0.04)
    assert tissue_share(picture[:5, :7], UM) == 1.0
