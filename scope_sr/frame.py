"""What the microscope hands over, and in which frame of reference.

Images are ``(row, column)`` or ``(row, column, channel)``, RGB, uint8 or uint16.
Pixel coordinates ``(x, y)`` are (column, row), integers at pixel centres, measured **from the
image centre**: in an image 4 pixels wide the columns stand at x = -1.5, -0.5, 0.5 and 1.5.
Stage positions are µm, as the stage reports them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Position:
    """A stage position in µm; z is the focus drive.

    >>> Position(10.0, -20.0, 3.0).describe()
    'x = 10.00, y = -20.00, z = 3.00 µm'
    """

    x_um: float
    y_um: float
    z_um: float

    def describe(self) -> str:
        """Say the position the way messages do."""
        return f"x = {self.x_um:.2f}, y = {self.y_um:.2f}, z = {self.z_um:.2f} µm"


@dataclass(frozen=True)
class CameraFacts:
    """Which camera it is, and how it is set.

    Attributes
    ----------
    name
        What it calls itself, with all that makes its pixels others: region of interest, binning.
    pixel_size_um
        What the backend itself takes one pixel for, with the objective in place; None if it does
        not say.
    gain_limits
        Least and largest gain, in the camera's own unit; None where it has none to set.
    """

    name: str
    pixel_size_um: float | None = None
    gain_limits: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Frame:
    """One image and the circumstances it was taken in.

    Attributes
    ----------
    image
        ``(row, column, 3)`` RGB or ``(row, column)``; uint8 up to 8 bits, uint16 above.
    position
        Where the stage said it was, read back after the move, not where it was sent.
    objective
        Name of the objective in the rig.
    exposure_ms
        Exposure as the camera reports it.
    time
        Start of the exposure, seconds since 1970 (UTC).
    number
        Frames this camera has delivered since it was opened, this one included; a gap in a stream
        means lost frames.
    """

    image: NDArray[np.uint8] | NDArray[np.uint16]
    position: Position
    objective: str
    exposure_ms: float
    time: float
    number: int
