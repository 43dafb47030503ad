"""What a report counts: kept and rejected, reasons, how well pairs fit, and what to beware of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.gates import EXPECTED_SHARPNESS, LIMITS
from scope_sr.build_dataset.report.words import (
    LEVEL_WORDS,
    few,
    gate_meaning,
    gate_title,
    listed,
    number,
    reason_title,
    some,
)
from scope_sr.dataset import SPLITS, Gate, Header, Labelled, Pair, Source, Split
from scope_sr.dataset.index import Item, counts

NEEDED: dict[Split, str] = {
    "train": "without train there is nothing to learn from",
    "val": "without val no network can be chosen",
    "test": "without test none can be judged",
}
RESIDUAL = "residual_hr_px"  # fact of a pair that was fitted alone
GREEN_UM = 0.55  # of the light that resolution is usually told for
FEW_PAIRS = 30  # below, chance decides what val and test say
VIRTUAL = "simulated"  # name of the rig that is no instrument
NOMINAL = "nominal values of the rig"  # of a source that was captured without a calibration


@dataclass(frozen=True)
class Spread:
    """How a quantity is spread over pairs: median, 95th percentile and largest of `count`."""

    count: int
    median: float | None
    p95: float | None
    most: float | None

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Measure it.

        >>> Spread.of([3.0, 1.0, 2.0]).median, Spread.of([]).most
        (2.0, None)
        """
        found = np.array([value for value in values if math.isfinite(value)])
        if not len(found):
            return cls(0, None, None, None)
        median, p95 = (float(v) for v in np.percentile(found, (50, 95)))
        return cls(len(found), median, p95, float(found.max()))


@dataclass(frozen=True)
class GateRow:
    """One gate over all pairs: its limits, what kept pairs have, how many failed it."""

    name: str
    gate: Gate
    kept: Spread
    nearest: float | None
    measured: int
    failed: int


@dataclass(frozen=True)
class SplitRow:
    """What a split holds; patients and slides are counted where they were named."""

    split: Split
    items: int
    patients: int
    slides: int


def kept(items: Iterable[Item]) -> list[Item]:
    """Give what belongs to the dataset."""
    return [item for item in items if item.accepted]


def rejected(items: Iterable[Item]) -> list[Item]:
    """Give what was left out."""
    return [item for item in items if not item.accepted]


def pairs_of(items: Iterable[Item]) -> list[Pair]:
    """Give the pairs among items."""
    return [item for item in items if isinstance(item, Pair)]


def labelled_of(items: Iterable[Item]) -> list[Labelled]:
    """Give the images with nuclei among items."""
    return [item for item in items if isinstance(item, Labelled)]


def split_rows(items: Sequence[Item]) -> list[SplitRow]:
    """Count splits; patients and slides are told apart by their names alone."""
    number_of = counts(items)
    rows = []
    for split in SPLITS:
        own = [item for item in items if item.accepted and item.split == split]
        patients = {item.patient for item in own if item.patient}
        slides = {(item.patient, item.slide) for item in own if item.slide}
        rows.append(SplitRow(split, number_of[split], len(patients), len(slides)))
    return rows


def named(patients: int, slides: int) -> list[str]:
    """Say how many patients and slides there are; none means that nobody named them."""
    return [str(count) if count else "not named" for count in (patients, slides)]


def reason_rows(items: Sequence[Item]) -> list[tuple[str, int, int]]:
    """Count rejected items by kind of reason: (kind, as the first reason, in all).

    The first reasons add up to what was rejected; an item with several counts in all of them.
    """
    first: Counter[str] = Counter()
    every: Counter[str] = Counter()
    for item in rejected(items):
        titles = [reason_title(reason) for reason in item.reasons]
        first[titles[0]] += 1
        every.update(set(titles))
    return sorted(((title, first[title], every[title]) for title in every),
                  key=lambda row: (-row[1], -row[2], row[0]))  # fmt: skip


def gate_values(pairs: Iterable[Pair], name: str) -> NDArray[np.float64]:
    """Give what pairs have of a gate, where it was measured."""
    gates = (pair.gates.get(name) for pair in pairs)
    return np.array([g.value for g in gates if g is not None and g.value is not None], float)


def fit_rows(pairs: Iterable[Pair]) -> list[tuple[str, str, Spread]]:
    """Sum up how well kept pairs fit, in pixels of the high image: (name, meaning, spread)."""
    good = [pair for pair in pairs if pair.accepted]
    found = [
        (gate_title(name), gate_meaning(name), Spread.of(gate_values(good, name)))
        for name in ("shift_px", "spread_px")
    ]
    left = Spread.of(float(p.facts[RESIDUAL]) for p in good if RESIDUAL in p.facts)
    found.append(("left over", "what fitting the one image onto the other left", left))
    return [row for row in found if row[2].count]


def gate_names(pairs: Iterable[Pair]) -> list[str]:
    """Give the gates pairs carry, the usual ones first and in their order."""
    found = dict.fromkeys(name for pair in pairs for name in pair.gates)
    usual = [name for name in LIMITS if name in found]
    return usual + [name for name in found if name not in LIMITS]


def gate_rows(header: Header, pairs: Sequence[Pair]) -> list[GateRow]:
    """Sum up every gate; those of sessions also where no pair came as far as to be measured."""
    names = gate_names(pairs)
    if any(source.kind == "session" for source in header.sources):
        names = [*LIMITS, *(name for name in names if name not in LIMITS)]
    return [_gate_row(pairs, name) for name in names]


def _gate_row(pairs: Sequence[Pair], name: str) -> GateRow:
    gates = [(pair, pair.gates[name]) for pair in pairs if name in pair.gates]
    good = [g for pair, g in gates if pair.accepted and g.value is not None]
    nearest = max(good, key=nearness, default=None)
    return GateRow(
        name=name,
        gate=gates[0][1] if gates else Gate(None, *LIMITS[name]),
        kept=Spread.of(g.value for g in good if g.value is not None),
        nearest=None if nearest is None else nearest.value,
        measured=sum(g.value is not None for _, g in gates),
        failed=sum(not g.ok for _, g in gates),
    )


def nearness(gate: Gate) -> float:
    """Say how near a value comes to a limit, larger is nearer; only to be compared within a gate.

    >>> nearness(Gate(0.2, most=0.25)) > nearness(Gate(0.1, most=0.25))
    True
    """
    if gate.value is None:
        return -math.inf
    rooms = [gate.value - gate.least] if gate.least is not None else []
    rooms += [gate.most - gate.value] if gate.most is not None else []
    return -min(rooms, default=math.inf)


# ---------------------------------------------------------------- optics


@dataclass(frozen=True)
class Optics:
    """What an objective can show against the pixels it is seen with.

    `resolved_um` is 0.61 λ/NA, the distance at which two points still look like two;
    `finest_px_um` is λ/(4 NA), and smaller pixels show nothing more.
    """

    objective: str
    aperture: float
    pixel_um: float

    @property
    def resolved_um(self) -> float:
        """Distance at which two points still look like two."""
        return 0.61 * GREEN_UM / self.aperture

    @property
    def finest_px_um(self) -> float:
        """Pixel that just takes in all a lens shows (Nyquist)."""
        return GREEN_UM / (4 * self.aperture)

    @property
    def empty(self) -> bool:
        """Whether pixels are finer than the lens shows anything."""
        return self.pixel_um < self.finest_px_um


def optics_of(source: Source, header: Header) -> tuple[Optics, Optics] | None:
    """Give the optics of low and high as their images stand in the dataset, where known."""
    apertures = source.facts.get("numerical_apertures")
    if not apertures or not all(apertures):
        return None
    sizes = (header.low_um_per_px, header.high_um_per_px)
    if sizes[0] is None or sizes[1] is None:
        return None
    names = (str(source.facts.get("low", "")), str(source.facts.get("high", "")))
    low, high = (
        Optics(name, float(aperture), size)
        for name, aperture, size in zip(names, apertures, sizes, strict=True)
        if size is not None
    )
    return low, high


# -------------------------------------------------------------- warnings


def warnings(header: Header, items: Sequence[Item]) -> list[str]:
    """Name what whoever uses the dataset should beware of, the worst first."""
    return [*_about_splits(header, items), *_about_sources(header), *_about_licence(header)]


def _about_splits(header: Header, items: Sequence[Item]) -> Iterator[str]:
    what = thing(header)
    number_of = counts(items)
    if not sum(number_of.values()):
        yield f"Nothing was kept: there is no {what} to learn from."
        return
    missing = [split for split in SPLITS if not number_of[split]]
    if missing:
        lacking = listed(NEEDED[split] for split in missing)
        yield (
            f"There is no {what} in {listed(missing)}: {lacking}; add {what}s, best of other"
            " patients."
        )
    if header.level == "area":
        yield (
            "The splits are areas of the same slides, since fewer than three patients or slides"
            " were named: test says how well a network does on these slides, not on those of"
            " another patient."
        )
    if header.level == "image":
        yield (
            "The splits were drawn image by image, since too little is known of patients or slides:"
            " images of one patient may stand on both sides, and test may flatter."
        )
    if sum(number_of.values()) < FEW_PAIRS:
        yield (
            f"It holds {some(sum(number_of.values()), what)} only: enough to try the software, too"
            " few to train or to judge a network."
        )


def _about_sources(header: Header) -> Iterator[str]:
    if header.simulated:
        yield (
            "The low images were computed from the high ones, not captured: a network that does"
            " well here need not do well at the microscope."
        )
    virtual = [
        s.name for s in header.sources if s.kind == "session" and s.facts.get("rig") == VIRTUAL
    ]
    if virtual:
        yield (
            f"The simulated microscope took {few(virtual)}: good to try the software, it says"
            " nothing of a real instrument."
        )
    nominal = [s.name for s in header.sources if s.facts.get("calibration") == NOMINAL]
    if nominal:
        yield (
            f"No calibration was used for {few(nominal)}: sizes in µm and colours rest on nominal"
            " values of the instrument (scope-sr calibrate measures them)."
        )
    for source in header.sources:
        facts = source.facts
        if str(facts.get("color_source", "")).startswith("none"):
            yield f"{source.name}: the colours of the two objectives could not be matched."
        sharp = facts.get("sharpness")
        if sharp is not None and not EXPECTED_SHARPNESS[0] < sharp < EXPECTED_SHARPNESS[1]:
            side = "low" if sharp <= EXPECTED_SHARPNESS[0] else "high"
            yield f"{source.name}: the {side} images are out of focus throughout the session."
        optics = optics_of(source, header)
        if optics and optics[1].empty:
            yield empty_magnification(source.name, optics[1])


def empty_magnification(name: str, high: Optics) -> str:
    """Say that the high images hold more pixels than the lens has detail for."""
    return (
        f"{name}: the pixels of the high images ({number(high.pixel_um)} µm) are finer than the"
        f" objective can show: with NA {high.aperture:g} it shows nothing more below"
        f" {number(high.finest_px_um)} µm (Nyquist, λ/4NA). The finest pixels hold no further"
        " detail to learn."
    )


def _about_licence(header: Header) -> Iterator[str]:
    silent = [source.name for source in header.sources if not source.licence.strip()]
    if silent:
        yield (
            f"No licence was stated for {few(silent)}: ask whoever owns the images before"
            " sharing them."
        )


def thing(header: Header) -> str:
    """Name what the dataset holds: pairs or images."""
    return "pair" if header.kind == "pairs" else "image"


def split_unit(header: Header) -> str:
    """Say by what the splits were drawn."""
    return LEVEL_WORDS[header.level]
