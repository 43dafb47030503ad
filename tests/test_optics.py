"""The simulated light and camera against what theory says they must be.

The slides here are made of cosines, so that the picture of each is known in closed form: a cosine
stays a cosine, its contrast falls by OTF times pixel box, its phase is where the pixel looks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scope_sr.config import Camera, TrueCamera, TrueObjective, load_rig
from scope_sr.specimen import fast, optics, pupil
from scope_sr.specimen.fast import FastRenderer
from scope_sr.specimen.optics import View, transmit
from scope_sr.specimen.pupil import WAVELENGTHS_UM, otf
from scope_sr.specimen.sensor import LUMINANCE, Sensor, dust_shadow, illumination, pixel_response


@dataclass(frozen=True, eq=False)
class Slide:
    """A slide painted by a function of the stage position; float, so that nothing is rounded."""

    paint: object
    um_per_px: float = 0.25

    def region(self, column: int, row: int, width: int, height: int) -> NDArray[np.float32]:
        x = np.arange(column, column + width) * self.um_per_px
        y = -np.arange(row, row + height)[:, None] * self.um_per_px
        plane = np.broadcast_to(self.paint(x, y), (height, width))
        return np.repeat(plane[..., None] * 255, 3, axis=-1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Tissue:
    """Rounded blobs on glass in 8 bits, a different pattern per channel; endless by repetition."""

    um_per_px: float = 0.25
    side: int = 512

    def region(self, column: int, row: int, width: int, height: int) -> NDArray[np.uint8]:
        noise = np.random.default_rng(5).standard_normal((self.side, self.side, 3))
        f = np.fft.fftfreq(self.side)
        radius = np.hypot(f, f[:, None])[..., None]
        spectrum = np.fft.fft2(noise, axes=(0, 1)) * np.exp(-((radius / 0.05) ** 2))
        smooth = np.fft.ifft2(spectrum, axes=(0, 1)).real
        tile = 235 / (1 + np.exp(smooth / smooth.std() * 3)) + 15
        rows = np.arange(row, row + height) % self.side
        columns = np.arange(column, column + width) % self.side
        return np.rint(tile).astype(np.uint8)[rows[:, None], columns]


def glass() -> Slide:
    return Slide(lambda x, y: 1.0)


def matrix(um_per_px: float, degrees: float = 0.0, *, down: int = -1) -> NDArray[np.float64]:
    """Pixel size, rotation, and whether a step down the image is a step along +y or -y."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return um_per_px * turn @ np.diag([1.0, down])


def view_10x(**changes: object) -> View:
    view = View((3.1, -7.3), matrix(0.5), (96, 80), 0.30, 0.0)
    return replace(view, **changes)


def view_20x(**changes: object) -> View:
    view = View((3.1, -7.3), matrix(0.25), (96, 80), 0.75, 0.0)
    return replace(view, **changes)


def waves(view: View, fraction: float, seed: int = 0) -> list[tuple[NDArray[np.float64], float]]:
    """Pick three cosines at a fraction of the band which repeat over the region that is fetched."""
    region = optics.region_around(0.25, view, optics.halo_um(view))
    extent_um = 0.25 * np.array([region.width, region.height])
    rng = np.random.default_rng(seed)
    size = fraction * min(2 * view.numerical_aperture / WAVELENGTHS_UM[2], 2.0)
    found = []
    for angle, phase in zip(
        rng.uniform(0, 2 * np.pi, 3), rng.uniform(0, 2 * np.pi, 3), strict=True
    ):
        wanted = size * np.array([np.cos(angle), np.sin(angle)])
        found.append((np.round(wanted * extent_um) / extent_um, phase))
    return found


def cosines(found: list[tuple[NDArray[np.float64], float]]) -> Slide:
    return Slide(
        lambda x, y: (
            0.5
            + sum(0.15 * np.cos(2 * np.pi * (f[0] * x + f[1] * y) + phase) for f, phase in found)
        )
    )


def theory(view: View, found: list[tuple[NDArray[np.float64], float]]) -> NDArray[np.float64]:
    """Write down the picture of `cosines` from the definitions, pixel by pixel."""
    width, height = view.size_px
    x, y = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)
    d = np.stack([x, y], axis=-1)
    n = pupil.immersion_index(view.numerical_aperture)
    r2 = (d**2).sum(axis=-1, keepdims=True) / ((width / 2) ** 2 + (height / 2) ** 2)
    g = d * (1 + view.distortion * r2)
    picture = np.full((height, width, 3), 0.5)
    for channel, epsilon in enumerate((view.lateral_chromatic[0], 0.0, view.lateral_chromatic[1])):
        seen = np.asarray(view.centre_um) + g / (1 + epsilon) @ view.matrix.T
        z = view.defocus_um - (view.axial_chromatic_um[0], 0.0, view.axial_chromatic_um[1])[channel]
        for f, phase in found:
            contrast = otf(
                view.numerical_aperture, WAVELENGTHS_UM[channel], z, np.hypot(*f)[None], index=n
            )
            box = np.sinc(f @ view.matrix[:, 0]) * np.sinc(f @ view.matrix[:, 1])
            wave = np.cos(2 * np.pi * (seen @ f) + phase)
            picture[..., channel] += 0.15 * contrast * box * wave
    return picture


def displacement_px(
    reference: NDArray[np.floating], moved: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Least-squares shift (x, y) of the content of `moved` against `reference`; small shifts."""
    down, right = np.gradient(np.asarray(reference, float))
    inner = np.s_[3:-3, 3:-3]
    flat_field = np.ones_like(right[inner])
    slopes = -np.stack([right[inner], down[inner], flat_field], axis=-1).reshape(-1, 3)
    change = (np.asarray(moved, float) - reference)[inner].ravel()
    return np.linalg.lstsq(slopes, change, rcond=None)[0][:2]


# ---- the optical transfer function -------------------------------------------------------------


@pytest.mark.parametrize("numerical_aperture", [0.15, 0.75, 0.95])
def test_otf_in_focus_is_the_textbook_one(numerical_aperture: float) -> None:
    s = np.linspace(0, 2, 101)
    values = otf(numerical_aperture, 0.54, 0.0, s * numerical_aperture / 0.54)
    expected = 2 / np.pi * (np.arccos(s / 2) - s / 2 * np.sqrt(1 - s**2 / 4))
    np.testing.assert_allclose(values, expected, atol=1e-10)


@pytest.mark.parametrize(
    ("numerical_aperture", "defocus_um", "index"),
    [(0.30, 8.0, 1.0), (0.75, 1.5, 1.0), (0.75, -4.0, 1.0), (1.3, 0.8, 1.515)],
)
def test_otf_is_the_autocorrelation_of_the_pupil(
    numerical_aperture: float, defocus_um: float, index: float
) -> None:
    samples, radius = 1024, 200
    rho2 = ((np.indices((samples, samples)) - samples // 2) ** 2).sum(axis=0) / radius**2
    path = np.sqrt((index**2 - numerical_aperture**2 * rho2).clip(min=0)) - index
    field = np.where(rho2 <= 1, np.exp(2j * np.pi / 0.54 * defocus_um * path), 0)
    spread = np.abs(np.fft.fft2(field)) ** 2
    correlation = np.fft.ifft2(spread).real[0, : 2 * radius + 1]
    s = np.arange(2 * radius + 1) / radius
    values = otf(numerical_aperture, 0.54, defocus_um, s * numerical_aperture / 0.54, index=index)
    np.testing.assert_allclose(values, correlation / correlation[0], atol=3e-3)


@settings(max_examples=20, deadline=None)
@given(
    numerical_aperture=st.floats(0.05, 0.95),
    wavelength_um=st.floats(0.4, 0.7),
    waves_of_defocus=st.floats(-6, 6),
)
def test_otf_is_one_at_rest_bounded_and_even_in_focus(
    numerical_aperture: float, wavelength_um: float, waves_of_defocus: float
) -> None:
    rim = 1 - np.sqrt(1 - numerical_aperture**2)
    z = waves_of_defocus * wavelength_um / rim
    f = np.array([0.0, 0.1, 0.5, 1.0, 1.7, 2.0, 2.5]) * numerical_aperture / wavelength_um
    values = otf(numerical_aperture, wavelength_um, z, f)
    assert values[0] == pytest.approx(1, abs=1e-12)
    assert np.all(np.abs(values) <= otf(numerical_aperture, wavelength_um, 0.0, f) + 1e-9)
    np.testing.assert_allclose(values[-2:], 0, atol=1e-12)
    np.testing.assert_allclose(otf(numerical_aperture, wavelength_um, -z, f), values, atol=1e-12)


def test_the_table_of_the_otf_reads_like_the_otf() -> None:
    for z in (0.0, 3.0, -25.0):
        per_um, table = pupil.radial_otf(0.75, 0.54, z)
        entries = np.arange(0, table.size, 97)
        expected = otf(0.75, 0.54, z, entries / per_um)
        np.testing.assert_allclose(table[entries], expected, atol=5e-4)


# ---- the exact picture -------------------------------------------------------------------------

VIEWS = {
    "10x": view_10x(),
    "10x turned": view_10x(matrix=matrix(0.5012, 17.0)),
    "20x mirrored": view_20x(matrix=matrix(0.25, -3.0, down=1)),
    "20x odd": view_20x(size_px=(75, 93)),
    "20x defocused": view_20x(defocus_um=1.3, axial_chromatic_um=(0.3, -0.4)),
    "10x colours": view_10x(lateral_chromatic=(0.01, -0.02)),
    "5x distorted": View((-90.0, 41.7), matrix(1.0035, 0.6), (90, 70), 0.15, 4.0, distortion=0.02),
    "rectangular pixels": view_10x(matrix=np.array([[0.45, 0.1], [0.05, 0.6]])),
    "pixels finer than the slide": view_20x(matrix=matrix(0.11, 30.0)),
    "oil": View((0.0, 0.0), matrix(0.1), (64, 64), 1.3, 0.4),
}


@pytest.mark.parametrize("fraction", [0.15, 0.45, 0.7])
@pytest.mark.parametrize("name", VIEWS)
def test_the_picture_of_cosines_is_the_one_of_theory(name: str, fraction: float) -> None:
    found = waves(VIEWS[name], fraction)
    picture = transmit(cosines(found), VIEWS[name])
    assert picture.dtype == np.float32
    np.testing.assert_allclose(picture, theory(VIEWS[name], found), atol=1.5e-4)


@settings(max_examples=12, deadline=None)
@given(
    degrees=st.floats(-180, 180),
    um_per_px=st.floats(0.2, 0.9),
    down=st.sampled_from([-1, 1]),
    x_um=st.floats(-500, 500),
    y_um=st.floats(-500, 500),
    distortion=st.floats(-0.05, 0.05),
)
def test_any_stand_sees_what_theory_says(
    degrees: float, um_per_px: float, down: int, x_um: float, y_um: float, distortion: float
) -> None:
    view = View((x_um, y_um), matrix(um_per_px, degrees, down=down), (40, 33), 0.4, 1.0, distortion)
    found = waves(view, 0.3)
    np.testing.assert_allclose(transmit(cosines(found), view), theory(view, found), atol=2e-4)


@pytest.mark.parametrize("shift_px", [(0.37, 0.0), (0.0, -0.21), (0.013, 0.48)])
def test_moving_the_view_moves_the_picture(shift_px: tuple[float, float]) -> None:
    view = view_20x(matrix=matrix(0.2503, 0.6), numerical_aperture=0.3)
    moved = np.asarray(view.centre_um) + view.matrix @ shift_px
    before = transmit(Tissue(), view)[..., 1]
    after = transmit(Tissue(), replace(view, centre_um=tuple(moved)))[..., 1]
    # over half a pixel one linearisation is not enough: halve the way from both sides
    middle = np.asarray(view.centre_um) + view.matrix @ shift_px / 2
    between = transmit(Tissue(), replace(view, centre_um=tuple(middle)))[..., 1]
    found = displacement_px(between, after) - displacement_px(between, before)
    np.testing.assert_allclose(found, -np.asarray(shift_px), atol=0.01)


def test_even_images_are_centred_between_pixels() -> None:
    # a view two pixels wider on each side holds the smaller one; one wider is half a pixel off
    small, large = view_20x(size_px=(60, 50)), view_20x(size_px=(64, 54))
    np.testing.assert_allclose(
        transmit(Tissue(), large)[2:-2, 2:-2], transmit(Tissue(), small), atol=2e-3
    )
    offsets = optics.specimen_offsets_um(view_20x(size_px=(4, 3)))
    np.testing.assert_allclose(offsets[0][0], [-0.375, -0.125, 0.125, 0.375])
    np.testing.assert_allclose(offsets[1][:, 0], [0.25, 0.0, -0.25])


def test_a_mirrored_stand_gives_the_mirrored_picture() -> None:
    straight = transmit(Tissue(), view_20x(matrix=0.25 * np.diag([1.0, -1.0])))
    flipped = transmit(Tissue(), view_20x(matrix=0.25 * np.diag([1.0, 1.0])))
    turned = transmit(Tissue(), view_20x(matrix=0.25 * np.diag([-1.0, 1.0])))
    np.testing.assert_allclose(flipped, straight[::-1], atol=2e-3)
    np.testing.assert_allclose(turned, straight[::-1, ::-1], atol=2e-3)


def test_the_image_shows_the_slide_upright() -> None:
    # pixels of the size of the slide's, at a lens far better than either: the slide itself
    view = View((0.125, -0.125), matrix(0.25), (64, 64), 0.95, 0.0)
    picture = transmit(Tissue(), view)
    slide = Tissue().region(-31, -31, 64, 64) / 255
    for other in (slide[::-1], slide[:, ::-1], slide.transpose(1, 0, 2)):
        assert np.abs(picture - slide).mean() < 0.2 * np.abs(picture - other).mean()
    np.testing.assert_allclose(displacement_px(slide[..., 1], picture[..., 1]), 0, atol=0.02)


def test_glass_stays_glass() -> None:
    for view in VIEWS.values():
        np.testing.assert_allclose(transmit(glass(), view), 1.0, atol=1e-5)


def test_defocus_is_symmetric_and_costs_contrast_but_no_light() -> None:
    sharp = transmit(Tissue(), view_20x())
    above = transmit(Tissue(), view_20x(defocus_um=2.0))
    below = transmit(Tissue(), view_20x(defocus_um=-2.0))
    np.testing.assert_allclose(above, below, atol=1e-6)
    assert above.std() < 0.85 * sharp.std()
    # one period of the slide, so that no edge takes part
    whole = view_20x(size_px=(512, 512))
    means = [transmit(Tissue(), replace(whole, defocus_um=z)).mean() for z in (0.0, 2.0)]
    assert means[0] == pytest.approx(means[1], abs=1e-3)


def test_defocus_is_held_where_it_shows_no_more() -> None:
    far, farther = (view_20x(defocus_um=z) for z in (100.0, 500.0))
    assert far.defocus_per_channel_um == farther.defocus_per_channel_um
    assert optics.halo_um(farther) < 60
    np.testing.assert_array_equal(transmit(Tissue(), far), transmit(Tissue(), farther))


def test_colours_are_displaced_by_their_magnification() -> None:
    grey = Slide(lambda x, y: Tissue().region(*_pixels(x, y))[..., 0] / 255)
    view = view_20x(size_px=(400, 80), lateral_chromatic=(0.002, -0.003), numerical_aperture=0.3)
    picture = transmit(grey, view)
    right = picture[:, 320:, :]
    red = displacement_px(right[..., 1], right[..., 0])
    blue = displacement_px(right[..., 1], right[..., 2])
    # pixels 320..399 look 159.5 px right of the centre; a larger image moves its content outward
    np.testing.assert_allclose(red, [0.002 * 159.5, 0], atol=0.03)
    np.testing.assert_allclose(blue, [-0.003 * 159.5, 0], atol=0.06)


def test_a_colour_is_sharpest_where_its_focus_is() -> None:
    axial = (1.0, -1.5)
    stack = np.arange(-3, 3.01, 0.5)
    pictures = [transmit(Tissue(), view_20x(defocus_um=z, axial_chromatic_um=axial)) for z in stack]
    for channel, focus_um in ((0, 1.0), (1, 0.0), (2, -1.5)):
        contrast = [picture[..., channel].std() for picture in pictures]
        assert stack[int(np.argmax(contrast))] == pytest.approx(focus_um, abs=0.5)


def _pixels(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[int, int, int, int]:
    return round(x[0] / 0.25), round(-y[0, 0] / 0.25), x.size, y.size


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
@pytest.mark.parametrize("defocus_um", [0.0, 6.0])
def test_nothing_wraps_round(side: str, defocus_um: float) -> None:
    view = View((0.0, 0.0), matrix(0.25), (128, 128), 0.75, defocus_um)
    edge_um = 17.0 + 1.2 * defocus_um
    inside = {
        "left": lambda x, y: x > -edge_um,
        "right": lambda x, y: x < edge_um,
        "top": lambda x, y: y < edge_um,
        "bottom": lambda x, y: y > -edge_um,
    }[side]
    lost = 1 - transmit(Slide(lambda x, y: inside(x, y) + 0.0 * x), view)[..., 1]
    lost = {
        "left": lost.mean(axis=0),
        "right": lost.mean(axis=0)[::-1],
        "top": lost.mean(axis=1),
        "bottom": lost.mean(axis=1)[::-1],
    }[side]
    # light fades toward the edge; had anything come round, the far side would be darker again
    assert lost[-32:].mean() < 3e-3
    assert lost[-8:].mean() < lost[:8].mean() / 3


# ---- the camera --------------------------------------------------------------------------------

CAMERA = Camera(width_px=256, height_px=192)
LENS = TrueObjective(light_e_per_ms=900.0)


def sensor(
    camera: Camera = CAMERA, lens: TrueObjective = LENS, seed: int = 0, **true: object
) -> Sensor:
    return Sensor(camera, TrueCamera(**{"read_noise_e": 0.0, **true}), lens, seed=seed)


def flat(value: float = 1.0) -> NDArray[np.float32]:
    return np.full((192, 256, 3), value, np.float32)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("bits", [12, 16])
def test_photon_transfer_gives_back_gain_and_read_noise(bits: int, quick: bool) -> None:
    camera = CAMERA.model_copy(update={"bits": bits})
    tested = sensor(camera, read_noise_e=25.0, dark_dn=100.0, gain_e_per_dn=2.5)
    means, variances = [], []
    for number, exposure_ms in enumerate(np.linspace(0.5, 8, 6)):
        if quick:
            light = np.full((192, 256, 3), 255, np.uint8)
            pair = [tested.expose_fast(light, exposure_ms, 2 * number + k) for k in (0, 1)]
        else:
            rng = np.random.default_rng(number)
            pair = [tested.expose(flat(), exposure_ms, rng) for _ in (0, 1)]
        first, second = (frame.astype(float) for frame in pair)
        assert first.mean() == pytest.approx(100 + exposure_ms * 900 / 2.5, rel=2e-3)
        means.append((first + second).mean() / 2 - 100)
        variances.append((first - second).var() / 2)
    slope, floor = np.polyfit(means, variances, 1)
    assert 1 / slope == pytest.approx(2.5, rel=0.02)
    assert np.sqrt(floor) == pytest.approx(10.0, rel=0.1)


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (12, np.uint16), (16, np.uint16)])
@pytest.mark.parametrize("color", [True, False])
def test_bits_decide_type_and_range(bits: int, dtype: type, color: bool) -> None:
    camera = CAMERA.model_copy(update={"bits": bits, "color": color})
    tested = sensor(camera, read_noise_e=6.0, dark_dn=3.0)
    for frame in (
        tested.expose(flat(), 50.0, np.random.default_rng(0)),
        tested.expose_fast(np.full((192, 256, 3), 255, np.uint8), 50.0, 0),
    ):
        assert frame.dtype == dtype
        assert frame.shape == ((192, 256, 3) if color else (192, 256))
        assert frame.max() == camera.full_scale
        assert np.median(frame) >= camera.full_scale * 0.999


def test_the_widest_camera_finds_enough_noise() -> None:
    camera = CAMERA.model_copy(update={"width_px": 16384, "height_px": 16})
    frame = sensor(camera).expose_fast(np.full((16, 16384, 3), 128, np.uint8), 9.0, 0)
    assert frame.std() > 1


@pytest.mark.parametrize("quick", [False, True])
def test_no_light_leaves_the_dark_level(quick: bool) -> None:
    tested = sensor(dark_dn=7.0, read_noise_e=40.0)
    frame = (
        tested.expose_fast(np.zeros((192, 256, 3), np.uint8), 10.0, 1)
        if quick
        else tested.expose(flat(0.0), 10.0, np.random.default_rng(1))
    )
    assert frame.mean() == pytest.approx(7.0, abs=0.02)
    assert frame.std() == pytest.approx(np.hypot(40 / tested.gain_e_per_dn, 12**-0.5), rel=0.05)


def test_a_full_well_is_flat_and_below_full_scale_where_the_gain_says_so() -> None:
    tested = sensor(full_well_e=10000.0, gain_e_per_dn=50.0)
    frame = tested.expose(flat(), 100.0, np.random.default_rng(0))
    assert np.unique(frame).tolist() == [200]


def test_a_monochrome_camera_weighs_the_colours() -> None:
    camera = CAMERA.model_copy(update={"color": False, "bits": 16})
    lens = LENS.model_copy(update={"color_gain": (1.2, 1.0, 0.5)})
    tested = sensor(camera, lens)
    light = flat() * np.array([0.9, 0.5, 0.2], np.float32)
    expected = 5 * 900 * 0.9 * (np.array(LUMINANCE) @ [0.9, 0.5, 0.2]) / tested.gain_e_per_dn
    frame = tested.expose(light, 5.0, np.random.default_rng(0))
    assert frame.mean() == pytest.approx(expected, rel=2e-3)
    quick = tested.expose_fast(np.rint(light * 255).astype(np.uint8), 5.0, 0)
    assert quick.mean() == pytest.approx(expected, rel=6e-3)


def test_each_colour_has_its_gain() -> None:
    lens = LENS.model_copy(update={"color_gain": (1.1, 1.0, 0.8)})
    frame = sensor(lens=lens).expose(flat(), 9.0, np.random.default_rng(0))
    means = frame.reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(means / means[1], [1.1, 1.0, 0.8], rtol=2e-3)


def test_illumination_is_one_at_the_lamp_and_falls_as_stated() -> None:
    shading = illumination((101, 81), 0.2, (0.0, 0.0))
    assert shading.max() == shading[40, 50] == 1.0
    assert shading[0, 0] == pytest.approx(0.8, abs=0.005)
    assert not illumination((101, 81), 0.9, (9.0, 9.0)).any()
    off_centre = illumination((101, 81), 0.2, (0.3, -0.2))
    row, column = np.unravel_index(off_centre.argmax(), off_centre.shape)
    radius = np.hypot(101, 81) / 2
    assert (column - 50, row - 40) == (round(0.3 * radius), round(-0.2 * radius))


def test_the_pattern_belongs_to_the_sensor_and_its_seed() -> None:
    response = pixel_response((256, 192), 0.01, 3)
    assert response.std() == pytest.approx(0.01, rel=0.02)
    np.testing.assert_array_equal(response, pixel_response((256, 192), 0.01, 3))
    shadow = dust_shadow((256, 192), 12, 3)
    assert 0.15 < shadow.min() < 0.9
    assert 0.001 < (shadow < 0.95).mean() < 0.1
    assert not np.array_equal(shadow, dust_shadow((256, 192), 12, 4))
    assert np.all(dust_shadow((256, 192), 0, 3) == 1)
    other = LENS.model_copy(update={"light_e_per_ms": 450.0})
    one, two = (sensor(lens=lens, dust=5, pixel_response=0.01) for lens in (LENS, other))
    np.testing.assert_allclose(one.rate_e_per_ms, 2 * two.rate_e_per_ms, rtol=1e-6)


def test_the_same_draw_gives_the_same_frame() -> None:
    tested = sensor(read_noise_e=6.0)
    frames = [tested.expose(flat(0.7), 10.0, np.random.default_rng(s)) for s in (4, 4, 5)]
    np.testing.assert_array_equal(frames[0], frames[1])
    assert (frames[0] != frames[2]).mean() > 0.5
    light = np.full((192, 256, 3), 180, np.uint8)
    quick = [tested.expose_fast(light, 10.0, number) for number in (4, 4, 5)]
    np.testing.assert_array_equal(quick[0], quick[1])
    assert (quick[0] != quick[2]).mean() > 0.5
    assert abs(np.corrcoef(quick[0].ravel(), quick[2].ravel())[0, 1]) < 0.02


def test_the_built_in_rig_exposes_glass_well() -> None:
    rig = load_rig("simulated")
    for name, lens in rig.objectives.items():
        truth = rig.simulation
        tested = Sensor(rig.camera, truth.camera, truth.objectives[name], seed=truth.seed)
        level = tested.rate_e_per_ms.reshape(-1, 3) * lens.exposure_ms / tested.gain_e_per_dn
        brightest = np.percentile(level, 99, axis=0).max() + truth.camera.dark_dn
        assert 0.85 < brightest / rig.camera.full_scale < 0.925, name


# ---- the fast twin -----------------------------------------------------------------------------


def psnr(exact: NDArray[np.float32], quick: NDArray[np.uint8]) -> float:
    return float(-10 * np.log10(((exact - quick / 255.0) ** 2).mean()))


@pytest.mark.parametrize(
    "view",
    [
        view_10x(matrix=matrix(0.5012, 0.6), distortion=0.01, lateral_chromatic=(0.002, -0.003)),
        view_20x(matrix=matrix(0.2503, 0.6, down=1), axial_chromatic_um=(0.15, -0.2)),
        view_20x(defocus_um=3.0),
        View((400.0, -80.0), matrix(1.0035, -20.0), (96, 80), 0.15, 0.0),
        view_20x(matrix=matrix(0.11, 5.0), numerical_aperture=0.95),
    ],
    ids=["10x", "20x", "20x at 3 µm", "5x", "finer than the slide"],
)
def test_fast_agrees_with_exact(view: View) -> None:
    exact, quick = transmit(Tissue(), view), FastRenderer(Tissue()).transmit(view)
    assert quick.dtype == np.uint8
    assert psnr(exact, quick) > 42
    for channel in range(3):
        shift = displacement_px(exact[..., channel], quick[..., channel] / 255)
        np.testing.assert_allclose(shift, 0, atol=0.06)


def test_fast_keeps_its_canvas_while_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    painted = []
    paint = fast._paint
    monkeypatch.setattr(fast, "_paint", lambda *a: painted.append(a) or paint(*a))
    renderer = FastRenderer(Tissue())
    view = view_20x()
    for step, due in [((0.0, 0.0), 1), ((2.0, -3.0), 1), ((3.5, 1.0), 1), ((9.0, 0.0), 2)]:
        here = replace(view, centre_um=(3.1 + step[0], -7.3 + step[1]))
        assert psnr(transmit(Tissue(), here), renderer.transmit(here)) > 42
        assert len(painted) == due, step
    renderer.transmit(replace(here, defocus_um=0.01))
    assert len(painted) == 2
    renderer.transmit(replace(here, defocus_um=1.0))
    assert len(painted) == 3
    other = replace(here, matrix=matrix(0.5), numerical_aperture=0.3)
    assert psnr(transmit(Tissue(), other), renderer.transmit(other)) > 42
    assert len(painted) == 4


def test_fast_gives_the_light_of_a_view_that_stays_again() -> None:
    """From memory or not, the pixels are the same; whatever changes, they follow."""
    renderer, view = FastRenderer(Tissue()), view_20x()
    first = renderer.transmit(view)
    assert renderer.transmit(replace(view)) is first
    assert np.array_equal(first, FastRenderer(Tissue()).transmit(view))
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 0
    for change in (
        {"centre_um": (3.2, -7.3)},
        {"defocus_um": 2.0},
        {"matrix": matrix(0.26)},
        {"lateral_chromatic": (0.002, -0.003)},
    ):
        other = renderer.transmit(replace(view, **change))
        assert not np.array_equal(other, first), change
        assert np.array_equal(renderer.transmit(replace(view, **change)), other)
        assert psnr(transmit(Tissue(), replace(view, **change)), other) > 42


def test_fast_camera_has_the_statistics_of_the_exact_one() -> None:
    tested = sensor(read_noise_e=30.0, dark_dn=2.0, pixel_response=0.004, dust=3)
    light = Tissue().region(0, 0, 256, 192)
    exact = np.stack(
        [tested.expose(light / np.float32(255), 9.0, np.random.default_rng(n)) for n in range(16)]
    ).astype(float)
    quick = np.stack([tested.expose_fast(light, 9.0, n) for n in range(16)]).astype(float)
    assert (exact.mean(axis=0) - quick.mean(axis=0)).std() < 1.0
    assert quick.mean() == pytest.approx(exact.mean(), abs=0.03)
    assert quick.var(axis=0).mean() == pytest.approx(exact.var(axis=0).mean(), rel=0.02)
