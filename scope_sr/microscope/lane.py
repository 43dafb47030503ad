"""Calls that may never return, each with a deadline of ours."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class Call(Generic[T]):
    """One call on its way through a lane, and what came of it."""

    def __init__(self, verb: Callable[[], T]) -> None:
        self._verb = verb
        self._began_s = math.inf
        self._outcome: queue.SimpleQueue[tuple[T | None, BaseException | None]]
        self._outcome = queue.SimpleQueue()

    def run(self) -> None:
        """Make the call, in the lane's thread."""
        self._began_s = time.monotonic()
        try:
            self._outcome.put((self._verb(), None))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._outcome.put((None, error))

    def wait(self, deadline_s: float, stuck: threading.Event) -> T:
        """Wait for the outcome, in the caller's thread.

        The deadline runs from the beginning of the call, not of the wait in line; TimeoutError past
        it, or when the call before it never came back.
        """
        while time.monotonic() - self._began_s < deadline_s:
            try:
                # Short waits, because on Windows Ctrl-C does not break a long one.
                left_s = self._began_s + deadline_s - time.monotonic()
                result, error = self._outcome.get(timeout=max(0.0, min(0.1, left_s)))
            except queue.Empty:
                if stuck.is_set():
                    break
                continue
            if error is not None:
                raise error
            return cast("T", result)
        stuck.set()
        raise TimeoutError


class Lane:
    """A thread that makes calls one after the other, each with a deadline.

    A daemon, because a call that never returns must not keep the interpreter from ending.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._stuck = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"scope-sr {name}", daemon=True)
        self._thread.start()

    def call(self, verb: Callable[[], T], deadline_s: float) -> T:
        """Make a call and wait for it; TimeoutError past the deadline, its own error otherwise."""
        call = Call(verb)
        self._calls.put(call)
        return call.wait(deadline_s, self._stuck)

    def end(self) -> None:
        """Let the thread finish what it does and end."""
        self._calls.put(None)
        self._thread.join(timeout=1.0)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
