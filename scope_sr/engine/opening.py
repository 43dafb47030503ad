"""What the engine opens: a model file, or its OpenVINO form as ``scope-sr export`` wrote it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scope_sr.config import reason
from scope_sr.engine.openvino_form import compiled, opened
from scope_sr.errors import InputError
from scope_sr.modelfile import Card, read, read_card
from scope_sr.modelfile.card import from_json

Pictures = NDArray[np.uint8]
Run = Callable[[Pictures], Pictures]

SUFFIX = ".xml"
ODD = (5, 7)  # rows and columns of a picture no multiple fits
AGAIN = "export the model anew"


class Form(NamedTuple):
    """An OpenVINO form: the bytes of its two files, its card, and the SHA-256 of xml and bin."""

    path: Path
    xml: bytes
    weights: bytes
    card: Card
    sha256: str


def card_of(model: str | Path) -> Card:
    """Read the card of a model, by name, model file or OpenVINO form.

    Raises
    ------
    InputError
        There is no such model, or it is damaged, as far as that is seen without running it.

    Examples
    --------
    >>> card_of("compact-x2").scale
    2
    """
    return read_form(model).card if is_form(model) else read_card(model)


def sha256_of(model: str | Path) -> str:
    """Give the SHA-256 of a model file, or of ``.xml`` and ``.bin``, one after the other.

    Raises
    ------
    InputError
        As `card_of`.
    """
    return read_form(model).sha256 if is_form(model) else read(model).sha256


def is_form(model: str | Path) -> bool:
    """Say whether a model is named by its OpenVINO form.

    >>> is_form("x2.xml"), is_form("x2.ts"), is_form("compact-x2")
    (True, False, False)
    """
    return Path(model).suffix == SUFFIX


def card_beside(form: Path) -> Path:
    """Name the file that holds the card of ONNX or OpenVINO; both may lie in one folder.

    >>> card_beside(Path("x2.onnx")).name
    'x2.onnx.json'
    """
    return form.with_name(form.name + ".json")


def read_form(model: str | Path) -> Form:
    """Read the three files of an OpenVINO form.

    Raises
    ------
    InputError
        One is missing or cannot be read, or the card is damaged or cannot be true.
    """
    path = Path(model)
    xml, weights, written = (
        _bytes(file, path) for file in (path, path.with_suffix(".bin"), card_beside(path))
    )
    try:
        card = from_json(written)
    except ValueError as error:
        msg = f"{card_beside(path)}: {error}"
        raise InputError(msg) from error
    if not (card.halo_px and card.multiple_px):
        msg = f"{card_beside(path)}: lacks halo_px or multiple_px; {AGAIN}"
        raise InputError(msg)
    return Form(path, xml, weights, card, hashlib.sha256(xml + weights).hexdigest())


def ready(form: Form) -> Run:
    """Make an OpenVINO form ready, and hold what its card says against what it does.

    Raises
    ------
    InputError
        OpenVINO is not installed or cannot read it, or its card tells of another model.
    """
    try:
        run = compiled(opened(form.xml, form.weights))
        words = _contradiction(run, form.card)
    except RuntimeError as error:
        msg = f"{form.path}: damaged, or of another OpenVINO ({_last_line(error)}); {AGAIN}"
        raise InputError(msg) from error
    if words:
        msg = f"{form.path}: its card contradicts it: {words}; {AGAIN}"
        raise InputError(msg)
    return run


def _contradiction(run: Run, card: Card) -> str:
    found = run(np.zeros((2, *ODD, 3), np.uint8))
    wanted = (2, card.scale * ODD[0], card.scale * ODD[1], 3)
    if found.dtype != np.uint8 or found.shape != wanted:
        return (
            f"scale = {card.scale}, but {ODD[0]} x {ODD[1]} pixels became {found.dtype}"
            f" {' x '.join(str(side) for side in found.shape[1:])}"
        )
    if _reaches_farther(run, card):
        return f"halo_px = {card.halo_px}, but its pixels reach farther"
    return ""


def _reaches_farther(run: Run, card: Card) -> bool:
    """Look whether a change is seen farther away than the card says; it takes no NaN to do so."""
    side = card.halo_px + 4 * card.multiple_px
    picture = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    changed = picture.copy()
    changed[:, : card.multiple_px] ^= 255
    changed[:, :, : card.multiple_px] ^= 255
    first = card.scale * (card.multiple_px + card.halo_px)
    one, other = (run(seen)[:, first:, first:].astype(np.int16) for seen in (picture, changed))
    return bool((np.abs(one - other) > 1).any())


def _bytes(file: Path, form: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        if file == form:
            msg = f"{file}: no such model file"
        else:
            msg = f"{form}: {file.name} is not beside it; bring it back, or {AGAIN}"
        raise InputError(msg) from error
    except OSError as error:
        msg = f"{file}: cannot be read ({reason(error)}); bring it back, or {AGAIN}"
        raise InputError(msg) from error


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()
