"""``scope-sr enhance``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scope_sr.cli.options import INTERRUPTED, FolderType
from scope_sr.cli.progress import bars

if TYPE_CHECKING:
    from scope_sr.enhance import Outcome

FIRST = os.environ.get("RANK", "0") == "0"  # of the processes torchrun has begun


@click.command("enhance", short_help="Enlarge fields and slides; find and measure their nuclei.")
@click.argument(
    "inputs", metavar="INPUT...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--model", required=True, metavar="MODEL", help="Generator: a name (scope-sr models) or a file."
)
@click.option(
    "--nuclei",
    metavar="MODEL",
    help="Find and measure nuclei in the enhanced picture with this U-Net, such as nuclei.",
)
@click.option("--out", type=FolderType(), required=True, help="Folder of what is made.")
@click.option(
    "--um-per-px",
    type=click.FloatRange(0, 1000, min_open=True),
    help="Pixel size of all inputs in µm, where the files do not say; it goes before what a file"
    " says, with a warning.",
)
@click.option(
    "--any-pixel-size",
    is_flag=True,
    help="Take pictures of another pixel size than the model was made for.",
)
@click.option(
    "--fidelity",
    is_flag=True,
    help="Map where the enhanced picture, made small again, is another than the input.",
)
@click.option(
    "--runtime",
    type=click.Choice(["auto", "cuda", "mps", "openvino", "cpu"]),
    default="auto",
    show_default=True,
    help="What to compute with; auto tries what there is and takes the fastest.",
)
@click.option("--resume", is_flag=True, help="Go on after a stop, or add inputs to a finished run.")
def enhance(inputs: tuple[Path, ...], **options: Any) -> None:
    """Enlarge pictures, slides and captured sessions with a generator.

    INPUT is a PNG, JPEG or TIFF, a slide (SVS and other tiled TIFFs; more with the extra
    "openslide"), a session of acquire-pairs, whose low fields are corrected, stitched and enhanced,
    or a folder of pictures. Each NAME becomes NAME.sr.ome.tif, a pyramid that QuPath, napari and
    Fiji open; --nuclei adds tables, outlines for QuPath and an overlay. Look at summary.html.

    \b
    Examples
      scope-sr enhance slide.svs --model compact-x2 --nuclei nuclei --out enhanced
      scope-sr enhance field.png --um-per-px 0.5 --model compact-x2 --out enhanced
      scope-sr enhance session --model compact-x2 --fidelity --out enhanced
      scope-sr enhance slides --model compact-x2 --out enhanced --resume
      torchrun --nproc_per_node 4 -m scope_sr enhance slides --model compact-x2 --out enhanced
    """
    from scope_sr.enhance import Asked
    from scope_sr.enhance import enhance as carry_out

    asked = Asked(inputs=inputs, **options)
    try:
        with _told() as (tell, say):
            found = carry_out(asked, tell, say)
    except KeyboardInterrupt:
        if FIRST:
            click.echo(f"\n{_stopped(asked.out)}", err=True)
        sys.exit(INTERRUPTED)
    if FIRST:
        _say(found)
    if found.failed:
        sys.exit(1)


@contextmanager
def _told() -> Iterator[tuple[Callable[[str, int, int], None], Callable[[str], None]]]:
    """Show one bar for what is being done to people, fifths to logs; lines stand above the bar."""
    with bars() as progress:
        task = progress.add_task("", total=None, visible=False)
        told: set[tuple[str, int]] = set()

        def tell(stage: str, done: int, total: int) -> None:
            progress.update(task, description=stage, completed=done, total=total, visible=FIRST)
            fifth = 5 * done // max(1, total)
            if progress.console.is_terminal or fifth == 0 or (stage, fifth) in told:
                return
            told.add((stage, fifth))
            click.echo(f"{stage} {20 * fifth} %", err=True)

        def say(line: str) -> None:
            progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

        yield tell, say


def _stopped(out: Path) -> str:
    from scope_sr.enhance.ledger import JSON

    if (out / JSON).exists():
        return f"Stopped. What is done is safe in {out}; go on: the same with --resume"
    return "Stopped before anything was made; begin again"


def _say(found: Outcome) -> None:
    for name, error in found.failed:
        click.echo(f"FAILED {name}: {error}")
    done = f"{found.done} enhanced" if found.done != 1 else "1 enhanced"
    click.echo(f"{done}, {len(found.failed)} failed" if found.failed else done)
    click.echo(f"Look at {found.page}")
