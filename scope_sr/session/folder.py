"""A session: a plan being carried out on disk, and read afterwards."""

from __future__ import annotations

import hashlib
import time
from dataclasses import astuple, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from scope_sr import disk
from scope_sr.config import reason
from scope_sr.errors import SessionError
from scope_sr.frame import Position
from scope_sr.session import layout, opening
from scope_sr.session.companion import companion
from scope_sr.session.journal import Entry
from scope_sr.session.ome import Document, Origin, from_tiff, to_bytes, to_tiff
from scope_sr.session.verify import Report, captured_fields, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType

    import numpy as np
    from filelock import BaseFileLock
    from numpy.typing import NDArray

    from scope_sr.calibration import CalibrationRecord
    from scope_sr.config import Rig
    from scope_sr.frame import Frame
    from scope_sr.plan import Plan, Step


class Session:
    """A capture on disk. Begin one with `create`, continue it with `resume`, read it with `open`.

    A field is written under a temporary name, flushed, renamed; then its line is appended to the
    journal and flushed. Whatever the moment of a crash, `remaining` names the fields to capture,
    none that is safe among them.

    Attributes
    ----------
    folder, plan, rig
        Where it stands, and the copies of plan and rig it began with.
    header
        ``session.json``: identity, creation, versions, digests.
    entries
        What happened to each step so far, by the step's name.
    """

    estimate_bytes = staticmethod(layout.estimate_bytes)

    def __init__(
        self, folder: Path, stored: layout.Stored, lock: BaseFileLock | None = None
    ) -> None:
        self.folder = folder
        self.header = stored.header
        self.plan = stored.plan
        self.rig = stored.rig
        self.journal = stored.journal
        self.entries = stored.journal.entries
        self.origin = Origin(
            session_id=stored.header.id,
            created_s=stored.header.created_s,
            software=stored.header.software,
            rig=stored.rig,
            rig_digest=stored.header.rig.digest,
            pixel_size_um=stored.plan.pixel_size_um,
        )
        self._lock = lock
        self._planned = {step.name for step in stored.plan.steps}
        self._documents: dict[tuple[str, tuple[int, ...], str], Document] = {}

    @classmethod
    def create(
        cls, folder: str | Path, plan: Plan, rig: Rig, record: CalibrationRecord | None = None
    ) -> Session:
        """Begin a session in a folder that is absent or empty.

        A record that was not measured is not kept: it says no more than the rig.

        Raises
        ------
        InputError
            The folder holds a session or anything else, or is a file.
        SessionError
            The disk is too small for the plan, or the system refuses to write.
        """
        folder = Path(folder)
        opening.refuse_occupied(folder)
        with layout.system_errors(folder, "begin again, or choose another --out"):
            opening.refuse_full_disk(folder, plan, rig)
            disk.make_folders([folder])
            lock = opening.take_lock(folder)
            try:
                opening.refuse_occupied(folder)  # somebody may have been quicker
                opening.lay_out(folder, plan, rig, record)
                return cls(folder, layout.read_stored(folder), lock)
            except BaseException:
                lock.release()
                raise

    @staticmethod
    def refuse_impossible(folder: str | Path, plan: Plan, rig: Rig) -> None:
        """Raise what `create` would, before anything is done that takes long; writes nothing."""
        opening.refuse_occupied(Path(folder))
        opening.refuse_full_disk(Path(folder), plan, rig)

    @classmethod
    def open(cls, folder: str | Path) -> Session:
        """Open a session for reading.

        Raises
        ------
        InputError
            There is no session, it is of a newer schema, or damaged.
        """
        return cls(Path(folder), layout.read_stored(Path(folder)))

    @classmethod
    def resume(
        cls, folder: str | Path, *, plan: Plan | None = None, rig: Rig | None = None
    ) -> Session:
        """Open a session to continue it; what a crash left half done is cleared away.

        Raises
        ------
        InputError
            As for `open`; or `plan` or `rig` is given and differs from the session's.
        SessionError
            Another process is writing to it, or the system refuses to write.
        """
        folder = Path(folder)
        layout.read_header(folder)  # before a lock file could appear in a folder that is not ours
        with layout.system_errors(folder, layout.resume_command(folder)):
            lock = opening.take_lock(folder)
            try:
                stored = layout.read_stored(folder)
                opening.refuse_change(folder, stored, plan, rig)
                opening.tidy(folder, stored)
                return cls(folder, stored, lock)
            except BaseException:
                lock.release()
                raise

    @cached_property
    def record(self) -> CalibrationRecord:
        """The record it began with: the measured one it keeps, else what its rig claims."""
        from scope_sr.calibration import CalibrationRecord

        if self.header.record is None:
            return CalibrationRecord.nominal(self.rig)
        return CalibrationRecord.load(self.folder / layout.CALIBRATION)

    def remaining(self) -> tuple[Step, ...]:
        """Give the steps still to be taken, in the plan's order.

        A step is done when it was skipped, or captured without a fault and its file is there in
        full size. A rejected field is kept until a better one takes its place.
        """
        there = self.there()

        def done(step: Step) -> bool:
            entry = self.entries.get(step.name)
            if entry is None or entry.event == "skipped":
                return entry is not None
            return step.name in there and not entry.faults

        return tuple(step for step in self.plan.steps if not done(step))

    def there(self) -> set[str]:
        """Name the steps whose fields lie in the folder in full size, the rejected ones too."""
        sizes = layout.field_sizes(self.folder)
        return {
            name
            for name, entry in self.entries.items()
            if entry.event == "captured" and sizes.get(entry.file) == entry.bytes
        }

    def write(self, step: Step, frame: Frame, faults: tuple[str, ...] = ()) -> Entry:
        """Put a frame on the disk as the field of a step; on return it would survive a power cut.

        Parameters
        ----------
        faults
            Why the field is rejected; it is kept all the same.

        Raises
        ------
        SessionError
            The frame was taken with another objective, or the system refused: then nothing stands
            under the field's name, and the step remains.
        """
        self._refuse(step)
        if frame.objective != step.objective:
            msg = (
                f"{step.name} asks for {step.objective}, the frame was taken with {frame.objective}"
            )
            raise SessionError(f"{msg}; nothing was written")
        began_s = time.perf_counter()
        draft = Entry(
            step=step.name,
            event="captured",
            time=float(frame.time),
            file=layout.field_file(step.name),
            shape=frame.image.shape,
            dtype=str(frame.image.dtype),
            # Plain floats: a driver may hand over NumPy's, which JSON does not know
            position=Position(*(float(um) for um in astuple(frame.position))),
            exposure_ms=float(frame.exposure_ms),
            faults=tuple(faults),
        )
        data = self._encode(step, draft, frame.image)
        draft = replace(draft, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        with self._told(self.folder / draft.file):
            disk.store(self.folder / draft.file, data)
            entry = replace(draft, seconds=round(time.perf_counter() - began_s, 4))
            self.journal.record(entry)
        return entry

    def skip(self, step: Step, reason: str) -> Entry:
        """Record that a step will not be captured, and why."""
        self._refuse(step)
        entry = Entry(step=step.name, event="skipped", time=time.time(), reason=reason)
        with self._told(self.journal.path):
            self.journal.record(entry)
        return entry

    def reject(self, name: str, faults: tuple[str, ...]) -> None:
        """Reject a captured field afterwards: it stays until a better one takes its place.

        Raises
        ------
        SessionError
            The field was not captured, the session is open for reading only, or the system refused.
        """
        self._refuse_unlocked()
        entry = self.entries.get(name)
        if entry is None or entry.event == "skipped":
            msg = f"{self.folder}: field {name} was not captured"
            raise SessionError(msg)
        with self._told(self.journal.path):
            self.journal.record(replace(entry, faults=faults))

    def keep(self, name: str, data: bytes) -> None:
        """Put a file beside the fields, whole or not at all: the contact sheet, the summary.

        Raises
        ------
        SessionError
            The session is open for reading only, or the system refused.
        """
        self._refuse_unlocked()
        with self._told(self.folder / name):
            disk.store(self.folder / name, data)

    def read(self, name: str) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """Read the pixels of a captured field by its step's name, checking the checksum.

        Raises
        ------
        SessionError
            The field was not captured, or its file is missing or no longer what was written.
        """
        entry = self.entries.get(name)
        if entry is None or entry.event == "skipped":
            msg = f"{self.folder}: field {name} was not captured"
            raise SessionError(msg)
        again = layout.resume_command(self.folder)
        path = self.folder / entry.file
        try:
            data = path.read_bytes()
        except OSError as error:
            msg = f"{path}: {reason(error)}; capture it again: {again}"
            raise SessionError(msg) from error
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            msg = f"{path}: its bytes are not those that were written; delete it, then {again}"
            raise SessionError(msg)
        return from_tiff(data)

    def verify(self, progress: Callable[[int, int], None] | None = None) -> Report:
        """Hold every file against the journal; `progress` is told (fields checked, of how many)."""
        return verify(self, progress)

    def close(self) -> None:
        """Write the companion files and let go of the folder; twice is fine."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        try:
            with self._told(self.folder):
                for name, data in _companions(self):
                    disk.store(self.folder / name, data)
                self.journal.note("stop", time.time())
        finally:
            lock.release()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except SessionError:
            if error is None:  # else the first error is the one to tell; resume writes them again
                raise

    def _told(self, path: Path) -> AbstractContextManager[None]:
        """Say of a refusal by the system how much is safe, and how to go on."""
        return layout.system_errors(path, layout.resume_command(self.folder), self.how_far)

    def how_far(self) -> str:
        """Say in words how many fields are safe."""
        planned = len(self.plan.steps)
        return f"{planned - len(self.remaining())} of {planned} fields are safe"

    def _refuse_unlocked(self) -> None:
        if self._lock is None:
            msg = f"{self.folder} is open for reading only; resume it to write"
            raise SessionError(msg)

    def _refuse(self, step: Step) -> None:
        self._refuse_unlocked()
        if step.name not in self._planned:
            msg = f"{step.name} is not a step of this session's plan"
            raise ValueError(msg)

    def _encode(
        self, step: Step, entry: Entry, image: NDArray[np.uint8] | NDArray[np.uint16]
    ) -> bytes:
        kind = step.objective, entry.shape, entry.dtype
        if kind not in self._documents:
            self._documents[kind] = Document(self.origin, *kind)
        document = self._documents[kind]
        document.fill(step, entry, PurePosixPath(entry.file).name)
        return to_tiff(image, to_bytes(document.root), self.plan.pixel_size_um[step.objective])


def _companions(session: Session) -> Iterator[tuple[str, bytes]]:
    for pass_, name in layout.COMPANIONS.items():
        fields = captured_fields(session, pass_)
        if fields:
            yield name, companion(session.origin, fields, name)
