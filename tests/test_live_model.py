"""The model thread against known pictures, slow models, and failures made on purpose."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from textures import texture

from scope_sr.config import load_rig
from scope_sr.engine import Engine, Runtime, made, openvino_form, use_threads
from scope_sr.errors import InputError
from scope_sr.frame import Frame, Position
from scope_sr.imaging.nuclei import components, filled, instances, planes, targets
from scope_sr.imaging.stain import stains
from scope_sr.live.board import Board
from scope_sr.live.model import loading
from scope_sr.live.model.choosing import generator_of, nuclei_of, outside, spare_cores
from scope_sr.live.model.enhancing import Enhancer, Piece, found
from scope_sr.live.model.equipping import FAILURES
from scope_sr.live.model.on_gpu import OnGpu
from scope_sr.live.model.thread import Model
from scope_sr.live.model.tiling import LEAST_PX, Pace, cells, largest, whole
from scope_sr.live.seen import Patch, Seen, Window, Wishes
from scope_sr.microscope import open_microscope
from scope_sr.modelfile import Card

LONG_S = 20.0
Run = Callable[[np.ndarray], np.ndarray]

REACH_PX = 3
CARDS = {
    name: Card("sr", name, "compact", {"blocks": 1, "channels": 4}, scale, um, um / scale,
               halo_px=REACH_PX, multiple_px=1)
    for name, scale, um in (("compact-x2", 2, 0.5), ("compact-x4", 4, 1.0))
}  # fmt: skip
CARDS["nuclei"] = Card(
    "nuclei", "nuclei", "unet", {"base": 4, "depth": 4}, 1, 0.25, 0.25, halo_px=112, multiple_px=16
)
CARDS["other"] = replace(CARDS["compact-x2"], name="other")


def enlarge(scale: int) -> Run:
    """A generator that looks at `REACH_PX` pixels all around, and no farther."""

    def run(pictures: np.ndarray) -> np.ndarray:
        side = 2 * REACH_PX + 1
        blurred = [cv2.blur(one, (side, side), borderType=cv2.BORDER_REPLICATE) for one in pictures]
        return np.stack(blurred).repeat(scale, axis=1).repeat(scale, axis=2)

    return run


def dark_discs(pictures: np.ndarray) -> np.ndarray:
    """A U-Net that knows the truth: what is dark is a nucleus."""
    return np.stack([planes(*targets(components(one[..., 1] < 120))) for one in pictures])


RUNS = {
    "compact-x2": enlarge(2),
    "other": enlarge(2),
    "compact-x4": enlarge(4),
    "nuclei": dark_discs,
}


def engine(name: str, run: Run | None = None, runtime: str = "cpu") -> Engine:
    return Engine(Runtime(runtime, CARDS[name], run or RUNS[name]), 1024)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> dict[str, Engine]:
    """Stands in for the models of the package: exact, and quick."""
    there = {name: engine(name) for name in CARDS}

    def card_of(name: str) -> Card:
        if name not in there:
            raise InputError(f"{name}: no such model file")
        return there[name].card

    def chosen(name: str, wanted: str, *, tell: Callable[[str], None]) -> Engine:
        tell(f"{name}: computing with {wanted}")
        return there[name]

    monkeypatch.setattr(loading, "card_of", card_of)
    monkeypatch.setattr(loading, "chosen", chosen)
    monkeypatch.setattr(loading, "sha256_of", lambda name: f"sum of {name}")
    monkeypatch.setattr(loading, "use_threads", lambda count: None)
    return there


class Heard:
    """What the thread hands on, and says."""

    def __init__(self) -> None:
        self.patches: list[Patch] = []
        self._changed = threading.Condition()
        self.board = Board(self._wake)

    def put(self, patch: Patch) -> None:
        with self._changed:
            self.patches.append(patch)
            self._changed.notify_all()

    def wait(self, enough: Callable[[], object]) -> None:
        end_s = time.monotonic() + LONG_S
        with self._changed:
            while not enough():
                assert time.monotonic() < end_s, self.words
                self._changed.wait(0.01)  # not all that is waited for wakes us

    def count(self, more: int) -> None:
        wanted = len(self.patches) + more
        self.wait(lambda: len(self.patches) >= wanted)

    @property
    def words(self) -> str:
        return " | ".join(note.words for note in self.board.notes())

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def model(engines: dict[str, Engine], heard: Heard) -> Iterator[Model]:
    thread = Model(heard.board, heard.put)
    thread.start()
    yield thread
    thread.close()


def field(shape: tuple[int, int] = (200, 300), seed: int = 0) -> np.ndarray:
    """Discs of haematoxylin on a texture of eosin."""
    random = np.random.default_rng(seed)
    eosin = np.clip((texture(shape, seed=seed) - 60) / 200, 0.2, 0.8)
    nuclei = np.zeros(shape, np.uint8)
    for row, column in random.uniform(0, shape, (shape[0] * shape[1] // 900, 2)):
        cv2.circle(nuclei, (int(column), int(row)), 6, 1, -1)
    amounts = np.stack([0.9 * nuclei, eosin * (1 - 0.5 * nuclei)], axis=-1)
    return np.round(240 * 10 ** -(amounts @ stains()[:2])).astype(np.uint8)


def look(
    rgb: np.ndarray, *, um: float | None = 0.5, view: int = 1, age_s: float = 1.0, number: int = 1
) -> Seen:
    now_s = time.monotonic()
    frame = Frame(rgb, Position(0, 0, 0), "10x", 10.0, now_s, number)
    return Seen(frame, rgb, um, arrived_s=now_s, view=view, since_s=now_s - age_s)


def bgra(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA), np.uint8)


def laid(patches: list[Patch], shape: tuple[int, int]) -> np.ndarray:
    scale = patches[-1].scale
    out = np.zeros((scale * shape[0], scale * shape[1], 4), np.uint8)
    for patch in patches:
        place = [slice(scale * side.start, scale * side.stop) for side in patch.window.slices]
        out[tuple(place)] = patch.pixels
    return out


def covered(patches: list[Patch], shape: tuple[int, int]) -> bool:
    there = np.zeros(shape, bool)
    for patch in patches:
        there[patch.window.slices] = True
    return bool(there.all())


# What comes out


@pytest.mark.parametrize(("um", "name", "scale"), [(0.5, "compact-x2", 2), (1.0, "compact-x4", 4)])
def test_patches_side_by_side_are_the_whole_picture(um: float, name: str, scale: int) -> None:
    rgb = field()
    whole_picture = engine(name)(rgb)
    enhancer = Enhancer(engine(name), engine("nuclei"))
    for side in (LEAST_PX, 128, 300):
        grid, size = cells(rgb.shape[:2], side), largest(rgb.shape[:2], side)
        frame = look(rgb, um=um)
        patches = [
            Patch(frame, window, scale, enhancer.piece(frame, window, size).pixels)
            for window in grid
        ]
        assert np.array_equal(laid(patches, rgb.shape[:2]), bgra(whole_picture))


def test_the_thread_fills_the_field_with_it(model: Model, heard: Heard) -> None:
    rgb = field()
    model.offer(look(rgb))
    heard.wait(lambda: covered([p for p in heard.patches if p.nuclei], rgb.shape[:2]))
    expected = bgra(engine("compact-x2")(rgb))
    assert np.array_equal(laid(heard.patches, rgb.shape[:2]), expected)
    patch = heard.patches[-1]
    assert (patch.model, patch.scale) == ("compact-x2", 2)
    assert 0 < patch.sr_s < LONG_S
    assert 0 < patch.nuclei_s < LONG_S
    assert patch.pixels.flags.c_contiguous
    state = model.state()
    assert (state.model, state.nuclei, state.backend) == ("compact-x2", "nuclei", "torch, CPU")
    assert state.sums == {"model": "sum of compact-x2", "nuclei": "sum of nuclei"}
    assert state.cards == {"model": CARDS["compact-x2"], "nuclei": CARDS["nuclei"]}
    assert state.warnings == ()


def all_nuclei(rgb: np.ndarray, side: int, name: str = "compact-x2") -> list[np.ndarray]:
    enhancer = Enhancer(engine(name), engine("nuclei"))
    frame, shape = look(rgb), rgb.shape[:2]
    areas = []
    for window in cells(shape, side):
        piece = enhancer.piece(frame, window, largest(shape, side))
        nuclei = found(enhancer.planes(piece), piece)
        assert nuclei.labels.shape == nuclei.classes.shape == piece.pixels.shape[:2]
        assert set(np.unique(nuclei.labels)) == set(range(int(nuclei.labels.max()) + 1))
        assert np.array_equal(nuclei.labels > 0, nuclei.classes > 0)
        areas.append(nuclei.areas_um2)
    return areas


@pytest.mark.parametrize("side", [LEAST_PX, 128])
def test_nuclei_are_counted_once_however_windows_cut_them(side: int) -> None:
    """Those that lie apart and are smaller than the halo: exactly."""
    random = np.random.default_rng(1)
    rgb = np.full((288, 288, 3), 230, np.uint8)
    places = np.mgrid[24:280:24, 24:280:24].reshape(2, -1).T
    for row, column in places + random.integers(-4, 5, places.shape):
        cv2.circle(rgb, (int(column), int(row)), int(random.integers(4, 7)), (60, 60, 60), -1)
    whole_areas = np.sort(np.concatenate(all_nuclei(rgb, 288)))
    assert len(whole_areas) == 11**2
    assert np.array_equal(np.sort(np.concatenate(all_nuclei(rgb, side))), whole_areas)
    drawn = sum(int(labels.max()) for labels in labels_of(rgb, side))
    assert drawn > 11**2 + 20  # so many are cut, and drawn in two windows


def test_clusters_that_reach_over_the_halo_change_a_count_by_little() -> None:
    """Their areas end where it does."""
    rgb = field((288, 288))
    whole_areas = np.concatenate(all_nuclei(rgb, 288))
    areas = np.concatenate(all_nuclei(rgb, LEAST_PX))
    assert len(whole_areas) > 40
    assert len(areas) == pytest.approx(len(whole_areas), rel=0.1)
    assert areas.sum() <= whole_areas.sum()


def labels_of(rgb: np.ndarray, side: int) -> list[np.ndarray]:
    enhancer, frame = Enhancer(engine("compact-x2"), engine("nuclei")), look(rgb)
    pieces = [
        enhancer.piece(frame, window, largest(rgb.shape[:2], side))
        for window in cells(rgb.shape[:2], side)
    ]
    return [found(enhancer.planes(piece), piece).labels for piece in pieces]


def test_areas_are_in_um2_and_those_of_the_whole_nucleus() -> None:
    rgb = np.full((96, 192, 3), 230, np.uint8)
    rgb[40:60, 90:110] = 60  # across the edge of two windows
    frame = look(rgb)
    enhancer = Enhancer(None, engine("nuclei"))
    one, other = (
        found(enhancer.planes(piece), piece)
        for piece in (enhancer.piece(frame, w, (96, 96)) for w in cells((96, 192), 96))
    )
    assert one.areas_um2.tolist() == [400 * 0.5**2]
    assert other.areas_um2.tolist() == []
    assert other.labels.max() == 1  # it is drawn in both
    unknown = replace(frame, um_per_px=None)
    piece = enhancer.piece(unknown, Window(0, 0, 96, 96), (96, 96))
    assert found(enhancer.planes(piece), piece).areas_um2.tolist() == [400]


def test_nuclei_that_touch_have_an_outline_each() -> None:
    labels = np.zeros((30, 60), int)
    labels[5:25, 10:30] = 1
    labels[5:25, 30:50] = 2
    seen = planes(*targets(labels))
    piece = Piece(look(np.zeros((30, 60, 3), np.uint8), um=0.25), Window(0, 0, 30, 60),
                  Window(0, 0, 30, 60), 1, seen, seen)  # fmt: skip
    nuclei = found(seen, piece)
    assert np.array_equal(nuclei.labels, filled(instances(seen, 0.25)))
    assert nuclei.labels.max() == 2
    row = nuclei.classes[15]
    middle = int(np.flatnonzero(np.diff(nuclei.labels[15, 15:45]))[0]) + 15
    assert row[middle] == row[middle + 1] == 2
    assert row[20] == row[40] == 1


def test_the_map_of_disagreement_is_that_of_the_whole(model: Model, heard: Heard) -> None:
    from scope_sr.imaging.fidelity import disagreement, sharper_by_px

    rgb = field()
    enhancer = Enhancer(engine("compact-x2"), None)
    frame = look(rgb)
    piece = enhancer.piece(frame, whole(frame.shape), frame.shape)
    apart = enhancer.disagreement(piece)
    expected = disagreement(rgb, piece.rgb, sharper_by_px([(rgb, piece.rgb)]))
    assert np.array_equal(apart, expected)
    assert Enhancer(None, engine("nuclei")).disagreement(piece) is None
    model.wishes = Wishes(nuclei="", disagreement=True)
    model.offer(frame)
    heard.count(1)
    patch = heard.patches[0]
    assert patch.apart is not None
    assert patch.apart.shape == (patch.window.rows, patch.window.columns)


def test_the_picture_comes_first_and_once_more_with_its_nuclei(
    model: Model, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pace, "took", lambda self, seconds: None)  # else soon all at once
    frame = look(field())
    model.offer(frame)
    heard.wait(lambda: covered([p for p in heard.patches if p.nuclei], frame.shape))
    pictures = {p.window: p for p in heard.patches if not p.late}
    late = [p for p in heard.patches if p.late]
    assert len(pictures) == len(late) == len(cells(frame.shape, LEAST_PX))
    assert not any(p.late for p in heard.patches[: len(pictures)])  # none waits for nuclei
    for patch in late:
        assert patch.nuclei is not None
        assert np.array_equal(patch.pixels, pictures[patch.window].pixels)
    assert all(patch.nuclei is None for patch in pictures.values())


def test_on_bare_glass_no_nuclei_are_looked_for() -> None:
    calls = []

    def counted(pictures: np.ndarray) -> np.ndarray:
        calls.append(1)
        return dark_discs(pictures)

    enhancer = Enhancer(engine("compact-x2"), engine("nuclei", counted))
    rng = np.random.default_rng(0)
    rgb = np.clip(rng.normal(230, 3, (96, 192, 3)), 0, 255).astype(np.uint8)
    cv2.circle(rgb, (150, 50), 4, (100, 60, 130), -1)  # a lone nucleus of 4 µm on the right
    frame, counts = look(rgb), []
    for window in cells((96, 192), 96):
        piece = enhancer.piece(frame, window, (96, 96))
        counts.append(len(found(enhancer.planes(piece), piece).areas_um2))
    assert counts == [0, 1]
    assert calls == [1]


# Its own pace


def test_a_slow_model_delays_nobody(model: Model, heard: Heard, engines: dict[str, Engine]) -> None:
    def slow(pictures: np.ndarray) -> np.ndarray:
        time.sleep(0.5)
        return enlarge(2)(pictures)

    engines["compact-x2"] = engine("compact-x2", slow)
    rgb, offers = field((96, 96)), []
    end_s = time.monotonic() + 1.5
    while time.monotonic() < end_s:
        begin = time.perf_counter()
        model.offer(look(rgb))
        offers.append(time.perf_counter() - begin)
        time.sleep(0.01)  # the camera
    assert np.percentile(offers, 95) < 0.005
    heard.count(1)
    assert len(heard.patches) <= 4
    assert model.skipped >= len(offers) - 10
    assert model.meter.latency_ms()["p50"] < 1500  # the newest is taken, not the first


def test_it_ends_within_a_second_and_hands_nothing_on(
    model: Model, heard: Heard, engines: dict[str, Engine]
) -> None:
    begun, go = threading.Event(), threading.Event()

    def stuck(pictures: np.ndarray) -> np.ndarray:
        begun.set()
        assert go.wait(LONG_S)
        return enlarge(2)(pictures)

    engines["compact-x2"] = engine("compact-x2", stuck)
    model.offer(look(field()))
    assert begun.wait(LONG_S)
    begin = time.perf_counter()
    model.close()
    assert time.perf_counter() - begin < 1
    go.set()
    model._thread.join(LONG_S)
    assert not model._thread.is_alive()
    assert heard.patches == []


def test_when_all_is_done_it_rests_until_something_new_comes(
    model: Model, heard: Heard, engines: dict[str, Engine]
) -> None:
    rgb = field((96, 96))
    frame = look(rgb)
    model.offer(frame)
    heard.wait(lambda: any(patch.nuclei for patch in heard.patches))
    settle = len(heard.patches)
    begin = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - begin < 0.2
    assert len(heard.patches) <= settle + 1
    model.offer(look(rgb, number=2))
    heard.wait(lambda: heard.patches[-1].seen.frame.number == 2)


def test_nothing_is_computed_while_only_the_original_is_wanted(model: Model, heard: Heard) -> None:
    model.wishes = Wishes(enhance=False)
    model.offer(look(field()))
    time.sleep(0.2)
    assert heard.patches == []
    model.wishes = Wishes()
    heard.count(1)


# The whole field


def test_a_whole_field_gets_its_nuclei_with_a_later_picture(model: Model, heard: Heard) -> None:
    rgb = field((80, 90))
    model.offer(look(rgb))
    heard.wait(lambda: heard.patches and heard.patches[-1].nuclei)  # though no other frame comes
    assert model.state().whole
    last = heard.patches[-1]
    assert last.window == whole((80, 90))
    assert last.nuclei is not None
    expected = all_nuclei(rgb, 90)[0]
    assert np.array_equal(last.nuclei.areas_um2, expected)


def test_nuclei_of_another_view_are_not_handed_on(
    model: Model, heard: Heard, engines: dict[str, Engine]
) -> None:
    asked, go = threading.Event(), threading.Event()
    plain = dark_discs

    rgb, blank = field((80, 90)), np.full((80, 90, 3), 230, np.uint8)
    model.wishes = Wishes(nuclei="")
    model.offer(look(rgb))
    heard.count(1)

    def of_first(pictures: np.ndarray) -> np.ndarray:
        if not asked.is_set():
            asked.set()
            assert go.wait(LONG_S)
        return plain(pictures)

    engines["nuclei"] = engine("nuclei", of_first)
    model.wishes = Wishes()
    assert asked.wait(LONG_S)
    model.offer(look(blank, view=2))
    go.set()
    heard.wait(lambda: heard.patches[-1].seen.view == 2 and heard.patches[-1].nuclei)
    for patch in heard.patches:
        if patch.seen.view == 2 and patch.nuclei:
            assert len(patch.nuclei.areas_um2) == 0


@pytest.fixture(scope="module")
def on_torch() -> tuple[Engine, Engine]:
    return tuple(Engine(made(name, "cpu"), 1024) for name in ("compact-x2", "nuclei"))


def test_the_way_of_a_gpu_gives_what_the_engine_gives(on_torch: tuple[Engine, Engine]) -> None:
    """On a processor, without pinned memory and streams: no GPU is at hand."""
    generator, nuclei = on_torch
    rgb = field((40, 50))
    gpu = OnGpu(generator.runtime.model, nuclei.runtime.model)
    first = gpu.picture(rgb)
    assert np.array_equal(first, bgra(generator(rgb)))
    assert np.array_equal(gpu.planes(), nuclei(generator(rgb)))
    kept = first.copy()
    gpu.picture(255 - rgb)
    assert np.array_equal(first, kept)  # what was handed on is not written into
    assert gpu.picture(rgb[:30]).shape == (60, 100, 4)


def test_the_enhancer_takes_it_and_leaves_it_when_memory_ends(
    on_torch: tuple[Engine, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    generator, nuclei = (
        replace(one, runtime=replace(one.runtime, name="cuda"), tell=lines.append)
        for one in on_torch
    )
    enhancer = Enhancer(generator, nuclei)
    frame = look(field((40, 50)))
    field_ = whole(frame.shape)
    calls = []
    plain = OnGpu.picture
    monkeypatch.setattr(OnGpu, "picture", lambda self, rgb: calls.append(1) or plain(self, rgb))
    piece = enhancer.piece(frame, field_, frame.shape)
    assert calls == [1]
    assert np.array_equal(piece.pixels, bgra(generator(frame.rgb)))
    assert np.array_equal(piece.rgb, generator(frame.rgb))
    assert np.array_equal(enhancer.planes(piece), nuclei(piece.rgb))

    def full(self: OnGpu, rgb: np.ndarray) -> np.ndarray:
        raise RuntimeError("CUDA out of memory. Tried to allocate 9 GiB")

    monkeypatch.setattr(OnGpu, "picture", full)
    for _ in range(2):
        again = enhancer.piece(frame, field_, frame.shape)
        assert np.array_equal(again.pixels, piece.pixels)
        assert np.array_equal(enhancer.planes(again), nuclei(piece.rgb))
    assert lines == ["cuda: out of memory; going on in tiles"]


# Failures


def failing(times: int, error: Exception, run: Run) -> Run:
    left = [times]

    def flaky(pictures: np.ndarray) -> np.ndarray:
        if left[0]:
            left[0] -= 1
            raise error
        return run(pictures)

    return flaky


def feed(model: Model, heard: Heard, enough: Callable[[], object], rgb: np.ndarray) -> None:
    """Let a camera run until it is enough."""
    stop = threading.Event()

    def run() -> None:
        number = 1
        while not stop.is_set():
            number += 1
            model.offer(look(rgb, number=number))
            stop.wait(0.005)

    camera = threading.Thread(target=run)
    camera.start()
    try:
        heard.wait(enough)
    finally:
        stop.set()
        camera.join()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("a\nshapes do not agree"), "compact-x2: shapes do not agree; trying"),
        (KeyError("bug"), "compact-x2: 'bug'; trying the next frame"),
    ],
)
def test_an_error_on_a_frame_is_said_and_the_next_frame_tried(
    model: Model, heard: Heard, engines: dict[str, Engine], error: Exception, words: str
) -> None:
    engines["compact-x2"] = engine("compact-x2", failing(2, error, enlarge(2)))
    feed(model, heard, lambda: len(heard.patches) > 3, field((96, 96)))
    assert heard.words == ""  # it is well again
    assert [note.words.startswith(words) for note in heard.board.errors] == [True]


def test_a_model_that_fails_again_and_again_is_put_aside_and_may_be_tried_anew(
    model: Model, heard: Heard, engines: dict[str, Engine]
) -> None:
    calls = []

    def broken(pictures: np.ndarray) -> np.ndarray:
        calls.append(1)
        raise RuntimeError("broken")

    engines["compact-x2"] = engine("compact-x2", broken)
    feed(model, heard, lambda: "put aside" in heard.words, field((96, 96)))
    assert "choose it again" in heard.words
    feed(model, heard, lambda: model.idle, field((96, 96)))
    assert len(calls) == FAILURES
    engines["compact-x2"] = engine("compact-x2")
    model.again()
    feed(model, heard, lambda: len(heard.patches) > 0, field((96, 96)))
    assert heard.words == ""


def test_another_model_may_be_chosen_in_its_place(
    model: Model, heard: Heard, engines: dict[str, Engine]
) -> None:
    engines["compact-x2"] = engine("compact-x2", failing(10**9, RuntimeError("broken"), enlarge(2)))
    feed(model, heard, lambda: "put aside" in heard.words, field((96, 96)))
    model.wishes = Wishes(model="other")
    feed(model, heard, lambda: len(heard.patches) > 0, field((96, 96)))
    assert heard.patches[0].model == "other"


def test_nuclei_that_cannot_be_found_leave_the_picture(
    model: Model, heard: Heard, engines: dict[str, Engine]
) -> None:
    engines["nuclei"] = engine("nuclei", failing(10**9, RuntimeError("broken"), dark_discs))
    feed(model, heard, lambda: "put aside" in heard.words, field((200, 200)))
    feed(model, heard, lambda: model.state().nuclei == "", field((200, 200)))
    heard.patches.clear()
    feed(model, heard, lambda: len(heard.patches) > 3, field((200, 200)))
    assert all(patch.nuclei is None for patch in heard.patches)
    assert model.state().model == "compact-x2"


def test_the_engine_gives_way_when_memory_ends_and_that_is_no_error(
    model: Model, heard: Heard, engines: dict[str, Engine]
) -> None:
    def small(pictures: np.ndarray) -> np.ndarray:
        if pictures[..., 0].size > 64**2:
            raise RuntimeError("CUDA out of memory.")
        return enlarge(2)(pictures)

    engines["compact-x2"] = engine("compact-x2", small, "mps")
    rgb = field((96, 96))
    model.offer(look(rgb))
    heard.count(1)
    assert np.array_equal(heard.patches[0].pixels, bgra(engine("compact-x2")(rgb)))
    assert "out of memory; going on with tiles" in heard.words
    assert heard.board.errors == []


def test_where_memory_ends_elsewhere_windows_get_smaller(
    model: Model, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    plain = Enhancer.piece

    def piece(self: Enhancer, seen: Seen, window: Window, size: tuple[int, int]) -> Piece:
        sizes.append(window.rows * window.columns)
        if sizes[-1] > 100**2:
            raise MemoryError
        return plain(self, seen, window, size)

    monkeypatch.setattr(Enhancer, "piece", piece)
    rgb = field((384, 384))
    feed(model, heard, lambda: any(size > 100**2 for size in sizes), rgb)
    feed(model, heard, lambda: "memory of this computer" in heard.words, rgb)
    heard.patches.clear()
    feed(model, heard, lambda: len(heard.patches) > 0, rgb)
    assert all(patch.window.rows <= LEAST_PX for patch in heard.patches[:1])


# Loading


def test_a_model_that_is_not_there_is_said_and_the_last_one_stays(
    model: Model, heard: Heard
) -> None:
    rgb = field((96, 96))
    feed(model, heard, lambda: len(heard.patches) > 0, rgb)
    model.wishes = Wishes(model="missing.ts")
    feed(model, heard, lambda: "missing.ts: no such model file" in heard.words, rgb)
    heard.patches.clear()
    feed(model, heard, lambda: len(heard.patches) > 2, rgb)
    assert {patch.model for patch in heard.patches} == {"compact-x2"}
    assert len(heard.board.errors) == 1  # said once, not with each frame


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        (Wishes(model="nuclei"), "nuclei looks for nuclei, and one that enhances pictures is"),
        (Wishes(nuclei="other"), "other enhances pictures, and one that looks for nuclei is"),
    ],
)
def test_a_model_for_something_else_is_refused(
    model: Model, heard: Heard, wishes: Wishes, words: str
) -> None:
    model.wishes = wishes
    feed(model, heard, lambda: words in heard.words, field((96, 96)))


def test_while_a_model_is_loaded_that_is_told(
    model: Model, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()
    plain = loading.chosen

    def slow(name: str, wanted: str, **how: Callable[[str], None]) -> Engine:
        begun.set()
        assert go.wait(LONG_S)
        return plain(name, wanted, **how)

    monkeypatch.setattr(loading, "chosen", slow)
    model.offer(look(field((96, 96))))
    assert begun.wait(LONG_S)
    assert model.state().loading
    go.set()
    heard.count(1)
    heard.wait(lambda: any(patch.nuclei for patch in heard.patches))
    assert not model.state().loading


# Choosing


def test_the_model_follows_the_objective(model: Model, heard: Heard) -> None:
    rgb = field((96, 96))
    for view, (um, name, scale) in enumerate(
        [(0.5, "compact-x2", 2), (1.0, "compact-x4", 4), (0.25, "", 1), (0.52, "compact-x2", 2)]
    ):
        heard.patches.clear()
        model.offer(look(rgb, um=um, view=view))
        heard.wait(lambda view=view: heard.patches and heard.patches[-1].seen.view == view)
        patch = heard.patches[-1]
        assert (patch.model, patch.scale) == (name, scale)
        if scale == 1:
            assert np.array_equal(patch.pixels, bgra(rgb))
            heard.wait(lambda: heard.patches[-1].nuclei)
            assert "shown as they are" in model.state().reason


@pytest.mark.parametrize("um", [None, 0.7, 2.0])
def test_without_a_model_that_fits_nothing_is_enhanced(
    model: Model, heard: Heard, um: float | None
) -> None:
    model.offer(look(field((96, 96)), um=um))
    heard.wait(lambda: model.idle)
    assert heard.patches == []
    assert model.state().reason


@pytest.mark.parametrize(
    ("um", "generator", "nuclei"),
    [
        (0.46, "compact-x2", "nuclei"), (0.54, "compact-x2", "nuclei"), (0.44, "", ""),
        (0.56, "", ""), (0.91, "compact-x4", "nuclei"), (1.12, "", ""), (0.26, "", "nuclei"),
        (None, "", ""),
    ],
)  # fmt: skip
def test_what_is_chosen_goes_by_the_pixel_size(
    um: float | None, generator: str, nuclei: str
) -> None:
    """By the cards of the models of the package."""
    choice = generator_of(Wishes(), um)
    scale = {"compact-x2": 2, "compact-x4": 4, "": 1}[choice.generator]
    assert (choice.generator, nuclei_of(Wishes(), um, scale)) == (generator, nuclei)
    assert bool(choice.reason) is (generator == "")
    assert generator_of(Wishes(model="mine"), um).generator == "mine"
    assert nuclei_of(Wishes(nuclei=""), um, scale) == ""


@pytest.mark.parametrize(("um", "warned"), [(0.5, False), (0.52, False), (0.53, True)])
def test_five_percent_are_no_other_magnification(um: float, *, warned: bool) -> None:
    assert bool(outside(CARDS["compact-x2"], um)) is warned


def test_a_stain_that_no_model_has_learnt_is_warned_of(model: Model, heard: Heard) -> None:
    green = 255 - field((200, 200))
    model.wishes = Wishes(model="other")
    model.offer(look(np.ascontiguousarray(green), um=0.8))
    heard.count(2)
    heard.wait(lambda: model.state().warnings)
    warnings = " | ".join(model.state().warnings)
    assert "does not look like H&E" in warnings
    assert "pixels of 0.8 µm; other was made for 0.5 µm" in warnings


def test_a_core_is_left_to_camera_and_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(loading, "use_threads", told.append)
    loading.Shelf(Board())
    assert told == [spare_cores()]
    assert spare_cores() >= 1


@pytest.mark.parametrize("broken", [False, True])
def test_openvino_is_taken_untried_and_others_where_it_is_broken(
    monkeypatch: pytest.MonkeyPatch, *, broken: bool
) -> None:
    wanted: list[str] = []

    def chosen(name: str, runtime: str, *, tell: Callable[[str], None]) -> Engine:
        tell(runtime)
        wanted.append(runtime)
        if broken and runtime == "openvino":
            raise ImportError("no such library")
        return engine(name, runtime="cpu" if broken else "openvino")

    monkeypatch.setattr(loading, "use_threads", lambda count: None)
    monkeypatch.setattr(loading, "available", lambda: ("openvino", "cpu"))
    monkeypatch.setattr(loading, "chosen", chosen)
    shelf = loading.Shelf(Board())
    generator = shelf.load("compact-x2", "sr")
    shelf.load("nuclei", "nuclei", generator)
    assert wanted == (["openvino", "auto", "cpu"] if broken else ["openvino", "openvino"])


@pytest.mark.parametrize(
    ("there", "wanted"), [(("cuda", "openvino", "cpu"), "auto"), (("cpu",), "cpu")]
)
def test_a_gpu_is_tried(
    monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], wanted: str
) -> None:
    asked: list[str] = []

    def chosen(name: str, runtime: str, *, tell: Callable[[str], None]) -> Engine:
        tell(runtime)
        asked.append(runtime)
        return engine(name)

    monkeypatch.setattr(loading, "use_threads", lambda count: None)
    monkeypatch.setattr(loading, "available", lambda: there)
    monkeypatch.setattr(loading, "chosen", chosen)
    loading.Shelf(Board()).load("compact-x2", "sr")
    assert asked == [wanted]


def test_openvino_computes_with_as_many_threads_as_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[dict[str, object]] = []

    class Core:
        def compile_model(self, model: object, device: str, how: dict[str, object]) -> None:
            told.append(how)

    monkeypatch.setattr(openvino_form, "needed", lambda *names: SimpleNamespace(Core=Core))
    monkeypatch.setattr(openvino_form, "threads", None)
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    openvino_form.compiled(None)
    use_threads(3)
    openvino_form.compiled(None)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    assert told == [exact, 3, {**exact, "INFERENCE_NUM_THREADS": 3}]


@pytest.mark.slow
def test_with_the_models_of_the_package_windows_count_as_the_whole_does() -> None:
    """The U-Net looks 112 px far, and beyond a window it is shown 36."""
    with open_microscope(load_rig("simulated")) as microscope:
        rgb = np.ascontiguousarray(microscope.snap().image[300:684, 300:684])
    generator, nuclei = (Engine(made(name, "cpu"), 1024) for name in ("compact-x2", "nuclei"))
    enhancer, frame = Enhancer(generator, nuclei), look(rgb, um=0.5013)
    areas = {}
    for side in (LEAST_PX, 384):
        size = largest(rgb.shape[:2], side)
        pieces = (enhancer.piece(frame, one, size) for one in cells(rgb.shape[:2], side))
        areas[side] = np.concatenate(
            [found(enhancer.planes(piece), piece).areas_um2 for piece in pieces]
        )
    assert len(areas[384]) > 100
    assert len(areas[LEAST_PX]) == pytest.approx(len(areas[384]), rel=0.01)
    assert areas[LEAST_PX].sum() == pytest.approx(areas[384].sum(), rel=0.01)
