"""Datasets of one image and one mask each: TCIA's crops, TNBC, CoNSeP, Lizard."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from scope_sr.build_dataset.masks.case import Case, Layout
from scope_sr.build_dataset.masks.tree import IMAGES, Couple, Tree, by_key, couple
from scope_sr.build_dataset.people import BARCODE, patient_and_slide

TCIA_IMAGE = re.compile(r"(\d+)_crop\.png", re.IGNORECASE)
TCIA_MASK = re.compile(r"(\d+)_labeled_mask_corrected\.png", re.IGNORECASE)
TCIA_ANNOTATORS = re.compile(r"\d+_labeled_mask_common\d\.png", re.IGNORECASE)
TCIA_LIKE = re.compile(r"\d+.*(_crop|_labeled_mask)", re.IGNORECASE)
PATCH_TABLE = "Patch-ID,"
MOST_TABLE_BYTES = 2**24  # the published one has some hundred thousand; a gzip bomb has more
TNBC_SLIDE = re.compile(r"slide_(\d+)", re.IGNORECASE)
TNBC_MASKS = re.compile(r"gt_(\d+)", re.IGNORECASE)
CONSEP = re.compile(r"((?:train|test)_\d+)(_\d+)*", re.IGNORECASE)
LIZARD = re.compile(r"(consep|crag|dpath|glas|pannuke)_\d+", re.IGNORECASE)


def find_tcia(tree: Tree) -> Layout | None:
    """Find ``N_crop.png`` with ``N_labeled_mask_corrected.png``, paired by the number N.

    ``N_labeled_mask_common{0,1,2}.png``, one per annotator, are passed over.
    """
    pictures = tree.having(".png")
    images, twice = by_key(tree, pictures, lambda path: _number(TCIA_IMAGE, path))
    masks, again = by_key(tree, pictures, lambda path: _number(TCIA_MASK, path))
    if not images and not masks:
        return None
    couples, problems = couple(tree, images, masks, "{}_labeled_mask_corrected.png")
    table = _patch_table(tree)
    return Layout(
        "tcia",
        "CC BY 3.0",
        "Crops of TCGA slides (doi 10.7937/tcia.2019.4a4dkp9u): not independent of MoNuSeg, "
        "PanNuke, CryoNuSeg or anything else made of TCGA." + _on_patients(couples, table),
        tuple(_tcia_case(found, table) for found in couples),
        (*twice, *again, *_oddities(tree, pictures), *problems),
    )


def _number(name: re.Pattern[str], path: Path) -> str | None:
    found = name.fullmatch(path.name)
    return str(int(found[1])) if found else None


def _oddities(tree: Tree, pictures: Iterable[Path]) -> list[str]:
    known = (TCIA_IMAGE, TCIA_MASK, TCIA_ANNOTATORS)
    return [
        f"{tree.relative(path)}: neither N_crop.png nor N_labeled_mask_corrected.png; left out"
        for path in pictures
        if TCIA_LIKE.match(path.name) and not any(name.fullmatch(path.name) for name in known)
    ]


def _tcia_case(found: Couple, table: dict[str, tuple[str, str]]) -> Case:
    barcode, tissue = table.get(found.key, ("", ""))
    patient, slide = patient_and_slide(barcode)
    files = (found.image, found.mask)
    return Case(found.key, "tcia", files, patient, slide, 0.25, tissue=tissue)


def _patch_table(tree: Tree) -> dict[str, tuple[str, str]]:
    """Read TCGA barcode and type of cancer of each crop from the publishers' table, if it is there.

    It is a text that ends in a CSV, gzipped or not; loaders have renamed it, so its name is free.
    """
    for path in tree.having(".txt", ".csv", ".gz"):
        lines = _text(path).splitlines()
        start = next((n for n, line in enumerate(lines) if line.startswith(PATCH_TABLE)), None)
        if start is not None:
            rows = list(csv.DictReader(lines[start:], skipinitialspace=True))
            return {
                str(int(row["Patch-ID"])): _patch(row)
                for row in rows
                if (row["Patch-ID"] or "").strip().isdigit()
            }
    return {}


def _patch(row: dict[str, str]) -> tuple[str, str]:
    # In whichever column: the longest barcode is that of the slide, shorter ones the patient's
    cells = [cell for cell in row.values() if isinstance(cell, str)]
    barcodes = [found[0] for cell in cells for found in BARCODE.finditer(cell)]
    return max(barcodes, key=len, default=""), (row.get("CancerType") or "").strip().lower()


def _text(path: Path) -> str:
    """Read the beginning of a text, gzipped or not; nothing where it cannot be read."""
    try:
        with path.open("rb") as stream:
            zipped = stream.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as stream:
            return stream.read(MOST_TABLE_BYTES).decode("utf-8-sig", "replace")
    except (OSError, EOFError):
        return ""


def _on_patients(couples: Iterable[Couple], table: dict[str, tuple[str, str]]) -> str:
    if not table:
        return (
            " Patients unknown: Pan-Cancer-Nuclei-Seg_1365patches_to_TCGA-ID_readme.txt beside the "
            "crops would tell them."
        )
    n = sum(not table.get(found.key, ("", ""))[0] for found in couples)
    return f" Patients of {n} crops are not in the table beside them." if n else ""


def find_tnbc(tree: Tree) -> Layout | None:
    """Find ``Slide_NN/NN_k.png`` with ``GT_NN/NN_k.png``; a slide is a patient."""
    images, twice = by_key(tree, tree.having(".png"), lambda path: _within(TNBC_SLIDE, path))
    masks, again = by_key(tree, tree.having(".png"), lambda path: _within(TNBC_MASKS, path))
    if not images or not masks:
        return None
    couples, problems = couple(tree, images, masks, "GT_{}")
    return Layout(
        "tnbc",
        "CC BY 4.0",
        "TNBC, Institut Curie (doi 10.5281/zenodo.1175282): triple-negative breast cancer of 11 "
        "patients, independent of TCGA.",
        tuple(_tnbc_case(found) for found in couples),
        (*twice, *again, *problems),
    )


def _within(folder: re.Pattern[str], path: Path) -> str | None:
    found = folder.fullmatch(path.parent.name)
    return f"{found[1]}/{path.stem}" if found else None


def _tnbc_case(found: Couple) -> Case:
    number = found.key.split("/")[0]
    files = (found.image, found.mask)
    name, patient, slide = found.image.stem, f"TNBC-{number}", f"Slide_{number}"
    return Case(name, "tnbc", files, patient, slide, 0.25, gaps=True)


def find_consep(tree: Tree) -> Layout | None:
    """Find ``train_N.png`` with ``train_N.mat``, whole or tiled, whatever their folders."""
    found = _with_mat(tree, lambda path: _stem(CONSEP, path))
    if found is None:
        return None
    couples, problems = found
    return Layout(
        "consep",
        "CC BY-NC-SA 4.0",
        "CoNSeP, University Hospitals Coventry: colon; sources disagree on the licence, the "
        "stricter one stands here. 41 images of 16 patients, nobody says whose. Part of Lizard.",
        tuple(_consep_case(couple_) for couple_ in couples),
        problems,
    )


def _consep_case(found: Couple) -> Case:
    match = CONSEP.fullmatch(found.image.stem)
    # Tiles of one image overlap: they must not fall apart into train and test
    whole = match[1] if match and match[2] else ""
    files = (found.image, found.mask)
    name = found.image.stem
    return Case(name, "consep", files, slide=whole, um_per_px=0.25, instances=True)


def find_lizard(tree: Tree) -> Layout | None:
    """Find ``glas_1.png`` and the like with ``glas_1.mat``, whatever their folders."""
    found = _with_mat(tree, lambda path: _stem(LIZARD, path))
    if found is None:
        return None
    couples, problems = found
    return Layout(
        "lizard",
        "CC BY-NC-SA 4.0",
        "Lizard: colon at 20x, for research; holds images of CoNSeP, PanNuke, GlaS, CRAG and "
        "DigestPath and is not independent of those.",
        tuple(_lizard_case(couple_) for couple_ in couples),
        problems,
    )


def _lizard_case(found: Couple) -> Case:
    files = (found.image, found.mask)
    tissue = found.key.split("_")[0]
    name = found.image.stem
    return Case(name, "lizard", files, um_per_px=0.5, instances=True, tissue=tissue)


def _stem(name: re.Pattern[str], path: Path) -> str | None:
    return path.stem.lower() if name.fullmatch(path.stem) else None


def _with_mat(
    tree: Tree, key_of: Callable[[Path], str | None]
) -> tuple[list[Couple], tuple[str, ...]] | None:
    """Pair images with MATLAB files of the same stem; None where there are no such files."""
    masks, again = by_key(tree, tree.having(".mat"), key_of)
    if not masks:
        return None
    # "Overlay" holds pictures of the marked nuclei, under the names of the images
    pictures = [path for path in tree.having(*IMAGES) if "overlay" not in path.parent.name.lower()]
    images, twice = by_key(tree, pictures, key_of)
    couples, problems = couple(tree, images, masks, "{}.mat")
    return couples, (*twice, *again, *problems)
