"""Layouts nobody published: ``images/`` with ``masks/``, or ``X.png`` beside ``X_mask.png``."""

from __future__ import annotations

import re
from pathlib import Path

from scope_sr.build_dataset.masks.case import Case, Layout
from scope_sr.build_dataset.masks.tree import IMAGES, Couple, Tree, by_key, couple
from scope_sr.build_dataset.people import patient_and_slide
from scope_sr.pictures.files import natural

PICTURES = "images"
# The more a folder's name promises, the earlier it stands: numbered nuclei before masks
MASKS = ("instances", "labels", "label", "masks", "mask", "annotations", "gt")
MARKED = {*IMAGES, ".mat"}
ENDING = re.compile(r"_(masks?|labels?|instances|annotation|gt|seg)$", re.IGNORECASE)

Side = dict[str, list[Path]]  # the files of folders side by side, by the folder's name


def find_plain(tree: Tree) -> Layout | None:
    """Find images beside their masks: in folders side by side, or in one folder by their ending."""
    homes = _homes(tree)
    found = [_side_by_side(tree, home, homes[home]) for home in homes] or [_one_folder(tree)]
    couples = [pair for couples, _ in found for pair in couples]
    problems = tuple(line for _, lines in found for line in lines)
    if not couples and not problems:
        return None
    return Layout("plain", "", "", tuple(_case(tree, pair) for pair in couples), problems)


def _homes(tree: Tree) -> dict[Path, Side]:
    """Find the folders that hold a folder ``images``, those nearest to the top only.

    Their files are given by the folder they lie in, however deep.
    """
    homes: dict[Path, Side] = {}
    for path in tree.having(*MARKED):
        parts = path.relative_to(tree.folder).parts[:-1]
        for deep, part in enumerate(parts):
            if part.lower() in {PICTURES, *MASKS}:
                home = tree.folder.joinpath(*parts[:deep])
                homes.setdefault(home, {}).setdefault(part.lower(), []).append(path)
                break
    with_pictures = [home for home in homes if PICTURES in homes[home]]
    nearest = min((len(home.parts) for home in with_pictures), default=0)
    wanted = [home for home in with_pictures if len(home.parts) == nearest]
    return {home: homes[home] for home in sorted(wanted, key=natural)}


def _side_by_side(tree: Tree, home: Path, side: Side) -> tuple[list[Couple], list[str]]:
    """Pair ``images/`` with the folder beside it in which most of them have a mask."""
    pictures = [path for path in side[PICTURES] if path.suffix.lower() in IMAGES]
    images, twice = by_key(tree, pictures, lambda path: _stem(home, path))
    tried = []
    for name in (name for name in MASKS if name in side):
        masks, again = by_key(tree, side[name], lambda path: ENDING.sub("", _stem(home, path)))
        couples, problems = couple(tree, images, masks, f"{name}/{{}}")
        tried.append((name, couples, [*again, *problems]))
    if not tried:
        known = ", ".join(f"{name}/" for name in MASKS)
        return [], [f"{tree.relative(home / PICTURES)}: none of {known} beside it; left out"]
    best = max(tried, key=lambda item: len(item[1]))
    others = [
        f"{tree.relative(home / name)}: not read, {best[0]} is; move that away to choose"
        for name, *_ in tried
        if name != best[0]
    ]
    return best[1], [*twice, *best[2], *others]


def _stem(home: Path, path: Path) -> str:
    """Give the place of a file within the folder of `home` that it lies in, without its ending."""
    return "/".join(path.relative_to(home).with_suffix("").parts[1:])


def _one_folder(tree: Tree) -> tuple[list[Couple], list[str]]:
    """Pair ``X.png`` with ``X_mask.png`` of the same folder."""
    marked = {path for path in tree.having(*MARKED) if ENDING.search(path.stem)}
    masks, again = by_key(
        tree, sorted(marked, key=natural), lambda path: ENDING.sub("", str(path.with_suffix("")))
    )
    others = [path for path in tree.having(*IMAGES) if path not in marked]
    images, twice = by_key(tree, others, lambda path: str(path.with_suffix("")))
    if not images.keys() & masks.keys():
        return [], []
    couples, problems = couple(tree, images, masks, "X_mask.png beside X.png")
    return couples, [*twice, *again, *problems]


def _case(tree: Tree, found: Couple) -> Case:
    patient, slide = patient_and_slide(tree.relative(found.image))
    return Case(found.image.stem, "plain", (found.image, found.mask), patient, slide)
