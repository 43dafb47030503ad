"""What we ask for: rigs, written by people as TOML, read into frozen types.

Every key carries its unit in its name. Unknown keys, wrong types and impossible values are
refused with one line that names the file, the key, the value and the way out.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from scope_sr.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0)]
NotNegative = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0)]
Fraction = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, lt=1)]
Whole = Annotated[int, Field(strict=True)]
XY = tuple[Number, Number]
Axis = Literal["+x", "-x", "+y", "-y"]
AXES: dict[str, tuple[float, float]] = {"+x": (1, 0), "-x": (-1, 0), "+y": (0, 1), "-y": (0, -1)}
BUILT_IN = ("simulated", "demo")
Name = Annotated[str, Field(strict=True, min_length=1, max_length=60, pattern=r"^[\w.+-]+$")]


class Table(BaseModel):
    """A table of a TOML file: frozen, and refusing keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Camera(Table):
    """The camera, and how it is mounted as far as the operator knows.

    ``image_right`` and ``image_down`` say which way along the stage axes the specimen is seen when
    the eye walks right along a row, or down a column, of the image.
    """

    width_px: Annotated[Whole, Field(ge=16, le=16384)] = 1024
    height_px: Annotated[Whole, Field(ge=16, le=16384)] = 1024
    pixel_um: Positive = 5.0
    bits: Annotated[Whole, Field(ge=8, le=16)] = 8
    color: Annotated[bool, Field(strict=True)] = True
    readout_ms: NotNegative = 15.0
    image_right: Axis = "+x"
    image_down: Axis = "-y"

    @model_validator(mode="after")
    def _axes_differ(self) -> Camera:
        if self.image_right[1] == self.image_down[1]:
            msg = "image_right and image_down must name different axes, one x and one y"
            raise ValueError(msg)
        return self

    @property
    def full_scale(self) -> int:
        """Largest value a pixel can have."""
        return int(2**self.bits - 1)


class Stage(Table):
    """The XY stage and the focus drive: where they may go and how they are driven."""

    x_limits_um: XY = (-20000.0, 20000.0)
    y_limits_um: XY = (-15000.0, 15000.0)
    z_limits_um: XY = (-1000.0, 100.0)
    toward_specimen: Literal["+z", "-z"] = "+z"
    approach_um: tuple[NotNegative, NotNegative] = (20.0, 20.0)
    z_approach_um: NotNegative = 5.0
    tolerance_um: Positive = 2.0
    z_tolerance_um: Positive = 0.5
    speed_um_per_s: Positive = 10000.0
    z_speed_um_per_s: Positive = 1000.0
    settle_ms: NotNegative = 50.0

    @model_validator(mode="after")
    def _limits_in_order(self) -> Stage:
        for axis in "xyz":
            low, high = getattr(self, f"{axis}_limits_um")
            if low >= high:
                msg = f"{axis}_limits_um = [{low:g}, {high:g}]: the first must be the smaller"
                raise ValueError(msg)
        return self


class Nosepiece(Table):
    """The objective turret: how far to retract before it turns, and how long a turn takes."""

    escape_um: Positive = 500.0
    turn_s: NotNegative = 1.5


class Objective(Table):
    """One objective, and what the operator knows about it before it is calibrated."""

    slot: Annotated[Whole, Field(ge=1, le=12)]
    magnification: Positive
    numerical_aperture: Annotated[Number, Field(gt=0, lt=1.7)]
    exposure_ms: Positive = 10.0
    pixel_size_um: Positive | None = None
    parcentric_um: XY = (0.0, 0.0)
    parfocal_um: Number = 0.0
    label: Annotated[str, Field(strict=True, min_length=1)] | None = None


class Deadlines(Table):
    """How long a device may take before it counts as dead, in s beyond the expected time."""

    move_s: Positive = 10.0
    turn_s: Positive = 20.0
    snap_s: Positive = 10.0


class Specimen(Table):
    """What lies under the simulated objective: tissue of the package, or an image of the user's."""

    tissue: Literal["tnbc", "procedural"] | None = None
    image: str | None = None
    um_per_px: Positive | None = None
    labels: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Specimen:
        if self.tissue and self.image:
            msg = "give either tissue or image, not both"
            raise ValueError(msg)
        if self.image and self.um_per_px is None:
            msg = "um_per_px is missing: how many µm is one pixel of the image?"
            raise ValueError(msg)
        if not self.image and (self.um_per_px is not None or self.labels is not None):
            msg = "um_per_px and labels belong to an image; name it with image = 'slide.tif'"
            raise ValueError(msg)
        return self


class TrueObjective(Table):
    """What an objective of the simulated microscope really does."""

    pixel_size_um: Positive | None = None
    parcentric_um: XY = (0.0, 0.0)
    parfocal_um: Number = 0.0
    distortion: Annotated[Number, Field(ge=-0.1, le=0.1)] = 0.0
    lateral_chromatic: XY = (0.0, 0.0)
    axial_chromatic_um: XY = (0.0, 0.0)
    vignetting: Fraction = 0.0
    illumination_centre: XY = (0.0, 0.0)
    color_gain: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)
    light_e_per_ms: Positive = 870.0


class TrueCamera(Table):
    """What the sensor of the simulated camera really does."""

    rotation_deg: Annotated[Number, Field(ge=-45, le=45)] = 0.0
    full_well_e: Positive = 10000.0
    read_noise_e: NotNegative = 6.0
    gain_e_per_dn: Positive | None = None
    dark_dn: NotNegative = 0.0
    pixel_response: Fraction = 0.0
    dust: Annotated[Whole, Field(ge=0, le=1000)] = 0


class TrueStage(Table):
    """What the mechanics of the simulated stage really do."""

    repeatability_um: NotNegative = 0.0
    z_repeatability_um: NotNegative = 0.0
    backlash_um: tuple[NotNegative, NotNegative] = (0.0, 0.0)
    z_backlash_um: NotNegative = 0.0
    drift_um_per_min: tuple[Number, Number, Number] = (0.0, 0.0, 0.0)
    speed_um_per_s: Positive = 10000.0
    acceleration_um_per_s2: Positive = 100000.0
    z_speed_um_per_s: Positive = 1000.0
    settle_ms: NotNegative = 50.0


class TrueNosepiece(Table):
    """What the simulated nosepiece really does at each turn."""

    repeatability_um: NotNegative = 0.0
    z_repeatability_um: NotNegative = 0.0
    turn_s: NotNegative = 1.5


class Surface(Table):
    """How far the tissue lies from the plane of the stage."""

    tilt_um_per_mm: XY = (0.0, 0.0)
    relief_um: NotNegative = 0.0
    relief_scale_um: Positive = 1000.0


class Simulation(Table):
    """The truth of the simulated microscope; only the simulator reads it."""

    seed: Annotated[Whole, Field(ge=0, lt=2**31)] = 0
    clock: Literal["real", "virtual"] = "real"
    objectives: dict[Name, TrueObjective] = {}
    camera: TrueCamera = TrueCamera()
    stage: TrueStage = TrueStage()
    nosepiece: TrueNosepiece = TrueNosepiece()
    surface: Surface = Surface()


class Rig(Table):
    """A microscope as its operator describes it.

    ``source`` is the name or file it was read from, ``text`` the TOML as it stood there, ``folder``
    where its relative paths start.
    """

    name: Name
    backend: Literal["simulated", "demo"]
    low: Name
    high: Name
    calibration: str | None = None
    camera: Camera = Camera()
    stage: Stage = Stage()
    nosepiece: Nosepiece = Nosepiece()
    deadlines: Deadlines = Deadlines()
    objectives: dict[Name, Objective]
    specimen: Specimen = Specimen(tissue="tnbc")
    simulation: Simulation = Simulation()

    source: str = Field(default="", exclude=True, repr=False)
    text: str = Field(default="", exclude=True, repr=False)
    folder: Path = Field(default=Path(), exclude=True, repr=False)

    @model_validator(mode="after")
    def _names_agree(self) -> Rig:
        known = ", ".join(self.objectives) or "none"
        for key, name in (("low", self.low), ("high", self.high)):
            if name not in self.objectives:
                msg = f"{key} = {name!r} is not among the objectives ({known})"
                raise ValueError(msg)
        for name in self.simulation.objectives:
            if name not in self.objectives:
                msg = f"simulation.objectives.{name} is not among the objectives ({known})"
                raise ValueError(msg)
        unlabelled = [name for name, lens in self.objectives.items() if not lens.label]
        if self.backend != "simulated" and unlabelled:
            msg = (
                f"objectives.{unlabelled[0]}: label is missing; give its label on the nosepiece as"
                " Micro-Manager shows it"
            )
            raise ValueError(msg)
        slots = [objective.slot for objective in self.objectives.values()]
        if len(set(slots)) < len(slots):
            msg = f"two objectives share a slot of the nosepiece (slots {slots})"
            raise ValueError(msg)
        return self

    def pixel_size_um(self, objective: str) -> float:
        """Nominal µm per pixel: as the rig states it, else camera pixel over magnification."""
        lens = self.objectives[objective]
        return lens.pixel_size_um or self.camera.pixel_um / lens.magnification

    @property
    def toward(self) -> float:
        """Sign of the focus drive's way toward the specimen."""
        return 1.0 if self.stage.toward_specimen == "+z" else -1.0

    @property
    def digest(self) -> str:
        """SHA-256 of the settings; comments and the order of keys do not count."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def load_rig(name_or_path: str | Path = "simulated") -> Rig:
    """Read a rig by its file, or a built-in one by its name: ``simulated`` or ``demo``.

    Raises
    ------
    InputError
        The file is missing, is not TOML, or holds a key or value that cannot be.

    Examples
    --------
    >>> rig = load_rig("simulated")
    >>> rig.low, rig.high, rig.pixel_size_um("20x")
    ('10x', '20x', 0.25)
    """
    source = str(name_or_path)
    if source in BUILT_IN:
        text = (files("scope_sr") / f"{source}.toml").read_text(encoding="utf-8")
        return parse_rig(text, source=source, folder=Path.cwd())
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        msg = f"{path}: no such rig file; the built-in rigs are {' and '.join(BUILT_IN)}"
        raise InputError(msg) from error
    except (IsADirectoryError, PermissionError) as error:
        kind = "a folder; name a rig file in it" if path.is_dir() else "not to be read by you"
        msg = f"{path}: {kind}"
        raise InputError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path}: not a text file in UTF-8 (byte {error.start}); a rig is a TOML file"
        raise InputError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"{path}: cannot be read as a rig file ({reason(error)})"
        raise InputError(msg) from error
    return parse_rig(text, source=source, folder=path.resolve().parent)


def parse_rig(text: str, *, source: str, folder: Path) -> Rig:
    """Read a rig from TOML text; `source` is how messages call it, `folder` its home."""
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        msg = f"{source}: not valid TOML: {error}{_toml_hint(text, str(error))}"
        raise InputError(msg) from error
    reserved = {"source", "text", "folder"} & table.keys()
    if reserved:
        msg = f"{source}: {min(reserved)}: unknown key; remove it"
        raise InputError(msg)
    try:
        return Rig.model_validate({**table, "source": source, "text": text, "folder": folder})
    except ValidationError as error:
        raise InputError(one_line(source, error, Rig)) from error


def _toml_hint(text: str, fault: str) -> str:
    """Recognise the two slips people make most, in the line the parser points to."""
    place = re.search(r"line (\d+)", fault)
    lines = text.splitlines()
    line = lines[int(place[1]) - 1] if place and int(place[1]) <= len(lines) else ""
    if "\\" in line:
        return "; write Windows paths with / or in 'single quotes'"
    if re.search(r"=\s*-?\d+,\d", line):
        return "; write decimals with a point"
    return ""


def reason(error: BaseException) -> str:
    """Give the system's own words for an error, without its numbers and paths."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def one_line(source: str, error: ValidationError, model: type[BaseModel]) -> str:
    """Put a pydantic error into one line: file, key, value, what is wrong, the way out."""
    faults = sorted(
        error.errors(include_url=False), key=lambda fault: fault["type"] != "extra_forbidden"
    )
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{source}: {_fault(faults[0], model)}{more}"


def _fault(fault: ErrorDetails, model: type[BaseModel]) -> str:
    path = [str(part) for part in fault["loc"]]
    key = ".".join(path) or "the whole file"
    value = _short(fault["input"])
    match fault["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(path[-1], _keys_beside(path, model), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else "remove it or look in configs/"
            return f"{key} = {value}: unknown key; {hint}"
        case "missing":
            return f"{key}: missing; add it (configs/simulated.toml shows every key)"
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
