"""``summary.json``: what a run makes, with what, and how far it is; written after each input.

It is all that ``--resume`` goes by. Several processes write to it in turn.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from scope_sr import disk
from scope_sr.config import reason
from scope_sr.errors import InputError, ScopeSRError

SCHEMA = "scope-sr/enhanced/1"
JSON, PAGE, WORK = "summary.json", "summary.html", ".work"
BEGUN = {WORK, JSON + disk.PART}  # all that is left of a run that was stopped as it began
WAITING, DONE, FAILED = "waiting", "done", "failed"
Entry = dict[str, Any]


@dataclass(frozen=True)
class Ledger:
    """Of the run in a folder."""

    out: Path

    @property
    def work(self) -> Path:
        """Where things lie while they are made."""
        return self.out / WORK

    def work_of(self, name: str) -> Path:
        """Give the folder for what is made of one input."""
        return self.work / "inputs" / name

    def begin(self, head: dict[str, Any], entries: Sequence[Entry], *, resume: bool) -> list[str]:
        """Begin a run, or go on with the one that is there.

        Parameters
        ----------
        head
            What all inputs are made with; must be the same when going on, but for the runtime.
        entries
            One for each input, waiting or failed.

        Returns
        -------
        list of str
            Names of the inputs that are to be made.

        Raises
        ------
        InputError
            The folder is occupied, or holds another run.
        ScopeSRError
            It cannot be written.
        """
        before = self._before(resume=resume)
        if before:
            self._refuse_other(before, head)
        known = {entry["name"]: entry for entry in before.get("inputs", [])}
        merged = {**known, **{entry["name"]: entry for entry in entries}}
        for name, entry in known.items():
            if _is_done(entry, merged[name], self.out):
                merged[name] = entry
        runtime = {**head["runtime"], **before.get("runtime", {})}
        with _told(self.out):
            disk.make_folders([self.out, self.work])
        self._write({"schema": SCHEMA, **head, "runtime": runtime, "inputs": [*merged.values()]})
        return [name for name, entry in merged.items() if entry["state"] == WAITING]

    def read(self) -> dict[str, Any]:
        """Give all of it."""
        found: dict[str, Any] = json.loads((self.out / JSON).read_bytes())
        return found

    def note(self, entry: Entry) -> None:
        """Put down what became of an input."""
        with self._alone():
            now = self.read()
            now["inputs"] = [
                entry if other["name"] == entry["name"] else other for other in now["inputs"]
            ]
            self._write(now)

    def note_runtime(self, kind: str, name: str) -> None:
        """Put down what a model is computed with: going on, it must be the same."""
        with self._alone():
            now = self.read()
            now["runtime"][kind] = name
            self._write(now)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with FileLock(self.work / "lock"):
            yield

    def _before(self, *, resume: bool) -> dict[str, Any]:
        """Read the run that is there, if there is one."""
        try:
            inside = {path.name for path in self.out.iterdir()} if self.out.exists() else set()
        except OSError as error:
            msg = f"--out {self.out}: {reason(error)}; name a folder of its own"
            raise InputError(msg) from error
        if inside <= BEGUN:
            return {}
        found = self._ours()
        if not found:
            msg = f"--out {self.out}: is not empty and holds no run of ours; name a new folder"
            raise InputError(msg)
        if not resume:
            msg = f"--out {self.out}: holds a run; go on with --resume, or name a new folder"
            raise InputError(msg)
        return found

    def _ours(self) -> dict[str, Any]:
        try:
            found = self.read()
            return found if found["schema"] == SCHEMA else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _refuse_other(self, before: dict[str, Any], head: dict[str, Any]) -> None:
        for key, option in (("model", "--model"), ("nuclei_model", "--nuclei")):
            had, have = ((run[key] or {}).get("sha256") for run in (before, head))
            if had != have:
                name = (before[key] or {}).get("name")
                begun = f"with {option} {name}" if name else f"without {option}"
                other = " (of other content)" if name == (head[key] or {}).get("name") else ""
                msg = (
                    f"--resume: the run in {self.out} was begun {begun}{other}; do the same again,"
                    " or name a new folder"
                )
                raise InputError(msg)
        if before["fidelity"] != head["fidelity"]:
            given = "with" if before["fidelity"] else "without"
            msg = (
                f"--resume: the run in {self.out} was begun {given} --fidelity; do the same again,"
                " or name a new folder"
            )
            raise InputError(msg)

    def _write(self, content: dict[str, Any]) -> None:
        with _told(self.out):
            disk.store(self.out / JSON, to_json(content))


def to_json(content: dict[str, Any]) -> bytes:
    """Write it so that people can read it, too."""
    return json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False).encode() + b"\n"


def _is_done(entry: Entry, asked: Entry, out: Path) -> bool:
    """Whether what is asked for lies there, made of the same file."""
    return (
        entry["state"] == DONE
        and entry["source"] == asked.get("source", entry["source"])
        and entry["um_per_px_in"] == asked.get("um_per_px_in", entry["um_per_px_in"])
        and all((out / name).exists() for name in entry["files"].values())
    )


@contextmanager
def _told(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"--out {out}: cannot be written ({reason(error)}); make room, or name another folder"
        raise ScopeSRError(msg) from error
