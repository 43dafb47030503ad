"""The files of a folder, and which of them belong together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from scope_sr.config import reason
from scope_sr.pictures.files import fault, natural

IMAGES = {".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp"}
DEEPEST = 7  # folders below the one given; PanNuke as published lies four deep
LITTER = {"thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class Tree:
    """Every file below a folder, in natural order; what systems leave about is not among them."""

    folder: Path
    files: tuple[Path, ...]

    def having(self, *suffixes: str) -> tuple[Path, ...]:
        """Give the files with one of some endings, in small letters with their dot."""
        return tuple(path for path in self.files if path.suffix.lower() in suffixes)

    def relative(self, path: Path) -> str:
        """Name a file as seen from the folder."""
        return path.relative_to(self.folder).as_posix()


class Couple(NamedTuple):
    """An image and the file that marks its nuclei; `key` is what they have in common."""

    key: str
    image: Path
    mask: Path


def read_tree(folder: Path) -> Tree:
    """List the files below a folder.

    Raises
    ------
    InputError
        There is no such folder, it may not be read, or it holds no file.
    """
    folder = folder.absolute()
    if not folder.is_dir():
        text = "is a file; unpack it and give the folder" if folder.exists() else "no such folder"
        raise fault(folder, f"{text}; --masks wants a folder of images with nuclei masks")
    try:
        files = sorted(_walk(folder), key=natural)
    except OSError as error:
        raise fault(folder, f"cannot be read ({reason(error)}); check its rights") from error
    if not files:
        raise fault(folder, "holds no file; give a folder of images with nuclei masks")
    return Tree(folder, tuple(files))


def _walk(folder: Path) -> Iterable[Path]:
    """Walk into links too, people link large data, but into no folder twice."""
    seen = {folder.resolve()}
    for here, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        place = Path(here)
        deep = len(place.relative_to(folder).parts) >= DEEPEST
        folders[:] = [] if deep else [name for name in sorted(folders) if _new(place / name, seen)]
        yield from (place / name for name in names if _wanted(name))


def _raise(error: OSError) -> None:
    raise error


def _wanted(name: str) -> bool:
    return not name.startswith((".", "__MACOSX")) and name.lower() not in LITTER


def _new(folder: Path, seen: set[Path]) -> bool:
    real = folder.resolve()
    if real in seen or not _wanted(folder.name):
        return False
    seen.add(real)
    return True


def by_key(
    tree: Tree, paths: Iterable[Path], key_of: Callable[[Path], str | None]
) -> tuple[dict[str, Path], list[str]]:
    """Give files by what tells them apart; of several with one key the first, the others told.

    Returns
    -------
    found, problems
        Files whose key is None are in neither.
    """
    found: dict[str, Path] = {}
    problems = []
    for path in paths:
        key = key_of(path)
        if key is None:
            continue
        if key in found:
            first = tree.relative(found[key])
            problems.append(f"{tree.relative(path)}: of the same name as {first}; left out")
        else:
            found[key] = path
    return found, problems


def couple(
    tree: Tree, images: Mapping[str, Path], masks: Mapping[str, Path], mask_name: str
) -> tuple[list[Couple], list[str]]:
    """Join images and masks of one key; whoever stands alone is told.

    Parameters
    ----------
    mask_name
        How the mask of an image is called, with ``{}`` for the key.
    """
    couples = [
        Couple(key, images[key], masks[key])
        for key in sorted(images.keys() & masks.keys(), key=natural)
    ]
    lonely = [
        f"{tree.relative(images[key])}: no mask ({mask_name.format(key)}); left out"
        for key in sorted(images.keys() - masks.keys(), key=natural)
    ]
    orphans = [
        f"{tree.relative(masks[key])}: no image to this mask; left out"
        for key in sorted(masks.keys() - images.keys(), key=natural)
    ]
    return couples, lonely + orphans
