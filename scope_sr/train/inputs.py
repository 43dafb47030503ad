"""What a nuclei U-Net sees: high images, the same at a lower resolution, or what a model made."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scope_sr.config import Degradation, Mixture
from scope_sr.errors import InputError
from scope_sr.imaging.picture_scores import bicubic
from scope_sr.modelfile import load, read_card
from scope_sr.train.low import LowMaker
from scope_sr.train.nuclei_patches import HIGH, Input
from scope_sr.train.pairs import MARGIN_PX

Picture = NDArray[np.uint8]


def inputs_of(mixture: Mixture, seed: int) -> tuple[Input, ...]:
    """Make the inputs a recipe names; scales share ``low`` alike, models ``sr``.

    Raises
    ------
    InputError
        A model is missing, or is none for super-resolution.
    """
    found = [Input(HIGH.name, mixture.high, HIGH.degrade)] if mixture.high else []
    if mixture.low:
        share = mixture.low / len(mixture.scales)
        for scale in mixture.scales:
            enlarged = Enlarged(Lowered(mixture, scale, seed), scale)
            found.append(Input(f"bicubic x{scale}", share, enlarged))
    if mixture.sr:
        share = mixture.sr / len(mixture.models)
        found += [
            Input(Path(name).stem, share, _through(name, mixture, seed)) for name in mixture.models
        ]
    return tuple(found)


class Lowered:
    """Takes a picture down by a scale; the noise is a function of the picture itself."""

    def __init__(self, mixture: Mixture, scale: int, seed: int) -> None:
        self.scale = scale
        self.maker = LowMaker(Degradation(low=mixture.degrade, rig=mixture.rig), scale, seed)

    def __call__(self, picture: Picture) -> Picture:
        """Give ``(row / scale, column / scale, 3)``; beyond the edges lies the mirror image."""
        margin = MARGIN_PX * self.scale
        wide = np.pad(picture, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")
        high = torch.from_numpy(np.float32(wide) / 255).permute(2, 0, 1)[None]
        low = self.maker(high, zlib.crc32(np.ascontiguousarray(picture).tobytes()), 0)
        return np.asarray((low[0].permute(1, 2, 0) * 255).round().byte().numpy())


@dataclass(frozen=True)
class Enlarged:
    """Takes a picture down, and up again by bicubic interpolation."""

    low: Lowered
    scale: int

    def __call__(self, picture: Picture) -> Picture:
        """Give a picture of the same size."""
        return bicubic(self.low(picture), self.scale)


class Through:
    """Takes a picture down, and up again by a model; each worker process loads its own."""

    def __init__(self, low: Lowered, name: str) -> None:
        self.low = low
        self.name = name
        self._model: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the model behind: TorchScript is not sent to other processes."""
        return {**self.__dict__, "_model": None}

    def __call__(self, picture: Picture) -> Picture:
        """Give a picture of the same size."""
        self._model = self._model or load(self.name)
        return np.asarray(self._model(self.low(picture)))


def _through(name: str, mixture: Mixture, seed: int) -> Through:
    card = read_card(name)
    if card.kind != "sr":
        msg = f"mixture.models: {name} is a {card.kind} model; name one that enlarges"
        raise InputError(msg)
    return Through(Lowered(mixture, card.scale, seed), name)
