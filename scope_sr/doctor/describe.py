"""What Micro-Manager has, said in lines: adapters, roles, labels, presets, camera, stage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from scope_sr.doctor.report import Finding, State
from scope_sr.microscope.inventory import Camera, Inventory, Setting, Stage, StateDevice

AREA = "Micro-Manager"
SHOWN = 5  # unanswered questions: when the connection is gone, all of them fail alike
FOCUS_WORDS = {
    1: "a growing z brings the lens to the glass",
    -1: "a growing z takes the lens off the glass",
    0: "which way z grows is not set",
}


def describe(inventory: Inventory) -> Iterator[Finding]:
    """Say what the core says about itself, one line a thing."""
    yield _line("version", ", ".join(filter(None, [inventory.version, inventory.interface])))
    yield from _adapters(inventory)
    yield _line("roles", _roles(inventory))
    yield from (_labels(state) for state in inventory.states)
    yield from _pixel_sizes(inventory)
    if inventory.camera:
        yield _line("camera", _camera(inventory.camera, inventory.live))
    yield _line("stage", _stage(inventory.stage))
    if inventory.focus_lock_on is not None:
        yield _line("focus lock", _lock(inventory))
    if inventory.startup:
        text = f"loading the configuration sets {_settings(inventory.startup)}"
        yield _line("System/Startup", text)
    yield from _unanswered(inventory.unanswered)


def _line(what: str, text: str, state: State = "ok", remedy: str = "") -> Finding:
    return Finding(AREA, what, state, text or "not known", remedy)


def _adapters(inventory: Inventory) -> Iterator[Finding]:
    libraries = dict.fromkeys(device.library for device in inventory.devices)
    for library in libraries:
        devices = [
            f"{device.label} ({device.kind or 'unknown'})"
            for device in inventory.devices
            if device.library == library
        ]
        yield _line(f"adapter {library or '?'}", ", ".join(devices))


def _roles(inventory: Inventory) -> str:
    roles = {
        "camera": inventory.roles.camera,
        "XY stage": inventory.roles.xy_stage,
        "focus": inventory.roles.focus,
        "autofocus": inventory.roles.autofocus,
        "shutter": inventory.roles.shutter,
        "image processor": inventory.roles.image_processor,
    }
    return ", ".join(f"{role} {label or 'none'}" for role, label in roles.items())


def _labels(state: StateDevice) -> Finding:
    now = f"now {state.present!r}" if state.present else "between positions or unlabelled"
    return _line(f"labels of {state.device}", f"{now} of: {', '.join(state.labels) or 'none'}")


def _pixel_sizes(inventory: Inventory) -> Iterator[Finding]:
    for preset in inventory.presets:
        unread = preset.conditions is None
        when = "(no answer)" if unread else _settings(preset.conditions or ())
        text = f"{_number(preset.pixel_size_um)} µm when {when or 'ever'}"
        yield _line(f"pixel size {preset.name}", text)
    now = inventory.pixel_size
    text = f"{_number(now.now_um)} µm per pixel ({now.preset or 'no preset holds'})"
    if now.affine and _tells_more(now.affine, now.now_um):
        text += f", affine {', '.join(_number(part) for part in now.affine)}"
    if now.magnification not in {None, 1.0}:
        text += f", intermediate magnification {_number(now.magnification)}x"
    yield _line("pixel size now", text)


def _tells_more(affine: tuple[float, ...], now_um: float | None) -> bool:
    """Whether an affine is more than the pixel size along both axes, or nothing."""
    return affine != (now_um, 0.0, 0.0, 0.0, now_um, 0.0) and any(affine)


def _camera(camera: Camera, live: bool | None) -> str:
    colour = {True: "colour", False: "grey", None: "colour or grey unknown"}[camera.color]
    parts = [
        f"{_number(camera.width_px)} x {_number(camera.height_px)} px",
        f"{_number(camera.bits)} bit",
        f"{colour} ({camera.pixel_type})" if camera.pixel_type else colour,
        f"binning {camera.binning or '1'}",
        f"{_number(camera.exposure_ms)} ms",
        *(f"{s.property} = {s.value}" for s in camera.mirroring if s.value not in {"0", "No", ""}),
        "live" if live else "not live",
    ]
    return ", ".join(parts)


def _stage(stage: Stage) -> str:
    x, y, z = (_number(value, 2) for value in (stage.x_um, stage.y_um, stage.z_um))
    limits = [
        f"{limit.device}-{limit.property} {limit.low:g}..{limit.high:g}" for limit in stage.limits
    ]
    direction = FOCUS_WORDS.get(stage.focus_direction if stage.focus_direction is not None else 0)
    return "; ".join([f"x = {x}, y = {y}, z = {z} µm", f"{direction}", *limits])


def _lock(inventory: Inventory) -> str:
    on = "on" if inventory.focus_lock_on else "off"
    return f"{inventory.roles.autofocus}, {on}{', locked' if inventory.focus_locked else ''}"


def _unanswered(unanswered: tuple[str, ...]) -> Iterator[Finding]:
    remedy = "look whether that device is switched on and shows in the Device Property Browser"
    for text in unanswered[:SHOWN]:
        yield _line("no answer", text, "note", remedy if text == unanswered[0] else "")
    if len(unanswered) > SHOWN:
        more = f"and {len(unanswered) - SHOWN} questions more; --json lists them"
        yield _line("no answer", more, "note")


def _settings(settings: Iterable[Setting]) -> str:
    return ", ".join(map(str, settings))


def _number(value: float | None, decimals: int | None = None) -> str:
    if value is None:
        return "?"
    return f"{value:.5g}" if decimals is None else f"{value:.{decimals}f}"
