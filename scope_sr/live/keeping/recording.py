"""A recording: the frames as the camera gave them, and when and where each was taken.

While it grows it is a folder ``NAME.part``, and loses that ending when it is finished:

====================  ==========================================================================
``frames-1.ome.tif``  the frames, a page each; another file begins where size or objective change
``frames.jsonl``      a line of JSON for each frame, written when its page is
``recording.json``    provenance, and how it ended
====================  ==========================================================================

A recording whose program was killed keeps its ``.part`` and can be read as far as it goes, by any
reader of TIFF or by :class:`Footage`: each page was whole before it was linked, see
:mod:`scope_sr.live.keeping.stack`. Its OME-XML is missing; the time of each frame is not.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from scope_sr import disk
from scope_sr.config import reason
from scope_sr.errors import InputError
from scope_sr.frame import Frame, Position
from scope_sr.live.keeping.provenance import Circumstances, Plane, Planes, ome_xml, signature, utc
from scope_sr.live.keeping.snapshot import free_name
from scope_sr.live.keeping.stack import Stack
from scope_sr.live.seen import Seen
from scope_sr.software import NOTICE

SCHEMA = "scope-sr/recording/1"
FRAMES, RECORD = "frames.jsonl", "recording.json"
# Loaded at the begin: half a second that a program that is being closed does not have
ENDING_NEEDS = ("ome_types.model", "tifffile")
DESCRIPTION = f"Frames of the live view as the camera gave them. {NOTICE}"


@dataclass(frozen=True)
class Line:
    """What ``frames.jsonl`` says of a frame.

    Attributes
    ----------
    file, page, byte
        Where its pixels are: page from 0, and from which byte on, row by row.
    shape, dtype
        Of its pixels.
    """

    file: str
    page: int
    byte: int
    shape: tuple[int, ...]
    dtype: str
    number: int
    time_s: float
    x_um: float
    y_um: float
    z_um: float
    objective: str
    exposure_ms: float
    um_per_px: float | None
    view: int

    @property
    def plane(self) -> Plane:
        """Where and when it was taken."""
        return Plane(Position(self.x_um, self.y_um, self.z_um), self.exposure_ms, self.time_s)


class Recording:
    """Frames on their way to the disk; for one thread.

    Attributes
    ----------
    folder
        With its ending ``.part`` until `finish`.
    frames
        Written so far.

    Raises
    ------
    OSError
        The system refused.
    """

    def __init__(self, home: Path, circumstances: Circumstances) -> None:
        for library in ENDING_NEEDS:
            importlib.import_module(library)
        disk.make_folders([home])
        self.began_s = time.time()
        self.frames = 0
        self._circumstances = circumstances
        self._stack: Stack | None = None
        self._kind: tuple[object, ...] = ()
        self._ended_bytes = 0  # of the files before the one that grows
        self._files = 0
        self.folder = _made(home, self.began_s)
        disk.store(self.folder / RECORD, self._record({}))
        self._lines = (self.folder / FRAMES).open("xb", buffering=0)

    @property
    def written_bytes(self) -> int:
        """What the frames take so far."""
        return self._ended_bytes + (0 if self._stack is None else self._stack.bytes)

    @property
    def there(self) -> bool:
        """Whether its folder still is: a drive may be pulled out under an open file."""
        return (self.folder / FRAMES).exists()

    def add(self, seen: Seen) -> None:
        """Append a frame.

        Raises
        ------
        OSError
            The system refused; the frames before are whole.
        """
        stack = self._stack_for(seen)
        frame, at = seen.frame, seen.frame.position
        byte = stack.add(frame.image)
        line = Line(
            file=stack.path.name,
            page=stack.frames - 1,
            byte=byte,
            shape=frame.image.shape,
            dtype=frame.image.dtype.newbyteorder("<").str,
            number=frame.number,
            time_s=frame.time,
            x_um=at.x_um,
            y_um=at.y_um,
            z_um=at.z_um,
            objective=frame.objective,
            exposure_ms=frame.exposure_ms,
            um_per_px=seen.um_per_px,
            view=seen.view,
        )
        _append(self._lines, json.dumps(asdict(line)).encode() + b"\n")
        self.frames += 1

    def finish(self, why: str, left_out: int) -> Path:
        """Close the files, describe them and drop the ``.part``; give the folder.

        Parameters
        ----------
        why
            How it came to an end.
        left_out
            Frames there was no time for.

        Raises
        ------
        OSError
            The system refused; what was written can be read, in the folder as it is.
        """
        ended_s = time.time()
        self.let_go()
        end = {"ended": utc(ended_s), "why": why, "frames": self.frames, "left_out": left_out}
        disk.store(self.folder / RECORD, self._record(end))
        self._describe()
        final = self.folder.with_suffix("")
        self.folder.replace(final)
        self.folder = final
        return final

    def let_go(self) -> None:
        """Close the files."""
        for file in (self._stack, self._lines):
            if file is not None:
                with contextlib.suppress(OSError):
                    file.close()

    def _stack_for(self, seen: Seen) -> Stack:
        """Give the file that takes frames of this kind, a new one if need be."""
        image = seen.frame.image
        kind = (image.shape, image.dtype.name, seen.frame.objective, seen.um_per_px)
        if self._stack is not None and kind == self._kind:
            return self._stack
        path = self.folder / f"frames-{self._files + 1}.ome.tif"
        stack = Stack(path, seen.um_per_px, DESCRIPTION)
        if self._stack is not None:
            self._ended_bytes += self._stack.bytes
            self._stack.close()
        self._stack, self._kind, self._files = stack, kind, self._files + 1
        return stack

    def _describe(self) -> None:
        """Put the OME-XML into the files."""
        import tifffile

        lines = _lines_of(self.folder)
        for file, of_file in groupby(lines, key=lambda line: line.file):
            found = list(of_file)
            tifffile.tiffcomment(self.folder / file, self._xml(found))

    def _xml(self, lines: Sequence[Line]) -> bytes:
        rig, first, dtype = self._circumstances.rig, lines[0], np.dtype(lines[0].dtype)
        bits = 8 * dtype.itemsize
        planes = Planes(
            name=f"{self.folder.stem} {first.file.partition('.')[0]}",
            shape=first.shape,
            dtype=dtype.name,
            bits=bits if rig is None else min(bits, rig.camera.bits),
            um_per_px=first.um_per_px,
            objective=first.objective,
            description=DESCRIPTION,
            facts={**signature(), **self._circumstances.table()},
            taken=[line.plane for line in lines],
        )
        return ome_xml(planes, self._circumstances)

    def _record(self, end: dict[str, Any]) -> bytes:
        facts = {
            "schema": SCHEMA,
            **signature(),
            "began": utc(self.began_s),
            **end,
            "circumstances": self._circumstances.table(),
        }
        return json.dumps(facts, indent=2, ensure_ascii=False).encode() + b"\n"


class Footage:
    """The frames of a recording, finished or not; pixels are read when they are asked for.

    Attributes
    ----------
    source
        What was recorded.
    lines
        What is known of each frame.

    Raises
    ------
    InputError
        The folder holds no recording, or none with frames.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            facts = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            self.source = str(facts["circumstances"]["source"])
            self.lines = _lines_of(folder)
        except (OSError, ValueError, LookupError, TypeError) as error:
            msg = f"{folder}: not a recording of the live view ({reason(error)}); name another"
            raise InputError(msg) from error
        if not self.lines:
            msg = f"{folder}: no frame was recorded; name another recording"
            raise InputError(msg)

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.lines)

    def frame(self, index: int) -> Frame:
        """Read a frame; counts from 0.

        Raises
        ------
        InputError
            Its pixels are not there any more.
        """
        line = self.lines[index]
        path = self.folder / line.file
        try:
            pixels = np.fromfile(path, line.dtype, math.prod(line.shape), offset=line.byte)
            image = pixels.reshape(line.shape)
        except (OSError, ValueError) as error:
            msg = f"{path}: frame {line.page} cannot be read ({reason(error)}); copy it again"
            raise InputError(msg) from error
        plane = line.plane
        return Frame(
            image, plane.position, line.objective, plane.exposure_ms, plane.time_s, line.number
        )


def is_recording(folder: Path) -> bool:
    """Tell whether a folder is a recording, by the names in it."""
    return (folder / FRAMES).is_file() and (folder / RECORD).is_file()


def _made(home: Path, began_s: float) -> Path:
    """Make a folder that was not there."""
    folder = home / f"{free_name(home, 'recording', began_s)}{disk.PART}"
    folder.mkdir()
    return folder


def _lines_of(folder: Path) -> list[Line]:
    """Read the whole lines; the last may be torn."""
    whole = (folder / FRAMES).read_bytes().split(b"\n")[:-1]
    found = [json.loads(line) for line in whole]
    return [Line(**{**line, "shape": tuple(line["shape"])}) for line in found]


def _append(file: BinaryIO, line: bytes) -> None:
    """Write a line at once; a short one goes whole or not at all."""
    file.write(line)
