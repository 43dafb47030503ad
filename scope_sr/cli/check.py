"""``scope-sr check``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("check", short_help="Check a session: is every field there, and as written?")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--list", "list_fields", is_flag=True, help="List every field, not only the problems."
)
def check(folder: Path, list_fields: bool) -> None:
    """Check a session: every checksum, missing and extra files, what --resume would do.

    Reads everything, changes nothing. Exits with 0 if all is well and with 1 if something is wrong.
    """
    from rich.console import Console
    from rich.progress import Progress

    from scope_sr.check import check as check_session

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=None)
        found = check_session(
            folder,
            list_fields=list_fields,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    click.echo(found.text)
    if not found.ok:
        raise SystemExit(1)
