"""Pixels against truth.jsonl: what the simulator logs is where the pixels really come from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rigs import make_rig
from scipy import ndimage

from scope_sr.frame import Position
from scope_sr.microscope import open_microscope
from scope_sr.microscope.simulated import SimulatedMicroscope
from scope_sr.specimen.slide import open_slide

LARGE = {"width_px = 64": "width_px = 160", "height_px = 48": "height_px = 120"}


def seen(slide: object, truth: dict, size_px: tuple[int, int]) -> NDArray[np.float64]:
    """Sample the slide where a logged pose says each pixel looks, by the definitions alone."""
    width, height = size_px
    x, y = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)
    radial = 1 + truth["distortion"] * (x**2 + y**2) / ((width**2 + height**2) / 4)
    matrix = np.array(truth["matrix_um_per_px"])
    point_um = np.tensordot(matrix, np.stack([x, y]) * radial, 1)
    point_um += np.array(truth["centre_um"])[:, None, None]
    column, row = point_um[0] / slide.um_per_px, -point_um[1] / slide.um_per_px
    left, top = int(column.min()) - 20, int(row.min()) - 20
    wide, high = int(np.ptp(column)) + 42, int(np.ptp(row)) + 42
    green = slide.region(left, top, wide, high)[..., 1].astype(float)
    pixel_um = float(np.sqrt(abs(np.linalg.det(matrix))))
    blurred = ndimage.gaussian_filter(green, 0.45 * pixel_um / slide.um_per_px)
    return ndimage.map_coordinates(blurred, [row - top, column - left], order=3)


def shift_px(image: NDArray[np.float64], model: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least-squares shift (x, y) between two pictures of one thing, free in gain and offset."""
    inner = np.s_[6:-6, 6:-6]
    down, right = np.gradient(ndimage.gaussian_filter(model, 1.0))
    smooth = ndimage.gaussian_filter(model, 1.0)
    columns = [right[inner], down[inner], smooth[inner], np.ones_like(smooth[inner])]
    target = ndimage.gaussian_filter(image, 1.0)[inner].ravel()
    solved = np.linalg.lstsq(np.stack([c.ravel() for c in columns], 1), target, rcond=None)[0]
    return solved[:2] / solved[2]


@pytest.mark.parametrize("mount", [("+x", "-y"), ("-x", "-y"), ("+y", "+x")], ids="".join)
@pytest.mark.parametrize(("objective", "z_um"), [("10x", 0.0), ("20x", 4.0)])
def test_the_pixels_come_from_where_the_log_says(
    objective: str, z_um: float, mount: tuple[str, str], tmp_path: Path
) -> None:
    rig = make_rig(
        **LARGE,
        **{
            'image_right = "+x"': f'image_right = "{mount[0]}"',
            'image_down = "-y"': f'image_down = "{mount[1]}"',
            "read_noise_e = 6.0": "read_noise_e = 0.0",
            "full_well_e = 10000.0": "full_well_e = 1000000.0",
            "light_e_per_ms = 870.0": "light_e_per_ms = 87000.0",
            "light_e_per_ms = 725.0": "light_e_per_ms = 72500.0",
            "dust = 6": "dust = 0",
            "vignetting = 0.10": "vignetting = 0.0",
            "vignetting = 0.06": "vignetting = 0.0",
            "pixel_response = 0.004": "pixel_response = 0.0",
        },
    )
    slide = open_slide(rig.specimen, seed=0, folder=tmp_path)
    with open_microscope(rig, log_folder=tmp_path) as microscope:
        microscope.select_objective(objective)
        for x_um, y_um in ((0, 0), (433.3, -281.7)):
            microscope.move_to(Position(x_um, y_um, z_um))
            frame = microscope.snap()
            truth = json.loads((tmp_path / "truth.jsonl").read_text().splitlines()[-1])
            assert truth["time"] == frame.time
            model = seen(slide, truth, (160, 120))
            found = shift_px(frame.image[..., 1].astype(float), model)
            assert np.abs(found).max() < 0.02, found


def test_a_focus_stack_does_not_move_the_stage() -> None:
    rig = make_rig()
    backend = SimulatedMicroscope(rig)
    backend.move_to(Position(100, 50, 0))
    centres, heights = set(), set()
    for z_um in (-3.0, -1.0, 1.0, 3.0, -3.0, 1.0):
        backend.move_to(Position(100, 50, z_um))
        view = backend._view()
        centres.add(view.centre_um)
        heights.add(view.defocus_um - z_um)
    assert len(centres) == 1
    assert len(heights) > 1


def test_two_visits_to_a_place_differ_by_the_repeatability() -> None:
    rig = make_rig()
    backend = SimulatedMicroscope(rig)
    found = []
    for _ in range(60):
        backend.move_to(Position(-30, -30, 0))
        backend.move_to(Position(100, 50, 0))
        found.append(backend._view().centre_um)
    assert np.std(found, axis=0) == pytest.approx([0.3, 0.3], rel=0.35)


def test_play_shows_when_an_axis_turns_round() -> None:
    rig = make_rig(**{"repeatability_um = 0.3": "repeatability_um = 0.0"})
    backend = SimulatedMicroscope(rig)

    def centre(x_um: float, y_um: float) -> NDArray[np.float64]:
        backend.move_to(Position(x_um, y_um, 0))
        return np.array(backend._view().centre_um)

    upward = centre(100, 100)
    centre(200, 200)
    downward = centre(100, 100)
    assert downward - upward == pytest.approx([2.0, 1.6])
    centre(0, 0)
    assert centre(100, 100) == pytest.approx(upward)
