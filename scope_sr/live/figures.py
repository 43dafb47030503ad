"""How fast and how late the pictures are, over the last seconds."""

from __future__ import annotations

import threading
import time
from collections import deque

import numpy as np

SPAN_S = 5.0


class Meter:
    """Rate and latency of pictures; for any thread.

    Attributes
    ----------
    total
        Pictures since the beginning.

    Examples
    --------
    >>> meter = Meter()
    >>> for at_s in (10.0, 10.1, 10.2):
    ...     meter.add(latency_s=0.02, at_s=at_s)
    >>> round(meter.fps(now_s=10.2)), meter.latency_ms(now_s=10.2)
    (10, {'p50': 20.0, 'p95': 20.0})
    """

    def __init__(self, span_s: float = SPAN_S) -> None:
        self.total = 0
        self._span_s = span_s
        self._lock = threading.Lock()
        self._last: deque[tuple[float, float]] = deque()

    def add(self, latency_s: float, at_s: float | None = None) -> None:
        """Count a picture that was so old when it was there."""
        at_s = time.monotonic() if at_s is None else at_s
        with self._lock:
            self.total += 1
            self._last.append((at_s, latency_s))
            while at_s - self._last[0][0] > self._span_s:
                self._last.popleft()

    def fps(self, now_s: float | None = None) -> float:
        """Pictures per second of the last ones; 0 when none came for a while."""
        recent = self._recent(now_s)
        if len(recent) < 2 or recent[-1][0] <= recent[0][0]:
            return 0.0
        return (len(recent) - 1) / (recent[-1][0] - recent[0][0])

    def latency_ms(self, now_s: float | None = None) -> dict[str, float]:
        """Median and 95th percentile in ms; 0 where there was nothing."""
        recent = self._recent(now_s)
        if not recent:
            return {"p50": 0.0, "p95": 0.0}
        p50, p95 = np.percentile([1e3 * latency_s for _, latency_s in recent], [50, 95])
        return {"p50": round(float(p50), 1), "p95": round(float(p95), 1)}

    def _recent(self, now_s: float | None) -> list[tuple[float, float]]:
        now_s = time.monotonic() if now_s is None else now_s
        with self._lock:
            return [one for one in self._last if now_s - one[0] <= self._span_s]
