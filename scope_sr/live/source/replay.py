"""Frames that were recorded, shown as if a camera gave them now."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scope_sr.config import reason
from scope_sr.errors import InputError, MicroscopeError, ScopeSRError
from scope_sr.frame import CameraFacts, Frame, Position
from scope_sr.live.keeping.recording import Footage, is_recording
from scope_sr.live.source.stand import Stand
from scope_sr.pictures.boxes import Box
from scope_sr.pictures.files import (
    DAMAGED,
    TIFF_STARTS,
    fault,
    images_in,
    refuse_deep_color,
)
from scope_sr.pictures.tiff import TiffPixels
from scope_sr.pictures.whole import FORMATS, ORIENTATION, WholeImage, to_rgb
from scope_sr.session import Session
from scope_sr.session.layout import JOURNAL, PLAN, SESSION, resume_command

EACH_S = 3.0
FPS = 30.0
MOST_PX = 1 << 26  # beyond 67 megapixels it is a slide, not what a camera gives at once
SQUARE = 0.01  # by how much the sides of a pixel may differ
START_BYTES = 26  # enough to know a PNG of 16 bits

NOWHERE = Position(0.0, 0.0, 0.0)

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Recorded:
    """One picture: how its pixels are read, and what is known of where they come from."""

    read: Callable[[], Pixels]
    position: Position = NOWHERE
    objective: str = ""
    exposure_ms: float = 0.0


class Replay:
    """A microscope that shows recorded pictures in turn, each for some seconds, without end.

    Parameters
    ----------
    pictures
        At least one. A picture that cannot be read is taken out of this very list, so that whoever
        opens a replay of it anew gets past it.
    camera
        What the camera calls itself.
    each_s, fps
        How long a picture is shown, and how often anew, with a number of its own.
    now_s
        The clock it goes by.
    """

    def __init__(
        self,
        pictures: list[Recorded],
        camera: str = "replay",
        *,
        each_s: float = EACH_S,
        fps: float = FPS,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pictures = pictures
        self._camera = camera
        self._each_s = each_s
        self._fps = fps
        self._now_s = now_s
        self._opened_s = now_s()
        self._number = 0
        self._stream: tuple[float, int] | None = None
        self._held: tuple[Recorded, Pixels] | None = None

    def position(self) -> Position:
        """Say where the picture was taken."""
        return self._now().position

    def move_to(self, position: Position) -> None:
        """Refuse: nothing moves."""
        msg = "a replay has no stage; it shows what was recorded"
        raise MicroscopeError(msg)

    def objective(self) -> str:
        """Name the objective the picture was taken with; empty where nobody knows."""
        return self._now().objective

    def select_objective(self, name: str) -> None:
        """Refuse: nothing turns."""
        msg = "a replay has no nosepiece; it shows what was recorded"
        raise MicroscopeError(msg)

    def focus_held(self) -> bool:
        """Say no: there is no focus lock."""
        return False

    def hold_focus(self, on: bool) -> None:
        """Refuse: there is no focus lock."""
        if on:
            msg = "a replay has no focus lock"
            raise MicroscopeError(msg)

    def camera(self) -> CameraFacts:
        """Name the camera the pictures come from."""
        return CameraFacts(self._camera)

    def exposure_ms(self) -> float:
        """Say the exposure of the picture; 0 where nobody knows."""
        return self._now().exposure_ms

    def set_exposure(self, exposure_ms: float) -> None:
        """Refuse: what is recorded is exposed."""
        msg = "the exposure of a replay is as it was recorded"
        raise MicroscopeError(msg)

    def gain(self) -> float:
        """Say 1: the pixels are as they were recorded."""
        return 1.0

    def set_gain(self, gain: float) -> None:
        """Refuse: the pixels are as they were recorded."""
        msg = "a replay has no gain that could be set"
        raise MicroscopeError(msg)

    def snap(self) -> Frame:
        """Give the picture of now."""
        if self._stream is not None:
            msg = "the camera is streaming; stop the stream before a snap"
            raise MicroscopeError(msg)
        return self._frame(self._number + 1)

    def start_stream(self) -> None:
        """Let the pictures come."""
        if self._stream is None:
            self._stream = (self._now_s(), self._number)

    def latest(self, after: int) -> Frame | None:
        """Give the picture of now, under a number of its own."""
        if self._stream is None:
            msg = "the camera is not streaming; start the stream first"
            raise MicroscopeError(msg)
        began_s, before = self._stream
        number = before + int((self._now_s() - began_s) * self._fps)
        return self._frame(number) if number > max(after, before) else None

    def stop_stream(self) -> None:
        """End the stream."""
        self._stream = None

    def stop(self) -> None:
        """Do nothing: nothing moves."""

    def rearm(self) -> None:
        """Do nothing: nothing moves."""

    def close(self) -> None:
        """Let go of the picture."""
        self._stream = self._held = None

    def _now(self) -> Recorded:
        if not self._pictures:
            msg = "no picture of the replay can be read any more; copy them again"
            raise MicroscopeError(msg)
        turn = int((self._now_s() - self._opened_s) / self._each_s)
        return self._pictures[turn % len(self._pictures)]

    def _frame(self, number: int) -> Frame:
        """Hand out a copy: a frame belongs to whoever asked for it."""
        one = self._now()
        if self._held is None or self._held[0] is not one:
            self._held = (one, self._read(one))
        self._number = number
        image = self._held[1].copy()
        return Frame(image, one.position, one.objective, one.exposure_ms, time.time(), number)

    def _read(self, one: Recorded) -> Pixels:
        try:
            return one.read()
        except ScopeSRError as error:
            self._pictures.remove(one)
            msg = f"{error}; the replay goes on without it"
            raise MicroscopeError(msg) from error


def stand_of(path: Path) -> Stand:
    """Make a stand of what was recorded.

    Parameters
    ----------
    path
        A session, whose low fields are shown with their positions; a recording of the live view,
        at its own pace; or a folder of pictures, or one picture, of which nobody knows where and
        with what they were taken.

    Raises
    ------
    InputError
        There is nothing to show, or it cannot be shown: in one line, with the way out.
    """
    if (path / SESSION).exists():
        return _session_stand(path)
    if is_recording(path):
        return _recording_stand(path)
    if not path.is_dir():
        return _pictures_stand(path, [path])
    if any((path / name).exists() for name in (PLAN, JOURNAL)):
        text = f"half a session: {SESSION} is missing; restore it from a copy"
        raise fault(path, f"{text}, or name the folder of its fields, {path / 'low'}")
    return _pictures_stand(path, list(images_in(path).values()))


def _session_stand(folder: Path) -> Stand:
    session = Session.open(folder)
    there = session.there()
    fields = [step.name for step in session.plan.of_pass("low") if step.name in there]
    if not fields:
        way = f"capture it first: {resume_command(folder)}"
        raise fault(folder, f"no low field of this session is there yet; {way}")
    pictures = [_field(session, name) for name in fields]
    _try(pictures[0])
    made_with = session.record.fingerprint
    camera = made_with.camera if made_with else "replay"
    return Stand(
        _name(folder),
        lambda: Replay(pictures, camera),
        rig=session.rig,
        record=session.record,
    )


def _field(session: Session, name: str) -> Recorded:
    step = next(step for step in session.plan.steps if step.name == name)
    entry = session.entries[name]
    return Recorded(
        lambda: session.read(name),
        entry.position or step.position,
        step.objective,
        entry.exposure_ms,
    )


def _recording_stand(folder: Path) -> Stand:
    footage = Footage(folder)
    frames = [
        Recorded(
            lambda index=index: footage.frame(index).image,  # type: ignore[misc]
            line.plane.position,
            line.objective,
            line.exposure_ms,
        )
        for index, line in enumerate(footage.lines)
    ]
    _try(frames[0])
    lasted_s = footage.lines[-1].time_s - footage.lines[0].time_s
    each_s = lasted_s / (len(frames) - 1) if lasted_s > 0 else EACH_S
    fps = max(FPS, 1 / each_s)
    sides_um = {line.um_per_px for line in footage.lines}
    return Stand(
        _name(folder),
        lambda: Replay(frames, f"replay of {footage.source}", each_s=each_s, fps=fps),
        um_per_px=sides_um.pop() if len(sides_um) == 1 else None,
    )


def _pictures_stand(path: Path, files: list[Path]) -> Stand:
    sizes = {file: _size(file) for file in files}
    width, height = sizes[files[0]]
    for file, size in sizes.items():
        if size != (width, height):
            text = f"is {size[0]} x {size[1]} px, {files[0].name} is {width} x {height}"
            raise fault(file, f"{text}; a camera's pictures are of one size: take it out")
    pictures = [Recorded(lambda file=file: _pixels(file)) for file in files]  # type: ignore[misc]
    _try(pictures[0])
    sides_um = {_stated_um(file) for file in files}
    um_per_px = sides_um.pop() if len(sides_um) == 1 else None
    camera = f"replay, {width}x{height}"
    return Stand(_name(path), lambda: Replay(pictures, camera), um_per_px=um_per_px)


def _name(path: Path) -> str:
    return f"{path.resolve().name or path} (replay)"


def _try(first: Recorded) -> None:
    """Read the first picture, so that what cannot be shown is said before a window opens."""
    try:
        first.read()
    except ScopeSRError as error:
        raise InputError(str(error)) from error


def _is_tiff(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            start = stream.read(START_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        text = "no such session, folder or picture; correct its name"
        raise fault(path, text) from error
    except OSError as error:
        raise fault(path, f"cannot be read ({reason(error)}); make it readable") from error
    if not start:
        raise fault(path, "is empty; copy it again")
    refuse_deep_color(path, start)
    return start[:4] in TIFF_STARTS


def _size(path: Path) -> tuple[int, int]:
    """Read width and height from the head of a file."""
    if _is_tiff(path):
        pixels = TiffPixels(path)
        width, height = pixels.width, pixels.height
    else:
        width, height = _upright_size(path)
    if width * height > MOST_PX:
        text = f"{width} x {height} px are more than a camera gives at once"
        raise fault(path, f"{text}; cut out what is to be shown, or enhance it: scope-sr enhance")
    return width, height


def _upright_size(path: Path) -> tuple[int, int]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large images and odd metadata
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
                # asked of a PNG that has none, Pillow would decode it all to look for one
                exif = image.getexif() if "exif" in image.info else {}
                lies = exif.get(ORIENTATION) in range(5, 9)
    except (Image.DecompressionBombError, *DAMAGED) as error:
        text = "no picture, or a damaged one; name a session, a folder of pictures or a picture"
        raise fault(path, text) from error
    return (height, width) if lies else (width, height)


def _pixels(path: Path) -> NDArray[np.uint8]:
    pixels = TiffPixels(path) if _is_tiff(path) else WholeImage(path)
    if pixels.palette is None and (pixels.dtype != np.uint8 or pixels.white != 255):
        text = f"its pixels are {pixels.dtype}; what is white in them nobody knows"
        raise fault(path, f"{text}: save it as 8-bit RGB")
    stored = pixels.read(Box(0, 0, pixels.width, pixels.height))
    return np.ascontiguousarray(to_rgb(stored, pixels))


def _stated_um(path: Path) -> float | None:
    """Give the side of a square pixel as the file states it."""
    if not _is_tiff(path):
        return None
    pixels = TiffPixels(path)
    x_um, y_um = pixels.stated_um or pixels.resolution_um or (0.0, 0.0)
    square = 0 < x_um < np.inf and abs(y_um / x_um - 1) <= SQUARE
    return round((x_um + y_um) / 2, 6) if square else None
