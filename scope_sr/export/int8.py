"""The pictures that the eight bits of an OpenVINO model are chosen by: those it will see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from scope_sr.dataset import Dataset, Pair, Split
from scope_sr.errors import InputError
from scope_sr.export.compare import Picture
from scope_sr.modelfile import Card
from scope_sr.pictures.files import rgb8

MOST_PICTURES = 32
MOST_PX = 256


def calibration_pictures(folder: str | Path, card: Card, split: Split) -> list[Picture]:
    """Take pictures of a split as the model will be given them: low ones, or images of nuclei.

    Raises
    ------
    InputError
        It is no dataset for such a model.
    """
    dataset = Dataset.open(folder)
    wanted = "pairs" if card.kind == "sr" else "nuclei"
    if dataset.header.kind != wanted:
        msg = (
            f"--data {folder}: a dataset of {dataset.header.kind}, but {card.name} is calibrated on"
            f" {wanted}; give another"
        )
        raise InputError(msg)
    items = dataset.of(split)
    chosen = np.linspace(0, len(items) - 1, min(MOST_PICTURES, len(items))).round().astype(int)
    pictures = []
    for number in chosen:
        item = items[number]
        image = dataset.images(item)[0] if isinstance(item, Pair) else dataset.mapped(item.image)
        pictures.append(rgb8(_middle(image), dataset.header.bits))
    return pictures


def _middle(image: Any) -> Any:
    top, left = (max(0, side - MOST_PX) // 2 for side in image.shape[:2])
    return image[top : top + MOST_PX, left : left + MOST_PX]
