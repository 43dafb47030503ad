"""The nuclei U-Net: three classes and a distance, learnt from images with masks.

O. Ronneberger et al. (MICCAI 2015); the boundary as a class of its own after the winners of the
Data Science Bowl 2018, the distance after P. Naylor et al. (IEEE TMI 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional

from scope_sr.config import UnetRecipe
from scope_sr.imaging.nuclei import BACKGROUND, BOUNDARY
from scope_sr.modelfile import Figures, save
from scope_sr.networks import UNet
from scope_sr.networks.unet import CLASSES
from scope_sr.train import cards, nuclei_trial
from scope_sr.train.inputs import inputs_of
from scope_sr.train.loop import (
    LOG_STEPS,
    Finished,
    Stop,
    Tell,
    averaged,
    batches,
    descend,
    launch,
    quiet,
    refuse_wild,
    set_rate,
)
from scope_sr.train.nuclei_patches import NucleiPatches
from scope_sr.train.runs import written
from scope_sr.train.work import Order, Stage, Work, begun, last_split, learnable, placed


@dataclass(eq=False, kw_only=True)
class UnetWork(Work):
    """What is needed to learn nuclei; `trial` are the fields looked at on the way."""

    recipe: UnetRecipe
    patches: NucleiPatches
    trial: nuclei_trial.Trial

    @property
    def stage(self) -> Stage:
        """The only one."""
        return Stage("nuclei", self.recipe.steps, "learning_rate")


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
    work = _prepared(Order(data, recipe, out, start, resume, tell, stop), recipe, fabric)
    with work.run.kept_if_saved():
        why = _learn(work, work.state(resume))
    if why == "stopped":
        return Finished(out, (), {}, why)
    work.take_best()
    model, figures = _kept(work)
    return Finished(out, (model,), figures, why)


def _prepared(order: Order, recipe: UnetRecipe, fabric: Fabric) -> UnetWork:
    """Look at everything that could be wrong before the folder of the run is made."""
    dataset = learnable(order.data, "nuclei")
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
    network = placed(UNet(recipe.base, recipe.depth), order, fabric)
    return UnetWork(
        fabric=fabric,
        run=begun(order, "unet", dataset, fabric),
        dataset=dataset,
        checks=recipe.checks,
        network=network,
        average=averaged(network, recipe.ema, buffers=True),
        tell=order.tell,
        stop=order.stop,
        aim="pq" if trial.told_apart else "dice",
        recipe=recipe,
        patches=patches,
        trial=trial,
    )


def _learn(work: UnetWork, state: Mapping[str, Any]) -> str:
    """Go down the loss, step by step; say why it ended."""
    recipe, stage, fabric = work.recipe, work.stage, work.fabric
    optimizer = torch.optim.AdamW(
        work.network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    first = work.restored(state, stage, {"optimizer": optimizer})
    if state.get("ended"):
        return str(state["ended"])
    with quiet():
        network, optimizer = fabric.setup(work.network, optimizer)
    learners = {"optimizer": optimizer}
    for step, batch in batches(fabric, work.patches, first, stage.steps, recipe.workers):
        if work.stopping(step):
            work.save(stage, step, learners)
            return "stopped"
        set_rate(optimizer, recipe.learning_rate, step, stage.steps)
        picture = batch["picture"].contiguous(memory_format=torch.channels_last)
        losses = nuclei_losses(network(picture), batch, recipe)
        norm = descend(fabric, network, optimizer, torch.stack(list(losses.values())).sum())
        work.average.update_parameters(work.network)
        done = step + 1
        if done % LOG_STEPS == 0:
            work.log(stage, done, {**losses, "gradient": norm})
        if done % recipe.checks.every_steps == 0 or done == stage.steps:
            _check(work, done)
            ended = work.ended(stage, done)
            work.save(stage, done, learners, ended)
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
    ``classes``: cross entropy, the boundary weighing more; ``overlap``: 1 - Dice of nucleus against
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
        "overlap": 1 - dice,
        "distance": recipe.distance_weight * (off * judged).sum() / number,
    }


def _check(work: UnetWork, done: int) -> None:
    """Find the nuclei of the val split with the averaged weights, and keep the best."""
    stage = work.stage
    refuse_wild(stage.name, done, stage.rate, work.network)
    judged = work.trial.judge(work.average.module)
    figures = {f"val_{name}": value for name, value in asdict(judged.figures).items()}
    del figures["val_images"]
    work.run.log(stage=stage.name, step=done, **figures)
    if work.run.writes:
        work.run.put(f"samples/step-{done:07d}.png", nuclei_trial.picture(judged, done))
        work.run.put("curves.png", nuclei_trial.curves(work.run.metrics()))
    work.keep_if_best(getattr(judged.figures, work.aim) or 0.0, done)


def _kept(work: UnetWork) -> tuple[Path, dict[str, Any]]:
    """Write the model file, with its figures on images it has not seen."""
    split = last_split(work.dataset)
    trial = nuclei_trial.Trial.of(work.dataset, split, None, work.fabric.device)
    judged = trial.judge(work.average.module)
    found = {
        name: {"model": value}
        for name, value in asdict(judged.figures).items()
        if name in ("dice", "aji", "pq", "f1") and value is not None
    }
    protocol = f"whole images of split {split}, mean over images"
    mixture = ", ".join(f"{one.share:.0%} {one.name}" for one in work.patches.mixture)
    card = cards.nuclei_card(
        work.dataset,
        work.recipe,
        steps=work.best["step"],
        losses=work.last_losses(work.stage),
        figures=(Figures(protocol, judged.figures.images, **found),),
        note="; ".join(filter(None, (f"learnt from {mixture}", cards.begun_with(work.run.start)))),
        name=work.run.folder.absolute().name,
    )
    path = work.run.folder / "nuclei.ts"
    if work.run.writes:
        with written(path):
            save(work.average.module, card, path)
    return path, {"split": split, **found}
