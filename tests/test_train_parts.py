"""What both loops are made of: losses, low patches, pairs, runs on disk, the watch, networks."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import pickle
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Making, shrunk, tissue
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from training import differences, pairs, srgan_recipe

from scope_sr import disk
from scope_sr.config import Degradation, load_rig
from scope_sr.dataset import Dataset
from scope_sr.degradation import BICUBIC, bicubic_low, low_of, optics_of
from scope_sr.errors import InputError, TrainingError
from scope_sr.networks import UNet, UNetDiscriminator, generator
from scope_sr.train.loop import (
    CERTAIN,
    CLUELESS,
    COLLAPSE_STEPS,
    LAST_RATE,
    WARM_UP_STEPS,
    DiscriminatorWatch,
    averaged,
    batches,
    begin_with,
    launch,
    refuse_nonsense,
    refuse_wild,
    set_rate,
)
from scope_sr.train.losses import (
    adversarial_loss,
    aligned,
    discriminator_loss,
    feature_loss,
    shift_tolerant_l1,
    shifts_within,
)
from scope_sr.train.low import LowMaker
from scope_sr.train.pairs import MARGIN_PX, PairPatches
from scope_sr.train.runs import AGAIN, Run, recipe_of_run

REACH_PX = 3
any_shift = st.integers(-REACH_PX, REACH_PX)


def noise(seed: int, batch: int = 1, side: int = 24) -> torch.Tensor:
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(seed))


# Shift-tolerant L1 ----------------------------------------------------------------------------


@given(down=any_shift, right=any_shift, seed=st.integers(0, 99))
def test_a_known_shift_is_found_and_costs_nothing(down: int, right: int, seed: int) -> None:
    high = noise(seed)
    sr = torch.roll(high, (-down, -right), (2, 3))
    loss, counts = shift_tolerant_l1(sr, high, REACH_PX)
    assert loss == 0
    assert counts.nonzero().tolist() == [[down + REACH_PX, right + REACH_PX]]
    ours, truth = aligned(sr, high, REACH_PX)
    assert torch.equal(ours, truth)
    assert ours.shape == (1, 3, 18, 18)


@given(shifts=st.lists(st.tuples(any_shift, any_shift), min_size=1, max_size=4))
def test_each_patch_of_a_batch_has_a_shift_of_its_own(shifts: list[tuple[int, int]]) -> None:
    high = noise(5, len(shifts))
    sr = torch.stack(
        [torch.roll(one, (-y, -x), (1, 2)) for one, (y, x) in zip(high, shifts, strict=True)]
    )
    loss, counts = shift_tolerant_l1(sr, high, REACH_PX)
    assert loss == 0
    assert counts.sum() == len(shifts)
    for y, x in set(shifts):
        assert counts[y + REACH_PX, x + REACH_PX] == shifts.count((y, x))


@given(down=any_shift, right=any_shift, seed=st.integers(0, 99))
def test_noise_does_not_hide_a_shift(down: int, right: int, seed: int) -> None:
    high = noise(seed)
    sr = torch.roll(high, (-down, -right), (2, 3)) + 0.2 * (noise(seed + 1) - 0.5)
    loss, counts = shift_tolerant_l1(sr, high, REACH_PX)
    assert counts.nonzero().tolist() == [[down + REACH_PX, right + REACH_PX]]
    assert float(loss) == pytest.approx(0.05, rel=0.1)  # the mean of what was added


@given(seed=st.integers(0, 99))
def test_without_reach_it_is_plain_l1(seed: int) -> None:
    sr, high = noise(seed, 2), noise(seed + 1, 2)
    loss, counts = shift_tolerant_l1(sr, high, 0)
    torch.testing.assert_close(loss, functional.l1_loss(sr, high))
    assert counts.tolist() == [[2]]
    assert aligned(sr, high, 0) == (sr, high)


def test_a_tie_is_no_shift() -> None:
    flat = torch.full((1, 3, 16, 16), 0.5)
    assert shift_tolerant_l1(flat, flat, 2)[1].nonzero().tolist() == [[2, 2]]
    assert shifts_within(2)[0] == (0, 0)


def test_only_the_picture_learns_from_it() -> None:
    sr, high = noise(0).requires_grad_(), noise(1).requires_grad_()
    shift_tolerant_l1(sr, high.detach(), 2)[0].backward()
    assert sr.grad is not None
    assert not sr.grad[..., :2, :].any()  # the border is left out
    assert sr.grad[..., 2:-2, 2:-2].all()
    # each pixel pulls towards its partner by the same force
    assert sr.grad.abs().max() == pytest.approx(1 / (3 * 20 * 20))


def test_adversarial_losses_are_binary_cross_entropies() -> None:
    real, fake = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    bce = functional.binary_cross_entropy_with_logits
    whole = bce(
        torch.cat([real, fake]), torch.cat([torch.ones(2, 1, 4, 4), torch.zeros_like(fake)])
    )
    torch.testing.assert_close(discriminator_loss(real, fake), whole)
    torch.testing.assert_close(adversarial_loss(fake), bce(fake, torch.ones_like(fake)))
    assert discriminator_loss(torch.zeros(1), torch.zeros(1)) == pytest.approx(math.log(2))


def test_features_are_compared_level_by_level() -> None:
    ours, truth = [torch.zeros(1, 2), torch.ones(1, 3)], [torch.ones(1, 2), torch.full((1, 3), 3.0)]
    assert feature_loss(ours, truth) == 1 + 2


# Low patches ----------------------------------------------------------------------------------


def real_tissue(side: int) -> np.ndarray:
    """A part of the tissue of the package."""
    import tifffile

    from scope_sr.build_dataset import built_in

    path = Path(built_in.__file__).parent.parent / "specimen" / "data" / "tnbc_images.tif"
    with tifffile.TiffFile(path) as tiff:
        return np.asarray(tiff.pages[3].asarray())[100 : 100 + side, 60 : 60 + side]


def as_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.float32(image) / 255).permute(2, 0, 1)[None]


def levels(picture: torch.Tensor) -> np.ndarray:
    return np.asarray(picture[0].permute(1, 2, 0) * 255)


def quiet(maker: LowMaker) -> LowMaker:
    assert maker.optics
    maker.optics = maker.optics.quiet
    return maker


@pytest.mark.parametrize("scale", [2, 4])
def test_quick_optics_are_those_of_the_exact_renderer(scale: int) -> None:
    """Noise off; near the edges one is periodic and the other mirrors, hence the margin."""
    wide = (64 + 2 * MARGIN_PX) * scale
    image = real_tissue(wide)
    maker = quiet(LowMaker(Degradation(low="optics"), scale, 0))
    ours = levels(maker(as_tensor(image), 0, 0))
    exact = low_of(image, optics_of(load_rig("simulated"), scale).quiet, 0).astype(float)
    exact = exact[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    assert ours.shape == exact.shape == (64, 64, 3)
    off = np.abs(ours - exact)
    assert off.mean() < 0.35
    assert np.quantile(off, 0.99) <= 1.01
    assert np.abs((ours - exact).mean((0, 1))).max() < 0.1
    # and it is the half pixel that would show: moved by one high pixel it fits far worse
    beside = low_of(np.roll(image, 1, 1), optics_of(load_rig("simulated"), scale).quiet, 0)
    worse = np.abs(ours - beside[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX].astype(float))
    assert worse.mean() > 4 * off.mean()


@pytest.mark.parametrize("scale", [2, 4])
def test_bicubic_low_patches_are_those_of_pillow(scale: int) -> None:
    image = real_tissue((48 + 2 * MARGIN_PX) * scale)
    maker = LowMaker(Degradation(low="bicubic"), scale, 0)
    ours = levels(maker(as_tensor(image), 0, 0))
    theirs = bicubic_low(image, scale)[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX].astype(float)
    assert np.abs(ours - theirs).max() <= 1.01
    assert np.abs(ours - theirs).mean() < 0.2
    assert maker.words == BICUBIC


def test_the_noise_is_that_of_the_camera() -> None:
    maker = LowMaker(Degradation(low="optics"), 2, 0)
    assert maker.optics
    maker.optics = replace(maker.optics, variance=(0.05, 2.0))
    for level in (60, 200):
        flat = torch.full((4, 3, 140, 140), level / 255)
        off = maker(flat, 3, 0) * 255 - level
        assert float(off.var()) == pytest.approx(0.05 * level + 2 + 1 / 12, rel=0.04)
        assert abs(float(off.mean())) < 0.05
    assert str(maker.optics) in maker.words


def test_low_patches_hang_on_seed_step_and_rank_and_lie_on_grey_levels() -> None:
    high = as_tensor(real_tissue(56))
    maker = LowMaker(Degradation(low="optics", defocus_um=2.0), 2, 7)
    low = maker(high, 5, 1)
    assert torch.equal(low, LowMaker(Degradation(low="optics", defocus_um=2.0), 2, 7)(high, 5, 1))
    for other in (maker(high, 6, 1), maker(high, 5, 0)):
        assert not torch.equal(low, other)
    assert not torch.equal(low, LowMaker(Degradation(low="optics"), 2, 8)(high, 5, 1))
    assert torch.equal((low * 255).round() / 255, low)
    assert 0 <= low.min() <= low.max() <= 1
    assert torch.equal(maker.high(high), high[..., 12:-12, 12:-12])


def test_defocus_blurs() -> None:
    high = as_tensor(real_tissue(88))

    def sharpness(defocus_um: float) -> float:
        maker = quiet(LowMaker(Degradation(low="optics", defocus_um=defocus_um), 2, 0))
        pictures = [maker(high, step, 0) for step in range(12)]  # each with another focus
        return float(np.mean([float(p.diff(dim=-1).abs().mean()) for p in pictures]))

    assert sharpness(10.0) < 0.9 * sharpness(0.0)


# Pairs ----------------------------------------------------------------------------------------


def same_tissue(low: np.ndarray, high: np.ndarray) -> float:
    """Correlation of a low patch and of its high one made small; 1 if turned alike."""
    small = shrunk(high, len(high) // len(low))
    return float(np.corrcoef(low.ravel(), small.ravel())[0, 1])


def patch_pairs(batch: dict[str, torch.Tensor]) -> list[tuple[np.ndarray, np.ndarray]]:
    turned = [value.permute(0, 2, 3, 1).numpy() for value in (batch["low"], batch["high"])]
    return list(zip(*turned, strict=True))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return pairs(tmp_path_factory.mktemp("pairs")).done()


def test_a_batch_of_pairs_hangs_on_seed_step_and_rank_and_on_nothing_else(small: Dataset) -> None:
    one, other = PairPatches(small, srgan_recipe(), 0), PairPatches(small, srgan_recipe(), 0)
    for step in (4, 1):
        assert differences(one[step], one[step]) == []
    assert differences(one[2], other[2]) == []
    for different in (
        one[3],
        PairPatches(small, srgan_recipe(), 1)[2],
        PairPatches(small, srgan_recipe(seed=1), 0)[2],
    ):
        assert not torch.equal(one[2]["high"], different["high"])
        assert not torch.equal(one[2]["low"], different["low"])


@pytest.mark.parametrize("workers", [0, 1])
def test_workers_give_the_very_batches(small: Dataset, workers: int) -> None:
    patches = PairPatches(small, srgan_recipe(), 0)
    given_ = list(batches(launch("32-true"), patches, 3, 6, workers))
    assert [step for step, _ in given_] == [3, 4, 5]
    for step, batch in given_:
        assert differences(batch, patches[step]) == []


def test_patches_go_to_another_process_without_their_pixels(small: Dataset) -> None:
    """As Windows and macOS send them to workers."""
    patches = PairPatches(small, srgan_recipe(), 0)
    first = patches[0]
    sent = pickle.dumps(patches)
    assert len(sent) < 20_000
    assert differences(pickle.loads(sent)[0], first) == []


@pytest.mark.parametrize("scale", [2, 4])
def test_low_and_high_show_the_same_tissue_however_turned(tmp_path: Path, scale: int) -> None:
    making = Making(tmp_path, scale=scale)
    making.pair("f", "train", tissue(3, 48 * scale))
    patches = PairPatches(making.done(), srgan_recipe(batch=40, stain_jitter=0.2), 0)
    found = patch_pairs(patches[0])
    assert {(low.shape, high.shape) for low, high in found} == {
        ((16, 16, 3), (16 * scale, 16 * scale, 3))
    }
    assert min(same_tissue(low, high) for low, high in found) > 0.995
    assert max(same_tissue(low[::-1], high) for low, high in found) < 0.9


def test_all_eight_ways_to_lay_a_patch_occur(tmp_path: Path) -> None:
    """A picture brighter to the right and far brighter downwards tells them apart."""
    rows, columns = np.indices((64, 64))
    ramp = (2.5 * rows + columns).astype(np.uint8)[..., None].repeat(3, 2)
    making = Making(tmp_path)
    making.pair("f", "train", ramp)
    patches = PairPatches(making.done(), srgan_recipe(batch=60, stain_jitter=0.0), 0)
    ways = set()
    for _, high in patch_pairs(patches[0]):
        down, right = (np.diff(high[..., 0], axis=a).mean() * 255 for a in (0, 1))
        ways.add((round(down * 2), round(right * 2)))
    assert ways == {(y, x) for y, x in product((5, -5, 2, -2), repeat=2) if abs(x) != abs(y)}


def test_both_of_a_pair_are_stained_alike(tmp_path: Path) -> None:
    making = Making(tmp_path)
    making.pair("f", "train", np.full((64, 64, 3), (180, 120, 160), np.uint8))
    patches = PairPatches(making.done(), srgan_recipe(batch=8, stain_jitter=0.3), 0)
    colors = []
    for low, high in patch_pairs(patches[0]):
        np.testing.assert_allclose(low[0, 0], high[0, 0], atol=1e-6)
        colors.append(high[0, 0] * 255)
    assert np.std(colors, axis=0).min() > 3


@pytest.mark.parametrize("kind", ["16 bits", "12 bits", "grey"])
def test_what_cameras_give_becomes_rgb_of_0_to_1(tmp_path: Path, kind: str) -> None:
    full = {"16 bits": 65535, "12 bits": 4095, "grey": 255}[kind]
    image = tissue(0, 64, full)
    if kind == "grey":
        image = image[..., 0]
    making = Making(tmp_path, bits={65535: 16, 4095: 12}.get(full, 8), color=kind != "grey")
    making.pair("f", "train", image)
    patches = PairPatches(making.done(), srgan_recipe(batch=8, stain_jitter=0.0), 0)
    batch = patches[0]
    assert batch["high"].shape == (8, 3, 32, 32)
    assert float(batch["high"].mean()) == pytest.approx(image.mean() / full, abs=0.02)
    assert min(same_tissue(low, high) for low, high in patch_pairs(batch)) > 0.99


def test_pairs_of_any_size_are_learnt_from_and_unusable_parts_are_not(tmp_path: Path) -> None:
    making = Making(tmp_path)
    for number, size in enumerate((40, 64, 160)):
        making.pair(f"f{number}", "train", np.full((size, size, 3), 60 + 60 * number, np.uint8))
    dark = np.full((128, 128, 3), 240, np.uint8)
    dark[:64] = 2
    usable = np.ones((8, 8), bool)
    usable[:4] = False
    making.pair("half", "train", dark, usable=usable)
    patches = PairPatches(making.done(), srgan_recipe(batch=100, stain_jitter=0.0), 0)
    seen = {round(float(high.mean()) * 255) for _, high in patch_pairs(patches[0])}
    assert seen == {60, 120, 180, 240}


def test_computed_low_patches_ask_for_wider_high_ones(small: Dataset) -> None:
    recipe = srgan_recipe(low_px=16, degradation={"low": "optics"})
    batch = PairPatches(small, recipe, 0)[0]
    assert batch.keys() == {"high"}
    assert batch["high"].shape == (2, 3, 2 * 28, 2 * 28)
    maker = LowMaker(recipe.degradation, 2, recipe.seed)
    low, high = maker(batch["high"], 0, 0), maker.high(batch["high"])
    assert low.shape == (2, 3, 16, 16)
    for one, truth in patch_pairs({"low": low, "high": high}):
        assert same_tissue(one, truth) > 0.9


def test_no_room_for_a_patch_is_said(small: Dataset) -> None:
    with pytest.raises(InputError, match=r"no pair of split train has room for 200 px"):
        PairPatches(small, srgan_recipe(low_px=200), 0)


# The folder of a run --------------------------------------------------------------------------


def begun(folder: Path, **facts: Any) -> Run:
    facts = {"job": "srgan", "dataset": "ds", **facts}
    return Run.begin(folder / "run", srgan_recipe(), facts, writes=True)


def test_metrics_are_lines_with_six_figures_and_no_nan(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.log(step=1, loss=1 / 3, shifts=torch.tensor([[1, 2]]), worse=math.inf, of={"x": math.nan})
    run.log(step=2, name="µ")
    assert run.metrics() == [
        {"step": 1, "loss": 0.333333, "shifts": [[1, 2]], "worse": None, "of": {"x": None}},
        {"step": 2, "name": "µ"},
    ]


@pytest.mark.parametrize("torn", [b'{"step": 3, "lo', b"\x00\x00", b'{"step": 3}'])
def test_a_torn_last_line_does_not_count_and_is_written_over(tmp_path: Path, torn: bytes) -> None:
    run = begun(tmp_path)
    for step in (1, 2):
        run.log(step=step)
    with (run.folder / "metrics.jsonl").open("ab") as file:
        file.write(torn)
    again, _ = Run.resume(run.folder, writes=True)
    assert again.metrics() == [{"step": 1}, {"step": 2}]
    again.keep_metrics_until(1)
    again.log(step=2, new=True)
    assert again.metrics() == [{"step": 1}, {"step": 2, "new": True}]


@pytest.mark.parametrize("damage", ["missing", "torn inside"])
def test_metrics_that_cannot_be_read_are_said(tmp_path: Path, damage: str) -> None:
    run = begun(tmp_path)
    path = run.folder / "metrics.jsonl"
    path.unlink() if damage == "missing" else path.write_bytes(b'{"step"\n{"step": 2}\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl: .*make it an empty file"):
        run.keep_metrics_until(5)


def test_a_run_is_not_begun_over_something(tmp_path: Path) -> None:
    begun(tmp_path)
    with pytest.raises(InputError, match=r"is not empty; go on with --resume"):
        begun(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="is not empty"):
        Run.begin(tmp_path / "file", srgan_recipe(), {}, writes=True)


def test_another_process_writes_nothing(tmp_path: Path) -> None:
    run = Run.begin(tmp_path / "run", srgan_recipe(), {}, writes=False)
    run.log(step=1)
    run.save("last", {"step": 1})
    run.put("x.png", b"")
    run.keep_metrics_until(0)
    assert not (tmp_path / "run").exists()


def test_the_recipe_comes_back_with_the_run(tmp_path: Path) -> None:
    from scope_sr.config import SrganRecipe, UnetRecipe

    recipe = srgan_recipe(pixel={"steps": 77})
    Run.begin(tmp_path / "run", recipe, {"job": "srgan", "dataset": "/ds"}, writes=True)
    assert recipe_of_run(tmp_path / "run", "srgan", SrganRecipe) == (recipe, Path("/ds"))
    with pytest.raises(InputError, match="begun by scope-sr train srgan; resume it with that"):
        recipe_of_run(tmp_path / "run", "unet", UnetRecipe)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"{}", b"null"])
def test_damaged_facts_of_a_run_are_one_line(tmp_path: Path, data: bytes) -> None:
    run = begun(tmp_path)
    (run.folder / "run.json").write_bytes(data)
    with pytest.raises(InputError, match=r"run\.json: damaged .*another folder"):
        Run.resume(run.folder, writes=True)


def test_a_run_of_another_schema_and_no_run_are_refused(tmp_path: Path) -> None:
    run = begun(tmp_path)
    (run.folder / "run.json").write_text(json.dumps({"schema": "scope-sr/run/9"}), "utf-8")
    with pytest.raises(InputError, match="this scope-sr reads scope-sr/run/1; update"):
        Run.resume(run.folder, writes=True)
    for nowhere in (tmp_path / "nothing", tmp_path, run.folder / "run.json"):
        with pytest.raises(InputError, match=r"no run to resume .*leave out --resume"):
            Run.resume(nowhere, writes=True)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"blocks": "x"}', b'{"block": 2}'])
def test_a_damaged_recipe_of_a_run_is_one_line(tmp_path: Path, data: bytes) -> None:
    from scope_sr.config import SrganRecipe

    run = begun(tmp_path)
    (run.folder / "recipe.json").write_bytes(data)
    with pytest.raises(InputError, match=r"recipe\.json: ") as caught:
        recipe_of_run(run.folder, "srgan", SrganRecipe)
    assert "\n" not in str(caught.value)


WEIGHTS = {"step": 4, "weights": torch.arange(500.0)}


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.save("last", WEIGHTS)
    assert differences(run.load("last"), WEIGHTS) == []
    with pytest.raises(InputError, match=r"best\.pt: not there; the run stopped before"):
        run.load("best")


@settings(max_examples=15)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_goes_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, where: float, bit: int
) -> None:
    """Either the checkpoint is refused or nothing of it has changed; torch alone looks away."""
    run = begun(tmp_path_factory.mktemp("flip"))
    run.save("last", WEIGHTS)
    path = run.folder / "checkpoints" / "last.pt"
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 1 << bit
    path.write_bytes(bytes(data))
    try:
        found = run.load("last")
    except InputError as error:
        assert "damaged (" in str(error)
        assert str(error).endswith(AGAIN)
        assert "\n" not in str(error)
    else:
        assert differences(found, WEIGHTS) == []


def test_weights_marked_as_a_folder_are_refused(tmp_path: Path) -> None:
    """By one bit, outside all checksums; torch would give whatever stands in the memory."""
    run = begun(tmp_path)
    run.save("last", WEIGHTS)
    path = run.folder / "checkpoints" / "last.pt"
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02", 0, data.rindex(b"data/0"))
    data[entry + 38] |= 0x10
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"last\.pt: damaged \(its data/0 is not what was written"):
        run.load("last")


@pytest.mark.slow
def test_no_bit_of_a_whole_file_flipped_goes_unnoticed(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.save("last", WEIGHTS)
    path = run.folder / "checkpoints" / "last.pt"
    data = path.read_bytes()
    unnoticed = []
    for where in range(0, 8 * len(data), 5):  # all bits take 90 s
        flipped = bytearray(data)
        flipped[where // 8] ^= 1 << where % 8
        path.write_bytes(bytes(flipped))
        with contextlib.suppress(InputError):
            if differences(run.load("last"), WEIGHTS):
                unnoticed.append(where)
    assert unnoticed == []


def test_a_flipped_weight_is_refused(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.save("last", WEIGHTS)
    path = run.folder / "checkpoints" / "last.pt"
    data = bytearray(path.read_bytes())
    data[data.index(np.float32([250, 251]).tobytes()) + 3] ^= 0x40
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"last\.pt: damaged \(its data/0 is not what was written"):
        run.load("last")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.98])
def test_a_checkpoint_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    run = begun(tmp_path)
    run.save("last", WEIGHTS)
    path = run.folder / "checkpoints" / "last.pt"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=r"last\.pt: damaged"):
        run.load("last")


class Trap:
    """What an attacker would put into a pickle."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("how", ["torch", "plain"])
def test_a_malicious_checkpoint_does_not_run(tmp_path: Path, how: str) -> None:
    run, mark = begun(tmp_path), tmp_path / "ran"
    path = run.folder / "checkpoints" / "last.pt"
    if how == "torch":
        torch.save({"step": Trap(mark)}, path)
    else:
        path.write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(InputError, match=r"last\.pt: damaged"):
        run.load("last")
    assert not mark.exists()
    if how == "torch":  # the trap does bite whoever unpickles
        torch.load(path, weights_only=False)
        assert mark.exists()


def test_what_is_no_table_is_no_checkpoint(tmp_path: Path) -> None:
    run = begun(tmp_path)
    torch.save([1, 2], run.folder / "checkpoints" / "last.pt")
    with pytest.raises(InputError, match="not a checkpoint of this scope-sr"):
        run.load("last")


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("what", ["save", "log", "keep", "begin"])
def test_a_full_disk_is_one_line_and_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    run = begun(tmp_path)
    run.save("last", WEIGHTS)
    run.log(step=1)
    monkeypatch.setattr(disk, "_write", full_disk)
    failing = {
        "save": lambda: run.save("last", {"step": 5}),
        "log": lambda: run.log(step=2),
        "keep": lambda: run.keep_metrics_until(0),
        "begin": lambda: begun(tmp_path / "other"),
    }
    with pytest.raises(TrainingError, match="No space left on device; what was saved before is"):
        failing[what]()
    monkeypatch.undo()
    assert differences(run.load("last"), WEIGHTS) == []
    run.log(step=3)
    assert run.metrics() == [{"step": 1}, {"step": 3}]
    assert [path.name for path in (run.folder / "checkpoints").iterdir()] == ["last.pt"]


# The loop -------------------------------------------------------------------------------------


@given(steps=st.integers(200, 10_000), share=st.floats(0, 1))
def test_rates_warm_up_and_fall_and_hang_on_the_step_alone(steps: int, share: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], 1.0)

    def rate(step: int) -> float:
        set_rate(optimizer, 2.0, step, steps)
        return float(optimizer.param_groups[0]["lr"])

    step = int(share * (steps - 1))
    assert 0 < rate(step) <= 2
    assert rate(0) == pytest.approx(2 / WARM_UP_STEPS)
    assert rate(steps) == pytest.approx(2 * LAST_RATE)
    assert rate(steps - 1) < rate(steps // 2)
    assert rate(step) == rate(step)


def weight_averaged(values: Sequence[float], decay: float) -> float:
    network = torch.nn.Linear(1, 1, bias=False)
    average = averaged(network, decay)
    with torch.no_grad():
        for value in values:
            network.weight.fill_(value)
            average.update_parameters(network)
    return float(average.module.weight.detach())


def test_the_average_follows_the_weights_by_its_decay() -> None:
    assert weight_averaged([0.0] * 40 + [8.0], 0.75) == pytest.approx(2.0)
    assert weight_averaged([0.0] * 40 + [8.0, 8.0], 0.75) == pytest.approx(3.5)


@given(steps=st.integers(2, 300))
def test_the_average_of_a_short_training_is_not_of_weights_from_before_it(steps: int) -> None:
    # with 0.999 from the beginning the first would still weigh 0.74 after 300 steps
    assert weight_averaged([1.0] + [0.0] * steps, 0.999) < 2 / steps


def test_numbers_that_are_none_stop_the_training() -> None:
    refuse_nonsense("pixel", 20, {"l1": 0.1}, "pixel.learning_rate")
    for bad in (math.nan, math.inf):
        with pytest.raises(
            TrainingError, match=r"step 20 of stage pixel: l1 .*lower pixel\.learning_rate"
        ):
            refuse_nonsense("pixel", 20, {"gradient": 1.0, "l1": bad}, "pixel.learning_rate")


def test_a_wild_weight_stops_the_training() -> None:
    network = torch.nn.Linear(2, 2)
    refuse_wild("pixel", 5, "key", network)
    with torch.no_grad():
        network.bias[1] = math.nan
    with pytest.raises(TrainingError, match="a weight is no number"):
        refuse_wild("pixel", 5, "key", torch.nn.Linear(1, 1), network)


@pytest.mark.parametrize(
    ("loss", "words"),
    [(CERTAIN / 2, "sure of every patch"), (math.log(2) + CLUELESS / 2, "clueless")],
)
def test_a_discriminator_that_teaches_nothing_is_noticed(loss: float, words: str) -> None:
    watch = DiscriminatorWatch()
    for step in range(COLLAPSE_STEPS - 1):
        watch.see(step, loss)
    watch.see(0, 0.4)  # once awake, it is counted anew
    for step in range(COLLAPSE_STEPS - 1):
        watch.see(step, loss)
    with pytest.raises(TrainingError, match=rf"step 777 of stage gan: .* {words} .*fidelity"):
        watch.see(777, loss)


def test_a_discriminator_at_work_is_left_alone() -> None:
    watch = DiscriminatorWatch()
    for step in range(3 * COLLAPSE_STEPS):
        watch.see(step, (0.1, 0.6, 0.69)[step % 3])


def test_a_precision_the_device_has_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        msg = "no such precision\nsecond line"
        raise ValueError(msg)

    monkeypatch.setattr("scope_sr.train.loop.Fabric", refuse)
    with pytest.raises(InputError, match=r"^precision = 16-mixed, 1 proc.*no such precision$"):
        launch("16-mixed")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_no_precision_rounds_the_picture_that_detail_is_added_to(precision: str) -> None:
    levels = torch.arange(256.0).reshape(1, 1, 16, 16).expand(1, 3, 16, 16) / 255
    network = generator("compact", 2, 1, 4)
    with torch.no_grad():
        found = launch(precision).setup(network)(levels)
        assert torch.equal(found, network(levels))


def test_mixed_precision_computes_in_bf16() -> None:
    seen = []
    network = generator("compact", 2, 1, 4)
    network.tail.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    launch("bf16-mixed").setup(network)(torch.rand(1, 3, 8, 8))
    assert seen == [torch.bfloat16]


# Weights to begin with ------------------------------------------------------------------------


def with_weights(monkeypatch: pytest.MonkeyPatch, network: torch.nn.Module) -> None:
    monkeypatch.setattr("scope_sr.train.loop.weights_of", lambda model: network.state_dict())


def shaken(architecture: Any, scale: int, blocks: int, channels: int) -> torch.nn.Module:
    torch.manual_seed(1)
    network = generator(architecture, scale, blocks, channels)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight))
    return network


@pytest.mark.parametrize("architecture", ["compact", "srresnet"])
def test_all_weights_are_taken_over(monkeypatch: pytest.MonkeyPatch, architecture: Any) -> None:
    before, after = shaken(architecture, 2, 2, 8), generator(architecture, 2, 2, 8)
    with_weights(monkeypatch, before)
    begin_with(after, "m")
    assert differences(dict(after.state_dict()), dict(before.state_dict())) == []


@pytest.mark.parametrize("architecture", ["compact", "srresnet"])
def test_of_a_model_of_another_scale_the_body_is_taken(
    monkeypatch: pytest.MonkeyPatch, architecture: Any
) -> None:
    before, after = shaken(architecture, 4, 2, 8), generator(architecture, 2, 2, 8)
    with_weights(monkeypatch, before)
    begin_with(after, "m")
    for key, weight in after.body.state_dict().items():
        assert torch.equal(weight, before.body.state_dict()[key])
    low = torch.rand(1, 3, 8, 8)
    assert after(low).shape == (1, 3, 16, 16)


@pytest.mark.parametrize(
    "other",
    [("srresnet", 2, 2, 8), ("compact", 2, 2, 16), ("unet",)],
    ids=["architecture", "channels", "kind"],
)
def test_a_model_that_does_not_fit_is_refused(
    monkeypatch: pytest.MonkeyPatch, other: tuple
) -> None:
    """The interpolation of any generator of the scale would fit: nearly nothing of the model."""
    with_weights(monkeypatch, UNet(4, 2) if other == ("unet",) else shaken(*other))
    with pytest.raises(InputError, match=r"--start m: .* fit; name a model of the recipe's"):
        begin_with(generator("compact", 2, 2, 8), "m")


# Networks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["compact", "srresnet"])
@pytest.mark.parametrize("scale", [2, 4])
def test_generators_begin_as_bicubic_interpolation(architecture: Any, scale: int) -> None:
    low = torch.rand(2, 3, 12, 17)
    wanted = functional.interpolate(low, scale_factor=scale, mode="bicubic", align_corners=False)
    found = generator(architecture, scale, 2, 8)(low)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("architecture", ["compact", "srresnet"])
def test_every_weight_of_a_generator_learns(architecture: Any) -> None:
    network = shaken(architecture, 2, 2, 8)
    network(torch.rand(1, 3, 8, 8)).square().sum().backward()
    assert [n for n, p in network.named_parameters() if not p.grad.abs().sum()] == []


@pytest.mark.parametrize(("rows", "columns"), [(16, 24), (8, 8)])
def test_the_discriminator_judges_each_pixel(rows: int, columns: int) -> None:
    judge = UNetDiscriminator(4)
    assert judge(torch.rand(2, 3, rows, columns)).shape == (2, 1, rows, columns)


@pytest.mark.parametrize(("depth", "side"), [(1, 6), (2, 12), (4, 32)])
def test_the_unet_gives_three_logits_and_a_distance(depth: int, side: int) -> None:
    assert UNet(4, depth)(torch.rand(2, 3, side, 2 * side)).shape == (2, 4, side, 2 * side)
