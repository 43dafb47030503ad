"""What is exported: the eager network of a model file, or of two whose weights are blended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from scope_sr.errors import InputError
from scope_sr.export.compare import MOST_LEVELS, levels_apart, runner, sample_picture
from scope_sr.modelfile import Card, load, read_card, shipped, state, wrap
from scope_sr.networks import UNet, generator

FIDELITY, GAN, NUCLEI = "fidelity.ts", "gan.ts", "nuclei.ts"


def opened(source: str | Path, gan_share: float | None = None) -> tuple[nn.Module, Card]:
    """Rebuild the network of a model, or of a training run.

    Parameters
    ----------
    source
        Name or file of a model, or the folder of a finished run.
    gan_share
        Of a run: how much of the GAN weights, from 0 (fidelity, as if it were left out) to 1.

    Raises
    ------
    InputError
        There is no such model, the run is not finished, or has nothing to blend.
    """
    folder = Path(source)
    if str(source) in shipped() or not folder.is_dir():
        if gan_share is not None:
            msg = f"--gan-share: {source} is one model; name the folder of a training run"
            raise InputError(msg)
        return rebuilt(source)
    if (folder / NUCLEI).exists():
        if gan_share is not None:
            msg = f"--gan-share: {folder} trained a nuclei model, which has one set of weights"
            raise InputError(msg)
        return rebuilt(folder / NUCLEI)
    if not (folder / FIDELITY).exists():
        msg = (
            f"{folder}: no finished training there (neither {FIDELITY} nor {NUCLEI}); go on with"
            " --resume, or name a model"
        )
        raise InputError(msg)
    return _of_run(folder, gan_share or 0.0)


def rebuilt(model: str | Path) -> tuple[nn.Module, Card]:
    """Rebuild a network from the card and the weights in a model file.

    Raises
    ------
    InputError
        The file is damaged, or was written by a scope-sr whose networks were others.
    """
    card = read_card(model)
    network = _with(card, state(model), model)
    picture = sample_picture()
    found = levels_apart(runner(wrap(network, card))(picture), load(model)(picture))
    if found > MOST_LEVELS:
        raise InputError(_of_another(model, card))
    return network, card


def blend(
    fidelity: Mapping[str, Tensor], gan: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Interpolate the weights of two networks that were trained one from the other.

    X. Wang et al., ESRGAN (ECCVW 2018), section 3.4.

    >>> from torch import tensor
    >>> blend({"w": tensor([0.0, 1.0])}, {"w": tensor([1.0, 3.0])}, 0.25)
    {'w': tensor([0.2500, 1.5000])}
    """
    return {name: (1 - share) * weight + share * gan[name] for name, weight in fidelity.items()}


def _of_run(folder: Path, share: float) -> tuple[nn.Module, Card]:
    if not 0 <= share <= 1:
        msg = f"--gan-share = {share:g}: must be from 0 (fidelity) to 1 (GAN)"
        raise InputError(msg)
    if share == 0:
        return rebuilt(folder / FIDELITY)
    if not (folder / GAN).exists():
        msg = f"--gan-share: {folder} has no {GAN}: no GAN stage was trained; leave it out"
        raise InputError(msg)
    network, gan = rebuilt(folder / GAN)
    if share == 1:
        return network, gan
    card = read_card(folder / FIDELITY)
    alike = ("kind", "architecture", "settings", "scale")
    if any(getattr(card, key) != getattr(gan, key) for key in alike):
        msg = f"{folder}: {FIDELITY} and {GAN} are not of one network; train them in one run"
        raise InputError(msg)
    weights = blend(state(folder / FIDELITY), state(folder / GAN), share)
    mixed = replace(
        gan,
        name=f"{folder.absolute().name}-blend",
        weights=f"blend of fidelity and {share:.2f} gan",
        losses={},
        figures=(),  # measured for its ends, not for the blend
    )
    return _with(mixed, weights, folder), mixed


def _with(card: Card, weights: Mapping[str, Tensor], model: str | Path) -> nn.Module:
    if card.architecture == "unet":
        network: nn.Module = UNet(**card.settings)
    else:
        network = generator(card.architecture, card.scale, **card.settings)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(_of_another(model, card)) from error
    return network.eval()


def _of_another(model: str | Path, card: Card) -> str:
    version = card.versions.get("scope_sr", "another scope-sr")
    return (
        f"{model}: its weights do not belong to the {card.architecture} of this scope-sr; export"
        f" with {version}, which wrote it"
    )
