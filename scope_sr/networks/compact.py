"""``compact``: the generator that runs live."""

from __future__ import annotations

from torch import Tensor, nn

from scope_sr.networks.interpolation import Interpolation


class Compact(nn.Module):
    """A chain of 3x3 convolutions at the low resolution and one shuffle at the end.

    The shape of SRVGGNetCompact (X. Wang et al., Real-ESRGAN, ICCVW 2021): no branches, so every
    runtime is fast with it and int8 costs it little. It adds detail to an interpolation.

    Parameters
    ----------
    scale
        2 or 4.
    blocks
        Convolutions between the first and the last.
    channels
        Of each.
    """

    def __init__(self, scale: int, blocks: int = 16, channels: int = 32) -> None:
        super().__init__()
        self.interpolation = Interpolation(scale)
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1), nn.PReLU(channels)]
        for _ in range(blocks):
            layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.PReLU(channels)]
        self.body = nn.Sequential(*layers)
        self.tail = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)
        for layer in self.body:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=0.25)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(self, low: Tensor) -> Tensor:
        """Enlarge ``(batch, 3, row, column)`` by the scale."""
        detail = self.shuffle(self.tail(self.body(low)))
        return self.interpolation(low) + detail  # type: ignore[no-any-return]
