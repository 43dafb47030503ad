"""``report.html`` of an evaluation: everything in one file that can be mailed, read and printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from scope_sr.evaluate.judging import NUCLEI, Judge, Row
from scope_sr.evaluate.material import Material
from scope_sr.evaluate.pictures import Example, crop_px, examples, gain_chart, nuclei_chart
from scope_sr.evaluate.words import (
    MEANINGS,
    NAMES,
    NONE,
    number,
    share_in_words,
    sign,
    some,
    with_interval,
)
from scope_sr.markup import facts, paragraph, table

GENERATOR = '<meta name="generator" content="scope-sr evaluate">'
SIGNS = {"ok": "✓", "warn": "!", "fail": "✗"}
MOST_LISTED = 500
ALIKE = "fields of one patient are alike: of few patients the truth may lie further off"
STYLE = """.tiles { display: flex; flex-wrap: wrap; gap: .6rem; }
.tiles figure { margin: 0 0 .4rem; width: 288px; }
.tiles img { width: 100%; image-rendering: pixelated; }
.nuclei figure { width: 576px; max-width: 100%; }
"""
Report = Mapping[str, Any]


def page(report: Report, judge: Judge, material: Material, rows: Sequence[Row]) -> str:
    """Write the report as text."""
    return "\n".join(_page(report, judge, material, rows)) + "\n"


def _page(report: Report, judge: Judge, material: Material, rows: Sequence[Row]) -> Iterator[str]:
    style = (files("scope_sr") / "report.css").read_text(encoding="utf-8")
    title = escape(f"{report['model']['card']['name']} on {report['data']['what']}")
    yield f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{GENERATOR}'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title>\n<style>\n{style}{STYLE}</style>\n</head>\n<body>\n<main>"
    yield f"<h1>{title}</h1>"
    kind = sign(report)
    yield paragraph(f"{SIGNS[kind]} {report['verdict']}", f"verdict {kind}")
    if report["warnings"]:
        yield '<h2>Beware</h2>\n<ul class="beware">'
        yield from (f"<li>{escape(line)}</li>" for line in report["warnings"])
        yield "</ul>"
    yield from facts([*_head(report)])
    if report["kind"] == "sr":
        yield from _figures(report)
        yield from _chart(gain_chart(rows, report), "Gain of each field over bicubic")
    if "f1" in report:
        yield from _nuclei(report)
        yield from _chart(nuclei_chart(report), "Figures of nuclei")
    yield from _pictures(report, examples(judge, material, rows))
    yield from _fields(report)
    yield from _how(report)
    yield "</main>\n</body>\n</html>"


def _head(report: Report) -> Iterator[tuple[str, str]]:
    card = report["model"]["card"]
    weights = f", {card['weights']} weights" if card["weights"] else ""
    yield (
        "model",
        (
            f"{report['model']['name']}: {card['architecture']}{weights}, {card['parameters']:,}"
            f" parameters; SHA-256 {report['model']['sha256'][:16]}…"
        ),
    )
    if report["kind"] == "sr":
        yield "enlarges", f"{card['scale']} times{_um(card)}"
        yield "low images", report["degradation"]
    trained = card["dataset"]
    if trained:
        by = f", split by {trained['level']}" if trained["level"] else ""
        yield "learnt from", f"dataset {trained['name']}{by}"
    if report["nuclei_model"]:
        yield "nuclei found by", report["nuclei_model"]["name"]
    yield "judged on", f"{report['data']['what']}: {some(report['images'], 'field')}"
    for key in ("patients", "slides"):
        names = report["data"].get(key)
        if names:
            yield key, ", ".join(names[:20]) + (" …" if len(names) > 20 else "")


def _side(report: Report) -> str:
    card = report["model"]["card"]
    side = crop_px(card["scale"])
    um = card["um_per_px_out"]
    return f", {side} pixels or {side * um:.0f} µm wide" if um else f", {side} pixels wide"


def _um(card: Mapping[str, Any]) -> str:
    if not card["um_per_px_in"]:
        return ""
    um_in, um_out = card["um_per_px_in"], card["um_per_px_out"]
    return f"; made for {um_in:.3g} µm per pixel, which become {um_out:.3g}"


def _figures(report: Report) -> Iterator[str]:
    yield "<h2>How near the pictures come to the truth</h2>"
    rows = []
    for figure in NAMES:
        if figure in NUCLEI or figure not in report:
            continue
        by, gain = report[figure], report["gains"][figure]
        rows.append([
            NAMES[figure][0],
            *(number(figure, by.get(name)) for name in ("model", "bicubic", "lanczos")),
            with_interval(figure, gain["mean"], gain["interval"], signed=True),
            f"{gain['better']} of {report['images']}",
        ])  # fmt: skip
    yield from table(
        ["", "the model", "bicubic", "Lanczos", "model less bicubic [95 %]", "better on"], rows
    )


def _nuclei(report: Report) -> Iterator[str]:
    yield "<h2>Nuclei found</h2>"
    if report["kind"] == "nuclei":
        yield from table(
            ["", "mean [95 %]"],
            [
                [NAMES[f][0], with_interval(f, report[f], report["intervals"][f])]
                for f in ("f1", "pq", "aji", "dice")
            ],
        )
        return
    yield paragraph(
        f"The model {report['nuclei_model']['name']} looked for nuclei in the low images enlarged"
        " by bicubic, in those enlarged by the model, and in the true ones. Recovered is the share"
        " of what the low images lose"
        " against the true ones that the model gives back.",
        "when",
    )
    names = ("bicubic", "model", "high")
    yield from table(
        ["", "bicubic", "the model", "true image", "recovered [95 %]"],
        [
            [
                NAMES[f][0],
                *(number(f, report[f][name]) for name in names),
                share_in_words(report["recovered"][f]),
            ]
            for f in ("f1", "pq", "aji", "dice")
        ],
    )


def _pictures(report: Report, shown: Sequence[Example]) -> Iterator[str]:
    what = "gain in PSNR over bicubic" if report["kind"] == "sr" else "F1 of nuclei"
    yield f"<h2>To look at: fields by {what}</h2>"
    yield paragraph(
        f"Of each field the part with most edges in the true image{_side(report)}, two"
        " screen pixels per pixel"
        + ("" if report["kind"] == "nuclei" else "; errors from black (none) to light yellow")
        + (". Outlines: black marked, yellow found." if "f1" in report else "."),
        "when",
    )
    for example in shown:
        told = ""
        if report["kind"] == "sr":
            by = example.row.figures["psnr_db"]
            gain = number("psnr_db", by["model"] - by["bicubic"], signed=True)
            told = f": {gain} against bicubic; light yellow is {example.reach} grey levels or more"
        yield f"<h3>{escape(example.word)}: {escape(example.row.entry.name)}{escape(told)}</h3>"
        yield f'<div class="tiles {report["kind"]}">'
        for tile in example.tiles:
            yield (
                f'<figure><img alt="{escape(tile.title)}" src="data:image/png;base64,{tile.data}">'
                f"<figcaption>{escape(tile.title)}<br>{escape(tile.note)}</figcaption></figure>"
            )
        yield "</div>"


def _fields(report: Report) -> Iterator[str]:
    fields = report["fields"][:MOST_LISTED]
    many = report["images"]
    said = f"all {many}" if many <= MOST_LISTED else f"the first {MOST_LISTED} of {many}"
    yield f"<h2>Every field</h2>\n<details><summary>{said}</summary>"
    if report["kind"] == "nuclei":
        head = ["field", "patient", "marked", "found", *(NAMES[f][0] for f in NUCLEI)]
        rows = [
            [
                one["name"], one.get("patient", NONE), str(one.get("nuclei", NONE)),
                str(one.get("found", {}).get("model", NONE)), *(number(f, one[f]) for f in NUCLEI),
            ]
            for one in fields
        ]  # fmt: skip
    else:
        pairs = [(f, name) for f in ("psnr_db", "ssim") for name in ("model", "bicubic", "lanczos")]
        head = ["field", "patient", *(f"{NAMES[f][0]}, {name}" for f, name in pairs)]
        rows = [
            [one["name"], one.get("patient", NONE), *(number(f, one[f][name]) for f, name in pairs)]
            for one in fields
        ]
    yield from table(head, rows)
    yield "</details>"


def _how(report: Report) -> Iterator[str]:
    yield "<h2>How it was measured</h2>\n<ul>"
    lines = [*report["protocol"].split("; "), f"intervals: {report['bootstrap']}, {ALIKE}"]
    yield from (f"<li>{escape(line)}</li>" for line in lines)
    yield "</ul>\n<h2>What the figures mean</h2>\n<ul>"
    yield from (f"<li>{escape(text)}</li>" for name, text in MEANINGS.items() if name in report)
    yield "</ul>"
    yield paragraph(f"{report['software']}, torch {report['torch']}, {report['device']}", "when")


def _chart(data: str, alt: str) -> Iterator[str]:
    yield f'<figure><img alt="{escape(alt)}" src="data:image/png;base64,{data}"></figure>'
