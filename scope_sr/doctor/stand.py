"""The stand: the rig, the microscope it names, and whether Micro-Manager answers."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from scope_sr.calibration import CalibrationRecord
from scope_sr.config import Rig, load_rig
from scope_sr.doctor.compare import compare
from scope_sr.doctor.computer import FieldSize
from scope_sr.doctor.describe import describe
from scope_sr.doctor.report import Finding
from scope_sr.errors import InputError, ScopeSRError
from scope_sr.plan import outside

if TYPE_CHECKING:
    from scope_sr.microscope.inventory import Inventory

RIG, MICROSCOPE = "Rig", "Micro-Manager"
HOST, PORT = "127.0.0.1", 4827  # where Micro-Manager's server listens unless told otherwise
KNOCK_S = 1.0


def read_rig(name: str) -> tuple[Rig | None, list[Finding]]:
    """Load a rig and say what is in it; a broken one is a problem and no rig."""
    try:
        rig = load_rig(name)
    except InputError as error:
        return None, [_problem(RIG, "file", error, "correct the file")]
    return rig, [*_contents(rig), _calibration(rig)]


def field_size(rig: Rig) -> FieldSize:
    """Say what one field of a rig weighs before compression."""
    camera = rig.camera
    bytes_per_px = (3 if camera.color else 1) * (1 if camera.bits <= 8 else 2)
    return FieldSize(camera.width_px * camera.height_px * bytes_per_px, _pixels(rig))


def look_around(rig_name: str | None) -> tuple[Inventory | None, list[Finding]]:
    """Look into the Micro-Manager that runs here, if one does, without a rig that could be read.

    What it says (labels, positions, pixel sizes) is what a rig is written from.
    """
    port = _port_in(rig_name) if rig_name else PORT
    if not knock(port):
        return None, [_nothing_there(port)]
    try:
        from scope_sr.microscope import inventory_at

        inventory = inventory_at(port)
    except (ScopeSRError, ImportError) as error:
        return None, [_problem(MICROSCOPE, "connection", error, "start Micro-Manager")]
    return inventory, list(describe(inventory))


def knock(port: int = PORT) -> bool:
    """Look whether anything listens where Micro-Manager's server would."""
    try:
        socket.create_connection((HOST, port), KNOCK_S).close()
    except OSError:
        return False
    return True


def look(rig: Rig) -> tuple[Inventory | None, list[Finding]]:
    """Open the microscope of a rig, look without moving anything, and compare."""
    if rig.backend == "simulated":
        return None, [_look_at_simulated(rig)]
    if rig.micromanager and rig.micromanager.config:
        return None, _not_loaded(rig, rig.micromanager.config)
    try:
        inventory = _inventory(rig)
    except (ScopeSRError, ImportError) as error:
        return None, [_problem(MICROSCOPE, "connection", error, "start Micro-Manager")]
    return inventory, [*describe(inventory), *compare(rig, inventory)]


def _nothing_there(port: int) -> Finding:
    text = f"nothing answers on {HOST}:{port}; fine unless you want to drive a stand"
    remedy = (
        f"start Micro-Manager 2, tick Tools > Options > Run server on port {PORT}, restart it,"
        " then run this again"
    )
    return Finding(MICROSCOPE, "server", "note", text, remedy)


def _port_in(rig_name: str) -> int:
    """Find the port in a rig file that cannot be used yet; the usual one if it names none."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        found = re.search(r"^port = (\d{1,5})\b", Path(rig_name).read_text("utf-8"), re.MULTILINE)
        return int(found[1]) if found else PORT
    return PORT


def _contents(rig: Rig) -> Iterator[Finding]:
    yield Finding(RIG, "file", "ok", f"{rig.source}: rig {rig.name}, backend {rig.backend}")
    yield Finding(RIG, "camera", "ok", _pixels(rig))
    for name, lens in rig.objectives.items():
        use = {rig.low: ", the low one", rig.high: ", the high one"}.get(name, "")
        label = f", label {lens.label!r}" if lens.label else ""
        text = (
            f"{lens.magnification:g}x/{lens.numerical_aperture:.2f}, slot {lens.slot}{label},"
            f" {rig.pixel_size_um(name):.4g} µm per pixel{use}"
        )
        yield Finding(RIG, f"objective {name}", "ok", text)
    stage = rig.stage
    limits = (f"{axis} {_span(getattr(stage, f'{axis}_limits_um'))}" for axis in "xyz")
    text = f"{', '.join(limits)} µm; {stage.toward_specimen[0]}z brings the lens to the glass"
    yield Finding(RIG, "stage limits", "ok", text)


def _calibration(rig: Rig) -> Finding:
    try:
        record = CalibrationRecord.of_rig(rig)
    except InputError as error:
        return _problem(RIG, "calibration", error, "correct the file")
    if record.measured:
        return Finding(RIG, "calibration", "ok", f"measured {record.made_at}".strip())
    text = "no record: pixel sizes and offsets are the nominal ones of the rig"
    return Finding(RIG, "calibration", "ok", text)


def _look_at_simulated(rig: Rig) -> Finding:
    try:
        from scope_sr.microscope import open_microscope

        with open_microscope(rig) as microscope:
            position, objective = microscope.position(), microscope.objective()
            exposure_ms = microscope.exposure_ms()
    except (ScopeSRError, ImportError) as error:
        return _problem(RIG, "microscope", error, "correct the file")
    text = f"opens; {objective} in place, {position.describe()}, {exposure_ms:g} ms"
    fault = outside(rig, position)
    if fault:
        return Finding(RIG, "microscope", "problem", f"{text}; {fault}", "widen the limits")
    return Finding(RIG, "microscope", "ok", text)


def _not_loaded(rig: Rig, config: str) -> list[Finding]:
    """Read a configuration this program would load itself, and leave it: loading moves hardware."""
    from scope_sr.microscope.in_process import what_loading_sets

    adapters = rig.folder / ((rig.micromanager and rig.micromanager.adapters) or "")
    if not any(adapters.glob("*mmgr_dal_*")):
        text = f"{adapters} holds no device adapters of Micro-Manager (mmgr_dal_...)"
        remedy = f"write Micro-Manager's own folder as micromanager.adapters in {rig.source}"
        return [Finding(MICROSCOPE, "adapters", "problem", text, remedy)]
    try:
        sets = what_loading_sets(rig.folder / config)
    except InputError as error:
        return [_problem(MICROSCOPE, "configuration", error, "correct micromanager.config")]
    text = f"{config} is not loaded by this command; loading it sets {', '.join(sets) or 'nothing'}"
    remedy = (
        "to look into the stand, load it in Micro-Manager's own window, run the server there and"
        f" use a rig that says port = {PORT} in place of config"
    )
    return [Finding(MICROSCOPE, "configuration", "note", text, remedy)]


def _inventory(rig: Rig) -> Inventory:
    from scope_sr.microscope import inventory_of

    return inventory_of(rig)


def _problem(area: str, what: str, error: Exception, otherwise: str) -> Finding:
    """Part our one-line messages at the way out they name after a semicolon."""
    text, _, remedy = str(error).partition("; ")
    return Finding(area, what, "problem", text, remedy or f"{otherwise}, then run this again")


def _pixels(rig: Rig) -> str:
    camera = rig.camera
    colour = "colour" if camera.color else "grey"
    return f"{camera.width_px} x {camera.height_px} px, {camera.bits} bit, {colour}"


def _span(limits_um: tuple[float, float]) -> str:
    return f"{limits_um[0]:g}..{limits_um[1]:g}"
