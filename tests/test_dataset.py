"""Datasets: crops are of usable tissue, splits share nothing, what is damaged is named."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import yaml
from datasets import Making, rewrite, three_slides, tissue
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from scope_sr.dataset import SPLITS, Crops, Dataset, Gate, Labelled, Pair
from scope_sr.dataset.cells import CELL_PX, pack, unpack
from scope_sr.dataset.crops import _fits, _windows
from scope_sr.dataset.export import export
from scope_sr.dataset.fields import mapped, to_tiff
from scope_sr.dataset.index import Place, from_line, to_line
from scope_sr.dataset.leaks import leaks
from scope_sr.dataset.splits import Area, assign, cut
from scope_sr.dataset.verify import verify
from scope_sr.errors import DatasetError, InputError

masks = st.integers(1, 12).flatmap(
    lambda columns: st.lists(
        st.lists(st.booleans(), min_size=columns, max_size=columns), min_size=1, max_size=12
    )
)


@pytest.fixture(autouse=True)
def not_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the disk takes longer than the tests; test_session_crash.py pulls the plug."""
    monkeypatch.setattr("scope_sr.disk._sync", lambda file: None)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three_slides(tmp_path_factory.mktemp("kept") / "ds").done().folder


@pytest.fixture
def clean(tmp_path: Path, kept: Path) -> Dataset:
    return Dataset.open(shutil.copytree(kept, tmp_path / "ds"))


def some_usable(seed: int, rows: int, columns: int) -> np.ndarray:
    usable = np.random.default_rng(seed).random((rows, columns)) > 0.06
    usable[2:6, 1:5] = True  # room for at least one
    return usable


# ----------------------------------------------------------------- crops


@given(masks)
def test_cells_come_back(mask: list[list[bool]]) -> None:
    cells = np.array(mask, bool)
    assert (unpack(pack(cells), cells.shape[1]) == cells).all()


def test_cells_of_a_box_too_small_for_one() -> None:
    assert pack(np.zeros((2, 0), bool)) == ("0", "0")
    assert unpack(("0", "0"), 0).shape == (2, 0)
    with pytest.raises(ValueError, match="not a row of 3 cells"):
        unpack(("f",), 3)


@given(masks, st.integers(1, 60))
def test_a_window_begins_where_every_cell_it_touches_is_usable(
    mask: list[list[bool]], low_px: int
) -> None:
    usable = np.array(mask, bool)
    side = -(-low_px // CELL_PX)
    expected = {
        (row, column)
        for row in range(usable.shape[0] - side + 1)
        for column in range(usable.shape[1] - side + 1)
        if usable[row : row + side, column : column + side].all()
    }
    assert set(map(tuple, np.argwhere(_windows(usable, low_px)).tolist())) == expected
    for row, column in expected:
        assert _fits(usable, row * CELL_PX, column * CELL_PX, low_px)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Every low pixel is a number of its own, and the high image repeats it, times four."""
    making = Making(tmp_path_factory.mktemp("known") / "ds", scale=4, bits=16, color=False)
    for number in range(3):
        low = np.arange(90 * 110, dtype=np.uint16).reshape(90, 110) + number * 10000
        box = (7, 3, 100, 84)  # of the low image; neither it nor its place are whole cells
        high = low[3:87, 7:107].repeat(4, 0).repeat(4, 1)
        usable = some_usable(number, 10, 12)
        making.pair(f"A/{number}", "train", high, low=low, box=box, usable=usable)
    return making.done()


@pytest.mark.parametrize("low_px", [8, 20, 32])
def test_random_crops_show_the_same_usable_tissue_twice(known: Dataset, low_px: int) -> None:
    crops = Crops(known, "train", low_px)
    rng = np.random.default_rng(low_px)
    offsets = set()
    for _ in range(300):
        crop = crops.random(rng)
        assert crop.low.shape == (low_px, low_px)
        assert (crop.low.repeat(4, 0).repeat(4, 1) == crop.high).all()
        x, y = crop.x_px, crop.y_px
        low = known.mapped(crop.pair.low)
        assert (low[3 + y : 3 + y + low_px, 7 + x : 7 + x + low_px] == crop.low).all()
        touched = known.usable(crop.pair)[y // 8 : -(-(y + low_px) // 8)]
        assert touched[:, x // 8 : -(-(x + low_px) // 8)].all()
        offsets.add((x % 8, y % 8))
    assert len(offsets) > 20  # to the pixel, not only on the grid of cells


def test_crops_reach_the_edges(tmp_path: Path) -> None:
    making = Making(tmp_path / "ds")
    making.pair("A/0", "train", tissue(0, 64))
    crops = Crops(making.done(), "train", 24)
    rng = np.random.default_rng(0)
    corners = {(crop.x_px, crop.y_px) for crop in (crops.random(rng) for _ in range(400))}
    assert {0, 8} <= {x for x, _ in corners}
    assert max(x for x, _ in corners) == max(y for _, y in corners) == 8
    assert len(Crops(crops.dataset, "train", 32)) == 1


def test_tiles_do_not_overlap(known: Dataset) -> None:
    seen = {pair.name: np.zeros((84, 100), int) for pair in known.items}
    for crop in Crops(known, "train", 20).tiles():
        seen[crop.pair.name][crop.y_px : crop.y_px + 20, crop.x_px : crop.x_px + 20] += 1
        assert (crop.low.repeat(4, 0).repeat(4, 1) == crop.high).all()
    for pair in known.items:
        cover = seen[pair.name]
        assert cover.max() == 1
        assert not cover[:80, :96][~known.usable(pair).repeat(8, 0).repeat(8, 1)].any()


def test_no_room_for_a_crop(clean: Dataset) -> None:
    with pytest.raises(InputError, match="no pair of split val has room for 72 px"):
        Crops(clean, "val", 72)


def test_fields_are_mapped_and_only_looked_at_where_needed(
    clean: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tifffile.TiffPage.asarray", pytest.fail)
    monkeypatch.setattr("tifffile.TiffFile.asarray", pytest.fail)
    low, high = clean.images(clean.items[0])
    assert isinstance(low, np.memmap)
    assert isinstance(high, np.memmap)
    assert not high.flags.writeable
    assert high.shape == (128, 128, 3)
    assert clean.mapped(clean.items[0].high) is high
    with pytest.raises(ValueError, match="read-only"):
        high[0, 0] = 0


def test_a_dataset_travels_to_another_process_without_its_pixels(clean: Dataset) -> None:
    crops = Crops(clean, "train", 32)
    crops.random(np.random.default_rng(0))
    again = pickle.loads(pickle.dumps(crops))
    assert len(pickle.dumps(crops)) < 128 * 128
    first, second = (c.random(np.random.default_rng(1)) for c in (crops, again))
    assert (first.high == second.high).all()


def test_an_image_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for size in (8, 16):
        image = np.full((size, size), size, np.uint16)
        path.write_bytes(to_tiff(image, None))
        assert (mapped(path) == image).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 320), st.integers(0, 255)), max_size=4), st.integers(0))
def test_a_damaged_image_is_refused_or_read_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]], keep: int
) -> None:
    data = bytearray(to_tiff(tissue(0, 16), 0.5))
    for at, value in flips:
        data[at] = value
    path = tmp_path_factory.mktemp("t") / "a.tif"
    path.write_bytes(data[: keep if keep else None])
    try:
        mapped(path)
    except (OSError, ValueError):
        return


# ---------------------------------------------------------------- splits


@given(st.lists(st.text(min_size=1, max_size=3), unique=True, max_size=40), st.integers(0, 40))
def test_groups_once_assigned_stay(groups: list[str], first: int) -> None:
    known = assign(groups[:first], {})
    later = assign(groups, known)
    assert later == assign(groups, {})
    assert all(later[group] == split for group, split in known.items())
    if len(groups) >= 3:
        assert set(later.values()) == set(SPLITS)
    shares = [list(later.values()).count(split) / max(len(groups), 1) for split in SPLITS]
    if len(groups) >= 20:
        assert np.allclose(shares, [0.7, 0.15, 0.15], atol=0.06)


areas = st.builds(
    Area,
    st.sampled_from([0, 1]),
    st.floats(-500, 500),
    st.floats(-500, 500),
    st.floats(0, 50),
)


@settings(max_examples=50)
@given(areas, st.floats(0, 20))
def test_the_guard_keeps_tissue_of_two_splits_apart(area: Area, reach: float) -> None:
    crossing = np.array([area.first_um, area.second_um])[:: -1 if area.axis else 1]
    points = crossing + np.stack(np.meshgrid(*[np.arange(-90, 91, 5.0)] * 2), 2).reshape(-1, 2)
    own = {split: points[area.inside(points, split, reach)] for split in SPLITS}
    for split, members in own.items():
        assert len(members)
        assert all(area.split_of(point) == split for point in members)
    for one, other in combinations(SPLITS, 2):
        apart = cKDTree(own[one]).query(own[other], p=np.inf)[0].min()
        assert apart >= area.guard_um + 2 * reach - 1e-6


@given(areas)
def test_an_area_comes_back_from_its_table(area: Area) -> None:
    assert Area.from_table(json.loads(json.dumps(area.table()))) == area


def grid_of(rows: int, columns: int, pitch: float) -> np.ndarray:
    y, x = np.mgrid[:rows, :columns].reshape(2, -1) * pitch
    return np.stack([x, y], 1) + 1e4


@given(st.integers(4, 12), st.integers(4, 12), st.floats(50, 900))
def test_a_grid_of_four_by_four_and_more_fills_all_splits(
    rows: int, columns: int, pitch: float
) -> None:
    centres = grid_of(rows, columns, pitch)
    area = cut(centres, pitch)
    steps = (np.arange(16) - 7.5) / 16 * pitch
    cells = centres[:, None] + np.stack(np.meshgrid(steps, steps), 2).reshape(1, -1, 2)
    for split in SPLITS:
        own = centres[[area.split_of(centre) == split for centre in centres]]
        assert len(own)
        assert area.inside(cells.reshape(-1, 2), split, pitch / 32).any()
    train = sum(area.split_of(centre) == "train" for centre in centres) / len(centres)
    assert 0.55 <= train <= 0.85


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (2, 2), (3, 3)])
def test_small_grids_are_cut_somehow(shape: tuple[int, int]) -> None:
    centres = grid_of(*shape, 100.0)
    area = cut(centres, 100.0)
    assert np.isfinite(list(area.table().values())).all()
    assert "train" in {area.split_of(centre) for centre in centres}


# ----------------------------------------------------------------- index

texts = st.text(max_size=8)
numbers = st.floats(-1e6, 1e6).map(lambda value: float(f"{value:.9g}"))
twice = st.tuples(numbers, numbers)
gates = st.builds(Gate, st.none() | numbers, st.none() | numbers, st.none() | numbers)
common = {
    "name": texts,
    "source": texts,
    "split": st.sampled_from(["", *SPLITS]),
    "reasons": st.lists(texts, max_size=2).map(tuple),
    "slide": texts,
    "patient": texts,
    "facts": st.dictionaries(texts, texts | numbers, max_size=2),
}
pairs = st.builds(
    Pair,
    **common,
    low=texts,
    high=texts,
    box_px=st.tuples(*[st.integers(0, 9999)] * 4),
    cells=st.lists(texts, max_size=3).map(tuple),
    gates=st.dictionaries(texts, gates, max_size=2),
    place=st.none() | st.builds(Place, twice, st.tuples(twice, twice)),
    high_to_low=st.none() | st.tuples(*[st.tuples(numbers, numbers, numbers)] * 2),
)
images = st.builds(
    Labelled, **common, image=texts, um_per_px=st.none() | numbers, nuclei=st.none() | st.just(3)
)


@given(pairs)
def test_a_pair_comes_back_from_its_line(pair: Pair) -> None:
    line = to_line(pair)
    assert "\n" not in line
    assert from_line(line, "pairs") == pair


@given(images)
def test_an_image_comes_back_from_its_line(item: Labelled) -> None:
    assert from_line(to_line(item), "nuclei") == item


def test_not_a_number_is_neither_written_nor_read(clean: Dataset) -> None:
    pair = replace(clean.items[0], facts={"z_um": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_line(pair)
    line = to_line(replace(pair, facts={}, gates={"shift": Gate(0.5)})).replace("0.5", "NaN")
    with pytest.raises(ValueError, match=r"gates\.shift\.value: .*finite"):
        from_line(line, "pairs")


def append(line: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data + line


def change(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(old, new, 1)


HEAD, INDEX = "dataset.json", "index.jsonl"
DAMAGES: dict[str, tuple[str, Callable[[bytes], bytes | None], str]] = {
    "no header": (HEAD, lambda _: None, "no dataset there"),
    "empty header": (HEAD, lambda _: b"", "damaged or not a dataset's"),
    "a list": (HEAD, lambda _: b"[]", "damaged or not a dataset's"),
    "another thing": (HEAD, lambda _: b"{}", "damaged or not a dataset's ('schema')"),
    "newer": (HEAD, change(b"dataset/1", b"dataset/2"), "is of schema scope-sr/dataset/2"),
    "half a header": (HEAD, lambda data: data[:-40], "damaged or not a dataset's"),
    "no scale": (HEAD, change(b'"scale"', b'"scales"'), "damaged (scale"),
    "key of the header": (HEAD, change(b'"licence"', b'"license"'), "license: Unexpected"),
    "no index": (INDEX, lambda _: None, "; delete the folder and build again"),
    "torn line": (INDEX, lambda data: data[:-9], "line 6: "),
    "unknown key": (INDEX, append(b'{"colour": 1}\n'), "line 7: "),
    "blank line": (INDEX, append(b"\n\n"), "line 7: "),
    "not text": (INDEX, append(b"\xff\xfe\n"), "line 7: "),
    "misspelt": (INDEX, change(b'"slide"', b'"slied"'), "line 1: slied: Unexpected keyword"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_dataset_is_refused_in_one_line(clean: Dataset, damage: tuple) -> None:
    name, harm, words = damage
    path = clean.folder / name
    data = harm(path.read_bytes())
    path.unlink() if data is None else path.write_bytes(data)
    with pytest.raises(InputError) as error:
        Dataset.open(clean.folder)
    message = str(error.value)
    assert words in message
    assert str(clean.folder) in message
    assert "\n" not in message
    assert "pydantic" not in message


def test_an_index_without_lines_is_a_dataset_without_pairs(clean: Dataset) -> None:
    empty = rewrite(clean.folder, [])
    assert empty.items == ()
    assert leaks(empty) == ()
    with pytest.raises(InputError, match="has room"):
        Crops(empty, "train", 8)
    with pytest.raises(InputError, match="nothing to export"):
        export(empty, "basicsr", clean.folder.with_name("out"), 8)


def test_a_missing_image_is_named(clean: Dataset) -> None:
    pair = clean.items[0]
    (clean.folder / pair.high).unlink()
    with pytest.raises(InputError, match=r"f0\.tif: .*; delete the folder and build again"):
        clean.images(pair)


# ----------------------------------------------------------------- leaks


def test_a_clean_dataset_has_no_leak(clean: Dataset) -> None:
    told: list[tuple[int, int]] = []
    assert leaks(clean, lambda done, of: told.append((done, of))) == ()
    assert told == [(step, 12) for step in range(1, 13)]


def on_one_slide(folder: Path, gap_um: float, turn: float = 0.0) -> Dataset:
    """Three fields side by side, 64 µm each, in a frame turned by so many degrees."""
    making = Making(folder, level="area")
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    affine = ((c, -s), (s, c))
    for number, split in enumerate(SPLITS):
        along = (64 + gap_um) * number
        at = (along * c, along * s)
        making.pair(f"A/{number}", split, tissue(number), at_um=at, affine=affine)
    return making.done()


@pytest.mark.parametrize("turn", [0, 30, 90, 181])
def test_fields_side_by_side_share_nothing(tmp_path: Path, turn: float) -> None:
    assert leaks(on_one_slide(tmp_path / "ds", 0.0, turn)) == ()


@pytest.mark.parametrize("turn", [0, 30, 90, 181])
def test_one_column_of_cells_across_the_cut_is_found(tmp_path: Path, turn: float) -> None:
    first, second = leaks(on_one_slide(tmp_path / "ds", -8.0, turn))
    assert (
        "A/0 (train) and A/1 (val) share about 512 µm² of tissue; build the dataset again" in first
    )
    assert "A/1 (val) and A/2 (test)" in second


def test_a_guard_of_cells_keeps_overlapping_fields_apart(tmp_path: Path) -> None:
    """Fields overlap by 8 µm as on a real slide, the cells there belong to nobody."""
    making = Making(tmp_path / "ds", level="area")
    for number, split in enumerate(SPLITS):
        usable = np.ones((8, 8), bool)
        usable[:, 0] = usable[:, -1] = False
        making.pair(f"A/{number}", split, tissue(number), at_um=(56.0 * number, 0), usable=usable)
    assert leaks(making.done()) == ()


def test_a_slide_seen_through_two_cameras(tmp_path: Path) -> None:
    """One camera is turned by 45 degrees; its side passes the other's corner by half a µm."""
    making = Making(tmp_path / "ds", level="area")
    half = np.sqrt(0.5)
    making.pair("A/0", "train", tissue(0), at_um=(0.0, 0.0))
    turned = {"affine": ((half, -half), (half, half))}
    # The middle of a cell, 4 µm beside that of the field, lies before the corner
    at_um = (32 + (32.5 + 4) * half, 32 + (32.5 - 4) * half)
    making.pair("A/past", "val", tissue(1), at_um=at_um, **turned)
    making.pair("A/into", "test", tissue(2), at_um=(-76.0, 0.0), **turned)
    (line,) = leaks(making.done())
    assert "A/0 (train) and A/into (test) share about" in line


def test_a_low_image_shared_by_two_splits_needs_no_place(tmp_path: Path) -> None:
    making = Making(tmp_path / "ds", level="image")
    low = tissue(0, 96)
    for number, (split, x) in enumerate([("train", 0), ("val", 32), ("test", 56)]):
        making.pair(
            f"A/{number}", split, tissue(number + 1, 64), low=low, low_name="low/one.tif",
            box=(x, 0, 32, 32),
        )  # fmt: skip
    (line,) = leaks(making.done())
    assert "A/1 (val) and A/2 (test) share about 256 pixels of one low image" in line


def test_a_pair_moved_to_another_split(clean: Dataset) -> None:
    items = list(clean.items)
    items[0] = replace(items[0], split="test")
    found = leaks(rewrite(clean.folder, items))
    assert found[0].startswith("slide slide0 is in two splits: train/f1 (train) and train/f0 (test")
    assert "train/f1 (train) and train/f0 (test) share about 256 µm² of tissue" in found[1]
    assert len(found) == 2


def test_a_patient_in_two_splits(tmp_path: Path) -> None:
    dataset = three_slides(tmp_path / "ds", level="patient").done()
    items = [replace(i, patient="p" if i.split != "val" else "q") for i in dataset.items]
    (line,) = leaks(rewrite(dataset.folder, items))
    assert line.startswith("patient p is in two splits: train/f0 and 1 more (train) and test/f0")
    patients_may_cross = Making(tmp_path / "area", level="area")
    for number, split in enumerate(SPLITS):
        at = (100.0 * number, 0.0)
        patients_may_cross.pair(f"A/{number}", split, tissue(number), at_um=at, patient="p")
    assert leaks(patients_may_cross.done()) == ()


def noisy(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 12, image.shape)
    return (image * 0.9 + 8 + noise).clip(0, 255).astype(np.uint8)


COPIES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "exact": (np.copy, "an image, byte for byte, the same picture (correlation 1.000)"),
    "noisy, dimmed": (noisy, "the same picture (correlation 0.9"),
    "turned": (lambda image: np.rot90(image), "the same picture (correlation 1.000)"),
    "mirrored, turned": (lambda image: np.rot90(image, 3)[::-1], "the same picture"),
    "half as bright": (lambda image: image // 2, "the same picture"),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("kind", ["pairs", "nuclei"])
def test_a_copy_under_another_name(tmp_path: Path, kind: str, copy: tuple) -> None:
    alter, words = copy
    making = Making(tmp_path / "ds", kind=kind, scale=2 if kind == "pairs" else 1, level="image")
    shown = {"x": tissue(0), "y": alter(tissue(0))}
    shown.update({f"z{number}": tissue(number + 1) for number in range(4)})
    for number, (name, image) in enumerate(shown.items()):
        split = SPLITS[number % 3]
        if kind == "pairs":
            making.pair(name, split, np.ascontiguousarray(image))
        else:
            labels = np.zeros(image.shape[:2], np.uint16)
            making.nuclei(name, split, np.ascontiguousarray(image), labels)
    lines = leaks(making.done())
    assert len(lines) == 1
    assert "x (train) and y (val) share " in lines[0]
    assert words in lines[0]
    assert "give both the same patient or slide" in lines[0]


def test_glass_and_a_common_frame_are_no_copies(tmp_path: Path) -> None:
    """Fields with the same dark rim, not usable, and glass with the same faint shading."""
    making = Making(tmp_path / "ds", level="image")
    inner = np.zeros((8, 8), bool)
    inner[1:-1, 1:-1] = True
    shading = 215 + 1.0 * np.sin(np.arange(128) / 8)[:, None, None]
    for number in range(6):
        framed = tissue(number)
        framed[:16], framed[-16:], framed[:, :16], framed[:, -16:] = 0, 0, 0, 0
        making.pair(f"A/{number}", SPLITS[number % 3], framed, usable=inner)
        noise = np.random.default_rng(number).normal(0, 1, (128, 128, 3))
        glass = (shading + noise).round().astype(np.uint8)
        making.pair(f"G/{number}", SPLITS[number % 3], glass)
    assert leaks(making.done()) == ()


def test_a_dataset_all_of_leaks_ends_with_a_word(tmp_path: Path) -> None:
    making = Making(tmp_path / "ds", level="image", kind="nuclei", scale=1)
    labels = np.zeros((32, 32), np.uint16)
    for number in range(24):
        making.nuclei(f"n{number}", SPLITS[number % 3], tissue(0, 32), labels)
    found = leaks(making.done())
    assert len(found) == 101
    assert found[-1].startswith("more than 100 items share something")


# ----------------------------------------------------------------- files


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def litter(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"not ours")


LOW, HIGH = "low/val_f0.tif", "high/train_f1.tif"
HARMS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "missing": (LOW, Path.unlink, "missing; bring it back from a copy, or build"),
    "flipped": (HIGH, flip, "its bytes are not those that were written"),
    "cut": (HIGH, lambda path: path.write_bytes(path.read_bytes()[:-5]), "its bytes are not"),
    "extra": ("notes.txt", litter, "not of this dataset; move it elsewhere"),
    "extra image": ("low/more.tif", litter, "not of this dataset"),
    "part": ("high/a.tif.part", litter, "left by a build that was cut short"),
    "work": ("work", lambda path: litter(path / "a.npz"), "left by a build that was cut"),
    "desktop": ("high/.DS_Store", litter, ""),
    "report": ("report.html", litter, ""),
    "export": ("export/a.png", litter, ""),
    "picture": ("pictures/a.png", litter, ""),
    "lock": ("dataset.lock", litter, ""),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_harm_to_files_is_found_and_named(clean: Dataset, harm: tuple) -> None:
    name, act, words = harm
    act(clean.folder / name)
    told: list[tuple[int, int]] = []
    found = verify(Dataset.open(clean.folder), lambda done, of: told.append((done, of)))
    assert told == [(number, 12) for number in range(1, 13)]
    assert len(found) == bool(words)
    for line in found:
        assert line.startswith(f"{clean.folder / name}: {words}")
    assert leaks(Dataset.open(clean.folder)) == ()


def test_what_the_index_says_wrongly_is_named(clean: Dataset) -> None:
    a, b, c, d, e, f = clean.items
    header = replace(clean.header, groups={"slide0": "train", "slide1": "test"})
    odd = [
        replace(a, cells=(*a.cells, "00")),
        replace(b, box_px=(8, 0, 64, 64)),
        replace(c, low_sha256=""),
        replace(d, name=c.name, high="../elsewhere.tif"),
        replace(e, split="", place=Place((0, 0), ((1, 1), (1, 1)))),
        replace(f, box_px=(0, 0, 60, 64), cells=("7f",) * 8),
        replace(f, name="rejected", high="high/never-written.tif", reasons=("out of focus",)),
    ]
    rewrite(clean.folder, odd)
    dataset = Dataset(clean.folder, header, tuple(odd))
    told = "\n".join(verify(dataset))
    for words in (
        f"{c.name} stands in it 2 times",
        f"the cells of {a.name} do not fit its box",
        "low/train_f1.tif: 64 x 64 px, too small for the box of train/f1",
        "low/val_f0.tif has no checksum",
        "'../elsewhere.tif' is no file within the dataset",
        f"{e.name}: it is kept but in no split",
        "its place maps all pixels onto a line",
        "high/test_f1.tif: 128 x 128 px, its box and scale ask for 120 x 128",
        "it is in val, its slide slide1 belongs to test",
    ):
        assert words in told
    assert "never-written" not in told
    assert "high/val_f1.tif: not of this dataset" in told
    leaks(dataset)  # passes over what cannot be read


# --------------------------------------------------------------- exports


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(files)}


def test_basicsr_gets_every_pixel(clean: Dataset, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    out = tmp_path / "out"
    counts = export(clean, "basicsr", out, 24, lambda done, of: told.append((done, of)))
    assert counts == {"train": 8, "val": 8, "test": 8}
    assert told[-1] == (6, 6)
    for split in SPLITS:
        lines = (out / f"meta_info_{split}.txt").read_text().splitlines()
        names = [line.split(" ")[0] for line in lines]
        assert lines == [f"{name} (48,48,3)" for name in names]
        for folder in ("LR", "HR"):
            assert sorted(path.name for path in (out / split / folder).iterdir()) == names
        for name, crop in zip(names, Crops(clean, split, 24).tiles(), strict=True):
            for folder, image in (("LR", crop.low), ("HR", crop.high)):
                written = imagecodecs.png_decode((out / split / folder / name).read_bytes())
                assert written.dtype == image.dtype
                assert (written == image).all()
    options = yaml.safe_load((out / "options.yml").read_text())
    train, val = options["datasets"]["train"], options["datasets"]["val"]
    assert options["scale"] == 2
    assert train["gt_size"] == 48
    assert train["type"] == "PairedImageDataset"
    assert set(options["datasets"]) == {"train", "val"}  # who trains does not look at test
    for table in (train, val):
        assert Path(table["dataroot_gt"]).is_dir()
        assert Path(table["dataroot_lq"]).is_dir()
        assert Path(table["meta_info_file"]).is_file()


def test_imagefolder_says_where_each_square_comes_from(clean: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(clean, "imagefolder", out, 32)
    for split in SPLITS:
        rows = list(map(json.loads, (out / split / "metadata.jsonl").read_text().splitlines()))
        assert len({frozenset(row) for row in rows}) == 1
        for row, crop in zip(rows, Crops(clean, split, 32).tiles(), strict=True):
            for column, image in (("lr", crop.low), ("hr", crop.high)):
                data = (out / split / row[f"{column}_file_name"]).read_bytes()
                assert (imagecodecs.png_decode(data) == image).all()
            assert (row["pair"], row["x_px"], row["y_px"]) == (
                crop.pair.name, crop.x_px, crop.y_px,
            )  # fmt: skip
            assert row["slide"] == crop.pair.slide
            assert (row["low_um_per_px"], row["high_um_per_px"]) == (0.5, 0.25)
    _, head, body = (out / "README.md").read_text().split("---\n", 2)
    table = yaml.safe_load(head)
    assert table["license"] == "cc-by-4.0"
    assert [d["split"] for d in table["configs"][0]["data_files"]] == [
        "train",
        "validation",
        "test",
    ]
    assert "Nothing to see." in body


def test_sixteen_bits_of_grey_stay(known: Dataset, tmp_path: Path) -> None:
    export(known, "basicsr", tmp_path / "out", 20)
    crop = next(Crops(known, "train", 20).tiles())
    path = min((tmp_path / "out/train/HR").iterdir())
    written = imagecodecs.png_decode(path.read_bytes())
    assert written.dtype == np.uint16
    assert (written == crop.high).all()
    assert "(80,80,1)" in (tmp_path / "out/meta_info_train.txt").read_text()


def test_nuclei_with_their_labels(tmp_path: Path) -> None:
    making = Making(tmp_path / "ds", kind="nuclei", scale=1, level="image", sources=())
    for number, split in enumerate(SPLITS):
        labels = (np.arange(48 * 48).reshape(48, 48) + number).astype(np.int32)
        known = {"nuclei": 2, "um_per_px": 0.5 if number else None}
        making.nuclei(f"a {number}", split, tissue(number, 48), labels, **known)
    making.images["ignore/1.tif"] = np.eye(48, dtype=np.uint8)
    making.items[1] = replace(making.items[1], ignore="ignore/1.tif")
    dataset = making.done()
    assert verify(dataset) == ()
    assert export(dataset, "imagefolder", tmp_path / "out", 0) == dict.fromkeys(SPLITS, 1)
    for item in dataset.items:
        (line,) = (tmp_path / "out" / item.split / "metadata.jsonl").read_text().splitlines()
        row = json.loads(line)
        folder = tmp_path / "out" / item.split
        image, labels, ignore = (
            imagecodecs.png_decode((folder / row[f"{name}_file_name"]).read_bytes())
            for name in ("image", "labels", "ignore")
        )
        assert (image == dataset.mapped(item.image)).all()
        assert (labels == dataset.mapped(item.labels)).all()
        assert (ignore == np.eye(48) * 255).all() if item.ignore else not ignore.any()
        assert (row["nuclei"], row["patient"]) == (2, "")
        assert "um_per_px" not in row  # unknown of one, and all splits must have the same columns
    assert "license: unknown" in (tmp_path / "out/README.md").read_text()
    with pytest.raises(InputError, match="BasicSR reads pairs"):
        export(dataset, "basicsr", tmp_path / "other", 32)


@pytest.mark.parametrize("kind", ["basicsr", "imagefolder"])
def test_exports_are_the_same_each_time(clean: Dataset, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    export(clean, kind, out, 32)
    first = tree(out)
    shutil.rmtree(out)
    out.mkdir()  # empty, as a file dialog leaves it
    export(clean, kind, out, 32)
    assert tree(out) == first


def test_an_export_cut_short_leaves_nothing_under_its_name(
    clean: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, part = tmp_path / "out", tmp_path / "out.part"

    def killed(*_: object, **__: object) -> None:
        shutil.copytree(part, tmp_path / "rest")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("scope_sr.dataset.export.basicsr_options", killed)
        with pytest.raises(KeyboardInterrupt):
            export(clean, "basicsr", out, 32)
    assert not out.exists()
    assert not part.exists()
    (tmp_path / "rest").rename(part)  # as a power cut would have left it
    export(clean, "basicsr", out, 32)
    assert not part.exists()
    assert (out / "options.yml").exists()


def test_an_export_touches_nothing_of_others(clean: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    litter(out / "mine.txt")
    with pytest.raises(InputError, match="not empty; choose another folder"):
        export(clean, "basicsr", out, 32)
    litter(tmp_path / "other.part" / "mine.txt")
    with pytest.raises(InputError, match="in the way and no export's"):
        export(clean, "basicsr", tmp_path / "other", 32)
    with pytest.raises(InputError, match="has room for 999 px"):
        export(clean, "basicsr", tmp_path / "third", 999)
    with pytest.raises(DatasetError, match=r"deeper: .*; make room or choose another"):
        export(clean, "basicsr", out / "mine.txt" / "deeper", 32)
    left = {path.name for path in tmp_path.rglob("mine.txt")}
    assert left == {"mine.txt"}
    assert not (tmp_path / "third.part").exists()
