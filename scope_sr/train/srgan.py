"""The two stages of SRGAN: first the likeliest picture, then one that looks real.

C. Ledig et al. (CVPR 2017), with what is usual since: L1 instead of squares, no batch
normalisation, a U-Net discriminator with spectral normalisation, a moving average of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scope_sr.config import SrganRecipe
from scope_sr.networks import UNetDiscriminator
from scope_sr.train.loop import (
    LOG_STEPS,
    DiscriminatorWatch,
    Finished,
    Stop,
    Tell,
    averaged,
    batches,
    channels_last,
    descend,
    launch,
    quiet,
    set_rate,
)
from scope_sr.train.losses import (
    adversarial_loss,
    aligned,
    discriminator_loss,
    feature_loss,
    shift_tolerant_l1,
)
from scope_sr.train.srgan_work import SrganWork, prepared
from scope_sr.train.work import Order

STRIDE = 8  # the discriminator halves a picture three times
BETAS = (0.9, 0.99)


def train_srgan(
    data: Path,
    recipe: SrganRecipe,
    out: Path,
    *,
    start: str = "",
    resume: bool = False,
    tell: Tell = lambda progress: None,
    stop: Stop = lambda: False,
) -> Finished:
    """Train a generator on a dataset of pairs.

    Parameters
    ----------
    data
        Folder of the dataset; learnt from its train split, tried on val, judged on test.
    out
        Folder of the run.
    start
        Model whose weights are begun with, as far as they fit; a name or a file.
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
    order = Order(data, recipe, out, start, resume, tell, stop)
    work = prepared(order, recipe, fabric)
    state = work.state(resume)
    models = []
    why = "all steps done"
    if state.get("stage", "pixel") == "pixel":
        with work.run.kept_if_saved():
            why = _pixel_stage(work, state)
        state = {}
        if why == "stopped":
            return Finished(out, (), {}, why)
    work.take_best()
    models.append(work.keep("fidelity", work.pixel))
    if recipe.gan.steps:
        if _gan_stage(work, state) == "stopped":
            return Finished(out, tuple(models), {}, "stopped")
        models.append(work.keep("gan", work.gan))
    return Finished(out, tuple(models), work.figures, why)


def _pixel_stage(work: SrganWork, state: Mapping[str, Any]) -> str:
    """Learn the likeliest picture."""
    recipe, asked, stage, fabric = work.recipe, work.recipe.pixel, work.pixel, work.fabric
    optimizer = torch.optim.Adam(work.network.parameters(), asked.learning_rate, BETAS)
    first = work.restored(state, stage, {"optimizer": optimizer, "shifts": work.shifts})
    if state.get("ended"):
        return str(state["ended"])
    with quiet():
        network, optimizer = fabric.setup(work.network, optimizer)
    learners = {"optimizer": optimizer, "shifts": work.shifts}
    if not state:
        work.check(stage, 0)  # what is begun with: nothing worse is kept
    for step, batch in batches(fabric, work.patches, first, stage.steps, recipe.workers):
        if work.stopping(step):
            work.save(stage, step, learners)
            return "stopped"
        set_rate(optimizer, asked.learning_rate, step, stage.steps)
        low, high = work.inputs(batch, step)
        loss, counts = shift_tolerant_l1(network(low), high, asked.shift_px)
        norm = descend(fabric, network, optimizer, loss)
        work.average.update_parameters(work.network)
        work.shifts.add(counts)
        done = step + 1
        if done % LOG_STEPS == 0:
            work.log(stage, done, {"l1": loss, "gradient": norm})
        if done % recipe.checks.every_steps == 0 or done == stage.steps:
            work.check(stage, done)
            ended = work.ended(stage, done)
            work.save(stage, done, learners, ended)
            if ended:
                return ended
    return "all steps done"


def _gan_stage(work: SrganWork, state: Mapping[str, Any]) -> str:
    """Learn to look real, and stay near the truth."""
    recipe, asked, stage, fabric = work.recipe, work.recipe.gan, work.gan, work.fabric
    torch.manual_seed(recipe.seed + 1)
    judge = channels_last(UNetDiscriminator(asked.discriminator_channels)).to(fabric.device)
    features = work.features.to(fabric.device) if work.features else None
    optimizer = torch.optim.Adam(work.network.parameters(), asked.learning_rate, BETAS)
    optimizer_d = torch.optim.Adam(judge.parameters(), asked.learning_rate, BETAS)
    watch = DiscriminatorWatch()
    learners = {
        "discriminator": judge,
        "optimizer": optimizer,
        "optimizer_d": optimizer_d,
        "watch": watch,
        "shifts": work.shifts,
    }
    if not state:
        work.average = averaged(work.network, recipe.ema)
    first = work.restored(state, stage, learners)
    with quiet():
        network, optimizer = fabric.setup(work.network, optimizer)
        discriminator, optimizer_d = fabric.setup(judge, optimizer_d)
    learners.update(optimizer=optimizer, optimizer_d=optimizer_d)
    offset = stage.offset  # chance goes on where the first stage left it
    for step, batch in batches(
        fabric, work.patches, offset + first, offset + stage.steps, recipe.workers
    ):
        at = step - offset
        if work.stopping(step):
            work.save(stage, at, learners)
            return "stopped"
        for one in (optimizer, optimizer_d):
            set_rate(one, asked.learning_rate, at, stage.steps)
        low, high = work.inputs(batch, step)
        losses = _generator_losses(work, network, judge, features, low, high)
        total = losses.pop("total")
        losses["gradient"] = descend(fabric, network, optimizer, total)
        work.average.update_parameters(work.network)
        real, fake = losses.pop("real"), losses.pop("fake")
        scores = discriminator(torch.cat([real, fake]))
        losses["discriminator"] = discriminator_loss(*scores.chunk(2))
        descend(fabric, discriminator, optimizer_d, losses["discriminator"])
        watch.see(at, float(losses["discriminator"].detach()))
        done = at + 1
        if done % LOG_STEPS == 0:
            work.log(stage, done, losses)
        if done % recipe.checks.every_steps == 0 or done == stage.steps:
            work.check(stage, done)
            work.save(stage, done, learners)
    return "all steps done"


def _generator_losses(
    work: SrganWork,
    network: Any,
    judge: nn.Module,
    features: nn.Module | None,
    low: Tensor,
    high: Tensor,
) -> dict[str, Tensor]:
    """Weigh nearness, features and looks; the discriminator itself learns nothing from this."""
    stage = work.recipe.gan
    sr = network(low)
    pixel, counts = shift_tolerant_l1(sr, high, work.recipe.pixel.shift_px)
    work.shifts.add(counts)
    ours, truth = (trimmed(p) for p in aligned(sr, high, work.recipe.pixel.shift_px))
    judge.requires_grad_(False)
    with work.fabric.autocast():
        looks = adversarial_loss(judge(ours))
        total = stage.pixel_weight * pixel + stage.adversarial_weight * looks
        losses = {"l1": pixel, "adversarial": looks}
        if features is not None:
            likeness = feature_loss(features(ours), features(truth))
            total = total + stage.perceptual_weight * likeness
            losses[f"features {stage.perceptual.partition(':')[0]}"] = likeness
    judge.requires_grad_(True)
    return {**losses, "total": total, "real": truth, "fake": ours.detach()}


def trimmed(picture: Tensor) -> Tensor:
    """Cut a picture to sides the discriminator can halve."""
    rows, columns = (n // STRIDE * STRIDE for n in picture.shape[-2:])
    return picture[..., :rows, :columns]
