"""``scope-sr live``."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from scope_sr.cli.options import FolderType
from scope_sr.errors import InputError, ScopeSRError
from scope_sr.software import NOTICE

if TYPE_CHECKING:
    from scope_sr.live.headless import Figures
    from scope_sr.live.pipeline import Pipeline
    from scope_sr.live.source.stand import Stand
    from scope_sr.microscope import Ask

SCREENSHOT_S = 60.0  # at most, for the enhanced picture to be whole
SNAPSHOTS = "snapshots"


@click.command("live", short_help="Watch the slide, enhanced as you go.")
@click.option(
    "--rig",
    metavar="NAME|FILE",
    default=None,
    help="A rig file (see configs/), or a built-in rig: simulated, or demo (Micro-Manager's own)."
    "  [simulated]",
)
@click.option(
    "--replay",
    metavar="SESSION|FOLDER",
    type=click.Path(path_type=Path),
    default=None,
    help="Play a captured session, a recording or a folder of pictures instead of a camera.",
)
@click.option(
    "--model",
    default="auto",
    metavar="MODEL",
    help="Generator: a name (scope-sr models), a file, or none.  [what fits the pixel size]",
)
@click.option(
    "--nuclei",
    default="auto",
    metavar="MODEL",
    help="U-Net that finds nuclei: a name, a file, or none.  [what fits the pixel size]",
)
@click.option(
    "--runtime",
    type=click.Choice(["auto", "cuda", "mps", "openvino", "cpu"]),
    default="auto",
    show_default=True,
    help="What to compute with; auto tries what there is and takes the fastest.",
)
@click.option(
    "--out",
    type=FolderType(),
    default=None,
    help="Folder for snapshots and recordings, made when the first is.  [snapshots]",
)
@click.option(
    "--headless",
    metavar="SECONDS",
    type=click.FloatRange(0, 86400, min_open=True),
    default=None,
    help="No window: run for so long and say how fast and how late pictures were.",
)
@click.option("--json", "as_json", is_flag=True, help="With --headless: one JSON object.")
@click.option(
    "--screenshot",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="No window on the screen: draw it into this PNG and end.",
)
def live(headless: float | None, as_json: bool, screenshot: Path | None, **asked: Any) -> None:
    """Watch a slide through the microscope, enhanced and with its nuclei, as you go.

    The camera's picture is always live. The enhanced one is drawn where it belongs, with its age;
    on a small computer it begins around the cursor and grows outwards while the stage is still.
    Press ? in the window for all keys.

    \b
    Examples
      scope-sr live                              a slide in the simulated microscope
      scope-sr live --rig my-rig.toml            your stand, through Micro-Manager
      scope-sr live --replay captures/slide-17   a session captured before
      scope-sr live --headless 10 --json         how fast is this computer?
      scope-sr live --screenshot window.png      a picture of the window; no display needed

    Enhanced pictures contain generated detail. Research use only, not for diagnosis.
    """
    _refuse_contradictions(asked, headless, as_json, screenshot)
    if headless is not None:
        _run_headless(_pipeline(asked, _operator()), headless, as_json)
    elif screenshot is not None:
        _draw(asked, screenshot)
    else:
        _show(asked)


def _refuse_contradictions(
    asked: dict[str, Any], headless: float | None, as_json: bool, screenshot: Path | None
) -> None:
    """Refuse options that do not go together, before anything is opened."""
    if asked["rig"] and asked["replay"]:
        msg = "--rig and --replay: a replay has no microscope; give one of them"
        raise click.UsageError(msg)
    if headless is not None and screenshot is not None:
        msg = "--headless and --screenshot: one measures, the other draws; give one of them"
        raise click.UsageError(msg)
    if as_json and headless is None:
        msg = "--json goes with --headless; add --headless 10"
        raise click.UsageError(msg)
    if screenshot is not None and screenshot.suffix.lower() != ".png":
        msg = f"--screenshot {screenshot}: it is drawn as a PNG; name it {screenshot.stem}.png"
        raise click.UsageError(msg)
    if screenshot is not None and not screenshot.absolute().parent.is_dir():
        msg = f"--screenshot {screenshot}: there is no folder {screenshot.parent}; make it first"
        raise click.UsageError(msg)


def _pipeline(asked: dict[str, Any], ask: Ask | None) -> Pipeline:
    """Describe the source and what is to be done with its frames; nothing runs yet."""
    from scope_sr.live.pipeline import Pipeline
    from scope_sr.live.seen import Wishes

    wishes = Wishes(model=_wanted(asked["model"]), nuclei=_wanted(asked["nuclei"]))
    folder = asked["out"] or Path(SNAPSHOTS)
    return Pipeline(_stand(asked, ask), folder, wishes, asked["runtime"])


def _wanted(model: str) -> str:
    """Look whether a model can be had, without the libraries it runs in."""
    from scope_sr.modelfile import read_card

    if model == "none":
        return ""
    if model != "auto" and Path(model).suffix != ".xml":
        read_card(model)
    elif model != "auto" and not Path(model).is_file():
        msg = f"{model}: there is no such file; scope-sr export writes one"
        raise InputError(msg)
    return model


def _stand(asked: dict[str, Any], ask: Ask | None) -> Stand:
    if asked["replay"]:
        from scope_sr.live.source.replay import stand_of

        return stand_of(asked["replay"])
    from scope_sr.config import load_rig
    from scope_sr.live.source.stand import Stand

    return Stand.of_rig(load_rig(asked["rig"] or "simulated"), ask)


def _operator() -> Ask | None:
    from scope_sr.cli.operator import Operator

    return Operator().ask if sys.stdin.isatty() else None


def _run_headless(pipeline: Pipeline, seconds: float, as_json: bool) -> None:
    from scope_sr.live.headless import measured

    found = measured(pipeline, seconds, lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps(found.table(), ensure_ascii=False, indent=2))
    else:
        click.echo(_in_words(found))
    _end(0)


def _in_words(found: Figures) -> str:
    """Give the figures as lines for people."""
    original, enhanced = (found.latency_ms[name] for name in ("original", "enhanced"))
    columns, rows = found.camera_px
    lines = [
        f"{found.source}, {columns} x {rows} px, {found.seconds:g} s",
        f"original  {found.fps_original:5.1f} fps, latency {original['p50']:.0f} ms"
        f" (95 % within {original['p95']:.0f}), {found.skipped} skipped",
        f"enhanced  {found.fps_enhanced:5.1f} per s, latency {enhanced['p50']:.0f} ms"
        f" (95 % within {enhanced['p95']:.0f})",
        f"with      {found.model or 'no model'}, {found.nuclei or 'no nuclei'}:"
        f" {found.backend or 'nothing computed'}, {found.window_px} px at a time",
        *(f"went wrong: {words}" for words in found.errors),
        NOTICE,
    ]
    return "\n".join(lines)


def _draw(asked: dict[str, Any], path: Path) -> None:
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    _refuse_broken_qt(screen=False)
    pipeline = _pipeline(asked, None)
    from scope_sr.config import reason
    from scope_sr.live.window.showing import screenshot

    try:
        screenshot(pipeline, path, SCREENSHOT_S)
    except OSError as error:
        msg = f"{path}: cannot be written ({reason(error)}); name a file where there is room"
        raise ScopeSRError(msg) from error
    click.echo(f"Drawn into {path}")
    _end(0)


def _show(asked: dict[str, Any]) -> None:
    _refuse_broken_qt(screen=True)
    from scope_sr.live.window.asking import Asking

    asking = Asking()
    pipeline = _pipeline(asked, asking.ask)
    from scope_sr.live.window.showing import show

    _end(show(pipeline, asking=asking))


def _refuse_broken_qt(*, screen: bool) -> None:
    from scope_sr.live.window.probe import refuse_what_cannot_be

    refuse_what_cannot_be(screen=screen)


def _end(code: int) -> NoReturn:
    """End the program, also where a network or a driver is still deep in code that is not ours.

    Python cannot end such a thread, and taking itself down beside it aborts the process.
    """
    if threading.active_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
