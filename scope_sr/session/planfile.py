"""A plan as JSON and back, exactly; and in which respect two plans, or two rigs, differ."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from scope_sr.plan import Plan

if TYPE_CHECKING:
    from scope_sr.config import Rig

SCHEMA = "scope-sr/plan/2"
READS = ("scope-sr/plan/1", SCHEMA)  # 1 knew no focus map
# A step's name becomes a path: a damaged or foreign plan must not lead out of the session's folder
STEP_NAME = re.compile(r"(low|high)/[\w+-]{1,80}")


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Plan]:
    return TypeAdapter(Plan)


def to_dict(plan: Plan) -> dict[str, Any]:
    """Give a plan as what JSON knows: dicts, lists, numbers, strings."""
    as_json: dict[str, Any] = _adapter().dump_python(plan, mode="json")
    return {"schema": SCHEMA, **as_json}


def to_json(plan: Plan) -> bytes:
    """Write a plan for people and programs: one line per key, one line per step."""
    table = to_dict(plan)
    steps = table.pop("steps")
    head = json.dumps(table, ensure_ascii=False, allow_nan=False, indent=2)[:-2]
    lines = [json.dumps(step, ensure_ascii=False, allow_nan=False) for step in steps]
    return (head + ',\n  "steps": [\n    ' + ",\n    ".join(lines) + "\n  ]\n}\n").encode()


def from_json(data: bytes) -> Plan:
    """Read a plan back, every number as it was.

    Raises
    ------
    ValueError
        The schema is another, a key is missing or of a wrong type, or a step's name cannot be one.
    """
    schema = json.loads(data).get("schema")
    if schema not in READS:
        msg = f"schema is {schema!r}, this version reads {' and '.join(map(repr, READS))}"
        raise ValueError(msg)
    plan = _adapter().validate_json(data, strict=True)
    names = [step.name for step in plan.steps]
    wrong = [name for name in names if not STEP_NAME.fullmatch(name)]
    if wrong:
        msg = f"{wrong[0]!r} cannot be the name of a step"
        raise ValueError(msg)
    if len(set(names)) < len(names):
        msg = "two steps share a name"
        raise ValueError(msg)
    return plan


def plan_difference(here: Plan, asked: Plan) -> str:
    """Name the first thing in which two plans differ; empty when they are the same.

    >>> from scope_sr.frame import Position
    >>> plan = Plan("rig", "10x", "20x", 3, 3, 0.05, "full", "raster", False, Position(0, 0, 0),
    ...             {"10x": 0.5, "20x": 0.25}, ())
    >>> from dataclasses import replace
    >>> plan_difference(plan, replace(plan, rows=4, columns=4))
    'grid 3x3 here, 4x4 asked'
    """
    if (here.rows, here.columns) != (asked.rows, asked.columns):
        return f"grid {here.rows}x{here.columns} here, {asked.rows}x{asked.columns} asked"
    for name in (field.name for field in fields(Plan) if field.name != "steps"):
        if getattr(here, name) != getattr(asked, name):
            return f"{name} {_said(getattr(here, name))} here, {_said(getattr(asked, name))} asked"
    return _step_difference(here, asked)


def rig_difference(here: Rig, asked: Rig) -> str:
    """Name the first setting in which two rigs differ; empty when they are the same."""
    ours, theirs = _flat(here.model_dump()), _flat(asked.model_dump())
    for key in dict.fromkeys([*ours, *theirs]):
        if ours.get(key) != theirs.get(key):
            return f"{key} {_said(ours.get(key))} here, {_said(theirs.get(key))} asked"
    return ""


def _step_difference(here: Plan, asked: Plan) -> str:
    if len(here.steps) != len(asked.steps):
        return f"{len(here.steps)} fields here, {len(asked.steps)} asked"
    for ours, theirs in zip(here.steps, asked.steps, strict=True):
        for field in fields(ours):
            mine, other = getattr(ours, field.name), getattr(theirs, field.name)
            if mine != other:
                return f"{field.name} of {ours.name} {_said(mine)} here, {_said(other)} asked"
    return ""


def _said(value: object) -> str:
    describe = getattr(value, "describe", None)
    return f"({describe()})" if describe else str(value)


def _flat(table: dict[str, Any], path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{path}{key}.")
        else:
            flat[path + key] = value
    return flat
