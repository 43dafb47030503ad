"""A training under way: what both loops begin with, write down and take up again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn

from scope_sr.config import SrganRecipe, UnetRecipe
from scope_sr.config.recipe import Checks
from scope_sr.dataset import Dataset
from scope_sr.dataset.index import Split
from scope_sr.errors import InputError
from scope_sr.train import cards
from scope_sr.train.loop import (
    LOG_STEPS,
    Progress,
    Stop,
    Tell,
    agreed,
    begin_with,
    channels_last,
    refuse_nonsense,
    refuse_wild,
)
from scope_sr.train.runs import BEST, LAST, Run

HELD = {"pairs": "pairs", "nuclei": "images with masks"}
JOBS = {"pairs": "srgan", "nuclei": "unet"}
MORE = {
    "pairs": "add sessions with build-dataset --resume",
    "nuclei": "build it of images of three patients or more",
}


@dataclass(frozen=True)
class Order:
    """What is to be trained: from which data, by which recipe, into which folder, and who hears."""

    data: Path
    recipe: SrganRecipe | UnetRecipe
    out: Path
    start: str
    resume: bool
    tell: Tell
    stop: Stop


@dataclass(frozen=True)
class Stage:
    """A part of a training.

    Attributes
    ----------
    rate
        Key of its learning rate in the recipe: what to lower where numbers go astray.
    offset
        Steps of the run before it.
    """

    name: str
    steps: int
    rate: str
    offset: int = 0


@dataclass(eq=False, kw_only=True)
class Work:
    """A training under way.

    Attributes
    ----------
    average
        Of the weights of `network`, moving; what is judged and kept.
    aim
        The figure of the val split by which the best weights are chosen; more is better.
    best
        Its largest value so far under its name, and the step.
    """

    fabric: Fabric
    run: Run
    dataset: Dataset
    checks: Checks
    network: nn.Module
    average: Any
    tell: Tell
    stop: Stop
    aim: str
    best: dict[str, Any] = field(default_factory=dict)

    def state(self, resume: bool) -> dict[str, Any]:
        """Read the last checkpoint; empty where nothing is gone on with."""
        state = self.run.load(LAST) if resume else {}
        self.best = dict(state.get("best", {}))
        return state

    def restored(self, state: Mapping[str, Any], stage: Stage, learners: Mapping[str, Any]) -> int:
        """Put everything back as it was saved; give the step of the stage to go on with."""
        if not state:
            return 0
        with self.run.restoring():
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            for name, learner in learners.items():
                learner.load_state_dict(state[name])
            step = int(state["step"])
        self.run.keep_metrics_until(stage.offset + step)
        return step

    def stopping(self, step: int) -> bool:
        """Whether to stop before a step; all processes do, or none."""
        if self.fabric.world_size > 1 and step % LOG_STEPS:
            return False  # asking the others costs a message
        return agreed(self.fabric, self.stop())

    def save(self, stage: Stage, step: int, learners: Mapping[str, Any], ended: str = "") -> None:
        """Write a checkpoint from which everything goes on to the bit."""
        modules = [learner for learner in learners.values() if isinstance(learner, nn.Module)]
        refuse_wild(stage.name, step, stage.rate, self.network, *modules)
        self.run.save(
            LAST,
            {
                "stage": stage.name,
                "step": step,
                "ended": ended,
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                **{name: learner.state_dict() for name, learner in learners.items()},
                "best": self.best,
            },
        )

    def log(self, stage: Stage, done: int, losses: Mapping[str, Tensor]) -> None:
        """Write losses down, and tell of them."""
        figures = {name: float(value.detach()) for name, value in losses.items()}
        refuse_nonsense(stage.name, done, figures, stage.rate)
        self.run.log(stage=stage.name, step=stage.offset + done, **figures)
        best = {f"best_{self.aim}": self.best[self.aim]} if self.best else {}
        self.tell(Progress(stage.name, done, stage.steps, {**figures, **best}))

    def keep_if_best(self, figure: float, done: int) -> None:
        """Keep the averaged weights if they did better on val than any before."""
        # the first process decides for all: else one might end, and the others wait for it
        figure = float(self.fabric.broadcast(figure))
        if figure > self.best.get(self.aim, -float("inf")):
            self.best = {self.aim: figure, "step": done}
            self.run.save(BEST, {"step": done, "average": self.average.state_dict()})

    def ended(self, stage: Stage, done: int) -> str:
        """Say why a stage is over, so that a resumed run does not go through it again."""
        waited = (done - self.best["step"]) // self.checks.every_steps
        if done == stage.steps:
            return "all steps done"
        return f"nothing gained for {waited} checks" if waited >= self.checks.patience else ""

    def take_best(self) -> None:
        """Go on from the weights that did best on val."""
        self.fabric.barrier()
        best = self.run.load(BEST)
        with self.run.restoring():
            self.average.load_state_dict(best["average"])
        self.network.load_state_dict(self.average.module.state_dict())

    def last_losses(self, stage: Stage) -> dict[str, float]:
        """Give the losses logged last in a stage, for the card."""
        lines = [one for one in self.run.metrics() if "gradient" in one]
        last = [one for one in lines if one["stage"] == stage.name][-1:]
        return {
            key: value for one in last for key, value in one.items() if isinstance(value, float)
        }


def begun(order: Order, job: str, dataset: Dataset, fabric: Fabric) -> Run:
    """Make the folder of the run, or open the one that is gone on with.

    Raises
    ------
    InputError
        The folder is not empty, or holds no run, or one of something else.
    """
    facts = cards.facts_of_run(job, dataset, order.start, fabric)
    if not order.resume:
        return Run.begin(order.out, order.recipe, facts, writes=fabric.is_global_zero)
    run, before = Run.resume(order.out, writes=fabric.is_global_zero)
    cards.refuse_other_data(order.out, before, facts)
    return run


def placed(network: nn.Module, order: Order, fabric: Fabric) -> nn.Module:
    """Give a new network the weights it begins with, and put it on the device."""
    if order.start and not order.resume:
        begin_with(network, order.start)
    return channels_last(network).to(fabric.device)


def learnable(data: Path, kind: str) -> Dataset:
    """Open a dataset of a kind, with something in train and in val.

    Raises
    ------
    InputError
        It is of the other kind, or one of the two splits is empty.
    """
    dataset = Dataset.open(data)
    held = dataset.header.kind
    if held != kind:
        way = f"train on it with: scope-sr train {JOBS[held]}"
        msg = f"{data}: {HELD[held]}, no {HELD[kind]}; {way}"
        raise InputError(msg)
    for split in ("train", "val"):
        if not dataset.of(split):
            msg = f"{data}: split {split} is empty, so nothing can be learnt or tried; {MORE[kind]}"
            raise InputError(msg)
    return dataset


def last_split(dataset: Dataset) -> Split:
    """Name the split whose figures stand in the card: test, or val where nothing is in test."""
    return "test" if dataset.of("test") else "val"
