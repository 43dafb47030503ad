"""Section ``stage``: play, scatter, when it is still, and how long it takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from scope_sr.calibrate import pictures
from scope_sr.calibrate.bench import Bench, CalibrationError
from scope_sr.calibration import StageCalibration, Times
from scope_sr.frame import Frame, Position
from scope_sr.imaging.affine import rough_affine
from scope_sr.imaging.shift import block_shifts, green, wide_shift

ARRIVALS = 10  # from each side, on each axis
TURN_ROUND_UM = 40.0  # far enough to be across any play
STILL_PX = 0.2
STILL_S, LATE_S = 0.02, 0.1  # worth a word; moves in what is measured
LOOKS, MOST_LOOKS = 5, 100  # frames after a move, to see it come to rest
WAYS_UM = (20.0, 100.0, 400.0, 1200.0, 3000.0)
Z_WAYS_UM = (5.0, 20.0, 60.0)
SCALE_OFF = 0.05  # from the engraved scale: then it is another objective
LEAST_LIKENESS = 0.2
FACTOR = 10.0  # that a speed may differ by from what the rig says

Points = NDArray[np.float64]


def measure_stage(bench: Bench) -> None:
    """Measure the mechanics on tissue, by where the picture says the stage is."""
    at_um = bench.find_tissue()
    bench.turn_to(bench.reference)
    affine = first_affine(bench, at_um)
    still_after_s = _time_to_stillness(bench, at_um)
    below, above = _arrivals(bench, at_um, affine)
    play_um, play_sigma_um = _play(below, above)
    scatter_um = _scatter(below, above)
    times = _times(bench, at_um)
    picture = bench.folder / "stage.png"
    pictures.stage(picture, below, above, play_um, play_sigma_um, scatter_um)
    _judge(bench, play_um, play_sigma_um, scatter_um, still_after_s, picture.name)
    stage = StageCalibration(
        backlash_um=(float(play_um[0]), float(play_um[1])),
        backlash_sigma_um=(float(play_sigma_um[0]), float(play_sigma_um[1])),
        repeatability_um=scatter_um,
        still_after_s=still_after_s,
        times=times,
    )
    bench.record = bench.record.model_copy(update={"stage": stage})


def first_affine(bench: Bench, at_um: tuple[float, float]) -> Points:
    """Get a first affine of the reference objective from two moves, whatever the rig says.

    Raises
    ------
    CalibrationError
        The picture does not follow the stage, or its scale is not the objective's.
    """
    affine = _by_two_moves(bench, at_um)
    if abs(_scale_off(bench, affine)) > SCALE_OFF:
        affine = _by_two_moves(bench, at_um)  # a slip would not come twice
        _refuse_other_objective(bench, affine)
    return affine


def _by_two_moves(bench: Bench, at_um: tuple[float, float]) -> Points:
    step_um = 0.2 * bench.field_um(bench.reference)
    moves = np.array([[step_um, 0.0], [0.0, step_um]])
    bench.see(bench.reference, at_um)
    place = bench.place(bench.reference, at_um)
    begin = _arrived_from_below(bench, place)
    shifts = []
    for x_um, y_um in moves.tolist():
        there = replace(place, x_um=place.x_um + x_um, y_um=place.y_um + y_um)
        shift, likeness = wide_shift(begin, _arrived_from_below(bench, there))
        if likeness < LEAST_LIKENESS or np.hypot(*shift) < 2:
            msg = (
                f"the picture does not follow the stage: after a move of {step_um:.0f} µm it shows"
                " nothing that was there before, or has not moved; is the stage connected, and"
                " another program not moving it?"
            )
            raise CalibrationError(msg)
        shifts.append(shift)
    return rough_affine(moves, np.array(shifts))


def _arrived_from_below(bench: Bench, place: Position) -> NDArray[np.float32]:
    """Go to a place from so far below that any play is taken up, whatever the rig says; and look.

    Away from a limit of the stage that is as far as there is room.
    """
    limits = bench.rig.stage
    x_um = max(place.x_um - TURN_ROUND_UM, limits.x_limits_um[0])
    y_um = max(place.y_um - TURN_ROUND_UM, limits.y_limits_um[0])
    bench.microscope.move_to(replace(place, x_um=x_um, y_um=y_um), straight=True)
    bench.microscope.move_to(place, straight=True)
    return green(bench.levels(bench.microscope.snap()))


def _scale_off(bench: Bench, affine: Points) -> float:
    found_um = float(np.sqrt(abs(np.linalg.det(affine))))
    return found_um / bench.rig.pixel_size_um(bench.reference) - 1


def _refuse_other_objective(bench: Bench, affine: Points) -> None:
    """Raise CalibrationError where the scale is another than that engraved on the objective."""
    found_um = float(np.sqrt(abs(np.linalg.det(affine))))
    said_um = bench.rig.pixel_size_um(bench.reference)
    off = _scale_off(bench, affine)
    if abs(off) > SCALE_OFF:
        lens = bench.rig.objectives[bench.reference]
        msg = (
            f"wrong objective label? A pixel of {bench.reference} is {found_um:.4g} µm by the stage"
            f" and {said_um:.4g} µm by the rig ({100 * off:+.0f} %): look at which objective is in"
            f" slot {lens.slot}, at camera.pixel_um, binning and intermediate magnification"
        )
        raise CalibrationError(msg)


def _arrivals(
    bench: Bench, at_um: tuple[float, float], affine: Points
) -> tuple[list[Points], list[Points]]:
    """Arrive at one place again and again, from below and from above, on each axis.

    Returns, per axis, ``(arrivals, 2)`` where the picture says the stage stood, in µm from its
    first stand.
    """
    bench.tell(f"backlash: {4 * ARRIVALS} arrivals at one place, from {TURN_ROUND_UM:g} µm off")
    place = bench.place(bench.reference, at_um)
    bench.microscope.move_to(place)
    first = _arrived_from_below(bench, place)
    below: list[Points] = []
    above: list[Points] = []
    for axis in ("x_um", "y_um"):
        from_below, from_above = [], []
        for _ in range(ARRIVALS):
            away = replace(place, **{axis: getattr(place, axis) + TURN_ROUND_UM})
            from_below.append(_stand(first, _arrived_from_below(bench, place), affine))
            bench.microscope.move_to(away, straight=True)
            bench.microscope.move_to(place, straight=True)
            here = green(bench.levels(bench.microscope.snap()))
            from_above.append(_stand(first, here, affine))
        below.append(np.array(from_below))
        above.append(np.array(from_above))
    return below, above


def _stand(first: NDArray, now: NDArray, affine: Points) -> Points:
    """Say where the stage stands, in µm from where `first` was taken."""
    return -affine @ shift_between(first, now)


def shift_between(first: NDArray, second: NDArray) -> Points:
    """Give the shift of nearly the same picture: the median over its blocks."""
    near, likeness = wide_shift(first, second)
    blocks = block_shifts(first, second, near)
    if likeness < LEAST_LIKENESS or len(blocks) < 4:
        msg = "tissue too sparse: two pictures of one place cannot be laid on each other"
        raise CalibrationError(msg)
    return np.asarray(np.median(blocks.shift_px, axis=0))


def _play(below: list[Points], above: list[Points]) -> tuple[Points, Points]:
    """Give the play of both axes and its standard error."""
    play, sigma = [], []
    for axis in (0, 1):
        low, high = below[axis][:, axis], above[axis][:, axis]
        play.append(high.mean() - low.mean())
        sigma.append(np.sqrt(low.var(ddof=1) / len(low) + high.var(ddof=1) / len(high)))
    return np.array(play), np.array(sigma)


def _scatter(below: list[Points], above: list[Points]) -> float:
    """Pool the standard deviation of all arrivals, per axis of the stage."""
    groups = [*below, *above]
    squares = sum(((group - group.mean(axis=0)) ** 2).sum() for group in groups)
    freedom = sum(2 * (len(group) - 1) for group in groups)
    return float(np.sqrt(squares / freedom))


def _time_to_stillness(bench: Bench, at_um: tuple[float, float]) -> float:
    """Look how long after a long move, reported as done, the picture still moves.

    Raises
    ------
    CalibrationError
        So long that it would move in what is measured next.
    """
    far = (at_um[0] - 500.0, at_um[1])
    far = far if bench.inside(bench.reference, far) else (at_um[0] + 500.0, at_um[1])
    bench.see(bench.reference, far)
    bench.microscope.move_to(bench.place(bench.reference, at_um))
    frames = [bench.microscope.snap() for _ in range(LOOKS)]
    while len(frames) < MOST_LOOKS:
        before, now = (green(bench.levels(frames[i])) for i in (-3, -1))
        if np.hypot(*shift_between(before, now)) <= STILL_PX:
            break
        frames.append(bench.microscope.snap())
    last = green(bench.levels(frames[-1]))
    for frame, after in zip(frames[-2::-1], frames[:0:-1], strict=True):
        if _moved(green(bench.levels(frame)), last):
            still_after_s = max(0.0, after.time - frames[0].time)
            break
    else:
        return 0.0
    if still_after_s > LATE_S:
        msg = (
            f"the picture still moves {still_after_s:.2g} s after the stage reports done:"
            f" {_wait_longer(bench, still_after_s)}, and calibrate again"
        )
        raise CalibrationError(msg)
    return still_after_s


def _moved(before: NDArray, after: NDArray) -> bool:
    try:
        return float(np.hypot(*shift_between(before, after))) > STILL_PX
    except CalibrationError:  # by more than could be followed
        return True


def _times(bench: Bench, at_um: tuple[float, float]) -> Times:
    """Learn how long moves and snaps take, by the clock of the frames."""
    bench.tell("timing moves")
    place = bench.place(bench.reference, at_um)
    still = [bench.microscope.snap() for _ in range(4)]
    snap_s = float(np.median(np.diff([frame.time for frame in still])))
    limits_um = bench.rig.stage.x_limits_um
    toward_middle = 1.0 if place.x_um < sum(limits_um) / 2 else -1.0
    ways, seconds = [], []
    for way_um in WAYS_UM:
        there = replace(place, x_um=place.x_um + toward_middle * way_um)
        if not limits_um[0] <= there.x_um <= limits_um[1]:
            continue
        for target in (there, place):
            ways.append(way_um)
            seconds.append(_move_s(bench, target) - snap_s)
    settle_s, speed, acceleration = _fit_times(
        np.array(ways), np.array(seconds), bench.rig.stage.speed_um_per_s
    )
    z_ways = [way_um for way_um in Z_WAYS_UM if way_um <= bench.rig.nosepiece.escape_um]
    z_seconds = [_z_move_s(bench, place, way_um) - snap_s for way_um in z_ways]
    slope, _ = np.polyfit(z_ways, z_seconds, 1)
    believed = bench.rig.stage.z_speed_um_per_s
    z_speed = 1 / float(np.clip(slope, 1 / (FACTOR * believed), FACTOR / believed))
    z_settle_s = float(np.median(np.array(z_seconds) - np.array(z_ways) / z_speed))
    exposure_s = bench.exposure_ms(bench.reference) / 1000
    return Times(
        settle_s=settle_s,
        speed_um_per_s=speed,
        acceleration_um_per_s2=acceleration,
        z_settle_s=max(0.0, z_settle_s),
        z_speed_um_per_s=z_speed,
        snap_s=max(0.0, snap_s - exposure_s),
    )


def _move_s(bench: Bench, target: Position) -> float:
    """Time a straight move, from frame to frame."""
    before: Frame = bench.microscope.snap()
    bench.microscope.move_to(target, straight=True)
    return bench.microscope.snap().time - before.time


def _z_move_s(bench: Bench, place: Position, way_um: float) -> float:
    """Time one leg of the focus drive, toward the specimen."""
    bench.microscope.move_to(replace(place, z_um=place.z_um - bench.rig.toward * way_um))
    before = bench.microscope.snap()
    bench.microscope.move_to(place)
    return bench.microscope.snap().time - before.time


def _fit_times(
    ways_um: Points, seconds: Points, believed_um_per_s: float
) -> tuple[float, float, float]:
    """Fit settle time, top speed and acceleration to the times of straight moves.

    Speeds are sought within ten times what the rig says: where a computer is busy drawing its
    pictures, times of short moves say little.
    """

    def misfit(logs: Points) -> Points:
        settle_s, speed, acceleration = np.exp(logs)
        times = Times(
            settle_s=settle_s,
            speed_um_per_s=speed,
            acceleration_um_per_s2=acceleration,
            z_settle_s=0.0,
            z_speed_um_per_s=1.0,
            snap_s=0.0,
        )
        return np.array([times.leg_s(way, 0.0) for way in ways_um]) - seconds

    quickest = max(float(seconds.min()), 1e-3)
    least = np.log([1e-4, believed_um_per_s / FACTOR, believed_um_per_s])
    most = np.log([10.0, believed_um_per_s * FACTOR, believed_um_per_s * 1000])
    start = np.log([quickest / 2, believed_um_per_s, believed_um_per_s * 10])
    found = least_squares(
        misfit,
        np.clip(start, least + 1e-6, most - 1e-6),
        bounds=(least, most),
        loss="soft_l1",
        f_scale=max(0.05 * quickest, 1e-3),
    )
    settle_s, speed, acceleration = (float(value) for value in np.exp(found.x))
    return settle_s, speed, acceleration


def _wait_longer(bench: Bench, seconds: float) -> str:
    return f"set stage.stable_ms in {bench.rig.source} to {1000 * seconds:.0f} or more"


def _judge(
    bench: Bench,
    play_um: Points,
    play_sigma_um: Points,
    scatter_um: float,
    still_after_s: float,
    picture: str,
) -> None:
    stage = bench.rig.stage
    taken_up = bool(
        np.all(np.abs(play_um) <= np.maximum(stage.approach_um, 3 * play_sigma_um + 0.2))
    )
    bench.note(
        "backlash in x and y",
        play_um,
        "µm",
        f"what approach_um takes up, {stage.approach_um[0]:g} and {stage.approach_um[1]:g} µm",
        "ok" if taken_up else "fail",
        sigma=play_sigma_um,
        advice=f"set approach_um in {bench.rig.source} to more than that, and calibrate again",
        picture=picture,
    )
    bench.note(
        "repeatability of the stage",
        scatter_um,
        "µm",
        f"half of tolerance_um, {stage.tolerance_um / 2:g} µm",
        "ok" if scatter_um <= stage.tolerance_um / 2 else "warn",
        sigma=scatter_um / np.sqrt(8 * (ARRIVALS - 1)),
        advice="look for a loose slide, stage or table; pairs will be registered, but less surely",
        picture=picture,
    )
    bench.note(
        "still after a move is done",
        still_after_s,
        "s",
        f"{STILL_S:g} s",
        "ok" if still_after_s <= STILL_S else "warn",
        advice=f"the stage reports done too early: {_wait_longer(bench, still_after_s)}",
    )
