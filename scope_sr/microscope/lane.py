"""Calls that may never return, each with a deadline of ours."""

from __future__ import annotations

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
        self._outcome: queue.SimpleQueue[tuple[T | None, BaseException | None]]
        self._outcome = queue.SimpleQueue()

    def run(self) -> None:
        """Make the call, in the lane's thread."""
        try:
            self._outcome.put((self._verb(), None))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._outcome.put((None, error))

    def wait(self, deadline_s: float) -> T:
        """Wait for the outcome, in the caller's thread; TimeoutError past the deadline."""
        until_s = time.monotonic() + deadline_s
        while (left_s := until_s - time.monotonic()) > 0:
            try:
                # Short waits, because on Windows Ctrl-C does not break a long one.
                result, error = self._outcome.get(timeout=min(0.1, left_s))
            except queue.Empty:
                continue
            if error is not None:
                raise error
            return cast("T", result)
        raise TimeoutError


class Lane:
    """A thread that makes calls one after the other, each with a deadline.

    A daemon, because a call that never returns must not keep the interpreter from ending.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"scope-sr {name}", daemon=True)
        self._thread.start()

    def call(self, verb: Callable[[], T], deadline_s: float) -> T:
        """Make a call and wait for it; TimeoutError past the deadline, its own error otherwise."""
        call = Call(verb)
        self._calls.put(call)
        return call.wait(deadline_s)

    def end(self) -> None:
        """Let the thread finish what it does and end."""
        self._calls.put(None)
        self._thread.join(timeout=1.0)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
