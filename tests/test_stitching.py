"""Fields laid out by links and stage, and put together, against what the test cut up itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from textures import texture

from scope_sr.imaging.stitching import (
    SEAM_PX,
    WHITE,
    Link,
    Places,
    composed,
    link,
    neighbours,
    placed,
)

SIDE, STEP = 500, 450
few = settings(max_examples=10, deadline=None)
many = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)


# ---- which fields overlap, and by how much ----------------------------------------------------


def test_fields_that_share_a_corner_or_a_hem_are_no_neighbours() -> None:
    assert neighbours(np.array([[0, 0], [95, 95], [92, 0], [0, 85]]), (100, 100)) == [(0, 3)]


@given(x=st.floats(-20, 20), y=st.floats(-20, 20), across=st.booleans())
@few
def test_a_link_tells_where_the_second_field_lies(x: float, y: float, across: bool) -> None:
    step = np.array([150, 4]) if across else np.array([-6, 145])
    whole = np.rint([x, y])
    corner = np.array([60, 60]) + step + whole.astype(int)
    first = texture((180, 180), corner_px=(60, 60))
    second = texture((180, 180), tuple(whole - (x, y)), corner_px=tuple(corner))
    found = link((3, 7), first, second, step, 22.0)
    assert found is not None
    assert (found.first, found.second) == (3, 7)
    assert np.abs(found.between_px - step - [x, y]).max() < 0.1  # at 10 px of overlap
    assert found.sigma_px < 0.2
    assert found.likeness > 0.8  # at whole pixels; half of one off takes a tenth


def test_no_link_without_something_to_see_in_common() -> None:
    rng = np.random.default_rng(1)
    noise, more = rng.normal(230, 2.5, (2, 180, 180))
    tissue, other = texture((180, 180)), texture((180, 180), seed=1)
    step = np.array([150, 0])
    assert link((0, 1), noise, more, step, 22.0) is None
    assert link((0, 1), tissue, noise, step, 22.0) is None
    assert link((0, 1), tissue, other, step, 22.0) is None
    beyond = texture((180, 180), corner_px=(40 + 150 - 30, 40))
    assert link((0, 1), tissue, beyond, step, 22.0) is None
    assert link((0, 1), tissue, beyond, step, 32.0) is not None


# ---- the places of all ------------------------------------------------------------------------


def grid(seed: int, off_px: float, rows: int = 4, columns: int = 5) -> tuple[NDArray, NDArray]:
    """Draw the places of a grid of fields, and where the stage says they are."""
    rng = np.random.default_rng(seed)
    stage = STEP * np.array([(c, r) for r in range(rows) for c in range(columns)], float)
    return stage + rng.normal(0, off_px, stage.shape), stage


def links_of(true: NDArray, stage: NDArray, seed: int, sigma_px: float = 0.05) -> list[Link]:
    rng = np.random.default_rng((1, seed))
    return [
        Link(a, b, true[b] - true[a] + rng.normal(0, sigma_px, 2), sigma_px, 0.1, 0.9)
        for a, b in neighbours(stage, (SIDE, SIDE))
    ]


def seam_errors(places: Places, true: NDArray, pairs: list[tuple[int, int]]) -> NDArray:
    first, second = np.transpose(pairs)
    found = places.corners_px[second] - places.corners_px[first]
    return np.asarray(found - (true[second] - true[first]))


def rms(values: NDArray) -> float:
    return float(np.sqrt((values**2).mean()))


@given(seed=seeds, off_px=st.sampled_from([0.0, 0.5, 8.0]))
@few
def test_links_have_the_word_whatever_the_stage_says(seed: int, off_px: float) -> None:
    true, stage = grid(seed, off_px)
    links = links_of(true, stage, seed)
    places = placed(stage, links, 0.5, 0.002)
    assert places.used.all()
    assert places.linked.all()
    assert rms(seam_errors(places, true, neighbours(stage, (SIDE, SIDE)))) < 0.06
    assert rms(places.residual_px) < 0.06
    if off_px == 8.0:
        assert 2.0 < places.stage_sigma_px < 16.0
    # the whole stays where the stage has it
    assert np.abs((places.corners_px - stage).mean(axis=0)).max() < 3 * max(off_px, 0.1)


@given(seed=seeds, off_px=st.sampled_from([0.5, 2.0]))
@few
def test_false_links_are_found_out(seed: int, off_px: float) -> None:
    """Two of them, at fields that have true ones too."""
    true, stage = grid(seed, off_px)
    links = links_of(true, stage, seed)
    rng = np.random.default_rng((2, seed))
    for number in [
        n for n, one in enumerate(links) if (one.first, one.second) in {(6, 7), (11, 12)}
    ]:
        angle = rng.uniform(0, 2 * np.pi)
        away = rng.uniform(18, 24) * np.array([np.cos(angle), np.sin(angle)])
        links[number] = replace(links[number], between_px=links[number].between_px + away)
    places = placed(stage, links, 0.5, 0.002)
    assert (~places.used).sum() == 2
    assert np.abs(seam_errors(places, true, neighbours(stage, (SIDE, SIDE)))).max() < 0.3


def test_one_false_link_among_four_fields_is_found_out_by_the_stage() -> None:
    true, stage = grid(5, 0.5, 2, 2)
    links = links_of(true, stage, 5)
    links[2] = replace(links[2], between_px=links[2].between_px + np.array([9.0, -4.0]))
    places = placed(stage, links, 0.5, 0.002)
    assert places.used.tolist() == [True, True, False, True]
    assert rms(seam_errors(places, true, [(0, 1), (0, 2), (1, 3), (2, 3)])) < 0.1


def test_what_nothing_links_stands_where_the_stage_says_beside_its_neighbours() -> None:
    """The stage is scaled and turned by 1.5 % against the pixels; an island obeys the same map."""
    _, stage = grid(0, 0.0)
    true = stage @ np.array([[1.015, 0.012], [-0.009, 0.99]])
    alone, pair = 7, {0, 1}  # in the midst of all, and two that hold each other only
    links = [
        one
        for one in links_of(true, stage, 0)
        if alone not in (one.first, one.second) and len({one.first, one.second} & pair) != 1
    ]
    places = placed(stage, links, 0.2, 0.02)
    assert np.flatnonzero(~places.linked).tolist() == [alone]
    assert rms(seam_errors(places, true, neighbours(stage, (SIDE, SIDE)))) < 0.4
    assert rms(seam_errors(places, true, [(0, 1)])) < 0.1


@pytest.mark.parametrize("count", [1, 2, 6])
def test_without_links_the_stage_has_the_word(count: int) -> None:
    stage = np.random.default_rng(count).uniform(0, 3000, (count, 2))
    places = placed(stage, [], 0.5, 0.002)
    assert places.corners_px == pytest.approx(stage, abs=1e-6)
    assert not places.linked.any()


def test_two_fields_lie_as_their_link_says() -> None:
    stage = np.array([[10.0, 20.0], [460.0, 21.0]])
    only = Link(0, 1, np.array([441.25, 4.5]), 0.05, 0.1, 0.9)
    places = placed(stage, [only], 0.5, 0.002)
    assert places.used.all()
    assert places.corners_px[1] - places.corners_px[0] == pytest.approx([441.25, 4.5], abs=0.05)


# ---- one picture of many ----------------------------------------------------------------------


def picture(seed: int, rows: int, columns: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), np.uint8)


@st.composite
def cut_up(draw: st.DrawFn) -> tuple[NDArray, list[NDArray], NDArray]:
    """Cut a picture into fields that overlap, at uneven steps, and some more anywhere."""
    rows, columns = draw(st.integers(20, 90)), draw(st.integers(20, 90))
    height, width = draw(st.integers(8, rows)), draw(st.integers(8, columns))
    rng = np.random.default_rng(draw(seeds))
    corners = [
        (min(x + int(rng.integers(0, 3)), columns - width) * (x > 0), y)
        for y in {*range(0, rows - height, max(1, height - 5)), rows - height}
        for x in {*range(0, columns - width, max(1, width - 5)), columns - width}
    ]
    corners += [
        (int(rng.integers(0, columns - width + 1)), int(rng.integers(0, rows - height + 1)))
        for _ in range(draw(st.integers(0, 3)))
    ]
    whole = picture(draw(seeds), rows, columns)
    fields = [whole[y : y + height, x : x + width] for x, y in corners]
    return whole, fields, np.array(corners)


def test_one_field_is_its_own_mosaic() -> None:
    one = picture(0, 30, 40)
    assert np.array_equal(composed([one], np.array([[0, 0]]), (30, 40), slice(0, 30)), one)


@given(cut_up())
@many
def test_a_picture_cut_up_is_put_together_again(
    parts: tuple[NDArray, list[NDArray], NDArray],
) -> None:
    whole, fields, corners = parts
    assert np.array_equal(composed(fields, corners, whole.shape[:2], slice(0, len(whole))), whole)


@given(cut_up(), seeds, st.data())
@many
def test_bands_are_the_whole(
    parts: tuple[NDArray, list[NDArray], NDArray], seed: int, data: st.DataObject
) -> None:
    """Of fields that have nothing in common, so that each seam shows."""
    whole, fields, corners = parts
    strange = [picture(seed + n, *one.shape[:2]) for n, one in enumerate(fields)]
    shape = (len(whole) + 3, whole.shape[1] + 2)
    at_once = composed(strange, corners, shape, slice(0, shape[0]))
    cuts = sorted(data.draw(st.sets(st.integers(1, shape[0] - 1), max_size=4)))
    bands = [
        composed(strange, corners, shape, slice(*band))
        for band in zip([0, *cuts], [*cuts, shape[0]], strict=True)
    ]
    assert np.array_equal(np.concatenate(bands), at_once)
    assert (at_once[-3:] == WHITE).all()
    assert (at_once[:, -2:] == WHITE).all()


def test_beside_the_seam_stands_one_field_unchanged() -> None:
    left, right = picture(1, 60, 80), picture(2, 60, 80)
    out = composed([left, right], np.array([[0, 3], [50, 0]]), (63, 130), slice(0, 63))
    alone = (out[3:60, 50:80] == left[:57, 50:]).all(axis=2)
    other = (out[3:60, 50:80] == right[3:, :30]).all(axis=2)
    assert (~alone & ~other).mean(axis=1).max() <= 2 * SEAM_PX / 30  # it leans near the edges
    middle, near = slice(20, 40), SEAM_PX // 2 + 3
    assert alone[middle, : 15 - near].all()
    assert other[middle, 15 + near :].all()
    assert np.array_equal(out[3:, :50], left[:, :50])
    assert np.array_equal(out[:60, 80:], right[:, 30:])
    assert (out[60:, 80:] == WHITE).all()


def test_a_step_of_light_is_spread_over_the_seam() -> None:
    dark, light = (np.full((40, 60, 3), level, np.uint8) for level in (100, 200))
    out = composed([dark, light], np.array([[0, 0], [40, 0]]), (40, 100), slice(0, 40))
    line = out[20, :, 0].astype(int)
    assert (np.diff(line) >= 0).all()
    assert np.diff(line).max() <= 100 / SEAM_PX + 1
    assert ((line > 100) & (line < 200)).sum() == SEAM_PX - 1
    assert (out == out[:1]).all()


class Cut:
    """A picture that remembers which of its rows were asked for."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels, self.shape, self.dtype = pixels, pixels.shape, pixels.dtype
        self.rows = set[int]()

    def __getitem__(self, where: tuple[slice, slice]) -> NDArray[np.uint8]:
        self.rows |= set(range(*where[0].indices(self.shape[0])))
        return self.pixels[where]


def test_only_rows_of_the_band_are_read() -> None:
    fields = [Cut(picture(n, 50, 50)) for n in range(3)]
    composed(fields, np.array([[0, 0], [0, 40], [0, 80]]), (130, 50), slice(20, 60))
    assert [sorted(one.rows) for one in fields] == [list(range(20, 50)), list(range(20)), []]
