"""A Nikon stand that misbehaves on demand, as a Micro-Manager core would show it.

Pure Python, snake_case names, real time. What is true (where lens, glass and stage are) is kept
apart from what is reported, and what a real stand would punish (moving the focus drive under
Perfect Focus, turning the nosepiece near the glass, touching the glass) lands in ``violations``.

The physics is stepped by a millisecond whenever somebody asks; nothing runs in between.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scope_sr.config import Rig, parse_rig
from scope_sr.microscope.guarded import GuardedMicroscope
from scope_sr.microscope.link import Link
from scope_sr.microscope.micromanager import MicroManager
from scope_sr.microscope.operator import Ask

TICK_S = 0.001
LABELS = ("1-Plan Apo 4x", "2-Plan Apo 10x", "3-Plan Apo 20x", "4-Unknown")
PIXEL_UM = {"1-Plan Apo 4x": 2.5, "2-Plan Apo 10x": 1.0, "3-Plan Apo 20x": 0.5}
WIDTH_PX, HEIGHT_PX = 64, 48

RIG = """
name = "stand"
backend = "micromanager"
low = "10x"
high = "20x"

[micromanager]
port = 4827

[micromanager.labels]
nosepiece = "Nosepiece"

[camera]
width_px = 64
height_px = 48
pixel_um = 10.0
bits = 16
color = false
readout_ms = 1.0

[stage]
x_limits_um = [-20000.0, 20000.0]
y_limits_um = [-15000.0, 15000.0]
z_limits_um = [-900.0, 100.0]
toward_specimen = "+z"
approach_um = [20.0, 20.0]
z_approach_um = 5.0
tolerance_um = 2.0
z_tolerance_um = 0.5
speed_um_per_s = 20000.0
z_speed_um_per_s = 20000.0
settle_ms = 2.0
stable_ms = 5.0

[nosepiece]
escape_um = 300.0
turn_s = 0.03

[focus_lock]
stable_s = 0.2
stable_um = 0.2
range_um = 20.0

[deadlines]
move_s = 2.0
turn_s = 2.0
snap_s = 2.0
lock_s = 1.0

[objectives.10x]
slot = 2
label = "2-Plan Apo 10x"
magnification = 10.0
numerical_aperture = 0.45
exposure_ms = 2.0

[objectives.20x]
slot = 3
label = "3-Plan Apo 20x"
magnification = 20.0
numerical_aperture = 0.75
exposure_ms = 2.0
"""


def stand_rig(**changes: str) -> Rig:
    """Describe the stand to the program; `changes` map old text to new."""
    text = RIG
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return parse_rig(text, source="stand.toml", folder=Path.cwd())


@dataclass(frozen=True)
class Faults:
    """How the stand misbehaves, and how fast it is; the default is a good Ti2 with quick drives.

    Attributes
    ----------
    creep_um, creep_um_per_s
        The last stretch of a stage move is slow, and the stage says done when it begins.
    blocks_xy
        ``set_xy_position`` returns when the move is done, and meanwhile no question to the stage
        is answered, on whatever connection (a module lock, as in the Ti2's adapter).
    query_s
        What a question to stage, focus drive or nosepiece takes.
    hunt_um, hunt_tau_s, hunt_hz, hunt_after_s
        The swing Perfect Focus makes around the focus after it caught the glass, saying "locked";
        it may begin a moment after that.
    lose_over_um, lose_s
        After a stage move longer than this the lock is lost for so long.
    run_um_per_s, run_to_um
        With Perfect Focus on, z runs off from the focus, until it is so far away.
    off_late_s, off_shows
        Perfect Focus goes on for so long after it was switched off; meanwhile it says "enabled",
        or already not but ``busy``.
    drops_at_xy
        Perfect Focus switches itself off during the n-th stage move from now.
    lock_busy
        Perfect Focus reports busy while it has not caught the glass.
    mute_while_turning
        The nosepiece answers a question for its label with an error while it turns.
    camera_query_s
        What a question for the exposure takes: a camera may answer only between frames.
    refuses_while_streaming
        The camera takes no setting while it runs.
    gain_limits
        None: its gain is a number without limits, which nobody can set by.
    z_report_s
        Under Perfect Focus z is reported anew only so often.
    """

    toward: int = 1
    direction: int = 0
    speed_um_per_s: float = 20000.0
    z_speed_um_per_s: float = 20000.0
    xy_step_um: float = 0.1
    z_step_um: float = 0.025
    creep_um: float = 0.0
    creep_um_per_s: float = 20.0
    blocks_xy: bool = False
    query_s: float = 0.0
    capture_um: float = 12.0
    focus_um: dict[str, float] = field(default_factory=lambda: {LABELS[1]: 0.0, LABELS[2]: 3.0})
    slope: tuple[float, float] = (0.004, -0.003)
    hunt_um: float = 1.5
    hunt_tau_s: float = 0.06
    hunt_hz: float = 7.0
    hunt_after_s: float = 0.0
    never_locks: bool = False
    lock_busy: bool = False
    lose_over_um: float = 1e9
    lose_s: float = 0.3
    run_um_per_s: float = 0.0
    run_to_um: float = 1e9
    off_late_s: float = 0.0
    off_shows: str = "enabled"
    drops_at_xy: int = 0
    z_report_s: float = 0.0
    working_um: float = 80.0
    clearance_um: float = 250.0
    turn_s: float = 0.03
    encoded: bool = True
    motorised: bool = True
    mute_while_turning: bool = False
    wrong_label: str = ""
    auto_focus: str = "PFS"
    camera: str = "Camera-1"
    binning: str = "1"
    roi_at: tuple[int, int] = (0, 0)
    camera_query_s: float = 0.0
    refuses_while_streaming: bool = False
    gain_limits: tuple[float, float] | None = (0.0, 24.0)


@dataclass(frozen=True)
class Called:
    """One call, as the stand saw it."""

    time_s: float
    lane: str
    verb: str
    values: tuple[object, ...]
    seconds: float = 0.0


@dataclass(frozen=True)
class Shot:
    """The truth at an exposure."""

    x_um: float
    y_um: float
    z_um: float
    focus_um: float
    label: str
    speed_um_per_s: float
    lock_on: bool


class Stand:
    """The stand itself; talk to it through :class:`View`, one per lane."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.violations: list[str] = []
        self.calls: list[Called] = []
        self.shots: list[Shot] = []
        self.xy = [0.0, 0.0]
        self.z = 0.0
        self.label = LABELS[1]
        self.magnifier = "1.00x"
        self.pixel_um = dict(PIXEL_UM)
        self.roles = {
            "camera": self.faults.camera,
            "xy_stage": "XYStage",
            "focus": "ZDrive",
            "auto_focus": self.faults.auto_focus,
        }
        self._xy_to, self._z_to = list(self.xy), self.z
        self._hot = False  # what Perfect Focus does, ...
        self._asked_on = False  # ... and what it was told
        self._off_at_s = 0.0
        self._caught_s: float | None = None
        self._caught_off_um = 0.0
        self._lost_until_s = 0.0
        self._ran_um = 0.0
        self._xy_moves = 0
        self._turned_at_s = 0.0
        self._turning_to = self.label
        self._said_z = (0.0, -1e9)
        self._now_s = time.monotonic()
        self._lock = threading.RLock()
        self._module = threading.Lock()
        self._exposure_ms = 2.0
        self.gain = 0.0
        self._image: np.ndarray | None = None
        self._streaming = False
        self._stream_s = 0.0
        self._dropped: set[int] = set()
        self._rng = np.random.default_rng(0)

    # -- what tests do behind the program's back ---------------------------------------------------

    def misbehave(self, **changes: Any) -> None:
        with self._lock:
            self._step()
            self.faults = dataclasses.replace(self.faults, **changes)
            self._ran_um = 0.0
            self._xy_moves = 0

    def press_lock_button(self, *, on: bool) -> None:
        with self._lock:
            self._step()
            self._asked_on = self._hot = on
            self._caught_s = None
            self._z_to = self.z

    def turn_knob(self, z_um: float) -> None:
        with self._lock:
            self._step()
            self.z = self._z_to = z_um

    def turn_by_hand(self, label: str) -> None:
        with self._lock:
            self._step()
            self._refuse_unsafe_turn()
            self.label = self._turning_to = label

    def restart_stream(self) -> None:
        with self._lock:
            self._stream_s = time.monotonic()
            self._streaming = True
            self._dropped = set()

    def end_stream(self) -> None:
        self._streaming = False

    def drop_frames(self, *numbers: int) -> None:
        self._dropped |= set(numbers)

    @property
    def lock_on(self) -> bool:
        with self._lock:
            self._step()
            return self._hot

    @property
    def true_z_um(self) -> float:
        with self._lock:
            self._step()
            return self.z

    def of(self, *verbs: str, lane: str = "") -> list[Called]:
        """List the calls of some verbs, in order."""
        return [c for c in list(self.calls) if c.verb in verbs and lane in ("", c.lane)]

    def focus_at(self, x_um: float, y_um: float, label: str = "") -> float:
        of_lens = self.faults.focus_um.get(label or self.label, 0.0)
        return of_lens + self.faults.slope[0] * x_um + self.faults.slope[1] * y_um

    # -- physics -----------------------------------------------------------------------------------

    def _step(self) -> None:
        now_s = time.monotonic()
        while self._now_s < now_s:
            by_s = min(TICK_S, now_s - self._now_s)
            self._now_s += by_s
            self._drive_xy(by_s)
            if self._hot and not self._asked_on and self._now_s >= self._off_at_s:
                self._hot, self._caught_s = False, None
                self._z_to = self.z
            if self._hot:
                self._hold(by_s)
            else:
                way_um = self._z_to - self.z
                most_um = self.faults.z_speed_um_per_s * by_s
                self.z += math.copysign(min(abs(way_um), most_um), way_um)
            if self._turning_to != self.label and self._now_s >= self._turned_at_s:
                self.label = self._turning_to
            if self._gap_um() <= 0:
                self._violate("the lens touched the glass")

    def _drive_xy(self, by_s: float) -> None:
        left_um = math.dist(self.xy, self._xy_to)
        if not left_um:
            return
        slow = left_um <= self.faults.creep_um
        speed = self.faults.creep_um_per_s if slow else self.faults.speed_um_per_s
        share = min(1.0, speed * by_s / left_um)
        if not slow and self.faults.creep_um:
            share = min(share, (left_um - self.faults.creep_um) / left_um + 1e-9)
        for axis in (0, 1):
            self.xy[axis] += share * (self._xy_to[axis] - self.xy[axis])
        if math.dist(self.xy, self._xy_to) < 1e-6:
            self.xy = list(self._xy_to)

    def _hold(self, by_s: float) -> None:
        """Perfect Focus at work: run off, or catch the glass, swing, and follow it."""
        faults = self.faults
        if faults.run_um_per_s:
            step_um = min(faults.run_um_per_s * by_s, faults.run_to_um - self._ran_um)
            self._ran_um += max(0.0, step_um)
            self.z += faults.toward * max(0.0, step_um)
            return
        focus_um = self.focus_at(*self.xy)
        if faults.never_locks or self._now_s < self._lost_until_s:
            self._caught_s = None
        elif self._caught_s is None and abs(self.z - focus_um) <= faults.capture_um:
            self._caught_s = self._now_s
            off_um = self.z - focus_um
            self._caught_off_um = off_um + math.copysign(faults.hunt_um, off_um)
        if self._caught_s is not None:
            since_s = self._now_s - self._caught_s - faults.hunt_after_s
            if since_s < 0:
                return
            swing = math.exp(-since_s / faults.hunt_tau_s)
            swing *= math.cos(2 * math.pi * faults.hunt_hz * since_s)
            self.z = focus_um + swing * self._caught_off_um

    def _gap_um(self) -> float:
        """Say how far the lens is from the glass."""
        glass_um = self.focus_at(*self.xy) + self.faults.toward * self.faults.working_um
        return (glass_um - self.z) * self.faults.toward

    def _violate(self, what: str) -> None:
        if not self.violations or self.violations[-1] != what:
            self.violations.append(what)

    def _refuse_unsafe_turn(self) -> None:
        if self._hot or self._asked_on:
            self._violate("the nosepiece turned under Perfect Focus")
        if self._gap_um() < self.faults.clearance_um:
            self._violate(f"the nosepiece turned {self._gap_um():.1f} µm from the glass")
        if self._z_to != self.z:
            self._violate("the nosepiece turned while the focus drive moved")

    def _busy_xy(self) -> bool:
        return math.dist(self.xy, self._xy_to) > max(self.faults.creep_um * (1 + 1e-6), 1e-9)

    def _lose_lock(self, way_um: float) -> None:
        self._xy_moves += 1
        if self._xy_moves == self.faults.drops_at_xy:
            self._asked_on = self._hot = False
            self._z_to = self.z
        if way_um > self.faults.lose_over_um:
            travel_s = way_um / self.faults.speed_um_per_s
            self._lost_until_s = self._now_s + travel_s + self.faults.lose_s
            self._caught_s = None

    # -- the core ----------------------------------------------------------------------------------

    def get_camera_device(self) -> str:
        return self.roles["camera"]

    def get_xy_stage_device(self) -> str:
        return self.roles["xy_stage"]

    def get_focus_device(self) -> str:
        return self.roles["focus"]

    def get_auto_focus_device(self) -> str:
        return self.roles["auto_focus"]

    def set_camera_device(self, name: str) -> None:
        self._known(name)
        self.roles["camera"] = name

    def set_auto_focus_device(self, name: str) -> None:
        self._known(name)
        self.roles["auto_focus"] = name

    def get_loaded_devices(self) -> list[str]:
        return [
            "XYStage",
            "ZDrive",
            "PFS",
            "PFSOffset",
            "IntermediateMagnification",
            "Camera-1",
            "Camera-2",
            *(["Nosepiece"] if self.faults.encoded else []),
        ]

    def _known(self, name: str) -> None:
        if name and name not in self.get_loaded_devices():
            msg = f'No device with label "{name}"'
            raise RuntimeError(msg)

    def get_state_labels(self, device: str) -> list[str]:
        self._known(device)
        if device == "Nosepiece":
            return list(LABELS)
        if device == "IntermediateMagnification":
            return ["1.00x", "1.50x"]
        msg = f'Device "{device}" is of the wrong type for the requested operation'
        raise RuntimeError(msg)

    def get_state_label(self, device: str) -> str:
        self._known(device)
        time.sleep(self.faults.query_s)
        if device == "IntermediateMagnification":
            return self.magnifier
        with self._lock:
            self._step()
            if self.faults.mute_while_turning and self._turning_to != self.label:
                msg = f'Error in device "{device}": Nosepiece position is unknown (10015)'
                raise RuntimeError(msg)
            return self.label

    def set_state_label(self, device: str, label: str) -> None:
        self._known(device)
        with self._lock:
            self._step()
            if not self.faults.motorised:
                msg = f'Error in device "{device}": Cannot be set (8)'
                raise RuntimeError(msg)
            self._refuse_unsafe_turn()
            if label not in LABELS:
                msg = f'Error in device "{device}": Label not defined (10)'
                raise ValueError(msg)
            self._turning_to = self.faults.wrong_label or label
            self._turned_at_s = self._now_s + self.faults.turn_s

    def get_x_position(self, device: str) -> float:
        return self._say_xy(device)[0]

    def get_y_position(self, device: str) -> float:
        return self._say_xy(device)[1]

    def _say_xy(self, device: str) -> list[float]:
        assert device == "XYStage", device
        with self._module:
            time.sleep(self.faults.query_s)
            with self._lock:
                self._step()
                step_um = self.faults.xy_step_um
                return [round(value / step_um) * step_um for value in self.xy]

    def set_xy_position(self, device: str, x_um: float, y_um: float) -> None:
        assert device == "XYStage", device
        if not self.faults.blocks_xy:
            self._send_xy(x_um, y_um)
            return
        with self._module:
            self._send_xy(x_um, y_um)
            while self._xy_busy_now():
                time.sleep(0.002)

    def _xy_busy_now(self) -> bool:
        with self._lock:
            self._step()
            return self._busy_xy()

    def _send_xy(self, x_um: float, y_um: float) -> None:
        with self._lock:
            self._step()
            if self._turning_to != self.label:
                self._violate("the stage was sent off while the nosepiece turned")
            self._lose_lock(math.dist(self.xy, (x_um, y_um)))
            self._xy_to = [x_um, y_um]

    def get_position(self, device: str) -> float:
        assert device == "ZDrive", device
        time.sleep(self.faults.query_s)
        with self._lock:
            self._step()
            if self._hot and self._now_s - self._said_z[1] < self.faults.z_report_s:
                return self._said_z[0]
            z_um = round(self.z / self.faults.z_step_um) * self.faults.z_step_um
            self._said_z = (z_um, self._now_s)
            return z_um

    def set_position(self, device: str, z_um: float) -> None:
        assert device == "ZDrive", device
        with self._lock:
            self._step()
            if self._hot or self._asked_on:
                self._violate("the focus drive was moved under Perfect Focus")
            if self._turning_to != self.label:
                self._violate("the focus drive was moved while the nosepiece turned")
            self._z_to = z_um

    def get_focus_direction(self, _device: str) -> int:
        return self.faults.direction

    def device_busy(self, device: str) -> bool:
        self._known(device)
        with self._lock:
            self._step()
            if device == "XYStage":
                return self._busy_xy()
            if device == "ZDrive":
                return not self._hot and self._z_to != self.z
            if device == "Nosepiece":
                return self._turning_to != self.label
            if device == "PFS":
                switching = self._hot and not self._asked_on
                searching = self.faults.lock_busy and self._hot and self._caught_s is None
                return switching or searching
            return False

    def stop(self, device: str) -> None:
        with self._lock:
            self._step()
            if device == "XYStage":
                self._xy_to = list(self.xy)
            elif not self._hot:
                self._z_to = self.z

    def enable_continuous_focus(self, on: bool) -> None:
        if not self.roles["auto_focus"]:
            msg = "Auto-focus focus device not defined."
            raise RuntimeError(msg)
        with self._lock:
            self._step()
            if on and not self._asked_on:
                self._hot, self._caught_s = True, None
            if not on and self._asked_on:
                self._off_at_s = self._now_s + self.faults.off_late_s
            self._asked_on = on
            if not on and not self.faults.off_late_s:
                self._hot, self._caught_s = False, None
                self._z_to = self.z

    def is_continuous_focus_enabled(self) -> bool:
        with self._lock:
            self._step()
            late = self.faults.off_shows == "enabled" and self._hot
            return bool(self.roles["auto_focus"]) and (self._asked_on or late)

    def is_continuous_focus_locked(self) -> bool:
        with self._lock:
            self._step()
            return self._hot and (self._caught_s is not None or self.faults.run_um_per_s > 0)

    def get_device_name(self, device: str) -> str:
        self._known(device)
        return "Ti2 camera"

    def get_device_library(self, device: str) -> str:
        self._known(device)
        return "NikonTi2"

    def get_device_property_names(self, device: str) -> list[str]:
        self._known(device)
        return ["Gain", "Binning", "Camera Serial Number"]

    def get_property(self, device: str, name: str) -> str:
        self._known(device)
        return {
            "Binning": self.faults.binning,
            "Camera Serial Number": f"SN-{device}",
            "Gain": f"{self.gain:.4f}",
        }[name]

    def set_property(self, device: str, name: str, value: str) -> None:
        self._known(device)
        assert name == "Gain", name
        self._refuse_while_streaming()
        self.gain = float(value)

    def is_property_read_only(self, _device: str, name: str) -> bool:
        return name != "Gain"

    def has_property_limits(self, _device: str, name: str) -> bool:
        return name == "Gain" and self.faults.gain_limits is not None

    def get_property_lower_limit(self, _device: str, _name: str) -> float:
        assert self.faults.gain_limits
        return self.faults.gain_limits[0]

    def get_property_upper_limit(self, _device: str, _name: str) -> float:
        assert self.faults.gain_limits
        return self.faults.gain_limits[1]

    def get_property_type(self, _device: str, _name: str) -> int:
        return 2  # MM::Float

    def _refuse_while_streaming(self) -> None:
        if self._streaming and self.faults.refuses_while_streaming:
            msg = f'Error in device "{self.roles["camera"]}": Camera is busy acquiring (31)'
            raise RuntimeError(msg)

    def get_roi(self) -> list[int]:
        return [*self.faults.roi_at, WIDTH_PX, HEIGHT_PX]

    def get_pixel_size_um(self) -> float:
        return self.pixel_um.get(self.label, 0.0) / float(self.magnifier[:-1])

    def get_exposure(self) -> float:
        time.sleep(self.faults.camera_query_s)
        return self._exposure_ms

    def set_exposure(self, exposure_ms: float) -> None:
        self._refuse_while_streaming()
        self._exposure_ms = exposure_ms

    def snap_image(self) -> None:
        if self._streaming:
            msg = f'Camera "{self.roles["camera"]}": snap while sequence acquisition is running'
            raise RuntimeError(msg)
        time.sleep(self._exposure_ms / 2000)
        with self._lock:
            self._step()
            moving = self._xy_to != self.xy
            creep = self.faults.creep_um_per_s if moving else 0.0
            self.shots.append(
                Shot(*self.xy, self.z, self.focus_at(*self.xy), self.label, creep, self._hot)
            )
            self._image = self._render(*self.xy)
        time.sleep(self._exposure_ms / 2000)

    def _render(self, x_um: float, y_um: float) -> np.ndarray:
        """A gradient that says where the stage is, and noise that no two images share."""
        size_um = PIXEL_UM.get(self.label, 1.0)
        rows, columns = np.mgrid[:HEIGHT_PX, :WIDTH_PX]
        level = 20000 + (x_um + columns * size_um) + 3 * (y_um - rows * size_um)
        return (level + self._rng.integers(0, 50, level.shape)).clip(2000, 60000).astype(np.uint16)

    def get_image(self) -> np.ndarray:
        assert self._image is not None
        return self._image

    # -- live --------------------------------------------------------------------------------------

    def is_sequence_running(self) -> bool:
        return self._streaming

    def start_continuous_sequence_acquisition(self, _interval_ms: float) -> None:
        if self._streaming:
            msg = "sequence acquisition is running already"
            raise RuntimeError(msg)
        self.restart_stream()

    def stop_sequence_acquisition(self) -> None:
        self._streaming = False

    def clear_circular_buffer(self) -> None:
        self._dropped = set()
        self._stream_s = time.monotonic()

    def _newest_number(self) -> int:
        period_s = max(self._exposure_ms, 1.0) / 1000
        number = int((time.monotonic() - self._stream_s) / period_s) - 1
        while number >= 0 and number in self._dropped:
            number -= 1
        return number

    def get_remaining_image_count(self) -> int:
        return max(0, self._newest_number() + 1)

    def newest(self) -> tuple[np.ndarray, int] | None:
        number = self._newest_number()
        if number < 0:
            return None
        with self._lock:
            self._step()
            return self._render(*self.xy), number


class View:
    """One connection to the stand: keeps a record, and takes no numpy numbers, as a core does."""

    def __init__(self, stand: Stand, lane: str) -> None:
        self._stand = stand
        self._lane = lane

    def __getattr__(self, verb: str) -> Any:
        method = getattr(self._stand, verb)

        def called(*values: object) -> Any:
            if any(isinstance(value, np.generic) for value in values):
                msg = f"in method 'CMMCore_{verb}', argument of type 'double'"
                raise TypeError(msg)
            began_s = time.monotonic()
            try:
                return method(*values)
            finally:
                took_s = time.monotonic() - began_s
                self._stand.calls.append(Called(began_s, self._lane, verb, values, took_s))

        return called


def link_to_stand(stand: Stand, ended: list[str] | None = None) -> Link:
    """Give the three connections; `ended` hears of release and abandon."""
    ended = [] if ended is None else ended
    views = (View(stand, lane) for lane in ("hardware", "frames", "emergency"))
    return Link(
        *views, stand.newest, lambda: ended.append("released"), lambda: ended.append("abandoned")
    )


def open_stand(stand: Stand, rig: Rig | None = None, ask: Ask | None = None) -> GuardedMicroscope:
    """Open a stand as the program would, behind its guard."""
    rig = rig or stand_rig()
    return GuardedMicroscope(MicroManager(link_to_stand(stand), rig), rig, ask)


def z_commands(stand: Stand) -> Iterator[float]:
    """Give every place the focus drive was sent to."""
    return (float(str(call.values[1])) for call in stand.of("set_position"))
