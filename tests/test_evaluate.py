"""``scope-sr evaluate``: figures against known truth, what is claimed, what is refused."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from datasets import Making
from datasets import tissue as drawn_tissue
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import shift
from test_cli import refused, scope

import scope_sr.cli
from scope_sr import disk
from scope_sr.cli.evaluate import evaluate as command
from scope_sr.config import load_rig
from scope_sr.dataset import Dataset
from scope_sr.dataset.folder import INDEX
from scope_sr.degradation import bicubic_low, low_of, optics_of
from scope_sr.errors import InputError
from scope_sr.evaluate import Asked, Evaluation, evaluate, pictures, run
from scope_sr.evaluate.judging import tiled
from scope_sr.evaluate.lpips import SCALE, SHIFT, VGG16, Lpips, load_lpips
from scope_sr.evaluate.material import Entry, Lowering, Material, largest_rectangle
from scope_sr.evaluate.page import GENERATOR
from scope_sr.evaluate.seen import sight_of
from scope_sr.evaluate.statistics import Bootstrap, mean
from scope_sr.imaging.nuclei import planes, targets
from scope_sr.imaging.picture_scores import BEST_DB, bicubic, lanczos, psnr_db, ssim
from scope_sr.modelfile import Card, TrainedOn, save
from scope_sr.networks import UNet, generator
from scope_sr.pictures.files import rgb8

SR = Card("sr", "mine", "compact", {"blocks": 2, "channels": 8}, 2, halo_px=4, multiple_px=1)
FINDER = Card("nuclei", "finder", "unet", {"base": 4, "depth": 2}, 1, halo_px=4, multiple_px=4)
FIGURES = {"psnr_db", "ssim", "y_psnr_db", "y_ssim", "consistency_db"}
NUCLEI = {"dice", "aji", "pq", "f1"}


@cache
def _tissue(seed: int, size: int) -> np.ndarray:
    return drawn_tissue(seed, size)


def tissue(seed: int, size: int = 128) -> np.ndarray:
    return _tissue(seed, size).copy()


class Fake:
    """A model that does what a test needs it to do."""

    def __init__(self, card: Card, does: Callable[[np.ndarray], np.ndarray]) -> None:
        self.card = card
        self.sha256 = "f" * 64
        self.does = does

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return self.does(image)


Use = Callable[..., None]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Put fakes in place of model files, by name."""

    def putting(**models: Fake) -> None:
        monkeypatch.setattr(run, "load", lambda name, _device: models[name])

    monkeypatch.setattr(run, "shipped", dict)
    return putting


@pytest.fixture(autouse=True)
def quickly(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the page, which takes ten times as long as what it shows, where none is read."""
    monkeypatch.setitem(scope_sr.cli.cli.commands, "evaluate", command)
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(run, "page", lambda *_: GENERATOR)


@pytest.fixture
def drawn() -> None:
    """Draw the page, too."""


def bicubic_model(card: Card = SR) -> Fake:
    return Fake(card, lambda low: bicubic(low, card.scale))


def oracle(pairs: list[tuple[np.ndarray, np.ndarray]], card: Card = SR) -> Fake:
    """A model that knows the answer to each picture."""
    known = {low.tobytes(): high for low, high in pairs}
    return Fake(card, lambda low: known[np.ascontiguousarray(low).tobytes()])


def pairs_dataset(folder: Path, scale: int = 2, fields: int = 6, **header: object) -> Dataset:
    making = Making(
        folder,
        scale=scale,
        simulated=True,
        level="patient",
        groups={"anna": "train", "bert": "val", "cleo": "test"},
        **header,
    )
    for number, (split, patient) in enumerate((("train", "anna"), ("val", "bert"))):
        making.pair(f"A/{split}", split, tissue(number), patient=patient)
    for number in range(fields):
        making.pair(
            f"A/f{number}",
            "test",
            tissue(10 + number),
            low=bicubic_low(tissue(10 + number), scale),
            patient="cleo",
        )
    return making.done()


def truth_of(dataset: Dataset) -> list[tuple[np.ndarray, np.ndarray]]:
    found = [dataset.images(pair) for pair in dataset.of("test")]
    return [(np.array(low), np.array(high)) for low, high in found]


def judged(out: Path, **asked: object) -> Evaluation:
    return evaluate(Asked(**{"model": "mine", "out": out, **asked}))


def index_of(dataset: Dataset) -> str:
    import hashlib

    return hashlib.sha256((dataset.folder / INDEX).read_bytes()).hexdigest()


def trained(dataset: Dataset, **changes: object) -> TrainedOn:
    groups = dataset.header.groups
    by = {s: tuple(n for n in groups if groups[n] == s) for s in ("train", "val", "test")}
    known = TrainedOn("ds", index_of(dataset), simulated=True, level=dataset.header.level, **by)
    return replace(known, **changes)


# ----------------------------------------------------------- known truth


def test_a_model_that_knows_the_truth_has_the_best_figures(tmp_path: Path, use: Use) -> None:
    dataset = pairs_dataset(tmp_path / "ds")
    use(mine=oracle(truth_of(dataset)))
    report = judged(tmp_path / "out", data=tmp_path / "ds").report
    assert report["psnr_db"]["model"] == BEST_DB
    assert report["ssim"]["model"] == pytest.approx(1)
    assert report["consistency_db"]["model"] == BEST_DB
    assert report["consistency_db"]["bicubic"] < BEST_DB


def test_bicubic_gains_nothing_on_itself_and_is_said_not_to(tmp_path: Path, use: Use) -> None:
    pairs_dataset(tmp_path / "ds")
    use(mine=bicubic_model())
    found = judged(tmp_path / "out", data=tmp_path / "ds")
    for figure in FIGURES:
        gain = found.report["gains"][figure]
        assert gain == {"mean": 0.0, "interval": (0.0, 0.0), "better": 0, "worse": 0}
    assert found.verdict.startswith("Does NOT beat bicubic")


def test_every_figure_is_the_mean_over_fields_of_the_known_formula(
    tmp_path: Path, use: Use
) -> None:
    dataset = pairs_dataset(tmp_path / "ds")
    use(mine=Fake(SR, lambda low: lanczos(low, 2)))
    report = judged(tmp_path / "out", data=tmp_path / "ds").report
    pairs = truth_of(dataset)
    for name, enlarged in (("bicubic", bicubic), ("lanczos", lanczos), ("model", lanczos)):
        pictures = [enlarged(low, 2) for low, _ in pairs]
        both = list(zip(pictures, (high for _, high in pairs), strict=True))
        assert report["psnr_db"][name] == pytest.approx(
            np.mean([psnr_db(one, high, 2) for one, high in both])
        )
        assert report["ssim"][name] == pytest.approx(
            np.mean([ssim(one, high, 2) for one, high in both])
        )
    assert report["images"] == 6
    each = [field["psnr_db"]["bicubic"] for field in report["fields"]]
    assert np.mean(each) == pytest.approx(report["psnr_db"]["bicubic"])


def worsened(low: np.ndarray) -> np.ndarray:
    return np.clip(bicubic(low, 2).astype(int) + 25, 0, 255).astype(np.uint8)


@pytest.mark.usefixtures("drawn")
def test_a_worse_model_is_said_to_be_worse(tmp_path: Path, use: Use) -> None:
    pairs_dataset(tmp_path / "ds")
    use(mine=Fake(SR, worsened))
    found = judged(tmp_path / "out", data=tmp_path / "ds")
    assert found.verdict.startswith("Does NOT beat bicubic, it is worse: -")
    assert found.report["gains"]["psnr_db"]["worse"] == 6
    assert 'class="verdict fail"' in (tmp_path / "out/report.html").read_text("utf-8")


def test_what_beats_bicubic_but_not_lanczos_is_told_so(tmp_path: Path, use: Use) -> None:
    pairs_dataset(tmp_path / "ds")
    use(mine=Fake(SR, lambda low: lanczos(low, 2)))
    found = judged(tmp_path / "out", data=tmp_path / "ds")
    assert found.verdict.startswith("Beats bicubic by ")
    assert "But Lanczos does no worse" in found.verdict


def nearer(low: np.ndarray, high: np.ndarray, share: float) -> np.ndarray:
    """Go a share of the way from bicubic to the truth; below zero, away from it."""
    rough = bicubic(low, 2).astype(float)
    return np.clip(np.rint(rough + share * (high - rough)), 0, 255).astype(np.uint8)


def test_a_gain_that_may_be_chance_is_no_gain(tmp_path: Path, use: Use) -> None:
    dataset = pairs_dataset(tmp_path / "ds")
    shares = (0.4, -0.3, 0.3, -0.3, 0.4, -0.3)
    pairs = zip(truth_of(dataset), shares, strict=True)
    use(mine=oracle([(low, nearer(low, high, share)) for (low, high), share in pairs]))
    found = judged(tmp_path / "out", data=tmp_path / "ds")
    gain = found.report["gains"]["psnr_db"]
    assert gain["mean"] > 0 > gain["interval"][0]
    assert found.verdict.startswith("Does NOT beat bicubic: the difference of +")
    assert "may be chance" in found.verdict


@pytest.mark.parametrize(("fields", "some"), [(1, "1 field"), (5, "5 fields")])
def test_few_fields_prove_nothing(tmp_path: Path, use: Use, fields: int, some: str) -> None:
    dataset = pairs_dataset(tmp_path / "ds", fields=fields)
    use(mine=oracle(truth_of(dataset)))
    found = judged(tmp_path / "out", data=tmp_path / "ds")
    assert found.report["gains"]["psnr_db"]["interval"] is None
    assert f", on {some} " in found.verdict
    assert "; too few fields to say whether it is so on others" in found.verdict
    assert "Beats" not in found.verdict


# ------------------------------------------------------------- never saw


def state_of(tmp_path: Path, use: Use, card: Card, **asked: object) -> tuple[str, Evaluation]:
    use(mine=bicubic_model(card))
    found = judged(tmp_path / "out", data=tmp_path / "ds", **asked)
    return found.report["seen"]["state"], found


@pytest.mark.parametrize(
    ("split", "state", "said"),
    [
        ("test", "unseen", "fields it never saw"),
        ("val", "chosen by", "BY WHICH ITS WEIGHTS WERE CHOSEN"),
        ("train", "seen", "IT LEARNT FROM"),
    ],
)
@pytest.mark.usefixtures("drawn")
def test_never_saw_is_said_of_the_split_test_alone(
    tmp_path: Path, use: Use, split: str, state: str, said: str
) -> None:
    dataset = pairs_dataset(tmp_path / "ds")
    card = replace(SR, dataset=trained(dataset))
    found_state, found = state_of(tmp_path, use, card, split=split)
    assert found_state == state
    assert said.replace("fields", "field" if split != "test" else "fields") in found.verdict
    assert ("never saw" in found.verdict) == (split == "test")
    assert bool(found.warnings) == (split != "test")
    page = (tmp_path / "out/report.html").read_text("utf-8")
    assert ("<h2>Beware</h2>" in page) == (split != "test")


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"train": ("cleo",)}, "seen"),
        ({"train": ("CLEO",)}, "seen"),  # as others write it
        ({"train": (), "val": ("cleo", "dora")}, "chosen by"),
        ({}, "kept for testing"),
        ({"test": ("dora",)}, "not named"),
        ({"train": (), "val": (), "test": ()}, "unknown"),
        ({"level": "slide"}, "unknown"),  # nobody said of which slides the fields are
        ({"level": "area"}, "unknown"),
        ({"level": "image", "train": ("f1",)}, "seen"),
        ({"level": "image", "train": ("cleo",)}, "seen"),
        ({"level": "image"}, "unknown"),
    ],
    ids=str,
)
def test_of_another_dataset_names_decide(
    tmp_path: Path, use: Use, changes: dict, state: str
) -> None:
    dataset = pairs_dataset(tmp_path / "ds")
    card = replace(SR, dataset=trained(dataset, sha256="0" * 64, **changes))
    found_state, found = state_of(tmp_path, use, card)
    assert found_state == state
    assert "never saw" not in found.verdict
    assert bool(found.warnings) == (state in ("seen", "chosen by"))


def test_a_model_without_training_data_on_its_card_may_have_seen_anything(
    tmp_path: Path, use: Use
) -> None:
    pairs_dataset(tmp_path / "ds")
    state, found = state_of(tmp_path, use, SR)
    assert state == "unknown"
    assert "nobody can tell" in found.verdict


@pytest.mark.parametrize(
    ("level", "said"),
    [("area", "of slides it learnt from"), ("image", "perhaps of patients it learnt from")],
)
def test_unseen_fields_of_known_tissue_are_named_so(level: str, said: str) -> None:
    entries = (Entry("A/f0"),)
    material = Material("", {}, entries, lambda _: None, sha256="1", split="test", level=level)
    card = replace(SR, dataset=TrainedOn("ds", "1", simulated=True, level=level))
    assert said in sight_of(card, material).of("1 field")


# ---------------------------------------------------------------- fields


def test_only_the_usable_part_of_a_pair_is_judged(tmp_path: Path, use: Use) -> None:
    """What the index says must not be used is black in the truth; nobody may notice."""
    high = tissue(5, 256)
    low = bicubic_low(high, 2)
    usable = np.ones((16, 16), bool)
    usable[:, :6] = False
    usable[12, 9] = False
    spoilt = high.copy()
    spoilt[:, : 6 * 16] = 0
    spoilt[12 * 16 : 13 * 16, 9 * 16 : 10 * 16] = 0
    making = Making(tmp_path / "ds", simulated=True)
    making.pair("A/f0", "test", spoilt, low=low, usable=usable)
    making.done()
    use(mine=Fake(SR, lambda image: bicubic(image, 2)))
    report = judged(tmp_path / "out", data=tmp_path / "ds").report
    (field,) = report["fields"]
    assert (field["width_px"], field["height_px"]) == (16 * 10, 16 * 12)
    expected = psnr_db(bicubic(low[:96, 48:], 2), high[:192, 96:], 2)
    assert field["psnr_db"]["bicubic"] == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 7).flatmap(
        lambda columns: st.lists(
            st.lists(st.booleans(), min_size=columns, max_size=columns), min_size=1, max_size=7
        )
    )
)
def test_the_largest_rectangle_is_usable_and_none_is_larger(rows: list[list[bool]]) -> None:
    usable = np.array(rows)
    y, x, height, width = largest_rectangle(usable)
    assert usable[y : y + height, x : x + width].all()
    assert usable[y : y + height, x : x + width].size == height * width
    most = max(
        (b - a) * (d - c)
        for a in range(usable.shape[0] + 1)
        for b in range(a, usable.shape[0] + 1)
        for c in range(usable.shape[1] + 1)
        for d in range(c, usable.shape[1] + 1)
        if usable[a:b, c:d].all()
    )
    assert height * width == most


def test_grey_pairs_of_16_bits_are_brought_to_what_networks_are_given(
    tmp_path: Path, use: Use
) -> None:
    making = Making(tmp_path / "ds", simulated=True, bits=12, color=False)
    high = (tissue(1)[..., 1].astype(np.uint16) * 16).clip(0, 4095)
    making.pair("A/f0", "test", high)
    making.done()
    seen = []
    use(mine=Fake(SR, lambda low: seen.append(low) or bicubic(low, 2)))
    judged(tmp_path / "out", data=tmp_path / "ds")
    low = seen[0]
    assert low.dtype == np.uint8
    assert low.shape == (64, 64, 3)
    assert np.ptp(low, axis=2).max() == 0
    assert low.max() > 100  # of 12 bits, not of 16


def test_eight_bits_in_colour_stay_as_they_are() -> None:
    image = tissue(0)
    assert np.array_equal(rgb8(image, 8), image)
    full = np.array([[0, 1023, 512]], np.uint16)
    assert rgb8(full, 10)[0, :, 0].tolist() == [0, 255, 128]


def test_captured_pairs_are_judged_after_the_best_shift_too(tmp_path: Path, use: Use) -> None:
    high = tissue(3)
    off = np.rint(shift(high.astype(float), (0.6, -1.2, 0), order=3, mode="mirror"))
    making = Making(tmp_path / "ds", simulated=False)
    making.pair("A/f0", "test", np.clip(off, 0, 255).astype(np.uint8), low=bicubic_low(high, 2))
    making.done()
    use(mine=oracle([(bicubic_low(high, 2), high)]))
    report = judged(tmp_path / "out", data=tmp_path / "ds").report
    assert report["psnr_db"]["model"] < 30
    assert report["shifted_psnr_db"]["model"] > 42
    assert report["fitted_psnr_db"]["model"] >= report["shifted_psnr_db"]["model"]
    assert report["degradation"] == "captured"


def test_simulated_pairs_are_made_low_again_by_what_made_them(tmp_path: Path, use: Use) -> None:
    from scope_sr.dataset import Source

    optics = optics_of(load_rig("simulated"), 2)
    sources = (Source("A", "images", "0" * 64, "", optics.table()),)
    making = Making(tmp_path / "ds", simulated=True, sources=sources)
    high = tissue(4)
    low = low_of(high, optics.quiet, 0)
    making.pair("A/f0", "test", high, low=low)
    making.done()
    use(mine=oracle([(low, high)]))
    report = judged(tmp_path / "out", data=tmp_path / "ds").report
    assert report["consistency_db"]["model"] == BEST_DB
    assert report["degradation"] == str(optics)
    assert f"made low again ({optics.quiet})" in report["protocol"]


def test_low_images_of_a_dataset_can_be_made_anew_by_the_papers_protocol(
    tmp_path: Path, use: Use
) -> None:
    making = Making(tmp_path / "ds", simulated=True)
    making.pair("A/f0", "test", tissue(1), low=tissue(2, 64))
    making.done()
    seen = []
    use(mine=Fake(SR, lambda low: seen.append(low) or bicubic(low, 2)))
    report = judged(tmp_path / "out", data=tmp_path / "ds", degrade="bicubic").report
    assert report["degradation"] == "bicubic, antialiased, 8 bit"
    assert np.array_equal(seen[0], bicubic_low(tissue(1), 2))


def test_noise_is_the_same_for_every_model_and_another_in_every_image(
    tmp_path: Path, use: Use
) -> None:
    pairs_dataset(tmp_path / "ds")
    seen: list[np.ndarray] = []
    use(mine=Fake(SR, lambda low: seen.append(low) or bicubic(low, 2)))
    for name in ("one", "two"):
        judged(tmp_path / name, data=tmp_path / "ds", rig="simulated")
    half = len(seen) // 2
    assert all(np.array_equal(a, b) for a, b in zip(seen[:half], seen[half:], strict=True))
    lowering = Lowering(2, replace(optics_of(load_rig("simulated"), 2), variance=(0.0, 9.0)))
    image = np.full((96, 96, 3), 128, np.uint8)
    noise = [lowering.low(image, sha256).ravel() - 128.0 for sha256 in ("a" * 64, "b" * 64)]
    assert noise[0].std() > 2
    assert abs(np.corrcoef(*noise)[0, 1]) < 0.05


# ---------------------------------------------------------------- nuclei


def marked(seed: int, count: int = 8, size: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """An image and its nuclei, on a lattice so that none touch."""
    labels = np.zeros((size, size), np.uint16)
    y, x = np.indices(labels.shape)
    for number in range(count):
        at = (16 + 32 * (number // 4), 16 + 32 * (number % 4))
        labels[(y - at[0]) ** 2 + (x - at[1]) ** 2 < 80] = number + 1
    image = tissue(seed, size)
    image[labels > 0] = image[labels > 0] // 3
    return image, labels


def nuclei_dataset(folder: Path, fields: int = 6, **facts: object) -> list[np.ndarray]:
    making = Making(folder, kind="nuclei", scale=1, low_um_per_px=0.25, level="image")
    found = []
    for number in range(fields):
        image, labels = marked(number)
        facts = {"um_per_px": 0.25, "nuclei": 8, **facts}
        making.nuclei(f"n{number}", "test", image, labels, **facts)
        found.append((image, labels))
    making.done()
    return found


def finder(answers: dict[bytes, np.ndarray], card: Card = FINDER) -> Fake:
    """Finds the nuclei a test tells it to, by picture."""
    return Fake(
        card, lambda image: planes(*targets(answers[np.ascontiguousarray(image).tobytes()]))
    )


def first(labels: np.ndarray, count: int) -> np.ndarray:
    return np.where(labels <= count, labels, 0)


def test_the_share_of_the_gap_is_what_it_was_made_to_be(tmp_path: Path, use: Use) -> None:
    """Of 8 nuclei 4 are found in bicubic, 6 in the model's picture, all in the truth."""
    answers, known = {}, []
    for image, labels in nuclei_dataset(tmp_path / "ds"):
        low = bicubic_low(image, 2)
        own = np.clip(image.astype(int) - 1, 0, 255).astype(np.uint8)
        known.append((low, own))
        answers[bicubic(low, 2).tobytes()] = first(labels, 4)
        answers[own.tobytes()] = first(labels, 6)
        answers[image.tobytes()] = labels
    use(mine=oracle(known), finder=finder(answers))
    found = judged(tmp_path / "out", data=tmp_path / "ds", nuclei="finder", degrade="bicubic")
    report = found.report
    f1 = {"bicubic": 2 * 4 / 12, "model": 2 * 6 / 14, "high": 1.0}
    assert report["f1"] == pytest.approx(f1, abs=1e-6)
    share = (f1["model"] - f1["bicubic"]) / (1 - f1["bicubic"])
    assert report["recovered"]["f1"]["share"] == pytest.approx(share, abs=1e-6)
    assert report["recovered"]["f1"]["interval"] == pytest.approx((share, share), abs=1e-6)
    assert report["recovered"]["pq"]["share"] > 0.4
    assert "0.667 in bicubic, 0.857 in the model's, 1.000 in true images; 57 %" in found.verdict
    assert report["fields"][0]["nuclei"] == 8
    assert report["fields"][0]["found"] == {"bicubic": 4, "model": 6, "high": 8}
    assert set(report) > NUCLEI | FIGURES


@pytest.mark.usefixtures("drawn")
def test_where_the_truth_is_no_better_no_share_is_given(tmp_path: Path, use: Use) -> None:
    answers, known = {}, []
    for image, labels in nuclei_dataset(tmp_path / "ds"):
        low = bicubic_low(image, 2)
        known.append((low, bicubic(low, 2)))
        answers[bicubic(low, 2).tobytes()] = labels
        answers[image.tobytes()] = first(labels, 5)
    use(mine=oracle(known), finder=finder(answers))
    report = judged(
        tmp_path / "out", data=tmp_path / "ds", nuclei="finder", degrade="bicubic"
    ).report
    assert report["recovered"]["f1"]["share"] is None
    assert "not defined" in report["recovered"]["f1"]["why"]
    assert "not defined" in (tmp_path / "out/report.html").read_text("utf-8")


def test_a_nuclei_model_alone_is_judged_on_the_images(tmp_path: Path, use: Use) -> None:
    images = nuclei_dataset(tmp_path / "ds")
    answers = {
        image.tobytes(): first(labels, n)
        for n, (image, labels) in zip((8, 4) * 3, images, strict=True)
    }
    use(mine=finder(answers))
    found = judged(tmp_path / "out", data=tmp_path / "ds")
    report = found.report
    assert report["f1"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-6)
    assert {"dice", "aji", "pq", "f1", "images", "protocol"} <= set(report)
    assert report["images"] == 6
    assert "psnr_db" not in report
    assert found.verdict.startswith("Finds nuclei with F1 0.833 [0.722 to 0.944], PQ")


@pytest.mark.usefixtures("drawn")
def test_a_mask_that_tells_no_nuclei_apart_is_judged_by_dice_alone(
    tmp_path: Path, use: Use
) -> None:
    images = nuclei_dataset(tmp_path / "ds", fields=1, nuclei=None)
    use(mine=finder({image.tobytes(): labels for image, labels in images}))
    report = judged(tmp_path / "out", data=tmp_path / "ds").report
    assert report["dice"] == pytest.approx(1, abs=0.01)
    assert (report["f1"], report["pq"], report["aji"]) == (None, None, None)


def test_masks_that_tell_no_nuclei_apart_give_a_share_of_dice_alone(
    tmp_path: Path, use: Use
) -> None:
    image, labels = nuclei_dataset(tmp_path / "ds", fields=1, nuclei=None)[0]
    low = bicubic_low(image, 2)
    answers = {bicubic(low, 2).tobytes(): first(labels, 4), image.tobytes(): labels}
    use(mine=oracle([(low, image)]), finder=finder(answers))
    asked = {"nuclei": "finder", "degrade": "bicubic"}
    report = judged(tmp_path / "out", data=tmp_path / "ds", **asked).report
    assert report["recovered"]["dice"]["share"] == pytest.approx(1)
    assert report["recovered"]["f1"]["why"] == "not defined: the masks do not tell nuclei apart"


def test_where_nobody_is_to_judge_nobody_does(tmp_path: Path, use: Use) -> None:
    image, labels = marked(0)
    making = Making(tmp_path / "ds", kind="nuclei", scale=1, low_um_per_px=0.25, level="image")
    making.images["ignore/n.tif"] = (labels > 4).astype(np.uint8) * 255
    making.nuclei("n", "test", image, labels, nuclei=8, ignore="ignore/n.tif")
    making.done()
    use(mine=finder({image.tobytes(): first(labels, 4)}))
    assert judged(tmp_path / "out", data=tmp_path / "ds").report["f1"] == pytest.approx(1)


def test_without_a_nuclei_model_pictures_are_judged_all_the_same(tmp_path: Path, use: Use) -> None:
    nuclei_dataset(tmp_path / "ds")
    use(mine=bicubic_model())
    report = judged(tmp_path / "out", data=tmp_path / "ds", degrade="bicubic").report
    assert "f1" not in report
    assert report["nuclei_model"] is None


def test_the_shipped_nuclei_model_is_taken_where_none_is_named(
    tmp_path: Path, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    nuclei_dataset(tmp_path / "ds")
    monkeypatch.setattr(run, "shipped", lambda: {"nuclei": "0" * 64})
    nothing = Fake(FINDER, np.zeros_like)
    use(mine=bicubic_model(), nuclei=nothing)
    report = judged(tmp_path / "out", data=tmp_path / "ds", degrade="bicubic").report
    assert report["nuclei_model"]["name"] == "nuclei"
    assert report["f1"] == {"bicubic": 0, "model": 0, "high": 0}


# ---------------------------------------------------------- plain folders


def pictures_in(folder: Path, **images: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    for name, image in images.items():
        Image.fromarray(image).save(folder / f"{name}.png")
    return folder


def test_true_images_alone_are_cut_and_made_low_by_optics(tmp_path: Path, use: Use) -> None:
    hr = pictures_in(tmp_path / "hr", a=tissue(1)[:121, :95], b=tissue(2))
    use(mine=bicubic_model())
    report = judged(tmp_path / "out", hr=hr, scale=2).report
    assert report["degradation"].startswith("optics of rig simulated: NA 0.30")
    sizes = [(field["width_px"], field["height_px"]) for field in report["fields"]]
    assert sizes == [(94, 120), (128, 128)]
    assert "cut to a multiple of 2 px" in report["protocol"]


def test_the_papers_protocol_is_pillows_bicubic(tmp_path: Path, use: Use) -> None:
    high = tissue(3)
    hr = pictures_in(tmp_path / "hr", a=high)
    use(mine=bicubic_model())
    report = judged(tmp_path / "out", hr=hr, degrade="bicubic").report
    expected = psnr_db(bicubic(bicubic_low(high, 2), 2), high, 2)
    assert report["psnr_db"]["bicubic"] == pytest.approx(expected)


def test_pairs_of_ones_own_go_by_their_names(tmp_path: Path, use: Use) -> None:
    highs = [tissue(1), tissue(2)]
    hr = pictures_in(tmp_path / "hr", a=highs[0], b=highs[1])
    lr = pictures_in(
        tmp_path / "lr", **{n: bicubic_low(h, 2) for n, h in zip("ab", highs, strict=True)}
    )
    use(mine=oracle([(bicubic_low(high, 2), high) for high in highs]))
    report = judged(tmp_path / "out", hr=hr, lr=lr).report
    assert report["psnr_db"]["model"] == BEST_DB
    assert "fitted_psnr_db" in report
    assert [field["name"] for field in report["fields"]] == ["a", "b"]


@pytest.mark.parametrize("mask", ["labels", "black and white"])
def test_images_with_masks_of_ones_own(tmp_path: Path, use: Use, mask: str) -> None:
    image, labels = marked(0)
    images = pictures_in(tmp_path / "images", a=image)
    drawn = labels.astype(np.uint8) if mask == "labels" else ((labels > 0) * 255).astype(np.uint8)
    masks = pictures_in(tmp_path / "masks", a=drawn)
    use(mine=finder({image.tobytes(): labels}))
    report = judged(tmp_path / "out", images=images, labels=masks).report
    assert report["dice"] == pytest.approx(1, abs=0.01)
    assert report["f1"] == (1 if mask == "labels" else None)


def test_true_images_with_masks(tmp_path: Path, use: Use) -> None:
    image, labels = marked(0)
    hr = pictures_in(tmp_path / "hr", a=image)
    masks = pictures_in(tmp_path / "masks", a=labels.astype(np.uint8))
    use(mine=bicubic_model(), finder=Fake(FINDER, np.zeros_like))
    report = judged(tmp_path / "out", hr=hr, labels=masks, nuclei="finder").report
    assert report["fields"][0]["nuclei"] == 8


# ------------------------------------------------------------- bootstrap


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    boot = Bootstrap(40)
    for _ in range(200):
        interval = boot.interval(rng.normal(3, 1, 40))
        assert interval
        hits += interval[0] <= 3 <= interval[1]
    assert 0.88 < hits / 200 < 0.99


def test_paired_differences_are_surer_than_the_figures_themselves() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(30, 4, 50)
    better = base + rng.normal(0.5, 0.1, 50)
    boot = Bootstrap(50)
    own, gain = boot.interval(better), boot.interval(better - base)
    assert own[1] - own[0] > 1.5
    assert gain[1] - gain[0] < 0.1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=6, max_size=12))
def test_an_interval_lies_within_the_values_and_about_their_mean(values: list[float]) -> None:
    low, high = Bootstrap(len(values)).interval(np.array(values))
    assert min(values) - 1e-6 <= low <= mean(values) + 1e-6
    assert mean(values) - 1e-6 <= high <= max(values) + 1e-6


def test_fields_that_do_not_know_take_no_part() -> None:
    nan = math.nan
    assert mean([1.0, nan, 3.0]) == 2
    known = np.array([1.0, nan, 3.0, nan] * 5)
    low, high = Bootstrap(20).interval(known)
    assert 1 <= low < 2 < high <= 3
    assert Bootstrap(20).interval(known)[0] == pytest.approx(
        Bootstrap(10).interval(np.array([1.0, 3.0] * 5))[0], abs=0.2
    )
    assert Bootstrap(9).interval(np.array([1.0] * 5 + [nan] * 4)) is None
    assert math.isnan(mean([nan]))


def test_a_gap_that_may_be_none_has_a_share_without_bounds() -> None:
    low = np.zeros(6)
    high = np.array([1.0, 1.0, -1.0, 1.0, -1.0, 0.5])
    share, interval = Bootstrap(6).share(low, high / 2, high)
    assert share == pytest.approx(0.5)
    assert interval is None


# ------------------------------------------------------- tiles and LPIPS


@pytest.mark.parametrize(("kind", "size"), [("sr", (150, 97)), ("nuclei", (150, 99))])
def test_tiles_give_what_the_whole_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, size: tuple[int, int]
) -> None:
    from scope_sr.modelfile import load

    torch.manual_seed(0)
    network = generator("compact", 2, 2, 8) if kind == "sr" else UNet(4, 2)
    if kind == "sr":
        torch.nn.init.normal_(network.tail.weight, std=0.01)
    base = SR if kind == "sr" else FINDER
    save(network, replace(base, halo_px=0), tmp_path / "m.ts")
    model = load(tmp_path / "m.ts")
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    whole = model(image)
    monkeypatch.setattr("scope_sr.evaluate.judging.TILE_PX", 64)
    found = tiled(model, image)
    assert found.shape == whole.shape
    off = np.abs(found.astype(int) - whole)
    assert off.max() <= 1  # float32 sums in another order
    assert (off > 0).mean() < 1e-3


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Files of the two kinds, with numbers drawn by chance."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    vgg, heads = {"classifier.0.weight": torch.zeros(2)}, {}
    number, inputs = 0, 3
    for level, widths in enumerate(VGG16):
        number += bool(level)  # a pooling
        for width in widths:
            vgg[f"features.{number}.weight"] = torch.randn(width, inputs, 3, 3) / inputs**0.5 / 2
            vgg[f"features.{number}.bias"] = torch.zeros(width)
            number, inputs = number + 2, width
        heads[f"lin{level}.model.1.weight"] = torch.rand(1, widths[-1], 1, 1)
    torch.save(vgg, folder / "vgg16-397923af.pth")
    torch.save(heads, folder / "vgg.pth")
    return folder / "vgg16-397923af.pth", folder / "vgg.pth"


def test_the_keys_of_torchvision_end_where_they_end(weights: tuple[Path, Path]) -> None:
    keys = [key for key in torch.load(weights[0], weights_only=True) if "features" in key]
    assert keys[-1] == "features.28.bias"
    assert len(keys) == 2 * 13


def test_lpips_is_the_weighted_distance_of_unit_features(weights: tuple[Path, Path]) -> None:
    """Computed once more, step by step as the paper has it."""
    vgg, heads = (torch.load(path, weights_only=True) for path in weights)
    one, other = (tissue(seed, 48) for seed in (0, 1))
    features = []
    for image in (one, other):
        x = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None] / 255 * 2 - 1
        x = (x - torch.tensor(SHIFT)[:, None, None]) / torch.tensor(SCALE)[:, None, None]
        found, number = [], 0
        for level, widths in enumerate(VGG16):
            if level:
                x = torch.nn.functional.max_pool2d(x, 2)
                number += 1
            for _ in widths:
                weight, bias = (vgg[f"features.{number}.{key}"] for key in ("weight", "bias"))
                x = torch.relu(torch.nn.functional.conv2d(x, weight, bias, padding=1))
                number += 2
            found.append(x / x.norm(dim=1, keepdim=True).clamp(min=1e-10))
        features.append(found)
    expected = sum(
        float((heads[f"lin{n}.model.1.weight"] * (a - b) ** 2).sum(1).mean())
        for n, (a, b) in enumerate(zip(*features, strict=True))
    )
    model = load_lpips(*weights)
    assert isinstance(model, Lpips)
    assert model.distance(one, other) == pytest.approx(expected, rel=1e-4)
    assert model.distance(one, one) == 0
    assert model.distance(one, other) > model.distance(one, one // 2 * 2) > 0


def test_lpips_stands_in_the_report_when_weights_are_given(
    tmp_path: Path, use: Use, weights: tuple[Path, Path]
) -> None:
    dataset = pairs_dataset(tmp_path / "ds", fields=1)
    use(mine=oracle(truth_of(dataset)))
    report = judged(tmp_path / "out", data=tmp_path / "ds", lpips=weights).report
    assert report["lpips"]["model"] == 0 < report["lpips"]["bicubic"]
    assert report["gains"]["lpips"]["mean"] < 0
    assert (report["gains"]["lpips"]["better"], report["gains"]["lpips"]["worse"]) == (1, 0)
    assert "LPIPS 0.1 with VGG16" in report["protocol"]


def spoilt(folder: Path, kind: str, weights: tuple[Path, Path]) -> tuple[Path, Path]:
    bad = folder / "bad.pth"
    if kind == "swapped":
        return weights[1], weights[0]
    if kind == "text":
        bad.write_text("not weights")
    if kind == "list":
        torch.save([1, 2], bad)
    if kind == "pickle":
        torch.save({"features.0.weight": Path("x")}, bad)
    return bad, weights[1]


@pytest.mark.parametrize("kind", ["missing", "text", "list", "pickle", "swapped"])
def test_other_files_than_the_weights_are_refused(
    tmp_path: Path, weights: tuple[Path, Path], kind: str
) -> None:
    with pytest.raises(InputError, match=r"--lpips.*give torchvision's vgg16-397923af"):
        load_lpips(*spoilt(tmp_path, kind, weights))


# ---------------------------------------------------------------- report


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Evaluation]:
    """What makes a report with everything in it."""
    folder = tmp_path_factory.mktemp("report")
    answers, known = {}, []
    for image, labels in nuclei_dataset(folder / "ds<b>"):
        low = bicubic_low(image, 2)
        own = np.clip(image.astype(int) - 1, 0, 255).astype(np.uint8)
        known.append((low, own))
        answers |= {bicubic(low, 2).tobytes(): first(labels, 4), own.tobytes(): first(labels, 6)}
        answers[image.tobytes()] = labels
    models = {"mine": oracle(known, replace(SR, name="mine<script>")), "finder": finder(answers)}
    asked = {"data": folder / "ds<b>", "nuclei": "finder", "degrade": "bicubic"}

    def telling() -> Evaluation:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "load", lambda name, _device: models[name])
            return judged(folder / "out", **asked)

    return telling


@pytest.fixture(scope="module")
def reported(told: Callable[[], Evaluation]) -> Evaluation:
    return told()


def test_the_json_holds_what_it_must(reported: Evaluation) -> None:
    report = json.loads((reported.folder / "report.json").read_bytes())
    assert report["schema"] == "scope-sr/evaluation/1"
    assert set(report["psnr_db"]) == {"model", "bicubic", "lanczos"} == set(report["ssim"])
    assert set(report["f1"]) == {"model", "bicubic", "high"}
    assert report["images"] == 6 == len(report["fields"])
    for figure in FIGURES | NUCLEI:
        assert set(report["intervals"][figure]) == set(report[figure])
        assert set(report["gains"][figure]) == {"mean", "interval", "better", "worse"}
    assert set(report["recovered"]) == NUCLEI
    assert report["model"]["sha256"] == "f" * 64
    assert report["model"]["card"]["name"] == "mine<script>"
    assert report["degradation"] == "bicubic, antialiased, 8 bit"
    for word in ("11 taps", "2 px of border", "BT.601", "IoU above 0.5", "whole image"):
        assert word in report["protocol"]
    assert report["data"]["index_sha256"]
    assert all(len(field["sha256"]) == 64 for field in report["fields"])
    assert report["software"].startswith("scope-sr")
    assert report["verdict"] == reported.verdict


def test_the_page_is_one_file_that_asks_for_nothing(reported: Evaluation) -> None:
    page = (reported.folder / "report.html").read_text("utf-8")
    assert "http" not in re.sub(r"base64,[^\"]+", "", page)
    assert "<script" not in page
    assert "mine&lt;script&gt;" in page
    assert page.count("</main>") == 1
    sources = re.findall(r'src="([^"]+)"', page)
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    # two charts; three fields of six pictures and three with outlines
    assert len(sources) == 2 + 3 * 9
    for source in sources:
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as picture:
            assert min(picture.size) >= 128
    for word in ("best:", "median:", "worst:", "error of the model", "recovered", "Beware"):
        assert (word in page) == (word != "Beware")


def test_marked_nuclei_are_outlined_in_black_and_found_ones_in_yellow() -> None:
    _, labels = marked(0)
    white = np.full((128, 128, 3), 255, np.uint8)
    data = base64.b64decode(pictures._outlined(white, first(labels, 1), labels))
    with Image.open(io.BytesIO(data)) as drawn:
        drawn_rgb = np.array(drawn)
    yellow, black = (
        (drawn_rgb == color).all(axis=2) for color in (pictures.FOUND_RGB, pictures.TRUTH_RGB)
    )
    one, others = np.kron(labels == 1, np.ones((2, 2))), np.kron(labels > 1, np.ones((2, 2)))
    assert yellow.any()
    assert black.any()
    assert not (yellow & (one == 0)).any()
    assert not (black & (others == 0)).any()
    assert yellow.sum() < one.sum() / 3  # an outline, not a disc


@pytest.mark.usefixtures("drawn")
def test_the_same_question_gives_the_same_report(
    reported: Evaluation, told: Callable[[], Evaluation]
) -> None:
    before = {path.name: path.read_bytes() for path in reported.folder.iterdir()}
    told()
    assert {path.name: path.read_bytes() for path in reported.folder.iterdir()} == before


@pytest.mark.usefixtures("drawn")
def test_best_median_and_worst_are_what_they_are_called(tmp_path: Path, use: Use) -> None:
    dataset = pairs_dataset(tmp_path / "ds", fields=5)
    pairs = truth_of(dataset)

    shares = (0.1, 0.5, 0.9, 0.3, 0.7)
    use(
        mine=oracle(
            [(low, nearer(low, high, s)) for s, (low, high) in zip(shares, pairs, strict=True)]
        )
    )
    judged(tmp_path / "out", data=tmp_path / "ds")
    page = (tmp_path / "out/report.html").read_text("utf-8")
    assert re.findall(r"<h3>(\w+): A/f(\d)", page) == [
        ("best", "2"),
        ("median", "1"),
        ("worst", "0"),
    ]


# -------------------------------------------------------------- refusals


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of everything that can be named by mistake."""
    folder = tmp_path_factory.mktemp("stand")
    pairs_dataset(folder / "pairs")
    pairs_dataset(folder / "pairs4", scale=4)
    nuclei_dataset(folder / "nuclei")
    making = Making(folder / "empty")
    making.pair("A/f0", "train", tissue(0))
    making.done()
    small = Making(folder / "small", simulated=True)
    small.pair("A/f0", "test", tissue(0, 24))
    small.done()
    image, labels = marked(0)
    pictures_in(folder / "hr", a=image, b=tissue(2))
    pictures_in(folder / "lr", a=bicubic_low(image, 2))
    pictures_in(folder / "hr1", a=image)
    pictures_in(folder / "lr4", a=bicubic_low(image, 4))
    pictures_in(folder / "tiny", a=image[:20, :20])
    pictures_in(folder / "masks", a=labels.astype(np.uint8))
    pictures_in(folder / "halfmasks", a=labels[:64].astype(np.uint8))
    many = marked(0, count=12)[1]
    pictures_in(folder / "classes", a=np.where(many, many % 2 + 1, 0).astype(np.uint8))
    for name in ("nothing", "deep", "occupied", "foreign"):
        (folder / name).mkdir()
    tifffile.imwrite(folder / "deep/a.tif", tissue(0, 64).astype(np.uint16) * 200)
    (folder / "occupied/letter.txt").write_text("mine")
    (folder / "foreign/report.json").write_text('{"schema": "other"}')
    return folder


@pytest.fixture
def stand(standing: Path, monkeypatch: pytest.MonkeyPatch, use: Use) -> Iterator[Path]:
    monkeypatch.chdir(standing)
    coarse = replace(SR, um_per_px_in=1.0, um_per_px_out=0.5)
    use(
        sr=bicubic_model(),
        coarse=bicubic_model(coarse),
        finder=Fake(FINDER, np.zeros_like),
        finder2=Fake(replace(FINDER, um_per_px_in=0.5, um_per_px_out=0.5), np.zeros_like),
    )
    yield standing
    shutil.rmtree(standing / "out", ignore_errors=True)


REFUSED = [
    ("sr", "nothing to judge on: give --data"),
    ("sr --lr lr", "low images alone have no truth"),
    ("sr --data pairs --hr hr", "--data and --hr: judge on one of them"),
    ("sr --data pairs --lr lr", "--lr does not go with --data"),
    ("sr --images hr1", "give the masks too"),
    ("sr --images hr1 --labels masks", "true images; give them with --hr"),
    ("sr --data nuclei --labels masks", "a dataset has its own masks"),
    ("sr --hr hr --split test", "only a dataset has splits"),
    ("sr --lr lr --hr hr1 --degrade bicubic", "with --lr the low images are there"),
    ("sr --hr hr --degrade bicubic --rig demo", "made by one of them"),
    ("sr --hr hr --nuclei finder", "nobody marked nuclei in --hr"),
    ("sr --data pairs --nuclei finder", "no nuclei are marked in the pairs of pairs"),
    ("sr --data nuclei --nuclei sr", "name one that finds nuclei"),
    ("sr --hr hr --scale 4", "enlarges 2 times; leave --scale out"),
    ("sr --data pairs4", "holds pairs of scale 4"),
    ("sr --data empty", "split test is empty, so there is nothing to judge on; --split train has"),
    ("sr --data small", "nothing in it is large enough"),
    ("sr --data nowhere", "nowhere: no dataset there"),
    ("sr --hr nothing", "no image there"),
    ("sr --hr tiny", "20 x 20 px is too small; 32 px each way"),
    ("sr --hr deep", "its pixels are uint16; save the image as 8-bit RGB"),
    ("sr --hr hr --lr lr", "lr: no b as there is in hr; give both the same file names"),
    ("sr --hr hr1 --lr lr4", "not 2 times as large; register and cut them first"),
    ("sr --hr hr --rig nowhere.toml", "no such rig file"),
    ("coarse --data pairs", "was made for 1 µm per pixel, it would be given 0.5; take images"),
    ("coarse --hr hr --rig simulated", "it would be given 0.5 (as with the rig; --rig"),
    ("sr --data nuclei --nuclei finder2", "finder2 was made for 0.5 µm per pixel"),
    ("finder2 --data nuclei", "made for 0.5 µm per pixel, it would be given 0.25"),
    ("finder --data pairs", "pairs, in which no nuclei are marked"),
    ("finder --hr hr", "--hr is for super-resolution; finder (a nuclei model)"),
    ("finder --data nuclei --scale 2", "--scale is for super-resolution"),
    ("finder --data nuclei --degrade bicubic", "--degrade is for super-resolution"),
    ("finder --images hr1 --labels halfmasks", "128 x 64 pixels, its image 128 x 128"),
    ("finder --images hr --labels masks", "masks: no b as there is in hr"),
    ("finder --images hr1 --labels classes", "classes, not nuclei; number each nucleus"),
    ("sr --data pairs --lpips a.pth b.pth", "--lpips: a.pth: "),
    ("sr --data pairs --out occupied", "occupied: is not empty and holds no report of ours"),
    ("sr --data pairs --out foreign", "foreign: is not empty and holds no report of ours"),
    ("sr --data pairs --out hr/a.png", "hr/a.png: "),
]


@pytest.mark.parametrize(("words", "said"), REFUSED, ids=[words for words, _ in REFUSED])
def test_what_makes_no_sense_is_refused_in_one_line(
    stand: Path, capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    before = sorted(path for path in stand.rglob("*"))
    out = [] if "--out" in words else ["--out", "out"]
    message = refused(capsys, "evaluate", *words.split(), *out)
    assert said in message
    assert sorted(path for path in stand.rglob("*")) == before


def test_another_pixel_size_can_be_insisted_on(
    stand: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("coarse", "--data", "pairs", "--any-pixel-size", "--out", "out")
    code, out, _ = scope(capsys, "evaluate", *words)
    assert code == 0
    assert "Look at" in out
    assert (stand / "out/report.json").exists()


def test_a_report_may_be_written_over_a_report_of_ours(
    stand: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split, name in (("test", "f0"), ("val", "val")):
        words = ("evaluate", "sr", "--data", "pairs", "--split", split, "--out", "out")
        assert scope(capsys, *words)[0] == 0
        report = json.loads((stand / "out/report.json").read_bytes())
        assert report["fields"][0]["name"] == f"A/{name}"


def test_ctrl_c_leaves_nothing_behind(
    stand: Path, capsys: pytest.CaptureFixture[str], use: Use
) -> None:
    def stopped(low: np.ndarray) -> np.ndarray:
        raise KeyboardInterrupt

    use(sr=Fake(SR, stopped))
    code, _, err = scope(capsys, "evaluate", "sr", "--data", "pairs", "--out", "out")
    assert code == 130
    assert "no report was written" in err
    assert not (stand / "out").exists()


def test_a_full_disk_leaves_no_half_report(
    stand: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_file: object, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "_write", full)
    code, _, err = scope(capsys, "evaluate", "sr", "--data", "pairs", "--out", "out")
    assert code == 1
    assert "the report cannot be written (No space left on device)" in err.splitlines()[-1]
    assert list((stand / "out").iterdir()) == []


def test_no_page_ever_stands_beside_the_figures_of_another(
    stand: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("evaluate", "sr", "--data", "pairs", "--out", "out")
    assert scope(capsys, *words)[0] == 0
    store = disk.store

    def failing(path: Path, data: bytes) -> None:
        if path.name == run.JSON:
            raise OSError(28, "No space left on device")
        store(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "store", failing)
        assert scope(capsys, *words)[0] == 1
    assert [path.name for path in (stand / "out").iterdir()] == [run.PAGE]
    assert scope(capsys, *words)[0] == 0  # half a report of ours is one


# ------------------------------------------------------------ end to end


@pytest.mark.usefixtures("drawn")
def test_from_a_model_file_and_the_tissue_of_the_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real network, untrained, which interpolates; real tissue; real optics; a real U-Net."""
    from importlib.resources import files

    torch.manual_seed(0)
    sizes = {"um_per_px_in": 1.0, "um_per_px_out": 0.25}
    card = replace(SR, scale=4, halo_px=0, multiple_px=0, **sizes)
    save(generator("compact", 4, 2, 8), card, tmp_path / "tiny.ts")
    save(UNet(4, 2), replace(FINDER, halo_px=0), tmp_path / "nuclei.ts")
    data = files("scope_sr") / "specimen" / "data"
    with (
        (data / "tnbc_images.tif").open("rb") as images,
        (data / "tnbc_labels.tif").open("rb") as labels,
    ):
        pixels = [tifffile.imread(one, key=range(2)) for one in (images, labels)]
    making = Making(tmp_path / "ds", kind="nuclei", scale=1, low_um_per_px=0.25, level="patient")
    for number in range(2):
        image, marks = (np.ascontiguousarray(one[number][:192, :192]) for one in pixels)
        making.nuclei(f"n{number}", "test", image, marks, um_per_px=0.25, nuclei=1, patient="p")
    making.done()
    words = ("tiny.ts", "--data", "ds", "--nuclei", "nuclei.ts", "--out", "out")
    paths = [str(tmp_path / word) if not word.startswith("--") else word for word in words]
    code, out, err = scope(capsys, "evaluate", *paths)
    assert code == 0, err
    assert "bicubic" in out
    assert "judging fields 2/2" in err
    report = json.loads((tmp_path / "out/report.json").read_bytes())
    gain = report["gains"]["psnr_db"]["mean"]
    assert abs(gain) < 0.5  # it is cubic interpolation by another kernel
    assert report["psnr_db"]["bicubic"] > 20
    assert report["data"]["patients"] == ["p"]


def test_help_loads_no_torch() -> None:
    import subprocess

    code = "import sys; import scope_sr.cli.evaluate; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
