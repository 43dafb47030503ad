"""Where one thread leaves something for another: room for the newest only, so that nothing ages.

Latency is bounded by construction: what nobody fetched in time is replaced, never queued. Buffers
have one owner, whoever holds them; what a mailbox gives back belongs to the caller again.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from scope_sr.live.seen import Patch

T = TypeVar("T")


class Latest(Generic[T]):
    """A mailbox with room for one.

    Attributes
    ----------
    replaced
        How many were replaced before anybody fetched them.

    Examples
    --------
    >>> box = Latest()
    >>> box.put("old"), box.put("new"), box.take(), box.take(), box.replaced
    (None, 'old', 'new', None, 1)
    """

    def __init__(self) -> None:
        self.replaced = 0
        self._changed = threading.Condition()
        self._held: T | None = None

    def put(self, thing: T) -> T | None:
        """Leave something; give back what nobody had fetched. Never waits."""
        with self._changed:
            before, self._held = self._held, thing
            self.replaced += before is not None
            self._changed.notify()
        return before

    def take(self, timeout_s: float = 0.0) -> T | None:
        """Fetch what there is, or wait for it for a while; None if nothing came."""
        with self._changed:
            if self._held is None and timeout_s > 0:
                self._changed.wait(timeout_s)
            thing, self._held = self._held, None
            return thing


class Tray:
    """A mailbox with room for one patch in each place of the field.

    A patch of another view than those that wait replaces them all: they show what is gone.
    """

    def __init__(self) -> None:
        self.replaced = 0
        self._lock = threading.Lock()
        self._patches: dict[object, Patch] = {}

    def put(self, patch: Patch) -> None:
        """Leave a patch. Never waits."""
        with self._lock:
            waiting = next(iter(self._patches.values()), None)
            if waiting is not None and waiting.seen.view != patch.seen.view:
                self.replaced += len(self._patches)
                self._patches.clear()
            self.replaced += patch.window in self._patches
            self._patches[patch.window] = patch

    def take(self) -> list[Patch]:
        """Fetch all there are."""
        with self._lock:
            found = list(self._patches.values())
            self._patches.clear()
            return found


class Pool:
    """Buffers that wait to be used again: fresh pages of memory cost more than the arithmetic.

    Examples
    --------
    >>> pool = Pool()
    >>> buffer = pool.get((4, 5, 4))
    >>> pool.put(buffer)
    >>> pool.get((4, 5, 4)) is buffer
    True
    """

    def __init__(self) -> None:
        self._free: defaultdict[tuple[int, ...], deque[NDArray[np.uint8]]] = defaultdict(deque)

    def get(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Give a uint8 buffer of a shape; what is in it is left from before."""
        try:
            return self._free[shape].popleft()
        except IndexError:
            return np.empty(shape, np.uint8)

    def put(self, buffer: NDArray[np.uint8]) -> None:
        """Take a buffer back; the caller has no more to do with it. Others' shapes are let go."""
        for shape in [shape for shape in self._free if shape != buffer.shape]:
            del self._free[shape]
        self._free[buffer.shape].append(buffer)
