"""Datasets built from images of the user's own: pairs, single images, images with masks."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import mask_layouts
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from rigs import make_rig
from sessions import tree
from test_unknown_geometry import Asked, error_px
from test_unknown_geometry import Pair as TruePair
from test_unknown_geometry import pair as true_pair

from scope_sr import disk
from scope_sr.build_dataset import run
from scope_sr.build_dataset.allotting import allotted
from scope_sr.build_dataset.parallel import AHEAD, Workers, workers
from scope_sr.build_dataset.people import Whose, read_patients
from scope_sr.check import check
from scope_sr.dataset import Dataset, Labelled, Pair
from scope_sr.dataset.folder import REGISTRATION
from scope_sr.degradation import low_of, optics_of
from scope_sr.errors import DatasetError, InputError
from scope_sr.specimen.pupil import WAVELENGTHS_UM, otf

pytestmark = pytest.mark.xdist_group("build_sources")


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out drawing and processes, but for the datasets that tests share."""
    monkeypatch.setattr(run, "draw_pictures", lambda *_args: None)
    monkeypatch.setattr(run, "workers", lambda _count: nullcontext(Workers(Now(), 1)))


@contextmanager
def here() -> Iterator[None]:
    """Compute in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "workers", lambda _count: nullcontext(Workers(Now(), 1)))
        yield


class Now:
    """A pool that computes at once, in this process."""

    def submit(self, function: Callable, task: object) -> Done:
        return Done(function(task))


class Done:
    def __init__(self, value: object) -> None:
        self.value = value

    def result(self) -> object:
        return self.value

    def cancel(self) -> None:
        """Nothing is left to cancel."""


def options(**changes: object) -> dict:
    usual = {"patients": None, "licence": "", "count": 1, "resume": False}
    return {**usual, "tell": lambda *_: None, **changes}


def save(path: Path, image: NDArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        kind = "rgb" if image.ndim == 3 else "minisblack"
        tifffile.imwrite(path, image, photometric=kind)
    else:
        Image.fromarray(image).save(path)


def named(dataset: Dataset, name: str) -> Pair:
    (found,) = [item for item in dataset.items if item.name.endswith(f"/{name}")]
    assert isinstance(found, Pair)
    return found


# --- pairs ----------------------------------------------------------------------------------------

ASKED = {
    "turned 1": Asked(0, turn_deg=7.3, low_size=(150, 140)),
    "flipped": Asked(6, ratio=2.1, flipped=True, turn_deg=4.0, low_size=(128, 128), seed=2),
    "half-out": Asked(18, off_px=(90.0, -40.0), turn_deg=5.0, seed=3),
    "upright": Asked(21, seed=4),
    "sideways": Asked(24, turn_deg=92.0, seed=5),
}
BARCODES = [f"TCGA-A{n}-000{n}-01Z-00-DX1" for n in range(3)]


def tinted(high: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give an image as a camera of other colours would."""
    mixed = high @ np.array([[0.72, 0.05, 0.0], [0.1, 0.8, 0.05], [0.0, 0.02, 0.6]]) + (20, 5, 40)
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def truths() -> dict[str, TruePair]:
    found = {name: true_pair(asked) for name, asked in ASKED.items()}
    found["sideways"] = replace(found["sideways"], high=tinted(found["sideways"].high))
    return found


@pytest.fixture(scope="module")
def pictures(truths: dict[str, TruePair], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders lr and hr: five good pairs, and one of each kind that must not be used."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, true in truths.items():
        ending = "tif" if name == "upright" else "png"
        save(folder / "lr" / f"{name}.png", true.low)
        save(folder / "hr" / f"{name}.{ending}", true.high)
    for side in ("lr", "hr"):
        shutil.copy(folder / side / "flipped.png", folder / side / "z-again.png")
    save(folder / "lr/unrelated.png", truths["turned 1"].low)
    save(folder / "hr/unrelated.png", truths["half-out"].high)
    save(folder / "lr/grey.png", truths["turned 1"].low[..., 1])
    save(folder / "hr/grey.png", truths["turned 1"].high[..., 1])
    save(folder / "lr/broken.png", truths["upright"].low)
    whole = (folder / "hr/flipped.png").read_bytes()
    (folder / "hr/broken.png").write_bytes(whole[: len(whole) // 2])
    save(folder / "lr/alone.png", truths["upright"].low)
    (folder / "hr/._flipped.png").write_bytes(b"left by a Mac")
    (folder / "hr/notes.txt").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def paired(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> run.Built:
    out = tmp_path_factory.mktemp("paired") / "ds"
    return run.from_pairs(pictures / "lr", pictures / "hr", out, scale=None, **options())


def test_registration_tells_of_every_pair(paired: run.Built, truths: dict[str, TruePair]) -> None:
    rows = json.loads((paired.dataset.folder / REGISTRATION).read_text(encoding="utf-8"))
    by_name = {row["name"]: row for row in rows}
    assert set(by_name) == {
        "turned_1", "flipped", "half-out", "upright", "sideways", "z-again", "unrelated", "grey",
        "broken",
    }  # fmt: skip
    for row in rows:
        assert row.keys() >= {"name", "accepted", "reasons", "hr_to_lr"}
        assert (row["hr_to_lr"] is not None) == row["accepted"] == (not row["reasons"])
        assert row["in_dataset"] == (not row["why_not_in_dataset"])
    for name, true in truths.items():
        row = by_name[name.replace(" ", "_")]
        asked = ASKED[name]
        assert row["accepted"]
        assert row["in_dataset"]
        assert error_px(np.array(row["hr_to_lr"]), true.high_to_low, true.low, true.high) < 0.3
        assert row["scale"] == pytest.approx(asked.ratio, rel=2e-3)
        assert math.remainder(row["rotation_deg"] - asked.turn_deg, 360) == pytest.approx(
            0, abs=0.2
        )
        assert row["flipped"] == asked.flipped
        assert 0 <= row["residual_hr_px"] < 0.5


def test_pairs_that_cannot_be_used_are_told_with_the_reason(paired: run.Built) -> None:
    why = {
        item.name.split("/")[1]: " ".join(item.reasons)
        for item in paired.dataset.items
        if not item.accepted
    }
    assert why.keys() == {"z-again", "unrelated", "grey", "broken"}
    assert "duplicate: it shows what lr/flipped shows" in why["z-again"]
    assert "not registered: likeness is" in why["unrelated"]
    assert "kind: grey.png is grey of 8 bits, the others colour of 8" in why["grey"]
    assert "broken.png: not a readable image" in why["broken"]
    (alone,) = paired.remarks
    assert alone.endswith(("hr",))
    assert "alone.png: nothing of that name in" in alone


def test_a_pair_shows_the_same_tissue_in_the_colours_of_the_low_one(
    paired: run.Built, truths: dict[str, TruePair], pictures: Path
) -> None:
    dataset = paired.dataset
    assert dataset.header.scale == 2
    for name, true in truths.items():
        item = named(dataset, name.replace(" ", "_"))
        assert hashlib.sha256((dataset.folder / item.low).read_bytes()).hexdigest() == (
            item.low_sha256
        )
        np.testing.assert_array_equal(dataset.mapped(item.low), true.low)
        low, high = dataset.images(item)
        assert high.shape[:2] == (2 * low.shape[0], 2 * low.shape[1])
        usable = np.kron(dataset.usable(item), np.ones((8, 8), bool))
        rows, columns = usable.shape
        small = high.reshape(low.shape[0], 2, low.shape[1], 2, 3).mean(axis=(1, 3))
        one, other = (a[:rows, :columns][usable].astype(float) for a in (low, small))
        assert len(one) > 5000
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.97
        assert np.abs(one.mean(axis=0) - other.mean(axis=0)).max() < 1.0
        assert np.sqrt(((one - other) ** 2).mean()) < 7  # noise of 2 and what pixels make of edges


def test_usable_is_only_what_both_show(paired: run.Built, truths: dict[str, TruePair]) -> None:
    item, true = named(paired.dataset, "half-out"), truths["half-out"]
    x, y, width, height = item.box_px
    usable = paired.dataset.usable(item)
    low_to_high = np.linalg.inv(np.vstack([true.high_to_low, (0, 0, 1)]))
    outside = 0
    for row, column in np.ndindex(*usable.shape):
        left, top = x + 8 * column - 0.5, y + 8 * row - 0.5
        corners = [(left + a, top + b, 1.0) for a in (0, 8) for b in (0, 8)]
        there = np.array(corners) @ low_to_high[:2].T
        size = np.array(true.high.shape[1::-1])
        inside = bool(((there > -1.0) & (there < size)).all())
        assert inside or not usable[row, column]
        outside += not inside
    assert 0 < outside < usable.size
    assert usable.mean() > 0.4
    assert width * height < true.low.shape[0] * true.low.shape[1]


def test_a_dataset_of_pairs_is_whole_and_leaks_nothing(paired: run.Built) -> None:
    folder = paired.dataset.folder
    assert check(folder).ok, check(folder).text
    assert paired.dataset.header.level == "image"
    assert {i.split for i in paired.dataset.items if i.accepted} == {"train", "val", "test"}
    assert len(list((folder / "pictures").glob("*.png"))) >= 2
    assert not (folder / "work").exists()
    present = {path.relative_to(folder).as_posix() for path in folder.glob("*/lr/*.tif")}
    kept = [item for item in paired.dataset.items if isinstance(item, Pair) and item.accepted]
    assert present == {name for item in kept for name in (item.low, item.high)}


def few(pictures: Path, folder: Path, names: Sequence[str], source: str = "upright") -> list[Path]:
    """Fill lr and hr with one good pair under other names."""
    for side in ("lr", "hr"):
        (folder / side).mkdir(parents=True)
        (origin,) = (pictures / side).glob(f"{source}.*")
        for name in names:
            shutil.copy(origin, folder / side / f"{name}{origin.suffix}")
    return [folder / "lr", folder / "hr"]


def test_a_scale_the_images_do_not_have_is_refused_pair_by_pair(
    pictures: Path, tmp_path: Path
) -> None:
    folders = few(pictures, tmp_path, ["a"])
    built = run.from_pairs(*folders, tmp_path / "ds", scale=4, **options())
    (item,) = built.dataset.items
    assert item.reasons == ("scale: the high image has 2.00 pixels per low one, not 4",)
    (row,) = json.loads((tmp_path / "ds" / REGISTRATION).read_text(encoding="utf-8"))
    assert (row["accepted"], row["in_dataset"]) == (True, False)


def test_barcodes_in_names_keep_a_patient_on_one_side(pictures: Path, tmp_path: Path) -> None:
    folders = few(pictures, tmp_path, [f"{b}_{n}" for b in BARCODES for n in "ab"])
    for side, folder in zip(("lr", "hr"), folders, strict=True):  # else all are duplicates
        for number, path in enumerate(sorted(folder.iterdir())):
            (origin,) = (pictures / side).glob(f"{[*ASKED][number % 5]}.*")
            path.unlink()
            shutil.copy(origin, path.with_suffix(origin.suffix))
    built = run.from_pairs(*folders, tmp_path / "ds", scale=None, **options())
    assert built.dataset.header.level == "patient"
    assert set(built.dataset.header.groups) == {barcode[:12] for barcode in BARCODES}
    kept = [item for item in built.dataset.items if item.accepted]
    assert len(kept) == 5  # the sixth shows what the first shows
    assert all(built.dataset.header.groups[item.patient] == item.split for item in kept)
    assert len({item.split for item in kept}) == 3
    assert check(tmp_path / "ds").ok


def test_who_is_known_stays_on_one_side_though_others_are_not() -> None:
    patients = ("", "anna", "ben", "anna", "", "ben", "anna")
    items = [
        Pair(f"s/{number}", "s", "low.tif", "high.tif", patient=patient, slide="x" * (number == 0))
        for number, patient in enumerate(patients)
    ]
    items[1] = replace(items[1], reasons=("rejected",))
    found, groups, level = allotted(items, None)
    assert level == "image"
    assert groups == {"x": "train", "ben": "test", "anna": "val", "4": "train"}
    assert [item.split for item in found] == [
        "train", "", "test", "val", "train", "test", "val",
    ]  # fmt: skip


def some(pictures: Path, folder: Path, *names: str) -> list[Path]:
    """Put some of the pairs into lr and hr."""
    for side in ("lr", "hr"):
        (folder / side).mkdir(parents=True, exist_ok=True)
        for name in names:
            (origin,) = (pictures / side).glob(f"{name}.*")
            shutil.copy(origin, folder / side)
    return [folder / "lr", folder / "hr"]


def test_an_interrupted_build_of_pairs_goes_on_and_more_may_be_added(
    pictures: Path, tmp_path: Path
) -> None:
    folders = some(pictures, tmp_path, "upright", "sideways")
    whole = run.from_pairs(*folders, tmp_path / "whole/ds", scale=None, **options()).dataset

    def stop(stage: str, done: int, _total: int) -> None:
        if stage == "registering" and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.from_pairs(*folders, tmp_path / "ds", scale=None, **options(tell=stop))
    seen: list[tuple[str, int]] = []

    def tell(stage: str, done: int, _total: int) -> None:
        seen.append((stage, done))

    run.from_pairs(*folders, tmp_path / "ds", scale=None, **options(resume=True, tell=tell))
    assert seen[0] == ("registering", 1)
    assert tree(tmp_path / "ds") == tree(whole.folder)
    # what was replaced in the meantime is looked at anew
    with pytest.raises(KeyboardInterrupt):
        run.from_pairs(*folders, tmp_path / "ds", scale=None, **options(resume=True, tell=stop))
    seen.clear()
    first = tmp_path / "lr/sideways.png"
    good = first.read_bytes()
    save(first, tile(0))
    run.from_pairs(*folders, tmp_path / "ds", scale=None, **options(resume=True, tell=tell))
    assert seen[0] == ("registering", 0)
    assert not named(Dataset.open(tmp_path / "ds"), "sideways").accepted
    first.write_bytes(good)
    run.from_pairs(*folders, tmp_path / "ds", scale=None, **options(resume=True))
    assert tree(tmp_path / "ds") == tree(whole.folder)
    some(pictures, tmp_path, "flipped")
    built = run.from_pairs(*folders, tmp_path / "ds", scale=None, **options(resume=True))
    splits = {item.name: item.split for item in built.dataset.items}
    assert splits["lr/flipped"] == "val"  # though it comes first
    assert all(splits[item.name] == item.split for item in whole.items)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"licence": "CC0"}, "was begun with licence = '', now it is 'CC0'"),
        ({"scale": 4}, "was begun with asked = 2, now it is 4"),
    ],
)
def test_a_finished_dataset_is_not_added_to_with_other_options(
    pictures: Path, paired: run.Built, tmp_path: Path, changes: dict, words: str
) -> None:
    shutil.copytree(paired.dataset.folder, tmp_path / "ds")
    before = tree(tmp_path / "ds")
    folders = pictures / "lr", pictures / "hr"
    asked = {"scale": None, **options(resume=True), **changes}
    with pytest.raises(InputError, match=words):
        run.from_pairs(*folders, tmp_path / "ds", **asked)
    with pytest.raises(InputError, match="was begun with"):
        run.from_images(pictures / "hr", make_rig(), tmp_path / "ds", scale=2,
                        **options(resume=True))  # fmt: skip
    assert tree(tmp_path / "ds") == before


def test_other_folders_do_not_replace_those_of_a_finished_dataset(
    pictures: Path, paired: run.Built, tmp_path: Path
) -> None:
    shutil.copytree(paired.dataset.folder, tmp_path / "ds")
    few(pictures, tmp_path, ["a"])
    (tmp_path / "lr").rename(tmp_path / "other")
    folders = tmp_path / "other", tmp_path / "hr"
    with pytest.raises(InputError, match="holds lr as well"):
        run.from_pairs(*folders, tmp_path / "ds", scale=None, **options(resume=True))
    assert named(Dataset.open(tmp_path / "ds"), "upright").accepted


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        ("none", "hr", "name a folder of images"),
        ("lr/flipped.png", "hr", "name a folder of images"),
        ("empty", "hr", "no image there"),
        ("twice", "hr", "have one name; remove one"),
        ("others", "hr", "have no name in common"),
    ],
)
def test_folders_without_pairs_are_refused(
    pictures: Path, tmp_path: Path, low: str, high: str, words: str
) -> None:
    (pictures / "empty").mkdir(exist_ok=True)
    for name in ("twice/a.png", "twice/a.tif", "others/b.png"):
        save(pictures / name, np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError, match=words) as caught:
        run.from_pairs(pictures / low, pictures / high, tmp_path / "ds", scale=None, **options())
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ds").exists()


# --- whose ----------------------------------------------------------------------------------------

NAMES = ("tile 1", "b")
ANNA, BEN = Whose("anna", "s1"), Whose("ben", "s2")


@pytest.mark.parametrize(
    "text",
    [
        "name,patient,slide\ntile 1,anna,s1\nb,ben,s2\n",
        "\ufeffname;patient;slide\r\ntile 1;anna;s1\r\nb;ben;s2\r\n",
        "Slide,Name,Patient\ns1,tile 1,anna\n\n s2 , b , ben \nx,other,carl\n",
        "name,patient,slide\ntile 1.PNG,anna,s1\nb.tif,ben,s2",
        'name,patient,slide\n"tile 1","anna","s1"\nb,ben,s2\n',
    ],
)
def test_a_table_of_patients_is_read_as_spreadsheets_write_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "who.csv").write_text(text, encoding="utf-8", newline="")
    found = read_patients(tmp_path / "who.csv", NAMES)
    assert found == {"tile 1": ANNA, "b": BEN}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"name,patient\nb,ben\n", "no row for tile 1; add it"),
        (b"name,patient\n", "no row for tile 1 and 1 more"),
        (b"name,patient\nb,ben\nb,carl\n", "line 3: b has a row already"),
        (b"file,patient\nb,ben\n", "its first line must be name,patient,slide"),
        (b"name,patient,age\nb,ben,7\n", "its first line must be"),
        (b"", "its first line must be"),
        (b"name,patient,slide\nb,ben\n", "line 2 must say name, patient, slide"),
        (b"name,patient\nb,\n", "line 2 must say"),
        (b"name,patient\nb,m\xfcller\n", "must be a CSV file"),
        (b"PK\x03\x04\xff\xfe", "must be a CSV file"),
        (b'name,patient\n"' + b"x" * 200_000 + b'",ben\n', "must be a CSV file"),
        (None, "must be a CSV file"),
    ],
)
def test_what_is_no_such_table_is_one_line(tmp_path: Path, data: bytes | None, words: str) -> None:
    if data is not None:
        (tmp_path / "who.csv").write_bytes(data)
    with pytest.raises(InputError, match=words) as caught:
        read_patients(tmp_path / "who.csv", NAMES)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "who.csv"))


# --- images ---------------------------------------------------------------------------------------


def tile(seed: int, size: tuple[int, int] = (131, 130)) -> NDArray[np.uint8]:
    asked = list(ASKED.values())[seed]
    return true_pair(asked).high[: size[0], : size[1]].copy()


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "tiles"
    for number, name in enumerate(("one", "two 2", "three")):
        save(folder / f"{name}.png", tile(number))
    shutil.copy(folder / "one.png", folder / "z-again.png")
    save(folder / "grey.png", tile(3)[..., 1])
    save(folder / "deep.tif", tile(3).astype(np.uint16) * 257)
    save(folder / "small.png", tile(3)[:60])
    (folder / "broken.png").write_bytes((folder / "one.png").read_bytes()[:3000])
    (folder / "who.csv").write_text(
        "name;patient\n"
        + "".join(f"{path.stem};{path.stem[:2]}\n" for path in sorted(folder.glob("*.[pt][ni]*")))
    )
    return folder


@pytest.fixture(scope="module")
def simulated(tiles: Path, tmp_path_factory: pytest.TempPathFactory) -> run.Built:
    out = tmp_path_factory.mktemp("simulated") / "ds"
    asked = options(patients=tiles / "who.csv", licence="CC0")
    with here():
        return run.from_images(tiles, make_rig(), out, scale=2, **asked)


def test_low_images_are_marked_as_simulated(simulated: run.Built) -> None:
    header = simulated.dataset.header
    assert header.simulated
    (source,) = header.sources
    assert (source.kind, source.licence, header.level) == ("images", "CC0", "patient")
    assert source.facts["noise"]
    card = (simulated.dataset.folder / "card.md").read_text(encoding="utf-8")
    assert "**simulated**" in card
    assert "| low images | simulated, " in card
    assert check(simulated.dataset.folder).ok, check(simulated.dataset.folder).text


def test_high_images_stay_as_they_are(simulated: run.Built, tiles: Path) -> None:
    dataset = simulated.dataset
    for number, name in enumerate(("one", "two_2", "three")):
        item = named(dataset, name)
        low, high = dataset.images(item)
        np.testing.assert_array_equal(high, tile(number)[:130, :130])
        assert low.shape == (65, 65, 3)
        assert dataset.usable(item).all()
        small = high.reshape(65, 2, 65, 2, 3).mean(axis=(1, 3))
        assert np.corrcoef(low.ravel().astype(float), small.ravel())[0, 1] > 0.9


def test_images_that_cannot_be_used_are_told_with_the_reason(simulated: run.Built) -> None:
    why = {
        item.name.removeprefix("tiles/"): item.reasons[0]
        for item in simulated.dataset.items
        if not item.accepted
    }
    assert why.keys() == {"grey", "deep", "small", "broken", "z-again"}
    assert "not an RGB image of 8 bits" in why["grey"]
    assert "not an RGB image of 8 bits" in why["deep"]
    assert "130x60 px is too small at scale 2" in why["small"]
    assert "not a readable image" in why["broken"]
    assert "shows what tiles/one shows" in why["z-again"]


def test_the_same_images_give_the_same_bytes(
    simulated: run.Built, tiles: Path, tmp_path: Path
) -> None:
    asked = options(patients=tiles / "who.csv", licence="CC0")
    run.from_images(tiles, make_rig(), tmp_path / "ds", scale=2, **asked)
    first, second = (tree(folder) for folder in (simulated.dataset.folder, tmp_path / "ds"))
    same = {name for name in first if name.startswith(("low/", "high/", "index", "dataset."))}
    assert len(same) == 8
    assert all(first[name] == second[name] for name in same)
    # and a finished dataset may be asked for once more
    asked["resume"] = True
    run.from_images(tiles, make_rig(), tmp_path / "ds", scale=2, **asked)
    second = tree(tmp_path / "ds")
    assert all(first[name] == second[name] for name in same)


QUIET = replace(optics_of(make_rig(), 2), variance=(0.0, 0.0))


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("cycles", [5, 20])
def test_contrast_falls_as_the_optics_say(scale: int, cycles: int) -> None:
    """A cosine keeps its place and loses contrast by OTF times pixel box."""
    optics = replace(QUIET, scale=scale)
    side = 256  # whole half-periods: the mirror image beyond the edge continues the cosine
    x = np.arange(side) + 0.5
    wave = np.cos(np.pi * cycles / side * x)
    high = np.rint(127.5 + 100 * wave)[None, :, None].repeat(side, 0).repeat(3, 2)
    low = low_of(high.astype(np.uint8), optics, 0).astype(float)
    per_um = cycles / (2 * side * optics.high_um_per_px)
    at = (np.arange(side // scale) + 0.5) * scale
    small = np.cos(np.pi * cycles / side * at)
    for channel, wavelength_um in enumerate(WAVELENGTHS_UM):
        box = np.sinc(per_um * scale * optics.high_um_per_px)
        left = float(otf(optics.numerical_apertures[0], wavelength_um, 0.0, np.array([per_um]))[0])
        row = low[side // scale // 2, :, channel]
        contrast = 2 * (row @ small) / len(small) / 100
        assert contrast == pytest.approx(left * box, abs=0.006)
        assert abs(row - 127.5 - 100 * left * box * small).max() < 1.5


@pytest.mark.parametrize("scale", [2, 4])
def test_a_blob_stays_where_it_is(scale: int) -> None:
    """Low pixel j lies over high pixels k j to k j + k - 1, so its centre at k j + (k - 1) / 2."""
    y, x = np.mgrid[:192, :192]
    for at in ((95.5, 95.5), (80.0, 101.0), (90.25, 77.5)):
        blob = 200 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 7.0**2))
        high = np.rint(240 - blob).astype(np.uint8)[..., None].repeat(3, 2)
        low = low_of(high, replace(QUIET, scale=scale), 0)
        weight = 240 - low[..., 1].astype(float)
        weight[weight < 2] = 0
        rows, columns = np.mgrid[: weight.shape[0], : weight.shape[1]]
        place = [(weight * axis).sum() / weight.sum() for axis in (columns, rows)]
        found = [scale * j + (scale - 1) / 2 for j in place]
        assert found == pytest.approx(at, abs=0.03)


def test_noise_is_what_was_asked() -> None:
    optics = replace(QUIET, variance=(0.03, 0.5))
    for level in (60, 200):
        high = np.full((256, 256, 3), level, np.uint8)
        still, noisy = (low_of(high, o, 1).astype(float) for o in (QUIET, optics))
        assert np.ptp(still) <= 1
        assert still.mean() == pytest.approx(level, abs=0.5)
        assert noisy.mean() == pytest.approx(level, abs=0.05)
        rounding = 1 / 12
        assert noisy.var() - rounding == pytest.approx(0.03 * level + 0.5, rel=0.03)
    other = low_of(high, optics, 2).astype(float)
    assert abs(np.corrcoef((noisy - level).ravel(), (other - level).ravel())[0, 1]) < 0.03


def test_two_images_do_not_have_the_same_noise() -> None:
    even = np.full((64, 64, 3), 200, np.uint8)
    lows = [low_of(even, optics_of(make_rig(), 2), seed).astype(float) for seed in (1, 2)]
    off = [(low - low.mean()).ravel() for low in lows]
    assert min(o.std() for o in off) > 0.5
    assert abs(np.corrcoef(*off)[0, 1]) < 0.1


# --- masks ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nuclei(tmp_path_factory: pytest.TempPathFactory) -> run.Built:
    folder = tmp_path_factory.mktemp("masks")
    mask_layouts.tcia(folder / "tcia")
    again = folder / "tcia"  # the picture of case 2 once more, under another number
    for ending in ("crop.png", "labeled_mask_corrected.png"):
        shutil.copy(again / f"2_{ending}", again / f"13_{ending}")
    with here():
        return run.from_masks(folder / "tcia", folder / "ds", **options())


def test_marked_nuclei_become_a_dataset(nuclei: run.Built) -> None:
    dataset = nuclei.dataset
    known = {f"tcia/{case.name}": case for case in mask_layouts.tcia(dataset.folder.parent / "b")}
    kept = {item.name: item for item in dataset.items if item.accepted}
    assert kept.keys() == known.keys()
    for name, item in kept.items():
        assert isinstance(item, Labelled)
        image, labels = dataset.labelled(item)
        np.testing.assert_array_equal(image, known[name].image)
        np.testing.assert_array_equal(labels, known[name].labels)
        assert (item.patient, item.slide) == (known[name].patient, known[name].slide)
    (again,) = [item for item in dataset.items if not item.accepted]
    assert again.name == "tcia/13"
    assert again.reasons == ("duplicate: it shows what tcia/2 shows",)
    assert check(dataset.folder).ok, check(dataset.folder).text
    (source,) = dataset.header.sources
    assert source.licence
    assert source.licence in (dataset.folder / "card.md").read_text(encoding="utf-8")


def test_marked_nuclei_are_split_by_patient(tmp_path: Path) -> None:
    mask_layouts.tnbc(tmp_path / "TNBC")
    for number in ("03", "04"):
        for kind, pixels in (("Slide", mask_layouts.picture(70 + int(number))), ("GT", mask())):
            save(tmp_path / f"TNBC/{kind}_{number}/{number}_1.png", pixels)
    built = run.from_masks(tmp_path / "TNBC", tmp_path / "ds", **options(licence="mine"))
    header = built.dataset.header
    assert header.level == "patient"
    assert header.groups.keys() == {f"TNBC-0{n}" for n in range(1, 5)}
    assert header.sources[0].licence == "mine"
    assert {header.groups[i.patient] == i.split for i in built.dataset.items} == {True}
    assert {i.split for i in built.dataset.items} == {"train", "val", "test"}
    assert check(tmp_path / "ds").ok


def mask() -> NDArray[np.uint8]:
    return mask_layouts.mask()


# --- the disk and the workers ---------------------------------------------------------------------


def test_a_full_disk_is_one_line_and_no_dataset(
    tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process and in a worker alike."""
    calls = []

    def full(*_: object) -> None:
        calls.append(1)
        if len(calls) > allowed:
            raise OSError(28, "No space left on device")
        write(*_)

    write = disk._write
    monkeypatch.setattr(disk, "_write", full)
    for allowed in (0, 1, 5, 9):
        calls.clear()
        out = tmp_path / f"{allowed}"
        with pytest.raises(DatasetError, match=r"No space left on device; see to the disk") as bad:
            run.from_images(tiles, make_rig(), out, scale=2, **options())
        assert "\n" not in str(bad.value)
        assert not (out / "dataset.json").exists()
        assert not list(out.rglob("*.part"))


def test_few_tasks_are_under_way_at_any_time() -> None:
    most, under_way = 0, 0

    class Counting(Now):
        def submit(self, function: Callable, task: object) -> Done:
            nonlocal most, under_way
            under_way += 1
            most = max(most, under_way)
            return super().submit(function, task)

    def tasks() -> Iterator[int]:
        yield from range(100)

    got = []
    for value in Workers(Counting(), 3).each(lambda n: n * n, tasks()):
        under_way -= 1
        got.append(value)
    assert got == [n * n for n in range(100)]
    assert most == 3 + AHEAD


def end_of(task: str) -> str:
    """What goes wrong in a worker."""
    import os
    import signal

    if task == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "refused":
        msg = "tile.png: is empty; copy it again"
        raise InputError(msg)
    return task


def test_what_goes_wrong_in_a_worker_comes_out_as_it_would_here() -> None:
    with workers(1) as pool:
        assert list(pool.each(end_of, ["a", "b"])) == ["a", "b"]
        with pytest.raises(InputError, match=r"^tile.png: is empty; copy it again$"):
            list(pool.each(end_of, ["a", "refused", "b"]))
        assert list(pool.each(end_of, ["c"])) == ["c"]
        with pytest.raises(DatasetError, match=r"ended from outside.*--resume goes on"):
            list(pool.each(end_of, ["a", "killed", "b"]))


@pytest.mark.parametrize(("scale", "low"), [(2, "10x"), (4, "5x")])
def test_the_low_objective_is_the_one_that_fits_the_scale(scale: int, low: str) -> None:
    rig = make_rig()
    found = optics_of(rig, scale)
    assert (found.low, found.high) == (low, rig.high)
    assert found.numerical_apertures[0] == rig.objectives[low].numerical_aperture


def test_a_rig_without_an_objective_for_the_scale_is_refused() -> None:
    rig = make_rig()
    pair = {name: rig.objectives[name] for name in ("10x", "20x")}
    with pytest.raises(InputError, match="use --scale 2"):
        optics_of(rig.model_copy(update={"objectives": pair}), 4)
