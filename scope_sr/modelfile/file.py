"""Model files: the one place that says ``torch.jit``."""

from __future__ import annotations

import copy
import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scope_sr.disk import remove, store
from scope_sr.errors import InputError
from scope_sr.modelfile.archive import CARD, read
from scope_sr.modelfile.card import Card, to_json
from scope_sr.modelfile.graph import wrap
from scope_sr.modelfile.halo import halo_px, tiles_are_exact
from scope_sr.modelfile.naming import sidecar
from scope_sr.software import this_version

ODD = (5, 7)  # rows and columns of a picture no multiple fits
AGAIN = "save the model anew, or fetch it again"


class Model:
    """A model, ready to run.

    Attributes
    ----------
    card, sha256
        What it says of itself, and of the file it came from.
    graph
        ``(N, H, W, 3)`` uint8 tensor in and out, on `device`, for those who keep pictures there.
    """

    def __init__(self, graph: Any, card: Card, sha256: str, device: torch.device) -> None:
        self.graph = graph
        self.card = card
        self.sha256 = sha256
        self.device = device

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Run it on one picture ``(H, W, 3)``, RGB of 8 bits.

        Raises
        ------
        InputError
            It is not such a picture.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            msg = (
                f"{self.card.name} takes RGB pictures of 8 bits, not {image.dtype} of shape"
                f" {image.shape}; convert it first"
            )
            raise InputError(msg)
        with torch.inference_mode():
            picture = torch.from_numpy(np.require(image, requirements=["C", "W"]))
            out: Tensor = self.graph(picture.to(self.device)[None])
            found: NDArray[np.uint8] = out[0].cpu().numpy()
            return found


def save(network: nn.Module, card: Card, path: str | Path) -> str:
    """Write a trained network and its card as one model file, and its SHA-256 beside it.

    The graph around the network takes and gives 8-bit pictures of any size. It is not frozen, so
    that :func:`state` gives the weights back. `halo_px` (measured), `multiple_px`, `parameters` and
    `versions` of the card are filled in.

    Returns
    -------
    str
        SHA-256 of the file.

    Raises
    ------
    InputError
        The card contradicts the network.
    OSError
        The system refused; an old file of that name still stands.

    Examples
    --------
    ``save(network, card, "runs/a/fidelity.ts")``
    """
    path = Path(path)
    own = copy.deepcopy(network).cpu().float().eval()
    card = _filled(own, card, path)
    buffer = io.BytesIO()
    with _quiet():
        graph = torch.jit.script(wrap(own, card))
        _refuse_contradictions(graph, card, path)
        torch.jit.save(graph, buffer, _extra_files={CARD: to_json(card)})
    data = buffer.getvalue()
    found = hashlib.sha256(data).hexdigest()
    remove([sidecar(path)])  # the old sum first: a stop in between must not leave a wrong one
    store(path, data)
    store(sidecar(path), f"{found}  {path.name}\n".encode())
    return found


def load(model: str | Path, device: str | torch.device = "cpu", *, half: bool = False) -> Model:
    """Load a model file and check that its card tells the truth about it.

    Loading runs no Python: what torch.save would pickle is refused, and TorchScript has an
    unpickler of its own that knows tensors only. But running a model runs the graph in its file,
    which can take all memory and time, or give any picture it likes: take models from people you
    trust, and compare their SHA-256 (a file ``NAME.ts.sha256`` beside it is checked by itself, and
    so are the models of the package).

    Parameters
    ----------
    model
        Name of one that comes with the package, such as ``compact-x4``, or a file.
    device
        ``cpu``, ``cuda``, ``cuda:1``.
    half
        Compute in half precision: for GPUs; most CPUs are slower in it.

    Raises
    ------
    InputError
        There is no such model or device; the file is damaged, is not the recorded one, or its card
        is missing, of another schema, or contradicts the graph.
    """
    data, card, found, path = read(model)
    place = _device(device)
    graph = _opened(data, path)
    with _quiet():
        _refuse_contradictions(graph, card, path)
        graph = graph.to(place)
        graph = torch.jit.freeze((graph.half() if half else graph).eval())
    return Model(graph, card, found, place)


def state(model: str | Path) -> dict[str, Tensor]:
    """Give the weights of the network in a model file, by their names in the network.

    Raises
    ------
    InputError
        As `load`.
    """
    data, card, _, path = read(model)
    graph = _opened(data, path)
    with _quiet():
        _refuse_contradictions(graph, card, path)
        weights: dict[str, Tensor] = graph.network.state_dict()
    return weights


def _filled(network: nn.Module, card: Card, path: Path) -> Card:
    if words := card.contradiction():
        msg = f"{path}: its card contradicts itself: {words}"
        raise InputError(msg)
    multiple = 2 ** card.settings.get("depth", 0)
    return replace(
        card,
        multiple_px=multiple,
        halo_px=card.halo_px or halo_px(network, multiple),
        parameters=_parameters(network),
        versions=card.versions or {"scope_sr": this_version(), "torch": torch.__version__},
    )


def _parameters(network: Any) -> int:
    return sum(weight.numel() for weight in network.parameters())


def _opened(data: bytes, path: Path) -> Any:
    try:
        with _quiet():
            graph: Any = torch.jit.load(io.BytesIO(data), "cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        msg = f"{path}: torch {torch.__version__} cannot read its graph; {AGAIN}"
        raise InputError(msg) from error
    if not hasattr(graph, "network"):
        msg = f"{path}: its graph is not one that scope-sr writes; {AGAIN}"
        raise InputError(msg)
    return graph.eval()


def _refuse_contradictions(graph: Any, card: Card, path: Path) -> None:
    """Hold what the card says against what the graph does."""
    try:
        words = _contradiction(graph, card)
    except RuntimeError as error:  # whatever torch says when a graph cannot do what it is asked for
        words = f"it cannot be run as its card says ({str(error).strip().splitlines()[-1]})"
    if words:
        msg = f"{path}: its card contradicts its graph: {words}; {AGAIN}"
        raise InputError(msg)


@torch.no_grad()
def _contradiction(graph: Any, card: Card) -> str:
    count = _parameters(graph.network)
    if count != card.parameters:
        return f"parameters = {card.parameters}, but the graph has {count}"
    picture = (torch.arange(2 * 3 * ODD[0] * ODD[1]) * 37 % 256).to(torch.uint8)
    found = graph(picture.reshape(2, *ODD, 3))
    if found.dtype != torch.uint8:
        return f"it gives {str(found.dtype).removeprefix('torch.')}, not pictures of 8 bits"
    wanted = [2, card.scale * ODD[0], card.scale * ODD[1], 3]
    if list(found.shape) != wanted:
        return (
            f"scale = {card.scale}, but {ODD[0]} x {ODD[1]} pixels became"
            f" {' x '.join(str(side) for side in found.shape[1:])}"
        )
    if not tiles_are_exact(graph.network, card.halo_px, card.multiple_px):
        return f"halo_px = {card.halo_px}, but its pixels reach farther"
    return ""


def _device(device: str | torch.device) -> torch.device:
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError) as error:
        msg = f"device {device}: not on this computer ({str(error).splitlines()[0]}); use cpu"
        raise InputError(msg) from error
    return place


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's notes that TorchScript will not be developed further from the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
