"""What an operator says of an instrument, as tables of a TOML file.

Every key carries its unit in its name.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0)]
NotNegative = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0)]
Fraction = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, lt=1)]
Whole = Annotated[int, Field(strict=True)]
XY = tuple[Number, Number]
Axis = Literal["+x", "-x", "+y", "-y"]
AXES: dict[str, tuple[float, float]] = {"+x": (1, 0), "-x": (-1, 0), "+y": (0, 1), "-y": (0, -1)}
Name = Annotated[str, Field(strict=True, min_length=1, max_length=60, pattern=r"^[\w.+-]+$")]
Label = Annotated[str, Field(strict=True, min_length=1)]


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
    stable_ms: NotNegative = 0.0

    @model_validator(mode="after")
    def _limits_in_order(self) -> Stage:
        for axis in "xyz":
            low, high = getattr(self, f"{axis}_limits_um")
            if low >= high:
                msg = f"{axis}_limits_um = [{low:g}, {high:g}]: the first must be the smaller"
                raise ValueError(msg)
        return self


class Nosepiece(Table):
    """The objective turret: how far to retract before it turns, and who turns it."""

    escape_um: Positive = 500.0
    turn_s: NotNegative = 1.5
    manual: Annotated[bool, Field(strict=True)] = False


class FocusLock(Table):
    """What holds the focus by itself (Perfect Focus): when it counts as locked, how far it may go.

    It is switched off before the focus drive moves or the nosepiece turns, and on again in focus
    if it was on before.
    """

    stable_s: Positive = 1.5
    stable_um: Positive = 0.2
    range_um: Positive = 20.0


class Objective(Table):
    """One objective, and what the operator knows about it before it is calibrated."""

    slot: Annotated[Whole, Field(ge=1, le=12)]
    magnification: Positive
    numerical_aperture: Annotated[Number, Field(gt=0, lt=1.7)]
    exposure_ms: Positive = 10.0
    pixel_size_um: Positive | None = None
    parcentric_um: XY = (0.0, 0.0)
    parfocal_um: Number = 0.0
    label: Label | None = None


class Deadlines(Table):
    """How long a device may take before it counts as dead, in s beyond the expected time."""

    move_s: Positive = 10.0
    turn_s: Positive = 20.0
    snap_s: Positive = 10.0
    lock_s: Positive = 15.0


class Labels(Table):
    """What Micro-Manager calls the devices, where its own roles do not say it or say it wrongly."""

    camera: Label | None = None
    xy_stage: Label | None = None
    focus_drive: Label | None = None
    focus_lock: Label | None = None
    nosepiece: Label | None = None
    magnifier: Label | None = None


class MicroManager(Table):
    """Which Micro-Manager: a running one by its port, or a configuration loaded by this program."""

    port: Annotated[Whole, Field(ge=1, le=65535)] | None = None
    config: Label | None = None
    adapters: Label | None = None
    magnifier_at: Label | None = None
    labels: Labels = Labels()

    @model_validator(mode="after")
    def _one_way_in(self) -> MicroManager:
        if (self.port is None) == (self.config is None):
            msg = (
                "give port (of a running Micro-Manager, usually 4827) or config (a .cfg this"
                " program loads itself), one of them"
            )
            raise ValueError(msg)
        if (self.config is None) != (self.adapters is None):
            msg = "config and adapters belong together: adapters is Micro-Manager's own folder"
            raise ValueError(msg)
        if (self.labels.magnifier is None) != (self.magnifier_at is None):
            msg = (
                "labels.magnifier and magnifier_at belong together: which device is the"
                " intermediate magnification, and at which of its labels the rig holds"
            )
            raise ValueError(msg)
        return self


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
