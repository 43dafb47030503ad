"""Autofocus against the truth the simulator logs, and how it drives the microscope."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rigs import make_rig

from scope_sr.config import Rig
from scope_sr.errors import LimitError, StoppedError
from scope_sr.focusing import FOLLOWS, Focused, autofocus, micro_focus
from scope_sr.frame import Frame, Position
from scope_sr.imaging.focus import depth_of_field_um
from scope_sr.microscope.guarded import GuardedMicroscope
from scope_sr.microscope.simulated import SimulatedMicroscope

CAMERA = {"width_px = 64": "width_px = 144", "height_px = 48": "height_px = 112"}
TNBC = {'tissue = "procedural"': 'tissue = "tnbc"'}
OFF_UM = {"10x": 20.0, "20x": 8.0}
COARSE_10X, FINE = 5, 7


class Recorder(SimulatedMicroscope):
    """The simulated microscope, remembering where each image was taken."""

    def __init__(self, rig: Rig, log_folder: Path | None) -> None:
        super().__init__(rig, log_folder)
        self.planes_um: list[float] = []
        self.stop_at = -1
        self.light = 0.0

    def snap(self) -> Frame:
        self.planes_um.append(self.position().z_um)
        if len(self.planes_um) == self.stop_at:
            self.stop()
        frame = super().snap()
        self.light = float(frame.image[..., 1].mean())
        return frame


class Locked(Recorder):
    """One with a focus lock, which pulls z to where it was switched on."""

    def __init__(self, rig: Rig, log_folder: Path | None) -> None:
        super().__init__(rig, log_folder)
        self.on = False

    def focus_held(self) -> bool:
        return self.on

    def hold_focus(self, on: bool) -> None:
        self.on = on

    def snap(self) -> Frame:
        assert not self.on, "a plane was taken under the lock"
        return super().snap()


@dataclass
class Bench:
    """A microscope and the truth of what it does."""

    microscope: GuardedMicroscope
    backend: Recorder
    folder: Path

    def depth_um(self) -> float:
        rig, name = self.microscope.rig, self.microscope.objective()
        lens = rig.objectives[name]
        return depth_of_field_um(lens.numerical_aperture, rig.pixel_size_um(name))

    def truth_um(self) -> float:
        """How far from focus the last image was taken."""
        line = (self.folder / "truth.jsonl").read_text().splitlines()[-1]
        return float(json.loads(line)["defocus_um"])

    def defocus_um(self) -> float:
        self.microscope.snap()
        return self.truth_um()

    def focus_at(self, x_um: float, y_um: float) -> Position:
        self.microscope.move_to(Position(x_um, y_um, 0.0))
        return Position(x_um, y_um, -self.defocus_um())


def bench(folder: Path, objective: str, kind: type[Recorder] = Recorder, **changes: str) -> Bench:
    folder.mkdir(exist_ok=True)
    rig = make_rig(**{**CAMERA, **changes})
    backend = kind(rig, folder)
    microscope = GuardedMicroscope(backend, rig)
    microscope.select_objective(objective)
    microscope.set_exposure(rig.objectives[objective].exposure_ms)
    return Bench(microscope, backend, folder)


def up(position: Position, by_um: float) -> Position:
    return replace(position, z_um=position.z_um + by_um)


@pytest.fixture
def ten(tmp_path: Path) -> Iterator[Bench]:
    opened = bench(tmp_path, "10x")
    yield opened
    opened.microscope.close()


def errors_um(there: Bench, offs_um: NDArray[np.float64], within_um: float) -> list[float]:
    """Autofocus at random places, from starts so far off; how far from focus it ends."""
    errors = []
    places = np.random.default_rng(7).uniform(-within_um, within_um, (len(offs_um), 2))
    with there.microscope:
        for (x_um, y_um), off_um in zip(places, offs_um, strict=True):
            start = up(there.focus_at(x_um, y_um), off_um)
            if there.backend.light > 205:
                continue  # a lumen fills the small view: glass is refused, and rightly
            search_um = max(abs(off_um), there.depth_um())
            found = autofocus(there.microscope, start, there.depth_um(), search_um=search_um)
            assert found.accepted, found.why
            errors.append(there.defocus_um())
    return errors


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["10x", "20x"])
def test_autofocus_is_right_to_a_fifth_of_a_depth(objective: str, tmp_path: Path) -> None:
    there = bench(tmp_path, objective)
    depth_um = there.depth_um()
    far, near = OFF_UM[objective] * np.array([-1.0, 0.8]), 1.2 * depth_um
    offs_um = np.concatenate([far, np.linspace(-near, near, 10)])  # the near ones take less time
    errors = errors_um(there, offs_um, within_um=40)
    assert len(errors) == 12
    assert np.sqrt(np.mean(np.square(errors))) <= depth_um / 5
    assert np.abs(errors).max() <= depth_um / 2


@pytest.mark.slow
@pytest.mark.parametrize("tissue", [{}, TNBC], ids=["procedural", "tnbc"])
@pytest.mark.parametrize("objective", OFF_UM)
def test_autofocus_stays_right_over_many_slides(
    objective: str, tissue: dict[str, str], tmp_path: Path
) -> None:
    errors, depth_um = [], 0.0
    for seed in range(6):
        there = bench(tmp_path / str(seed), objective, **tissue, **{"seed = 0": f"seed = {seed}"})
        depth_um = there.depth_um()
        offs_um = np.random.default_rng(seed).uniform(-1, 1, 8) * OFF_UM[objective]
        errors += errors_um(there, offs_um, within_um=200)
    assert len(errors) >= 30
    assert np.sqrt(np.mean(np.square(errors))) <= depth_um / 10, errors


def test_it_ends_in_focus_and_says_where_it_stands(ten: Bench) -> None:
    start = up(ten.focus_at(40, 30), 12)
    found = autofocus(ten.microscope, start, ten.depth_um(), search_um=20)
    here = ten.microscope.position()
    assert here == Position(40, 30, round(found.position.z_um, 2))
    assert abs(ten.defocus_um()) < ten.depth_um() / 5
    assert len(found.planes) == FINE
    assert 0 < found.sigma_um < ten.depth_um() / 10
    assert found.why == ""


def test_planes_ascend_and_are_as_many_as_promised(ten: Bench) -> None:
    start = up(ten.focus_at(0, 0), 3)
    ten.backend.planes_um.clear()
    autofocus(ten.microscope, start, ten.depth_um(), search_um=20)
    planes = ten.backend.planes_um
    assert len(planes) == COARSE_10X + FINE
    for stack in (planes[:COARSE_10X], planes[COARSE_10X:]):
        assert stack == sorted(stack)
    step_um = np.diff(planes)
    assert step_um[: COARSE_10X - 1] == pytest.approx(1.5 * ten.depth_um(), abs=0.02)
    assert step_um[COARSE_10X:] == pytest.approx(0.5 * ten.depth_um(), abs=0.02)
    assert planes[0] <= start.z_um - 20
    assert planes[COARSE_10X - 1] >= start.z_um + 20


def test_planes_ascend_toward_the_specimen_where_z_points_away_from_it(tmp_path: Path) -> None:
    away = {
        'toward_specimen = "+z"': 'toward_specimen = "-z"',
        "z_limits_um = [-1000.0, 50.0]": "z_limits_um = [-50.0, 1000.0]",
    }
    there = bench(tmp_path, "10x", **away)
    with there.microscope:
        start = up(there.focus_at(0, 0), 3)
        there.backend.planes_um.clear()
        found = autofocus(there.microscope, start, there.depth_um(), search_um=5)
        assert found.accepted
        assert there.backend.planes_um == sorted(there.backend.planes_um, reverse=True)


def test_a_small_search_takes_the_fine_stack_alone(ten: Bench) -> None:
    start = up(ten.focus_at(0, 0), 4)
    ten.backend.planes_um.clear()
    assert autofocus(ten.microscope, start, ten.depth_um(), search_um=10).accepted
    assert len(ten.backend.planes_um) == FINE


@pytest.mark.parametrize("off_um", [-18.0, 18.0])
def test_a_peak_at_the_end_is_followed(ten: Bench, off_um: float) -> None:
    start = up(ten.focus_at(0, 0), off_um)
    ten.backend.planes_um.clear()
    found = autofocus(ten.microscope, start, ten.depth_um(), search_um=5)
    assert found.accepted
    assert FINE < len(ten.backend.planes_um) <= (1 + FOLLOWS) * FINE
    assert abs(ten.defocus_um()) < ten.depth_um() / 5


def test_a_focus_too_far_off_is_given_up(ten: Bench) -> None:
    start = up(ten.focus_at(0, 0), -60)
    found = autofocus(ten.microscope, start, ten.depth_um(), search_um=5)
    assert refused(ten, found, came_from_um=0.0)
    assert "far out of focus" in found.why


def refused(there: Bench, found: Focused, came_from_um: float) -> bool:
    return (
        not found.accepted
        and np.isinf(found.sigma_um)
        and there.microscope.position().z_um == pytest.approx(came_from_um, abs=0.01)
        and found.position.z_um == pytest.approx(came_from_um, abs=0.01)
    )


@pytest.mark.parametrize("objective", OFF_UM)
def test_bare_glass_is_not_accepted(objective: str, tmp_path: Path) -> None:
    there = bench(tmp_path, objective, **TNBC)
    with there.microscope:
        there.microscope.move_to(Position(6000, 5000, 1.0))
        start = Position(6000, 5000, 0.0)
        for search_um in (0.0, 2 * there.depth_um()):
            found = autofocus(there.microscope, start, there.depth_um(), search_um=search_um)
            assert refused(there, found, came_from_um=1.0)
            assert "glass" in found.why
        assert refused(there, micro_focus(there.microscope, start, there.depth_um()), 1.0)


def test_a_focus_outside_the_limits_is_refused_and_no_plane_goes_there(tmp_path: Path) -> None:
    low = {"z_limits_um = [-1000.0, 50.0]": "z_limits_um = [-1000.0, -4.0]"}
    there = bench(tmp_path, "10x", **low)
    with there.microscope:
        start = Position(0, 0, -9.0)
        there.microscope.move_to(start)
        there.backend.planes_um.clear()
        for search_um in (5.0, 20.0):
            found = autofocus(there.microscope, start, there.depth_um(), search_um=search_um)
            assert refused(there, found, came_from_um=-9.0)
            assert "outside -1000..-4 µm (z_limits_um in small.toml)" in found.why
        assert max(there.backend.planes_um) <= -4.0
        found = autofocus(there.microscope, up(start, 20), there.depth_um(), search_um=5)
        assert refused(there, found, came_from_um=-9.0)
        assert "fewer than three planes" in found.why


def test_a_focus_close_to_a_limit_is_found_with_fewer_planes(tmp_path: Path) -> None:
    near = {"z_limits_um = [-1000.0, 50.0]": "z_limits_um = [-1000.0, 6.0]"}
    there = bench(tmp_path, "10x", **near)
    with there.microscope:
        start = there.focus_at(0, 0)
        found = autofocus(there.microscope, start, there.depth_um(), search_um=5)
        assert found.accepted
        assert len(found.planes) < FINE
        assert abs(there.defocus_um()) < there.depth_um() / 5


def test_a_place_outside_the_stage_is_refused_by_the_guard(ten: Bench) -> None:
    with pytest.raises(LimitError, match="x_limits_um"):
        autofocus(ten.microscope, Position(9000, 0, 0), ten.depth_um(), search_um=5)


def test_a_stop_passes_through_and_nothing_moves_after_it(ten: Bench) -> None:
    start = ten.focus_at(0, 0)
    ten.backend.planes_um.clear()
    ten.backend.stop_at = 3
    with pytest.raises(StoppedError):
        autofocus(ten.microscope, start, ten.depth_um(), search_um=5)
    assert ten.microscope.position().z_um == ten.backend.planes_um[2]


@pytest.mark.parametrize("held", [True, False])
def test_a_focus_lock_is_off_for_the_stack_and_then_as_before(held: bool, tmp_path: Path) -> None:
    there = bench(tmp_path, "10x", Locked)
    with there.microscope:
        start = there.focus_at(0, 0)
        there.microscope.hold_focus(held)
        for search in (autofocus, micro_focus):
            more = {"search_um": 5.0} if search is autofocus else {}
            assert search(there.microscope, up(start, 2), there.depth_um(), **more).accepted
            assert there.microscope.focus_held() is held


def test_a_lock_that_waits_for_the_next_focus_spoils_no_stack(tmp_path: Path) -> None:
    there = bench(tmp_path, "10x", Locked)
    with there.microscope:
        start = there.focus_at(0, 0)
        there.microscope.hold_focus(True)
        there.microscope.select_objective("20x")
        assert not there.microscope.focus_held()
        autofocus(there.microscope, up(start, 4), 1.31, search_um=1)


@pytest.mark.slow
@pytest.mark.parametrize("objective", OFF_UM)
def test_three_planes_correct_a_field_that_is_off_by_up_to_a_depth(
    objective: str, tmp_path: Path
) -> None:
    there = bench(tmp_path, objective)
    errors = []
    with there.microscope:
        for x_um, y_um in ((0, 0), (30, -20)):
            focus, depth_um = there.focus_at(x_um, y_um), there.depth_um()
            for off in (-1.0, -0.5, 0.0, 0.5, 1.0):
                there.backend.planes_um.clear()
                found = micro_focus(there.microscope, up(focus, off * depth_um), depth_um)
                assert len(there.backend.planes_um) == 3
                assert found.accepted, (off, found.why)
                errors.append(there.defocus_um() / depth_um)
    assert np.sqrt(np.mean(np.square(errors))) <= 0.2
    assert np.abs(errors).max() <= 0.5


def test_three_planes_do_not_guess_at_a_focus_beyond_them(ten: Bench) -> None:
    start = up(ten.focus_at(0, 0), 4 * ten.depth_um())
    found = micro_focus(ten.microscope, start, ten.depth_um())
    assert refused(ten, found, came_from_um=0.0)
