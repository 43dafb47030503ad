"""Nuclei found block by block are those of the whole picture, and a killed count goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_fill_holes, gaussian_filter

from scope_sr import disk
from scope_sr.enhance import canvas, tables
from scope_sr.enhance import nuclei as by_blocks
from scope_sr.enhance.counting import JOURNAL, LABELS, Counted, counted
from scope_sr.enhance.measure import measured
from scope_sr.enhance.nuclei import Box, blocks, first_pixels, found_in
from scope_sr.errors import ScopeSRError
from scope_sr.imaging.nuclei import filled, instances, planes, reach_px, targets
from scope_sr.specimen.tissue_array import patients, read_pieces

UM = 0.25


def blobs(shape: tuple[int, int], seed: int, size_px: float, share: float) -> np.ndarray:
    """Give planes of no tissue at all: clusters of any form, in the grain of 8 bits."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=shape), size_px)
    rank = np.argsort(np.argsort(field, axis=None)).reshape(shape) / field.size
    depth = np.clip((rank - 1 + share) / share, 0, 1) * rng.uniform(0.3, 1)
    grain = rng.normal(0, 12, shape)
    inside = np.where(rank > 1 - share, 200, 20) + grain
    return np.clip(np.stack([inside, 0 * inside, 255 * depth + grain], -1), 0, 255).astype(np.uint8)


def tissue(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Give a picture of real tissue and the numbers of its nuclei."""
    names = sorted({core.patient for core in patients()})
    piece = read_pieces(names[index % len(names)])[0]
    return piece.image, piece.labels.astype(int)


def pictures(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape[:2], 3), dtype=np.uint8)


def count(seen: np.ndarray, work: Path, picture: np.ndarray | None = None, **how) -> Counted:
    shown = pictures(seen.shape) if picture is None else picture
    return counted(seen, shown, UM, work, {"of": "a test"}, **how)


def told(found: Counted) -> list[tuple]:
    """Give nuclei without their numbers, which hang on the blocks, in the order of their places."""
    return sorted(
        (nucleus.x_um, nucleus.y_um, *list(vars(nucleus).values())[3:], outline.tolist())
        for nucleus, outline in found.journal
    )


def renamed(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two label maps are the same but for the numbers."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]).astype(int), axis=1)
    return all(len(np.unique(side)) == len(side) for side in pairs)


# Blocks are the whole --------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    side=st.integers(5, 90),
    margin=st.sampled_from([2, 8, 64]),
    seed=st.integers(0, 10**6),
    size_px=st.floats(1.0, 6.0),
    share=st.floats(0.05, 0.6),
)
def test_blocks_give_what_the_whole_picture_gives(
    shape: tuple[int, int], side: int, margin: int, seed: int, size_px: float, share: float
) -> None:
    seen = blobs(shape, seed, size_px, share)
    picture = pictures(shape)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_blocks, "MARGIN_PX", margin)
        found = count(seen, Path(folder), picture, side=side)
        labels, mine = found.labels[:, :], told(found)
        numbers = [nucleus.id for nucleus, _ in found.journal]
    whole = filled(instances(seen, UM))
    assert renamed(labels, whole)
    assert numbers == list(range(1, whole.max() + 1))
    for nucleus, outline in measured(whole, picture, UM):
        values = (nucleus.x_um, nucleus.y_um, *list(vars(nucleus).values())[3:], outline.tolist())
        assert values in mine  # to the last bit


def test_blocks_of_real_tissue_give_what_the_whole_gives(tmp_path: Path) -> None:
    image, labels = tissue(3)
    seen = cv2.GaussianBlur(planes(*targets(labels)), (0, 0), 1.5)  # as soft as a network's
    whole = count(seen, tmp_path / "whole", image)
    parts = count(seen, tmp_path / "parts", image, side=150)
    assert whole.journal.nuclei > 50
    assert told(parts) == told(whole)
    assert renamed(parts.labels[:, :], whole.labels[:, :])


def test_a_cluster_far_longer_than_the_margin_is_seen_as_a_whole() -> None:
    labels = np.zeros((60, 900), int)
    for number in range(40):  # a string of beads, each touching the next
        cv2.circle(labels_ := np.zeros(labels.shape, np.uint8), (30 + 21 * number, 30), 11, 1, -1)
        labels[labels_ > 0] = number + 1
    seen = planes(*targets(labels))
    windows = []

    def region(rows: slice, columns: slice) -> np.ndarray:
        windows.append(columns.stop - columns.start)
        return seen[rows, columns]

    every = [found_in(block, region, labels.shape, UM) for block in blocks(labels.shape, 100)]
    assert sum(int(found.labels.max()) for found in every) == instances(seen, UM).max() == 40
    assert max(windows) > 100 + 2 * by_blocks.MARGIN_PX


def test_a_cluster_without_end_is_cut_at_the_largest_margin() -> None:
    seen = np.full((30, 5000, 3), 255, np.uint8)
    asked = []

    def region(rows: slice, columns: slice) -> np.ndarray:
        asked.append(columns.stop - columns.start)
        return seen[rows, columns]

    found_in(Box(0, 30, 2400, 2500), region, (30, 5000), UM)
    assert max(asked) == 100 + 2 * by_blocks.LARGEST_MARGIN_PX


def test_what_lies_beyond_reach_changes_nothing() -> None:
    seen = blobs((120, 120), 5, 3.0, 0.2)
    seen[40:80, 40:80, :] = 0
    seen[50:70, 50:70] = planes(*targets(np.ones((20, 20), int)))
    other = seen.copy()
    reach = reach_px(UM)
    away = np.ones((120, 120), bool)
    away[50 - reach : 70 + reach, 50 - reach : 70 + reach] = False
    other[away] = 0
    first, second = (instances(one, UM)[50:70, 50:70] for one in (seen, other))
    assert renamed(first, second)


def test_glass_costs_nothing() -> None:
    asked = []

    def region(rows: slice, columns: slice) -> np.ndarray:
        asked.append((rows, columns))
        return np.zeros((rows.stop - rows.start, columns.stop - columns.start, 3), np.uint8)

    found = found_in(Box(100, 200, 100, 200), region, (1000, 1000), UM)
    assert not found.labels.any()
    assert len(asked) == 1


@given(seed=st.integers(0, 10**6), share=st.floats(0.3, 0.9))
@settings(max_examples=25, deadline=None)
def test_holes_are_filled_and_nothing_else(seed: int, share: float) -> None:
    pieces = cv2.connectedComponents(
        (np.random.default_rng(seed).random((24, 31)) < share).astype(np.uint8), connectivity=8
    )[1].astype(np.int32)
    after = filled(pieces)
    assert (after[pieces > 0] == pieces[pieces > 0]).all()
    expected = pieces.copy()
    for number in range(1, pieces.max() + 1):  # slowly, one by one
        inside = binary_fill_holes(pieces == number) & (pieces != number)
        parts = cv2.connectedComponents(inside.astype(np.uint8), connectivity=4)[1]
        for part in range(1, parts.max() + 1):
            if not pieces[parts == part].any():
                expected[parts == part] = number
    assert (after == expected).all()


def test_the_first_pixel_is_the_first_row_by_row() -> None:
    labels = instances(blobs((80, 70), 2, 3.0, 0.3), UM)
    expected = [np.flatnonzero(labels == n)[0] for n in range(1, labels.max() + 1)]
    assert first_pixels(labels).tolist() == expected


# The specimen ----------------------------------------------------------------------------------


def test_nuclei_of_the_specimen_are_counted_and_measured_as_marked(tmp_path: Path) -> None:
    marked, found = [], []
    for index in range(0, 11, 2):
        image, labels = tissue(index)
        areas = np.bincount(labels.ravel())[1:] * UM**2
        marked += areas[areas > 0].tolist()
        result = count(planes(*targets(labels)), tmp_path / str(index), image, side=200)
        found += [nucleus.area_um2 for nucleus, _ in result.journal]
    assert len(marked) > 400
    assert len(found) == pytest.approx(len(marked), rel=0.02)
    np.testing.assert_allclose(
        np.percentile(found, [10, 25, 50, 75, 90]),
        np.percentile(marked, [10, 25, 50, 75, 90]),
        rtol=0.03,
    )


# Killed and gone on with -----------------------------------------------------------------------


class KilledError(BaseException):
    """A power cut: nothing may catch it."""


def kill_at(patch: pytest.MonkeyPatch, last: int, torn: bool) -> list[int]:
    """Kill a count at its step number `last`, the writing of labels or of a line of the journal.

    `torn`: half of it is still written. The list gets a number for each line that was.
    """
    steps, lines = iter(range(10**6)), []
    put, append = canvas.Raw.__setitem__, disk.append

    def setitem(self: canvas.Raw, where: tuple[slice, slice], values: np.ndarray) -> None:
        if next(steps) >= last:
            if torn:
                half = slice(where[0].start, (where[0].start + where[0].stop) // 2)
                put(self, (half, where[1]), values[: half.stop - half.start])
            raise KilledError
        put(self, where, values)

    def appended(path: Path, end: int, data: bytes) -> int:
        if next(steps) >= last:
            if torn:
                append(path, end, data[: len(data) // 2])
            raise KilledError
        lines.append(len(lines) + 1)
        return append(path, end, data)

    patch.setattr(canvas.Raw, "__setitem__", setitem)
    patch.setattr(disk, "append", appended)
    return lines


def written(found: Counted, folder: Path) -> Iterator[bytes]:
    """Give the bytes of all that is made of a count."""
    yield (folder / JOURNAL).read_bytes()
    yield (folder / LABELS).read_bytes()
    tables.write_csv(folder / "n.csv", found.journal)
    tables.write_geojson(folder / "n.geojson", found.journal, "n")
    tables.write_parquet(folder / "n.parquet", found.journal)
    for ending in ("csv", "geojson", "parquet"):
        yield (folder / f"n.{ending}").read_bytes()


@pytest.mark.parametrize("torn", [False, True])
def test_killed_at_any_step_it_goes_on_to_the_same_bytes(tmp_path: Path, *, torn: bool) -> None:
    seen = blobs((90, 110), 9, 3.0, 0.3)
    whole = [*written(count(seen, tmp_path / "whole", side=40), tmp_path / "whole")]
    for last in range(100):
        work = tmp_path / f"killed-{last}"
        killed, begun_at = False, []
        with pytest.MonkeyPatch.context() as patch:
            lines = kill_at(patch, last, torn)
            try:
                count(seen, work, side=40)
            except KilledError:
                killed = True
        found = count(seen, work, tell=lambda _, done, __, to=begun_at: to.append(done), side=40)
        assert begun_at[0] == len(lines)  # what was done is kept
        assert [*written(found, work)] == whole
        if not killed:
            break
    assert 9 < last <= 2 * 9


def test_a_count_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    seen = blobs((90, 110), 9, 3.0, 0.3)
    first = count(seen, tmp_path, side=40)
    again = count(np.zeros_like(seen), tmp_path, side=40)
    assert told(again) == told(first)
    assert again.journal.nuclei == first.journal.nuclei > 0


def test_a_count_of_something_else_is_begun_anew(tmp_path: Path) -> None:
    count(blobs((90, 110), 9, 3.0, 0.3), tmp_path, side=40)
    nothing = np.zeros((90, 110, 3), np.uint8)
    other = counted(nothing, nothing, UM, tmp_path, {"of": "something else"}, side=40)
    assert other.journal.nuclei == 0
    assert not other.labels[:, :].any()


def test_without_its_labels_a_count_is_begun_anew(tmp_path: Path) -> None:
    seen = blobs((90, 110), 9, 3.0, 0.3)
    before = [*written(count(seen, tmp_path, side=40), tmp_path)]
    (tmp_path / LABELS).unlink()
    assert [*written(count(seen, tmp_path, side=40), tmp_path)] == before


def test_no_room_for_labels_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "free_bytes", lambda _: 1000)
    with pytest.raises(ScopeSRError, match=r"39.6 kB are needed .* 1.0 kB are free"):
        count(blobs((90, 110), 9, 3.0, 0.3), tmp_path)


def test_a_picture_without_nuclei_has_empty_tables(tmp_path: Path) -> None:
    found = count(np.zeros((30, 30, 3), np.uint8), tmp_path)
    assert [*found.journal] == []
    assert len([*written(found, tmp_path)]) == 5
