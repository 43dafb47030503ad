"""PanNuke: whole folds as NumPy arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.masks.case import Case, Layout, Read
from scope_sr.build_dataset.masks.tree import Tree, by_key, couple
from scope_sr.config import reason
from scope_sr.dataset.labels import consecutive
from scope_sr.errors import InputError
from scope_sr.pictures.files import DAMAGED, fault, whole

KINDS = 5  # channels of nuclei; the sixth is the background
KEPT_APART = {"images", "masks"}  # folders that part the arrays of one fold


def find_pannuke(tree: Tree) -> Layout | None:
    """Find ``images.npy`` with the ``masks.npy`` of its fold; each index is a case."""
    arrays = tree.having(".npy")
    images, _ = by_key(tree, arrays, lambda path: _fold(tree, path, "images.npy"))
    masks, _ = by_key(tree, arrays, lambda path: _fold(tree, path, "masks.npy"))
    types, _ = by_key(tree, arrays, lambda path: _fold(tree, path, "types.npy"))
    if not images and not masks:
        return None
    couples, problems = couple(tree, images, masks, "masks.npy")
    folds = [_fold_or_fault(*found, types.get(found.key)) for found in couples]
    cases = [case for fold in folds if not isinstance(fold, str) for case in fold]
    problems += [f"{fold}; left out" for fold in folds if isinstance(fold, str)]
    return Layout(
        "pannuke",
        "CC BY-NC-SA 4.0",
        "PanNuke: made with the help of networks and checked by people; mostly of TCGA slides, not "
        "independent of other sets made of them. Nobody says which patches share a patient.",
        tuple(cases),
        tuple(problems),
    )


def _fold(tree: Tree, path: Path, name: str) -> str | None:
    if path.name.lower() != name:
        return None
    parts = path.parent.relative_to(tree.folder).parts
    return "/".join(part for part in parts if part.lower() not in KEPT_APART).lower()


def _fold_or_fault(key: str, image: Path, mask: Path, types: Path | None) -> list[Case] | str:
    try:
        return _cases(key, image, mask, types)
    except InputError as error:
        return str(error)


def _cases(key: str, image: Path, mask: Path, types: Path | None) -> list[Case]:
    pictures, maps = _mapped(image), _mapped(mask)
    if pictures.ndim != 4 or pictures.shape[3] != 3:
        raise fault(image, f"shape {pictures.shape}; PanNuke's is (n, 256, 256, 3)")
    if maps.ndim != 4 or maps.shape[3] not in {KINDS, KINDS + 1}:
        raise fault(mask, f"shape {maps.shape}; PanNuke's is (n, 256, 256, 6)")
    if maps.shape[:3] != pictures.shape[:3]:
        text = f"{maps.shape[:3]} masks to {pictures.shape[:3]} images of {image.name}"
        raise fault(mask, f"{text}; take both from one fold")
    tissues = _tissues(types, len(pictures))
    fold = key.split("/")[-1] or "fold"
    return [
        Case(f"{fold}-{n:05d}", "pannuke", (image, mask), "", "", 0.25, n, True, tissues[n])
        for n in range(len(pictures))
    ]


def _tissues(path: Path | None, n: int) -> list[str]:
    """Read the organ of each patch; it is told, nothing depends on it."""
    try:
        names = [] if path is None else [str(name) for name in _mapped(path)]
    except InputError:
        names = []
    return names if len(names) == n else [""] * n


def _mapped(path: Path) -> NDArray[Any]:
    """Map an array into memory: those of a fold are gigabytes. Pickled ones are refused."""
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except DAMAGED as error:
        text = f"not a readable array ({reason(error)[:80]}); copy it again"
        raise fault(path, text) from error


def read_pannuke(case: Case) -> Read:
    """Read one patch; its nuclei are numbered through its channels, which each start anew.

    Raises
    ------
    InputError
        An array is damaged or not what PanNuke's are.
    """
    pictures, maps = (_mapped(path) for path in case.files[:2])
    if case.index is None or case.index >= min(len(pictures), len(maps)):
        raise fault(case.files[0], f"has no image {case.index}; it has changed, start again")
    image = _eight_bits(np.array(pictures[case.index]), case.files[0], case.index)
    kinds = np.array(maps[case.index])[:, :, :KINDS]
    numbers = np.zeros(image.shape[:2], np.uint64)
    for kind in np.moveaxis(kinds, 2, 0):
        ids = whole(kind, case.files[1]).astype(np.uint64)
        numbers = np.where(ids > 0, ids + numbers.max(), numbers)
    return Read(image, consecutive(numbers))


def _eight_bits(image: NDArray[Any], path: Path, index: int) -> NDArray[np.uint8]:
    """Turn 0 to 255, which PanNuke stores as floating point, into bytes."""
    if not np.isfinite(image).all() or image.min() < 0 or image.max() > 255:
        raise fault(path, f"image {index} leaves 0 to 255; take PanNuke's own arrays")
    if image.dtype.kind == "f" and 0 < image.max() <= 1:
        raise fault(path, f"image {index} runs from 0 to 1; take PanNuke's own arrays, 0 to 255")
    return np.asarray(np.rint(image), np.uint8)
