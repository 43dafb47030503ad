"""Which split each image belongs to, where images were not taken side by side on one slide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from scope_sr.build_dataset.people import Whose, asked_splits
from scope_sr.dataset import Dataset, Header, Labelled, Pair, Split
from scope_sr.dataset.index import Level
from scope_sr.dataset.likeness import twins
from scope_sr.dataset.splits import assign, level_of
from scope_sr.errors import InputError

Image = TypeVar("Image", Pair, Labelled)


def settled(
    folder: Path,
    header: Header,
    items: Sequence[Image],
    before: Header | None,
    whose: Iterable[Whose] = (),
) -> tuple[Header, tuple[Image, ...]]:
    """Leave out what is there twice, give the rest to the splits, and say so in the header."""
    kept = without_twins(Dataset(folder, header, tuple(items)), items)
    found, groups, level = allotted(kept, before, whose)
    return replace(header, groups=groups, level=level), tuple(found)


def without_twins(dataset: Dataset, items: Sequence[Image]) -> list[Image]:
    """Keep the first of images that show the same: in two splits they would betray the answer.

    The same original is the same, however it was cut; else the pictures themselves are compared,
    as :func:`scope_sr.dataset.leaks.leaks` does afterwards.
    """
    alike = {**twins(dataset), **_same_originals(items)}
    return [_rejected(item, alike[item.name]) if item.name in alike else item for item in items]


def _same_originals(items: Sequence[Image]) -> dict[str, str]:
    first: dict[str, str] = {}
    found = {}
    for item in items:
        for key in ("low_original_sha256", "high_original_sha256", "original_sha256"):
            original = str(item.facts.get(key, ""))
            if item.accepted and original:
                known = first.setdefault(original, item.name)
                if known != item.name:
                    found[item.name] = known
    return found


def _rejected(item: Image, twin: str) -> Image:
    """Reject an item; without files of its own it has no checksums and no cells either."""
    empty = {"low": "", "high": "", "low_sha256": "", "high_sha256": "", "cells": ()}
    if isinstance(item, Labelled):
        empty = dict.fromkeys(("image", "labels", "ignore", "image_sha256", "labels_sha256"), "")
    changes: dict[str, Any] = {**empty, "reasons": (f"duplicate: it shows what {twin} shows",)}
    return replace(item, **changes)


def allotted(
    items: Sequence[Image], before: Header | None, whose: Iterable[Whose] = ()
) -> tuple[list[Image], dict[str, Split], Level]:
    """Give what was accepted to the splits, by patient, slide or image; gives groups and level too.

    Rejected images take no split away from the others; what was decided `before` stays, then comes
    what the user asked for.

    Raises
    ------
    InputError
        The dataset is split by patient or slide, and of an image nobody said whose it is.
    """
    level = level_of([item.patient for item in items], [item.slide for item in items])
    level = before.level if before else "image" if level == "area" else level
    keys = {item.name: _key(item, level) for item in items if item.accepted}
    for name, key in keys.items():
        if not key:
            msg = (
                f"the dataset is split by {level}: say of which {level} {name} is, with --patients"
            )
            raise InputError(msg)
    asked = asked_splits(whose, level)
    known = {**{key: asked[key] for key in keys.values() if key in asked}, **_groups(before)}
    groups = assign(list(keys.values()), known)
    found = [
        replace(item, split=groups[keys[item.name]]) if item.name in keys else item
        for item in items
    ]
    return found, groups, level


def _groups(before: Header | None) -> dict[str, Split]:
    return before.groups if before else {}


def _key(item: Pair | Labelled, level: Level) -> str:
    """Say with what an image goes; where not everybody is known, those who are stay together."""
    if level == "patient":
        return item.patient
    if level == "slide":
        return item.slide
    return item.patient or item.slide or item.name.removeprefix(f"{item.source}/")
