"""Who trains, who judges: decided by patient, slide or area before anything is cut.

What was decided once stays when data are added: groups are assigned in the order they come, and a
slide is cut by what lay on it first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scope_sr.dataset.index import SPLITS, Level, Split

SHARES: dict[Split, float] = {"train": 0.7, "val": 0.15, "test": 0.15}
FIRST: tuple[Split, ...] = ("train", "test", "val")
LEAST_GROUPS = 3  # fewer cannot fill three splits
GUARD = 0.1  # of the extent of a slide's fields, where a whole low field would be more
SEARCH = (0.6, 0.8)  # between these shares of the fields the first cut falls, where the gap is


def level_of(patients: Sequence[str], slides: Sequence[str]) -> Level:
    """Choose by what to split: the coarsest of which there are enough; "" stands for unknown.

    >>> level_of(["a", "b", "c"], ["1", "2", "3"]), level_of([""], ["1", "2", "3"])
    ('patient', 'slide')
    """
    known = {name for name in patients if name}
    if len(known) >= LEAST_GROUPS and "" not in patients:
        return "patient"
    named = {name for name in slides if name}
    enough = len(named) >= LEAST_GROUPS and "" not in slides and not known
    return "slide" if enough else "area"


def assign(groups: Sequence[str], known: Mapping[str, Split]) -> dict[str, Split]:
    """Assign groups to splits in the order they come; `known` ones stay where they are.

    The first three fill the three splits, then each goes where most is missing.

    >>> assign(["a", "b", "c", "d"], {})
    {'a': 'train', 'b': 'test', 'c': 'val', 'd': 'train'}
    """
    found = dict(known)
    for group in groups:
        if group not in found:
            found[group] = _wanted(list(found.values()))
    return found


def _wanted(taken: list[Split]) -> Split:
    empty = [split for split in FIRST if split not in taken]
    if empty:
        return empty[0]
    total = len(taken) + 1
    return max(SPLITS, key=lambda split: (SHARES[split] * total - taken.count(split), split))


@dataclass(frozen=True)
class Area:
    """How a slide is cut: train on one side of a line, val and test share the other side.

    Attributes
    ----------
    axis
        Along which the first cut falls, 0 for x and 1 for y of the stage.
    first_um, second_um
        Where the first line crosses that axis, and the second the other axis.
    guard_um
        Tissue this near to a line, half of it on each side, belongs to nobody.
    """

    axis: Literal[0, 1]
    first_um: float
    second_um: float
    guard_um: float

    def split_of(self, at_um: NDArray[np.float64]) -> Split:
        """Give the side a point (x, y) lies on, the guard not considered."""
        if at_um[self.axis] < self.first_um:
            return "train"
        return "val" if at_um[1 - self.axis] < self.second_um else "test"

    def inside(self, at_um: NDArray[np.float64], split: Split, reach_um: float) -> NDArray:
        """Mark points ``(..., 2)`` which, with all tissue within `reach_um`, are the split's."""
        room = self.guard_um / 2 + reach_um
        first = at_um[..., self.axis] - self.first_um
        second = at_um[..., 1 - self.axis] - self.second_um
        if split == "train":
            return np.asarray(first < -room)
        beside = second < -room if split == "val" else second > room
        return np.asarray((first > room) & beside)

    def table(self) -> dict[str, float]:
        """Give it as it stands in ``dataset.json``."""
        return asdict(self)

    @classmethod
    def from_table(cls, table: Mapping[str, float]) -> Area:
        """Read what `table` gave."""
        axis: Literal[0, 1] = 1 if table["axis"] else 0
        return cls(axis, table["first_um"], table["second_um"], table["guard_um"])


def cut(centres_um: NDArray[np.float64], field_um: float) -> Area:
    """Cut a slide into areas: 70 % of the fields to train, the rest shared by val and test.

    Parameters
    ----------
    centres_um
        ``(n, 2)`` of the high fields taken on it.
    field_um
        Width of a low field: what the guard would be on a slide large enough.
    """
    centres_um = np.asarray(centres_um, float).reshape(-1, 2)
    extent = np.ptp(centres_um, axis=0)
    axis: Literal[0, 1] = 1 if extent[1] > extent[0] else 0
    along = np.sort(centres_um[:, axis])
    first = _widest_gap(along, *SEARCH)
    rest = centres_um[centres_um[:, axis] >= first]
    second = _widest_gap(np.sort(rest[:, 1 - axis]), 0.3, 0.7)
    guard = min(field_um, GUARD * max(float(extent.max()), 1.0))
    return Area(axis, first, second, guard)


def _widest_gap(along: NDArray[np.float64], low: float, high: float) -> float:
    """Give the middle of the widest gap between two shares of sorted places."""
    n = len(along)
    if n < 2:
        return float(along[0]) + 1.0 if n else 0.0
    first = min(max(int(low * n), 1), n - 1)
    last = min(max(int(np.ceil(high * n)), first), n - 1)
    gaps = along[first : last + 1] - along[first - 1 : last]
    best = first + int(np.argmax(np.round(gaps, 3)))
    return float((along[best - 1] + along[best]) / 2)
