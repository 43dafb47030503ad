"""Bytes that survive: written whole, flushed to the disk, and only then given their name.

Each call to the operating system is a function of its own, so that a test can make it fail.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

PART = ".part"
# Windows: a virus scanner or an indexer may hold a file it has just seen appear
RETRY_S: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.8) if os.name == "nt" else ()
ZIP_FOLDER = 0x10  # in the attributes of MS-DOS, which zip kept
NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}  # some network drives, FUSE


def store(path: Path, data: bytes) -> None:
    """Put a file on the disk whole or not at all, and return when it would survive a power cut.

    Raises
    ------
    OSError
        The system refused; nothing stands under `path` that did not stand there before.
    """
    part = path.with_name(path.name + PART)
    try:
        with _open(part, "wb") as file:
            _write(file, data)
            _sync(file)
        _replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            _remove(part)
        raise
    _sync_folder(path.parent)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a library a name to write under; after the block the file stands under its own.

    Raises
    ------
    OSError
        The system refused; nothing stands under `path` that did not stand there before.
    """
    part = path.with_name(path.name + PART)
    try:
        yield part
        sync_file(part)
        _replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    _sync_folder(path.parent)


def append(path: Path, end: int, data: bytes) -> int:
    """Write `data` at byte `end` of a file, drop what stood behind it, and return the new end.

    What stood behind is the torn rest of a line that an earlier write did not finish.
    """
    with _open(path, "r+b") as file:
        file.seek(end)
        _write(file, data)
        _truncate(file)
        _sync(file)
    return end + len(data)


def make_folders(folders: Iterable[Path]) -> None:
    """Make folders and see to it that their names survive a power cut."""
    for folder in folders:
        _make_folder(folder)
        _sync_folder(folder.parent)


def sync_file(path: Path) -> None:
    """Flush a file to the disk that another library wrote."""
    with _open(path, "r+b") as file:
        _sync(file)


def sync_tree(folder: Path) -> None:
    """Flush files to the disk that another room wrote without flushing."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with _open(path, "r+b") as file:
                _sync(file)
    _sync_folder(folder)


def remove(paths: Iterable[Path]) -> None:
    """Remove files and empty folders, as far as they are there."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            _remove(path)


def free_bytes(folder: Path) -> int:
    """Give the room on the disk where a folder is, or will be."""
    home = folder.absolute()
    while not _exists(home):
        home = home.parent
    return shutil.disk_usage(home).free


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for the file system
        return False


def torn_member(archive: zipfile.ZipFile) -> str | None:
    """Name a file in a zip archive that is not what was written, by its checksum or its kind.

    Torch looks at neither: taken for a folder, a file gives it whatever stands in the memory.
    """
    odd = [info.filename for info in archive.infolist() if info.external_attr & ZIP_FOLDER]
    return archive.testzip() or (odd[0] if odd else None)


def in_words(size_bytes: float) -> str:
    """Give a size the way people say it.

    >>> in_words(3_210_000), in_words(45_000), in_words(12)
    ('3.2 MB', '45.0 kB', '12 bytes')
    """
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes:.0f} bytes"


def _open(path: Path, mode: str) -> BinaryIO:
    # Unbuffered: what a failed write left behind must not be written once more by close
    return path.open(mode, buffering=0)  # type: ignore[return-value]


def _write(file: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:  # an unbuffered write may take only a part
        rest = rest[file.write(rest) :]


def _sync(file: BinaryIO) -> None:
    os.fsync(file.fileno())


def _truncate(file: BinaryIO) -> None:
    file.truncate()


def _replace(part: Path, path: Path) -> None:
    for wait_s in RETRY_S:
        with contextlib.suppress(PermissionError):
            part.replace(path)
            return
        time.sleep(wait_s)
    part.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink()


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there; NTFS journals names itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)
