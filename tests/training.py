"""Small datasets and recipes to train on within a second, and the means to stop and to compare."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Making, tissue
from skimage import draw

from scope_sr import disk
from scope_sr.config import SrganRecipe, UnetRecipe
from scope_sr.modelfile import Card, read_card, state

GLASS, HAEMATOXYLIN = (235, 225, 232), (90, 60, 140)


def pairs(folder: Path, *, scale: int = 2, splits: str = "train val test", **header: Any) -> Making:
    """Pairs of a patient for each split, of different sizes."""
    groups = {f"patient {split}": split for split in splits.split()}
    making = Making(folder, scale=scale, level="patient", groups=groups, **header)
    for number, split in enumerate(splits.split()):
        high = tissue(number, 32 * scale + 16 * scale * number)
        making.pair(f"{split}/f", split, high, patient=f"patient {split}")
    return making


def stained(seed: int, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Dark blue disks of several sizes on glass, and their numbers."""
    rng = np.random.default_rng(seed)
    image = np.full((size, size, 3), GLASS, np.uint8)
    labels = np.zeros((size, size), np.uint16)
    for row in range(12, size, 24):
        for column in range(12, size, 24):
            where = draw.disk((row, column), rng.uniform(5, 9), shape=labels.shape)
            labels[where] = labels.max() + 1
            image[where] = HAEMATOXYLIN
    noise = rng.integers(-6, 7, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8), labels


def nuclei(folder: Path, *, splits: str = "train val test") -> Making:
    """Images with their nuclei, of different sizes."""
    groups = {f"patient {split}": split for split in splits.split()}
    making = Making(
        folder, kind="nuclei", scale=1, low_um_per_px=0.25, level="patient", groups=groups
    )
    for number, split in enumerate(splits.split()):
        image, labels = stained(number, 64 + 8 * number)
        making.nuclei(
            split, split, image, labels, nuclei=int(labels.max()), patient=f"patient {split}"
        )
    return making


def srgan_recipe(**changes: Any) -> SrganRecipe:
    """A recipe of a few steps; tables are filled in, not replaced."""
    table: dict[str, Any] = {
        "blocks": 1, "channels": 4, "low_px": 16, "batch": 2, "ema": 0.9,
        "pixel": {"steps": 8, "shift_px": 1},
        "gan": {"steps": 0, "discriminator_channels": 4},
        "checks": {"every_steps": 4, "fields": 1},
    }  # fmt: skip
    return SrganRecipe.model_validate(_merged(table, changes))


def unet_recipe(**changes: Any) -> UnetRecipe:
    """A recipe of a few steps; tables are filled in, not replaced."""
    table: dict[str, Any] = {
        "base": 4, "depth": 2, "patch_px": 32, "batch": 2, "steps": 8, "ema": 0.9,
        "checks": {"every_steps": 4, "fields": 1},
    }  # fmt: skip
    return UnetRecipe.model_validate(_merged(table, changes))


def _merged(table: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both = {**table, **changes}
    for key, value in changes.items():
        if isinstance(value, dict) and key in table:
            both[key] = {**table[key], **value}
    return both


def stop_before(step: int) -> Callable[[], bool]:
    """Stop before the given step of this call, counted from 0 over both stages."""
    asked = iter(range(10**9))
    return lambda: next(asked) >= step


def checkpoint(run: Path, name: str = "last") -> dict[str, Any]:
    """Read a checkpoint as it stands on the disk."""
    return torch.load(run / "checkpoints" / f"{name}.pt", weights_only=True)


def metrics(run: Path) -> list[dict[str, Any]]:
    """Read the metrics."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Name what is not equal to the bit."""
    if type(one) is not type(other):
        return [where]
    if isinstance(one, torch.Tensor):
        same = one.dtype == other.dtype and torch.equal(one, other)
        return [] if same else [where]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f"{where}: {one.keys() ^ other.keys()}"]
        return [d for key in one for d in differences(one[key], other[key], f"{where}/{key}")]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [where]
        return [d for n in range(len(one)) for d in differences(one[n], other[n], f"{where}/{n}")]
    return [] if one == other else [where]


def same_training(one: Path, other: Path) -> list[str]:
    """Name what differs between the checkpoints, the metrics and the models of two runs."""
    found = []
    for name in ("last", "best"):
        found += differences(checkpoint(one, name), checkpoint(other, name), name)
    found += differences(metrics(one), metrics(other), "metrics")
    models = [{path.name: _model(path) for path in run.glob("*.ts")} for run in (one, other)]
    return [*found, *differences(*models, "models")]


def _model(path: Path) -> tuple[Card, dict[str, Any]]:
    """Give card and weights; the card but for its name, which is that of the folder."""
    return replace(read_card(path), name=""), dict(state(path))


def killed_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Die at a call to the disk, counted from 0: nothing is written or tidied up from then on."""
    calls = iter(range(10**9))

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def do(*given: Any) -> Any:
            if next(calls) >= call:
                raise Killed
            return real(*given)

        return do

    for name in ("_write", "_sync", "_truncate", "_replace", "_remove"):
        monkeypatch.setattr(disk, name, dying(getattr(disk, name)))


class Killed(BaseException):
    """The process is no more."""


def opened(making: Making) -> Path:
    """Write a dataset and give its folder."""
    return making.done().folder
