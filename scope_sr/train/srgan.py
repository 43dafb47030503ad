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
    agreed,
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
from scope_sr.train.runs import LAST
from scope_sr.train.srgan_work import Work, prepared

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
    work = prepared(fabric, data, recipe, out, start, resume, tell, stop)
    state = work.run.load(LAST) if resume else {}
    work.best = dict(state.get("best", {}))
    models = []
    why = "all steps done"
    if state.get("stage", "pixel") == "pixel":
        why = _pixel_stage(work, state)
        state = {}
        if why == "stopped":
            return Finished(out, (), {}, why)
    work.take_best()
    models.append(work.keep("fidelity"))
    if recipe.gan.steps:
        if _gan_stage(work, state) == "stopped":
            return Finished(out, tuple(models), {}, "stopped")
        models.append(work.keep("gan"))
    return Finished(out, tuple(models), work.figures, why)


def _pixel_stage(work: Work, state: Mapping[str, Any]) -> str:
    """Learn the likeliest picture."""
    recipe, stage, fabric = work.recipe, work.recipe.pixel, work.fabric
    optimizer = torch.optim.Adam(work.network.parameters(), stage.learning_rate, BETAS)
    first = work.restored(state, {"optimizer": optimizer})
    if state.get("ended"):
        return str(state["ended"])
    with quiet():
        network, optimizer = fabric.setup(work.network, optimizer)
    learners = {"optimizer": optimizer}
    for step, batch in batches(fabric, work.patches, first, stage.steps, recipe.workers):
        if _stopping(work, step):
            work.save("pixel", step, learners)
            return "stopped"
        set_rate(optimizer, stage.learning_rate, step, stage.steps)
        low, high = work.inputs(batch, step)
        loss, counts = shift_tolerant_l1(network(low), high, stage.shift_px)
        norm = descend(fabric, network, optimizer, loss)
        work.average.update_parameters(work.network)
        work.count(counts)
        done = step + 1
        if done % LOG_STEPS == 0:
            work.log("pixel", done, {"l1": loss, "gradient": norm})
        if done % recipe.checks.every_steps == 0 or done == stage.steps:
            work.check("pixel", done)
            ended = _ended(work, done)
            work.save("pixel", done, learners, ended)
            if ended:
                return ended
    return "all steps done"


def _gan_stage(work: Work, state: Mapping[str, Any]) -> str:
    """Learn to look real, and stay near the truth."""
    recipe, stage, fabric = work.recipe, work.recipe.gan, work.fabric
    torch.manual_seed(recipe.seed + 1)
    judge = channels_last(UNetDiscriminator(stage.discriminator_channels)).to(fabric.device)
    features = work.features.to(fabric.device) if work.features else None
    optimizer = torch.optim.Adam(work.network.parameters(), stage.learning_rate, BETAS)
    optimizer_d = torch.optim.Adam(judge.parameters(), stage.learning_rate, BETAS)
    learners = {"discriminator": judge, "optimizer": optimizer, "optimizer_d": optimizer_d}
    if not state:
        work.average = averaged(work.network, recipe.ema)
    first = work.restored(state, learners)
    with quiet():
        network, optimizer = fabric.setup(work.network, optimizer)
        discriminator, optimizer_d = fabric.setup(judge, optimizer_d)
    learners.update(optimizer=optimizer, optimizer_d=optimizer_d)
    watch = DiscriminatorWatch()
    offset = recipe.pixel.steps  # chance goes on where the first stage left it
    for step, batch in batches(
        fabric, work.patches, offset + first, offset + stage.steps, recipe.workers
    ):
        at = step - offset
        if _stopping(work, step):
            work.save("gan", at, learners)
            return "stopped"
        for one in (optimizer, optimizer_d):
            set_rate(one, stage.learning_rate, at, stage.steps)
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
            work.log("gan", done, losses)
        if done % recipe.checks.every_steps == 0 or done == stage.steps:
            work.check("gan", done)
            work.save("gan", done, learners)
    return "all steps done"


def _generator_losses(
    work: Work,
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
    work.count(counts)
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


def _stopping(work: Work, step: int) -> bool:
    together = work.fabric.world_size > 1
    if together and step % LOG_STEPS:
        return False  # asking the others costs a message
    return agreed(work.fabric, work.stop())


def _ended(work: Work, done: int) -> str:
    """Say why the first stage is over, so that a resumed run does not go through it again."""
    checks = work.recipe.checks
    waited = (done - work.best["step"]) // checks.every_steps
    if done == work.recipe.pixel.steps:
        return "all steps done"
    return f"nothing gained for {waited} checks" if waited >= checks.patience else ""
