"""Counts and measures the nuclei of a picture of any size; what is done survives a crash.

Nuclei stand in a journal on the disk, a line of JSON for each block, and their numbers in a label
picture. A line is written when the labels of its block would survive a power cut; where one is
missing, its block is done once more, and nothing comes out different.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scope_sr import disk
from scope_sr.enhance.canvas import Pixels, Raw
from scope_sr.enhance.measure import Measured, Nucleus, measured
from scope_sr.enhance.nuclei import BLOCK_PX, Found, blocks, found_in

JOURNAL, LABELS = "nuclei.jsonl", "labels.raw"

Tell = Callable[[str, int, int], None]


@dataclass
class Journal:
    """The nuclei block by block, after a line that says what they are nuclei of.

    Attributes
    ----------
    path
        The file.
    blocks, nuclei
        How many are in it.
    end
        Where its whole lines end; a torn rest behind does not count.
    """

    path: Path
    blocks: int = 0
    nuclei: int = 0
    end: int = 0

    def begin(self, purpose: dict[str, Any]) -> None:
        """Begin anew."""
        line = _line(purpose)
        disk.store(self.path, line)
        self.blocks, self.nuclei, self.end = 0, 0, len(line)

    def add(self, found: list[Measured]) -> None:
        """Put down the nuclei of the next block; on return they would survive a power cut."""
        line = _line({
            "before": self.nuclei,
            "nuclei": [astuple(nucleus) for nucleus, _ in found],
            # outlines run through the middles between pixels: twice that is a whole number
            "outlines": [np.rint(2 * outline).astype(int).ravel().tolist() for _, outline in found],
        })  # fmt: skip
        self.end = disk.append(self.path, self.end, line)
        self.blocks += 1
        self.nuclei += len(found)

    def __iter__(self) -> Iterator[Measured]:
        """Give the nuclei one after the other; one block at a time lies in memory."""
        with self.path.open("rb") as lines:
            lines.readline()
            for _ in range(self.blocks):
                block = json.loads(lines.readline())
                for values, outline in zip(block["nuclei"], block["outlines"], strict=True):
                    yield Nucleus(*values), np.reshape(outline, (-1, 2)) / 2


@dataclass(frozen=True)
class Counted:
    """The nuclei of a picture.

    Attributes
    ----------
    journal
        Each nucleus with its outline, 1 .. K.
    labels
        ``(row, column)`` uint32: 0, or the number of a nucleus.
    um_per_px
        Of its pixels.
    """

    journal: Journal
    labels: Raw
    um_per_px: float


def counted(
    planes: Pixels,
    picture: Pixels,
    um_per_px: float,
    work: Path,
    purpose: dict[str, Any],
    tell: Tell = lambda *_: None,
    *,
    side: int = BLOCK_PX,
) -> Counted:
    """Find the nuclei and measure them, going on where an earlier run stopped.

    Parameters
    ----------
    planes
        ``(row, column, 3)`` uint8, of the nuclei network; see
        :func:`scope_sr.imaging.nuclei.instances`.
    picture
        ``(row, column, 3)`` RGB of 8 bits, of the same size.
    work
        Folder for journal and labels; what lies there of another purpose is begun anew.
    purpose
        What is counted, and how: JSON.
    tell
        Told (what is being done, blocks done, blocks).
    side
        Of a block in pixels. It decides only how nuclei are numbered.

    Raises
    ------
    ScopeSRError
        The disk has no room for the labels.
    OSError
        The system refused; what was found before is kept.
    """
    rows, columns = planes.shape[:2]
    whole = {**purpose, "shape": [rows, columns], "um_per_px": um_per_px, "block_px": side}
    disk.make_folders([work])
    journal, labels = _begun(work, (rows, columns), whole)
    every = blocks((rows, columns), side)
    for block in every[journal.blocks :]:
        tell("counting nuclei", journal.blocks, len(every))
        found = found_in(block, lambda y, x: planes[y, x], (rows, columns), um_per_px)
        journal.add(_of_block(found, picture, um_per_px, labels, journal.nuclei))
    tell("counting nuclei", len(every), len(every))
    return Counted(journal, labels, um_per_px)


def _begun(work: Path, shape: tuple[int, int], purpose: dict[str, Any]) -> tuple[Journal, Raw]:
    """Open what is there, or begin."""
    labels = Raw(work / LABELS, shape, np.uint32, new=False)
    journal = _found(work / JOURNAL, purpose)
    if journal and labels.path.exists() and labels.path.stat().st_size == labels.nbytes:
        return journal, labels
    journal = Journal(work / JOURNAL)
    labels = Raw(work / LABELS, shape, np.uint32, new=True)
    journal.begin(purpose)
    return journal, labels


def _found(path: Path, purpose: dict[str, Any]) -> Journal | None:
    """Read how far a journal of this purpose is."""
    if not path.exists():
        return None
    journal, last = Journal(path), b""
    with path.open("rb") as lines:
        begun = lines.readline()
        if begun != _line(purpose):
            return None
        journal.end = len(begun)
        for line in lines:
            if not line.endswith(b"\n"):
                break
            journal.blocks, journal.end, last = journal.blocks + 1, journal.end + len(line), line
    if last:
        block = json.loads(last)
        journal.nuclei = block["before"] + len(block["nuclei"])
    return journal


def _of_block(
    found: Found, picture: Pixels, um_per_px: float, labels: Raw, before: int
) -> list[Measured]:
    """Measure the nuclei of a block and put their numbers into the label picture."""
    if not found.labels.any():
        return []
    window = found.window
    _stamp(labels, found, before)
    return measured(
        found.labels,
        picture[window.slices],
        um_per_px,
        first=before + 1,
        corner=(window.top, window.left),
        whole=(labels.shape[0], labels.shape[1]),
    )


def _stamp(labels: Raw, found: Found, before: int) -> None:
    """Write where the nuclei are and leave the rest: it may be that of the neighbours."""
    where = found.window.slices
    seen = labels[where]
    inside = found.labels > 0
    seen[inside] = found.labels[inside].astype(np.uint32) + np.uint32(before)
    labels[where] = seen


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode() + b"\n"
