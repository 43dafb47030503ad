"""One case read, whatever its layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.masks.case import Case, Read
from scope_sr.build_dataset.masks.matlab import read_mat
from scope_sr.build_dataset.masks.monuseg import read_monuseg
from scope_sr.build_dataset.masks.pannuke import read_pannuke
from scope_sr.build_dataset.masks.single_nuclei import read_dsb2018
from scope_sr.dataset.labels import consecutive, nuclei, refuse_classes
from scope_sr.pictures.files import fault, numbers, rgb


def read_case(case: Case) -> Read:
    """Read an image and its nuclei.

    Raises
    ------
    InputError
        A file is missing, damaged, empty, of another kind or size than it should be; in one line.
    """
    own: dict[str, Callable[[Case], Read]] = {
        "monuseg": read_monuseg,
        "pannuke": read_pannuke,
        "dsb2018": read_dsb2018,
    }
    return own.get(case.layout, _image_and_map)(case)


def _image_and_map(case: Case) -> Read:
    """Read an image, its label map or mask, and what is to be ignored, if anything."""
    image = rgb(case.files[0])
    path = case.files[1]
    matlab = path.suffix.lower() == ".mat"
    marked = read_mat(path) if matlab else numbers(path)
    _refuse_other_size(path, marked, image)
    if case.instances or matlab:
        return Read(image, consecutive(marked), _ignored(case, image))
    if case.layout == "plain":
        refuse_classes(marked, path)
    labels, instances = nuclei(marked, path)
    return Read(image, labels, _ignored(case, image), instances or case.gaps)


def _ignored(case: Case, image: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    if len(case.files) < 3:
        return None
    vague = numbers(case.files[2])
    _refuse_other_size(case.files[2], vague, image)
    return np.asarray((vague > 0) * 255, np.uint8) if vague.any() else None


def _refuse_other_size(path: Path, marked: NDArray[Any], image: NDArray[np.uint8]) -> None:
    if marked.shape != image.shape[:2]:
        height, width = marked.shape
        text = (
            f"{width} x {height} pixels, its image {image.shape[1]} x {image.shape[0]}; "
            "give a mask of the image's size"
        )
        raise fault(path, text)
