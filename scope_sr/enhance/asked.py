"""What was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """Inputs, models, and how to go about it.

    Attributes
    ----------
    inputs
        Pictures, slides, sessions, or folders of pictures.
    model, nuclei
        Name or file of a generator, and of a U-Net that finds nuclei in what it makes.
    out
        Folder of the run.
    um_per_px
        Of the pictures, where they do not say.
    any_pixel_size
        Take pictures of another pixel size than a model was made for.
    fidelity
        Map where the enhanced picture, made small again, is another than the low one.
    runtime
        ``auto``, or one of :data:`scope_sr.engine.NAMES`.
    resume
        Go on with the run in `out`.
    """

    inputs: tuple[Path, ...]
    model: str
    out: Path
    nuclei: str | None = None
    um_per_px: float | None = None
    any_pixel_size: bool = False
    fidelity: bool = False
    runtime: str = "auto"
    resume: bool = False
