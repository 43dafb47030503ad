"""High fields laid on low ones, against where the simulated microscope says they lie."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pytest
from grids import Field, fields, grid, tissue_rig
from numpy.typing import NDArray

from scope_sr.imaging.affine import bent, radius_px
from scope_sr.imaging.registration import Registration, drawn_on_low, frame_in_low, register
from scope_sr.imaging.shift import block_shifts, green

LOW_DISTORTION = 0.0015
PLACES = {"centre": (0.0, 0.0), "corner": (-28.0, 27.0), "edge": (25.0, -3.0)}
DEMO_LIKE = {
    "pixel_um = 5.0": "pixel_um = 10.0",
    "magnification = 20.0": "magnification = 40.0",
    "pixel_size_um = 0.5012": "pixel_size_um = 1.0024",
}


def guess(ratio: float = 0.5, scale: float = 1.0, turn_deg: float = 0.0) -> NDArray[np.float64]:
    angle = math.radians(turn_deg)
    cos, sin = math.cos(angle), math.sin(angle)
    return ratio * scale * np.array([[cos, -sin], [sin, cos]])


@lru_cache
def high_fields() -> dict[str, Field]:
    """Take pictures with the 20x within the middle field of the grid."""
    views = [("20x", (x + 37.2, y - 22.1, 4.0)) for x, y in PLACES.values()]
    return dict(zip(PLACES, fields(tissue_rig((256, 256)), views), strict=True))


def low_field() -> Field:
    return grid()[12]


def assert_true(found: Registration | None, low: Field, high: Field) -> None:
    """Compare with the truth: the noise of other seeds stays below two thirds of these limits."""
    assert found is not None
    limits = (1e-3, 0.05, 0.25) if min(high.image.shape[:2]) < 400 else (4e-4, 0.02, 0.1)
    linear_limit, centre_limit_px, corner_limit_px = limits
    linear = np.linalg.solve(low.matrix, high.matrix)
    centre = np.linalg.solve(low.matrix, high.centre_um - low.centre_um)
    assert np.abs(found.linear - linear).max() < linear_limit
    assert np.abs(found.centre_px - centre).max() < centre_limit_px
    size_px = high.image.shape[1::-1]
    x, y = (np.linspace(-side / 2, side / 2, 9) for side in size_px)
    u = np.stack(np.meshgrid(x, y), axis=-1)
    radius = radius_px(size_px)
    seen = bent(u, found.distortion, radius) @ found.linear.T + found.centre_px
    true = bent(u, high.distortion, radius) @ linear.T + centre
    assert np.abs(seen - true).max() < corner_limit_px
    assert found.residual_px < 0.07


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("scale", "turn_deg"), [(1.0, 0.0), (1.03, 1.0), (0.97, -1.0)])
def test_a_high_field_lies_where_the_log_says(place: str, scale: float, turn_deg: float) -> None:
    low, high = low_field(), high_fields()[place]
    found = register(low.image, high.image, guess(0.5, scale, turn_deg), LOW_DISTORTION)
    assert_true(found, low, high)


@pytest.mark.parametrize("place", PLACES)
def test_where_it_starts_from_does_not_matter(place: str) -> None:
    low, high = low_field().image, high_fields()[place].image
    first = register(low, high, guess(), LOW_DISTORTION)
    second = register(low, high, guess(0.5, 1.02, -0.7), LOW_DISTORTION)
    assert first is not None
    assert second is not None
    assert second.centre_px == pytest.approx(first.centre_px, abs=0.02)
    assert second.linear == pytest.approx(first.linear, abs=4e-4)


@pytest.mark.parametrize(
    ("mount", "size_px"),
    [(("-x", "+y"), (256, 256)), (("+y", "+x"), (256, 256)), (("+y", "-x"), (320, 240))],
    ids=["turned", "flipped", "upright"],
)
def test_every_mounting_will_do(mount: tuple[str, str], size_px: tuple[int, int]) -> None:
    changes = {
        'image_right = "+x"': f'image_right = "{mount[0]}"',
        'image_down = "-y"': f'image_down = "{mount[1]}"',
    }
    views = [("10x", (0.0, 0.0, 0.0)), ("20x", (50.0, -35.0, 4.0))]
    low, high = fields(tissue_rig(size_px, **changes), views)
    assert_true(register(low.image, high.image, guess(), LOW_DISTORTION), low, high)


@pytest.mark.parametrize(
    ("size_px", "changes", "ratio", "off_um"),
    [((512, 512), DEMO_LIKE, 0.25, (150.0, -100.0)), ((600, 450), {}, 0.5, (-30.0, 40.0))],
    ids=["four times", "large"],
)
def test_larger_fields_and_ratios(
    size_px: tuple[int, int], changes: dict[str, str], ratio: float, off_um: tuple[float, float]
) -> None:
    high_um = (37.2 + off_um[0], -22.1 + off_um[1], 4.0)
    low, high = fields(tissue_rig(size_px, **changes), [("10x", (0.0, 0.0, 0.0)), ("20x", high_um)])
    for wrong in (1.0, 1.03):
        expected = guess(ratio, wrong, 50 * (wrong - 1))
        found = register(low.image, high.image, expected, LOW_DISTORTION)
        assert_true(found, low, high)


@pytest.mark.slow
def test_what_does_not_belong_together_is_not_registered() -> None:
    low, high = low_field().image, high_fields()["centre"].image
    far = ("10x", (700.0, 650.0, 0.0)), ("20x", (-660.0, 420.0, 4.0)), ("20x", (300.0, 0.0, 4.0))
    other, *others = (field.image for field in fields(tissue_rig((256, 256)), far))
    for image in others:
        assert register(low, image, guess()) is None
        assert register(other, image, guess()) is None
    assert register(other, high, guess()) is None
    # the same place through a mirror, or with half the magnification believed
    assert register(low, high[:, ::-1], guess()) is None
    assert register(low, high, guess(1.0)) is None


def test_little_tissue_is_not_registered() -> None:
    low, high = low_field().image.copy(), high_fields()["centre"].image.copy()
    rng = np.random.default_rng(0)
    glass = rng.normal(230, 2, (256, 256, 3)).astype(np.uint8)
    even = np.full((256, 256, 3), 230, np.uint8)
    for blank in (glass, even):
        assert register(low, blank, guess()) is None
        assert register(blank, high, guess()) is None
        assert register(blank, blank, guess()) is None
    speck = glass.copy()
    speck[100:150, 110:150] = high[100:150, 110:150]
    assert register(low, speck, guess()) is None
    assert register(low, high, guess(0.1)) is None


def test_grey_planes_and_light_do_not_matter() -> None:
    low, high = low_field(), high_fields()["edge"]
    found = register(
        green(low.image) * 0.8 + 10, green(high.image).astype(np.uint16), guess(), LOW_DISTORTION
    )
    assert_true(found, low, high)


def test_a_field_drawn_on_low_pixels_looks_like_them() -> None:
    low, high = low_field().image, high_fields()["edge"].image
    found = register(low, high, guess(), LOW_DISTORTION)
    assert found is not None
    corner, size = frame_in_low(found, high.shape, low.shape)
    assert size == pytest.approx([130, 130], abs=2)
    assert corner + size / 2 == pytest.approx(found.centre_px + 128, abs=1.1)
    drawn = drawn_on_low(high, found, LOW_DISTORTION, corner, size, low.shape)
    assert drawn.shape == (size[1], size[0], 3)
    empty = np.isnan(drawn[..., 1])
    assert (~empty).sum() == pytest.approx(127.3**2, rel=0.01)
    assert not empty[3:-3, 3:-3].any()
    part = low[corner[1] : corner[1] + size[1], corner[0] : corner[0] + size[0]]
    inner = np.s_[4:-4, 4:-4]
    left = block_shifts(green(part)[inner], drawn[..., 1][inner], side_px=32)
    assert np.abs(np.median(left.shift_px, axis=0)).max() < 0.02
    assert np.corrcoef(drawn[..., 1][inner].ravel(), part[..., 1][inner].ravel())[0, 1] > 0.98
    # half out of the low field: only what lies in it is framed
    aside = Registration(found.linear, np.array([128.0, 0.0]), 0.0, 0.0, 0, 0.0)
    corner, size = frame_in_low(aside, high.shape, low.shape)
    assert corner[0] + size[0] == 256
    assert size[0] == pytest.approx(64, abs=2)
