"""What a trained model says of itself, and what a run says of where it was made."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric

from scope_sr.config import SrganRecipe, UnetRecipe
from scope_sr.dataset import Dataset
from scope_sr.dataset.folder import INDEX
from scope_sr.dataset.index import Split
from scope_sr.errors import InputError
from scope_sr.modelfile import Card, Figures, Lens, TrainedOn
from scope_sr.software import this_version


def facts_of_run(job: str, dataset: Dataset, start: str, fabric: Fabric) -> dict[str, Any]:
    """Say what a run is made from and on."""
    return {
        "job": job,
        "dataset": str(dataset.folder.absolute()),
        "dataset_sha256": index_sha256(dataset),
        "start": start,
        "device": str(fabric.device.type),
        "processes": fabric.world_size,
        "software": this_version(),
        "torch": torch.__version__,
    }


def refuse_other_data(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with other data, or as another job.

    Raises
    ------
    InputError
        What was begun is not what is to be gone on with.
    """
    if before.get("job") != now["job"]:
        msg = f"{folder}: was begun by scope-sr train {before.get('job')}; resume it with that"
        raise InputError(msg)
    if before.get("dataset_sha256") != now["dataset_sha256"]:
        msg = (
            f"{folder}: was begun on another dataset ({before.get('dataset')}), or that one has"
            f" changed since; name it with --data, or begin again in another folder"
        )
        raise InputError(msg)
    if before.get("processes") != now["processes"]:
        msg = (
            f"{folder}: was begun with {before.get('processes')} processes, now there are"
            f" {now['processes']}; each draws its own patches: use as many as before"
        )
        raise InputError(msg)


def index_sha256(dataset: Dataset) -> str:
    """Give the hash of a dataset's index, which holds those of its files."""
    return hashlib.sha256((dataset.folder / INDEX).read_bytes()).hexdigest()


def trained_on(dataset: Dataset, degradation: str) -> TrainedOn:
    """Describe the data, and who is in which split."""
    header = dataset.header
    licences = sorted({source.licence for source in header.sources if source.licence})
    return TrainedOn(
        name=header.name,
        sha256=index_sha256(dataset),
        simulated=header.simulated or bool(degradation),
        degradation=degradation,
        licence="; ".join(licences),
        level=header.level,
        train=_groups(dataset, "train"),
        val=_groups(dataset, "val"),
        test=_groups(dataset, "test"),
    )


def _groups(dataset: Dataset, split: Split) -> tuple[str, ...]:
    return tuple(sorted(name for name, where in dataset.header.groups.items() if where == split))


def sr_card(
    dataset: Dataset,
    recipe: SrganRecipe,
    weights: str,
    *,
    steps: int,
    losses: Mapping[str, float],
    figures: tuple[Figures, ...],
    degradation: str,
    start: str,
    name: str,
) -> Card:
    """Write the card of a generator; `start` is the model it began with."""
    header = dataset.header
    return Card(
        kind="sr",
        name=name,
        architecture=recipe.architecture,
        settings={"blocks": recipe.blocks, "channels": recipe.channels},
        scale=header.scale,
        um_per_px_in=header.low_um_per_px,
        um_per_px_out=header.high_um_per_px,
        objectives=_objectives(dataset),
        dataset=trained_on(dataset, degradation),
        weights=weights,
        steps=steps,
        losses=dict(losses),
        figures=figures,
        licence="; ".join(sorted({s.licence for s in header.sources if s.licence})),
        versions=versions(),
        note=begun_with(start),
    )


def nuclei_card(
    dataset: Dataset,
    recipe: UnetRecipe,
    *,
    steps: int,
    losses: Mapping[str, float],
    figures: tuple[Figures, ...],
    note: str,
    name: str,
) -> Card:
    """Write the card of a nuclei U-Net."""
    header = dataset.header
    return Card(
        kind="nuclei",
        name=name,
        architecture="unet",
        settings={"base": recipe.base, "depth": recipe.depth},
        scale=1,
        um_per_px_in=header.low_um_per_px,
        um_per_px_out=header.low_um_per_px,
        dataset=trained_on(dataset, ""),
        weights="nuclei",
        steps=steps,
        losses=dict(losses),
        figures=figures,
        licence="; ".join(sorted({s.licence for s in header.sources if s.licence})),
        versions=versions(),
        note=note,
    )


def begun_with(start: str) -> str:
    """Say on a card where weights come from: what that model learnt from, this one has seen too."""
    return f"begun with the weights of {Path(start).name}" if start else ""


def versions() -> dict[str, str]:
    """Say what it was made with."""
    return {"scope_sr": this_version(), "torch": torch.__version__}


def _objectives(dataset: Dataset) -> dict[Literal["low", "high"], Lens]:
    """Take the objectives from the first source that names them."""
    for source in dataset.header.sources:
        low, high = source.facts.get("low"), source.facts.get("high")
        if isinstance(low, str) and isinstance(high, str):
            apertures = source.facts.get("numerical_apertures") or (None, None)
            return {"low": Lens(low, apertures[0]), "high": Lens(high, apertures[1])}
    return {}
