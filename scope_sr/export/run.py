"""Export: rebuild, convert, compare, and only then write."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from scope_sr.config import reason
from scope_sr.disk import remove, store
from scope_sr.engine.opening import card_beside
from scope_sr.engine.openvino_form import converted, needed, quantised
from scope_sr.errors import InputError
from scope_sr.export import forms
from scope_sr.export.compare import (
    MOST_LEVELS,
    Run,
    levels_apart,
    psnr_db,
    runner,
    sample_picture,
)
from scope_sr.export.int8 import calibration_pictures
from scope_sr.export.source import opened
from scope_sr.modelfile import Card, load, save, sidecar, to_json, wrap

Form = Literal["onnx", "openvino", "torchscript"]
SUFFIXES: dict[Form, str] = {"onnx": ".onnx", "openvino": ".xml", "torchscript": ".ts"}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    files
        The first is the one to open.
    levels
        The largest difference from the network it came from, of 255.
    psnr_db
        Of int8 against float; None if it was not asked for.
    """

    files: tuple[Path, ...]
    card: Card
    levels: int
    psnr_db: float | None = None


def export(
    source: str | Path,
    form: Form,
    out: str | Path,
    *,
    gan_share: float | None = None,
    data: str | Path | None = None,
    int8: bool = False,
) -> Exported:
    """Write a model in the form of another runtime, its card beside it.

    Parameters
    ----------
    source
        Name or file of a model, or the folder of a training run.
    form, out
        ``onnx`` (``.onnx``), ``openvino`` (``.xml`` and ``.bin``) or ``torchscript`` (``.ts``).
    gan_share
        Of a run: the share of the GAN weights, from 0 to 1.
    int8, data
        OpenVINO only: eight bits inside, calibrated on this dataset.

    Raises
    ------
    InputError
        Something asked for does not go together, is missing, or would be overwritten; or the
        result gives another picture than the network does. Nothing was written.
    """
    out = Path(out)
    files = _files(form, out)
    if int8 and form != "openvino":
        msg = f"--int8: only OpenVINO has it; --to {form} writes floats"
        raise InputError(msg)
    if int8 != (data is not None):
        msg = "--int8 and --data go together: eight bits are chosen by the pictures of a dataset"
        raise InputError(msg)
    network, card = opened(source, gan_share)
    for extra in {"onnx": ("onnx", "onnxruntime"), "openvino": ("openvino",)}.get(form, ()):
        needed(extra, form)
    if form == "torchscript":
        return _torchscript(network, card, files)
    graph = wrap(network, card)
    if form == "onnx":
        return _onnx(graph, card, files)
    return _int8(graph, card, files, data) if data else _openvino(graph, card, files)


def _onnx(graph: nn.Module, card: Card, files: tuple[Path, ...]) -> Exported:
    written = forms.to_onnx(graph)
    levels = _compared(graph, forms.run_onnx(written), files[0])
    card = replace(card, versions={**card.versions, **_versions("onnx", "onnxruntime")})
    _store(files, (written, to_json(card)))
    return Exported(files, card, levels)


def _openvino(graph: nn.Module, card: Card, files: tuple[Path, ...]) -> Exported:
    written = forms.openvino_files(converted(graph))
    levels = _compared(graph, forms.run_openvino(*written), files[0])
    card = replace(card, versions={**card.versions, **_versions("openvino")})
    _store(files, (*written, to_json(card)))
    return Exported(files, card, levels)


def _int8(graph: nn.Module, card: Card, files: tuple[Path, ...], data: str | Path) -> Exported:
    pictures = calibration_pictures(data, card, "train")
    if not pictures:
        msg = f"--data {data}: no picture in its split train to calibrate on; give another"
        raise InputError(msg)
    model = converted(graph)
    as_float = runner(graph)
    _compared(graph, forms.run_openvino(*forms.openvino_files(model)), files[0])
    written = forms.openvino_files(quantised(model, pictures))
    as_int8 = forms.run_openvino(*written)
    judged = [
        (as_float(picture), as_int8(picture))
        for picture in calibration_pictures(data, card, "val") or pictures
    ]
    closeness_db = float(np.mean([min(psnr_db(*pair), 99.0) for pair in judged]))
    words = f"int8, calibrated on {len(pictures)} pictures; {closeness_db:.1f} dB from float"
    card = replace(
        card,
        note=f"{card.note}; {words}" if card.note else words,
        figures=(),  # measured in float
        versions={**card.versions, **_versions("openvino", "nncf")},
    )
    _store(files, (*written, to_json(card)))
    return Exported(files, card, max(levels_apart(*pair) for pair in judged), closeness_db)


def _torchscript(network: nn.Module, card: Card, files: tuple[Path, ...]) -> Exported:
    with _whole(files):
        save(network, card, files[0])
        model = load(files[0])
        levels = _compared(wrap(network, card), model, files[0])
    return Exported(files, model.card, levels)


def _compared(graph: nn.Module, run: Run, out: Path) -> int:
    """Compare a form with the network it was made from.

    Raises
    ------
    InputError
        They differ by more than rounding.
    """
    picture = sample_picture()
    levels = levels_apart(runner(graph)(picture), run(picture))
    if levels > MOST_LEVELS:
        msg = (
            f"{out}: not written: it would give another picture than the network, by {levels} of"
            " 255 levels; install the newest runtime, or another form"
        )
        raise InputError(msg)
    return levels


def _files(form: Form, out: Path) -> tuple[Path, ...]:
    if out.suffix != SUFFIXES[form]:
        msg = f"--out {out}: must end in {SUFFIXES[form]} for {form}"
        raise InputError(msg)
    if not out.absolute().parent.is_dir():
        msg = f"--out {out}: there is no folder {out.parent}; make it first"
        raise InputError(msg)
    beside = {
        "onnx": (card_beside(out),),
        "openvino": (out.with_suffix(".bin"), card_beside(out)),
        "torchscript": (sidecar(out),),
    }[form]
    files = (out, *beside)
    for path in files:
        if path.exists():
            msg = f"--out: {path} is there already; move it, or choose another name"
            raise InputError(msg)
    return files


def _store(files: tuple[Path, ...], contents: tuple[bytes, ...]) -> None:
    """Write the file to open last: who finds it finds the others too."""
    with _whole(files):
        for path, data in reversed(list(zip(files, contents, strict=True))):
            store(path, data)


@contextmanager
def _whole(files: tuple[Path, ...]) -> Iterator[None]:
    """Leave all files or none; before, there was none of them."""
    try:
        yield
    except BaseException as error:
        remove(files)
        if isinstance(error, OSError):
            msg = f"{files[0]}: cannot be written ({reason(error)}); nothing was left there"
            raise InputError(msg) from error
        raise


def _versions(*packages: str) -> Mapping[str, Any]:
    return {package: importlib.metadata.version(package) for package in packages}
