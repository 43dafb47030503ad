"""The real pycromanager client against the double of Micro-Manager's Java server."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from java_server import Running, serving
from mmpycorex import is_pymmcore_active
from pycromanager import Core
from pyjavaz import JavaObject
from rigs import demo_rig

from scope_sr.microscope.running import cut


@contextlib.contextmanager
def connected(port: int, **options: object) -> Iterator[Core]:
    assert not is_pymmcore_active(), "Core() would give the core in this process instead"
    core = Core(port=port, **options)
    try:
        yield core
    finally:
        cut([core._bridge])


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serving() as running:
        yield running


@pytest.fixture
def core(server: Running) -> Iterator[Core]:
    with connected(server.port) as core:
        yield core


@contextlib.contextmanager
def faulty(**faults: object) -> Iterator[tuple[Running, Core]]:
    with serving(**faults) as server, connected(server.port) as core:
        yield server, core


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Run a call that may hang, and keep what it gave or raised."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(call())
        except Exception as error:  # noqa: BLE001 - the client raises bare Exception
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, found


def texts(vector) -> list[str]:
    return [vector.get(index) for index in range(vector.size())]


def wait_for_frames(core: Core, count: int) -> None:
    deadline = time.monotonic() + 5
    while core.get_remaining_image_count() < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_until_still(core: Core, device: str) -> None:
    deadline = time.monotonic() + 5
    while core.device_busy(device):
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_it_answers_as_a_core(core: Core) -> None:
    assert core.get_version_info().startswith("MMCore version")
    began = time.monotonic()
    for _ in range(20):
        core.get_camera_device()
    assert (time.monotonic() - began) / 20 < 0.05
    assert core.get_camera_device() == "Camera"
    assert core.get_xy_stage_device() == "XY"
    assert core.get_focus_device() == "Z"
    assert core.is_sequence_running() is False


def test_only_names_in_snake_case_and_no_results_through_pointers(core: Core) -> None:
    for absent in ("getXPosition", "get_xy_position", "get_multi_roi"):
        assert not hasattr(core, absent)


def test_a_whole_number_comes_back_as_int(core: Core) -> None:
    core.set_exposure(10.0)
    assert isinstance(core.get_exposure(), int)
    core.set_exposure(12.5)
    assert core.get_exposure() == 12.5
    core.set_exposure(10)


def test_properties_and_overloads(core: Core) -> None:
    for value, text in (("2", "2"), (1, "1"), ("4", "4")):
        core.set_property("Camera", "Binning", value)
        assert core.get_property("Camera", "Binning") == text
    assert core.get_image_width() == 128
    core.set_property("Camera", "Binning", "1")
    assert core.has_property("Camera", "Gain") is True


def test_a_numpy_scalar_is_refused_by_the_client(core: Core) -> None:
    with pytest.raises(Exception, match="Incorrect arguments"):
        core.set_position(np.float32(1.0))


def test_vectors_are_objects_with_size_and_get(core: Core) -> None:
    labels = core.get_state_labels("Objective")
    assert "Nikon 10X S Fluor" in texts(labels)
    with pytest.raises(TypeError):
        iter(labels)
    assert "XY" in texts(core.get_loaded_devices())
    affine = core.get_pixel_size_affine()
    assert [affine.get(index) for index in range(6)] == [1, 0, 0, 0, 1, 0]


def test_other_objects(core: Core) -> None:
    roi = core.get_roi()
    assert (roi.x, roi.y, roi.width, roi.height) == (0, 0, 512, 512)
    preset = core.get_config_data("Objective", "40X")
    first = preset.get_setting(0)
    assert first.get_device_label() == "Objective"
    assert first.get_property_value() == "0"
    assert core.get_device_type("XY").swig_value() == 6


def test_the_nosepiece_turns_and_the_pixel_size_follows(core: Core) -> None:
    for label, pixel_size_um in (("Nikon 40X Plan Fluor ELWD", 0.25), ("Nikon 10X S Fluor", 1)):
        core.set_state_label("Objective", label)
        wait_until_still(core, "Objective")
        assert core.get_state_label("Objective") == label
        assert core.get_pixel_size_um() == pixel_size_um


def test_the_stage_moves_and_reads_back(core: Core) -> None:
    core.set_xy_position(120.0, -40.0)
    wait_until_still(core, "XY")
    assert core.get_x_position() == pytest.approx(120, abs=0.02)
    assert core.get_y_position() == pytest.approx(-40, abs=0.02)
    assert core.get_xy_stage_position().x == pytest.approx(120, abs=0.02)
    core.set_position(3.5)
    assert core.get_position() == 3.5


@pytest.mark.parametrize(
    ("pixel_type", "dtype", "values_per_pixel"),
    [("8bit", np.uint8, 1), ("16bit", np.uint16, 1), ("32bitRGB", np.uint8, 4)],
)
def test_a_snap_comes_in_one_row(
    core: Core, pixel_type: str, dtype: type, values_per_pixel: int
) -> None:
    core.set_property("Camera", "PixelType", pixel_type)
    core.snap_image()
    image = core.get_image()
    height, width = core.get_image_height(), core.get_image_width()
    assert image.dtype == dtype
    assert image.shape == (height * width * values_per_pixel,)
    assert len(np.unique(image)) > 2
    assert np.array_equal(image, core.get_image())
    tagged = core.get_tagged_image()
    assert np.array_equal(image, tagged.pix)
    assert (tagged.tags["Width"], tagged.tags["Height"]) == (width, height)
    core.set_property("Camera", "PixelType", "16bit")


def test_colour_is_blue_green_red_and_nothing(core: Core) -> None:
    core.set_property("Camera", "PixelType", "32bitRGB")
    core.snap_image()
    bgra = core.get_image().reshape(core.get_image_height(), core.get_image_width(), 4)
    assert not bgra[..., 3].any()
    assert bgra[..., :3].any()
    core.set_property("Camera", "PixelType", "16bit")


def test_a_stream_gives_numbered_frames(core: Core) -> None:
    core.start_continuous_sequence_acquisition(0.0)
    assert core.is_sequence_running() is True
    wait_for_frames(core, 4)
    popped = [core.pop_next_tagged_image() for _ in range(4)]
    assert [int(tagged.tags["ImageNumber"]) for tagged in popped] == [0, 1, 2, 3]
    assert popped[0].pix.shape == (512 * 512,)
    assert popped[0].tags["Camera-Binning"] == "1"
    wait_for_frames(core, 1)
    assert int(core.get_last_tagged_image().tags["ImageNumber"]) >= 4
    assert core.get_last_image().dtype == np.uint16
    core.stop_sequence_acquisition()
    core.clear_circular_buffer()
    with pytest.raises(Exception, match="Circular buffer is empty"):
        core.pop_next_tagged_image()


def test_the_newest_frame_and_its_number_in_two_round_trips(server: Running, core: Core) -> None:
    tags = JavaObject("mmcorej.Metadata", port=server.port)
    core.start_continuous_sequence_acquisition(0.0)
    wait_for_frames(core, 2)
    before = server.change()["messages"]
    image = core.get_last_image_md(tags)
    words = tags.serialize().split("\n")
    assert server.change()["messages"] - before == 2
    core.stop_sequence_acquisition()
    assert image.shape == (512 * 512,)
    assert int(words[words.index("ImageNumber") + 3]) >= 1


def test_objects_let_go_of_are_let_go_of_here(server: Running, core: Core) -> None:
    before = server.change()["objects"]
    for _ in range(5):
        core.get_loaded_devices()
        core.snap_image()
        assert core.get_tagged_image().pix.any()
    assert server.change()["objects"] == before


def test_an_error_comes_with_javas_words_and_stack(core: Core) -> None:
    with pytest.raises(Exception, match=r"^java\.lang\.Exception: .*: Label not") as caught:
        core.set_state_label("Objective", "no such lens")
    assert type(caught.value) is Exception
    assert "mmcorej.CMMCore.setStateLabel(" in str(caught.value)


def test_a_long_call_on_one_socket_does_not_delay_the_other() -> None:
    with faulty(delay={"waitForDevice": 0.8}) as (server, core):
        with connected(server.port, new_socket=True) as second:
            assert second._bridge.port > core._bridge.port
            thread, _ = in_thread(lambda: core.wait_for_device("XY"))
            began = time.monotonic()
            for _ in range(10):
                second.get_x_position()
            assert time.monotonic() - began < 0.4
            assert thread.is_alive()
            thread.join(5)


def test_calls_on_one_socket_wait_for_each_other() -> None:
    with faulty(delay={"waitForDevice": 0.4}) as (_, core):
        thread, _ = in_thread(lambda: core.wait_for_device("XY"))
        time.sleep(0.1)
        began = time.monotonic()
        core.get_x_position()
        assert time.monotonic() - began > 0.2
        thread.join(5)


def test_another_version_is_warned_of_in_the_bridges_thread() -> None:
    with serving(version="4.2.0") as server:
        with pytest.warns(UserWarning, match=r"Java ZMQ server version: 4\.2\.0"):
            with connected(server.port) as core:
                assert core.get_camera_device() == "Camera"


def test_faults_that_change_while_it_runs() -> None:
    with faulty(error={"snapImage": "Camera is on fire (13)"}, stops_short_um=3) as (server, core):
        with pytest.raises(Exception, match=r"java.lang.Exception: Camera is on fire \(13\)\n"):
            core.snap_image()
        core.set_xy_position(50.0, 20.0)
        wait_until_still(core, "XY")
        assert core.get_x_position() == pytest.approx(47, abs=0.02)
        server.change(error={}, stops_short_um=0, nosepiece_label="4-Unknown")
        core.snap_image()
        core.set_xy_position(50.0, 20.0)
        wait_until_still(core, "XY")
        assert core.get_x_position() == pytest.approx(50, abs=0.02)
        core.set_state_label("Objective", "Nikon 40X Plan Fluor ELWD")
        assert core.get_state_label("Objective") == "4-Unknown"


def test_live_left_on_and_lost_frames() -> None:
    with faulty(live_on=True, drop_every=3) as (_, core):
        assert core.is_sequence_running() is True
        with pytest.raises(Exception, match="while sequence acquisition is running"):
            core.snap_image()
        wait_for_frames(core, 9)
        numbers = [int(core.pop_next_tagged_image().tags["ImageNumber"]) for _ in range(4)]
        newest = int(core.get_last_tagged_image().tags["ImageNumber"])
        core.stop_sequence_acquisition()
    assert numbers == [0, 1, 3, 4]
    assert newest % 3 != 2


@pytest.mark.parametrize("faults", [{"die_on": "snapImage"}, {"die_after": 2}])
def test_a_pending_call_on_a_dead_server_is_rescued(faults: dict[str, object]) -> None:
    with faulty(**faults) as (server, core):
        core.get_camera_device()
        thread, found = in_thread(core.snap_image)
        server.process.wait(5)
        thread.join(0.3)
        assert thread.is_alive(), "the client itself would wait for ever"
        began = time.monotonic()
        cut([core._bridge])
        thread.join(2)
        assert time.monotonic() - began < 2
    assert str(found[0]) == "Bridge has been closed"


def test_a_hung_call_is_rescued_and_the_same_port_connected_again() -> None:
    with faulty(delay={"snapImage": 30}) as (server, core):
        thread, found = in_thread(core.snap_image)
        thread.join(0.2)
        cut([core._bridge])
        thread.join(2)
        assert str(found[0]) == "Bridge has been closed"
        server.kill()
        with serving(port=server.port) as again, connected(again.port) as fresh:
            assert again.port == server.port
            assert fresh.get_camera_device() == "Camera"


@pytest.mark.slow
@pytest.mark.parametrize(
    "end",
    [
        "in_thread(core.snap_image); server.process.wait(5)",
        "server.kill(); in_thread(core.snap_image)",
        "server.change(die_on='', delay={'snapImage': 60}); in_thread(core.snap_image)",
    ],
    ids=["died in a call", "died before it", "hangs"],
)
def test_the_interpreter_exits_whatever_became_of_the_server(end: str) -> None:
    code = f"""
        import time
        from java_server import serving
        from test_java_server import Core, cut, in_thread

        with serving(die_on="snapImage") as server:
            core = Core(port=server.port)
            labels = core.get_state_labels("Objective")
            {end}
            time.sleep(0.1)
            cut([core._bridge])
        print(time.time())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert time.time() - float(done.stdout) < 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("alive", [True, False], ids=["too busy", "not there"])
def test_a_server_that_does_not_answer_is_told_by_the_client(alive: bool) -> None:
    """The bridge's thread also fails aloud, on standard error, and pytest would warn of it."""
    with serving(delay={"connect": 30}) as server:
        if not alive:
            server.kill()
        with pytest.raises(Exception, match=f"Couldn't create Core.* on {server.port} option"):
            Core(port=server.port, timeout=200)


def test_the_specimen_of_a_rig_is_seen_through_it(tmp_path: Path) -> None:
    rig_file = tmp_path / "rig.toml"
    rig_file.write_text(demo_rig().text, encoding="utf-8")
    with serving(rig=rig_file) as server, connected(server.port) as core:
        core.snap_image()
        here = core.get_image()
        assert here.shape == (48 * 64 * 4,)
        core.set_xy_position(2000.0, 0.0)
        wait_until_still(core, "XY")
        core.snap_image()
        assert not np.array_equal(here, core.get_image())
