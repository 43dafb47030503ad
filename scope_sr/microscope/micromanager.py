"""Micro-Manager as a microscope: one class over a core that answers to snake_case names.

The core may be pymmcore's in this process or one behind a socket: the class asks no more of it than
names and values. Deadlines, limits, escape and read-back are the guard's; here a call is made,
waited for, and its errors put in words.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from typing import Any

from scope_sr.config import Labels, Rig
from scope_sr.errors import InputError, MicroscopeError, StoppedError
from scope_sr.frame import CameraFacts, Frame, Position
from scope_sr.microscope.camera_gain import camera_gain
from scope_sr.microscope.focus_lock import FocusLock
from scope_sr.microscope.link import (
    Link,
    ask,
    camera_facts,
    refuse_unknown_devices,
    to_rgb_or_grey,
)
from scope_sr.microscope.protocol import UNKNOWN
from scope_sr.microscope.streaming import Streaming

POLL_S = 0.001  # wait_for_device of the core polls every 10 ms
LOOK_S = 0.1  # how often a streamed frame's circumstances are asked for anew
SCALE = 0.05  # Micro-Manager's pixel size may differ from the rig's by this share


class MicroManager:
    """The Micro-Manager backend.

    Raises
    ------
    MicroscopeError
        A device is missing, or live view is on in Micro-Manager.
    InputError
        A label or direction of the rig is not what Micro-Manager says.
    """

    def __init__(self, link: Link, rig: Rig) -> None:
        self._link = link
        self._rig = rig
        self._stopped = threading.Event()
        self._number = 0
        self._stream = Streaming(link)
        self._hands = threading.Lock()  # held while something moves
        self._looked_s = -LOOK_S
        self._said = UNKNOWN
        self._roles_before: dict[str, str] = {}
        labels = rig.micromanager.labels if rig.micromanager else Labels()
        self._magnifier = labels.magnifier
        try:
            self._take_role("camera_device", labels.camera)
            self._take_role("auto_focus_device", labels.focus_lock)
            self._know_devices(labels)
        except BaseException:
            self._give_roles_back()
            raise

    def _know_devices(self, labels: Labels) -> None:
        """Find out which device is what, and refuse what contradicts the rig."""
        refuse_unknown_devices(self._link.hardware, labels, self._rig.source)
        self._role("camera", "camera_device")
        self._lock = FocusLock(self._link.hardware, self._rig)
        self._stage = labels.xy_stage or self._role("XY stage", "xy_stage_device")
        self._focus = labels.focus_drive or self._role("focus drive", "focus_device")
        self._nosepiece = self._find_nosepiece(labels.nosepiece)
        self._refuse_contradiction()
        self._seen = (self._position(self._link.hardware), self.objective(), self.exposure_ms())

    def position(self) -> Position:
        """Ask the stage and the focus drive; while they move, say what was read last."""
        if not self._hands.acquire(blocking=False):
            return self._seen[0]
        try:
            return self._position(self._link.frames)
        finally:
            self._hands.release()

    def move_to(self, position: Position) -> None:
        """Send the axes that differ and wait until all is still; z is the lock's while it holds."""
        self._unless_stopped("before the move began")
        with self._hands:
            held = self.focus_held()
            here = self._position(self._link.hardware)
            if self._is_across(here, position):
                self._ask("set_xy_position", self._stage, position.x_um, position.y_um)
            off_um = abs(position.z_um - here.z_um)
            if off_um > self._rig.stage.z_tolerance_um / 10 and not held:
                self._ask("set_position", self._focus, position.z_um)
            self._wait_for(self._stage, self._focus)
            self._wait_until_still()
            if held:
                self._settle_lock(here.z_um)
        self._unless_stopped(f"on the way to {position.describe()}")

    def objective(self) -> str:
        """Name the objective whose label the nosepiece reports; the label itself if unknown."""
        return self._objective(self._link.hardware)

    def select_objective(self, name: str) -> None:
        """Turn the nosepiece to the label of an objective, or believe the operator who turned it.

        Raises
        ------
        MicroscopeError
            The magnification that results is not the rig's.
        """
        self._unless_stopped("before the nosepiece turned")
        self._said = name
        if not self._rig.nosepiece.manual:
            with self._hands:
                self._ask("set_state_label", self._nosepiece, self._rig.objectives[name].label)
                self._wait_for(self._nosepiece)
        if self.objective() == name:
            self._refuse_wrong_scale()

    def focus_held(self) -> bool:
        """Ask whether the focus lock is on."""
        return self._lock.is_on()

    def hold_focus(self, on: bool) -> None:
        """Switch the focus lock and wait until it is so: off, or locked and still."""
        with self._hands:
            if on:
                self._unless_stopped("before the focus lock was switched on")
                began_um = self._position(self._link.hardware).z_um
                self._lock.switch_on()
                self._settle_lock(began_um)
            else:
                self._lock.switch_off()

    def camera(self) -> CameraFacts:
        """Ask the core which camera it has."""
        core = self._link.hardware
        gain = camera_gain(core)
        return replace(camera_facts(core), gain_limits=gain.limits if gain else None)

    def exposure_ms(self) -> float:
        """Ask the camera; a whole number of ms comes back as an int from some cores."""
        return float(self._ask("get_exposure"))

    def set_exposure(self, exposure_ms: float) -> None:
        """Set the exposure, in ms."""
        self._stream.set(lambda: self._ask("set_exposure", exposure_ms))
        self._looked_s = -LOOK_S

    def gain(self) -> float:
        """Ask the camera."""
        gain = camera_gain(self._link.hardware)
        return gain.read(self._link.hardware) if gain else 1.0

    def set_gain(self, gain: float) -> None:
        """Set the gain, as near as the camera can."""
        found = camera_gain(self._link.hardware)
        if found is None:
            msg = "the camera has no gain that could be set"
            raise MicroscopeError(msg)
        self._stream.set(lambda: found.write(self._link.hardware, gain))

    def snap(self) -> Frame:
        """Snap and fetch."""
        self._unless_stopped("before the exposure")
        self._refuse_wrong_scale()
        began = time.time()
        self._ask("snap_image")
        raw = self._ask("get_image")
        self._number += 1
        self._look()
        return Frame(to_rgb_or_grey(raw), *self._seen, began, self._number)

    def start_stream(self) -> None:
        """Let the camera run into the core's buffer."""
        if not self._stream.runs:
            self._look()
            self._stream.begin(self._number)

    def latest(self, after: int) -> Frame | None:
        """Fetch the newest frame.

        Where and with what it was taken is asked for anew now and then, never during a motion:
        some adapters answer nothing while they move, and frames must not wait for them.
        """
        found = self._stream.newest(after)
        if found is None:
            return None
        raw, self._number = found
        if time.monotonic() - self._looked_s > LOOK_S:
            self._look_between_motions()
        return Frame(to_rgb_or_grey(raw), *self._seen, time.time(), self._number)

    def stop_stream(self) -> None:
        """End the stream."""
        self._stream.end()

    def stop(self) -> None:
        """Stop both drives; not every drive can, and a still one may say so."""
        self._stopped.set()
        for device in (self._stage, self._focus):
            with contextlib.suppress(MicroscopeError):
                ask(self._link.emergency, "stop", device)

    def rearm(self) -> None:
        """Allow motion again."""
        self._stopped.clear()

    def abandon(self) -> None:
        """Let go of a core that does not answer."""
        self._stopped.set()
        self._link.abandon()

    def close(self) -> None:
        """Stop the stream, give the roles back and let go of the core."""
        try:
            self.stop_stream()
        finally:
            self._give_roles_back()
            self._link.release()

    def _is_across(self, here: Position, there: Position) -> bool:
        """Tell whether x or y is to change: a reading is never quite what was sent."""
        least_um = self._rig.stage.tolerance_um / 10
        return max(abs(there.x_um - here.x_um), abs(there.y_um - here.y_um)) > least_um

    def _wait_for(self, *devices: str) -> None:
        """Poll until no device is busy; a stop ends the wait, the guard's deadline bounds it."""
        asked_s = time.monotonic()
        while any(self._ask("device_busy", device) for device in devices):
            if time.monotonic() - asked_s > LOOK_S:
                asked_s = time.monotonic()
                self._seen_now()
            self._pause("during a move")

    def _wait_until_still(self) -> None:
        """Wait for the settle time, then until two readings agree: some drives say done too early.

        Old builds of Nikon's adapters report the stage idle while it moves (mmCoreAndDevices#826).
        """
        stage = self._rig.stage
        self._stopped.wait(stage.settle_ms / 1000)
        while stage.stable_ms:
            before = self._position(self._link.hardware)
            self._pause("while the stage settled", stage.stable_ms / 1000)
            now = self._position(self._link.hardware)
            across_um = max(abs(now.x_um - before.x_um), abs(now.y_um - before.y_um))
            still = across_um <= stage.tolerance_um / 4
            if still and (
                self.focus_held() or abs(now.z_um - before.z_um) <= stage.z_tolerance_um / 4
            ):
                return

    def _refuse_wrong_scale(self) -> None:
        """Refuse to capture at another scale than the rig's; 0 means that no preset matches."""
        self._refuse_wrong_magnifier()
        name = self.objective()
        lens = self._rig.objectives.get(name)
        found_um = float(self._ask("get_pixel_size_um"))
        if self._rig.nosepiece.manual or lens is None:
            return
        if not found_um and lens.pixel_size_um is None:
            msg = (
                f"Micro-Manager knows no pixel size for {name}; make a pixel size preset for it"
                f" (Devices > Pixel Size Calibration), or give objectives.{name}.pixel_size_um in"
                f" {self._rig.source}"
            )
            raise MicroscopeError(msg)
        expected_um = self._rig.pixel_size_um(name)
        if found_um and abs(found_um / expected_um - 1) > SCALE:
            msg = (
                f"Micro-Manager says {found_um:g} µm per pixel for {name}, {self._rig.source} says"
                f" {expected_um:g}: look at binning, intermediate magnification and the preset"
            )
            raise MicroscopeError(msg)

    def _refuse_wrong_magnifier(self) -> None:
        if self._rig.micromanager is None or not self._magnifier:
            return
        expected = self._rig.micromanager.magnifier_at
        found = str(self._ask("get_state_label", self._magnifier))
        if found != expected:
            msg = (
                f"{self._magnifier} is at {found}, {self._rig.source} holds for {expected}; set it"
                " back, or write a rig for this magnification"
            )
            raise MicroscopeError(msg)

    def _refuse_contradiction(self) -> None:
        """Refuse a focus direction that Micro-Manager contradicts, and a camera others use."""
        direction = int(self._ask("get_focus_direction", self._focus))
        if direction * self._rig.toward < 0:
            msg = (
                f"{self._rig.source}: stage.toward_specimen = {self._rig.stage.toward_specimen!r},"
                f" and Micro-Manager says that {self._focus} goes the other way; find out which is"
                " right before anything moves"
            )
            raise InputError(msg)
        if self._ask("is_sequence_running"):
            msg = "live view is on in Micro-Manager; stop it there, then try again"
            raise MicroscopeError(msg)

    def _position(self, core: Any) -> Position:
        return Position(
            float(ask(core, "get_x_position", self._stage)),
            float(ask(core, "get_y_position", self._stage)),
            float(ask(core, "get_position", self._focus)),
        )

    def _objective(self, core: Any) -> str:
        if not self._nosepiece:
            return self._said
        label = str(ask(core, "get_state_label", self._nosepiece))
        names = (n for n, lens in self._rig.objectives.items() if lens.label == label)
        return next(names, label)

    def _settle_lock(self, began_um: float) -> None:
        self._lock.settle(
            began_um,
            self._seen_now,
            lambda: self._pause("while the focus lock settled", LOOK_S / 2),
        )

    def _seen_now(self) -> Position:
        """Read where the stage is and note it, for whoever asks during the wait."""
        self._seen = (self._position(self._link.hardware), *self._seen[1:])
        return self._seen[0]

    def _look(self) -> None:
        """Note where everything is, for the frame at hand."""
        core = self._link.hardware
        self._seen = (self._position(core), self._objective(core), self.exposure_ms())
        self._looked_s = time.monotonic()

    def _look_between_motions(self) -> None:
        """Note it for a stream's frames, unless something moves: they must not wait for that."""
        core = self._link.frames
        exposure_ms = float(ask(core, "get_exposure"))
        if self._hands.acquire(blocking=False):
            try:
                self._seen = (self._position(core), self._objective(core), exposure_ms)
            finally:
                self._hands.release()
        self._looked_s = time.monotonic()

    def _take_role(self, verb: str, device: str | None) -> None:
        """Give a device a role of the core's for as long as this is open."""
        before = str(self._ask(f"get_{verb}") or "")
        if device and device != before:
            self._ask(f"set_{verb}", device)
            self._roles_before[verb] = before

    def _give_roles_back(self) -> None:
        for verb, device in self._roles_before.items():
            with contextlib.suppress(MicroscopeError):
                self._ask(f"set_{verb}", device)

    def _role(self, what: str, verb: str) -> str:
        device = str(self._ask(f"get_{verb}") or "")
        if not device:
            msg = f"Micro-Manager has no {what}; assign one in its Core device, then try again"
            raise MicroscopeError(msg)
        return device

    def _find_nosepiece(self, named: str | None) -> str:
        """Find the state device that bears the labels of the rig's objectives."""
        wanted = {lens.label for lens in self._rig.objectives.values()}
        best: tuple[int, str, set[str]] = (0, "", set())
        for device in [named] if named else self._ask("get_loaded_devices"):
            with contextlib.suppress(MicroscopeError):
                labels = set(map(str, self._ask("get_state_labels", device)))
                best = max(best, (len(wanted & labels), str(device), labels), key=lambda b: b[0])
        missing = sorted(str(label) for label in wanted - best[2])
        if missing and not self._rig.nosepiece.manual:
            found = f"{best[1]} bears {', '.join(sorted(best[2]))}" if best[1] else "none does"
            msg = f"{self._rig.source}: no nosepiece bears the label {missing[0]!r}; {found}"
            raise InputError(msg)
        return "" if missing else best[1]

    def _pause(self, when: str, seconds: float = POLL_S) -> None:
        self._stopped.wait(seconds)
        self._unless_stopped(when)

    def _unless_stopped(self, when: str) -> None:
        if self._stopped.is_set():
            msg = f"stopped {when}"
            raise StoppedError(msg)

    def _ask(self, verb: str, *values: object) -> Any:
        return ask(self._link.hardware, verb, *values)
