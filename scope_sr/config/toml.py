"""TOML that people write, read with errors people can act on."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from scope_sr.config.messages import reason
from scope_sr.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: Path, what: str, known: str = "") -> tuple[str, dict[str, Any]]:
    """Read a file; `what` it is and what else is `known` go into the messages.

    Raises
    ------
    InputError
        It is missing, unreadable, or not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        msg = f"{path}: no such {what} file{known}"
        raise InputError(msg) from error
    except (IsADirectoryError, PermissionError) as error:
        kind = f"a folder; name a {what} file in it" if path.is_dir() else "not to be read by you"
        msg = f"{path}: {kind}"
        raise InputError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path}: not a text file in UTF-8 (byte {error.start}); a {what} is a TOML file"
        raise InputError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"{path}: cannot be read as a {what} file ({reason(error)})"
        raise InputError(msg) from error
    return text, parse_toml(text, str(path))


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Parse TOML; `source` is how messages call it."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        msg = f"{source}: not valid TOML: {error}{_hint(text, str(error))}"
        raise InputError(msg) from error


def _hint(text: str, fault: str) -> str:
    """Recognise the slips people make most, in the line the parser points to."""
    place = re.search(r"line (\d+)", fault)
    lines = text.splitlines()
    line = lines[int(place[1]) - 1] if place and int(place[1]) <= len(lines) else ""
    if "\\" in line:
        return "; write Windows paths with / or in 'single quotes'"
    if "?" in line:
        return "; a ? is left there: write what it asks for"
    if re.search(r"=\s*-?\d+,\d", line):
        return "; write decimals with a point"
    return ""
