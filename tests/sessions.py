"""Small sessions for tests: two fields or so of 32 px, their pixels known from the step's name."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from rigs import make_rig

from scope_sr.calibration import CalibrationRecord
from scope_sr.config import Rig
from scope_sr.frame import Frame, Position
from scope_sr.plan import Plan, Step, plan_pairs
from scope_sr.session import Session


def small_rig(**changes: str) -> Rig:
    size = {"width_px = 1024": "width_px = 32", "height_px = 1024": "height_px = 32"}
    return make_rig(Path("configs"), **{**size, **changes})


def small_plan(rig: Rig, rows: int = 1, columns: int = 1, **options: str) -> Plan:
    record = CalibrationRecord.nominal(rig)
    options = {"coverage": "center", **options}
    return plan_pairs(
        rig, record, rows=rows, columns=columns, origin=Position(10, 20, 3), **options
    )


def picture(step: Step, rig: Rig) -> np.ndarray:
    camera = rig.camera
    shape = (camera.height_px, camera.width_px, 3)[: 3 if camera.color else 2]
    rng = np.random.default_rng(zlib.crc32(step.name.encode()))
    dtype = np.uint8 if camera.bits == 8 else np.uint16
    return rng.integers(0, camera.full_scale, shape, dtype, endpoint=True)


def frame_of(step: Step, rig: Rig) -> Frame:
    where = Position(step.position.x_um + 0.25, step.position.y_um - 0.5, step.position.z_um)
    return Frame(picture(step, rig), where, step.objective, step.exposure_ms, 1.8e9, 1)


def fill(session: Session) -> list[str]:
    """Capture what remains; return the names of the steps."""
    steps = session.remaining()
    for step in steps:
        session.write(step, frame_of(step, session.rig))
    return [step.name for step in steps]


def filled(folder: Path, rig: Rig | None = None, **grid: int) -> Path:
    rig = rig or small_rig()
    with Session.create(folder, small_plan(rig, **grid), rig) as session:
        fill(session)
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
