"""What the linter cannot see: truth stays hidden, modules stay small, the docs name everything."""

from __future__ import annotations

import ast
from pathlib import Path

import click
import pytest

from scope_sr.cli import cli

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "scope_sr").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_only_the_simulator_reads_what_is_true(path: Path) -> None:
    allowed = {
        "scope_sr/config/rig.py",
        "scope_sr/microscope/simulated.py",
        "scope_sr/microscope/demo.py",
        "scope_sr/specimen/scene.py",
    }
    if path.relative_to(ROOT).as_posix() in allowed:
        return
    names = {
        n.attr for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Attribute)
    }
    assert "simulation" not in names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_module_has_outgrown_its_room(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 420


def commands() -> list[tuple[str, click.Command]]:
    return sorted(cli.commands.items())


@pytest.mark.parametrize(
    ("name", "command"), commands(), ids=lambda v: v if isinstance(v, str) else ""
)
def test_every_command_and_option_is_in_the_readme_and_has_help(
    name: str, command: click.Command
) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f"scope-sr {name}" in readme
    assert command.help
    for option in command.params:
        if isinstance(option, click.Option) and name == "acquire-pairs":
            assert option.help, option.name
            assert f"`{option.opts[0]}" in readme, option.opts[0]


def test_every_key_of_the_builtin_rig_is_one_the_rig_reads_and_none_is_left_out() -> None:
    """The shipped rigs show every key there is, but for those an image of the user's needs."""
    from scope_sr.config import BUILT_IN, Rig, load_rig

    shown = "".join(load_rig(name).text for name in BUILT_IN)
    shown += "".join(path.read_text("utf-8") for path in (ROOT / "configs").glob("*.toml"))
    optional = {"calibration", "image", "um_per_px", "labels", "gain_e_per_dn", "pixel_size_um"}

    def keys(model: type) -> set[str]:
        return set(model.model_fields)

    from scope_sr.config import Table

    models = [
        table
        for table in Table.__subclasses__()
        if table is not Rig and not table.__module__.endswith(".recipe")
    ]
    missing = {
        f"{model.__name__}.{key}"
        for model in models
        for key in keys(model) - optional
        if f"{key} = " not in shown and f"[simulation.{key}" not in shown
    }
    assert missing == set()
