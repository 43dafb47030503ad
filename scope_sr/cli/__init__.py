"""One command per job, one file per command: read the options, call the job, print the result."""

from __future__ import annotations

import io
import signal
import sys

import click

from scope_sr import __version__
from scope_sr.cli.acquire_pairs import acquire_pairs
from scope_sr.cli.build_dataset import build_dataset
from scope_sr.cli.calibrate import calibrate
from scope_sr.cli.check import check
from scope_sr.cli.doctor import doctor
from scope_sr.cli.enhance import enhance
from scope_sr.cli.evaluate import evaluate
from scope_sr.cli.export import export
from scope_sr.cli.live import live
from scope_sr.cli.models import models
from scope_sr.cli.options import INTERRUPTED
from scope_sr.cli.train import train
from scope_sr.errors import ScopeSRError


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=True,
)
@click.version_option(__version__, prog_name="scope-sr")
@click.pass_context
def cli(context: click.Context) -> None:
    """Paired low- and high-magnification microscopy of H&E slides.

    Start here, no microscope needed: scope-sr acquire-pairs --grid 2x2
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


cli.add_command(acquire_pairs)
cli.add_command(build_dataset)
cli.add_command(calibrate)
cli.add_command(check)
cli.add_command(doctor)
cli.add_command(enhance)
cli.add_command(evaluate)
cli.add_command(export)
cli.add_command(live)
cli.add_command(models)
cli.add_command(train)


def main() -> None:
    """Run the command line; errors of the user's become one line, bugs keep their traceback."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a µ must not end a capture on an old console
    try:
        cli.main(prog_name="scope-sr", standalone_mode=False)
    except click.ClickException as error:
        command = (
            error.ctx.command_path
            if isinstance(error, click.UsageError) and error.ctx
            else "scope-sr"
        )
        _fail(f"{error.format_message()} ({command} --help)", 2)
    except ScopeSRError as error:
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("\nStopped", err=True)
        sys.exit(INTERRUPTED)


def _fail(message: str, code: int) -> None:
    click.echo("Error: " + " ".join(message.split()), err=True)
    sys.exit(code)
