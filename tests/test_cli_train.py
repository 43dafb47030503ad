"""``scope-sr train`` as it is typed: what it teaches, says, refuses and survives."""

from __future__ import annotations

import csv
import errno
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from datasets import tissue
from PIL import Image
from test_build_sources import Now
from test_cli import refused, scope
from training import (
    checkpoint,
    metrics,
    nuclei,
    opened,
    pairs,
    same_training,
)

import scope_sr.build_dataset
from scope_sr import disk
from scope_sr.build_dataset import run as building
from scope_sr.build_dataset.parallel import Workers
from scope_sr.modelfile import Card, naming, read_card, save, shipped
from scope_sr.networks import generator
from scope_sr.train import loop, nuclei_trial, validation

SRGAN = ("train", "srgan")
RECIPE = """
blocks = 1
channels = 4
low_px = 16
batch = 2
ema = 0.9
pixel = {steps = 20, shift_px = 1}
gan = {steps = 4, discriminator_channels = 4}
checks = {every_steps = 10, fields = 1}
"""
UNET = """
base = 4
depth = 2
patch_px = 32
batch = 2
steps = 20
checks = {every_steps = 20, fields = 1}
"""


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all the rest."""
    for module in (validation, nuclei_trial):
        monkeypatch.setattr(module, "picture", lambda judged, step: b"")
        monkeypatch.setattr(module, "curves", lambda metrics: b"")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with recipes."""
    (tmp_path / "tiny.toml").write_text(RECIPE, "utf-8")
    (tmp_path / "unet.toml").write_text(UNET, "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(opened(pairs(tmp_path_factory.mktemp("pairs"))))


def test_a_generator_is_trained_and_its_figures_are_said(
    here: Path, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", data, "--recipe", "tiny.toml", "--out", "my run"]
    code, out, err = scope(capsys, *SRGAN, *options)
    assert code == 0, err
    run = here / "my run"
    for name in ("fidelity.ts", "gan.ts"):
        assert f"Model: {Path('my run') / name}" in out
        (figures,) = read_card(run / name).figures
        model, plain = figures.psnr_db["model"], figures.psnr_db["bicubic"]
        assert f"PSNR {model:.2f} dB (bicubic {plain:.2f} dB), SSIM 0." in out
        assert "of split test" in out
    assert "Look at " in out
    assert out.splitlines()[-1].startswith("Judge it on whole images: scope-sr evaluate ")
    assert "'my run" in out.splitlines()[-1] or '"my run' in out.splitlines()[-1]
    assert "pixel 20/20  l1 " in err  # lines for logs
    assert "gan 4/4  gain_db " in err
    assert "\x1b" not in err
    assert json.loads((run / "recipe.json").read_bytes())["pixel"]["steps"] == 20


def test_a_unet_is_trained_and_its_figures_are_said(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = opened(nuclei(here / "masks"))
    options = ["--data", str(masks), "--recipe", "unet.toml", "--out", "run"]
    code, out, err = scope(capsys, "train", "unet", *options)
    assert code == 0, err
    assert "  Dice 0." in out
    assert f"Model: {Path('run') / 'nuclei.ts'}" in out
    assert "nuclei 20/20  classes " in err


@pytest.mark.parametrize("words", [("--help",), ("srgan", "--help"), ("unet", "--help")])
def test_help_names_what_there_is(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    code, out, _ = scope(capsys, "train", *words)
    assert code == 0
    if len(words) == 1:
        assert "torchrun --nproc_per_node 4 -m scope_sr train srgan --data ds --out run" in out
        assert "scope-sr train srgan --out run --resume" in out
    else:
        for option in ("--data", "--out", "--recipe", "--start", "--resume", "--tensorboard"):
            assert option in out
        assert "Ctrl-C saves" in " ".join(out.split())


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, runpy; sys.argv = ['scope-sr', 'train', 'srgan', '--help']\n"
        "try: runpy.run_module('scope_sr', run_name='__main__')\n"
        "finally: print([m for m in ('torch', 'numpy', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr


# What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["srgan", "--out", "r"], "--data: name a dataset; build one with: scope-sr build-dataset"),
        (["srgan", "--data", "d"], "Missing option '--out'"),
        (["srgan", "--out", "r", "--resume", "--recipe", "tiny.toml"], "leave the others out"),
        (["unet", "--out", "r", "--resume", "--start", "nuclei"], "leave the others out"),
        (["--out", "r", "srgan", "--data", "d"], "--out belongs behind srgan"),
        (["srgan", "--data", "d", "--out", "--resume"], "no folder"),
        (["vae"], "No such command 'vae'"),
        (["srgan", "--data", "nowhere", "--out", "r"], "nowhere: no dataset there"),
        (["srgan", "--data", "d", "--out", "r", "--recipe", "no.toml"], "no such recipe file"),
        (
            ["srgan", "--data", "d", "--out", "r", "--recipe", "unet.toml"],
            "a recipe for scope-sr train unet",
        ),
        (["srgan", "--out", "r", "--resume"], "no run to resume"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    code, _, err = scope(capsys, "train", *words)
    assert code == 2
    assert message in refused(capsys, "train", *words)
    assert len(err.strip().splitlines()) == 1
    assert not (here / "r").exists()


def test_a_model_that_is_not_there_or_does_not_fit_is_refused(
    here: Path, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", data, "--recipe", "tiny.toml", "--out", "r"]
    for model, message in (("compact-x9", "no model of that name"), ("a.ts", "no such model")):
        assert message in refused(capsys, *SRGAN, *options, "--start", model)
    assert not (here / "r").exists()


def test_a_run_of_the_other_kind_is_not_resumed(
    here: Path, data: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(monkeypatch, 2)
    scope(capsys, *SRGAN, "--data", data, "--recipe", "tiny.toml", "--out", "r")
    message = refused(capsys, "train", "unet", "--out", "r", "--resume")
    assert message == "r: was begun by scope-sr train srgan; resume it with that"


def test_a_full_disk_is_exit_code_1(
    here: Path, data: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = disk._write

    def full(file: Any, data: bytes) -> None:
        if "last.pt" in file.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file, data)

    monkeypatch.setattr(disk, "_write", full)
    options = ["--data", data, "--recipe", "tiny.toml", "--out", "r"]
    code, _, err = scope(capsys, *SRGAN, *options)
    assert code == 1
    assert "last.pt: No space left on device; what was saved before is whole" in err
    assert err.count("Error: ") == 1
    assert "Traceback" not in err


# Stopped --------------------------------------------------------------------------------------


def interrupted(patch: pytest.MonkeyPatch, *steps: int) -> None:
    """Press Ctrl-C in the middle of some steps."""
    real, seen = loop.set_rate, iter(range(10**9))

    def set_rate(*given: Any) -> None:
        if next(seen) in steps:
            signal.raise_signal(signal.SIGINT)
        real(*given)

    from scope_sr.train import srgan

    patch.setattr(srgan, "set_rate", set_rate)


def test_ctrl_c_saves_and_says_how_to_go_on(
    here: Path, data: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--data", data, "--recipe", "tiny.toml"]
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        interrupted(patch, 12)
        code, _, err = scope(capsys, *SRGAN, *options, "--out", "halves")
    assert code == 130
    assert "Stopping after this step; once more to stop without saving" in err
    last = err.strip().splitlines()[-1]
    way = "Stopped; all is saved. Go on with: scope-sr "
    assert last == f"{way}train srgan --out halves --resume"
    assert signal.getsignal(signal.SIGINT) is before
    assert checkpoint(here / "halves")["step"] == 13
    # as it was said, word by word; the dataset is remembered
    code, out, _ = scope(capsys, *last.removeprefix(way).split())
    assert code == 0
    assert "Model: " in out
    scope(capsys, *SRGAN, *options, "--out", "straight")
    assert same_training(here / "halves", here / "straight") == []


def test_ctrl_c_twice_stops_at_once_and_leaves_the_last_checkpoint(
    here: Path, data: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, hits = disk._write, []

    def slow_disk(file: Any, data: bytes) -> None:
        if "last.pt" in file.name and len(hits) < 3:
            hits.append(file.name)
            if len(hits) == 2:  # while it saves after the first
                signal.raise_signal(signal.SIGINT)
        real(file, data)

    monkeypatch.setattr(disk, "_write", slow_disk)
    interrupted(monkeypatch, 12)
    options = ["--data", data, "--recipe", "tiny.toml", "--out", "r"]
    code, _, err = scope(capsys, *SRGAN, *options)
    assert code == 130
    assert err.strip().splitlines()[-1] == "Stopped"
    assert checkpoint(here / "r")["step"] == 10


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows signals processes in another way")
def test_ctrl_c_in_a_terminal_reaches_workers_too_and_all_is_saved(here: Path, data: str) -> None:
    text = f"workers = 1\n{RECIPE}".replace("steps = 20", "steps = 100000")
    (here / "long.toml").write_text(text, "utf-8")
    words = ["train", "srgan", "--data", data, "--recipe", "long.toml", "--out", "r"]
    program = subprocess.Popen(
        [sys.executable, "-m", "scope_sr", *words], cwd=here, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + 60
    while not (here / "r/checkpoints/last.pt").exists() and time.monotonic() < end:
        time.sleep(0.1)
    os.killpg(program.pid, signal.SIGINT)
    _, err = program.communicate(timeout=60)
    assert program.returncode == 130, err
    assert err.count("Stopping after this step") == 1
    assert "Traceback" not in err
    assert "Go on with: scope-sr train srgan --out r --resume" in err
    assert checkpoint(here / "r")["step"] >= 10


# TensorBoard ----------------------------------------------------------------------------------


def test_tensorboard_hears_of_every_figure(
    here: Path, data: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scalars: list[tuple[str, float, int]] = []

    class SummaryWriter:
        """As the real one, it makes its folder at once."""

        def __init__(self, folder: str) -> None:
            Path(folder).mkdir(parents=True)
            (Path(folder) / "events").write_bytes(b"")

        def add_scalar(self, name: str, value: float, step: int) -> None:
            scalars.append((name, value, step))

        def flush(self) -> None:
            pass

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    options = ["--data", data, "--recipe", "tiny.toml", "--out", "r", "--tensorboard"]
    code, _, err = scope(capsys, *SRGAN, *options)
    assert code == 0, err
    assert (here / "r/tensorboard/events").exists()
    assert {(name, step) for name, _, step in scalars} >= {
        ("pixel/l1", 20), ("pixel/gain_db", 10), ("gan/gain_db", 4),
    }  # fmt: skip


def test_tensorboard_that_is_not_installed_is_said_before_anything_is_begun(
    here: Path, data: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    options = ["--data", data, "--recipe", "tiny.toml", "--out", "r", "--tensorboard"]
    message = refused(capsys, *SRGAN, *options)
    assert message == "--tensorboard: not installed; pip install 'scope-sr[tensorboard]'"
    assert not (here / "r").exists()


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("tensorboard"), reason="an extra")
def test_the_real_tensorboard_is_written(here: Path, data: str) -> None:
    words = ["train", "srgan", "--data", data, "--recipe", "tiny.toml", "--out", "r"]
    done = subprocess.run(
        [sys.executable, "-m", "scope_sr", *words, "--tensorboard"], cwd=here,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (events,) = (here / "r/tensorboard").iterdir()
    assert b"pixel/l1" in events.read_bytes()


# The tour -------------------------------------------------------------------------------------


@pytest.fixture
def quick_tour(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three small images, three steps, and a stand-in for the model of the package."""
    home = here / "package"
    home.mkdir()
    card = Card("sr", "compact-x2", "compact", {"blocks": 16, "channels": 32}, 2)
    digits = save(generator("compact", 2, 16, 32), card, home / "compact-x2.ts")
    (home / "sha256.json").write_text(json.dumps({"compact-x2": digits}), "utf-8")
    monkeypatch.setattr(naming, "SHIPPED", home)

    def write_tissue(folder: Path) -> tuple[Path, Path]:
        (folder / "images").mkdir(parents=True)
        with (folder / "patients.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(("name", "patient", "split"))
            for number, split in enumerate(("train", "val", "test")):
                Image.fromarray(tissue(number, 160)).save(folder / "images" / f"{split}.png")
                table.writerow((split, f"P{number}", split))
        return folder / "images", folder / "patients.csv"

    monkeypatch.setattr(scope_sr.build_dataset, "write_tissue", write_tissue)
    monkeypatch.setattr(building, "draw_pictures", lambda *_args: None)
    monkeypatch.setattr(building, "workers", lambda _count: nullcontext(Workers(Now(), 1)))
    monkeypatch.setattr(sys.modules["scope_sr.cli.train"], "TOUR", {
        "steps": 3, "every": 3, "scale": 2,
    })  # fmt: skip
    return here


def test_the_tour_shows_all_of_it_and_says_so(
    quick_tour: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = scope(capsys, "train")
    assert code == 0, err
    tour = quick_tour / "scope-sr-tour"
    assert "A tour: compact-x2" in out
    assert "the low images are computed, not captured" in " ".join(out.split())
    assert "of split test" in out
    assert "never learnt from" in out
    card = read_card(tour / "run/fidelity.ts")
    assert card.dataset
    assert card.dataset.simulated
    assert card.dataset.test == ("P2",)
    assert json.loads((tour / "run/run.json").read_bytes())["start"] == "compact-x2"
    assert metrics(tour / "run")[-1]["step"] == 3
    again = refused(capsys, "train")
    assert "scope-sr-tour is not empty; name another folder for the tour" in again


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif("compact-x2" not in shipped(), reason="the model is not in the package yet")
def test_the_real_tour_gains_over_bicubic(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = scope(capsys, "train", "--out", "tour")
    assert code == 0, err
    figures = read_card(here / "tour/run/fidelity.ts").figures[0]
    assert figures.psnr_db["model"] > figures.psnr_db["bicubic"] + 1, out
