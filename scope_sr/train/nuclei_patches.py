"""Patches with nuclei marked in them: each batch is a pure function of seed, step and rank."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scope_sr.dataset import SPLITS, Dataset, Labelled, Split
from scope_sr.errors import InputError
from scope_sr.imaging import stain
from scope_sr.imaging.nuclei import targets

Picture = NDArray[np.uint8]
Planes = NDArray[np.uint8]  # (row, column, 3): class, 255 times the distance, whether judged

# Half a large nucleus (16 µm at 0.25 µm per px): a nucleus that the patch cuts is as deep as it is
MARGIN_PX = 32
SMALLER, LARGER = 0.75, 1.33  # between patients nuclei differ as much, and objectives a little
BLUR_SHARE, BLUR_PX = 0.3, 1.2  # out of focus by about one depth of field
GAMMA, LIGHT = 1.25, 0.1  # cameras and lamps, as far as people leave them
JPEG_SHARE, JPEG_QUALITY = 0.1, (50, 95)


@dataclass(frozen=True)
class Input:
    """What a part of the patches is made into before the network sees it.

    Attributes
    ----------
    name
        As it stands in the card: HR, bicubic x4, compact-x4.
    share
        How often, against the other inputs.
    degrade
        Takes an image ``(row, column, 3)`` and gives one of the same size, as it would look there.
    """

    name: str
    share: float
    degrade: Callable[[Picture], Picture]


def unchanged(picture: Picture) -> Picture:
    """Leave a picture as it is."""
    return picture


HIGH = Input("HR", 1.0, unchanged)


class NucleiPatches(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Batches of patches, one for each step.

    An item holds ``picture`` ``(batch, 3, n, n)``, float32 between 0 and 1, and, ``(batch, n, n)``,
    ``classes`` int64, ``distance`` float32 (see :func:`scope_sr.imaging.nuclei.targets`) and
    ``judged`` bool. Nothing is kept between items but the file maps of the dataset.

    Parameters
    ----------
    dataset, split
        Of labelled images; each pixel is as likely as any other. An image smaller than a patch is
        mirrored outwards.
    patch_px, batch
        Side of a patch and patches in an item; of the pictures, not of what `mixture` may shrink.
    seed, rank
        Of the run, and of this process among those that train together.
    mixture
        What the patches look like, each drawn by its share.
    stain_jitter
        Strength, see :func:`scope_sr.imaging.stain.draw`.

    Raises
    ------
    InputError
        The dataset is not of nuclei, or the split is empty.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        *,
        patch_px: int,
        batch: int,
        seed: int,
        rank: int = 0,
        mixture: Sequence[Input] = (HIGH,),
        stain_jitter: float = 0.2,
    ) -> None:
        self.dataset = dataset
        self.items = _items(dataset, split)
        self.patch_px, self.batch = patch_px, batch
        self.seed, self.rank = seed, rank
        self.mixture = tuple(mixture)
        self.stain_jitter = stain_jitter
        areas = [max(patch_px**2, dataset.mapped(item.labels).size) for item in self.items]
        self._chances = np.array(areas) / sum(areas)
        self._shares = np.array([each.share for each in mixture])
        self._shares /= self._shares.sum()

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        """Draw the batch of a step."""
        rng = np.random.default_rng([self.seed, step, self.rank])
        drawn = [self._patch(rng) for _ in range(self.batch)]
        pictures = torch.from_numpy(np.stack([picture for picture, _ in drawn]))
        planes = torch.from_numpy(np.stack([planes for _, planes in drawn]))
        return {
            # channels last in memory: faster on a CPU
            "picture": pictures.permute(0, 3, 1, 2).to(torch.float32) / 255,
            "classes": planes[..., 0].to(torch.int64),
            "distance": planes[..., 1].to(torch.float32) / 255,
            "judged": planes[..., 2] > 0,
        }

    def _patch(self, rng: np.random.Generator) -> tuple[Picture, Planes]:
        item = self.items[rng.choice(len(self.items), p=self._chances)]
        zoom = np.exp(rng.uniform(np.log(SMALLER), np.log(LARGER)))
        picture, planes = self._crop(item, round(self.patch_px / zoom), rng)
        picture, planes = _turned(*_zoomed(picture, planes, self.patch_px), rng)
        picture = _filmed(_stained(picture, rng, self.stain_jitter), rng)
        # last: the network is to see what an enlarged picture looks like, not a blur of it
        chosen = self.mixture[rng.choice(len(self.mixture), p=self._shares)]
        return chosen.degrade(picture), planes

    def _crop(self, item: Labelled, side: int, rng: np.random.Generator) -> tuple[Picture, Planes]:
        image, labels = self.dataset.labelled(item)
        ignore = self.dataset.mapped(item.ignore) if item.ignore else np.zeros((1, 1), np.uint8)
        top, left = (int(rng.integers(max(0, n - side) + 1)) for n in labels.shape)
        box = np.s_[top : top + side, left : left + side]
        judged = (np.broadcast_to(ignore, labels.shape)[box] == 0).astype(np.uint8)
        classes, distance = _targets_within(labels, top, left, side, item.nuclei is not None)
        planes = np.stack([classes, np.round(255 * distance).astype(np.uint8), judged], axis=-1)
        return _mirrored_out(np.asarray(image[box]), side), _mirrored_out(planes, side)


def _items(dataset: Dataset, split: Split) -> tuple[Labelled, ...]:
    if dataset.header.kind != "nuclei":
        msg = (
            f"{dataset.folder}: a dataset of {dataset.header.kind}, without nuclei to learn; build"
            " one of images and masks: scope-sr build-dataset --masks DIR --out DATASET"
        )
        raise InputError(msg)
    items = tuple(item for item in dataset.of(split) if isinstance(item, Labelled))
    if not items:
        held = ", ".join(f"{len(dataset.of(each))} in {each}" for each in SPLITS)
        msg = (
            f"{dataset.folder}: split {split} has no image ({held}); build it anew from more images"
            " or patients"
        )
        raise InputError(msg)
    return items


def _targets_within(
    labels: NDArray, top: int, left: int, side: int, told_apart: bool
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Give the targets of a square, made with a margin as far as the image has one."""
    above, before = min(top, MARGIN_PX), min(left, MARGIN_PX)
    wide = labels[
        top - above : top + side + MARGIN_PX,
        left - before : left + side + MARGIN_PX,
    ]
    classes, distance = targets(np.asarray(wide), told_apart=told_apart)
    box = np.s_[above : above + side, before : before + side]
    return classes[box], distance[box]


def _mirrored_out(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Go on beyond the lower and right edge in mirror images, as far as the square needs."""
    rows, columns = (side - n for n in image.shape[:2])
    if not rows and not columns:
        return image
    return np.pad(image, ((0, rows), (0, columns), (0, 0)), mode="symmetric")


def _zoomed(picture: Picture, planes: Planes, side: int) -> tuple[Picture, Planes]:
    """Resize to the patch; classes and whether judged go by the nearest pixel."""
    before = len(picture)
    if before == side:
        return picture, planes
    size = (side, side)
    how = cv2.INTER_AREA if before > side else cv2.INTER_CUBIC
    resized = cv2.resize(planes, size, interpolation=cv2.INTER_NEAREST_EXACT)
    distance = cv2.resize(planes[..., 1], size, interpolation=cv2.INTER_LINEAR)
    resized[..., 1] = np.where(resized[..., 0] > 0, distance, 0)
    return (
        np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8),
        np.asarray(resized, np.uint8),
    )


def _turned(picture: Picture, planes: Planes, rng: np.random.Generator) -> tuple[Picture, Planes]:
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    if mirrored:
        picture, planes = picture[:, ::-1], planes[:, ::-1]
    return np.rot90(picture, turns), np.rot90(planes, turns)


def _stained(picture: Picture, rng: np.random.Generator, strength: float) -> Picture:
    light = stain.draw(rng, strength)(np.ascontiguousarray(picture))
    return np.asarray(cv2.convertScaleAbs(light, alpha=255.0), np.uint8)


def _filmed(picture: Picture, rng: np.random.Generator) -> Picture:
    """Take the picture with another focus, camera and lamp, and sometimes keep it as JPEG."""
    if rng.random() < BLUR_SHARE:
        sigma_px = rng.uniform(0.3, BLUR_PX)
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma_px), np.uint8)
    gamma = np.exp(rng.uniform(-np.log(GAMMA), np.log(GAMMA)))
    light = 255 * rng.uniform(1 - LIGHT, 1 + LIGHT)
    curve = np.clip(np.round(light * (np.arange(256) / 255) ** gamma), 0, 255)
    picture = np.asarray(cv2.LUT(picture, curve.astype(np.uint8)), np.uint8)
    if rng.random() < JPEG_SHARE:
        picture = _kept_as_jpeg(picture, int(rng.integers(*JPEG_QUALITY, endpoint=True)))
    return picture


def _kept_as_jpeg(picture: Picture, quality: int) -> Picture:
    blue_first = np.ascontiguousarray(picture[..., ::-1])  # as OpenCV writes its files
    _, file = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, quality])
    kept = np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(kept[..., ::-1])
