"""Hold a dataset's folder against its index: every file there, whole, of its size, nothing else."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from scope_sr import disk
from scope_sr.config import reason
from scope_sr.dataset.folder import (
    CARD,
    DATASET,
    INDEX,
    REGISTRATION,
    REPORT,
    RESHOOT,
    Dataset,
)
from scope_sr.dataset.index import SPLITS, Header, Item, Labelled, Pair
from scope_sr.errors import InputError

PAPERS = {DATASET, INDEX, CARD, REPORT, RESHOOT, REGISTRATION}
FOLDERS = ("export", "pictures")  # whatever lies in them
WORK = "work"  # of a build that has not ended
LOCK_ENDING = ".lock"
AGAIN = "build again with --resume, which mends it"
# What the desktops of operating systems leave in folders one looks into
NOBODYS = {".DS_Store", "Thumbs.db", "desktop.ini"}


def verify(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> tuple[str, ...]:
    """Check every file of a dataset; nothing is changed.

    Parameters
    ----------
    progress
        Told (files read, of how many).

    Returns
    -------
    One line for each problem: the file or item, what is wrong, the way out. Files that only
    rejected items name may be absent.
    """
    return (*_entries(dataset), *_files(dataset, progress), *_strays(dataset))


# ----------------------------------------------------------------- index


def _entries(dataset: Dataset) -> Iterator[str]:
    """Name what the index says that cannot be."""
    path = dataset.folder / INDEX
    for name, times in Counter(item.name for item in dataset.items).items():
        if times > 1:
            yield f"{path}: {name} stands in it {times} times; {AGAIN}"
    if not dataset.index_is_its_own:
        yield f"{path}: it is not the index that was built, it was edited since; {AGAIN}"
    for item in dataset.items:
        if item.accepted:
            for fault in _faults(item, dataset.header):
                yield f"{path}: {item.name}: {fault}; {AGAIN}"
            if isinstance(item, Pair):
                yield from _cell_faults(dataset, item)


def _faults(item: Item, header: Header) -> Iterator[str]:
    if item.split not in SPLITS:
        yield "it is kept but in no split"
    group = {"patient": item.patient, "slide": item.slide, "image": item.name}.get(header.level)
    wanted = header.groups.get(group or "")
    if wanted and item.split and wanted != item.split:
        yield f"it is in {item.split}, its {header.level} {group} belongs to {wanted}"
    for name, sha256 in _named(item).items():
        if not name or not _inside(name):
            yield f"{name!r} is no file within the dataset"
        elif not sha256:
            yield f"{name} has no checksum"
    if isinstance(item, Pair) and item.place and not np.linalg.det(item.place.affine_um_per_px):
        yield "its place maps all pixels onto a line"


def _cell_faults(dataset: Dataset, pair: Pair) -> Iterator[str]:
    try:
        dataset.usable(pair)
    except InputError as error:
        yield str(error)


def _named(item: Item) -> dict[str, str]:
    """Give the images of an item with their checksums; a mask of what to ignore has none."""
    if isinstance(item, Pair):
        return {item.low: item.low_sha256, item.high: item.high_sha256}
    return {item.image: item.image_sha256, item.labels: item.labels_sha256}


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and ":" not in name


# ----------------------------------------------------------------- files


def _files(dataset: Dataset, progress: Callable[[int, int], None] | None) -> Iterator[str]:
    """Read every image once, then hold each item against the shapes found."""
    wanted = _checksums(dataset)
    bad: set[str] = set()
    for done, (name, sums) in enumerate(wanted.items(), start=1):
        fault = _fault(dataset.folder / name, sums)
        if fault:
            bad.add(name)
            yield f"{dataset.folder / name}: {fault}"
        if progress:
            progress(done, len(wanted))
    whole = wanted.keys() - bad
    items = [item for item in dataset.items if item.accepted and _named(item).keys() <= whole]
    yield from dict.fromkeys(filter(None, (_shape_fault(dataset, item) for item in items)))


def _checksums(dataset: Dataset) -> dict[str, set[str]]:
    """Gather what the index says of each file, in its order; all items should say the same."""
    wanted: dict[str, set[str]] = {}
    for item in dataset.items:
        for name, sha256 in _named(item).items():
            if _inside(name) and sha256 and (item.accepted or (dataset.folder / name).exists()):
                wanted.setdefault(name, set()).add(sha256)
    return wanted


def _fault(path: Path, sums: set[str]) -> str:
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
    except FileNotFoundError:
        return f"missing; bring it back from a copy, or {AGAIN}"
    except OSError as error:
        return f"cannot be read ({reason(error)}); see to the disk"
    if {digest.hexdigest()} != sums:
        return f"its bytes are not those that were written; restore it from a copy, or {AGAIN}"
    return ""


def _shape_fault(dataset: Dataset, item: Item) -> str:
    try:
        fault = (
            _pair_fault(dataset, item) if isinstance(item, Pair) else _label_fault(dataset, item)
        )
    except InputError as error:  # not an image that can be mapped
        return str(error)
    return f"{dataset.folder / fault}; {AGAIN}" if fault else ""


def _pair_fault(dataset: Dataset, pair: Pair) -> str:
    header = dataset.header
    low, high = dataset.mapped(pair.low), dataset.mapped(pair.high)
    x, y, width, height = pair.box_px
    rest = (3,) if header.color else ()
    dtype = np.dtype(np.uint8 if header.bits == 8 else np.uint16)
    if not (0 <= x < x + width <= low.shape[1] and 0 <= y < y + height <= low.shape[0]):
        return f"{pair.low}: {_size(low.shape)} px, too small for the box of {pair.name}"
    wanted = (header.scale * height, header.scale * width)
    if high.shape[:2] != wanted:
        return f"{pair.high}: {_size(high.shape)} px, its box and scale ask for {_size(wanted)}"
    for name, image in ((pair.low, low), (pair.high, high)):
        if image.shape[2:] != rest or image.dtype != dtype:
            kind = f"{header.bits} bit {'colour' if header.color else 'grey'}"
            return f"{name}: not {kind} as {DATASET} says"
    return ""


def _label_fault(dataset: Dataset, item: Labelled) -> str:
    size = dataset.mapped(item.image).shape[:2]
    for name in filter(None, (item.labels, item.ignore)):
        found = dataset.mapped(name).shape
        if found != size:
            return f"{name}: {_size(found)} px, its image has {_size(size)}"
    return ""


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}" if len(shape) > 1 else str(shape)


# ---------------------------------------------------------------- strays


def _strays(dataset: Dataset) -> Iterator[str]:
    """Name what lies in the folder and is not the dataset's."""
    ignored = {item.ignore for item in dataset.items if isinstance(item, Labelled)}
    if (dataset.folder / WORK).exists():
        yield f"{dataset.folder / WORK}: left by a build that was cut short; delete it"
    known = PAPERS | ignored | {name for item in dataset.items for name in _named(item)}
    for path in sorted(dataset.folder.rglob("*")):
        name = path.relative_to(dataset.folder).as_posix()
        if path.is_dir() or name in known or path.name in NOBODYS:
            continue
        if name.split("/")[0] in (*FOLDERS, WORK):
            continue
        if "/" not in name and name.endswith(LOCK_ENDING):
            continue
        if name.endswith(disk.PART):
            yield f"{path}: left by a build that was cut short; {AGAIN}, or delete it"
        else:
            yield f"{path}: not of this dataset; move it elsewhere"
