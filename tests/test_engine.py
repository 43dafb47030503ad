"""The engine against whole pictures, against memory that ends, and against damaged files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from scope_sr.engine import Engine, Runtime, card_of, chosen, made, sha256_of
from scope_sr.engine.opening import card_beside
from scope_sr.engine.openvino_form import converted, quantised
from scope_sr.engine.tiles import bands, evened, spans
from scope_sr.errors import InputError, ScopeSRError
from scope_sr.export.forms import openvino_files
from scope_sr.modelfile import Card, save, to_json, wrap
from scope_sr.modelfile.halo import halo_px
from scope_sr.networks import UNet, generator

SMALL = {
    "compact x2": Card("sr", "compact x2", "compact", {"blocks": 3, "channels": 6}, 2),
    "compact x4": Card("sr", "compact x4", "compact", {"blocks": 2, "channels": 6}, 4),
    "srresnet x2": Card("sr", "srresnet x2", "srresnet", {"blocks": 1, "channels": 6}, 2),
    "srresnet x4": Card("sr", "srresnet x4", "srresnet", {"blocks": 1, "channels": 6}, 4),
    "unet": Card("nuclei", "unet", "unet", {"base": 4, "depth": 2}, 1),
}
SHIPPED = ("compact-x2", "compact-x4", "nuclei")


def at_work(card: Card) -> nn.Module:
    """A network whose every weight matters, drawn at random."""
    torch.manual_seed(5)
    if card.kind == "sr":
        network = generator(card.architecture, card.scale, **card.settings)
    else:
        network = UNet(**card.settings)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
        for _ in range(30 if card.kind == "nuclei" else 0):
            network(torch.rand(2, 3, 32, 32))  # statistics of batches
    return network.eval()


def measured(name: str) -> tuple[nn.Module, Card]:
    network = at_work(SMALL[name])
    multiple = 2 ** SMALL[name].settings.get("depth", 0)
    return network, replace(
        SMALL[name], multiple_px=multiple, halo_px=halo_px(network, multiple), parameters=1
    )


NETWORKS = {name: measured(name) for name in SMALL}


def eager(name: str) -> Runtime:
    graph = wrap(*NETWORKS[name])

    @torch.no_grad()
    def run(pictures: np.ndarray) -> np.ndarray:
        return graph(torch.from_numpy(pictures.copy())).numpy()

    return Runtime("cpu", NETWORKS[name][1], run)


def smallest(card: Card) -> int:
    return 2 * card.halo_px + card.multiple_px


def noise(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), dtype=np.uint8)


def levels(one: np.ndarray, other: np.ndarray) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


# Tiles give what the whole picture gives


@pytest.mark.parametrize("name", SMALL)
def test_the_networks_here_look_at_their_picture(name: str) -> None:
    """One that gave the same everywhere would pass all that follows."""
    assert eager(name).run(noise(32, 32)[None])[0, 8:-8, 8:-8].std(axis=(0, 1)).min() > 3


def in_tiles(network: nn.Module, picture: torch.Tensor, card: Card, halo: int) -> torch.Tensor:
    """Run a network in float64 by the engine's tiles, padded as the graph of a model does."""
    rows, columns = picture.shape[2:]
    whole = torch.full((1, 4 if card.kind == "nuclei" else 3, card.scale * rows,
                        card.scale * columns), torch.nan, dtype=torch.float64)  # fmt: skip
    for band in bands(
        (rows, columns), smallest(card) + 5 * card.multiple_px, halo, card.multiple_px
    ):
        for tile in band:
            found = padded(network, picture[(..., *tile.window)], card.multiple_px)
            whole[(..., *tile.core(card.scale))] = found[(..., *tile.kept(card.scale))]
    return whole


def padded(network: nn.Module, picture: torch.Tensor, multiple: int) -> torch.Tensor:
    rows, columns = picture.shape[2:]
    pad = [0, -columns % multiple, 0, -rows % multiple]
    found = network(functional.pad(picture, pad, mode="replicate"))
    return found if multiple == 1 else found[:, :, :rows, :columns]


@torch.no_grad()
def apart(name: str, rows: int, columns: int, missing_px: int = 0) -> float:
    network, card = NETWORKS[name]
    exact = wrap(network, card).network.double()
    try:
        torch.manual_seed(rows)
        picture = torch.rand(1, 3, rows, columns, dtype=torch.float64)
        tiled = in_tiles(exact, picture, card, card.halo_px - missing_px)
        return float((tiled - padded(exact, picture, card.multiple_px)).abs().max())
    finally:
        network.float()


@pytest.mark.parametrize("name", SMALL)
@settings(max_examples=4, deadline=None)
@given(rows=st.integers(1, 75), columns=st.integers(1, 75))
def test_in_float64_tiles_are_the_whole(name: str, rows: int, columns: int) -> None:
    assert apart(name, rows, columns) < 1e-12


@pytest.mark.parametrize("name", SMALL)
def test_with_a_smaller_halo_they_are_not(name: str) -> None:
    """So that the test above could fail."""
    assert apart(name, 96, 96, missing_px=NETWORKS[name][1].multiple_px) > 1e-9


@pytest.mark.parametrize("name", SMALL)
@settings(max_examples=4, deadline=None)
@given(
    rows=st.integers(1, 70), columns=st.integers(1, 70), wider=st.integers(3, 12),
    batch=st.integers(1, 4),
)  # fmt: skip
def test_in_eight_bits_they_are_within_a_level(
    name: str, rows: int, columns: int, wider: int, batch: int
) -> None:
    runtime = eager(name)
    picture = noise(rows, columns)
    window = smallest(runtime.card) + wider * runtime.card.multiple_px
    tiled = Engine(runtime, window, batch)(picture)
    assert levels(tiled, runtime.run(picture[None])[0]) <= 1


@pytest.mark.parametrize("model", SHIPPED)
@pytest.mark.parametrize("shape", [(301, 61), (1, 1), (1, 70), (3, 2)])
def test_so_they_are_with_the_models_of_the_package(model: str, shape: tuple[int, int]) -> None:
    runtime = on_cpu(model)
    picture = noise(*shape)
    tiled = Engine(runtime, smallest(runtime.card) + 32)(picture)
    assert levels(tiled, runtime.run(picture[None])[0]) <= 1


@cache
def on_cpu(model: str) -> Runtime:
    return made(model, "cpu")


def test_it_looks_only_within_the_picture_and_at_a_batch_of_one_shape() -> None:
    runtime = eager("unet")
    shape, seen = (75, 131), []

    def region(rows: slice, columns: slice) -> np.ndarray:
        for side, cut in zip(shape, (rows, columns), strict=True):
            assert 0 <= cut.start < cut.stop <= side
        return picture[rows, columns]

    def run(pictures: np.ndarray) -> np.ndarray:
        seen.append(pictures.shape)
        return runtime.run(pictures)

    picture = noise(*shape)
    engine = Engine(replace(runtime, run=run), smallest(runtime.card) + 4, batch=3)
    tops = [(band.top, len(band.pixels)) for band in engine.bands(region, shape)]
    assert [top for top, _ in tops] == list(np.cumsum([0, *(rows for _, rows in tops)])[:-1])
    assert max(count for count, *_ in seen) == 3
    assert max(max(size[1:3]) for size in seen) <= engine.window_px


@given(
    length=st.integers(1, 3000), cores=st.integers(1, 40), halos=st.integers(0, 7),
    multiple=st.sampled_from([1, 2, 16]),
)  # fmt: skip
def test_windows_are_as_small_as_the_number_of_tiles_allows(
    length: int, cores: int, halos: int, multiple: int
) -> None:
    halo, window = halos * multiple, (2 * halos + cores) * multiple
    found = evened(length, window, halo, multiple)
    tiles = len(spans(length, window, halo, multiple))
    assert 2 * halo < found <= window
    assert len(spans(length, found, halo, multiple)) == tiles
    if tiles > 1 and found - multiple > 2 * halo:
        assert len(spans(length, found - multiple, halo, multiple)) > tiles


# Going on


@given(start=st.integers(0, 160))
@settings(max_examples=12, deadline=None)
def test_it_goes_on_at_any_row_with_the_same_picture(start: int) -> None:
    picture, calls = noise(80, 30), []
    runtime = eager("compact x2")

    def run(pictures: np.ndarray) -> np.ndarray:
        calls.append(len(pictures))
        return runtime.run(pictures)

    engine = Engine(replace(runtime, run=run), 40)
    whole = engine(picture)
    every = len(calls)
    rest = list(engine.bands(lambda r, c: picture[r, c], (80, 30), start))
    assert np.array_equal(np.concatenate([whole[:start], *(b.pixels for b in rest)]), whole)
    assert [band.top for band in rest][:1] == ([start] if start < 160 else [])
    tops = [band[0].core(2)[0].stop for band in engine.plan((80, 30))]
    assert len(calls) - every == sum(stop > start for stop in tops)  # nothing is done twice


@pytest.mark.parametrize("start", [-1, 161])
def test_a_row_that_is_not_there_is_a_mistake(start: int) -> None:
    engine = Engine(eager("compact x2"), 40)
    with pytest.raises(ValueError, match=f"start = {start}, but the result has 160 rows"):
        list(engine.bands(lambda r, c: noise(80, 30)[r, c], (80, 30), start))


# Memory that ends

ENDS: dict[str, Callable[[], Exception]] = {
    "torch on cuda": lambda: torch.OutOfMemoryError("CUDA out of memory."),
    "torch on mps": lambda: RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    "torch on a processor": lambda: RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"
    ),
    "openvino": lambda: RuntimeError("Exception from src/x.cpp:1:\nstd::bad_alloc\n"),
    "numpy": lambda: MemoryError(),
}


def holding(runtime: Runtime, most_px: int, end: Callable[[], Exception]) -> Runtime:
    def run(pictures: np.ndarray) -> np.ndarray:
        if pictures[..., 0].size > most_px:
            raise end()
        return runtime.run(pictures)

    return replace(runtime, name="cuda", run=run)


WAYS = [
    ("torch on cuda", "compact x2", 2 * 64**2, ["batches of 2"]),
    ("torch on cuda", "compact x2", 64**2, ["batches of 2", "batches of 1"]),
    *(
        (end, "compact x2", 40**2, ["batches of 2", "batches of 1", "tiles of 32 px"])
        for end in ENDS
    ),
    (
        "torch on cuda",
        "compact x2",
        0,
        ["batches of 2", "batches of 1", "32 px", "16 px", "with cpu"],
    ),
    ("torch on cuda", "unet", 60**2, ["batches of 2", "batches of 1", "tiles of 56 px"]),
]


@pytest.mark.parametrize(("end", "name", "most_px", "said"), WAYS)
def test_it_gives_way_step_by_step_and_says_so(
    end: str, name: str, most_px: int, said: list[str]
) -> None:
    runtime, lines = eager(name), []
    small = holding(runtime, most_px, ENDS[end])
    window = 64 if name != "unet" else 112
    engine = Engine(small, window, 4, fallback=lambda: runtime, tell=lines.append)
    picture = noise(41, 331)
    assert levels(engine(picture), runtime.run(picture[None])[0]) <= 1
    assert len(lines) == len(said)
    for line, words in zip(lines, said, strict=True):
        assert line.startswith("cuda: out of memory; going on with")
        assert words in line
    engine(picture)
    assert len(lines) == len(said)  # and does not try again


def test_without_any_memory_it_says_so_in_one_line() -> None:
    engine = Engine(holding(eager("compact x2"), 0, ENDS["numpy"]), 64)
    with pytest.raises(
        ScopeSRError, match=r"does not even hold a tile of 16 px \(cuda\); end"
    ) as e:
        engine(noise(9, 9))
    assert not isinstance(e.value, InputError)
    assert "\n" not in str(e.value)


def test_an_error_of_another_kind_is_not_swallowed() -> None:
    def run(pictures: np.ndarray) -> np.ndarray:
        raise RuntimeError("expected scalar type Half but found Float")

    lines: list[str] = []
    engine = Engine(replace(eager("compact x2"), run=run), 64, 4, tell=lines.append)
    with pytest.raises(RuntimeError, match="expected scalar type"):
        engine(noise(9, 9))
    assert lines == []


# OpenVINO


@pytest.mark.parametrize("model", SHIPPED)
def test_openvino_gives_what_the_processor_gives(model: str) -> None:
    pytest.importorskip("openvino")
    picture = noise(70, 53)
    found = chosen(model, "openvino")(picture)
    assert levels(found, on_cpu(model).run(picture[None])[0]) <= 1


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The OpenVINO forms of two small models, as `scope-sr export` writes them."""
    pytest.importorskip("openvino")
    folder = tmp_path_factory.mktemp("forms")
    for name in ("compact x2", "unet"):
        write_form(converted(wrap(*NETWORKS[name])), NETWORKS[name][1], folder / f"{name}.xml")
    return folder


def write_form(model: object, card: Card, path: Path) -> None:
    xml, weights = openvino_files(model)
    path.write_bytes(xml)
    path.with_suffix(".bin").write_bytes(weights)
    card_beside(path).write_bytes(to_json(card))


@pytest.mark.parametrize("name", ["compact x2", "unet"])
def test_an_exported_form_runs_as_its_model(name: str, forms: Path) -> None:
    engine = chosen(forms / f"{name}.xml")
    assert engine.runtime.name == "openvino"
    assert engine.card == card_of(str(forms / f"{name}.xml")) == NETWORKS[name][1]
    engine.window_px = smallest(engine.card) + 8
    picture = noise(75, 63)
    assert levels(engine(picture), eager(name).run(picture[None])[0]) <= 1


def test_its_sum_is_of_both_files(forms: Path, tmp_path: Path) -> None:
    path = copied(forms, tmp_path)
    before = sha256_of(path)
    assert before == sha256_of(forms / "compact x2.xml")
    changed = bytearray(path.with_suffix(".bin").read_bytes())
    changed[8] ^= 1
    path.with_suffix(".bin").write_bytes(changed)
    assert sha256_of(path) != before


def test_a_model_file_has_its_card_and_sum(tmp_path: Path) -> None:
    sha256 = save(NETWORKS["compact x2"][0], SMALL["compact x2"], tmp_path / "a.ts")
    assert sha256_of(tmp_path / "a.ts") == sha256
    assert card_of(tmp_path / "a.ts").halo_px == NETWORKS["compact x2"][1].halo_px


def copied(forms: Path, folder: Path, name: str = "compact x2") -> Path:
    for file in forms.glob(f"{name}.*"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder / f"{name}.xml"


def card_with(path: Path, **changes: object) -> None:
    card_beside(path).write_bytes(to_json(replace(card_of(path), **changes)))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no xml": (lambda p: p.unlink(), "compact x2.xml: no such model file"),
    "no bin": (lambda p: p.with_suffix(".bin").unlink(), "compact x2.bin is not beside it"),
    "no card": (lambda p: card_beside(p).unlink(), "compact x2.xml.json is not beside it"),
    "card of something else": (
        lambda p: card_beside(p).write_text("[]"), r"xml\.json: its card is damaged"),
    "card of a model that was not saved": (
        lambda p: card_with(p, halo_px=0), "lacks halo_px or multiple_px"),
    "card of another scale": (lambda p: card_with(p, scale=4), "scale = 4, but 5 x 7 pixels"),
    "halo too small": (lambda p: card_with(p, halo_px=2), "halo_px = 2, but its pixels reach"),
    "cut xml": (lambda p: p.write_bytes(p.read_bytes()[:5000]), "damaged, or of another OpenVINO"),
    "other xml": (lambda p: p.write_text("<net/>"), "damaged, or of another OpenVINO"),
    "cut bin": (
        lambda p: p.with_suffix(".bin").write_bytes(p.with_suffix(".bin").read_bytes()[:99]),
        "damaged, or of another OpenVINO"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_form_is_refused_in_one_line(damage: str, forms: Path, tmp_path: Path) -> None:
    path = copied(forms, tmp_path)
    harm, words = DAMAGE[damage]
    harm(path)
    with pytest.raises(InputError, match=words) as caught:
        chosen(path)
    assert "\n" not in str(caught.value)


def test_a_form_runs_in_nothing_else(forms: Path) -> None:
    with pytest.raises(InputError, match="runs in openvino, not in cpu; name that, or give"):
        chosen(forms / "compact x2.xml", "cpu")


@pytest.mark.slow  # nncf alone takes seconds to import
@pytest.mark.parametrize("name", ["compact x2", "unet"])
def test_in_eight_bits_inside_tiles_are_the_whole_too(name: str, tmp_path: Path) -> None:
    """What rounds is fixed when a model is calibrated, whatever a tile looks like."""
    pytest.importorskip("nncf")
    network, card = NETWORKS[name]
    model = quantised(converted(wrap(network, card)), [noise(64, 64, seed) for seed in range(3)])
    write_form(model, card, tmp_path / "a.xml")
    runtime = made(tmp_path / "a.xml", "openvino")
    picture = noise(91, 117, 9)
    whole = runtime.run(picture[None])[0]
    assert levels(Engine(runtime, smallest(card) + 8)(picture), whole) <= 1
    assert levels(whole, eager(name).run(picture[None])[0]) > 1  # it is another model
