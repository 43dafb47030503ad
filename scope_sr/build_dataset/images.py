"""A dataset from high-magnification images alone: the low ones are made by a rig's optics.

The image is taken for the specimen itself, at the pixel size of the rig's high objective; what the
low objective makes of it (its PSF, its larger pixels, the noise of the camera) is computed on the
exact grid. The blur the image has already stays in it, so it is blurred twice; a higher aperture's
blur is small against a lower one's.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.allotting import settled
from scope_sr.build_dataset.draft import Draft, put
from scope_sr.build_dataset.files import Found, fit_names, images_in, name_of
from scope_sr.build_dataset.measuring import thumb
from scope_sr.build_dataset.parallel import Workers
from scope_sr.build_dataset.people import Whose
from scope_sr.build_dataset.pixels import picture
from scope_sr.build_dataset.setup import refuse_empty_magnification, usual_scale
from scope_sr.calibration import CalibrationRecord
from scope_sr.config import Rig
from scope_sr.dataset import Header, Pair, Source
from scope_sr.dataset.cells import CELL_PX, pack, shape_of
from scope_sr.dataset.fields import to_tiff
from scope_sr.errors import InputError
from scope_sr.imaging.shift import green
from scope_sr.software import this_version
from scope_sr.specimen.optics import View, transmit

Image = NDArray[np.uint8] | NDArray[np.uint16]

LEAST_PX = 32  # of a side of the low image
FULL_SCALE = 255
FULL_WELL_E, READ_NOISE_E = 10_000.0, 6.0  # of a usual camera, where none was measured


@dataclass(frozen=True)
class Optics:
    """What makes the low images: ``noise`` says where ``variance`` comes from.

    The variance of a grey level m of 8 bits is ``variance[0] m + variance[1]``.
    """

    rig: str
    low: str
    high: str
    scale: int
    high_um_per_px: float
    numerical_apertures: tuple[float, float]
    variance: tuple[float, float]
    noise: str

    def table(self) -> dict[str, Any]:
        """Give it as it stands in ``dataset.json``."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class ImageTask:
    """An image whose low counterpart is to be made."""

    name: str
    path: Path
    source: str
    optics: Optics
    out: Path
    whose: Whose


@dataclass(frozen=True, eq=False)
class _Mirrored:
    """A slide that shows the image, and beyond its edges its mirror image; not glass."""

    um_per_px: float
    image: NDArray[np.uint8]

    @property
    def size_px(self) -> tuple[int, int]:
        return self.image.shape[1], self.image.shape[0]

    def region(self, column: int, row: int, width: int, height: int) -> NDArray[np.uint8]:
        rows, columns = self.image.shape[:2]
        y = _folded(np.arange(row, row + height), rows)
        x = _folded(np.arange(column, column + width), columns)
        return np.asarray(self.image[y[:, None], x])

    def labels(self, column: int, row: int, width: int, height: int) -> NDArray[np.int32]:
        return np.zeros((height, width), np.int32)


def optics_of(rig: Rig, asked: int | None) -> Optics:
    """Take from a rig, and from its calibration record if there is one, what makes low images."""
    record = CalibrationRecord.of_rig(rig)
    scale = asked or usual_scale(record, rig.low, rig.high)
    lens = record.objectives[rig.high]
    low = _low_objective(rig, record, scale)
    ratio = _pixel_um(rig, record, low) / lens.pixel_size_um
    refuse_empty_magnification(f"rig {rig.name}", ratio, scale)
    variance, noise = _variance(rig, record)
    return Optics(
        rig=rig.name,
        low=low,
        high=rig.high,
        scale=scale,
        high_um_per_px=_rounded(lens.pixel_size_um),
        numerical_apertures=(
            rig.objectives[low].numerical_aperture,
            rig.objectives[rig.high].numerical_aperture,
        ),
        variance=(_rounded(variance[0]), _rounded(variance[1])),
        noise=noise,
    )


def _low_objective(rig: Rig, record: CalibrationRecord, scale: int) -> str:
    """Choose the objective whose pixels are nearest to `scale` times those of the high one."""
    pixel_um = record.objectives[rig.high].pixel_size_um * scale
    return min(
        rig.objectives, key=lambda name: abs(math.log(_pixel_um(rig, record, name) / pixel_um))
    )


def _pixel_um(rig: Rig, record: CalibrationRecord, objective: str) -> float:
    """Give the pixel size as measured, else as the rig says."""
    known = record.objectives.get(objective)
    return known.pixel_size_um if known else rig.pixel_size_um(objective)


def plan_images(folder: Path) -> Found:
    """Find the images of a folder."""
    found = images_in(folder)
    return Found(fit_names(list(found)), tuple((path,) for path in found.values()))


def build_from_images(
    found: Found,
    optics: Optics,
    whose: Mapping[str, Whose],
    draft: Draft,
    licence: str,
    pool: Workers,
    tell: Any,
) -> tuple[Header, tuple[Pair, ...]]:
    """Make the low image of each image, and write both."""
    source = name_of(found.files[0][0].parent)
    tasks = [
        ImageTask(name, path, source, optics, draft.folder, whose[name])
        for name, (path,) in zip(found.names, found.files, strict=True)
    ]
    pairs = []
    for number, pair in enumerate(pool.each(make_pair, tasks), start=1):
        pairs.append(pair)
        tell("making low images", number, len(tasks))
    digest = hashlib.sha256(
        "".join(str(pair.facts.get("original_sha256")) for pair in pairs).encode()
    )
    header = Header(
        kind="pairs",
        name=draft.folder.absolute().name,
        scale=optics.scale,
        low_um_per_px=optics.high_um_per_px * optics.scale,
        bits=8,
        color=True,
        cell_px=CELL_PX,
        simulated=True,
        level="image",
        groups={},
        areas={},
        sources=(Source(source, "images", digest.hexdigest(), licence, optics.table()),),
        software=this_version(),
    )
    return settled(draft.folder, header, pairs, draft.known.header if draft.known else None)


def make_pair(task: ImageTask) -> Pair:
    """Compute the low image of one image, and write both; what cannot be used is rejected."""
    pair = Pair(
        name=f"{task.source}/{task.name}",
        source=task.source,
        low="",
        slide=task.whose.slide,
        patient=task.whose.patient,
        facts={"file": task.path.name},
    )
    try:
        data = task.path.read_bytes()
        image = picture(task.path)
        high = _fitting(image, task)
    except (InputError, OSError) as error:
        return replace(pair, reasons=(f"unreadable: {error}",))
    if thumb(green(high).astype(np.float32)) is None:
        return replace(pair, reasons=("tissue: nothing to see in it but glass",))
    sha256 = hashlib.sha256(data).hexdigest()
    low = _low_of(high, task.optics, int(sha256[:15], 16))
    rows, columns = low.shape[:2]
    pixel_um = task.optics.high_um_per_px
    names, shas = [], []
    for side, one, um in (("low", low, pixel_um * task.optics.scale), ("high", high, pixel_um)):
        names.append(f"{side}/{task.source}/{task.name}.tif")
        shas.append(put(task.out, names[-1], to_tiff(one, um)))
    return replace(
        pair,
        low=names[0],
        high=names[1],
        low_sha256=shas[0],
        high_sha256=shas[1],
        box_px=(0, 0, columns, rows),
        cells=pack(np.ones(shape_of(columns, rows), bool)),
        facts={**pair.facts, "original_sha256": sha256},
    )


def _fitting(image: Image, task: ImageTask) -> NDArray[np.uint8]:
    """Cut an image to a multiple of the scale; grey and other bits are refused."""
    k = task.optics.scale
    if image.ndim != 3 or image.dtype != np.uint8:
        msg = f"{task.path.name}: not an RGB image of 8 bits; save it as one"
        raise InputError(msg)
    rows, columns = (n // k * k for n in image.shape[:2])
    if min(rows, columns) < LEAST_PX * k:
        msg = f"{task.path.name}: {image.shape[1]}x{image.shape[0]} px is too small at scale {k}"
        raise InputError(msg)
    return np.asarray(image[:rows, :columns])


def _low_of(high: NDArray[np.uint8], optics: Optics, seed: int) -> NDArray[np.uint8]:
    """Look at an image through the low objective, on pixels `scale` times as large."""
    k, um = optics.scale, optics.high_um_per_px
    rows, columns = (n // k for n in high.shape[:2])
    centre_um = ((high.shape[1] - 1) / 2 * um, -(high.shape[0] - 1) / 2 * um)
    matrix = k * um * np.array([[1.0, 0.0], [0.0, -1.0]])
    view = View(centre_um, matrix, (columns, rows), optics.numerical_apertures[0], 0.0)
    light = transmit(_Mirrored(um, high), view) * FULL_SCALE
    rng = np.random.default_rng(seed)
    slope, base = optics.variance
    noise = rng.standard_normal(light.shape, np.float32)
    noisy = light + noise * np.sqrt(np.maximum(slope * light + base, 0.0))
    return np.asarray(np.clip(np.rint(noisy), 0, FULL_SCALE), np.uint8)


def _variance(rig: Rig, record: CalibrationRecord) -> tuple[tuple[float, float], str]:
    """Give the noise in grey levels of 8 bits: as measured, else as usual cameras have it."""
    levels = FULL_SCALE / rig.camera.full_scale
    if record.camera is not None:
        green = len(record.camera.gain_e_per_dn) // 2
        slope = levels / record.camera.gain_e_per_dn[green]
        return (slope, record.camera.variance_dn2[green] * levels**2), "measured on the rig"
    per_e = FULL_SCALE / FULL_WELL_E
    said = f"{FULL_WELL_E:g} e full well, {READ_NOISE_E:g} e read noise"
    return (per_e, (READ_NOISE_E * per_e) ** 2), f"assumed: {said}; calibrate the rig to know it"


def _rounded(value: float) -> float:
    """Keep as many figures as the dataset keeps: a later run compares."""
    return float(f"{value:.9g}")


def _folded(index: NDArray[np.int_], size: int) -> NDArray[np.int_]:
    period = np.mod(index, 2 * size)
    return np.where(period < size, period, 2 * size - 1 - period)
