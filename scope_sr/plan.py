"""A plan is data: every capture of a session, complete before anything moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scope_sr.frame import Position

Pass = Literal["low", "high"]
Coverage = Literal["inscribed", "full", "center"]
Order = Literal["serpentine", "raster"]


@dataclass(frozen=True)
class Step:
    """One planned capture.

    Attributes
    ----------
    name
        Unique, and the path of its file without the ending: ``low/r00c01`` is the low-magnification
        field in row 0, column 1 of the grid, ``high/r00c01-r01c00`` the high-magnification field in
        row 1, column 0 within it.
    parent
        Name of the low-magnification field a high one lies in; empty for low fields.
    """

    name: str
    pass_: Pass
    objective: str
    row: int
    column: int
    position: Position
    exposure_ms: float
    parent: str = ""


@dataclass(frozen=True)
class Plan:
    """Two passes over a grid: the whole low grid, one turn of the nosepiece, the whole high grid.

    ``pixel_size_um`` and ``matrices`` (µm per px, from image to stage) are per objective, as known
    when the plan was made.
    """

    rig: str
    low: str
    high: str
    rows: int
    columns: int
    overlap: float
    coverage: Coverage
    order: Order
    tissue_only: bool
    origin: Position
    pixel_size_um: dict[str, float]
    steps: tuple[Step, ...]
