"""Image files of the user's: found, named, read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scope_sr.config import reason
from scope_sr.errors import InputError

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
WIDEST_NUMBER = 20
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

    @property
    def titles(self) -> tuple[str, ...]:
        """The names as the user knows them."""
        return tuple(files[0].stem for files in self.files)


def images_in(folder: Path) -> dict[str, Path]:
    """Find the images in a folder by their names without ending, in the order of their names.

    Raises
    ------
    InputError
        There is no such folder, no image in it, or two of one name.
    """
    try:
        # macOS leaves a hidden ._image.png beside each image on drives of other systems
        images = [
            path
            for path in folder.iterdir()
            if path.suffix.lower() in ENDINGS and not path.name.startswith(".")
        ]
    except OSError as error:
        msg = f"{folder}: {reason(error)}; name a folder of images"
        raise InputError(msg) from error
    found: dict[str, Path] = {}
    for path in sorted(images, key=lambda image: natural(image.stem)):
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


def natural(name: str | Path) -> tuple[str, str]:
    """Give a key that sorts numbers within names by their value.

    >>> sorted(["10_crop", "9_crop", "a2"], key=natural)
    ['9_crop', '10_crop', 'a2']
    """
    text = name.as_posix() if isinstance(name, Path) else name
    return re.sub(r"\d+", lambda found: found[0].zfill(WIDEST_NUMBER), text.lower()), text


def fault(path: Path, text: str) -> InputError:
    """Say in one line which file cannot be used, why, and the way out."""
    return InputError(" ".join(f"{path}: {text}".split()))
