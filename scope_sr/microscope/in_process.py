"""A Micro-Manager core in this process: the user's own configuration, or the demo one."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.config import Rig, reason
from scope_sr.errors import InputError, MicroscopeError
from scope_sr.microscope.link import Link, in_words, refuse_without_pycromanager
from scope_sr.microscope.operator import Ask

BUFFER_MB = 128
ONLY_SHOWS = {"Core"}  # presets set the core's own roles too, which moves nothing


def link_own(rig: Rig, ask_operator: Ask | None) -> Link:
    """Load the configuration a rig names, once the operator has agreed to what that sets.

    Raises
    ------
    InputError
        The configuration or the adapters are not there, or nobody agreed.
    MicroscopeError
        Micro-Manager cannot load it.
    """
    table = rig.micromanager
    if table is None or table.config is None or table.adapters is None:  # the rig's own check
        msg = f"{rig.source}: [micromanager] names no config"
        raise InputError(msg)
    config, adapters = (rig.folder / name for name in (table.config, table.adapters))
    if not adapters.is_dir():
        msg = f"{rig.source}: micromanager.adapters = {table.adapters}: no such folder"
        raise InputError(msg)
    _agree(rig, config, what_loading_sets(config), ask_operator)
    with loaded_core(adapters, str(config)) as core:
        return link_to(core)


def what_loading_sets(config: Path) -> list[str]:
    """List what loading a configuration sets once its devices are up, in its own order.

    A core initialises the devices, sets properties listed after that, and runs System/Startup.

    Raises
    ------
    InputError
        The file cannot be read, or is no configuration of Micro-Manager.
    """
    try:
        text = config.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        msg = f"{config}: cannot be read as a Micro-Manager configuration ({reason(error)})"
        raise InputError(msg) from error
    lines = [line.strip().split(",") for line in text.splitlines() if line.strip()]
    lines = [words for words in lines if not words[0].startswith("#")]
    if not any(words[0] == "Device" for words in lines):
        msg = f"{config}: names no device; it is not a Micro-Manager configuration (.cfg)"
        raise InputError(msg)
    up = next(
        (i for i, w in enumerate(lines) if w[:4] == ["Property", "Core", "Initialize", "1"]), 0
    )
    after = [words[1:4] for words in lines[up:] if words[0] == "Property" and len(words) >= 4]
    startup = [
        w[3:6] for w in lines if w[:3] == ["ConfigGroup", "System", "Startup"] and len(w) >= 6
    ]
    return [
        f"{device}: {name} = {value}"
        for device, name, value in after + startup
        if device not in ONLY_SHOWS
    ]


@contextlib.contextmanager
def loaded_core(adapters: Path, config: str) -> Iterator[Any]:
    """Load a core; it stays unless the block fails, and :func:`link_to` lets go of it.

    Raises
    ------
    InputError
        pycromanager is not installed.
    MicroscopeError
        A core is open in this process already, or the configuration cannot be loaded.
    """
    refuse_without_pycromanager()
    from mmpycorex import create_core_instance, is_pymmcore_active, terminate_core_instances
    from pycromanager import Core

    if is_pymmcore_active():
        msg = "a Micro-Manager core is open in this program already; close it first"
        raise MicroscopeError(msg)
    _let_adapters_find_their_libraries(adapters)
    try:
        with in_words(f"loading {Path(config).name}"):
            create_core_instance(
                str(adapters), config, python_backend=True, buffer_size_mb=BUFFER_MB
            )
        yield _without_cycle(Core())  # no name for it here: an imported library keeps this frame
    except BaseException:
        terminate_core_instances()
        raise


def _without_cycle(core: Any) -> Any:
    """Take off the methods mmpycorex binds to a core: SWIG's objects never come free of a cycle.

    Each core ever opened would keep three threads and its whole buffer (128 MB) to the end.
    """
    for name in ("get_tagged_image", "pop_next_tagged_image"):
        vars(core).pop(name, None)
    return core


def link_to(core: Any) -> Link:
    """Link to a core in this process: one for all lanes, for its threads do not wait in line."""
    from mmpycorex import terminate_core_instances

    def abandon() -> None:
        """Leave it: a hung adapter would hold up an orderly end, at exit too.

        One reference too many keeps the core from being destroyed while its threads run, which
        would abort the program.
        """
        atexit.unregister(terminate_core_instances)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(core))

    return Link(core, core, core, lambda: newest_frame(core), terminate_core_instances, abandon)


def newest_frame(core: Any) -> tuple[NDArray[Any], int] | None:
    """Fetch the newest frame with its ImageNumber; None while the buffer is empty.

    Raises
    ------
    MicroscopeError
        The camera's geometry was changed under way: the core would give the frame a wrong shape.
    """
    import pymmcore

    metadata = pymmcore.Metadata()
    try:
        image = core.get_last_image_md(metadata)
    except IndexError:
        return None
    tags = {name: int(_tag(metadata, name)) for name in ("Width", "Height", "ImageNumber")}
    if image.shape != (tags["Height"], tags["Width"]):
        msg = (
            f"the camera's geometry changed while it ran, to {image.shape[1]} x {image.shape[0]}"
            " pixels; start the stream again"
        )
        raise MicroscopeError(msg)
    return np.asarray(image), tags["ImageNumber"]


def _tag(metadata: Any, name: str) -> str:
    return str(metadata.GetSingleTag(name).GetValue())


def _agree(rig: Rig, config: Path, sets: list[str], ask_operator: Ask | None) -> None:
    """Show what loading does and have it confirmed: it can turn a nosepiece into a slide."""
    listed = "".join(f"\n  {line}" for line in sets) or "\n  nothing by itself"
    question = (
        f"Loading {config.name} initialises its devices (some drives seek their home) and sets:"
        f"{listed}\nIs every objective well away from the slide, and may they move?"
    )
    if ask_operator is None:
        msg = (
            f"{rig.source}: loading {config.name} moves hardware and nobody is here to agree to it;"
            " run it in a terminal, or load it in Micro-Manager and give its port"
        )
        raise InputError(msg)
    if ask_operator(question, ("yes", "no")) != "yes":
        msg = f"{config.name} was not loaded; nothing moved"
        raise InputError(msg)


def _let_adapters_find_their_libraries(adapters: Path) -> None:
    """Adapters on Windows look for their makers' DLLs along PATH (pymmcore's own advice)."""
    known = os.environ.get("PATH", "").split(os.pathsep)
    if str(adapters) not in known:
        os.environ["PATH"] = os.pathsep.join([*known, str(adapters)])
