"""The nuclei U-Net: three classes and a distance, learnt from images with masks.

O. Ronneberger et al. (MICCAI 2015); the boundary as a class of its own after the winners of the
Data Science Bowl 2018, the distance after P. Naylor et al. (IEEE TMI 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional

from scope_sr.config import UnetRecipe
from scope_sr.dataset import Dataset
from scope_sr.dataset.index import Split
from scope_sr.errors import InputError
from scope_sr.imaging.nuclei import BACKGROUND, BOUNDARY
from scope_sr.modelfile import Figures, save
from scope_sr.networks import UNet
from scope_sr.networks.unet import CLASSES
from scope_sr.train import cards, nuclei_trial
from scope_sr.train.inputs import inputs_of
from scope_sr.train.loop import (
    LOG_STEPS,
    Finished,
    Progress,
    Stop,
    Tell,
    agreed,
    averaged,
    batches,
    begin_with,
    channels_last,
    descend,
    launch,
    quiet,
    refuse_nonsense,
    refuse_wild,
    set_rate,
)
from scope_sr.train.nuclei_patches import NucleiPatches
from scope_sr.train.runs import BEST, LAST, Run, written

STAGE = "nuclei"


@dataclass(eq=False)
class Work:
    """A training under way."""

    fabric: Fabric
    run: Run
    recipe: UnetRecipe
    dataset: Dataset
    patches: NucleiPatches
    trial: nuclei_trial.Trial
    network: nn.Module
    average: Any
    tell: Tell
    stop: Stop
    best: dict[str, Any] = field(default_factory=dict)


def train_unet(
    data: Path,
    recipe: UnetRecipe,
    out: Path,
    *,
    start: str = "",
    resume: bool = False,
    tell: Tell = lambda progress: None,
    stop: Stop = lambda: False,
) -> Finished:
    """Train a nuclei U-Net on a dataset of images with masks.

    Parameters
    ----------
    data
        Folder of the dataset; learnt from its train split, tried on val, judged on test.
    out
        Folder of the run.
    start
        Model whose weights are begun with; a name or a file.
    resume
        Go on with the run in `out`, to the same weights, bit for bit, as without the stop.
    tell, stop
        Hear of every logged step; asked before each step whether to stop after saving.

    Raises
    ------
    InputError
        The dataset, the recipe or the run cannot be used.
    TrainingError
        The disk is full, or the numbers went astray; what was saved before is whole.
    """
    fabric = launch(recipe.precision)
    work = _prepared(fabric, data, recipe, out, start, resume, tell, stop)
    why = _learn(work, work.run.load(LAST) if resume else {})
    if why == "stopped":
        return Finished(out, (), {}, why)
    fabric.barrier()
    best = work.run.load(BEST)
    with work.run.restoring():
        work.average.load_state_dict(best["average"])
    model, figures = _kept(work)
    return Finished(out, (model,), figures, why)


def _prepared(
    fabric: Fabric,
    data: Path,
    recipe: UnetRecipe,
    out: Path,
    start: str,
    resume: bool,
    tell: Tell,
    stop: Stop,
) -> Work:
    """Look at everything that could be wrong before the folder of the run is made."""
    dataset = masks_to_learn_from(data)
    patches = NucleiPatches(
        dataset,
        "train",
        patch_px=recipe.patch_px,
        batch=recipe.batch,
        seed=recipe.seed,
        rank=fabric.global_rank,
        mixture=inputs_of(recipe.mixture, recipe.seed),
        stain_jitter=recipe.stain_jitter,
    )
    trial = nuclei_trial.Trial.of(dataset, "val", recipe.checks.fields, fabric.device)
    torch.manual_seed(recipe.seed)
    network: nn.Module = UNet(recipe.base, recipe.depth)
    if start and not resume:
        begin_with(network, start)
    network = channels_last(network).to(fabric.device)
    facts = cards.facts_of_run("unet", dataset, start, fabric)
    if resume:
        run, before = Run.resume(out, writes=fabric.is_global_zero)
        cards.refuse_other_data(out, before, facts)
    else:
        run = Run.begin(out, recipe, facts, writes=fabric.is_global_zero)
    average = averaged(network, recipe.ema, buffers=True)
    return Work(fabric, run, recipe, dataset, patches, trial, network, average, tell, stop)


def masks_to_learn_from(data: Path) -> Dataset:
    """Open a dataset of images with masks, with something in train and in val.

    Raises
    ------
    InputError
        It holds pairs, or one of the two splits is empty.
    """
    dataset = Dataset.open(data)
    if dataset.header.kind != "nuclei":
        msg = f"{data}: pairs, no images with masks; train on it with: scope-sr train srgan"
        raise InputError(msg)
    for split in ("train", "val"):
        if not dataset.of(split):
            way = "build it of images of three patients or more"
            msg = f"{data}: split {split} is empty, so nothing can be learnt or tried; {way}"
            raise InputError(msg)
    return dataset


def _learn(work: Work, state: Mapping[str, Any]) -> str:
    """Go down the loss, step by step; say why it ended."""
    recipe, fabric = work.recipe, work.fabric
    optimizer = torch.optim.AdamW(
        work.network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    first = _restored(work, state, optimizer)
    if state.get("ended"):
        return str(state["ended"])
    with quiet():
        network, optimizer = fabric.setup(work.network, optimizer)
    for step, batch in batches(fabric, work.patches, first, recipe.steps, recipe.workers):
        if (fabric.world_size == 1 or step % LOG_STEPS == 0) and agreed(fabric, work.stop()):
            _save(work, step, optimizer)
            return "stopped"
        set_rate(optimizer, recipe.learning_rate, step, recipe.steps)
        picture = batch["picture"].contiguous(memory_format=torch.channels_last)
        losses = nuclei_losses(network(picture), batch, recipe)
        norm = descend(fabric, network, optimizer, torch.stack(list(losses.values())).sum())
        work.average.update_parameters(work.network)
        done = step + 1
        if done % LOG_STEPS == 0:
            _log(work, done, {**losses, "gradient": norm})
        if done % recipe.checks.every_steps == 0 or done == recipe.steps:
            _check(work, done)
            ended = _ended(work, done)
            _save(work, done, optimizer, ended)
            if ended:
                return ended
    return "all steps done"


def nuclei_losses(
    found: Tensor, truth: Mapping[str, Tensor], recipe: UnetRecipe
) -> dict[str, Tensor]:
    """Give the three parts of the loss, each over the pixels that are judged.

    Parameters
    ----------
    found
        ``(batch, 4, row, column)``: logits of the classes, and the distance.
    truth
        ``classes``, ``distance`` and ``judged``, ``(batch, row, column)``.

    Returns
    -------
    ``classes``: cross entropy, the boundary weighing more; ``dice``: 1 - Dice of nucleus against
    background; ``distance``: smooth L1.
    """
    judged = truth["judged"].float()
    number = judged.sum().clamp(min=1)
    logits, distance = found[:, :CLASSES].float(), found[:, CLASSES].float()
    weight = torch.ones(CLASSES, device=found.device)
    weight[BOUNDARY] = recipe.boundary_weight
    entropy = functional.cross_entropy(logits, truth["classes"], weight, reduction="none")
    nucleus = (1 - logits.softmax(1)[:, BACKGROUND]) * judged
    marked = (truth["classes"] != BACKGROUND).float() * judged
    dice = (2 * (nucleus * marked).sum() + 1) / (nucleus.sum() + marked.sum() + 1)
    off = functional.smooth_l1_loss(distance, truth["distance"], reduction="none", beta=0.1)
    return {
        "classes": (entropy * judged).sum() / number,
        "dice": 1 - dice,
        "distance": recipe.distance_weight * (off * judged).sum() / number,
    }


def _restored(work: Work, state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> int:
    """Put everything back as it was saved; give the step to go on with."""
    if not state:
        return 0
    with work.run.restoring():
        work.network.load_state_dict(state["network"])
        work.average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        work.best = dict(state["best"])
        step = int(state["step"])
    work.run.keep_metrics_until(step)
    return step


def _save(work: Work, step: int, optimizer: Any, ended: str = "") -> None:
    refuse_wild(STAGE, step, "learning_rate", work.network)
    work.run.save(
        LAST,
        {
            "stage": STAGE,
            "step": step,
            "ended": ended,
            "network": work.network.state_dict(),
            "average": work.average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "best": work.best,
        },
    )


def _log(work: Work, done: int, losses: Mapping[str, Tensor]) -> None:
    figures = {name: float(value.detach()) for name, value in losses.items()}
    refuse_nonsense(STAGE, done, figures, "learning_rate")
    work.run.log(stage=STAGE, step=done, **figures)
    best = {"best_pq": work.best["pq"]} if work.best else {}
    work.tell(Progress(STAGE, done, work.recipe.steps, {**figures, **best}))


def _check(work: Work, done: int) -> None:
    """Find the nuclei of the val split with the averaged weights, and keep the best."""
    refuse_wild(STAGE, done, "learning_rate", work.network)
    judged = work.trial.judge(work.average.module)
    figures = {f"val_{name}": value or 0.0 for name, value in asdict(judged.figures).items()}
    del figures["val_images"]
    work.run.log(stage=STAGE, step=done, **figures)
    if work.run.writes:
        work.run.put(f"samples/step-{done:07d}.png", nuclei_trial.picture(judged, done))
        work.run.put("curves.png", nuclei_trial.curves(work.run.metrics()))
    # where touching nuclei are not told apart there is no PQ to go by
    pq = judged.figures.pq if judged.figures.pq is not None else judged.figures.dice or 0.0
    # the first process decides for all: statistics of batches differ from process to process
    pq = float(work.fabric.broadcast(pq))
    if pq > work.best.get("pq", -1.0):
        work.best = {"pq": pq, "step": done}
        work.run.save(BEST, {"step": done, "average": work.average.state_dict()})


def _ended(work: Work, done: int) -> str:
    """Say why the training is over, so that a resumed run does not begin again."""
    checks = work.recipe.checks
    waited = (done - work.best["step"]) // checks.every_steps
    if done == work.recipe.steps:
        return "all steps done"
    return f"nothing gained for {waited} checks" if waited >= checks.patience else ""


def _kept(work: Work) -> tuple[Path, dict[str, Any]]:
    """Write the model file, with its figures on images it has not seen."""
    split: Split = "test" if work.dataset.of("test") else "val"
    trial = nuclei_trial.Trial.of(work.dataset, split, None, work.fabric.device)
    judged = trial.judge(work.average.module)
    found = {
        name: {"model": value}
        for name, value in asdict(judged.figures).items()
        if name in ("dice", "aji", "pq", "f1") and value is not None
    }
    protocol = f"{judged.figures.images} whole images of split {split}, mean over images"
    last = [line for line in work.run.metrics() if "classes" in line][-1:]
    losses = {key: value for line in last for key, value in line.items() if key != "step"}
    mixture = ", ".join(f"{one.share:.0%} {one.name}" for one in work.patches.mixture)
    card = cards.nuclei_card(
        work.dataset,
        work.recipe,
        steps=work.best["step"],
        losses={key: value for key, value in losses.items() if isinstance(value, float)},
        figures=(Figures(protocol, judged.figures.images, **found),),
        note="; ".join(filter(None, (f"learnt from {mixture}", cards.begun_with(work.run.start)))),
        name=work.run.folder.absolute().name,
    )
    path = work.run.folder / "nuclei.ts"
    if work.run.writes:
        with written(path):
            save(work.average.module, card, path)
    return path, {"split": split, **found}
