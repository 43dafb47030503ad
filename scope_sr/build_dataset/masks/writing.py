"""One case into the dataset; runs in a worker process."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.masks.case import Case, Read
from scope_sr.build_dataset.masks.reading import read_case
from scope_sr.dataset import Labelled
from scope_sr.dataset.fields import to_tiff
from scope_sr.disk import make_folders, store
from scope_sr.errors import InputError


def write_case(case: Case, folder: Path, source: str) -> Labelled:
    """Read a case and store it in the folder of a dataset.

    Parameters
    ----------
    folder
        Of the dataset.
    source
        Name of the source within the dataset, fit for a folder's name.

    Returns
    -------
    Labelled
        Without its split. What cannot be read comes back with the reason.

    Raises
    ------
    OSError
        The system refused to write: the disk is full, or a right is missing.
    """
    try:
        read = read_case(case)
    except InputError as error:
        return _labelled(case, source, reasons=(str(error),), facts=_origin(case))
    image, image_sha256 = _put(folder, f"image/{source}/{case.name}.tif", read.image, case)
    labels, labels_sha256 = _put(folder, f"labels/{source}/{case.name}.tif", read.labels, case)
    ignore, facts = "", _facts(case, read)
    if read.ignore is not None:
        place = f"ignore/{source}/{case.name}.tif"
        ignore, facts["ignore_sha256"] = _put(folder, place, read.ignore, case)
    return _labelled(
        case,
        source,
        image=image,
        labels=labels,
        ignore=ignore,
        nuclei=int(read.labels.max()) if read.instances else None,
        image_sha256=image_sha256,
        labels_sha256=labels_sha256,
        facts=facts,
    )


def _labelled(case: Case, source: str, **found: Any) -> Labelled:
    return Labelled(
        f"{source}/{case.name}",
        source,
        slide=case.slide,
        patient=case.patient,
        um_per_px=case.um_per_px,
        **found,
    )


def _put(folder: Path, name: str, pixels: NDArray[Any], case: Case) -> tuple[str, str]:
    """Store an image and give its name and the SHA-256 of its bytes."""
    data = to_tiff(pixels, case.um_per_px)
    path = folder / name
    make_folders([path.parent])
    store(path, data)
    return name, hashlib.sha256(data).hexdigest()


def _origin(case: Case) -> dict[str, str | float]:
    facts: dict[str, str | float] = {"layout": case.layout, "original": case.files[0].name}
    if len(case.files) > 1 and case.layout != "dsb2018":
        facts["original_labels"] = case.files[1].name
    if case.index is not None:
        facts["index"] = float(case.index)
    if case.tissue:
        facts["tissue"] = case.tissue
    return facts


def _facts(case: Case, read: Read) -> dict[str, str | float]:
    """Note where a case comes from and what is odd about it."""
    height, width = read.labels.shape
    facts = {**_origin(case), "width_px": float(width), "height_px": float(height)}
    facts["nuclei_share"] = round(float(np.count_nonzero(read.labels)) / read.labels.size, 6)
    if not read.labels.any():
        facts["empty"] = "no nucleus is marked"
    if np.array_equal(read.image[:, :, 0], read.image[:, :, 1]) and np.array_equal(
        read.image[:, :, 0], read.image[:, :, 2]
    ):
        facts["colour"] = "none"
    return {**facts, **read.facts}
