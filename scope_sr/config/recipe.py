"""A recipe: how a network is trained, written by people as TOML."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from scope_sr.config.messages import one_line
from scope_sr.config.tables import Fraction, NotNegative, Positive, Table, Whole
from scope_sr.config.toml import read_toml
from scope_sr.errors import InputError

Steps = Annotated[Whole, Field(ge=0)]
Count = Annotated[Whole, Field(ge=1)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Side = Annotated[Whole, Field(ge=16, le=1024)]
LARGEST_SCALE = 4
Precision = Literal["auto", "32-true", "bf16-mixed"]


class Checks(Table):
    """How often the network is tried on the val split, and when it has learnt enough."""

    every_steps: Count = 500
    patience: Annotated[Whole, Field(ge=1)] = 20
    fields: Count = 12


class Degradation(Table):
    """Where the low patches come from.

    ``dataset`` takes them as they were captured or computed. The others make them anew from the
    high ones at each step: ``optics`` with the PSF, the pixels and the noise of `rig`'s low
    objective and up to `defocus_um` out of focus, ``bicubic`` as most papers do.
    """

    low: Literal["dataset", "optics", "bicubic"] = "dataset"
    rig: str = "simulated"
    defocus_um: NotNegative = 0.0


class PixelStage(Table):
    """The first stage, which learns the likeliest picture: L1 after the best small shift."""

    steps: Count = 20_000
    learning_rate: Positive = 1e-3
    shift_px: Annotated[Whole, Field(ge=0, le=8)] = 2


class GanStage(Table):
    """The second stage, which learns to look real; 0 steps leave it out."""

    steps: Steps = 5000
    learning_rate: Positive = 1e-4
    discriminator_channels: Annotated[Whole, Field(ge=4, le=256)] = 64
    pixel_weight: NotNegative = 1.0
    adversarial_weight: NotNegative = 0.1
    perceptual: Annotated[str, Field(strict=True, pattern=r"^(none|vgg19:.+|nuclei:.+)$")] = "none"
    perceptual_weight: NotNegative = 1.0


class SrganRecipe(Table):
    """How a generator learns from pairs; see ``configs/srgan.toml``."""

    architecture: Literal["compact", "srresnet"] = "compact"
    blocks: Annotated[Whole, Field(ge=1, le=64)] = 16
    channels: Annotated[Whole, Field(ge=4, le=256)] = 32
    low_px: Side = 48
    batch: Count = 8
    stain_jitter: Fraction = 0.05
    ema: Fraction = 0.999
    seed: Steps = 0
    precision: Precision = "auto"
    workers: Steps = 0
    degradation: Degradation = Degradation()
    pixel: PixelStage = PixelStage()
    gan: GanStage = GanStage()
    checks: Checks = Checks()


class Mixture(Table):
    """What the U-Net sees, in shares that add up to 1.

    ``high`` are the images as they are; ``low`` the same at a lower resolution and enlarged by
    bicubic interpolation; ``sr`` enlarged by the models named.
    """

    high: Share = 1.0
    low: Share = 0.0
    sr: Share = 0.0
    scales: tuple[Literal[2, 4], ...] = (2, 4)
    models: tuple[str, ...] = ()
    degrade: Literal["optics", "bicubic"] = "optics"
    rig: str = "simulated"

    @model_validator(mode="after")
    def _adds_up(self) -> Mixture:
        total = self.high + self.low + self.sr
        if abs(total - 1) > 1e-6:
            msg = f"high, low and sr add up to {total:g}; they must add up to 1"
            raise ValueError(msg)
        if self.low and not self.scales:
            msg = "scales: name 2, 4 or both; low images are made by them"
            raise ValueError(msg)
        if bool(self.sr) != bool(self.models):
            msg = "sr and models belong together: name the models that make the sr inputs"
            raise ValueError(msg)
        return self


class UnetRecipe(Table):
    """How the nuclei U-Net learns from images with masks; see ``configs/unet.toml``."""

    base: Annotated[Whole, Field(ge=4, le=128)] = 16
    depth: Annotated[Whole, Field(ge=1, le=5)] = 4
    patch_px: Side = 256
    batch: Count = 8
    steps: Count = 4000
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 1e-2
    boundary_weight: Positive = 2.0
    distance_weight: NotNegative = 0.5
    stain_jitter: Fraction = 0.15
    ema: Fraction = 0.99
    seed: Steps = 0
    precision: Precision = "auto"
    workers: Steps = 0
    mixture: Mixture = Mixture()
    checks: Checks = Checks()

    @model_validator(mode="after")
    def _patch_fits(self) -> UnetRecipe:
        if self.patch_px % 2**self.depth:
            msg = f"patch_px = {self.patch_px}: not a multiple of {2**self.depth} (2 to the depth)"
            raise ValueError(msg)
        if self.mixture.high < 1 and self.patch_px % LARGEST_SCALE:
            msg = f"patch_px = {self.patch_px}: no multiple of {LARGEST_SCALE}, as low images ask"
            raise ValueError(msg)
        return self


Recipe = TypeVar("Recipe", SrganRecipe, UnetRecipe)


def load_recipe(path: str | Path, kind: type[Recipe]) -> Recipe:
    """Read a recipe.

    Raises
    ------
    InputError
        The file is missing, is not TOML, or holds a key or value that cannot be.
    """
    text, table = read_toml(Path(path), "recipe")
    del text
    return recipe_of(table, str(path), kind)


def recipe_of(table: dict[str, object], source: str, kind: type[Recipe]) -> Recipe:
    """Make a recipe of a table; `source` is how messages call it."""
    example = "configs/srgan.toml" if kind is SrganRecipe else "configs/unet.toml"
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        other: type[Table] = UnetRecipe if kind is SrganRecipe else SrganRecipe
        with contextlib.suppress(ValidationError):
            other.model_validate(table)
            job = "unet" if kind is SrganRecipe else "srgan"
            msg = f"{source}: a recipe for scope-sr train {job}; {example} shows one for this"
            raise InputError(msg) from error
        raise InputError(one_line(source, error, kind, example)) from error
