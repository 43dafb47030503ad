"""Exported forms give the picture of the network they came from, or are not written."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from datasets import Making, three_slides, tissue
from torch import nn

from scope_sr.cli.export import export as command
from scope_sr.engine.openvino_form import EXACT
from scope_sr.errors import InputError
from scope_sr.export import blend, export, forms, opened
from scope_sr.modelfile import Card, Figures, load, read_card, save, state, wrap
from scope_sr.networks import UNet, generator

FIDELITY = Card(
    "sr",
    "small",
    "compact",
    {"blocks": 3, "channels": 8},
    2,
    weights="fidelity",
    losses={"l1": 0.1},
    figures=(Figures("RGB", 9, psnr_db={"model": 37.2, "bicubic": 34.8}),),
)
NUCLEI = Card("nuclei", "small", "unet", {"base": 4, "depth": 2}, 1, weights="nuclei")
SRRESNET = replace(
    FIDELITY, architecture="srresnet", scale=4, settings={"blocks": 2, "channels": 8}
)
SIZES = ((37, 53), (1, 1), (16, 33), (40, 8))


def shaken(network: nn.Module, by: float, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(by * torch.randn_like(weight))
    return network.eval()


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: the GAN's weights are those of fidelity, learnt further."""
    folder = tmp_path_factory.mktemp("run")
    network = shaken(generator("compact", 2, 3, 8), 0.03, 1)
    save(network, FIDELITY, folder / "fidelity.ts")
    save(shaken(network, 0.03, 2), replace(FIDELITY, weights="gan", steps=9), folder / "gan.ts")
    return folder


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("others")
    save(shaken(UNet(4, 2), 0.1, 1), NUCLEI, folder / "nuclei.ts")
    save(shaken(generator("srresnet", 4, 2, 8), 0.03, 1), SRRESNET, folder / "srresnet.ts")
    return folder


# Blends


def test_a_blend_is_linear_and_its_ends_are_the_two(run: Path) -> None:
    one, other = state(run / "fidelity.ts"), state(run / "gan.ts")
    for share, end in ((0.0, one), (1.0, other)):
        mixed = blend(one, other, share)
        assert all(torch.equal(mixed[name], end[name]) for name in end)
        weights = opened(run, share)[0].state_dict()
        assert all(torch.equal(weights[name], end[name]) for name in end)
    quarter, half, rest = (blend(one, other, share) for share in (0.25, 0.5, 0.75))
    for name in one:
        assert not torch.equal(quarter[name], half[name])
        torch.testing.assert_close((quarter[name] + rest[name]) / 2, half[name])


def test_a_blend_says_so_on_its_card(run: Path, tmp_path: Path) -> None:
    done = export(run, "torchscript", tmp_path / "soft.ts", gan_share=0.3)
    assert [path.name for path in done.files] == ["soft.ts", "soft.ts.sha256"]
    card = load(done.files[0]).card
    assert card.weights == "blend of fidelity and 0.30 gan"
    assert (card.figures, card.losses, card.steps) == ((), {}, 9)  # measured for neither end
    mixed = blend(state(run / "fidelity.ts"), state(run / "gan.ts"), 0.3)
    assert all(torch.equal(weight, mixed[name]) for name, weight in state(done.files[0]).items())


def test_a_run_stands_for_its_fidelity_weights(run: Path) -> None:
    card = opened(run)[1]
    assert (card.weights, card.figures) == ("fidelity", FIDELITY.figures)
    assert opened(run, 1.0)[1].weights == "gan"


# Refusals


def test_what_does_not_go_together_is_refused(run: Path, others: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.onnx"
    half = tmp_path / "half"
    half.mkdir()
    (half / "fidelity.ts").write_bytes((run / "fidelity.ts").read_bytes())
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "there.onnx.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    for words, source, form, place, options in (
        ("is one model; name the folder", run / "gan.ts", "onnx", out, {"gan_share": 0.5}),
        ("which has one set of weights", others, "onnx", out, {"gan_share": 0.5}),
        ("has no gan.ts", half, "onnx", out, {"gan_share": 0.5}),
        ("must be from 0", run, "onnx", out, {"gan_share": 1.5}),
        ("no finished training there", empty, "onnx", out, {}),
        ("must end in .onnx", run, "onnx", tmp_path / "a.xml", {}),
        ("there is no folder", run, "onnx", tmp_path / "no" / "a.onnx", {}),
        ("there.onnx.json is there already", run, "onnx", tmp_path / "there.onnx", {}),
        ("only OpenVINO has it", run, "onnx", out, {"int8": True, "data": tmp_path}),
        ("go together", run, "openvino", tmp_path / "a.xml", {"int8": True}),
        ("go together", run, "openvino", tmp_path / "a.xml", {"data": tmp_path}),
        ("no model of that name", "compact-x9", "onnx", out, {}),
    ):
        with pytest.raises(InputError, match=words) as caught:
            export(source, form, place, **options)
        assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_ends_of_different_networks_are_not_blended(run: Path, tmp_path: Path) -> None:
    (tmp_path / "fidelity.ts").write_bytes((run / "fidelity.ts").read_bytes())
    card = replace(FIDELITY, settings={"blocks": 2, "channels": 8})
    save(generator("compact", 2, 2, 8), card, tmp_path / "gan.ts")
    with pytest.raises(InputError, match="are not of one network"):
        opened(tmp_path, 0.5)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    """As many numbers, and the graph runs: only rebuilding it shows that the card is wrong."""
    card = replace(FIDELITY, settings={"blocks": 4, "channels": 8})
    save(shaken(generator("compact", 2, 3, 8), 0.03, 1), card, tmp_path / "a.ts")
    with pytest.raises(InputError, match="its weights do not belong to the compact"):
        opened(tmp_path / "a.ts")


def test_a_network_that_has_changed_since_is_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def brighter(self: nn.Module, low: torch.Tensor) -> torch.Tensor:
        return self.interpolation(low) + self.shuffle(self.tail(self.body(low))) + 0.02

    monkeypatch.setattr("scope_sr.networks.compact.Compact.forward", brighter)
    with pytest.raises(InputError, match="export with scope-sr 0"):
        opened(run)


def test_a_missing_extra_is_named_with_its_command(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def without(name: str) -> object:
        if name.startswith(("onnx", "openvino")):
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", without)
    for form, suffix in (("onnx", ".onnx"), ("openvino", ".xml")):
        with pytest.raises(InputError) as caught:
            export(run, form, tmp_path / f"a{suffix}")
        assert f'python -m pip install "scope-sr[{form}]"' in str(caught.value)


def test_a_form_that_gives_another_picture_is_not_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(run / "fidelity.ts")
    monkeypatch.setattr(forms, "needed", lambda *_: None)
    monkeypatch.setattr(forms, "to_onnx", lambda graph: b"onnx")
    monkeypatch.setattr("scope_sr.export.run._versions", lambda *_: {})
    for off, refused in ((2, True), (1, False)):

        def darker(picture: np.ndarray, off: int = off) -> np.ndarray:
            return np.where(model(picture) >= 9, model(picture) - np.uint8(off), model(picture))

        monkeypatch.setattr(forms, "run_onnx", lambda data, run=darker: run)
        if refused:
            with pytest.raises(InputError, match=r"by [23] of 255 levels"):
                export(run, "onnx", tmp_path / "a.onnx")
            assert list(tmp_path.iterdir()) == []
        else:
            assert export(run, "onnx", tmp_path / "a.onnx").levels >= 1


@pytest.mark.parametrize("form", ["onnx", "torchscript"])
def test_a_full_disk_leaves_nothing(
    form: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scope_sr import disk

    if form == "onnx":
        pytest.importorskip("onnxruntime")
    real, written = disk._write, []

    def full(file: object, data: bytes) -> None:
        if written:
            raise OSError(28, "No space left on device")
        written.append(real(file, data))

    monkeypatch.setattr(disk, "_write", full)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\)"):
        export(run, form, tmp_path / f"a{'.onnx' if form == 'onnx' else '.ts'}")
    assert list(tmp_path.iterdir()) == []


# Other runtimes


@pytest.mark.parametrize("name", ["fidelity", "nuclei", "srresnet"])
def test_onnx_gives_the_same_picture_at_any_size(
    name: str, run: Path, others: Path, tmp_path: Path
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    source = (run if name == "fidelity" else others) / f"{name}.ts"
    done = export(source, "onnx", tmp_path / "a.onnx")
    session = runtime.InferenceSession(str(done.files[0]), providers=["CPUExecutionProvider"])
    model = load(source)
    for height, width in SIZES:
        image = noise(height, width)
        found = session.run(None, {"picture": np.stack([image, image])})[0]
        assert found.dtype == np.uint8
        assert np.abs(found[1].astype(int) - model(image)).max() <= 1
    card = json.loads((tmp_path / "a.onnx.json").read_bytes())
    assert card["versions"].keys() >= {"onnx", "onnxruntime"}
    assert card["parameters"] == read_card(source).parameters


def in_openvino(path: Path) -> object:
    import openvino

    return openvino.Core().compile_model(str(path), "CPU", EXACT)


@pytest.mark.parametrize("name", ["fidelity", "nuclei", "srresnet"])
def test_openvino_gives_the_same_picture_and_calls_nobody(
    name: str, run: Path, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    telemetry = pytest.importorskip("openvino_telemetry")

    def calls_home(*_: object, **__: object) -> None:
        raise AssertionError

    for verb in ("__init__", "send_event"):
        monkeypatch.setattr(telemetry.Telemetry, verb, calls_home)
    source = (run if name == "fidelity" else others) / f"{name}.ts"
    done = export(source, "openvino", tmp_path / "a.xml")
    assert [path.name for path in done.files] == ["a.xml", "a.bin", "a.xml.json"]
    compiled, model = in_openvino(done.files[0]), load(source)
    for height, width in SIZES:
        image = noise(height, width)
        found = compiled(np.stack([image, image]))[0]
        assert np.abs(found[1].astype(int) - model(image)).max() <= 1


def quantised_inputs(path: Path) -> dict[str, bool]:
    """Which convolutions of an OpenVINO model compute in eight bits."""
    import openvino

    found = {}
    for node in openvino.Core().read_model(str(path)).get_ordered_ops():
        if node.get_type_name() == "Convolution":
            before = node.input_value(0).get_node().get_type_name()
            found[node.get_friendly_name()] = before == "FakeQuantize"
    return found


@pytest.mark.slow  # nncf alone takes seconds to import
def test_int8_is_near_and_keeps_its_ends_in_float(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    three_slides(tmp_path / "ds").done()
    out = tmp_path / "a.xml"
    done = export(run, "openvino", out, int8=True, data=tmp_path / "ds")
    assert done.psnr_db is not None
    assert 30 < done.psnr_db < 99
    image = tissue(77, 64)
    apart = in_openvino(out)(image[None])[0][0].astype(float) - load(run / "fidelity.ts")(image)
    assert 10 * np.log10(255**2 / np.mean(apart**2)) == pytest.approx(done.psnr_db, abs=3)
    eight = quantised_inputs(out)
    assert len(eight) == 6  # skip, first, three, last
    floats = [name for name, quantised in eight.items() if not quantised]
    assert len(floats) == 3
    assert all(any(part in n for n in floats) for part in ("interpolation", "body.0", "tail"))
    card = json.loads((tmp_path / "a.xml.json").read_bytes())
    assert "int8, calibrated on 2 pictures" in card["note"]


@pytest.mark.slow
def test_int8_of_a_nuclei_model(others: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    making = Making(tmp_path / "ds", kind="nuclei", scale=1)
    for number, split in enumerate(("train", "train", "val")):
        making.nuclei(f"i{number}", split, tissue(number, 70), np.zeros((70, 70), np.uint16))
    making.done()
    done = export(others, "openvino", tmp_path / "a.xml", int8=True, data=tmp_path / "ds")
    assert done.psnr_db is not None
    assert done.psnr_db > 30


def test_int8_wants_pictures_of_the_kind_the_model_is_given(
    run: Path, others: Path, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    three_slides(tmp_path / "ds").done()
    options = {"int8": True, "data": tmp_path / "ds"}
    with pytest.raises(InputError, match="a dataset of pairs, but small is calibrated on nuclei"):
        export(others, "openvino", tmp_path / "a.xml", **options)
    making = Making(tmp_path / "none")
    making.pair("a", "test", tissue(1))
    making.done()
    with pytest.raises(InputError, match="no picture in its split train"):
        export(run, "openvino", tmp_path / "a.xml", int8=True, data=tmp_path / "none")


# The command


def test_the_command_says_what_it_wrote(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "soft.ts"
    arguments = [str(run), "--to", "torchscript", "--out", str(out), "--gan-share", "0.5"]
    found = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert found.exit_code == 0
    assert f"{out}  " in found.output
    assert "gives the picture of the network, to " in found.output
    network, card = opened(run, 0.5)
    image = torch.from_numpy(noise(9, 9))[None]
    with torch.no_grad():
        eager = wrap(network, card)(image)[0].numpy()
    assert np.abs(eager.astype(int) - load(out)(noise(9, 9))).max() <= 1
