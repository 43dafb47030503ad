"""How sure a mean over fields is: the bootstrap, fields resampled, the same for every figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Interval = tuple[float, float]

SAMPLES = 4000
PART = 200
LEVEL = 0.95
LEAST_FIELDS = 6  # five all agree by chance in one of 16, which is not 95 %
LEAST_GAP = 0.01  # of Dice or F1: what comes back of less is chance
SEED = 0  # the same fields give the same interval


class Bootstrap:
    """Draw fields with replacement, many times.

    A value of nan is not known of that field; fields without one take no part.

    Examples
    --------
    >>> low, high = Bootstrap(400).interval(np.random.default_rng(0).normal(1, 2, 400))
    >>> round(high - low, 1)  # 2 x 1.96 x 2 / sqrt(400)
    0.4
    """

    def __init__(self, fields: int) -> None:
        rng = np.random.default_rng(SEED)
        share = np.full(max(fields, 1), 1 / max(fields, 1))
        self._times = np.empty((SAMPLES, fields), np.float32)
        for first in range(0, SAMPLES, PART):  # all at once would take twice the memory
            self._times[first : first + PART] = rng.multinomial(fields, share, PART)

    def means(self, values: Floats) -> Floats:
        """Give the mean of each draw; nan where none of its fields knows."""
        known = np.isfinite(values)
        count = self._times @ known.astype(np.float32)
        total = self._times @ np.where(known, values, 0.0)
        found: Floats = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
        return found

    def interval(self, values: Floats) -> Interval | None:
        """Give the middle 95 % of the means; None of too few fields."""
        if np.isfinite(values).sum() < LEAST_FIELDS:
            return None
        return _middle(self.means(values))

    def share(self, low: Floats, model: Floats, high: Floats) -> tuple[float, Interval | None]:
        """Give the share of the gap between `low` and `high` that a model closes.

        Returns
        -------
        share, interval
            nan where `high` is not better than `low` by `LEAST_GAP` in the mean. The interval is
            None of too few fields, and where that happens in more than 2.5 % of the draws: it has
            no bounds.

        Examples
        --------
        >>> low, high = np.zeros(9), np.ones(9)
        >>> Bootstrap(9).share(low, low + 0.6, high), Bootstrap(9).share(high, low, low)[0]
        ((0.6, (0.6, 0.6)), nan)
        """
        known = np.isfinite(low) & np.isfinite(model) & np.isfinite(high)
        low, model, high = (np.where(known, one, np.nan) for one in (low, model, high))
        gap = mean(high - low)
        if not gap >= LEAST_GAP:
            return float("nan"), None
        gaps = self.means(high - low)
        bounded = known.sum() >= LEAST_FIELDS and np.mean(gaps > 0) > 1 - (1 - LEVEL) / 2
        closed = self.means(model - low)[gaps > 0] / gaps[gaps > 0]
        return round(mean(model - low) / gap, 12), _middle(closed) if bounded else None


def mean(values: Floats | Sequence[float]) -> float:
    """Average what is known; nan where nothing is."""
    found = np.asarray(values, float)
    found = found[np.isfinite(found)]
    return float(found.mean()) if len(found) else float("nan")


def _middle(values: Floats) -> Interval | None:
    found = values[np.isfinite(values)]
    if not len(found):
        return None
    low, high = np.percentile(found, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return round(float(low), 12), round(float(high), 12)
