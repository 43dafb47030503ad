"""``scope-sr calibrate``."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scope_sr.cli.operator import Operator
from scope_sr.cli.options import INTERRUPTED, FolderType
from scope_sr.cli.progress import bars
from scope_sr.errors import InputError, MicroscopeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scope_sr.calibrate import Course
    from scope_sr.calibration import CalibrationRecord, Check
    from scope_sr.config import Rig
    from scope_sr.microscope import GuardedMicroscope


@click.command("calibrate", short_help="Measure the microscope, and how well it is known.")
@click.option(
    "--rig",
    metavar="NAME|FILE",
    default=None,
    help="A rig file, or a built-in rig: simulated or demo.  [simulated]",
)
@click.option(
    "--only",
    metavar="SECTION,...",
    default=None,
    help="Measure these sections only, and keep the rest of the newest record: flat-field, stage,"
    " pixel-size, focus, offsets, color, chromatic, noise.  [all]",
)
@click.option(
    "--objectives",
    metavar="NAME,...",
    default=None,
    help="Which objectives.  [the rig's low and high]",
)
@click.option(
    "--out",
    type=FolderType(),
    default=None,
    help="Folder of the record.  [calibration/RIG/DATE beside the rig file]",
)
@click.option("--resume", is_flag=True, help="Go on with the calibration that was interrupted.")
@click.option(
    "--check",
    "check_only",
    is_flag=True,
    help="Look in a minute whether the newest record still holds; measure and change nothing.",
)
@click.option("--yes", is_flag=True, help="Do not ask before the stage moves.")
def calibrate(
    rig: str | None,
    only: str | None,
    objectives: str | None,
    out: Path | None,
    resume: bool,
    check_only: bool,
    yes: bool,
) -> None:
    """Measure the microscope: scale, offsets, light, focus, stage and camera.

    Put a slide with tissue under the low objective and focus on it. Everything else is found by the
    program: more tissue, bare glass, the other objectives. Each figure comes with its uncertainty,
    a limit and a verdict, in record.json, and as pictures in report.html. acquire-pairs uses the
    newest record of its rig by itself. What is measured is kept: after Ctrl-C, --resume goes on.

    \b
    Examples
      scope-sr calibrate                                   the simulated microscope
      scope-sr calibrate --rig my-rig.toml                 asks, then measures everything
      scope-sr calibrate --rig my-rig.toml --only offsets  after an objective was unscrewed
      scope-sr calibrate --rig my-rig.toml --check         does the record still hold?

    Exits with 0 if every check is ok or a warning, and with 1 if one failed.
    """
    from scope_sr.config import load_rig

    if rig is None:
        click.echo("No --rig given: using the simulated microscope.")
    loaded = load_rig(rig or "simulated")
    if check_only:
        _refuse_with_check(only=only, objectives=objectives, resume=resume)
        _check(loaded, out, yes)
    else:
        _calibrate(loaded, _course(loaded, only, objectives, out, resume), yes)


def _refuse_with_check(**others: object) -> None:
    given = [name for name, value in others.items() if value]
    if given:
        msg = f"--check measures nothing; leave --{given[0]} out"
        raise InputError(msg)


def _course(
    rig: Rig, only: str | None, objectives: str | None, out: Path | None, resume: bool
) -> Course:
    """Plan what to do, or take up what was interrupted."""
    from scope_sr.calibrate import plan_course, resume_course
    from scope_sr.calibration import PARTIAL, SECTIONS, CalibrationRecord

    home = CalibrationRecord.home_of(rig)
    if resume:
        if only or objectives:
            msg = "--resume goes on as it was begun; leave --only and --objectives out"
            raise InputError(msg)
        begun = sorted(path.parent for path in home.glob(f"*/{PARTIAL}"))
        if out is None and not begun:
            msg = f"{home}: no interrupted calibration there; leave --resume out, or give --out"
            raise InputError(msg)
        return resume_course(out or begun[-1])
    sections = SECTIONS if only is None else tuple(part.strip() for part in only.split(","))
    unknown = [name for name in sections if name not in SECTIONS]
    if unknown:
        msg = f"--only {unknown[0]!r}: no such section; there are {', '.join(SECTIONS)}"
        raise InputError(msg)
    before = CalibrationRecord.of_rig(rig) if only or objectives else None
    if before is not None and not before.measured:
        before = None
        if only:
            click.echo("No record yet: what is not measured now is taken from the rig file.")
    chosen = tuple(part.strip() for part in objectives.split(",")) if objectives else ()
    return plan_course(
        rig,
        out or _dated(home),
        sections=tuple(name for name in SECTIONS if name in sections),
        objectives=chosen,
        before=before,
    )


def _dated(home: Path) -> Path:
    """Give a folder for today that is not taken."""
    today = time.strftime("%Y-%m-%d")
    names = (today, *(f"{today}-{n}" for n in range(2, 1000)))
    return next(home / name for name in names if not (home / name).exists())


def _calibrate(rig: Rig, course: Course, yes: bool) -> None:
    from scope_sr.calibrate import calibrate as measure
    from scope_sr.calibrate import make_folder
    from scope_sr.microscope import open_microscope

    operator = Operator()
    make_folder(course.folder)
    if course.done:
        click.echo(f"Going on: {', '.join(course.done)} are measured already.")
    with open_microscope(_for(rig, course), ask=operator.ask) as microscope:
        _announce(rig, course, microscope)
        try:
            _agree(rig, operator, yes)
        except (InputError, KeyboardInterrupt):
            with suppress(OSError):
                course.folder.rmdir()
            raise
        began_s = time.monotonic()
        with _told(operator, len(course.remaining)) as tell:
            record = _kept(
                microscope,
                rig,
                course,
                lambda: measure(microscope, rig, course, tell=tell, ask=operator.ask),
            )
    _summarise(record, course, time.monotonic() - began_s)


def _for(rig: Rig, course: Course) -> Rig:
    """Open the rig with the objectives that will be used as its pair."""
    others = [name for name in course.objectives if name != course.record.reference]
    finest = min(others, key=rig.pixel_size_um, default=course.record.reference)
    return rig.model_copy(update={"low": course.record.reference, "high": finest})


def _announce(rig: Rig, course: Course, microscope: GuardedMicroscope) -> None:
    """Say what will be measured, and what will move and how far."""
    from scope_sr.calibrate import reach_um

    here = microscope.position()
    x_um, y_um = reach_um(rig, course)
    click.echo(
        f"Rig {rig.name}: {', '.join(course.remaining) or 'nothing'} of"
        f" {', '.join(course.objectives)}, into {course.folder}\n"
        f"From {here.describe()}\n"
        f"the stage moves up to {x_um / 1000:.1f} mm in x and {y_um / 1000:.1f} mm in y, inside the"
        " limits of the rig, and comes back. The objective is retracted by"
        f" {rig.nosepiece.escape_um:g} µm before the nosepiece turns."
    )


def _agree(rig: Rig, operator: Operator, yes: bool) -> None:
    """Let the operator agree before a real stage moves."""
    if yes or rig.backend != "micromanager":
        return
    question = (
        f"Is a slide with stained tissue under {rig.low}, in focus, the lamp warm, automatic"
        " exposure and white balance of the camera off, and the way of the stage free?"
    )
    if operator.ask(question, ("yes", "no")) == "no":
        msg = "nothing was moved; begin again when all of that is so"
        raise InputError(msg)


def _kept(
    microscope: GuardedMicroscope,
    rig: Rig,
    course: Course,
    measure: Callable[[], CalibrationRecord],
) -> CalibrationRecord:
    """Measure; whatever ends it, say how to go on."""
    named = f" --rig {rig.source}" if rig.source != "simulated" else ""
    way_on = f"go on with: scope-sr calibrate{named} --resume --out {course.folder}"
    kept = "What was measured before is kept, " if course.done else "Sections measured are kept, "
    try:
        return measure()
    except KeyboardInterrupt:
        microscope.stop()
        click.echo(f"\nStopped; the stage stays where it is. {kept}{way_on}",
                   err=True)  # fmt: skip
        sys.exit(INTERRUPTED)
    except (MicroscopeError, InputError) as error:
        msg = f"{error}. {kept}{way_on}"
        raise type(error)(msg) from error


@contextmanager
def _told(
    operator: Operator, sections: int, *, results: bool = True
) -> Iterator[Callable[[str], None]]:
    """Show what is being done in a bar, and every result on a line of its own."""
    with bars(elapsed=True) as progress:
        operator.progress = progress
        task = progress.add_task("starting", total=max(sections, 1))
        begun = 0

        def tell(text: str) -> None:
            nonlocal begun
            result = text.split(" ", 1)[0] in {"ok", "warn", "fail"}
            if text.startswith("---"):
                progress.update(task, completed=begun)
                begun += 1
            if result and not results:
                return
            if result or not progress.console.is_terminal:
                progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
            else:
                progress.update(task, description=text.strip("- "))

        yield tell
        progress.update(task, completed=sections)


def _summarise(record: CalibrationRecord, course: Course, seconds: float) -> None:
    verdicts = [check.verdict for check in record.checks]
    folder = course.folder
    kept = sum(check.section not in course.sections for check in record.checks)
    minutes, rest = divmod(round(seconds), 60)
    click.echo(
        f"{len(verdicts)} checks in {minutes} min {rest} s: {verdicts.count('ok')} ok,"
        f" {verdicts.count('warn')} warnings, {verdicts.count('fail')} failed"
        + (f" ({kept} of them kept from the record before)" if kept else "")
    )
    _print_troubles(record.checks)
    click.echo(f"Record:  {folder / 'record.json'}\nPicture: {folder / 'report.html'}")
    if "fail" in verdicts:
        sys.exit(1)


def _print_troubles(checks: tuple[Check, ...]) -> None:
    from scope_sr.calibrate import describe

    for check in checks:
        if check.verdict != "ok":
            click.echo(f"{check.section}: {describe(check)}")


def _check(rig: Rig, folder: Path | None, yes: bool) -> None:
    """Compare the instrument with the newest record, or with the one in a folder."""
    from scope_sr.calibrate import check_record, describe
    from scope_sr.calibration import CalibrationRecord
    from scope_sr.microscope import open_microscope

    named = f" --rig {rig.source}" if rig.source != "simulated" else ""
    record = CalibrationRecord.load(folder) if folder else CalibrationRecord.of_rig(rig)
    if not record.measured:
        home = CalibrationRecord.home_of(rig)
        msg = f"{home}: no record to check; make one: scope-sr calibrate{named}"
        raise InputError(msg)
    operator = Operator()
    began_s = time.monotonic()
    with open_microscope(rig, ask=operator.ask) as microscope:
        _agree(rig, operator, yes)
        try:
            with _told(operator, 1, results=False) as tell:
                checks = check_record(microscope, rig, record, tell)
        except KeyboardInterrupt:
            microscope.stop()
            click.echo("\nStopped; the stage stays where it is.", err=True)
            sys.exit(INTERRUPTED)
    stale = sorted({check.section for check in checks if check.verdict == "fail"})
    for check in checks:
        click.echo(describe(check))
    if stale:
        click.echo(
            f"The record {record.folder} no longer holds: {', '.join(stale)}. Renew it:"
            f" scope-sr calibrate{named} --only {','.join(stale)}"
        )
        sys.exit(1)
    click.echo(f"The record {record.folder} holds ({time.monotonic() - began_s:.0f} s).")
