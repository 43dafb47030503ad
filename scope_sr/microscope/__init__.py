"""The microscope: one protocol, one guard, one room per backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from scope_sr.config import Rig
from scope_sr.errors import DeadlineError, InputError
from scope_sr.microscope.guarded import GuardedMicroscope
from scope_sr.microscope.inventory import Inventory, take_inventory
from scope_sr.microscope.lane import Lane
from scope_sr.microscope.link import Link
from scope_sr.microscope.operator import Ask
from scope_sr.microscope.protocol import Backend

__all__ = [
    "Ask",
    "GuardedMicroscope",
    "Inventory",
    "inventory_at",
    "inventory_of",
    "open_microscope",
]

T = TypeVar("T")

ANSWER_S = 20.0  # for the dozens of questions an opening asks


def open_microscope(
    rig: Rig, *, log_folder: Path | None = None, ask: Ask | None = None
) -> GuardedMicroscope:
    """Open the microscope a rig describes, behind its guard.

    Parameters
    ----------
    log_folder
        Where the backend may keep a log of its own: the simulated one writes its true poses to
        ``truth.jsonl`` there.
    ask
        Puts a question to the operator: a nosepiece turned by hand, and a configuration whose
        loading moves hardware, need one.

    Examples
    --------
    >>> from scope_sr.config import load_rig
    >>> with open_microscope(load_rig("simulated")) as microscope:
    ...     microscope.objective()
    '10x'
    """
    microscope = GuardedMicroscope(_backend(rig, log_folder, ask), rig, ask)
    if rig.nosepiece.manual:
        try:
            microscope.identify_objective()
        except BaseException:
            microscope.close()
            raise
    return microscope


def inventory_of(rig: Rig) -> Inventory:
    """Ask the Micro-Manager of a rig for all it says of itself; nothing moves or is set.

    Raises
    ------
    InputError
        The rig has no Micro-Manager, or one whose loading would move hardware.
    MicroscopeError
        Micro-Manager does not answer.
    """
    if rig.backend == "simulated" or (rig.micromanager and rig.micromanager.config):
        msg = f"{rig.source}: no Micro-Manager runs that could be asked; load it there, give port"
        raise InputError(msg)
    return _inventory(_link(rig, None))


def inventory_at(port: int) -> Inventory:
    """Ask the Micro-Manager at a port, with no rig yet; otherwise as :func:`inventory_of`."""
    from scope_sr.microscope.running import link_running

    return _inventory(link_running(port))


def _inventory(link: Link) -> Inventory:
    found = _answer(link, lambda: take_inventory(link.hardware))
    link.release()
    return found


def _backend(rig: Rig, log_folder: Path | None, ask: Ask | None) -> Backend:
    if rig.backend == "simulated":
        from scope_sr.microscope.simulated import SimulatedMicroscope

        return SimulatedMicroscope(rig, log_folder)
    from scope_sr.microscope.micromanager import MicroManager

    link = _link(rig, ask)
    return _answer(link, lambda: MicroManager(link, rig))


def _link(rig: Rig, ask: Ask | None) -> Link:
    """Find the way to a rig's core; libraries are imported where they are needed."""
    if rig.backend == "demo":
        from scope_sr.microscope.demo import link_demo

        return link_demo(rig)
    if rig.micromanager and rig.micromanager.port:
        from scope_sr.microscope.running import link_running

        return link_running(rig.micromanager.port)
    from scope_sr.microscope.in_process import link_own

    return link_own(rig, ask)


def _answer(link: Link, call: Callable[[], T]) -> T:
    """Make the first calls within a deadline; whatever goes wrong, let go of the core."""
    lane = Lane("opening")
    try:
        return lane.call(call, ANSWER_S)
    except TimeoutError as error:
        link.abandon()
        msg = f"Micro-Manager did not answer within {ANSWER_S:g} s; look at its window and devices"
        raise DeadlineError(msg) from error
    except KeyboardInterrupt:
        link.abandon()
        raise
    except BaseException:
        link.release()
        raise
    finally:
        lane.end()
