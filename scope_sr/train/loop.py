"""What both loops share: processes, streams, learning rates, the average of weights, the watch."""

from __future__ import annotations

import logging
import math
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from scope_sr.errors import InputError, TrainingError
from scope_sr.modelfile import state as weights_of

LOG_STEPS = 20
WARM_UP_STEPS = 100
LAST_RATE = 0.01  # of the learning rate, at the end
LARGEST_GRADIENT = 1.0  # norm; rare patches of ink and folds would else throw the weights about
COLLAPSE_STEPS = 300
CERTAIN, CLUELESS = 0.02, 0.0005  # losses of a discriminator that has nothing more to teach


@dataclass(frozen=True)
class Progress:
    """How far a training is."""

    stage: str
    step: int
    steps: int
    figures: dict[str, float]


Tell = Callable[[Progress], None]
Stop = Callable[[], bool]


@dataclass(frozen=True)
class Finished:
    """What a training left behind.

    Attributes
    ----------
    models
        Model files, the fidelity weights first; empty where it was stopped.
    figures
        Of the last model, with those of the baseline beside.
    why
        Why it ended: "all steps done", "nothing gained for ...", "stopped".
    """

    folder: Path
    models: tuple[Path, ...]
    figures: dict[str, Any]
    why: str

    @property
    def stopped(self) -> bool:
        """Whether there is more to do with --resume."""
        return self.why == "stopped"


class WholePictures(MixedPrecision):
    """Mixed precision that does not round what comes in: bf16 cannot hold 256 grey levels."""

    def convert_input(self, data: Any) -> Any:
        """Leave pictures as they are; layers round what they compute with."""
        return data


def launch(precision: str) -> Fabric:
    """Join the processes ``torchrun`` has begun, else be the only one; a GPU is taken if there is.

    Raises
    ------
    InputError
        The device cannot compute in that precision.
    """
    world, local = (int(os.environ.get(key, "1")) for key in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if precision == "auto":
        # older GPUs only pretend to know bf16, and are slow at it
        able = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bf16-mixed" if able else "32-true"
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    with quiet():
        try:
            fabric = Fabric(
                accelerator="auto",
                devices=local,
                num_nodes=world // local,
                strategy="ddp" if world > 1 else "auto",
                **_computing_in(precision),
            )
            fabric.launch()
        except (RuntimeError, ValueError) as error:
            said = str(error).splitlines()[0]
            msg = f"precision = {precision}, {local} processes on this computer: {said}"
            raise InputError(msg) from error
    return fabric


def _computing_in(precision: str) -> dict[str, Any]:
    if precision != "bf16-mixed":
        return {"precision": precision}
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = accelerator.type if accelerator else "cpu"
    return {"plugins": WholePictures("bf16-mixed", device)}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' advice to programmers from users."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def begin_with(network: nn.Module, model: str) -> None:
    """Take over the weights of a model as far as they fit: all, or all but the last layers.

    Raises
    ------
    InputError
        There is no such model, or less than half of it fits.
    """
    ours = network.state_dict()
    fitting = {
        key: value
        for key, value in weights_of(model).items()
        if key in ours and ours[key].shape == value.shape
    }
    if 2 * len(fitting) < len(ours):  # of another width, only the interpolation would fit
        msg = (
            f"--start {model}: {len(fitting)} of the {len(ours)} weights fit; name a model of the"
            " recipe's architecture and channels"
        )
        raise InputError(msg)
    network.load_state_dict(fitting, strict=False)


def batches(
    fabric: Fabric, patches: Any, first: int, last: int, workers: int
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Give the batches of steps `first` to `last` - 1, on the device."""
    steps = range(first, last)
    loader = torch.utils.data.DataLoader(
        patches,
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        worker_init_fn=_leave_stopping_to_others,
        pin_memory=fabric.device.type == "cuda",
    )
    for step, batch in zip(steps, loader, strict=True):
        yield (
            step,
            {key: value.to(fabric.device, non_blocking=True) for key, value in batch.items()},
        )


def _leave_stopping_to_others(worker: int) -> None:
    """Let Ctrl-C, which every process of a terminal hears, reach the training alone."""
    del worker
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def channels_last(network: nn.Module) -> nn.Module:
    """Lay weights out as convolutions read them."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def averaged(network: nn.Module, decay: float, *, buffers: bool = False) -> AveragedModel:
    """Begin a moving average of weights, steadier than those of one step; `buffers` too.

    In the first steps it follows faster than by `decay`: else a short training would be judged by
    weights from before it.
    """

    def follow(averages: Any, weights: Any, number: Tensor | int) -> None:
        steps = int(number)
        now = min(decay, (1 + steps) / (10 + steps))
        get_ema_multi_avg_fn(now)(averages, weights, number)  # type: ignore[no-untyped-call]

    return AveragedModel(network, multi_avg_fn=follow, use_buffers=buffers)


def set_rate(optimizer: torch.optim.Optimizer, base: float, step: int, steps: int) -> None:
    """Warm up, then follow half a cosine; a function of the step alone, so that resuming is exact.

    >>> optimizer = torch.optim.SGD([torch.zeros(1)], 1.0)
    >>> for step in (0, 50, 100, 1000):
    ...     set_rate(optimizer, 1.0, step, 1000)
    ...     print(round(optimizer.param_groups[0]["lr"], 3))
    0.01
    0.507
    0.976
    0.01
    """
    warm = min(1.0, (step + 1) / WARM_UP_STEPS)
    fall = LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * step / steps)) / 2
    for group in optimizer.param_groups:
        group["lr"] = base * warm * fall


def descend(
    fabric: Fabric, network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor
) -> Tensor:
    """Take one step down a loss; give the norm of its gradient."""
    optimizer.zero_grad(set_to_none=True)
    fabric.backward(loss)
    norm = fabric.clip_gradients(
        network, optimizer, max_norm=LARGEST_GRADIENT, error_if_nonfinite=False
    )
    optimizer.step()
    return torch.as_tensor(norm)


def agreed(fabric: Fabric, wanted: bool) -> bool:
    """Whether any process was asked to stop: all must stop at the same step."""
    if fabric.world_size == 1:
        return wanted
    votes = fabric.all_reduce(torch.tensor(float(wanted), device=fabric.device), reduce_op="sum")
    return bool(torch.as_tensor(votes) > 0)


def refuse_nonsense(stage: str, step: int, figures: dict[str, float], key: str) -> None:
    """Stop before weights that are no numbers are saved.

    Raises
    ------
    TrainingError
        A loss or a gradient is not finite.
    """
    bad = [name for name, value in figures.items() if not math.isfinite(value)]
    if bad:
        msg = (
            f"step {step} of stage {stage}: {bad[0]} is no number any more. Weights saved before,"
            f" if any, are whole; begin a new run with a lower {key}, or check the dataset"
        )
        raise TrainingError(msg)


def refuse_wild(stage: str, step: int, key: str, *networks: nn.Module) -> None:
    """Stop before such weights are saved: a loss is not looked at at every step.

    Raises
    ------
    TrainingError
        A weight is not finite.
    """
    for network in networks:
        for weight in network.parameters():
            if not torch.isfinite(weight).all():
                refuse_nonsense(stage, step, {"a weight": math.nan}, key)


@dataclass
class DiscriminatorWatch:
    """Notice a discriminator that teaches nothing: sure of everything, or of nothing."""

    sure: int = 0
    clueless: int = 0

    def state_dict(self) -> dict[str, int]:
        """Give what it has seen, for a checkpoint."""
        return asdict(self)

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from what it had seen."""
        self.sure, self.clueless = int(state["sure"]), int(state["clueless"])

    def see(self, step: int, loss: float) -> None:
        """Look at the loss of one step.

        Raises
        ------
        TrainingError
            It has been at an end of its scale for long.
        """
        self.sure = self.sure + 1 if loss < CERTAIN else 0
        self.clueless = self.clueless + 1 if abs(loss - math.log(2)) < CLUELESS else 0
        state: Literal["sure of every patch", "clueless"] | None = None
        if self.sure >= COLLAPSE_STEPS:
            state = "sure of every patch"
        elif self.clueless >= COLLAPSE_STEPS:
            state = "clueless"
        if state:
            msg = (
                f"step {step} of stage gan: the discriminator has been {state} for"
                f" {COLLAPSE_STEPS} steps (loss {loss:.4f}) and teaches nothing. The fidelity"
                " weights are whole; begin a new run with another gan.learning_rate, or more"
                " pixel.steps before"
            )
            raise TrainingError(msg)
