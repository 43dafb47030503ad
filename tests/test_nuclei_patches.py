"""Batches for the nuclei U-Net: what they hold, what they depend on, and the stain jitter."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Making, rewrite, tissue
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter
from skimage.draw import disk

from scope_sr.dataset import Dataset
from scope_sr.errors import InputError
from scope_sr.imaging import stain
from scope_sr.imaging.nuclei import BOUNDARY, INSIDE
from scope_sr.train.nuclei_patches import HIGH, Input, NucleiPatches

GLASS, HAEMATOXYLIN = (235, 225, 232), (90, 60, 140)
pictures = arrays(np.uint8, (4, 5, 3), elements=st.integers(1, 255))


def stained(seed: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Dark blue disks on glass, on a lattice, and their numbers."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), GLASS, np.uint8)
    labels = np.zeros((height, width), np.uint16)
    for row in range(16, height, 32):
        for column in range(16, width, 32):
            where = disk((row, column), rng.uniform(6, 12), shape=labels.shape)
            labels[where] = labels.max() + 1
            image[where] = HAEMATOXYLIN
    return image, labels


@pytest.fixture(scope="module")
def nuclei(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Images of three sizes, one smaller than a patch, one with a mask of one number."""
    making = Making(tmp_path_factory.mktemp("nuclei"), kind="nuclei", scale=1)
    for number, (height, width) in enumerate(((200, 160), (40, 56), (128, 300))):
        image, labels = stained(number, height, width)
        making.nuclei(f"t{number}", "train", image, labels, nuclei=int(labels.max()))
    image, labels = stained(7, 128, 128)
    making.nuclei("binary", "val", image, ((labels > 0) * 255).astype(np.uint8))
    return making.done()


def patches(dataset: Dataset, split: str = "train", **changes: object) -> NucleiPatches:
    settings = {"patch_px": 64, "batch": 6, "seed": 3, **changes}
    return NucleiPatches(dataset, split, **settings)


def same(one: dict, other: dict) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


# Patches --------------------------------------------------------------------------------------


def test_a_batch_has_what_a_network_learns_from(nuclei: Dataset) -> None:
    batch = patches(nuclei)[0]
    assert {key: (tuple(value.shape), value.dtype) for key, value in batch.items()} == {
        "picture": ((6, 3, 64, 64), torch.float32),
        "classes": ((6, 64, 64), torch.int64),
        "distance": ((6, 64, 64), torch.float32),
        "judged": ((6, 64, 64), torch.bool),
    }
    assert 0 <= batch["picture"].min() < batch["picture"].max() <= 1
    assert set(batch["classes"].unique().tolist()) == {0, 1, 2}
    assert 0.95 < batch["distance"].max() <= 1
    assert batch["judged"].all()


def test_a_batch_hangs_on_seed_step_and_rank_and_on_nothing_else(nuclei: Dataset) -> None:
    one, other = patches(nuclei), patches(nuclei)
    for step in (4, 1):  # whatever was drawn before
        assert same(one[step], one[step])
    assert same(one[2], other[2])
    assert not same(one[2], other[3])
    assert not same(one[2], patches(nuclei, seed=4)[2])
    assert not same(one[2], patches(nuclei, rank=1)[2])


def test_the_classes_lie_where_the_nuclei_are_seen(nuclei: Dataset) -> None:
    source = patches(nuclei, stain_jitter=0.0)
    for step in range(5):
        batch = source[step]
        dark = batch["picture"][:, 1] < 0.55  # green; glass is above, whatever lamp and camera
        inside, outside = batch["classes"] == INSIDE, batch["classes"] == 0
        assert dark[inside].float().mean() > 0.99
        assert dark[outside].float().mean() < 0.03
        rim = batch["classes"] == BOUNDARY
        assert 0.1 < rim.sum() / (rim | inside).sum() < 0.6
        assert not batch["distance"][outside].any()
        assert batch["distance"][inside].min() > batch["distance"][rim].min() > 0


def test_patches_are_turned_mirrored_and_resized(tmp_path: Path) -> None:
    making = Making(tmp_path, kind="nuclei", scale=1)
    image, labels = np.full((96, 96, 3), GLASS, np.uint8), np.zeros((96, 96), np.uint8)
    labels[20:60, 20:30] = 1  # an L
    labels[50:60, 20:50] = 1
    making.nuclei("l", "train", image, labels, nuclei=1)
    batch = patches(making.done(), patch_px=96, batch=200)[0]
    sizes, turns = set(), set()
    for classes in batch["classes"].numpy() > 0:
        if classes[[0, -1]].any() or classes[:, [0, -1]].any():
            continue  # cut by the patch, or mirrored out
        rows, columns = np.argwhere(classes).T
        sizes.add(int(classes.sum()))
        box = classes[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        corner = [bool(box[r, c]) for r, c in ((0, 0), (0, -1), (-1, 0), (-1, -1))]
        turns.add((corner.index(False), box.shape[0] > box.shape[1]))
    assert len(turns) == 8
    assert min(sizes) < 0.7 * 600
    assert max(sizes) > 1.5 * 600


def test_small_images_are_mirrored_outwards(nuclei: Dataset) -> None:
    small = nuclei.items[1]
    only = Dataset(nuclei.folder, nuclei.header, (small,))
    batch = patches(only, patch_px=128, stain_jitter=0.0)[0]
    dark = batch["picture"][:, 1] < 0.55
    agree = (dark == (batch["classes"] > 0)).float().mean(dim=(1, 2))
    assert agree.min() > 0.97
    assert (batch["classes"] > 0).any(dim=1).float().mean() > 0.5  # nuclei all over the patch


def test_every_image_has_its_part_by_size(tmp_path: Path) -> None:
    making = Making(tmp_path, kind="nuclei", scale=1)
    for name, height, full in (("one", 192, 0), ("three", 3 * 192, 1)):
        image = np.full((height, 192, 3), 200, np.uint8)
        making.nuclei(name, "train", image, np.full((height, 192), full, np.uint8), nuclei=full)
    batch = patches(making.done(), patch_px=8, batch=400)[0]
    assert (batch["classes"][:, 4, 4] > 0).float().mean() == pytest.approx(0.75, abs=0.07)


def test_masks_that_tell_no_nuclei_apart_can_be_learnt_too(tmp_path: Path) -> None:
    _, labels = stained(1, 96, 96)
    labels[20:30, 16:80] = 9  # a bar through all of them, as touching nuclei are
    image = np.full((96, 96, 3), GLASS, np.uint8)
    making = Making(tmp_path, kind="nuclei", scale=1)
    item = making.nuclei("touching", "train", image, labels, nuclei=9)
    dataset = making.done()
    apart = patches(dataset)[1]["classes"]
    rewrite(tmp_path, [replace(item, nuclei=None)])
    together = patches(Dataset.open(tmp_path))[1]["classes"]
    assert torch.equal(apart > 0, together > 0)
    assert (together == BOUNDARY).sum() < (apart == BOUNDARY).sum()


def test_what_nobody_judges_is_marked(tmp_path: Path) -> None:
    image, labels = stained(2, 128, 128)
    making = Making(tmp_path, kind="nuclei", scale=1)
    making.nuclei("part", "train", image, labels, nuclei=int(labels.max()), ignore="ignore/p.tif")
    making.images["ignore/p.tif"] = ((labels > 0) * 255).astype(np.uint8)
    batch = patches(making.done())[0]
    assert torch.equal(batch["judged"], batch["classes"] == 0)


def test_inputs_come_by_their_share_and_leave_the_labels(nuclei: Dataset) -> None:
    seen: list[np.ndarray] = []

    def black(picture: np.ndarray) -> np.ndarray:
        seen.append(picture)
        return np.zeros_like(picture)

    mixture = (replace(HIGH, share=3.0), Input("black", 1.0, black))
    batch = patches(nuclei, batch=200, patch_px=32, mixture=mixture)[0]
    dark = batch["picture"].amax(dim=(1, 2, 3)) == 0
    assert dark.float().mean() == pytest.approx(0.25, abs=0.08)
    assert seen[0].shape == (32, 32, 3)
    assert seen[0].dtype == np.uint8
    plain = patches(nuclei, batch=200, patch_px=32, mixture=(HIGH, HIGH))[0]
    assert torch.equal(plain["classes"][0], batch["classes"][0])
    assert torch.equal(plain["picture"][0], batch["picture"][0])


def test_the_depth_of_a_nucleus_does_not_change_where_a_patch_cuts_it(tmp_path: Path) -> None:
    labels = np.zeros((96, 96), np.uint8)
    labels[disk((48, 48), 20)] = 1
    image = np.full((96, 96, 3), GLASS, np.uint8)
    image[labels > 0] = (50, 50, 50)
    image[disk((48, 48), 2)] = 255  # only its middle is as deep as can be
    making = Making(tmp_path, kind="nuclei", scale=1)
    making.nuclei("one", "train", image, labels, nuclei=1)
    batch = patches(making.done(), patch_px=24, batch=100, stain_jitter=0.0)[0]
    middle = (batch["classes"] > 0) & (batch["picture"].mean(dim=1) > 0.5)
    without = ~middle.any(dim=2).any(dim=1) & (batch["classes"] == INSIDE).any(dim=2).any(dim=1)
    assert without.sum() > 10
    assert batch["distance"][without].max() < 0.97


def test_a_dataset_of_pairs_is_refused(tmp_path: Path) -> None:
    making = Making(tmp_path)
    making.pair("f", "train", tissue(0))
    with pytest.raises(InputError, match=r"a dataset of pairs.*build-dataset --masks") as caught:
        patches(making.done())
    assert str(tmp_path) in str(caught.value)


def test_an_empty_split_is_refused(nuclei: Dataset) -> None:
    with pytest.raises(InputError, match=r"split test has no image \(3 in train, 1 in val, 0 in"):
        patches(nuclei, "test")


def test_an_image_that_was_left_out_is_not_learnt(nuclei: Dataset) -> None:
    items = tuple(replace(item, reasons=("no nuclei",)) for item in nuclei.items)
    with pytest.raises(InputError, match="has no image"):
        patches(Dataset(nuclei.folder, nuclei.header, items))


def test_a_batch_of_a_real_size_is_quick(tmp_path: Path) -> None:
    making = Making(tmp_path, kind="nuclei", scale=1)
    image, labels = stained(0, 512, 512)
    making.nuclei("large", "train", image, labels, nuclei=int(labels.max()))
    source = patches(making.done(), patch_px=256, batch=8)
    times_ms = []
    for step in range(4):
        begin = time.process_time()
        source[step]
        times_ms.append(1000 * (time.process_time() - begin))
    assert min(times_ms) < 150


# Stain jitter ---------------------------------------------------------------------------------


def slow_jitter(image: np.ndarray, jitter: stain.Jitter) -> np.ndarray:
    """Pixel by pixel: density, amounts of the stains, amounts after, light."""
    after = np.empty(image.shape)
    for at in np.ndindex(image.shape[:2]):
        density = -np.log10(image[at] / 255)
        amounts = np.linalg.solve(stain.stains().T, density)
        amounts = amounts * jitter.factors + jitter.veil
        after[at] = 10 ** -(amounts @ stain.stains())
    return after.clip(0, 1)


def test_the_stains_are_ruifrok_s() -> None:
    rows = stain.stains()
    np.testing.assert_allclose(rows[0], (0.650, 0.704, 0.286), atol=1e-3)
    np.testing.assert_allclose(rows[1] / rows[1][1] * 0.990, (0.072, 0.990, 0.105), atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1)
    np.testing.assert_allclose(rows[2] @ rows[:2].T, 0, atol=1e-12)


@given(pictures, st.integers(0, 99), st.sampled_from([0.05, 0.2, 0.5]))
def test_the_jitter_is_that_of_the_slow_way(image: np.ndarray, seed: int, strength: float) -> None:
    jitter = stain.draw(np.random.default_rng(seed), strength)
    np.testing.assert_allclose(jitter(image), slow_jitter(image, jitter), atol=1e-5)
    as_float = jitter((image / 255).astype(np.float32))
    np.testing.assert_allclose(as_float, jitter(image), atol=1e-5)


@given(pictures)
def test_no_strength_changes_nothing(image: np.ndarray) -> None:
    unchanged = stain.draw(np.random.default_rng(0), 0.0)(image)
    np.testing.assert_allclose(unchanged, image / 255, atol=1e-5)


def test_a_pure_stain_stays_that_stain_and_glass_stays_glass() -> None:
    amounts = np.array([0.0, 0.3, 0.9])
    image = (10 ** -(amounts[None, :, None] * stain.stains()[1])).astype(np.float32)
    twice = stain.Jitter((5.0, 2.0, 5.0), (0.0, 0.0, 0.0))(image)
    expected = 10 ** -(2 * amounts[:, None] * stain.stains()[1])
    np.testing.assert_allclose(twice[0], expected.clip(1 / 255), atol=1e-4)
    assert (twice[0, 0] == 1).all()


def test_a_pair_jittered_alike_stays_a_pair() -> None:
    light = gaussian_filter(tissue(3, 96).astype(float) / 255, (3, 3, 0)).astype(np.float32)
    low = light.reshape(48, 2, 48, 2, 3).mean((1, 3))
    jitter = stain.draw(np.random.default_rng(1), 0.2)
    of_high = jitter(light).reshape(48, 2, 48, 2, 3).mean((1, 3))
    assert np.abs(jitter(low) - low).max() > 0.01
    assert np.abs(jitter(low) - of_high).max() < 0.002


def test_draws_stay_within_the_strength_and_reach_it() -> None:
    rng = np.random.default_rng(0)
    drawn = [stain.draw(rng, 0.2) for _ in range(300)]
    factors = np.array([jitter.factors for jitter in drawn])
    veils = np.array([jitter.veil for jitter in drawn])
    assert 0.8 <= factors.min() < 0.82
    assert 1.18 < factors.max() <= 1.2
    assert 0.045 < np.abs(veils).max() <= 0.05
