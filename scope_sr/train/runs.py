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
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
AGAIN = "begin again in another folder, from a model of the run if there is one: --start MODEL"


class Run:
    """A run on disk; only the first process writes.

    Attributes
    ----------
    folder
        Of the run.
    writes
        Whether this process is the one that does.
    start
        Model it began with; empty for none.
    """

    def __init__(self, folder: Path, *, writes: bool, start: str = "", new: bool = False) -> None:
        self.folder = folder
        self.writes = writes
        self.start = start
        self._new = new
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
        run = cls(folder, writes=writes, start=str(facts.get("start", "")), new=True)
        if writes:
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                way = "go on with --resume, or name another --out"
                msg = f"--out: {folder} is not empty; {way}"
                raise InputError(msg)
            table = {"schema": SCHEMA, **facts}
            with written(folder, "delete it, and begin again where there is room"):
                disk.make_folders([folder, folder / "checkpoints", folder / "samples"])
                disk.store(folder / RECIPE, recipe.model_dump_json(indent=2).encode() + b"\n")
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
        return cls(folder, writes=writes, start=str(facts.get("start", ""))), facts

    @contextmanager
    def kept_if_saved(self) -> Iterator[None]:
        """Leave nothing of a new run that fails before its first checkpoint."""
        try:
            yield
        except BaseException:
            saved = (self.folder / "checkpoints" / f"{LAST}.pt").exists()
            if self.writes and self._new and not saved:
                shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def log(self, **line: object) -> None:
        """Append a line to the metrics."""
        if self.writes:
            text = json.dumps({key: _plain(value) for key, value in line.items()})
            path = self.folder / METRICS
            with written(path):
                self._end = disk.append(path, self._end, text.encode() + b"\n")

    def metrics(self) -> list[dict[str, Any]]:
        """Read the metrics; a torn last line does not count.

        Raises
        ------
        InputError
            They are missing or damaged.
        """
        path = self.folder / METRICS
        try:
            return _lines(path.read_bytes())
        except (OSError, ValueError) as error:
            msg = f"{path}: {reason(error)}; make it an empty file to go on without what was logged"
            raise InputError(msg) from error

    def keep_metrics_until(self, step: int) -> None:
        """Forget what was logged after the checkpoint that is gone on from."""
        if self.writes:
            kept = [line for line in self.metrics() if line["step"] <= step]
            data = b"".join(json.dumps(line).encode() + b"\n" for line in kept)
            self.put(METRICS, data)
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
        with written(path):
            disk.store(path, data)

    def load(self, name: str) -> dict[str, Any]:
        """Read a checkpoint; nothing in it is executed.

        Raises
        ------
        InputError
            It is missing or damaged.
        """
        path = self.folder / "checkpoints" / f"{name}.pt"
        try:
            data = path.read_bytes()
            _refuse_flipped(data)
            state = torch.load(io.BytesIO(data), "cpu", weights_only=True)
        except FileNotFoundError as error:
            msg = f"{path}: not there; the run stopped before its first checkpoint: begin again"
            raise InputError(msg) from error
        except Exception as error:  # torch raises what its zip and pickle readers happen to raise
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            msg = f"{path}: damaged ({first[:80]}); {AGAIN}"
            raise InputError(msg) from error
        if not isinstance(state, dict):
            msg = f"{path}: not a checkpoint of this scope-sr; {AGAIN}"
            raise InputError(msg)
        return state

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Make one line of a checkpoint that is whole but does not fit the recipe."""
        try:
            yield
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            msg = f"{self.folder}: its checkpoint does not fit its {RECIPE}; {AGAIN}"
            raise InputError(msg) from error


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


@contextmanager
def written(path: Path, way: str = "make room and go on with --resume") -> Iterator[None]:
    """Make one line of what the disk says; what was saved before is untouched.

    Raises
    ------
    TrainingError
        The system refused to write.
    """
    try:
        yield
    except OSError as error:
        msg = f"{path}: {reason(error)}; what was saved before is whole: {way}"
        raise TrainingError(msg) from error


def _refuse_flipped(data: bytes) -> None:
    """Look at the checksums, for torch does not: one wrong bit would be learnt on from."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        torn = disk.torn_member(archive)
    if torn is not None:
        msg = f"its {torn.partition('/')[2]} is not what was written"
        raise ValueError(msg)


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
