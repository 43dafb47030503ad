"""A tissue microarray of real breast tissue: round cores of seven patients on clear glass.

The tissue is that of Naylor et al., IEEE TMI 38 (2018): 33 fields of triple-negative breast cancer
at 0.25 µm per pixel with every nucleus outlined (``data/ATTRIBUTION.md``). A core shows one patient
only, and neighbouring cores show different ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
import tifffile
from numpy.typing import NDArray

from scope_sr.pictures.boxes import Box, paste
from scope_sr.specimen.quilt import Piece
from scope_sr.specimen.tissue_core import CANVAS_PX, RADIUS_PX, assemble

UM_PER_PX = 0.25
COLUMNS, ROWS = 7, 5
PITCH_PX = 2800
PATIENTS = 7
# Puts patient 07, rich in nuclei and contrast, under the objective at stage (0, 0).
FIRST_PATIENT = 4
# 26 MB each. A row of large fields that straddles two rows of cores walks over 14 of them and comes
# back along the same ones: the twelve last seen serve it.
CORES_KEPT = 12
# Nuclei of core k are numbered from k times this; a core holds a few thousand.
NUCLEI_PER_CORE = 2**16


@dataclass(frozen=True)
class Core:
    """Where a patient lies: stage position of a core's centre, and a radius no tissue exceeds."""

    patient: str
    x_um: float
    y_um: float
    radius_um: float


def patients() -> tuple[Core, ...]:
    """List the cores of the array, row by row from the upper left.

    All cores of a patient are composed of the same few images. Training and test areas must
    therefore be told apart by patient, never by distance alone. ``data/patients.json`` holds the
    same list.

    Examples
    --------
    >>> patients()[0]
    Core(patient='05', x_um=-2100.0, y_um=1400.0, radius_um=284.0)
    """
    return tuple(
        Core(
            patient=f"{(FIRST_PATIENT + column + 3 * row) % PATIENTS + 1:02d}",
            x_um=(column - COLUMNS // 2) * PITCH_PX * UM_PER_PX,
            y_um=(ROWS // 2 - row) * PITCH_PX * UM_PER_PX,
            radius_um=RADIUS_PX * UM_PER_PX,
        )
        for row in range(ROWS)
        for column in range(COLUMNS)
    )


class TissueArray:
    """The shipped slide: 7 x 5 cores of 0.57 mm at 0.7 mm pitch; see `slide.Slide` for its laws.

    Cores are assembled when they are first looked at, half a second each; the last `CORES_KEPT` are
    kept.

    Parameters
    ----------
    seed
        Chooses how the images are arranged within the cores; never which patient lies where.
    """

    um_per_px = UM_PER_PX
    size_px = (COLUMNS * PITCH_PX, ROWS * PITCH_PX)

    def __init__(self, seed: int) -> None:
        self.patients = patients()
        self._seed = seed
        self._core = lru_cache(maxsize=CORES_KEPT)(self._assemble)

    def region(self, column: int, row: int, width: int, height: int) -> NDArray[np.uint8]:
        """Transmittance of a rectangle: (height, width, 3) RGB, 255 is clear glass."""
        seen = Box(column, row, width, height)
        image = np.full((height, width, 3), 255, np.uint8)
        for number in self._cores_in(seen):
            paste(image, seen, self._core(number).image, _place(self.patients[number]))
        return image

    def labels(self, column: int, row: int, width: int, height: int) -> NDArray[np.int32]:
        """Nuclei of a rectangle: (height, width); 0 is where no nucleus is known."""
        seen = Box(column, row, width, height)
        labels = np.zeros((height, width), np.int32)
        for number in self._cores_in(seen):
            lies = _place(self.patients[number])
            shared = seen.common(lies)
            local = self._core(number).labels[shared.slices(lies)].astype(np.int32)
            local[local > 0] += number * NUCLEI_PER_CORE
            labels[shared.slices(seen)] = local
        return labels

    def _cores_in(self, seen: Box) -> list[int]:
        return [k for k, core in enumerate(self.patients) if _place(core).meets(seen)]

    def _assemble(self, number: int) -> Piece:
        pieces = read_pieces(self.patients[number].patient)
        return assemble(pieces, np.random.default_rng([self._seed, number]))


def read_pieces(patient: str) -> list[Piece]:
    """Read the shipped images and nuclei maps of a patient, by name; 512 x 512 each."""
    images = _read_pages("tnbc_images.tif", patient)
    labels = _read_pages("tnbc_labels.tif", patient)
    return [Piece(images[name], labels[name]) for name in sorted(images)]


def _read_pages(file_name: str, patient: str) -> dict[str, NDArray]:
    path = files("scope_sr.specimen") / "data" / file_name
    with path.open("rb") as stream, tifffile.TiffFile(stream) as tiff:
        pages = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage)]
        return {
            page.description: page.asarray()
            for page in pages
            if page.description.startswith(f"{patient}_")
        }


def _place(core: Core) -> Box:
    """Give the canvas of a core in slide pixels; rows grow with stage -y."""
    column, row = round(core.x_um / UM_PER_PX), round(-core.y_um / UM_PER_PX)
    return Box(column - CANVAS_PX // 2, row - CANVAS_PX // 2, CANVAS_PX, CANVAS_PX)
