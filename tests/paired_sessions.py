"""Sessions of paired fields whose truth is known, captured as a user would after calibrating."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tifffile
from benches import quick_light
from hidden_rigs import hidden_rig
from numpy.typing import NDArray
from records import measured

from scope_sr.calibration import CalibrationRecord
from scope_sr.config import Rig, parse_rig
from scope_sr.frame import Frame, Position
from scope_sr.imaging.affine import bent, radius_px, straightened
from scope_sr.microscope import GuardedMicroscope, open_microscope
from scope_sr.plan import Step, plan_pairs
from scope_sr.session import Session

GLASS_UM = (5000.0, 4000.0)
FOUR_TIMES = {
    "pixel_um = 5.0": "pixel_um = 10.0",
    "magnification = 20.0": "magnification = 40.0",
}


def awkward_rig(seed: int, size_px: int = 512, scale: int = 2, **changes: str) -> Rig:
    """Draw a rig with every fault; at scale 4 the pixels of the 10x are twice as large."""
    rig = hidden_rig(seed, size_px, **{**(FOUR_TIMES if scale == 4 else {}), **changes})
    if scale == 2:
        return rig
    head, low = rig.text.split("[simulation.objectives.10x]")
    true_um = rig.simulation.objectives["10x"].pixel_size_um
    assert f"pixel_size_um = {true_um}" in low
    low = low.replace(f"pixel_size_um = {true_um}", f"pixel_size_um = {2 * true_um:.5f}", 1)
    text = f"{head}[simulation.objectives.10x]{low}"
    return parse_rig(text, source=rig.source, folder=rig.folder)


@dataclass(frozen=True)
class Slip:
    """What goes wrong with one field: µm off where it was sent, out of focus, or not moved."""

    off_um: tuple[float, float] = (0.0, 0.0)
    defocus_um: float = 0.0
    stuck: bool = False


def session_of(
    folder: Path,
    rig: Rig,
    *,
    rows: int = 2,
    columns: int = 2,
    origin: Position | None = None,
    slips: Mapping[str, Slip] | None = None,
    tissue_only: bool = False,
) -> Session:
    """Capture a session with a record as good as a calibration makes it; `slips` by step names.

    The journal says what the stage said, which knows nothing of slips.
    """
    record = calibrated(rig, folder / "record")
    slips = slips or {}
    with quick_light(), open_microscope(rig, log_folder=folder / "session") as microscope:
        centre = origin or Position(0.0, 0.0, 0.0)
        plan = plan_pairs(
            rig, record, rows=rows, columns=columns, origin=centre, tissue_only=tissue_only
        )
        with Session.create(folder / "session", plan, rig, record) as session:
            for step in plan.steps:
                if microscope.objective() != step.objective:
                    microscope.select_objective(step.objective)
                microscope.set_exposure(step.exposure_ms)
                frame = _taken(microscope, step, slips.get(step.name, Slip()))
                session.write(step, frame)
    return Session.open(folder / "session")


def _taken(microscope: GuardedMicroscope, step: Step, slip: Slip) -> Frame:
    at = step.position
    if not slip.stuck:
        off_x, off_y = slip.off_um
        there = Position(at.x_um + off_x, at.y_um + off_y, at.z_um + slip.defocus_um)
        microscope.move_to(there)
    return replace(microscope.snap(), position=at)


def calibrated(rig: Rig, folder: Path) -> CalibrationRecord:
    """Write the record of a rig: its truth, off by what a calibration is off by."""
    rng = np.random.default_rng(rig.simulation.seed + 7)
    exposures_ms = {f"x{name[:-1]}": _exposure_ms(rig, name) for name in (rig.low, rig.high)}
    record = CalibrationRecord.load(measured(rig, folder, **exposures_ms))
    lenses = dict(record.objectives)
    for name in (rig.low, rig.high):
        true = rig.simulation.objectives[name]
        angle = math.radians(rig.simulation.camera.rotation_deg) + rng.normal(0, 2e-4)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        nominal = lenses[name]
        axes = nominal.affine / nominal.pixel_size_um
        matrix = turn @ axes * (true.pixel_size_um or 0.5) * (1 + rng.normal(0, 2e-4))
        away = rng.normal(0, 0.3, 2) if name != rig.low else np.zeros(2)
        lenses[name] = nominal.model_copy(
            update={
                "affine_um_per_px": tuple(map(tuple, matrix.tolist())),
                "distortion": true.distortion + float(rng.normal(0, 1e-4)),
                "distortion_sigma": 1e-4,
                "parcentric_um": tuple((np.array(true.parcentric_um) + away).tolist()),
                "lateral_chromatic": true.lateral_chromatic,
                **_flat(rig, folder, name),
            }
        )
    record = record.model_copy(update={"objectives": lenses})
    record.save(folder)
    return CalibrationRecord.load(folder)


def _exposure_ms(rig: Rig, name: str) -> float:
    """Give the exposure that puts glass at 86 % of full scale in the brightest channel."""
    lens = rig.simulation.objectives[name]
    return 0.86 * rig.simulation.camera.full_well_e / lens.light_e_per_ms / max(lens.color_gain)


def _flat(rig: Rig, folder: Path, name: str) -> dict[str, object]:
    dark_dn = rig.simulation.camera.dark_dn
    frames = []
    with quick_light(), open_microscope(rig) as microscope:
        microscope.select_objective(name)
        microscope.set_exposure(_exposure_ms(rig, name))
        for i in range(16):
            microscope.move_to(Position(GLASS_UM[0] + 3 * i, GLASS_UM[1], 0.0))
            frames.append(microscope.snap().image.astype(np.float32))
    mean = np.mean(frames, axis=0) - dark_dn
    glass = mean.mean(axis=(0, 1))
    tifffile.imwrite(
        folder / f"flat-{name}.tif", (mean / glass).astype(np.float32), photometric="rgb"
    )
    tifffile.imwrite(folder / f"dark-{name}.tif", np.full_like(mean, dark_dn), photometric="rgb")
    return {
        "glass_dn": tuple(map(float, glass)),
        "flat": f"flat-{name}.tif",
        "dark": f"dark-{name}.tif",
    }


@dataclass(frozen=True)
class TrueField:
    """What a field of the simulator really shows."""

    centre_um: NDArray[np.float64]
    matrix: NDArray[np.float64]
    distortion: float
    size_px: tuple[int, int]

    def seen_um(self, offsets_px: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = bent(offsets_px, self.distortion, radius_px(self.size_px))
        return np.asarray(flat @ self.matrix.T + self.centre_um)

    def offsets_px(self, seen_um: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = (seen_um - self.centre_um) @ np.linalg.inv(self.matrix).T
        return straightened(flat, self.distortion, radius_px(self.size_px))


def truth_of(session: Session) -> dict[str, TrueField]:
    """Read the simulator's log, one line per field in the order they were taken."""
    lines = (session.folder / "truth.jsonl").read_text().splitlines()
    by_time = {json.loads(line)["time"]: json.loads(line) for line in lines}
    camera = session.rig.camera
    found = {}
    for name, entry in session.entries.items():
        line = by_time.get(entry.time)
        if line is not None:
            found[name] = TrueField(
                np.array(line["centre_um"]),
                np.array(line["matrix_um_per_px"]),
                line["distortion"],
                (camera.width_px, camera.height_px),
            )
    return found
