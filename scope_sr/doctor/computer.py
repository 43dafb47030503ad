"""The computer: this program and what it stands on, graphics, display, disk."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from scope_sr.doctor.report import Finding, State

PROGRAM, PACKAGES, COMPUTER = "This program", "Packages", "This computer"
BRIDGE = ("pycromanager", "mmpycorex", "pyjavaz", "pymmcore", "mm-test-adapters")
WINDOW = ("PySide6-Essentials", "pyqtgraph")

DISK_TEST_BYTES = 64_000_000
DISK_TEST_S = 3.0  # long enough to see a slow disk, short enough to wait for
SCARCE_BYTES, LITTLE_BYTES = 1e9, 20e9
SLOW_FIELDS_PER_S = 2.0  # a stage that moves and settles delivers about as many
ANSWER_S = 10.0
TORCH_S = 90.0  # its first import on Windows is slow
ASK_TORCH = (
    "import torch; there = torch.cuda.is_available();"
    " print(torch.version.cuda or '', torch.cuda.get_device_name(0) if there else '', sep='|')"
)


@dataclass(frozen=True)
class FieldSize:
    """What one field weighs, and of what camera it is."""

    bytes: int = 1024 * 1024 * 3
    camera: str = "1024 x 1024 px, 8 bit, colour"


def program(installed: Mapping[str, str | None]) -> Iterator[Finding]:
    """Say which scope-sr and which Python answer to this command."""
    home = Path(__file__).parent.parent
    version = installed["scope-sr"]
    text = f"{version} in {home}" if version else f"not installed; run from {home}"
    yield Finding(PROGRAM, "scope-sr", "ok", text)
    python = f"{platform.python_version()} in {sys.executable}"
    if sys.maxsize > 2**32:
        yield Finding(PROGRAM, "Python", "ok", python)
    else:
        remedy = "install the 64-bit Python from https://www.python.org/downloads/"
        yield Finding(PROGRAM, "Python", "problem", f"{python}: a 32-bit Python", remedy)
    system = f"{platform.platform(terse=True)}, {platform.machine()}, {os.cpu_count()} CPU cores"
    yield Finding(PROGRAM, "system", "ok", system)


def versions() -> dict[str, str | None]:
    """Give the version of every package that matters here; None where it is not installed."""
    return {name: _version(name) for name in ("scope-sr", *_required(), *BRIDGE, *WINDOW)}


def packages(installed: Mapping[str, str | None]) -> Iterator[Finding]:
    """Compare what is installed with what is needed."""
    required = _required()
    if not required:
        text = "scope-sr is run from its folder without being installed"
        yield Finding(PACKAGES, "needed", "note", text, "python -m pip install -e .")
    wrong = {name: _fault(installed[name], least) for name, least in required.items()}
    fine = [f"{name} {installed[name]}" for name, fault in wrong.items() if not fault]
    yield Finding(PACKAGES, "needed", "ok", ", ".join(fine) or "none found")
    for name, fault in wrong.items():
        if fault:
            remedy = f'python -m pip install --upgrade "{name}>={required[name]}"'
            yield Finding(PACKAGES, name, "problem", fault, remedy)
    yield from _bridge(installed)


def graphics(installed: Mapping[str, str | None]) -> Iterator[Finding]:
    """Ask the NVIDIA driver what it drives, and torch, where installed, whether it can use it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        yield Finding(COMPUTER, "GPU", "note", _without_nvidia())
        return
    query = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    cards, fault = run(query, ANSWER_S)
    if fault:
        remedy = "install the driver anew from https://www.nvidia.com/drivers, then restart"
        yield Finding(COMPUTER, "GPU", "note", f"nvidia-smi does not answer: {fault}", remedy)
        return
    for card in cards.splitlines():
        name, memory, driver = [*card.split(", "), "?", "?"][:3]
        yield Finding(COMPUTER, "GPU", "ok", f"{name}, {memory}, driver {driver}")
    if installed.get("torch"):
        yield _torch()


def display() -> Finding:
    """Say whether a window could be opened; Windows and macOS always can."""
    if sys.platform in {"win32", "darwin"}:
        return Finding(COMPUTER, "display", "ok", "yes")
    for name in ("WAYLAND_DISPLAY", "DISPLAY"):
        if os.environ.get(name):
            return Finding(COMPUTER, "display", "ok", f"{name} = {os.environ[name]}")
    text = "none in this terminal; only scope-sr live needs one"
    return Finding(
        COMPUTER, "display", "note", text, "for windows, log in at the desk or by ssh -X"
    )


def disk(folder: Path, field: FieldSize) -> Iterator[Finding]:
    """Measure free space, and how fast fields get safely onto the disk."""
    try:
        free = shutil.disk_usage(folder).free
        bytes_per_s = _write_speed(folder, field.bytes)
    except OSError as error:
        text = f"{folder} cannot be written to: {error.strerror or error}"
        remedy = "go to a folder of your own on a local disk with room on it, and run this there"
        yield Finding(COMPUTER, "disk", "problem", text, remedy)
        return
    yield _space(folder, free, field)
    yield _speed(bytes_per_s, field)


def _required() -> dict[str, str]:
    """Read which packages this program needs, and from which version on, from its own metadata."""
    try:
        lines = metadata.requires("scope-sr") or []
    except metadata.PackageNotFoundError:
        return {}
    plain = (line for line in lines if ";" not in line)  # no extras, nothing for older Pythons
    matches = (re.match(r"([\w.-]+)(?:>=([\d.]+))?", line) for line in plain)
    return {match[1]: match[2] or "0" for match in matches if match}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _fault(version: str | None, least: str) -> str:
    if version is None:
        return "not installed"
    return f"{version} is too old" if _numbers(version) < _numbers(least) else ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version.partition("+")[0])))


def _bridge(installed: Mapping[str, str | None]) -> Iterator[Finding]:
    """Look at what reaches Micro-Manager; its core and its devices must share an interface."""
    there = [f"{name} {installed[name]}" for name in BRIDGE if installed[name]]
    if there:
        yield Finding(PACKAGES, "Micro-Manager bridge", "ok", ", ".join(there))
    missing = [name for name in BRIDGE if not installed[name]]
    if missing:
        text = f"not installed: {', '.join(missing)}; the simulated microscope needs none of them"
        remedy = (
            'for a stand: python -m pip install "scope-sr[micromanager]"; for the demo rig:'
            ' "scope-sr[demo]"'
        )
        yield Finding(PACKAGES, "Micro-Manager bridge", "note", text, remedy)
    core, adapters = installed["pymmcore"], installed["mm-test-adapters"]
    if core:
        interface = _numbers(core)[3:4]  # pymmcore 12.5.1.75.0: MMCore 12.5.1, interface 75
        text = f"{'.'.join(map(str, interface)) or 'unknown'} (pymmcore {core})"
        if adapters and interface and interface != _numbers(adapters)[:1]:
            text += f", but mm-test-adapters {adapters} are for {_numbers(adapters)[0]}"
            remedy = f'python -m pip install "mm-test-adapters=={interface[0]}.*"'
            yield Finding(PACKAGES, "device interface", "problem", text, remedy)
        else:
            yield Finding(PACKAGES, "device interface", "ok", text)


def _without_nvidia() -> str:
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return "Apple's own, of this Mac; captures do not use it"
    without = "captures need none; training and the live view are slow without"
    return f"no NVIDIA GPU (no nvidia-smi); {without}"


def _torch() -> Finding:
    """Ask torch in a process of its own: this one stays free of it."""
    answer, fault = run([sys.executable, "-c", ASK_TORCH], TORCH_S)
    cuda, _, card = answer.rpartition("\n")[2].partition("|")
    if card:
        return Finding(COMPUTER, "torch", "ok", f"computes on {card} (CUDA {cuda})")
    reason = fault or (f"CUDA {cuda} does not start" if cuda else "this build is without CUDA")
    remedy = "pick the CUDA build for your driver at https://pytorch.org/get-started/locally/"
    return Finding(COMPUTER, "torch", "note", f"leaves the GPU idle: {reason}", remedy)


def run(command: list[str], limit_s: float, **environment: str) -> tuple[str, str]:
    """Run a program; give what it printed, and in words why it failed."""
    try:
        done = subprocess.run(  # noqa: S603 - the commands are ours, the paths complete
            command,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=limit_s,
            check=False,
            env={**os.environ, **environment},
        )
    except subprocess.TimeoutExpired:
        return "", f"no answer within {limit_s:g} s"
    except OSError as error:
        return "", str(error.strerror or error)
    if done.returncode or not done.stdout.strip():
        said = (done.stderr or done.stdout).strip().splitlines()
        return "", said[-1] if said else f"exit code {done.returncode}"
    return done.stdout.strip(), ""


def _write_speed(folder: Path, field_bytes: int) -> float:
    """Write fields as a session does, each flushed, into a file the system itself removes."""
    data = os.urandom(min(field_bytes, DISK_TEST_BYTES))  # a disk that compresses seems fast
    written = 0
    with tempfile.TemporaryFile(dir=folder, prefix="scope-sr-doctor-", buffering=0) as file:
        began_s = time.perf_counter()
        while True:
            written += file.write(data)
            os.fsync(file.fileno())
            seconds = time.perf_counter() - began_s
            if written >= DISK_TEST_BYTES or seconds >= DISK_TEST_S:
                return written / max(seconds, 1e-6)


def _space(folder: Path, free: float, field: FieldSize) -> Finding:
    room = f"{free / 1e9:.1f} GB free in {folder}, room for {free // field.bytes:.0f} fields"
    remedy = "make room, or capture to another disk: acquire-pairs --out DIR"
    state: State = "problem" if free < SCARCE_BYTES else "note" if free < LITTLE_BYTES else "ok"
    return Finding(COMPUTER, "disk space", state, room, "" if state == "ok" else remedy)


def _speed(bytes_per_s: float, field: FieldSize) -> Finding:
    per_s = bytes_per_s / field.bytes
    text = (
        f"{bytes_per_s / 1e6:.0f} MB/s, each field flushed: {per_s:.3g} fields per second"
        f" of {field.camera} ({field.bytes / 1e6:.1f} MB)"
    )
    if per_s >= SLOW_FIELDS_PER_S:
        return Finding(COMPUTER, "disk speed", "ok", text)
    remedy = "the disk would slow captures down; capture to a local one: acquire-pairs --out DIR"
    return Finding(COMPUTER, "disk speed", "note", text, remedy)
