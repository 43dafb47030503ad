"""One core of the tissue array: a patient's images joined into a disc with a natural edge."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.specimen.quilt import Piece, Quilt, without_slivers

PIECE_PX = 512
OVERLAP_PX = 64
# Five rows of 4, 5, 5, 5, 4 pieces cover a disc of this radius: 23 places, so that even a patient
# with three images (24 ways to lay them) shows no piece twice the same way up in one core.
ROWS = (4, 5, 5, 5, 4)
RADIUS_PX = 1136
# Pieces are chosen on thumbnails this much smaller; places are multiples of it.
THUMB = 8
# Rows of five reach 16 px beyond the disc; by this much they may be shifted against each other.
SLACK = 2
CANVAS_PX = len(ROWS) * (PIECE_PX - OVERLAP_PX) + OVERLAP_PX + 2 * SLACK * THUMB
# The section thins out over this distance at its edge: 2.5 µm.
EDGE_PX = 10.0


def assemble(pieces: Sequence[Piece], rng: np.random.Generator) -> Piece:
    """Make one core: `CANVAS_PX` square, its middle pixel the core's centre, glass round it.

    Parameters
    ----------
    pieces
        The patient's images, `PIECE_PX` square.
    rng
        Decides the arrangement and the outline.
    """
    quilt = Quilt(CANVAS_PX, CANVAS_PX, OVERLAP_PX)
    for index, orientation, column, row in arrange([piece.image for piece in pieces], rng):
        quilt.lay(pieces[index].turned(orientation), column, row)
    thickness = outline(rng)
    quilt.labels[thickness < 0.5] = 0
    return Piece(thinned(quilt.image, thickness), without_slivers(quilt.labels))


def arrange(
    images: Sequence[NDArray[np.uint8]], rng: np.random.Generator
) -> list[tuple[int, int, int, int]]:
    """Choose a piece and a way up for every place: (image, orientation, column, row) in order.

    Each place takes, among the pieces not used yet, one of those that continue best what already
    lies to the left and above. Neighbours from one image would look like a mirror, and like seeks
    like until a core shows one kind of tissue: both are made dear.
    """
    side, overlap = PIECE_PX // THUMB, OVERLAP_PX // THUMB
    thumbs = _thumbnails(images)
    unused = list(thumbs)
    canvas = np.zeros((CANVAS_PX // THUMB, CANVAS_PX // THUMB, 3), np.float32)
    source = np.full(canvas.shape[:2], -1)
    uses = np.zeros(len(images))
    chosen = []
    for column, row in _places(rng):
        here = slice(row, row + side), slice(column, column + side)
        border = source[here] >= 0
        border[overlap:, overlap:] = False
        shares = np.bincount(source[here][border], minlength=len(images)) / max(1, border.sum())
        dear = (1.0 + uses) * np.where(shares > 0.2, 30.0, 1.0)
        unused = unused or list(thumbs)
        costs = np.array(
            [dear[way[0]] * _mismatch(canvas[here], thumbs[way], border) for way in unused]
        )
        # Any of the best three, unless they are much worse, so that cores of one patient differ.
        good = [k for k in np.argsort(costs, kind="stable")[:3] if costs[k] <= 2 * costs.min()]
        way = unused.pop(int(rng.choice(good)))
        canvas[here], source[here] = thumbs[way], way[0]
        uses[way[0]] += 1
        chosen.append((*way, column * THUMB, row * THUMB))
    return chosen


def outline(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw the thickness of the section, 0 on glass to 1 in tissue; (`CANVAS_PX`,) * 2.

    A punched core is round to a few µm, frayed at the scale of cells, and never cut like paper.
    """
    coarse = CANVAS_PX // 4
    y, x = np.mgrid[:coarse, :coarse] * 4.0 - CANVAS_PX / 2
    radius = np.hypot(x, y)
    turn = np.arange(2048) * (2 * np.pi / 2048)
    phases = rng.uniform(0, 2 * np.pi, 5)
    order = np.arange(2, 7)[:, None]
    wobble = (12.0 / order * np.cos(order * turn + phases[:, None])).sum(axis=0)
    inside = 0.97 * RADIUS_PX - radius + wobble[(np.arctan2(y, x) * (1024 / np.pi)).astype(int)]
    for scale_px, height_px in ((160, 8.0), (40, 5.0), (12, 2.5)):
        cells = rng.standard_normal((CANVAS_PX // scale_px + 2,) * 2).clip(-2, 2)
        inside += height_px * _enlarged(cells, coarse)
    inside = np.minimum(inside, RADIUS_PX - EDGE_PX / 2 - radius)
    depth = np.clip(_enlarged(inside, CANVAS_PX) / EDGE_PX + 0.5, 0, 1)
    thickness: NDArray[np.float32] = depth * depth * (3 - 2 * depth)
    return thickness


def thinned(image: NDArray[np.uint8], thickness: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Scale the optical density of a transmittance image by thickness (Beer-Lambert)."""
    thin = image.copy()
    thin[thickness == 0] = 255
    edge = (thickness > 0) & (thickness < 1)
    thin[edge] = np.rint(255.0 * np.power(thin[edge] / 255.0, thickness[edge][:, None]))
    return thin


def _places(rng: np.random.Generator) -> list[tuple[int, int]]:
    """List the upper left corners of all places, in thumbnail pixels."""
    step, size = (PIECE_PX - OVERLAP_PX) // THUMB, CANVAS_PX // THUMB
    places = []
    for number, count in enumerate(ROWS):
        start = (size - count * step - OVERLAP_PX // THUMB) // 2
        if count == max(ROWS):
            start += int(rng.integers(-SLACK, SLACK + 1))
        places += [(start + k * step, SLACK + number * step) for k in range(count)]
    return places


def _thumbnails(
    images: Sequence[NDArray[np.uint8]],
) -> dict[tuple[int, int], NDArray[np.float32]]:
    side = PIECE_PX // THUMB
    thumbs = {}
    for index, image in enumerate(images):
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
        for orientation in range(8):
            turned = np.rot90(small, orientation % 4)
            thumbs[index, orientation] = turned[:, ::-1] if orientation >= 4 else turned
    return thumbs


def _mismatch(
    canvas: NDArray[np.float32], thumb: NDArray[np.float32], border: NDArray[np.bool_]
) -> float:
    if not border.any():
        return 0.0
    # The constant, 10 grey levels per channel squared, is what two patches of one tissue differ by.
    return 300.0 + float(np.square(canvas[border] - thumb[border]).sum(axis=1).mean())


def _enlarged(field: NDArray[np.float64], side: int) -> NDArray[np.float32]:
    return np.asarray(
        cv2.resize(field.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    )
