"""Models made ready for the live view, each once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from scope_sr.engine import Engine, available, card_of, chosen, sha256_of, use_threads
from scope_sr.engine.choosing import BROKEN, GPUS
from scope_sr.errors import InputError
from scope_sr.live.board import Board
from scope_sr.live.model.choosing import spare_cores

WORDS = {"openvino": "OpenVINO, CPU", "cpu": "torch, CPU", "mps": "torch, Metal"}
KINDS = {"sr": "enhances pictures", "nuclei": "looks for nuclei"}

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Shelf:
    """The models that were loaded so far, by the name or file they were asked for.

    Attributes
    ----------
    runtime
        What to compute with, or ``auto``.
    sums
        SHA-256 of the model files.
    """

    board: Board
    runtime: str = "auto"
    engines: dict[str, Engine] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        use_threads(spare_cores())

    def load(self, name: str, kind: str, beside: Engine | None = None) -> Engine:
        """Make a model ready, or give the one that is.

        Parameters
        ----------
        kind
            ``sr`` or ``nuclei``: what it is wanted for.
        beside
            The generator that a nuclei model works behind: both lie in one place, and no trial is
            needed to find out where.

        Raises
        ------
        InputError
            There is no such model, it does something else, or this computer cannot run it.
        """
        if name not in self.engines:
            self.engines[name] = self._made(name, kind, beside)
        return self.engines[name]

    def drop(self, name: str) -> None:
        """Forget a model: it is loaded anew when it is asked for again."""
        self.engines.pop(name, None)

    def _made(self, name: str, kind: str, beside: Engine | None) -> Engine:
        found = card_of(name).kind
        if found != kind:
            msg = f"{name} {KINDS[found]}, and one that {KINDS[kind]} is wanted"
            raise InputError(msg)
        lines: list[str] = []
        engine = self._chosen(name, self._runtime(name, beside), lines.append)
        self.sums[name] = sha256_of(name)
        *troubles, summary = lines
        log.info(summary)
        for line in troubles:
            self._tell(line)
        engine.tell = self._tell
        return engine

    def _runtime(self, name: str, beside: Engine | None) -> str:
        if self.runtime != "auto" or name.endswith(".xml"):
            return self.runtime
        if beside is not None:
            return beside.runtime.name
        likeliest = available()[0]
        return "auto" if likeliest in GPUS else likeliest

    def _chosen(self, name: str, wanted: str, tell: Callable[[str], None]) -> Engine:
        """Take OpenVINO untried where it works.

        On one core it is as fast as torch or somewhat faster; a trial takes 2 s of the time to the
        first patch, and beside a running camera chance decides it.
        """
        if self.runtime == "auto" and wanted == "openvino" and not name.endswith(".xml"):
            try:
                return chosen(name, wanted, tell=tell)
            except BROKEN:
                wanted = "auto"  # which says what is broken
        return chosen(name, wanted, tell=tell)

    def _tell(self, line: str) -> None:
        self.board.say("model", line, bad=False)


def words(engine: Engine) -> str:
    """Say what a model is computed with."""
    if engine.runtime.name == "cuda":
        return f"CUDA, {torch.cuda.get_device_name()}"
    return WORDS[engine.runtime.name]
