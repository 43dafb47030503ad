"""``scope-sr check``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("check", short_help="Check a session or a dataset: is it whole, is it honest?")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--list", "list_all", is_flag=True, help="List every field or pair, not only the problems."
)
def check(folder: Path, list_all: bool) -> None:
    """Check a session or a dataset: every checksum, missing and extra files.

    Of a session it says what --resume would do; of a dataset it proves that no patient, no tissue
    and no picture stands in two splits.

    Reads everything, changes nothing. Exits with 0 if all is well and with 1 if something is wrong.
    """
    from rich.console import Console
    from rich.progress import Progress

    from scope_sr.check import check as check_folder

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=None)
        found = check_folder(
            folder,
            list_all=list_all,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    click.echo(found.text)
    if not found.ok:
        raise SystemExit(1)
