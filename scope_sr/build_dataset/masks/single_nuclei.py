"""DSB 2018 (BBBC038): a folder per image, and in it one mask per nucleus."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scope_sr.build_dataset.masks.case import Case, Layout, Read
from scope_sr.build_dataset.masks.tree import IMAGES, Tree
from scope_sr.dataset.labels import consecutive
from scope_sr.pictures.files import fault, natural, numbers, rgb


def find_dsb2018(tree: Tree) -> Layout | None:
    """Find ``<id>/images/<id>.png`` with ``<id>/masks/*.png``."""
    pictures = tree.having(*IMAGES)
    images = {path.parent.parent: path for path in pictures if _is_image(path)}
    if not images:
        return None
    masks: dict[Path, list[Path]] = {home: [] for home in images}
    for path in pictures:
        if path.parent.name == "masks" and path.parent.parent in masks:
            masks[path.parent.parent].append(path)
    homes = sorted(images, key=natural)
    return Layout(
        "dsb2018",
        "CC0",
        "Data Science Bowl 2018 (BBBC038): of many kinds, most of it fluorescence, grey on black; "
        "only part of the rest is H&E. Nuclei out of focus are sometimes not marked.",
        tuple(
            Case(home.name, "dsb2018", (images[home], *masks[home]), instances=True)
            for home in homes
            if masks[home]
        ),
        tuple(
            f"{tree.relative(images[home])}: no masks/*.png beside its folder; left out"
            for home in homes
            if not masks[home]
        ),
    )


def _is_image(path: Path) -> bool:
    return path.parent.name == "images" and path.parent.parent.name == path.stem


def read_dsb2018(case: Case) -> Read:
    """Read an image and number its nuclei in the order of their files.

    Where two claim a pixel, the first has it; as published none do.

    Raises
    ------
    InputError
        A file is damaged, or a mask of another size than the image.
    """
    image = rgb(case.files[0])
    found = np.zeros(image.shape[:2], np.uint32)
    shared = 0
    for number, path in enumerate(case.files[1:], 1):
        nucleus = numbers(path) > 0
        if nucleus.shape != found.shape:
            text = f"{nucleus.shape} pixels, its image {found.shape}; give masks of its size"
            raise fault(path, text)
        shared += int(np.count_nonzero(found[nucleus]))
        found[nucleus & (found == 0)] = number
    labels = consecutive(found)
    empty = len(case.files) - 1 - int(labels.max())
    facts = {"pixels_claimed_twice": shared, "masks_without_pixels": empty}
    return Read(image, labels, facts={key: float(n) for key, n in facts.items() if n})
