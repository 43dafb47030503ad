"""What the photon transfer curve finds, against the camera that made the frames."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from scope_sr.config import Camera, TrueCamera, TrueObjective
from scope_sr.imaging.photon_transfer import Noise, Pair, photon_transfer
from scope_sr.specimen.sensor import Sensor


def sensor(bits: int, *, color: bool = False, side: int = 512, **changes: object) -> Sensor:
    camera = Camera(width_px=side, height_px=side, bits=bits, color=color)
    true = {"read_noise_e": 6.0, "dark_dn": 2.0, "pixel_response": 0.004, "dust": 6, **changes}
    lens = TrueObjective(light_e_per_ms=870.0, vignetting=0.15, color_gain=(1.02, 1.0, 0.96))
    return Sensor(camera, TrueCamera(**true), lens, seed=0)


def pairs_of(
    tested: Sensor, longest_ms: float = 11.0, *, seed: int = 0, drift: float = 0.0, count: int = 12
) -> list[Pair]:
    """Pairs of glass; the lamp loses or gains up to `drift` between two frames, at random."""
    rng = np.random.default_rng(seed)
    glass = np.ones((*tested.rate_e_per_ms.shape[:2], 3), np.float32)
    pairs = []
    for exposure_ms in np.linspace(0.5, longest_ms, count):
        a, b = (
            tested.expose(glass, exposure_ms * (1 + rng.uniform(-drift, drift)), rng) for _ in "ab"
        )
        pairs.append((float(exposure_ms), a, b))
    return pairs


def assert_gain(noise: Noise, tested: Sensor, rel: float = 0.01) -> None:
    np.testing.assert_allclose(noise.gain_e_per_dn, tested.gain_e_per_dn, rtol=rel)


@pytest.mark.parametrize(("bits", "color"), [(8, True), (12, False)])
def test_gain_is_true_to_one_percent(bits: int, color: bool) -> None:
    tested = sensor(bits, color=color)
    noise = photon_transfer(pairs_of(tested), 2**bits - 1)
    assert len(noise.gain_e_per_dn) == (3 if color else 1)
    assert_gain(noise, tested)
    for gain, sigma in zip(noise.gain_e_per_dn, noise.gain_sigma_e_per_dn, strict=True):
        assert 0 < sigma < 0.003 * gain
        assert abs(gain - tested.gain_e_per_dn) < 4.5 * sigma
    np.testing.assert_allclose(noise.dark_dn, 2.0, atol=0.02 if bits == 8 else 0.1)
    assert max(noise.linearity) < 1e-3
    assert not noise.effective
    assert noise.lamp_drift < 1e-3
    for slope, gain in zip(noise.slope, noise.gain_e_per_dn, strict=True):
        assert slope == pytest.approx(1 / gain)


@pytest.mark.parametrize(("bits", "hidden"), [(8, True), (12, False)])
def test_eight_bits_hide_the_read_noise_and_twelve_do_not(bits: int, hidden: bool) -> None:
    noise = photon_transfer(pairs_of(sensor(bits, dark_dn=20.0)), 2**bits - 1)
    assert noise.hidden_by_bits == hidden
    if hidden:
        assert noise.read_noise_e == (None,)
    else:
        assert noise.read_noise_e[0] == pytest.approx(6.0, rel=0.1)


def test_a_scientific_camera_of_16_bits() -> None:
    tested = sensor(16, gain_e_per_dn=0.2, dark_dn=100.0, read_noise_e=30.0)
    noise = photon_transfer(pairs_of(tested, count=14), 65535)
    assert_gain(noise, tested)
    assert noise.read_noise_e[0] == pytest.approx(30.0, rel=0.03)
    assert noise.dark_dn[0] == pytest.approx(100.0, abs=3)


def test_frames_beyond_full_scale_do_no_harm() -> None:
    tested = sensor(12)
    noise = photon_transfer(pairs_of(tested, longest_ms=22.0), 4095)
    assert_gain(noise, tested)
    assert noise.full_well_e[0] == pytest.approx(10000, rel=0.03)
    assert max(noise.levels_dn[0]) < 4095
    assert noise.linearity[0] < 1e-3


def test_noise_that_full_scale_cuts_off_does_not_count() -> None:
    # few electrons, wide noise: the brightest frames are cut though their mean is below full scale
    tested = sensor(8, gain_e_per_dn=6.0, full_well_e=20000.0, dust=0)
    noise = photon_transfer(pairs_of(tested, longest_ms=1.69), 255)
    assert_gain(noise, tested)
    assert max(noise.levels_dn[0]) < 235


@pytest.mark.parametrize(("bits", "gain"), [(8, 50.0), (12, 3.2)])
def test_a_full_well_below_full_scale_is_found(bits: int, gain: float) -> None:
    tested = sensor(bits, gain_e_per_dn=gain)
    noise = photon_transfer(pairs_of(tested, longest_ms=16.0), 2**bits - 1)
    assert_gain(noise, tested)
    assert noise.full_well_e[0] == pytest.approx(10000, rel=0.01)
    assert max(noise.levels_dn[0]) < 10000 / gain
    assert noise.linearity[0] < 1e-3


def test_an_unsteady_lamp_is_told_and_leaves_the_gain() -> None:
    tested = sensor(8)
    noise = photon_transfer(pairs_of(tested, drift=0.05), 255)
    assert_gain(noise, tested)
    assert 0.02 < noise.lamp_drift < 0.11
    assert noise.linearity[0] > 2e-3


def test_a_camera_that_bends_is_not_linear() -> None:
    tested = sensor(12, side=256)
    bent = [
        (t, *(np.rint(i - 0.05 * i.astype(float) ** 2 / 4095).astype(np.uint16) for i in two))
        for t, *two in pairs_of(tested)
    ]
    assert 0.004 < photon_transfer(bent, 4095).linearity[0] < 0.02


def test_dirt_that_moved_between_the_frames_does_not_count() -> None:
    tested = sensor(8)
    pairs = pairs_of(tested)
    for number, (_, a, b) in enumerate(pairs):
        a[10 + 20 * number : 30 + 20 * number, 200:220] //= 2
        b[10 + 20 * number : 30 + 20 * number, 320:340] //= 2
    assert_gain(photon_transfer(pairs, 255), tested)


def test_demosaiced_noise_is_told() -> None:
    kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 4
    mosaic = np.zeros((256, 256), np.float32)
    mosaic[::2, ::2] = 1

    def bilinear(image: NDArray) -> NDArray:
        return np.rint(cv2.filter2D(image * mosaic, -1, kernel)).clip(0, 4095).astype(np.uint16)

    tested = sensor(12, side=256)
    pairs = pairs_of(tested)
    smooth = photon_transfer([(t, bilinear(a), bilinear(b)) for t, a, b in pairs], 4095)
    assert smooth.effective
    assert smooth.gain_e_per_dn[0] > 1.2 * tested.gain_e_per_dn
    assert not photon_transfer(pairs, 4095).effective


def test_too_few_exposures_are_refused() -> None:
    bright = pairs_of(sensor(8, side=64), longest_ms=90.0)
    with pytest.raises(ValueError, match="exposures are unclipped"):
        photon_transfer(bright, 255)
    same = pairs_of(sensor(8, side=64))[5:6] * 6
    with pytest.raises(ValueError, match="span"):
        photon_transfer(same, 255)


def test_a_small_camera_gives_a_rough_gain() -> None:
    tested = sensor(8, side=64)
    noise = photon_transfer(pairs_of(tested), 255)
    assert_gain(noise, tested, rel=0.04)


def test_noise_that_does_not_grow_is_refused() -> None:
    rng = np.random.default_rng(0)
    pairs = [
        (float(t), *(np.rint(rng.normal(20.0 * t, 2, (64, 64))).astype(np.uint8) for _ in "ab"))
        for t in range(1, 11)
    ]
    with pytest.raises(ValueError, match="does not grow"):
        photon_transfer(pairs, 255)
