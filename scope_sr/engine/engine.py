"""The engine: a picture of any size through a model, in tiles, within a stated memory.

`live` and `enhance` both use it, and neither knows how a model was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from scope_sr.engine.runtimes import Runtime
from scope_sr.engine.tiles import Tile, bands, batches
from scope_sr.modelfile import Card

Picture = NDArray[np.uint8]
Region = Callable[[slice, slice], Picture]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Band:
    """A horizontal strip of a result: its first row, and its pixels ``(rows, width, 3)``."""

    top: int
    pixels: Picture


@dataclass(eq=False)
class Engine:
    """A model and how large a part of a picture it is given at a time.

    Attributes
    ----------
    runtime
        What it is computed with.
    window_px
        Side of what it looks at at a time.
    batch
        How many of these at once.
    fallback
        What is gone on with when the memory of a GPU does not even hold the smallest window.
    tell
        Hears one line whenever something had to be made smaller.
    """

    runtime: Runtime
    window_px: int
    batch: int = 1
    fallback: Callable[[], Runtime] | None = None
    tell: Tell = lambda line: None

    @property
    def card(self) -> Card:
        """Of the model."""
        return self.runtime.card

    def __call__(self, picture: Picture) -> Picture:
        """Run a whole picture ``(H, W, 3)`` that lies in memory."""
        rows, columns = (self.card.scale * side for side in picture.shape[:2])
        found = np.empty((rows, columns, 3), np.uint8)
        for band in self.bands(lambda r, c: picture[r, c], picture.shape[:2]):
            found[band.top : band.top + len(band.pixels)] = band.pixels
        return found

    def bands(self, region: Region, shape: tuple[int, int]) -> Iterator[Band]:
        """Run a picture that is read part by part; give the result from the top, band by band.

        Parameters
        ----------
        region
            Gives the pixels ``(rows, columns, 3)`` of two slices.
        shape
            Rows and columns of the picture.
        """
        scale = self.card.scale
        for band in self.plan(shape):
            first = band[0].core(scale)[0]
            found = np.empty((first.stop - first.start, scale * shape[1], 3), np.uint8)
            for group in batches(band, self.batch):
                results = self._run(np.stack([region(*tile.window) for tile in group]))
                for tile, result in zip(group, results, strict=True):
                    found[:, tile.core(scale)[1]] = result[tile.kept(scale)]
            yield Band(first.start, found)

    def plan(self, shape: tuple[int, int]) -> tuple[tuple[Tile, ...], ...]:
        """Divide a picture into bands of tiles."""
        return bands(shape, self.window_px, self.card.halo_px, self.card.multiple_px)

    def _run(self, pictures: Picture) -> Picture:
        """Run pictures of one size; where memory does not hold them, in smaller parts.

        A window in parts gives what it gives as a whole, so that nothing is seen of it later.
        """
        if max(pictures.shape[1:3]) > self.window_px:
            return np.stack([self(picture) for picture in pictures])
        try:
            return self.runtime.run(pictures)
        except torch.OutOfMemoryError:
            self._give_way()
        return self._run(pictures)

    def _give_way(self) -> None:
        """Take half as much at a time; the processor where that leaves nothing."""
        halo, multiple = self.card.halo_px, self.card.multiple_px
        half = self.window_px // 2 // multiple * multiple
        if self.batch > 1:
            self.batch //= 2
            self.tell(f"{self.runtime.name}: out of memory; going on with {self.batch} at a time")
        elif half > 2 * halo:
            self.window_px = half
            self.tell(f"{self.runtime.name}: out of memory; going on with tiles of {half} px")
        elif self.fallback:
            self.tell(f"{self.runtime.name}: out of memory even for small tiles; going on without")
            self.runtime, self.fallback = self.fallback(), None
        else:
            raise MemoryError
