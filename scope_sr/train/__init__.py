"""Training: generators from pairs, the nuclei U-Net from images with masks."""

from __future__ import annotations

from scope_sr.train.loop import Finished, Progress
from scope_sr.train.runs import recipe_of_run
from scope_sr.train.srgan import train_srgan
from scope_sr.train.unet import train_unet

__all__ = ["Finished", "Progress", "recipe_of_run", "train_srgan", "train_unet"]
