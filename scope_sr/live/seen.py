"""What passes between the threads of the live view.

Times are seconds of :func:`time.monotonic`; windows are in pixels of the camera (low pixels).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scope_sr.frame import Frame

Rgb = NDArray[np.uint8]
Bgra = NDArray[np.uint8]


@dataclass(frozen=True)
class Window:
    """A part of the camera's field, in its pixels.

    Examples
    --------
    >>> Window(2, 3, 10, 20).slices
    (slice(2, 12, None), slice(3, 23, None))
    """

    top: int
    left: int
    rows: int
    columns: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns to cut it out."""
        return (
            slice(self.top, self.top + self.rows),
            slice(self.left, self.left + self.columns),
        )


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame of the camera, developed: eight bits, corrected, white balanced.

    Attributes
    ----------
    frame
        As the camera gave it.
    rgb
        ``(row, column, 3)`` uint8. Several threads hold it; nobody writes into it.
    um_per_px
        Of the specimen, with the objective in place; None where nobody knows.
    arrived_s
        When this program had the frame in its hands.
    view
        Frames of one number show the same: stage, focus, objective, light and the picture itself
        have not changed in between.
    since_s
        When that view was first seen.
    """

    frame: Frame
    rgb: Rgb
    um_per_px: float | None
    arrived_s: float
    view: int
    since_s: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return (self.rgb.shape[0], self.rgb.shape[1])


@dataclass(frozen=True, eq=False)
class Shown:
    """A frame on its way to the screen.

    Attributes
    ----------
    pixels
        ``(row, column, 4)`` uint8, in the order blue, green, red, 255: Qt's ``Format_RGB32``. From
        a :class:`~scope_sr.live.mailbox.Pool`; belongs to whoever holds this.
    """

    seen: Seen
    pixels: Bgra


@dataclass(frozen=True, eq=False)
class Nuclei:
    """The nuclei of a patch.

    Attributes
    ----------
    labels
        ``(row, column)`` int32 in the pixels of the patch: 0, or 1 .. K.
    classes
        The same places, uint8: 0 nothing, 1 within a nucleus, 2 its outline.
    areas_um2
        Of those that are counted here: the ones whose first pixel lies in the patch, so that
        patches side by side count none twice. Where nobody knows the pixel size, in pixels.
    """

    labels: NDArray[np.int32]
    classes: NDArray[np.uint8]
    areas_um2: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Patch:
    """A part of a frame, enhanced.

    Attributes
    ----------
    seen
        The frame it was made of.
    window
        Where in that frame.
    scale
        Pixels of the patch to one of the frame.
    pixels
        ``(scale * rows, scale * columns, 4)`` uint8, blue, green, red, 255; an array of its own.
    nuclei
        None where they were not looked for.
    apart
        Disagreement with the frame, ``(rows, columns)`` float32 in grey levels of 255; None where
        it was not asked for.
    model
        Name of the generator.
    sr_s, nuclei_s
        What the networks took; 0 where one was not run.
    late
        Whether this picture was handed on before, and now has its nuclei.
    """

    seen: Seen
    window: Window
    scale: int
    pixels: Bgra
    nuclei: Nuclei | None = None
    apart: NDArray[np.float32] | None = None
    model: str = ""
    sr_s: float = 0.0
    nuclei_s: float = 0.0
    late: bool = False


@dataclass(frozen=True)
class Wishes:
    """What the person in front wants of the model thread; replaced as a whole, never changed.

    Attributes
    ----------
    enhance
        False while only the original is looked at: nothing is computed.
    model, nuclei
        Name or file of a model; ``"auto"`` takes what fits the pixel size, ``""`` none.
    focus_px
        Row and column that is looked at (cursor, lens); None: the middle of `area_px`.
    area_px
        Top, left, rows and columns of what can be seen of the enhanced picture: that comes first.
        None: the whole field.
    disagreement
        Whether the map is wanted.
    """

    enhance: bool = True
    model: str = "auto"
    nuclei: str = "auto"
    focus_px: tuple[float, float] | None = None
    area_px: tuple[float, float, float, float] | None = None
    disagreement: bool = False


@dataclass(frozen=True)
class Abilities:
    """What the source cannot do, each in words for a person; empty where it can.

    Attributes
    ----------
    objectives
        Names of those that can be turned to, by magnification.
    gain_limits
        Least and largest gain of the camera.
    """

    stage: str = ""
    focus: str = ""
    nosepiece: str = ""
    exposure: str = ""
    gain: str = ""
    objectives: tuple[str, ...] = ()
    gain_limits: tuple[float, float] | None = None
    stage_limits_um: tuple[tuple[float, float], tuple[float, float]] | None = field(default=None)
