"""``scope-sr export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from scope_sr.export import Exported


@click.command("export", short_help="Write a model as ONNX, OpenVINO or TorchScript.")
@click.argument("source", metavar="RUN|MODEL")
@click.option(
    "--to",
    "form",
    type=click.Choice(["onnx", "openvino", "torchscript"]),
    required=True,
    help="Which form; onnx and openvino need the extra of that name.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Ends in .onnx, .xml (a .bin comes beside it) or .ts.",
)
@click.option(
    "--gan-share",
    type=click.FloatRange(0, 1),
    default=None,
    metavar="A",
    help="Of a training run: blend its two sets of weights, from 0 (fidelity) to 1 (GAN)."
    "  [fidelity]",
)
@click.option(
    "--int8",
    is_flag=True,
    help="OpenVINO with eight bits inside: faster on a CPU; how far it is from float is said.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="The dataset whose pictures --int8 is calibrated on.",
)
def export(source: str, **options: Any) -> None:
    """Write a trained model in the form of another runtime, with its card beside it.

    RUN is the folder of a finished training, MODEL a model file or the name of one that comes with
    scope-sr (scope-sr models lists them). 8-bit RGB pictures (N, H, W, 3) of any size go in and
    come out, in every form. The result is compared with the network before it is written.

    \b
    Examples
      scope-sr export compact-x4 --to onnx --out compact-x4.onnx
      scope-sr export runs/x2 --gan-share 0.3 --to torchscript --out soft.ts
      scope-sr export runs/x2 --to openvino --out x2.xml --int8 --data ds
    """
    from rich.console import Console

    from scope_sr.export import export as export_model

    console = Console(stderr=True)
    with console.status("converting and comparing", spinner="line"):
        done = export_model(source, **options)
    click.echo(_words(done))


def _words(done: Exported) -> str:
    from scope_sr.disk import in_words

    lines = [f"{path}  {in_words(path.stat().st_size)}" for path in done.files]
    if done.psnr_db is None:
        lines.append(f"gives the picture of the network, to {done.levels} of 255 levels")
    else:
        lines.append(
            f"{done.psnr_db:.1f} dB from the picture of the network in float (50 dB is an error of"
            " less than one of 255 levels)"
        )
    return "\n".join(lines)
