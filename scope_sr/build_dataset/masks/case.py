"""What a folder of images with nuclei masks holds: cases, and the layout they lie in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.errors import InputError

# A TCGA barcode; its first three parts name the patient, more of them the slide.
BARCODE = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}(?:-[A-Z0-9]+)*", re.IGNORECASE)
UNFIT = re.compile(r"[^A-Za-z0-9._+-]+")
# Windows gives these names to devices, whatever their ending.
DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)),
}
LONGEST_NAME = 120
WIDEST_NUMBER = 20


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


def fault(path: Path, text: str) -> InputError:
    """Say in one line which file cannot be used, why, and the way out."""
    return InputError(" ".join(f"{path}: {text}".split()))


def natural(name: str | Path) -> tuple[str, str]:
    """Give a key that sorts numbers within names by their value.

    >>> sorted(["10_crop", "9_crop", "a2"], key=natural)
    ['9_crop', '10_crop', 'a2']
    """
    text = name.as_posix() if isinstance(name, Path) else name
    return re.sub(r"\d+", lambda found: found[0].zfill(WIDEST_NUMBER), text.lower()), text


def patient_and_slide(text: str) -> tuple[str, str]:
    """Find the patient and the slide in a name that holds a TCGA barcode; both empty without.

    >>> patient_and_slide("TCGA-A7-A13E-01Z-00-DX1.tif"), patient_and_slide("01_1.png")
    (('TCGA-A7-A13E', 'TCGA-A7-A13E-01Z-00-DX1'), ('', ''))
    """
    found = BARCODE.search(text)
    if found is None:
        return "", ""
    parts = found[0].upper().split("-")
    return "-".join(parts[:3]), "-".join(parts) if len(parts) > 3 else ""


def with_fit_names(cases: Sequence[Case], folder: Path) -> tuple[Case, ...]:
    """Make the names of cases unique, letter case aside, and fit for file names.

    A name that occurs twice is replaced by the path within `folder`; what is still equal after
    unfit characters are gone gets a number.
    """
    wanted = Counter(_fit(case.name).lower() for case in cases)
    taken: set[str] = set()
    named = []
    for case in cases:
        name = _fit(case.name)
        if wanted[name.lower()] > 1:
            name = _fit("-".join(case.files[0].relative_to(folder).with_suffix("").parts))
        name = _untaken(name, taken)
        taken.add(name.lower())
        named.append(replace(case, name=name))
    return tuple(named)


def _fit(name: str) -> str:
    # A leading dot would hide the file, a trailing one Windows takes away.
    text = UNFIT.sub("_", name).strip(".")[:LONGEST_NAME].rstrip(".") or "_"
    return f"_{text}" if text.split(".")[0].lower() in DEVICES else text


def _untaken(name: str, taken: set[str]) -> str:
    number, found = 2, name
    while found.lower() in taken:
        found, number = f"{name}+{number}", number + 1
    return found
