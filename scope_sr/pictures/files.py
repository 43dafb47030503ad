"""Image files as they are stored, and as RGB or as numbers of nuclei.

No file is read by ``cv2.imread`` here: without its flag for "unchanged" it halves 16 bits to the
upper 8, which makes every label below 256 a zero, and nobody notices, because the loss still falls.
"""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from itertools import islice
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from scope_sr.config import reason
from scope_sr.errors import InputError

# What Pillow, tifffile, imagecodecs, scipy and numpy raise on damaged files.
DAMAGED = (
    OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, ArithmeticError,
    AssertionError, MemoryError, SyntaxError, EOFError, struct.error, zlib.error, TokenError,
)  # fmt: skip
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PNG_START = b"\x89PNG"
JPEG_IN_TIFF = {6, 7, 33005, 34933, 34934, 50002, 52546}
WHITE_IS_ZERO, PALETTE = 0, 3
PICTURE_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B", "I;16L", "I"}
GREATEST = 2**32 - 1
PAGES = 3  # of a TIFF that are looked at
ENDINGS = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
WIDEST_NUMBER = 20


class Stored(NamedTuple):
    """Samples ``(row, column, channel)`` as stored, colours of a palette, and whether JPEG."""

    samples: NDArray[Any]
    palette: NDArray[np.uint8] | None
    lossy: bool


def picture(path: Path) -> NDArray[Any]:
    """Read a picture as it is stored: ``(row, column[, 3])``, uint8 or uint16.

    Raises
    ------
    InputError
        It is no picture, damaged, or neither of 8 nor of 16 bits.
    """
    stored = _stored(path)
    samples = stored.samples
    if stored.palette is not None:
        return np.asarray(stored.palette[np.minimum(samples[:, :, 0], len(stored.palette) - 1)])
    if samples.dtype == np.bool_:
        samples = samples.astype(np.uint8) * 255
    if samples.dtype not in (np.uint8, np.uint16):
        raise fault(path, f"its pixels are {samples.dtype}; save the image in 8 or 16 bits")
    return np.ascontiguousarray(samples[..., :3] if samples.shape[2] >= 3 else samples[..., 0])


def rgb(path: Path) -> NDArray[np.uint8]:
    """Read a picture; transparency is dropped, grey repeated.

    Returns
    -------
    NDArray
        ``(row, column, 3)``, uint8.

    Raises
    ------
    InputError
        It is no picture, damaged, or has other than 8 bits per channel: what is white in 16 bits
        nobody knows.
    """
    stored = _stored(path)
    samples = stored.samples
    if stored.palette is not None:
        return np.asarray(stored.palette[np.minimum(samples[:, :, 0], len(stored.palette) - 1)])
    if samples.dtype == np.bool_:
        samples = samples.astype(np.uint8) * 255
    if samples.dtype != np.uint8:
        raise fault(path, f"its pixels are {samples.dtype}; save the image as 8-bit RGB")
    color = samples[:, :, : 3 if samples.shape[2] >= 3 else 1]
    return np.ascontiguousarray(np.broadcast_to(color, (*color.shape[:2], 3)))


def numbers(path: Path) -> NDArray[Any]:
    """Read a mask or a label map, its numbers untouched.

    Returns
    -------
    NDArray
        ``(row, column)`` whole numbers from 0, of an unsigned type.

    Raises
    ------
    InputError
        It is no picture, damaged, in colour, JPEG, or its numbers are no labels.
    """
    stored = _stored(path)
    if stored.lossy:
        raise fault(path, "JPEG smears the numbers of a mask; save it as PNG or TIFF")
    samples = stored.samples
    if samples.shape[2] in {2, 4}:
        if samples[:, :, -1].min() != samples[:, :, -1].max():
            raise fault(path, "a mask with transparency; save it as one channel")
        samples = samples[:, :, :-1]
    if np.any(samples != samples[:, :, :1]):
        raise fault(path, "a picture in colour, not a mask; save it as one channel of numbers")
    return whole(samples[:, :, 0], path)


def rgb8(image: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Bring an image of a dataset to what networks are given: RGB of 8 bits, grey repeated.

    Parameters
    ----------
    image
        ``(row, column[, 3])``, uint8 or uint16.
    bits
        Of which its values make use, as the header of the dataset says; 8 for uint8.

    Examples
    --------
    >>> rgb8(np.array([[0, 4095]], np.uint16), 12).tolist()
    [[[0, 0, 0], [255, 255, 255]]]
    """
    if image.dtype != np.uint8:
        scaled = image * np.float32(255 / ((1 << bits) - 1))
        image = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    return np.ascontiguousarray(image)


def whole(values: NDArray[Any], path: Path) -> NDArray[Any]:
    """Refuse what cannot be labels, and give the rest as unsigned whole numbers."""
    if values.size == 0:
        raise fault(path, "holds no pixel; give a label map of the image's size")
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    if values.dtype.kind not in "iuf":
        raise fault(path, f"labels are {values.dtype}; give whole numbers from 0")
    if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        raise fault(path, "labels are not whole numbers; give one number per nucleus")
    if values.min() < 0 or values.max() > GREATEST:
        raise fault(path, f"labels leave 0 to {GREATEST}; number the nuclei from 1")
    return values if values.dtype.kind == "u" else values.astype(np.uint32)


def _stored(path: Path) -> Stored:
    """Read an image by what it is, whatever its name ends in."""
    try:
        with path.open("rb") as stream:
            start = stream.read(26)
    except OSError as error:
        raise fault(path, f"cannot be read ({reason(error)}); check it is there") from error
    if not start:
        raise fault(path, "is empty; copy it again")
    refuse_deep_color(path, start)
    try:
        stored = _tiff(path) if start[:4] in TIFF_STARTS else _picture(path)
    except Image.DecompressionBombError as error:
        raise fault(path, "has more than 179 megapixels; cut it into pieces") from error
    except DAMAGED as error:
        text = f"not a readable image ({reason(error)[:80]}); copy it again, or save it as PNG"
        raise fault(path, text) from error
    return stored


def refuse_deep_color(path: Path, start: bytes) -> None:
    """Refuse a PNG of 16 bits and colour by the first 26 bytes: Pillow, too, halves its bits.

    Raises
    ------
    InputError
        It is one.
    """
    if start.startswith(PNG_START) and start[24:25] == b"\x10" and start[25:26] != b"\0":
        raise fault(path, "has 16 bits per channel in colour; save it in 8 bits, masks in grey")


def _picture(path: Path) -> Stored:
    """Decode with Pillow what is no TIFF."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large images and odd metadata
        with Image.open(path) as file:
            lossy = file.format in {"JPEG", "MPO"}
            image = file if file.mode in PICTURE_MODES else _converted(file)
            samples = np.array(image)
            colors = image.getpalette("RGB") if image.mode == "P" else None
    palette = None if colors is None else np.array(colors, np.uint8).reshape(-1, 3)
    return Stored(samples.reshape(*samples.shape[:2], -1), palette, lossy)


def _converted(image: Image.Image) -> Image.Image:
    if image.mode in {"YCbCr", "PA", "La", "RGBa"}:
        return image.convert("RGB" if image.mode == "YCbCr" else "RGBA")
    msg = f"its colours are {image.mode}, not grey nor RGB"
    raise ValueError(msg)


def _tiff(path: Path) -> Stored:
    """Decode the one picture of a TIFF."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        # Only the next ones: following a damaged chain of pages to its end may take minutes
        if any(other.shape == page.shape for other in islice(tiff.pages, 1, PAGES)):
            msg = "holds several pictures of one size"
            raise ValueError(msg)
        samples = page.asarray()
        kind, colors = int(page.photometric), page.colormap
        planes = int(page.planarconfig) == 2 and samples.ndim == 3
        lossy = int(page.compression) in JPEG_IN_TIFF
    if kind not in {WHITE_IS_ZERO, 1, 2, PALETTE, 6} or samples.ndim not in {2, 3}:
        msg = "its colours are neither grey nor RGB"
        raise ValueError(msg)
    samples = np.moveaxis(samples, 0, -1) if planes else samples
    if kind == WHITE_IS_ZERO:
        samples = _inverted(samples)
    palette = None
    if kind == PALETTE and colors is not None:
        palette = (np.asarray(colors).T >> 8).astype(np.uint8)
    return Stored(samples.reshape(*samples.shape[:2], -1), palette, lossy)


def _inverted(samples: NDArray[Any]) -> NDArray[Any]:
    if samples.dtype == np.bool_:
        return ~samples
    if samples.dtype == np.uint8:
        return np.asarray(255 - samples, np.uint8)
    msg = f"0 is white in {samples.dtype}"
    raise ValueError(msg)


def images_in(folder: Path) -> dict[str, Path]:
    """Find the images in a folder by their names without ending, in the order of their names.

    Raises
    ------
    InputError
        There is no such folder, no image in it, or two of one name.
    """
    try:
        # macOS leaves a hidden ._image.png beside each image on drives of other systems
        images = [
            path
            for path in folder.iterdir()
            if path.suffix.lower() in ENDINGS and not path.name.startswith(".")
        ]
    except OSError as error:
        msg = f"{folder}: {reason(error)}; name a folder of images"
        raise InputError(msg) from error
    found: dict[str, Path] = {}
    for path in sorted(images, key=lambda image: natural(image.stem)):
        if path.stem in found:
            msg = f"{folder}: {path.name} and {found[path.stem].name} have one name; remove one"
            raise InputError(msg)
        found[path.stem] = path
    if not found:
        msg = f"{folder}: no image there ({', '.join(ENDINGS)}); name a folder of images"
        raise InputError(msg)
    return found


def natural(name: str | Path) -> tuple[str, str]:
    """Give a key that sorts numbers within names by their value.

    >>> sorted(["10_crop", "9_crop", "a2"], key=natural)
    ['9_crop', '10_crop', 'a2']
    """
    text = name.as_posix() if isinstance(name, Path) else name
    return re.sub(r"\d+", lambda found: found[0].zfill(WIDEST_NUMBER), text.lower()), text


def fault(path: Path, text: str) -> InputError:
    """Say in one line which file cannot be used, why, and the way out."""
    return InputError(" ".join(f"{path}: {text}".split()))
