"""Which way the stage has to go for the view to go right or down; without Qt."""

from __future__ import annotations

import math

import numpy as np

from scope_sr.calibration.record import CalibrationRecord
from scope_sr.live.seen import Seen


def along_the_picture(
    record: CalibrationRecord | None, objective: str, right_um: float, down_um: float
) -> tuple[float, float]:
    """Give the move of the stage, in µm, that shows what lies that far right and down of here.

    The calibration's axes are taken, without their scale: a step of the stage is a step whatever
    the objective. Where nothing is known, the picture's right is +x and its up is +y.

    Examples
    --------
    >>> along_the_picture(None, "10x", 5.0, 0.0)
    (5.0, 0.0)
    >>> from scope_sr.config import load_rig
    >>> record = CalibrationRecord.nominal(load_rig("simulated"))
    >>> along_the_picture(record, "10x", 0.0, 5.0)
    (0.0, -5.0)
    """
    lens = record.objectives.get(objective) if record else None
    if lens is None:
        return right_um, 0.0 - down_um
    x_um, y_um = lens.affine @ np.array([right_um, down_um]) / lens.pixel_size_um
    return _rounded(x_um), _rounded(y_um)


def with_the_picture(
    record: CalibrationRecord | None, objective: str, rows: float, columns: float
) -> tuple[float, float] | None:
    """Give the move of the stage, in µm, that takes the picture along by so many pixels.

    None where the size of a pixel is not known.
    """
    lens = record.objectives.get(objective) if record else None
    if lens is None:
        return None
    x_um, y_um = lens.affine @ np.array([-columns, -rows])
    return _rounded(x_um), _rounded(y_um)


def offset_px(
    record: CalibrationRecord | None, before: Seen, now: Seen
) -> tuple[float, float] | None:
    """Give the columns and rows by which an older frame lies off in a newer one.

    None where they were taken with different objectives, or nobody knows how large pixels are.
    """
    objective = now.frame.objective
    lens = record.objectives.get(objective) if record else None
    if lens is None or before.frame.objective != objective:
        return None
    old, new = before.frame.position, now.frame.position
    columns, rows = np.linalg.solve(lens.affine, [old.x_um - new.x_um, old.y_um - new.y_um])
    return float(columns), float(rows)


def _rounded(length_um: float) -> float:
    """Drop what is smaller than any stage: 1e-17 of a rotation by 90 degrees."""
    return round(float(length_um), 4) + 0.0 if math.isfinite(length_um) else 0.0
