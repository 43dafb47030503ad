"""Which models suit what the camera sees, and what to beware of when others are taken."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

from scope_sr.live.seen import Rgb, Wishes
from scope_sr.modelfile import Card, find, read_card, shipped

AUTO = "auto"
FITS = 0.10  # of the pixel size: so far a model is chosen without being asked for
NEAR = 0.05  # as `scope-sr enhance` has it: beyond, a person is warned
NO_TISSUE = "no tissue seen"  # is no fault of the stain


@dataclass(frozen=True)
class Choice:
    """Names or files of the models to take; empty: none.

    Attributes
    ----------
    reason
        Why there is no generator, where nobody said that there be none.
    """

    generator: str = ""
    nuclei: str = ""
    reason: str = ""


def generator_of(wishes: Wishes, um_per_px: float | None) -> Choice:
    """Choose the generator.

    Parameters
    ----------
    um_per_px
        Of the specimen, in the camera's picture; None where nobody knows.

    Examples
    --------
    >>> generator_of(Wishes(), 0.49).generator, generator_of(Wishes(), 1.0).generator
    ('compact-x2', 'compact-x4')
    >>> generator_of(Wishes(), 0.25).reason
    'no model enhances pixels of 0.25 µm (there are 0.501, 1): shown as they are'
    >>> generator_of(Wishes(model="mine.ts"), None).generator
    'mine.ts'
    """
    if wishes.model != AUTO:
        return Choice(wishes.model)
    if um_per_px is None:
        return Choice(reason="nobody knows the pixel size: choose a model, and beware")
    name = _fitting("sr", um_per_px)
    if name:
        return Choice(name)
    sizes = ", ".join(f"{size:.3g}" for size in _sizes("sr"))
    return Choice(
        reason=f"no model enhances pixels of {um_per_px:.3g} µm (there are {sizes}):"
        " shown as they are"
    )


def nuclei_of(wishes: Wishes, um_per_px: float | None, scale: int) -> str:
    """Choose the model that looks for nuclei in pictures `scale` times as large.

    >>> nuclei_of(Wishes(), 0.5, 2), nuclei_of(Wishes(), 0.5, 1), nuclei_of(Wishes(), 0.25, 1)
    ('nuclei', '', 'nuclei')
    >>> nuclei_of(Wishes(nuclei=""), 0.5, 2)
    ''
    """
    if wishes.nuclei != AUTO:
        return wishes.nuclei
    return _fitting("nuclei", um_per_px / scale) if um_per_px else ""


def outside(card: Card, um_per_px: float | None) -> str:
    """Say what makes pictures unlike those a model was made for; empty where nothing does.

    Parameters
    ----------
    um_per_px
        Of the picture the model is given.

    Examples
    --------
    >>> from scope_sr.modelfile import read_card
    >>> card = read_card(find("compact-x2")[0])
    >>> outside(card, 0.51), outside(card, None)
    ('', 'nobody knows the pixel size; compact-x2 was made for 0.501 µm')
    >>> outside(card, 0.33)
    'pixels of 0.33 µm; compact-x2 was made for 0.501 µm'
    """
    wanted_um = card.um_per_px_in
    if wanted_um is None:
        return f"{card.name} does not say for which pixel size it was made"
    if um_per_px is None:
        return f"nobody knows the pixel size; {card.name} was made for {wanted_um:.3g} µm"
    if abs(um_per_px / wanted_um - 1) > NEAR:
        return f"pixels of {um_per_px:.3g} µm; {card.name} was made for {wanted_um:.3g} µm"
    return ""


def odd_stain(rgb: Rgb) -> str:
    """Say what makes a field unlike H&E, which all shipped models learnt from; empty if nothing.

    A field without tissue says nothing of its stain.

    >>> import numpy as np
    >>> odd_stain(np.full((64, 64, 3), 240, np.uint8))
    ''
    """
    from scope_sr.imaging.staining import unlike_he  # OpenCV and SciPy: not at the window's start

    odd = unlike_he(rgb)
    if odd is None or odd == NO_TISSUE:
        return ""
    return f"does not look like H&E ({odd}): no model of the package has learnt such pictures"


def spare_cores() -> int:
    """Count the cores that the model may use: one is left to the camera and the screen.

    ``OMP_NUM_THREADS`` says what libraries were asked to do, not what there is.
    """
    return max(1, cores() - 1)


def cores() -> int:
    """Count the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # Linux: a container may have fewer than the computer
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _fitting(kind: str, um_per_px: float) -> str:
    """Name the shipped model whose pixel size is nearest, if it is within `FITS`."""
    apart = {
        name: abs(um_per_px / card.um_per_px_in - 1)
        for name, card in _cards().items()
        if card.kind == kind and card.um_per_px_in
    }
    nearest = min(apart, key=apart.__getitem__, default="")
    return nearest if nearest and apart[nearest] <= FITS else ""


def _sizes(kind: str) -> list[float]:
    return sorted(
        card.um_per_px_in
        for card in _cards().values()
        if card.kind == kind and card.um_per_px_in is not None
    )


@lru_cache(maxsize=1)
def _cards() -> dict[str, Card]:
    return {name: read_card(find(name)[0]) for name in shipped()}
