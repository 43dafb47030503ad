"""The job ``check``: whether what a folder holds is whole, and what is still to be done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scope_sr.check.dataset import DatasetCheck, check_dataset
from scope_sr.check.session import SessionCheck, check_session
from scope_sr.dataset.folder import DATASET
from scope_sr.errors import InputError
from scope_sr.session.layout import SESSION

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DatasetCheck", "SessionCheck", "check", "check_dataset", "check_session"]


def check(
    folder: str | Path,
    *,
    list_all: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> SessionCheck | DatasetCheck:
    """Read a session or a dataset and every byte of it; nothing is changed.

    Parameters
    ----------
    list_all
        Name every field or pair and its state in the text, not only the problems.
    progress
        Told (what is done, of how many); it may begin anew.

    Raises
    ------
    InputError
        The folder holds neither, or one of a newer schema, or one too damaged to be read.
    """
    if (Path(folder) / DATASET).exists():
        return check_dataset(folder, list_all=list_all, progress=progress)
    if (Path(folder) / SESSION).exists():
        return check_session(folder, list_fields=list_all, progress=progress)
    if (Path(folder) / "work").is_dir():
        msg = f"{folder}: a dataset that is not finished; go on with the same build and --resume"
        raise InputError(msg)
    msg = f"{folder}: no dataset and no session there (it has neither {DATASET} nor {SESSION})"
    raise InputError(msg)
