"""Images with nuclei masks: every layout read exactly, every trap, all that can be wrong."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import struct
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import mask_layouts as layouts
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mask_layouts import HEIGHT, LAYOUTS, SLIDES, WIDTH, aperio, matlab, nuclei, picture, save
from PIL import Image
from scipy.io import savemat

from scope_sr.build_dataset.masks import Case, find_layout, read_case, write_case
from scope_sr.build_dataset.masks.case import with_fit_names
from scope_sr.build_dataset.masks.matlab import read_mat
from scope_sr.build_dataset.masks.monuseg import fill
from scope_sr.dataset.fields import mapped
from scope_sr.dataset.index import from_line, to_line
from scope_sr.dataset.labels import areas, consecutive
from scope_sr.errors import InputError


@pytest.mark.parametrize("which", LAYOUTS)
def test_every_layout_is_recognised_and_read_exactly(which: str, tmp_path: Path) -> None:
    name, write = LAYOUTS[which]
    expected = write(tmp_path)
    found = find_layout(tmp_path)
    assert found.name == name
    assert bool(found.licence) == bool(found.note) == (name != "plain")
    assert found.problems == ()
    assert [case.name for case in found.cases] == [known.name for known in expected]
    for case, known in zip(found.cases, expected, strict=True):
        assert (case.layout, case.patient, case.slide) == (name, known.patient, known.slide)
        assert (case.um_per_px, case.tissue) == (known.um_per_px, known.tissue)
        read = read_case(pickle.loads(pickle.dumps(case)))
        assert (read.image.dtype, read.labels.dtype) == (np.uint8, np.uint16)
        np.testing.assert_array_equal(read.image, known.image)
        np.testing.assert_array_equal(read.labels, known.labels)
        assert read.instances == known.instances
        assert (read.ignore is None) == (known.ignore is None)
        if read.ignore is not None and known.ignore is not None:
            np.testing.assert_array_equal(read.ignore, known.ignore)


def only(folder: Path, n: int = 0) -> Case:
    return find_layout(folder).cases[n]


# The traps of notes/datasets.md


def test_a_map_of_16_bits_that_opencv_turns_to_zeros_keeps_its_nuclei(tmp_path: Path) -> None:
    layouts.tcia(tmp_path)
    path = save(tmp_path / "2_labeled_mask_corrected.png", nuclei(1, 40, 78))
    assert not cv2.imread(str(path)).any()
    assert read_case(only(tmp_path)).labels.max() == 3


def test_no_module_here_reads_images_with_opencv() -> None:
    package = Path(__file__).parents[1] / "scope_sr" / "build_dataset" / "masks"
    texts = [path.read_text(encoding="utf-8") for path in package.glob("*.py")]
    assert texts
    assert not any("import cv2" in text for text in texts)


def test_crops_are_paired_by_number_and_what_stands_alone_is_told(tmp_path: Path) -> None:
    layouts.tcia(tmp_path)
    for n in (1, 100):
        save(tmp_path / f"{n}_crop.png", picture(n))
        save(tmp_path / f"{n:03d}_labeled_mask_corrected.png", nuclei())
    save(tmp_path / "49_crop.png", picture(0))
    save(tmp_path / "59_labeled_mask_corrected.png", nuclei())
    save(tmp_path / "7_crop (1).png", picture(0))
    save(tmp_path / "more" / "2_crop.png", picture(0))
    found = find_layout(tmp_path)
    assert [case.name for case in found.cases] == ["1", "2", "10", "11", "12", "100"]
    assert [line.split(":")[0] for line in found.problems] == [
        "more/2_crop.png", "7_crop (1).png", "49_crop.png", "59_labeled_mask_corrected.png",
    ]  # fmt: skip


def test_the_card_says_where_patients_would_stand(tmp_path: Path) -> None:
    layouts.tcia(tmp_path, readme=False)
    assert "Patients unknown" in find_layout(tmp_path).note
    (tmp_path / "pcns_crosswalk.txt").write_text("Patch-ID,CancerType,ID\n2,gbm,TCGA-02-0001\n")
    found = find_layout(tmp_path)
    assert "Patients of 3 crops are not in the table" in found.note
    assert [case.patient for case in found.cases] == ["TCGA-02-0001", "", "", ""]


@pytest.mark.parametrize(
    ("marked", "n", "instances"),
    [
        (layouts.mask(), 2, False),
        (layouts.mask(white=1), 2, False),
        (layouts.mask(np.uint16, 65535), 2, False),
        (nuclei(0, 0, 1), 1, True),
        (nuclei(0, 0, 1, dtype=np.uint8), 1, False),
        (nuclei(0, 0, 255), 1, False),
        (nuclei(0, 0, 0, dtype=np.uint8), 0, True),
        (nuclei(9, 9, 200, dtype=np.uint8), 2, True),
        (layouts.mask() > 0, 2, False),
    ],
    ids=[
        "0 and 255", "0 and 1", "0 and 65535", "one nucleus", "one in 8 bits", "one white",
        "nothing", "ids in 8 bits", "one bit",
    ],
)  # fmt: skip
def test_a_mask_is_told_from_a_label_map(
    marked: np.ndarray, n: int, instances: bool, tmp_path: Path
) -> None:
    layouts.plain(tmp_path)
    save(tmp_path / "masks" / "a2.png", marked)
    read = read_case(only(tmp_path))
    assert (read.labels.max(), read.instances) == (n, instances)


def test_pixels_that_touch_at_a_corner_are_one_nucleus() -> None:
    assert areas(np.array([[1, 0], [0, 1]])).tolist() == [[1, 0], [0, 1]]


def test_an_outline_holds_the_pixels_whose_centres_it_holds(tmp_path: Path) -> None:
    numbers = np.zeros((6, 8), np.uint32)
    fill(numbers, np.array([[1.4, 1.6], [5.6, 1.6], [5.6, 4.4], [1.4, 4.4]]), 1)
    rows, columns = np.nonzero(numbers)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 3, 1, 5)
    layouts.monuseg(tmp_path)
    path = tmp_path / "MoNuSeg Training" / "Annotations" / f"{SLIDES[0]}.xml"
    path.write_text(
        aperio(
            [(-9, -9), (3, -9), (3, 2), (-9, 2)],
            [(5, 5), (6, 6)],
            [],
            [(90, 0), (95, 0), (90, 9)],
        )
    )
    read = read_case(only(tmp_path))
    assert np.argwhere(read.labels).tolist() == [[r, c] for r in range(2) for c in range(3)]
    assert read.facts == {"outlines_without_pixels": 3.0}


@given(st.integers(3, 12), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_filling_agrees_with_opencv_but_for_the_outline(corners: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radius = rng.uniform(4, 18, corners)
    outline = np.stack([20 + radius * np.cos(angle), 22 + radius * np.sin(angle)], 1)
    ours = np.zeros((44, 40), np.uint32)
    fill(ours, outline, 1)
    theirs, edge = np.zeros((44, 40), np.uint8), np.zeros((44, 40), np.uint8)
    fixed = np.rint((outline - 0.5) * 256).astype(np.int32)
    cv2.fillPoly(theirs, [fixed], 1, shift=8)
    cv2.polylines(edge, [fixed], True, 1, thickness=3, shift=8)
    np.testing.assert_array_equal(ours[edge == 0], theirs[edge == 0])


def test_the_area_of_a_filled_circle_is_right_where_opencv_adds_its_outline() -> None:
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    outline = np.stack([20.3 + 10 * np.cos(angle), 20.8 + 10 * np.sin(angle)], 1)
    ours, theirs = np.zeros((40, 40), np.uint32), np.zeros((40, 40), np.uint8)
    fill(ours, outline, 1)
    cv2.fillPoly(theirs, [np.rint((outline - 0.5) * 256).astype(np.int32)], 1, shift=8)
    assert ours.sum() == pytest.approx(np.pi * 100, rel=0.02)
    assert theirs.sum() > 1.06 * np.pi * 100


def test_a_later_outline_lies_over_an_earlier_one(tmp_path: Path) -> None:
    layouts.monuseg(tmp_path, beside=True)
    path = tmp_path / "MoNuSegTestData" / f"{SLIDES[0]}.xml"
    path.write_text(aperio(*(layouts.corners(box) for box in ((2, 6, 2, 6), (4, 8, 4, 8)))))
    labels = read_case(only(tmp_path)).labels
    assert (np.sum(labels == 1), np.sum(labels == 2)) == (12, 16)


def test_nuclei_of_one_file_stay_one_even_in_two_pieces_and_overlaps_are_told(
    tmp_path: Path,
) -> None:
    layouts.dsb2018(tmp_path)
    masks = tmp_path / "stage1_train" / "3ae1" / "masks"
    save(masks / "2c0de.png", (nuclei(1, 0, 1) * 255).astype(np.uint8))
    read = read_case(only(tmp_path))
    np.testing.assert_array_equal(read.labels, nuclei())
    assert read.facts == {"pixels_claimed_twice": 36.0}
    save(masks / "3c0de.png", nuclei(0, 0, 0, dtype=np.uint8))
    assert read_case(only(tmp_path)).facts["masks_without_pixels"] == 1


def test_pannuke_is_mapped_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts.pannuke(tmp_path)
    asked = []
    load = np.load
    monkeypatch.setattr(np, "load", lambda *a, **k: asked.append(k) or load(*a, **k))
    read_case(only(tmp_path))
    assert asked
    assert all(k == {"mmap_mode": "r", "allow_pickle": False} for k in asked)


def test_a_plain_folder_at_the_top_counts_before_what_lies_deeper(tmp_path: Path) -> None:
    layouts.plain(tmp_path, "instances")
    layouts.plain(tmp_path, "masks")
    layouts.tnbc(tmp_path / "original_rgba_layout")
    found = find_layout(tmp_path)
    assert (found.name, len(found.cases)) == ("plain", 2)
    assert found.cases[0].files[1].parent.name == "instances"
    assert [line.split(":")[0] for line in found.problems] == [
        "masks", "tnbc, deeper in the folder",
    ]  # fmt: skip


def test_plain_masks_below_a_published_layout_are_told(tmp_path: Path) -> None:
    layouts.tcia(tmp_path)
    layouts.plain(tmp_path / "mine")
    found = find_layout(tmp_path)
    assert (found.name, len(found.cases)) == ("tcia", 4)
    assert found.problems == ("2 images with masks are no part of tcia: left out",)


def test_plain_folders_may_lie_side_by_side_and_hold_folders(tmp_path: Path) -> None:
    for part in ("train", "val"):
        save(tmp_path / part / "images" / "liver" / "x.JPG", picture(1))
        save(tmp_path / part / "masks" / "liver" / "x_mask.png", nuclei())
    found = find_layout(tmp_path)
    assert [case.name for case in found.cases] == [
        "train-images-liver-x", "val-images-liver-x",
    ]  # fmt: skip


def test_instance_maps_of_matlab_are_read_beside_any_image(tmp_path: Path) -> None:
    save(tmp_path / "Images" / "k.png", picture(0))
    matlab(tmp_path / "Labels" / "k.mat", nuclei(2, 3, 9))
    read = read_case(only(tmp_path))
    np.testing.assert_array_equal(read.labels, nuclei())
    assert read.instances


def test_litter_and_links_in_a_circle_do_no_harm(tmp_path: Path) -> None:
    layouts.plain(tmp_path)
    (tmp_path / "images" / "._a2.png").write_bytes(b"Mac")
    (tmp_path / "images" / "Thumbs.db").write_bytes(b"Windows")
    save(tmp_path / "__MACOSX" / "1_crop.png", picture(0))
    if os.name != "nt":
        (tmp_path / "images" / "again").symlink_to(tmp_path, target_is_directory=True)
    found = find_layout(tmp_path)
    assert (len(found.cases), found.problems) == (2, ())


# Pixels


@pytest.mark.parametrize("how", ["grey", "palette", "grey alpha", "1 bit", "16-bit TIFF", "planar"])
def test_an_image_becomes_rgb_or_is_refused(how: str, tmp_path: Path) -> None:
    layouts.plain(tmp_path)
    path = tmp_path / "images" / "a2.png"
    image = picture(0)
    grey = Image.fromarray(image[:, :, 0])
    if how == "grey":
        grey.save(path)
    elif how == "palette":
        Image.fromarray(image).quantize(200).save(path)
        image = np.array(Image.open(path).convert("RGB"))
    elif how == "grey alpha":
        grey.convert("LA").save(path)
    elif how == "1 bit":
        Image.fromarray(image[:, :, 0] > 99).save(path)
        image = np.repeat((image[:, :, :1] > 99) * np.uint8(255), 3, axis=2)
    elif how == "planar":
        tifffile.imwrite(path, np.moveaxis(image, 2, 0), photometric="rgb", planarconfig="separate")
    else:
        tifffile.imwrite(path, image.astype(np.uint16) * 257, photometric="rgb")
        with pytest.raises(InputError, match=r"a2\.png: its pixels are uint16; save"):
            read_case(only(tmp_path))
        return
    read = read_case(only(tmp_path)).image
    wanted = image[:, :, :1].repeat(3, 2) if how.startswith("grey") else image
    np.testing.assert_array_equal(read, wanted)


def deep_png(path: Path) -> None:
    """Write a label map as 16-bit RGB, of which Pillow would keep the upper bytes, all 0."""
    cv2.imwrite(str(path), np.repeat(nuclei(1, 2, 78)[:, :, None], 3, axis=2))


def damage(path: Path, text: bytes) -> None:
    path.write_bytes(text)


HEADER_73 = b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM"

# What is done to a dataset of two cases, the file then at fault, and words of the reason.
WRONG: dict[str, tuple[str, Callable[[Path], None], str, str]] = {
    "mask of another size": (
        "plain", lambda at: save(at / "masks/a2.png", nuclei()[:-1]) and None,
        "masks/a2.png", f"28 x {HEIGHT - 1} pixels, its image {WIDTH} x {HEIGHT}"),
    "text named png": (
        "plain", lambda at: damage(at / "images/a2.png", b"hello"), "images/a2.png",
        "not a readable image"),
    "mask is text": (
        "plain", lambda at: damage(at / "masks/a2.png", b"hello"), "masks/a2.png",
        "not a readable image"),
    "truncated PNG": (
        "plain",
        lambda at: damage(at / "images/a2.png", (at / "images/a2.png").read_bytes()[:900]),
        "images/a2.png", "not a readable image"),
    "truncated TIFF": (
        "cryonuseg",
        lambda at: damage(
            at / "tissue images/Human_AdrenalGland_01.tif",
            (at / "tissue images/Human_AdrenalGland_01.tif").read_bytes()[:700]),
        "tissue images/Human_AdrenalGland_01.tif", "not a readable image"),
    "empty image": (
        "plain", lambda at: damage(at / "images/a2.png", b""), "images/a2.png", "is empty"),
    "image gone": (
        "plain", lambda at: (at / "images/a2.png").unlink(), "images/a2.png", "cannot be read"),
    "mask in colour": (
        "plain", lambda at: save(at / "masks/a2.png", picture(3)) and None, "masks/a2.png",
        "a picture in colour"),
    "mask in alpha": (
        "plain",
        lambda at: save(at / "masks/a2.png", np.dstack(
            [np.zeros((HEIGHT, WIDTH, 3), np.uint8), layouts.mask()])) and None,
        "masks/a2.png", "transparency"),
    "16-bit mask in colour": (
        "plain", lambda at: deep_png(at / "masks/a2.png"), "masks/a2.png", "16 bits per channel"),
    "mask as JPEG": (
        "plain",
        lambda at: Image.fromarray(layouts.mask()).save(at / "masks/a2.png", "JPEG"),
        "masks/a2.png", "JPEG smears"),
    "smoothed mask": (
        "plain",
        lambda at: save(at / "masks/a2.png", cv2.blur(layouts.mask(), (3, 3))) and None,
        "masks/a2.png", "neither mask nor label map"),
    "stack of pictures": (
        "plain", lambda at: tifffile.imwrite(
            at / "masks/a2.png", np.stack([nuclei()] * 3), photometric="minisblack"),
        "masks/a2.png", "holds several pictures"),
    "classes": (
        "plain",
        lambda at: save(at / "masks/a2.png", np.kron(
            np.tile([[1, 2], [2, 1]], (5, 7)), [[1, 0], [0, 0]]).astype(np.uint8)) and None,
        "masks/a2.png", "classes, not nuclei"),
    "negative labels": (
        "plain", lambda at: tifffile.imwrite(at / "masks/a2.png", nuclei().astype(np.int16) - 1),
        "masks/a2.png", "number the nuclei from 1"),
    "fractions": (
        "plain", lambda at: tifffile.imwrite(at / "masks/a2.png", nuclei() * np.float32(0.5)),
        "masks/a2.png", "not whole numbers"),
    "XML with an entity": (
        "monuseg test",
        lambda at: damage(
            at / f"MoNuSegTestData/{SLIDES[0]}.xml",
            b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><Annotations>&x;</Annotations>',
        ),
        f"MoNuSegTestData/{SLIDES[0]}.xml", "document type"),
    "XML in UTF-16 with an entity": (
        "monuseg test",
        lambda at: damage(
            at / f"MoNuSegTestData/{SLIDES[0]}.xml",
            '<!DOCTYPE a [<!ENTITY x "y">]><Annotations>&x;</Annotations>'.encode("utf-16")),
        f"MoNuSegTestData/{SLIDES[0]}.xml", "document type"),
    "XML cut short": (
        "monuseg test",
        lambda at: damage(at / f"MoNuSegTestData/{SLIDES[0]}.xml", b"<Annotations><Regions>"),
        f"MoNuSegTestData/{SLIDES[0]}.xml", "not a readable annotation"),
    "XML of something else": (
        "monuseg test",
        lambda at: damage(at / f"MoNuSegTestData/{SLIDES[0]}.xml", b"<svg></svg>"),
        f"MoNuSegTestData/{SLIDES[0]}.xml", "no Aperio annotation"),
    "XML with words for numbers": (
        "monuseg test",
        lambda at: damage(
            at / f"MoNuSegTestData/{SLIDES[0]}.xml",
            aperio([(1, 1), (2, 1), (2, 2)]).replace('X="2"', 'X="two"').encode()),
        f"MoNuSegTestData/{SLIDES[0]}.xml", "not a readable annotation"),
    "XML with infinity": (
        "monuseg test",
        lambda at: damage(
            at / f"MoNuSegTestData/{SLIDES[0]}.xml",
            aperio([(1, 1), (2, 1), (float("inf"), 2)]).encode()),
        f"MoNuSegTestData/{SLIDES[0]}.xml", "not finite"),
    "mat without the key": (
        "lizard", lambda at: matlab(at / "Lizard_Labels/Labels/consep_2.mat", nuclei(), "x") and
        None, "Lizard_Labels/Labels/consep_2.mat", "no map inst_map"),
    "mat of 7.3": (
        "consep", lambda at: damage(at / "Test/Labels/test_2.mat", HEADER_73 + bytes(600)),
        "Test/Labels/test_2.mat", "v7.3"),
    "mat damaged": (
        "consep",
        lambda at: damage(
            at / "Test/Labels/test_2.mat", (at / "Test/Labels/test_2.mat").read_bytes()[:400]),
        "Test/Labels/test_2.mat", "not a readable MATLAB file"),
    "mask of one nucleus of another size": (
        "dsb2018",
        lambda at: save(at / "stage1_train/3ae1/masks/0c0de.png", layouts.mask()[1:]) and None,
        "stage1_train/3ae1/masks/0c0de.png", "masks of its size"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_a_case_is_one_line_that_names_the_file(
    what: str, tmp_path: Path
) -> None:
    which, spoil, file, words = WRONG[what]
    LAYOUTS[which][1](tmp_path / "in")
    cases = find_layout(tmp_path / "in").cases
    spoil(tmp_path / "in")
    with pytest.raises(InputError) as raised:
        read_case(cases[0])
    line = str(raised.value)
    assert "\n" not in line
    assert str(tmp_path / "in" / file) in line
    assert words in line
    rejected = write_case(cases[0], tmp_path / "out", "s")
    assert rejected.reasons == (line,)
    assert (rejected.image, rejected.labels, rejected.accepted) == ("", "", False)
    assert not (tmp_path / "out").exists()
    assert write_case(cases[1], tmp_path / "out", "s").accepted


def test_a_palette_whose_indices_leave_it_is_no_crash(tmp_path: Path) -> None:
    layouts.plain(tmp_path)
    image = Image.fromarray(picture(0)[:, :, 0] % 4)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(tmp_path / "images" / "a2.png")
    assert read_case(only(tmp_path)).image.shape == (HEIGHT, WIDTH, 3)


def pannuke_with(**arrays: np.ndarray | bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        layouts.pannuke(folder, published=False)
        for name, array in arrays.items():
            path = folder / "fold1" / f"{name}.npy"
            path.write_bytes(array) if isinstance(array, bytes) else np.save(path, array)

    return write


def two_at_once(folder: Path) -> None:
    layouts.tcia(folder / "a")
    layouts.tnbc(folder / "b")


NOTHING: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda at: at.mkdir(exist_ok=True), "holds no file"),
    "not there": (lambda at: None, "no such folder"),
    "a file": (lambda at: at.write_bytes(b"PK"), "is a file; unpack it"),
    "two layouts": (two_at_once, "holds tcia and tnbc at once"),
    "no masks": (lambda at: save(at / "images" / "a.png", picture(0)), "looks like plain"),
    "crops without masks": (lambda at: save(at / "3_crop.png", picture(0)), "looks like tcia"),
    "something else": (lambda at: save(at / "holiday.png", picture(0)), "1 x .png); known"),
    "empty npy": (pannuke_with(masks=b""), "masks.npy: not a readable array"),
    "npy cut short": (
        pannuke_with(images=b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'}"), "not a readable array"),
    "npy with a torn header": (
        pannuke_with(masks=b"\x93NUMPY\x01\x00\x10\x00{'descr': ('<f8'\n"), "not a readable array"),
    "npy of objects": (
        pannuke_with(masks=np.array([None, "x"], object)), "masks.npy: not a readable array"),
    "npy of another shape": (pannuke_with(images=np.zeros((2, 4, 4))), "PanNuke's is (n, 256"),
    "npy of another length": (
        pannuke_with(images=np.zeros((3, HEIGHT, WIDTH, 3))), "take both from one fold"),
    "masks without channels": (
        pannuke_with(masks=np.zeros((2, HEIGHT, WIDTH, 2))), "PanNuke's is (n, 256, 256, 6)"),
}  # fmt: skip


@pytest.mark.parametrize("what", NOTHING)
def test_a_folder_of_no_use_is_one_line(what: str, tmp_path: Path) -> None:
    write, words = NOTHING[what]
    write(tmp_path / "in")
    with pytest.raises(InputError) as raised:
        find_layout(tmp_path / "in")
    line = str(raised.value)
    assert "\n" not in line
    assert str(tmp_path / "in") in line
    assert words in line


def test_a_folder_that_may_not_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    layouts.plain(tmp_path)
    monkeypatch.setattr("os.scandir", refused)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\); check its rights"):
        find_layout(tmp_path)


def test_patches_of_another_range_or_beyond_the_end_are_refused(tmp_path: Path) -> None:
    pannuke_with(images=np.full((2, HEIGHT, WIDTH, 3), 0.5))(tmp_path / "a")
    with pytest.raises(InputError, match="runs from 0 to 1"):
        read_case(only(tmp_path / "a"))
    pannuke_with(images=np.full((2, HEIGHT, WIDTH, 3), 300.0))(tmp_path / "b")
    with pytest.raises(InputError, match="leaves 0 to 255"):
        read_case(only(tmp_path / "b"))
    with pytest.raises(InputError, match="has no image 7"):
        read_case(replace(only(tmp_path / "b"), index=7))


def test_broken_folds_are_left_out_and_told_where_others_are_whole(tmp_path: Path) -> None:
    layouts.pannuke(tmp_path / "x", published=False)
    pannuke_with(masks=b"")(tmp_path / "y")
    found = find_layout(tmp_path)
    assert len(found.cases) == 2
    assert len(found.problems) == 1
    assert "masks.npy: not a readable array" in found.problems[0]


# Into the dataset


def test_a_case_is_stored_with_its_checksums(tmp_path: Path) -> None:
    layouts.nuinsseg(tmp_path / "in")
    first, second = find_layout(tmp_path / "in").cases
    out = tmp_path / "out"
    item = write_case(first, out, "vienna")
    assert item.accepted
    assert (item.name, item.source, item.split) == ("vienna/human_bladder_01", "vienna", "")
    assert item.image == "image/vienna/human_bladder_01.tif"
    assert item.labels == "labels/vienna/human_bladder_01.tif"
    assert item.ignore == "ignore/vienna/human_bladder_01.tif"
    assert (item.nuclei, item.slide, item.um_per_px) == (3, "human bladder", None)
    np.testing.assert_array_equal(mapped(out / item.image), picture(0))
    np.testing.assert_array_equal(mapped(out / item.labels), nuclei())
    assert np.count_nonzero(mapped(out / item.ignore)) == 20
    for file, digest in (
        (item.image, item.image_sha256),
        (item.labels, item.labels_sha256),
        (item.ignore, item.facts["ignore_sha256"]),
    ):
        assert hashlib.sha256((out / file).read_bytes()).hexdigest() == digest
    assert item.facts["layout"] == "nuinsseg"
    assert item.facts["original"] == "human_bladder_01.png"
    assert (item.facts["width_px"], item.facts["height_px"]) == (WIDTH, HEIGHT)
    assert item.facts["nuclei_share"] == pytest.approx(108 / (WIDTH * HEIGHT), abs=1e-6)
    assert from_line(to_line(item), "nuclei") == item
    assert write_case(second, out, "vienna").ignore == ""
    assert write_case(first, out, "vienna") == item


def test_empty_grey_and_merely_masked_images_are_kept_and_told(tmp_path: Path) -> None:
    layouts.tcia(tmp_path / "in")
    save(tmp_path / "in" / "12_crop.png", picture(0)[:, :, 0])
    written = [
        write_case(case, tmp_path / "out", "s") for case in find_layout(tmp_path / "in").cases
    ]
    assert [item.nuclei for item in written] == [3, 3, None, 0]
    assert all(item.accepted for item in written)
    assert ["empty" in item.facts for item in written] == [False, False, False, True]
    assert ["colour" in item.facts for item in written] == [False, False, False, True]
    assert written[0].facts["tissue"] == "blca"
    assert written[0].um_per_px == 0.25


def test_more_than_65535_nuclei_take_32_bits(tmp_path: Path) -> None:
    marked = np.arange(1, 70_001, dtype=np.uint32).reshape(250, 280)
    save(tmp_path / "images" / "x.png", np.zeros((250, 280, 3), np.uint8))
    save(tmp_path / "masks" / "x.tif", marked)
    item = write_case(only(tmp_path), tmp_path / "out", "s")
    assert item.nuclei == 70_000
    stored = mapped(tmp_path / "out" / item.labels)
    assert stored.dtype.itemsize == 4
    np.testing.assert_array_equal(stored, marked)


def test_a_full_disk_is_not_the_fault_of_the_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    layouts.plain(tmp_path / "in")
    monkeypatch.setattr("scope_sr.disk._write", full)
    with pytest.raises(OSError, match="No space"):
        write_case(only(tmp_path / "in"), tmp_path / "out", "s")


def test_names_fit_any_system_and_stay_unique(tmp_path: Path) -> None:
    stems = ["a b", "a_b", "A_B", "CON", "nul.x", "Zürich", ".hid.", "é", "x" * 200, "ok-1.2+3"]
    cases = [
        Case(stem, "plain", (tmp_path / "images" / f"{n}.png",)) for n, stem in enumerate(stems)
    ]
    names = [case.name for case in with_fit_names(cases, tmp_path)]
    assert names[:3] == ["images-0", "images-1", "images-2"]
    assert names[3:7] == ["_CON", "_nul.x", "Z_rich", "hid"]
    assert names[-1] == "ok-1.2+3"
    assert max(map(len, names)) <= 120
    assert len({name.lower() for name in names}) == len(names)


# Laws


ids = st.one_of(st.integers(0, 6), st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1))


@given(hnp.arrays(np.uint32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=ids))
@settings(deadline=None)
def test_renumbering_keeps_the_partition_and_leaves_no_gap(numbers: np.ndarray) -> None:
    labels = consecutive(numbers)
    assert labels.shape == numbers.shape
    pairs = {(int(old), int(new)) for old, new in zip(numbers.flat, labels.flat, strict=True)}
    assert len(pairs) == len({old for old, _ in pairs}) == len({new for _, new in pairs})
    assert all((old == 0) == (new == 0) for old, new in pairs)
    assert {new for _, new in pairs if new} == set(range(1, int(labels.max()) + 1))
    ordered = sorted(pairs)
    assert ordered == sorted(pairs, key=lambda pair: pair[1])


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"II*\0", b"\xff\xd8"]))
@settings(max_examples=60, deadline=None)
def test_no_bytes_make_a_reader_crash(data: bytes, start: bytes) -> None:
    with tempfile.TemporaryDirectory() as home:
        image = Path(home, "x.png")
        image.write_bytes(start + data)
        with pytest.raises(InputError):
            read_case(Case("x", "plain", (image, image)))


@given(st.integers(0, 120), st.integers(0, 255), st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_flipped_byte_of_a_matlab_file_takes_the_process_down(
    at: int, value: int, packed: bool, first: bool
) -> None:
    """As scipy alone does: at 144 a 5, at 145 an 8, at 184 a 0."""
    stream = io.BytesIO()
    other = {"inst_centroid": np.zeros((3, 2)), "class": np.array(["a", "b"], object)}
    labels = {"inst_map": nuclei(2, 5, 9)}
    savemat(stream, labels | other if first else other | labels, do_compression=packed)
    data = bytearray(stream.getvalue())
    data[128 + at] = value
    with tempfile.TemporaryDirectory() as home:
        path = Path(home, "x.mat")
        path.write_bytes(data)
        with contextlib.suppress(InputError):
            assert read_mat(path).shape == (HEIGHT, WIDTH) or at in range(24, 48)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.uint8, np.int32, np.uint16])
def test_matlab_files_of_any_number_type_are_read(
    packed: bool, dtype: type, tmp_path: Path
) -> None:
    labels = nuclei(2, 5, 9).astype(dtype)
    savemat(tmp_path / "x.mat", {"a": 1.0, "instance_map": labels}, do_compression=packed)
    np.testing.assert_array_equal(read_mat(tmp_path / "x.mat"), labels)
    savemat(tmp_path / "old.mat", {"inst_map": labels.astype(float)}, format="4")
    with pytest.raises(InputError, match="not of version 5 to 7"):
        read_mat(tmp_path / "old.mat")
    savemat(tmp_path / "x.mat", {"inst_map": labels * 1j})
    with pytest.raises(InputError, match="no plain array of numbers"):
        read_mat(tmp_path / "x.mat")


def test_the_header_of_a_73_file_is_what_matlab_writes() -> None:
    assert struct.unpack("<H", HEADER_73[124:126])[0] == 0x0200
