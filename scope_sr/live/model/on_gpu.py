"""The whole field on a GPU: up once, through both networks, down once.

Not run on a GPU yet: none was at hand. On a processor the same steps are tested, with memory that
is not pinned and without a stream.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scope_sr.live.seen import Bgra, Rgb
from scope_sr.modelfile import Model

Planes = NDArray[np.uint8]


class OnGpu:
    """A generator, and the nuclei network behind it, on one device.

    Pictures go up and down through pinned memory that is allocated once for each shape: pinning
    takes longer than copying. Work lies on a stream of its own and is waited for before anything
    is handed on, for what a GPU has not finished writing is half a picture.

    Examples
    --------
    ``OnGpu(generator.runtime.model, nuclei.runtime.model).picture(rgb)``
    """

    def __init__(self, generator: Model, nuclei: Model | None) -> None:
        self._generator = generator
        self._nuclei = nuclei
        self._device = generator.device
        self._cuda = self._device.type == "cuda"
        self._stream = _stream(self._device) if self._cuda else None
        self._staged: dict[str, torch.Tensor] = {}
        self._enhanced: torch.Tensor | None = None

    def picture(self, rgb: Rgb) -> Bgra:
        """Enhance a field ``(H, W, 3)``; the result ``(scale * H, scale * W, 4)`` is the caller's.

        Raises
        ------
        RuntimeError
            Of torch, also where memory ended.
        """
        with torch.inference_mode(), self._own_stream():
            there = self._up(rgb)
            self._enhanced = self._generator.graph(there[None])[0]
            packed = torch.full(
                (*self._enhanced.shape[:2], 4), 255, dtype=torch.uint8, device=self._device
            )
            packed[..., :3] = self._enhanced.flip(-1)
            return self._down("picture", packed)

    def planes(self) -> Planes:
        """Look for nuclei in the last picture, which has stayed there.

        Raises
        ------
        RuntimeError
            Of torch, also where memory ended.
        """
        if self._nuclei is None or self._enhanced is None:
            msg = "there is no nuclei model, or no picture yet"
            raise ValueError(msg)
        with torch.inference_mode(), self._own_stream():
            return self._down("planes", self._nuclei.graph(self._enhanced[None])[0])

    def _own_stream(self) -> contextlib.AbstractContextManager[Any]:
        return torch.cuda.stream(self._stream) if self._stream else contextlib.nullcontext()

    def _up(self, rgb: Rgb) -> torch.Tensor:
        staged = self._buffer("up", torch.Size(rgb.shape))
        np.copyto(staged.numpy(), rgb)
        return staged.to(self._device, non_blocking=True)

    def _down(self, name: str, there: torch.Tensor) -> NDArray[np.uint8]:
        staged = self._buffer(name, there.shape)
        staged.copy_(there, non_blocking=True)
        if self._stream:
            _wait_for(self._stream)
        found: NDArray[np.uint8] = staged.numpy().copy()
        return found

    def _buffer(self, name: str, shape: torch.Size) -> torch.Tensor:
        staged = self._staged.get(name)
        if staged is None or staged.shape != shape:
            staged = torch.empty(shape, dtype=torch.uint8, pin_memory=self._cuda)
            self._staged[name] = staged
        return staged


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _wait_for(stream: torch.cuda.Stream) -> None:
    """Wait for what was put on a stream, without keeping a core busy."""
    done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    done.record(stream)
    done.synchronize()
