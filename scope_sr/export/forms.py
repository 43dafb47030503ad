"""The forms of other runtimes, made from the eager graph, and how each is run."""

from __future__ import annotations

import importlib
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scope_sr.errors import InputError
from scope_sr.export.compare import Picture, Run

OPSET = 17  # of ONNX; every runtime of the last years reads it
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}  # else processors with bfloat16 round to three figures


def needed(package: str, extra: str) -> Any:
    """Import a package that an extra brings.

    Raises
    ------
    InputError
        It is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        msg = f'{package} is not installed: python -m pip install "scope-sr[{extra}]"'
        raise InputError(msg) from error


def to_onnx(graph: nn.Module) -> bytes:
    """Write a graph as ONNX, number and sides of the pictures left open."""
    needed("onnx", "onnx")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "model.onnx"
        # dynamo=False: the newer way needs one more package, and fixes what depends on sides
        torch.onnx.export(
            graph,
            (_example(),),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=["picture"],
            output_names=["result"],
            dynamic_axes={
                "picture": {0: "pictures", 1: "rows", 2: "columns"},
                "result": {0: "pictures", 1: "rows_out", 2: "columns_out"},
            },
        )
        return path.read_bytes()


def run_onnx(data: bytes) -> Run:
    """Run ONNX on one picture."""
    runtime = needed("onnxruntime", "onnx")
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def run(picture: Picture) -> Picture:
        found: Picture = session.run(None, {"picture": picture[None]})[0][0]
        return found

    return run


def to_openvino(graph: nn.Module) -> Any:
    """Convert a graph to an OpenVINO model, number and sides of the pictures left open.

    By the frontend itself: ``openvino.convert_model`` does the same and reports it to its maker,
    and a program for patients' tissue does not call home.
    """
    openvino = needed("openvino", "openvino")
    frontend = needed("openvino.frontend", "openvino")
    decoder = needed("openvino.frontend.pytorch.ts_decoder", "openvino")
    with _quiet():
        traced = decoder.TorchScriptPythonDecoder(graph, example_input=(_example(),))
        reader = frontend.FrontEndManager().load_by_framework("pytorch")
        model = reader.convert(reader.load(traced))
    model.reshape(openvino.PartialShape([-1, -1, -1, 3]))
    return model


def openvino_files(model: Any) -> tuple[bytes, bytes]:
    """Give the two files of an OpenVINO model, ``.xml`` and ``.bin``."""
    openvino = needed("openvino", "openvino")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def run_openvino(xml: bytes, weights: bytes) -> Run:
    """Run an OpenVINO model, from the bytes of its files, on one picture."""
    core = needed("openvino", "openvino").Core()
    compiled = core.compile_model(core.read_model(xml, weights), "CPU", EXACT)

    def run(picture: Picture) -> Picture:
        found: Picture = compiled(picture[None])[0][0]
        return found

    return run


def _example() -> torch.Tensor:
    return torch.zeros(2, 33, 35, 3, dtype=torch.uint8)  # no side of it a multiple of anything


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep from the user what torch says of its own ways of tracing, and of constants."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", "Constant folding", UserWarning)
        yield
