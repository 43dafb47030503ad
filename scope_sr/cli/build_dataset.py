"""``scope-sr build-dataset``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from scope_sr.cli.options import INTERRUPTED, FolderType
from scope_sr.cli.progress import stages

if TYPE_CHECKING:
    from scope_sr.build_dataset import Built
    from scope_sr.dataset import Dataset
    from scope_sr.dataset.index import Item

Tell = Callable[[str, int, int], None]
EXPORT_PX = 64


@click.command("build-dataset", short_help="Turn captures into registered, split training data.")
@click.argument("sessions", nargs=-1, metavar="[SESSION]...", type=click.Path(path_type=Path))
@click.option("--out", type=FolderType(), required=True, help="Folder of the dataset.")
@click.option(
    "--scale",
    type=click.Choice(["2", "4"]),
    default=None,
    help="High pixels per low pixel.  [nearest to the ratio of the pixels in µm]",
)
@click.option(
    "--pairs",
    nargs=2,
    type=click.Path(path_type=Path),
    default=None,
    metavar="LR_DIR HR_DIR",
    help="Instead of sessions: image files of the same names in two folders, PNG or TIFF, of"
    " unknown magnification ratio, rotation, flip and overlap.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="Instead of sessions: high-magnification images alone; the low ones are computed through"
    " the optics of --rig, and the dataset is marked as simulated.",
)
@click.option("--rig", metavar="NAME|FILE", default=None, help="Whose optics, for --images.")
@click.option(
    "--masks",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="Instead of sessions: images with masks of nuclei, in one of the usual layouts.",
)
@click.option(
    "--patients",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="CSV with the columns name, patient and, if you like, slide and split (train, val or"
    " test); names are those of the session folders or image files. Three patients or more are"
    " split by patient.",
)
@click.option("--licence", default="", metavar="TEXT", help="Noted on the dataset's card.")
@click.option(
    "--export",
    type=click.Choice(["basicsr", "imagefolder"]),
    default=None,
    help="Write patches too: for BasicSR, or for Hugging Face datasets, into DIR-KIND.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=None,
    help="Processes; the result is the same, byte for byte.  [one per processor]",
)
@click.option(
    "--resume", is_flag=True, help="Go on after a stop, or add sessions to a finished dataset."
)
def build_dataset(**options: Any) -> None:
    """Register, judge and split captured pairs: from sessions to what a network learns from.

    Each high field is laid on its low field by one map fitted to the whole session, drawn once onto
    an exact multiple of the low pixels, which stay as the camera gave them but for flat and dark.
    Pairs out of focus, shifted, of a wrong place or taken twice are left out, with the reason; look
    at report.html.

    \b
    Examples
      scope-sr build-dataset slide17 --out ds                       one session
      scope-sr build-dataset slide* --patients who.csv --out ds     split by patient
      scope-sr build-dataset slide* --out ds --resume               go on, or add sessions
      scope-sr build-dataset --pairs lr hr --out ds                 images of your own
      scope-sr build-dataset --images tiles --rig my-rig.toml --scale 4 --out ds
      scope-sr build-dataset --masks MoNuSeg --out nuclei
      scope-sr check ds                                             no tissue in two splits
    """
    _refuse_unclear(**options)
    export = options.pop("export")
    try:
        with stages() as tell:
            built = _build(tell=tell, **options)
            if export:
                exported = _export(built.dataset, export, tell)
    except KeyboardInterrupt:
        click.echo(f"\n{_stopped(options['out'])}", err=True)
        sys.exit(INTERRUPTED)
    _say(built)
    if export:
        click.echo(f"Patches: {exported}")
    if not any(item.accepted for item in built.dataset.items):
        sys.exit(1)


def _stopped(out: Path) -> str:
    from scope_sr.build_dataset.draft import WORK

    if (out / WORK).exists():
        return f"Stopped. What is done is safe in {out}; go on: the same with --resume"
    return "Stopped before anything was built; begin again"


def _refuse_unclear(
    sessions: tuple[Path, ...],
    pairs: tuple[Path, Path] | None,
    images: Path | None,
    masks: Path | None,
    rig: str | None,
    scale: str | None,
    out: Path,
    export: str | None,
    **_: Any,
) -> None:
    given = [
        name
        for name, value in (
            ("SESSION", sessions), ("--pairs", pairs), ("--images", images), ("--masks", masks),
        )
        if value
    ]  # fmt: skip
    if not given:
        msg = "nothing to build from: name sessions, or give --pairs, --images or --masks"
        raise click.UsageError(msg)
    if len(given) > 1:
        msg = f"{' and '.join(given)}: build one dataset of each"
        raise click.UsageError(msg)
    if bool(rig) != bool(images):
        msg = "--images and --rig belong together: the low images are made by the rig's optics"
        raise click.UsageError(msg)
    if export == "basicsr" and masks:
        msg = "--export basicsr: BasicSR reads pairs, not images with masks; choose imagefolder"
        raise click.UsageError(msg)
    place = _export_folder(out, export) if export else None
    if place and place.exists() and (not place.is_dir() or any(place.iterdir())):
        msg = f"--export: {place} is not empty; move it (nothing in it was touched)"
        raise click.UsageError(msg)
    if masks and scale:
        msg = "--scale: images with masks have no second magnification; leave it out"
        raise click.UsageError(msg)


def _build(
    *,
    sessions: tuple[Path, ...],
    pairs: tuple[Path, Path] | None,
    images: Path | None,
    masks: Path | None,
    rig: str | None,
    scale: str | None,
    workers: int | None,
    out: Path,
    **options: Any,
) -> Built:
    from scope_sr.build_dataset import (
        from_images,
        from_masks,
        from_pairs,
        from_sessions,
    )
    from scope_sr.build_dataset.parallel import usual_workers
    from scope_sr.config import load_rig

    options["count"] = workers or usual_workers()
    number = int(scale) if scale else None
    if masks:
        return from_masks(masks, out, **options)
    if images:
        return from_images(images, load_rig(rig or "simulated"), out, scale=number, **options)
    if pairs:
        return from_pairs(*pairs, out, scale=number, **options)
    return from_sessions(sessions, out, scale=number, **options)


def _export(dataset: Dataset, kind: Literal["basicsr", "imagefolder"], tell: Tell) -> Path:
    from scope_sr.dataset.export import export

    folder = _export_folder(dataset.folder, kind)
    export(dataset, kind, folder, EXPORT_PX, lambda done, total: tell("exporting", done, total))
    return folder


def _export_folder(out: Path, kind: str) -> Path:
    home = out.absolute()
    return home.with_name(f"{home.name}-{kind}")


def _say_uncountable(kept: Sequence[Item]) -> None:
    alike = sum(1 for item in kept if getattr(item, "nuclei", 0) is None)
    if alike:
        click.echo(
            f"note: {alike} masks do not tell touching nuclei apart: a network can learn from them"
            " where nuclei are, but none are counted when it is judged on them"
        )


def _unreadable(dataset: Dataset, reason: str) -> str:
    """Name the files that could not be read: that is no matter of quality."""
    if reason != "unreadable":
        return ""
    items = [one for one in dataset.items if one.reasons and one.reasons[0].startswith(reason)]
    return ": " + ", ".join(item.name for item in items[:5]) + (" …" if len(items) > 5 else "")


def _say(built: Built) -> None:
    from scope_sr.dataset.index import counts
    from scope_sr.session import quoted

    dataset = built.dataset
    kept = [item for item in dataset.items if item.accepted]
    noun = "pairs" if dataset.header.kind == "pairs" else "images"
    for remark in built.remarks[:10]:
        click.echo(f"note: {remark}")
    if len(built.remarks) > 10:
        click.echo(f"note: and {len(built.remarks) - 10} more")
    split = ", ".join(f"{number} {name}" for name, number in counts(kept).items())
    by = dataset.header.level
    click.echo(f"{len(kept)} of {len(dataset.items)} {noun} kept: {split}, split by {by}")
    if kept:
        for name, number in counts(kept).items():
            if not number:
                click.echo(f"note: no {name}; add data before a network is trained on this")
    why = Counter(item.reasons[0].partition(":")[0] for item in dataset.items if not item.accepted)
    for reason, number in why.most_common():
        click.echo(f"rejected  {number:4}  {reason}{_unreadable(dataset, reason)}")
    _say_uncountable(kept)
    again = sum(len(session["steps"]) for session in built.reshoot)
    if again:
        click.echo(
            f"{again} fields are worth taking again:"
            f" scope-sr acquire-pairs --reshoot {quoted(dataset.folder)}"
        )
    click.echo(f"Look at {dataset.folder / 'report.html'}")
    click.echo(f"Check it with: scope-sr check {quoted(dataset.folder)}")
