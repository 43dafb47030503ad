"""A generator tried on fields it does not learn from, always beside bicubic interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scope_sr import drawing
from scope_sr.config import SrganRecipe
from scope_sr.dataset import Dataset
from scope_sr.dataset.crops import Crops
from scope_sr.dataset.index import Split
from scope_sr.errors import InputError
from scope_sr.imaging.picture_scores import bicubic, picture_scores, psnr_db
from scope_sr.pictures.files import rgb8
from scope_sr.train.losses import aligned
from scope_sr.train.low import LowMaker
from scope_sr.train.pairs import MARGIN_PX

FIELD_PX = 96  # of the low picture
SHOWN = 3
TITLES = ("low (LR)", "bicubic", "enlarged (SR)", "true (HR)")
FEW_POINTS = 30  # that are marked: a line of one is invisible


@dataclass(frozen=True)
class Judged:
    """What a generator made of the fields: mean PSNR in dB, and the pictures."""

    psnr_db: float
    bicubic_db: float
    pictures: tuple[tuple[NDArray[np.uint8], ...], ...]

    @property
    def gain_db(self) -> float:
        """Gain over bicubic interpolation of the same fields."""
        return self.psnr_db - self.bicubic_db


@dataclass(frozen=True, eq=False)
class Trial:
    """Fields to try a generator on: low ``(1, 3, n, n)``, high ``(1, 3, scale n, scale n)``."""

    fields: tuple[tuple[Tensor, Tensor], ...]
    scale: int
    shift_px: int

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        recipe: SrganRecipe,
        low_maker: LowMaker | None,
        device: torch.device,
        split: Split = "val",
    ) -> Trial:
        """Choose fields of a split by chance, always the same ones."""
        margin = MARGIN_PX if low_maker else 0
        crops = _crops(dataset, split, recipe.low_px, margin)
        rng = np.random.default_rng([recipe.seed, 0])
        fields = []
        for number in range(recipe.checks.fields):
            crop = crops.random(rng)
            high = _tensor(rgb8(crop.high, dataset.header.bits)).to(device)
            if low_maker:
                low, high = low_maker(high, number, -1 % 2**16), low_maker.high(high)
            else:
                low = _tensor(rgb8(crop.low, dataset.header.bits)).to(device)
            fields.append((low, high))
        return cls(tuple(fields), dataset.header.scale, recipe.pixel.shift_px)

    def judge(self, network: nn.Module) -> Judged:
        """Enlarge every field; within the shift that training tolerates, PSNR does too."""
        network.eval()
        gains, pictures = [], []
        with torch.inference_mode():
            for low, high in self.fields:
                sr = network(low).float().clamp(0, 1)
                images = [_image(p) for p in (low, sr, high)]
                plain = bicubic(images[0], self.scale)
                ours, truth = aligned(sr, high, self.shift_px)
                theirs, their_truth = aligned(_tensor(plain).to(low.device), high, self.shift_px)
                gains.append(
                    (
                        psnr_db(_image(ours), _image(truth), self.scale),
                        psnr_db(_image(theirs), _image(their_truth), self.scale),
                    )
                )
                pictures.append((images[0], plain, images[1], images[2]))
        network.train()
        psnr, base = np.mean(gains, axis=0)
        return Judged(float(psnr), float(base), tuple(pictures))

    def figures(self, network: nn.Module) -> dict[str, dict[str, float]]:
        """Give PSNR and SSIM of whole fields, without any tolerance, for the card."""
        found: dict[str, list[Any]] = {"model": [], "bicubic": []}
        for low, plain, sr, high in self.judge(network).pictures:
            del low
            for name, one in (("model", sr), ("bicubic", plain)):
                found[name].append(picture_scores(one, high, self.scale))
        return {
            "psnr_db": {n: float(np.mean([s.psnr_db for s in all_])) for n, all_ in found.items()},
            "ssim": {n: float(np.mean([s.ssim for s in all_])) for n, all_ in found.items()},
        }


def _crops(dataset: Dataset, split: Split, low_px: int, margin_px: int) -> Crops:
    """Take fields of a good size, or of that of a patch where pairs are small."""
    try:
        return Crops(dataset, split, FIELD_PX + 2 * margin_px)
    except InputError:
        return Crops(dataset, split, low_px + 2 * margin_px)


def _tensor(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.float32(image) / 255).permute(2, 0, 1)[None]


def _image(picture: Tensor) -> NDArray[np.uint8]:
    levels = (picture[0].permute(1, 2, 0) * 255).round().clamp(0, 255)
    return np.asarray(levels.byte().cpu().numpy())


def picture(judged: Judged, step: int) -> bytes:
    """Show the first fields: low, bicubic, model, high."""
    rows = judged.pictures[:SHOWN]
    figure = drawing.sheet(
        f"Step {step}: {judged.gain_db:+.2f} dB against bicubic on val", 250 * len(rows) + 40
    )
    grid = figure.subplots(len(rows), 4, squeeze=False)
    for axes, images in zip(grid, rows, strict=True):
        for axis, image, title in zip(axes, images, TITLES, strict=True):
            drawing.photo(axis, image)
            axis.set_title(title, fontsize=9, loc="left", color=drawing.INK)
    return drawing.png(figure, photos=True)


def curves(metrics: Sequence[dict[str, Any]]) -> bytes:
    """Draw the losses, and the gain over bicubic, against steps."""
    figure = drawing.sheet("Learning to enlarge", 360)
    left, right = figure.subplots(1, 2)
    drawing.panel(left, "loss (L1 of 0..1)", "step", "")
    drawing.panel(right, "gain over bicubic on val", "step", "dB")
    for stage, color in (("pixel", drawing.BLUE), ("gan", drawing.ORANGE)):
        lines = [line for line in metrics if line["stage"] == stage]
        losses = [(line["step"], line["l1"]) for line in lines if line.get("l1")]
        gains = [
            (line["step"], line["val_psnr_db"] - line["val_bicubic_db"])
            for line in lines
            if "val_psnr_db" in line
        ]
        for axes, points in ((left, losses), (right, gains)):
            if points:
                marker = "o" if len(points) < FEW_POINTS else ""
                axes.plot(
                    *zip(*points, strict=True), color=color, linewidth=1.2, label=stage,
                    marker=marker, markersize=3,
                )  # fmt: skip
    left.set_yscale("log")
    right.axhline(0, color=drawing.GREY, linewidth=0.8)
    if left.lines:
        drawing.legend(left)
    return drawing.png(figure)
