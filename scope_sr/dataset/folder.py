"""A dataset on disk, for reading."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.config import reason
from scope_sr.dataset import cells
from scope_sr.dataset.fields import mapped
from scope_sr.dataset.index import (
    SCHEMA,
    Header,
    Item,
    Labelled,
    Pair,
    Split,
    from_line,
    header_from_json,
)
from scope_sr.errors import InputError

DATASET, INDEX = "dataset.json", "index.jsonl"
CARD, REPORT, RESHOOT, REGISTRATION = "card.md", "report.html", "reshoot.json", "registration.json"
MOST_MAPS = 256  # files mapped at once; systems allow about a thousand


class Dataset:
    """Pairs or labelled images on disk; nothing is written.

    Attributes
    ----------
    folder, header
        Where it lies, and what it says of itself.
    items
        Everything in the index, the rejected too, in its order.

    Examples
    --------
    ``Dataset.open("ds").of("train")`` gives the pairs to learn from.
    """

    def __init__(self, folder: Path, header: Header, items: tuple[Item, ...]) -> None:
        self.folder = folder
        self.header = header
        self.items = items
        self._maps: OrderedDict[str, NDArray[Any]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the maps behind: pickled, they would carry all their pixels to a worker."""
        return {**self.__dict__, "_maps": OrderedDict()}

    @classmethod
    def open(cls, folder: str | Path) -> Dataset:
        """Open a dataset.

        Raises
        ------
        InputError
            There is none, it is of a newer schema, or damaged.
        """
        folder = Path(folder)
        header = read_header(folder)
        path = folder / INDEX
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            msg = f"{path}: {reason(error)}; delete the folder and build again"
            raise InputError(msg) from error
        return cls(folder, header, tuple(_items(path, lines, header)))

    @property
    def index_is_its_own(self) -> bool:
        """Whether the index is the one that was built, not edited since."""
        if not self.header.index_sha256:
            return True
        data = (self.folder / INDEX).read_bytes()
        return hashlib.sha256(data).hexdigest() == self.header.index_sha256

    def of(self, split: Split) -> tuple[Item, ...]:
        """Give what is kept in a split."""
        return tuple(item for item in self.items if item.accepted and item.split == split)

    def images(self, pair: Pair) -> tuple[NDArray[Any], NDArray[Any]]:
        """Map the part of the low image a pair covers, and its high image.

        Returns
        -------
        low, high
            ``(h, w[, 3])`` and ``(scale h, scale w[, 3])``, read-only, uint8 or uint16.
        """
        x, y, width, height = pair.box_px
        low = self.mapped(pair.low)[y : y + height, x : x + width]
        return low, self.mapped(pair.high)

    def labelled(self, item: Labelled) -> tuple[NDArray[Any], NDArray[Any]]:
        """Map an image ``(row, column, 3)`` and its labels ``(row, column)``."""
        return self.mapped(item.image), self.mapped(item.labels)

    def usable(self, pair: Pair) -> NDArray[np.bool_]:
        """Give the cells of a pair that may be used, ``(row, column)``.

        Raises
        ------
        InputError
            The index says more of them than its box holds, or fewer.
        """
        _, _, width, height = pair.box_px
        shape = cells.shape_of(width, height)
        if not pair.cells:
            return np.zeros(shape, bool)
        try:
            found = cells.unpack(pair.cells, shape[1])
        except ValueError:
            found = np.zeros((0, 0), bool)
        if found.shape != shape:
            msg = f"{self.folder / INDEX}: the cells of {pair.name} do not fit its box"
            raise InputError(f"{msg}; delete the folder and build again")
        return found

    def mapped(self, name: str) -> NDArray[Any]:
        """Map a file of the dataset; the last ones used stay mapped.

        Raises
        ------
        InputError
            It is missing or damaged.
        """
        if name in self._maps:
            self._maps.move_to_end(name)
            return self._maps[name]
        path = self.folder / name
        try:
            image = mapped(path)
        except (OSError, ValueError) as error:
            msg = f"{path}: {reason(error)}; delete the folder and build again"
            raise InputError(msg) from error
        self._maps[name] = image
        if len(self._maps) > MOST_MAPS:
            self._maps.popitem(last=False)
        return image


def _items(path: Path, lines: list[bytes], header: Header) -> Iterator[Item]:
    read = 0
    try:
        for line in lines:
            yield from_line(line, header.kind)
            read += 1
    except ValueError as error:
        msg = f"{path}: line {read + 1}: {reason(error)}; delete the folder and build again"
        raise InputError(msg) from error


def read_header(folder: Path) -> Header:
    """Read ``dataset.json``.

    Raises
    ------
    InputError
        There is no dataset, it is of a newer schema, or damaged.
    """
    path = folder / DATASET
    try:
        data = path.read_bytes()
        schema = str(json.loads(data)["schema"])
    except (FileNotFoundError, NotADirectoryError) as error:
        msg = f"{folder}: no dataset there (it has no {DATASET})"
        raise InputError(msg) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        msg = (
            f"{path}: damaged or not a dataset's ({reason(error)}); delete the folder and build"
            " again"
        )
        raise InputError(msg) from error
    if schema != SCHEMA:
        msg = f"{folder} is of schema {schema}, this scope-sr reads {SCHEMA}; update scope-sr"
        raise InputError(msg)
    try:
        return header_from_json(data)
    except ValueError as error:
        msg = f"{path}: damaged ({reason(error)}); delete the folder and build again"
        raise InputError(msg) from error
