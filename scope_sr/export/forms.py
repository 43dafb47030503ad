"""The forms of other runtimes, made from the eager graph, and how each is run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scope_sr.engine.openvino_form import compiled, needed, opened, quiet
from scope_sr.export.compare import Picture, Run

OPSET = 17  # of ONNX; every runtime of the last years reads it


def to_onnx(graph: nn.Module) -> bytes:
    """Write a graph as ONNX, number and sides of the pictures left open."""
    needed("onnx", "onnx")
    with tempfile.TemporaryDirectory() as folder, quiet():
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


def openvino_files(model: Any) -> tuple[bytes, bytes]:
    """Give the two files of an OpenVINO model, ``.xml`` and ``.bin``."""
    openvino = needed("openvino", "openvino")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def run_openvino(xml: bytes, weights: bytes) -> Run:
    """Run an OpenVINO model, from the bytes of its files, on one picture."""
    run = compiled(opened(xml, weights))
    return lambda picture: run(picture[None])[0]


def _example() -> torch.Tensor:
    return torch.zeros(2, 33, 35, 3, dtype=torch.uint8)  # no side of it a multiple of anything
