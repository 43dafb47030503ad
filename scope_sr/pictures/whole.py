"""Pictures that Pillow reads, held in memory, and any stored samples as RGB on white."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from scope_sr.pictures.boxes import Box
from scope_sr.pictures.files import DAMAGED, fault

FORMATS = ("PNG", "JPEG", "BMP")
# Pillow's words for what is not converted, and why
KINDS = {
    "1": "black or white",
    "F": "fractions",
    "CMYK": "inks, whose colour only a printer's profile tells",
    "LAB": "CIELAB",
    "HSV": "hue, saturation and value",
}
PALETTE = "its palette turned into RGB"
TURNED = "turned upright, as its Exif says"
ON_WHITE = "what is transparent laid on white"
Alpha = Literal["", "straight", "premultiplied"]
ORIENTATION = 0x0112  # of Exif: 1 is upright, 2 to 8 are the other ways


class Pixels(Protocol):
    """A picture that is read by windows.

    Attributes
    ----------
    samples, dtype
        Of a pixel as stored.
    white
        The value of a full sample.
    inverted
        Whether 0 is white.
    palette
        (colours, 3) uint8, or None.
    alpha
        How the last sample makes transparent; empty if none does.
    stated_um
        µm per pixel in x and y as the file states them, or None.
    resolution_um
        The same by tags that were, in all likelihood, not written for a printer; or None.
    notes
        What `to_rgb` makes of its pixels, and what to beware of, in words.
    """

    path: Path
    width: int
    height: int
    samples: int
    dtype: np.dtype
    white: int
    inverted: bool
    palette: NDArray[np.uint8] | None
    alpha: Alpha
    stated_um: tuple[float, float] | None
    resolution_um: tuple[float, float] | None
    notes: tuple[str, ...]

    def read(self, window: Box) -> NDArray:
        """Read a window inside the picture: (height, width, samples), as stored."""


class WholeImage:
    """An image that Pillow reads, held in memory; the twin of `TiffPixels`.

    It is turned upright where its Exif says that the camera was not; a transparency that is opaque
    all over is dropped.
    """

    inverted: bool = False
    palette: NDArray[np.uint8] | None = None
    # Their resolution is that of a print or a screen
    stated_um: tuple[float, float] | None = None
    resolution_um: tuple[float, float] | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with warnings.catch_warnings():
                # Pillow warns from 89 and refuses from 179 megapixels. A slide of 100 is no attack;
                # beyond 179 a tiled TIFF is the better file anyway. Others are of odd metadata.
                warnings.simplefilter("ignore")
                with Image.open(path, formats=FORMATS) as image:
                    palette = image.mode in {"P", "PA"}
                    turned = image.getexif().get(ORIENTATION) in range(2, 9)
                    upright = ImageOps.exif_transpose(image) if turned else image
                    self._pixels = _without_opaque(_samples(path, upright))
        except Image.DecompressionBombError as error:
            text = "has more than 179 megapixels, too many to hold whole; save it as a tiled TIFF"
            raise fault(path, text) from error
        except DAMAGED as error:
            raise fault(path, "not a readable image (damaged or cut short?); save it again as "
                        "TIFF, PNG or JPEG") from error  # fmt: skip
        self.height, self.width, self.samples = self._pixels.shape
        self.dtype = self._pixels.dtype
        self.white = 65535 if self.dtype.itemsize > 1 else 255
        self.alpha: Alpha = "straight" if self.samples in {2, 4} else ""
        notes = {PALETTE: palette, TURNED: turned, ON_WHITE: bool(self.alpha)}
        self.notes = tuple(note for note, holds in notes.items() if holds)

    def read(self, window: Box) -> NDArray:
        """Read a window inside the image: (height, width, samples), as stored."""
        whole = Box(0, 0, self.width, self.height)
        return np.asarray(self._pixels[window.slices(whole)])


def to_rgb(stored: NDArray, pixels: Pixels) -> NDArray[np.uint8]:
    """Turn samples as stored, (H, W, 1 to 4), into 8-bit RGB on white; (H, W, 3)."""
    if pixels.palette is not None:
        indices = np.minimum(stored[:, :, 0], len(pixels.palette) - 1)
        return np.asarray(pixels.palette[indices])
    levels = stored
    if pixels.white != 255:
        levels = np.rint(stored * (255.0 / pixels.white)).astype(np.uint8)
    color = levels[:, :, : 3 if pixels.samples >= 3 else 1]
    if pixels.inverted:
        color = 255 - color
    if pixels.alpha:
        color = _on_white(color, levels[:, :, -1:], pixels.alpha)
    rgb: NDArray[np.uint8] = np.broadcast_to(color, (*color.shape[:2], 3))
    return rgb


def _on_white(color: NDArray, alpha: NDArray, kind: Alpha) -> NDArray[np.uint8]:
    opacity = alpha / 255.0
    own = color * opacity if kind == "straight" else color.astype(np.float64)
    return np.asarray(np.rint(np.minimum(own + 255.0 * (1.0 - opacity), 255)), np.uint8)


def _samples(path: Path, image: Image.Image) -> NDArray:
    """Decode to (H, W, samples): grey, RGB or RGBA of 8 bits, or whole numbers of up to 32."""
    if image.mode == "P" and "transparency" not in image.info:
        image = image.convert("RGB")
    elif image.mode in {"P", "PA", "LA", "La", "RGBa"} or "transparency" in image.info:
        image = image.convert("RGBA")
    if words := KINDS.get(image.mode):
        raise fault(path, f"its pixels are of kind {image.mode}, {words}; save it as 8-bit RGB")
    if image.mode == "YCbCr":
        image = image.convert("RGB")
    pixels = np.asarray(image)
    return pixels.reshape(*pixels.shape[:2], -1)


def _without_opaque(samples: NDArray) -> NDArray:
    if samples.shape[2] in {2, 4} and samples[:, :, -1].min() == 255:
        return np.ascontiguousarray(samples[:, :, :-1])
    return samples
