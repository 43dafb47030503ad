"""Nuclei counted and measured by `scope-sr enhance`, beside those that people marked.

    python benchmarks/nuclei.py [GENERATOR]

The images of the package's tissue whose patients (02, 06, 07) no model of the package learnt from
are made low through the optics of the simulated microscope, enhanced, and their nuclei counted: the
whole command, on low images. The same is done with the marks themselves, through the same
measurements, so that only what the networks find differs.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from scope_sr.config import load_rig
from scope_sr.degradation import low_of, optics_of
from scope_sr.engine import card_of
from scope_sr.enhance import Asked, enhance
from scope_sr.enhance.measure import measured
from scope_sr.specimen.tissue_array import read_pieces

PATIENTS = ("02", "06", "07")
QUANTITIES = ("area_um2", "eccentricity", "solidity", "haematoxylin_od")


def main() -> None:
    generator = sys.argv[1] if len(sys.argv) > 1 else "compact-x2"
    card = card_of(generator)
    optics = optics_of(load_rig("simulated"), card.scale)
    folder = Path(tempfile.mkdtemp())
    pieces = [piece for patient in PATIENTS for piece in read_pieces(patient)]
    paths = [folder / f"image-{number}.tif" for number in range(len(pieces))]
    for number, (piece, path) in enumerate(zip(pieces, paths, strict=True)):
        tifffile.imwrite(path, low_of(piece.image, optics, number), photometric="rgb")
    pixel_um = card.um_per_px_in
    asked = Asked(tuple(paths), generator, folder / "out", nuclei="nuclei", um_per_px=pixel_um)
    enhance(asked)
    marked, found = [], []
    print("| image | marked | found | ratio |\n|---|---|---|---|")
    for piece, path in zip(pieces, paths, strict=True):
        marked.append(of_marks(piece.labels, piece.image, float(card.um_per_px_out or 0)))
        found.append(of_table(folder / "out" / f"{path.stem}.nuclei.csv"))
        said(path.stem, marked[-1], found[-1])
    every, ours = np.concatenate(marked), np.concatenate(found)
    said("all", every, ours)
    print("\n| | 10 % | 25 % | median | 75 % | 90 % |\n|---|---|---|---|---|---|")
    for column, name in enumerate(QUANTITIES):
        for who, table in (("marked", every), ("found", ours)):
            values = np.percentile(table[:, column], [10, 25, 50, 75, 90])
            print(f"| {name}, {who} | " + " | ".join(f"{value:.3g}" for value in values) + " |")


def said(name: str, marked: NDArray, found: NDArray) -> None:
    print(f"| {name} | {len(marked)} | {len(found)} | {len(found) / len(marked):.2f} |")


def of_marks(labels: NDArray, image: NDArray[np.uint8], um_per_px: float) -> NDArray[np.float64]:
    numbers = np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)
    found = measured(numbers, image, um_per_px)
    return np.array([[getattr(one, name) for name in QUANTITIES] for one, _ in found])


def of_table(path: Path) -> NDArray[np.float64]:
    with path.open(newline="") as file:
        return np.array([[float(row[name]) for name in QUANTITIES] for row in csv.DictReader(file)])


if __name__ == "__main__":
    main()
