"""Whose tissue it is: a table the user gives, since no image says it."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scope_sr.config import reason
from scope_sr.dataset.index import SPLITS, Level, Split
from scope_sr.errors import InputError
from scope_sr.pictures.files import ENDINGS

COLUMNS = ("name", "patient", "slide", "split")
# A TCGA barcode; its first three parts name the patient, more of them the slide.
BARCODE = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}(?:-[A-Z0-9]+)*", re.IGNORECASE)
EXAMPLE = "name,patient,slide,split"


@dataclass(frozen=True)
class Whose:
    """Patient, slide and split of a source or an image; empty where nobody said."""

    patient: str = ""
    slide: str = ""
    split: Split | Literal[""] = ""


def read_patients(path: Path | None, names: Sequence[str]) -> dict[str, Whose]:
    """Read who each of `names` is of; without a file only names with a TCGA barcode tell.

    Parameters
    ----------
    path
        CSV with the columns name and patient, slide if several are of one patient, and split
        where that is not left to the order they come in: train, val or test.

    Raises
    ------
    InputError
        The file is not such a table, or a name has no row.
    """
    if path is None:
        return {name: Whose(*patient_and_slide(name)) for name in names}
    rows = _rows(path)
    for name in list(rows):  # a row may name the file with its ending
        stem, dot, ending = name.rpartition(".")
        if dot + ending.lower() in ENDINGS:
            rows.setdefault(stem, rows[name])
    missing = [name for name in names if name not in rows]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        msg = f"{path}: no row for {missing[0]}{more}; add it, every name needs its patient"
        raise InputError(msg)
    return {name: rows[name] for name in names}


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


def _rows(path: Path) -> dict[str, Whose]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read ({reason(error)}); it must be a CSV file, {EXAMPLE}"
        raise InputError(msg) from error
    dialect = ";" if text.partition("\n")[0].count(";") else ","
    try:
        lines = list(csv.reader(text.splitlines(), delimiter=dialect))
    except csv.Error as error:
        msg = f"{path}: cannot be read ({error}); it must be a CSV file, {EXAMPLE}"
        raise InputError(msg) from error
    head = [cell.strip().lower() for cell in lines[0]] if lines else []
    if "name" not in head or "patient" not in head or set(head) - set(COLUMNS):
        msg = f"{path}: its first line must be {EXAMPLE} (slide and split may be left out)"
        raise InputError(msg)
    rows: dict[str, Whose] = {}
    for number, cells in enumerate(lines[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        row = dict(zip(head, (cell.strip() for cell in cells), strict=False))
        name, patient = row.get("name", ""), row.get("patient", "")
        if not name or not patient or len(cells) != len(head):
            msg = f"{path}: line {number} must say {', '.join(head)}"
            raise InputError(msg)
        if name in rows:
            msg = f"{path}: line {number}: {name} has a row already"
            raise InputError(msg)
        rows[name] = Whose(
            patient, row.get("slide", ""), _split(row.get("split", ""), path, number)
        )
    return rows


def _split(text: str, path: Path, line: int) -> Split | Literal[""]:
    if text and text not in SPLITS:
        msg = f"{path}: line {line}: split {text!r} is none of {', '.join(SPLITS)}"
        raise InputError(msg)
    return text


def asked_splits(whose: Iterable[Whose], level: Level) -> dict[str, Split]:
    """Give the split each patient, or each slide, was asked to be in.

    Raises
    ------
    InputError
        One was asked to be in two, or tissue is not split by patient or slide here.
    """
    found: dict[str, Split] = {}
    for one in whose:
        key = one.patient if level == "patient" else one.slide
        if not one.split:
            continue
        if level not in ("patient", "slide"):
            msg = "--patients: the column split needs three patients or three slides at least"
            raise InputError(msg)
        if found.setdefault(key, one.split) != one.split:
            msg = f"--patients: {level} {key} is asked to be in {found[key]} and in {one.split}"
            raise InputError(f"{msg}; one {level} goes into one split")
    return found
