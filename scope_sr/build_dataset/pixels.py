"""Images of the user's as they are stored: 8 or 16 bits, colour or grey."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.masks.pixels import _stored


def picture(path: Path) -> NDArray[Any]:
    """Read an image."""
    found = _stored(path)
    samples = found.samples
    if found.palette is not None:
        return np.asarray(found.palette[np.minimum(samples[:, :, 0], len(found.palette) - 1)])
    return np.ascontiguousarray(samples[..., :3] if samples.shape[2] >= 3 else samples[..., 0])
