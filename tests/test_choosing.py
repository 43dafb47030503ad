"""What is computed with, and how much at a time."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scope_sr.engine import Runtime, available, choosing, chosen, runtimes
from scope_sr.engine.choosing import bytes_per_px, window_px
from scope_sr.errors import InputError
from scope_sr.modelfile import read_card

MODELS = ("compact-x2", "compact-x4", "nuclei")


def fake(model: str | Path, name: str) -> Runtime:
    """A runtime that computes nothing."""
    if name not in ("cuda", "openvino", "cpu"):
        raise AssertionError(name)
    card = read_card(model)
    sides = np.array([1, card.scale, card.scale, 1])
    return Runtime(name, card, lambda pictures: np.zeros(sides * pictures.shape, np.uint8))


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """A computer with three ways, and the seconds of a tile in each."""
    times = {"cuda": 0.002, "openvino": 0.05, "cpu": 0.07}
    monkeypatch.setattr(choosing, "candidates", lambda model: tuple(times))
    monkeypatch.setattr(choosing, "made", fake)
    monkeypatch.setattr(choosing, "seconds", lambda runtime: times[runtime.name])
    return times


@pytest.mark.parametrize("best", ["cuda", "openvino", "cpu"])
def test_the_fastest_is_chosen_and_said(best: str, three: dict[str, float]) -> None:
    three[best] = 0.001
    lines: list[str] = []
    engine = chosen("compact-x2", tell=lines.append)
    assert engine.runtime.name == best
    (line,) = lines
    assert line.startswith(f"compact-x2: computing with {best} (a tile of 256 px: cuda ")
    assert f"{best} 1 ms" in line
    assert line.endswith(f"tiles of {engine.window_px} px")
    assert (engine.fallback is not None) == (best == "cuda")


def test_chance_does_not_decide_between_two_that_are_alike(three: dict[str, float]) -> None:
    del three["cuda"]
    three.update(openvino=0.107, cpu=0.1)
    assert chosen("compact-x2").runtime.name == "openvino"
    three.update(openvino=0.12)
    assert chosen("compact-x2").runtime.name == "cpu"


def test_one_that_is_named_is_taken_untried(
    three: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(choosing, "seconds")
    lines: list[str] = []
    engine = chosen("nuclei", "openvino", tell=lines.append)
    assert engine.runtime.name == "openvino"
    assert lines == [f"nuclei: computing with openvino, tiles of {engine.window_px} px"]


def test_the_fallback_of_a_gpu_is_the_processor(three: dict[str, float]) -> None:
    engine = chosen("compact-x2", "cuda")
    assert engine.fallback is not None
    assert engine.fallback().name == "cpu"


@pytest.mark.parametrize(
    "broken",
    [
        OSError("libopenvino.so.2640: cannot open shared object file"),
        InputError("openvino is not installed, or not whole (DLL load failed)"),
        RuntimeError("CUDA error: no kernel image is available\n\nfor this device"),
        AttributeError(),
    ],
)
def test_what_is_broken_is_said_and_left_out(
    broken: Exception, three: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def some(model: str | Path, name: str) -> Runtime:
        if name != "cpu":
            raise broken
        return fake(model, name)

    monkeypatch.setattr(choosing, "made", some)
    lines: list[str] = []
    assert chosen("compact-x2", tell=lines.append).runtime.name == "cpu"
    first, second, last = lines
    assert first.startswith("cuda does not work on this computer (")
    assert second.startswith("openvino does not work on this computer (")
    assert all(line.endswith("; going on without") for line in (first, second))
    assert last == "compact-x2: computing with cpu, tiles of 416 px"
    assert not any("\n" in line for line in lines)
    with pytest.raises(type(broken)):
        chosen("compact-x2", "openvino")  # asked for by name, it is not replaced by another


def test_a_broken_openvino_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an installation of which a file is missing: found, but not imported."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "openvino"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openvino", None)  # import raises ImportError
    monkeypatch.setattr(choosing, "candidates", lambda model: ("openvino", "cpu"))
    lines: list[str] = []
    engine = chosen("compact-x2", tell=lines.append)
    assert engine(np.zeros((4, 5, 3), np.uint8)).shape == (8, 10, 3)
    assert lines[0].startswith("openvino does not work on this computer (openvino is not installed")
    assert lines[1] == "compact-x2: computing with cpu, tiles of 416 px"


def test_what_is_not_there_is_refused_with_what_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "available", lambda: ("openvino", "cpu"))
    for name in ("cuda", "mps"):
        with pytest.raises(InputError, match=f"{name}: this computer has none; .* openvino, cpu"):
            chosen("compact-x2", name)
    with pytest.raises(InputError, match="tpu: no runtime of that name; there are cuda, mps"):
        chosen("compact-x2", "tpu")
    with pytest.raises(InputError, match="no model of that name"):
        chosen("compact-x9")


def test_the_processor_is_always_there() -> None:
    assert available()[-1] == "cpu"


# Memory


@given(model=st.sampled_from(MODELS), megabytes=st.floats(1, 4096))
def test_windows_stay_within_the_memory(model: str, megabytes: float) -> None:
    card, budget = read_card(model), int(megabytes * 2**20)
    try:
        side = window_px(card, budget, 1024)
    except InputError as error:
        least = 2 * card.halo_px + card.multiple_px
        assert bytes_per_px(card) * least**2 > budget
        assert f"too little for {model}: its smallest tile takes" in str(error)
        return
    assert bytes_per_px(card) * side**2 <= budget
    assert side % card.multiple_px == 0
    assert 2 * card.halo_px < side <= 1024


def test_a_halo_larger_than_the_usual_window_still_has_a_core() -> None:
    card = replace(read_card("compact-x2"), halo_px=300)
    assert window_px(card, 2**30, 416) == 601


def test_a_batch_stays_within_the_memory(three: dict[str, float]) -> None:
    batches = []
    for megabytes in (64, 1024, 2048, 8192):
        engine = chosen("compact-x2", "cuda", budget_bytes=megabytes * 2**20)
        batches.append(engine.batch)
        taken = engine.batch * bytes_per_px(engine.card) * engine.window_px**2
        assert taken <= megabytes * 2**20
    assert batches == [1, 1, 2, choosing.GPU_BATCH]


def test_too_little_memory_is_refused_before_anything_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(choosing, "made")
    with pytest.raises(InputError, match=r"^8 MB are too little for nuclei: its .* takes \d+ MB$"):
        chosen("nuclei", budget_bytes=8 * 2**20)
