"""The folder of a dataset while it is being built: what is done stands in ``work/`` until the end.

``dataset.json`` is written last. A folder without it is no dataset yet, and ``--resume`` goes on
with what lies in ``work/``; each file there was computed from the sources alone, so that a build
that was broken off gives the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from scope_sr import disk
from scope_sr.config import reason
from scope_sr.dataset import Dataset, Header
from scope_sr.dataset.folder import DATASET, INDEX
from scope_sr.dataset.index import Item, header_json, to_line
from scope_sr.errors import DatasetError, InputError

if TYPE_CHECKING:
    from filelock import BaseFileLock

WORK, JOB, KNOWN = "work", "job.json", "known"
LOCK = "dataset.lock"
IMAGES = ("low", "high", "image", "labels", "ignore")


class Draft:
    """A dataset being built in a folder that nobody else writes to.

    Attributes
    ----------
    folder
        Of the dataset.
    known
        The dataset that was finished there before, to be added to; None for a new one.
    """

    def __init__(self, folder: Path, lock: BaseFileLock) -> None:
        self.folder = folder
        self._lock = lock
        known = folder / WORK / KNOWN
        self.known = Dataset.open(known) if (known / DATASET).exists() else None

    @classmethod
    def begin(
        cls, folder: Path, job: Mapping[str, Any], sources: Collection[str], *, resume: bool
    ) -> Draft:
        """Begin a dataset in a folder that is absent or empty, or go on with one.

        Parameters
        ----------
        job
            What makes the bytes of the dataset besides its sources; it must not change midway.
        sources
            Names of all sources; those that stand in the dataset must be among them.

        Raises
        ------
        InputError
            The folder holds something else, or a dataset made otherwise; nothing was changed.
        DatasetError
            Somebody else writes there, or the system refuses.
        """
        with refusals(folder):
            _refuse_occupied(folder, resume=resume)
            folder.mkdir(parents=True, exist_ok=True)
            lock = _take_lock(folder)
            try:
                _take_up(folder, json.loads(json.dumps(job)), sources)
                return cls(folder, lock)
            except BaseException:
                _let_go(folder, lock)
                raise

    def kept(self, name: str) -> bytes | None:
        """Give a file of the work so far; None if it is not there."""
        try:
            return (self.folder / WORK / name).read_bytes()
        except FileNotFoundError:
            return None

    def keep(self, name: str, data: bytes) -> None:
        """Put a file of the work where a later run finds it, whole or not at all."""
        path = self.folder / WORK / name
        with refusals(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            disk.store(path, data)

    def write(self, name: str, data: bytes) -> None:
        """Put a file of the dataset beside the images."""
        path = self.folder / name
        with refusals(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            disk.store(path, data)

    def finish(self, header: Header, items: Iterable[Item]) -> Dataset:
        """Write index and ``dataset.json``, and clear away the work and images nobody names."""
        items = tuple(items)
        text = "".join(to_line(item) + "\n" for item in items)
        with refusals(self.folder):
            disk.store(self.folder / INDEX, text.encode())
            self._remove_strays(items)
            whole = replace(header, index_sha256=hashlib.sha256(text.encode()).hexdigest())
            disk.store(self.folder / DATASET, header_json(whole))
            shutil.rmtree(self.folder / WORK)
        return Dataset.open(self.folder)

    def close(self) -> None:
        """Let go of the folder."""
        _let_go(self.folder, self._lock)

    def __enter__(self) -> Draft:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _remove_strays(self, items: tuple[Item, ...]) -> None:
        """Remove images of an earlier build that were rejected since, or whose source is gone."""
        named = {
            value
            for item in items
            for key in ("low", "high", "image", "labels", "ignore")
            if (value := getattr(item, key, ""))
        }
        for top in IMAGES:
            for path in sorted((self.folder / top).rglob("*"), reverse=True):
                if path.is_dir():
                    with contextlib.suppress(OSError):
                        path.rmdir()
                elif path.relative_to(self.folder).as_posix() not in named:
                    path.unlink()


@contextlib.contextmanager
def refusals(path: Path) -> Any:
    """Turn a refusal of the system into one line that says how to go on."""
    try:
        yield
    except OSError as error:
        msg = f"{path}: {reason(error)}; see to the disk, then the same command with --resume"
        raise DatasetError(msg) from error


def put(folder: Path, name: str, data: bytes) -> str:
    """Store an image of a dataset, whole or not at all, and give its SHA-256.

    Raises
    ------
    DatasetError
        The system refused to write.
    """
    path = folder / name
    with refusals(path):
        disk.make_folders([path.parent])
        disk.store(path, data)
    return hashlib.sha256(data).hexdigest()


def _refuse_occupied(folder: Path, *, resume: bool) -> None:
    if folder.exists() and not folder.is_dir():
        msg = f"{folder} is a file; choose another --out"
        raise InputError(msg)
    present = {path.name for path in folder.iterdir()} if folder.exists() else set()
    ours = present & {DATASET, WORK}
    if resume and not ours:
        msg = f"{folder}: no dataset there to go on with; leave out --resume"
        raise InputError(msg)
    if not resume and ours:
        what = "a dataset" if DATASET in present else "a dataset that is not finished"
        msg = f"{folder} holds {what}; go on or add to it with --resume, or choose another --out"
        raise InputError(msg)
    if not ours and present - {LOCK}:
        msg = f"{folder} is not empty and holds no dataset; choose another --out"
        raise InputError(f"{msg} (nothing in it was touched)")


def _take_lock(folder: Path) -> BaseFileLock:
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        msg = f"{folder} is being written by another scope-sr; wait until it ends, or stop it"
        raise DatasetError(msg) from error
    return lock


def _let_go(folder: Path, lock: BaseFileLock) -> None:
    lock.release()
    with contextlib.suppress(OSError):
        (folder / LOCK).unlink()


def _take_up(folder: Path, job: dict[str, Any], sources: Collection[str]) -> None:
    """Hold the job against the one begun before; set a finished dataset aside to be added to."""
    work = folder / WORK
    before = work / JOB
    finished = folder / DATASET
    if before.exists():
        _refuse_other_job(folder, json.loads(before.read_bytes()), job)
        if (work / KNOWN / DATASET).exists():
            _refuse_dropped(folder, Dataset.open(work / KNOWN).header, sources)
    else:
        if finished.exists():
            header = Dataset.open(folder).header
            _refuse_other_job(folder, _job_of(header, job), job)
            _refuse_dropped(folder, header, sources)
        work.mkdir(exist_ok=True)
        disk.store(before, json.dumps(job, indent=2).encode())
    if finished.exists():
        known = work / KNOWN
        known.mkdir(exist_ok=True)
        disk.store(known / INDEX, (folder / INDEX).read_bytes())
        disk.store(known / DATASET, finished.read_bytes())
        # from here on the folder is no dataset until the new one is whole
        finished.unlink()


def _refuse_dropped(folder: Path, header: Header, sources: Collection[str]) -> None:
    """Refuse to leave out a source that stands in the dataset: adding is not replacing."""
    for source in header.sources:
        if source.name not in sources:
            msg = (
                f"{folder} holds {source.name} as well; name all it holds besides the new ones, or"
                " choose another --out"
            )
            raise InputError(msg)


def _job_of(header: Header, job: dict[str, Any]) -> dict[str, Any]:
    """Say by which job a finished dataset was made, as far as it tells and `job` cares."""
    source = header.sources[0]
    found = {**job, "kind": header.kind, "from": source.kind.removesuffix("s") + "s"}
    if job.get("scale"):
        found["scale"] = header.scale
    if job.get("asked"):
        found["asked"] = header.scale
    if "optics" in job:
        found["optics"] = source.facts
    if job["licence"] or source.kind != "masks":  # a layout of masks has a licence of its own
        found["licence"] = source.licence
    return found


def _refuse_other_job(folder: Path, before: dict[str, Any], job: dict[str, Any]) -> None:
    for key in sorted(before.keys() | job.keys()):
        if before.get(key) != job.get(key):
            msg = (
                f"{folder} was begun with {key} = {before.get(key)!r}, now it is {job.get(key)!r};"
                " give the same options, or choose another --out"
            )
            raise InputError(msg)
