"""Model files: a network, the graph around it and a card, in one TorchScript file.

Cards are read without torch; it is imported with the first of the names that need it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from scope_sr.modelfile.archive import Contents, read, read_card
from scope_sr.modelfile.card import Card, Figures, Lens, TrainedOn, to_json
from scope_sr.modelfile.naming import find, shipped, sidecar

if TYPE_CHECKING:
    from scope_sr.modelfile.file import Model, load, save, state
    from scope_sr.modelfile.graph import wrap

__all__ = [
    "Card",
    "Contents",
    "Figures",
    "Lens",
    "Model",
    "TrainedOn",
    "find",
    "load",
    "read",
    "read_card",
    "save",
    "shipped",
    "sidecar",
    "state",
    "to_json",
    "wrap",
]

_HOMES = {"Model": "file", "load": "file", "save": "file", "state": "file", "wrap": "graph"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"scope_sr.modelfile.{_HOMES[name]}"), name)
