"""Image files of the user's, and names for what is made of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

UNFIT = re.compile(r"[^A-Za-z0-9._+-]+")
# Windows gives these names to devices, whatever their ending.
DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)),
}
LONGEST_NAME = 120


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

    @property
    def titles(self) -> tuple[str, ...]:
        """The names as the user knows them."""
        return tuple(files[0].stem for files in self.files)


def fit_names(names: Sequence[str]) -> tuple[str, ...]:
    """Make names fit to be names of files on every system, and keep them apart.

    >>> fit_names(["tile 1", "tile_1", "größe"])
    ('tile_1', 'tile_1+2', 'gr_e')
    """
    taken: set[str] = set()
    found = []
    for name in names:
        found.append(untaken(fit(name), taken))
        taken.add(found[-1].lower())
    return tuple(found)


def name_of(folder: Path) -> str:
    """Name a source by its folder."""
    return fit(folder.absolute().name)


def fit(name: str) -> str:
    """Make a name fit to be the name of a file on every system."""
    # A leading dot would hide the file, a trailing one Windows takes away.
    text = UNFIT.sub("_", name).strip(".")[:LONGEST_NAME].rstrip(".") or "_"
    return f"_{text}" if text.split(".")[0].lower() in DEVICES else text


def untaken(name: str, taken: set[str]) -> str:
    """Put a number behind a name that is taken, letter case aside."""
    number, found = 2, name
    while found.lower() in taken:
        found, number = f"{name}+{number}", number + 1
    return found
