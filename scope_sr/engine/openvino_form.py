"""The OpenVINO form of a model: converted, and its convolutions in eight bits if wished."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scope_sr.errors import InputError

Pictures = NDArray[np.uint8]
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}  # else processors with bfloat16 round to three figures
threads: int | None = None  # to compute with; None: as many as OpenVINO takes by itself
IN_FLOAT = ["Add", "Multiply", "Divide"]  # levels to 0..1 and back, and the sum with the skip


def needed(package: str, extra: str) -> Any:
    """Import a package that an extra brings.

    Raises
    ------
    InputError
        It is not installed, or not whole.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        msg = (
            f"{package} is not installed, or not whole ({error}):"
            f' python -m pip install "scope-sr[{extra}]"'
        )
        raise InputError(msg) from error


def converted(graph: Any) -> Any:
    """Convert a graph to an OpenVINO model, number and sides of the pictures left open.

    By the frontend itself: ``openvino.convert_model`` does the same and reports it to its maker,
    and a program for patients' tissue does not call home.

    Parameters
    ----------
    graph
        ``(N, H, W, 3)`` uint8 in and out: a module, or the graph of a model file.
    """
    openvino = needed("openvino", "openvino")
    frontend = needed("openvino.frontend", "openvino")
    decoder = needed("openvino.frontend.pytorch.ts_decoder", "openvino")
    example = torch.zeros(2, 33, 35, 3, dtype=torch.uint8)  # no side a multiple of anything
    with quiet():
        traced = decoder.TorchScriptPythonDecoder(graph, example_input=(example,))
        reader = frontend.FrontEndManager().load_by_framework("pytorch")
        model = reader.convert(reader.load(traced))
    entry = model.inputs[0].get_node()
    entry.set_element_type(openvino.Type.u8)  # a compiled graph does not say what it takes
    entry.set_partial_shape(openvino.PartialShape([-1, -1, -1, 3]))
    model.validate_nodes_and_infer_types()
    return model


def compiled(model: Any) -> Callable[[Pictures], Pictures]:
    """Make an OpenVINO model ready for ``(N, H, W, 3)``."""
    settings = EXACT if threads is None else {**EXACT, "INFERENCE_NUM_THREADS": threads}
    ready = needed("openvino", "openvino").Core().compile_model(model, "CPU", settings)

    def run(pictures: Pictures) -> Pictures:
        found: Pictures = ready(np.ascontiguousarray(pictures))[0]
        return found

    return run


def opened(xml: bytes, weights: bytes) -> Any:
    """Read an OpenVINO model from the bytes of its two files."""
    return needed("openvino", "openvino").Core().read_model(xml, weights)


def quantised(model: Any, pictures: Sequence[Pictures]) -> Any:
    """Quantise after training; first and last convolution, the skip and its sums stay in float.

    What the skip carries is the picture itself. In a U-Net, which gives no picture, sums are many
    and stay in eight bits.
    """
    os.environ.setdefault("NNCF_CI", "1")  # else nncf reports its use to its maker
    nncf = needed("nncf", "openvino")
    nncf.set_log_level("ERROR")
    convolutions = [
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Convolution"
    ]
    skip = [name for name in convolutions if "interpolation" in name]
    others = [name for name in convolutions if name not in skip]
    with contextlib.redirect_stdout(sys.stderr):  # its bar
        return nncf.quantize(
            model,
            nncf.Dataset([picture[None] for picture in pictures]),
            subset_size=len(pictures),
            ignored_scope=nncf.IgnoredScope(
                names=[*skip, others[0], others[-1]], types=IN_FLOAT if skip else []
            ),
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep from the user what torch says of its own ways of tracing, and of constants."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", "Constant folding", UserWarning)
        yield
