"""The tissue that comes with the package, laid out as a user's own images would be."""

from __future__ import annotations

import csv
import io
from importlib.resources import files
from pathlib import Path

import tifffile
from PIL import Image

from scope_sr import disk
from scope_sr.dataset.index import Split

LICENCE = "CC BY 4.0, P. Naylor et al., IEEE TMI 38 (2019)"
# As the models of the package were trained: who is not named here they learnt from
SPLITS: dict[str, Split] = {"02": "test", "05": "val", "06": "test", "07": "test"}


def write_tissue(folder: Path) -> tuple[Path, Path]:
    """Write 33 images of seven patients as PNG, and the table that splits them.

    Returns
    -------
    images, patients
        The folder of the images, and the CSV.
    """
    images = folder / "images"
    disk.make_folders([folder, images])
    rows = [("name", "patient", "split")]
    source = files("scope_sr") / "specimen" / "data" / "tnbc_images.tif"
    with source.open("rb") as stream, tifffile.TiffFile(stream) as tiff:
        for page in tiff.pages:
            name = str(page.aspage().description)
            patient = name[:2]
            data = io.BytesIO()
            Image.fromarray(page.asarray()).save(data, format="png")
            disk.store(images / f"{name}.png", data.getvalue())
            rows.append((name, f"TNBC-{patient}", SPLITS.get(patient, "train")))
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    disk.store(folder / "patients.csv", table.getvalue().encode())
    return images, folder / "patients.csv"
