"""A pipeline without threads or devices, that notes what the window asks of it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from rigs import make_rig

from scope_sr.calibration import CalibrationRecord
from scope_sr.frame import Frame, Position
from scope_sr.live.board import Board
from scope_sr.live.figures import Meter
from scope_sr.live.mailbox import Latest, Pool, Tray
from scope_sr.live.model.thread import ModelState
from scope_sr.live.seen import Abilities, Nuclei, Patch, Seen, Shown, Window, Wishes

ALL = Abilities(
    objectives=("5x", "10x", "20x"),
    gain_limits=(0.5, 8.0),
    stage_limits_um=((-8000.0, 8000.0), (-6000.0, 6000.0)),
)


class Notebook:
    """Notes every call as (name, arguments)."""

    def __init__(self, **held: Any) -> None:
        self.__dict__.update(held)
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *given: self.calls.append((name, *given))


class FakePipeline:
    def __init__(self, folder: Path, abilities: Abilities = ALL) -> None:
        rig = make_rig()
        self.able = abilities
        self.stand = SimpleNamespace(
            name="simulated",
            rig=rig,
            record=CalibrationRecord.nominal(rig),
            abilities=lambda: self.able,
            um_per_px=lambda name: 0.5,
            gain=None,
        )
        self.notify = lambda: None
        self.board = Board(lambda: self.notify())
        self.pool, self.tray = Pool(), Tray()
        self.shown: Latest[Shown] = Latest()
        self.original, self.enhanced = Meter(), Meter()
        self.camera = Notebook(gains=(1.0, 1.0, 1.0), frozen=False, skipped=0)
        self.model = Notebook(wishes=Wishes(), state=ModelState)
        self.hands = Notebook(busy="")
        self.writer = Notebook(recording=None, folder=folder)
        self.closed = 0

    def start(self) -> None: ...

    def wish(self, **changes: Any) -> None:
        self.model.wishes = replace(self.model.wishes, **changes)

    def close(self) -> None:
        self.closed += 1

    def give(self, seen: Seen) -> None:
        """Leave a frame, as the camera thread does."""
        pixels = self.pool.get((*seen.shape, 4))
        pixels[..., :3], pixels[..., 3] = seen.rgb[..., ::-1], 255
        self.shown.put(Shown(seen, pixels))
        self.notify()


def seen_at(
    x_um: float = 0.0, y_um: float = 0.0, *, level: int = 120, view: int = 1, number: int = 1
) -> Seen:
    rgb = np.full((48, 64, 3), level, np.uint8)
    rgb[10:20, 10:20] = (200, 100, 150)
    frame = Frame(rgb, Position(x_um, y_um, 3.0), "10x", 10.0, 1.7e9, number)
    now_s = time.monotonic()
    return Seen(frame, rgb, 0.5, now_s, view, now_s - 1.0)


def patch_of(seen: Seen, nuclei: int = 4) -> Patch:
    rows, columns = seen.shape
    labels = np.zeros((2 * rows, 2 * columns), np.int32)
    for number in range(nuclei):
        labels[10:20, 20 * number : 20 * number + 10] = number + 1
    found = Nuclei(labels, (labels > 0).astype(np.uint8), np.full(nuclei, 25.0))
    pixels = np.full((2 * rows, 2 * columns, 4), 255, np.uint8)
    return Patch(seen, Window(0, 0, rows, columns), 2, pixels, found, model="compact-x2")
