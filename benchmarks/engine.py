"""Milliseconds and memory of the engine beside plain PyTorch, TorchScript and ONNX Runtime.

    python benchmarks/engine.py [--sides 512 1024 2048]
    python benchmarks/engine.py tiles

The first compares: each path is a process of its own, and they take turns on the same picture, so
that ratios (median of rounds) mean something on a computer that does other things too. All begin
with 8-bit pixels in memory and end with such. `eager` is the network as it was trained, float32,
the whole picture at once; TorchScript is the model file as it is saved; ONNX Runtime and OpenVINO
have the forms that ``scope-sr export`` writes, OpenVINO those of int8 too, calibrated on the train
split of the tissue of the package and judged on test. Memory is what a process grew by.

`tiles` gives time and memory of a pixel by the size of a tile, and what the engine reckons with.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]
Run = Callable[[Pictures], Pictures]  # (H, W, 3)

PATHS = (
    "eager", "TorchScript", "ONNX Runtime", "engine, cpu", "engine, openvino",
    "engine, openvino int8",
)  # fmt: skip
MODELS = {"compact-x2": (0, 2048), "compact-x4": (0, 1024), "nuclei": (1024, 2048)}
SMALL_PX, LARGE_PX = 64, 2048  # the former to warm up with; of the latter there are few rounds
ROUNDS, FEW = 3, 2
PER_PATIENT = 2
TILES_PX = (416, 512, 1024, 1280)
FEW_PX = (256, 384)  # srresnet takes gigabytes


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", nargs="?", default="compare", choices=["compare", "tiles"])
    parser.add_argument("--sides", nargs="+", type=int, default=[512, 1024, 2048])
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        if asked.what == "compare":
            compare(asked.sides, home)
        else:
            tiles(home)
    print(f"\n{os.cpu_count()} cores, {time.monotonic() - began:.0f} s in all")


# --- side by side


def compare(sides: list[int], home: Path) -> None:
    """Let the paths take turns, model by model."""
    from scope_sr.engine import chosen

    paths = (*PATHS, "engine, cuda") if has_gpu() else PATHS
    for model in MODELS:
        quantise(model, home)
    for model, (least, most) in MODELS.items():
        print()
        chosen(model, tell=print)
        print(
            "| model | side px | path | ms | to eager (single rounds) | MB |\n" + "|---" * 6 + "|"
        )
        with ExitStack() as stack:
            children = {path: stack.enter_context(child(path, model, home)) for path in paths}
            for one in children.values():
                turn(one, SMALL_PX)
            for side in (side for side in sides if least <= side <= most):
                table(model, side, rounds(children, side))
            for one in children.values():
                one.kill()
    print(f"\nGPU: {gpu() if has_gpu() else 'none here, not run'}")


def rounds(children: dict[str, Any], side: int) -> dict[str, list[dict[str, float]]]:
    """Give each path its turn, round by round; smaller pictures have one that does not count."""
    found: dict[str, list[dict[str, float]]] = {path: [] for path in children}
    for number in range(ROUNDS if side < LARGE_PX else FEW):
        for path, one in children.items():
            result = turn(one, side)
            if number or side >= LARGE_PX:
                found[path].append(result)
    return found


def table(model: str, side: int, found: dict[str, list[dict[str, float]]]) -> None:
    for path, turns in found.items():
        ratios = [a["ms"] / b["ms"] for a, b in zip(found["eager"], turns, strict=True)]
        print(
            f"| {model} | {side} | {path} | {statistics.median(t['ms'] for t in turns):.0f}"
            f" | {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
            f" | {max(t['mb'] for t in turns):.0f} |",
            flush=True,
        )


def child(path: str, model: str, home: Path) -> subprocess.Popen[str]:
    """Begin a process that runs one path of a model, with the threads it takes by itself."""
    free = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", __file__, "worker", path, model, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=free,
    )


def turn(one: subprocess.Popen[str], side: int) -> dict[str, float]:
    """Have a picture run once."""
    if one.stdin is None or one.stdout is None:
        raise RuntimeError(one.args)
    one.stdin.write(f"{side}\n")
    one.stdin.flush()
    found: dict[str, float] = json.loads(next(row for row in one.stdout if row.startswith("{")))
    return found


def worker(path: str, model: str, home: Path) -> None:
    """Run pictures of the sides that are asked for, until nobody asks any more."""
    run = ready(path, model, home)
    run(tissue(SMALL_PX))
    before_mb = begin_of_memory()
    for line in sys.stdin:
        picture = tissue(int(line))
        begin_of_memory()
        began = time.perf_counter()
        run(picture)
        found_ms = 1e3 * (time.perf_counter() - began)
        print(json.dumps({"ms": found_ms, "mb": memory_mb("VmHWM") - before_mb}), flush=True)


def ready(path: str, model: str, home: Path) -> Run:
    """Make one of the paths."""
    if path.startswith("engine, "):
        from scope_sr.engine import chosen

        runtime, _, int8 = path.removeprefix("engine, ").partition(" ")
        return chosen(str(home / f"{model}.xml") if int8 else model, runtime)
    return {"eager": eager, "TorchScript": torchscript, "ONNX Runtime": onnx}[path](model)


def eager(model: str) -> Run:
    import torch

    from scope_sr.export.source import rebuilt
    from scope_sr.modelfile.graph import to_levels

    network, card = rebuilt(model)

    @torch.no_grad()
    def run(picture: Pictures) -> Pictures:
        x = torch.from_numpy(picture).permute(2, 0, 1)[None].float().div(255).contiguous()
        found = network(x)
        if card.kind == "nuclei":
            found = torch.cat([torch.softmax(found[:, :3], 1)[:, 1:], found[:, 3:]], 1)
        levels: Pictures = to_levels(found)[0].numpy()
        return levels

    return run


def torchscript(model: str) -> Run:
    import torch

    from scope_sr.modelfile import find

    graph = torch.jit.load(find(model)[0]).eval()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def run(picture: Pictures) -> Pictures:
        found: Pictures = graph(torch.from_numpy(picture)[None])[0].numpy()
        return found

    return run


def onnx(model: str) -> Run:
    from scope_sr.export.forms import run_onnx, to_onnx
    from scope_sr.export.source import rebuilt
    from scope_sr.modelfile import wrap

    return run_onnx(to_onnx(wrap(*rebuilt(model))))


def tissue(side: int) -> Pictures:
    """Cut a square out of the tissue of the package, repeated where it ends."""
    from importlib.resources import files

    import tifffile

    with (files("scope_sr") / "specimen" / "data" / "tnbc_images.tif").open("rb") as stream:
        image = tifffile.imread(stream, key=0)
    times = -(-side // min(image.shape[:2]))
    return np.ascontiguousarray(np.tile(image, (times, times, 1))[:side, :side])


# --- int8


def quantise(model: str, home: Path) -> None:
    """Export a model to int8 as a user does, and say what it loses on pictures of test."""
    from scope_sr.dataset import Dataset
    from scope_sr.engine import chosen
    from scope_sr.export import export
    from scope_sr.modelfile import read_card

    card = read_card(model)
    folder = dataset(card.scale, home)
    began = time.perf_counter()
    export(model, "openvino", home / f"{model}.xml", int8=True, data=folder)
    took_s = time.perf_counter() - began
    as_float, as_int8 = chosen(model, "openvino"), chosen(home / f"{model}.xml")
    data = Dataset.open(folder)
    rows = []
    for item in data.of("test"):
        low, high = pair(data, item)
        one, other = as_float(low), as_int8(low)
        rows.append((db(other, one), *worth(card.kind, one, other, high)))
    between, first, second = (statistics.mean(column) for column in zip(*rows, strict=True))
    measure = "PSNR dB against high" if card.kind == "sr" else "Dice with what is marked"
    print(
        f"{model}: int8 made in {took_s:.0f} s; {between:.1f} dB from float; {measure}: float"
        f" {first:.3f}, int8 {second:.3f} ({len(rows)} pictures of test)",
        flush=True,
    )


def dataset(scale: int, home: Path) -> Path:
    """Write pairs, or images with masks, from the tissue of the package."""
    from scope_sr.build_dataset import LICENCE, from_images, from_masks, write_tissue
    from scope_sr.config import load_rig

    folder, source = home / f"dataset{scale}", home / f"source{scale}"
    source.mkdir()
    images, patients = write_tissue(source)
    for path in images.iterdir():
        if int(path.stem.partition("_")[2]) > PER_PATIENT:  # the rest would only take time
            path.unlink()
    common: dict[str, Any] = {
        "patients": patients, "licence": LICENCE, "count": 1, "resume": False,
        "tell": lambda *_: None,
    }  # fmt: skip
    if scale > 1:
        from_images(images, load_rig("simulated"), folder, scale=scale, **common)
    else:
        write_masks(images, source / "marked" / "masks")
        images.rename(source / "marked" / "images")
        from_masks(source / "marked", folder, **common)
    return folder


def write_masks(images: Path, masks: Path) -> None:
    """Write the nuclei that are marked in some images."""
    import tifffile
    from PIL import Image

    masks.mkdir(parents=True)
    labels = Path(__file__).parents[1] / "scope_sr" / "specimen" / "data" / "tnbc_labels.tif"
    with tifffile.TiffFile(labels) as tiff:
        for page in tiff.pages:
            name = f"{page.aspage().description}.png"
            if (images / name).exists():
                Image.fromarray(page.asarray()).save(masks / name)


def pair(data: Any, item: Any) -> tuple[Any, Any]:
    """Give what a model sees, and what it should find."""
    from scope_sr.dataset import Pair

    both = data.images(item) if isinstance(item, Pair) else data.labelled(item)
    return np.ascontiguousarray(both[0]), np.asarray(both[1])


def worth(kind: str, one: Pictures, other: Pictures, wanted: Any) -> tuple[float, float]:
    """Say how near the two come to what is wanted."""
    if kind == "sr":
        return db(one, wanted), db(other, wanted)
    from scope_sr.imaging.nuclei import foreground

    return dice(foreground(one) > 0, wanted > 0), dice(foreground(other) > 0, wanted > 0)


def db(one: Any, other: Any) -> float:
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return 10 * math.log10(255**2 / error) if error else 99.0


def dice(one: Any, other: Any) -> float:
    return float(2 * (one & other).sum() / max(1, one.sum() + other.sum()))


# --- the GPU


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def gpu() -> str:
    """Give pictures per second, and the share of what a matrix product reaches in bf16."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from scope_sr.engine import chosen
    from scope_sr.export.source import rebuilt

    matrix = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    peak = 2 * 8192**3 / seconds(lambda: matrix @ matrix, torch.cuda.synchronize)
    lines = [f"{torch.cuda.get_device_name()}, {peak / 1e12:.0f} TFLOP/s in bf16 (matrix product)"]
    for model in MODELS:
        engine, network = chosen(model, "cuda"), rebuilt(model)[0]
        with FlopCounterMode(display=False) as counted, torch.no_grad():
            network(torch.zeros(1, 3, 64, 64))
        for frame in (512, 1024, 2048):
            picture = tissue(frame)
            took_s = seconds(functools.partial(engine, picture))
            share = counted.get_total_flops() * (frame / 64) ** 2 / took_s / peak
            lines.append(f"{model} {frame} px: {1 / took_s:.1f} per second, {100 * share:.1f} %")
    return "\n".join(lines)


def seconds(
    run: Callable[[], Any], wait: Callable[[], Any] = lambda: None, times: int = 5
) -> float:
    """Time a call: the median of some, after two that warm up."""
    found = []
    for _ in range(2 + times):
        began = time.perf_counter()
        run()
        wait()
        found.append(time.perf_counter() - began)
    return statistics.median(found[2:])


# --- tiles


def tiles(home: Path) -> None:
    """Print time and memory of a tile, each in a process of its own."""
    from scope_sr.engine.choosing import bytes_per_px
    from scope_sr.modelfile import Card, read_card, save
    from scope_sr.networks import generator

    for scale in (2, 4):
        card = Card("sr", "srresnet", "srresnet", {"blocks": 16, "channels": 64}, scale)
        save(generator("srresnet", scale, 16, 64), card, home / f"srresnet-x{scale}.ts")
    models = {**dict.fromkeys(MODELS, TILES_PX), **dict.fromkeys(map(str, home.iterdir()), FEW_PX)}
    print("| model | runtime | tile px | ns of a pixel kept | bytes of a pixel | stated |")
    print("|---" * 6 + "|")
    for model in (model for model in models if not model.endswith(".sha256")):
        for runtime in ("cpu", "openvino"):
            for side in models[model]:
                told = [sys.executable, "-W", "ignore", __file__, "tile", model, runtime, str(side)]
                found = subprocess.run(told, stdout=subprocess.PIPE, check=True, text=True).stdout
                print(
                    f"| {Path(model).stem} | {runtime} | {side} | {found.strip()}"
                    f" | {bytes_per_px(read_card(model))} |",
                    flush=True,
                )


def tile(model: str, runtime: str, side: int) -> None:
    """Time and weigh one tile."""
    from scope_sr.engine import made

    ready = made(model, runtime)
    picture = tissue(side)[None]
    ready.run(picture[:, :SMALL_PX, :SMALL_PX])
    before_mb = begin_of_memory()
    took_s = seconds(lambda: ready.run(picture), times=2)
    kept_px = (side - 2 * ready.card.halo_px) ** 2
    print(
        f"{1e9 * took_s / kept_px:.0f} | {(memory_mb('VmHWM') - before_mb) * 2**20 / side**2:.0f}"
    )


def begin_of_memory() -> float:
    """Say what this process holds, and have its peak counted anew from here (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory_mb("VmRSS")


def memory_mb(key: str) -> float:
    rows = Path("/proc/self/status").read_text().splitlines()
    return int(next(row for row in rows if row.startswith(key)).split()[1]) / 1024


if __name__ == "__main__":
    match sys.argv[1:2]:
        case ["worker"]:
            worker(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
        case ["tile"]:
            tile(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        case _:
            main()
