"""``doctor`` tells the truth, names the remedy, and touches nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mm_test_adapters
import pymmcore
import pytest
from click.testing import CliRunner
from java_server import serving
from mmpycorex import Core, create_core_instance, is_pymmcore_active, terminate_core_instances
from rigs import demo_rig, rig_text

import scope_sr.microscope
from scope_sr.cli.doctor import doctor as command
from scope_sr.config import Rig, parse_rig
from scope_sr.doctor import computer, examine, stand
from scope_sr.doctor.compare import compare
from scope_sr.doctor.computer import FieldSize, disk, graphics, packages, versions
from scope_sr.doctor.describe import describe
from scope_sr.doctor.report import Finding, Report
from scope_sr.doctor.viewer import viewer
from scope_sr.errors import MicroscopeError
from scope_sr.microscope.inventory import KINDS, Inventory, Setting, take_inventory

ADAPTERS = Path(mm_test_adapters.device_adapter_path())
CONFIG = ADAPTERS / "MMConfig_demo.cfg"


@pytest.fixture
def core() -> Iterator[Any]:
    create_core_instance(str(ADAPTERS), CONFIG.name, python_backend=True, buffer_size_mb=16)
    try:
        core = Core()
        for name, value in {
            "OnCameraCCDXSize": "64",
            "OnCameraCCDYSize": "48",
            "PixelType": "32bitRGB",
        }.items():
            core.set_property("Camera", name, value)
        yield core
    finally:
        terminate_core_instances()
        assert not is_pymmcore_active()


@pytest.fixture(autouse=True)
def small_disk_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computer, "DISK_TEST_BYTES", 100_000)


def state_of(core: Any) -> list[str]:
    state = core.get_system_state()
    return [state.getSetting(index).getVerbose() for index in range(state.size())]


def configured(*head: str) -> list[list[str]]:
    lines = (line.strip().split(",") for line in CONFIG.read_text("utf-8").splitlines())
    return [words[len(head) :] for words in lines if words[: len(head)] == list(head)]


def only(findings: list[Finding], what: str) -> Finding:
    [found] = [finding for finding in findings if finding.what == what]
    return found


# ---- the inventory -------------------------------------------------------------------------------


def test_the_inventory_says_what_the_configuration_says(core: Any) -> None:
    found = take_inventory(core)
    assert found.unanswered == ()
    assert [(d.label, d.library, d.name) for d in found.devices] == [
        tuple(words) for words in configured("Device")
    ]
    kinds = {device.label: device.kind for device in found.devices}
    assert (kinds["Camera"], kinds["XY"], kinds["Z"]) == ("camera", "XY stage", "focus drive")
    assert kinds["Objective"] == kinds["LED"] == "state device"
    roles = found.roles
    assert (roles.camera, roles.xy_stage, roles.focus) == ("Camera", "XY", "Z")
    assert (roles.autofocus, roles.shutter) == ("Autofocus", "White Light Shutter")
    assert roles.image_processor == ""
    labels = {state.device: state.labels for state in found.states}
    for device, slot, label in configured("Label"):
        assert labels[device][int(slot)] == label
    [nosepiece] = [state for state in found.states if state.device == "Objective"]
    assert nosepiece.present == "Nikon 10X S Fluor"
    assert {(preset.name, preset.pixel_size_um) for preset in found.presets} == {
        (name, float(um)) for name, um in configured("PixelSize_um")
    }
    conditions = [
        [p.name, c.device, c.property, c.value] for p in found.presets for c in p.conditions
    ]
    assert sorted(conditions) == sorted(configured("ConfigPixelSize"))
    assert (found.pixel_size.now_um, found.pixel_size.preset) == (1.0, "Res10x")
    assert found.pixel_size.affine == (1, 0, 0, 0, 1, 0)
    assert found.pixel_size.magnification == 1.0
    number = core.get_mm_device_device_interface_version()
    assert f"Device API version {number}," in found.interface
    assert sorted(map(str, found.startup)) == sorted(
        f"{device}-{name} = {value}"
        for device, name, value in configured("ConfigGroup", "System", "Startup")
    )


def test_the_inventory_follows_the_core(core: Any) -> None:
    core.set_xy_position(120.0, -45.0)
    core.wait_for_device("XY")
    core.set_position(-7.5)
    core.set_exposure(12.5)
    core.set_state_label("Objective", "Nikon 40X Plan Fluor ELWD")
    core.set_focus_direction("Z", -1)
    core.set_property("Camera", "Binning", "2")
    core.set_property("Camera", "TransposeMirrorX", "1")
    core.enable_continuous_focus(True)
    found = take_inventory(core)
    assert (found.stage.x_um, found.stage.y_um) == pytest.approx((120, -45), abs=0.02)
    assert (found.stage.z_um, found.stage.focus_direction) == (-7.5, -1)
    camera = found.camera
    assert camera is not None
    assert (camera.width_px, camera.height_px, camera.binning) == (32, 24, "2")
    assert (camera.bits, camera.components, camera.color) == (8, 4, True)
    assert (camera.bytes_per_px, camera.pixel_type, camera.exposure_ms) == (4, "32bitRGB", 12.5)
    assert Setting("Camera", "TransposeMirrorX", "1") in camera.mirroring
    assert (found.pixel_size.now_um, found.pixel_size.preset) == (0.5, "Res40x")
    assert found.focus_lock_on
    assert found.live is False
    core.start_continuous_sequence_acquisition(0.0)
    assert take_inventory(core).live is True
    core.stop_sequence_acquisition()


def test_an_inventory_changes_nothing(core: Any) -> None:
    core.set_xy_position(10.0, 20.0)
    core.wait_for_device("XY")
    before = state_of(core)
    take_inventory(core)
    assert state_of(core) == before


def test_an_inventory_only_asks() -> None:
    """Whatever a core can do, only questions reach it."""
    asked = set()

    class Asked:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            asked.add(name)
            return lambda *values: ["A"] if name.endswith("devices") else 4

    take_inventory(Asked())
    assert asked
    assert all(re.match("get_|is_|has_", name) for name in asked)


def test_every_type_of_device_has_its_words() -> None:
    types = {
        getattr(pymmcore, n) for n in dir(pymmcore) if n.endswith("Device") or n == "SerialPort"
    }
    numbers = {number for number in types if isinstance(number, int)}
    assert numbers <= KINDS.keys() | {1}  # 1 is any


@pytest.mark.parametrize("error", [RuntimeError("off"), Exception("java.lang.Exception: off\nat")])
def test_a_core_that_fails_at_everything_still_has_an_inventory(error: Exception) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            def fail(*values: object) -> Any:
                raise error

            return fail

    found = take_inventory(Broken())
    assert found.devices == found.states == found.presets == found.startup == ()
    assert found.camera is None
    assert "get_camera_device: off" in found.unanswered
    text = [finding.text for finding in describe(found)]
    assert "get_version_info: off" in text
    assert text[-1].endswith("questions more; --json lists them")
    problems = {f.what for f in compare(demo_rig(), found) if f.state == "problem"}
    assert problems == {"camera", "XY stage", "focus drive", "nosepiece"}
    assert take_inventory(object()).unanswered


def test_one_device_that_fails_does_not_spoil_the_rest(core: Any) -> None:
    class Hiccup:
        def __getattr__(self, name: str) -> Any:
            return getattr(core, name)

        def get_x_position(self) -> float:
            return float("nan")

        def get_state_labels(self, device: str) -> Any:
            if device == "LED":
                raise RuntimeError("LED is off")
            return core.get_state_labels(device)

    whole, found = take_inventory(core), take_inventory(Hiccup())
    assert found.unanswered == (
        "get_state_labels LED: LED is off",
        "get_x_position: nan is not a number one can use",
    )
    assert (found.stage.x_um, found.stage.y_um) == (None, whole.stage.y_um)
    assert found.states[:5] == whole.states[:5]


def test_the_same_inventory_comes_over_the_bridge() -> None:
    from pycromanager import Core as RemoteCore

    with serving() as server:
        remote = RemoteCore(port=server.port)
        found = take_inventory(remote)
        remote._close()
    create_core_instance(str(ADAPTERS), CONFIG.name, python_backend=True, buffer_size_mb=16)
    try:
        assert found == take_inventory(Core())
    finally:
        terminate_core_instances()


# ---- rig against inventory -----------------------------------------------------------------------


def test_a_rig_that_fits_has_no_problem(core: Any) -> None:
    core.set_focus_direction("Z", 1)
    found = list(compare(running_rig(), take_inventory(core)))
    assert {finding.state for finding in found} == {"ok"}
    assert [f.what for f in found if f.what.startswith("objective")] == [
        "objective 10x",
        "objective 20x",
        "objective 40x",
    ]


MISMATCHES: dict[str, tuple[dict[str, str], Callable[[Any], object], str, str, str]] = {
    # changes of the rig, what happens to the core, what, words of the text, words of the remedy
    "near label": (
        {'"Nikon 10X S Fluor"': '"nikon 10X S-Fluor"'},
        lambda core: None,
        "objective 10x",
        "'nikon 10X S-Fluor' is not a label of Objective",
        "write label = 'Nikon 10X S Fluor' under [objectives.10x] in demo.toml",
    ),
    "same magnification": (
        {'"Nikon 20X Plan Fluor ELWD"': '"3-Plan Apo 20x"'},
        lambda core: None,
        "objective 20x",
        "'3-Plan Apo 20x' is not a label of Objective",
        "write label = 'Nikon 20X Plan Fluor ELWD' under [objectives.20x]",
    ),
    "no such label": (
        {'"Nikon 20X Plan Fluor ELWD"': '"Leica"', "magnification = 20": "magnification = 25"},
        lambda core: None,
        "objective 20x",
        "'Leica' is not a label of Objective",
        "write one of its labels under [objectives.20x] in demo.toml: Nikon 40X",
    ),
    "no preset": (
        {},
        lambda core: core.delete_pixel_size_config("Res40x"),
        "objective 40x",
        "is there, but no pixel-size preset is for it",
        "turn to 'Nikon 40X Plan Fluor ELWD', add a preset, about 0.25 µm",
    ),
    "no preset now": (
        {},
        lambda core: core.define_pixel_size_config("Res10x", "LED", "Label", "470nm"),
        "pixel size now",
        "no pixel-size preset holds now, with 'Nikon 10X S Fluor' in place",
        "make one that depends on Objective-Label alone",
    ),
    "other pixel size": (
        {},
        lambda core: core.set_pixel_size_um("Res20x", 0.6),
        "objective 20x",
        "0.6 µm per pixel by preset Res20x, 0.5 by the rig",
        "write pixel_size_um = 0.6 under [objectives.20x] in demo.toml, or correct Res20x",
    ),
    "camera size": (
        {},
        lambda core: core.set_property("Camera", "OnCameraCCDXSize", "80"),
        "camera size",
        "the camera gives 80 x 48 px, the rig says 64 x 48",
        "write width_px = 80 and height_px = 48 under [camera] in demo.toml",
    ),
    "grey": (
        {},
        lambda core: core.set_property("Camera", "PixelType", "8bit"),
        "camera colour",
        "the camera gives grey, the rig says colour",
        "write color = false under [camera] in demo.toml",
    ),
    "bits": (
        {"color = true": "color = false", "bits = 8 ": "bits = 12 "},
        lambda core: core.set_property("Camera", "PixelType", "16bit"),
        "camera bits",
        "the camera gives 16 bit, the rig says 12",
        "write bits = 16 under [camera] in demo.toml",
    ),
    "outside": (
        {},
        lambda core: core.set_position(80.0),
        "stage",
        "stage z = 80.00 µm is outside -290..50 µm (z_limits_um in demo.toml)",
        "drive back inside by hand",
    ),
    "focus direction": (
        {},
        lambda core: core.set_focus_direction("Z", -1),
        "focus direction",
        "the rig says toward_specimen = '+z', Micro-Manager the opposite",
        "find out which is right before anything moves",
    ),
    "no camera": (
        {},
        lambda core: core.set_camera_device(""),
        "camera",
        "Micro-Manager has no camera",
        "choose one in Micro-Manager: Hardware Configuration Wizard",
    ),
    "no focus": (
        {},
        lambda core: core.set_focus_device(""),
        "focus drive",
        "Micro-Manager has no focus drive",
        "page 'Select default devices'",
    ),
}


@pytest.mark.parametrize("mismatch", MISMATCHES.values(), ids=MISMATCHES)
def test_each_mismatch_has_its_problem_and_its_remedy(core: Any, mismatch: tuple) -> None:
    changes, plant, what, words, remedy = mismatch
    plant(core)
    core.wait_for_device("XY")
    found = list(compare(running_rig(**changes), take_inventory(core)))
    [problem] = [finding for finding in found if finding.state == "problem"]
    assert problem.what == what
    assert words in problem.text
    assert remedy in problem.remedy


def test_what_could_not_be_read_is_not_called_missing(core: Any) -> None:
    found = take_inventory(core)
    presets = tuple(dataclasses.replace(preset, conditions=None) for preset in found.presets)
    states = tuple(dataclasses.replace(state, labels=()) for state in found.states)
    unread = list(compare(demo_rig(), dataclasses.replace(found, presets=presets)))
    assert only(unread, "objective 10x").state == "note"
    assert "could not be read" in only(unread, "objective 10x").text
    unread = list(compare(demo_rig(), dataclasses.replace(found, states=states)))
    assert only(unread, "objective 10x").text == "no device tells its labels"


def test_live_view_is_a_problem_and_says_where_to_stop_it(core: Any) -> None:
    core.start_continuous_sequence_acquisition(0.0)
    found = list(compare(demo_rig(), take_inventory(core)))
    core.stop_sequence_acquisition()
    assert only(found, "live view").state == "problem"
    assert "Stop Live" in only(found, "live view").remedy


def test_notes_are_no_problems(core: Any) -> None:
    core.set_property("Camera", "Binning", "2")
    core.set_state_label("Objective", "Objective-4")
    half = {"width_px = 64": "width_px = 32", "height_px = 48": "height_px = 24"}
    rig = running_rig(**half, **{"pixel_um = 10.0": "pixel_um = 20.0"})
    found = list(compare(rig, take_inventory(core)))
    assert [f.what for f in found if f.state == "problem"] == []
    notes = {f.what: f for f in found if f.state == "note"}
    assert notes.keys() == {"binning", "objective now", "focus direction"}
    assert "Objective stands at 'Objective-4'" in notes["objective now"].text
    assert all(note.remedy for note in notes.values())


def running_rig(**changes: str) -> Rig:
    return demo_rig(
        **{
            'backend = "demo"': 'backend = "micromanager"',
            "[camera]": "[micromanager]\nport = 4827\n\n[camera]",
            **changes,
        }
    )


def test_devices_the_rig_names_itself(core: Any) -> None:
    named = (
        "[micromanager]\nport = 4827\nmagnifier_at = '470nm'\n[micromanager.labels]\n"
        "camera = 'Ri2'\nmagnifier = 'LED'\n\n[camera]"
    )
    found = list(compare(running_rig(**{"[camera]": named}), take_inventory(core)))
    assert "correct camera under [micromanager.labels]" in only(found, "camera").remedy
    assert only(found, "magnifier").text == "LED stands at 'Closed', the rig holds at '470nm'"
    assert {f.what for f in found if f.state == "problem"} == {"camera", "magnifier"}


def test_a_nosepiece_turned_by_hand_needs_no_labels(core: Any) -> None:
    sizes = {
        f"magnification = {m}.0": f"pixel_size_um = 1.0\nmagnification = {m}.0"
        for m in (10, 20, 40)
    }
    rig = running_rig(**sizes, **{"escape_um = 200.0": "escape_um = 200.0\nmanual = true"})
    found = list(compare(rig, dataclasses.replace(take_inventory(core), states=())))
    assert [f.what for f in found if f.state == "problem"] == []


# ---- the computer --------------------------------------------------------------------------------


def test_what_is_installed_and_what_is_too_old() -> None:
    installed = versions()
    assert installed["numpy"] == __import__("numpy").__version__
    assert installed["pymmcore"]
    assert not [f for f in packages(installed) if f.state == "problem"]
    worse = {**installed, "numpy": "1.20.3", "tifffile": None, "mm-test-adapters": "74.1"}
    found = {f.what: f for f in packages(worse) if f.state == "problem"}
    assert found.keys() == {"numpy", "tifffile", "device interface"}
    assert (found["numpy"].text, found["tifffile"].text) == ("1.20.3 is too old", "not installed")
    assert found["numpy"].remedy.startswith('python -m pip install --upgrade "numpy>=')
    assert "but mm-test-adapters 74.1 are for 74" in found["device interface"].text


@pytest.mark.parametrize(
    ("answer", "state", "words", "remedy"),
    [
        (("works", ""), "ok", "can be drawn", ""),
        (("loses None", ""), "note", "after a minute", "PySide6-Essentials>=6.8"),
        (("", "libGL.so.1: cannot open shared object file"), "note", "libGL.so.1", "install"),
    ],
)
def test_the_viewer_is_tried_in_a_process_of_its_own(
    answer: tuple[str, str], state: str, words: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scope_sr.doctor.viewer.run", lambda *_, **__: answer)
    libraries, window = viewer({"PySide6-Essentials": "6.11.3", "pyqtgraph": "0.14.0"})
    assert libraries.state == "ok"
    assert (window.state, words in window.text, remedy in window.remedy) == (state, True, True)


def test_without_its_libraries_the_viewer_names_the_extra() -> None:
    [found] = viewer({"PySide6-Essentials": None, "pyqtgraph": "0.14.0"})
    assert (found.state, "scope-sr[live]" in found.remedy) == ("note", True)


def test_qt_works_on_this_computer_without_a_display() -> None:
    *_, window = viewer({"PySide6-Essentials": "6.11.3", "pyqtgraph": "0.14.0"})
    assert (window.state, window.text) == ("ok", "can be drawn")


def test_nothing_of_learning_is_loaded_here(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from scope_sr.doctor import examine;"
        "examine(None, Path(sys.argv[1]));"
        "print({'torch', 'PySide6', 'pyqtgraph'} & sys.modules.keys())"
    )
    done = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(done, capture_output=True, text=True, check=True).stdout == "set()\n"


def test_the_disk_is_measured_and_left_as_it_was(tmp_path: Path) -> None:
    found = {f.what: f for f in disk(tmp_path, FieldSize(20_000, "small fields"))}
    assert found.keys() == {"disk space", "disk speed"}
    assert re.search(r"[\d.]+ fields per second of small fields", found["disk speed"].text)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    [found] = disk(tmp_path, FieldSize(20_000, ""))
    assert found.state == "problem"
    assert "cannot be written to: No space left on device" in found.text
    assert list(tmp_path.iterdir()) == []


def test_a_slow_disk_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computer, "_write_speed", lambda *_: 3e6)
    speed = only(list(disk(tmp_path, FieldSize())), "disk speed")
    assert speed.state == "note"
    assert "--out DIR" in speed.remedy


def test_gpu_as_nvidia_smi_says(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "smi": ("NVIDIA H100, 81559 MiB, 550.54\n", ""),
        sys.executable: ("12.4|", ""),
    }
    monkeypatch.setattr(computer.shutil, "which", lambda _: "smi")
    monkeypatch.setattr(computer, "run", lambda command, *_: answers[command[0]])
    gpu, torch = graphics({"torch": "2.9"})
    assert (gpu.state, gpu.text) == ("ok", "NVIDIA H100, 81559 MiB, driver 550.54")
    assert torch.text == "leaves the GPU idle: CUDA 12.4 does not start"
    answers[sys.executable] = ("a warning\n12.4|NVIDIA H100", "")
    assert list(graphics({"torch": "2.9"}))[1].text == "computes on NVIDIA H100 (CUDA 12.4)"
    answers[sys.executable] = ("", "ImportError: DLL load failed")
    assert "idle: ImportError" in list(graphics({"torch": "2.9"}))[1].text
    answers["smi"] = ("", "no answer within 10 s")
    [gpu] = graphics({"torch": "2.9"})
    assert (gpu.state, bool(gpu.remedy)) == ("note", True)


def test_a_program_that_hangs_or_fails_is_put_in_words() -> None:
    python = sys.executable
    assert computer.run([python, "-c", "import time; time.sleep(9)"], 0.2)[1] == (
        "no answer within 0.2 s"
    )
    assert computer.run([python, "-c", "raise SystemExit('broken')"], 9) == ("", "broken")
    assert computer.run(["no such program"], 9)[1]


def test_without_a_rig_the_micro_manager_here_is_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rig is written from what it says, so a rig that cannot be read yet must not hide it."""
    with serving() as server:
        broken = tmp_path / "new.toml"
        broken.write_text(f"[micromanager]\nport = {server.port}\n", encoding="utf-8")
        report = examine(str(broken), tmp_path)
        monkeypatch.setattr(stand, "PORT", server.port)
        assert examine(None, tmp_path).inventory == report.inventory
    assert [finding.what for finding in report.findings if finding.state == "problem"] == ["file"]
    [labels] = [line.text for line in report.findings if line.what == "labels of Objective"]
    assert "Nikon 40X Plan Fluor ELWD" in labels
    [silent] = stand.look_around(str(broken))[1]
    assert silent.state == "note"
    assert "Run server on port" in silent.remedy


# ---- the whole -----------------------------------------------------------------------------------


def say(folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[int, str]:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(command, list(options), catch_exceptions=False)
    return done.exit_code, done.stdout


def test_the_simulated_rig_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small.toml").write_text(rig_text(), encoding="utf-8")
    code, text = say(tmp_path, monkeypatch, "--rig", "small.toml")
    assert code == 0
    assert "opens; 10x in place, x = 0.00, y = 0.00, z = 0.00 µm" in text
    assert re.fullmatch(r"0 problems, \d notes?", text.splitlines()[-1])
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]


def test_json_and_text_agree(core: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = take_inventory(core)
    monkeypatch.setattr(scope_sr.microscope, "inventory_of", lambda rig: found, raising=False)
    code, text = say(tmp_path, monkeypatch, "--rig", "demo")
    same_code, written = say(tmp_path, monkeypatch, "--rig", "demo", "--json")
    document = json.loads(written)
    assert written.isascii()
    assert (code, same_code) == (1, 1)
    assert document["schema"] == "scope-sr/doctor/1"
    assert (document["rig"], document["ok"]) == ("demo", False)
    states = [finding["state"] for finding in document["findings"]]
    assert document["problems"] == states.count("problem") == text.count("  PROBLEM  ") == 1
    assert document["notes"] == states.count("note")
    assert text.splitlines()[-1] == f"1 problem, {document['notes']} notes"
    flat = " ".join(text.split())
    for finding in document["findings"]:
        if finding["what"] != "disk speed" and finding["what"] != "disk space":
            assert " ".join(finding["text"].split()) in flat
            assert not finding["remedy"] or f"-> {finding['remedy']}" in flat
    assert document["inventory"]["roles"]["xy_stage"] == "XY"
    assert document["packages"]["pymmcore"]
    assert document["version"] == scope_sr.__version__


@pytest.mark.parametrize(
    ("toml", "words", "remedy"),
    [
        (None, "broken.toml: no such rig file", "the built-in rigs are simulated and demo"),
        ("name = 'x'\nwidth = 3,5", "not valid TOML", "write decimals with a point"),
        ('name = "x"\nbackend = "leica"', "backend = 'leica'", ""),
    ],
)
def test_a_broken_rig_is_a_problem_among_the_rest(
    tmp_path: Path, toml: str | None, words: str, remedy: str
) -> None:
    if toml is not None:
        (tmp_path / "broken.toml").write_text(toml, encoding="utf-8")
    report = examine(str(tmp_path / "broken.toml"), tmp_path)
    [problem] = report.problems
    assert words in problem.text
    assert remedy in problem.remedy
    assert problem.remedy
    assert only(list(report.findings), "disk speed").state == "ok"


def test_a_microscope_that_does_not_answer_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(rig: Rig) -> Inventory:
        raise MicroscopeError("no Micro-Manager answers on port 4827; start Micro-Manager 2")

    monkeypatch.setattr(scope_sr.microscope, "inventory_of", silent, raising=False)
    [problem] = examine("demo", tmp_path).problems
    assert (problem.text, problem.remedy) == (
        "no Micro-Manager answers on port 4827",
        "start Micro-Manager 2",
    )


def test_a_configuration_of_ones_own_is_read_and_not_loaded(tmp_path: Path) -> None:
    table = f"[micromanager]\nconfig = '{CONFIG}'\nadapters = '{ADAPTERS}'\n\n[camera]"
    inventory, [found] = stand.look(running_rig(**{"[camera]": table}))
    assert (inventory, found.state) == (None, "note")
    assert "Objective: Label = Nikon 10X S Fluor" in found.text
    assert not is_pymmcore_active()
    gone = running_rig(**{"[camera]": table.replace("MMConfig_demo", "gone")})
    assert stand.look(gone)[1][0].state == "problem"


def test_a_calibration_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    text = rig_text(**{'high = "20x"': 'high = "20x"\ncalibration = "gone"'})
    rig = parse_rig(text, source="small.toml", folder=tmp_path)
    assert stand._calibration(rig).state == "problem"


def test_a_broken_package_does_not_silence_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scope_sr.doctor.stand", None)
    monkeypatch.delattr("scope_sr.doctor.stand")
    report = examine("simulated", tmp_path)
    [problem] = report.problems
    assert "pip install --force-reinstall" in problem.remedy
    assert only(list(report.findings), "Python").state == "ok"


def test_paths_and_labels_are_never_broken_in_the_text() -> None:
    path = "/home/somebody/a-very-long-folder-name/that-goes-on/and-on-and-on/for-quite-a-while"
    report = Report("r", ".", (Finding("Area", "what", "problem", f"see {path} there", path),), {})
    assert report.text(60).count(path) == 2
    assert report.text(60).endswith("1 problem, 0 notes")
