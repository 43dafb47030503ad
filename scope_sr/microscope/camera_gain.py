"""The gain of a Micro-Manager camera: its property of that name, where it is a number one can set.

Adapters agree on the name and on nothing else: a factor, decibels or steps of the maker's own, of
whole numbers or not. What it says goes.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import Any

from scope_sr.errors import MicroscopeError
from scope_sr.microscope.link import ask

GAIN = "Gain"
WHOLE_NUMBER = 3  # MM::PropertyType


@dataclass(frozen=True)
class CameraGain:
    """The gain a camera has, as it was found.

    Attributes
    ----------
    device
        The camera's label.
    limits
        Least and largest.
    whole
        Whether it takes whole numbers only.
    """

    device: str
    limits: tuple[float, float]
    whole: bool

    def read(self, core: Any) -> float:
        """Ask for it."""
        return float(ask(core, "get_property", self.device, GAIN))

    def write(self, core: Any, gain: float) -> None:
        """Set it, as near as it can be."""
        words = str(round(gain)) if self.whole else str(gain)
        ask(core, "set_property", self.device, GAIN, words)


def camera_gain(core: Any) -> CameraGain | None:
    """Find the gain of the core's camera; None where it has none, or one that cannot be set."""
    device = str(ask(core, "get_camera_device"))
    if GAIN not in map(str, ask(core, "get_device_property_names", device)):
        return None
    with contextlib.suppress(MicroscopeError, TypeError, ValueError):
        return _settable(core, device)
    return None


def _settable(core: Any, device: str) -> CameraGain | None:
    if ask(core, "is_property_read_only", device, GAIN):
        return None
    if not ask(core, "has_property_limits", device, GAIN):
        return None
    low, high = (
        float(ask(core, f"get_property_{end}_limit", device, GAIN)) for end in ("lower", "upper")
    )
    kind = ask(core, "get_property_type", device, GAIN)
    # an enumeration is a plain number in process, an object over the bridge
    whole = int(kind.swig_value() if hasattr(kind, "swig_value") else kind) == WHOLE_NUMBER
    usable = math.isfinite(low) and math.isfinite(high) and low < high
    return CameraGain(device, (low, high), whole) if usable else None
