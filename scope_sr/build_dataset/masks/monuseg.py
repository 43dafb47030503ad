"""MoNuSeg: outlines drawn in Aperio ImageScope."""

from __future__ import annotations

import re
from pathlib import Path
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.masks.case import Case, Layout, Read
from scope_sr.build_dataset.masks.tree import IMAGES, Couple, Tree, by_key, couple
from scope_sr.build_dataset.people import patient_and_slide
from scope_sr.config import reason
from scope_sr.dataset.labels import consecutive
from scope_sr.pictures.files import fault, rgb

# The bare barcode of a slide. MoNuSAC adds a number, and marks what is no nucleus in the same way.
NAME = re.compile(r"TCGA-\w{2}-\w{4}-\w{3}-\w{2}-\w{2,3}", re.IGNORECASE)
LEAST_CORNERS = 3


def find_monuseg(tree: Tree) -> Layout | None:
    """Find ``TCGA-*.tif`` with ``TCGA-*.xml``, beside each other or in folders of their own."""
    outlines, again = by_key(tree, tree.having(".xml"), _key)
    if not outlines:
        return None
    images, twice = by_key(tree, tree.having(*IMAGES), _key)
    couples, problems = couple(tree, images, outlines, "{}.xml")
    return Layout(
        "monuseg",
        "CC BY-NC-SA 4.0",
        "MoNuSeg 2018: crops of TCGA slides at 40x, not independent of the TCIA crops, PanNuke or "
        "CryoNuSeg.",
        tuple(_case(found) for found in couples),
        (*twice, *again, *problems),
    )


def _key(path: Path) -> str | None:
    return path.stem.upper() if NAME.fullmatch(path.stem) else None


def _case(found: Couple) -> Case:
    patient, slide = patient_and_slide(found.key)
    files = (found.image, found.mask)
    return Case(found.image.stem, "monuseg", files, patient, slide, 0.25, instances=True)


def read_monuseg(case: Case) -> Read:
    """Read an image and fill the outlines of its nuclei, later ones over earlier ones.

    Raises
    ------
    InputError
        A file is damaged, or the outlines are not Aperio's.
    """
    image = rgb(case.files[0])
    regions = read_outlines(case.files[1])
    outlines = [outline for outline in regions if len(outline) >= LEAST_CORNERS]
    numbers = np.zeros(image.shape[:2], np.uint32)
    for number, outline in enumerate(outlines, 1):
        fill(numbers, outline, number)
    labels = consecutive(numbers)
    lost = len(regions) - int(labels.max())
    # Clicks without an area, outlines beyond the border, nuclei wholly under another
    return Read(image, labels, facts={"outlines_without_pixels": float(lost)} if lost else {})


def read_outlines(path: Path) -> list[NDArray[np.float64]]:
    """Read the corners of all regions of an Aperio XML.

    The parser reads nothing but this file, and a document type, where entities would be declared,
    is refused.

    Returns
    -------
    list of NDArray
        Per region ``(n, 2)`` of x, y in px; 0, 0 is the top left corner of the image.

    Raises
    ------
    InputError
        It is not well-formed, declares a document type, is no Aperio file, or has a corner that is
        no number.
    """
    parser = expat.ParserCreate()
    seen: set[str] = set()
    regions: list[list[tuple[float, float]]] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        seen.add(name)
        if name == "Region":
            regions.append([])
        elif name == "Vertex":
            regions[-1].append((float(attributes["X"]), float(attributes["Y"])))

    def refuse(*_: object) -> None:
        raise fault(path, "declares a document type or entities, which no annotation needs; "
                    "export it from ImageScope again")  # fmt: skip

    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
        outlines = [np.array(region, float).reshape(-1, 2) for region in regions]
    except (OSError, expat.ExpatError, ValueError, LookupError) as error:
        text = f"not a readable annotation ({reason(error)}); export it from ImageScope again"
        raise fault(path, text) from error
    if "Annotations" not in seen:
        raise fault(path, "no Aperio annotation in it; export it from ImageScope again")
    if not all(np.isfinite(outline).all() for outline in outlines):
        raise fault(path, "a corner of an outline is not finite; export it from ImageScope again")
    return outlines


def fill(numbers: NDArray[np.uint32], outline: NDArray[np.float64], number: int) -> None:
    """Write `number` to every pixel whose centre lies inside an outline, by the even-odd rule.

    Not ``cv2.fillPoly``, which draws the outline too and so adds half a pixel all around: the area
    of a nucleus 20 px wide would be a tenth too large.

    Parameters
    ----------
    numbers
        ``(row, column)``, changed in place. The centre of the first pixel is at x, y = 0.5, 0.5.
    outline
        ``(n, 2)`` corners x, y; the last is joined to the first.
    """
    height, width = numbers.shape
    x, y = outline.T
    top, bottom = np.clip((np.floor(y.min()), np.ceil(y.max())), 0, height).astype(int)
    left, right = np.clip((np.floor(x.min()), np.ceil(x.max())), 0, width).astype(int)
    centre = np.arange(top, bottom)[:, None] + 0.5
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    row, edge = np.nonzero((y <= centre) != (next_y <= centre))
    share = (centre[row, 0] - y[edge]) / (next_y[edge] - y[edge])
    crossing = x[edge] + share * (next_x[edge] - x[edge])
    # From the first centre at or right of a crossing on, inside and outside change places
    first = np.clip(np.ceil(crossing - 0.5) - left, 0, right - left).astype(int)
    changes = np.zeros((bottom - top, right - left + 1), np.int32)
    np.add.at(changes, (row, first), 1)
    inside = np.cumsum(changes, axis=1)[:, :-1] % 2 == 1
    numbers[top:bottom, left:right][inside] = number
