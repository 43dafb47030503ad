"""``scope-sr acquire-pairs``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scope_sr.cli.operator import Operator
from scope_sr.cli.options import INTERRUPTED, FolderType, GridType, PlaceType, ShareType
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
    "--out",
    type=FolderType(),
    default=None,
    help="Folder of the session, made if needed.  [pairs-DATE-TIME]",
)
@click.option(
    "--resume", is_flag=True, help="Go on with the session in --out, with its own rig and plan."
)
@click.option(
    "--dry-run", is_flag=True, help="Show the plan as a table and a picture; move nothing."
)
def acquire_pairs(**options: Any) -> None:
    """Capture the same tissue at low and at high magnification, over a grid.

    The whole grid is taken with the low objective, the nosepiece turns once, and each low field is
    filled with high fields. Every field is safe on disk before the next is taken: after Ctrl-C, a
    crash or a power cut, --resume goes on where it stopped.

    \b
    Examples
      scope-sr acquire-pairs --grid 2x2                    simulated, into a dated folder
      scope-sr acquire-pairs --grid 5x5 --dry-run          how many fields, how long, how large
      scope-sr acquire-pairs --rig my-rig.toml --grid 5x5 --tissue-only --out slide-17
      scope-sr acquire-pairs --resume --out slide-17
    """
    resume, dry_run = options.pop("resume"), options.pop("dry_run")
    if resume and dry_run:
        _say_what_is_left(**options)
    elif resume:
        _resume(**options)
    elif dry_run:
        _dry_run(**options)
    else:
        _acquire(**options)


def _acquire(*, rig: str | None, out: Path | None, **options: Any) -> None:
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
        with Session.create(out, plan, loaded, record) as session:
            _run(microscope, session, operator)


def _resume(*, rig: str | None, out: Path | None, **options: Any) -> None:
    from scope_sr.acquire_pairs import concluded
    from scope_sr.config import load_rig
    from scope_sr.microscope import open_microscope
    from scope_sr.session import Session

    with Session.resume(_named(out), rig=load_rig(rig) if rig else None) as session:
        _refuse_other_plan(session.plan, options)
        _say_left(session)
        if session.remaining() or not concluded(session):
            chosen = _chosen(session.rig, session.record, session.plan.low, session.plan.high)
            operator = Operator()
            with open_microscope(chosen, log_folder=session.folder, ask=operator.ask) as microscope:
                _run(microscope, session, operator)


def _say_what_is_left(*, rig: str | None, out: Path | None, **options: Any) -> None:
    from scope_sr.acquire_pairs import describe_plan
    from scope_sr.session import Session

    session = Session.open(_named(out))
    _refuse_other_plan(session.plan, options)
    click.echo(describe_plan(session.plan, session.rig, session.folder))
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


def _dry_run(*, rig: str | None, out: Path | None, **options: Any) -> None:
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
    click.echo(describe_plan(plan, loaded, out or Path()))
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
    from scope_sr.acquire_pairs import start_position
    from scope_sr.plan import plan_pairs

    given = {name: value for name, value in options.items() if value is not None}
    low = given.get("low", rig.low)
    centre = start_position(microscope, record, low, origin)
    rows, columns = grid or (3, 3)
    return plan_pairs(rig, record, rows=rows, columns=columns, origin=centre, **given)


def _say_uncalibrated(record: CalibrationRecord) -> None:
    if not record.measured:
        click.echo("No calibration record: pixel size and offsets are the nominal ones of the rig.")


def _run(microscope: GuardedMicroscope, session: Session, operator: Operator) -> None:
    """Capture with a progress bar; whatever ends it, say how to go on."""
    from scope_sr.acquire_pairs import capture_fields, conclude
    from scope_sr.session import resume_command

    began_s = time.monotonic()
    try:
        for _ in _with_progress(capture_fields(microscope, session), session, operator):
            pass
        summary = conclude(session, time.monotonic() - began_s)
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


def _with_progress(
    fields: Iterable[Captured], session: Session, operator: Operator
) -> Iterator[Captured]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    total = len(session.plan.steps)
    done = total - len(session.remaining())
    console = Console(stderr=True)
    columns = (
        BarColumn(bar_width=16, table_column=Column(no_wrap=True, min_width=8)),
        MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=2 * len(str(total)) + 1)),
        TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
        TextColumn(
            "{task.description}",
            markup=False,
            table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
        ),
    )
    with Progress(
        *columns, console=console, expand=True, disable=not console.is_terminal
    ) as progress:
        operator.progress = progress
        task = progress.add_task("starting", total=total, completed=done)
        for field in fields:
            done += 1
            state = _state(field)
            progress.update(task, completed=done, description=state)
            if not console.is_terminal and (done == total or done % max(1, total // 10) == 0):
                click.echo(f"{done}/{total} {state}", err=True)
            yield field


def _state(field: Captured) -> str:
    if field.frame is None:
        return f"{field.step.name} left out: glass"
    rejected = "REJECTED " if field.entry.faults else ""
    where = field.frame.position.describe()
    return f"{rejected}{field.step.objective} {field.step.name} at {where}"


def _print_summary(summary: Summary, session: Session) -> None:
    from scope_sr.session import in_words, quoted

    plan = session.plan
    minutes, seconds = divmod(round(summary.seconds), 60)
    skipped = f", {summary.skipped} left out as glass" if summary.skipped else ""
    click.echo(
        f"{summary.low} of {len(plan.of_pass('low'))} low and {summary.high} of"
        f" {len(plan.of_pass('high'))} high fields, {summary.rejected} rejected{skipped},"
        f" in {minutes}:{seconds:02d} min"
    )
    area_mm2 = summary.area_um2 / 1e6
    click.echo(f"{area_mm2:.2f} mm² of specimen, {in_words(summary.bytes)} in {summary.folder}")
    for step in plan.steps:
        entry = session.entries.get(step.name)
        if entry is not None and entry.faults:
            click.echo(f"rejected {step.name}: {'; '.join(entry.faults)}")
    click.echo(f"Picture: {session.folder / 'contact-sheet.png'}")
    click.echo(f"Check it with: scope-sr check {quoted(session.folder)}")
