"""The models that come with the package, and how a model is named."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

from scope_sr.errors import InputError

SUFFIX = ".ts"
SHIPPED = Path(__file__).with_name("shipped")
SUMS = "sha256.json"  # {"compact-x4": "64 hexadecimal digits", ...}


def shipped() -> dict[str, str]:
    """List the models that come with the package: name and recorded SHA-256."""
    try:
        sums: dict[str, str] = json.loads((SHIPPED / SUMS).read_bytes())
    except FileNotFoundError:
        return {}
    return dict(sorted(sums.items()))


def find(model: str | Path) -> tuple[Path, str]:
    """Find the file of a model, and the SHA-256 that is recorded for it, empty if none is.

    Parameters
    ----------
    model
        The name of one that comes with the package, or the path of a file.

    Raises
    ------
    InputError
        There is no such name or file, or the recorded sum cannot be read.
    """
    sums = shipped()
    if str(model) in sums:
        return SHIPPED / f"{model}{SUFFIX}", sums[str(model)]
    path = Path(model)
    if path.is_dir():
        inside = sorted(file.name for file in path.glob(f"*{SUFFIX}"))
        way = f"name one of its files: {', '.join(inside)}" if inside else "no model lies in it"
        msg = f"{path} is a folder; {way}"
        raise InputError(msg)
    if not path.exists():
        raise InputError(_nowhere(path, list(sums)))
    return path, _sum_beside(path)


def sidecar(path: Path) -> Path:
    """Name the file that holds the SHA-256 of a model file, as ``sha256sum`` writes it."""
    return path.with_name(path.name + ".sha256")


def _nowhere(path: Path, names: list[str]) -> str:
    if path.suffix or len(path.parts) != 1:
        return f"{path}: no such model file"
    known = f"there are {', '.join(names)}" if names else "none comes with this scope-sr"
    near = difflib.get_close_matches(path.name, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{path}: no model of that name: {hint}{known}; or give the path of a model file (.ts)"


def _sum_beside(path: Path) -> str:
    beside = sidecar(path)
    try:
        words = beside.read_bytes().decode("ascii", "replace").split()
    except FileNotFoundError:
        return ""
    except OSError as error:
        msg = f"{beside}: {error.strerror}; make it readable, or remove it if you trust the model"
        raise InputError(msg) from error
    digits = words[0].lower() if words else ""
    if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
        msg = f"{beside}: holds no SHA-256; bring it back, or remove it if you trust the model"
        raise InputError(msg)
    return digits
