"""The microscope: eighteen verbs, and the laws every backend keeps.

One contract suite (``tests/test_microscope_contract.py``) holds each backend to these laws.
Backends are dumb adapters: they do not log, retry, save or judge. Safety stands in
:mod:`scope_sr.microscope.guarded` and nowhere else.
"""

from __future__ import annotations

from typing import Protocol

from scope_sr.frame import CameraFacts, Frame, Position

UNKNOWN = "unknown"  # the objective of a nosepiece that is turned by hand and says nothing


class Microscope(Protocol):
    """A stage, a focus drive, a nosepiece and a camera."""

    def position(self) -> Position:
        """Say where the stage is now, as the devices report it; never blocks on a move."""
        ...

    def move_to(self, position: Position) -> None:
        """Move and return settled.

        On return :meth:`position` is within the rig's tolerance of `position`, or this raised.
        A position outside the limits raises :class:`~scope_sr.errors.LimitError` before anything
        moves; nothing is ever clipped. :meth:`stop` ends it early with
        :class:`~scope_sr.errors.StoppedError`.
        """
        ...

    def objective(self) -> str:
        """Name the objective in the light path, as the nosepiece reports it."""
        ...

    def select_objective(self, name: str) -> None:
        """Turn the nosepiece and return settled.

        The objective is retracted by the rig's ``escape_um`` before the nosepiece turns, and stays
        there: where the new one is in focus the caller knows, and :meth:`move_to` goes there. On
        return :meth:`objective` equals `name`, or this raised. If it is in place already, nothing
        moves; an unknown name raises :class:`~scope_sr.errors.InputError` and nothing moves.
        """
        ...

    def focus_held(self) -> bool:
        """Say whether a focus lock (Perfect Focus) holds the focus; False where there is none."""
        ...

    def hold_focus(self, on: bool) -> None:
        """Switch the focus lock off, or on and wait until it is locked and z is still.

        While it holds, z is the lock's: :meth:`move_to` leaves the focus drive alone. It is off
        before anything moves the focus or turns the nosepiece.
        """
        ...

    def camera(self) -> CameraFacts:
        """Say which camera it is, by a name that stays while its pixels stay what they are.

        Another camera, region of interest or binning has another name.
        """
        ...

    def exposure_ms(self) -> float:
        """Say the exposure the camera will use."""
        ...

    def set_exposure(self, exposure_ms: float) -> None:
        """Set the exposure; positive, in ms. A stream goes on."""
        ...

    def gain(self) -> float:
        """Say the gain of the camera, in its own unit; 1 of one that has none to set."""
        ...

    def set_gain(self, gain: float) -> None:
        """Set the gain, as near as the camera can; a stream goes on.

        Outside the limits that :meth:`camera` tells it raises
        :class:`~scope_sr.errors.InputError`; a camera without a gain raises
        :class:`~scope_sr.errors.MicroscopeError`.
        """
        ...

    def snap(self) -> Frame:
        """Take one image with the stage at rest; refused while a stream runs.

        The frame says where, with which objective and for how long it was taken, and its array
        belongs to the caller.
        """
        ...

    def start_stream(self) -> None:
        """Let the camera run freely; starting twice is fine."""
        ...

    def latest(self, after: int) -> Frame | None:
        """Give the newest frame if its number is above `after`, else None; never waits.

        It waits for no motion either: during one, a frame may say where the stage was a moment ago.
        """
        ...

    def stop_stream(self) -> None:
        """End the stream; ending twice is fine."""
        ...

    def stop(self) -> None:
        """Stop all motion at once; safe from any thread at any time.

        It latches: until :meth:`rearm`, :meth:`move_to`, :meth:`select_objective` and :meth:`snap`
        raise :class:`~scope_sr.errors.StoppedError`, so that no stop is lost between two moves.
        """
        ...

    def rearm(self) -> None:
        """Allow motion again after a stop."""
        ...

    def close(self) -> None:
        """Stop everything and let go of the devices; closing twice is fine."""
        ...


class Backend(Microscope, Protocol):
    """What the guard drives: a microscope that can also be given up."""

    def abandon(self) -> None:
        """Let go of devices that no longer answer, without asking them anything; never blocks."""
        ...
