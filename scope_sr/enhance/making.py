"""One input: enhanced, its nuclei found and measured, all of it written."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.engine import Engine
from scope_sr.enhance import overlay, pyramid, tables
from scope_sr.enhance.canvas import Canvas, Pixels, Raw
from scope_sr.enhance.counting import Counted, counted
from scope_sr.enhance.enlarging import (
    BAND_ROWS,
    SAMPLES,
    disagreement_of_mosaic,
    disagreement_of_slide,
    of_mosaic,
    of_slide,
    run_through,
    windows,
)
from scope_sr.enhance.ledger import DONE, Entry, Ledger
from scope_sr.enhance.mosaic import Mosaic, laid_out
from scope_sr.enhance.planning import Item
from scope_sr.enhance.slide import Slide, opened
from scope_sr.enhance.statistics import statistics
from scope_sr.imaging.staining import unlike_he
from scope_sr.session import Session
from scope_sr.software import NOTICE, this_version

# Medians of 34 H&E pictures of six sources were 0.91 and more; of a sharpened, compressed scan on
# which most of what was found was fibres, 0.80 (CMU-1-Small-Region.svs; a script that was not kept)
LEAST_SOLIDITY, LEAST_DOUBTED = 0.88, 50  # a median of few may be anything
BINS_PER_LEVEL = 100  # of the histogram of disagreement

Tell = Callable[[str, int, int], None]
Files = dict[str, str]


@dataclass(frozen=True, eq=False)
class Tools:
    """What inputs are worked on with.

    Attributes
    ----------
    generator, nuclei
        Engines.
    sums
        SHA-256 of their models, as ``model`` and ``nuclei_model``.
    fidelity
        Whether to map what contradicts the input.
    """

    generator: Engine
    nuclei: Engine | None
    sums: dict[str, str]
    fidelity: bool


def made(item: Item, tools: Tools, ledger: Ledger, tell: Tell) -> Entry:
    """Make all that is asked for of one input, going on where an earlier run stopped.

    Returns
    -------
    dict
        What the ledger says of it from now on.

    Raises
    ------
    ScopeSRError
        The input cannot be read to its end, or the disk is full.
    OSError
        The system refused.
    """
    begin = time.monotonic()
    work = ledger.work_of(item.input.name)
    scale = tools.generator.card.scale
    source = _source(item, tell)
    shape_in = source.shape(1) if isinstance(source, Mosaic) else source.shape
    purpose = _purpose(item, tools, "model", tools.generator)
    enhanced = _enhanced(source, tools.generator, work, purpose, tell)
    writer = Writer(item, tools, ledger.out, work, tell)
    files = {"sr": writer.picture("sr", "enhanced", enhanced, item.um_per_px / scale)}
    fidelity, found, warnings = None, None, _warnings(source)
    if tools.fidelity:
        apart, sharper_px = _disagreement(source, tools, enhanced, work, purpose, tell)
        files["fidelity"] = writer.picture("fidelity", "disagreement", apart, item.um_per_px)
        fidelity = {**levels_of(apart), "blur_taken_off_px": sharper_px}
    if tools.nuclei:
        nuclei = _nuclei(item, tools, tools.nuclei, enhanced, work, tell)
        files |= writer.nuclei(nuclei, enhanced)
        found = statistics(nuclei, enhanced)
        warnings += doubts(found)
    return {
        **item.waiting,
        "state": DONE,
        "warnings": [*item.warnings, *warnings],
        "shape_in": list(shape_in),
        "shape_out": list(enhanced.shape[:2]),
        "um_per_px_out": item.um_per_px / scale,
        "files": files,
        "seams": dataclasses.asdict(source.seams) if isinstance(source, Mosaic) else None,
        "fidelity": fidelity,
        "nuclei": found,
        "seconds": round(time.monotonic() - begin, 1),
    }


@dataclass(frozen=True, eq=False)
class Writer:
    """Writes what is made of one input under its names, each whole or not at all."""

    item: Item
    tools: Tools
    out: Path
    work: Path
    tell: Tell

    def picture(
        self, kind: str, what: str, picture: Pixels, um_per_px: float, dtype: Any = None
    ) -> str:
        """Write a pyramid."""
        file = self._name(f"{kind}.ome.tif")
        pyramid.write(
            self.out / file,
            picture,
            um_per_px,
            name=f"{self.item.input.name} ({what})",
            note=self._note(),
            work=self.work,
            dtype=dtype,
        )
        return file

    def nuclei(self, found: Counted, enhanced: Pixels) -> Files:
        """Write labels, tables, outlines and the overlay."""
        labels_as = pyramid.dtype_of_labels(found.journal.nuclei)
        self.tell("writing nuclei", 0, 5)
        files = {
            "labels": self.picture("labels", "nuclei", found.labels, found.um_per_px, labels_as)
        }
        csv, parquet, geojson, drawn = (
            self._name(ending)
            for ending in ("nuclei.csv", "nuclei.parquet", "nuclei.geojson", "overlay.png")
        )
        self.tell("writing nuclei", 1, 5)
        tables.write_csv(self.out / csv, found.journal)
        self.tell("writing nuclei", 2, 5)
        tables.write_parquet(self.out / parquet, found.journal)
        self.tell("writing nuclei", 3, 5)
        tables.write_geojson(self.out / geojson, found.journal, self.item.input.name)
        self.tell("writing nuclei", 4, 5)
        overlay.write(self.out / drawn, found, enhanced)
        self.tell("writing nuclei", 5, 5)
        return files | {"csv": csv, "parquet": parquet, "geojson": geojson, "overlay": drawn}

    def _name(self, ending: str) -> str:
        return f"{self.item.input.name}.{ending}"

    def _note(self) -> str:
        """Say in the file itself that it is enhanced, by what, of what."""
        card, sums = self.tools.generator.card, self.tools.sums
        made_by = [f"Enhanced x{card.scale} by {card.name} (SHA-256 {sums['model']})"]
        if self.tools.nuclei:
            found_by = self.tools.nuclei.card.name
            made_by.append(f"nuclei by {found_by} (SHA-256 {sums['nuclei_model']})")
        source = self.item.input.path.name
        return f"{'; '.join(made_by)}; {this_version()}; made of {source}. {NOTICE}"


def _source(item: Item, tell: Tell) -> Slide | Mosaic:
    if item.input.kind == "session":
        return laid_out(Session.open(item.input.path), tell)
    return opened(item.input.path)


def _purpose(item: Item, tools: Tools, kind: str, engine: Engine) -> dict[str, Any]:
    """Say what a canvas is of: one of anything else is not gone on with."""
    return {
        "source": item.source,
        "um_per_px": item.um_per_px,
        "sums": tools.sums,
        "kind": kind,
        "runtime": engine.runtime.name,
        "window_px": engine.window_px,
    }


def _enhanced(
    source: Slide | Mosaic, engine: Engine, work: Path, purpose: dict[str, Any], tell: Tell
) -> Canvas:
    if isinstance(source, Mosaic):
        return of_mosaic(source, engine, work, purpose, tell)
    return of_slide(source, engine, work, purpose, tell)


def _disagreement(
    source: Slide | Mosaic,
    tools: Tools,
    enhanced: Pixels,
    work: Path,
    purpose: dict[str, Any],
    tell: Tell,
) -> tuple[Raw, float]:
    if isinstance(source, Mosaic):
        return disagreement_of_mosaic(source, tools.generator, work, purpose, tell)
    return disagreement_of_slide(source, enhanced, work, tell)


def levels_of(apart: Pixels) -> dict[str, float]:
    """Summarise a map of disagreement, in grey levels of 255."""
    rows, columns = apart.shape[:2]
    counts, total = np.zeros(256 * BINS_PER_LEVEL, np.int64), 0.0
    for top in range(0, rows, BAND_ROWS):
        band = apart[top : top + BAND_ROWS, 0:columns]
        total += float(band.sum(dtype=np.float64))
        levels = np.minimum(band * BINS_PER_LEVEL, len(counts) - 1).astype(int)
        counts += np.bincount(levels.ravel(), minlength=len(counts))
    below = np.cumsum(counts) / counts.sum()
    p95, p99 = (int(np.searchsorted(below, share)) / BINS_PER_LEVEL for share in (0.95, 0.99))
    return {"mean_levels": round(total / (rows * columns), 3), "p95_levels": p95, "p99_levels": p99}


def _nuclei(
    item: Item, tools: Tools, engine: Engine, enhanced: Pixels, work: Path, tell: Tell
) -> Counted:
    """Find nuclei in the enhanced picture."""
    purpose = _purpose(item, tools, "nuclei", engine)
    planes = Canvas(work / "planes", enhanced.shape, np.uint8, purpose)
    if planes.rows < planes.shape[0]:
        run_through(engine, enhanced, planes, "looking for nuclei", tell)
    um_per_px = item.um_per_px / tools.generator.card.scale
    return counted(planes, enhanced, um_per_px, work / "nuclei", purpose, tell)


def _warnings(source: Slide | Mosaic) -> list[str]:
    """Beware of a session's gaps, and of what is no H&E."""
    odd = unlike_he(_samples(source))
    unlike = [f"does not look like H&E ({odd}): no model here has learnt such pictures"]
    if isinstance(source, Mosaic):
        return [*source.warnings, *(unlike if odd else [])]
    return unlike if odd else []


def doubts(nuclei: dict[str, Any]) -> list[str]:
    """Doubt nuclei that are as ragged as no tissue's are: then it is edges that were found.

    >>> doubts({"count": 90, "solidity": {"quartiles": [0.7, 0.8, 0.9]}})[0][:42]
    'what was found is too ragged to be nuclei '
    >>> doubts({"count": 0, "solidity": None})
    []
    """
    if nuclei["count"] < LEAST_DOUBTED or nuclei["solidity"] is None:
        return []
    median = nuclei["solidity"]["quartiles"][1]
    if median >= LEAST_SOLIDITY:
        return []
    return [
        f"what was found is too ragged to be nuclei (median solidity {median:.2f}; of tissue like"
        f" that the models learnt from it is above {LEAST_SOLIDITY:g}): look at the overlay before"
        " you trust a number"
    ]


def _samples(source: Slide | Mosaic) -> NDArray[np.uint8]:
    """Cut out parts from all over a picture, side by side; of a session, whole fields."""
    if isinstance(source, Mosaic):
        places = np.linspace(0, len(source.names) - 1, min(SAMPLES, len(source.names)))
        return np.concatenate([source.field(source.names[round(place)]) for place in places])
    parts = [source.region(*window) for window in windows(source.shape)]
    bands = [
        np.concatenate(parts[first : first + SAMPLES], axis=1)
        for first in range(0, len(parts), SAMPLES)
    ]
    return np.concatenate(bands)
