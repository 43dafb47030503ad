"""``scope-sr evaluate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scope_sr.cli.options import INTERRUPTED, FolderType
from scope_sr.cli.progress import stages

if TYPE_CHECKING:
    from scope_sr.evaluate import Evaluation


@click.command("evaluate", short_help="Judge a model beside bicubic, on images it never saw.")
@click.argument("model", metavar="MODEL")
@click.option("--data", type=FolderType(), help="A dataset of build-dataset, pairs or nuclei.")
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test"]),
    help="Which part of the dataset.  [test]",
)
@click.option("--lr", type=FolderType(), help="Low images, registered with those of --hr.")
@click.option("--hr", type=FolderType(), help="True images; without --lr low ones are made.")
@click.option("--images", type=FolderType(), help="Images for a nuclei model, with --labels.")
@click.option("--labels", type=FolderType(), help="Masks of --images or --hr, of the same names.")
@click.option("--scale", type=click.Choice(["2", "4"]), help="What the model must enlarge by.")
@click.option(
    "--degrade",
    type=click.Choice(["bicubic", "optics"]),
    help="How low images are made: as papers do (antialiased bicubic, 8 bit), or through the"
    " optics of --rig.  [optics, where there are none]",
)
@click.option("--rig", metavar="NAME|FILE", help="Whose optics.  [simulated]")
@click.option(
    "--nuclei",
    metavar="MODEL",
    help="What finds nuclei in low, enlarged and true images, where they are marked.  [nuclei]",
)
@click.option(
    "--lpips",
    nargs=2,
    type=click.Path(path_type=Path),
    default=None,
    metavar="VGG16 HEADS",
    help="Measure LPIPS too: torchvision's vgg16-397923af.pth and vgg.pth of lpips 0.1.",
)
@click.option(
    "--any-pixel-size",
    is_flag=True,
    help="Judge a model on other pixels, in µm, than its card says it was made for. (Files without"
    " a pixel size are taken for what it was made for.)",
)
@click.option(
    "--out", type=FolderType(), required=True, help="Folder of the report; one there is replaced."
)
def evaluate(scale: str | None, **options: Any) -> None:
    """Measure PSNR, SSIM and nuclei found, always beside bicubic and Lanczos on the same fields.

    Look at report.html; report.json holds every number. MODEL is a name, such as compact-x4, or a
    file.

    \b
    Examples
      scope-sr evaluate run/fidelity.ts --data ds --out report        the split "test"
      scope-sr evaluate compact-x4 --hr tiles --out report            low images by optics
      scope-sr evaluate compact-x4 --hr tiles --degrade bicubic --out report
      scope-sr evaluate compact-x2 --lr lr --hr hr --out report       pairs of your own
      scope-sr evaluate compact-x4 --data nuclei-ds --out report      nuclei found, too
      scope-sr evaluate nuclei --images tiles --labels masks --out report
    """
    from scope_sr.evaluate import Asked
    from scope_sr.evaluate import evaluate as judge

    asked = Asked(scale=int(scale) if scale else None, **options)
    try:
        with stages() as tell:
            found = judge(asked, tell)
    except KeyboardInterrupt:
        click.echo("\nStopped; no report was written", err=True)
        sys.exit(INTERRUPTED)
    _say(found)


def _say(found: Evaluation) -> None:
    for warning in found.warnings:
        click.echo(f"WARNING: {warning}")
    click.echo(found.verdict)
    report = found.report
    if report["kind"] == "sr":
        for figure in ("psnr_db", "ssim"):
            click.echo(f"{figure:8} {_values(figure, report[figure])}")
    for figure in ("dice", "aji", "pq", "f1"):
        if figure in report:
            click.echo(f"{figure:8} {_values(figure, report[figure])}")
    click.echo(f"Look at {found.folder / 'report.html'}")


def _values(figure: str, found: Any) -> str:
    from scope_sr.evaluate.words import number

    by = found if isinstance(found, dict) else {"model": found}
    return "  ".join(f"{name} {number(figure, value)}" for name, value in by.items())
