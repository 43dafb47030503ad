"""A nuclei U-Net tried on whole images it does not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries
from torch import nn

from scope_sr import drawing
from scope_sr.dataset import Dataset, Labelled
from scope_sr.dataset.index import Split
from scope_sr.imaging.nuclei import instances
from scope_sr.imaging.nuclei_scores import Figures, NucleiScores, pooled, score
from scope_sr.modelfile import Card, wrap

SHOWN = 3
LARGEST_PX = 256  # of what is shown of an image: a line one pixel wide must not vanish
OUTLINE_RGB = (255, 230, 0)


@dataclass(frozen=True)
class Judged:
    """What a network found: figures over the images, and image, truth and finding of the first."""

    figures: Figures
    pictures: tuple[tuple[NDArray[np.uint8], NDArray, NDArray], ...]


@dataclass(frozen=True, eq=False)
class Trial:
    """Labelled images of a split."""

    dataset: Dataset
    items: tuple[Labelled, ...]
    device: torch.device

    @classmethod
    def of(cls, dataset: Dataset, split: Split, most: int | None, device: torch.device) -> Trial:
        """Choose at most so many images, spread evenly over the split."""
        items = [item for item in dataset.of(split) if isinstance(item, Labelled)]
        chosen = np.linspace(0, len(items) - 1, min(len(items), most or len(items)))
        return cls(dataset, tuple(items[int(n)] for n in chosen), device)

    @property
    def told_apart(self) -> bool:
        """Whether touching nuclei are, in any image; else there is no PQ to go by."""
        return any(item.nuclei is not None for item in self.items)

    def judge(self, network: nn.Module) -> Judged:
        """Find the nuclei of every image, exactly as the model file will."""
        base, depth = network.head.in_channels, len(network.up)  # type: ignore[union-attr,arg-type]
        card = Card("nuclei", "", "unet", {"base": int(base), "depth": depth}, 1,  # type: ignore[arg-type]
                    multiple_px=2**depth)  # fmt: skip
        graph = wrap(network, card).to(self.device)
        scores: list[NucleiScores] = []
        pictures: list[tuple[NDArray[np.uint8], NDArray, NDArray]] = []
        for item in self.items:
            image, truth = (np.array(one) for one in self.dataset.labelled(item))
            with torch.inference_mode():
                planes = graph(torch.from_numpy(image)[None].to(self.device))[0].cpu().numpy()
            found = instances(planes, item.um_per_px)
            ignore = np.array(self.dataset.mapped(item.ignore)) if item.ignore else None
            told_apart = item.nuclei is not None
            scores.append(score(found, truth, ignore, told_apart=told_apart))
            if len(pictures) < SHOWN:
                pictures.append((image, truth, found))
        network.train()
        return Judged(pooled(scores), tuple(pictures))


def picture(judged: Judged, step: int) -> bytes:
    """Show the first images: as they are, with the nuclei marked, with those found."""
    rows = judged.pictures
    figures = judged.figures
    said = f"Step {step}: Dice {figures.dice or 0:.3f}"
    said += f", PQ {figures.pq:.3f} on val" if figures.pq is not None else " on val"
    figure = drawing.sheet(said, 300 * len(rows) + 40)
    grid = figure.subplots(len(rows), 3, squeeze=False)
    for axes, (image, truth, found) in zip(grid, rows, strict=True):
        window = np.s_[:LARGEST_PX, :LARGEST_PX]
        shown = ((image, "image"), (outlined(image, truth), "marked"),
                 (outlined(image, found), f"found: {found.max()} in the whole image"))  # fmt: skip
        for axis, (one, title) in zip(axes, shown, strict=True):
            drawing.photo(axis, one[window])
            axis.set_title(title, fontsize=9, loc="left", color=drawing.INK)
    return drawing.png(figure, photos=True, exact=[OUTLINE_RGB])


def outlined(image: NDArray[np.uint8], labels: NDArray) -> NDArray[np.uint8]:
    """Draw the outlines of nuclei into an image."""
    edge = find_boundaries(labels, mode="inner")  # type: ignore[no-untyped-call]
    return np.where(edge[..., None], np.array(OUTLINE_RGB, np.uint8), image)


def curves(metrics: Sequence[dict[str, Any]]) -> bytes:
    """Draw the losses, and the figures on val, against steps."""
    figure = drawing.sheet("Learning to find nuclei", 360)
    left, right = figure.subplots(1, 2)
    drawing.panel(left, "losses", "step", "")
    drawing.panel(right, "on val", "step", "")
    parts = (
        (left, ("classes", "overlap", "distance")),
        (right, ("val_dice", "val_aji", "val_pq", "val_f1")),
    )
    for axes, names in parts:
        for name, color in zip(
            names, (drawing.BLUE, drawing.ORANGE, drawing.GREEN, drawing.PURPLE), strict=False
        ):
            points = [(one["step"], one[name]) for one in metrics if one.get(name) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), color=color, linewidth=1.2,
                          label=name.removeprefix("val_"))  # fmt: skip
        if axes.lines:
            drawing.legend(axes)
    return drawing.png(figure)
