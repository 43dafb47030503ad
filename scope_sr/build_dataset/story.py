"""What the report tells of a session: what its fields share, and how far each part is off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.measuring import GroupMeasured, Measured
from scope_sr.build_dataset.pooling import Shared
from scope_sr.build_dataset.setup import Setup, Visit
from scope_sr.dataset import Pair, Source
from scope_sr.imaging.session_model import SessionModel, shift_of

ARROW_BINS = 9
COLORS_SHOWN = 300


@dataclass(frozen=True, eq=False)
class Story:
    """What the report shows of a session.

    Attributes
    ----------
    arrows
        ``(n, 4)`` place in the high image (x, y) and mean misfit (dx, dy) of the blocks there, in
        original high pixels.
    misfits_px
        Length of every block's misfit, in high pixels of the dataset.
    colors_low, colors_high
        A few hundred samples of the same points, grey levels of 8 bits, before matching.
    """

    source: Source
    pairs: tuple[Pair, ...]
    arrows: NDArray[np.float64]
    misfits_px: NDArray[np.float64]
    colors_low: NDArray[np.float32]
    colors_high: NDArray[np.float32]


def story_of(
    visit: Visit,
    setup: Setup,
    shared: Shared,
    measured: Sequence[GroupMeasured],
    pairs: tuple[Pair, ...],
) -> Story:
    """Tell of a session that was built: only fields that were kept count."""
    kept = {str(pair.facts["high_step"]) for pair in pairs if pair.accepted}
    fields = [field for group in measured for field in group.highs if field.name in kept]
    places, misfits = _misfits(shared.model, fields)
    colors = [
        np.concatenate([getattr(field, side) for field in fields]) if fields else np.empty((0, 3))
        for side in ("colors_low", "colors_high")
    ]
    every = max(1, len(colors[0]) // COLORS_SHOWN)
    levels = np.float32(255 / setup.full_scale)
    low_px_in_high = setup.ratio
    return Story(
        source=_source(visit, setup, shared, misfits),
        pairs=pairs,
        arrows=_arrows(places, misfits * low_px_in_high, shared.model.high.radius_px),
        misfits_px=np.hypot(*misfits.T) * setup.scale,
        colors_low=np.asarray(colors[0][::every] * levels),
        colors_high=np.asarray(colors[1][::every] * levels),
    )


def _misfits(
    model: SessionModel, fields: Sequence[Measured]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give where blocks lie in the high image, and what the map leaves of them in low pixels."""
    places = [field.matches.high_px for field in fields]
    misfits = [shift_of(model, field.matches)[1] for field in fields]
    none = np.empty((0, 2))
    return np.concatenate([none, *places]), np.concatenate([none, *misfits])


def _arrows(
    places: NDArray[np.float64], misfits: NDArray[np.float64], radius_px: float
) -> NDArray[np.float64]:
    """Average misfits over a lattice of places."""
    if not len(places):
        return np.empty((0, 4))
    cells = np.floor((places / radius_px + 1) / 2 * ARROW_BINS).astype(int)
    number = cells[:, 0] * ARROW_BINS + cells[:, 1]
    rows = []
    for one in np.unique(number):
        own = number == one
        if own.sum() >= 3:
            rows.append([*places[own].mean(axis=0), *np.median(misfits[own], axis=0)])
    return np.array(rows).reshape(-1, 4)


def _source(visit: Visit, setup: Setup, shared: Shared, misfits: NDArray[np.float64]) -> Source:
    session, rig = visit.session, visit.session.rig
    model, color = shared.model, shared.color
    facts: dict[str, Any] = {
        "id": session.header.id,
        "begun": session.header.created,
        "rig": rig.name,
        "calibration": session.header.record or "nominal values of the rig",
        "low": setup.low,
        "high": setup.high,
        "numerical_apertures": [
            rig.objectives[name].numerical_aperture for name in (setup.low, setup.high)
        ],
        "low_um_per_px": setup.low_um_per_px,
        "high_um_per_px": setup.high_um_per_px,
        "linear": model.linear.tolist(),
        "low_distortion": model.low.distortion,
        "high_distortion": model.high.distortion,
        "low_bend_px": model.low_bend.tolist(),
        "high_bend_px": model.high_bend.tolist(),
        "radius_px": model.low.radius_px,
        "block_residual_px": model.residual_px,
        "blocks": model.blocks,
        "offset_um": (shared.offset_px * setup.low_um_per_px).tolist(),
        "sharpness": shared.sharpness,
        "color_matrix": color.matrix.tolist(),
        "color_residual_dn": _finite(color.residual_dn),
        "color_before_dn": _finite(color.before_dn),
        "color_source": color.source,
        "patient": visit.whose.patient,
        "slide": visit.whose.slide,
    }
    return Source(visit.name, "session", visit.digest, facts=facts)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
