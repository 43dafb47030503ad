"""Training of the nuclei U-Net: it learns, goes on to the bit, and stops before it spoils much."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Making
from torch.nn import functional
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
    stained,
    stop_before,
    unet_recipe,
)

from scope_sr import disk
from scope_sr.config import Mixture
from scope_sr.degradation import bicubic_low
from scope_sr.errors import InputError, TrainingError
from scope_sr.imaging.nuclei import BACKGROUND, BOUNDARY
from scope_sr.imaging.nuclei_scores import Figures
from scope_sr.imaging.picture_scores import bicubic
from scope_sr.modelfile import Card, load, read_card, save, state
from scope_sr.networks import generator
from scope_sr.train import Progress, nuclei_trial, train_unet, unet
from scope_sr.train.inputs import inputs_of
from scope_sr.train.nuclei_patches import NucleiPatches

MIXED = {"mixture": {"high": 0.4, "low": 0.6, "degrade": "optics"}, "batch": 4}


def undraw(patch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all the rest."""
    patch.setattr(nuclei_trial, "picture", lambda judged, step: b"")
    patch.setattr(nuclei_trial, "curves", lambda metrics: b"")


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    undraw(monkeypatch)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return opened(nuclei(tmp_path_factory.mktemp("nuclei")))


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Path]]:
    """Train without a stop, once for each recipe."""
    home, done = tmp_path_factory.mktemp("straight"), {}
    with pytest.MonkeyPatch.context() as patch:
        undraw(patch)

        def train(**changes: Any) -> Path:
            key = json.dumps(changes, sort_keys=True)
            if key not in done:
                done[key] = home / str(len(done))
                train_unet(data, unet_recipe(**changes), done[key])
            return done[key]

        yield train


def figures(pq: float | None) -> Figures:
    return Figures(dice=0.5, aji=None, pq=pq, sq=None, f1=None, images=1)


@pytest.fixture(scope="module")
def enlarger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model for x2 that does as bicubic interpolation."""
    path = tmp_path_factory.mktemp("model") / "twice.ts"
    card = Card("sr", "twice", "compact", {"blocks": 1, "channels": 4}, 2)
    save(generator("compact", 2, 1, 4), card, path)
    return path


# It learns ------------------------------------------------------------------------------------


def test_one_image_is_learnt_by_heart(tmp_path: Path) -> None:
    making = Making(tmp_path / "data", kind="nuclei", scale=1, low_um_per_px=0.25)
    image, labels = stained(0)
    for split in ("train", "val"):
        making.nuclei(split, split, image, labels, nuclei=int(labels.max()))
    recipe = unet_recipe(
        steps=100, learning_rate=2e-2, ema=0.8, stain_jitter=0.0, checks={"every_steps": 100}
    )
    finished = train_unet(opened(making), recipe, tmp_path / "run")
    assert finished.figures["split"] == "val"
    assert finished.figures["dice"]["model"] > 0.9
    assert finished.figures["pq"]["model"] > 0.7
    losses = [line for line in metrics(tmp_path / "run") if "classes" in line]
    for part in ("classes", "overlap", "distance"):
        assert losses[-1][part] < losses[0][part]


def test_what_a_run_leaves_behind(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(unet, "LOG_STEPS", 4)
    told: list[Progress] = []
    finished = train_unet(data, unet_recipe(), tmp_path / "run", tell=told.append)
    run = finished.folder
    assert finished.models == (run / "nuclei.ts",)
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert names == {
        "recipe.json", "run.json", "metrics.jsonl", "curves.png", "checkpoints/last.pt",
        "checkpoints/best.pt", "nuclei.ts", "nuclei.ts.sha256",
        "samples/step-0000004.png", "samples/step-0000008.png",
    }  # fmt: skip
    assert (run / "samples/step-0000004.png").read_bytes().startswith(b"\x89PNG")
    lines = metrics(run)
    assert [(line["step"], "classes" in line) for line in lines] == [
        (4, True), (4, False), (8, True), (8, False),
    ]  # fmt: skip
    assert {"val_dice", "val_aji", "val_pq", "val_f1"} <= lines[1].keys()
    assert [(news.stage, news.step, news.steps) for news in told] == [
        ("nuclei", 4, 8), ("nuclei", 8, 8),
    ]  # fmt: skip


def test_a_card_tells_data_mixture_and_figures(data: Path, straight: Callable[..., Path]) -> None:
    card = read_card(straight(**MIXED) / "nuclei.ts")
    assert card.dataset
    assert card.dataset.sha256 == hashlib.sha256((data / "index.jsonl").read_bytes()).hexdigest()
    assert (card.dataset.train, card.dataset.test) == (("patient train",), ("patient test",))
    assert (card.kind, card.scale, card.architecture, card.weights) == (
        "nuclei", 1, "unet", "nuclei",
    )  # fmt: skip
    assert card.settings == {"base": 4, "depth": 2}
    assert card.multiple_px == 4
    assert (card.um_per_px_in, card.licence) == (0.25, "CC BY 4.0")
    assert card.note == "learnt from 40% HR, 30% bicubic x2, 30% bicubic x4"
    (figures,) = card.figures
    assert (figures.protocol[:26], figures.images) == ("whole images of split test", 1)
    assert figures.dice.keys() == {"model"}


def test_the_best_weights_are_kept_not_the_last(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq = iter([0.1, 0.3, 0.2, 0.0])
    monkeypatch.setattr(
        nuclei_trial.Trial,
        "judge",
        lambda self, network: nuclei_trial.Judged(figures(next(pq)), ()),
    )
    train_unet(data, unet_recipe(steps=12, learning_rate=0.1), tmp_path / "run")
    best, last = checkpoint(tmp_path / "run", "best"), checkpoint(tmp_path / "run")
    assert (best["step"], last["step"]) == (8, 12)
    kept = {f"module.{key}": value for key, value in state(tmp_path / "run/nuclei.ts").items()}
    assert differences(kept, {key: best["average"][key] for key in kept}) == []
    assert differences(kept, {key: last["average"][key] for key in kept}) != []
    assert read_card(tmp_path / "run/nuclei.ts").steps == 8


def test_a_training_that_gains_nothing_ends_early(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = nuclei_trial.Judged(figures(None), ())
    monkeypatch.setattr(nuclei_trial.Trial, "judge", lambda self, network: judged)
    recipe = unet_recipe(steps=400, checks={"every_steps": 2, "patience": 2})
    finished = train_unet(data, recipe, tmp_path / "run")
    assert finished.why == "nothing gained for 2 checks"
    assert checkpoint(tmp_path / "run")["step"] == 6
    again = train_unet(data, recipe, tmp_path / "run", resume=True)
    assert (again.why, checkpoint(tmp_path / "run")["step"]) == (finished.why, 6)


def test_a_model_is_begun_with(data: Path, straight: Callable[..., Path], tmp_path: Path) -> None:
    model = straight(steps=12) / "nuclei.ts"
    recipe = unet_recipe(steps=1, learning_rate=1e-30, weight_decay=0.0)
    train_unet(data, recipe, tmp_path / "run", start=str(model))
    found, before = state(tmp_path / "run/nuclei.ts"), state(model)
    weights = [key for key in before if "running_" not in key and "num_batches" not in key]
    assert weights
    assert all(torch.equal(found[key], before[key]) for key in weights)


def test_a_generator_is_no_nuclei_model_to_begin_with(
    data: Path, enlarger: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"--start .*twice\.ts: 0 of the .* weights fit"):
        train_unet(data, unet_recipe(), tmp_path / "run", start=str(enlarger))
    assert not (tmp_path / "run").exists()


# What it sees ---------------------------------------------------------------------------------


def test_inputs_share_as_the_recipe_says(enlarger: Path) -> None:
    mixture = Mixture(high=0.5, low=0.2, sr=0.3, models=(str(enlarger),), scales=(2, 4))
    found = inputs_of(mixture, 0)
    assert [(one.name, one.share) for one in found] == [
        ("HR", 0.5), ("bicubic x2", 0.1), ("bicubic x4", 0.1), (enlarger.stem, 0.3),
    ]  # fmt: skip


@pytest.mark.parametrize("degrade", ["bicubic", "optics"])
@pytest.mark.parametrize("scale", [2, 4])
def test_low_inputs_are_taken_down_and_up_again_and_stay_in_place(degrade: Any, scale: Any) -> None:
    image, _ = stained(0)
    (one,) = inputs_of(Mixture(high=0.0, low=1.0, scales=(scale,), degrade=degrade), 0)
    made = one.degrade(image)
    assert (made.shape, made.dtype) == (image.shape, np.uint8)
    assert np.array_equal(made, one.degrade(image))
    wanted = bicubic(bicubic_low(image, scale), scale).astype(float)
    if degrade == "bicubic":
        inner = np.s_[8:-8, 8:-8]
        assert np.abs(made - wanted)[inner].max() <= 4
    green = made[..., 1].astype(float)
    fits = {
        shift: np.corrcoef(np.roll(green, shift, (0, 1)).ravel(), image[..., 1].ravel())[0, 1]
        for shift in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
    }
    assert max(fits, key=lambda shift: fits[shift]) == (0, 0)
    assert fits[0, 0] > 0.8


def test_sr_inputs_come_through_the_model(enlarger: Path) -> None:
    """It interpolates: so it must give what the low input gives, but for its kernel."""
    image, _ = stained(0)
    mixture = Mixture(
        high=0.0, low=0.5, sr=0.5, models=(str(enlarger),), scales=(2,), degrade="bicubic"
    )
    low, sr = (one.degrade(image).astype(float) for one in inputs_of(mixture, 0))
    assert np.abs(low - sr).mean() < 3
    assert not np.array_equal(low, sr)


def test_a_model_that_does_not_enlarge_is_refused(
    data: Path, straight: Callable[..., Path], tmp_path: Path
) -> None:
    for model, words in (
        (str(straight() / "nuclei.ts"), "is a nuclei model; name one that enlarges"),
        ("nowhere.ts", "no such model file"),
    ):
        recipe = unet_recipe(mixture={"high": 0.5, "sr": 0.5, "models": [model]})
        with pytest.raises(InputError, match=words):
            train_unet(data, recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_batches_of_a_mixture_hang_on_seed_step_and_rank(data: Path, enlarger: Path) -> None:
    import pickle

    from scope_sr.dataset import Dataset

    mixture = Mixture(high=0.2, low=0.4, sr=0.4, models=(str(enlarger),))

    def patches(seed: int = 0, rank: int = 0) -> NucleiPatches:
        return NucleiPatches(
            Dataset.open(data), "train", patch_px=32, batch=6, seed=seed, rank=rank,
            mixture=inputs_of(mixture, seed),
        )  # fmt: skip

    one = patches()
    batch = one[3]
    assert differences(patches()[3], batch) == []
    assert differences(pickle.loads(pickle.dumps(one))[3], batch) == []
    for other in (patches()[4], patches(rank=1)[3], patches(seed=1)[3]):
        assert not torch.equal(other["picture"], batch["picture"])


# Its loss -------------------------------------------------------------------------------------


def truth_of(classes: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        "classes": classes,
        "distance": (classes > 0).float(),
        "judged": torch.ones_like(classes, dtype=torch.bool),
    }


def test_the_truth_costs_nothing_and_its_opposite_much() -> None:
    classes = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    truth = truth_of(classes)
    right = torch.cat(
        [20.0 * functional.one_hot(classes, 3).permute(0, 3, 1, 2), truth["distance"][:, None]], 1
    )
    recipe = unet_recipe()
    assert all(float(v) < 1e-3 for v in unet.nuclei_losses(right, truth, recipe).values())
    wrong = torch.cat([-right[:, :3], 1 - right[:, 3:]], 1)
    found = unet.nuclei_losses(wrong, truth, recipe)
    assert found["classes"] > 10
    assert found["overlap"] > 0.3
    assert float(found["distance"]) == pytest.approx(0.5 * 0.95, abs=1e-3)


def test_what_is_not_judged_does_not_count() -> None:
    classes = torch.zeros(1, 8, 8, dtype=torch.int64)
    truth = truth_of(classes)
    found = torch.randn(1, 4, 8, 8)
    truth["judged"][:, :4] = False
    other = found.clone()
    other[:, :, :4] = 9.0
    recipe = unet_recipe()
    one, two = (unet.nuclei_losses(picture, truth, recipe) for picture in (found, other))
    assert all(torch.equal(one[key], two[key]) for key in one)
    truth["judged"][:] = False
    assert all(math.isfinite(float(v)) for v in unet.nuclei_losses(found, truth, recipe).values())


def test_the_boundary_weighs_more() -> None:
    undecided = torch.zeros(1, 4, 8, 8)
    losses = {}
    for number in (BACKGROUND, BOUNDARY):
        truth = truth_of(torch.full((1, 8, 8), number))
        losses[number] = unet.nuclei_losses(undecided, truth, unet_recipe(boundary_weight=3.0))
    assert float(losses[BOUNDARY]["classes"] / losses[BACKGROUND]["classes"]) == pytest.approx(3)


# It goes on to the bit ------------------------------------------------------------------------


def test_a_stopped_run_goes_on_to_the_bit(
    data: Path, straight: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    for number, step in enumerate((0, 5)):
        finished = train_unet(data, unet_recipe(), out, resume=number > 0, stop=stop_before(step))
        assert finished.stopped
        assert not finished.models
    assert train_unet(data, unet_recipe(), out, resume=True).why == "all steps done"
    assert same_training(out, straight()) == []
    assert {"network", "average", "optimizer"} < checkpoint(out).keys()
    train_unet(data, unet_recipe(), out, resume=True)  # once more, for nothing
    assert same_training(out, straight()) == []


def test_a_mixture_goes_on_to_the_bit(
    data: Path, straight: Callable[..., Path], tmp_path: Path, enlarger: Path
) -> None:
    mixture = {"high": 0.2, "low": 0.4, "sr": 0.4, "models": [str(enlarger)]}
    changes = {"mixture": mixture, "precision": "bf16-mixed"}
    train_unet(data, unet_recipe(**changes), tmp_path / "run", stop=stop_before(5))
    train_unet(data, unet_recipe(**changes), tmp_path / "run", resume=True)
    assert same_training(tmp_path / "run", straight(**changes)) == []


@pytest.mark.parametrize("call", [33])
def test_a_run_killed_while_it_writes_goes_on_to_the_bit(
    data: Path,
    straight: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: int,
) -> None:
    with monkeypatch.context() as patch:
        killed_at(patch, call)
        with pytest.raises(Killed):
            train_unet(data, unet_recipe(), tmp_path / "run")
    train_unet(data, unet_recipe(), tmp_path / "run", resume=True)
    assert same_training(tmp_path / "run", straight()) == []


# It stops before it spoils anything -----------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_split_is_refused(tmp_path: Path, split: str) -> None:
    others = " ".join({"train", "val", "test"} - {split})
    data = opened(nuclei(tmp_path / "data", splits=others))
    with pytest.raises(InputError, match=f"split {split} is empty.*three patients or more"):
        train_unet(data, unet_recipe(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_pairs_are_refused(tmp_path: Path) -> None:
    data = opened(pairs(tmp_path / "data"))
    with pytest.raises(InputError, match=r"pairs, no images with masks; .*train srgan"):
        train_unet(data, unet_recipe(), tmp_path / "run")


def test_another_dataset_is_not_gone_on_with(data: Path, tmp_path: Path) -> None:
    train_unet(data, unet_recipe(), tmp_path / "run", stop=stop_before(1))
    other = opened(nuclei(tmp_path / "other", splits="train val"))
    with pytest.raises(InputError, match="begun on another dataset"):
        train_unet(other, unet_recipe(), tmp_path / "run", resume=True)


def test_a_checkpoint_of_something_else_is_one_line(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train_unet(data, unet_recipe(), out)
    last, best = (out / "checkpoints" / f"{name}.pt" for name in ("last", "best"))
    whole = last.read_bytes()
    last.write_bytes(best.read_bytes())
    with pytest.raises(InputError, match=r"does not fit its recipe\.json; begin again"):
        train_unet(data, unet_recipe(), out, resume=True)
    last.write_bytes(whole)
    torch.save({"step": 4, "average": {}}, best)
    with pytest.raises(InputError, match=r"does not fit its recipe\.json; begin again"):
        train_unet(data, unet_recipe(), out, resume=True)


def test_images_of_any_size_and_without_instances_are_learnt_from(tmp_path: Path) -> None:
    making = Making(tmp_path / "data", kind="nuclei", scale=1)
    for number, (rows, columns) in enumerate(((20, 90), (64, 64), (101, 33))):
        image, labels = stained(number, 101)
        split = ("train", "val", "test")[number]
        part = np.s_[:rows, :columns]
        making.nuclei(split, split, image[part], (labels[part] > 0).astype(np.uint8) * 255)
    finished = train_unet(opened(making), unet_recipe(steps=4), tmp_path / "run")
    assert finished.figures.keys() >= {"split", "dice"}
    assert "pq" not in finished.figures  # nobody told touching nuclei apart
    out = load(finished.models[0])(stained(0, 37)[0])
    assert out.shape == (37, 37, 3)


@pytest.mark.parametrize("name", ["nuclei.ts", "metrics.jsonl"])
def test_a_full_disk_is_said_and_the_run_goes_on(
    data: Path,
    straight: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    real, writes = disk._write, []

    def full(file: Any, data: bytes) -> None:
        if Path(file.name).name.startswith(name):
            writes.append(name)
            if name == "nuclei.ts" or len(writes) == 3:
                real(file, data[: len(data) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file, data)

    changes = {"steps": 12}
    with monkeypatch.context() as patch:
        patch.setattr(disk, "_write", full)
        with pytest.raises(TrainingError, match=rf"{name}: No space left on device; .*--resume"):
            train_unet(data, unet_recipe(**changes), tmp_path / "run")
    assert checkpoint(tmp_path / "run")["step"] in {4, 8, 12}
    train_unet(data, unet_recipe(**changes), tmp_path / "run", resume=True)
    assert same_training(tmp_path / "run", straight(**changes)) == []


@pytest.mark.parametrize("how", ["check", "stop"])
def test_weights_that_are_no_numbers_are_not_saved(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    real, calls = unet.nuclei_losses, iter(range(10**9))

    def poisoned(*given: Any) -> dict[str, torch.Tensor]:
        losses = real(*given)
        if next(calls) >= 6:
            losses["overlap"] = losses["overlap"] * math.nan
        return losses

    monkeypatch.setattr(unet, "nuclei_losses", poisoned)
    stop = stop_before(7 if how == "stop" else 10**6)
    with pytest.raises(TrainingError, match=r"stage nuclei: .*no number.*lower learning_rate"):
        train_unet(data, unet_recipe(steps=12), tmp_path / "run", stop=stop)
    for name in ("last", "best"):
        found = checkpoint(tmp_path / "run", name)
        assert found["step"] == 4
        assert all(value.isfinite().all() for value in found["average"].values())


def test_the_unet_s_file_gives_what_the_network_gave(
    data: Path, straight: Callable[..., Path]
) -> None:
    """The card's Dice, measured on the file itself."""
    from scope_sr.dataset import Dataset, Labelled
    from scope_sr.imaging.nuclei import instances
    from scope_sr.imaging.nuclei_scores import pooled, score

    model = load(straight(steps=12) / "nuclei.ts")
    dataset = Dataset.open(data)
    item = next(one for one in dataset.of("test") if isinstance(one, Labelled))
    image, labels = (np.array(one) for one in dataset.labelled(item))
    found = pooled([score(instances(model(image), item.um_per_px), labels)])
    assert model.card.figures[0].dice.get("model") == pytest.approx(found.dice)
