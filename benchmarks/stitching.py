"""Seams of a mosaic against the truth of the simulator, and the time to lay it out.

    OMP_NUM_THREADS=1 python benchmarks/stitching.py [SEEDS] [PYTHON]

PYTHON is an interpreter that has ashlar, the peer; without it $ASHLAR_PYTHON, and without that the
peer is left out. It has a process of its own for its many dependencies:

    python -m venv /tmp/ashlar && /tmp/ashlar/bin/pip install ashlar==1.20.0

Sessions of 4x4 fields of the 10x at 512 px overlap by 5 % (26 px); rigs, cameras and tissue are
drawn by `tests/hidden_rigs.py`, with seeds 10, 11, ... The stage says where it was sent: off by its
own scatter (0.2 to 0.3 µm), or by 5 px more in each direction. Both get the same fields, corrected,
and the same places, in the camera's frame. The peer aligns green, with its own settings and reach
(15 µm), through its EdgeAligner; its Java is not started. Its EdgeAligner cuts overlaps at whole
pixels and forgets the fractions, so it is given places rounded to whole pixels, too. Our time holds
the reading and correcting of the fields, which the peer finds in memory.

An error is how far apart two fields show the same tissue along the middle of their overlap, per
axis: distortion of the lens is in it, and what it would be with every field at its true place
stands beside. Seams of glass, where no error shows, do not count.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.enhance import mosaic as laying
from scope_sr.enhance.mosaic import Mosaic, laid_out
from scope_sr.session import Session

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
paired: Any = importlib.import_module("paired_sessions")
known: Any = importlib.import_module("test_mosaic")

SIZE_PX, GRID, OVERLAP, FIRST_SEED = 512, 4, 0.05, 10
HARSH_PX = 5.0
LEAST_PX, TEXTURE_DN = 1, 5.0  # of an overlap; of glass 2.4 is noise

Points = NDArray[np.float64]

ASHLAR = """
import sys, time, types
import numpy as np

class Anything:
    def __getattr__(self, name):
        return self if name != "vm_running" else True
    def __call__(self, *arguments):
        return self

jnius = types.ModuleType("jnius")
jnius.autoclass = jnius.cast = Anything()
config = types.ModuleType("jnius_config")
config.vm_running = True
sys.modules.update(jnius=jnius, jnius_config=config)
from ashlar import reg

given = np.load(sys.argv[1])

class Metadata(reg.Metadata):
    _num_images = property(lambda self: len(given["fields"]))
    num_channels = property(lambda self: 1)
    pixel_size = property(lambda self: float(given["um_per_px"]))
    pixel_dtype = property(lambda self: np.dtype(np.uint8))
    def tile_position(self, i):
        return given["corners"][i][::-1]
    def tile_size(self, i):
        return np.array(given["fields"][i].shape)

class Reader(reg.Reader):
    metadata = Metadata()
    fields = given["fields"]
    def read(self, series, c):
        return self.fields[series]

began = time.perf_counter()
aligner = reg.EdgeAligner(Reader(), do_make_thumbnail=False)
aligner.run()
print("SECONDS", time.perf_counter() - began)
np.save(sys.argv[2], aligner.positions[:, ::-1])
"""


def quiet(_stage: str, _done: int, _total: int) -> None:
    """Show no progress."""


def by_stage(session: Session, names: tuple[str, ...]) -> Points:
    return laying._by_stage(session, names)


def truly(session: Session, names: tuple[str, ...]) -> Points:
    truth = paired.truth_of(session)
    centres_um = np.array([truth[name].centre_um for name in names])
    return np.asarray(np.linalg.solve(truth[names[0]].matrix, centres_um.T).T)


def ashlar(python: str, mosaic: Mosaic, corners: Points) -> tuple[Points, float]:
    """Let ashlar lay the fields out in a process of its own; gives corners and seconds."""
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "fields.npz", Path(name) / "corners.npy"
        fields = np.stack([mosaic.field(one)[..., 1] for one in mosaic.names])
        np.savez(source, fields=fields, corners=corners, um_per_px=mosaic.um_per_px)
        done = subprocess.run(
            [python, "-W", "ignore", "-c", ASHLAR, str(source), str(target)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{python}: ashlar failed\n{done.stderr[-2000:]}")
        return np.load(target), float(done.stdout.split("SECONDS")[1])


def captured(folder: Path, seed: int, off_px: float) -> Session:
    rig = paired.awkward_rig(seed, SIZE_PX)
    record = paired.calibrated(rig, folder / "record")
    slips = known.scattered(off_px, rig, seed)
    grid = {"rows": GRID, "columns": GRID, "overlap": OVERLAP, "slips": slips}
    session: Session = known.low_session(folder / "session", rig, record, **grid)
    return session


def laid(session: Session, python: str) -> dict[str, tuple[Points, float]]:
    """Give the errors of the seams (n, 33, 2) in px, and the seconds, of each way."""
    began = time.perf_counter()
    ours = laid_out(session, quiet)
    found = {"ours": (ours.corners_px, time.perf_counter() - began)}
    stage_px = by_stage(session, ours.names)
    if python:
        found["ashlar"] = ashlar(python, ours, stage_px)
        found["ashlar, whole"] = ashlar(python, ours, np.rint(stage_px))
    found["stage alone"] = stage_px, 0.0
    found["true places"] = truly(session, ours.names), 0.0
    ways = {name: (replace(ours, corners_px=at), seconds) for name, (at, seconds) in found.items()}
    seams = showing_tissue(session, ways["true places"][0])
    return {
        name: (known.seam_errors(session, mosaic, seams), seconds)
        for name, (mosaic, seconds) in ways.items()
    }


def showing_tissue(session: Session, true: Mosaic) -> list[tuple[int, int]]:
    """Leave out seams of glass, where no error shows, and those that the stage tore apart."""
    whole = np.rint(true.corners_px).astype(int)
    seams = []
    for pair in known.side_by_side(session, true):
        apart = whole[pair[1]] - whole[pair[0]]
        first, last = np.maximum(apart, 0), np.minimum(apart, 0) + SIZE_PX
        both = true.field(true.names[pair[0]])[first[1] : last[1], first[0] : last[0], 1]
        if min(last - first) >= LEAST_PX and both.std() > TEXTURE_DN:
            seams.append(pair)
    return seams


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    python = sys.argv[2] if len(sys.argv) > 2 else os.environ.get("ASHLAR_PYTHON", "")
    for off_px in (0.0, HARSH_PX):
        runs = []
        for seed in range(FIRST_SEED, FIRST_SEED + seeds):
            with tempfile.TemporaryDirectory() as name:
                runs.append(laid(captured(Path(name), seed, off_px), python))
        print(f"stage off by {off_px:g} px more: px RMS, worst seam's mean, seams over 0.5, s")
        for way in runs[0]:
            errors = [run[way][0] for run in runs]
            each = np.concatenate([np.abs(one.mean(axis=1)).max(axis=1) for one in errors])
            rms = [float(np.sqrt((one**2).mean())) for one in errors]
            seconds = float(np.mean([run[way][1] for run in runs]))
            print(
                f"{way:14} {' '.join(f'{one:7.3f}' for one in rms)} {each.max():9.3f}"
                f" {(each > 0.5).sum():4} of {len(each)} {seconds:8.2f}"
            )


if __name__ == "__main__":
    main()
