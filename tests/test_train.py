"""Training of SRGAN: it learns, goes on to the bit, and stops before it spoils anything."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from datasets import Making, tissue
from training import (
    Killed,
    checkpoint,
    differences,
    killed_at,
    metrics,
    nuclei,
    opened,
    pairs,
    same_training,
    srgan_recipe,
    stop_before,
)

from scope_sr import disk
from scope_sr.degradation import bicubic_low
from scope_sr.errors import InputError, TrainingError
from scope_sr.modelfile import Card, load, read_card, save, state
from scope_sr.networks import UNet
from scope_sr.networks.features import VGG19
from scope_sr.train import Progress, cards, loop, srgan, train_srgan, validation
from scope_sr.train.perceptual import features_of

GAN = {"gan": {"steps": 6}}


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all the rest."""
    monkeypatch.setattr(validation, "picture", lambda judged, step: b"")
    monkeypatch.setattr(validation, "curves", lambda metrics: b"")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return opened(pairs(tmp_path_factory.mktemp("pairs")))


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Path]]:
    """Train without a stop, once for each recipe."""
    home, done = tmp_path_factory.mktemp("straight"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "picture", lambda judged, step: b"")
        patch.setattr(validation, "curves", lambda metrics: b"")

        def train(**changes: Any) -> Path:
            key = json.dumps(changes, sort_keys=True)
            if key not in done:
                out = home / str(len(done))
                finished = train_srgan(data, srgan_recipe(**changes), out)
                assert not finished.stopped
                done[key] = out
            return done[key]

        yield train


# It learns ------------------------------------------------------------------------------------


def test_one_patch_is_learnt_by_heart(tmp_path: Path) -> None:
    """The same however it is turned, so that one patch is all there is."""
    corner = tissue(0, 16) // 2
    corner += corner.transpose(1, 0, 2)
    half = np.concatenate([corner, corner[::-1]])
    image = np.concatenate([half, half[:, ::-1]], axis=1)
    making = Making(tmp_path / "data")
    for split in ("train", "val"):
        making.pair(f"{split}/f", split, image, low_name="low/f.tif")
    recipe = srgan_recipe(
        blocks=2, channels=32, batch=1, stain_jitter=0.0, ema=0.0,
        pixel={"steps": 240, "learning_rate": 1e-2, "shift_px": 0},
        checks={"every_steps": 240},
    )  # fmt: skip
    finished = train_srgan(opened(making), recipe, tmp_path / "run")
    losses = [line["l1"] for line in metrics(tmp_path / "run") if "l1" in line]
    assert losses[-1] < 0.45 * losses[0]  # which is nearly that of bicubic interpolation
    db = finished.figures["psnr_db"]
    assert db["model"] > db["bicubic"] + 5


def test_what_a_run_leaves_behind(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(srgan, "LOG_STEPS", 4)
    told: list[Progress] = []
    finished = train_srgan(data, srgan_recipe(gan={"steps": 4}), tmp_path / "run", tell=told.append)
    run = finished.folder
    assert finished.models == (run / "fidelity.ts", run / "gan.ts")
    assert finished.why == "all steps done"
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert names == {
        "recipe.json", "run.json", "metrics.jsonl", "curves.png", "checkpoints/last.pt",
        "checkpoints/best.pt", "fidelity.ts", "fidelity.ts.sha256", "gan.ts", "gan.ts.sha256",
        *(f"samples/step-{step:07d}.png" for step in (0, 4, 8, 12)),
    }  # fmt: skip
    lines = metrics(run)
    assert [(line["stage"], line["step"], "l1" in line) for line in lines] == [
        ("pixel", 0, False), ("pixel", 4, True), ("pixel", 4, False),
        ("pixel", 8, True), ("pixel", 8, False),
        ("gan", 12, True), ("gan", 12, False),
    ]  # fmt: skip
    assert lines[5].keys() == {
        "stage", "step", "l1", "adversarial", "gradient", "discriminator"
    }  # fmt: skip
    assert np.sum(lines[4]["shifts"]) == 2 * 8  # where each patch fitted best
    assert [(news.stage, news.step, news.steps) for news in told] == [
        ("pixel", 0, 8), ("pixel", 4, 8), ("pixel", 4, 8), ("pixel", 8, 8), ("pixel", 8, 8),
        ("gan", 4, 4), ("gan", 4, 4),
    ]  # fmt: skip
    assert {"l1", "gradient"} <= told[1].figures.keys()


def test_samples_and_curves_are_pictures(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    recipe = srgan_recipe(pixel={"steps": 20}, checks={"every_steps": 20, "fields": 3})
    train_srgan(data, recipe, tmp_path / "run")
    for name in ("samples/step-0000020.png", "curves.png"):
        assert (tmp_path / "run" / name).read_bytes().startswith(b"\x89PNG")


def test_a_card_tells_data_groups_and_figures_beside_bicubic(
    data: Path, straight: Callable[..., Path]
) -> None:
    run = straight(**GAN)
    card, other = read_card(run / "fidelity.ts"), read_card(run / "gan.ts")
    assert card.dataset
    assert card.dataset.sha256 == hashlib.sha256((data / "index.jsonl").read_bytes()).hexdigest()
    assert (card.dataset.train, card.dataset.val, card.dataset.test) == (
        ("patient train",), ("patient val",), ("patient test",),
    )  # fmt: skip
    assert (card.dataset.level, card.dataset.simulated) == ("patient", False)
    assert (card.kind, card.scale, card.weights, other.weights) == ("sr", 2, "fidelity", "gan")
    assert (card.um_per_px_in, card.um_per_px_out) == (0.5, 0.25)
    assert card.licence == "CC BY 4.0"
    (figures,) = card.figures
    for table in (figures.psnr_db, figures.ssim):
        assert table.keys() == {"model", "bicubic"}
    assert "split test" in figures.protocol
    assert card.settings == {"blocks": 1, "channels": 4}
    best = checkpoint(run, "best")["step"]
    assert (card.steps, other.steps) == (best, best + 6)


def test_the_losses_on_a_card_are_of_its_own_stage(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the fidelity weights are written once more, after a stop in the second stage."""
    monkeypatch.setattr(srgan, "LOG_STEPS", 2)
    train_srgan(data, srgan_recipe(**GAN), tmp_path / "run", stop=stop_before(11))
    train_srgan(data, srgan_recipe(**GAN), tmp_path / "run", resume=True)
    first, second = (read_card(tmp_path / "run" / f"{n}.ts").losses for n in ("fidelity", "gan"))
    assert first.keys() == {"l1", "gradient"}
    assert second.keys() == {"l1", "gradient", "adversarial", "discriminator"}


def test_the_figures_on_a_card_are_those_of_the_model_file(
    data: Path, straight: Callable[..., Path]
) -> None:
    """Measured anew, on the file and the whole test image: near those on the card."""
    from scope_sr.dataset import Dataset, Pair
    from scope_sr.imaging.picture_scores import bicubic, psnr_db

    run = straight()
    dataset = Dataset.open(data)
    pair = next(item for item in dataset.of("test") if isinstance(item, Pair))
    low, high = (np.array(image) for image in dataset.images(pair))
    (figures,) = read_card(run / "fidelity.ts").figures
    gain = psnr_db(load(run / "fidelity.ts")(low), high, 2) - psnr_db(bicubic(low, 2), high, 2)
    assert figures.psnr_db["model"] - figures.psnr_db["bicubic"] == pytest.approx(gain, abs=0.3)


def test_low_patches_computed_on_the_way_are_named_in_the_card(data: Path, tmp_path: Path) -> None:
    recipe = srgan_recipe(degradation={"low": "optics", "defocus_um": 1.0}, pixel={"steps": 2})
    train_srgan(data, recipe, tmp_path / "run")
    card = read_card(tmp_path / "run" / "fidelity.ts")
    assert card.dataset
    assert card.dataset.simulated
    assert card.dataset.degradation.startswith("optics of rig simulated: NA ")
    assert card.dataset.degradation.endswith("up to 1 µm out of focus")


def test_the_best_weights_are_kept_not_the_last(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gains = iter([0.0, 1.0, 3.0, 2.0])
    monkeypatch.setattr(
        validation.Trial, "judge", lambda self, network: validation.Judged(next(gains), 0.0, ())
    )
    monkeypatch.setattr(validation.Trial, "figures", lambda self, network: {})
    recipe = srgan_recipe(pixel={"steps": 12, "learning_rate": 0.1})
    train_srgan(data, recipe, tmp_path / "run")
    best, last = checkpoint(tmp_path / "run", "best"), checkpoint(tmp_path / "run")
    assert (best["step"], last["step"]) == (8, 12)
    assert last["best"] == {"gain_db": 3.0, "step": 8}
    kept = {f"module.{key}": value for key, value in state(tmp_path / "run/fidelity.ts").items()}
    of_best = {key: best["average"][key] for key in kept}
    assert differences(kept, of_best) == []
    assert differences(kept, {key: last["average"][key] for key in kept}) != []


def test_a_first_stage_that_gains_nothing_ends_early(data: Path, tmp_path: Path) -> None:
    recipe = srgan_recipe(
        pixel={"steps": 400, "learning_rate": 1e-30}, checks={"every_steps": 2, "patience": 3}
    )
    finished = train_srgan(data, recipe, tmp_path / "run")
    assert finished.why == "nothing gained for 3 checks"
    assert checkpoint(tmp_path / "run")["step"] == 6
    before = checkpoint(tmp_path / "run")
    again = train_srgan(data, recipe, tmp_path / "run", resume=True)
    assert again.why == finished.why
    assert differences(checkpoint(tmp_path / "run"), before) == []


def test_a_model_is_begun_with(data: Path, straight: Callable[..., Path], tmp_path: Path) -> None:
    model = straight() / "fidelity.ts"
    recipe = srgan_recipe(pixel={"steps": 1, "learning_rate": 1e-30})
    train_srgan(data, recipe, tmp_path / "run", start=str(model))
    assert differences(dict(state(tmp_path / "run/fidelity.ts")), dict(state(model))) == []
    assert json.loads((tmp_path / "run/run.json").read_bytes())["start"] == str(model)


def test_of_a_model_of_another_scale_the_body_is_begun_with(
    straight: Callable[..., Path], tmp_path: Path
) -> None:
    wide = opened(pairs(tmp_path / "x4", scale=4))
    model = straight() / "fidelity.ts"
    recipe = srgan_recipe(pixel={"steps": 1, "learning_rate": 1e-30})
    train_srgan(wide, recipe, tmp_path / "run", start=str(model))
    ours, theirs = state(tmp_path / "run/fidelity.ts"), state(model)
    assert read_card(tmp_path / "run/fidelity.ts").scale == 4
    assert torch.equal(ours["body.2.weight"], theirs["body.2.weight"])
    assert ours["tail.weight"].shape != theirs["tail.weight"].shape


# It goes on to the bit ------------------------------------------------------------------------

OPTICS = {
    "degradation": {"low": "optics", "defocus_um": 1.0},
    "architecture": "srresnet",
    "precision": "bf16-mixed",
}


@pytest.mark.parametrize(
    ("changes", "stops"),
    [
        ({}, (0, 5)),  # before anything, and between two checks
        (GAN, (3,)),  # in the first stage, over the border
        (GAN, (4, 4)),  # right after a check, at the border
        (GAN, (11,)),  # in the second stage
        ({**OPTICS, **GAN}, (3, 8)),
    ],
    ids=["pixel", "into gan", "border", "gan", "optics"],
)
def test_a_stopped_run_goes_on_to_the_bit(
    data: Path,
    straight: Callable[..., Path],
    tmp_path: Path,
    changes: dict[str, Any],
    stops: tuple[int, ...],
) -> None:
    recipe, out = srgan_recipe(**changes), tmp_path / "run"
    for number, step in enumerate(stops):
        finished = train_srgan(data, recipe, out, resume=number > 0, stop=stop_before(step))
        assert finished.stopped
        assert [path.name for path in finished.models] == [
            path.name for path in out.glob("fidelity.ts")
        ]
    finished = train_srgan(data, recipe, out, resume=True)
    assert finished.why == "all steps done"
    assert same_training(out, straight(**changes)) == []
    last = checkpoint(out)
    assert {"network", "average", "optimizer"} < last.keys()
    if "gan" in changes:
        assert {"discriminator", "optimizer_d"} < last.keys()
        assert last["stage"] == "gan"


def test_a_finished_run_resumed_is_the_same_run(
    data: Path, straight: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    train_srgan(data, srgan_recipe(**GAN), out)
    train_srgan(data, srgan_recipe(**GAN), out, resume=True)
    assert same_training(out, straight(**GAN)) == []


def test_the_comparison_of_runs_sees_one_bit(
    straight: Callable[..., Path], data: Path, tmp_path: Path
) -> None:
    train_srgan(data, srgan_recipe(seed=1, **GAN), tmp_path / "run")
    found = same_training(tmp_path / "run", straight(**GAN))
    for part in ("last/network", "last/discriminator", "best/average", "metrics", "models/gan"):
        assert any(one.startswith(part) for one in found), part


def calls_to_disk(data: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    count = 0

    def counting(real: Callable[..., Any]) -> Callable[..., Any]:
        def do(*given: Any) -> Any:
            nonlocal count
            count += 1
            return real(*given)

        return do

    with monkeypatch.context() as patch:
        for name in ("_write", "_sync", "_truncate", "_replace", "_remove"):
            patch.setattr(disk, name, counting(getattr(disk, name)))
        train_srgan(data, srgan_recipe(**GAN), out)
    return count


def die_and_go_on(data: Path, out: Path, monkeypatch: pytest.MonkeyPatch, call: int) -> bool:
    """Whether there was anything to go on from."""
    with monkeypatch.context() as patch:
        killed_at(patch, call)
        with pytest.raises(Killed):
            train_srgan(data, srgan_recipe(**GAN), out)
    try:
        train_srgan(data, srgan_recipe(**GAN), out, resume=True)
    except InputError as error:
        assert "no run to resume" in str(error) or "before its first checkpoint" in str(error)
        return False
    return True


@pytest.mark.parametrize("share", [0.8])
def test_a_run_killed_while_it_writes_goes_on_to_the_bit(
    data: Path,
    straight: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    share: float,
) -> None:
    calls = 86  # see the slow test
    assert die_and_go_on(data, tmp_path / "run", monkeypatch, int(share * calls))
    assert same_training(tmp_path / "run", straight(**GAN)) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_killed_at_any_write_goes_on_to_the_bit(
    data: Path, straight: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = calls_to_disk(data, tmp_path / "whole", monkeypatch)
    assert calls == 86
    went_on = [
        die_and_go_on(data, tmp_path / str(call), monkeypatch, call) for call in range(calls)
    ]
    assert not any(went_on[:10])  # recipe, facts, metrics: nothing was there yet
    first = went_on.index(True)
    assert all(went_on[first:])
    for call in range(first, calls):
        assert same_training(tmp_path / str(call), straight(**GAN)) == []


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from training import srgan_recipe
from scope_sr.train import train_srgan

def die_in_the_second_stage():
    global asked
    asked += 1
    if asked == 30:
        os.kill(os.getpid(), signal.SIGKILL)
    return False

asked = 0
if __name__ == "__main__":
    recipe = srgan_recipe(pixel={{"steps": 20}}, gan={{"steps": 20}}, workers=1)
    train_srgan(Path({data!r}), recipe, Path({out!r}), stop=die_in_the_second_stage)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_process_killed_in_the_second_stage_goes_on_to_the_bit(
    data: Path, tmp_path: Path
) -> None:
    script = tmp_path / "killed.py"
    out = tmp_path / "run"
    script.write_text(
        KILLED.format(tests=str(Path(__file__).parent), data=str(data), out=str(out)), "utf-8"
    )
    run = subprocess.run([sys.executable, script], capture_output=True, check=False)
    assert run.returncode == -9, run.stderr
    assert checkpoint(out)["stage"] == "gan"
    recipe = srgan_recipe(pixel={"steps": 20}, gan={"steps": 20})
    train_srgan(data, recipe, out, resume=True)
    train_srgan(data, recipe, tmp_path / "straight")
    assert same_training(out, tmp_path / "straight") == []


# Two processes --------------------------------------------------------------------------------


def torchrun(*words: object) -> None:
    script = Path(__file__).with_name("two_processes.py")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
        script, *words,
    ]  # fmt: skip
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_go_on_to_the_bit_and_stay_alike(data: Path, tmp_path: Path) -> None:
    """Both kinds of training at once; a process of two draws patches of its own."""
    masks = opened(nuclei(tmp_path / "masks"))
    torchrun(data, masks, tmp_path / "straight", "never")
    torchrun(data, masks, tmp_path / "halves", 1)
    for kind in ("srgan", "unet"):
        with pytest.raises(InputError, match="was begun with 2 processes, now there are 1"):
            resume_alone(kind, data if kind == "srgan" else masks, tmp_path / "halves" / kind)
    torchrun(data, masks, tmp_path / "halves", "never")
    for kind in ("srgan", "unet"):
        straight, halves = tmp_path / "straight" / kind, tmp_path / "halves" / kind
        assert same_training(halves, straight) == []
        ranks = [torch.load(halves / f"rank-{rank}.pt", weights_only=True) for rank in (0, 1)]
        for part in {"network", "discriminator"} & ranks[0].keys():
            found = differences(*(trained(rank[part]) for rank in ranks), part)
            assert found == []
        assert ranks[0]["step"] == ranks[1]["step"]


def trained(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Leave out statistics of batches: each process keeps those of its own last one."""
    return {key: value for key, value in weights.items() if "running_" not in key}


def resume_alone(kind: str, data: Path, out: Path) -> None:
    from two_processes import recipe_of

    from scope_sr.train import train_unet

    carry_out: Any = train_srgan if kind == "srgan" else train_unet
    carry_out(data, recipe_of(kind), out, resume=True)


# It stops before it spoils anything -----------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_split_is_refused(tmp_path: Path, split: str) -> None:
    others = " ".join({"train", "val", "test"} - {split})
    data = opened(pairs(tmp_path / "data", splits=others))
    with pytest.raises(InputError, match=f"split {split} is empty.*build-dataset --resume"):
        train_srgan(data, srgan_recipe(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_a_test_split_the_figures_are_of_val(tmp_path: Path) -> None:
    data = opened(pairs(tmp_path / "data", splits="train val"))
    finished = train_srgan(data, srgan_recipe(pixel={"steps": 1}), tmp_path / "run")
    assert finished.figures["split"] == "val"
    assert "split val" in read_card(finished.models[0]).figures[0].protocol


def test_images_with_masks_are_refused(tmp_path: Path) -> None:
    data = opened(nuclei(tmp_path / "data"))
    with pytest.raises(InputError, match=r"images with masks, no pairs; .*train unet"):
        train_srgan(data, srgan_recipe(), tmp_path / "run")


def test_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no dataset there"):
        train_srgan(tmp_path / "nothing", srgan_recipe(), tmp_path / "run")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_pairs_too_small_for_a_patch_are_refused_before_anything_is_learnt(
    tmp_path: Path, split: str
) -> None:
    making = Making(tmp_path / "data")
    for name in ("train", "val", "test"):
        making.pair(f"{name}/f", name, tissue(0, 16 if name == split else 64))
    with pytest.raises(InputError, match=f"no pair of split {split} has room for 16 px"):
        train_srgan(opened(making), srgan_recipe(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_not_empty_is_left_alone(data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", "utf-8")
    with pytest.raises(InputError, match=r"is not empty; go on with --resume"):
        train_srgan(data, srgan_recipe(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_what_cannot_be_gone_on_with_is_refused(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(InputError, match="no run to resume"):
        train_srgan(data, srgan_recipe(), out, resume=True)
    train_srgan(data, srgan_recipe(), out, stop=stop_before(2))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    other = opened(pairs(tmp_path / "other", splits="train val"))
    with pytest.raises(InputError, match=r"begun on another dataset .*name it with --data"):
        train_srgan(other, srgan_recipe(), out, resume=True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"job": "unet"}, "begun by scope-sr train unet"),
        ({"dataset_sha256": "0"}, "begun on another dataset"),
        ({"processes": 4}, "begun with 4 processes, now there are 1"),
    ],
)
def test_another_job_dataset_or_number_of_processes_is_refused(
    change: dict[str, Any], words: str
) -> None:
    facts = {"job": "srgan", "dataset": "ds", "dataset_sha256": "a", "processes": 1}
    cards.refuse_other_data(Path("run"), facts, facts)
    with pytest.raises(InputError, match=words):
        cards.refuse_other_data(Path("run"), {**facts, **change}, facts)


def test_a_checkpoint_of_something_else_is_one_line(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train_srgan(data, srgan_recipe(), out)
    last, best = (out / "checkpoints" / f"{name}.pt" for name in ("last", "best"))
    last.write_bytes(best.read_bytes())
    with pytest.raises(InputError, match=r"does not fit its recipe\.json; begin again"):
        train_srgan(data, srgan_recipe(), out, resume=True)
    train_srgan(data, srgan_recipe(channels=5), tmp_path / "wider", stop=stop_before(4))
    last.write_bytes((tmp_path / "wider" / "checkpoints" / "last.pt").read_bytes())
    with pytest.raises(InputError, match=r"does not fit its recipe\.json; begin again"):
        train_srgan(data, srgan_recipe(), out, resume=True)


def test_a_full_disk_leaves_the_last_checkpoint_and_the_run_goes_on(
    data: Path,
    straight: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "run"
    real, writes = disk._write, []

    def full(file: Any, data: bytes) -> None:
        if Path(file.name).name.startswith("last.pt"):
            writes.append(file.name)
            if len(writes) == 2:
                real(file, data[: len(data) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "_write", full)
        with pytest.raises(TrainingError, match=r"last\.pt: No space left.*--resume") as caught:
            train_srgan(data, srgan_recipe(), out)
    assert caught.value.exit_code == 1
    assert checkpoint(out)["step"] == 4
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["best.pt", "last.pt"]
    train_srgan(data, srgan_recipe(), out, resume=True)
    assert same_training(out, straight()) == []


def test_a_full_disk_at_the_model_file_is_said_and_made_good(
    data: Path,
    straight: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = disk._write

    def full(file: Any, data: bytes) -> None:
        if "fidelity.ts" in file.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "_write", full)
        with pytest.raises(TrainingError, match=r"fidelity\.ts: No space left"):
            train_srgan(data, srgan_recipe(), tmp_path / "run")
    train_srgan(data, srgan_recipe(), tmp_path / "run", resume=True)
    assert same_training(tmp_path / "run", straight()) == []


def test_a_learning_rate_beyond_reason_is_noticed(data: Path, tmp_path: Path) -> None:
    recipe = srgan_recipe(pixel={"steps": 40, "learning_rate": 1e30}, checks={"every_steps": 20})
    with pytest.raises(TrainingError, match=r"stage pixel: .*lower pixel\.learning_rate"):
        train_srgan(data, recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()  # nothing was saved that could be gone on from


def poisoned(monkeypatch: pytest.MonkeyPatch, name: str, after: int) -> None:
    """Make a loss of `srgan` no number, from a call on."""
    real, calls = getattr(srgan, name), iter(range(10**9))

    def loss(*given: Any) -> Any:
        found = real(*given)
        if next(calls) < after:
            return found
        if isinstance(found, tuple):
            return found[0] * math.nan, found[1]
        return found * math.nan

    monkeypatch.setattr(srgan, name, loss)


@pytest.mark.parametrize(
    ("name", "after", "stage", "how"),
    [
        ("shift_tolerant_l1", 6, "pixel", "check"),
        ("shift_tolerant_l1", 6, "pixel", "stop"),
        ("discriminator_loss", 3, "gan", "check"),
        ("adversarial_loss", 3, "gan", "stop"),
    ],
)
def test_weights_that_are_no_numbers_are_not_saved(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    name: str,
    after: int,
    stage: str,
) -> None:
    """Between two steps whose losses are logged, too."""
    poisoned(monkeypatch, name, after)
    recipe = srgan_recipe(gan={"steps": 10}, checks={"every_steps": 4})
    first_bad = after + (8 if stage == "gan" else 0)
    stop = stop_before(first_bad + 1 if how == "stop" else 10**6)
    with pytest.raises(TrainingError, match=rf"stage {stage}: .* is no number any more"):
        train_srgan(data, recipe, tmp_path / "run", stop=stop)
    for checkpoint_name in ("last", "best"):
        found = checkpoint(tmp_path / "run", checkpoint_name)
        average = found["average"]
        assert all(value.isfinite().all() for value in average.values())
        assert found["step"] in {4, 8}
    if stage == "gan":
        assert (tmp_path / "run" / "fidelity.ts").exists()


def test_a_logged_loss_that_is_no_number_stops_at_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned(monkeypatch, "shift_tolerant_l1", 19)
    recipe = srgan_recipe(pixel={"steps": 40}, checks={"every_steps": 40})
    with pytest.raises(TrainingError, match="step 20 of stage pixel: l1 is no number"):
        train_srgan(data, recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("loss", [0.0, math.log(2)])
def test_a_collapsing_discriminator_stops_the_second_stage(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: float
) -> None:
    monkeypatch.setattr(loop, "COLLAPSE_STEPS", 3)
    monkeypatch.setattr(
        srgan, "discriminator_loss", lambda real, fake: real.mean() * 0 + fake.mean() * 0 + loss
    )
    with pytest.raises(TrainingError, match=r"the discriminator has been .* for 3 steps"):
        train_srgan(data, srgan_recipe(**GAN), tmp_path / "run")
    assert load(tmp_path / "run" / "fidelity.ts").card.weights == "fidelity"
    assert not (tmp_path / "run" / "gan.ts").exists()


def test_a_collapse_is_noticed_across_a_stop(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "COLLAPSE_STEPS", 4)
    monkeypatch.setattr(
        srgan, "discriminator_loss", lambda real, fake: real.mean() * 0 + fake.mean() * 0
    )
    out = tmp_path / "run"
    assert train_srgan(data, srgan_recipe(**GAN), out, stop=stop_before(8 + 3)).stopped
    with pytest.raises(TrainingError, match=r"^step 3 of stage gan: the discriminator has been"):
        train_srgan(data, srgan_recipe(**GAN), out, resume=True)


# Features -------------------------------------------------------------------------------------


def vgg19_file(folder: Path, name: str = "vgg19.pth", *, drop: str = "") -> Path:
    """Weights of the right shapes, all zero but one."""
    weights, inputs, number = {}, 3, 0
    for level, widths in enumerate(VGG19):
        number += 1 if level else 0
        for width in widths:
            weights[f"features.{number}.weight"] = torch.zeros(width, inputs, 3, 3)
            weights[f"features.{number}.bias"] = torch.full((width,), 0.5)
            inputs, number = width, number + 2
    weights["classifier.0.weight"] = torch.zeros(2, 2)
    weights.pop(drop, None)
    torch.save(weights, folder / name)
    return folder / name


def test_a_vgg19_file_is_taken_as_torchvision_writes_it(tmp_path: Path) -> None:
    path = vgg19_file(tmp_path)
    features = features_of(f"vgg19:{path}")
    assert features
    levels = features(torch.rand(1, 3, 32, 32))
    assert [tuple(level.shape[1:]) for level in levels] == [
        (64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2),
    ]  # fmt: skip
    assert [float(level.max()) for level in levels] == pytest.approx([0.05, 0.05, 0.5, 0.5, 0.5])
    assert not any(weight.requires_grad for weight in features.parameters())
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    assert features_of(f"vgg19:{path.rename(tmp_path / f'vgg19-{digits}.pth')}")
    assert features_of("none") is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.pth", r"No such file or directory; name torchvision's vgg19-dcbb9e9d\.pth"),
        ("vgg19-00000000.pth", r"damaged \(its SHA-256 does not begin with 00000000\); download"),
        ("text.pth", "not the weights of a VGG19; take"),
        ("other.pth", "not the weights of a VGG19; take"),
        ("short.pth", "not the weights of a VGG19; take"),
    ],
)
def test_a_vgg19_file_that_is_none_is_refused_before_anything_is_learnt(
    data: Path, tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "text.pth").write_text("no weights", "utf-8")
    (tmp_path / "vgg19-00000000.pth").write_bytes(b"cut short")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    if name == "short.pth":
        vgg19_file(tmp_path, name, drop="features.28.bias")
    recipe = srgan_recipe(gan={"steps": 2, "perceptual": f"vgg19:{tmp_path / name}"})
    with pytest.raises(InputError, match=rf"^gan\.perceptual: .*{name}: {words}") as caught:
        train_srgan(data, recipe, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def nuclei_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "nuclei.ts"
    save(UNet(4, 2), Card("nuclei", "n", "unet", {"base": 4, "depth": 2}, 1), path)
    return path


def test_a_nuclei_model_is_looked_through(
    data: Path, nuclei_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    real = srgan.feature_loss

    def loss(ours: Any, truth: Any) -> torch.Tensor:
        seen.append(real(ours, truth))
        return seen[-1]

    monkeypatch.setattr(srgan, "feature_loss", loss)
    monkeypatch.setattr(srgan, "LOG_STEPS", 4)
    recipe = srgan_recipe(
        pixel={"steps": 2}, gan={"steps": 4, "perceptual": f"nuclei:{nuclei_model}"}
    )
    before = dict(state(nuclei_model))
    train_srgan(data, recipe, tmp_path / "run")
    assert len(seen) == 4
    assert all(one.requires_grad and one > 0 for one in seen)
    logged = [line.get("features nuclei") for line in metrics(tmp_path / "run")]
    assert [value > 0 for value in logged if value is not None] == [True]
    assert differences(dict(state(nuclei_model)), before) == []


def test_features_of_a_model_that_is_none_of_nuclei_are_refused(
    data: Path, straight: Callable[..., Path], tmp_path: Path
) -> None:
    for name, words in (
        (str(straight() / "fidelity.ts"), "is a sr model; name a nuclei model"),
        ("nowhere.ts", "no such model file"),
    ):
        recipe = srgan_recipe(gan={"steps": 2, "perceptual": f"nuclei:{name}"})
        with pytest.raises(InputError, match=words):
            train_srgan(data, recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_second_stage_left_out_asks_for_no_features(data: Path, tmp_path: Path) -> None:
    recipe = srgan_recipe(pixel={"steps": 1}, gan={"steps": 0, "perceptual": "vgg19:nowhere.pth"})
    assert train_srgan(data, recipe, tmp_path / "run").why == "all steps done"


# Pairs that do not quite fit ------------------------------------------------------------------


def shifted_pairs(folder: Path, reach_px: int) -> Path:
    """Real tissue, low images by bicubic interpolation; high ones of train moved at random."""
    rng = np.random.default_rng(0)
    making = Making(folder, simulated=True)
    source = Path(disk.__file__).parent / "specimen" / "data" / "tnbc_images.tif"
    with tifffile.TiffFile(source) as tiff:
        images = [page.asarray() for page in tiff.pages]
    side, margin = 160, 8
    for number, image in enumerate(images):
        split = ("train", "train", "train", "train", "val", "test")[number % 6]
        for corner, (top, left) in enumerate(((margin, margin), (256, 256), (margin, 256))):
            down, right = rng.integers(-reach_px, reach_px + 1, 2) if split == "train" else (0, 0)
            true = image[top : top + side, left : left + side]
            moved = image[top + down :, left + right :][:side, :side]
            making.pair(f"{split}/{number}-{corner}", split, moved, low=bicubic_low(true, 2))
    return opened(making)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pairs_off_by_two_pixels_are_learnt_from_as_well_as_aligned_ones(tmp_path: Path) -> None:
    """Measured: see the assertion's message."""
    aligned = shifted_pairs(tmp_path / "aligned", 0)
    shifted = shifted_pairs(tmp_path / "shifted", 2)
    gains = {}
    for name, data, shift_px in (
        ("aligned", aligned, 2), ("shifted", shifted, 2), ("shifted, plain L1", shifted, 0),
    ):  # fmt: skip
        recipe = srgan_recipe(
            blocks=4, channels=16, low_px=32, batch=8, ema=0.99,
            pixel={"steps": 1200, "learning_rate": 2e-3, "shift_px": shift_px},
            checks={"every_steps": 400, "fields": 24},
        )  # fmt: skip
        db = train_srgan(data, recipe, tmp_path / "run" / name).figures["psnr_db"]
        gains[name] = db["model"] - db["bicubic"]
    print(gains)  # noqa: T201
    assert gains["shifted"] > gains["aligned"] - 0.2, gains
    assert gains["aligned"] > 1, gains
    assert gains["shifted, plain L1"] < gains["shifted"] - 1, gains  # what the tolerance saves
    last = [line for line in metrics(tmp_path / "run/shifted") if "shifts" in line][-1]
    counts = np.array(last["shifts"])
    assert counts.shape == (5, 5)
    assert counts.max() < 0.12 * counts.sum()  # all over, as they were drawn
    straight = [line for line in metrics(tmp_path / "run/aligned") if "shifts" in line][-1]
    assert straight["shifts"][2][2] > 0.9 * np.sum(straight["shifts"])
