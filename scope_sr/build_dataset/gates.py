"""What a pair is judged by: each quantity with its limits, in one place, and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping

from scope_sr.dataset import Gate

SOFT, HARD = 0.9, 1.12  # of the sharpness usual in the session
EXPECTED_SHARPNESS = (0.9, 1.1)  # beyond, a session is out of focus as a whole
LEAST_BLOCKS = 4


# least and most of each quantity: where defects made on purpose part from good pairs, a shift of
# 0.5 px, 4 µm of defocus at low and 1.3 µm at high magnification (tests/test_build_dataset.py)
LIMITS: dict[str, tuple[float | None, float | None]] = {
    "shift_px": (None, 0.25),
    "spread_px": (None, 0.4),
    "likeness": (0.9, None),
    "sharpness": (SOFT, HARD),
    "blocks": (LEAST_BLOCKS, None),
    "away_um": (None, 5.0),
    "tissue": (0.1, None),
    "clipped_low": (None, 0.005),
    "clipped_high": (None, 0.005),
    "blank_low": (0.9, 1.1),
    "blank_high": (0.9, 1.1),
    "usable": (0.25, None),
}


def gate(name: str, value: float) -> Gate:
    """Hold a value against the limits of its gate; nan could not be measured and judges nothing."""
    least, most = LIMITS[name]
    return Gate(None if math.isnan(value) else value, least, most)


WORDS = {
    "shift_px": "the images are off by {value:.2f} px of the high one",
    "spread_px": "parts of the images are off by {value:.2f} px of the high one",
    "likeness": "the images correlate by {value:.2f} only",
    "sharpness": "fine detail of the low image is {value:.2f} of what the high one foretells",
    "blocks": "only {value:.0f} blocks with tissue to measure by",
    "away_um": "it lies {value:.1f} µm from where the stage said",
    "tissue": "tissue covers {value:.0%}",
    "clipped_low": "{value:.1%} of the low image is at full scale",
    "clipped_high": "{value:.1%} of the high image is at full scale",
    "blank_low": "glass in the low image is {value:.2f} of its usual level",
    "blank_high": "glass in the high image is {value:.2f} of its level in the low one",
    "usable": "only {value:.0%} of it could be used",
}
RETAKE = {  # which of the two fields to take again, by the gate that failed
    "shift_px": ("high",),
    "spread_px": ("high",),
    "likeness": ("high",),
    "away_um": ("high",),
    "clipped_low": ("low",),
    "clipped_high": ("high",),
    "blank_low": ("low",),
    "blank_high": ("high",),
}


def reasons(gates: Mapping[str, Gate]) -> tuple[str, ...]:
    """Say in words which gates a pair failed.

    >>> reasons({"shift_px": Gate(0.5, most=0.25), "tissue": Gate(0.8, least=0.1)})
    ('shift_px: the images are off by 0.50 px of the high one, at most 0.25',)
    """
    return tuple(
        f"{name}: {WORDS[name].format(value=found.value)}, {found.limits()}"
        for name, found in gates.items()
        if not found.ok
    )


def retake(gates: Mapping[str, Gate]) -> set[str]:
    """Say which fields, "low" or "high", are worth taking again: not for want of tissue.

    >>> retake({"sharpness": Gate(1.3, least=0.9, most=1.12)})
    {'high'}
    """
    found = {side for name, g in gates.items() if not g.ok for side in RETAKE.get(name, ())}
    sharp = gates.get("sharpness")
    if sharp is not None and not sharp.ok and sharp.value is not None:
        found.add("low" if sharp.value < SOFT else "high")
    return found
