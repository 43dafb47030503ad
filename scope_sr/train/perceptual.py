"""What compares pictures by features: a user's VGG19, our nuclei U-Net, or nothing."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import torch
from torch import nn

from scope_sr.config import reason
from scope_sr.errors import InputError
from scope_sr.modelfile import read_card, state
from scope_sr.networks import NucleiFeatures, UNet, Vgg19Features


def features_of(perceptual: str) -> nn.Module | None:
    """Make what the recipe's ``gan.perceptual`` names: ``vgg19:FILE``, ``nuclei:MODEL``, ``none``.

    Raises
    ------
    InputError
        There is no such file or model, or it is something else.
    """
    kind, _, name = perceptual.partition(":")
    if kind == "vgg19":
        return _vgg19(Path(name))
    if kind == "nuclei":
        return _nuclei(name)
    return None


def _vgg19(path: Path) -> Vgg19Features:
    """Read torchvision's file; eight figures of its checksum stand in its name."""
    try:
        data = path.read_bytes()
        named = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
        if named and not hashlib.sha256(data).hexdigest().startswith(named[1]):
            msg = f"gan.perceptual: {path}: damaged (its SHA-256 does not begin with {named[1]})"
            raise InputError(f"{msg}; download it again")
        del data
        return Vgg19Features(torch.load(path, "cpu", weights_only=True))
    except OSError as error:
        msg = f"gan.perceptual: {path}: {reason(error)}; name torchvision's vgg19-dcbb9e9d.pth"
        raise InputError(msg) from error
    except InputError:
        raise
    except Exception as error:  # torch raises what its readers happen to raise
        msg = f"gan.perceptual: {path}: not the weights of a VGG19; take vgg19-dcbb9e9d.pth"
        raise InputError(msg) from error


def _nuclei(name: str) -> NucleiFeatures:
    card = read_card(name)
    if card.kind != "nuclei":
        msg = f"gan.perceptual: {name} is a {card.kind} model; name a nuclei model"
        raise InputError(msg)
    unet = UNet(**card.settings)
    unet.load_state_dict(state(name))
    return NucleiFeatures(unet)
