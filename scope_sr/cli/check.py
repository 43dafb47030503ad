"""``scope-sr check``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("check")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--list", "list_fields", is_flag=True, help="List every field, not only the problems."
)
def check(folder: Path, list_fields: bool) -> None:
    """Check a session: every checksum, missing and extra files, what --resume would do.

    Exits with 0 if all is well and with 1 if something is wrong.
    """
    from scope_sr.check import check as check_session

    report = check_session(folder, list_fields=list_fields)
    click.echo(report.text)
    if not report.ok:
        raise SystemExit(1)
