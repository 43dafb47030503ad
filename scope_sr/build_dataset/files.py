"""Image files of the user's: found, named, read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scope_sr.config import reason
from scope_sr.errors import InputError

ENDINGS = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")


@dataclass(frozen=True)
class Found:
    """Images that were found, and what was not used.

    Attributes
    ----------
    names
        Of the images, fit to be names of files on every system.
    files
        For each name its file, or its files.
    problems
        One line for each file that was left out.
    """

    names: tuple[str, ...]
    files: tuple[tuple[Path, ...], ...]
    problems: tuple[str, ...] = ()


def images_in(folder: Path) -> dict[str, Path]:
    """Find the images in a folder by their names without ending, in the order of their names.

    Raises
    ------
    InputError
        There is no such folder, no image in it, or two of one name.
    """
    try:
        paths = sorted(
            (path for path in folder.iterdir() if path.suffix.lower() in ENDINGS), key=_in_order
        )
    except OSError as error:
        msg = f"{folder}: {reason(error)}; name a folder of images"
        raise InputError(msg) from error
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            msg = f"{folder}: {path.name} and {found[path.stem].name} have one name; remove one"
            raise InputError(msg)
        found[path.stem] = path
    if not found:
        msg = f"{folder}: no image there ({', '.join(ENDINGS)}); name a folder of images"
        raise InputError(msg)
    return found


def fit_names(names: Sequence[str]) -> tuple[str, ...]:
    """Make names fit to be names of files on every system, and keep them apart.

    >>> fit_names(["tile 1", "tile_1", "größe"])
    ('tile_1', 'tile_1-2', 'gr__e')
    """
    taken: set[str] = set()
    found = []
    for name in names:
        fit = re.sub(r"[^A-Za-z0-9._+-]", "_", name).strip(".") or "image"
        number = 2
        unique = fit
        while unique.lower() in taken:
            unique, number = f"{fit}-{number}", number + 1
        taken.add(unique.lower())
        found.append(unique)
    return tuple(found)


def _in_order(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Sort tile-9 before tile-10."""
    parts = re.split(r"(\d+)", path.stem)
    return [(int(p), "") if p.isdigit() else (0, p) for p in parts], path.name
