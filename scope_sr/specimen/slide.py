"""The slide under the simulated objective: what its glass and tissue let through, pixel by pixel.

The pixel frame, stated here once for the whole floor: a slide has one native sampling `um_per_px`
(u). Pixels are whole numbers (column, row) counted from the slide's centre pixel, so they may be
negative. Pixel (0, 0) has its centre at stage (0, 0) µm, columns grow with stage +x, rows grow with
stage **-y**: stage (x, y) µm is seen at column x / u, row -y / u. Of an image w x h, the pixel at
column w // 2, row h // 2 becomes (0, 0).
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scope_sr.config import Specimen
from scope_sr.specimen.image_slide import ImageSlide
from scope_sr.specimen.procedural import ProceduralTissue
from scope_sr.specimen.tissue_array import TissueArray


class Slide(Protocol):
    """What lies on the stage. A region is a pure function of its arguments: crops agree exactly.

    Attributes
    ----------
    um_per_px
        Native sampling; nothing finer is known.
    size_px
        Width and height; None for a slide without end. Outside lies clear glass.
    """

    @property
    def um_per_px(self) -> float:
        """Native sampling in µm per pixel."""

    @property
    def size_px(self) -> tuple[int, int] | None:
        """Width and height in pixels, or None for a slide without end."""

    def region(self, column: int, row: int, width: int, height: int) -> NDArray[np.uint8]:
        """Transmittance of a rectangle: (height, width, 3) RGB; 255 is clear glass.

        (`column`, `row`) is its upper left pixel. It may reach outside the slide.
        """

    def labels(self, column: int, row: int, width: int, height: int) -> NDArray[np.int32]:
        """Nuclei of the same rectangle: (height, width), each nucleus by its own number.

        Numbers are unique over the slide and do not depend on the rectangle asked for; 0 is where
        no nucleus is known.
        """


def open_slide(specimen: Specimen, *, seed: int, folder: Path) -> Slide:
    """Open what the rig file calls its specimen.

    Parameters
    ----------
    specimen
        The ``[specimen]`` table; one that names nothing means the shipped tissue.
    seed
        Chooses the arrangement of the shipped tissue and everything of procedural tissue.
    folder
        Where relative paths of the rig file start.

    Raises
    ------
    InputError
        The user's image or its labels cannot be used.

    Examples
    --------
    >>> slide = open_slide(Specimen(tissue="tnbc"), seed=0, folder=Path())
    >>> slide.um_per_px, slide.size_px
    (0.25, (19600, 14000))
    """
    if specimen.image is not None and specimen.um_per_px is not None:
        labels = None if specimen.labels is None else folder / specimen.labels
        return ImageSlide(folder / specimen.image, specimen.um_per_px, labels)
    if specimen.tissue == "procedural":
        return ProceduralTissue(seed)
    return TissueArray(seed)
