"""Draw the picture of the live view in the README: ``python tools/draw_live.py [FILE]``.

No screen is needed. The simulated microscope (its seed stands in ``configs/simulated.toml``) is put
on a place of its slide, white balanced on the glass between the cores, and the window drawn as soon
as the whole field is enhanced and its nuclei are counted: a minute or two on two processor cores.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ["QT_QPA_PLATFORM"] = "offscreen"

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scope_sr.config import load_rig
from scope_sr.frame import Position
from scope_sr.live.levels import Gains, gains_of_blank
from scope_sr.live.pipeline import Pipeline
from scope_sr.live.source.developing import Developing
from scope_sr.live.source.stand import Stand
from scope_sr.live.window.showing import screenshot
from scope_sr.live.window.window import LiveWindow

PICTURE = Path(__file__).parents[1] / "docs" / "live.png"
PLACE = Position(-40.0, 15.0, 0.0)
GLASS = Position(0.0, 1900.0, 0.0)  # beyond the last row of cores
ZOOM = 2.0  # an enhanced pixel to one of the screen
PATIENCE_S = 600.0
MOST_BYTES = 500_000
TISSUE = np.s_[101:877, 0:1122]  # where the picture is in the window
GREY_DN, DARK_DN = 20, 80  # what is hardly coloured, and what is dark: the ground of the panels


def main() -> None:
    """Draw it, and make it small."""
    parser = argparse.ArgumentParser(description="Draw the live view for the README.")
    parser.add_argument("file", type=Path, nargs="?", default=PICTURE)
    path = parser.parse_args().file.absolute()
    folder = tempfile.mkdtemp()
    os.chdir(folder)  # no calibration record lies there: as a newcomer sees it
    stand = Stand.of_rig(load_rig("simulated"))
    gains = white_balance(stand)
    stand.open().move_to(PLACE)

    def prepare(window: LiveWindow) -> None:
        window.deeds.set_gains(gains)
        window.deeds.zoom(ZOOM / window.canvas.sight.zoom)

    drawn = Path("drawn.png")
    screenshot(Pipeline(stand, Path("out")), drawn, PATIENCE_S, prepare=prepare)
    shrink(drawn, path)
    shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(f"{path}: {path.stat().st_size / 1000:.0f} kB\n")
    os._exit(0)  # a network may still be deep in code that is not Python's


def white_balance(stand: Stand) -> Gains:
    """Take it as a person would, on glass."""
    microscope = stand.open()
    microscope.move_to(GLASS)
    developing = Developing(stand.record, None)  # eight bits as they come
    return gains_of_blank(developing.rgb(microscope.snap()))


def shrink(drawn: Path, path: Path) -> None:
    """Save it in a palette: colours for the tissue, and colours for all around it."""
    picture = Image.open(drawn).convert("RGB")
    pixels = np.asarray(picture)
    grey = np.ptp(pixels.astype(int), axis=2) < GREY_DN
    dark = pixels.max(axis=2) < DARK_DN
    tissue = np.zeros(dark.shape, bool)
    tissue[TISSUE] = True
    chrome = ~tissue & ~(grey & dark)
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours(pixels[tissue], 76) + colours(pixels[~tissue], 30)
                       + colours(pixels[chrome], 40))  # fmt: skip
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)
    if path.stat().st_size > MOST_BYTES:
        sys.exit(f"{path}: {path.stat().st_size} bytes, more than {MOST_BYTES}")


def colours(pixels: NDArray[np.uint8], number: int) -> list[int]:
    """Find so many colours that lie near those of pixels, ``(pixel, 3)``."""
    strip = Image.fromarray(np.ascontiguousarray(pixels[None]))
    found = strip.quantize(number, Image.Quantize.MEDIANCUT, kmeans=2).getpalette()
    return (found or [])[: 3 * number]


if __name__ == "__main__":
    main()
