"""What keeps a network from high images: their noise, or tissue finer than low pixels carry.

``python benchmarks/ceiling.py HR_DIR [MODEL [bicubic|optics]]``

**Noise.** White noise of variance s² in a high image cannot be foretold but for the part that the
low pixels still hold, 1/scale² of it: no network's mean square error is below s² (1 - 1/scale²). It
is estimated twice, on the diagonal details of 2x2 pixels (Haar; D. Donoho and I. Johnstone,
Biometrika 81, 1994), where tissue has least:

- *all of it*: their median size, over 0.6745. Fine texture counts as noise, so this is too much,
  and the ceiling that follows is too low;
- *what one colour alone has*: what is left of them in each colour after the other two have foretold
  what they can. Texture shows in all three; the camera's noise does not, but for what demosaicing
  and JPEG spread. This is too little, and the ceiling too high.

**Pixels.** A picture sampled at the low pixels carries frequencies up to half a cycle per low
pixel. The high image without all that is finer is what a network would give that restores
everything the low pixels can carry, and infers nothing: what it gains beyond, it has learnt about
tissue.

With a model its PSNR and that of bicubic stand beside, on the same images, from whole pictures.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scope_sr.config import load_rig
from scope_sr.degradation import bicubic_low, low_of, optics_of
from scope_sr.imaging.picture_scores import bicubic, psnr_db
from scope_sr.pictures.files import rgb

MEDIAN = 0.6745  # of the size of a normal variable


def main() -> None:
    """Print a line for each scale."""
    pictures = [rgb(path) for path in sorted(Path(sys.argv[1]).glob("*.png"))]
    whole = np.array([spread_whole(picture) for picture in pictures])
    alone = np.array([spread_alone(picture) for picture in pictures])
    print(f"{len(pictures)} images; noise of one pixel in grey levels, median of the images:")
    print(f"  all of it {np.median(whole):.2f}, what one colour alone has {np.median(alone):.2f}")
    for scale in (2, 4):
        low, high = (ceiling_db(float(np.sqrt(np.mean(s**2))), scale) for s in (whole, alone))
        carried = np.mean([carried_db(picture, scale) for picture in pictures])
        print(
            f"x{scale}: ceiling by noise {low:.2f} to {high:.2f} dB; without all that is finer than"
            f" low pixels carry {carried:.2f} dB"
        )
    if len(sys.argv) > 2:
        judge(pictures, sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "optics")


def spread_whole(picture: NDArray[np.uint8]) -> float:
    """Give the root mean variance of the noise, texture included."""
    details = diagonal(picture)
    return float(np.sqrt(np.mean((np.median(np.abs(details), axis=0) / MEDIAN) ** 2)))


def spread_alone(picture: NDArray[np.uint8]) -> float:
    """Give the root mean variance of what one colour has and the others do not foretell."""
    details = diagonal(picture)
    found = []
    for color in range(3):
        others = np.delete(details, color, axis=1)
        foretold = others @ np.linalg.lstsq(others, details[:, color], rcond=None)[0]
        found.append((np.median(np.abs(details[:, color] - foretold)) / MEDIAN) ** 2)
    return float(np.sqrt(np.mean(found)))


def diagonal(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Give the diagonal details of 2x2 pixels, ``(n, 3)``; white noise keeps its variance."""
    even = picture[: len(picture) // 2 * 2, : picture.shape[1] // 2 * 2].astype(float)
    found = even[::2, ::2] - even[1::2, ::2] - even[::2, 1::2] + even[1::2, 1::2]
    return np.asarray(found.reshape(-1, 3) / 2)


def ceiling_db(spread: float, scale: int) -> float:
    """Give the PSNR of a network that knows all but the noise."""
    return float(20 * np.log10(255 / (spread * np.sqrt(1 - 1 / scale**2))))


def carried_db(picture: NDArray[np.uint8], scale: int) -> float:
    """Give the PSNR of a picture without frequencies above half a cycle per low pixel."""
    rows, columns = picture.shape[:2]
    # mirrored, so that the edges are no jump
    wide = np.pad(picture.astype(float), ((0, rows), (0, columns), (0, 0)), mode="symmetric")
    spectrum = np.fft.rfft2(wide, axes=(0, 1))
    spectrum[np.abs(np.fft.fftfreq(2 * rows)) >= 0.5 / scale] = 0
    spectrum[:, np.fft.rfftfreq(2 * columns) >= 0.5 / scale] = 0
    smooth = np.fft.irfft2(spectrum, s=wide.shape[:2], axes=(0, 1))[:rows, :columns]
    return psnr_db(np.clip(np.rint(smooth), 0, 255).astype(np.uint8), picture, scale)


def judge(pictures: list[NDArray[np.uint8]], name: str, way: str) -> None:
    """Print the PSNR of a model beside bicubic."""
    from scope_sr.modelfile import load

    model = load(name)
    scale = model.card.scale
    optics = optics_of(load_rig("simulated"), scale)
    figures = []
    for number, picture in enumerate(pictures):
        rows, columns = (n // scale * scale for n in picture.shape[:2])
        high = picture[:rows, :columns]
        low = bicubic_low(high, scale) if way == "bicubic" else low_of(high, optics, number)
        both = (model(low), bicubic(low, scale))
        figures.append([psnr_db(one, high, scale) for one in both])
    ours, plain = np.mean(figures, axis=0)
    print(f"{name} x{scale}, low by {way}: {ours:.2f} dB, bicubic {plain:.2f} dB")


if __name__ == "__main__":
    main()
