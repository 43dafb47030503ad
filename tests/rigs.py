"""A small fast rig for every test: 64 px of camera, time that does not wait."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from scope_sr.config import Rig, parse_rig


def demo_rig(**changes: str) -> Rig:
    """Take the demo rig, with a small camera; `changes` map old text to new."""
    text = (files("scope_sr") / "demo.toml").read_text(encoding="utf-8")
    small = {"width_px = 512": "width_px = 64", "height_px = 512": "height_px = 48"}
    changes = {**small, 'tissue = "tnbc"': 'tissue = "procedural"', **changes}
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return parse_rig(text, source="demo.toml", folder=Path.cwd())


def remote_rig(port: int, **changes: str) -> Rig:
    """Take the demo rig as one of a Micro-Manager that runs elsewhere, on a port."""
    text = demo_rig(**changes).text
    text = text.replace('backend = "demo"', 'backend = "micromanager"')
    text = text[: text.index("[specimen]")] + f"[micromanager]\nport = {port}\n"
    return parse_rig(text, source="remote.toml", folder=Path.cwd())


def rig_text(**changes: str) -> str:
    """Take the built-in rig as TOML, small and without waiting; `changes` map old text to new."""
    text = (files("scope_sr") / "simulated.toml").read_text(encoding="utf-8")
    changes = {
        "width_px = 1024": "width_px = 64",
        "height_px = 1024": "height_px = 48",
        'clock = "real"': 'clock = "virtual"',
        'tissue = "tnbc"': 'tissue = "procedural"',
        **changes,
    }
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def make_rig(folder: Path | None = None, **changes: str) -> Rig:
    return parse_rig(rig_text(**changes), source="small.toml", folder=folder or Path.cwd())
