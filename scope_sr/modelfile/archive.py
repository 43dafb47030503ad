"""The bytes of a model file, looked at before torch sees them; no torch here."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

from scope_sr import disk
from scope_sr.errors import InputError
from scope_sr.modelfile.card import Card, from_json
from scope_sr.modelfile.naming import find

CARD = "scope_sr.json"
# What zipfile raises on damaged files
DAMAGED = (
    zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, LookupError,
    EOFError, OSError,
)  # fmt: skip
FETCH = "fetch it again from where it came from"


class Contents(NamedTuple):
    """A model file: its bytes, its card, its SHA-256, and where it lies."""

    data: bytes
    card: Card
    sha256: str
    path: Path


def read_card(model: str | Path) -> Card:
    """Read the card of a model, by name or file; quick, and nothing in the file is run.

    Raises
    ------
    InputError
        As `read`.
    """
    return read(model).card


def read(model: str | Path) -> Contents:
    """Read a model file whole, and check it as far as that goes without running it.

    Raises
    ------
    InputError
        There is no such model; it is not the file whose SHA-256 was recorded; it is damaged, no
        TorchScript, or its card is missing or cannot be true.
    """
    path, recorded = find(model)
    try:
        data = path.read_bytes()
    except OSError as error:
        msg = f"{path}: {error.strerror}; {FETCH}"
        raise InputError(msg) from error
    found = hashlib.sha256(data).hexdigest()
    if recorded and recorded != found:
        msg = (
            f"{path}: not the file that was recorded: its SHA-256 is {found[:12]}..., recorded is"
            f" {recorded[:12]}...; {FETCH}"
        )
        raise InputError(msg)
    try:
        card = from_json(_card_bytes(path, data))
    except ValueError as error:
        msg = f"{path}: {error}"
        raise InputError(msg) from error
    if not (card.halo_px and card.multiple_px and card.parameters):
        msg = f"{path}: its card lacks halo_px, multiple_px or parameters; save the model anew"
        raise InputError(msg)
    return Contents(data, card, found, path)


def _card_bytes(path: Path, data: bytes) -> bytes:
    if not data.startswith(b"PK\x03\x04"):
        msg = f"{path}: not a model file (TorchScript with a card); give one that scope-sr wrote"
        raise InputError(msg)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = {name.partition("/")[2]: name for name in archive.namelist()}
            torn = disk.torn_member(archive)
            card = archive.read(names[f"extra/{CARD}"]) if f"extra/{CARD}" in names else None
    except DAMAGED as error:
        msg = f"{path}: damaged or cut short; {FETCH}"
        raise InputError(msg) from error
    if torn is not None:
        msg = f"{path}: damaged ({torn.partition('/')[2]}); {FETCH}"
        raise InputError(msg)
    # what torch.save writes is pickled Python: such a file is never handed on
    if "constants.pkl" not in names or not any(name.startswith("code/") for name in names):
        msg = (
            f"{path}: not TorchScript but perhaps a checkpoint; give a model file, such as"
            " fidelity.ts of a training run"
        )
        raise InputError(msg)
    if card is None:
        msg = f"{path}: TorchScript without a card; give a model file that scope-sr wrote"
        raise InputError(msg)
    return card
