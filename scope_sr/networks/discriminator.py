"""The discriminator: judges every pixel of a picture of any size."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm


class UNetDiscriminator(nn.Module):
    """A U-Net with spectral normalisation that says, pixel by pixel, how real it looks.

    X. Wang et al., Real-ESRGAN (ICCVW 2021), after E. Schönfeld et al. (CVPR 2020).

    Parameters
    ----------
    channels
        Of the first convolution; 64 in the paper.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        c = channels

        def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
            size = 4 if stride == 2 else 3
            return spectral_norm(nn.Conv2d(inputs, outputs, size, stride, padding=1, bias=False))

        self.first = nn.Conv2d(3, c, 3, padding=1)
        self.down = nn.ModuleList([conv(c, 2 * c, 2), conv(2 * c, 4 * c, 2), conv(4 * c, 8 * c, 2)])
        self.up = nn.ModuleList([conv(8 * c, 4 * c), conv(4 * c, 2 * c), conv(2 * c, c)])
        self.judge = nn.Sequential(
            conv(c, c), nn.LeakyReLU(0.2), conv(c, c), nn.LeakyReLU(0.2), nn.Conv2d(c, 1, 3, 1, 1)
        )

    def forward(self, picture: Tensor) -> Tensor:
        """Give logits ``(batch, 1, row, column)``; sides must be multiples of 8."""
        x = functional.leaky_relu(self.first(picture), 0.2)
        skips = []
        for conv in self.down:
            skips.append(x)
            x = functional.leaky_relu(conv(x), 0.2)
        for conv in self.up:
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = functional.leaky_relu(conv(x), 0.2) + skips.pop()
        return self.judge(x)  # type: ignore[no-any-return]
