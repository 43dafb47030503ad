"""``srresnet``: the generator of SRGAN, the reference."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scope_sr.networks.interpolation import Interpolation


class Residual(nn.Module):
    """Two convolutions whose result is added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.active = nn.PReLU(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        for conv in (self.first, self.second):
            nn.init.kaiming_normal_(conv.weight, a=0.25)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.second.weight.mul_(0.1)  # sixteen sums in a row must not grow

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        return x + self.second(self.active(self.first(x)))  # type: ignore[no-any-return]


class SRResNet(nn.Module):
    """Residual blocks at the low resolution, then one shuffle for each factor of two.

    C. Ledig et al., Photo-Realistic Single Image Super-Resolution (CVPR 2017), without batch
    normalisation as is usual since EDSR, with a 3x3 last convolution, and on top of an
    interpolation.

    Parameters
    ----------
    scale
        2 or 4.
    blocks, channels
        16 and 64 in the paper.
    """

    def __init__(self, scale: int, blocks: int = 16, channels: int = 64) -> None:
        super().__init__()
        self.interpolation = Interpolation(scale)
        self.head = nn.Sequential(nn.Conv2d(3, channels, 9, padding=4), nn.PReLU(channels))
        self.body = nn.Sequential(*(Residual(channels) for _ in range(blocks)))
        self.joint = nn.Conv2d(channels, channels, 3, padding=1)
        steps: list[nn.Module] = []
        for _ in range({2: 1, 4: 2}[scale]):
            steps += [
                nn.Conv2d(channels, 4 * channels, 3, padding=1),
                nn.PixelShuffle(2),
                nn.PReLU(channels),
            ]
        self.enlarge = nn.Sequential(*steps)
        self.tail = nn.Conv2d(channels, 3, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(self, low: Tensor) -> Tensor:
        """Enlarge ``(batch, 3, row, column)`` by the scale."""
        seen = self.head(low)
        detail = self.tail(self.enlarge(seen + self.joint(self.body(seen))))
        return self.interpolation(low) + detail  # type: ignore[no-any-return]
