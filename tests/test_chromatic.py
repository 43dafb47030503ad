"""The size of red and blue against green, from tissue, against what was put in."""

from __future__ import annotations

import math

import numpy as np
import pytest
from grids import grid, overlaps
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rigs import make_rig
from scipy import ndimage
from textures import texture

from scope_sr.imaging.affine import Overlap
from scope_sr.imaging.chromatic import RED, _shift_px, chromatic
from scope_sr.imaging.shift import block_shifts, green

TISSUE = texture((400, 400), corner_px=(56, 56))
AT = [(x, y) for y in (-40, 40) for x in (-40, 40)]
SHAPE = (160, 176)


def field(at: tuple[int, int], sizes: tuple[float, float], prism_px: float) -> NDArray:
    """Look at the tissue about a place, red and blue larger than green by a fraction.

    Red stains stand 0.3 px beside green ones on the slide itself.
    """
    rows, columns = SHAPE
    x = np.arange(columns) - (columns - 1) / 2
    y = np.arange(rows)[:, None] - (rows - 1) / 2
    planes = []
    for size, stain, prism in ((sizes[0], 0.3, prism_px), (0.0, 0.0, 0.0), (sizes[1], 0.0, 0.0)):
        where_x, where_y = np.broadcast_arrays((x - prism) / (1 + size) + stain, y / (1 + size))
        where = np.stack([where_y + 200 + at[1], where_x + 200 + at[0]])
        planes.append(ndimage.map_coordinates(TISSUE, where, order=5))
    return np.stack(planes, axis=2)


def laid(images: list[NDArray], at: list[tuple[int, int]]) -> list[Overlap]:
    found = []
    for i in range(len(images)):
        for j in range(i + 1, len(images)):
            expected_px = -np.subtract(at[j], at[i]).astype(float)
            shifts = block_shifts(green(images[i]), green(images[j]), expected_px)
            found.append(Overlap(i, j, shifts))
    return found


@given(st.floats(-2e-3, 2e-3), st.floats(-2e-3, 2e-3))
@settings(max_examples=4, deadline=None)
def test_known_sizes_are_found(red: float, blue: float) -> None:
    images = [field(at, (red, blue), 0.2) for at in AT]
    found = chromatic(images, laid(images, AT))
    corner_px = math.hypot(*SHAPE) / 2
    assert np.array(found.lateral_chromatic) * corner_px == pytest.approx(
        np.array([red, blue]) * corner_px, abs=0.01
    )
    # on each field red stands off by the prism, less where the stain stands on the slide
    assert found.shift_px == pytest.approx(np.array([[-0.1, 0], [0, 0]]), abs=0.02)
    assert min(found.blocks) > 24
    assert max(found.residual_px) < 0.02


def test_the_shift_of_a_colour_is_that_of_the_image_centre() -> None:
    image = field((0, 0), (4e-3, 0.0), 0.2)
    image[:, 100:] = 200  # what is left looks to one side, where red is 0.1 px off by its size
    found = _shift_px([image], RED, 4e-3, 64)
    assert found == pytest.approx([-0.1, 0], abs=0.03)
    assert np.isnan(_shift_px([np.full((99, 99, 3), 7)], RED, 0.0, 64)).all()


@pytest.mark.slow
def test_tissue_of_the_simulated_microscope() -> None:
    images = [f.image for f in grid()]
    truth = make_rig().simulation.objectives["10x"].lateral_chromatic
    found = chromatic(images, overlaps())
    off = np.subtract(found.lateral_chromatic, truth)
    assert np.abs(off * math.hypot(256, 256) / 2).max() < 0.01
    assert max(found.sigma) < 2e-5


@pytest.mark.slow
def test_too_little_tissue_is_refused() -> None:
    images = [f.image for f in grid()]
    with pytest.raises(
        ValueError, match=r"blocks of 1 overlaps .* green and in red; 24 are needed"
    ):
        chromatic(images, [o for o in overlaps() if {o.first, o.second} == {0, 6}])
    with pytest.raises(ValueError, match="0 blocks of 0 overlaps"):
        chromatic(images, [])
    no_blue = [np.dstack([image[..., :2], np.full((256, 256), 9, np.uint8)]) for image in images]
    with pytest.raises(ValueError, match=r"0 blocks of .* in blue"):
        chromatic(no_blue, overlaps()[:20])
    with pytest.raises(ValueError, match="colour"):
        chromatic([image[..., 1] for image in images], overlaps())
