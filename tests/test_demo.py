"""Demo mode: a real MMCore whose camera sees the virtual slide; what is particular to it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmpycorex import is_pymmcore_active
from rigs import demo_rig

from scope_sr.acquire_pairs import capture_pairs
from scope_sr.calibration import CalibrationRecord
from scope_sr.config import Rig
from scope_sr.errors import InputError, MicroscopeError, ReadbackError
from scope_sr.frame import Position
from scope_sr.microscope import open_microscope
from scope_sr.microscope.demo import link_demo
from scope_sr.microscope.link import to_rgb_or_grey
from scope_sr.microscope.micromanager import MicroManager
from scope_sr.plan import plan_pairs
from scope_sr.session import Session

ROOT = Path(__file__).parent.parent


def open_demo(rig: Rig) -> MicroManager:
    return MicroManager(link_demo(rig), rig)


@pytest.mark.slow
def test_low_and_high_fields_show_the_same_tissue(tmp_path: Path) -> None:
    rig = demo_rig(**{"width_px = 512": "width_px = 128", "height_px = 512": "height_px = 128"})
    record = CalibrationRecord.nominal(rig)
    plan = plan_pairs(rig, record, rows=1, columns=2, origin=Position(0, 0, 0))
    with (
        open_microscope(rig) as microscope,
        Session.create(tmp_path / "A", plan, rig, record) as session,
    ):
        assert capture_pairs(microscope, session).complete
    session = Session.open(tmp_path / "A")
    assert session.verify().ok
    for step in plan.of_pass("high"):
        low, high = session.read(step.parent), session.read(step.name)
        parent = next(s for s in plan.steps if s.name == step.parent)
        point_um = record.specimen_um(plan.high, step.position)
        x, y = record.offset_px(plan.low, parent.position, point_um)
        shift = np.float32([[4, 0, 63.5 - 4 * (63.5 + x)], [0, 4, 63.5 - 4 * (63.5 + y)]])
        seen = cv2.warpAffine(low, shift, (128, 128), flags=cv2.INTER_CUBIC)
        small = cv2.resize(
            cv2.GaussianBlur(high, (0, 0), 2.5), (32, 32), interpolation=cv2.INTER_AREA
        )
        same = cv2.resize(seen, (32, 32), interpolation=cv2.INTER_AREA)
        inner = np.s_[3:-3, 3:-3, 1]
        assert np.corrcoef(small[inner].ravel(), same[inner].ravel())[0, 1] > 0.95, step.name


def test_the_core_is_let_go_of_and_can_be_opened_again() -> None:
    for _ in range(3):
        with open_microscope(demo_rig()) as microscope:
            assert is_pymmcore_active()
            microscope.snap()
        assert not is_pymmcore_active()


def test_two_cores_at_once_are_refused() -> None:
    with open_microscope(demo_rig()), pytest.raises(MicroscopeError, match="close it first"):
        open_microscope(demo_rig())
    assert not is_pymmcore_active()


def test_binning_halves_the_picture_and_doubles_the_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixel size and geometry are the core's: what binning 2 shows is the same field, coarser."""
    rig = demo_rig(**{"width_px = 512": "width_px = 128", "height_px = 512": "height_px = 96"})
    backend = open_demo(rig)
    core = backend._link.hardware
    try:
        whole = backend.snap().image.astype(float)
        core.set_property("Camera", "Binning", "2")
        with pytest.raises(
            MicroscopeError, match=r"says 2 µm per pixel for 10x, demo\.toml says 1"
        ):
            backend.snap()
        core.snap_image()
        binned = to_rgb_or_grey(core.get_image()).astype(float)
        assert binned.shape == (48, 64, 3)
        halved = cv2.resize(whole, (64, 48), interpolation=cv2.INTER_AREA)
        assert np.corrcoef(halved[..., 1].ravel(), binned[..., 1].ravel())[0, 1] > 0.95
    finally:
        backend.close()


def test_a_label_that_is_not_there_is_named() -> None:
    rig = demo_rig(**{'label = "Nikon 20X Plan Fluor ELWD"': 'label = "Nikon 60X"'})
    with pytest.raises(
        InputError, match=r"no nosepiece bears the label 'Nikon 60X'; Objective bears"
    ):
        open_microscope(rig)
    assert not is_pymmcore_active()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bits = 8 ": "bits = 12 "}, "colour has 8 bits on the demo camera"),
        ({"color = true": "color = false", "bits = 8 ": "bits = 9 "}, "refuses BitDepth = 9"),
    ],
)
def test_what_the_demo_camera_cannot_do_is_refused(change: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        open_microscope(demo_rig(**change))
    assert not is_pymmcore_active()


def test_an_error_of_the_core_is_one_line() -> None:
    backend = open_demo(demo_rig())
    try:
        with pytest.raises(MicroscopeError, match=r"^Micro-Manager, set_position: .*out of range"):
            backend.move_to(Position(0, 0, 5000))
    finally:
        backend.close()


def test_without_a_pixel_size_nothing_is_captured() -> None:
    backend = open_demo(demo_rig())
    try:
        backend._link.hardware.delete_pixel_size_config("Res10x")
        with pytest.raises(MicroscopeError, match="knows no pixel size for 10x; make a pixel size"):
            backend.snap()
    finally:
        backend.close()


def test_live_view_left_on_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = open_demo(demo_rig())
    backend._link.hardware.start_continuous_sequence_acquisition(0.0)
    with pytest.raises(MicroscopeError, match="live view is on"):
        MicroManager(backend._link, backend._rig)
    backend._link.hardware.stop_sequence_acquisition()
    backend.close()


def test_without_the_demo_devices_the_message_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['mm_test_adapters'] = None\n"
        "sys.argv = ['scope-sr', 'acquire-pairs', '--rig', 'demo', '--dry-run']\n"
        "from scope_sr.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert 'pip install "scope-sr[demo]"' in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_program_ends_by_itself_with_a_core_open_and_streaming() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from rigs import demo_rig\n"
        "from scope_sr.microscope import open_microscope\n"
        "m = open_microscope(demo_rig()); m.start_stream(); m.latest(0)\n"
        "raise SystemExit(m.close() or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_stays_as_it_is(dtype: type) -> None:
    image = np.arange(12, dtype=dtype).reshape(3, 4)
    assert np.array_equal(to_rgb_or_grey(image), image)


def test_an_exposure_the_camera_does_not_take_is_noticed() -> None:
    """The demo camera leaves its exposure as it is when asked for more than ten seconds."""
    with open_microscope(demo_rig()) as microscope:
        with pytest.raises(ReadbackError, match="asked for 20000 ms and reports 10 ms"):
            microscope.set_exposure(20000)


@pytest.mark.parametrize(
    "where",
    [
        pytest.param("set_exposure(9000)", marks=pytest.mark.slow),
        "_backend._link.hardware.get_image",
    ],
)
def test_a_core_in_this_process_that_hangs_does_not_hold_up_the_end(where: str) -> None:
    """In the adapter, or in Python on the way back from it, with the core's own threads alive."""
    hangs = f"microscope.{where}" + (" = lambda: time.sleep(60)" if "(" not in where else "")
    code = f"""
        import sys, time; sys.path.insert(0, "tests")
        from rigs import demo_rig
        from scope_sr.errors import DeadlineError
        from scope_sr.microscope import open_microscope
        microscope = open_microscope(demo_rig(**{{"snap_s = 30.0": "snap_s = 0.5"}}))
        {hangs}
        microscope.exposure_ms = lambda: 0.0
        try:
            microscope.snap()
        except DeadlineError as error:
            print(error)
        microscope.close()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=30,
    )
    assert "the camera did not answer within 0.5 s" in done.stdout
    assert done.stderr == ""
