"""Option types the commands share: grids, shares, places on the stage."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from scope_sr.frame import Position
from scope_sr.grid import parse_grid

INTERRUPTED = 130  # the exit code a shell expects of a program ended by Ctrl-C


class GridType(click.ParamType):
    """``RxC``: rows and columns of low-magnification fields."""

    name = "RxC"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        """Read ``3x5`` as (3, 5)."""
        try:
            return value if isinstance(value, tuple) else parse_grid(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class ShareType(click.ParamType):
    """A share below a half, as ``10%`` or ``0.1``."""

    name = "SHARE"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Read ``10%`` and ``0.1`` as 0.1."""
        if isinstance(value, float):
            return value
        text = value.strip()
        percent = text.endswith("%")
        try:
            share = float(text.removesuffix("%")) / (100 if percent else 1)
        except ValueError:
            self.fail(f"{value!r} is not a share; write 10% or 0.1", param, ctx)
        if not 0 <= share <= 0.5:
            self.fail(f"{value!r} is not between 0 and 50 %; write 10% or 0.1", param, ctx)
        return share


class PlaceType(click.ParamType):
    """``X,Y`` or ``X,Y,Z`` in µm of the stage; z is nan where it was not given."""

    name = "X,Y[,Z]"

    def convert(self, value: Any, param: Any, ctx: Any) -> Position:
        """Read ``1200,-350`` as a position."""
        if isinstance(value, Position):
            return value
        try:
            numbers = [float(part) for part in value.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) not in {2, 3} or not all(map(math.isfinite, numbers)):
            self.fail(f"{value!r} is not a stage position; write X,Y in µm, like 1200,-350", param)
        return Position(*numbers, *([math.nan] if len(numbers) == 2 else []))


class FolderType(click.ParamType):
    """A folder that need not be there yet; not an option that slipped into its place."""

    name = "DIR"

    def convert(self, value: Any, param: Any, ctx: Any) -> Path:
        """Read a path, refusing what looks like the next option."""
        if isinstance(value, Path):
            return value
        if not value.strip() or value.startswith("-"):
            self.fail(f"{value!r} is no folder; write the folder's name after the option", param)
        return Path(value)
