"""``report.html`` of a calibration: everything in one file that can be mailed, read and printed."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from pathlib import Path

from scope_sr.calibrate.words import brief, plus_minus, value_of
from scope_sr.calibration import (
    SECTIONS,
    CalibrationRecord,
    Check,
    ObjectiveCalibration,
    Section,
    Verdict,
)
from scope_sr.imaging.affine import rotation_rad

REPORT = "report.html"
NONE = "–"
SIGNS: dict[Verdict, str] = {"ok": "✓ ok", "warn": "! look", "fail": "✗ failed"}
TITLES: dict[Section, str] = {
    "flat-field": "Flat-field, dark and exposure",
    "stage": "Stage",
    "pixel-size": "Pixel size and rotation",
    "focus": "Focus",
    "offsets": "Offsets between objectives",
    "color": "Colours",
    "chromatic": "Lateral chromatic shift",
    "noise": "Camera noise",
}
ACROSS, ALONG = "offset in x and y (µm)", "offset of the focus (µm)"
PNG = b"\x89PNG\r\n\x1a\n"


def write_report(record: CalibrationRecord, folder: Path, source: str = "") -> None:
    """Write ``report.html`` into a folder, with the pictures that lie there inside it.

    The file appears under its name when it is whole. `source` is what the rig is asked for by.
    """
    part = folder / f"{REPORT}.part"
    part.write_text("\n".join(_page(record, folder, source)) + "\n", encoding="utf-8")
    part.replace(folder / REPORT)


def _page(record: CalibrationRecord, folder: Path, source: str) -> Iterator[str]:
    style = (files("scope_sr") / "report.css").read_text(encoding="utf-8")
    title = escape(f"Calibration of {record.rig}, {_time(record.made_at)}")
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>"
    yield f"<h1>{title}</h1>"
    yield from _verdict(record.checks)
    yield from _head(record)
    yield from _objectives(record)
    for section in SECTIONS:
        checks = [check for check in record.checks if check.section == section]
        if checks:
            yield from _section(section, checks, folder)
    yield from _not_measured(record)
    yield from _next(record, source)
    yield "</main>\n</body>\n</html>"


def _verdict(checks: tuple[Check, ...]) -> Iterator[str]:
    """Say in one line what came out, and name each check that is not ok."""
    bad = [check for check in checks if check.verdict != "ok"]
    worst: Verdict = "ok"
    if bad:
        worst = "fail" if any(check.verdict == "fail" for check in bad) else "warn"
    if not checks:
        yield '<p class="verdict warn">! Nothing was measured: all values are the rig file\'s.</p>'
        return
    if not bad:
        yield f'<p class="verdict ok">✓ All {len(checks)} checks are ok.</p>'
        return
    failed = sum(check.verdict == "fail" for check in bad)
    words = [f"{failed} failed"] * bool(failed)
    words += [f"{len(bad) - failed} to look at"] * (len(bad) > failed)
    sign = SIGNS[worst].split()[0]
    yield f'<p class="verdict {worst}">{sign} Of {len(checks)} checks, {" and ".join(words)}:</p>'
    yield "<ul>"
    for check in bad:
        yield (
            f'<li>{_sign(check)} <a href="#{check.section}">{escape(check.name)}</a>:'
            f" {escape(check.advice) or escape(value_of(check))}</li>"
        )
    yield "</ul>"


def _head(record: CalibrationRecord) -> Iterator[str]:
    known = record.fingerprint
    rows = [
        ("rig", record.rig),
        ("calibrated", _time(record.made_at)),
        ("software", record.software or NONE),
        ("reference objective", record.reference or NONE),
    ]
    if known is not None:
        kind = "colour" if known.color else "monochrome"
        rows += [
            ("camera", known.camera),
            ("image", f"{known.size_px[0]} x {known.size_px[1]} px, {known.bits} bits, {kind}"),
            *((f"objective {name}", slot) for name, slot in known.slots.items()),
        ]
    yield '<table class="head">'
    for name, value in rows:
        yield f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
    yield "</table>"


def _objectives(record: CalibrationRecord) -> Iterator[str]:
    """Put what is known of the objectives side by side."""
    columns = {name: dict(_lens(lens)) for name, lens in record.objectives.items()}
    if record.reference in columns:
        columns[record.reference].update(dict.fromkeys((ACROSS, ALONG), "0, the reference"))
    yield "<h2>Objectives</h2>\n<div class=wide><table>"
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    yield f'<tr><th scope="col"></th>{names}</tr>'
    for row in next(iter(columns.values()), {}):
        cells = "".join(f"<td>{escape(column[row])}</td>" for column in columns.values())
        yield f'<tr><th scope="row">{escape(row)}</th>{cells}</tr>'
    yield "</table></div>"


def _lens(lens: ObjectiveCalibration) -> Iterator[tuple[str, str]]:
    measured = lens.scale_sigma is not None
    size_um, turn = lens.pixel_size_um, 1000 * rotation_rad(lens.affine)
    yield "pixel size and rotation are", "measured" if measured else "as the rig file says"
    yield "pixel size (µm)", plus_minus(size_um, size_um * (lens.scale_sigma or 0))
    yield "rotation of the camera (mrad)", plus_minus(turn, lens.rotation_sigma_mrad)
    yield ACROSS, _two(lens.parcentric_um, lens.parcentric_sigma_um)
    yield ALONG, plus_minus(lens.parfocal_um, lens.parfocal_sigma_um)
    turret = lens.turret_sigma_um
    yield (
        "scatter of the nosepiece, x, y, z (µm)",
        ", ".join(f"{value:.2g}" for value in turret) if turret else NONE,
    )
    yield "exposure (ms)", brief(lens.exposure_ms) if lens.exposure_ms is not None else NONE
    yield "bare glass (DN)", ", ".join(f"{v:.1f}" for v in lens.glass_dn) or NONE
    yield "white gains", ", ".join(f"{v:.3f}" for v in lens.white_gains) or NONE
    bend = lens.distortion_sigma
    yield (
        "distortion at the corner (%)",
        NONE if bend is None else plus_minus(100 * lens.distortion, 100 * bend),
    )
    colors, error = lens.lateral_chromatic, lens.lateral_chromatic_sigma
    yield (
        "red and blue image against green (%)",
        NONE if colors is None else _two(colors, error, 100.0),
    )


def _two(
    values: tuple[float, float], sigmas: tuple[float, float] | None, times: float = 1.0
) -> str:
    known = sigmas or (0.0, 0.0)
    return ", ".join(
        plus_minus(times * value, times * sigma) for value, sigma in zip(values, known, strict=True)
    )


def _section(section: Section, checks: list[Check], folder: Path) -> Iterator[str]:
    yield f'<section id="{section}">\n<h2>{TITLES[section]}</h2>'
    times = sorted({_time(check.made_at) for check in checks})
    span = times[0] if len(times) == 1 else f"{times[0]} to {times[-1]}"
    yield f'<p class="when">measured {escape(span)}</p>'
    yield (
        '<div class=wide><table>\n<tr><th scope="col">quantity</th><th scope="col">value</th>'
        '<th scope="col">limit</th><th scope="col">verdict</th></tr>'
    )
    for check in checks:
        advice = f'<div class="advice">{escape(check.advice)}</div>' if check.advice else ""
        yield (
            f'<tr class="{check.verdict}"><th scope="row">{escape(check.name)}{advice}</th>'
            f"<td>{escape(value_of(check))}</td><td>{escape(check.limit)}</td>"
            f"<td>{_sign(check)}</td></tr>"
        )
    yield "</table></div>"
    for name in dict.fromkeys(check.picture for check in checks if check.picture):
        yield _figure(name, folder)
    yield "</section>"


def _figure(name: str, folder: Path) -> str:
    """Embed a picture of the folder; never a file from elsewhere that a record may name."""
    path = folder / Path(name).name
    content = path.read_bytes() if path.is_file() else b""
    if not content.startswith(PNG):
        return f'<p class="when">(its picture {escape(name)} is not in this folder)</p>'
    data = base64.b64encode(content).decode()
    return f'<figure><img alt="{escape(path.stem)}" src="data:image/png;base64,{data}"></figure>'


def _not_measured(record: CalibrationRecord) -> Iterator[str]:
    """Name what has no measurement behind it."""
    measured = {check.section for check in record.checks}
    sections = [TITLES[section] for section in SECTIONS if section not in measured]
    slots = record.fingerprint.slots if record.fingerprint else {}
    known = [name for name, lens in record.objectives.items() if lens.scale_sigma is not None]
    lenses = [name for name in {**slots, **record.objectives} if name not in known]
    if not sections and not lenses:
        return
    yield "<h2>Not measured</h2>\n<p>This comes from the rig file, if it is known at all:</p>\n<ul>"
    for title in sections:
        yield f"<li>{title}</li>"
    if lenses and measured:
        yield f"<li>everything of {escape(', '.join(lenses))}</li>"
    yield "</ul>"


def _next(record: CalibrationRecord, source: str) -> Iterator[str]:
    rig = source or record.rig
    failed = {check.section for check in record.checks if check.verdict == "fail"}
    stale = ",".join(section for section in SECTIONS if section in failed)
    yield "<h2>What to do next</h2>\n<dl>"
    if stale:
        yield from _command(
            f"scope-sr calibrate --rig {rig} --only {stale}",
            "measures anew what failed, after its advice was followed; the rest is kept",
        )
    if not record.checks:
        yield from _command(f"scope-sr calibrate --rig {rig}", "measures the instrument")
    yield from _command(
        f"scope-sr acquire-pairs --rig {rig} --grid 3x3 --dry-run",
        "shows what a capture with this calibration would do; without --dry-run it is done",
    )
    yield from _command(
        f"scope-sr calibrate --rig {rig} --check",
        "tells in a minute whether this calibration still holds: after a change of slide, lamp,"
        " camera or objective, and on a new day",
    )
    yield "</dl>\n<p class=when>Give the file of the rig where it is not a built-in one.</p>"


def _command(command: str, meaning: str) -> Iterator[str]:
    yield f"<dt><code>{escape(command)}</code></dt><dd>{escape(meaning)}</dd>"


def _sign(check: Check) -> str:
    return f'<span class="sign {check.verdict}">{SIGNS[check.verdict]}</span>'


def _time(made_at: str) -> str:
    """Write a time of the record for people; it is UTC.

    >>> _time("2026-11-23T12:05:09Z"), _time("")
    ('2026-11-23 12:05 UTC', 'never')
    """
    return made_at.replace("T", " ")[:16] + " UTC" if made_at else "never"
