"""What stands around a network in a model file: 8-bit pictures go in and come out, of any size.

Annotations stay types here, not strings: the compiler of TorchScript reads them.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from scope_sr.modelfile.card import Card


class SuperResolution(nn.Module):
    """``(N, H, W, 3)`` uint8 RGB in, `scale` times as large out.

    The permuted picture lies in memory as channels-last, which is the faster way for convolutions.
    """

    full: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        # its type follows the weights: so does the arithmetic, after .half() too
        self.register_buffer("full", torch.tensor(255.0))

    def forward(self, picture: Tensor) -> Tensor:
        """Enlarge."""
        x = picture.permute(0, 3, 1, 2).to(self.full.dtype) / self.full
        return to_levels(self.network(x))


class Nuclei(nn.Module):
    """``(N, H, W, 3)`` uint8 RGB in; inside, boundary and distance out, as uint8 planes."""

    full: Tensor

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.network = network
        self.multiple = multiple
        self.register_buffer("full", torch.tensor(255.0))

    def forward(self, picture: Tensor) -> Tensor:
        """Judge each pixel."""
        height, width = picture.shape[1], picture.shape[2]
        below = (self.multiple - height % self.multiple) % self.multiple
        right = (self.multiple - width % self.multiple) % self.multiple
        x = picture.permute(0, 3, 1, 2).to(self.full.dtype) / self.full
        x = functional.pad(x, [0, right, 0, below], mode="replicate")
        found = self.network(x)[:, :, :height, :width].float()
        chances = torch.softmax(found[:, :3], dim=1)
        return to_levels(torch.cat([chances[:, 1:], found[:, 3:]], dim=1))


def to_levels(picture: Tensor) -> Tensor:
    """Round ``(N, 3, H, W)`` of 0..1 to ``(N, H, W, 3)`` of 0..255."""
    levels = (picture.float() * 255.0).round().clamp(0.0, 255.0)
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def wrap(network: nn.Module, card: Card) -> nn.Module:
    """Put a network into the graph of its kind."""
    if card.kind == "sr":
        return SuperResolution(network).eval()
    return Nuclei(network, 2 ** card.settings["depth"]).eval()
