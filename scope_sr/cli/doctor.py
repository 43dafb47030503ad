"""``scope-sr doctor``."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

READABLE = 110  # columns; longer lines are hard to follow on a wide screen


@click.command("doctor", short_help="Look for what would stop a capture, with the remedy.")
@click.option(
    "--rig",
    metavar="NAME|FILE",
    default=None,
    help="Look into the microscope of this rig too: a rig file, simulated or demo."
    "  [this computer, and the"
    " Micro-Manager that runs on it]",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document, for programs.")
def doctor(rig: str | None, as_json: bool) -> None:
    """Look at this computer and at a microscope; say what is wrong and how to put it right.

    Nothing moves and nothing is changed. Looked at are: versions, GPU, display, the speed of the
    disk this folder is on, and, with --rig, the rig file and its Micro-Manager: adapters, roles,
    labels, pixel sizes, camera, stage limits. Without a rig it tells what one is written from.
    A PROBLEM would stop a capture, a note is worth
    knowing; the line after each -> says what to do. Send the --json to whoever helps you.

    \b
    Examples
      scope-sr doctor                        this computer, and the Micro-Manager that runs on it
      scope-sr doctor --rig my-rig.toml      that rig, and the stand it describes
      scope-sr doctor --rig demo --json      the same for programs

    Exits with 0 if there is no problem and with 1 if there is one.
    """
    from rich.console import Console

    from scope_sr.doctor import examine

    console = Console(stderr=True)
    with console.status("looking at this computer", spinner="line") as status:
        report = examine(rig, Path.cwd(), progress=lambda what: status.update(f"looking at {what}"))
    width = min(shutil.get_terminal_size((READABLE, 24)).columns, READABLE)
    click.echo(report.to_json() if as_json else report.text(width))
    if not report.ok:
        raise SystemExit(1)
