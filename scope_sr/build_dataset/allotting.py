"""Which split each image belongs to, where images were not taken side by side on one slide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from scope_sr.dataset import Header, Labelled, Pair, Split
from scope_sr.dataset.index import Level
from scope_sr.dataset.splits import assign, level_of
from scope_sr.errors import InputError

Image = TypeVar("Image", Pair, Labelled)


def allotted(
    items: Sequence[Image], before: Header | None
) -> tuple[list[Image], dict[str, Split], Level]:
    """Give what was accepted to the splits, by patient, slide or image; gives groups and level too.

    Rejected images take no split away from the others; what was decided `before` stays.

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
    groups = assign(list(keys.values()), before.groups if before else {})
    found = [
        replace(item, split=groups[keys[item.name]]) if item.name in keys else item
        for item in items
    ]
    return found, groups, level


def _key(item: Pair | Labelled, level: Level) -> str:
    """Say with what an image goes; where not everybody is known, those who are stay together."""
    if level == "patient":
        return item.patient
    if level == "slide":
        return item.slide
    return item.patient or item.slide or item.name.removeprefix(f"{item.source}/")
