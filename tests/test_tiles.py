"""Tiles against the laws of a division, and against whole pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scope_sr.engine.tiles import bands, batches, spans

multiples = st.sampled_from([1, 2, 16])


@given(
    length=st.integers(1, 3000), cores=st.integers(1, 40), halos=st.integers(0, 7),
    multiple=multiples,
)  # fmt: skip
def test_cores_cover_each_pixel_once_and_know_their_halo(
    length: int, cores: int, halos: int, multiple: int
) -> None:
    halo, window = halos * multiple, (2 * halos + cores) * multiple
    found = spans(length, window, halo, multiple)
    covered = [pixel for span in found for pixel in range(span.core_start, span.core_stop)]
    assert covered == list(range(length))
    for span in found:
        assert span.start % multiple == 0
        assert span.start == 0 or span.core_start - span.start >= halo
        assert span.stop == length or span.stop - span.core_stop >= halo
        assert 0 < span.core_stop - span.core_start
        assert span.stop - span.start <= window


@given(length=st.integers(1, 3000), cores=st.integers(1, 40), halo=st.integers(0, 50))
def test_without_a_multiple_all_windows_are_alike(length: int, cores: int, halo: int) -> None:
    found = spans(length, 2 * halo + cores, halo)
    assert len({span.stop - span.start for span in found}) == 1


@given(rows=st.integers(1, 300), columns=st.integers(1, 300), scale=st.sampled_from([1, 2, 4]))
def test_the_cores_put_together_are_the_picture(rows: int, columns: int, scale: int) -> None:
    picture = np.arange(rows * columns).reshape(rows, columns)
    whole = np.full((scale * rows, scale * columns), -1)
    enlarged = np.kron(picture, np.ones((scale, scale), int))
    for band in bands((rows, columns), 64, 16):
        for tile in band:
            seen = np.kron(picture[tile.window], np.ones((scale, scale), int))
            whole[tile.core(scale)] = seen[tile.kept(scale)]
    assert np.array_equal(whole, enlarged)


@given(columns=st.integers(1, 2000), most=st.integers(1, 9))
def test_batches_hold_all_tiles_in_order_and_of_one_shape(columns: int, most: int) -> None:
    (band,) = bands((40, columns), 64, 16, 16)
    found = list(batches(band, most))
    assert tuple(tile for batch in found for tile in batch) == band
    for batch in found:
        assert len(batch) <= most
        assert len({tile.shape for tile in batch}) == 1


@pytest.mark.parametrize(("window", "halo", "multiple"), [(32, 16, 1), (40, 8, 16), (64, 8, 16)])
def test_what_leaves_no_core_is_a_mistake(window: int, halo: int, multiple: int) -> None:
    with pytest.raises(ValueError, match=r"no multiples.*, or no core"):
        spans(100, window, halo, multiple)
