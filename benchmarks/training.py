"""Patches per second and peak memory of our training loops, beside plain loops of known toolboxes.

    pip install --no-deps --target PEERS basicsr==1.4.2 torchsr==1.0.4 monai==1.6.1
    python benchmarks/training.py PEERS

Peers are the plain loop most people write, DataLoader, Adam, L1, with BasicSR's SRVGGNetCompact
against ``compact``, torchSR's EDSR baseline against ``srresnet`` and MONAI's BasicUNet against the
U-Net, each as wide and deep as ours and as like it as its options allow. They crop whole PNG files
as BasicSR does, with its own functions. The first two need torchvision as packages; their files are
taken one by one, unchanged.

Data: the tissue of the package, low images computed. Every loop is a process of its own and waits
for its turn; within a round each takes some steps, and ratios are those of a round (median of
rounds), so that what else the machine does falls on all alike. Ours is `train_srgan` and
`train_unet` themselves with stream, shift-tolerant loss, moving average and clipping, but without
the checks on val, which come every 500 steps.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from scope_sr.config import SrganRecipe, UnetRecipe

# scope_sr is imported where it is used: a peer's memory is to be without it

BATCH, LOW_PX, UNET_PX = 8, 48, 256
IMAGES = 2  # of each patient
LEAST, MOST = 3, 9  # rounds
SET_S = 12.0
FOREVER = 10**7
WIDTHS = {"compact": 32, "srresnet": 64}
LABELS = Path(__file__).parents[1] / "scope_sr" / "specimen" / "data" / "tnbc_labels.tif"
INSTALL = "pip install --no-deps --target PEERS basicsr==1.4.2 torchsr==1.0.4 monai==1.6.1"


@dataclass(frozen=True)
class Runner:
    """A loop to be timed.

    Attributes
    ----------
    loop
        ours, stream, gan, peer, peer stream; unet, unet stream, unet peer, unet peer stream.
    steps
        In a turn.
    of
        The row of the table, from 0, whose time of a step its own is given in; -1 for none.
    """

    title: str
    loop: str
    architecture: str = "compact"
    scale: int = 2
    shift_px: int = 2
    low: str = "dataset"
    steps: int = 2
    of: int = -1


@dataclass(frozen=True)
class Turn:
    """What a turn took for each step, and the memory: before the first step, and at most."""

    wall_s: float
    processor_s: float
    base_mb: float
    peak_mb: float


def main() -> None:
    """Build the data, let the loops take turns, and print the tables."""
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "basicsr").is_dir():
        sys.exit(f"usage: python benchmarks/training.py PEERS; get them with: {INSTALL}")
    peers = Path(sys.argv[1]).absolute()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        write_data(home)
        for threads, listed in ((1, one_thread()), (2, two_threads())):
            print(f"\n{threads} thread{'s' * (threads > 1)}")
            for runners in listed:
                print(f"\nload {load()} after {time.monotonic() - began:.0f} s")
                table(runners, compete(runners, threads, home, peers))


def one_thread() -> Iterator[list[Runner]]:
    """List what competes; ratios of a set refer to its first."""
    yield [
        *rivals("compact", 2),
        Runner("reach 0", "ours", shift_px=0, of=1),
        Runner("low by optics", "ours", low="optics", of=1),
        Runner("stream", "stream", steps=20, of=1),
        Runner("stream of the peer", "peer stream", steps=5, of=0),
    ]
    yield [
        *rivals("compact", 4),
        Runner("reach 0", "ours", scale=4, shift_px=0, of=1),
        Runner("stream", "stream", scale=4, steps=20, of=1),
        Runner("stream of the peer", "peer stream", scale=4, steps=5, of=0),
    ]
    yield [Runner("pixel stage, compact x2", "ours"), Runner("GAN stage", "gan", steps=1, of=0)]
    yield rivals("srresnet", 2)
    yield rivals("srresnet", 4)
    yield [
        *rival_unets(),
        Runner("stream", "unet stream", steps=2, of=1),
        Runner("stream of the peer", "unet peer stream", steps=2, of=0),
    ]


def two_threads() -> Iterator[list[Runner]]:
    """List what competes on two cores."""
    yield rivals("compact", 2)
    yield rivals("srresnet", 2)


def rivals(architecture: str, scale: int) -> list[Runner]:
    theirs = {"compact": "BasicSR's SRVGGNetCompact", "srresnet": "torchSR's EDSR baseline"}
    steps = 2 if architecture == "compact" else 1
    return [
        Runner(f"{theirs[architecture]} x{scale}", "peer", architecture, scale, steps=steps),
        Runner(f"{architecture} x{scale}", "ours", architecture, scale, steps=steps, of=0),
    ]


def rival_unets() -> list[Runner]:
    return [
        Runner("MONAI's BasicUNet", "unet peer", steps=1),
        Runner("U-Net", "unet", steps=1, of=0),
    ]


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


# --- the data


def write_data(home: Path) -> None:
    """Write pairs at x2 and x4 and images with masks; the same as PNG for the peers."""
    import tifffile
    from PIL import Image

    from scope_sr.build_dataset import LICENCE, from_images, from_masks, write_tissue
    from scope_sr.config import load_rig

    images, patients = write_tissue(home)
    seen: dict[str, int] = {}
    for path in sorted(images.iterdir()):
        patient = path.name[:2]
        seen[patient] = seen.get(patient, 0) + 1
        if seen[patient] > IMAGES:
            path.unlink()
    common: dict[str, Any] = {
        "patients": patients, "licence": LICENCE, "count": 1, "resume": False,
        "tell": lambda *_: None,
    }  # fmt: skip
    for scale in (2, 4):
        from_images(images, load_rig("simulated"), home / f"x{scale}", scale=scale, **common)
        write_png(home / f"x{scale}", home / f"x{scale}-png")
    (home / "masks").mkdir()
    with tifffile.TiffFile(LABELS) as tiff:
        pages = {str(page.aspage().description): page.asarray() for page in tiff.pages}
    for path in images.iterdir():
        Image.fromarray(pages[path.stem]).save(home / "masks" / path.name)
    (home / "marked").mkdir()
    images.rename(home / "marked" / "images")
    (home / "masks").rename(home / "marked" / "masks")
    from_masks(home / "marked", home / "nuclei", **common)
    write_png(home / "nuclei", home / "nuclei-png")


def write_png(data: Path, out: Path) -> None:
    """Write the train split as a toolbox wants it: two folders with the same names."""
    from PIL import Image

    from scope_sr.dataset import Dataset
    from scope_sr.dataset.index import Pair

    dataset = Dataset.open(data)
    for side in ("low", "high"):
        (out / side).mkdir(parents=True)
    for number, item in enumerate(dataset.of("train")):
        both = dataset.images(item) if isinstance(item, Pair) else labelled(dataset, item)
        for side, image in zip(("low", "high"), both, strict=True):
            Image.fromarray(np.ascontiguousarray(image)).save(out / side / f"{number}.png")


def labelled(dataset: Any, item: Any) -> tuple[Any, Any]:
    image, labels = dataset.labelled(item)
    return image, labels.astype(np.uint16)


# --- taking turns


def compete(
    runners: list[Runner], threads: int, home: Path, peers: Path
) -> dict[Runner, list[Turn]]:
    """Let the loops take turns until a set has had its time."""
    found: dict[Runner, list[Turn]] = {runner: [] for runner in runners}
    with ExitStack() as stack:
        children = {
            runner: stack.enter_context(child(runner, threads, home, peers)) for runner in runners
        }
        for one in children.values():
            next_turn(one)  # nothing but ready
            next_turn(one)  # warms up
        until = time.monotonic() + SET_S
        for number in range(MOST):
            if number >= LEAST and time.monotonic() > until:
                break
            for runner, one in children.items():
                found[runner].append(next_turn(one))
        for one in children.values():
            one.kill()
    return found


def child(runner: Runner, threads: int, home: Path, peers: Path) -> subprocess.Popen[str]:
    """Begin a loop in a process of its own."""
    told = json.dumps({"runner": asdict(runner), "home": str(home), "peers": str(peers)})
    few = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "MKL", "OPENBLAS")}
    return subprocess.Popen(
        [sys.executable, __file__, "worker", told],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **few},
    )


def next_turn(one: subprocess.Popen[str]) -> Turn:
    """Wait for the end of a turn; the first ones are waited for before the next loop begins."""
    if one.stdin is None or one.stdout is None:
        raise RuntimeError(one.args)
    one.stdin.write("go\n")
    one.stdin.flush()
    for line in one.stdout:
        if line.startswith("{"):
            return Turn(**json.loads(line))
    raise RuntimeError(one.args)


def table(runners: list[Runner], found: dict[Runner, list[Turn]]) -> None:
    """Print a line for each loop; ratios are those of a round, then their median."""
    print("| | patches/s | per s of processor | to the first, wall | processor |", end="")
    print(" time of a step | peak MB (before) | to the first |\n" + "|---" * 8 + "|")
    first = found[runners[0]]
    for runner in runners:
        turns = found[runner]
        wall = [p.wall_s / t.wall_s for p, t in zip(first, turns, strict=True)]
        of = runners[runner.of]
        part = "" if runner.of < 0 else f"{1 / ratio(found[of], turns):.3f} of {of.title}'s"
        last, memory = turns[-1], turns[-1].peak_mb / first[-1].peak_mb
        print(
            f"| {runner.title} | {BATCH / statistics.median(t.wall_s for t in turns):.3g}"
            f" | {BATCH / statistics.median(t.processor_s for t in turns):.3g}"
            f" | {statistics.median(wall):.2f} ({min(wall):.2f}-{max(wall):.2f}, {len(turns)})"
            f" | {ratio(first, turns):.2f} | {part}"
            f" | {last.peak_mb:.0f} ({last.base_mb:.0f}) | {memory:.2f} |",
            flush=True,
        )


def ratio(reference: list[Turn], turns: list[Turn]) -> float:
    """Give how much less of the processor a step takes than one of the reference."""
    return statistics.median(
        p.processor_s / t.processor_s for p, t in zip(reference, turns, strict=True)
    )


class Turns:
    """Called before each step of a loop: waits for the parent every so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.left = 0
        self.began: tuple[float, float] | None = None
        self.base_mb = 0.0
        wait()

    def __call__(self) -> bool:
        if self.left == 0:
            now = (time.perf_counter(), time.process_time())
            began = self.began or now
            self.base_mb = self.base_mb or peak_mb()
            wall_s, processor_s = ((b - a) / self.steps for a, b in zip(began, now, strict=True))
            print(json.dumps(asdict(Turn(wall_s, processor_s, self.base_mb, peak_mb()))))
            sys.stdout.flush()
            wait()
            self.left = self.steps
            self.began = (time.perf_counter(), time.process_time())
        self.left -= 1
        return False


def wait() -> None:
    """Wait for a turn; without a parent there is none any more."""
    if not sys.stdin.readline():
        sys.exit()


def peak_mb() -> float:
    """Give the most memory this process has held at once."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would count the parent's, which it was forked from
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    if sys.platform == "win32":
        return peak_on_windows_mb()
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS: bytes


def peak_on_windows_mb() -> float:
    import ctypes
    from ctypes import wintypes

    names = ("peak", "now", "a", "b", "c", "d", "e", "f")

    class Counters(ctypes.Structure):
        _fields_ = [
            ("size", wintypes.DWORD),
            ("faults", wintypes.DWORD),
            *((name, ctypes.c_size_t) for name in names),
        ]

    counters = Counters(size=ctypes.sizeof(Counters))
    windows: Any = ctypes
    windows.windll.kernel32.GetCurrentProcess.restype = wintypes.HANDLE
    windows.windll.psapi.GetProcessMemoryInfo(
        wintypes.HANDLE(windows.windll.kernel32.GetCurrentProcess()),
        ctypes.byref(counters),
        counters.size,
    )
    return float(counters.peak) / 2**20


# --- the loops


def main_of_worker(told: dict[str, Any]) -> None:
    """Run one loop for ever."""
    import torch

    runner, home = Runner(**told["runner"]), Path(told["home"])
    torch.manual_seed(0)
    random.seed(0)
    cv2.setNumThreads(1)
    turns = Turns(runner.steps)
    if "peer" in runner.loop:
        sys.path.append(told["peers"])
        peer(runner, home, turns)
    else:
        ours(runner, home, home / f"run-{os.getpid()}", turns)


def ours(runner: Runner, home: Path, out: Path, turns: Turns) -> None:
    from scope_sr.train import train_srgan, train_unet

    if runner.loop == "unet":
        train_unet(home / "nuclei", unet_recipe(), out, stop=turns)
    elif runner.loop == "unet stream":
        our_unet_stream(home / "nuclei", turns)
    elif runner.loop == "stream":
        our_stream(home / f"x{runner.scale}", recipe_of(runner), out, turns)
    else:
        recipe = recipe_of(runner)
        skip = recipe.pixel.steps if runner.loop == "gan" else 0
        train_srgan(home / f"x{runner.scale}", recipe, out, stop=after(skip, turns))


def after(skip: int, turns: Turns) -> Callable[[], bool]:
    """Leave the first steps, of the pixel stage before the GAN, out of the turns."""
    calls = iter(range(skip))

    def stop() -> bool:
        return False if next(calls, None) is not None else turns()

    return stop


def recipe_of(runner: Runner) -> SrganRecipe:
    from scope_sr.config import SrganRecipe

    gan = runner.loop == "gan"
    return SrganRecipe.model_validate(
        {
            "architecture": runner.architecture,
            "channels": WIDTHS[runner.architecture],
            "low_px": LOW_PX,
            "batch": BATCH,
            "precision": "32-true",
            "degradation": {"low": runner.low},
            "pixel": {"steps": 1 if gan else FOREVER, "shift_px": runner.shift_px},
            "gan": {"steps": FOREVER if gan else 0},
            "checks": {"every_steps": FOREVER, "fields": 1},
        }
    )


def unet_recipe() -> UnetRecipe:
    from scope_sr.config import UnetRecipe

    checks = {"every_steps": FOREVER, "fields": 1}
    return UnetRecipe.model_validate(
        {"patch_px": UNET_PX, "batch": BATCH, "steps": FOREVER, "checks": checks}
        | {"precision": "32-true"}
    )


def our_stream(data: Path, recipe: SrganRecipe, out: Path, turns: Turns) -> None:
    """Draw batches and make them ready, and learn nothing."""
    from scope_sr.train.loop import batches, launch
    from scope_sr.train.srgan_work import prepared
    from scope_sr.train.work import Order

    fabric = launch(recipe.precision)
    order = Order(data, recipe, out, "", False, lambda progress: None, turns)
    work = prepared(order, recipe, fabric)
    for step, batch in batches(fabric, work.patches, 0, FOREVER, 0):
        turns()
        work.inputs(batch, step)


def our_unet_stream(data: Path, turns: Turns) -> None:
    from scope_sr.dataset import Dataset
    from scope_sr.train.loop import batches, launch
    from scope_sr.train.nuclei_patches import NucleiPatches

    recipe = unet_recipe()
    patches = NucleiPatches(
        Dataset.open(data), "train", patch_px=UNET_PX, batch=BATCH, seed=0,
        stain_jitter=recipe.stain_jitter,
    )  # fmt: skip
    for _ in batches(launch(recipe.precision), patches, 0, FOREVER, 0):
        turns()


def peer(runner: Runner, home: Path, turns: Turns) -> None:
    """Train as the examples of most toolboxes do."""
    import torch
    from torch.nn import functional

    unet = runner.loop.startswith("unet")
    folder = home / ("nuclei-png" if unet else f"x{runner.scale}-png")
    files: Any = PeerFiles(folder, 1 if unet else runner.scale, UNET_PX if unet else LOW_PX)
    chance = torch.utils.data.RandomSampler(files, replacement=True, num_samples=BATCH * FOREVER)
    loader: Any = torch.utils.data.DataLoader(files, batch_size=BATCH, sampler=chance)
    if runner.loop.endswith("stream"):
        for _ in loader:
            turns()
    network = peer_network(runner)
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    for low, high in loader:
        turns()
        optimizer.zero_grad()
        found = network(low)
        loss: Any
        if unet:
            loss = functional.cross_entropy(found[:, :3], high[:, 0])
            loss = loss + functional.l1_loss(found[:, 3], high[:, 1].float() / 255)
        else:
            loss = functional.l1_loss(found, high)
        loss.backward()
        optimizer.step()


def peer_network(runner: Runner) -> Any:
    if runner.loop == "unet peer":
        nets: Any = importlib.import_module("monai.networks.nets")
        return nets.BasicUNet(
            spatial_dims=2, in_channels=3, out_channels=4, features=(16, 32, 64, 128, 256, 16),
            act="relu", norm="batch", upsample="nontrainable",
        )  # fmt: skip
    width = WIDTHS[runner.architecture]
    if runner.architecture == "compact":
        kind = file_of("basicsr.archs.srvgg_arch").SRVGGNetCompact
        return kind(num_feat=width, num_conv=16, upscale=runner.scale)
    return file_of("torchsr.models.edsr").EDSR(16, width, runner.scale, 1.0)


def file_of(name: str) -> Any:
    """Import a file of a package without what its packages import at their start."""
    packages = name.split(".")[:-1]
    for depth in range(len(packages)):
        bare(".".join(packages[: depth + 1]))
    if packages[0] == "basicsr":
        bare("basicsr.utils")
    return importlib.import_module(name)


def bare(package: str) -> None:
    found = types.ModuleType(package)
    found.__path__ = [str(Path(sys.path[-1], *package.split(".")))]
    sys.modules.setdefault(package, found)


class PeerFiles:
    """Random crops of PNG files, read whole each time as BasicSR's PairedImageDataset does.

    With `scale` 1 the second picture is one of nuclei; class and distance to learn are made of it
    by the function that ours calls too, since there is no toolbox's own.
    """

    def __init__(self, folder: Path, scale: int, low_px: int) -> None:
        self.pairs = [(p, folder / "high" / p.name) for p in sorted((folder / "low").iterdir())]
        self.scale, self.low_px = scale, low_px
        self.transforms = file_of("basicsr.data.transforms")

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, number: int) -> tuple[Any, Any]:
        low, high = (decoded(path) for path in self.pairs[number])
        if self.scale == 1:
            return self.marked(low, high[..., None])
        side = self.low_px * self.scale
        pictures = (np.float32(high) / 255, np.float32(low) / 255)
        high, low = self.transforms.paired_random_crop(*pictures, side, self.scale)
        high, low = self.transforms.augment([high, low], hflip=True, rotation=True)
        return tensor_of(low[..., ::-1]), tensor_of(high[..., ::-1])

    def marked(self, picture: Any, labels: Any) -> tuple[Any, Any]:
        from scope_sr.imaging.nuclei import targets

        pictures = (labels, np.float32(picture) / 255)
        labels, picture = self.transforms.paired_random_crop(*pictures, self.low_px, 1)
        classes, distance = targets(np.ascontiguousarray(labels[..., 0]))
        truth = np.stack([classes.astype(np.int64), np.int64(distance * 255)], axis=-1)
        return tensor_of(picture[..., ::-1]), tensor_of(truth)


def decoded(path: Path) -> Any:
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)


def tensor_of(image: Any) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        main_of_worker(json.loads(sys.argv[2]))
    else:
        main()
