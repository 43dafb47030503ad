"""Fields of a dataset: pairs, or images with nuclei marked in them."""

from __future__ import annotations

import hashlib
from typing import Any

from scope_sr.config import load_rig
from scope_sr.dataset import Dataset, Labelled, Pair, Split
from scope_sr.dataset.cells import CELL_PX
from scope_sr.dataset.folder import INDEX
from scope_sr.dataset.index import Item
from scope_sr.degradation import Optics, optics_of
from scope_sr.errors import InputError
from scope_sr.evaluate.asked import Asked
from scope_sr.evaluate.material import (
    LEAST_HIGH_PX,
    LEAST_LOW_PX,
    Entry,
    Field,
    Lowering,
    Material,
    largest_rectangle,
)
from scope_sr.modelfile import Card
from scope_sr.pictures.files import rgb8

WHOLE = "a field is a whole image"
USABLE = "a field is the largest rectangle of usable cells of a pair"
Box = tuple[int, int, int, int]  # x, y, width, height in low pixels


def lowering_of(asked: Asked, scale: int, high_um_per_px: float | None) -> Lowering:
    """Give what makes low images as asked: bicubic, else a rig's optics before such pixels."""
    if asked.degrade == "bicubic":
        return Lowering(scale)
    optics = optics_of(load_rig(asked.rig or "simulated"), scale)
    if high_um_per_px:
        table = {**optics.table(), "high_um_per_px": high_um_per_px}
        optics = Optics.from_table(table)
    return Lowering(scale, optics)


def of_dataset(asked: Asked, card: Card) -> Material:
    """Take the fields of a dataset's split.

    Raises
    ------
    InputError
        The dataset does not go with the model or with what was asked, or its split is empty.
    """
    dataset = Dataset.open(asked.data or "")
    split: Split = asked.split or "test"
    if not dataset.of(split):
        others = [name for name in ("train", "val", "test") if dataset.of(name)]
        way = f"--split {others[-1]} has images" if others else "it holds nothing at all"
        msg = f"{dataset.folder}: split {split} is empty, so there is nothing to judge on; {way}"
        raise InputError(msg)
    if dataset.header.kind == "nuclei":
        return _of_nuclei(dataset, split, asked, card)
    return _of_pairs(dataset, split, asked, card)


def _of_nuclei(dataset: Dataset, split: Split, asked: Asked, card: Card) -> Material:
    items = {item.name: item for item in dataset.of(split) if isinstance(item, Labelled)}
    entries = [
        Entry(name, item.patient, item.slide, item.um_per_px) for name, item in items.items()
    ]
    lowering = None
    if card.kind == "sr":
        known = [entry.um_per_px for entry in entries if entry.um_per_px]
        lowering = lowering_of(asked, card.scale, known[0] if known else None)

    def load(entry: Entry) -> Field:
        item = items[entry.name]
        image, labels = dataset.labelled(item)
        k = lowering.scale if lowering else 1
        rows, columns = (n // k * k for n in image.shape[:2])
        high = rgb8(image[:rows, :columns], dataset.header.bits)
        return Field(
            high,
            item.image_sha256,
            low=lowering.low(high, item.image_sha256) if lowering else None,
            lower=lowering.quiet if lowering else None,
            labels=labels[:rows, :columns],
            ignore=dataset.mapped(item.ignore)[:rows, :columns] if item.ignore else None,
            told_apart=item.nuclei is not None,
        )

    small = {
        name for name, item in items.items()
        if min(dataset.mapped(item.image).shape[:2]) < LEAST_HIGH_PX * card.scale
    }  # fmt: skip
    return Material(
        entries=tuple(entry for entry in entries if entry.name not in small),
        load=load,
        made=str(lowering or ""),
        lowered=lowering.without_noise if lowering else "",
        cut=WHOLE + _cut_to(card.scale),
        masks=True,
        left_out=tuple(sorted(small)),
        **_about(dataset, split),
    )


def _of_pairs(dataset: Dataset, split: Split, asked: Asked, card: Card) -> Material:
    header = dataset.header
    _refuse_pairs(dataset, asked, card)
    items = {item.name: item for item in dataset.of(split) if isinstance(item, Pair)}
    boxes = {name: _box(dataset, pair) for name, pair in items.items()}
    anew = lowering_of(asked, header.scale, header.high_um_per_px) if asked.lowers else None
    own = {source.name: _own(source.facts, header.scale) for source in header.sources}

    def load(entry: Entry) -> Field:
        pair = items[entry.name]
        low, high = (rgb8(image, header.bits) for image in _cut(dataset, pair, boxes[entry.name]))
        lowering = anew or own[pair.source]
        if anew:
            low = anew.low(high, pair.high_sha256)
        return Field(high, pair.high_sha256, low, lowering.quiet)

    small = {name for name, box in boxes.items() if min(box[2:]) < LEAST_LOW_PX}
    used = {anew or own[pair.source] for pair in items.values()}
    captured = not (header.simulated or anew)
    return Material(
        entries=tuple(
            Entry(name, pair.patient, pair.slide, header.high_um_per_px)
            for name, pair in items.items()
            if name not in small
        ),
        load=load,
        made="captured" if captured else "; ".join(sorted(map(str, used))),
        lowered=", ".join(sorted(one.without_noise for one in used)),
        cut=USABLE,
        captured=captured,
        left_out=tuple(sorted(small)),
        **_about(dataset, split),
    )


def _refuse_pairs(dataset: Dataset, asked: Asked, card: Card) -> None:
    scale = dataset.header.scale
    if card.kind == "nuclei":
        msg = f"{dataset.folder}: pairs, in which no nuclei are marked; give images with masks"
        raise InputError(msg)
    if asked.nuclei:
        msg = f"--nuclei: no nuclei are marked in the pairs of {dataset.folder}; leave it out"
        raise InputError(msg)
    if scale != card.scale:
        msg = (
            f"{asked.model} enlarges {card.scale} times, {dataset.folder} holds pairs of scale"
            f" {scale}; take a model or a dataset of the other scale"
        )
        raise InputError(msg)


def _own(facts: dict[str, Any], scale: int) -> Lowering:
    """Give what made the low images of a source; captured ones are compared by bicubic."""
    try:
        return Lowering(scale, Optics.from_table(facts))
    except ValueError:
        return Lowering(scale)


def _box(dataset: Dataset, pair: Pair) -> Box:
    """Choose the part of a pair to judge on, in low pixels of its box."""
    usable = dataset.usable(pair)
    if usable.all():
        return 0, 0, pair.box_px[2], pair.box_px[3]
    row, column, rows, columns = (CELL_PX * n for n in largest_rectangle(usable))
    return column, row, columns, rows


def _cut(dataset: Dataset, pair: Pair, box: Box) -> tuple[Any, Any]:
    x, y, width, height = box
    k = dataset.header.scale
    low, high = dataset.images(pair)
    return (
        low[y : y + height, x : x + width],
        high[k * y : k * (y + height), k * x : k * (x + width)],
    )


def _cut_to(scale: int) -> str:
    return f", cut to a multiple of {scale} px" if scale > 1 else ""


def _about(dataset: Dataset, split: Split) -> dict[str, Any]:
    """Say which dataset it is."""
    sha256 = hashlib.sha256((dataset.folder / INDEX).read_bytes()).hexdigest()
    header = dataset.header
    items: tuple[Item, ...] = dataset.of(split)
    return {
        "what": f"dataset {header.name}, split {split} (split by {header.level})",
        "facts": {
            "dataset": header.name,
            "index_sha256": sha256,
            "split": split,
            "level": header.level,
            "patients": sorted({item.patient for item in items if item.patient}),
            "slides": sorted({item.slide for item in items if item.slide}),
        },
        "sha256": sha256,
        "split": split,
        "level": header.level,
    }
