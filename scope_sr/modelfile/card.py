"""The card: what a model is, what it was trained on, and what it is worth; read without torch."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

SCHEMA = "scope-sr/model/1"
Kind = Literal["sr", "nuclei"]
Architecture = Literal["compact", "srresnet", "unet"]
SETTINGS = {
    "compact": {"blocks", "channels"},
    "srresnet": {"blocks", "channels"},
    "unet": {"base", "depth"},
}
# Holds for the tables inside as well: a misspelt key must not pass for one left out
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Lens:
    """An objective as its maker names it; the aperture is None where nobody knows."""

    name: str
    numerical_aperture: float | None = None


@dataclass(frozen=True)
class TrainedOn:
    """The dataset a model learnt from.

    Attributes
    ----------
    sha256
        Of its index.
    simulated
        Whether the low images were computed, not captured.
    degradation
        How they were computed, in words; empty where they were captured.
    level
        What one split has in common with no other: patients, slides, areas or images.
    train, val, test
        The patients, slides or images of each split.
    """

    name: str
    sha256: str
    simulated: bool
    degradation: str = ""
    licence: str = ""
    level: str = ""
    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figures:
    """What was measured on images that were not learnt from.

    Each table goes by what was measured: ``model``, ``bicubic``, ``lanczos``, ``high``. Those that
    were not measured are empty. `dice` to `f1` are of nuclei found in such pictures, or, on the
    card of a nuclei model, under ``model`` its own.
    """

    protocol: str
    images: int
    psnr_db: dict[str, float] = field(default_factory=dict)
    ssim: dict[str, float] = field(default_factory=dict)
    dice: dict[str, float] = field(default_factory=dict)
    aji: dict[str, float] = field(default_factory=dict)
    pq: dict[str, float] = field(default_factory=dict)
    f1: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Card:
    """What a model file says of itself.

    Attributes
    ----------
    kind
        ``sr``: RGB in, RGB `scale` times as large out. ``nuclei``: RGB in, three planes of the same
        size out, 255 times the probability of inside and of boundary, and the distance.
    settings
        What the architecture is built with: blocks and channels, or base and depth.
    um_per_px_in, um_per_px_out
        None where nobody knows.
    objectives
        ``low`` and ``high``, as far as known.
    weights
        ``fidelity``, ``gan``, ``blend of ...`` or ``nuclei``.
    losses
        The last ones, by name.
    halo_px
        How far a pixel reaches, in pixels of the input: tiles cut with so much around them, on
        multiples of `multiple_px`, give exactly what the whole picture gives. 0: not yet measured.
    multiple_px
        Tiles start on multiples of it. 0: not yet filled in.
    parameters
        How many numbers were learnt.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    kind: Kind
    name: str
    architecture: Architecture
    settings: dict[str, int]
    scale: int
    um_per_px_in: float | None = None
    um_per_px_out: float | None = None
    objectives: dict[Literal["low", "high"], Lens] = field(default_factory=dict)
    dataset: TrainedOn | None = None
    weights: str = ""
    steps: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    halo_px: int = 0
    multiple_px: int = 0
    parameters: int = 0
    figures: tuple[Figures, ...] = ()
    licence: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    note: str = ""
    schema: str = SCHEMA

    def contradiction(self) -> str:
        """Say which of its numbers cannot all be true; empty if they can.

        >>> Card("sr", "mine", "compact", {"blocks": 16, "channels": 32}, 4).contradiction()
        ''
        >>> Card("nuclei", "mine", "compact", {"blocks": 16, "channels": 32}, 1).contradiction()
        'kind = nuclei does not go with architecture = compact'
        """
        multiple = 2 ** self.settings.get("depth", 0)
        checks = (
            (
                (self.kind == "nuclei") == (self.architecture == "unet"),
                f"kind = {self.kind} does not go with architecture = {self.architecture}",
            ),
            (
                set(self.settings) == SETTINGS[self.architecture]
                and all(0 < number <= 4096 for number in self.settings.values())
                and self.settings.get("depth", 0) <= 8,
                f"settings = {self.settings} are not those of {self.architecture}"
                f" ({' and '.join(sorted(SETTINGS[self.architecture]))})",
            ),
            (
                self.scale in ((1,) if self.kind == "nuclei" else (2, 4)),
                f"scale = {self.scale} is none that {self.architecture} has",
            ),
            (
                min(self.steps, self.halo_px, self.multiple_px, self.parameters) >= 0,
                "steps, halo_px, multiple_px or parameters is below zero",
            ),
            (
                self.multiple_px in (0, multiple),
                f"multiple_px = {self.multiple_px}, but its settings make it {multiple}",
            ),
            (
                self.halo_px % multiple == 0,
                f"halo_px = {self.halo_px} is not a multiple of multiple_px = {multiple}",
            ),
            (self._sizes_agree(), self._sizes()),
        )
        return next((words for holds, words in checks if not holds), "")

    def _sizes_agree(self) -> bool:
        if self.um_per_px_in is None or self.um_per_px_out is None:
            return self.um_per_px_in is None and self.um_per_px_out is None
        return min(self.um_per_px_in, self.um_per_px_out) > 0 and math.isclose(
            self.um_per_px_in, self.scale * self.um_per_px_out, rel_tol=1e-3
        )

    def _sizes(self) -> str:
        return (
            f"um_per_px_in = {self.um_per_px_in} and um_per_px_out = {self.um_per_px_out} are not"
            f" as {self.scale} to 1 (scale)"
        )


def to_json(card: Card) -> bytes:
    """Write a card.

    >>> from_json(to_json(card := Card("nuclei", "n", "unet", {"base": 8, "depth": 2}, 1))) == card
    True
    """
    table = _adapter().dump_python(card, mode="json")
    first = {"schema": table.pop("schema")}
    text = json.dumps({**first, **table}, ensure_ascii=False, indent=2, allow_nan=False)
    return text.encode() + b"\n"


def from_json(data: bytes) -> Card:
    """Read a card.

    Raises
    ------
    ValueError
        It is damaged, of another schema, or contradicts itself; in words that fit behind the name
        of a file.
    """
    try:
        schema = str(json.loads(data)["schema"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        msg = "its card is damaged; bring the file back from where it came from"
        raise ValueError(msg) from error
    if schema != SCHEMA:
        msg = f"its card is of schema {schema}, this scope-sr reads {SCHEMA}; update scope-sr"
        raise ValueError(msg)
    try:
        card = _adapter().validate_json(data)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in fault["loc"])
        msg = f"its card is damaged: {key}: {fault['msg']}; bring the file back or save it anew"
        raise ValueError(msg) from error
    if words := card.contradiction():
        msg = f"its card contradicts itself: {words}; save the model anew"
        raise ValueError(msg)
    return card


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Card]:
    return TypeAdapter(Card)
