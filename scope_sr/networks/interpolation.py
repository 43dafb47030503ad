"""Cubic interpolation as a convolution that may be learnt further."""

from __future__ import annotations

import torch
from torch import Tensor, nn

KERNEL_A = -0.75  # the cubic kernel OpenCV and torch use
TAPS = 5


class Interpolation(nn.Module):
    """Enlarge by an integer factor: a 5x5 convolution into ``scale²`` sub-pixels, then a shuffle.

    It begins as cubic interpolation (Keys 1981, a = -0.75) and learns from there. As the skip of a
    generator it leaves only the detail to the network, and is a plain convolution for every
    runtime. Edges are repeated outward.

    Examples
    --------
    >>> flat = Interpolation(2)(torch.full((1, 3, 6, 6), 0.5))
    >>> tuple(flat.shape), bool((flat - 0.5).abs().max() < 1e-6)
    ((1, 3, 12, 12), True)
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3 * scale**2, TAPS, padding=TAPS // 2, padding_mode="replicate")
        self.shuffle = nn.PixelShuffle(scale)
        weights = torch.zeros_like(self.conv.weight)
        rows = torch.stack([cubic_taps((k + 0.5) / scale - 0.5) for k in range(scale)])
        kernels = torch.einsum("iy,jx->ijyx", rows, rows).reshape(scale**2, TAPS, TAPS)
        for color in range(3):
            weights[color * scale**2 : (color + 1) * scale**2, color] = kernels
        with torch.no_grad():
            self.conv.weight.copy_(weights)
            nn.init.zeros_(self.conv.bias if self.conv.bias is not None else torch.empty(0))

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge ``(batch, 3, row, column)``; never in bf16, which has 256 levels at best."""
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            return self.shuffle(self.conv(x))  # type: ignore[no-any-return]
        with torch.autocast(x.device.type, enabled=False):
            return self.shuffle(self.conv(x))  # type: ignore[no-any-return]


def cubic_taps(offset_px: float) -> Tensor:
    """Weigh the five pixels around one for a point `offset_px` (-0.5..0.5) from its centre.

    >>> [round(float(w), 4) for w in cubic_taps(0.25)]
    [0.0, -0.1055, 0.8789, 0.2617, -0.0352]
    """
    distance = (torch.arange(TAPS, dtype=torch.float64) - TAPS // 2 - offset_px).abs()
    near = (KERNEL_A + 2) * distance**3 - (KERNEL_A + 3) * distance**2 + 1
    far = KERNEL_A * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    taps = torch.where(distance <= 1, near, torch.where(distance < 2, far, 0.0))
    return taps.float()
