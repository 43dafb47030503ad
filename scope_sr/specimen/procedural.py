"""Procedural H&E tissue without end, whose every nucleus is known.

The plane is cut into blocks. A block's random numbers depend on the seed and on its place alone, a
nucleus belongs to the block of its centre, and everything else is noise on a hashed lattice: any
region can be drawn at any time, in any order, and always looks the same.

Stains follow Beer-Lambert with the two vectors that look right for Macenko-normalised slides
(Macenko et al., ISBI 2009), so that another staining is another matrix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scope_sr.pictures.boxes import Box, paste

Field = NDArray[np.float64]

HEMATOXYLIN = np.array([0.563, 0.720, 0.406])
EOSIN = np.array([0.216, 0.801, 0.558])
BLOCK_PX = 256
# Nuclei stand one to a cell of 8 µm, jittered: dense, and rarely on top of each other.
CELL_PX = 32
CELLS = BLOCK_PX // CELL_PX
# The longest half axis, and how far beyond it the waves of an outline reach: within one block.
LONGEST_PX = 20.0
WAVES_REACH = 1.14
# 45 MB: the blocks under one large camera field and its neighbours.
BLOCKS_KEPT = 100
# Blocks -2048 to 2047, 13 cm either way, have room for their nuclei in 31 bits; then comes glass.
HALF_BLOCKS = 2048


@dataclass(frozen=True)
class Nucleus:
    """An ellipse with a wavy outline; lengths in slide pixels, angles in radians."""

    number: int
    column: float
    row: float
    long_px: float
    short_px: float
    angle: float
    waves: tuple[tuple[float, float], ...]
    stain: float


class ProceduralTissue:
    """Glands, stroma and lumens drawn from a seed; see `slide.Slide` for its laws.

    Parameters
    ----------
    seed
        Not negative. Another seed is another slide.
    """

    um_per_px = 0.25
    size_px = None

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._nuclei = lru_cache(maxsize=16 * BLOCKS_KEPT)(self._scatter)
        self._block = lru_cache(maxsize=BLOCKS_KEPT)(self._draw)

    def region(self, column: int, row: int, width: int, height: int) -> NDArray[np.uint8]:
        """Transmittance of a rectangle: (height, width, 3) RGB, 255 is clear glass."""
        seen = Box(column, row, width, height)
        image = np.full((height, width, 3), 255, np.uint8)
        for block in _blocks_in(seen):
            paste(image, seen, self._block(block)[0], _place(block))
        return image

    def labels(self, column: int, row: int, width: int, height: int) -> NDArray[np.int32]:
        """Nuclei of a rectangle: (height, width); 0 is where there is none."""
        seen = Box(column, row, width, height)
        labels = np.zeros((height, width), np.int32)
        for block in _blocks_in(seen):
            paste(labels, seen, self._block(block)[1], _place(block))
        return labels

    def _draw(self, block: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        place = _place(block)
        x = place.column + np.arange(BLOCK_PX, dtype=float)[None, :]
        y = place.row + np.arange(BLOCK_PX, dtype=float)[:, None]
        tissue, glands = self._architecture(x, y)
        blue, labels = self._nuclear_stain(block, x, y)
        eosin = tissue * self._eosin(x, y, glands) * (1 - 0.6 * np.minimum(1, 2 * blue))
        grain = 0.8 + 0.4 * self._noise(x, y, 6.0, salt=21)
        hematoxylin = blue + tissue * grain * (0.03 + 0.11 * glands)
        density = hematoxylin[:, :, None] * HEMATOXYLIN + eosin[:, :, None] * EOSIN
        return np.rint(255 * np.exp(-math.log(10) * density)).astype(np.uint8), labels

    def _architecture(self, x: Field, y: Field) -> tuple[Field, Field]:
        """Say where there is tissue at all, and where it is gland; both 0 to 1."""
        wide = 0.65 * self._noise(x, y, 900.0, salt=1) + 0.35 * self._noise(x, y, 260.0, salt=2)
        holes = 0.6 * self._noise(x, y, 420.0, salt=3) + 0.3 * self._noise(x, y, 130.0, salt=4)
        holes = holes + 0.1 * self._noise(x, y, 30.0, salt=5)
        return 1 - _step(holes, 0.70, 0.72), _step(wide, 0.47, 0.54)

    def _eosin(self, x: Field, y: Field, glands: Field) -> Field:
        """Eosin of wavy collagen between glands, of granular cytoplasm within them."""
        bend = 260.0 * self._noise(x, y, 480.0, salt=6) + 40.0 * self._noise(x, y, 90.0, salt=7)
        along, across = 0.8 * x - 0.6 * y, 0.6 * x + 0.8 * y + bend
        fibres = 0.6 * self._noise(along / 12, across, 10.0, salt=8)
        fibres = fibres + 0.4 * self._noise(along / 8, across, 4.0, salt=9)
        stroma = 0.07 + 0.34 * _step(fibres, 0.15, 0.85)
        cytoplasm = 0.16 + 0.13 * self._noise(x, y, 22.0, salt=10)
        cytoplasm = cytoplasm + 0.06 * self._noise(x, y, 5.0, salt=11)
        return (1 - glands) * stroma + glands * cytoplasm

    def _nuclear_stain(
        self, block: tuple[int, int], x: Field, y: Field
    ) -> tuple[Field, NDArray[np.int32]]:
        """Draw haematoxylin and numbers of all nuclei that reach into a block."""
        stain = np.zeros((BLOCK_PX, BLOCK_PX))
        labels = np.zeros((BLOCK_PX, BLOCK_PX), np.int32)
        chromatin = 0.6 * self._noise(x, y, 7.0, salt=12) + 0.4 * self._noise(x, y, 3.0, salt=13)
        place = _place(block)
        # Where two touch the lower number wins, whichever block asks.
        for nucleus in self._nuclei_near(block):
            box = _box(nucleus)
            if not box.meets(place):
                continue
            here = box.common(place).slices(place)
            depth, inside = _body(nucleus, x[:, here[1]], y[here[0]])
            drawn = nucleus.stain * depth * (0.45 + 0.75 * chromatin[here])
            np.maximum(stain[here], drawn, out=stain[here])
            np.copyto(labels[here], nucleus.number, where=inside & (labels[here] == 0))
        return stain, labels

    def _nuclei_near(self, block: tuple[int, int]) -> list[Nucleus]:
        column, row = block
        around = [(column + i, row + j) for j in (-1, 0, 1) for i in (-1, 0, 1)]
        return [nucleus for near in around for nucleus in self._nuclei(near)]

    def _scatter(self, block: tuple[int, int]) -> list[Nucleus]:
        """List the nuclei whose centres lie in a block: many in glands, few in stroma."""
        column, row = block
        if not all(-HALF_BLOCKS <= k < HALF_BLOCKS for k in block):
            return []
        number = (row + HALF_BLOCKS) * 2 * HALF_BLOCKS + column + HALF_BLOCKS
        rng = np.random.default_rng([self._seed, column + HALF_BLOCKS, row + HALF_BLOCKS])
        grid = np.mgrid[:CELLS, :CELLS].reshape(2, -1)
        y, x = (grid + rng.uniform(0.12, 0.88, grid.shape)) * CELL_PX
        x, y = x + column * BLOCK_PX, y + row * BLOCK_PX
        tissue, glands = self._architecture(x, y)
        present = rng.uniform(size=x.size) < (tissue > 0.5) * (0.16 + 0.62 * glands)
        return [
            _nucleus(number * CELLS**2 + k + 1, x[k], y[k], glands[k] > 0.5, rng)
            for k in np.flatnonzero(present).tolist()
        ]

    def _noise(self, x: Field, y: Field, cell: float, *, salt: int) -> Field:
        """Value noise, 0 to 1, smooth over lengths of `cell`; a function of place alone."""
        i, j = np.floor(x / cell), np.floor(y / cell)
        u, v = _step(x / cell - i, 0.0, 1.0), _step(y / cell - j, 0.0, 1.0)
        left, top = int(i.min()), int(j.min())
        columns = np.arange(left, int(i.max()) + 2)
        rows = np.arange(top, int(j.max()) + 2)
        lattice: Field = _hashed(columns[None, :], rows[:, None], self._seed * 64 + salt)
        i, j = (i - left).astype(np.intp), (j - top).astype(np.intp)
        if i.shape[0] == 1 == j.shape[-1]:
            # Upright grids, which are most, interpolate along one axis after the other: 4x faster.
            across = lattice[:, i[0]] * (1 - u) + lattice[:, i[0] + 1] * u
            return np.asarray(across[j[:, 0]] * (1 - v) + across[j[:, 0] + 1] * v)
        upper = lattice[j, i] * (1 - u) + lattice[j, i + 1] * u
        lower = lattice[j + 1, i] * (1 - u) + lattice[j + 1, i + 1] * u
        return np.asarray(upper * (1 - v) + lower * v)


def _nucleus(
    number: int, column: float, row: float, epithelial: bool, rng: np.random.Generator
) -> Nucleus:
    """Draw the shape: round and pale in glands, spindly and dark in stroma."""
    middle, roundness = (13.0, 0.80) if epithelial else (12.5, 0.45)
    long_px = float(np.clip(middle * rng.lognormal(0, 0.16), 8, LONGEST_PX))
    waves = tuple(
        (float(rng.uniform(0, 0.12 / order)), float(rng.uniform(0, 2 * np.pi)))
        for order in (2, 3, 4)
    )
    return Nucleus(
        number=number,
        column=float(column),
        row=float(row),
        long_px=long_px,
        short_px=long_px * float(np.clip(rng.normal(roundness, 0.1), 0.3, 1)),
        angle=float(rng.uniform(0, np.pi)),
        waves=waves,
        stain=float((0.62 if epithelial else 0.85) * rng.lognormal(0, 0.25)),
    )


def _body(nucleus: Nucleus, x: Field, y: Field) -> tuple[Field, NDArray[np.bool_]]:
    """Give the thickness of a nucleus, with its darker rim, and the inside of its outline."""
    dx, dy = x - nucleus.column, y - nucleus.row
    cos, sin = np.cos(nucleus.angle), np.sin(nucleus.angle)
    u, v = (cos * dx + sin * dy) / nucleus.long_px, (cos * dy - sin * dx) / nucleus.short_px
    angle = np.arctan2(v, u)
    outline = np.ones_like(angle)
    for order, (height, phase) in enumerate(nucleus.waves, start=2):
        outline += height * np.cos(order * angle + phase)
    radius = np.hypot(u, v) / outline
    rim = np.exp(-np.square((radius - 0.88) / 0.1))
    soft = np.clip((1 - radius) * nucleus.short_px / 2 + 0.5, 0, 1)
    return soft * (0.85 + 0.35 * rim), radius < 1


def _hashed(columns: NDArray, rows: NDArray, salt: int) -> Field:
    """Hash lattice points to 0..1 (the finaliser of splitmix64; Steele et al., OOPSLA 2014)."""
    i, j = (np.asarray(k, np.int64).view(np.uint64) for k in (columns, rows))
    z = i * np.uint64(0x9E3779B97F4A7C15) + j * np.uint64(0xC2B2AE3D27D4EB4F) + np.uint64(salt)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


def _step(value: Field, low: float, high: float) -> Field:
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def _blocks_in(seen: Box) -> list[tuple[int, int]]:
    """List the blocks that a rectangle touches, as far as there is tissue."""
    spans = []
    for start, length in ((seen.column, seen.width), (seen.row, seen.height)):
        first = max(start // BLOCK_PX, -HALF_BLOCKS)
        last = min((start + length - 1) // BLOCK_PX, HALF_BLOCKS - 1)
        spans.append(range(first, last + 1))
    return [(column, row) for row in spans[1] for column in spans[0]]


def _place(block: tuple[int, int]) -> Box:
    return Box(block[0] * BLOCK_PX, block[1] * BLOCK_PX, BLOCK_PX, BLOCK_PX)


def _box(nucleus: Nucleus) -> Box:
    reach = math.ceil(nucleus.long_px * WAVES_REACH) + 2
    column, row = math.floor(nucleus.column) - reach, math.floor(nucleus.row) - reach
    return Box(column, row, 2 * reach + 1, 2 * reach + 1)
