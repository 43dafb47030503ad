"""A model's pictures beside bicubic and Lanczos, and the nuclei found in them; field by field."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scope_sr.evaluate.material import Entry, Field, Picture
from scope_sr.imaging.nuclei import instances
from scope_sr.imaging.nuclei_scores import score
from scope_sr.imaging.picture_scores import (
    bicubic,
    consistency_db,
    fitted_psnr_db,
    lanczos,
    picture_scores,
)
from scope_sr.modelfile import Card

TILE_PX = 1024  # of a model's output, beside its halo; larger pictures need too much memory
NUCLEI = ("dice", "aji", "pq", "f1")
Figures = dict[str, dict[str, float]]  # by figure, then by what it is of; nan where not known
Distance = Callable[[Picture, Picture], float]


class Model(Protocol):
    """What is judged."""

    card: Card
    sha256: str

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Run it on one picture."""


@dataclass(frozen=True, eq=False)
class Row:
    """What came out for one field.

    Attributes
    ----------
    size_px
        Width and height of the true image, as judged.
    marked, found
        Nuclei: how many the truth holds, and how many were found in what.
    """

    entry: Entry
    sha256: str
    size_px: tuple[int, int]
    figures: Figures
    marked: int | None = None
    found: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Shown:
    """The pictures a field's figures are of; nuclei by what they were found in."""

    field: Field
    pictures: dict[str, Picture]
    nuclei: dict[str, NDArray[np.int32]]


@dataclass(frozen=True, eq=False)
class Judge:
    """A model, and what else takes part in judging it.

    Attributes
    ----------
    nuclei
        What finds nuclei in the pictures of a super-resolution model.
    distance
        LPIPS.
    captured
        Whether low and true images are two captures.
    """

    model: Model
    nuclei: Model | None = None
    distance: Distance | None = None
    captured: bool = False

    def look(self, one: Field, um_per_px: float | None) -> Shown:
        """Make every picture of a field, and find the nuclei in it."""
        if self.model.card.kind == "nuclei":
            found = _nuclei_in(self.model, one.high, um_per_px)
            return Shown(one, {"high": one.high}, {"model": found})
        low, scale = _low(one), self.model.card.scale
        pictures = {
            "model": tiled(self.model, low),
            "bicubic": bicubic(low, scale),
            "lanczos": lanczos(low, scale),
            "high": one.high,
        }
        nuclei = {}
        if self.nuclei is not None and one.labels is not None:
            nuclei = {
                name: _nuclei_in(self.nuclei, pictures[name], um_per_px)
                for name in ("bicubic", "model", "high")
            }
        return Shown(one, pictures, nuclei)

    def judge(self, entry: Entry, one: Field) -> Row:
        """Measure a field."""
        shown = self.look(one, entry.um_per_px)
        height, width = one.high.shape[:2]
        figures = {} if self.model.card.kind == "nuclei" else self._of_pictures(shown)
        scores = {
            name: score(found, one.labels, one.ignore, told_apart=one.told_apart)
            for name, found in shown.nuclei.items()
            if one.labels is not None
        }
        for figure in NUCLEI if scores else ():
            values = {name: getattr(found, figure) for name, found in scores.items()}
            figures[figure] = {
                name: math.nan if value is None else value for name, value in values.items()
            }
        some = next(iter(scores.values()), None)
        marked = some.truth if some is not None and one.told_apart else None
        counts = {name: found.found for name, found in scores.items() if one.told_apart}
        return Row(entry, one.sha256, (width, height), figures, marked, counts)

    def _of_pictures(self, shown: Shown) -> Figures:
        scale, truth, one = self.model.card.scale, shown.pictures["high"], shown.field
        ours = {name: shown.pictures[name] for name in ("model", "bicubic", "lanczos")}
        scores = {name: picture_scores(image, truth, scale) for name, image in ours.items()}
        found: Figures = {
            figure: {name: getattr(of, figure) for name, of in scores.items()}
            for figure in ("psnr_db", "ssim", "y_psnr_db", "y_ssim")
        }
        if self.distance is not None:
            found["lpips"] = {name: self.distance(image, truth) for name, image in ours.items()}
        if one.lower is not None:
            found["consistency_db"] = {
                name: consistency_db(ours[name], _low(one), one.lower)
                for name in ("model", "bicubic")
            }
        if self.captured:
            fitted = {name: fitted_psnr_db(image, truth, scale) for name, image in ours.items()}
            found["shifted_psnr_db"] = {name: pair[0] for name, pair in fitted.items()}
            found["fitted_psnr_db"] = {name: pair[1] for name, pair in fitted.items()}
        return found


def tiled(model: Model, image: Picture) -> Picture:
    """Run a model on a picture of any size; tiles with a halo give exactly what the whole gives."""
    card = model.card
    side = max(TILE_PX // card.scale // card.multiple_px, 1) * card.multiple_px
    if max(image.shape[:2]) <= side + 2 * card.halo_px:
        return model(image)
    k, halo = card.scale, card.halo_px
    rows, columns = image.shape[:2]
    whole = np.empty((k * rows, k * columns, 3), np.uint8)
    for y in range(0, rows, side):
        for x in range(0, columns, side):
            top, left = max(y - halo, 0), max(x - halo, 0)
            down, right = min(y + side, rows), min(x + side, columns)
            tile = model(image[top : down + halo, left : right + halo])
            inner = tile[k * (y - top) :, k * (x - left) :]
            whole[k * y : k * down, k * x : k * right] = inner[: k * (down - y), : k * (right - x)]
    return whole


def _nuclei_in(model: Model, image: Picture, um_per_px: float | None) -> Any:
    return instances(tiled(model, image), um_per_px or model.card.um_per_px_in)


def _low(one: Field) -> Picture:
    if one.low is None:
        msg = "a field for super-resolution has a low image"
        raise RuntimeError(msg)
    return one.low
