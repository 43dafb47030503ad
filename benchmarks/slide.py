"""A slide larger than memory: enhanced at a stretch, and killed half-way and resumed.

    python benchmarks/slide.py [SIDE_PX] [MODEL] [FOLDER]

Makes a synthetic slide of SIDE_PX squared (20000 if not given) from the tissue of the package, as
tiled JPEG, enhances it twice with `scope-sr enhance` in processes of their own, the second time
killed when half of its rows are done and gone on with by --resume, and compares the two pictures
byte by byte. Peak memory is what Linux says of each process (VmHWM, everything it has mapped).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

import scope_sr.specimen

TILE_PX = 512
UM_PER_PX = 0.5


def tissue() -> list[NDArray[np.uint8]]:
    data = Path(scope_sr.specimen.__file__).parent / "data" / "tnbc_images.tif"
    return list(np.asarray(tifffile.imread(data)))


def tiles(side: int) -> Iterator[NDArray[np.uint8]]:
    images, rng = tissue(), np.random.default_rng(7)
    count = -(-side // TILE_PX)
    for _ in range(count * count):
        image = images[rng.integers(len(images))]
        y, x = (rng.integers(0, length - TILE_PX + 1) for length in image.shape[:2])
        tile = image[y : y + TILE_PX, x : x + TILE_PX]
        yield np.ascontiguousarray(np.rot90(tile, int(rng.integers(4))))


def make(path: Path, side: int) -> None:
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(
            tiles(side),
            shape=(side, side, 3),
            dtype=np.uint8,
            tile=(TILE_PX, TILE_PX),
            compression="jpeg",
            photometric="rgb",
            resolution=(1e4 / UM_PER_PX, 1e4 / UM_PER_PX),
            resolutionunit="CENTIMETER",
        )


def begun(slide: Path, model: str, out: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "scope_sr", "enhance", str(slide), "--model", model]
    size = ["--um-per-px", str(UM_PER_PX)]
    return subprocess.Popen([*command, *size, "--out", str(out), *more])


def watched(process: subprocess.Popen[bytes], until_rows: int | None, state: Path) -> float:
    """Wait for the end, or kill it when so many rows are done; give the peak in MiB."""
    peak = 0.0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        if "VmHWM" in status:
            peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
        if until_rows is not None and rows_done(state) >= until_rows:
            process.kill()
        time.sleep(0.2)
    return peak


def rows_done(state: Path) -> int:
    try:
        return int(json.loads(state.read_bytes())["rows"])
    except (OSError, ValueError):
        return 0


def same(first: Path, second: Path) -> bool:
    block = 2**24
    with first.open("rb") as one, second.open("rb") as other:
        while True:
            a, b = one.read(block), other.read(block)
            if a != b:
                return False
            if not a:
                return True


def main() -> None:
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    model = sys.argv[2] if len(sys.argv) > 2 else "compact-x2"
    folder = Path(sys.argv[3] if len(sys.argv) > 3 else tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    slide = folder / "slide.tif"
    make(slide, side)
    print(f"{side} x {side} px, {slide.stat().st_size / 1e9:.2f} GB as JPEG, {model}", flush=True)
    rows = []
    for name, kill in (("at a stretch", False), ("killed and resumed", True)):
        out = folder / name.replace(" ", "-")
        state = out / ".work" / "inputs" / "slide" / "enhanced" / "state.json"
        begin = time.monotonic()
        peaks = []
        if kill:
            peaks.append(watched(begun(slide, model, out), side, state))
            print(f"killed at row {rows_done(state)} of {2 * side}", flush=True)
        peaks.append(
            watched(begun(slide, model, out, *(["--resume"] if kill else [])), None, state)
        )
        rows.append((name, time.monotonic() - begin, max(peaks)))
    files = [folder / name / "slide.sr.ome.tif" for name in ("at-a-stretch", "killed-and-resumed")]
    print("\n| | s | peak, MiB |\n|---|---|---|")
    for name, seconds, peak in rows:
        print(f"| {name} | {seconds:.0f} | {peak:.0f} |")
    size = files[0].stat().st_size / 1e9
    print(f"\nEqual, byte by byte ({size:.2f} GB): {same(*files)}")


if __name__ == "__main__":
    main()
