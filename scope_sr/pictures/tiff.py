"""Windows of a TIFF of any size: only the tiles or strips that a window touches are decoded."""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from scope_sr.config import reason
from scope_sr.pictures.boxes import Box, paste
from scope_sr.pictures.files import DAMAGED, fault
from scope_sr.pictures.whole import ON_WHITE, PALETTE, Alpha

# What it finds odd in a file it would print; what matters of it comes as an error
logging.getLogger("tifffile").addHandler(logging.NullHandler())
CACHE_BYTES = 128 * 2**20
# One compressed block is decoded as a whole; a larger one would not fit beside everything else.
LARGEST_BLOCK_BYTES = 2**30
SPARE = "the last channel, of which the file says nothing, left out"
JPEG_2000_YCC = 33003  # Aperio's; what comes out of the decoder is not yet RGB
ALPHAS: dict[int, Alpha] = {1: "premultiplied", 2: "straight"}
JPEG_FAMILY = {6, 7, 33005, 34933, 34934, 50002, 52546}
MICRONS = {
    "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "&#181;m": 1.0, "\\u00B5m": 1.0,
    "nm": 1e-3, "mm": 1e3, "cm": 1e4,
}  # fmt: skip
CENTIMETER = 3  # as ResolutionUnit
LIKELY_UM = 0.05, 20.0  # a microscope's; 600 dots per inch of a printer are 42 µm
PHOTOMETRIC = {0: "white is 0", 1: "black is 0", 2: "RGB", 3: "palette", 6: "YCbCr"}


class TiffPixels:
    """The largest image of a TIFF, read by windows. The file is open only while it is read.

    Parameters
    ----------
    path
        A classic or Big TIFF: plain, OME, SVS, tiled, striped, pyramidal.

    Attributes
    ----------
    width, height, samples, dtype
        Of the image as stored.
    white
        The value of a full sample.
    inverted
        Whether 0 is white.
    palette
        (256 or 65536, 3) uint8 colours, or None.
    alpha
        How the last sample makes transparent; empty where there is none, or nobody knows.
    stated_um
        µm per pixel in x and y according to OME or Aperio metadata, or None.
    resolution_um
        The same according to the tags of the resolution, where they were not written for a printer.
    notes
        What :func:`scope_sr.pictures.whole.to_rgb` makes of it, and what to beware of, in words.

    Raises
    ------
    InputError
        The file is damaged, cut short, or holds something else than one picture.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with tifffile.TiffFile(path) as tiff:
                page = _largest_page(path, tiff)
                # A property that looks into the file when it is first asked for.
                self._decode_segment = page.decode
                self._tables, self._header = page.jpegtables, page.jpegheader
                self._offsets, self._counts = page.dataoffsets, page.databytecounts
                self._byte_order = tiff.byteorder
                self._mapped = bool(page.is_memmappable)
                self.stated_um = _stated_um(tiff.ome_metadata, page.description)
                self.resolution_um = _resolution_um(page)
                self._refuse_strange(page)
                self._refuse_cut_short(page, tiff.filehandle.size)
                self._set_colors(page)
        except DAMAGED as error:
            raise fault(path, f"not a readable TIFF ({reason(error)}); save it again") from error
        self.width, self.height = int(page.imagewidth), int(page.imagelength)
        self._set_grid(page)

    def _refuse_strange(self, page: tifffile.TiffPage) -> None:
        kind = int(page.photometric)
        if page.dtype is None or kind not in PHOTOMETRIC or page.imagedepth != 1:
            raise fault(self.path, "its colours are neither grey nor RGB; save it as RGB")
        if kind == 6 and page.compression not in {*JPEG_FAMILY, JPEG_2000_YCC}:
            raise fault(self.path, "YCbCr colours without JPEG are not read; save it as RGB")
        if page.samplesperpixel not in ((3, 4) if kind in {2, 6} else (1, 2)):
            raise fault(self.path, f"has {page.samplesperpixel} channels; save it as grey or RGB")
        if 0 in page.shape:
            raise fault(self.path, "is an image without pixels; save it again")

    def _refuse_cut_short(self, page: tifffile.TiffPage, size: int) -> None:
        self._empty = sum(count == 0 for count in self._counts)
        if self._empty and not page.is_tiled:
            text = f"{self._empty} of its {len(self._counts)} strips were never written"
            raise fault(self.path, f"{text}; save it again")
        end = max(start + n for start, n in zip(self._offsets, self._counts, strict=True))
        if end > size:
            raise fault(self.path, f"is cut short, {end - size} bytes are missing; copy it again")

    def _set_colors(self, page: tifffile.TiffPage) -> None:
        self.samples, self.dtype = int(page.samplesperpixel), np.dtype(page.dtype)
        bits = page.bitspersample
        self.white = 2 ** int(bits if isinstance(bits, int) else max(bits)) - 1
        self.inverted = int(page.photometric) == 0
        colors = page.colormap if int(page.photometric) == 3 else None
        self.palette = None if colors is None else (np.asarray(colors).T >> 8).astype(np.uint8)
        self.alpha: Alpha = ALPHAS.get(page.extrasamples[-1], "") if page.extrasamples else ""
        self._convert = int(page.compression) == JPEG_2000_YCC
        notes = {
            PALETTE: self.palette is not None,
            ON_WHITE: bool(self.alpha),
            SPARE: self.samples in {2, 4} and not self.alpha,
            f"{self._empty} of its {len(self._counts)} tiles are empty, shown white": self._empty,
        }
        self.notes = tuple(note for note, holds in notes.items() if holds)

    def _set_grid(self, page: tifffile.TiffPage) -> None:
        """Note the size of the blocks and how many lie side by side."""
        self._block_width = page.tilewidth if page.is_tiled else self.width
        self._block_height = page.tilelength if page.is_tiled else page.rowsperstrip
        self._block_height = min(self._block_height, self.height) or self.height
        self._planes = self.samples if int(page.planarconfig) == 2 else 1
        self._across = -(-self.width // self._block_width)
        self._down = -(-self.height // self._block_height)
        size = self._block_width * self._block_height * self.samples * self.dtype.itemsize
        if size > LARGEST_BLOCK_BYTES and not self._mapped:
            text = f"is one compressed block of {size / 2**20:.0f} MB; save it tiled"
            raise fault(self.path, text)
        self._block = lru_cache(maxsize=max(1, CACHE_BYTES // size))(self._decode)

    def read(self, window: Box) -> NDArray:
        """Read a window inside the image: (height, width, samples), as stored."""
        try:
            if self._mapped:
                return self._read_mapped(window)
            shape = (window.height, window.width, self.samples)
            pixels = np.full(shape, 0 if self.inverted else self.white, self.dtype)
            for index in self._blocks_in(window):
                plane, down, across = self._position(index)
                block = self._block(index)
                lies = Box(
                    across * self._block_width,
                    down * self._block_height,
                    block.shape[1],
                    block.shape[0],
                )
                channels = slice(None) if self._planes == 1 else slice(plane, plane + 1)
                paste(pixels[:, :, channels], window, block, lies)
        except DAMAGED as error:
            raise fault(self.path, f"cannot be decoded ({reason(error)}); save it again") from error
        return pixels

    def _read_mapped(self, window: Box) -> NDArray:
        dtype = self.dtype.newbyteorder(self._byte_order)
        planar = self._planes > 1
        area = (self.height, self.width)
        shape = (self.samples, *area) if planar else (*area, self.samples)
        stored = np.memmap(self.path, dtype, "r", int(self._offsets[0]), shape)
        image = np.moveaxis(stored, 0, -1) if planar else stored
        return np.array(image[window.slices(Box(0, 0, self.width, self.height))], self.dtype)

    def _blocks_in(self, window: Box) -> list[int]:
        down = range(
            window.row // self._block_height,
            (window.row + window.height - 1) // self._block_height + 1,
        )
        across = range(
            window.column // self._block_width,
            (window.column + window.width - 1) // self._block_width + 1,
        )
        return [
            (plane * self._down + j) * self._across + i
            for plane in range(self._planes)
            for j in down
            for i in across
        ]

    def _position(self, index: int) -> tuple[int, int, int]:
        plane, rest = divmod(index, self._down * self._across)
        down, across = divmod(rest, self._across)
        return plane, down, across

    def _decode(self, index: int) -> NDArray:
        """Decode one tile or strip: (height, width, samples); sparse ones are empty."""
        if self._counts[index] == 0:
            return np.empty((0, 0, self.samples), self.dtype)
        with self.path.open("rb") as stream:
            stream.seek(self._offsets[index])
            data = stream.read(self._counts[index])
        decoded = self._decode_segment(
            data, index, jpegtables=self._tables, jpegheader=self._header
        )[0]
        block: NDArray = np.asarray(decoded)[0]
        if self._convert:
            return np.asarray(Image.fromarray(block, "YCbCr").convert("RGB"))
        return block


def _largest_page(path: Path, tiff: tifffile.TiffFile) -> tifffile.TiffPage:
    """Find the page of most pixels, the finest level of a pyramid; a stack has no such page."""
    pages = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage)]
    if not pages:
        raise fault(path, "holds no image; save it again")
    sizes = [int(page.imagewidth) * int(page.imagelength) for page in pages]
    if sizes.count(max(sizes)) > 1:
        count = sizes.count(max(sizes))
        raise fault(path, f"is a stack of {count} equal planes; save the one to look at as RGB")
    return pages[sizes.index(max(sizes))]


def _stated_um(ome: str | None, description: str) -> tuple[float, float] | None:
    """Read µm per pixel from OME-XML (the first image is the slide) or an Aperio description."""
    aperio = re.search(r"\|\s*MPP\s*=\s*([\d.]+)", description)
    if aperio:
        return float(aperio[1]), float(aperio[1])
    found = []
    for axis in "XY":
        size = re.search(rf'\bPhysicalSize{axis}="([\d.eE+-]+)"', ome or "")
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]+)"', ome or "")
        factor = MICRONS.get(unit[1]) if unit else 1.0
        if size is None or factor is None:
            return None
        found.append(float(size[1]) * factor)
    return found[0], found[1]


def _resolution_um(page: tifffile.TiffPage) -> tuple[float, float] | None:
    """Read µm per pixel from the tags of the resolution, as ImageJ or in pixels per cm."""
    tags = [page.tags.valueof(name) for name in ("XResolution", "YResolution", "ResolutionUnit")]
    unit = re.search(r"^unit=(\S+)", page.description, re.MULTILINE)
    if page.description.startswith("ImageJ=") and unit:
        factor = MICRONS.get(unit[1])
    else:
        factor = MICRONS["cm"] if tags[2] == CENTIMETER else None
    if factor is None or tags[0] is None or tags[1] is None:
        return None
    x_um, y_um = (factor * below / above if above else 0.0 for above, below in tags[:2])
    return (x_um, y_um) if all(LIKELY_UM[0] <= um <= LIKELY_UM[1] for um in (x_um, y_um)) else None
