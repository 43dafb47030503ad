"""What the fields of a session have in common, and which of them do not fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.gates import EXPECTED_SHARPNESS, LEAST_BLOCKS
from scope_sr.build_dataset.measuring import GroupMeasured, Measured
from scope_sr.build_dataset.setup import Group, Setup, expected_px
from scope_sr.imaging.color import color_matrix
from scope_sr.imaging.registration import Registration, register
from scope_sr.imaging.robust import robust_lstsq
from scope_sr.imaging.session_model import SessionModel, fit_session, shift_of
from scope_sr.imaging.tissue import LEAST_GLASS
from scope_sr.light import Floats, green_of, opened, shading_of
from scope_sr.session import Session

ACQUAINTED = 4  # fields registered without believing the stage, before all others are looked for
SAMPLED = 16  # fields of which colours and sharpness are measured
LEAST_SAMPLES = 200  # of colour
MOST_SAMPLES = 60_000
CLIPPED = 0.97  # of full scale: nearer, a blurred level may hold clipped pixels
ALIKE_SHARPNESS = 0.03  # scatter, as a fraction, of fields in focus
LIKELY_SHARPNESS = 0.08  # by which lenses differ from their theory
SAME = 0.9  # correlation of thumbnails: the same place, taken twice


@dataclass(frozen=True, eq=False)
class Color:
    """How the grey levels of the high objective become those of the low one.

    ``matrix`` (channels, channels + 1), in grey levels of the camera; ``residual_dn`` is what it
    leaves, ``before_dn`` what the two differ by without; ``source`` says where it comes from.
    """

    matrix: NDArray[np.float64]
    residual_dn: float
    before_dn: float
    samples: int
    source: str


@dataclass(frozen=True, eq=False)
class Shared:
    """What all fields of a session share.

    Attributes
    ----------
    model
        The map.
    offset_px
        ``(2,)`` by how many low pixels all fields lie off what the stage foretold.
    color
        High to low.
    sharpness
        Usual in this session, held within what lenses in focus reach.
    glass_dn
        Level of clear glass in the low images, per channel.
    glass_known
        Whether it was calibrated, with the shading.
    """

    model: SessionModel
    offset_px: NDArray[np.float64]
    color: Color
    sharpness: float
    glass_dn: NDArray[np.float64]
    glass_known: bool


def pick_acquaintances(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """Choose a few (low, high) fields, spread over the session."""
    pairs = [(group.low, high) for group in groups for high in group.highs]
    step = max(1, len(pairs) // ACQUAINTED)
    return pairs[step // 2 :: step][:ACQUAINTED]


def pick_samples(groups: Sequence[Group]) -> frozenset[str]:
    """Choose the high fields, spread over the session, that tell its colours and its sharpness."""
    names = [high for group in groups for high in group.highs]
    every = max(1, -(-len(names) // SAMPLED))
    return frozenset(names[::every])


def acquaint(task: tuple[Setup, str, str]) -> tuple[Registration, NDArray[np.float64]] | None:
    """Register one field wherever it lies in its low one; gives also where it was expected."""
    setup, low_name, high_name = task
    session = opened(setup.folder)
    low, high = (
        green_of(session.read(name), shading_of(setup.folder, objective), setup.full_scale)
        for name, objective in ((low_name, setup.low), (high_name, setup.high))
    )
    found = register(_halved(low), _halved(high), setup.model.linear, setup.model.low.distortion)
    if found is None:
        return None
    found = replace(found, centre_px=2 * found.centre_px)
    return found, expected_px(session, setup.model, high_name)


def _halved(plane: Floats) -> Floats:
    """Half the size will do to begin with, and is found four times as fast."""
    rows, columns = plane.shape
    size = columns // 2, rows // 2
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)


def begin_with(
    setup: Setup, found: Iterable[tuple[Registration, NDArray[np.float64]] | None]
) -> tuple[SessionModel, NDArray[np.float64]]:
    """Correct the calibration's word by what the first few fields show; the median decides."""
    known = [pair for pair in found if pair is not None]
    if not known:
        return setup.model, np.zeros(2)
    linear = np.median([registration.linear for registration, _ in known], axis=0)
    away = np.median(
        [registration.centre_px - expected for registration, expected in known], axis=0
    )
    return replace(setup.model, linear=linear), np.asarray(away)


def pool(
    setup: Setup, session: Session, start: SessionModel, groups: Sequence[GroupMeasured]
) -> Shared:
    """Fit what all fields share to what the first reading measured."""
    fields = [field for group in groups for field in group.highs]
    model = fit_session([field.matches for field in fields], start)
    good = [field for field in fields if len(field.matches) >= LEAST_BLOCKS]
    away = [shift_of(model, field.matches)[0] - field.expected_px for field in good]
    record = session.record
    known = record.objectives[setup.low].glass_dn
    bright = np.array([group.bright for group in groups])
    seen = np.maximum(bright.max(axis=0), LEAST_GLASS * setup.full_scale)
    usual = usual_sharpness(np.array([field.sharpness for field in good]))
    return Shared(
        model=model,
        offset_px=np.asarray(np.median(away, axis=0)) if away else np.zeros(2),
        color=_color(setup, session, good),
        sharpness=float(np.clip(usual, *EXPECTED_SHARPNESS)),
        glass_dn=np.array(known) if known else seen,
        glass_known=bool(known) and record.objectives[setup.low].flat is not None,
    )


def usual_sharpness(values: NDArray[np.float64]) -> float:
    """Give the sharpness most fields share; where two groups compete, the one nearer to 1.

    A low field out of focus takes all its high fields with it, up to half of a small session, and
    the median would stand between the two.
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return 1.0
    off = np.log(np.maximum(values, 1e-3))
    near = np.exp(-(((off[:, None] - off) / ALIKE_SHARPNESS) ** 2) / 2)
    score = near.sum(axis=1) * np.exp(-((off / LIKELY_SHARPNESS) ** 2) / 2)
    best = values[np.abs(off - off[np.argmax(score)]) < 2 * ALIKE_SHARPNESS]
    return float(np.median(best))


def duplicates(entries: Sequence[tuple[str, float, Floats | None]]) -> dict[str, str]:
    """Find fields that show what an earlier one of their objective shows: the stage did not move.

    Parameters
    ----------
    entries
        (name, time, thumbnail) of each field.

    Returns
    -------
    dict
        The later field and the earlier one it repeats.
    """
    known = sorted((time, name, thumb) for name, time, thumb in entries if thumb is not None)
    if len(known) < 2:
        return {}
    thumbs = np.stack([thumb.ravel() for _, _, thumb in known])
    found = {}
    for later in range(1, len(known)):
        alike = thumbs[:later] @ thumbs[later]
        first = int(np.argmax(alike))
        if alike[first] > SAME:
            found[known[later][1]] = known[first][1]
    return found


def _color(setup: Setup, session: Session, fields: Sequence[Measured]) -> Color:
    low = np.concatenate([field.colors_low for field in fields]) if fields else np.empty((0, 1))
    high = np.concatenate([field.colors_high for field in fields]) if fields else np.empty((0, 1))
    top = CLIPPED * setup.full_scale
    keep = (low.max(axis=1, initial=0) < top) & (high.max(axis=1, initial=0) < top)
    every = max(1, int(keep.sum()) // MOST_SAMPLES)
    low, high = low[keep][::every], high[keep][::every]
    before = float(np.sqrt(np.square(low - high).mean())) if len(low) else float("nan")
    if len(low) >= LEAST_SAMPLES:
        try:
            return Color(*_fitted(low, high), before, len(low), "fitted to registered pixels")
        except ValueError:
            pass  # too few colours, as on a session of pale tissue: the calibration knows better
    return _calibrated_color(setup, session, before, len(low))


def _fitted(low: Floats, high: Floats) -> tuple[NDArray[np.float64], float]:
    if low.shape[1] == 3:
        return color_matrix(low, high)
    fit = robust_lstsq(np.column_stack([high, np.ones(len(high))]), low[:, 0])
    return fit.solution[None], fit.sigma


def _calibrated_color(setup: Setup, session: Session, before_dn: float, samples: int) -> Color:
    """Turn the record's matrix round, else match the level of glass, else leave all as it is."""
    record = session.record
    channels = 3 if session.rig.camera.color else 1
    for pair in record.pairs:
        if (pair.low, pair.high) == (setup.low, setup.high):
            forth = np.array(pair.color_matrix)
            back = np.linalg.inv(forth[:, :-1])
            matrix = np.column_stack([back, -back @ forth[:, -1]])
            return Color(matrix, pair.residual_dn, before_dn, samples, "calibration record")
    glass = [record.objectives[name].glass_dn for name in (setup.low, setup.high)]
    if all(glass):
        gains = np.array(glass[0]) / np.array(glass[1])
        matrix = np.column_stack([np.diag(gains), np.zeros(channels)])
        return Color(matrix, float("nan"), before_dn, samples, "level of glass")
    matrix = np.column_stack([np.eye(channels), np.zeros(channels)])
    return Color(matrix, float("nan"), before_dn, samples, "none: too little tissue to fit one")
