"""What a Micro-Manager core says about itself: read, never set; nothing moves.

The core is duck-typed: any object with MMCore's names in snake_case, in this process or elsewhere.
What it does not answer is None here, and why stands in ``Inventory.unanswered``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

# MM::DeviceType, by number: over the bridge only the number comes
KINDS = {
    2: "camera",
    3: "shutter",
    4: "state device",
    5: "focus drive",
    6: "XY stage",
    7: "serial port",
    8: "generic",
    9: "autofocus",
    10: "core",
    11: "image processor",
    12: "signal in/out",
    13: "magnifier",
    14: "SLM",
    15: "hub",
    16: "galvo",
    17: "pressure pump",
    18: "volumetric pump",
}
STATE_DEVICE = KINDS[4]


@dataclass(frozen=True)
class Device:
    """A loaded device; `library` is its adapter, `kind` its type in words."""

    label: str
    library: str | None
    name: str | None
    kind: str | None
    description: str | None


@dataclass(frozen=True)
class Roles:
    """The labels of the devices the core uses by default; empty where no device has the role."""

    camera: str | None
    xy_stage: str | None
    focus: str | None
    autofocus: str | None
    shutter: str | None
    image_processor: str | None


@dataclass(frozen=True)
class StateDevice:
    """A device of numbered positions, such as a nosepiece; labels stand in their order."""

    device: str
    labels: tuple[str, ...]
    present: str | None


@dataclass(frozen=True)
class Setting:
    """One property of one device, and a value for it."""

    device: str
    property: str
    value: str

    def __str__(self) -> str:
        """Say it as Micro-Manager's windows do."""
        return f"{self.device}-{self.property} = {self.value}"


@dataclass(frozen=True)
class Preset:
    """A pixel-size preset: it holds while all its conditions do; µm at binning 1.

    ``conditions`` is None where they could not be read, which is not the same as none.
    """

    name: str
    pixel_size_um: float | None
    conditions: tuple[Setting, ...] | None


@dataclass(frozen=True)
class PixelSize:
    """The pixel size the core reckons with now; 0 µm says that no preset holds."""

    now_um: float | None
    preset: str | None
    affine: tuple[float, ...] | None
    magnification: float | None


@dataclass(frozen=True)
class Camera:
    """The camera as it is set now; `mirroring` are its Transpose and Mirror properties."""

    width_px: int | None
    height_px: int | None
    bits: int | None
    bytes_per_px: int | None
    components: int | None
    pixel_type: str | None
    binning: str | None
    exposure_ms: float | None
    mirroring: tuple[Setting, ...]

    @property
    def color(self) -> bool | None:
        """Whether a pixel has several components."""
        return None if self.components is None else self.components > 1


@dataclass(frozen=True)
class Limits:
    """The limits of a property of a drive."""

    device: str
    property: str
    low: float
    high: float


@dataclass(frozen=True)
class Stage:
    """Where the stage and the focus drive stand, and what is known of their way.

    ``focus_direction`` is 1 where a growing z brings lens and specimen together, -1 where it parts
    them and 0 where nobody has said.
    """

    x_um: float | None
    y_um: float | None
    z_um: float | None
    focus_direction: int | None
    limits: tuple[Limits, ...]


@dataclass(frozen=True)
class Inventory:
    """What a Micro-Manager core says about itself."""

    version: str | None
    interface: str | None
    devices: tuple[Device, ...]
    roles: Roles
    states: tuple[StateDevice, ...]
    presets: tuple[Preset, ...]
    pixel_size: PixelSize
    camera: Camera | None
    stage: Stage
    focus_lock_on: bool | None
    focus_locked: bool | None
    live: bool | None
    startup: tuple[Setting, ...]
    unanswered: tuple[str, ...]


def take_inventory(core: Any) -> Inventory:
    """Ask a core for all it says about itself.

    Parameters
    ----------
    core
        Any object with MMCore's methods in snake_case. It is only read. A method that is missing
        or fails leaves a gap, and its words in ``unanswered``.
    """
    ask = _Asker(core)
    version = ask(_text, "get_version_info")
    interface = ask(_text, "get_api_version_info")
    devices = _devices(ask)
    roles = _roles(ask)
    states = _states(ask, devices)
    presets = _presets(ask)
    pixel_size = _pixel_size(ask)
    camera = _camera(ask, roles.camera) if roles.camera else None
    stage = _stage(ask, roles)
    lock_on = ask(bool, "is_continuous_focus_enabled") if roles.autofocus else None
    locked = ask(bool, "is_continuous_focus_locked") if roles.autofocus else None
    live = ask(bool, "is_sequence_running") if roles.camera else None
    startup = _startup(ask)
    return Inventory(
        version=version,
        interface=interface,
        devices=devices,
        roles=roles,
        states=states,
        presets=presets,
        pixel_size=pixel_size,
        camera=camera,
        stage=stage,
        focus_lock_on=lock_on,
        focus_locked=locked,
        live=live,
        startup=startup,
        unanswered=tuple(ask.unanswered),
    )


class _Asker:
    """Asks a core, reads what it says, and goes on where it says nothing useful."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self.unanswered: list[str] = []

    def __call__(self, read: Callable[[Any], T], verb: str, *values: object) -> T | None:
        try:
            return read(getattr(self._core, verb)(*values))
        except Exception as error:  # noqa: BLE001 - cores raise what they like, some a bare Exception
            asked = " ".join([verb, *map(str, values)])
            self.unanswered.append(f"{asked}: {_in_words(error)}")
            return None

    def all(self, verb: str, *values: object) -> tuple[str, ...]:
        """Ask for a list of names; empty where there is no answer."""
        return self(_names, verb, *values) or ()


def _devices(ask: _Asker) -> tuple[Device, ...]:
    return tuple(
        Device(
            label,
            ask(_text, "get_device_library", label),
            ask(_text, "get_device_name", label),
            ask(_kind, "get_device_type", label),
            ask(_text, "get_device_description", label),
        )
        for label in ask.all("get_loaded_devices")
        if label != "Core"
    )


def _roles(ask: _Asker) -> Roles:
    return Roles(
        camera=ask(_text, "get_camera_device"),
        xy_stage=ask(_text, "get_xy_stage_device"),
        focus=ask(_text, "get_focus_device"),
        autofocus=ask(_text, "get_auto_focus_device"),
        shutter=ask(_text, "get_shutter_device"),
        image_processor=ask(_text, "get_image_processor_device"),
    )


def _states(ask: _Asker, devices: Iterable[Device]) -> tuple[StateDevice, ...]:
    return tuple(
        StateDevice(
            device.label,
            ask.all("get_state_labels", device.label),
            ask(_text, "get_state_label", device.label),
        )
        for device in devices
        if device.kind == STATE_DEVICE
    )


def _presets(ask: _Asker) -> tuple[Preset, ...]:
    return tuple(
        Preset(
            name,
            ask(_number, "get_pixel_size_um_by_id", name),
            ask(_settings, "get_pixel_size_config_data", name),
        )
        for name in ask.all("get_available_pixel_size_configs")
    )


def _pixel_size(ask: _Asker) -> PixelSize:
    return PixelSize(
        now_um=ask(_number, "get_pixel_size_um"),
        preset=ask(_text, "get_current_pixel_size_config"),
        affine=ask(_numbers, "get_pixel_size_affine"),
        magnification=ask(_number, "get_magnification_factor"),
    )


def _camera(ask: _Asker, label: str) -> Camera:
    properties = ask.all("get_device_property_names", label)

    def value(name: str) -> str | None:
        return ask(_text, "get_property", label, name) if name in properties else None

    mirroring = [name for name in properties if re.search("transpose|mirror", name, re.IGNORECASE)]
    return Camera(
        width_px=ask(_whole, "get_image_width"),
        height_px=ask(_whole, "get_image_height"),
        bits=ask(_whole, "get_image_bit_depth"),
        bytes_per_px=ask(_whole, "get_bytes_per_pixel"),
        components=ask(_whole, "get_number_of_components"),
        pixel_type=value("PixelType"),
        binning=value("Binning"),
        exposure_ms=ask(_number, "get_exposure"),
        mirroring=tuple(Setting(label, name, value(name) or "") for name in mirroring),
    )


def _stage(ask: _Asker, roles: Roles) -> Stage:
    drives = [label for label in (roles.xy_stage, roles.focus) if label]
    return Stage(
        x_um=ask(_number, "get_x_position") if roles.xy_stage else None,
        y_um=ask(_number, "get_y_position") if roles.xy_stage else None,
        z_um=ask(_number, "get_position") if roles.focus else None,
        focus_direction=ask(_whole, "get_focus_direction", roles.focus) if roles.focus else None,
        limits=tuple(limits for label in drives for limits in _limits(ask, label)),
    )


def _limits(ask: _Asker, label: str) -> Iterator[Limits]:
    for name in ask.all("get_device_property_names", label):
        if ask(bool, "has_property_limits", label, name):
            low = ask(_number, "get_property_lower_limit", label, name)
            high = ask(_number, "get_property_upper_limit", label, name)
            if low is not None and high is not None:
                yield Limits(label, name, low, high)


def _startup(ask: _Asker) -> tuple[Setting, ...]:
    """Read the preset that Micro-Manager applies when it loads its configuration."""
    if not ask(bool, "is_config_defined", "System", "Startup"):
        return ()
    return ask(_settings, "get_config_data", "System", "Startup") or ()


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _whole(value: Any) -> int:
    """Read a number, or an enumeration: a plain number in process, an object over the bridge."""
    return int(value.swig_value() if hasattr(value, "swig_value") else value)


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        msg = f"{number} is not a number one can use"
        raise ValueError(msg)
    return number + 0.0  # a stage at rest may say -0.0


def _kind(value: Any) -> str:
    return KINDS.get(_whole(value), "unknown")


def _names(value: Any) -> tuple[str, ...]:
    return tuple(map(str, _listed(value)))


def _numbers(value: Any) -> tuple[float, ...]:
    return tuple(map(_number, _listed(value)))


def _listed(vector: Any) -> list[Any]:
    """Read a vector: a tuple in process, an object with size and get over the bridge."""
    if hasattr(vector, "get"):
        return [vector.get(index) for index in range(vector.size())]
    return list(vector)


def _settings(found: Any) -> tuple[Setting, ...]:
    """Read a configuration, whose methods are in camelCase in process and not over the bridge."""
    item = getattr(found, "get_setting", None) or found.getSetting
    return tuple(_setting(item(index)) for index in range(found.size()))


def _setting(found: Any) -> Setting:
    if hasattr(found, "get_device_label"):
        return Setting(
            found.get_device_label(), found.get_property_name(), found.get_property_value()
        )
    return Setting(found.getDeviceLabel(), found.getPropertyName(), found.getPropertyValue())


def _in_words(error: Exception) -> str:
    """Take the first line of an error, without the Java around it."""
    lines = str(error).removeprefix("java.lang.Exception: ").strip().splitlines()
    return lines[0] if lines else type(error).__name__
