"""Pairs of unknown geometry, drawn from the shipped tissue with known maps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from scope_sr.imaging.unknown_geometry import Geometry, register_unknown

GOOD_PX = 0.3
SUBPIXELS = 4


@dataclass(frozen=True)
class Pair:
    """Two pictures and the map from the high one into the low one."""

    low: NDArray
    high: NDArray
    high_to_low: NDArray[np.float64]


@dataclass(frozen=True)
class Asked:
    """How a pair is to lie: corner and size (x, y) of the high field in its tissue, and the map."""

    patient: int = 0
    corner: tuple[int, int] = (96, 112)
    size: tuple[int, int] = (320, 288)
    low_size: tuple[int, int] = (130, 130)
    ratio: float = 2.0
    turn_deg: float = 0.0
    flipped: bool = False
    off_px: tuple[float, float] = (0.0, 0.0)
    noise: tuple[float, float] = (2.0, 1.0)
    seed: int = 0


@lru_cache
def tissue(page: int) -> NDArray[np.float32]:
    with as_file(files("scope_sr.specimen") / "data" / "tnbc_images.tif") as path:
        return np.asarray(tifffile.imread(path, key=page), np.float32)


def pair(asked: Asked) -> Pair:
    """Cut the high picture from tissue, and draw the low one from the same in one step."""
    source = tissue(asked.patient)
    rng = np.random.default_rng(asked.seed)
    angle = math.radians(asked.turn_deg)
    cos, sin = math.cos(angle), math.sin(angle)
    mirror = np.diag([-1.0 if asked.flipped else 1.0, 1.0])
    linear = np.array([[cos, -sin], [sin, cos]]) @ mirror / asked.ratio
    middle_high = (np.array(asked.size) - 1) / 2 + asked.off_px
    middle_low = (np.array(asked.low_size) - 1) / 2
    high_to_low = np.column_stack([linear, middle_low - linear @ middle_high])
    (left, top), (columns, rows) = asked.corner, asked.size
    high = source[top : top + rows, left : left + columns]
    low = drawn_low(source, high_to_low, asked)
    mix = np.eye(3) + rng.normal(0, 0.03, (3, 3))
    low = 255 * (np.clip(low / 255, 0, 1) ** rng.uniform(0.8, 1.25)) @ mix.T
    low = low * rng.uniform(0.85, 1.05, 3) + rng.uniform(-8, 8, 3)
    low_noise, high_noise = asked.noise
    low = eight_bit(low + rng.normal(0, low_noise, low.shape))
    return Pair(low, eight_bit(high + rng.normal(0, high_noise, high.shape)), high_to_low)


def eight_bit(plane: NDArray) -> NDArray[np.uint8]:
    return np.clip(np.rint(plane), 0, 255).astype(np.uint8)


def drawn_low(source: NDArray, high_to_low: NDArray, asked: Asked) -> NDArray[np.float64]:
    """Average the tissue, blurred by the objective, over the squares of the low pixels."""
    blurred = cv2.GaussianBlur(source, (0, 0), 0.45 * asked.ratio)
    columns, rows = asked.low_size
    x, y = ((np.arange(n * SUBPIXELS) + 0.5) / SUBPIXELS - 0.5 for n in (columns, rows))
    v = np.stack(np.meshgrid(x, y), axis=-1)
    u = (v - high_to_low[:, 2]) @ np.linalg.inv(high_to_low[:, :2]).T + asked.corner
    assert u.min() > 0, "the low picture would show more than there is"
    assert (u.max(axis=(0, 1)) < np.array(source.shape[1::-1]) - 1).all()
    fine = cv2.remap(blurred, *np.moveaxis(u, -1, 0).astype(np.float32), cv2.INTER_CUBIC)
    return fine.reshape(rows, SUBPIXELS, columns, SUBPIXELS, 3).mean(axis=(1, 3)).astype(float)


def error_px(found: NDArray, true: NDArray, low: NDArray, high: NDArray) -> float:
    """Give the RMS distance of two maps over the overlap, in high pixels."""
    x, y = (np.arange(0, n, 8.0) for n in high.shape[1::-1])
    u = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    v = u @ true[:, :2].T + true[:, 2]
    u, v = (a[((v > -0.5) & (v < np.array(low.shape[1::-1]) - 0.5)).all(axis=1)] for a in (u, v))
    off = np.linalg.solve(found[:, :2], (v - found[:, 2]).T).T - u
    return float(np.sqrt((off**2).sum(axis=1).mean()))


PAIRS = {
    "turned": Asked(turn_deg=7.3, low_size=(150, 140)),
    "least ratio": Asked(patient=3, ratio=1.5, turn_deg=-20.0, low_size=(200, 180)),
    "flipped": Asked(patient=6, ratio=3.3, flipped=True, turn_deg=4.0, low_size=(90, 100)),
    "flipped up-down": Asked(patient=9, ratio=2.5, flipped=True, turn_deg=180.0),
    "largest ratio": Asked(
        patient=12, corner=(0, 0), size=(512, 512), ratio=5.0, turn_deg=190.0, low_size=(80, 76)
    ),
    "few low pixels": Asked(
        patient=15, size=(320, 256), ratio=4.0, turn_deg=-9.0, low_size=(64, 60)
    ),
    "half outside": Asked(patient=18, off_px=(100.0, -50.0), turn_deg=5.0, low_size=(130, 140)),
    "low shows more": Asked(
        patient=21, corner=(120, 130), size=(256, 256), turn_deg=2.0, low_size=(230, 225)
    ),
    "noisy": Asked(patient=24, ratio=2.2, turn_deg=-3.0, low_size=(120, 110), noise=(5.0, 3.0)),
    "much turned and flipped": Asked(patient=27, ratio=1.7, flipped=True, turn_deg=30.0),
    "half a turn": Asked(patient=30, ratio=3.0, turn_deg=150.0, low_size=(100, 90)),
    "large low": Asked(
        patient=32, corner=(60, 90), size=(400, 360), ratio=1.55, turn_deg=1.0, low_size=(320, 256)
    ),
}


def assert_right(found: Geometry, true: Pair) -> None:
    assert found.high_to_low is not None
    assert found.reasons == ()
    error = error_px(found.high_to_low, true.high_to_low, true.low, true.high)
    assert error < GOOD_PX
    assert error < 4 * found.sigma_hr_px


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_is_laid_on_each_other(name: str) -> None:
    asked = PAIRS[name]
    true = pair(asked)
    found = register_unknown(true.low, true.high)
    assert found.accepted, found.reasons
    assert_right(found, true)
    assert found.scale == pytest.approx(asked.ratio, rel=2e-3)
    assert found.flipped == asked.flipped
    assert math.remainder(found.rotation_deg - asked.turn_deg, 360) == pytest.approx(0, abs=0.15)
    assert found.residual_hr_px < 0.5
    assert found.overlap == pytest.approx(covered(true), abs=0.01)
    assert found.likeness > 0.8


def covered(true: Pair) -> float:
    x, y = (np.arange(n) for n in true.high.shape[1::-1])
    v = np.stack(np.meshgrid(x, y), axis=-1) @ true.high_to_low[:, :2].T + true.high_to_low[:, 2]
    return float(((v > -0.5) & (v < np.array(true.low.shape[1::-1]) - 0.5)).all(axis=-1).mean())


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 120, 20))
def test_of_many_pairs_nearly_all_are_found_and_none_is_wrong(start: int) -> None:
    refused = 0
    for seed in range(start, start + 20):
        true = pair(any_asked(seed))
        found = register_unknown(true.low, true.high)
        refused += not found.accepted
        if found.accepted:
            assert_right(found, true)
    assert refused <= 2


def any_asked(seed: int) -> Asked:
    """Draw a place and a map at random, such that the low picture lies in the tissue."""
    rng = np.random.default_rng(seed)
    while True:
        ratio = float(np.exp(rng.uniform(math.log(1.5), math.log(5.0))))
        size = rng.integers((320, 256), 513)
        corner = rng.integers(0, 513 - size)
        low_size = (size / ratio * rng.uniform(0.7, 1.3, 2)).astype(int)
        off_px = size * rng.uniform(-0.3, 0.3, 2)
        turn_deg = float(rng.uniform(-30, 30) + 180 * rng.integers(2))
        middle = corner + (size - 1) / 2 + off_px
        angle = math.radians(turn_deg)
        turn = np.abs([[math.cos(angle), math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        half = turn @ low_size * ratio / 2 + 1
        if ((middle - half > 0) & (middle + half < 511)).all():
            break
    asked = Asked(
        int(rng.integers(33)),
        tuple(corner.tolist()),
        tuple(size.tolist()),
        tuple(low_size.tolist()),
        ratio,
        turn_deg,
        bool(rng.integers(2)),
        tuple(off_px.tolist()),
        (float(rng.uniform(1, 5)), float(rng.uniform(0, 3))),
        seed,
    )
    true_overlap = covered(pair(asked))
    return asked if true_overlap >= 0.5 else any_asked(seed + 1000)


def test_mirroring_a_picture_mirrors_the_map() -> None:
    true = pair(PAIRS["turned"])
    found = register_unknown(true.low, true.high)
    assert found.high_to_low is not None
    for axes in ((1,), (0,), (0, 1)):
        mirror = np.eye(3)
        for axis in axes:
            mirror[1 - axis, 1 - axis] = -1
            mirror[1 - axis, 2] = true.high.shape[axis] - 1
        high = np.ascontiguousarray(np.flip(true.high, axes))
        other = register_unknown(true.low, high)
        assert other.high_to_low is not None
        expected = found.high_to_low @ mirror
        assert error_px(other.high_to_low, expected, true.low, high) < 0.05
        assert other.flipped == (len(axes) == 1)
        turn_deg = found.rotation_deg + 180 * (0 in axes)
        # a mirror about a turned picture's own axis turns the other way round
        assert math.remainder(other.rotation_deg - turn_deg, 360) == pytest.approx(0, abs=0.1)


def test_a_shifted_crop_shifts_the_map() -> None:
    true = pair(PAIRS["turned"])
    whole = register_unknown(true.low, true.high)
    part = register_unknown(true.low[5:, 9:], true.high[11:, 7:])
    assert whole.high_to_low is not None
    assert part.high_to_low is not None
    expected = whole.high_to_low.copy()
    expected[:, 2] += whole.high_to_low[:, :2] @ (7, 11) - (9, 5)
    assert error_px(part.high_to_low, expected, true.low[5:, 9:], true.high[11:, 7:]) < 0.1


def test_grey_levels_of_any_kind_will_do() -> None:
    true = pair(PAIRS["flipped"])
    twelve_bit = true.low.astype(np.uint16) * 16
    sixteen_bit = true.high.astype(np.uint16) * 257
    for low, high in (
        (twelve_bit, sixteen_bit),
        (true.low[..., 1], true.high),
        (true.low, true.high[..., 1]),
        (true.low[..., 1], true.high[..., 1]),
    ):
        found = register_unknown(low, high)
        assert found.accepted, found.reasons
        assert_right(found, true)


def test_other_tissue_is_refused() -> None:
    pairs = [
        pair(PAIRS[name]) for name in ("turned", "few low pixels", "low shows more", "large low")
    ]
    for first, second in zip(pairs, pairs[1:] + pairs[:1], strict=True):
        found = register_unknown(first.low, second.high)
        assert not found.accepted
        assert found.high_to_low is None
        assert len(found.reasons) >= 1


def test_the_same_tissue_elsewhere_is_refused() -> None:
    image = tissue(0).astype(np.uint8)
    low = np.asarray(cv2.resize(image[:, :250], (125, 256), interpolation=cv2.INTER_AREA))
    assert not register_unknown(low, np.ascontiguousarray(image[:, 256:])).accepted


def test_pictures_of_nothing_are_refused() -> None:
    true = pair(PAIRS["turned"])
    rng = np.random.default_rng(0)
    shape = (256, 320, 3)
    for blank in (
        np.full(shape, 230, np.uint8),
        np.zeros(shape, np.uint16),
        eight_bit(rng.normal(230, 3, shape)),
        np.broadcast_to(np.linspace(100, 200, 320)[:, None], shape).astype(np.uint8),
    ):
        for low, high in ((true.low, blank), (blank, true.high), (blank[::2, ::2], blank)):
            assert not register_unknown(low, high).accepted


def test_repeating_texture_is_refused() -> None:
    y, x = np.mgrid[:400, :400].astype(np.float32)
    rng = np.random.default_rng(0)
    for period_px in (16.0, 27.0):
        dots = 130 + 60 * np.sign(np.cos(2 * np.pi * x / period_px) * np.cos(5 * y / period_px))
        low = cv2.resize(dots, (200, 200), interpolation=cv2.INTER_AREA)
        noisy = [plane + rng.normal(0, 2, plane.shape) for plane in (low[:150], dots)]
        found = register_unknown(*(eight_bit(plane) for plane in noisy))
        assert not found.accepted


def test_an_edge_alone_is_refused() -> None:
    y, x = np.mgrid[:400, :400].astype(np.float32)
    rng = np.random.default_rng(0)
    edge = np.where(0.9 * x + 0.4 * y > 260, 90, 220).astype(np.float32)
    low = cv2.resize(edge, (200, 200), interpolation=cv2.INTER_AREA)
    noisy = [eight_bit(plane + rng.normal(0, 2, plane.shape)) for plane in (low, edge)]
    assert not register_unknown(*noisy).accepted


def test_a_tiny_picture_is_refused_with_its_size() -> None:
    true = pair(PAIRS["turned"])
    found = register_unknown(true.low[:20, :20], true.high)
    assert not found.accepted
    assert "20x20" in found.reasons[0]
