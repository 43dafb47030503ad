"""Whose tissue it is: a table the user gives, since no image says it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scope_sr.config import reason
from scope_sr.errors import InputError

COLUMNS = ("name", "patient", "slide")
EXAMPLE = "name,patient,slide"


@dataclass(frozen=True)
class Whose:
    """Patient and slide of a source or an image; empty where nobody said."""

    patient: str = ""
    slide: str = ""


def read_patients(path: Path | None, names: Sequence[str]) -> dict[str, Whose]:
    """Read who each of `names` is of; without a file nobody knows.

    Parameters
    ----------
    path
        CSV with the columns name and patient, and slide if several are of one patient.

    Raises
    ------
    InputError
        The file is not such a table, or a name has no row.
    """
    if path is None:
        return dict.fromkeys(names, Whose())
    rows = _rows(path)
    missing = [name for name in names if name not in rows]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        msg = f"{path}: no row for {missing[0]}{more}; add it, every name needs its patient"
        raise InputError(msg)
    return {name: rows[name] for name in names}


def _rows(path: Path) -> dict[str, Whose]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read ({reason(error)}); it must be a CSV file, {EXAMPLE}"
        raise InputError(msg) from error
    dialect = ";" if text.partition("\n")[0].count(";") else ","
    lines = list(csv.reader(text.splitlines(), delimiter=dialect))
    head = [cell.strip().lower() for cell in lines[0]] if lines else []
    if "name" not in head or "patient" not in head or set(head) - set(COLUMNS):
        msg = f"{path}: its first line must be {EXAMPLE} (slide may be left out)"
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
        rows[name] = Whose(patient, row.get("slide", ""))
    return rows
