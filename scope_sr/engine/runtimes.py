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

from scope_sr.engine import openvino_form
from scope_sr.engine.opening import is_form, read_form, ready
from scope_sr.engine.openvino_form import compiled, converted, needed
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
    model
        With torch, the model where it lies: for those who keep pictures there.
    """

    name: str
    card: Card
    run: Callable[[Pictures], Pictures]
    model: Model | None = None


def use_threads(count: int) -> None:
    """Compute with so many threads in this process: torch at once, OpenVINO what is made next."""
    torch.set_num_threads(count)
    openvino_form.threads = count


def available() -> tuple[str, ...]:
    """Name what this computer could compute with, the likeliest to be fast first."""
    found = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "openvino": importlib.util.find_spec("openvino") is not None,
        "cpu": True,
    }
    return tuple(name for name in NAMES if found[name])


def candidates(model: str | Path) -> tuple[str, ...]:
    """Name what this computer could compute this model with; an OpenVINO form has one way only."""
    return ("openvino",) if is_form(model) else available()


def made(model: str | Path, name: str) -> Runtime:
    """Make a model ready.

    Parameters
    ----------
    model
        Name, model file, or OpenVINO form (``.xml``).

    Raises
    ------
    InputError
        There is no such model, or this computer cannot compute it in that way.
    """
    refuse(model, name)
    if is_form(model):
        form = read_form(model)
        return Runtime(name, form.card, ready(form))
    if name == "openvino":
        found = load(model)
        return Runtime(name, found.card, compiled(converted(found.graph)))
    return on_torch(load(model, name, half=name != "cpu"))


def refuse(model: str | Path, name: str) -> None:
    """Refuse a runtime that this computer or this model does not have; nothing is loaded for it.

    Raises
    ------
    InputError
        In one line, with the way out.
    """
    if name not in NAMES:
        msg = f"{name}: no runtime of that name; there are {', '.join(NAMES)}"
        raise InputError(msg)
    if is_form(model) and name != "openvino":
        msg = (
            f"{model}: an OpenVINO form runs in openvino, not in {name}; name that, or give the"
            " model file it was exported from"
        )
        raise InputError(msg)
    if name == "openvino":
        needed("openvino", "openvino")
    elif name not in available():
        msg = f"{name}: this computer has none; there are {', '.join(available())}"
        raise InputError(msg)


def on_torch(model: Model) -> Runtime:
    """Run the graph of a model file where it lies.

    It permutes the picture, so that it lies in memory as channels-last all through the network.
    """

    def run(pictures: Pictures) -> Pictures:
        with torch.inference_mode():
            there = torch.from_numpy(np.ascontiguousarray(pictures)).to(model.device)
            found: Pictures = model.graph(there).cpu().numpy()
            return found

    return Runtime(model.device.type, model.card, run, model)
