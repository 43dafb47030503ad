"""The engine: pictures of any size through a model file, as fast as this computer can."""

from __future__ import annotations

from scope_sr.engine.choosing import chosen, refuse_runtime
from scope_sr.engine.engine import Band, Engine, out_of_memory
from scope_sr.engine.opening import card_of, sha256_of
from scope_sr.engine.runtimes import NAMES, Runtime, available, made, use_threads

__all__ = [
    "NAMES",
    "Band",
    "Engine",
    "Runtime",
    "available",
    "card_of",
    "chosen",
    "made",
    "out_of_memory",
    "refuse_runtime",
    "sha256_of",
    "use_threads",
]
