"""What ``torchrun`` runs for test_train.py: both trainings, stopped by the second process.

    torchrun --nproc_per_node 2 two_processes.py PAIRS MASKS OUT STOP

STOP is the number of the wish that is heard, counted from 0, or "never"; a run that is there is
gone on with. Each process leaves the last state it would have saved as OUT/KIND/rank-N.pt.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from training import srgan_recipe, stop_before, unet_recipe

from scope_sr.train import train_srgan, train_unet
from scope_sr.train.runs import LAST, Run

RANK = int(os.environ.get("RANK", "0"))


def recipe_of(kind: str) -> Any:
    """All processes are asked every twenty steps; 40 is ten steps into the second stage."""
    checks = {"every_steps": 15}
    if kind == "unet":
        return unet_recipe(steps=30, checks=checks)
    return srgan_recipe(pixel={"steps": 30}, gan={"steps": 20}, checks=checks)


def main(pairs: str, masks: str, out: str, stop: str) -> None:
    """Train."""
    save = Run.save

    def save_of_each(run: Run, name: str, state: dict[str, Any]) -> None:
        save(run, name, state)
        if name == LAST:
            torch.save(dict(state), run.folder / f"rank-{RANK}.pt")

    Run.save = save_of_each  # type: ignore[method-assign, assignment]
    for kind, data, carry_out in (("srgan", pairs, train_srgan), ("unet", masks, train_unet)):
        folder = Path(out) / kind
        resume = folder.exists()
        torch.distributed.is_initialized() and torch.distributed.barrier()
        heard = stop_before(10**6 if stop == "never" or RANK == 0 else int(stop))
        finished = carry_out(Path(data), recipe_of(kind), folder, resume=resume, stop=heard)
        assert finished.stopped == (stop != "never"), finished


if __name__ == "__main__":
    main(*sys.argv[1:])
