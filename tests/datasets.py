"""Small datasets for tests, put on the disk as they are described; nothing is built or judged.

Nothing is flushed either: that costs more than the tests themselves.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from scope_sr.dataset import Dataset, Header, Labelled, Pair, Source
from scope_sr.dataset.cells import CELL_PX, pack, shape_of
from scope_sr.dataset.fields import to_tiff
from scope_sr.dataset.folder import CARD, DATASET, INDEX
from scope_sr.dataset.index import Place, header_json, to_line

UPRIGHT = ((1.0, 0.0), (0.0, 1.0))


def tissue(seed: int, size: int = 128, full: int = 255) -> np.ndarray:
    """Something to recognise, at all scales, ``(size, size, 3)``."""
    rng = np.random.default_rng(seed)
    waves = [gaussian_filter(rng.standard_normal((size, size, 3)), (s, s, 0)) for s in (1, 4, 12)]
    light = 0.6 + sum(0.06 * wave / wave.std() for wave in waves)
    return (light.clip(0, 1) * full).astype(np.uint8 if full == 255 else np.uint16)


def shrunk(high: np.ndarray, scale: int) -> np.ndarray:
    height, width = high.shape[0] // scale, high.shape[1] // scale
    blocks = high.reshape(height, scale, width, scale, *high.shape[2:])
    return blocks.mean((1, 3)).astype(high.dtype)


class Making:
    """A dataset in the making: add fields, then `done`."""

    def __init__(self, folder: Path, **header: object) -> None:
        self.folder = folder
        self.header = Header(
            **{
                "kind": "pairs",
                "name": "small",
                "scale": 2,
                "low_um_per_px": 0.5,
                "bits": 8,
                "color": True,
                "cell_px": CELL_PX,
                "simulated": False,
                "level": "slide",
                "groups": {},
                "areas": {},
                "sources": (Source("A", "session", "0" * 64, "CC BY 4.0"),),
                "software": "scope-sr 0.1.0",
                **header,
            }
        )
        self.items: list[Pair | Labelled] = []
        self.images: dict[str, np.ndarray] = {}

    def pair(
        self,
        name: str,
        split: str,
        high: np.ndarray,
        *,
        low: np.ndarray | None = None,
        low_name: str = "",
        box: tuple[int, int, int, int] | None = None,
        usable: np.ndarray | None = None,
        at_um: tuple[float, float] | None = None,
        affine: tuple = UPRIGHT,
        **facts: object,
    ) -> Pair:
        """Add a field; the low image is the high one shrunk, unless another is given."""
        low = shrunk(high, self.header.scale) if low is None else low
        box = box or (0, 0, low.shape[1], low.shape[0])
        usable = np.ones(shape_of(*box[2:]), bool) if usable is None else usable
        flat = name.replace("/", "_")
        files = (low_name or f"low/{flat}.tif", f"high/{flat}.tif")
        self.images.update(zip(files, (low, high), strict=True))
        place = Place(at_um, affine) if at_um else None
        pair = Pair(name, "A", *files, box, pack(usable), split, place=place, **facts)
        self.items.append(pair)
        return pair

    def nuclei(
        self, name: str, split: str, image: np.ndarray, labels: np.ndarray, **facts: object
    ) -> Labelled:
        files = {"image": f"image/{name}.tif", "labels": f"labels/{name}.tif"}
        self.images.update(zip(files.values(), (image, labels), strict=True))
        item = Labelled(name, "A", **files, split=split, **facts)
        self.items.append(item)
        return item

    def done(self) -> Dataset:
        """Write everything and open it."""
        sums = {}
        for name, image in self.images.items():
            data = to_tiff(image, self.header.low_um_per_px)
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(data)
            sums[name] = hashlib.sha256(data).hexdigest()
        self.items = [_summed(item, sums) for item in self.items]
        rewrite(self.folder, self.items)
        (self.folder / CARD).write_bytes(b"# small\n\nNothing to see.\n")
        (self.folder / DATASET).write_bytes(header_json(self.header))
        return Dataset.open(self.folder)


def rewrite(folder: Path, items: list[Pair | Labelled]) -> Dataset:
    """Write the index anew, as it may not be."""
    (folder / INDEX).write_bytes("".join(f"{to_line(item)}\n" for item in items).encode())
    return Dataset.open(folder) if (folder / DATASET).exists() else None


def _summed(item: Pair | Labelled, sums: dict[str, str]) -> Pair | Labelled:
    if isinstance(item, Pair):
        return replace(item, low_sha256=sums.get(item.low, ""), high_sha256=sums.get(item.high, ""))
    return replace(item, image_sha256=sums[item.image], labels_sha256=sums[item.labels])


def three_slides(folder: Path, **header: object) -> Making:
    """Six neighbouring fields, two to a slide, each slide a split of its own."""
    making = Making(folder, **header)
    for number, split in enumerate(("train", "val", "test")):
        for column in range(2):
            making.pair(
                f"{split}/f{column}",
                split,
                tissue(10 * number + column),
                at_um=(60.0 * column, 0.0),  # neighbours overlap by 4 µm
                slide=f"slide{number}",
                patient=f"patient{number}",
            )
    return making
