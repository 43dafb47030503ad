"""Fields of the simulated microscope with the truth of each, rendered once for all tests."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rigs import make_rig

from scope_sr.config import Rig
from scope_sr.frame import Position
from scope_sr.imaging.affine import Overlap
from scope_sr.imaging.shift import block_shifts, green
from scope_sr.microscope import open_microscope

SIDE = 5


@dataclass(frozen=True, eq=False)
class Field:
    """An image, where the stage was sent for it, and what it really shows."""

    image: NDArray[np.uint8]
    sent_um: tuple[float, float]
    centre_um: NDArray[np.float64]
    matrix: NDArray[np.float64]
    distortion: float


def tissue_rig(size_px: tuple[int, int], **changes: str) -> Rig:
    """Take the test rig with tissue of the package and a camera of any size."""
    changes = {
        "width_px = 64": f"width_px = {size_px[0]}",
        "height_px = 48": f"height_px = {size_px[1]}",
        'tissue = "procedural"': 'tissue = "tnbc"',
        **changes,
    }
    return make_rig(**changes)


def fields(rig: Rig, views: Sequence[tuple[str, tuple[float, float, float]]]) -> list[Field]:
    """Take pictures, each with an objective and at a place of the stage."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder)
        with open_microscope(rig, log_folder=log) as microscope:
            for objective, place in views:
                if microscope.objective != objective:
                    microscope.select_objective(objective)
                microscope.move_to(Position(*place))
                image = microscope.snap().image
                truth = json.loads((log / "truth.jsonl").read_text().splitlines()[-1])
                centre, matrix = np.array(truth["centre_um"]), np.array(truth["matrix_um_per_px"])
                found.append(Field(image, place[:2], centre, matrix, truth["distortion"]))
    return found


@lru_cache
def grid() -> list[Field]:
    """5 x 5 fields of 256 px with the 10x, each half over the next; the middle one is the 13th."""
    at_um = (np.arange(SIDE) - SIDE // 2) * 64.0
    return fields(tissue_rig((256, 256)), [("10x", (x, y, 0.0)) for y in at_um for x in at_um])


@lru_cache
def overlaps() -> list[Overlap]:
    """Lay neighbours of the grid on each other, from what the operator knows of the rig."""
    found = []
    images = [green(field.image) for field in grid()]
    for i in range(len(images)):
        for j in range(i + 1, len(images)):
            move_um = np.subtract(grid()[j].sent_um, grid()[i].sent_um)
            if np.abs(move_um).max() < 70:
                expected_px = move_um / 0.5 * (-1, 1)
                found.append(Overlap(i, j, block_shifts(images[i], images[j], expected_px)))
    return found
