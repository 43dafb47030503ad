"""What a model is computed with: TorchScript on a GPU or the processor, or OpenVINO.

All take and give pictures of 8 bits, ``(N, H, W, 3)``; the graph in the model file does the rest.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from scope_sr.engine.openvino_form import compiled, converted
from scope_sr.errors import InputError
from scope_sr.modelfile import Card, Model, load

Pictures = NDArray[np.uint8]
NAMES = ("cuda", "mps", "openvino", "cpu")


@dataclass(frozen=True)
class Runtime:
    """A model made ready in one of the ways.

    Attributes
    ----------
    name
        One of `NAMES`.
    run
        ``(N, H, W, 3)`` uint8 in; out, `scale` times as large.
    """

    name: str
    card: Card
    run: Callable[[Pictures], Pictures]


def available() -> tuple[str, ...]:
    """Name what this computer could compute with, the likeliest to be fast first."""
    found = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "openvino": importlib.util.find_spec("openvino") is not None,
        "cpu": True,
    }
    return tuple(name for name in NAMES if found[name])


def made(model: str | Path, name: str) -> Runtime:
    """Make a model ready.

    Raises
    ------
    InputError
        There is no such model, or this computer cannot compute in that way.
    """
    if name not in NAMES:
        msg = f"{name}: no runtime of that name; there are {', '.join(NAMES)}"
        raise InputError(msg)
    if name == "openvino":
        found = load(model)
        return Runtime(name, found.card, compiled(converted(found.graph)))
    return on_torch(load(model, name, half=name != "cpu"))


def on_torch(model: Model) -> Runtime:
    """Run the graph of a model file where it lies."""

    def run(pictures: Pictures) -> Pictures:
        with torch.inference_mode():
            there = torch.from_numpy(np.ascontiguousarray(pictures)).to(model.device)
            found: Pictures = model.graph(there).cpu().numpy()
            return found

    return Runtime(model.device.type, model.card, run)
