"""A dataset from high-magnification images alone: the low ones are made by a rig's optics."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.allotting import settled
from scope_sr.build_dataset.draft import Draft, put
from scope_sr.build_dataset.files import Found, fit_names, name_of
from scope_sr.build_dataset.measuring import thumb
from scope_sr.build_dataset.parallel import Workers
from scope_sr.build_dataset.people import Whose
from scope_sr.dataset import Header, Pair, Source
from scope_sr.dataset.cells import CELL_PX, pack, shape_of
from scope_sr.dataset.fields import to_tiff
from scope_sr.degradation import Optics, low_of
from scope_sr.errors import InputError
from scope_sr.imaging.shift import green
from scope_sr.pictures.files import images_in, picture
from scope_sr.software import this_version

Image = NDArray[np.uint8] | NDArray[np.uint16]

LEAST_PX = 32  # of a side of the low image


@dataclass(frozen=True, eq=False)
class ImageTask:
    """An image whose low counterpart is to be made."""

    name: str
    path: Path
    source: str
    optics: Optics
    out: Path
    whose: Whose


def plan_images(folder: Path) -> Found:
    """Find the images of a folder."""
    found = images_in(folder)
    return Found(fit_names(list(found)), tuple((path,) for path in found.values()))


def build_from_images(
    found: Found,
    optics: Optics,
    whose: Mapping[str, Whose],
    draft: Draft,
    licence: str,
    pool: Workers,
    tell: Any,
) -> tuple[Header, tuple[Pair, ...]]:
    """Make the low image of each image, and write both."""
    source = name_of(found.files[0][0].parent)
    tasks = [
        ImageTask(name, path, source, optics, draft.folder, whose[name])
        for name, (path,) in zip(found.names, found.files, strict=True)
    ]
    pairs = []
    for number, pair in enumerate(pool.each(make_pair, tasks), start=1):
        pairs.append(pair)
        tell("making low images", number, len(tasks))
    digest = hashlib.sha256(
        "".join(str(pair.facts.get("original_sha256")) for pair in pairs).encode()
    )
    header = Header(
        kind="pairs",
        name=draft.folder.absolute().name,
        scale=optics.scale,
        low_um_per_px=optics.high_um_per_px * optics.scale,
        bits=8,
        color=True,
        cell_px=CELL_PX,
        simulated=True,
        level="image",
        groups={},
        areas={},
        sources=(Source(source, "images", digest.hexdigest(), licence, optics.table()),),
        software=this_version(),
    )
    before = draft.known.header if draft.known else None
    return settled(draft.folder, header, pairs, before, whose.values())


def make_pair(task: ImageTask) -> Pair:
    """Compute the low image of one image, and write both; what cannot be used is rejected."""
    pair = Pair(
        name=f"{task.source}/{task.name}",
        source=task.source,
        low="",
        slide=task.whose.slide,
        patient=task.whose.patient,
        facts={"file": task.path.name},
    )
    try:
        data = task.path.read_bytes()
        image = picture(task.path)
        high = _fitting(image, task)
    except (InputError, OSError) as error:
        return replace(pair, reasons=(f"unreadable: {error}",))
    if thumb(green(high).astype(np.float32)) is None:
        return replace(pair, reasons=("tissue: nothing to see in it but glass",))
    sha256 = hashlib.sha256(data).hexdigest()
    low = low_of(high, task.optics, int(sha256[:15], 16))
    rows, columns = low.shape[:2]
    pixel_um = task.optics.high_um_per_px
    names, shas = [], []
    for side, one, um in (("low", low, pixel_um * task.optics.scale), ("high", high, pixel_um)):
        names.append(f"{side}/{task.source}/{task.name}.tif")
        shas.append(put(task.out, names[-1], to_tiff(one, um)))
    return replace(
        pair,
        low=names[0],
        high=names[1],
        low_sha256=shas[0],
        high_sha256=shas[1],
        box_px=(0, 0, columns, rows),
        cells=pack(np.ones(shape_of(columns, rows), bool)),
        facts={**pair.facts, "original_sha256": sha256},
    )


def _fitting(image: Image, task: ImageTask) -> NDArray[np.uint8]:
    """Cut an image to a multiple of the scale; grey and other bits are refused."""
    k = task.optics.scale
    if image.ndim != 3 or image.dtype != np.uint8:
        msg = f"{task.path.name}: not an RGB image of 8 bits; save it as one"
        raise InputError(msg)
    rows, columns = (n // k * k for n in image.shape[:2])
    if min(rows, columns) < LEAST_PX * k:
        msg = f"{task.path.name}: {image.shape[1]}x{image.shape[0]} px is too small at scale {k}"
        raise InputError(msg)
    return np.asarray(image[:rows, :columns])
