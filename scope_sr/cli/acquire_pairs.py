"""``scope-sr acquire-pairs``."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scope_sr.cli.beforehand import check_first, into_view, mapped
from scope_sr.cli.operator import Operator
from scope_sr.cli.options import INTERRUPTED, FolderType, GridType, PlaceType, ShareType
from scope_sr.cli.progress import with_progress
from scope_sr.errors import InputError, MicroscopeError

if TYPE_CHECKING:
    from scope_sr.acquire_pairs import Captured, Summary
    from scope_sr.calibration import CalibrationRecord
    from scope_sr.config import Rig
    from scope_sr.frame import Position
    from scope_sr.microscope import GuardedMicroscope
    from scope_sr.plan import Plan
    from scope_sr.session import Session


@click.command("acquire-pairs", short_help="Capture pairs over a grid.")
@click.option(
    "--grid",
    type=GridType(),
    is_flag=False,
    flag_value="3x3",
    default=None,
    help="Rows x columns of low-magnification fields.  [3x3]",
)
@click.option(
    "--rig",
    metavar="NAME|FILE",
    default=None,
    help="A rig file (see configs/), or a built-in rig: simulated, or demo (Micro-Manager's own)."
    "  [simulated]",
)
@click.option("--low", metavar="NAME", default=None, help="Low objective.  [the rig's]")
@click.option("--high", metavar="NAME", default=None, help="High objective.  [the rig's]")
@click.option(
    "--overlap",
    type=ShareType(),
    default=None,
    help="Overlap of neighbouring low fields, like 10% or 0.1.  [5%]",
)
@click.option(
    "--origin",
    type=PlaceType(),
    default=None,
    help="Middle of the grid, in µm of the stage with the low objective in place."
    "  [where the stage is now]",
)
@click.option(
    "--coverage",
    type=click.Choice(["inscribed", "full", "center"]),
    default=None,
    help="High fields per low field: the k by k that fit inside it, as many as cover it to the"
    " rim, or one in the middle.  [inscribed]",
)
@click.option(
    "--tissue-only",
    is_flag=True,
    default=None,
    help="Leave out high fields where the low field shows less than 5 % tissue.",
)
@click.option(
    "--order",
    type=click.Choice(["serpentine", "raster"]),
    default=None,
    help="Way through the grid: back and forth, or each row from the same side. Either way each"
    " field is approached from one side (approach_um of the rig).  [serpentine]",
)
@click.option(
    "--focus",
    type=click.Choice(["none", "map", "map+local"]),
    default=None,
    help="Where z comes from. none: the focus of the origin. map: a surface through 9 to 25 points,"
    " focused on tissue first. map+local: then three planes at each high field too.  [map, if the"
    " calibration record is measured and the grid reaches over 1 mm, else none]",
)
@click.option(
    "--out",
    type=FolderType(),
    default=None,
    help="Folder of the session, made if needed.  [pairs-DATE-TIME]",
)
@click.option(
    "--resume", is_flag=True, help="Go on with the session in --out, with its own rig and plan."
)
@click.option(
    "--reshoot",
    type=FolderType(),
    default=None,
    metavar="DATASET",
    help="Take again, in their own session, the fields that build-dataset found out of focus, moved"
    " or of a wrong place.",
)
@click.option(
    "--skip-check",
    is_flag=True,
    help="Do not check first whether the calibration record still holds.",
)
@click.option(
    "--dry-run", is_flag=True, help="Show the plan as a table and a picture; move nothing."
)
def acquire_pairs(**options: Any) -> None:
    """Capture the same tissue at low and at high magnification, over a grid.

    The whole grid is taken with the low objective, the nosepiece turns once, and each low field is
    filled with high fields. Every field is safe on disk before the next is taken: after Ctrl-C, a
    crash or a power cut, --resume goes on where it stopped. What scope-sr calibrate measured is
    used: the newest record of the rig, after a look whether it still holds.

    \b
    Examples
      scope-sr acquire-pairs --grid 2x2                    simulated, into a dated folder
      scope-sr acquire-pairs --grid 5x5 --dry-run          how many fields, how long, how large
      scope-sr acquire-pairs --rig my-rig.toml --grid 5x5 --tissue-only --out slide-17
      scope-sr acquire-pairs --resume --out slide-17
      scope-sr acquire-pairs --reshoot dataset             what a dataset asks for, once more
    """
    resume, dry_run = options.pop("resume"), options.pop("dry_run")
    reshoot = options.pop("reshoot")
    if reshoot is not None:
        _reshoot(reshoot, resume=resume, dry_run=dry_run, **options)
        return
    if resume and dry_run:
        _say_what_is_left(**options)
    elif resume:
        _resume(**options)
    elif dry_run:
        _dry_run(**options)
    else:
        _acquire(**options)


def _acquire(*, rig: str | None, out: Path | None, skip_check: bool, **options: Any) -> None:
    from scope_sr.calibration import CalibrationRecord
    from scope_sr.config import load_rig
    from scope_sr.microscope import open_microscope
    from scope_sr.session import Session

    if rig is None:
        click.echo("No --rig given: using the simulated microscope.")
    if out is None:
        out = _unused(time.strftime("pairs-%Y-%m-%d-%H%M%S"))
        click.echo(f"No --out given: saving into {out}")
    loaded = load_rig(rig or "simulated")
    record = CalibrationRecord.of_rig(loaded)
    operator = Operator()
    chosen = _chosen(loaded, record, **options)
    with open_microscope(chosen, log_folder=out, ask=operator.ask) as microscope:
        plan = _plan(loaded, record, microscope, **options)
        _say_uncalibrated(record)
        Session.refuse_impossible(out, plan, loaded)
        if not skip_check:
            check_first(microscope, chosen, record)
        plan = mapped(microscope, plan, loaded, record, operator)
        with Session.create(out, plan, loaded, record) as session:
            _run(microscope, session, operator)


def _resume(*, rig: str | None, out: Path | None, skip_check: bool, **options: Any) -> None:
    from scope_sr.acquire_pairs import concluded, refuse_other_instrument
    from scope_sr.config import load_rig
    from scope_sr.microscope import open_microscope
    from scope_sr.session import Session

    with Session.resume(_named(out), rig=load_rig(rig) if rig else None) as session:
        _refuse_other_plan(session.plan, options)
        _say_left(session)
        if session.remaining() or not concluded(session):
            names = session.plan.low, session.plan.high
            chosen = _chosen(session.rig, session.record, *names)
            operator = Operator()
            with open_microscope(chosen, log_folder=session.folder, ask=operator.ask) as microscope:
                if session.remaining():
                    refuse_other_instrument(microscope, chosen, session.record, names)
                    if not skip_check and session.record.measured:
                        into_view(microscope, session.plan)
                        check_first(microscope, chosen, session.record)
                _run(microscope, session, operator)


def _reshoot(
    dataset: Path, *, resume: bool, dry_run: bool, out: Path | None, **options: Any
) -> None:
    from scope_sr.cli.reshoot import mark, session_to_reshoot
    from scope_sr.session import Session

    if resume:
        msg = "--reshoot and --resume: once fields are marked, --resume --out SESSION goes on alone"
        raise InputError(msg)
    folder, steps = session_to_reshoot(dataset, out)
    if dry_run:
        for again in steps:
            click.echo(f"again {again.step}: {'; '.join(again.reasons)}")
        click.echo(f"{len(steps)} fields of {folder}. Nothing was moved or marked.")
        return
    with Session.resume(folder) as session:
        mark(session, steps)
    _resume(out=folder, **options)
    click.echo(f"Now build {dataset} again: the same scope-sr build-dataset command with --resume.")


def _say_what_is_left(
    *, rig: str | None, out: Path | None, skip_check: bool, **options: Any
) -> None:
    from scope_sr.acquire_pairs import describe_plan
    from scope_sr.session import Session

    session = Session.open(_named(out))
    _refuse_other_plan(session.plan, options)
    click.echo(describe_plan(session.plan, session.rig, session.record, session.folder))
    _say_left(session)


def _chosen(
    rig: Rig,
    record: CalibrationRecord,
    low: str | None,
    high: str | None,
    **_: Any,
) -> Rig:
    """Open the rig for the two objectives that will be used."""
    from scope_sr.plan import check_objectives

    low, high = low or rig.low, high or rig.high
    check_objectives(rig, record, low, high)
    return rig.model_copy(update={"low": low, "high": high})


def _unused(name: str) -> Path:
    """Give a folder name nobody uses yet: two captures may begin in one second."""
    taken = (f"{name}{ending}" for ending in ("", *(f"-{n}" for n in range(2, 100))))
    return next(path for path in map(Path, taken) if not path.exists())


def _named(out: Path | None) -> Path:
    if out is None:
        msg = "--resume needs --out DIR: which session shall go on?"
        raise InputError(msg)
    return out


def _say_left(session: Session) -> None:
    left, total = len(session.remaining()), len(session.plan.steps)
    click.echo(f"{session.folder}: {left} of {total} fields are left to capture.")
    if not left:
        click.echo(f"Picture: {session.folder / 'contact-sheet.png'}")


def _refuse_other_plan(plan: Plan, options: dict[str, Any]) -> None:
    stored = {
        "grid": (plan.rows, plan.columns),
        "low": plan.low,
        "high": plan.high,
        "overlap": plan.overlap,
        "coverage": plan.coverage,
        "tissue_only": plan.tissue_only,
        "order": plan.order,
        "focus": plan.focus,
    }
    for name, asked in options.items():
        if asked is not None and name in stored and asked != stored[name]:
            msg = (
                f"--{name.replace('_', '-')} {_option(asked)}: the session was planned with"
                f" {_option(stored[name])}; leave the option out, or choose another --out"
            )
            raise InputError(msg)
    if options["origin"] is not None:
        msg = "--origin: a session goes on where it was planned; leave the option out"
        raise InputError(msg)


def _option(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _dry_run(*, rig: str | None, out: Path | None, skip_check: bool, **options: Any) -> None:
    from scope_sr.acquire_pairs import describe_plan, draw_plan
    from scope_sr.calibration import CalibrationRecord
    from scope_sr.config import load_rig
    from scope_sr.microscope import open_microscope

    loaded = load_rig(rig or "simulated")
    record = CalibrationRecord.of_rig(loaded)
    chosen = _chosen(loaded, record, **options)
    with open_microscope(chosen, ask=Operator().ask) as microscope:
        plan = _plan(loaded, record, microscope, **options)
    _say_uncalibrated(record)
    click.echo(describe_plan(plan, loaded, record, out or Path()))
    picture = Path(f"{out.name}-plan.png" if out else time.strftime("plan-%Y-%m-%d-%H%M%S.png"))
    draw_plan(plan, record, loaded, picture)
    click.echo(f"Picture: {picture}\nNothing was moved. Leave out --dry-run to capture.")


def _plan(
    rig: Rig,
    record: CalibrationRecord,
    microscope: GuardedMicroscope,
    *,
    grid: tuple[int, int] | None,
    origin: Position | None,
    **options: Any,
) -> Plan:
    """Plan from where the stage is; a record of another instrument is refused."""
    from scope_sr.acquire_pairs import refuse_other_instrument, start_position, usual_focus
    from scope_sr.plan import plan_pairs

    given = {name: value for name, value in options.items() if value not in (None, "")}
    names = given.get("low", rig.low), given.get("high", rig.high)
    refuse_other_instrument(microscope, rig, record, names)
    centre = start_position(microscope, record, names[0], origin)
    rows, columns = grid or (3, 3)
    plan = plan_pairs(rig, record, rows=rows, columns=columns, origin=centre, **given)
    return plan if "focus" in given else replace(plan, focus=usual_focus(plan, record))


def _say_uncalibrated(record: CalibrationRecord) -> None:
    if not record.measured:
        click.echo("No calibration record: pixel size and offsets are the nominal ones of the rig.")
        return
    click.echo(f"Calibration record: {record.folder}")
    failed = sorted({check.section for check in record.checks if check.verdict == "fail"})
    measured = {check.section for check in record.checks}
    missing = [name for name in ("pixel-size", "offsets", "flat-field") if name not in measured]
    if failed:
        click.echo(f"warning: checks of it failed ({', '.join(failed)}); see its report.html")
    if measured and missing:
        click.echo(f"warning: not measured in it, taken from the rig file: {', '.join(missing)}")


def _run(microscope: GuardedMicroscope, session: Session, operator: Operator) -> None:
    """Capture with a progress bar; whatever ends it, say how to go on."""
    from scope_sr.acquire_pairs import capture_fields, conclude
    from scope_sr.session import resume_command

    began_s = time.monotonic()
    total = len(session.plan.steps)
    try:
        fields = capture_fields(microscope, session)
        done = total - len(session.remaining())
        shown = with_progress(fields, _state, operator, total=total, done=done)
        taken = [field.entry for field in shown]
        summary = conclude(session, time.monotonic() - began_s, taken)
    except KeyboardInterrupt:
        microscope.stop()
        click.echo(f"\nStopped. {_way_on(session)}", err=True)
        if microscope.retracted:
            click.echo(
                "The objective is retracted: resuming brings it back into focus; before a new"
                " capture focus by hand.",
                err=True,
            )
        sys.exit(INTERRUPTED)
    except (MicroscopeError, InputError) as error:
        msg = f"{error}. {_way_on(session)}"
        raise type(error)(msg) from error
    _print_summary(summary, session)
    if summary.rejected:
        click.echo(f"To take the rejected fields again: {resume_command(session.folder)}")
        sys.exit(1)


def _way_on(session: Session) -> str:
    from scope_sr.session import resume_command

    return f"{session.how_far()}; go on with: {resume_command(session.folder)}"


def _state(field: Captured) -> str:
    if field.frame is None:
        return f"{field.step.name} left out: glass"
    rejected = "REJECTED " if field.entry.faults else ""
    where = field.frame.position.describe()
    return f"{rejected}{field.step.objective} {field.step.name} at {where}"


def _but_for_rendering(session: Session) -> str:
    return "" if session.rig.backend == "micromanager" else ", but for computing the images"


def _print_summary(summary: Summary, session: Session) -> None:
    from scope_sr.disk import in_words
    from scope_sr.session import quoted

    plan = session.plan
    minutes, seconds = divmod(round(summary.seconds), 60)
    skipped = f", {summary.skipped} left out as glass" if summary.skipped else ""
    click.echo(
        f"{summary.low} of {len(plan.of_pass('low'))} low and {summary.high} of"
        f" {len(plan.of_pass('high'))} high fields, {summary.rejected} rejected{skipped},"
        f" in {minutes}:{seconds:02d} min"
    )
    if summary.field_seconds:
        click.echo(
            f"{summary.field_seconds:.1f} s from the first field of this run to its last;"
            f" {summary.expected_seconds:.1f} s were expected{_but_for_rendering(session)}"
        )
    area_mm2 = summary.area_um2 / 1e6
    click.echo(f"{area_mm2:.2f} mm² of specimen, {in_words(summary.bytes)} in {summary.folder}")
    for step in plan.steps:
        entry = session.entries.get(step.name)
        if entry is not None and entry.faults:
            click.echo(f"rejected {step.name}: {'; '.join(entry.faults)}")
    click.echo(f"Picture: {session.folder / 'contact-sheet.png'}")
    click.echo(f"Check it with: scope-sr check {quoted(session.folder)}")
