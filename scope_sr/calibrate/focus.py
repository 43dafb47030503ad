"""Section ``focus``: how well the autofocus repeats, and how the stage is tilted."""

from __future__ import annotations

import math

import numpy as np

from scope_sr.calibrate import pictures
from scope_sr.calibrate.bench import Bench, CalibrationError
from scope_sr.calibration import FocusCalibration
from scope_sr.imaging.focus_surface import fit_surface

POINTS = 9
SPREAD = 1.2  # fields between points
REPEATS = 4
TILT_LIMIT_UM_PER_MM = 5.0


def measure_focus(bench: Bench) -> None:
    """Focus on points of tissue with the reference objective, one of them several times."""
    places = bench.tissue_places(POINTS, SPREAD)
    bench.tell(f"focus: {len(places)} points of tissue, and {REPEATS} repeats")
    points, stack = [], None
    for at_um in places:
        found = bench.focus(bench.reference, at_um)
        if found.accepted:
            points.append((at_um[0], at_um[1], found.position.z_um))
            stack = stack or found
    if len(points) < 4 or stack is None:
        msg = f"only {len(points)} of {len(places)} points could be focused; begin on denser tissue"
        raise CalibrationError(msg)
    repeats = [bench.focus(bench.reference, places[0]) for _ in range(REPEATS)]
    again_um = [found.position.z_um for found in repeats if found.accepted]
    if len(again_um) < REPEATS // 2 + 1:
        msg = (
            f"autofocus found only {len(again_um)} of {REPEATS} times what it had found at the same"
            f" place ({next(found.why for found in repeats if found.why)}); begin on denser tissue"
        )
        raise CalibrationError(msg)
    scatter_um = float(np.std(again_um, ddof=1))
    table = np.array(points)
    surface = fit_surface(table[:, :2], table[:, 2])
    tilt = surface.tilt_um_per_mm
    spread_mm = float(np.std(table[:, :2], axis=0).mean()) / 1000
    error = max(surface.sigma_um or 0.0, 1e-3) / (math.sqrt(len(points)) * max(spread_mm, 1e-6))
    picture = bench.folder / "focus.png"
    pictures.focus(picture, bench.reference, stack.planes, stack.position.z_um, table, surface)
    bench.record = bench.record.model_copy(
        update={
            "focus": FocusCalibration(
                objective=bench.reference,
                points_um=tuple(points),
                tilt_um_per_mm=tilt,
                tilt_sigma_um_per_mm=(error, error),
                repeatability_um=scatter_um,
            )
        }
    )
    limit_um = bench.depth_um(bench.reference) / 5
    bench.note(
        f"{bench.reference} autofocus repeats to", scatter_um,
        "µm", f"a fifth of the depth of field, {limit_um:.2g} µm",
        "ok" if scatter_um <= limit_um else "warn", picture=picture.name,
        advice="the focus drive scatters or drifts: raise z_approach_um, let the stand warm up",
    )  # fmt: skip
    steepest = math.hypot(*tilt)
    bench.note(
        "tilt of the slide in x and y", tilt, "µm per mm", f"{TILT_LIMIT_UM_PER_MM:g} µm per mm",
        "ok" if steepest <= TILT_LIMIT_UM_PER_MM else "warn", sigma=(error, error),
        picture=picture.name,
        advice="the slide does not lie flat in its holder; use --focus map for captures",
    )  # fmt: skip
