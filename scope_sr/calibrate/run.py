"""The course of a calibration: sections one after the other, each kept as soon as it is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scope_sr.calibrate.bench import (
    RINGS,
    Bench,
    CalibrationError,
    Tell,
)
from scope_sr.calibrate.chromatic import measure_chromatic
from scope_sr.calibrate.color import measure_color
from scope_sr.calibrate.flat_field import measure_flat_field
from scope_sr.calibrate.focus import measure_focus
from scope_sr.calibrate.noise import measure_noise
from scope_sr.calibrate.offsets import measure_offsets
from scope_sr.calibrate.pixel_size import measure_pixel_size
from scope_sr.calibrate.report import write_report
from scope_sr.calibrate.stage import measure_stage
from scope_sr.calibration import (
    PARTIAL,
    SECTIONS,
    CalibrationRecord,
    CourseSoFar,
    Fingerprint,
    Section,
)
from scope_sr.config import Rig, reason
from scope_sr.errors import InputError
from scope_sr.frame import Position
from scope_sr.microscope import Ask, GuardedMicroscope
from scope_sr.software import this_version

MEASURE: dict[Section, Callable[[Bench], None]] = {
    "flat-field": measure_flat_field,
    "stage": measure_stage,
    "pixel-size": measure_pixel_size,
    "focus": measure_focus,
    "offsets": measure_offsets,
    "color": measure_color,
    "chromatic": measure_chromatic,
    "noise": measure_noise,
}


@dataclass(frozen=True)
class Course:
    """What a calibration is to do: where it is kept, what it measures, what it begins with.

    ``record`` is what is known at the beginning: nominal values, an older record of which other
    sections are kept, or what an interrupted run had measured. ``done`` are the sections that it
    need not measure again.
    """

    folder: Path
    sections: tuple[Section, ...]
    objectives: tuple[str, ...]
    record: CalibrationRecord
    done: tuple[Section, ...] = ()

    @property
    def remaining(self) -> tuple[Section, ...]:
        """The sections still to be measured, in their order."""
        return tuple(s for s in SECTIONS if s in self.sections and s not in self.done)


def plan_course(
    rig: Rig,
    folder: Path,
    *,
    sections: tuple[Section, ...] = SECTIONS,
    objectives: tuple[str, ...] = (),
    before: CalibrationRecord | None = None,
) -> Course:
    """Plan a calibration into a folder that holds none yet.

    Parameters
    ----------
    sections
        What to measure.
    objectives
        Which to measure; the rig's low and high without.
    before
        The record whose other sections are kept; none where everything is measured anew.

    Raises
    ------
    InputError
        An objective is unknown, or the folder is in use.
    """
    objectives = objectives or (rig.low, rig.high)
    unknown = [name for name in objectives if name not in rig.objectives]
    if unknown:
        msg = f"--objectives {unknown[0]}: rig {rig.name} has {', '.join(rig.objectives)}"
        raise InputError(msg)
    reference = before.reference if before and before.reference else rig.low
    ordered = tuple(dict.fromkeys((reference, *objectives)))
    if folder.is_file():
        msg = f"{folder} is a file; choose another --out"
        raise InputError(msg)
    if folder.exists() and any(folder.iterdir()):
        begun = (folder / PARTIAL).is_file()
        way_on = "go on with it by --resume, or " if begun else ""
        msg = f"{folder} is not empty; {way_on}choose another --out"
        raise InputError(msg)
    nominal = CalibrationRecord.nominal(rig)
    known = before.objectives if before else {}
    record = (before or nominal).model_copy(
        update={
            "measured": True,
            "rig": rig.name,
            "reference": reference,
            "software": this_version(),
            "schema_version": nominal.schema_version,
            "course": None,
            "objectives": {**{n: nominal.objectives[n] for n in ordered}, **known},
        }
    )
    return Course(folder, sections, ordered, record)


def resume_course(folder: Path) -> Course:
    """Take up a calibration that was interrupted.

    Raises
    ------
    InputError
        There is none in the folder.
    """
    if not (folder / PARTIAL).is_file():
        msg = f"{folder} holds no interrupted calibration; leave out --resume to begin one"
        raise InputError(msg)
    record = CalibrationRecord.load(folder, PARTIAL)
    course = record.course
    if course is None:
        msg = f"{folder / PARTIAL} does not say what was to be measured; begin in another folder"
        raise InputError(msg)
    return Course(folder, course.sections, course.objectives, record, course.done)


def reach_um(rig: Rig, course: Course) -> tuple[float, float]:
    """Give how far the stage may move in x and y, looking for tissue and bare glass."""
    camera = rig.camera
    size_um = course.record.objectives[course.record.reference].pixel_size_um
    far_um = (RINGS[-1] + 2) * min(camera.width_px, camera.height_px) * size_um
    spans = (rig.stage.x_limits_um, rig.stage.y_limits_um)
    x_um, y_um = (min(far_um, high_um - low_um) for low_um, high_um in spans)
    return x_um, y_um


def calibrate(
    microscope: GuardedMicroscope,
    rig: Rig,
    course: Course,
    *,
    tell: Tell = lambda _: None,
    ask: Ask | None = None,
) -> CalibrationRecord:
    """Carry out a calibration and write ``record.json``, flats, pictures and ``report.html``.

    Each section is kept in the folder as soon as it is measured; after an interruption
    `resume_course` goes on. In the end, and where something cannot be measured, stage and objective
    go back to where they were; after a stop, or a fault of the instrument, nothing moves any more.

    Raises
    ------
    MicroscopeError
        The instrument misbehaved, or something cannot be measured: in one line, with the remedy.
    """
    course.record.refuse_other_instrument(rig, microscope.camera().name)
    _refuse_damaged_fields(course.record)
    make_folder(course.folder)
    start, objective = microscope.position(), microscope.objective()
    bench = _bench(microscope, rig, course, start, objective, tell, ask)
    bench.record.save(course.folder, PARTIAL)
    try:
        for section in course.remaining:
            _measure(bench, course, section)
    except CalibrationError:
        _go_back(bench, start, objective)
        raise
    _go_back(bench, start, objective)
    record = bench.record.model_copy(update={"course": None, "folder": course.folder})
    write_report(record, course.folder, rig.source or rig.name)
    record.save(course.folder)
    (course.folder / PARTIAL).unlink(missing_ok=True)
    return record


def make_folder(folder: Path) -> None:
    """Make the folder of a record.

    Raises
    ------
    InputError
        It cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / "writable.part"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        msg = f"{folder}: {reason(error)}; choose another --out; nothing moved"
        raise InputError(msg) from error


def _refuse_damaged_fields(record: CalibrationRecord) -> None:
    """Read what would be kept of an older record: a damaged flat must not be handed on."""
    for objective in record.objectives:
        record.field(objective, "flat")
        record.field(objective, "dark")


def _bench(
    microscope: GuardedMicroscope,
    rig: Rig,
    course: Course,
    start: Position,
    objective: str,
    tell: Tell,
    ask: Ask | None,
) -> Bench:
    known = objective in course.record.objectives
    home = course.record.transfer(start, objective, course.record.reference) if known else start
    update = {
        "fingerprint": Fingerprint.of(rig, microscope.camera().name),
        "made_at": _now(),
        "course": CourseSoFar(
            sections=course.sections, objectives=course.objectives, done=course.done
        ),
    }
    record = course.record.model_copy(update=update)
    if record.folder is not None and record.folder != course.folder:
        record.save(course.folder, PARTIAL)  # flats and darks of sections that are kept
        record = record.model_copy(update={"folder": course.folder})
    return Bench(microscope, rig, record, course.objectives, course.folder, tell, ask, home)


def _measure(bench: Bench, course: Course, section: Section) -> None:
    """Measure one section and keep it."""
    bench.tell(f"--- {section}")
    bench.section, bench.checks = section, []
    MEASURE[section](bench)
    kept = tuple(f"{name} " for name in bench.record.objectives if name not in course.objectives)
    others = (
        check
        for check in bench.record.checks
        if check.section != section or (kept and check.name.startswith(kept))
    )
    checks = sorted((*others, *bench.checks), key=lambda check: SECTIONS.index(check.section))
    before = bench.record.course.done if bench.record.course else ()
    so_far = CourseSoFar(
        sections=course.sections, objectives=course.objectives, done=(*before, section)
    )
    bench.record = bench.record.model_copy(
        update={"checks": tuple(checks), "course": so_far, "folder": course.folder}
    )
    bench.record.save(course.folder, PARTIAL)


def _go_back(bench: Bench, start: Position, objective: str) -> None:
    """Leave the microscope as it was found."""
    bench.tell("going back to where the stage was")
    if objective in bench.rig.objectives:
        bench.microscope.select_objective(objective)
        bench.expose(bench.rig.objectives[objective].exposure_ms)
    bench.microscope.move_to(start)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
