"""Calibration records as `calibrate` would write them, made from a rig's own truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from scope_sr.calibration import CalibrationRecord, Fingerprint, StageCalibration, Times
from scope_sr.config import Rig
from scope_sr.microscope import open_microscope

BLANKS = 16


def true_times(rig: Rig) -> Times:
    stage = rig.simulation.stage
    return Times(
        settle_s=stage.settle_ms / 1000,
        speed_um_per_s=stage.speed_um_per_s,
        acceleration_um_per_s2=stage.acceleration_um_per_s2,
        z_settle_s=stage.settle_ms / 1000,
        z_speed_um_per_s=stage.z_speed_um_per_s,
        snap_s=rig.camera.readout_ms / 1000,
        turn_s=rig.simulation.nosepiece.turn_s,
    )


def measured(rig: Rig, folder: Path, *, blank: Rig | None = None, **exposures_ms: float) -> Path:
    """Save the record of a rig: true offsets, times and fingerprint; flats from a blank slide.

    `exposures_ms` has keys like ``x20``: names cannot begin with a figure.
    """
    nominal, truth = CalibrationRecord.nominal(rig), rig.simulation
    with open_microscope(rig) as microscope:
        fingerprint = Fingerprint.of(rig, microscope.camera().name)
    lenses = {}
    for name, lens in nominal.objectives.items():
        true = truth.objectives[name]
        parts = {
            "parcentric_um": true.parcentric_um,
            "parfocal_um": true.parfocal_um,
            "exposure_ms": exposures_ms.get(f"x{name[:-1]}", rig.objectives[name].exposure_ms),
        }
        if blank is not None and name == rig.low:
            parts |= _shading(blank, folder, name)
        lenses[name] = lens.model_copy(update=parts)
    stage = StageCalibration(
        backlash_um=truth.stage.backlash_um,
        backlash_sigma_um=(0.1, 0.1),
        repeatability_um=truth.stage.repeatability_um,
        still_after_s=0.05,
        times=true_times(rig),
    )
    record = nominal.model_copy(
        update={
            "measured": True,
            "objectives": lenses,
            "stage": stage,
            "fingerprint": fingerprint,
            "folder": folder,
            "reference": rig.low,
        }
    )
    record.save(folder)
    return folder


def _shading(blank: Rig, folder: Path, name: str) -> dict[str, object]:
    folder.mkdir(parents=True, exist_ok=True)
    dark_dn = blank.simulation.camera.dark_dn
    with open_microscope(blank) as microscope:
        mean = np.mean([microscope.snap().image for _ in range(BLANKS)], axis=0) - dark_dn
    glass = mean.mean(axis=(0, 1))
    dark = np.full_like(mean, dark_dn, np.float32)
    for kind, field in (("flat", (mean / glass).astype(np.float32)), ("dark", dark)):
        tifffile.imwrite(folder / f"{kind}-{name}.tif", field, photometric="rgb")
    return {
        "glass_dn": tuple(glass.tolist()),
        "flat": f"flat-{name}.tif",
        "dark": f"dark-{name}.tif",
    }
