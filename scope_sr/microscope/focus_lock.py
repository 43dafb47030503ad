"""A focus lock (Perfect Focus) behind Micro-Manager: on, settled, run away, off."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from scope_sr.config import Rig
from scope_sr.errors import LimitError, MicroscopeError
from scope_sr.frame import Position
from scope_sr.microscope.link import ask
from scope_sr.microscope.way import runaway

POLL_S = 0.001


class FocusLock:
    """The device in the core's auto-focus role; there may be none, which is never on."""

    def __init__(self, core: Any, rig: Rig) -> None:
        self._core = core
        self._rig = rig
        self._device = str(ask(core, "get_auto_focus_device") or "")

    def is_on(self) -> bool:
        """Ask whether it is switched on, settled or not."""
        return bool(self._device and ask(self._core, "is_continuous_focus_enabled"))

    def switch_on(self) -> None:
        """Switch it on; :meth:`settle` waits until it holds."""
        ask(self._core, "enable_continuous_focus", True)

    def switch_off(self) -> None:
        """Switch it off and wait until it is: it holds the focus drive until then.

        Raises
        ------
        MicroscopeError
            It does not switch off.
        """
        ask(self._core, "enable_continuous_focus", False)
        until_s = time.monotonic() + self._rig.deadlines.lock_s
        while self.is_on() or ask(self._core, "device_busy", self._device):
            if time.monotonic() > until_s:
                msg = f"{self._device} does not switch off; switch it off at the stand"
                raise MicroscopeError(msg)
            time.sleep(POLL_S)

    def settle(
        self, began_um: float, here: Callable[[], Position], pause: Callable[[], None]
    ) -> None:
        """Wait until it says locked and z has been still since: Ti2 says so while it hunts.

        A lock that does not settle, runs away or is stopped is switched off again.

        Parameters
        ----------
        began_um
            The focus it was switched on at, in µm.
        here
            Reads where the stage is.
        pause
            Lets a moment pass; raises if somebody pressed stop.

        Raises
        ------
        LimitError
            It carried the objective outside the limits or beyond ``focus_lock.range_um``.
        MicroscopeError
            It did not settle in time.
        """
        try:
            self._wait_until_settled(began_um, here, pause)
        except MicroscopeError:
            with contextlib.suppress(MicroscopeError):
                self.switch_off()
            raise

    def _wait_until_settled(
        self, began_um: float, here: Callable[[], Position], pause: Callable[[], None]
    ) -> None:
        rule = self._rig.focus_lock
        longest_s = rule.stable_s + self._rig.deadlines.lock_s
        began_s = still_s = time.monotonic()
        z_um = began_um
        while (now_s := time.monotonic()) - still_s < rule.stable_s:
            place = here()
            if abs(place.z_um - z_um) > rule.stable_um or not self._is_locked():
                still_s, z_um = now_s, place.z_um
            fault = runaway(self._rig, place, began_um)
            if fault:
                raise LimitError(fault)
            if now_s - began_s > longest_s:
                msg = (
                    f"{self._device} has not locked the focus within {longest_s:g} s (z ="
                    f" {place.z_um:.2f} µm) and was switched off; bring the slide into its range"
                )
                raise MicroscopeError(msg)
            pause()

    def _is_locked(self) -> bool:
        on = self.is_on() and not ask(self._core, "device_busy", self._device)
        return bool(on and ask(self._core, "is_continuous_focus_locked"))
