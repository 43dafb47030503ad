"""The nuclei U-Net."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 3  # background, inside, boundary
PLANES = CLASSES + 1  # and the distance


def double_conv(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions, each normalised over the batch."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """O. Ronneberger et al. (MICCAI 2015), with two heads.

    Per pixel three logits (background, inside a nucleus, boundary between nucleus and all else) and
    one distance, from 0 at the edge of a nucleus to 1 at its innermost point.

    Parameters
    ----------
    base
        Channels of the finest level; each coarser one has twice as many.
    depth
        How often the picture is halved; its sides must be multiples of ``2**depth``.
    """

    def __init__(self, base: int = 16, depth: int = 4) -> None:
        super().__init__()
        widths = [base * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            double_conv(before, after)
            for before, after in zip([3, *widths[:-1]], widths, strict=True)
        )
        self.narrow = nn.ModuleList(
            nn.Conv2d(widths[level + 1], widths[level], 1) for level in reversed(range(depth))
        )
        self.up = nn.ModuleList(
            double_conv(2 * widths[level], widths[level]) for level in reversed(range(depth))
        )
        self.head = nn.Conv2d(base, PLANES, 1)

    def forward(self, picture: Tensor) -> Tensor:
        """Give ``(batch, 4, row, column)``: three logits and the distance (not yet clipped)."""
        x = picture * 2 - 1
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            if level:
                x = functional.max_pool2d(x, 2)
            x = block(x)
            skips.append(x)
        for level, (narrow, block) in enumerate(zip(self.narrow, self.up)):  # noqa: B905 (scripted)
            # narrowed first: a 1x1 convolution commutes with repeating pixels, and is cheaper small
            wide = functional.interpolate(narrow(x), scale_factor=2.0, mode="nearest")
            x = block(torch.cat([skips[-2 - level], wide], dim=1))
        return self.head(x)  # type: ignore[no-any-return]
