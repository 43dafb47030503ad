"""``card.md``: what a dataset holds, where it comes from, and what it must not be used for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from scope_sr.build_dataset.report.sources import KIND_WORDS, calibration_of, nuclei_rows, when
from scope_sr.build_dataset.report.tally import (
    Optics,
    empty_magnification,
    fit_rows,
    gate_rows,
    kept,
    named,
    optics_of,
    pairs_of,
    reason_rows,
    rejected,
    split_rows,
    split_unit,
    thing,
    warnings,
)
from scope_sr.build_dataset.report.words import (
    NONE,
    SPLIT_WORDS,
    gate_meaning,
    gate_title,
    limits_of,
    number,
    some,
)
from scope_sr.dataset import Header, Source
from scope_sr.dataset.index import Item

MARKS = re.compile(r"([\\`*_\[\]|#~$])")
CROP_PX = 96
OBTAINED = {
    "session": (
        "In sessions at the microscope low and high images were both **captured**, each with an"
        " objective of its own. Dark level and shading of the lamp were taken off as far as they"
        " were calibrated, the high images were drawn onto the pixels of the low ones by a map that"
        " a whole session shares, and their colours matched to those of the low images. Low images"
        " were not resampled."
    ),
    "pairs": (
        "Pairs from folders came as low and high images of the same fields; how they were captured"
        " is not known here. The high ones were fitted onto the pixels of the low ones."
    ),
    "images": "Images of one magnification were taken from folders as the high images.",
}
MOST_SOURCES = 50  # that are told one by one


def card(header: Header, items: Sequence[Item]) -> str:
    """Write the card as Markdown."""
    return "\n".join(_lines(header, items)).rstrip("\n") + "\n"


def _lines(header: Header, items: Sequence[Item]) -> Iterator[str]:
    yield f"# {plain(header.name)}"
    yield ""
    yield from _what(header, items)
    yield from _counts(header, items)
    if header.kind == "pairs":
        yield from _obtained(header)
        yield from _fit(header, items)
    yield from _gates(header, items)
    yield from _limits(header, items)
    yield from _licence(header)
    yield from _loading(header)
    yield from _provenance(header)


def plain(text: str) -> str:
    """Make a text stand in Markdown as it is, in one line.

    >>> plain("<b>a|b</b>")
    '&lt;b&gt;a\\\\|b&lt;/b&gt;'
    """
    marked = MARKS.sub(r"\\\1", " ".join(text.split()))
    return marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


# ------------------------------------------------------------------ what


def _what(header: Header, items: Sequence[Item]) -> Iterator[str]:
    good = len(kept(items))
    if header.kind == "nuclei":
        yield (
            f"{some(good, 'image')} of tissue with the nuclei marked in them, for training programs"
            " that find nuclei."
        )
    else:
        low = "computed from the high ones" if header.simulated else "captured, not computed"
        yield (
            f"{some(good, 'pair')} of the same tissue at low and at high magnification, for"
            f" training super-resolution by a factor of {header.scale}. The low images were {low}."
        )
    yield ""
    yield from _table(["", ""], [*_head_rows(header)])
    if header.kind == "nuclei":
        yield from _nuclei(items)


def _head_rows(header: Header) -> Iterator[list[str]]:
    if header.kind == "pairs":
        yield ["scale", f"{header.scale} high pixels to a low one, along each side"]
        yield ["low images", f"{'simulated' if header.simulated else 'captured'},"
               f" {_um(header.low_um_per_px)}"]  # fmt: skip
        yield ["high images", f"captured, {_um(header.high_um_per_px)}"]
    yield ["pixels", f"{header.bits} bits, {'colour (RGB)' if header.color else 'grey'}"]
    yield ["files", "uncompressed TIFF, `index.jsonl` with one line for each, `dataset.json`"]
    yield ["software", plain(header.software)]


def _um(size: float | None) -> str:
    return f"{number(size, 4)} µm per pixel" if size else "µm per pixel not known"


def _nuclei(items: Sequence[Item]) -> Iterator[str]:
    yield from _table(["nuclei", ""], [[name, plain(text)] for name, text in nuclei_rows(items)])


def _counts(header: Header, items: Sequence[Item]) -> Iterator[str]:
    rows = split_rows(items)
    yield "## Splits"
    yield ""
    yield from _table(
        ["split", f"{thing(header)}s", "patients", "slides"],
        [
            [f"{r.split} ({SPLIT_WORDS[r.split]})", str(r.items), *named(r.patients, r.slides)]
            for r in rows
        ],
    )
    yield f"Split {split_unit(header)}. In all {some(sum(r.items for r in rows), thing(header))}."
    yield ""


# -------------------------------------------------------------- obtained


def _obtained(header: Header) -> Iterator[str]:
    yield "## How the images were obtained"
    yield ""
    kinds = {source.kind for source in header.sources}
    for kind, text in OBTAINED.items():
        if kind in kinds:
            yield text
            yield ""
    if header.simulated:
        yield (
            "The low images are **simulated**: each was computed from its high one. A network"
            " trained on them learns to undo that computation, which is not what an objective does."
        )
        yield ""
    yield from _lenses(header)


def _lenses(header: Header) -> Iterator[str]:
    """Say what the objectives resolve, and where the high pixels are finer than that."""
    rows, empty = [], []
    for source in header.sources:
        optics = optics_of(source, header)
        if optics:
            rows += [_lens_row(source, side, one) for side, one in
                     zip(("low", "high"), optics, strict=True)]  # fmt: skip
            if optics[1].empty:
                empty.append(empty_magnification(source.name, optics[1]))
    if not rows:
        yield "Objectives and numerical apertures are not known."
        yield ""
        return
    head = ["source", "", "objective", "NA", "pixel (µm)", "resolves (µm)", "pixels to that"]
    yield from _table(head, list(dict.fromkeys(map(tuple, rows))))
    yield (
        "What an objective resolves is 0.61 λ/NA at λ = 0.55 µm, the least distance at which two"
        " points still look like two; two pixels or more to that distance show it."
    )
    yield ""
    for text in empty:
        yield f"**Warning:** {plain(text)}"
        yield ""


def _lens_row(source: Source, side: str, one: Optics) -> list[str]:
    return [
        plain(source.name),
        side,
        plain(one.objective) or NONE,
        f"{one.aperture:g}",
        number(one.pixel_um),
        number(one.resolved_um),
        f"{one.resolved_um / one.pixel_um:.1f}",
    ]


def _fit(header: Header, items: Sequence[Item]) -> Iterator[str]:
    yield "## How well the pairs fit"
    yield ""
    rows = []
    for name, meaning, spread in fit_rows(pairs_of(items)):
        values = (number(v, 2) for v in (spread.median, spread.p95, spread.most))
        rows.append([f"{name}: {meaning}", *values, some(spread.count, "pair")])
    for source in header.sources[:MOST_SOURCES]:
        left = source.facts.get("block_residual_px")
        if left is not None:
            text = f"scatter {number(header.scale * float(left), 2)}"
            blocks = some(int(source.facts.get("blocks", 0)), "block")
            rows.append([f"blocks of {plain(source.name)}", text, NONE, NONE, blocks])
    if rows:
        yield from _table(["in pixels of the high image", "median", "95 %", "largest", "of"], rows)
    else:
        yield "Nothing was measured of it."
        yield ""


def _gates(header: Header, items: Sequence[Item]) -> Iterator[str]:
    bad, what = rejected(items), thing(header)
    yield "## What was rejected"
    yield ""
    yield f"{len(bad)} of {some(len(items), what)} were rejected; `index.jsonl` names each."
    yield ""
    if bad:
        rows = [[title, str(first), str(every)] for title, first, every in reason_rows(items)]
        yield from _table(["reason", f"{what}s it rejected first", "in all"], rows)
    if header.kind != "pairs":
        return
    gates = [
        [f"{gate_title(row.name)} (`{row.name}`)", limits_of(row.name, row.gate),
         gate_meaning(row.name), str(row.failed)]
        for row in gate_rows(header, pairs_of(items))
    ]  # fmt: skip
    if gates:
        yield "Pairs are judged by:"
        yield ""
        yield from _table(["gate", "limit", "what it is", "beyond"], gates)


# ---------------------------------------------------------- limits, ways


def _limits(header: Header, items: Sequence[Item]) -> Iterator[str]:
    yield "## Known limits"
    yield ""
    for text in warnings(header, items):
        yield f"- {plain(text)}"
    yield (
        "- For research. Nothing that was trained on it may serve a diagnosis without a validation"
        " of its own: a network can show structures that are not there."
    )
    if header.kind == "pairs":
        yield (
            "- It holds tissue, stains, scanners and lenses of its sources only; with others a"
            " network may fail."
        )
    else:
        yield "- The masks are as they were given; nobody has checked them here."
    yield ""


def _licence(header: Header) -> Iterator[str]:
    yield "## Licence and consent"
    yield ""
    for source in header.sources[:MOST_SOURCES]:
        licence = plain(source.licence)
        said = licence or "no licence was stated; ask whoever owns the images before sharing them"
        yield f"- {plain(source.name)}: {said}"
    if len(header.sources) > MOST_SOURCES:
        yield f"- and {len(header.sources) - MOST_SOURCES} more, see `dataset.json`"
    yield ""
    yield (
        "Whether the patients agreed to research and to publication is not recorded here: ask who"
        " provided the slides, and the ethics board, before sharing. Names of patients and slides"
        " in `index.jsonl` and `dataset.json` are as the user gave them; see to it that they are"
        " pseudonyms."
    )
    yield ""


def _loading(header: Header) -> Iterator[str]:
    yield "## How to load it"
    yield ""
    yield "```python"
    if header.kind == "pairs":
        yield "import numpy as np"
        yield "from scope_sr.dataset import Crops, Dataset"
    else:
        yield "from scope_sr.dataset import Dataset"
    yield ""
    yield 'dataset = Dataset.open("path/of/this/folder")'
    yield 'for item in dataset.of("train"):'
    if header.kind == "pairs":
        yield "    low, high = dataset.images(item)  # mapped; high is scale times as large"
        yield ""
        yield "# squares of usable tissue, at random"
        yield f'crops = Crops(dataset, "train", {CROP_PX})'
        yield "crop = crops.random(np.random.default_rng(0))"
        yield "crop.low, crop.high"
    else:
        yield "    image, labels = dataset.labelled(item)  # labels: 0 is background"
    yield "```"
    yield ""
    if header.kind == "pairs":
        yield (
            "Not all of a pair may be used: `cells` in the index marks folds, dirt, rims and the"
            " borders between splits; `Crops` heeds it."
        )
        yield ""


def _provenance(header: Header) -> Iterator[str]:
    yield "## Provenance"
    yield ""
    for source in header.sources[:MOST_SOURCES]:
        facts = source.facts
        parts = [KIND_WORDS.get(source.kind, source.kind)]
        parts += [f"session {plain(str(facts['id']))}"] if facts.get("id") else []
        parts += [f"captured {plain(when(str(facts['begun'])))}"] if facts.get("begun") else []
        rig = "instrument" if source.kind == "session" else "optics of the rig"
        parts += [f"{rig} {plain(str(facts['rig']))}"] if facts.get("rig") else []
        parts += [f"calibration {calibration_of(facts)}"] if facts.get("calibration") else []
        parts += [f"SHA-256 `{re.sub('[^0-9a-zA-Z]', '', source.digest)}`"]
        yield f"- **{plain(source.name)}**: {', '.join(parts)}"
    if len(header.sources) > MOST_SOURCES:
        yield f"- and {len(header.sources) - MOST_SOURCES} more, see `dataset.json`"
    yield ""
    yield f"Built by {plain(header.software)}; pictures and all gates in `report.html`."
