"""Recipes: what is read, and in which words the rest is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scope_sr.config import SrganRecipe, UnetRecipe, load_recipe
from scope_sr.config.recipe import recipe_of
from scope_sr.config.toml import parse_toml, read_toml
from scope_sr.errors import InputError

CONFIGS = Path(__file__).parent.parent / "configs"
SHOWN = (("srgan.toml", SrganRecipe), ("unet.toml", UnetRecipe))


def keys_of(table: dict[str, Any], before: str = "") -> Iterator[str]:
    for key, value in table.items():
        yield from keys_of(value, f"{before}{key}.") if isinstance(value, dict) else (before + key,)


@pytest.mark.parametrize(("name", "kind"), SHOWN)
def test_the_recipes_in_configs_are_the_defaults_and_show_every_key(name: str, kind: Any) -> None:
    recipe = load_recipe(CONFIGS / name, kind)
    assert recipe == kind()
    _, table = read_toml(CONFIGS / name, "recipe")
    assert list(keys_of(table)) == list(keys_of(kind().model_dump()))


@pytest.mark.parametrize(("name", "kind"), SHOWN)
def test_every_key_in_configs_is_explained(name: str, kind: Any) -> None:
    """By a comment on its line, or, where values stand for themselves, on one above."""
    lines = (CONFIGS / name).read_text("utf-8").splitlines()
    silent = [line.split(" = ")[0] for line in lines if " = " in line and "#" not in line]
    assert set(silent) <= {
        "blocks", "learning_rate", "discriminator_channels", "perceptual_weight", "steps",
        "weight_decay", "rig",
    }  # fmt: skip
    del kind


def test_what_is_left_out_keeps_its_value(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("blocks = 3\n[gan]\nsteps = 0\n", "utf-8")
    recipe = load_recipe(path, SrganRecipe)
    assert recipe == SrganRecipe(blocks=3, gan=SrganRecipe().gan.model_copy(update={"steps": 0}))


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (SrganRecipe, "block = 3", "block = 3: unknown key; did you mean blocks?"),
        (SrganRecipe, "[gan]\nlearning = 1", "gan.learning = 1: unknown key; did you mean learnin"),
        (SrganRecipe, "[gans]\nsteps = 1", "gans = {'steps': 1}: unknown key; did you mean gan?"),
        (SrganRecipe, "xyz = 1", "xyz = 1: unknown key; remove it or look in configs/srgan.toml"),
        (UnetRecipe, "xyz = 1", "xyz = 1: unknown key; remove it or look in configs/unet.toml"),
        (SrganRecipe, "blocks = '3'", "blocks = '3': must be a valid integer"),
        (SrganRecipe, "blocks = 3.0", "blocks = 3.0: must be a valid integer"),
        (SrganRecipe, "blocks = true", "blocks = True: must be a valid integer"),
        (SrganRecipe, "low_px = 8", "low_px = 8: must be greater than or equal to 16"),
        (SrganRecipe, "batch = 0", "batch = 0: must be greater than or equal to 1"),
        (SrganRecipe, "ema = 1.0", "ema = 1.0: must be less than 1"),
        (SrganRecipe, "architecture = 'unet'", "architecture = 'unet': must be 'compact' or 'srr"),
        (SrganRecipe, "precision = 'fp16'", "precision = 'fp16': must be 'auto', '32-true'"),
        (SrganRecipe, "pixel = 4", "pixel = 4: must be a valid dictionary"),
        (SrganRecipe, "[pixel]\nlearning_rate = 0", "pixel.learning_rate = 0: must be greater tha"),
        (
            SrganRecipe,
            "[pixel]\nlearning_rate = nan",
            "pixel.learning_rate = nan: must be a fin",
        ),
        (SrganRecipe, "[pixel]\nshift_px = 9", "pixel.shift_px = 9: must be less than or equal to"),
        (SrganRecipe, "[gan]\nperceptual = 'vgg'", "gan.perceptual = 'vgg': "),
        (SrganRecipe, "[gan]\nperceptual = 'vgg19:'", "gan.perceptual = 'vgg19:': "),
        (SrganRecipe, "[degradation]\nlow = 'real'", "degradation.low = 'real': must be 'dataset'"),
        (SrganRecipe, "[checks]\npatience = 0", "checks.patience = 0: must be greater than or eq"),
        (UnetRecipe, "[mixture]\nhigh = 0.5", "mixture: high, low and sr add up to 0.5; they must"),
        (UnetRecipe, "[mixture]\nlow = 0.5", "mixture: high, low and sr add up to 1.5; they must"),
        (UnetRecipe, "[mixture]\nhigh = 0.5\nsr = 0.5", "mixture: sr and models belong together"),
        (UnetRecipe, "[mixture]\nmodels = ['a']", "mixture: sr and models belong together"),
        (
            UnetRecipe,
            "[mixture]\nhigh=0\nlow=1\nscales=[3]",
            "mixture.scales.0 = 3: must be 2 or",
        ),
        (UnetRecipe, "[mixture]\nhigh=0\nlow=1\nscales=[]", "mixture: scales: name 2, 4 or both"),
        (UnetRecipe, "patch_px = 100", "patch_px = 100: not a multiple of 16 (2 to the depth)"),
        (
            UnetRecipe,
            "patch_px = 18\ndepth = 1\n[mixture]\nhigh = 0\nlow = 1",
            "patch_px = 18: no multiple of 4, as low images ask",
        ),
        (SrganRecipe, "blocks = 1,5", "not valid TOML: "),
        (SrganRecipe, "[gan\n", "not valid TOML: "),
    ],
)
def test_what_cannot_be_is_one_line_with_the_way_out(kind: Any, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        recipe_of(parse_toml(text, "mine.toml"), "mine.toml", kind)
    assert str(caught.value).startswith(f"mine.toml: {message}")
    assert "\n" not in str(caught.value)


def test_several_faults_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("blocks = 0\nbatch = 0\nchanels = 3\n", "utf-8")
    with pytest.raises(InputError, match=r"chanels = 3: .* did you mean channels\? \(and 2 more\)"):
        load_recipe(path, SrganRecipe)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("nothing.toml", None, "no such recipe file"),
        (".", None, "a folder; name a recipe file in it"),
        ("bytes.toml", b"\xff\xfe", "not a text file in UTF-8"),
        ("windows.toml", b'rig = "C:\\users"', "write Windows paths with /"),
        ("comma.toml", b"ema = 0,9", "write decimals with a point"),
    ],
)
def test_files_that_are_no_recipes_are_one_line(
    tmp_path: Path, name: str, data: bytes | None, message: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        load_recipe(tmp_path / name, SrganRecipe)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind", "job"),
    [("unet.toml", SrganRecipe, "unet"), ("srgan.toml", UnetRecipe, "srgan")],
)
def test_a_recipe_of_the_other_kind_is_refused(name: str, kind: Any, job: str) -> None:
    with pytest.raises(InputError, match=rf"{name}: a recipe for scope-sr train {job}; configs/"):
        load_recipe(CONFIGS / name, kind)


def test_a_recipe_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        SrganRecipe().blocks = 3  # type: ignore[misc]


values = st.one_of(
    st.integers(-9, 99), st.floats(), st.sampled_from(["", "none", "auto"]), st.booleans()
)
names = [key.rpartition(".")[2] for key in keys_of(UnetRecipe().model_dump())]
tables = st.one_of(
    values,
    st.lists(values, max_size=2),
    st.dictionaries(st.sampled_from([*names, "x"]), values, max_size=3),
)


@given(
    table=st.dictionaries(st.sampled_from([*UnetRecipe.model_fields, "gan", "x"]), tables),
    kind=st.sampled_from([SrganRecipe, UnetRecipe]),
)
def test_whatever_stands_in_a_file_is_a_recipe_or_one_line(
    table: dict[str, Any], kind: Any
) -> None:
    try:
        found = recipe_of(table, "mine.toml", kind)
    except InputError as error:
        assert str(error).startswith("mine.toml: ")
        assert "\n" not in str(error)
    else:
        assert recipe_of(found.model_dump(mode="json"), "x", kind) == found
