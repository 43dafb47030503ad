"""Fields of plain folders: true images alone, with low ones, or with masks of nuclei."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.dataset.labels import nuclei, refuse_classes
from scope_sr.errors import InputError
from scope_sr.evaluate.asked import Asked
from scope_sr.evaluate.datasets import WHOLE, lowering_of
from scope_sr.evaluate.material import (
    LEAST_HIGH_PX,
    LEAST_LOW_PX,
    Entry,
    Field,
    Lowering,
    Material,
)
from scope_sr.modelfile import Card
from scope_sr.pictures.files import fault, images_in, numbers, rgb


def of_folders(asked: Asked, card: Card) -> Material:
    """Take the images of folders; files of one name, whatever its ending, belong together.

    Raises
    ------
    InputError
        A folder holds no images, or a file has no counterpart.
    """
    home = asked.hr or asked.images or Path()
    truth = images_in(home)
    masks = _beside(truth, home, asked.labels) if asked.labels else {}
    if asked.lr:
        lows, lowering = _beside(truth, home, asked.lr), Lowering(card.scale)
    else:
        lows, lowering = {}, lowering_of(asked, card.scale, None)

    def load(entry: Entry) -> Field:
        path = truth[entry.name]
        high = rgb(path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        labels, told_apart = _labels(masks[entry.name], high) if masks else (None, True)
        if card.kind == "nuclei":
            _refuse_small(path, high, LEAST_HIGH_PX)
            return Field(high, sha256, labels=labels, told_apart=told_apart)
        if lows:
            low = rgb(lows[entry.name])
            _refuse_other_ratio(path, high, lows[entry.name], low, card.scale)
        else:
            rows, columns = (n // card.scale * card.scale for n in high.shape[:2])
            _refuse_small(path, high, LEAST_LOW_PX * card.scale)
            high = np.ascontiguousarray(high[:rows, :columns])
            low = lowering.low(high, sha256)
        labels = None if labels is None else labels[: high.shape[0], : high.shape[1]]
        return Field(high, sha256, low, lowering.quiet, labels, None, told_apart)

    # what the optics took for the pixels of the images; files do not say
    high_um = lowering.optics.high_um_per_px if lowering.optics and card.kind == "sr" else None
    made = "of the user's, taken for registered" if asked.lr else str(lowering)
    sr = card.kind == "sr"
    return Material(
        what=f"the images in {home.name or home}",
        facts={
            key: str(folder)
            for key, folder in (
                ("hr", asked.hr), ("lr", asked.lr), ("images", asked.images),
                ("labels", asked.labels),
            )
            if folder
        },
        entries=tuple(Entry(name, um_per_px=high_um) for name in truth),
        load=load,
        made=made if sr else "",
        lowered=lowering.without_noise if sr else "",
        cut=WHOLE + (f", cut to a multiple of {card.scale} px" if sr and not asked.lr else ""),
        captured=bool(asked.lr),
        masks=bool(asked.labels),
    )  # fmt: skip


def _beside(truth: dict[str, Path], home: Path, folder: Path) -> dict[str, Path]:
    """Find the counterparts of images in another folder; all must have one, and no others be."""
    found = images_in(folder)
    alone = [name for name in truth if name not in found]
    spare = [name for name in found if name not in truth]
    if alone or spare:
        name, has, lacks = (alone[0], home, folder) if alone else (spare[0], folder, home)
        more = len(alone) + len(spare) - 1
        also = f" (and {more} more)" if more else ""
        msg = f"{lacks}: no {name} as there is in {has}{also}; give both the same file names"
        raise InputError(msg)
    return found


def _labels(path: Path, image: NDArray[np.uint8]) -> tuple[NDArray[Any], bool]:
    """Read a label map or a mask; also tell whether it tells touching nuclei apart."""
    marked = numbers(path)
    if marked.shape != image.shape[:2]:
        sizes = (f"{one.shape[1]} x {one.shape[0]}" for one in (marked, image))
        raise fault(path, "{} pixels, its image {}; give a mask of its size".format(*sizes))
    refuse_classes(marked, path)
    return nuclei(marked, path)


def _refuse_small(path: Path, image: NDArray[np.uint8], least_px: int) -> None:
    rows, columns = image.shape[:2]
    if min(rows, columns) < least_px:
        raise fault(path, f"{columns} x {rows} px is too small; {least_px} px each way are needed")


def _refuse_other_ratio(
    path: Path, high: NDArray[np.uint8], low_path: Path, low: NDArray[np.uint8], scale: int
) -> None:
    if high.shape[:2] != (scale * low.shape[0], scale * low.shape[1]):
        sizes = (low.shape[1], low.shape[0], high.shape[1], high.shape[0], scale)
        text = "{} x {} px, but {} x {} in {}: not {} times as large; register and cut them first"
        raise fault(low_path, text.format(*sizes[:4], path, sizes[4]))
    _refuse_small(low_path, low, LEAST_LOW_PX)
