"""A training of a generator under way: prepared, judged, written down and taken up again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from scope_sr.config import SrganRecipe
from scope_sr.dataset import Dataset
from scope_sr.dataset.index import Split
from scope_sr.errors import InputError
from scope_sr.modelfile import Figures, save
from scope_sr.networks import generator
from scope_sr.train import cards, validation
from scope_sr.train.loop import (
    Progress,
    Stop,
    Tell,
    averaged,
    begin_with,
    channels_last,
    refuse_nonsense,
    refuse_wild,
)
from scope_sr.train.low import LowMaker
from scope_sr.train.pairs import PairPatches
from scope_sr.train.perceptual import features_of
from scope_sr.train.runs import BEST, LAST, Run, written


@dataclass(eq=False)
class Work:
    """A training under way: what is being learnt, from what, and where it is written down.

    Attributes
    ----------
    trial, exam
        Fields looked at on the way, and those whose figures stand in the card.
    features
        That pictures are compared by in the second stage.
    """

    fabric: Fabric
    run: Run
    recipe: SrganRecipe
    dataset: Dataset
    patches: PairPatches
    low_maker: LowMaker | None
    trial: validation.Trial
    exam: validation.Trial
    features: nn.Module | None
    network: nn.Module
    average: Any
    tell: Tell
    stop: Stop
    shifts: Tensor | None = None
    best: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)

    def count(self, counts: Tensor) -> None:
        """Add to how often each shift was best."""
        self.shifts = counts if self.shifts is None else self.shifts + counts

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

    def steps_of(self, stage: str) -> int:
        """Give how many steps a stage has."""
        return self.recipe.gan.steps if stage == "gan" else self.recipe.pixel.steps

    def reached(self, stage: str, step: int) -> int:
        """Count the steps of both stages."""
        return step + (self.recipe.pixel.steps if stage == "gan" else 0)

    def restored(self, state: Mapping[str, Any], learners: Mapping[str, Any]) -> int:
        """Put everything back as it was saved; give the step to go on with."""
        if not state:
            return 0
        with self.run.restoring():
            self.network.load_state_dict(state["generator"])
            self.average.load_state_dict(state["average"])
            for name, learner in learners.items():
                learner.load_state_dict(state[name])
            self.shifts = state["shifts"]
            stage, step = str(state["stage"]), int(state["step"])
        self.run.keep_metrics_until(self.reached(stage, step))
        return step

    def save(self, stage: str, step: int, learners: Mapping[str, Any], ended: str = "") -> None:
        """Write a checkpoint from which everything goes on to the bit."""
        modules = [learner for learner in learners.values() if isinstance(learner, nn.Module)]
        refuse_wild(stage, step, f"{stage}.learning_rate", self.network, *modules)
        self.run.save(
            LAST,
            {
                "stage": stage,
                "step": step,
                "ended": ended,
                "generator": self.network.state_dict(),
                "average": self.average.state_dict(),
                **{name: learner.state_dict() for name, learner in learners.items()},
                "best": self.best,
                "shifts": self.shifts,
            },
        )

    def log(self, stage: str, done: int, losses: Mapping[str, Tensor]) -> None:
        """Write losses down, and tell of them."""
        figures = {name: float(value.detach()) for name, value in losses.items()}
        refuse_nonsense(stage, done, figures, f"{stage}.learning_rate")
        self.run.log(stage=stage, step=self.reached(stage, done), **figures)
        best = {"best_gain_db": self.best["gain_db"]} if self.best else {}
        self.tell(Progress(stage, done, self.steps_of(stage), {**figures, **best}))

    def check(self, stage: str, done: int) -> None:
        """Try the averaged weights on the val split, and keep the best of the first stage."""
        refuse_wild(stage, done, f"{stage}.learning_rate", self.network)
        trial = self.trial.judge(self.average.module)
        step = self.reached(stage, done)
        self.run.log(
            stage=stage,
            step=step,
            val_psnr_db=trial.psnr_db,
            val_bicubic_db=trial.bicubic_db,
            shifts=self.shifts,
        )
        self.tell(Progress(stage, done, self.steps_of(stage), {"gain_db": trial.gain_db}))
        if self.run.writes:
            self.run.put(f"samples/step-{step:07d}.png", validation.picture(trial, step))
            self.run.put("curves.png", validation.curves(self.run.metrics()))
        # the first process decides for all: else one might end, and the others wait for it
        gain_db = float(self.fabric.broadcast(trial.gain_db))
        if stage == "pixel" and gain_db > self.best.get("gain_db", -float("inf")):
            self.best = {"gain_db": gain_db, "step": done}
            self.run.save(BEST, {"step": done, "average": self.average.state_dict()})

    def take_best(self) -> None:
        """Go on from the weights that did best on val."""
        self.fabric.barrier()
        best = self.run.load(BEST)
        with self.run.restoring():
            self.average.load_state_dict(best["average"])
        self.network.load_state_dict(self.average.module.state_dict())

    def keep(self, weights: str) -> Path:
        """Write a model file of the averaged weights, with its figures beside those of bicubic."""
        path = self.run.folder / f"{weights}.ts"
        if not self.run.writes:
            return path
        split, found = last_split(self.dataset), self.exam.figures(self.average.module)
        self.figures = {"split": split, **found}
        low_px = self.exam.fields[0][0].shape[-1]
        protocol = (
            f"{len(self.exam.fields)} fields of {low_px} low px of split {split}, RGB, 8 bits,"
            f" border of {self.exam.scale} px left out"
        )
        stage = "gan" if weights == "gan" else "pixel"
        lines = [one for one in self.run.metrics() if "l1" in one and one["stage"] == stage]
        last = lines[-1:]
        losses = {k: v for line in last for k, v in line.items() if isinstance(v, float)}
        card = cards.sr_card(
            self.dataset,
            self.recipe,
            weights,
            steps=self.best["step"] + (self.recipe.gan.steps if weights == "gan" else 0),
            losses=losses,
            figures=(Figures(protocol, len(self.exam.fields), **found),),
            degradation=self.low_maker.words if self.low_maker else "",
            start=self.run.start,
            name=f"{self.run.folder.absolute().name}-{weights}",
        )
        with written(path):
            save(self.average.module, card, path)
        return path


def prepared(
    fabric: Fabric,
    data: Path,
    recipe: SrganRecipe,
    out: Path,
    start: str,
    resume: bool,
    tell: Tell,
    stop: Stop,
) -> Work:
    """Look at everything that could be wrong before the folder of the run is made."""
    dataset = pairs_to_learn_from(data)
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
    if start and not resume:
        begin_with(network, start)
    network = channels_last(network).to(fabric.device)
    writes = fabric.is_global_zero
    facts = cards.facts_of_run("srgan", dataset, start, fabric)
    if resume:
        run, before = Run.resume(out, writes=writes)
        cards.refuse_other_data(out, before, facts)
    else:
        run = Run.begin(out, recipe, facts, writes=writes)
    average = averaged(network, recipe.ema)
    return Work(
        fabric=fabric,
        run=run,
        recipe=recipe,
        dataset=dataset,
        patches=patches,
        low_maker=low_maker,
        trial=trial,
        exam=exam,
        features=features,
        network=network,
        average=average,
        tell=tell,
        stop=stop,
    )


def last_split(dataset: Dataset) -> Split:
    """Name the split whose figures stand in the card: test, or val where nothing is in test."""
    return "test" if dataset.of("test") else "val"


def pairs_to_learn_from(data: Path) -> Dataset:
    """Open a dataset of pairs with something in train and in val.

    Raises
    ------
    InputError
        It holds no pairs, or one of the two splits is empty.
    """
    dataset = Dataset.open(data)
    if dataset.header.kind != "pairs":
        msg = f"{data}: images with masks, no pairs; train on it with: scope-sr train unet"
        raise InputError(msg)
    for split in ("train", "val"):
        if not dataset.of(split):
            way = "add sessions with build-dataset --resume"
            msg = f"{data}: split {split} is empty, so nothing can be learnt or tried; {way}"
            raise InputError(msg)
    return dataset
