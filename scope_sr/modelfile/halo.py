"""How far a pixel reaches: the halo tiles need so that they give what the whole picture gives."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

MOST_PX = 4096


def halo_px(network: nn.Module, multiple_px: int = 1) -> int:
    """Measure how far a pixel reaches, at worst, rounded up to a multiple of `multiple_px`.

    One column of a strip is made NaN, in float64, and what comes out as NaN is what it reaches. No
    weight, however small, and no rectifier, however closed, hides it then: the answer holds for
    any weights and any picture. float64, because faster convolutions of float32 (Winograd) mix
    neighbours that do not reach each other. Where pooling makes it depend on where the column lies,
    the farthest reach counts.

    Raises
    ------
    ValueError
        It reaches the whole picture, as attention or instance normalisation do.

    Examples
    --------
    >>> halo_px(nn.Sequential(nn.Conv2d(3, 3, 5, padding=2), nn.ReLU(), nn.Conv2d(3, 3, 3, 1, 1)))
    3
    """
    exact = copy.deepcopy(network).cpu().double().eval()
    length = 16 * multiple_px
    while length <= MOST_PX * multiple_px:
        columns = [length // 2 + phase for phase in range(multiple_px)]
        strips = torch.full((multiple_px, 3, multiple_px, length), 0.5, dtype=torch.float64)
        for number, column in enumerate(columns):
            strips[number, :, :, column] = torch.nan
        across = reached(exact, strips)
        down = reached(exact, strips, down=True)
        touched = across | down
        if not bool(touched[:, 0].any() or touched[:, -1].any()):
            places = torch.arange(length) - torch.tensor(columns)[:, None]
            reach = int(places.abs()[touched].max())
            return -(-reach // multiple_px) * multiple_px
        length *= 2
    msg = "a pixel reaches the whole picture: such a network cannot work in tiles"
    raise ValueError(msg)


def tiles_are_exact(network: nn.Module, halo_px: int, multiple_px: int) -> bool:
    """Check that a tile with this halo knows all that its core depends on.

    What lies outside the tile is NaN; it must not be seen from within the core.
    """
    exact = copy.deepcopy(network).double()
    outside = multiple_px
    strips = torch.full((2, 3, multiple_px, halo_px + 3 * multiple_px), 0.5, dtype=torch.float64)
    strips[0, :, :, :outside] = torch.nan
    strips[1, :, :, -outside:] = torch.nan
    for down in (False, True):
        touched = reached(exact, strips, down=down)
        if touched[0, outside + halo_px :].any() or touched[1, : -outside - halo_px].any():
            return False
    return True


@torch.no_grad()
def reached(network: nn.Module, strips: Tensor, *, down: bool = False) -> Tensor:
    """Say which columns of each strip came out as NaN, ``(N, columns)``; `down`: laid upright."""
    out = network(strips.transpose(2, 3) if down else strips)
    touched = torch.isnan(out).any(1).any(2 if down else 1)
    return touched.reshape(len(strips), strips.shape[3], -1).any(2)
