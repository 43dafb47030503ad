"""The calibration record: pixels, µm and objectives mapped onto each other.

A pixel offset ``d`` seen with objective ``o`` while the stage stands at ``p`` shows the specimen
point ``p + A_o d + t_o``. ``A_o`` (2x2, µm per px) carries pixel size, camera rotation and flips;
``t_o`` is the parcentric offset, zero for the reference objective; ``z_o`` is the parfocal offset,
the focus of ``o`` minus the focus of the reference.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
from pathlib import Path
from typing import Literal

import numpy as np
import tifffile
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator
from pydantic.json_schema import SkipJsonSchema

from scope_sr.calibration.quantities import (
    CameraCalibration,
    Channels,
    Check,
    CourseSoFar,
    Fingerprint,
    FocusCalibration,
    Measured,
    StageCalibration,
)
from scope_sr.config import AXES, XY, Number, Rig, one_line, reason
from scope_sr.errors import InputError
from scope_sr.frame import Position

SCHEMA: Literal["scope-sr/calibration/2"] = "scope-sr/calibration/2"
RECORD, PARTIAL = "record.json", "so-far.json"
# What tifffile and struct raise on damaged files.
DAMAGED = (
    OSError, ValueError, RuntimeError, LookupError, TypeError, ArithmeticError, MemoryError,
    struct.error,
)  # fmt: skip


class ObjectiveCalibration(Measured):
    """What is known of one objective.

    Attributes
    ----------
    affine_um_per_px
        A at the image centre; ``scale_sigma`` (a fraction) and ``rotation_sigma_mrad`` say how
        well.
    parcentric_um, parfocal_um
        Against the reference objective; their sigmas are of the mean, ``turret_sigma_um`` is how
        far one turn of the nosepiece differs from another, in x, y and focus.
    distortion
        A pixel offset d looks at ``A d (1 + distortion |d|²/R²)``, R half the diagonal in pixels.
    lateral_chromatic
        Size of the red and of the blue image against the green, minus 1.
    exposure_ms, glass_dn, white_gains, flat, dark
        The exposure that puts glass near full scale, its grey level above dark per channel, the
        gains that make it neutral, and the files of flat-field and dark in the record's folder.
    """

    affine_um_per_px: tuple[XY, XY]
    scale_sigma: Number | None = None
    rotation_sigma_mrad: Number | None = None
    distortion: Number = 0.0
    distortion_sigma: Number | None = None
    parcentric_um: XY = (0.0, 0.0)
    parcentric_sigma_um: XY | None = None
    parfocal_um: Number = 0.0
    parfocal_sigma_um: Number | None = None
    turret_sigma_um: tuple[Number, Number, Number] | None = None
    lateral_chromatic: XY | None = None
    lateral_chromatic_sigma: XY | None = None
    exposure_ms: Number | None = None
    glass_dn: Channels = ()
    white_gains: Channels = ()
    flat: str | None = None
    dark: str | None = None

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


class PairCalibration(Measured):
    """How the colours of the high objective follow from those of the low one.

    ``color_matrix`` (3x4) maps flat-corrected RGB of `low` and a 1 onto that of `high`, in grey
    levels; for a monochrome camera it is 1x2.
    """

    low: str
    high: str
    color_matrix: tuple[tuple[Number, ...], ...]
    residual_dn: Number


class CalibrationRecord(Measured):
    """What was measured on a rig, or, with ``measured`` false, what its rig file claims.

    ``blank_um`` and ``tissue_um`` are stage positions (x, y) of the reference objective where glass
    and tissue were found when it was made: of that slide, as a first guess for the next.

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

    schema_version: Literal["scope-sr/calibration/1", "scope-sr/calibration/2"] = SCHEMA
    rig: str
    made_at: str = ""
    software: str = ""
    measured: bool = True
    reference: str = ""
    fingerprint: Fingerprint | None = None
    objectives: dict[str, ObjectiveCalibration]
    stage: StageCalibration | None = None
    camera: CameraCalibration | None = None
    focus: FocusCalibration | None = None
    pairs: tuple[PairCalibration, ...] = ()
    blank_um: XY | None = None
    tissue_um: XY | None = None
    checks: tuple[Check, ...] = ()
    course: CourseSoFar | None = None

    folder: SkipJsonSchema[Path | None] = Field(default=None, exclude=True, repr=False)

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
        home = cls.home_of(rig)
        dated = sorted((path.parent for path in home.glob(f"*/{RECORD}")), key=_age)
        if rig.calibration is None and not dated:
            return cls.nominal(rig)
        return cls.load(dated[-1] if dated else home)

    @staticmethod
    def home_of(rig: Rig) -> Path:
        """Give the folder of a rig's records: as the rig says, else calibration/NAME beside it."""
        return rig.folder / (rig.calibration or f"calibration/{rig.name}")

    @classmethod
    def load(cls, folder: Path, name: str = RECORD) -> CalibrationRecord:
        """Read the record of a folder.

        Raises
        ------
        InputError
            There is no record, or it is not one this version can read.
        """
        path = folder / name
        try:
            read = cls.model_validate_json(path.read_text(encoding="utf-8"))
            return read.model_copy(update={"folder": folder})
        except FileNotFoundError as error:
            msg = f"{path}: no calibration record there; correct or remove calibration in the rig"
            raise InputError(msg) from error
        except ValidationError as error:
            said = one_line(
                str(path), error, cls, example="scope_sr/calibration/record.schema.json"
            )
            msg = f"{said}; correct it or calibrate again"
            raise InputError(msg) from error
        except (OSError, ValueError) as error:
            msg = f"{path}: cannot be read ({reason(error)}); calibrate again"
            raise InputError(msg) from error

    def save(self, folder: Path, name: str = RECORD) -> None:
        """Write the record into the folder, with the flat and dark fields it names.

        A file appears under its name when it is whole.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for lens in self.objectives.values():
            for field in filter(None, (lens.flat, lens.dark)):
                if self.folder is not None and self.folder != folder:
                    _write_whole(folder / field, (self.folder / field).read_bytes())
        self._copy_pictures(folder)
        text = self.model_dump_json(indent=2, exclude_defaults=True, exclude={"schema_version"})
        head = f'{{\n  "schema_version": "{SCHEMA}",'
        _write_whole(folder / name, (head + text[1:] + "\n").encode())

    def _copy_pictures(self, folder: Path) -> None:
        if self.folder is None or self.folder == folder:
            return
        for name in {check.picture for check in self.checks if check.picture}:
            if (self.folder / name).is_file():
                _write_whole(folder / name, (self.folder / name).read_bytes())

    @property
    def digest(self) -> str:
        """SHA-256 of what it says; an older record and its copy of today say the same."""
        text = self.model_dump_json(exclude_defaults=True, exclude={"schema_version"})
        return hashlib.sha256(text.encode()).hexdigest()

    def refuse_other_instrument(
        self, rig: Rig, camera: str, objectives: tuple[str, ...] = ()
    ) -> None:
        """Refuse to serve another camera, ROI, binning, depth or nosepiece slot than its own.

        Parameters
        ----------
        camera
            What the camera says of itself now.
        objectives
            Those that will be used; all of the record without.

        Raises
        ------
        InputError
            With the record's folder, the first difference and the ways out.
        """
        if self.fingerprint is None:
            return
        used = objectives or tuple(n for n in self.objectives if n in self.fingerprint.slots)
        difference = self.fingerprint.difference(Fingerprint.of(rig, camera), used)
        if difference:
            msg = (
                f"{self.folder or 'the calibration record'}: {difference}; calibrate again"
                f" (scope-sr calibrate --rig {rig.source}) and begin in a new folder, or put it"
                " back as it was; nothing moved"
            )
            raise InputError(msg)

    def field(self, objective: str, kind: Literal["flat", "dark"]) -> NDArray[np.float32] | None:
        """Read the flat-field (mean 1) or dark (grey levels) of an objective; None without one.

        Raises
        ------
        InputError
            The record names a file that is not there or cannot be read.
        """
        name = getattr(self.objectives[objective], kind)
        if name is None or self.folder is None:
            return None
        try:
            plane = np.asarray(tifffile.imread(self.folder / name), np.float32)
            if not plane.size:
                msg = "it holds no pixels"
                raise ValueError(msg)
            return plane
        except DAMAGED as error:
            msg = f"{self.folder / name}: cannot be read ({reason(error)}); calibrate again"
            raise InputError(msg) from error

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

    def position(
        self, objective: str, specimen_um: tuple[float, float], focus_um: float
    ) -> Position:
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
        return self.position(target, self.specimen_um(origin, position), focus_um)


def _age(folder: Path) -> list[int]:
    """Sort 2026-11-23-10 after 2026-11-23-9."""
    return [int(number) for number in re.findall(r"\d+", folder.name)]


def _write_whole(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
