"""Frozen networks whose features say how alike two pictures are to the eye, or to a nuclei net."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from scope_sr.networks.unet import UNet

# Convolutions of VGG19 by level; torchvision numbers them, their ReLUs and the poolings in a row
VGG19 = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)
LAYERS = {2: 0.1, 7: 0.1, 16: 1.0, 25: 1.0, 34: 1.0}  # the last of each level before its ReLU
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


class Vgg19Features(nn.Module):
    """VGG19 up to its 16th convolution, with the keys of torchvision's weight file.

    Parameters
    ----------
    weights
        ``features.0.weight`` ... as in ``vgg19-dcbb9e9d.pth``; others (the classifier) are ignored.

    Raises
    ------
    KeyError, RuntimeError
        The weights are not those of a VGG19.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for level, widths in enumerate(VGG19):
            layers += [nn.MaxPool2d(2)] if level else []
            for width in widths:
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
                inputs = width
        self.features = nn.Sequential(*layers[:-1])
        self.load_state_dict(
            {key: value for key, value in weights.items() if key.startswith("features.")}
        )
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("spread", torch.tensor(SPREAD)[:, None, None], persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, picture: Tensor) -> list[Tensor]:
        """Give the features of five levels, weighted as in Real-ESRGAN."""
        x = (picture - self.mean) / self.spread  # type: ignore[operator]
        found = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in LAYERS:
                found.append(x * LAYERS[number])
        return found


class NucleiFeatures(nn.Module):
    """The first levels of a nuclei U-Net: what it looks at before it decides.

    Features are divided by their length over the channels, as LPIPS does. A picture that was
    trained with them must not be judged by the same U-Net.
    """

    def __init__(self, unet: UNet, levels: int = 3) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(list(unet.down)[:levels])
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> NucleiFeatures:
        """Stay as trained: statistics of batches must not move."""
        del mode
        return super().train(False)

    def forward(self, picture: Tensor) -> list[Tensor]:
        """Give unit features of each level."""
        x = picture * 2 - 1
        found = []
        for level, block in enumerate(self.blocks):
            x = block(functional.max_pool2d(x, 2) if level else x)
            found.append(functional.normalize(x, dim=1, eps=1e-3))
        return found
