"""What a dataset says of itself and of each of its pairs, and how that stands on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Literal, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError

SCHEMA = "scope-sr/dataset/1"
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Kind = Literal["pairs", "nuclei"]
Level = Literal["patient", "slide", "area", "image"]
# Holds for the tables inside as well: a misspelt key must not pass for one left out
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Gate:
    """One quantity a pair is judged by; a value of None could not be measured and judges nothing.

    >>> Gate(0.3, most=0.25).ok, Gate(0.3, least=0.1).ok, Gate(None, most=1.0).ok
    (False, True, True)
    """

    value: float | None
    least: float | None = None
    most: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the value lies within its limits."""
        if self.value is None:
            return True
        return not (
            (self.least is not None and self.value < self.least)
            or (self.most is not None and self.value > self.most)
        )

    def limits(self) -> str:
        """Say the limits in words.

        >>> Gate(1.0, least=0.8, most=1.25).limits()
        'between 0.8 and 1.25'
        """
        if self.least is not None and self.most is not None:
            return f"between {self.least:g} and {self.most:g}"
        return f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"


@dataclass(frozen=True)
class Place:
    """Where a low image lies on its slide: a pixel offset d from its centre shows ``at + A d``.

    ``at_um`` (x, y) and ``affine_um_per_px`` (2x2) as in a calibration record; the frame is that of
    the stage, with the reference objective.
    """

    at_um: tuple[float, float]
    affine_um_per_px: tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Pair:
    """A field of high magnification drawn onto the pixels of a low one, or why it was not.

    Attributes
    ----------
    name
        Unique: the source and the field in it, ``slide17/r00c01-r01c00``.
    low, high
        Files within the dataset's folder; `high` is empty where the pair was rejected.
    box_px
        Part of the low image it covers: x, y, width, height in low pixels. The high image is
        `scale` times as large.
    cells
        Which squares of `Header.cell_px` low pixels may be used, one hexadecimal number per row of
        squares, the leftmost the highest bit; see :func:`scope_sr.dataset.cells.unpack`.
    split
        Empty where the pair was rejected.
    reasons
        Why it was rejected; empty when it is good.
    gates
        What it was judged by.
    place
        Of the low image on the slide; None where nobody knows.
    high_to_low
        ``(2, 3)`` map from pixels of the original high image to pixels of the low one, centres at
        integers, from the top left pixel; distortion left out. None where none was found.
    facts
        How it was taken: objectives, z, exposures, times, checksums of the originals.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str
    source: str
    low: str
    high: str = ""
    box_px: tuple[int, int, int, int] = (0, 0, 0, 0)
    cells: tuple[str, ...] = ()
    split: Split | Literal[""] = ""
    reasons: tuple[str, ...] = ()
    gates: dict[str, Gate] = field(default_factory=dict)
    slide: str = ""
    patient: str = ""
    place: Place | None = None
    high_to_low: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    low_sha256: str = ""
    high_sha256: str = ""
    facts: dict[str, str | int | float] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """Whether it belongs to the dataset; the others are only counted and shown."""
        return not self.reasons


@dataclass(frozen=True)
class Labelled:
    """An image with the nuclei marked in it, or why it was left out.

    Attributes
    ----------
    image, labels
        Files within the dataset's folder, of one size; empty where it was left out.
    ignore
        File of a mask, not 0 where nobody is to judge; empty where there is none.
    um_per_px
        None where nobody knows.
    nuclei
        How many are marked; None where the mask does not tell touching ones apart.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str
    source: str
    image: str = ""
    labels: str = ""
    ignore: str = ""
    split: Split | Literal[""] = ""
    reasons: tuple[str, ...] = ()
    slide: str = ""
    patient: str = ""
    um_per_px: float | None = None
    nuclei: int | None = None
    image_sha256: str = ""
    labels_sha256: str = ""
    facts: dict[str, str | int | float] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """Whether it belongs to the dataset."""
        return not self.reasons


Item = Pair | Labelled


@dataclass(frozen=True)
class Source:
    """Where pairs or images come from.

    Attributes
    ----------
    name
        Of its folder; made unique within the dataset.
    kind
        What it was: a session, folders of pairs, images, images with masks.
    digest
        SHA-256 over what it held and was calibrated with: it tells whether it has changed.
    licence
        As the user said.
    facts
        Of a session: its id, rig, objectives, the model all its fields share, its colour matrix.
    """

    name: str
    kind: Literal["session", "pairs", "images", "masks"]
    digest: str
    licence: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Header:
    """``dataset.json``.

    Attributes
    ----------
    scale
        High pixels per low pixel; 1 for nuclei.
    low_um_per_px
        None where nobody knows.
    simulated
        Whether the low images were computed, not captured.
    level
        What one split has in common with no other: patients, slides, or areas of a slide; "image"
        where nobody knows more.
    groups
        The split of each patient, slide or image, by its name.
    index_sha256
        Of ``index.jsonl``: what was edited by hand is not what was built.
    areas
        How each slide is cut where `level` is "area", see :class:`scope_sr.dataset.splits.Area`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    kind: Kind
    name: str
    scale: int
    low_um_per_px: float | None
    bits: int
    color: bool
    cell_px: int
    simulated: bool
    level: Level
    groups: dict[str, Split]
    areas: dict[str, dict[str, float]]
    sources: tuple[Source, ...]
    software: str
    index_sha256: str = ""
    schema: str = SCHEMA

    @property
    def high_um_per_px(self) -> float | None:
        """Of the high images as they stand in the dataset."""
        return None if self.low_um_per_px is None else self.low_um_per_px / self.scale


def to_line(item: Item) -> str:
    """Write a pair or an image as one line of the index, numbers to nine figures."""
    table = _adapter(type(item).__name__).dump_python(item, mode="json", exclude_defaults=True)
    return json.dumps(_rounded(table), ensure_ascii=False, allow_nan=False)


def from_line(line: str | bytes, kind: Kind) -> Item:
    """Read a line of the index.

    Raises
    ------
    ValueError
        It is not what `to_line` writes.
    """
    item: Item = _read("Pair" if kind == "pairs" else "Labelled", line)
    return item


def header_json(header: Header) -> bytes:
    """Write ``dataset.json``."""
    table = _adapter("Header").dump_python(header, mode="json")
    first = {"schema": table.pop("schema")}
    text = json.dumps(_rounded({**first, **table}), ensure_ascii=False, indent=2, allow_nan=False)
    return text.encode() + b"\n"


def header_from_json(data: bytes) -> Header:
    """Read ``dataset.json``.

    Raises
    ------
    ValueError
        It is damaged, or of another schema.
    """
    header: Header = _read("Header", data)
    return header


def counts(items: Iterable[Item]) -> dict[Split, int]:
    """Count what is kept, by split."""
    found = dict.fromkeys(SPLITS, 0)
    for item in items:
        if item.accepted and item.split:
            found[item.split] += 1
    return found


def _rounded(value: Any) -> Any:
    """Round numbers to nine figures, so that files do not depend on the last bit of a sum."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value


def _read(kind: str, data: str | bytes) -> Any:
    try:
        return _adapter(kind).validate_json(data)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in fault["loc"])
        raise ValueError(f"{key}: {fault['msg']}" if key else fault["msg"]) from error


@lru_cache(maxsize=4)
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter({"Pair": Pair, "Labelled": Labelled, "Header": Header}[kind])
