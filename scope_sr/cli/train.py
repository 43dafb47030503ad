"""``scope-sr train``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scope_sr.cli.options import INTERRUPTED, FolderType
from scope_sr.cli.progress import bars

if TYPE_CHECKING:
    from scope_sr.train import Finished, Progress

    Tell = Callable[[Progress], None]

FIRST = os.environ.get("RANK", "0") == "0"  # of the processes torchrun has begun
TOUR = {"steps": 300, "every": 100, "scale": 2}


@click.group("train", invoke_without_command=True, short_help="Train SRGAN or the nuclei U-Net.")
@click.option("--out", type=FolderType(), default=None, help="Folder of the tour.  [scope-sr-tour]")
@click.pass_context
def train(context: click.Context, out: Path | None) -> None:
    """Train a generator (srgan) or a nuclei U-Net (unet).

    Without a command it gives a tour of a few minutes: the model compact-x2 learns on from the
    tissue of the package, low images computed through the optics of the simulated microscope.

    \b
    Examples
      scope-sr train                                        the tour
      scope-sr train srgan --data ds --out run              a generator from pairs
      scope-sr train unet --data nuclei --out run           a nuclei U-Net from images with masks
      scope-sr train srgan --out run --resume               go on after a stop
      torchrun --nproc_per_node 4 -m scope_sr train srgan --data ds --out run
    """
    if context.invoked_subcommand is None:
        _tour(out or Path("scope-sr-tour"))
    elif out:
        msg = f"--out belongs behind {context.invoked_subcommand}"
        raise click.UsageError(msg)


def _shared(command: Callable[..., None]) -> Callable[..., None]:
    """Give both commands the same options."""
    file = click.Path(path_type=Path)
    for option in reversed(
        (
            click.option("--data", type=file, default=None, help="Dataset, from build-dataset."),
            click.option("--out", type=FolderType(), required=True, help="Folder of the run."),
            click.option(
                "--recipe",
                type=file,
                default=None,
                help="TOML file that says how; configs/srgan.toml and configs/unet.toml show and"
                " explain every key.  [their values]",
            ),
            click.option(
                "--start",
                metavar="MODEL",
                default="",
                help="Begin with the weights of a model, a name or a file, as far as they fit.",
            ),
            click.option("--resume", is_flag=True, help="Go on with a run that was stopped."),
            click.option(
                "--tensorboard", is_flag=True, help="Write RUN/tensorboard too, for TensorBoard."
            ),
        )
    ):
        command = option(command)
    return command


@train.command("srgan", short_help="A generator from pairs of low and high images.")
@_shared
def srgan(**options: Any) -> None:
    """Learn LR -> HR from a dataset of pairs, in two stages.

    First the likeliest picture (fidelity.ts): L1 after the best small shift. Then one that looks
    real (gan.ts): a discriminator and, if the recipe names them, features. Everything is judged
    beside bicubic interpolation; look at RUN/samples and RUN/curves.png while it runs. Ctrl-C saves
    and stops.
    """
    _run("srgan", **options)


@train.command("unet", short_help="A nuclei U-Net from images with masks.")
@_shared
def unet(**options: Any) -> None:
    """Learn to find nuclei from a dataset of images with masks (build-dataset --masks).

    The recipe's [mixture] says whether it sees high images only, or low ones enlarged and
    super-resolved ones as well, which it must if their nuclei are to be compared. Ctrl-C saves and
    stops.
    """
    _run("unet", **options)


def _run(
    job: str,
    *,
    data: Path | None,
    out: Path,
    recipe: Path | None,
    start: str,
    resume: bool,
    tensorboard: bool,
) -> None:
    if resume and (recipe or start):
        msg = "--resume goes on with the recipe and the weights of the run; leave the others out"
        raise click.UsageError(msg)
    if not resume and data is None:
        msg = "--data: name a dataset; build one with: scope-sr build-dataset SESSION --out DIR"
        raise click.UsageError(msg)
    from scope_sr.config import SrganRecipe, UnetRecipe, load_recipe
    from scope_sr.train import recipe_of_run, train_srgan, train_unet

    kind: Any = SrganRecipe if job == "srgan" else UnetRecipe
    if resume:
        told, data_before = recipe_of_run(out, job, kind)
        data = data or data_before
    else:
        told = load_recipe(recipe, kind) if recipe else kind()
    carry_out: Any = train_srgan if job == "srgan" else train_unet
    with _asked_to_stop() as stop, _told(out, tensorboard=tensorboard) as tell:
        finished = carry_out(data, told, out, start=start, resume=resume, tell=tell, stop=stop)
    _say(finished, job, data)


def _tour(out: Path) -> None:
    """Show a newcomer all of it: images, low ones made of them, a model that learns on."""
    from scope_sr.build_dataset import LICENCE, from_images, usual_workers, write_tissue
    from scope_sr.config import SrganRecipe, load_rig
    from scope_sr.errors import InputError
    from scope_sr.modelfile import read_card
    from scope_sr.train import train_srgan

    read_card("compact-x2")  # refused before anything is written

    data, run = out / "dataset", out / "run"
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        way = "name another folder for the tour"
        if (run / "run.json").exists():
            way += f", or go on with: scope-sr train srgan --out {run} --resume"
        msg = f"--out: {out} is not empty; {way}"
        raise InputError(msg)
    click.echo("A tour: compact-x2, which comes trained, learns on for a few minutes from the")
    click.echo("tissue of the package; the low images are computed, not captured.")
    images, patients = write_tissue(out / "tissue")
    with bars() as progress:
        task = progress.add_task("computing low images", total=None)
        from_images(
            images,
            load_rig("simulated"),
            data,
            scale=TOUR["scale"],
            patients=patients,
            licence=LICENCE,
            count=usual_workers(),
            resume=False,
            tell=lambda stage, done, total: progress.update(
                task, description=stage, completed=done, total=total
            ),
        )
    recipe = SrganRecipe.model_validate(
        {
            "degradation": {"low": "optics"},
            "pixel": {"steps": TOUR["steps"], "learning_rate": 1e-4, "shift_px": 0},
            "gan": {"steps": 0},
            "checks": {"every_steps": TOUR["every"]},
        }
    )
    with _asked_to_stop() as stop, _told(run, tensorboard=False) as tell:
        finished = train_srgan(data, recipe, run, start="compact-x2", tell=tell, stop=stop)
    _say(finished, "srgan", data)
    click.echo("The patients of split test were never learnt from, neither here nor before.")
    click.echo(
        "It gains little: it has learnt from such tissue already (step 0 of curves.png). Your"
    )
    click.echo("own pairs are where it has something to learn: scope-sr build-dataset --help")


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Take the first Ctrl-C as a wish to save and stop, the second as an order."""
    wished = False

    def wish(number: int, frame: object) -> None:
        nonlocal wished
        if wished:
            signal.default_int_handler(number, None)
        wished = True
        if FIRST:
            click.echo("\nStopping after this step; once more to stop without saving", err=True)

    before = {number: signal.signal(number, wish) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: wished
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _told(out: Path, *, tensorboard: bool) -> Iterator[Tell]:
    """Show a bar for each stage with its losses to people, ten lines for each to logs."""
    with bars() as progress:
        tasks: dict[str, Any] = {}
        boards: list[Tell] = []
        if tensorboard and FIRST:
            from scope_sr.train.board import board

            boards.append(board(out / "tensorboard"))

        def tell(news: Progress) -> None:
            if not FIRST:
                return
            for one in boards:
                one(news)
            said = "  ".join(f"{name} {value:.4g}" for name, value in news.figures.items())
            if news.stage not in tasks:
                tasks[news.stage] = progress.add_task(news.stage, total=news.steps)
            progress.update(
                tasks[news.stage],
                completed=news.step,
                total=news.steps,
                description=f"{news.stage}  {said}",
            )
            if not progress.console.is_terminal and news.step in _tenths(news.steps):
                click.echo(f"{news.stage} {news.step}/{news.steps}  {said}", err=True)

        yield tell


def _tenths(steps: int) -> set[int]:
    """Choose ten of the steps that are told of: those are multiples of twenty, and the last."""
    return {round(steps * k / 10 / 20) * 20 for k in range(1, 10)} | {steps}


def _say(finished: Finished, job: str, data: Path | None) -> None:
    if not FIRST:
        return
    from scope_sr.cli.models import measured
    from scope_sr.modelfile import read_card
    from scope_sr.session import quoted

    if finished.stopped:
        way = f"scope-sr train {job} --out {quoted(finished.folder)} --resume"
        click.echo(f"Stopped; all is saved. Go on with: {way}", err=True)
        sys.exit(INTERRUPTED)
    if finished.why != "all steps done":
        click.echo(f"Ended early: {finished.why}")
    for model in finished.models:
        figures = read_card(model).figures
        click.echo(f"Model: {model}")
        for one in figures:
            click.echo(f"  {measured(one)} ({one.protocol}, n = {one.images})")
    click.echo(f"Look at {finished.folder / 'samples'} and {finished.folder / 'curves.png'}")
    if data is not None and finished.models:
        what = f"{quoted(finished.models[0])} --data {quoted(data)} --out report"
        click.echo(f"Judge it on whole images: scope-sr evaluate {what}")
