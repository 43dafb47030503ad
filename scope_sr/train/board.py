"""The figures of a training for TensorBoard, an extra."""

from __future__ import annotations

from pathlib import Path

from scope_sr.errors import InputError
from scope_sr.train.loop import Progress, Tell, quiet


def board(folder: Path) -> Tell:
    """Give what writes each figure it hears of into `folder`.

    Raises
    ------
    InputError
        TensorBoard is not installed.
    """
    try:
        with quiet():
            from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        msg = "--tensorboard: not installed; pip install 'scope-sr[tensorboard]'"
        raise InputError(msg) from error
    writers: list[SummaryWriter] = []  # made late: a run is begun in an empty folder

    def tell(news: Progress) -> None:
        if not writers:
            writers.append(SummaryWriter(str(folder)))
        for name, value in news.figures.items():
            writers[0].add_scalar(f"{news.stage}/{name}", value, news.step)
        writers[0].flush()

    return tell
