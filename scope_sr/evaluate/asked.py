"""What was asked for, and which questions make no sense together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scope_sr.dataset import Split
from scope_sr.errors import InputError
from scope_sr.modelfile import Card

NEAR = 0.05  # pixel sizes that differ by more are of another magnification


@dataclass(frozen=True)
class Asked:
    """The question: a model, images in one of four forms, and what else to measure.

    Attributes
    ----------
    model, nuclei
        Name or file; `nuclei` finds nuclei in low, super-resolved and true images.
    data, split
        A dataset, and which part of it; "test" if None.
    lr, hr
        Folders of pairs of the same names, or of true images alone.
    images, labels
        Folders of images and of masks of the same names; `labels` may go with `hr`, too.
    degrade, rig
        How low images are made: "bicubic", or through the optics of a rig.
    lpips
        Files of weights: the network, the heads.
    any_pixel_size
        Judge a model on another pixel size than it was made for.
    """

    model: str
    out: Path
    data: Path | None = None
    split: Split | None = None
    lr: Path | None = None
    hr: Path | None = None
    images: Path | None = None
    labels: Path | None = None
    scale: int | None = None
    degrade: Literal["bicubic", "optics"] | None = None
    rig: str | None = None
    nuclei: str | None = None
    lpips: tuple[Path, Path] | None = None
    any_pixel_size: bool = False

    @property
    def lowers(self) -> bool:
        """Whether it says how low images are to be made."""
        return bool(self.degrade or self.rig)


def refuse_unclear(asked: Asked) -> None:
    """Refuse what makes no sense, whatever the model is.

    Raises
    ------
    InputError
        In one line, with the way out.
    """
    given = [
        name
        for name, value in (("--data", asked.data), ("--hr", asked.hr), ("--images", asked.images))
        if value
    ]
    faults = (
        (not given and asked.lr, "--lr: low images alone have no truth beside them; give --hr too"),
        (not given, "nothing to judge on: give --data, --lr and --hr, --hr, or --images"),
        (len(given) > 1, f"{' and '.join(given)}: judge on one of them at a time"),
        (asked.lr and not asked.hr, f"--lr does not go with {given[0] if given else ''}"),
        (asked.images and not asked.labels, "--images: give the masks too, with --labels DIR"),
        (asked.labels and asked.data, "--labels: a dataset has its own masks; leave it out"),
        (asked.split and not asked.data, "--split: only a dataset has splits; leave it out"),
        (
            asked.lowers and asked.lr,
            "--degrade, --rig: with --lr the low images are there; leave one out",
        ),
        (
            asked.degrade == "bicubic" and asked.rig,
            "--degrade bicubic and --rig: low images are made by one of them; leave one out",
        ),
        (
            asked.nuclei and asked.hr and not asked.labels,
            "--nuclei: nobody marked nuclei in --hr; give the masks with --labels DIR",
        ),
    )
    for wrong, text in faults:
        if wrong:
            raise InputError(text)


def refuse_for(asked: Asked, card: Card) -> None:
    """Refuse what makes no sense for a model of this kind.

    Raises
    ------
    InputError
        In one line, with the way out.
    """
    name = f"{asked.model} ({_KINDS[card.kind]})"
    if card.kind == "sr":
        if asked.images:
            msg = f"--images: {name} is judged on true images; give them with --hr"
            raise InputError(msg)
        if asked.scale not in (None, card.scale):
            msg = f"--scale {asked.scale}: {name} enlarges {card.scale} times; leave --scale out"
            raise InputError(msg)
        return
    others = {
        "--hr": asked.hr,
        "--scale": asked.scale,
        "--degrade": asked.degrade,
        "--rig": asked.rig,
        "--nuclei": asked.nuclei,
        "--lpips": asked.lpips,
    }
    wrong = [option for option, value in others.items() if value]
    if wrong:
        msg = f"{wrong[0]} is for super-resolution; {name} is judged by --data or --images"
        raise InputError(msg)


def refuse_pixel_size(asked: Asked, card: Card, model: str, um_per_px: float | None) -> None:
    """Refuse images whose pixels are not those a model was made for.

    Raises
    ------
    InputError
        The sizes differ by more than 5 %.
    """
    made_for = card.um_per_px_in
    if asked.any_pixel_size or not (made_for and um_per_px):
        return
    if abs(um_per_px / made_for - 1) > NEAR:
        of_rig = " (as with the rig; --rig names another)" if asked.hr else ""
        msg = (
            f"{model} was made for {made_for:.4g} µm per pixel, it would be given"
            f" {um_per_px:.4g}{of_rig}; take images or a model of that size, or say"
            " --any-pixel-size"
        )
        raise InputError(msg)


_KINDS = {"sr": "super-resolution", "nuclei": "a nuclei model"}
