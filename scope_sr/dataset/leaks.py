"""Proof that what judges was never learned from: no patient, no tissue, no picture in two splits.

Tissue is compared where places are known, square by square in µm. Pictures are compared by what
they show, for copies under another name: whole images, at no shift, turned and mirrored too. What
neither sees is the same tissue captured anew in another frame of the stage, or part of an image
whose place nobody knows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, combinations

import numpy as np

from scope_sr.dataset.folder import Dataset
from scope_sr.dataset.index import SPLITS, Item, Labelled, Level, Pair
from scope_sr.dataset.likeness import look_alikes
from scope_sr.dataset.overlap import overlaps
from scope_sr.errors import InputError

MOST = 100  # pairs of items named; who has more needs another dataset, not a longer list


def leaks(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> tuple[str, ...]:
    """Find what stands in two splits at once.

    Parameters
    ----------
    progress
        Told (steps done, of how many).

    Returns
    -------
    One line for each patient, slide and two items: who, what they share, the way out. Files that
    cannot be read are passed over; :func:`scope_sr.dataset.verify.verify` names them.
    """
    kept = [item for item in dataset.items if item.accepted and item.split]
    items = [item for item in kept if _readable(dataset, item)]
    done, total = 0, 2 * len(items)

    def step() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, total)

    shared: dict[tuple[str, str], set[str]] = defaultdict(set)
    sought = chain(
        _same_bytes(items), overlaps(dataset, items, step), look_alikes(dataset, items, step)
    )
    for one, other, what in sought:
        names = sorted((one, other), key=lambda item: SPLITS.index(item.split or "train"))
        shared[names[0].name, names[1].name].add(what)
        if len(shared) > MOST:
            break
    return (*_groups(dataset.header.level, kept), *_lines(dataset.header.level, items, shared))


def _readable(dataset: Dataset, item: Item) -> bool:
    try:
        if isinstance(item, Labelled):
            dataset.mapped(item.image)
            return True
        dataset.images(item)
        dataset.usable(item)
    except InputError:
        return False
    return item.place is None or bool(np.linalg.det(item.place.affine_um_per_px))


def _groups(level: Level, items: Iterable[Item]) -> Iterator[str]:
    """Name patients and slides that stand in two splits though the dataset is split by them."""
    kinds = {"patient": ("patient", "slide"), "slide": ("slide",)}.get(level, ())
    for kind in kinds:
        members: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for item in items:
            members[getattr(item, kind)][item.split].append(item.name)
        for group, splits in sorted(members.items()):
            for one, other in combinations([s for s in SPLITS if group and s in splits], 2):
                yield (
                    f"{kind} {group} is in two splits: {_named(splits[one], one)} and"
                    f" {_named(splits[other], other)}; build the dataset again"
                )


def _named(names: list[str], split: str) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more} ({split})"


def _same_bytes(items: Iterable[Item]) -> Iterator[tuple[Item, Item, str]]:
    """Yield items whose images are one file under two names."""
    first: dict[str, dict[str, Item]] = defaultdict(dict)
    for item in items:
        sha256 = item.high_sha256 if isinstance(item, Pair) else item.image_sha256
        if sha256:
            for other in first[sha256].values():
                if other.split != item.split:
                    yield other, item, "an image, byte for byte"
            first[sha256].setdefault(item.split, item)


def _lines(
    level: Level, items: Iterable[Item], shared: dict[tuple[str, str], set[str]]
) -> Iterator[str]:
    known = {item.name: item for item in items}
    for names, what in list(shared.items())[:MOST]:
        one, other = (known[name] for name in names)
        way = "build the dataset again"
        if level != "area" or one.slide != other.slide:  # it would not know better next time
            way = f"give both the same patient or slide and {way}, or take one out of its source"
        yield (
            f"{one.name} ({one.split}) and {other.name} ({other.split}) share"
            f" {', '.join(sorted(what))}; {way}"
        )
    if len(shared) > MOST:
        yield f"more than {MOST} items share something with another split; no more were sought"
