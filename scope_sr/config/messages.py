"""Errors of a file a person wrote, in one line: file, key, value, what is wrong, the way out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


def reason(error: BaseException) -> str:
    """Give the system's own words for an error, without its numbers and paths."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def one_line(
    source: str,
    error: ValidationError,
    model: type[BaseModel],
    example: str = "configs/simulated.toml",
) -> str:
    """Put a pydantic error into one line: file, key, value, what is wrong, the way out.

    `example` is the file that shows every key.
    """
    faults = sorted(
        error.errors(include_url=False), key=lambda fault: fault["type"] != "extra_forbidden"
    )
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{source}: {_fault(faults[0], model, example)}{more}"


def _fault(fault: ErrorDetails, model: type[BaseModel], example: str) -> str:
    path = [str(part) for part in fault["loc"]]
    key = ".".join(path) or "the whole file"
    value = _short(fault["input"])
    match fault["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(path[-1], _keys_beside(path, model), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"remove it or look in {example}"
            return f"{key} = {value}: unknown key; {hint}"
        case "missing":
            return f"{key}: missing; add it ({example} shows every key)"
        case "value_error":
            text = str(fault.get("ctx", {}).get("error", fault["msg"]))
            return f"{key}: {text}" if path else text
        case _:
            message = re.sub(r"^Input should be ", "must be ", fault["msg"])
            return f"{key} = {value}: {message}"


def _keys_beside(path: list[str], model: type[BaseModel]) -> Iterator[str]:
    """List the keys that may stand where the last part of the path stands."""
    table = model
    for part in path[:-1]:
        field = table.model_fields.get(part)
        if field is None:
            continue
        inner = [field.annotation, *getattr(field.annotation, "__args__", ())]
        tables = [i for i in inner if isinstance(i, type) and issubclass(i, BaseModel)]
        table = tables[0] if tables else table
    yield from table.model_fields


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else text[:37] + "..."
