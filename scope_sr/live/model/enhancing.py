"""A part of a frame, enhanced, and the nuclei in it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.engine import Engine, out_of_memory
from scope_sr.imaging.fidelity import disagreement, sharper_by_px
from scope_sr.imaging.nuclei import Labels, filled, instances
from scope_sr.imaging.tissue import glass_level, tissue_mask
from scope_sr.live.model.on_gpu import OnGpu
from scope_sr.live.model.tiling import Shape, looked_at, whole
from scope_sr.live.seen import Bgra, Nuclei, Rgb, Seen, Window

WITHIN, OUTLINE = 1, 2
# Seen beyond a window, in pixels of the picture nuclei are looked for in: 9 µm at 0.25 µm. A field
# of the simulated rig (1024 px, compact-x2) has 2430 nuclei at once and 2428 in windows of 96 px
BEYOND_PX = 36
BLUR_UM = 1.0  # takes off the noise of a camera, and leaves the smallest nucleus
TISSUE_LEVELS = 12.0  # standard deviation of green; a blank field of the simulated rig has 2
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))

Planes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Piece:
    """What a generator made of a part of a frame.

    Attributes
    ----------
    window
        What is kept.
    around
        What was looked at.
    rgb
        All that was looked at, enhanced, ``(scale * rows, scale * columns, 3)``.
    pixels
        Of the window, as :class:`~scope_sr.live.seen.Patch` has them.
    """

    seen: Seen
    window: Window
    around: Window
    scale: int
    rgb: Rgb
    pixels: Bgra

    def kept(self, scale: int) -> tuple[slice, slice]:
        """Say where the window lies in what was looked at, `scale` times as large."""
        top, left = self.window.top - self.around.top, self.window.left - self.around.left
        inner = Window(
            scale * top, scale * left, scale * self.window.rows, scale * self.window.columns
        )
        return inner.slices


class Enhancer:
    """The models that are in use, and what is done with them.

    Windows that lie side by side give what the whole picture gives: each is looked at with the halo
    of the generator. Nuclei are looked for in what was looked at, so that one on the edge of a
    window is seen as a whole as far as the halo goes; but the U-Net looks farther (112 px) than
    that, and finds a little else there than in the whole picture.

    Attributes
    ----------
    generator
        None: the original is shown, and nuclei are looked for in it.
    nuclei
        None: they are not looked for.
    """

    def __init__(self, generator: Engine | None, nuclei: Engine | None) -> None:
        self.generator = generator
        self.nuclei = nuclei
        self._sharper_px: float | None = None
        self._on_gpu = _on_gpu(generator, nuclei)

    @property
    def scale(self) -> int:
        """Pixels of the result to one of the camera."""
        return self.generator.card.scale if self.generator else 1

    @property
    def halo_px(self) -> int:
        """How much is looked at around a window, in pixels of the camera."""
        least = -(-BEYOND_PX // self.scale) if self.nuclei else 0
        return max(least, self.generator.card.halo_px if self.generator else 0)

    def piece(self, seen: Seen, window: Window, size: Shape) -> Piece:
        """Enhance a window of a frame.

        Parameters
        ----------
        size
            Rows and columns of the largest window there will be; see
            :func:`scope_sr.live.model.tiling.looked_at`.

        Raises
        ------
        ScopeSRError, RuntimeError, MemoryError
            Of the engine.
        """
        if self._on_gpu and window == whole(seen.shape):
            found = self._whole(seen, window)
            if found:
                return found
        around = looked_at(window, size, self.halo_px, seen.shape)
        low = seen.rgb[around.slices]
        rgb = self.generator(low) if self.generator else low
        place = Piece(seen, window, around, self.scale, rgb, rgb)
        pixels = cv2.cvtColor(rgb[place.kept(self.scale)], cv2.COLOR_RGB2BGRA)
        return Piece(seen, window, around, self.scale, rgb, np.asarray(pixels, np.uint8))

    def planes(self, piece: Piece) -> Planes:
        """Let the U-Net look at a piece; not at bare glass, where nothing can be.

        Raises
        ------
        ScopeSRError, RuntimeError, MemoryError
            Of the engine.
        """
        if self.nuclei is None:
            msg = "there is no nuclei model"
            raise ValueError(msg)
        if self._on_gpu and piece.window == piece.around == whole(piece.seen.shape):
            return self._on_gpu.planes()
        if bare(piece):
            return np.zeros_like(piece.rgb)
        return self.nuclei(piece.rgb)

    def disagreement(self, piece: Piece) -> NDArray[np.float32] | None:
        """Map where a piece says something else than the frame; None where nothing was made.

        How much sharper the generator makes things is found on the first piece with tissue in it,
        and held from then on.
        """
        if self.generator is None:
            return None
        low = piece.seen.rgb[piece.around.slices]
        if self._sharper_px is None and low[..., 1].std() > TISSUE_LEVELS:
            self._sharper_px = sharper_by_px([(low, piece.rgb)])
        apart = disagreement(low, piece.rgb, self._sharper_px or 0.0)
        return np.ascontiguousarray(apart[piece.kept(1)])

    def _whole(self, seen: Seen, window: Window) -> Piece | None:
        """Enhance the field on the GPU; None where its memory ended, and no more from then on."""
        if self._on_gpu is None or self.generator is None:
            return None
        try:
            pixels = self._on_gpu.picture(seen.rgb)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            self._on_gpu = None
            self.generator.tell(f"{self.generator.runtime.name}: out of memory; going on in tiles")
            return None
        rgb = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB)
        return Piece(seen, window, window, self.scale, np.asarray(rgb, np.uint8), pixels)


def bare(piece: Piece) -> bool:
    """Say whether nothing in a piece is darker than glass: no tissue, and no lone nucleus."""
    blur_px = BLUR_UM / (piece.seen.um_per_px or BLUR_UM / 2)
    glass = glass_level([piece.seen.rgb], 255)
    return not tissue_mask(piece.seen.rgb[piece.around.slices], glass, blur_px).any()


def found(planes: Planes, piece: Piece) -> Nuclei:
    """Tell the nuclei of a piece apart, measure them, and keep what lies in its window.

    A nucleus is counted where its first pixel lies, row by row, as `enhance` does (decision 22);
    its area is that of the whole nucleus, as far as it was looked at.

    Parameters
    ----------
    planes
        Of all that was looked at; see :func:`scope_sr.imaging.nuclei.instances`.
    """
    um_per_px = piece.seen.um_per_px and piece.seen.um_per_px / piece.scale
    labels = filled(instances(planes, um_per_px))
    kept = piece.kept(piece.scale)
    areas_px = np.bincount(labels.ravel())[1:]
    counted_px = areas_px[first_within(labels, kept)].astype(np.float64)
    areas_um2 = counted_px * (um_per_px or 1.0) ** 2
    return Nuclei(_numbered(labels[kept]), classes(labels)[kept].copy(), areas_um2)


def first_within(labels: Labels, kept: tuple[slice, slice]) -> NDArray[np.bool_]:
    """Mark those of the nuclei 1 .. K whose first pixel lies in a part of the picture.

    >>> labels = np.array([[0, 2, 2], [1, 0, 2]], np.int32)
    >>> first_within(labels, (slice(0, 1), slice(0, 3))).tolist()
    [False, True]
    """
    pixels = np.flatnonzero(labels)[::-1]
    first = np.zeros(int(labels.max(initial=0)) + 1, np.intp)
    first[labels.ravel()[pixels]] = pixels  # the last one put there stays: backwards, the first
    rows, columns = np.divmod(first[1:], labels.shape[1])
    return np.asarray(
        (kept[0].start <= rows)
        & (rows < kept[0].stop)
        & (kept[1].start <= columns)
        & (columns < kept[1].stop)
    )


def classes(labels: Labels) -> NDArray[np.uint8]:
    """Tell the outline of nuclei from what is within; nuclei that touch have one each.

    >>> classes(np.array([[1, 1, 1, 2, 2]] * 3, np.int32))[1].tolist()
    [1, 1, 2, 2, 1]
    """
    numbers = labels.astype(np.float32)  # exact up to 16 million of them
    differs = cv2.morphologyEx(numbers, cv2.MORPH_GRADIENT, CROSS) > 0
    return np.asarray(np.where(labels > 0, np.where(differs, OUTLINE, WITHIN), 0), np.uint8)


def _numbered(labels: Labels) -> Labels:
    """Give those that are left numbers from 1 on."""
    there = np.bincount(labels.ravel()) > 0
    there[0] = False
    return np.asarray(np.where(there, np.cumsum(there), 0).astype(np.int32)[labels], np.int32)


def _on_gpu(generator: Engine | None, nuclei: Engine | None) -> OnGpu | None:
    """Put both where they are together; a nuclei model that lies elsewhere keeps them apart."""
    if generator is None or generator.runtime.name != "cuda" or generator.runtime.model is None:
        return None
    if nuclei is None:
        return OnGpu(generator.runtime.model, None)
    same = nuclei.runtime.name == "cuda" and nuclei.runtime.model is not None
    return OnGpu(generator.runtime.model, nuclei.runtime.model) if same else None
