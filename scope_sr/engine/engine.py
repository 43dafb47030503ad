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
from scope_sr.errors import ScopeSRError
from scope_sr.modelfile import Card

Picture = NDArray[np.uint8]
Region = Callable[[slice, slice], Picture]
Tell = Callable[[str], None]

# Of allocators that raise a plain RuntimeError: MPS, the processor in torch, and in OpenVINO
NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "bad_alloc",
    "bad alloc",
)


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

    def bands(self, region: Region, shape: tuple[int, int], start: int = 0) -> Iterator[Band]:
        """Run a picture that is read part by part; give the result from the top, band by band.

        Parameters
        ----------
        region
            Gives the pixels ``(rows, columns, 3)`` of two slices.
        shape
            Rows and columns of the picture.
        start
            Row of the result to go on with. What lies above is not computed, but for the rest of a
            band that begins above it.

        Raises
        ------
        ValueError
            The result has no such row to go on with.
        ScopeSRError
            The memory does not even hold the smallest window.
        """
        scale = self.card.scale
        if not 0 <= start <= scale * shape[0]:
            msg = f"start = {start}, but the result has {scale * shape[0]} rows"
            raise ValueError(msg)
        for band in self.plan(shape):
            rows = band[0].core(scale)[0]
            if rows.stop <= start:
                continue
            found = np.empty((rows.stop - rows.start, scale * shape[1], 3), np.uint8)
            for group in batches(band, self.batch):
                results = self._run(np.stack([region(*tile.window) for tile in group]))
                for tile, result in zip(group, results, strict=True):
                    found[:, tile.core(scale)[1]] = result[tile.kept(scale)]
            top = max(rows.start, start)
            yield Band(top, found[top - rows.start :])

    def plan(self, shape: tuple[int, int]) -> tuple[tuple[Tile, ...], ...]:
        """Divide a picture into bands of tiles."""
        return bands(shape, self.window_px, self.card.halo_px, self.card.multiple_px)

    def _run(self, pictures: Picture) -> Picture:
        """Run pictures of one size; where memory does not hold them, in smaller parts.

        A window in parts gives what it gives as a whole, so that nothing is seen of it later.
        """
        if max(pictures.shape[1:3]) > self.window_px:
            return np.stack([self(picture) for picture in pictures])
        if len(pictures) > self.batch:
            groups = np.split(pictures, range(self.batch, len(pictures), self.batch))
            return np.concatenate([self._run(group) for group in groups])
        try:
            return self.runtime.run(pictures)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        self._give_way()
        return self._run(pictures)

    def _give_way(self) -> None:
        """Take half as much at a time; the processor where that leaves nothing.

        Raises
        ------
        ScopeSRError
            There is nothing left to give.
        """
        name, halo, multiple = self.runtime.name, self.card.halo_px, self.card.multiple_px
        half = self.window_px // 2 // multiple * multiple
        if self.batch > 1:
            self.batch //= 2
            self.tell(f"{name}: out of memory; going on with batches of {self.batch}")
        elif half > 2 * halo:
            self.window_px = half
            self.tell(f"{name}: out of memory; going on with tiles of {half} px")
        elif self.fallback:
            self.runtime, self.fallback = self.fallback(), None
            self.tell(f"{name}: out of memory; going on with {self.runtime.name}")
        else:
            msg = (
                f"{self.card.name}: the memory does not even hold a tile of {self.window_px} px"
                f" ({name}); end other programs, or take a smaller model"
            )
            raise ScopeSRError(msg)


def out_of_memory(error: Exception) -> bool:
    """Say whether a runtime failed because the memory, its own or the computer's, ended.

    >>> out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 8.88 GB)"))
    True
    >>> out_of_memory(RuntimeError("expected scalar type Half but found Float"))
    False
    """
    words = str(error).lower()
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        phrase in words for phrase in NO_MEMORY
    )
