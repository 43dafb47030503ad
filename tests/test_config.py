"""Rigs: what is read, and in which words the rest is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rigs import remote_rig, rig_text

from scope_sr.config import BUILT_IN, Rig, load_rig, parse_rig
from scope_sr.errors import InputError

ROOT = Path(__file__).parent.parent


def parse(text: str) -> Rig:
    return parse_rig(text, source="my.toml", folder=Path())


def refused(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse(text)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("my.toml: ")
    return message.removeprefix("my.toml: ")


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_builtin_rigs_equal_those_in_configs(name: str) -> None:
    in_configs = (ROOT / f"configs/{name}.toml").read_bytes()
    assert in_configs == (ROOT / f"scope_sr/{name}.toml").read_bytes()


def test_a_rig_of_micro_manager_needs_labels() -> None:
    text = (ROOT / "configs/demo.toml").read_text(encoding="utf-8")
    assert "objectives.20x: label is missing" in refused(
        text.replace('label = "Nikon 20X Plan Fluor ELWD"', "")
    )


RECIPES = {"srgan.toml", "unet.toml"}
RIGS = [p for p in sorted((ROOT / "configs").glob("*.toml")) if p.name not in RECIPES]


@pytest.mark.parametrize("path", RIGS, ids=lambda p: p.name)
def test_every_rig_in_configs_loads_once_its_question_marks_are_answered(path: Path) -> None:
    text = path.read_text("utf-8")
    for key, words in (
        ("x_limits_um = [?, ?]", "drive to both ends"),
        ("y_limits_um = [?, ?]", "drive to both ends"),
        ("z_limits_um = [?, ?]", "focus on the slide with each objective"),
        ('toward_specimen = "?"', "turn the focus knob"),
    ):
        if f"# {key}" in text:
            assert f"stage.{key.split()[0]}: missing; {words}" in refused(text)
        text = text.replace(f"# {key}", key.replace("?, ?", "-1.0, 1.0").replace("?", "+z"))
    assert parse(text).objectives


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("port = 4827", "", "give port (of a running Micro-Manager, usually 4827) or config"),
        ("port = 4827", 'port = 1\nconfig = "a"', "one of them"),
        ("port = 4827", 'config = "a.cfg"', "config and adapters belong together"),
        ("port = 4827", 'port = 1\nmagnifier_at = "1x"', "labels.magnifier and magnifier_at"),
        ("port = 4827", "port = 70000", "micromanager.port = 70000: must be less than"),
        ("[micromanager]\nport = 4827", "", "[micromanager] and backend = 'micromanager' belong"),
        ('backend = "micromanager"', 'backend = "demo"', "belong together"),
        ("[nosepiece]", "[nosepiece]\nmanual = true", "objectives.10x.pixel_size_um: missing"),
        ("z_limits_um", "# ", "stage.z_limits_um: missing; focus on the slide"),
        ('toward_specimen = "+z"', "", "stage.toward_specimen: missing; turn the focus knob"),
    ],
)
def test_a_rig_of_a_stand_says_what_it_must(old: str, new: str, message: str) -> None:
    text = remote_rig(4827).text
    assert old in text
    assert message in refused(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "numerical_aperture = 0.75",
            "numerical_apertur = 0.75",
            "objectives.20x.numerical_apertur = 0.75: unknown key;"
            " did you mean numerical_aperture? (and 1 more)",
        ),
        (
            "exposure_ms = 12.0",
            "exposure_s = 0.012",
            "objectives.20x.exposure_s = 0.012: unknown key; did you mean exposure_ms?",
        ),
        (
            "width_px = 64",
            "width_px = 0",
            "camera.width_px = 0: must be greater than or equal to 16",
        ),
        (
            "escape_um = 500.0",
            "escape_um = 0.0",
            "nosepiece.escape_um = 0.0: must be greater than 0",
        ),
        ("bits = 8", "bits = 8.5", "camera.bits = 8.5: must be a valid integer"),
        ("bits = 8", 'bits = "8"', "camera.bits = '8': must be a valid integer"),
        ("pixel_um = 5.0", "pixel_um = nan", "camera.pixel_um = nan: must be a finite number"),
        ("pixel_um = 5.0", "pixel_um = -5.0", "camera.pixel_um = -5.0: must be greater than 0"),
        (
            "x_limits_um = [-8000.0, 8000.0]",
            "x_limits_um = [8000.0, -8000.0]",
            "stage: x_limits_um = [8000, -8000]: the first must be the smaller",
        ),
        (
            'image_down = "-y"',
            'image_down = "-x"',
            "camera: image_right and image_down must name different axes, one x and one y",
        ),
        ('low = "10x"', 'low = "4x"', "low = '4x' is not among the objectives (5x, 10x, 20x)"),
        (
            "slot = 3",
            "slot = 2",
            "two objectives share a slot of the nosepiece (slots [1, 2, 2])",
        ),
        (
            'backend = "simulated"',
            'backend = "zeiss"',
            "backend = 'zeiss': must be 'simulated'",
        ),
        (
            'tissue = "procedural"',
            'image = "a.tif"',
            "specimen: um_per_px is missing: how many µm is one pixel of the image?",
        ),
        (
            'tissue = "procedural"',
            "um_per_px = 0.25",
            "specimen: um_per_px and labels belong to an image; name it with image = 'slide.tif'",
        ),
        (
            "[simulation.objectives.5x]",
            "[simulation.objectives.4x]",
            "simulation.objectives.4x is not among the objectives (5x, 10x, 20x)",
        ),
        (
            'name = "simulated"\n',
            "",
            "name: missing; add it (configs/simulated.toml shows every key)",
        ),
        ('name = "simulated"', 'text = "x"', "text: unknown key; remove it"),
    ],
)
def test_a_wrong_rig_is_refused_in_one_line(old: str, new: str, message: str) -> None:
    text = rig_text()
    assert old in text
    assert refused(text.replace(old, new)).startswith(message)


def test_broken_toml_says_where() -> None:
    assert "line 1" in refused("name = = 3")


@pytest.mark.parametrize("name", ["none.toml", ".", "a\0b", "x" * 5000])
def test_a_missing_rig_file_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        load_rig(name)


def test_a_binary_rig_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_bytes(b"\xff\xfe\x00rig")
    with pytest.raises(InputError, match="UTF-8"):
        load_rig(path)


def test_comments_and_order_do_not_change_the_digest() -> None:
    text = rig_text()
    assert parse(text).digest == parse("# mine\n" + text).digest
    assert parse(text).digest != parse(text.replace("bits = 8", "bits = 12")).digest


LINES = [line for line in rig_text().splitlines() if "=" in line and not line.startswith("#")]
ODD = ["nan", "-1", "1e999", '"x"', "[]", "[1]", "{}", "true", "99999999999999999999", "1979-05-27"]


@settings(max_examples=150, deadline=None)
@given(line=st.sampled_from(LINES), value=st.sampled_from(ODD))
def test_any_value_anywhere_loads_or_is_refused_in_one_line(line: str, value: str) -> None:
    key = line.split("=")[0].strip()
    text = rig_text().replace(line, f"{key} = {value}", 1)
    try:
        parse(text)
    except InputError as error:
        assert "\n" not in str(error)
        assert str(error).startswith("my.toml: ")


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_text_loads_or_is_refused_in_one_line(text: str) -> None:
    try:
        parse(text)
    except InputError as error:
        assert len(str(error).splitlines()) == 1
