"""What a generator is told: near the truth wherever it lies within a small shift, and real."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

COARSE = 2  # every second pixel each way finds the shift as well as all, in a quarter of the time


def shifts_within(reach_px: int) -> list[tuple[int, int]]:
    """List the shifts (down, right), the smallest first: a tie is no shift.

    >>> shifts_within(1)[:3], len(shifts_within(2))
    ([(0, 0), (-1, 0), (0, -1)], 25)
    """
    span = range(-reach_px, reach_px + 1)
    return sorted(itertools.product(span, span), key=lambda s: s[0] ** 2 + s[1] ** 2)


def shift_tolerant_l1(sr: Tensor, high: Tensor, reach_px: int) -> tuple[Tensor, Tensor]:
    """L1 after the best whole-pixel shift of each patch; a border as wide as the reach is left out.

    Registration leaves a rest, and L1 over pairs that do not quite fit teaches blur: ±2 px cost
    7 dB, and with this loss nothing (notes on models, section 1.3).

    Parameters
    ----------
    sr, high
        ``(batch, 3, row, column)``.
    reach_px
        Largest shift each way; 0 is plain L1.

    Returns
    -------
    loss
        The mean.
    counts
        ``(2 reach + 1, 2 reach + 1)`` how often each shift (down, right) of `high` was best: a
        report of the registration.

    Examples
    --------
    >>> high = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> loss, counts = shift_tolerant_l1(torch.roll(high, (-1, 2), (2, 3)), high, 2)
    >>> float(loss), counts.nonzero().tolist()
    (0.0, [[3, 0]])
    """
    if reach_px == 0:
        return (sr - high).abs().mean(), torch.tensor([[len(sr)]])
    inner = sr[..., reach_px:-reach_px, reach_px:-reach_px]
    rows, columns = inner.shape[-2:]
    shifts = shifts_within(reach_px)

    def shifted(picture: Tensor, shift: tuple[int, int], step: int = 1) -> Tensor:
        down, right = (reach_px + s for s in shift)
        return picture[..., down : down + rows : step, right : right + columns : step]

    with torch.no_grad():
        coarse = inner[..., ::COARSE, ::COARSE]
        costs = [(coarse - shifted(high, s, COARSE)).abs().mean((1, 2, 3)) for s in shifts]
        best = torch.stack(costs).argmin(0).tolist()
    fitting = torch.stack([shifted(one, shifts[n]) for one, n in zip(high, best, strict=True)])
    counts = torch.zeros(2 * reach_px + 1, 2 * reach_px + 1, dtype=torch.int64)
    for number in best:
        down, right = shifts[number]
        counts[down + reach_px, right + reach_px] += 1
    return (inner - fitting).abs().mean(), counts


def aligned(sr: Tensor, high: Tensor, reach_px: int) -> tuple[Tensor, Tensor]:
    """Give `sr` without its border, and the part of `high` that fits it best."""
    if reach_px == 0:
        return sr, high
    pairs = []
    for one, truth in zip(sr, high, strict=True):
        _, counts = shift_tolerant_l1(one[None], truth[None], reach_px)
        down, right = counts.nonzero()[0].tolist()
        rows, columns = (n - 2 * reach_px for n in one.shape[-2:])
        pairs.append(truth[:, down : down + rows, right : right + columns])
    return sr[..., reach_px:-reach_px, reach_px:-reach_px], torch.stack(pairs)


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Binary cross entropy of logits: real ones are 1, made ones 0."""
    return (functional.softplus(-real).mean() + functional.softplus(fake).mean()) / 2


def adversarial_loss(fake: Tensor) -> Tensor:
    """Tell the generator how unreal its pictures look (not saturating)."""
    return functional.softplus(-fake).mean()


def feature_loss(ours: Sequence[Tensor], truth: Sequence[Tensor]) -> Tensor:
    """Compare features level by level."""
    return torch.stack([(a - b).abs().mean() for a, b in zip(ours, truth, strict=True)]).sum()
