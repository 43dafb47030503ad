"""A training of a generator: prepared, tried on val, and its models kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from scope_sr.config import SrganRecipe
from scope_sr.modelfile import Figures, save
from scope_sr.networks import generator
from scope_sr.train import cards, validation
from scope_sr.train.loop import Progress, averaged, refuse_wild
from scope_sr.train.low import LowMaker
from scope_sr.train.pairs import PairPatches
from scope_sr.train.perceptual import features_of
from scope_sr.train.runs import written
from scope_sr.train.work import Order, Stage, Work, begun, last_split, learnable, placed


class Shifts:
    """How often each shift between SR and HR was best: a report of the registration."""

    counts: Tensor | None = None

    def add(self, counts: Tensor) -> None:
        """Count those of a batch."""
        self.counts = counts if self.counts is None else self.counts + counts

    def state_dict(self) -> dict[str, Tensor | None]:
        """Give the counts, for a checkpoint."""
        return {"counts": self.counts}

    def load_state_dict(self, state: Mapping[str, Tensor | None]) -> None:
        """Go on counting."""
        self.counts = state["counts"]


@dataclass(eq=False, kw_only=True)
class SrganWork(Work):
    """What is needed to learn from pairs.

    Attributes
    ----------
    trial, exam
        Fields looked at on the way, and those whose figures stand in the card.
    features
        That pictures are compared by in the second stage.
    figures
        Of the model kept last.
    """

    recipe: SrganRecipe
    patches: PairPatches
    low_maker: LowMaker | None
    trial: validation.Trial
    exam: validation.Trial
    features: nn.Module | None
    shifts: Shifts
    figures: dict[str, Any]

    @property
    def pixel(self) -> Stage:
        """The first stage."""
        return Stage("pixel", self.recipe.pixel.steps, "pixel.learning_rate")

    @property
    def gan(self) -> Stage:
        """The second stage."""
        return Stage("gan", self.recipe.gan.steps, "gan.learning_rate", self.recipe.pixel.steps)

    def inputs(self, batch: Mapping[str, Tensor], step: int) -> tuple[Tensor, Tensor]:
        """Give low and high patches of a batch, channels last."""
        high = batch["high"]
        if self.low_maker is None:
            low = batch["low"]
        else:
            low = self.low_maker(high, step, self.fabric.global_rank)
            high = self.low_maker.high(high)
        last = torch.channels_last
        return low.contiguous(memory_format=last), high.contiguous(memory_format=last)

    def check(self, stage: Stage, done: int) -> None:
        """Try the averaged weights on the val split, and keep the best of the first stage."""
        refuse_wild(stage.name, done, stage.rate, self.network)
        trial = self.trial.judge(self.average.module)
        step = stage.offset + done
        self.run.log(
            stage=stage.name,
            step=step,
            val_psnr_db=trial.psnr_db,
            val_bicubic_db=trial.bicubic_db,
            shifts=self.shifts.counts,
        )
        self.tell(Progress(stage.name, done, stage.steps, {"gain_db": trial.gain_db}))
        if self.run.writes:
            self.run.put(f"samples/step-{step:07d}.png", validation.picture(trial, step))
            self.run.put("curves.png", validation.curves(self.run.metrics()))
        if stage.name == "pixel":
            self.keep_if_best(trial.gain_db, done)

    def keep(self, weights: str, stage: Stage) -> Path:
        """Write a model file of the averaged weights, with its figures beside those of bicubic."""
        path = self.run.folder / f"{weights}.ts"
        if not self.run.writes:
            return path
        split, found = last_split(self.dataset), self.exam.figures(self.average.module)
        self.figures = {"split": split, **found}
        low_px = self.exam.fields[0][0].shape[-1]
        protocol = (
            f"fields of {low_px} low px of split {split}, RGB, 8 bits,"
            f" border of {self.exam.scale} px left out"
        )
        card = cards.sr_card(
            self.dataset,
            self.recipe,
            weights,
            steps=self.best["step"] + (stage.steps if stage.offset else 0),
            losses=self.last_losses(stage),
            figures=(Figures(protocol, len(self.exam.fields), **found),),
            degradation=self.low_maker.words if self.low_maker else "",
            start=self.run.start,
            name=f"{self.run.folder.absolute().name}-{weights}",
        )
        with written(path):
            save(self.average.module, card, path)
        return path


def prepared(order: Order, recipe: SrganRecipe, fabric: Fabric) -> SrganWork:
    """Look at everything that could be wrong before the folder of the run is made."""
    dataset = learnable(order.data, "pairs")
    scale = dataset.header.scale
    patches = PairPatches(dataset, recipe, fabric.global_rank)
    low = recipe.degradation.low
    low_maker = None if low == "dataset" else LowMaker(recipe.degradation, scale, recipe.seed)
    trial, exam = (
        validation.Trial.of(dataset, recipe, low_maker, fabric.device, split)
        for split in ("val", last_split(dataset))
    )
    features = features_of(recipe.gan.perceptual) if recipe.gan.steps else None
    torch.manual_seed(recipe.seed)
    network = generator(recipe.architecture, scale, recipe.blocks, recipe.channels)
    network = placed(network, order, fabric)
    return SrganWork(
        fabric=fabric,
        run=begun(order, "srgan", dataset, fabric),
        dataset=dataset,
        checks=recipe.checks,
        network=network,
        average=averaged(network, recipe.ema),
        tell=order.tell,
        stop=order.stop,
        aim="gain_db",
        recipe=recipe,
        patches=patches,
        low_maker=low_maker,
        trial=trial,
        exam=exam,
        features=features,
        shifts=Shifts(),
        figures={},
    )
