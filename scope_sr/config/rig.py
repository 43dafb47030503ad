"""A rig: one microscope as its operator describes it, read from TOML."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from scope_sr.config.messages import one_line
from scope_sr.config.tables import (
    Camera,
    Deadlines,
    FocusLock,
    MicroManager,
    Name,
    Nosepiece,
    Objective,
    Specimen,
    Stage,
    Table,
)
from scope_sr.config.toml import parse_toml, read_toml
from scope_sr.config.truth import Simulation
from scope_sr.errors import InputError

BUILT_IN = ("simulated", "demo")
UNSTATED = {  # what a rig of real hardware must say of its stage, and how to find it out
    "x_limits_um": "drive to both ends of the slide and write [left, right] as x reads there",
    "y_limits_um": "drive to both ends of the slide and write [lower, upper] as y reads there",
    "z_limits_um": (
        "focus on the slide with each objective, read z, and write where the lens may go:"
        " escape_um below the lowest to a little above the highest"
    ),
    "toward_specimen": (
        "turn the focus knob so that lens and slide come together and write '+z' if z grows, else"
        " '-z'"
    ),
}


class Rig(Table):
    """A microscope as its operator describes it.

    ``source`` is the name or file it was read from, ``text`` the TOML as it stood there, ``folder``
    where its relative paths start.
    """

    name: Name
    backend: Literal["simulated", "demo", "micromanager"]
    low: Name
    high: Name
    calibration: str | None = None
    camera: Camera = Camera()
    stage: Stage = Stage()
    nosepiece: Nosepiece = Nosepiece()
    focus_lock: FocusLock = FocusLock()
    deadlines: Deadlines = Deadlines()
    micromanager: MicroManager | None = None
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
        slots = [objective.slot for objective in self.objectives.values()]
        if len(set(slots)) < len(slots):
            msg = f"two objectives share a slot of the nosepiece (slots {slots})"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _backend_has_what_it_needs(self) -> Rig:
        if (self.backend == "micromanager") != (self.micromanager is not None):
            msg = (
                "[micromanager] and backend = 'micromanager' belong together; the table says where"
                " Micro-Manager is (port = 4827)"
            )
            raise ValueError(msg)
        if self.backend == "micromanager":
            self._refuse_unstated_safety()
        unlabelled = [name for name, lens in self.objectives.items() if not lens.label]
        if self.backend != "simulated" and unlabelled:
            msg = (
                f"objectives.{unlabelled[0]}: label is missing; give its label on the nosepiece as"
                " Micro-Manager shows it"
            )
            raise ValueError(msg)
        if self.nosepiece.manual and self.backend != "micromanager":
            msg = "nosepiece.manual: only a stand behind Micro-Manager has one turned by hand"
            raise ValueError(msg)
        return self

    def _refuse_unstated_safety(self) -> None:
        """Refuse defaults nobody looked at: a real lens moves by them."""
        missing = [key for key in UNSTATED if key not in self.stage.model_fields_set]
        if missing:
            more = f" (missing too: {', '.join(missing[1:])})" if missing[1:] else ""
            msg = f"stage.{missing[0]}: missing; {UNSTATED[missing[0]]}{more}"
            raise ValueError(msg)
        for name, lens in self.objectives.items():
            if self.nosepiece.manual and lens.pixel_size_um is None:
                msg = (
                    f"objectives.{name}.pixel_size_um: missing; Micro-Manager cannot know it where"
                    " the nosepiece is turned by hand"
                )
                raise ValueError(msg)

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
        return hashlib.sha256(self.model_dump_json(exclude_defaults=True).encode()).hexdigest()


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
    text, _ = read_toml(path, "rig", f"; the built-in rigs are {' and '.join(BUILT_IN)}")
    return parse_rig(text, source=source, folder=path.resolve().parent)


def parse_rig(text: str, *, source: str, folder: Path) -> Rig:
    """Read a rig from TOML text; `source` is how messages call it, `folder` its home."""
    table = parse_toml(text, source)
    reserved = {"source", "text", "folder"} & table.keys()
    if reserved:
        msg = f"{source}: {min(reserved)}: unknown key; remove it"
        raise InputError(msg)
    try:
        return Rig.model_validate({**table, "source": source, "text": text, "folder": folder})
    except ValidationError as error:
        raise InputError(one_line(source, error, Rig)) from error
