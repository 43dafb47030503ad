"""The live view left alone with its window: nothing grows, nothing slows down."""

from __future__ import annotations

import gc
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("qt")

MINUTES = 10
REFS = 2000  # what is held of None and True goes up and down; PySide6 6.12 lost 1133 a second
POOL = 8
LEAK_MB = 1.0  # a minute
SLOWER, SLOWER_MS = 1.2, 5.0


def benchmark() -> Any:
    """Give ``benchmarks/live.py``; there is a ``live.py`` of the tests too."""
    path = Path(__file__).parents[1] / "benchmarks" / "live.py"
    spec = importlib.util.spec_from_file_location("benchmark_of_live", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def nothing_grows(bench: Any, spans: list[Any]) -> None:
    if sys.version_info < (3, 12):  # from there on both live for ever
        assert abs(bench.drift(spans, "none_refs")) < REFS
        assert abs(bench.drift(spans, "true_refs")) < REFS
    assert len({one.threads for one in spans}) == 1
    assert max(one.pool for one in spans) <= POOL
    for one in spans:
        assert one.original_fps > 1


def test_for_some_seconds_nothing_leaks() -> None:
    """Without networks, whose libraries take longer to load than this lasts."""
    bench = benchmark()
    with bench.watched(256, enhance=False) as running:
        running.span(1.0)
        gc.collect()
        spans = [running.span(1.5) for _ in range(3)]
        assert running.pipeline.board.errors == []
    nothing_grows(bench, spans)


@pytest.mark.slow
@pytest.mark.timeout(60 * (MINUTES + 3))
def test_for_ten_minutes_nothing_grows_and_nothing_slows_down() -> None:
    bench = benchmark()
    with bench.watched() as running:
        spans = [running.span(60.0) for _ in range(MINUTES)]
        assert running.pipeline.board.errors == []
    nothing_grows(bench, spans)
    assert all(one.enhanced_per_s > 0 for one in spans)
    first, last = spans[0], spans[-1]
    assert last.original_p50 <= max(SLOWER * first.original_p50, first.original_p50 + SLOWER_MS)
    assert abs(bench.slope_mb(spans, 1.0)) < LEAK_MB
