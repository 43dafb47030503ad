"""Where a rig and the Micro-Manager it names disagree: each disagreement with its remedy."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator

from scope_sr.config import Labels, Rig
from scope_sr.doctor.report import Finding
from scope_sr.frame import Position
from scope_sr.microscope.inventory import Camera, Inventory, Preset, StateDevice
from scope_sr.plan import outside, retracted

AREA = "Rig and Micro-Manager"
AGREE = 0.05  # of a pixel size: more is another lens, not a rough engraving
WIZARD = "Micro-Manager: Hardware Configuration Wizard"
ROLES_PAGE = f"{WIZARD}, page 'Select default devices'"
PIXELS = "Micro-Manager: Devices > Pixel Size Calibration"


def compare(rig: Rig, inventory: Inventory) -> Iterator[Finding]:
    """Hold a rig against what Micro-Manager says; one line each, good or bad."""
    yield from _roles(rig, inventory)
    if rig.nosepiece.manual:
        yield _ok("objectives", "turned by hand: labels and pixel sizes are those of the rig")
    else:
        yield from _objectives(rig, inventory)
    yield from _magnifier(rig, inventory)
    if inventory.camera and _labels(rig).camera in {None, inventory.roles.camera}:
        yield from _camera(rig, inventory.camera)
    yield from _live(inventory)
    if _labels(rig).xy_stage in {None, inventory.roles.xy_stage}:
        yield from _position(rig, inventory)
    if _labels(rig).focus_drive in {None, inventory.roles.focus}:
        yield from _focus_direction(rig, inventory)


def nosepiece_of(rig: Rig, inventory: Inventory) -> StateDevice | None:
    """Find the state device that bears most of the rig's objective labels; None without any."""
    wanted = {lens.label for lens in rig.objectives.values()}
    named = _labels(rig).nosepiece
    found = [state for state in inventory.states if named in {None, state.device}]
    best = max(found, key=lambda state: len(wanted & set(state.labels)), default=None)
    return best if best and wanted & set(best.labels) else None


def _labels(rig: Rig) -> Labels:
    """Give the devices a rig names itself; it may leave them to Micro-Manager's roles."""
    return rig.micromanager.labels if rig.micromanager else Labels()


def _ok(what: str, text: str) -> Finding:
    return Finding(AREA, what, "ok", text)


def _note(what: str, text: str, remedy: str) -> Finding:
    return Finding(AREA, what, "note", text, remedy)


def _problem(what: str, text: str, remedy: str) -> Finding:
    return Finding(AREA, what, "problem", text, remedy)


def _roles(rig: Rig, inventory: Inventory) -> Iterator[Finding]:
    """Look for the devices a capture needs: Micro-Manager's own roles, or those the rig names."""
    loaded = [device.label for device in inventory.devices]
    named = _labels(rig)
    for key, label in named:
        if label and label not in loaded:
            text = f"the rig names {label!r}, and no such device is loaded"
            remedy = f"correct {key} under [micromanager.labels] in {rig.source}; loaded are: "
            yield _problem(key.replace("_", " "), text, remedy + ", ".join(loaded))
    needed = {
        "camera": named.camera or inventory.roles.camera,
        "XY stage": named.xy_stage or inventory.roles.xy_stage,
        "focus drive": named.focus_drive or inventory.roles.focus,
    }
    for role, device in needed.items():
        if not device:
            yield _problem(role, f"Micro-Manager has no {role}", f"choose one in {ROLES_PAGE}")


def _objectives(rig: Rig, inventory: Inventory) -> Iterator[Finding]:
    if not inventory.states:
        text = "no device with labelled positions is loaded, so none can be the nosepiece"
        remedy = f"add it in {WIZARD}; if it is turned by hand: manual = true under [nosepiece]"
        yield _problem("nosepiece", text, f"{remedy} in {rig.source}")
        return
    nosepiece = nosepiece_of(rig, inventory)
    for name, lens in rig.objectives.items():
        if nosepiece and lens.label in nosepiece.labels:
            yield _pixel_size(rig, name, nosepiece, inventory)
        else:
            yield _unknown_label(rig, name, nosepiece, inventory)
    if nosepiece and nosepiece.present not in {lens.label for lens in rig.objectives.values()}:
        text = f"{nosepiece.device} stands at {nosepiece.present or 'no label'!r}, not in the rig"
        yield _note("objective now", text, "turn it to one of the rig's, or add it to the rig")
    elif nosepiece and inventory.pixel_size.now_um == 0:
        text = f"no pixel-size preset holds now, with {nosepiece.present!r} in place"
        remedy = f"{PIXELS}: make one that depends on {nosepiece.device}-Label alone"
        yield _problem("pixel size now", text, remedy)


def _unknown_label(
    rig: Rig, name: str, nosepiece: StateDevice | None, inventory: Inventory
) -> Finding:
    label = rig.objectives[name].label or ""
    states = (nosepiece,) if nosepiece else inventory.states
    labels = {known: state.device for state in states for known in state.labels}
    near = _near(label, rig.objectives[name].magnification, list(labels))
    where = f"under [objectives.{name}] in {rig.source}"
    if near:
        remedy = " or ".join(f"label = '{known}'" for known in near)
        remedy = f"write {remedy} {where}"
    elif nosepiece:
        remedy = f"write one of its labels {where}: {', '.join(nosepiece.labels)}"
    else:
        remedy = f"write the label of the nosepiece {where}, as it stands above"
    bearer = f"of {nosepiece.device}" if nosepiece else "of any device"
    text = f"{label!r} is not a label {bearer}" if labels else "no device tells its labels"
    return _problem(f"objective {name}", text, remedy)


def _near(label: str, magnification: float, labels: list[str]) -> list[str]:
    """Find labels spelt nearly the same, then those that show the same magnification."""
    lower = {known.lower(): known for known in labels}
    spelt = [lower[key] for key in difflib.get_close_matches(label.lower(), lower, n=2, cutoff=0.7)]
    engraved = re.compile(rf"(?<![\d.]){magnification:g}\s*x(?![a-z])", re.IGNORECASE)
    return spelt or [known for known in labels if engraved.search(known)][:2]


def _pixel_size(rig: Rig, name: str, nosepiece: StateDevice, inventory: Inventory) -> Finding:
    """Hold the rig's µm per pixel against the presets that can hold with an objective."""
    label = rig.objectives[name].label or ""
    expected_um = rig.pixel_size_um(name)
    scale = _scale(inventory)
    known = {
        preset.name: preset.pixel_size_um * scale
        for preset in inventory.presets
        if preset.pixel_size_um and _may_hold(preset, nosepiece, label)
    }
    what = f"objective {name}"
    if not known and any(preset.conditions is None for preset in inventory.presets):
        text = f"{label!r} is there; for which objective the presets are could not be read"
        return _note(what, text, f"compare with about {expected_um / scale:.4g} µm in {PIXELS}")
    if not known:
        remedy = f"{PIXELS}: turn to {label!r}, add a preset, about {expected_um / scale:.4g} µm"
        return _problem(what, f"{label!r} is there, but no pixel-size preset is for it", remedy)
    preset, size_um = min(known.items(), key=lambda item: abs(math.log(item[1] / expected_um)))
    if abs(size_um / expected_um - 1) <= AGREE:
        return _ok(what, f"{label!r} is there, {size_um:.4g} µm per pixel ({preset})")
    remedy = (
        f"measure which is right; then write pixel_size_um = {size_um:.4g} under"
        f" [objectives.{name}] in {rig.source}, or correct {preset} in {PIXELS}"
    )
    text = f"{size_um:.4g} µm per pixel by preset {preset}, {expected_um:.4g} by the rig"
    return _problem(what, text, remedy)


def _scale(inventory: Inventory) -> float:
    """Give what a preset's µm are multiplied with now: binning, by intermediate magnification."""
    return _binning(inventory.camera) / (inventory.pixel_size.magnification or 1.0)


def _binning(camera: Camera | None) -> int:
    found = re.match(r"\d+", camera.binning or "") if camera else None  # "2", or "2x2"
    return int(found[0]) if found and int(found[0]) else 1


def _may_hold(preset: Preset, nosepiece: StateDevice, label: str) -> bool:
    """Whether the nosepiece's conditions of a preset are met with a label in place."""
    met = {"Label": label, "State": str(nosepiece.labels.index(label))}
    conditions = preset.conditions or ()
    asked = [c for c in conditions if c.device == nosepiece.device and c.property in met]
    return bool(asked) and all(met[c.property] == c.value for c in asked)


def _magnifier(rig: Rig, inventory: Inventory) -> Iterator[Finding]:
    """See whether the intermediate magnification stands where the rig's pixel sizes hold."""
    held_at = rig.micromanager.magnifier_at if rig.micromanager else None
    for state in inventory.states:
        if state.device == _labels(rig).magnifier and state.present != held_at:
            text = f"{state.device} stands at {state.present!r}, the rig holds at {held_at!r}"
            yield _problem("magnifier", text, f"turn it to {held_at!r}, by hand or there")


def _camera(rig: Rig, camera: Camera) -> Iterator[Finding]:
    where = f"[camera] in {rig.source}"
    asked, found = (rig.camera.width_px, rig.camera.height_px), (camera.width_px, camera.height_px)
    faults = list(_camera_faults(rig, camera, where))
    yield from faults
    if not faults and None not in found:
        yield _ok("camera", f"{asked[0]} x {asked[1]} px, {rig.camera.bits} bit, as in the rig")
    if _binning(camera) != 1:
        text = f"binning is {camera.binning}: fewer pixels, and larger ones"
        yield _note("binning", text, "for full resolution set the camera's Binning to 1")


def _camera_faults(rig: Rig, camera: Camera, where: str) -> Iterator[Finding]:
    asked, found = (rig.camera.width_px, rig.camera.height_px), (camera.width_px, camera.height_px)
    if None not in found and found != asked:
        text = f"the camera gives {found[0]} x {found[1]} px, the rig says {asked[0]} x {asked[1]}"
        remedy = f"write width_px = {found[0]} and height_px = {found[1]} under {where},"
        yield _problem("camera size", text, f"{remedy} or set the camera's ROI and binning")
    if camera.color is not None and camera.color != rig.camera.color:
        now, said = ("colour", "grey") if camera.color else ("grey", "colour")
        remedy = f"write color = {str(camera.color).lower()} under {where}, or set its PixelType"
        yield _problem("camera colour", f"the camera gives {now}, the rig says {said}", remedy)
    elif camera.bits is not None and camera.bits != rig.camera.bits:
        text = f"the camera gives {camera.bits} bit, the rig says {rig.camera.bits}"
        remedy = f"write bits = {camera.bits} under {where}, or set its PixelType or BitDepth"
        yield _problem("camera bits", text, remedy)


def _live(inventory: Inventory) -> Iterator[Finding]:
    if inventory.live:
        remedy = "stop it there: the button Stop Live, or the acquisition that runs"
        yield _problem("live view", "the camera is running in Micro-Manager", remedy)


def _position(rig: Rig, inventory: Inventory) -> Iterator[Finding]:
    stage = inventory.stage
    if stage.x_um is None or stage.y_um is None or stage.z_um is None:
        return
    here = Position(stage.x_um, stage.y_um, stage.z_um)
    fault = outside(rig, here)
    if fault:
        remedy = "drive back inside by hand, or widen the limits if that place is safe"
        yield _problem("stage", fault, remedy)
        return
    yield _ok("stage", f"{here.describe()}, inside the limits of the rig")
    fault = outside(rig, retracted(rig, here))
    if fault:
        text = f"from here it cannot retract by {rig.nosepiece.escape_um:g} µm: {fault}"
        remedy = f"focus first; if it is in focus, correct escape_um or z_limits_um in {rig.source}"
        yield _problem("escape", text, remedy)


def _focus_direction(rig: Rig, inventory: Inventory) -> Iterator[Finding]:
    direction = inventory.stage.focus_direction
    said = f"toward_specimen = '{rig.stage.toward_specimen}'"
    if direction is None:
        return
    if rig.backend == "demo":
        yield _ok("focus direction", f"the rig says {said}; the demo drive brings nothing together")
    elif direction == 0:
        text = f"Micro-Manager does not know which way z grows; the rig says {said}"
        remedy = (
            "with the objective of lowest power in focus, raise z by 20 µm in Micro-Manager: if"
            " lens and glass come closer '+z' is right, else '-z'; write it into the rig, and into"
            f" 'Stage focus directions' in {ROLES_PAGE}"
        )
        yield _note("focus direction", text, remedy)
    elif direction * rig.toward < 0:
        text = f"the rig says {said}, Micro-Manager the opposite: a retract could hit the glass"
        remedy = (
            f"find out which is right before anything moves; correct {rig.source}, or 'Stage focus"
            f" directions' in {ROLES_PAGE}"
        )
        yield _problem("focus direction", text, remedy)
    else:
        yield _ok("focus direction", f"{said}, as Micro-Manager says")
