"""``report.html`` of a dataset: everything in one file that can be mailed, read and printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from scope_sr.build_dataset.report.pieces import bullets, facts_table, folded, paragraph, table
from scope_sr.build_dataset.report.sources import nuclei_rows, source_section
from scope_sr.build_dataset.report.tally import (
    GateRow,
    Spread,
    fit_rows,
    gate_rows,
    kept,
    named,
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
    few,
    gate_meaning,
    gate_title,
    limits_of,
    number,
    some,
)
from scope_sr.dataset import Header, Pair
from scope_sr.dataset.index import Item

MOST_LISTED = 200  # rejected pairs, or fields to take again, that are named
MOST_OPEN = 15  # that are shown without a click
MOST_EMBEDDED = 16  # sources whose pictures are inside: half a megabyte each


def page(
    folder: Path, header: Header, items: Sequence[Item], reshoot: Sequence[dict[str, Any]]
) -> str:
    """Write the report as text; pictures are taken from ``pictures/`` of the folder."""
    return "\n".join(_page(folder, header, items, reshoot)) + "\n"


def _page(
    folder: Path, header: Header, items: Sequence[Item], reshoot: Sequence[dict[str, Any]]
) -> Iterator[str]:
    style = (files("scope_sr") / "report.css").read_text(encoding="utf-8")
    title = escape(f"Dataset {header.name}")
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>"
    yield f"<h1>{title}</h1>"
    yield from _verdict(header, items)
    yield from facts_table([*_head(header, items)])
    yield from _splits(header, items)
    yield from _reasons(header, items)
    if header.kind == "pairs":
        yield from _registration(header, pairs_of(items))
        yield from _gates(header, pairs_of(items))
    for place, source in enumerate(header.sources):
        yield from source_section(folder, header, source, items, embed=place < MOST_EMBEDDED)
    yield from _rejected(header, items)
    yield from _reshoot(header, reshoot)
    yield "</main>\n</body>\n</html>"


# ------------------------------------------------------------------ head


def _verdict(header: Header, items: Sequence[Item]) -> Iterator[str]:
    """Say in one line what came out, then what to beware of."""
    good, beware = len(kept(items)), warnings(header, items)
    what = thing(header)
    text = f"{good} of {some(len(items), what)} kept"
    parts = [f"{row.items} {SPLIT_WORDS[row.split]} ({row.split})" for row in split_rows(items)]
    sign, kind = ("✗", "fail") if not good else ("!", "warn") if beware else ("✓", "ok")
    yield paragraph(f"{sign} {text}: {', '.join(parts)}.", f"verdict {kind}")
    if beware:
        yield "<h2>Beware</h2>"
        yield from bullets(beware, "beware")


def _head(header: Header, items: Sequence[Item]) -> Iterator[tuple[str, str]]:
    if header.kind == "pairs":
        made = "computed from the high ones" if header.simulated else "captured"
        yield "kind", f"pairs of the same tissue at low and high magnification; low images {made}"
        yield "scale", f"{header.scale}: one low pixel is {header.scale} x {header.scale} high ones"
        low, high = number(header.low_um_per_px, 4), number(header.high_um_per_px, 4)
        yield "µm per pixel", f"{low} low, {high} high" if low != NONE else "not known"
    else:
        yield "kind", "images with nuclei marked in them"
        yield from nuclei_rows(items)
    yield "images", f"{header.bits} bits, {'colour' if header.color else 'grey'}"
    yield "split", split_unit(header)
    yield "sources", f"{len(header.sources)}: {few([s.name for s in header.sources])}"
    yield "software", header.software


# ---------------------------------------------------------------- counts


def _splits(header: Header, items: Sequence[Item]) -> Iterator[str]:
    rows = split_rows(items)
    yield "<h2>How many</h2>"
    yield from table(
        ["split", f"{thing(header)}s", "patients", "slides"],
        [
            [f"{r.split}, {SPLIT_WORDS[r.split]}", str(r.items), *named(r.patients, r.slides)]
            for r in rows
        ]
        + [["kept in all", str(sum(r.items for r in rows)), *_named_in_all(items)]],
    )
    yield paragraph(f"The splits were drawn {split_unit(header)}.", "when")


def _named_in_all(items: Sequence[Item]) -> list[str]:
    good = kept(items)
    return named(
        len({item.patient for item in good if item.patient}),
        len({(item.patient, item.slide) for item in good if item.slide}),
    )


def _reasons(header: Header, items: Sequence[Item]) -> Iterator[str]:
    rows = reason_rows(items)
    if not rows:
        return
    what = thing(header)
    yield f"<h2>Rejected: {len(rejected(items))}</h2>"
    yield from table(
        ["reason", f"{what}s it rejected first", f"{what}s it holds for in all"],
        [[title, str(first), str(every)] for title, first, every in rows],
    )
    yield paragraph(
        f"The first reasons add up to what was rejected; {'a' if what == 'pair' else 'an'} {what}"
        " may have several.",
        "when",
    )


def _registration(header: Header, pairs: Sequence[Pair]) -> Iterator[str]:
    yield "<h2>How well the pairs fit</h2>"
    found = fit_rows(pairs)
    rows = [[name, *_in_px(spread, header.high_um_per_px), str(spread.count)]
            for name, _, spread in found]  # fmt: skip
    for source in header.sources:
        left = source.facts.get("block_residual_px")
        if left is not None:
            text = f"{number(header.scale * float(left), 2)} px (scatter)"
            blocks = some(int(source.facts.get("blocks", 0)), "block")
            rows.append([f"blocks of {source.name}", text, NONE, NONE, blocks])
    if not rows:
        yield paragraph("Nothing was measured of it.")
        return
    yield paragraph(
        "Measured on the finished pairs, independently of how they were put together, in pixels of"
        " the high image.",
        "when",
    )
    yield from table(["", "median", "95 % are below", "largest", "of how many"], rows,
                     [meaning for _, meaning, _ in found])  # fmt: skip


def _in_px(spread: Spread, um_per_px: float | None) -> Iterator[str]:
    for value in (spread.median, spread.p95, spread.most):
        size = f" ({number(value * um_per_px, 2)} µm)" if value is not None and um_per_px else ""
        yield f"{number(value, 2)} px{size}" if value is not None else NONE


def _gates(header: Header, pairs: Sequence[Pair]) -> Iterator[str]:
    rows = gate_rows(header, pairs)
    if not rows:
        return
    yield "<h2>What pairs are judged by</h2>"
    yield paragraph("A pair beyond any of these limits is rejected.", "when")
    yield from table(
        ["gate", "limit", "kept: median", "kept: nearest to the limit", "measured", "beyond"],
        [_gate_cells(row) for row in rows],
        [gate_meaning(row.name) for row in rows],
    )


def _gate_cells(row: GateRow) -> list[str]:
    return [
        gate_title(row.name),
        limits_of(row.name, row.gate),
        number(row.kept.median),
        number(row.nearest),
        str(row.measured),
        str(row.failed),
    ]


# ----------------------------------------------------------------- lists


def _rejected(header: Header, items: Sequence[Item]) -> Iterator[str]:
    bad = rejected(items)
    if not bad:
        return
    yield "<h2>What was rejected, and why</h2>"
    rows = [[item.name, "; ".join(item.reasons)] for item in bad[:MOST_LISTED]]
    found = table([thing(header), "reasons"], rows)
    if len(bad) > MOST_OPEN:
        found = folded(f"all {len(bad)}" if len(bad) <= MOST_LISTED else
                       f"the first {MOST_LISTED} of {len(bad)}", found)  # fmt: skip
    yield from found
    if len(bad) > MOST_LISTED:
        yield paragraph(f"and {len(bad) - MOST_LISTED} more; index.jsonl names them all", "when")


def _reshoot(header: Header, reshoot: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Name the fields worth taking again; of the session only the folder's name, not its path."""
    steps = [(_folder_name(entry), step) for entry in reshoot for step in entry["steps"]]
    if not steps:
        return
    yield "<h2>Worth taking again</h2>"
    yield paragraph(
        f"{some(len(steps), 'field')} failed by focus, light or place, which another take can mend."
        " With the slides as they were, this takes them again:"
    )
    yield f"<p><code>scope-sr acquire-pairs --reshoot {escape(header.name)}</code></p>"
    yield paragraph(f"({header.name} is the folder of this dataset; give its path.)", "when")
    rows = [
        [session, str(step["step"]), "; ".join(step["reasons"])]
        for session, step in steps[:MOST_LISTED]
    ]
    found = table(["session", "field", "reasons"], rows)
    if len(rows) > MOST_OPEN:
        found = folded(f"{len(rows)} of {some(len(steps), 'field')}", found)
    yield from found
    if len(steps) > MOST_LISTED:
        yield paragraph(f"and {len(steps) - MOST_LISTED} more; reshoot.json names them all", "when")


def _folder_name(entry: dict[str, Any]) -> str:
    return str(entry["session"]).replace("\\", "/").rstrip("/").rpartition("/")[2]
