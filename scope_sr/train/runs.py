"""The folder of a run: what was asked, what was measured, and weights that survive a crash.

::

    RUN/recipe.json         the recipe, complete
    RUN/run.json            data, device, versions
    RUN/metrics.jsonl       one line per log and per check
    RUN/samples/*.png       LR, bicubic, SR and HR, or image and nuclei
    RUN/curves.png          losses and figures against steps
    RUN/checkpoints/last.pt, best.pt
    RUN/*.ts                the models, when a stage is done
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from scope_sr import disk
from scope_sr.config import SrganRecipe, UnetRecipe, reason, recipe_of
from scope_sr.config.recipe import Recipe
from scope_sr.errors import InputError, TrainingError

RECIPE, FACTS, METRICS = "recipe.json", "run.json", "metrics.jsonl"
SCHEMA = "scope-sr/run/1"
LAST, BEST = "last", "best"


class Run:
    """A run on disk; only the first process writes.

    Attributes
    ----------
    folder
        Of the run.
    writes
        Whether this process is the one that does.
    """

    def __init__(self, folder: Path, *, writes: bool) -> None:
        self.folder = folder
        self.writes = writes
        self._end = 0

    @classmethod
    def begin(
        cls,
        folder: Path,
        recipe: SrganRecipe | UnetRecipe,
        facts: Mapping[str, Any],
        *,
        writes: bool,
    ) -> Run:
        """Make the folder of a new run.

        Raises
        ------
        InputError
            The folder holds something already.
        """
        run = cls(folder, writes=writes)
        if writes:
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                way = "go on with --resume, or name another --out"
                msg = f"--out: {folder} is not empty; {way}"
                raise InputError(msg)
            disk.make_folders([folder, folder / "checkpoints", folder / "samples"])
            disk.store(folder / RECIPE, recipe.model_dump_json(indent=2).encode() + b"\n")
            table = {"schema": SCHEMA, **facts}
            disk.store(folder / FACTS, json.dumps(table, indent=2).encode() + b"\n")
            disk.store(folder / METRICS, b"")
        return run

    @classmethod
    def resume(cls, folder: Path, *, writes: bool) -> tuple[Run, dict[str, Any]]:
        """Open a run that was stopped, and give the facts it began with.

        Raises
        ------
        InputError
            There is none, or it is damaged.
        """
        try:
            facts = json.loads((folder / FACTS).read_bytes())
            schema = facts["schema"]
        except (FileNotFoundError, NotADirectoryError) as error:
            msg = f"{folder}: no run to resume (it has no {FACTS}); leave out --resume to begin one"
            raise InputError(msg) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            msg = f"{folder / FACTS}: damaged ({reason(error)}); begin again in another folder"
            raise InputError(msg) from error
        if schema != SCHEMA:
            msg = f"{folder} is of schema {schema}, this scope-sr reads {SCHEMA}; update scope-sr"
            raise InputError(msg)
        return cls(folder, writes=writes), facts

    def log(self, **line: object) -> None:
        """Append a line to the metrics."""
        if self.writes:
            text = json.dumps({key: _plain(value) for key, value in line.items()})
            self._end = disk.append(self.folder / METRICS, self._end, text.encode() + b"\n")

    def metrics(self) -> list[dict[str, Any]]:
        """Read the metrics; a torn last line does not count."""
        return list(_lines((self.folder / METRICS).read_bytes()))

    def keep_metrics_until(self, step: int) -> None:
        """Forget what was logged after the checkpoint that is gone on from."""
        if self.writes:
            kept = [line for line in self.metrics() if line["step"] <= step]
            data = b"".join(json.dumps(line).encode() + b"\n" for line in kept)
            disk.store(self.folder / METRICS, data)
            self._end = len(data)

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Write a checkpoint whole or not at all.

        Raises
        ------
        TrainingError
            The disk is full or not to be written; the checkpoint before is untouched.
        """
        if self.writes:
            data = io.BytesIO()
            torch.save(dict(state), data)
            self.put(f"checkpoints/{name}.pt", data.getvalue())

    def put(self, name: str, data: bytes) -> None:
        """Write a file of the run whole or not at all."""
        if not self.writes:
            return
        path = self.folder / name
        try:
            disk.store(path, data)
        except OSError as error:
            kept = "what was saved before is whole"
            msg = f"{path}: {reason(error)}; {kept}: make room and go on with --resume"
            raise TrainingError(msg) from error

    def load(self, name: str) -> dict[str, Any]:
        """Read a checkpoint; nothing in it is executed.

        Raises
        ------
        InputError
            It is missing or damaged.
        """
        path = self.folder / "checkpoints" / f"{name}.pt"
        try:
            state = torch.load(io.BytesIO(path.read_bytes()), "cpu", weights_only=True)
        except FileNotFoundError as error:
            msg = f"{path}: not there; the run stopped before its first checkpoint: begin again"
            raise InputError(msg) from error
        except Exception as error:  # torch raises what its zip and pickle readers happen to raise
            other = BEST if name == LAST else LAST
            way = f"copy {other}.pt over it if that is whole, or begin again"
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            msg = f"{path}: damaged ({first[:80]}); {way}"
            raise InputError(msg) from error
        if not isinstance(state, dict):
            msg = f"{path}: not a checkpoint of this scope-sr; begin again"
            raise InputError(msg)
        return state


def recipe_of_run(folder: Path, job: str, kind: type[Recipe]) -> tuple[Recipe, Path]:
    """Give the recipe a run was begun with, and its dataset.

    Raises
    ------
    InputError
        There is no such run, or it is another job's.
    """
    _, facts = Run.resume(folder, writes=False)
    if facts.get("job") != job:
        msg = f"{folder}: was begun by scope-sr train {facts.get('job')}; resume it with that"
        raise InputError(msg)
    path = folder / RECIPE
    try:
        table = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"{path}: damaged ({reason(error)}); begin again in another folder"
        raise InputError(msg) from error
    return recipe_of(table, str(path), kind), Path(str(facts.get("dataset")))


def _lines(data: bytes) -> list[dict[str, Any]]:
    whole = data[: data.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()]


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.tolist()
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
