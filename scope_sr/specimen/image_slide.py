"""A slide that is an image of the user's: any TIFF by its tiles, PNG, JPEG and BMP whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scope_sr.config import reason
from scope_sr.errors import InputError
from scope_sr.pictures.boxes import Box
from scope_sr.pictures.files import TIFF_STARTS, fault
from scope_sr.pictures.tiff import TiffPixels
from scope_sr.pictures.whole import Pixels, WholeImage, to_rgb

# More than this between rig file and metadata is another objective, not rounding.
UM_TOLERANCE = 0.02
GREATEST_LABEL = 2**31 - 1


class ImageSlide:
    """An image as the specimen; see `slide.Slide` for its laws.

    Grey, palette and 16-bit images become 8-bit RGB, transparency becomes clear glass.

    Parameters
    ----------
    path
        TIFF, OME-TIFF, SVS, PNG, JPEG or BMP. The finest level of a pyramid is taken.
    um_per_px
        Its sampling. A file that states another one, by more than 2 %, is refused.
    labels_path
        Instance map of the nuclei: one channel of whole numbers, 0 is background.

    Raises
    ------
    InputError
        A file is missing, damaged, or not what it should be.
    """

    def __init__(self, path: Path, um_per_px: float, labels_path: Path | None = None) -> None:
        self.um_per_px = um_per_px
        self._image = open_pixels(path, "image")
        _refuse_other_scale(self._image, um_per_px)
        _refuse_numbers_without_colour(self._image)
        self.size_px = self._image.width, self._image.height
        width, height = self.size_px
        self._extent = Box(-(width // 2), -(height // 2), width, height)
        self._nuclei = None if labels_path is None else open_pixels(labels_path, "labels")
        if self._nuclei is not None:
            _refuse_unfit_labels(self._nuclei, self._image)

    def region(self, column: int, row: int, width: int, height: int) -> NDArray[np.uint8]:
        """Transmittance of a rectangle: (height, width, 3) RGB, 255 is clear glass."""
        seen = Box(column, row, width, height)
        image = np.full((height, width, 3), 255, np.uint8)
        if seen.meets(self._extent):
            shared = seen.common(self._extent)
            image[shared.slices(seen)] = to_rgb(self._image.read(self._window(shared)), self._image)
        return image

    def labels(self, column: int, row: int, width: int, height: int) -> NDArray[np.int32]:
        """Nuclei of a rectangle: (height, width); all 0 where no labels were given."""
        seen = Box(column, row, width, height)
        labels = np.zeros((height, width), np.int32)
        if self._nuclei is not None and seen.meets(self._extent):
            shared = seen.common(self._extent)
            numbers = self._nuclei.read(self._window(shared))[:, :, 0]
            if numbers.min() < 0 or numbers.max() > GREATEST_LABEL:
                text = f"its numbers leave 0 to {GREATEST_LABEL}; number the nuclei from 1"
                raise fault(self._nuclei.path, text)
            labels[shared.slices(seen)] = numbers
        return labels

    def _window(self, shared: Box) -> Box:
        """Count from the image's corner instead of its centre."""
        column, row = shared.column - self._extent.column, shared.row - self._extent.row
        return Box(column, row, shared.width, shared.height)


def open_pixels(path: Path, key: str) -> Pixels:
    """Open an image by what it is, whatever its name ends in; `key` is that of the rig file."""
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
    except (FileNotFoundError, NotADirectoryError) as error:
        text = f"no such file; correct specimen.{key}, which starts at the rig file's folder"
        raise fault(path, text) from error
    except (OSError, ValueError) as error:
        raise fault(path, f"cannot be read ({reason(error)}); correct specimen.{key}") from error
    if not start:
        raise fault(path, f"is empty; correct specimen.{key}")
    return TiffPixels(path) if start in TIFF_STARTS else WholeImage(path)


def _refuse_other_scale(pixels: Pixels, um_per_px: float) -> None:
    for stated in pixels.stated_um or ():
        if stated > 0 and abs(stated / um_per_px - 1) > UM_TOLERANCE:
            text = (
                f"{pixels.path} says {stated:.4g} µm per pixel, the rig says {um_per_px:.4g}; "
                "correct um_per_px"
            )
            raise InputError(" ".join(text.split()))


def _refuse_numbers_without_colour(pixels: Pixels) -> None:
    if pixels.dtype not in (np.uint8, np.uint16, np.int32) or pixels.white > 65535:
        raise fault(pixels.path, f"its pixels are {pixels.dtype}; save it as 8-bit or 16-bit")


def _refuse_unfit_labels(labels: Pixels, image: Pixels) -> None:
    if labels.samples != 1 or labels.dtype.kind not in "iu" or labels.palette is not None:
        text = f"labels are {labels.samples} x {labels.dtype}; give one channel of whole numbers"
        raise fault(labels.path, text)
    if (labels.width, labels.height) != (image.width, image.height):
        text = (
            f"labels of {labels.width} x {labels.height} pixels do not fit an image of "
            f"{image.width} x {image.height}; give labels of the same size"
        )
        raise fault(labels.path, text)
    if isinstance(labels, WholeImage) and labels.dtype == np.uint8:
        values = np.unique(labels.read(Box(0, 0, labels.width, labels.height)))
        if values.tolist() == [0, 255]:
            text = "labels hold only 0 and 255: a mask, not a map; give each nucleus its number"
            raise fault(labels.path, text)
