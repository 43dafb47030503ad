"""Where the model looks next, against what can be counted."""

from __future__ import annotations

import math
import weakref
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scope_sr.frame import Frame, Position
from scope_sr.live.model.course import FILLS, NUCLEI_EVERY, Course, Turn
from scope_sr.live.model.tiling import (
    LEAST_PX,
    RESTLESS_S,
    SETTLED_S,
    STEP_PX,
    TURN_S,
    WHOLE_S,
    Filled,
    Pace,
    around,
    at,
    cells,
    centred,
    largest,
    looked_at,
    seen_of,
    sides,
    touches,
    whole,
)
from scope_sr.live.seen import Seen, Window

SHAPES = st.tuples(st.integers(1, 900), st.integers(1, 900))
NOW_S = 100.0


def seen(shape: tuple[int, int] = (512, 512), view: int = 1, age_s: float = 1.0) -> Seen:
    rgb = np.zeros((*shape, 3), np.uint8)
    frame = Frame(rgb, Position(0, 0, 0), "10x", 10.0, 0.0, 1)
    return Seen(frame, rgb, 0.5, arrived_s=NOW_S, view=view, since_s=NOW_S - age_s)


# Cells


@given(shape=SHAPES, place=st.integers(0, 20))
def test_cells_lie_side_by_side_and_fill_the_field(shape: tuple[int, int], place: int) -> None:
    ladder = sides(shape)
    side = ladder[min(place, len(ladder) - 1)]
    times = np.zeros(shape, int)
    for cell in cells(shape, side):
        assert max(cell.rows, cell.columns) <= max(side, STEP_PX)
        times[cell.slices] += 1
    assert (times == 1).all()


@given(shape=SHAPES)
def test_sides_grow_to_the_whole_field(shape: tuple[int, int]) -> None:
    ladder = sides(shape)
    assert list(ladder) == sorted(set(ladder))
    assert cells(shape, ladder[-1]) == (whole(shape),)
    areas = [math.prod(largest(shape, side)) for side in ladder]
    assert areas == sorted(set(areas))


@given(shape=SHAPES, halo=st.integers(0, 60), place=st.integers(0, 20))
def test_around_each_cell_the_halo_is_looked_at_in_one_shape(
    shape: tuple[int, int], halo: int, place: int
) -> None:
    ladder = sides(shape)
    grid = cells(shape, ladder[min(place, len(ladder) - 1)])
    shapes = set()
    for cell in grid:
        found = looked_at(cell, (grid[0].rows, grid[0].columns), halo, shape)
        shapes.add((found.rows, found.columns))
        for inner, outer, length in zip(cell.slices, found.slices, shape, strict=True):
            assert 0 <= outer.start <= max(0, inner.start - halo)
            assert min(length, inner.stop + halo) <= outer.stop <= length
    assert len(shapes) == 1


@given(
    shape=SHAPES,
    focus=st.none() | st.tuples(st.floats(-2000, 2000), st.floats(-2000, 2000)),
)
def test_the_window_at_a_point_lies_within_the_field_and_holds_it(
    shape: tuple[int, int], focus: tuple[float, float] | None
) -> None:
    point = at(focus, seen_of(None, shape))
    window = centred(point, (LEAST_PX, LEAST_PX), shape)
    for side, where, length in zip(window.slices, point, shape, strict=True):
        assert 0 <= side.start <= where <= side.stop <= length
        assert side.stop - side.start == min(LEAST_PX, length)
    grid = cells(shape, sides(shape)[0])
    assert any(
        all(
            side.start <= where <= side.stop for side, where in zip(cell.slices, point, strict=True)
        )
        for cell in around(grid, point)
    )


def test_what_is_half_done_is_missing() -> None:
    filled = Filled((96, 96))
    filled.add(Window(0, 0, 48, 96))
    assert filled.missing(cells((96, 96), 96)) == cells((96, 96), 96)
    filled.add(Window(48, 0, 48, 96))
    assert filled.missing(cells((96, 96), 96)) == ()


# Pace


@settings(max_examples=50)
@given(
    per_px=st.floats(1e-9, 1e-4), fixed_s=st.floats(0, 0.05),
    halo=st.integers(0, 112), shape=st.sampled_from([(512, 512), (1024, 1024), (480, 2048)]),
)  # fmt: skip
def test_the_pace_comes_to_rest_within_what_a_turn_may_take(
    per_px: float, fixed_s: float, halo: int, shape: tuple[int, int]
) -> None:
    """A computer that takes so long for each pixel, and something for each turn."""

    def looked(side: int) -> int:
        size = largest(shape, side)
        return math.prod(min(a + 2 * halo, length) for a, length in zip(size, shape, strict=True))

    def took(side: int) -> float:
        return fixed_s + per_px * looked(side)

    pace = Pace(shape, halo)
    found = []
    for _ in range(200):
        found.append(pace.side)
        pace.took(took(pace.side))
    assert len(set(found[-100:])) == 1  # it does not go to and fro
    assert pace.side == sides(shape)[0] or took(pace.side) <= TURN_S
    if pace.whole:
        assert took(pace.side) <= WHOLE_S
    else:
        larger = sides(shape)[sides(shape).index(pace.side) + 1]
        may_s = WHOLE_S if larger == sides(shape)[-1] else TURN_S
        assert took(pace.side) * looked(larger) / looked(pace.side) > may_s


def test_one_slow_turn_changes_nothing() -> None:
    pace = Pace((1024, 1024), 18)
    pace.took(3.0)  # the runtime prepares itself
    for _ in range(4):
        pace.took(0.06)
    side = pace.side
    assert side > LEAST_PX
    for seconds in (0.1, 0.1, 0.1, 0.1, 0.28, 0.1, 0.1, 0.1):
        pace.took(seconds)
    assert pace.side == side


def test_where_the_computer_gets_slower_windows_get_smaller() -> None:
    pace = Pace((1024, 1024), 18)
    for _ in range(5):
        pace.took(0.02)
    before = pace.side
    for _ in range(10):
        pace.took(0.5)
    assert pace.side < before


# The way through the field


def walk(
    course: Course,
    frame: Seen,
    turns: int,
    *,
    fresh: bool = True,
    focus: tuple[float, float] | None = None,
    area: tuple[float, float, float, float] | None = None,
) -> list[Turn]:
    """Take turns that last as long as they may, each on a newer frame of the view."""
    found = []
    for number in range(turns):
        frame = replace(frame) if fresh else frame
        turn = course.next(frame, focus, area, NOW_S + number * TURN_S)
        if turn is None:
            break
        course.done(turn, frame, NOW_S + number * TURN_S, TURN_S)
        found.append(turn)
    return found


def test_the_field_is_filled_outwards_and_each_place_once() -> None:
    turns = walk(Course((512, 512), 18, NOW_S), seen(), 200)
    fills = [turn for turn in turns if turn.fills]
    searches = [turn for turn in turns if not turn.picture]
    near = set(around(cells((512, 512), LEAST_PX), (256, 256)))  # theirs come with being done again
    assert sorted(map(str, (turn.window for turn in fills))) == sorted(
        map(str, cells((512, 512), LEAST_PX))
    )
    assert not any(turn.nuclei for turn in fills)
    assert all(turn.nuclei for turn in searches)
    assert {turn.window for turn in fills} - {turn.window for turn in searches} <= near
    assert {turn.window for turn in turns if turn.nuclei} == {turn.window for turn in fills}
    assert turns.index(searches[0]) > turns.index(fills[-1])
    middle = np.array([256, 256])
    away = [
        np.abs(np.add(turn.window.slices[0].start, turn.window.rows / 2) - middle[0])
        + np.abs(turn.window.left + turn.window.columns / 2 - middle[1])
        for turn in fills
    ]
    assert np.mean(away[:5]) < np.mean(away[-5:])


def test_in_between_what_is_looked_at_is_done_again() -> None:
    turns = walk(Course((512, 512), 18, NOW_S), seen(), 60)
    first = [turn.fills or not turn.picture for turn in turns[: 3 * (FILLS + 1)]]
    assert first == ([True] * FILLS + [False]) * 3
    again = [turn for turn in turns if turn.picture and not turn.fills]
    near = around(cells((512, 512), LEAST_PX), (256, 256))
    assert {turn.window for turn in again} == set(near)
    assert sum(turn.nuclei for turn in again) == len(again) // NUCLEI_EVERY


def test_what_is_looked_at_stays_young() -> None:
    """All around the point, in rotation."""
    course = Course((384, 384), 18, NOW_S)
    turns = walk(course, seen((384, 384)), 100)
    near = around(cells((384, 384), LEAST_PX), (192, 192))
    last = [turn.window for turn in turns[-len(near) :]]
    assert len(near) == 4
    assert set(last) == set(near)


def test_of_a_frozen_frame_nothing_is_done_twice() -> None:
    turns = walk(Course((512, 512), 18, NOW_S), seen(), 500, fresh=False)
    for picture in (True, False):
        windows = [turn.window for turn in turns if turn.picture is picture]
        assert len(windows) == len(set(windows)) == len(cells((512, 512), LEAST_PX))


AREAS = st.tuples(*[st.floats(-50, 550)] * 2, *[st.floats(1, 600)] * 2)


@settings(max_examples=30, deadline=None)
@given(area=AREAS, focus=st.none() | st.tuples(st.floats(0, 512), st.floats(0, 512)))
def test_what_can_be_seen_comes_first_its_pictures_before_its_nuclei(
    area: tuple[float, float, float, float], focus: tuple[float, float] | None
) -> None:
    frame, grid = seen(), cells((512, 512), LEAST_PX)
    course = Course((512, 512), 18, NOW_S)
    turns = walk(course, frame, 200, fresh=False, focus=focus, area=area)
    visible = {cell for cell in grid if touches(cell, seen_of(area, (512, 512)))}
    fills = [turn.window for turn in turns if turn.fills]
    searches = [turn.window for turn in turns if not turn.picture]
    for windows in (fills, searches):
        assert set(windows[: len(visible)]) == visible
        assert set(windows) == set(grid)
    kinds = [turn.picture for turn in turns]
    rest = len(grid) - len(visible)  # whose pictures and nuclei take turns
    assert kinds == [True] * len(visible) + [False, True] * rest + [False] * len(visible)


def test_in_the_right_half_of_a_split_the_windows_at_the_line_come_first() -> None:
    course = Course((512, 512), 18, NOW_S)
    turns = walk(course, seen(), 40, focus=(240, 10), area=(0, 300, 512, 212))
    fills = [turn.window for turn in turns if turn.fills]
    assert (fills[0].top, fills[0].left) == (192, 288)
    assert min(window.left for window in fills[:18]) == 288
    again = [turn.window for turn in turns if turn.picture and not turn.fills]
    assert again
    assert min(window.left for window in again) == 288


def test_frames_are_let_go_of() -> None:
    course, frame = Course((512, 512), 18, NOW_S), seen()
    walk(course, frame, 30)
    there = weakref.ref(frame)
    del frame
    assert there() is None


def test_without_a_model_for_nuclei_none_are_looked_for() -> None:
    turns = walk(Course((512, 512), 18, NOW_S, nuclei=False), seen(), 200)
    assert all(turn.picture for turn in turns)


def test_another_view_begins_anew() -> None:
    course = Course((512, 512), 18, NOW_S)
    count = len(cells((512, 512), LEAST_PX))
    for view in (1, 2):
        turns = walk(course, seen(view=view), 200)
        assert sum(turn.fills for turn in turns) == count


def test_while_the_stage_moves_a_small_computer_waits() -> None:
    course = Course((512, 512), 18, NOW_S)
    moving = seen(age_s=0.5 * SETTLED_S)
    assert course.next(moving, None, None, NOW_S) is None
    assert course.next(moving, None, None, NOW_S + SETTLED_S) is not None


def test_what_never_stands_still_is_done_where_it_is_looked_at() -> None:
    course = Course((512, 512), 18, NOW_S)
    for number in range(40):
        now_s = NOW_S + number / 30
        frame = replace(seen(view=number), since_s=now_s)
        turn = course.next(frame, (100.0, 200.0), None, now_s)
        assert (turn is None) == (now_s - NOW_S < RESTLESS_S)
        if turn:
            assert turn.window == centred((100.0, 200.0), turn.size, (512, 512))
            assert not turn.fills
            course.done(turn, frame, now_s, TURN_S)


def test_who_does_the_whole_field_in_time_does_each_frame_moving_or_not() -> None:
    course = Course((512, 512), 18, NOW_S)
    for _ in range(30):
        frame = replace(seen(), rgb=np.zeros((512, 512, 3), np.uint8))
        turn = course.next(frame, None, None, NOW_S)
        assert turn is not None
        course.done(turn, frame, NOW_S, 0.005)
    assert course.whole
    moving = seen(view=2, age_s=0.0)
    turn = course.next(moving, None, None, NOW_S)
    assert turn is not None
    assert turn.window == whole((512, 512))
    course.done(turn, moving, NOW_S, 0.005)
    assert course.next(moving, None, None, NOW_S) is None  # it is done


@pytest.mark.parametrize("filled", [False, True])
def test_windows_of_another_size_begin_anew_or_wait_for_the_next_view(*, filled: bool) -> None:
    """Else they would lie across those that are done."""
    course = Course((512, 512), 18, NOW_S)
    frame = seen()
    if filled:
        walk(course, frame, 200)
    while course.pace.side == LEAST_PX:
        course.pace.took(0.01)
    turn = course.next(replace(frame), None, None, NOW_S)
    assert turn is not None
    assert (max(turn.size) > LEAST_PX) is not filled
    turn = course.next(seen(view=2), None, None, NOW_S)
    assert turn is not None
    assert max(turn.size) > LEAST_PX


def test_where_memory_ended_windows_are_smaller_at_once() -> None:
    course = Course((512, 512), 18, NOW_S)
    for _ in range(5):
        course.pace.took(0.01)
    assert course.next(seen(), None, None, NOW_S) is not None
    before = course.window_px
    course.give_way()
    assert course.window_px < before
