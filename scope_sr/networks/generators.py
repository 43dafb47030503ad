"""The generators by name."""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

from scope_sr.networks.compact import Compact
from scope_sr.networks.srresnet import SRResNet

Architecture = Literal["compact", "srresnet"]
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)


def generator(architecture: Architecture, scale: int, blocks: int, channels: int) -> nn.Module:
    """Make a generator whose picture, before it has learnt anything, is the bicubic one."""
    kind = {"compact": Compact, "srresnet": SRResNet}[architecture]
    return kind(scale, blocks, channels)
