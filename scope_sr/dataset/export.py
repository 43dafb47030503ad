"""Pairs as other people's programs want them: squares of usable tissue as PNG, split by split.

``basicsr``
    ``train/LR/x.png`` and ``train/HR/x.png`` of one name, ``meta_info_train.txt``, and
    ``options.yml`` with the part of BasicSR's options that names them.
``imagefolder``
    The same images with ``train/metadata.jsonl`` and a dataset card, as Hugging Face's
    ``load_dataset`` reads them; of nuclei ``image`` and ``labels``, and ``ignore`` where there are.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from scope_sr import disk
from scope_sr.config import reason
from scope_sr.dataset.crops import Crop, Crops
from scope_sr.dataset.exported import basicsr_options, dataset_card
from scope_sr.dataset.folder import CARD, Dataset
from scope_sr.dataset.index import SPLITS, Item, Labelled, Split
from scope_sr.errors import DatasetError, InputError

ExportKind = Literal["basicsr", "imagefolder"]
KINDS: tuple[ExportKind, ...] = get_args(ExportKind)
CARD_FILE, OPTIONS, METADATA = "README.md", "options.yml", "metadata.jsonl"
PNG_LEVEL = 1  # 0.61 of the pixels; level 3 saves a hundredth more at two thirds of the pace
LONGEST_NAME = 80  # of an item within a file's name

Row = dict[str, str | int | float | None]


@dataclass(frozen=True)
class _Sample:
    """Images that belong together, by the name of their column, and what is known of them."""

    name: str
    images: Mapping[str, NDArray[Any]]
    row: Row


def export(
    dataset: Dataset,
    kind: ExportKind,
    folder: str | Path,
    low_px: int,
    progress: Callable[[int, int], None] | None = None,
) -> dict[Split, int]:
    """Write a dataset into a folder of its own for other programs; losslessly, always the same.

    Parameters
    ----------
    low_px
        Side of the squares in low pixels; images with nuclei are written whole.
    progress
        Told (pairs or images done, of how many).

    Returns
    -------
    How many squares or images each split got; a split without pairs is left out.

    Raises
    ------
    InputError
        The folder is occupied, a split's pairs have no room for such squares, or the dataset is not
        of a kind the other program reads. Nothing is left behind.
    DatasetError
        The folder cannot be written. Nothing is left behind.
    """
    folder = Path(folder)
    if kind == "basicsr" and dataset.header.kind != "pairs":
        msg = f"{dataset.folder} holds images with nuclei, BasicSR reads pairs; choose imagefolder"
        raise InputError(msg)
    splits = [split for split in SPLITS if dataset.of(split)]
    if not splits:
        msg = f"{dataset.folder}: nothing in it was kept, so there is nothing to export"
        raise InputError(msg)
    counted = _Counted(progress, sum(len(dataset.of(split)) for split in splits))
    counts: dict[Split, int] = {}
    with _whole_or_not(folder) as part:
        for split in splits:
            counts[split] = _write_split(dataset, kind, part, split, low_px, counted)
        if kind == "basicsr":
            text = basicsr_options(dataset.header, folder.absolute(), low_px, splits)
            _write(part / OPTIONS, text)
        else:
            text = dataset_card(dataset.header, counts, low_px, _card_of(dataset))
            _write(part / CARD_FILE, text)
    if progress:
        progress(counted.total, counted.total)
    return counts


@dataclass
class _Counted:
    """Tells how many items are done, once each."""

    progress: Callable[[int, int], None] | None
    total: int
    done: int = 0
    last: str = ""

    def __call__(self, name: str) -> None:
        if name != self.last:
            self.done, self.last = self.done + 1, name
            if self.progress:
                self.progress(self.done, self.total)


def _write_split(
    dataset: Dataset,
    kind: ExportKind,
    part: Path,
    split: Split,
    low_px: int,
    counted: _Counted,
) -> int:
    """Write a split's images and the list of them; return how many samples there are."""
    lines: list[str] = []
    for number, sample in enumerate(_samples(dataset, split, low_px, counted)):
        file = f"{number:06d}-{sample.name}.png"  # the number keeps names apart and in order
        for column, image in sample.images.items():
            path = part / split / column / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(imagecodecs.png_encode(image, level=PNG_LEVEL))
        lines.append(_line(kind, file, sample))
    listed = f"meta_info_{split}.txt" if kind == "basicsr" else f"{split}/{METADATA}"
    _write(part / listed, "".join(f"{line}\n" for line in lines))
    return len(lines)


def _line(kind: ExportKind, file: str, sample: _Sample) -> str:
    if kind == "basicsr":
        height, width, *colors = sample.images["HR"].shape
        return f"{file} ({height},{width},{colors[0] if colors else 1})"
    names = {f"{column.lower()}_file_name": f"{column}/{file}" for column in sample.images}
    return json.dumps({**names, **sample.row}, ensure_ascii=False, allow_nan=False)


# --------------------------------------------------------------- samples


def _samples(dataset: Dataset, split: Split, low_px: int, counted: _Counted) -> Iterator[_Sample]:
    if dataset.header.kind == "pairs":
        for crop in Crops(dataset, split, low_px).tiles():
            counted(crop.pair.name)
            yield _square(crop, dataset)
        return
    columns = _columns(dataset)
    for item in dataset.of(split):
        if isinstance(item, Labelled):
            counted(item.name)
            yield _marked(item, dataset, columns)


def _square(crop: Crop, dataset: Dataset) -> _Sample:
    header = dataset.header
    row: Row = {"pair": crop.pair.name, **_origin(crop.pair), "x_px": crop.x_px, "y_px": crop.y_px}
    if header.low_um_per_px and header.high_um_per_px:
        row |= {"low_um_per_px": header.low_um_per_px, "high_um_per_px": header.high_um_per_px}
    name = f"{_plain(crop.pair.name)}-x{crop.x_px:04d}-y{crop.y_px:04d}"
    return _Sample(name, {"LR": crop.low, "HR": crop.high}, row)


def _columns(dataset: Dataset) -> set[str]:
    """Choose what stands beside images: a column must be in all splits, and of one type there.

    A number is told where it is known of all images; a mask of what to ignore where any has one,
    the others then get an empty one.
    """
    items = [item for item in dataset.items if isinstance(item, Labelled) and item.accepted]
    numbers = ("um_per_px", "nuclei")
    known = {name for name in numbers if all(getattr(item, name) is not None for item in items)}
    return known | ({"ignore"} if any(item.ignore for item in items) else set())


def _marked(item: Labelled, dataset: Dataset, columns: set[str]) -> _Sample:
    """Take an image whole."""
    image, labels = dataset.labelled(item)
    images = {"image": np.array(image), "labels": _labels(item, labels)}
    if "ignore" in columns:
        shape = image.shape[:2]
        mask = dataset.mapped(item.ignore) != 0 if item.ignore else np.zeros(shape, bool)
        images["ignore"] = mask.astype(np.uint8) * 255
    numbers = {"um_per_px": item.um_per_px, "nuclei": item.nuclei}
    told = {name: value for name, value in numbers.items() if name in columns}
    return _Sample(_plain(item.name), images, {"item": item.name, **_origin(item), **told})


def _labels(item: Labelled, labels: NDArray[Any]) -> NDArray[np.uint16]:
    if labels.size and not 0 <= labels.min() <= labels.max() < 1 << 16:
        msg = f"{item.name}: nuclei numbered beyond 65535 do not fit a PNG; cut the image smaller"
        raise InputError(msg)
    return np.array(labels, np.uint16)


def _origin(item: Item) -> Row:
    """Say where an item comes from; "" where nobody knows."""
    return {"source": item.source, "patient": item.patient, "slide": item.slide}


def _plain(name: str) -> str:
    """Make a file's name of an item's, without the spaces that end a name in BasicSR's lists.

    >>> _plain("slide 17/r00c01-r01c00")
    'slide_17_r00c01-r01c00'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[-LONGEST_NAME:]


def _card_of(dataset: Dataset) -> str:
    with contextlib.suppress(OSError):
        return (dataset.folder / CARD).read_text("utf-8")
    return ""


# ---------------------------------------------------------------- folder


@contextmanager
def _whole_or_not(folder: Path) -> Iterator[Path]:
    """Give a folder to write into, which takes its name only when all of it is on the disk."""
    part = folder.with_name(folder.name + disk.PART)
    try:
        _refuse_occupied(folder, part)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            yield part
            disk.sync_tree(part)
            if folder.exists():
                folder.rmdir()  # empty; Windows renames onto nothing only
            part.replace(folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    except OSError as error:
        msg = f"{folder}: {reason(error)}; make room or choose another folder (nothing was left)"
        raise DatasetError(msg) from error


def _refuse_occupied(folder: Path, part: Path) -> None:
    """Raise InputError unless the folder is absent or empty, and its ``.part`` an export's rest."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = f"{folder} is not empty; choose another folder (nothing in it was touched)"
        raise InputError(msg)
    ours = {*SPLITS, *(f"meta_info_{split}.txt" for split in SPLITS), OPTIONS, CARD_FILE}
    if part.exists() and (not part.is_dir() or _foreign(part.iterdir(), ours)):
        msg = f"{part} is in the way and no export's; move it, or choose another folder"
        raise InputError(msg)


def _foreign(paths: Iterable[Path], ours: set[str]) -> bool:
    return any(path.name not in ours for path in paths)


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode())
