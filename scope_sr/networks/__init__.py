"""Networks: generators, discriminator, nuclei U-Net, features; nothing but torch modules.

Tensors are float32 ``(batch, channel, row, column)``; pictures are RGB between 0 and 1.
"""

from __future__ import annotations

from scope_sr.networks.compact import Compact
from scope_sr.networks.discriminator import UNetDiscriminator
from scope_sr.networks.features import NucleiFeatures, Vgg19Features
from scope_sr.networks.generators import ARCHITECTURES, Architecture, generator
from scope_sr.networks.srresnet import SRResNet
from scope_sr.networks.unet import UNet

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Compact",
    "NucleiFeatures",
    "SRResNet",
    "UNet",
    "UNetDiscriminator",
    "Vgg19Features",
    "generator",
]
