"""What makes a low image of a high one; the physics of it is in test_build_sources.py."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs import make_rig

from scope_sr.build_dataset import images, run
from scope_sr.config import load_rig
from scope_sr.degradation import BICUBIC, Optics, bicubic_low, low_of, optics_of
from scope_sr.errors import InputError

SCALES = (2, 4)


def picture(seed: int, rows: int = 64, columns: int = 80) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), np.uint8)


def test_build_dataset_makes_its_low_images_with_these_very_functions() -> None:
    assert images.low_of is low_of
    assert run.optics_of is optics_of


def test_optics_survive_the_json_of_a_dataset() -> None:
    optics = optics_of(make_rig(), 2)
    assert Optics.from_table(json.loads(json.dumps(optics.table()))) == optics


@pytest.mark.parametrize(
    "change",
    [{"rig": "other", "more": 1}, {"variance": None}, {"variance": ["a", "b"]}, {"noise": ...}],
    ids=str,
)
def test_a_table_that_says_something_else_is_refused(change: dict) -> None:
    table = {**optics_of(make_rig(), 2).table(), **change}
    table = {key: value for key, value in table.items() if value is not ...}
    with pytest.raises(ValueError, match="does not say what made the low images"):
        Optics.from_table(table)


def test_the_facts_of_a_captured_session_are_no_optics() -> None:
    with pytest.raises(ValueError, match="does not say"):
        Optics.from_table({"low": "10x", "high": "20x", "numerical_apertures": [0.3, 0.75]})


def test_optics_say_in_one_line_what_they_are() -> None:
    said = {"high_um_per_px": 0.25, "noise": "measured on the rig"}
    optics = replace(optics_of(load_rig("simulated"), 2), **said)
    assert str(optics) == ("optics of rig simulated: NA 0.30, 0.5 µm px, noise measured on the rig")
    assert str(optics.quiet).endswith("noise none")


def test_the_noise_hangs_on_the_seed_and_the_quiet_optics_have_none() -> None:
    high, optics = picture(0), optics_of(make_rig(), 2)
    one, again, other = (low_of(high, optics, seed) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert np.array_equal(low_of(high, optics.quiet, 1), low_of(high, optics.quiet, 2))


def test_noise_is_added_to_what_the_quiet_optics_show() -> None:
    high = np.full((128, 128, 3), 128, np.uint8)
    optics = replace(optics_of(make_rig(), 2), variance=(0.02, 0.5))
    still = low_of(high, optics.quiet, 0).astype(float)
    off = low_of(high, optics, 0) - still
    # 0.02 x 128 + 0.5, and a twelfth for rounding; the variance of 12288 samples is known to 1.3 %
    assert off.var() == pytest.approx(0.02 * still.mean() + 0.5 + 1 / 12, rel=0.05)
    assert abs(off.mean()) < 0.1


def test_a_scale_no_objective_of_the_rig_has_is_refused() -> None:
    rig = make_rig()
    pair = {name: rig.objectives[name] for name in (rig.low, rig.high)}
    with pytest.raises(InputError, match="--scale 4 asks for 4 pixels"):
        optics_of(rig.model_copy(update={"objectives": pair}), 4)


@pytest.mark.parametrize("scale", SCALES)
def test_bicubic_is_antialiased(scale: int) -> None:
    """Without that, every pixel of a pattern finer than the low pixels would be black or white."""
    rows, columns = np.indices((64, 64))
    fine = np.where((rows + columns) % 2, 255, 0).astype(np.uint8)
    low = bicubic_low(np.repeat(fine[:, :, None], 3, axis=2), scale)
    assert low.shape == (64 // scale, 64 // scale, 3)
    assert np.abs(low[2:-2, 2:-2].astype(int) - 127).max() <= 1


@pytest.mark.parametrize("scale", SCALES)
def test_bicubic_keeps_low_pixels_over_the_middle_of_what_they_see(scale: int) -> None:
    """A shift of half a pixel would make any model look bad, or good."""
    ramp = np.arange(128, dtype=np.uint8)[None, :, None].repeat(64, 0).repeat(3, 2)
    low = bicubic_low(ramp, scale)[8, :, 0].astype(float)
    centres = (np.arange(128 // scale) + 0.5) * scale - 0.5
    assert np.abs(low - centres)[4:-4].max() <= 0.5


@given(
    seed=st.integers(0, 99),
    rows=st.integers(8, 40),
    columns=st.integers(8, 40),
    scale=st.sampled_from(SCALES),
)
def test_bicubic_sees_whole_low_pixels_only_and_mirrors(
    seed: int, rows: int, columns: int, scale: int
) -> None:
    high = picture(seed, rows, columns)
    low = bicubic_low(high, scale)
    assert low.shape == (rows // scale, columns // scale, 3)
    cut = high[: rows // scale * scale, : columns // scale * scale]
    mirrored = bicubic_low(cut[::-1, ::-1], scale)[::-1, ::-1]
    assert np.abs(mirrored.astype(int) - low).max() <= 1  # Pillow rounds halves one way


def test_it_is_named_as_papers_name_it() -> None:
    assert BICUBIC == "bicubic, antialiased, 8 bit"
