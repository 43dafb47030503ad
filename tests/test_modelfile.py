"""Model files: any size, exact tiles, cards that tell the truth, and nothing unpickled."""

from __future__ import annotations

import copy
import io
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from scope_sr.cli.models import models
from scope_sr.errors import InputError
from scope_sr.modelfile import (
    Card,
    Figures,
    Lens,
    TrainedOn,
    load,
    read_card,
    save,
    shipped,
    state,
    to_json,
    wrap,
)
from scope_sr.modelfile.halo import halo_px, tiles_are_exact
from scope_sr.networks import UNet, generator

COMPACT = Card(
    "sr",
    "small",
    "compact",
    {"blocks": 3, "channels": 6},
    2,
    um_per_px_in=1.0,
    um_per_px_out=0.5,
    objectives={"low": Lens("10x", 0.3), "high": Lens("20x")},
    dataset=TrainedOn("ds", "a" * 64, True, "bicubic", "CC BY 4.0", "patient", ("A",), ("B",)),
    weights="fidelity",
    steps=12,
    losses={"l1": 0.25},
    figures=(Figures("RGB", 9, psnr_db={"model": 37.17, "bicubic": 34.76}),),
    licence="CC BY 4.0",
    note="µ, 中",
)
CARDS = {
    "compact x2": COMPACT,
    "compact x4": replace(COMPACT, scale=4, um_per_px_out=0.25),
    "srresnet x2": replace(COMPACT, architecture="srresnet"),
    "srresnet x4": replace(COMPACT, architecture="srresnet", scale=4, um_per_px_out=0.25),
    "unet": Card("nuclei", "small", "unet", {"base": 4, "depth": 2}, 1, weights="nuclei"),
    "unet 3": Card("nuclei", "small", "unet", {"base": 3, "depth": 3}, 1, weights="nuclei"),
}


def eager(card: Card) -> nn.Module:
    """A network whose every weight is at work."""
    torch.manual_seed(3)
    if card.kind == "sr":
        network = generator(card.architecture, card.scale, **card.settings)
    else:
        network = UNet(**card.settings)
        network.train()
        with torch.no_grad():
            network(torch.rand(2, 3, 16, 16))  # statistics of batches
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    return network.eval()


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    paths = {name: folder / f"{name.replace(' ', '-')}.ts" for name in CARDS}
    for name, card in CARDS.items():
        save(eager(card), card, paths[name])
    return paths


@pytest.fixture
def copied(files: dict[str, Path], tmp_path: Path) -> Path:
    """One file, without its sum: to be damaged."""
    path = tmp_path / "mine.ts"
    path.write_bytes(files["compact x2"].read_bytes())
    return path


@pytest.mark.parametrize("name", CARDS)
def test_a_card_and_the_weights_come_back_as_they_were(name: str, files: dict[str, Path]) -> None:
    card, path, network = CARDS[name], files[name], eager(CARDS[name])
    back = read_card(path)
    assert back.parameters == sum(weight.numel() for weight in network.parameters())
    assert back.versions.keys() == {"scope_sr", "torch"}
    filled = {"halo_px", "multiple_px", "parameters", "versions"}
    assert replace(back, **{key: getattr(card, key) for key in filled}) == card
    weights = state(path)
    assert weights.keys() == network.state_dict().keys()
    assert all(torch.equal(weights[key], value) for key, value in network.state_dict().items())


def in_numpy(card: Card, image: np.ndarray) -> np.ndarray:
    """What a model file is to give, said once more without its graph."""
    height, width, multiple = *image.shape[:2], 2 ** card.settings.get("depth", 0)
    around = ((0, -height % multiple), (0, -width % multiple), (0, 0))
    padded = np.pad(image, around, mode="edge").transpose(2, 0, 1)[None] / np.float32(255)
    with torch.no_grad():
        found = eager(card)(torch.from_numpy(padded)).double().numpy()[0]
    if card.kind == "nuclei":
        chances = np.exp(found[:3]) / np.exp(found[:3]).sum(0)
        found = np.stack([chances[1], chances[2], found[3]])[:, :height, :width]
    return (found.transpose(1, 2, 0) * 255).clip(0, 255)


@pytest.mark.parametrize("name", ["compact x2", "compact x4", "srresnet x2", "unet", "unet 3"])
def test_any_size_gives_what_the_network_gives(name: str, files: dict[str, Path]) -> None:
    model, card = load(files[name]), CARDS[name]

    @settings(max_examples=12, deadline=None)
    @given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 9))
    def check(height: int, width: int, seed: int) -> None:
        image = noise(height, width, seed)
        found = model(image)
        assert found.dtype == np.uint8
        assert found.shape == (card.scale * height, card.scale * width, 3)
        # rounded: half a level from what was computed, and a little for another order of sums
        assert np.abs(found - in_numpy(card, image)).max() <= 0.501

    check()


def test_a_batch_is_its_pictures(files: dict[str, Path]) -> None:
    model = load(files["unet"])
    images = np.stack([noise(9, 13, 1), noise(9, 13, 2)])
    both = model.graph(torch.from_numpy(images)).numpy()
    assert np.abs(both - np.stack([model(one) for one in images]).astype(int)).max() <= 1


def test_half_precision_differs_by_a_level(files: dict[str, Path]) -> None:
    image = noise(21, 17)
    whole, half = load(files["compact x2"]), load(files["compact x2"], half=True)
    assert np.abs(whole(image).astype(int) - half(image)).max() <= 2


def test_pictures_of_another_kind_are_refused(files: dict[str, Path]) -> None:
    model = load(files["compact x2"])
    for image in (noise(4, 4).astype(np.uint16), noise(4, 4)[..., 0], noise(4, 4)[:0]):
        with pytest.raises(InputError, match="takes RGB pictures of 8 bits, not"):
            model(image)
    fixed = noise(4, 6)[:, ::2]  # neither in one piece nor writable
    fixed.flags.writeable = False
    assert model(fixed).shape == (8, 6, 3)


# Halo


@pytest.mark.parametrize(
    ("name", "known_px"),
    # 3x3 convolutions in a row reach 1 px each, the 9x9 of srresnet 4; behind a shuffle less than
    # one low pixel is left, which still is a pixel more
    [("compact x2", 5), ("compact x4", 5), ("srresnet x2", 13), ("srresnet x4", 13)],
)
def test_the_halo_is_the_one_that_can_be_counted(
    name: str, known_px: int, files: dict[str, Path]
) -> None:
    assert read_card(files[name]).halo_px == known_px


@torch.no_grad()
def tiled(network: nn.Module, picture: torch.Tensor, core: int, halo: int) -> torch.Tensor:
    """Cut a picture into cores with a halo around, run each, and lay the cores together."""
    height, width = picture.shape[2:]
    rows = []
    for top in range(0, height, core):
        row = []
        for left in range(0, width, core):
            y, x = max(0, top - halo), max(0, left - halo)
            tile = picture[:, :, y : top + core + halo, x : left + core + halo]
            out = network(tile)
            s = out.shape[3] // tile.shape[3]
            own = out[:, :, (top - y) * s :, (left - x) * s :][:, :, : core * s, : core * s]
            row.append(own)
        rows.append(torch.cat(row, dim=3))
    return torch.cat(rows, dim=2)


@pytest.mark.parametrize("name", CARDS)
def test_tiles_with_the_halo_give_what_the_whole_gives(name: str, files: dict[str, Path]) -> None:
    card = read_card(files[name])
    network = copy.deepcopy(eager(card)).double()
    torch.manual_seed(5)
    picture = torch.rand(1, 3, 96, 128, dtype=torch.float64)
    with torch.no_grad():
        whole = network(picture)
    found = tiled(network, picture, 32, card.halo_px)
    assert float((found - whole).abs().max()) < 1e-13
    nearer = max(0, card.halo_px - max(2, 2 * card.multiple_px))
    assert float((tiled(network, picture, 32, nearer) - whole).abs().max()) > 1e-13


def test_the_halo_of_a_unet_is_that_of_its_worst_pixel() -> None:
    network = eager(CARDS["unet"]).double()
    halo = halo_px(network, 4)
    picture = torch.full((1, 3, 4, 256), 0.5, dtype=torch.float64)
    reached = set()
    for column in range(128, 136):
        changed = picture.clone()
        changed[..., column] = torch.nan
        with torch.no_grad():
            out = torch.isnan(network(changed)).any(2).any(1)[0]
        reached.add(int((out.nonzero()[:, 0] - column).abs().max()))
    assert len(reached) > 1  # it depends on the phase
    assert halo - 4 < max(reached) <= halo
    assert tiles_are_exact(network, halo, 4)
    assert not tiles_are_exact(network, min(reached) // 8 * 4, 4)


def test_what_has_no_halo_is_refused() -> None:
    class Global(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x - x.mean((2, 3), keepdim=True)

    with pytest.raises(ValueError, match="cannot work in tiles"):
        halo_px(Global())


# Refusals


def altered(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Write the archive anew with other members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def key(members: dict[str, bytes], ending: str) -> str:
    return next(name for name in members if name.partition("/")[2] == ending)


def with_card(path: Path, **changes: object) -> Path:
    def change(members: dict[str, bytes]) -> None:
        name = key(members, "extra/scope_sr.json")
        members[name] = json.dumps({**json.loads(members[name]), **changes}).encode()

    return altered(path, change)


def test_a_file_written_anew_as_it_was_still_loads(copied: Path) -> None:
    """Without this the refusals below could all be those of a broken helper."""
    assert load(with_card(copied)).card.name == "small"


CONTRADICTIONS = {
    "scale": ({"scale": 4, "um_per_px_out": 0.25}, "scale = 4, but 5 x 7 pixels became 10 x 14"),
    "parameters": ({"parameters": 7}, "parameters = 7, but the graph has "),
    "halo": ({"halo_px": 4}, "halo_px = 4, but its pixels reach farther"),
    "kind": ({"kind": "nuclei"}, "kind = nuclei does not go with architecture = compact"),
    "multiple": ({"multiple_px": 2}, "multiple_px = 2, but its settings make it 1"),
    "sizes": ({"um_per_px_out": 0.4}, "um_per_px_out = 0.4 are not as 2 to 1"),
    "settings": ({"settings": {"base": 3}}, "are not those of compact (blocks and channels)"),
    "nuclei": (
        {"kind": "nuclei", "architecture": "unet", "settings": {"base": 4, "depth": 2},
         "multiple_px": 4, "halo_px": 8, "scale": 1, "um_per_px_in": 1.0, "um_per_px_out": 1.0},
        "scale = 1, but 5 x 7 pixels became 10 x 14",
    ),
    "unfilled": ({"halo_px": 0}, "its card lacks halo_px"),
    "newer": ({"schema": "scope-sr/model/2"}, "this scope-sr reads scope-sr/model/1; update"),
    "unknown key": ({"colour": "blue"}, "its card is damaged: colour"),
    "wrong type": ({"steps": "many"}, "its card is damaged: steps"),
    "architecture": ({"architecture": "swin"}, "its card is damaged: architecture"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_card_that_is_not_true_is_refused(name: str, copied: Path) -> None:
    changes, words = CONTRADICTIONS[name]
    with pytest.raises(InputError) as caught:
        load(with_card(copied, **changes))
    text = str(caught.value)
    assert words in text
    assert text.startswith(f"{copied}: ")
    assert "\n" not in text
    assert ";" in text  # the way out


def test_a_unet_without_its_padding_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    """The graph of another kind around it: 5 x 7 pixels cannot be halved twice."""
    bare = wrap(eager(CARDS["unet"]), replace(COMPACT))
    buffer = io.BytesIO()
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.save(
            torch.jit.script(bare),
            buffer,
            _extra_files={"scope_sr.json": to_json(read_card(files["unet"]))},
        )
    path = tmp_path / "bare.ts"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="it cannot be run as its card says"):
        load(path)


def test_saving_a_card_that_is_not_true_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="scale = 4, but"):
        save(eager(COMPACT), CARDS["compact x4"], tmp_path / "a.ts")
    with pytest.raises(InputError, match="reach farther"):
        save(eager(COMPACT), replace(COMPACT, halo_px=2), tmp_path / "a.ts")
    with pytest.raises(InputError, match="does not go with"):
        save(eager(COMPACT), replace(COMPACT, kind="nuclei"), tmp_path / "a.ts")
    assert list(tmp_path.iterdir()) == []


def drop_card(path: Path) -> None:
    altered(path, lambda members: members.pop(key(members, "extra/scope_sr.json")))


def break_card(path: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        members[key(members, "extra/scope_sr.json")] = b'{"schema": "scope-sr/model/1", "kind'

    altered(path, change)


def break_code(path: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        name = next(name for name in members if "/code/" in name and name.endswith("graph.py"))
        members[name] = b"this is no TorchScript"

    altered(path, change)


def flip(path: Path) -> None:
    """Change a bit of the largest member; between members lies padding that says nothing."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        member = max(archive.infolist(), key=lambda info: info.compress_size)
    head = member.header_offset
    names = sum(int.from_bytes(data[head + at : head + at + 2], "little") for at in (26, 28))
    data[head + 30 + names + member.compress_size // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def litter(path: Path) -> None:
    path.write_bytes(b"not ours")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def checkpoint(path: Path) -> None:
    torch.save({"weights": torch.zeros(3)}, path)


DAMAGES = {
    "gone": (Path.unlink, "no such model file"),
    "cut": (cut, "damaged or cut short; fetch it again"),
    "flipped": (flip, "damaged"),
    "empty": (empty, "not a model file"),
    "foreign": (litter, "not a model file"),
    "checkpoint": (checkpoint, "not TorchScript but perhaps a checkpoint"),
    "no card": (drop_card, "TorchScript without a card"),
    "torn card": (break_card, "its card is damaged; bring the file back"),
    "code": (break_code, "cannot read its graph"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_refused_in_one_line(name: str, copied: Path) -> None:
    damage, words = DAMAGES[name]
    damage(copied)
    for use in (load, state) if name == "code" else (load, state, read_card):
        with pytest.raises(InputError) as caught:
            use(copied)
        text = str(caught.value)
        assert text.startswith(f"{copied}: ")
        assert words in text
        assert "\n" not in text


def test_no_byte_of_the_weights_can_change_unnoticed(copied: Path) -> None:
    good = copied.read_bytes()
    for place in np.linspace(0, len(good) - 1, 60).astype(int):
        data = bytearray(good)
        data[place] ^= 0x10
        copied.write_bytes(data)
        try:
            model = load(copied)
        except InputError:
            continue
        before = noise(8, 8)  # in what lies between the members, or in the notes for debuggers
        copied.write_bytes(good)
        assert np.array_equal(model(before), load(copied)(before))


class Bomb:
    """What a pickle can do."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


def test_a_pickle_is_never_run(copied: Path, tmp_path: Path) -> None:
    mark, bomb = tmp_path / "boom", tmp_path / "bomb.ts"
    good = copied.read_bytes()
    torch.save({"weights": Bomb(mark)}, bomb)
    torch.load(bomb, weights_only=False)
    assert mark.exists()  # it is a live one
    mark.unlink()
    with pytest.raises(InputError, match="not TorchScript"):
        load(bomb)
    for member in ("data.pkl", "constants.pkl"):
        copied.write_bytes(good)
        altered(copied, lambda m, k=member: m.update({key(m, k): pickle.dumps(Bomb(mark), 2)}))
        with pytest.raises(InputError, match="cannot read its graph"):
            load(copied)
    assert not mark.exists()


def test_another_file_than_the_recorded_one_is_refused(
    files: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "m.ts"
    found = save(eager(COMPACT), COMPACT, path)
    beside = tmp_path / "m.ts.sha256"
    assert beside.read_text() == f"{found}  m.ts\n"
    assert load(path).sha256 == found
    path.write_bytes(files["compact x4"].read_bytes())
    with pytest.raises(InputError, match="not the file that was recorded"):
        load(path)
    beside.write_text("no sum")
    with pytest.raises(InputError, match=r"m.ts.sha256: holds no SHA-256"):
        load(path)
    beside.unlink()
    assert load(path).card.scale == 4


def test_a_save_that_fails_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.ts"
    save(eager(COMPACT), COMPACT, path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scope_sr.disk._write", full)
    with pytest.raises(OSError, match="No space"):
        save(eager(CARDS["compact x4"]), CARDS["compact x4"], path)
    assert path.read_bytes() == before
    assert load(path).card.scale == 2
    assert [file.name for file in tmp_path.iterdir()] == ["m.ts"]


def test_an_unknown_device_is_refused(files: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"device tpu9: .*; use cpu"):
        load(files["compact x2"], "tpu9")


# Shipped models


@pytest.fixture
def home(files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with two models in it."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    sums = {
        "compact-x2": save(eager(COMPACT), COMPACT, folder / "compact-x2.ts"),
        "nuclei": save(eager(CARDS["unet"]), CARDS["unet"], folder / "nuclei.ts"),
    }
    (folder / "sha256.json").write_text(json.dumps(sums))
    monkeypatch.setattr("scope_sr.modelfile.naming.SHIPPED", folder)
    return folder


def test_shipped_go_by_their_names(home: Path) -> None:
    assert list(shipped()) == ["compact-x2", "nuclei"]
    assert load("nuclei").card.kind == "nuclei"
    with pytest.raises(InputError, match="compact-x3: no model of that name: did you mean compact"):
        load("compact-x3")
    with pytest.raises(InputError, match=r"runs/a.ts: no such model file"):
        load("runs/a.ts")
    with pytest.raises(InputError, match=r"is a folder; name one of its files: compact-x2.ts, nuc"):
        load(home)
    for path in home.glob("*.sha256"):
        path.unlink()  # the list of the package is enough
    (home / "nuclei.ts").write_bytes((home / "compact-x2.ts").read_bytes())
    with pytest.raises(InputError, match="not the file that was recorded"):
        load("nuclei")


def test_without_shipped_all_else_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scope_sr.modelfile.naming.SHIPPED", tmp_path)
    assert shipped() == {}
    with pytest.raises(InputError, match="none comes with this scope-sr; or give the path"):
        load("compact-x4")
    assert "train one" in CliRunner().invoke(models, []).output


def test_the_shipped_are_those_that_were_recorded() -> None:
    for name in shipped():
        assert load(name).card.kind in {"sr", "nuclei"}


def test_models_are_listed_and_shown(home: Path) -> None:
    run = CliRunner().invoke
    text = run(models, [], catch_exceptions=False).output
    assert "compact-x2: super-resolution x2" in text
    assert "1 -> 0.5 µm per pixel" in text
    assert "PSNR 37.17 dB (bicubic 34.76 dB) (RGB, n = 9)" in text
    assert "trained on ds (low pictures computed); licence CC BY 4.0" in text
    whole = run(models, ["compact-x2"], catch_exceptions=False).output
    for words in ("10x, NA 0.3", "halo 5 px", "split train", "1 by patient: A", "µ, 中", "bicubic"):
        assert words in whole
    assert max(map(len, whole.splitlines())) <= 100
    table = json.loads(run(models, ["--json"], catch_exceptions=False).output)
    assert [one["name"] for one in table] == ["compact-x2", "nuclei"]
    one = json.loads(run(models, [str(home / "nuclei.ts"), "--json"]).output)
    assert one == table[1]
    assert one["card"]["settings"] == {"base": 4, "depth": 2}


def test_cards_are_read_without_torch(files: dict[str, Path]) -> None:
    program = (
        "import sys; from scope_sr.cli.models import models;"
        f"models([{str(files['unet'])!r}], standalone_mode=False);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
