"""What a folder of images with nuclei masks holds: cases, and the layout they lie in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.files import fit, untaken


@dataclass(frozen=True)
class Case:
    """One image with its mask, as found; nothing of it has been read yet.

    Attributes
    ----------
    name
        Unique within its layout, and fit for a file name on any system.
    layout
        Name of the layout, which decides how it is read.
    files
        The image first, then what marks its nuclei; where a third file stands beside a label map,
        it marks what nobody is to judge.
    patient, slide
        Empty where nobody knows.
    um_per_px
        As its publishers say; None where nobody knows.
    index
        Place within the arrays of PanNuke; None elsewhere.
    instances
        True where the publishers number every nucleus; None where copies with plain masks are
        about, so that the numbers must tell.
    tissue
        Organ or type of cancer, in the words of the publishers; empty where unknown.
    gaps
        True where the annotators left a gap between neighbours, so that each area of a plain mask
        is a nucleus.
    """

    name: str
    layout: str
    files: tuple[Path, ...]
    patient: str = ""
    slide: str = ""
    um_per_px: float | None = None
    index: int | None = None
    instances: bool | None = None
    tissue: str = ""
    gaps: bool = False


@dataclass(frozen=True)
class Layout:
    """A folder whose layout was recognised.

    Attributes
    ----------
    name
        As in ``find_layout``.
    licence
        As published with the dataset; empty where unknown.
    note
        What the card of a dataset made of it should say.
    cases
        In natural order: 2 before 10.
    problems
        One line for each file that is left out.
    """

    name: str
    licence: str
    note: str
    cases: tuple[Case, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Read:
    """An image and its nuclei.

    Attributes
    ----------
    image
        ``(row, column, 3)`` RGB, uint8.
    labels
        ``(row, column)``, uint16, or uint32 beyond 65535 nuclei; 0 is background, the nuclei are
        1 to K, none left out.
    ignore
        ``(row, column)``, uint8, not 0 where nobody is to judge; None where there is nothing.
    instances
        Whether touching nuclei are told apart; else the labels are connected areas.
    facts
        What was dropped on the way.
    """

    image: NDArray[np.uint8]
    labels: NDArray[Any]
    ignore: NDArray[np.uint8] | None = None
    instances: bool = True
    facts: dict[str, str | float] = field(default_factory=dict)


def with_fit_names(cases: Sequence[Case], folder: Path) -> tuple[Case, ...]:
    """Make the names of cases unique, letter case aside, and fit for file names.

    A name that occurs twice is replaced by the path within `folder`; what is still equal after
    unfit characters are gone gets a number.
    """
    wanted = Counter(fit(case.name).lower() for case in cases)
    taken: set[str] = set()
    named = []
    for case in cases:
        name = fit(case.name)
        if wanted[name.lower()] > 1:
            name = fit("-".join(case.files[0].relative_to(folder).with_suffix("").parts))
        name = untaken(name, taken)
        taken.add(name.lower())
        named.append(replace(case, name=name))
    return tuple(named)
