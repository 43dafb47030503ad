"""The same function over many tasks, in processes: few at a time in memory, results in order."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from typing import TypeVar

from scope_sr.errors import DatasetError

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD = 2  # tasks begun beyond one per worker: their results wait in memory
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def usual_workers() -> int:
    """Count the processors this program may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


class Workers:
    """Processes that compute; one or many give the same bytes, since each uses one thread."""

    def __init__(self, pool: ProcessPoolExecutor, count: int) -> None:
        self._pool = pool
        self._count = count

    def each(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Give ``function(task)`` for each task, in the order of the tasks.

        Only a few tasks are under way at any time, however many there are.

        Raises
        ------
        DatasetError
            A process was ended from outside; what `function` raises comes as it is.
        """
        waiting: deque[Future[Result]] = deque()
        left = iter(tasks)
        try:
            for task in left:
                with _deaf_to_ctrl_c():
                    waiting.append(self._pool.submit(function, task))
                if len(waiting) >= self._count + AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            msg = (
                "a worker process was ended from outside, maybe for want of memory; the same"
                " command with --resume goes on, with fewer --workers it needs less"
            )
            raise DatasetError(msg) from error
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def workers(count: int) -> Iterator[Workers]:
    """Start processes, and end them whatever happens; those who stop it need not wait for all."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    others = active_children()
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_begin)
    try:
        yield Workers(pool, count)
    except BaseException:
        # what they write stands whole or not at all, so nobody need wait for them
        for process in active_children():
            if process not in others:
                process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Hold Ctrl-C back for a moment: a process begun in it is deaf to it from the first."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """Leave Ctrl-C to the parent, and the other processors to the other workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import cv2

    cv2.setNumThreads(1)


def _end_with_parent() -> None:
    """End this process when the parent was killed: nobody else would ever end it."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
