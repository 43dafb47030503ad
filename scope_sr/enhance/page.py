"""``summary.html``: a run on one page, in one file that can be mailed, read and printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from scope_sr.enhance.page_pictures import histograms, thumbnail
from scope_sr.enhance.statistics import BINS
from scope_sr.markup import facts, paragraph, table
from scope_sr.software import NOTICE

GENERATOR = '<meta name="generator" content="scope-sr enhance">'
SIGNS = {"ok": "✓", "warn": "!", "fail": "✗"}
MOST_SHOWN, MOST_LISTED = 60, 2000  # inputs with a picture of their own, and in the table
NONE = "–"
FILES = {
    "sr": "enhanced picture",
    "fidelity": "fidelity map",
    "labels": "labels of nuclei",
    "csv": "nuclei as CSV",
    "parquet": "as Parquet",
    "geojson": "as GeoJSON for QuPath",
    "overlay": "overlay",
}
DISTRIBUTIONS = {
    "area_um2": "area (µm²)",
    "eccentricity": "eccentricity",
    "solidity": "solidity",
    "haematoxylin_od": "haematoxylin (optical density)",
}
HOW = (
    "Density: nuclei per mm² of the picture, or of the tissue in it; from those that the edge of"
    " the picture leaves whole, weighted by how likely it does (Miles and Lantuéjoul).",
    "Distributions leave out nuclei that an edge cuts. What lies beyond a histogram counts into its"
    " first or last bin.",
    "Tissue: optical density in green above 0.08, smoothed by 5 µm.",
    "Perimeter by Crofton's formula; eccentricity of the ellipse of equal second moments; solidity:"
    " share of the convex hull.",
    "Haematoxylin: mean optical density (log10, against full scale) in the colours of Ruifrok and"
    " Johnston, 2001.",
)
STYLE = """.inputs { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr));
  gap: 1.2rem; }
.inputs section { border-top: 1px solid var(--line); break-inside: avoid; min-width: 0; }
.inputs h3 { overflow-wrap: anywhere; margin: .6rem 0 .3rem; }
.inputs ul { padding-left: 1.2rem; margin: .3rem 0; }
.inputs figure { margin: .3rem 0; }
td { overflow-wrap: anywhere; }
.notice { border: 1px solid var(--line); padding: .5rem .8rem; }
"""
Report = Mapping[str, Any]
Entry = Mapping[str, Any]


def page(report: Report, folder: Path) -> str:
    """Write the page.

    Parameters
    ----------
    report
        What ``summary.json`` holds.
    folder
        Where the files of the run lie; from them small pictures are taken into the page.

    Returns
    -------
    str
        HTML that needs no other file and no network, but for the links to the files of the run.
    """
    return "\n".join(_page(report, folder)) + "\n"


def _page(report: Report, folder: Path) -> Iterator[str]:
    style = (files("scope_sr") / "report.css").read_text(encoding="utf-8")
    title = f"{_some(len(report['inputs']), 'input')} enhanced by {report['model']['name']}"
    yield f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{GENERATOR}'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(title)}</title>\n<style>\n{style}{STYLE}</style>\n</head>"
    yield "<body>\n<main>"
    yield f"<h1>{escape(title)}</h1>"
    kind, said = _verdict(report)
    yield paragraph(f"{SIGNS[kind]} {said}", f"verdict {kind}")
    yield paragraph(NOTICE, "notice")
    yield from facts([*_head(report)])
    yield from _failed(report)
    done = [entry for entry in report["inputs"] if entry["state"] == "done"]
    yield from _nuclei(done)
    yield from _inputs(done, folder)
    yield from _how(report)
    yield "</main>\n</body>\n</html>"


def _verdict(report: Report) -> tuple[str, str]:
    """Say in one line how the run went, and with which sign."""
    states = [entry["state"] for entry in report["inputs"]]
    done, failed = states.count("done"), states.count("failed")
    waiting = len(states) - done - failed
    beware = sum(bool(entry["warnings"]) for entry in report["inputs"] if entry["state"] == "done")
    parts = [f"{done} of {_some(len(states), 'input')} enhanced"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{waiting} not done yet: go on with --resume"] if waiting else []
    parts += [f"{beware} with a warning"] if beware else []
    kind = "fail" if failed else "warn" if waiting or beware else "ok"
    return kind, "; ".join(parts)


def _head(report: Report) -> Iterator[tuple[str, str]]:
    for key, word in (("model", "enhanced by"), ("nuclei_model", "nuclei found by")):
        if report.get(key):
            yield word, f"{report[key]['name']}, SHA-256 {report[key]['sha256']}"
    scale = report["model"]["card"].get("scale")
    if scale:
        yield "enlarged", f"{scale} times"
    runtime = report.get("runtime")
    if runtime:
        names = runtime.values() if isinstance(runtime, Mapping) else [runtime]
        yield "computed with", ", ".join(dict.fromkeys(map(str, names)))
    yield "software", report["software"]


def _failed(report: Report) -> Iterator[str]:
    rows = [[e["name"], e["error"]] for e in report["inputs"] if e["state"] == "failed"]
    if rows:
        yield "<h2>Failed</h2>"
        yield from table(["input", "why"], rows)


def _nuclei(done: Sequence[Entry]) -> Iterator[str]:
    counted = [entry for entry in done if entry.get("nuclei")]
    if not counted:
        return
    total = sum(entry["nuclei"]["count"] for entry in counted)
    yield "<h2>Nuclei</h2>"
    yield paragraph(f"{total:,} in {_some(len(counted), 'picture')}")
    chart = histograms([entry["nuclei"] for entry in counted])
    alt = "Distributions of area, eccentricity, solidity and haematoxylin"
    yield f'<figure><img alt="{alt}" src="data:image/png;base64,{chart}"></figure>'
    head = ["picture", "nuclei", "cut by the edge", "per mm²", "per mm² of tissue"]
    head += [f"{name}: median" for name in DISTRIBUTIONS.values()]
    yield from table(head, [_row(entry) for entry in counted[:MOST_LISTED]])
    if len(counted) > MOST_LISTED:
        yield paragraph(f"The first {MOST_LISTED} of {len(counted)}; all are in summary.json.")


def _row(entry: Entry) -> list[str]:
    nuclei = entry["nuclei"]
    medians = (nuclei[name]["quartiles"][1] if nuclei[name] else None for name in BINS)
    return [
        entry["name"],
        f"{nuclei['count']:,}",
        f"{nuclei['on_edge']:,}",
        f"{nuclei['per_mm2']:,.0f}",
        _number(nuclei["per_mm2_tissue"], ",.0f"),
        *(_number(value, ".3g") for value in medians),
    ]


def _inputs(done: Sequence[Entry], folder: Path) -> Iterator[str]:
    if not done:
        return
    yield '<h2>Pictures</h2>\n<div class="inputs">'
    for entry in done[:MOST_SHOWN]:
        yield from _input(entry, folder)
    yield "</div>"
    rest = done[MOST_SHOWN:MOST_LISTED]
    if rest:
        yield f"<details><summary>{_some(len(rest), 'other')}</summary>\n<ul>"
        yield from (f"<li>{escape(entry['name'])}: {_links(entry)}</li>" for entry in rest)
        yield "</ul></details>"


def _input(entry: Entry, folder: Path) -> Iterator[str]:
    yield f"<section>\n<h3>{escape(entry['name'])}</h3>"
    small = thumbnail(folder, entry["files"])
    if small:
        image = f'<img alt="{escape(entry["name"])}" src="data:image/jpeg;base64,{small}">'
        shown = entry["files"].get("overlay", entry["files"].get("sr", ""))
        yield f'<figure><a href="{quote(shown)}">{image}</a></figure>'
    yield from facts([*_about(entry)])
    if entry["warnings"]:
        yield '<ul class="beware">'
        yield from (f"<li>! {escape(warning)}</li>" for warning in entry["warnings"])
        yield "</ul>"
    yield f'<p class="when">{_links(entry)}</p>\n</section>'


def _about(entry: Entry) -> Iterator[tuple[str, str]]:
    if entry.get("shape_in"):
        yield "before", _size(entry["shape_in"], entry["um_per_px_in"])
    yield "after", _size(entry["shape_out"], entry["um_per_px_out"])
    nuclei = entry.get("nuclei")
    if nuclei:
        tissue = _number(nuclei["per_mm2_tissue"], ",.0f")
        yield "nuclei", f"{nuclei['count']:,}, {tissue} per mm² of tissue"
    if entry.get("seams"):
        yield "seams", _seams(entry["seams"])
    if entry.get("fidelity"):
        yield "disagreement", _words(entry["fidelity"])
    yield "took", f"{entry['seconds']:.0f} s"


def _seams(seams: Mapping[str, Any]) -> str:
    """Say how well the fields of a session fit together."""
    text = f"{seams['seam_px']:.2f} px off (RMS, pixels of the low fields)"
    text += f"; {seams['linked']} of {_some(seams['pairs'], 'seam')} held by what they show"
    by_stage = len(seams["by_stage"])
    return text + (f"; {_some(by_stage, 'field')} placed by the stage alone" if by_stage else "")


def _words(figures: Mapping[str, Any]) -> str:
    """Write figures with their names.

    >>> _words({"mean_levels": 1.234, "share": {"of": 3}, "map": "a.tif"})
    'mean levels 1.23, map a.tif'
    """
    return ", ".join(
        f"{name.replace('_', ' ')} {_number(value, '.3g') if isinstance(value, float) else value}"
        for name, value in figures.items()
        if isinstance(value, int | float | str)
    )


def _links(entry: Entry) -> str:
    """Link the files of an input, which lie beside the page."""
    return " · ".join(
        f'<a href="{quote(name)}">{escape(FILES.get(key, key))}</a>'
        for key, name in entry["files"].items()
    )


def _how(report: Report) -> Iterator[str]:
    if report.get("nuclei_model"):
        yield "<h2>How nuclei are measured</h2>\n<ul>"
        yield from (f"<li>{escape(line)}</li>" for line in HOW)
        yield "</ul>"
    yield "<h2>Models</h2>"
    for key in ("model", "nuclei_model"):
        if report.get(key):
            yield f"<details><summary>{escape(report[key]['name'])}</summary>"
            yield from facts([*_card(report[key]["card"])])
            yield "</details>"


def _card(card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say what a model is; lists and tables of its card are left to the file."""
    for name, value in card.items():
        if value and isinstance(value, int | float | str):
            yield name.replace("_", " "), str(value)
    trained = card.get("dataset")
    if trained:
        yield "learnt from", _words(trained)


def _size(shape: Sequence[int], um_per_px: float) -> str:
    """Give width and height.

    >>> _size([2000, 3000], 0.25)
    '3,000 × 2,000 px of 0.25 µm, 0.75 × 0.5 mm'
    """
    rows, columns = shape[:2]
    width_mm, height_mm = (side * um_per_px / 1e3 for side in (columns, rows))
    return f"{columns:,} × {rows:,} px of {um_per_px:.3g} µm, {width_mm:.2g} × {height_mm:.2g} mm"


def _number(value: float | None, how: str) -> str:
    return NONE if value is None else format(value, how)


def _some(count: int, what: str) -> str:
    """Count things.

    >>> _some(1, "input"), _some(2, "input")
    ('1 input', '2 inputs')
    """
    return f"{count} {what}{'' if count == 1 else 's'}"
