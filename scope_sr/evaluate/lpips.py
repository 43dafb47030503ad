"""LPIPS, the distance of pictures as people see it, from weights the user brings.

R. Zhang et al., CVPR 2018, version 0.1 with VGG16. Its two files are not ours to hand on: the
network is torchvision's (``vgg16-397923af.pth``), the linear heads are lpips' (``vgg.pth``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scope_sr.config import reason
from scope_sr.errors import InputError

VGG16 = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)  # convolutions of each level
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of RGB between -1 and 1
TINY = 1e-10
FILES = "give torchvision's vgg16-397923af.pth and the heads of lpips 0.1, vgg.pth"


class Lpips(nn.Module):
    """Give the distance of two pictures, 0 where they are the same.

    Parameters
    ----------
    vgg
        ``features.0.weight`` ... of torchvision's VGG16.
    heads
        ``lin0.model.1.weight`` ... ``lin4.model.1.weight`` of lpips.

    Raises
    ------
    KeyError, RuntimeError
        The weights are others.
    """

    def __init__(self, vgg: dict[str, Tensor], heads: dict[str, Tensor]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for level, widths in enumerate(VGG16):
            layers += [nn.MaxPool2d(2)] if level else []
            for width in widths:
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
                inputs = width
        self.features = nn.Sequential(*layers)
        self.load_state_dict(
            {key: value for key, value in vgg.items() if key.startswith("features.")}
        )
        self.heads = [
            heads[f"lin{level}.model.1.weight"].reshape(1, widths[-1], 1, 1)
            for level, widths in enumerate(VGG16)
        ]
        self.requires_grad_(False).eval()

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Compare two batches ``(n, 3, row, column)`` between 0 and 1; gives ``(n,)``."""
        pairs = zip(self.heads, self._levels(one), self._levels(other), strict=True)
        return torch.stack(
            [((a - b).square() * head).sum(1).mean((1, 2)) for head, a, b in pairs]
        ).sum(0)

    def _levels(self, picture: Tensor) -> list[Tensor]:
        shift, scale = (torch.tensor(one)[:, None, None] for one in (SHIFT, SCALE))
        x = (picture * 2 - 1 - shift) / scale
        found = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                found.append(x / (x.square().sum(1, keepdim=True).sqrt() + TINY))
            x = layer(x)
        return [*found, x / (x.square().sum(1, keepdim=True).sqrt() + TINY)]

    def distance(self, one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
        """Compare two pictures ``(row, column, 3)`` of 8 bits."""
        both = np.stack([one, other]).astype(np.float32) / 255
        tensors = torch.from_numpy(both).permute(0, 3, 1, 2)
        with torch.inference_mode():
            return float(self(tensors[:1], tensors[1:]))


def load_lpips(vgg: Path, heads: Path) -> Lpips:
    """Read the two files of weights; nothing in them is run.

    Raises
    ------
    InputError
        One is missing, damaged, or something else.
    """
    try:
        return Lpips(_weights(vgg), _weights(heads))
    except (KeyError, RuntimeError, AttributeError) as error:
        msg = f"--lpips {vgg} {heads}: not the weights of LPIPS with VGG16; {FILES}"
        raise InputError(msg) from error


def _weights(path: Path) -> Any:
    try:
        found = torch.load(path, "cpu", weights_only=True)
    except OSError as error:
        msg = f"--lpips: {path}: {reason(error)}; {FILES}"
        raise InputError(msg) from error
    except Exception as error:  # torch raises what its readers happen to raise
        msg = f"--lpips: {path}: not a file of weights; {FILES}"
        raise InputError(msg) from error
    return found if isinstance(found, dict) else {}
