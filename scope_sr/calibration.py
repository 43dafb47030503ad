"""The only place that maps pixels, µm and objectives onto each other.

A pixel offset ``d`` seen with objective ``o`` while the stage stands at ``p`` shows the specimen
point ``p + A_o d + t_o``. ``A_o`` (2x2, µm per px) carries pixel size, camera rotation and flips;
``t_o`` is the parcentric offset, zero for the reference objective; ``z_o`` is the parfocal offset,
the focus of ``o`` minus the focus of the reference.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from scope_sr.config import AXES, XY, Number, Rig, one_line, reason
from scope_sr.errors import InputError
from scope_sr.frame import Position

SCHEMA: Literal["scope-sr/calibration/1"] = "scope-sr/calibration/1"


class ObjectiveCalibration(BaseModel):
    """What is known of one objective: its affine (µm per px) and its offsets (µm)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    affine_um_per_px: tuple[XY, XY]
    parcentric_um: XY = (0.0, 0.0)
    parfocal_um: Number = 0.0

    @model_validator(mode="after")
    def _invertible(self) -> ObjectiveCalibration:
        (a, b), (c, d) = self.affine_um_per_px
        if abs(a * d - b * c) < 1e-12:
            msg = "affine_um_per_px has no area: a pixel would cover no specimen"
            raise ValueError(msg)
        return self

    @property
    def affine(self) -> NDArray[np.float64]:
        """``A``, shape (2, 2), µm per px."""
        return np.array(self.affine_um_per_px, dtype=np.float64)

    @property
    def pixel_size_um(self) -> float:
        """Side of a square of the same area as one pixel covers, in µm."""
        return math.sqrt(abs(float(np.linalg.det(self.affine))))


class CalibrationRecord(BaseModel):
    """What was measured on a rig, or, with ``measured`` false, what its rig file claims.

    Examples
    --------
    >>> from scope_sr.config import load_rig
    >>> record = CalibrationRecord.nominal(load_rig("simulated"))
    >>> record.objectives["20x"].pixel_size_um
    0.25
    >>> here = Position(100.0, 50.0, 0.0)
    >>> record.transfer(here, "10x", "20x")
    Position(x_um=138.0, y_um=29.0, z_um=4.0)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["scope-sr/calibration/1"] = SCHEMA
    rig: str
    made_at: str = ""
    measured: bool = True
    objectives: dict[str, ObjectiveCalibration]

    @classmethod
    def nominal(cls, rig: Rig) -> CalibrationRecord:
        """Take the operator's word: engraved scale, axes as mounted, offsets as typed."""
        axes = np.array([AXES[rig.camera.image_right], AXES[rig.camera.image_down]]).T

        def believed(name: str) -> ObjectiveCalibration:
            (a, b), (c, d) = (axes * rig.pixel_size_um(name)).tolist()
            lens = rig.objectives[name]
            return ObjectiveCalibration(
                affine_um_per_px=((a, b), (c, d)),
                parcentric_um=lens.parcentric_um,
                parfocal_um=lens.parfocal_um,
            )

        return cls(
            rig=rig.name, measured=False, objectives={n: believed(n) for n in rig.objectives}
        )

    @classmethod
    def of_rig(cls, rig: Rig) -> CalibrationRecord:
        """Load the newest record of the rig's calibration folder, or the nominal one without it."""
        if rig.calibration is None:
            return cls.nominal(rig)
        home = rig.folder / rig.calibration
        dated = sorted(path.parent for path in home.glob("*/record.json"))
        record = cls.load(dated[-1] if dated else home)
        unknown = [name for name in (rig.low, rig.high) if name not in record.objectives]
        if unknown:
            msg = (
                f"{home}: the record of rig {record.rig!r} knows no objective {unknown[0]!r};"
                f" calibrate again or remove calibration from {rig.source}"
            )
            raise InputError(msg)
        return record

    @classmethod
    def load(cls, folder: Path) -> CalibrationRecord:
        """Read ``record.json`` of a folder.

        Raises
        ------
        InputError
            There is no record, or it is not one this version can read.
        """
        path = folder / "record.json"
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            msg = f"{path}: no calibration record there; correct or remove calibration in the rig"
            raise InputError(msg) from error
        except ValidationError as error:
            raise InputError(one_line(str(path), error, cls)) from error
        except (OSError, ValueError) as error:
            msg = f"{path}: cannot be read ({reason(error)})"
            raise InputError(msg) from error

    def save(self, folder: Path) -> None:
        """Write ``record.json`` into the folder, making it if needed."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "record.json").write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @property
    def digest(self) -> str:
        """SHA-256 of the record."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def specimen_um(
        self, objective: str, stage: Position, offset_px: tuple[float, float] = (0.0, 0.0)
    ) -> tuple[float, float]:
        """Give the specimen point (µm) seen at a pixel offset from the image centre."""
        lens = self.objectives[objective]
        x, y = lens.affine @ np.asarray(offset_px, dtype=float) + lens.parcentric_um
        return stage.x_um + float(x), stage.y_um + float(y)

    def offset_px(
        self, objective: str, stage: Position, specimen_um: tuple[float, float]
    ) -> tuple[float, float]:
        """Give the pixel offset from the image centre at which a specimen point is seen."""
        centre_um = self.specimen_um(objective, stage)
        x, y = np.linalg.solve(
            self.objectives[objective].affine, np.subtract(specimen_um, centre_um)
        )
        return float(x), float(y)

    def stage(self, objective: str, specimen_um: tuple[float, float], focus_um: float) -> Position:
        """Give the stage position that puts a specimen point on the image centre, in focus.

        `focus_um` is the focus of the reference objective there.
        """
        lens = self.objectives[objective]
        return Position(
            specimen_um[0] - lens.parcentric_um[0],
            specimen_um[1] - lens.parcentric_um[1],
            focus_um + lens.parfocal_um,
        )

    def transfer(self, position: Position, origin: str, target: str) -> Position:
        """Give the position where `target` sees, in focus, what `origin` sees at `position`."""
        focus_um = position.z_um - self.objectives[origin].parfocal_um
        return self.stage(target, self.specimen_um(origin, position), focus_um)
