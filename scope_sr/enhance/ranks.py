"""The processes that ``torchrun`` has begun, on one computer or on many; alone without it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from scope_sr.errors import InputError, ScopeSRError

T = TypeVar("T")
PATIENCE = timedelta(days=30)  # a rank may have finished its slides long before the others


@dataclass(frozen=True)
class Ranks:
    """Which process this is, of how many."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether it is the one that speaks and writes for all."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Give this process its part of a list.

        >>> Ranks(1, 3).share("abcdefg")
        'be'
        """
        return items[self.rank :: self.world]

    def wait(self) -> None:
        """Wait until all have come here."""
        if self.world > 1:
            dist.barrier()

    def once(self, work: Callable[[], T]) -> T:
        """Let the first do something, and give all of them its result, or its refusal.

        Raises
        ------
        ScopeSRError
            What `work` raised.
        """
        if self.world == 1:
            return work()
        told: list[Any] = [None, None]
        if self.first:
            try:
                told = [work(), None]
            except ScopeSRError as error:
                told = [None, error]
        dist.broadcast_object_list(told)
        if told[1] is not None:
            raise told[1]
        return told[0]  # type: ignore[no-any-return]


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes of ``torchrun``; each on a computer takes its own GPU.

    Raises
    ------
    InputError
        The environment names others, but they cannot be reached.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    try:
        dist.init_process_group("gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        said = str(error).strip().splitlines()[0]
        msg = f"WORLD_SIZE={world}: the other processes are not there ({said}); start by torchrun"
        raise InputError(msg) from error
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
