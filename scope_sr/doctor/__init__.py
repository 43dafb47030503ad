"""The job ``doctor``: what is installed, what answers, and what would stop a capture.

It looks and never touches: nothing moves, nothing is set, and of the disk test nothing stays.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from scope_sr.doctor import computer, viewer
from scope_sr.doctor.report import Finding, Report

if TYPE_CHECKING:
    from scope_sr.microscope.inventory import Inventory

__all__ = ["Finding", "Report", "examine"]


def examine(
    rig_name: str | None,
    folder: Path,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Look at this computer and, with a rig, at its microscope.

    Parameters
    ----------
    rig_name
        A rig file or the name of a built-in rig. With None, or a rig that cannot be loaded, which
        is a finding and not an error, the Micro-Manager that runs here is looked into.
    folder
        Where sessions would go: the disk there is measured.
    progress
        Told what is being looked at, before it may take seconds.
    """
    progress("this computer")
    installed = computer.versions()
    findings = [
        *computer.program(installed),
        *computer.packages(installed),
        *computer.graphics(installed),
        computer.display(),
        *viewer.viewer(installed),
    ]
    try:
        inventory, of_the_stand = _examine_stand(rig_name, folder, progress)
    except ImportError as error:  # a broken package must not silence what was found
        inventory, of_the_stand = None, [_unloadable(error)]
    return Report(rig_name, str(folder), (*findings, *of_the_stand), installed, inventory)


def _examine_stand(
    rig_name: str | None, folder: Path, progress: Callable[[str], None]
) -> tuple[Inventory | None, list[Finding]]:
    from scope_sr.doctor import stand

    rig, of_the_rig = stand.read_rig(rig_name) if rig_name else (None, [])
    progress("the disk")
    field = stand.field_size(rig) if rig else computer.FieldSize()
    of_the_disk = list(computer.disk(folder, field))
    progress("the microscope")
    inventory, of_the_microscope = stand.look(rig) if rig else stand.look_around(rig_name)
    return inventory, [*of_the_disk, *of_the_rig, *of_the_microscope]


def _unloadable(error: ImportError) -> Finding:
    text = f"cannot be loaded: {error}"
    remedy = f"python -m pip install --force-reinstall {error.name or 'scope-sr'}"
    return Finding(computer.PACKAGES, "scope-sr", "problem", text, remedy)
