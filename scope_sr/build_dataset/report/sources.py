"""The part of a report that tells of one source: what it was taken with, and its pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from scope_sr.build_dataset.report.pictures import KINDS, picture_of
from scope_sr.build_dataset.report.pieces import facts_table, figure, paragraph
from scope_sr.build_dataset.report.tally import NOMINAL, Optics, kept, labelled_of, optics_of, thing
from scope_sr.build_dataset.report.words import NONE, few, number, some
from scope_sr.dataset import Header, Source
from scope_sr.dataset.index import Item
from scope_sr.imaging.affine import rotation_rad

KIND_WORDS = {
    "session": "session at the microscope, low and high fields captured",
    "pairs": "folders of pairs",
    "images": "images, from which the low ones were computed",
    "masks": "images with masks of nuclei",
}
# of each picture: what it is, for those who cannot see it, and how to read it
CAPTIONS: dict[str, tuple[str, str]] = {
    "map": (
        "map of the fields on the slide by split and rejection",
        "Each box is a high field where it lies on the slide, turned as the images show it:"
        " coloured by its split where it was kept, hatched by the kind of reason where it was"
        " rejected.",
    ),
    "examples": (
        "crops of kept pairs at both magnifications with their difference",
        "The best, the median and the worst kept pair: the low image, the high one, the high one"
        " made as small (and, where the lenses are known, as soft) as the low one, and what is left"
        " between them, which should look like sand; outlines of nuclei there would mean that the"
        " two lie apart. Where low images were computed nothing is made soft, and outlines are what"
        " the optics blurred.",
    ),
    "residuals": (
        "histograms of how far blocks and pairs are off, and arrows over the field",
        "How far the two images are off each other, the farther left the better; a pair beyond its"
        " dashed limit was rejected, the last bar holds all farther ones, and arrows (where drawn)"
        " that all point one way or in circles would be an error the shared map does not follow.",
    ),
    "gates": (
        "values of all pairs for each gate between the ideal and the limits",
        "Each dot is a pair, each row one thing pairs are judged by: dots near the dotted line are"
        " ideal, those that come near a bar were nearly rejected, crosses lie beyond it.",
    ),
    "color": (
        "grey levels of low and high images before and after matching, per colour",
        "Colours of the same points in both images: on the line they are the same; grey dots are as"
        " the camera gave them, coloured ones after the high images were matched to the low ones.",
    ),
    "rejected": (
        "low images of rejected pairs with the reasons",
        "Some of what was rejected, as far as its low image is in the dataset, with the reason.",
    ),
    "montage": (
        "images with outlines of the nuclei",
        "The middle of some images; the bright outlines are what the masks mark as nuclei, greyed"
        " parts are to be judged by nobody.",
    ),
    "nuclei": (
        "histograms of nuclei per image and of their area",
        "How many nuclei images hold, and how large they are; a heap at the smallest sizes would be"
        " crumbs of the masks, one far to the right nuclei that were not told apart.",
    ),
}


def source_section(
    folder: Path, header: Header, source: Source, items: Sequence[Item], *, embed: bool
) -> Iterator[str]:
    """Tell of a source; its pictures are embedded, or only named where a report has too many."""
    own = [item for item in items if item.source == source.name]
    yield "<section>"
    yield from _heading(source)
    what = thing(header)
    yield paragraph(f"{len(kept(own))} of {some(len(own), what)} kept.")
    yield from facts_table([*_origin(source, own), *_optics_rows(header, source)])
    if "linear" in source.facts:
        yield "<h3>What all its fields share</h3>"
        yield paragraph(
            "Where a high field lies in its low one was measured, field by field; how the one is"
            " turned, sized and bent against the other was measured once from all of them.",
            "when",
        )
        yield from facts_table([*shared_rows(header, source), *_color_rows(header, source)])
    for kind in KINDS:
        path = picture_of(folder, source.name, kind)
        if embed:
            yield from figure(path, f"{source.name}: {CAPTIONS[kind][0]}", CAPTIONS[kind][1])
        elif path.is_file():
            yield paragraph(f"{path.relative_to(folder).as_posix()}: {CAPTIONS[kind][1]}", "when")
    yield "</section>"


def _heading(source: Source) -> Iterator[str]:
    yield f"<h2>Source: {escape(source.name)}</h2>"


def nuclei_rows(items: Sequence[Item]) -> Iterator[tuple[str, str]]:
    """Say how many nuclei are marked, and where they cannot be counted."""
    good = [item for item in labelled_of(items) if item.accepted]
    told = [item.nuclei for item in good if item.nuclei is not None]
    if told or not good:
        one_by_one = f"{some(sum(told), 'nucleus', 'nuclei')} in {some(len(told), 'image')}"
        yield "marked one by one", one_by_one
    if len(told) < len(good):
        rest = some(len(good) - len(told), "image")
        yield "marked as a whole", f"{rest}: touching nuclei are not told apart, none are counted"
    empty = sum(bool(item.facts.get("empty")) for item in good)
    if empty:
        yield "without a nucleus", some(empty, "image")
    sizes = sorted({number(item.um_per_px, 4) for item in good if item.um_per_px})
    unknown = sum(item.um_per_px is None for item in good)
    lost = f"not known of {some(unknown, 'image')}" if unknown else ""
    yield "µm per pixel", "; ".join(filter(None, [few(sizes) if sizes else "", lost])) or NONE


def _origin(source: Source, own: Sequence[Item]) -> Iterator[tuple[str, str]]:
    facts = source.facts
    yield "what it was", KIND_WORDS.get(source.kind, source.kind)
    for key, name in (("begun", "captured"), ("rig", "instrument")):
        if facts.get(key):
            text = str(facts[key])
            yield name, when(text) if key == "begun" else text
    if facts.get("calibration"):
        yield "calibration", calibration_of(facts)
    layouts = sorted({str(i.facts["layout"]) for i in labelled_of(own) if "layout" in i.facts})
    if layouts:
        yield "layout of the files", few(layouts)
    if source.kind == "masks":
        yield from nuclei_rows(own)
    yield "licence", source.licence.strip() or "not stated"
    yield "checksum of its content", source.digest[:16] or NONE


def when(text: str) -> str:
    """Write a time for people.

    >>> when("2026-11-23T15:20:07.678+00:00")
    '2026-11-23 15:20 UTC'
    """
    utc = text.endswith(("Z", "+00:00"))
    return text.replace("T", " ")[:16] + (" UTC" if utc else "")


def calibration_of(facts: Mapping[str, Any]) -> str:
    """Say what sizes and colours rest on."""
    told = str(facts["calibration"])
    if told == NOMINAL:
        return "none: nominal values of the instrument"
    return f"measured (record {told[:16]})"


def _optics_rows(header: Header, source: Source) -> Iterator[tuple[str, str]]:
    optics = optics_of(source, header)
    if optics is None:
        return
    for side, one in zip(("low", "high"), optics, strict=True):
        yield f"{side} objective", lens_in_words(one)


def lens_in_words(one: Optics) -> str:
    """Say what an objective resolves against its pixels."""
    empty = "; finer than it can show" if one.empty else ""
    return (
        f"{one.objective}, NA {one.aperture:g}: resolves {number(one.resolved_um)} µm"
        f" (0.61 λ/NA), its pixels in the dataset are {number(one.pixel_um)} µm{empty}"
    )


def shared_rows(header: Header, source: Source) -> Iterator[tuple[str, str]]:
    """Say what the fields of a session share: ratio, turn, distortion, offset, what is left."""
    facts = source.facts
    linear = np.array(facts["linear"], float)
    ratio = 1 / math.sqrt(abs(float(np.linalg.det(linear))))
    yield "magnification ratio", f"{ratio:.4f} high pixels of the camera to a low one"
    yield "rotation", f"{number(1000 * rotation_rad(linear))} mrad between low and high images"
    yield (
        "distortion",
        (
            f"{number(100 * float(facts.get('low_distortion', 0.0)), 2)} % low,"
            f" {number(100 * float(facts.get('high_distortion', 0.0)), 2)} % high, at the corner of"
            " the image (how much farther out it shows things)"
        ),
    )
    bend = max(_bend_px(facts.get("low_bend_px")), _bend_px(facts.get("high_bend_px")))
    yield "bent besides", f"at most {number(bend, 2)} low px, at the corner, beyond the calibration"
    if facts.get("offset_um"):
        x, y = (float(value) for value in facts["offset_um"])
        yield (
            "offset",
            (
                f"{number(x, 2)} and {number(y, 2)} µm, across and down: by this all fields lie off"
                " where the stage said"
            ),
        )
    if facts.get("block_residual_px") is not None:
        left = header.scale * float(facts["block_residual_px"])
        yield (
            "left over",
            (
                f"{number(left, 2)} px of the high image: scatter of {facts.get('blocks', NONE)}"
                " small blocks about this map"
            ),
        )


def _bend_px(coefficients: Any) -> float:
    """Give by how much a polynomial of `SessionModel` bends at the corner, at most."""
    if not coefficients:
        return 0.0
    angle = np.linspace(0, 2 * np.pi, 73)
    x, y = np.cos(angle), np.sin(angle)
    terms = np.stack([x**2, x * y, y**2, x**3, x**2 * y, x * y**2, y**3], axis=-1)
    return float(np.hypot(*(terms @ np.array(coefficients, float)).T).max())


def _color_rows(header: Header, source: Source) -> Iterator[tuple[str, str]]:
    levels = 255 / ((1 << header.bits) - 1)
    told = (source.facts.get("color_before_dn"), source.facts.get("color_residual_dn"))
    before, after = (None if value is None else levels * float(value) for value in told)
    if before is not None or after is not None:
        yield (
            "colours",
            (
                f"off by {number(before, 2)} grey levels of 255 before matching, by"
                f" {number(after, 2)} after (RMS)"
            ),
        )
    if source.facts.get("color_source"):
        yield "colours matched by", str(source.facts["color_source"])
