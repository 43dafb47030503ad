"""Whether a dataset is whole, and whether anything stands in two of its splits."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scope_sr.dataset import SPLITS, Dataset, Labelled, Pair
from scope_sr.dataset.leaks import leaks
from scope_sr.dataset.verify import verify
from scope_sr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from scope_sr.dataset.index import Item, Level

NOTES: dict[Level, str] = {
    "area": "the splits are areas of the same slides, so patients do stand in several of them;"
    " what test says holds for tissue never seen, not for patients never seen",
    "image": "nobody told patients or slides, so one patient's images may stand in several splits",
}


@dataclass(frozen=True)
class DatasetCheck:
    """A dataset and what was found in it; `text` says it to people.

    Attributes
    ----------
    problems
        What is missing, changed or foreign, one line each.
    leaks
        What stands in two splits, one line each.
    """

    dataset: Dataset
    problems: tuple[str, ...]
    leaks: tuple[str, ...]
    text: str

    @property
    def ok(self) -> bool:
        """Whether every file is as it was written and nothing stands in two splits."""
        return not self.problems and not self.leaks


def check_dataset(
    folder: str | Path,
    *,
    list_all: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> DatasetCheck:
    """Read a dataset and every byte of it; nothing is changed.

    Parameters
    ----------
    list_all
        Name every pair or image with its split, verdict and reasons.
    progress
        Told (files read, of how many), then (steps of the search for leaks, of how many).

    Raises
    ------
    InputError
        There is no dataset, it is of a newer schema, or too damaged to be read.
    """
    dataset = Dataset.open(folder)
    problems = verify(dataset, progress)
    found = leaks(dataset, progress)
    lines = [*_head(dataset), *_splits(dataset), *_rejected(dataset)]
    if list_all:
        lines += ["", *_table(dataset)]
    lines += ["", *_verdict(problems, found)]
    return DatasetCheck(dataset, problems, found, text="\n".join(lines))


def _head(dataset: Dataset) -> Iterator[str]:
    header = dataset.header
    made = "simulated pairs" if header.simulated else header.kind
    yield f"{dataset.folder}: dataset {header.name} of {made}, built with {header.software}"
    color = "colour" if header.color else "grey"
    if header.kind == "pairs":
        sizes = _um(header.low_um_per_px), _um(header.high_um_per_px)
        yield f"scale        x{header.scale}, {sizes[0]} to {sizes[1]}, {header.bits} bit {color}"
    else:
        yield f"pixels       {_um(header.low_um_per_px)}, {header.bits} bit {color}"
    for source in header.sources:
        licence = source.licence or "licence not told"
        yield f"source       {source.name} ({source.kind}, {source.digest[:12]}, {licence})"


def _um(um_per_px: float | None) -> str:
    return f"{um_per_px:.4g} µm/px" if um_per_px else "unknown µm/px"


def _splits(dataset: Dataset) -> Iterator[str]:
    header = dataset.header
    yield f"split by     {header.level}"
    noun = "pair" if header.kind == "pairs" else "image"
    for split in SPLITS:
        items = dataset.of(split)
        patients = {item.patient for item in items if item.patient}
        slides = {item.slide for item in items if item.slide}
        of = [_count(len(patients), "patient")] if patients else []
        of += [_count(len(slides), "slide")] if slides else []
        usable = f", {_tissue(dataset, items)}" if header.kind == "pairs" else ""
        among = f" of {' and '.join(of)}" if of else ""
        yield f"{split:<12} {_count(len(items), noun)}{among}{usable}"
    if header.level in NOTES:
        yield f"note         {NOTES[header.level]}"


def _tissue(dataset: Dataset, items: Iterable[Item]) -> str:
    usable_px = sum(_usable_px(dataset, item) for item in items)
    um_per_px = dataset.header.low_um_per_px
    if um_per_px:
        return f"{usable_px * um_per_px**2 / 1e6:.3g} mm² usable"
    return f"{usable_px / 1e6:.3g} million low pixels usable"


def _usable_px(dataset: Dataset, item: Item) -> int:
    try:
        usable = dataset.usable(item).sum() if isinstance(item, Pair) else 0
    except InputError:  # the verdict names it
        usable = 0
    return int(usable) * dataset.header.cell_px**2


def _rejected(dataset: Dataset) -> Iterator[str]:
    """Count the rejected by reason; one may have several."""
    rejected = [item for item in dataset.items if not item.accepted]
    reasons = Counter(_kind(item.reasons[0]) for item in rejected)
    yield f"rejected     {len(rejected)} of {len(dataset.items)}"
    for kind, times in reasons.most_common():
        yield f"{times:>12} {kind}"


def _kind(reason: str) -> str:
    """Leave the numbers out of a reason, so that like ones can be counted.

    >>> _kind("residual 0.31 px, at most 0.25"), _kind("no tissue")
    ('residual', 'no tissue')
    """
    return re.split(r"[\d:;,(]", reason, maxsplit=1)[0].strip() or reason


def _table(dataset: Dataset) -> Iterator[str]:
    width = max((len(item.name) for item in dataset.items), default=0)
    for item in dataset.items:
        yield f"{item.name:<{width}}  {item.split or '-':<5}  {_state(item)}"


def _state(item: Item) -> str:
    if not item.accepted:
        return "rejected: " + "; ".join(item.reasons)
    if isinstance(item, Labelled):
        return "good" if item.nuclei is None else f"good  {_count(item.nuclei, 'nucleus')}"
    values = (f"{k} {g.value:.3g}" for k, g in item.gates.items() if g.value is not None)
    return "  ".join(["good", *values])


def _verdict(problems: tuple[str, ...], found: tuple[str, ...]) -> Iterator[str]:
    if problems:
        yield f"{_count(len(problems), 'problem')}:"
        yield from (f"  {problem}" for problem in problems)
    else:
        yield "every file is there and as it was written"
    if found:
        yield f"{_count(len(found), 'leak')} between splits:"
        yield from (f"  {leak}" for leak in found)
    else:
        yield "no leak: nothing was found in two splits"


def _count(number: int, noun: str) -> str:
    many = "nuclei" if noun == "nucleus" else f"{noun}s"
    return f"{number} {noun if number == 1 else many}"
