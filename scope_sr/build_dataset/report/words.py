"""Names of gates, reasons and splits for people who cut and read tissue, not images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from scope_sr.dataset.index import Gate, Level, Split

NONE = "–"
FEW = 4

# of each gate: its name, and what it measures
GATES: dict[str, tuple[str, str]] = {
    "shift_px": (
        "shift of the whole",
        "how far the two images of a pair lie off each other, in pixels of the high image",
    ),
    "spread_px": (
        "shift of the parts",
        "the same, measured in small blocks; half of the blocks are off by less",
    ),
    "likeness": ("likeness", "how well structures in both images correlate; 1 is the same"),
    "sharpness": (
        "sharpness",
        "fine detail of the low image against what the high one foretells; below 1 the low image"
        " is out of focus, above 1 the high one",
    ),
    "blocks": ("blocks with tissue", "places with enough tissue to measure a shift by"),
    "away_um": (
        "distance from its place",
        "µm between where a field was found and where the stage said it is",
    ),
    "tissue": ("tissue", "share of the field that tissue covers"),
    "clipped_low": ("overexposed, low", "share of the low image as bright as the camera can tell"),
    "clipped_high": (
        "overexposed, high",
        "share of the high image as bright as the camera can tell",
    ),
    "blank_low": ("glass, low", "brightness of clear glass against the usual in the session"),
    "blank_high": ("glass, high", "brightness of clear glass against that in the low image"),
    "usable": (
        "usable area",
        "share of the field left without folds, dirt, rims and the borders between splits",
    ),
}
# what it means that a pair failed a gate, or was rejected before it came to one
FAULTS = {
    "shift_px": "the two images are shifted",
    "spread_px": "parts of the images are shifted",
    "likeness": "the two images are not alike",
    "sharpness": "out of focus",
    "blocks": "too little tissue to measure by",
    "away_um": "far from where the stage said",
    "tissue": "too little tissue",
    "clipped_low": "low image overexposed",
    "clipped_high": "high image overexposed",
    "blank_low": "low image too bright or too dark",
    "blank_high": "high image too bright or too dark",
    "usable": "too little of it can be used",
    "capture": "fault during capture",
    "duplicate": "it shows what another shows",
    "not found": "not found in the low field",
    "not registered": "the two images could not be laid on each other",
    "scale": "too few high pixels for the scale",
    "kind": "not of the kind of the others",
    "unreadable": "could not be used",
}
FAMILIES: dict[str, tuple[str, ...]] = {
    "too little tissue or usable area": ("tissue", "blocks", "usable"),
    "out of focus": ("sharpness",),
    "does not fit": ("shift_px", "spread_px", "likeness", "away_um", "not found", "duplicate"),
    "light": ("clipped_low", "clipped_high", "blank_low", "blank_high"),
}
OTHER = "another reason"

SPLIT_WORDS: dict[Split, str] = {
    "train": "to learn from",
    "val": "to choose by",
    "test": "to judge by",
}
LEVEL_WORDS: dict[Level, str] = {
    "patient": "by patient: no patient is in two splits",
    "slide": "by slide: no slide is in two splits",
    "area": "by area: each slide is cut by lines, with a strip along them that belongs to nobody",
    "image": "by image: of too few is it known whose they are",
}


def gate_title(name: str) -> str:
    """Name a gate.

    >>> gate_title("shift_px"), gate_title("own_gate")
    ('shift of the whole', 'own gate')
    """
    return GATES[name][0] if name in GATES else name.replace("_", " ")


def gate_meaning(name: str) -> str:
    """Say what a gate measures; nothing where this program does not know."""
    return GATES[name][1] if name in GATES else ""


def reason_title(reason: str) -> str:
    """Name the kind of a reason by what stands before its colon.

    >>> reason_title("not found: nothing in the low field looks like it")
    'not found in the low field'
    """
    return FAULTS.get(key_of(reason), OTHER)


def family_of(reason: str) -> str:
    """Give the family of a reason, of which there are few enough to be told apart in a picture."""
    key = key_of(reason)
    return next((family for family, keys in FAMILIES.items() if key in keys), OTHER)


def key_of(reason: str) -> str:
    """Give what stands before the colon, where it is a word of this program; else nothing."""
    key = reason.partition(":")[0]
    return key if key in FAULTS else ""


def some(count: int, what: str, more: str = "") -> str:
    """Count things.

    >>> some(1, "pair"), some(2, "pair"), some(0, "nucleus", "nuclei")
    ('1 pair', '2 pairs', '0 nuclei')
    """
    return f"{count} {what if count == 1 else more or what + 's'}"


def listed(words: Iterable[str]) -> str:
    """Put words in a row.

    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    *first, last = [*words] or [NONE]
    return f"{', '.join(first)} and {last}" if first else last


def few(names: Sequence[str]) -> str:
    """Name a few of many.

    >>> few(["a", "b"]), few(["a", "b", "c", "d", "e", "f", "g"])
    ('a and b', 'a, b, c, d and 3 more')
    """
    if len(names) <= FEW + 1:
        return listed(names)
    return listed([*names[:FEW], f"{len(names) - FEW} more"])


def number(value: float | None, digits: int = 3) -> str:
    """Write a number for people; nothing was measured where it is None.

    >>> number(0.07641), number(None), number(1234567.0), number(-0.0)
    ('0.0764', '–', '1234567', '0')
    """
    if value is None or not math.isfinite(value):
        return NONE
    if abs(value) >= 10**digits:
        return f"{value:.0f}"
    return f"{value + 0.0:.{digits}g}"


def limits_of(name: str, gate: Gate) -> str:
    """Say the limits of a gate with their unit.

    >>> limits_of("away_um", Gate(0.3, most=5.0)), limits_of("tissue", Gate(0.3, least=0.1))
    ('at most 5 µm', 'at least 0.1')
    """
    units = {"px": " px", "um": " µm"}
    return gate.limits() + units.get(name.rpartition("_")[2], "")
