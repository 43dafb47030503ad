"""Nuclei of whole fields, told apart beside the pictures: on a processor it takes longer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from scope_sr.live.mailbox import Latest

T = TypeVar("T")

WAIT_S = 0.1


class Beside(Generic[T]):
    """One piece of work at a time, in a thread of its own.

    Examples
    --------
    >>> beside = Beside()
    >>> beside.give(lambda: 6 * 7), beside.free
    (None, False)
    >>> beside.take(timeout_s=5)(), beside.free
    (42, True)
    >>> beside.close()
    """

    def __init__(self) -> None:
        self._asked: Latest[Callable[[], T]] = Latest()
        self._answered: Latest[Callable[[], T]] = Latest()
        self._closed = threading.Event()
        self.free = True
        threading.Thread(target=self._run, name="nuclei", daemon=True).start()

    def give(self, work: Callable[[], T]) -> None:
        """Let it be done; only while `free`."""
        self.free = False
        self._asked.put(work)

    def take(self, timeout_s: float = 0.0) -> Callable[[], T] | None:
        """Fetch what gives the result, or raises what was raised; None while there is none."""
        answer = self._answered.take(timeout_s)
        if answer is not None:
            self.free = True
        return answer

    def close(self) -> None:
        """End, when the work in hand is done."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            work = self._asked.take(WAIT_S)
            if work is not None:
                self._answered.put(_outcome(work))


def _outcome(work: Callable[[], T]) -> Callable[[], T]:
    try:
        result = work()
    except Exception as error:  # noqa: BLE001  whoever fetches it raises it
        raised = error

        def again() -> T:
            raise raised

        return again
    return lambda: result
