"""A Micro-Manager that runs elsewhere, reached over its ZMQ server through pycromanager.

Calls of pyjavaz, the client underneath, have no deadline: where the server dies or hangs, the call,
every later one and the end of the interpreter wait for ever. :func:`cut` ends that.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.errors import DeadlineError, MicroscopeError
from scope_sr.microscope.lane import Lane
from scope_sr.microscope.link import Link, refuse_without_pycromanager

HOST = "127.0.0.1"
PROBE_S = 2.0
CONNECT_S = 10.0
HOW_TO_SERVE = (
    "start Micro-Manager 2, tick Tools > Options > Run server on port 4827, and restart it"
)


def link_running(port: int) -> Link:
    """Connect to a running Micro-Manager, within a deadline; nothing moves.

    Raises
    ------
    InputError
        pycromanager is not installed.
    MicroscopeError
        Nothing answers, something else answers, or it speaks another version.
    DeadlineError
        It began to answer and fell silent.
    """
    refuse_without_pycromanager()
    before = _connections()
    lane = Lane("connecting")
    try:
        return lane.call(lambda: connect(port), CONNECT_S)
    except (TimeoutError, KeyboardInterrupt) as error:
        cut(bridge for bridge in _connections() if bridge not in before)
        if isinstance(error, KeyboardInterrupt):
            raise
        msg = f"Micro-Manager on port {port} does not answer; look whether its window still does"
        raise DeadlineError(msg) from error
    finally:
        lane.end()


def connect(port: int) -> Link:
    """Connect three times, so that neither frames nor a stop wait behind a motion.

    Raises
    ------
    MicroscopeError
        Nothing answers, something else answers, or it speaks another version.
    """
    from mmpycorex import is_pymmcore_active
    from pycromanager import Core

    if is_pymmcore_active():  # Core() would give that one, whatever the port
        msg = "a Micro-Manager core is open in this program already; close it first"
        raise MicroscopeError(msg)
    _refuse_silence(port)
    cores: list[Any] = []
    try:
        with _in_one_line(port) as said:
            cores.append(Core(port=port, timeout=int(CONNECT_S * 500)))
            cores.append(Core(port=port, new_socket=True))
            cores.append(Core(port=port, new_socket=True))
            newest = _newest(cores[1])
        _refuse_other_version(said)
    except BaseException:
        cut(core._bridge for core in cores)  # noqa: SLF001
        raise
    hardware, frames, emergency = map(RemoteCore, cores)

    def release() -> None:
        newest.close()
        for core in cores:
            core._close()  # noqa: SLF001 - pyjavaz has no public way to end a connection

    def abandon() -> None:
        cut(core._bridge for core in cores)  # noqa: SLF001

    return Link(hardware, frames, emergency, newest, release, abandon)


def cut(bridges: Iterable[Any]) -> None:
    """Cut connections, dead or alive: pending calls raise within a second, nothing is sent.

    pyjavaz has no way to do so; this sets what its own close would, without the farewell messages
    that nobody would answer.
    """
    from pyjavaz.bridge import Bridge

    for bridge in filter(None, bridges):
        for thing in list(bridge._java_objects):  # noqa: SLF001
            thing._closed = True  # noqa: SLF001
        bridge._closed = True  # noqa: SLF001
        bridge._shutdown_event.set()  # noqa: SLF001
        cached = Bridge._cached_bridges_by_port.get(bridge.port)  # noqa: SLF001
        if cached is not None and cached() is bridge:
            del Bridge._cached_bridges_by_port[bridge.port]  # noqa: SLF001


class RemoteCore:
    """A core over ZMQ with the values one in this process gives: lists, pixels in rows."""

    def __init__(self, core: Any) -> None:
        self._core = core

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._core, name)
        return lambda *values: _listed(method(*values))

    def get_image(self) -> NDArray[Any]:
        """Fetch the snapped image."""
        raw = self._core.get_image()
        return in_rows(raw, self._core.get_image_width(), self._core.get_image_height())


class NewestByMetadata:
    """The newest frame in two round trips: pixels, then the tags, into one kept object."""

    def __init__(self, core: Any) -> None:
        from pyjavaz import JavaObject

        self._core = core
        self._metadata = JavaObject("mmcorej.Metadata", port=core._bridge.port)  # noqa: SLF001
        self._metadata.serialize()

    def __call__(self) -> tuple[NDArray[Any], int] | None:
        """Fetch it, with its ImageNumber; None while there is none."""
        raw = _unless_empty(lambda: self._core.get_last_image_md(self._metadata))
        if raw is None:
            return None
        words = self._metadata.serialize().split("\n")
        width, height, number = (
            int(words[words.index(name) + 3]) for name in ("Width", "Height", "ImageNumber")
        )
        return in_rows(raw, width, height), number

    def close(self) -> None:
        """Let go of the object on the other side."""
        self._metadata._close()  # noqa: SLF001


class NewestByTags:
    """The newest frame in four round trips, where the server does not serve Metadata."""

    def __init__(self, core: Any) -> None:
        self._core = core

    def __call__(self) -> tuple[NDArray[Any], int] | None:
        """Fetch it, with its ImageNumber; None while there is none."""
        tagged = _unless_empty(self._core.get_last_tagged_image)
        if tagged is None:
            return None
        tags = tagged.tags
        return in_rows(tagged.pix, int(tags["Width"]), int(tags["Height"])), int(
            tags["ImageNumber"]
        )

    def close(self) -> None:
        """Let go of nothing: a tagged image is let go of as it was read."""


def in_rows(raw: NDArray[Any], width_px: int, height_px: int) -> NDArray[Any]:
    """Lay out pixels that came in one row; four bytes a pixel are one packed colour.

    >>> in_rows(np.arange(8, dtype=np.uint8), 2, 1).tolist()
    [[50462976, 117835012]]
    """
    packed = raw.size == 4 * width_px * height_px and raw.dtype == np.uint8
    raw = raw.view(np.uint32) if packed else raw
    if raw.size != width_px * height_px:
        msg = (
            f"the camera's geometry changed while it ran: {raw.size} pixels came for"
            f" {width_px} x {height_px}; start again"
        )
        raise MicroscopeError(msg)
    return raw.reshape(height_px, width_px)


def _newest(core: Any) -> NewestByMetadata | NewestByTags:
    try:
        return NewestByMetadata(core)
    except Exception as error:  # pyjavaz raises it bare
        if "connection" in str(error).lower():
            raise
        return NewestByTags(core)


def _unless_empty(fetch: Any) -> Any:
    """Fetch a frame, or None while there is none: the count may be ahead of the buffer."""
    try:
        return fetch()
    except Exception as error:
        if "buffer is empty" in str(error):
            return None
        raise


def _listed(value: Any) -> Any:
    """Turn Java's vectors and rectangles, which are objects over there, into lists."""
    java_class = str(getattr(value, "_java_class", ""))
    if java_class == "java.awt.Rectangle":
        return [value.x, value.y, value.width, value.height]
    is_vector = java_class.endswith("Vector")
    return [value.get(index) for index in range(value.size())] if is_vector else value


def _refuse_silence(port: int) -> None:
    """Knock before pyjavaz does, which would take seconds and talk of sockets."""
    try:
        with socket.create_connection((HOST, port), PROBE_S):
            pass
    except OSError as error:
        msg = f"no Micro-Manager answers on port {port}; {HOW_TO_SERVE}, or correct port in the rig"
        raise MicroscopeError(msg) from error


@contextlib.contextmanager
def _in_one_line(port: int) -> Iterator[list[warnings.WarningMessage]]:
    """Hear what pyjavaz says while it connects: it fails and warns in threads of its own."""
    before = threading.excepthook

    def quietly(args: threading.ExceptHookArgs) -> None:
        if not (args.thread and args.thread.name.startswith("BridgeSocketThread")):
            before(args)

    threading.excepthook = quietly
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            yield said
    except Exception as error:
        msg = (
            f"the program on port {port} does not answer as Micro-Manager does; if it is"
            " Micro-Manager it is busy, look at its window; if not, correct the port"
        )
        raise MicroscopeError(msg) from error
    finally:
        threading.excepthook = before


def _refuse_other_version(said: list[warnings.WarningMessage]) -> None:
    told = [str(warning.message).split() for warning in said]
    for words in [words for words in told if words.count("version:") == 2]:
        theirs, ours = (words[i + 1] for i, word in enumerate(words) if word == "version:")
        msg = (
            f"Micro-Manager's server speaks version {theirs}, pycromanager here {ours}; install a"
            " Micro-Manager nightly and a pycromanager of the same time"
        )
        raise MicroscopeError(msg)


def _connections() -> list[Any]:
    """List the connections pyjavaz has open in this process."""
    from pyjavaz.bridge import Bridge

    return [known() for known in list(Bridge._cached_bridges_by_port.values())]  # noqa: SLF001
