"""The low fields of a capture session laid out as one picture, in the camera's own orientation.

Fields are not turned, bent or resampled: a network is to see the camera's noise as it was trained
on. So the distortion of the lens stays. A link is the mean along a seam, which leaves 0.105 k W px
(RMS, per axis) of a distortion k over a field W px wide: 0.16 px at 1024 and 0.33 px at 2048 px for
k = 0.0015, computed and measured on the simulator. `Seams.seam_px` says what it is of a session.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scope_sr.calibration import ObjectiveCalibration
from scope_sr.errors import InputError, SessionError
from scope_sr.imaging.stitching import Link, Places, link, neighbours, placed
from scope_sr.light import corrected, shading_of, stored
from scope_sr.pictures.files import rgb8
from scope_sr.session import Session, resume_command

Tell = Callable[[str, int, int], None]

REACH_UM = 12.0  # of the search: stage and calibration are off by less
STAGE_SIGMA_UM = 1.0  # of a stage that was not measured
LEAST_SIGMA_PX = 0.1  # of a stage said to be perfect
MAP_SIGMA, NOMINAL_MAP_SIGMA = 0.002, 0.02  # of scale and turn, the lens' distortion included
MOST_SEAM_PX = 0.5
MANY = 4  # names in a line


@dataclass(frozen=True)
class Seams:
    """How well the fields of a mosaic fit together.

    Attributes
    ----------
    pairs
        Fields that overlap along a side,
    linked
        those of them that are held by what the overlap shows,
    silent
        whose overlap shows too little,
    wrong
        and whose overlap contradicts all others.
    residual_px
        RMS of what links and layout disagree by, per axis; 0 without a link.
    seam_px
        RMS of what two fields are off along their seams, per axis, as far as tissue shows it;
        distortion of the lens is in it.
    by_stage
        Names of the fields that stand where the stage says, and nothing else.
    """

    pairs: int
    linked: int
    silent: int
    wrong: int
    residual_px: float
    seam_px: float
    by_stage: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Where the low fields of a session lie.

    Attributes
    ----------
    names
        Of the fields' steps.
    corners_px
        ``(n, 2)`` x and y of their upper left pixels, from that of the mosaic.
    field_px
        Rows and columns of a field.
    um_per_px
        As measured.
    seams
        For a summary.
    warnings
        What is missing or not as it should be, a line each.
    """

    names: tuple[str, ...]
    corners_px: NDArray[np.float64]
    field_px: tuple[int, int]
    um_per_px: float
    seams: Seams
    warnings: tuple[str, ...]
    session: Session

    def field(self, name: str) -> NDArray[np.uint8]:
        """Read a field, dark and shading off: ``(row, column, 3)``.

        Raises
        ------
        SessionError
            Its file is missing or no longer what was written.
        """
        return _field(self.session, name)

    def corners(self, scale: int) -> NDArray[np.int_]:
        """Give the corners in a mosaic enlarged by a scale, to whole pixels."""
        return np.rint(self.corners_px * scale).astype(int)

    def shape(self, scale: int) -> tuple[int, int]:
        """Give the rows and columns of a mosaic enlarged by a scale."""
        columns, rows = self.corners(scale).max(axis=0)
        return int(rows) + scale * self.field_px[0], int(columns) + scale * self.field_px[1]


def laid_out(session: Session, tell: Tell) -> Mosaic:
    """Lay out the low fields of a session, by the stage and by what their overlaps show.

    Fields that are missing, rejected at the capture or damaged are left out, with a warning.

    Raises
    ------
    InputError
        No field is left, or the calibration record is not this session's.
    """
    names, warnings = _usable(session)
    camera = session.rig.camera
    size_px = camera.width_px, camera.height_px
    stage_px = _by_stage(session, names)
    pairs = neighbours(stage_px, size_px)
    links, damaged = _links(session, names, stage_px, pairs, tell)
    map_sigma = MAP_SIGMA if session.record.measured else NOMINAL_MAP_SIGMA
    places = placed(stage_px, links, _stage_sigma_px(session), map_sigma)
    keep = np.array([name not in damaged for name in names])
    if not keep.any():
        msg = f"{damaged[names[0]]}; no other low field is left"
        raise InputError(msg)
    corners = places.corners_px[keep]
    seams = _seams(names, pairs, links, places, damaged)
    warnings += [f"{why} (left out of the mosaic)" for why in damaged.values()]
    warnings += _misfit(session, seams)
    return Mosaic(
        names=tuple(name for name in names if name not in damaged),
        corners_px=corners - corners.min(axis=0),
        field_px=(camera.height_px, camera.width_px),
        um_per_px=_lens(session).pixel_size_um,
        seams=seams,
        warnings=tuple(warnings),
        session=session,
    )


def _usable(session: Session) -> tuple[list[str], list[str]]:
    """Name the low fields that are there, and say what is not as it should be."""
    planned = [step.name for step in session.plan.of_pass("low")]
    there, again = session.there(), resume_command(session.folder)
    missing = [name for name in planned if name not in there]
    rejected = [name for name in planned if name in there and session.entries[name].faults]
    usable = [name for name in planned if name in there and name not in rejected]
    warnings = list(_not_calibrated(session))
    for names, what in ((missing, "not captured"), (rejected, "rejected at the capture")):
        if names:
            count = f"{len(names)} of {len(planned)} low fields"
            warnings.append(
                f"{count} {what} ({_some(names)}): left out of the mosaic; take them: {again}"
            )
    if not usable:
        msg = f"{session.folder}: none of {len(planned)} low fields can be used; take them: {again}"
        raise InputError(msg)
    return usable, warnings


def _not_calibrated(session: Session) -> Iterator[str]:
    low = session.plan.low
    said = _lens(session).pixel_size_um
    if not session.record.measured:
        yield (
            f"captured without a calibration: {said:g} µm per px of {low} is the"
            " rig's word, and shading stays in the fields; calibrate before the next capture"
        )
    elif _lens(session).flat is None:
        yield (
            f"no flat-field of {low} in its calibration record: shading stays in"
            " the fields; calibrate before the next capture"
        )


def _misfit(session: Session, seams: Seams) -> Iterator[str]:
    if seams.seam_px > MOST_SEAM_PX:
        yield (
            f"fields are {seams.seam_px:.2f} px (RMS) off along their seams, more"
            f" than {MOST_SEAM_PX:g}: nuclei there may be cut or doubled; a lens with so much"
            " distortion is better captured with a smaller region of interest"
        )


def _by_stage(session: Session, names: Sequence[str]) -> NDArray[np.float64]:
    """Give corners as the stage says, in the frame of the camera."""
    record, low = session.record, session.plan.low
    stands = [session.entries[name].position for name in names]
    centres_um = [record.specimen_um(low, stand) for stand in stands if stand is not None]
    return np.linalg.solve(_lens(session).affine, np.transpose(centres_um)).T


def _links(
    session: Session,
    names: Sequence[str],
    stage_px: NDArray[np.float64],
    pairs: Sequence[tuple[int, int]],
    tell: Tell,
) -> tuple[list[Link], dict[str, str]]:
    """Measure all links, each field read once; says too why a field cannot be read."""
    reach_px = _reach_px(session)
    planes: dict[int, NDArray[np.uint8]] = {}
    links: list[Link] = []
    damaged: dict[str, str] = {}
    for number, name in enumerate(names):
        try:
            planes[number] = _field(session, name)[..., 1].copy()  # green, as all geometry
        except SessionError as error:
            damaged[name] = str(error)
        for pair in pairs:
            if pair[1] == number and planes.keys() >= set(pair):
                first, second = (planes[one] for one in pair)
                expected = stage_px[number] - stage_px[pair[0]]
                links += filter(None, [link(pair, first, second, expected, reach_px)])
        awaited = {first for first, second in pairs if second > number}
        planes = {held: plane for held, plane in planes.items() if held in awaited}
        tell("laying out", number + 1, len(names))
    return links, damaged


def _seams(
    names: Sequence[str],
    pairs: Sequence[tuple[int, int]],
    links: Sequence[Link],
    places: Places,
    damaged: Collection[str],
) -> Seams:
    left = [pair for pair in pairs if not {names[one] for one in pair} & set(damaged)]
    off = places.residual_px[places.used]
    spread = np.array([one.scatter_px for one in links])[places.used]
    square = (off**2).mean(axis=1)
    return Seams(
        pairs=len(left),
        linked=int(places.used.sum()),
        silent=len(left) - len(links),
        wrong=int((~places.used).sum()),
        residual_px=_rms(square),
        seam_px=_rms(square + spread**2),
        by_stage=tuple(
            name
            for name, linked in zip(names, places.linked, strict=True)
            if not linked and name not in damaged
        ),
    )


def _rms(squares: NDArray[np.float64]) -> float:
    return float(np.sqrt(squares.mean())) if len(squares) else 0.0


def _field(session: Session, name: str) -> NDArray[np.uint8]:
    camera = session.rig.camera
    shading = shading_of(session.folder, session.plan.low)
    light = corrected(session.read(name), shading)
    return rgb8(stored(light, camera.full_scale), camera.bits)


def _lens(session: Session) -> ObjectiveCalibration:
    return session.record.objectives[session.plan.low]


def _reach_px(session: Session) -> float:
    """Say how far from where it is expected a field is looked for."""
    camera = session.rig.camera
    turned = 0.0 if session.record.measured else NOMINAL_MAP_SIGMA
    size_px = max(camera.width_px, camera.height_px)
    return REACH_UM / _lens(session).pixel_size_um + turned * size_px


def _stage_sigma_px(session: Session) -> float:
    stage = session.record.stage
    sigma_um = STAGE_SIGMA_UM if stage is None else stage.repeatability_um
    return max(sigma_um / _lens(session).pixel_size_um, LEAST_SIGMA_PX)


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    return ", ".join(names[:MANY]) + rest
