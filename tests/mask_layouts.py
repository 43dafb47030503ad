"""Tiny datasets in every layout that ``scope_sr.build_dataset.masks`` knows, with known nuclei.

Each writer fills a folder and gives what must be read from it, case by case.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from scipy.io import savemat

HEIGHT, WIDTH = 20, 28
# Rows and columns of three nuclei; the first two touch.
BOXES = ((2, 8, 3, 9), (2, 8, 9, 15), (12, 18, 20, 26))


@dataclass(frozen=True)
class Known:
    """What one case must turn out to be."""

    name: str
    image: np.ndarray
    labels: np.ndarray
    patient: str = ""
    slide: str = ""
    um_per_px: float | None = None
    instances: bool = True
    ignore: np.ndarray | None = None
    tissue: str = ""


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def nuclei(*ids: int, dtype: type = np.uint16) -> np.ndarray:
    """Three nuclei with the ids given; 1, 2, 3 is what is read."""
    labels = np.zeros((HEIGHT, WIDTH), dtype)
    for (top, bottom, left, right), number in zip(BOXES, ids or (1, 2, 3), strict=False):
        labels[top:bottom, left:right] = number
    return labels


def joined() -> np.ndarray:
    """What remains of the three nuclei in a mask: two areas."""
    return nuclei(1, 1, 2)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in {".tif", ".tiff"}:
        tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    else:
        Image.fromarray(pixels).save(path)
    return path


def rgba(image: np.ndarray) -> np.ndarray:
    return np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])


def mask(dtype: type = np.uint8, white: int = 255) -> np.ndarray:
    return ((nuclei() > 0) * white).astype(dtype)


README = """Pan-Cancer-Nuclei-Seg, manual patches

Patch-ID,CancerType,TCGA-ID
2,BLCA,TCGA-DK-A3IU-01Z-00-DX1
10,brca,TCGA-A7-A0CE-01Z-00-DX1.F1A2
11,uvm,TCGA-V4-A9EE
"""


def tcia(folder: Path, readme: bool = True) -> list[Known]:
    """Label maps of 16 bits with gaps, of 8 bits, 0 and 255, and nothing at all."""
    maps = {
        2: nuclei(5, 40, 300),
        10: nuclei(3, 4, 9, dtype=np.uint8),
        11: mask(),
        12: nuclei(0, 0, 0),
    }
    for n, labels in maps.items():
        save(folder / f"{n}_crop.png", picture(n))
        save(folder / f"{n}_labeled_mask_corrected.png", labels)
    for k in range(3):
        save(folder / f"2_labeled_mask_common{k}.png", nuclei(1, 0, 0))
    if readme:
        name = "Pan-Cancer-Nuclei-Seg_1365patches_to_TCGA-ID_readme.txt"
        (folder / name).write_bytes(gzip.compress(README.encode()))
    told = {
        2: ("TCGA-DK-A3IU", "TCGA-DK-A3IU-01Z-00-DX1", "blca"),
        10: ("TCGA-A7-A0CE", "TCGA-A7-A0CE-01Z-00-DX1", "brca"),
        11: ("TCGA-V4-A9EE", "", "uvm"),
    }
    known = []
    for n in maps:
        patient, slide, tissue = told.get(n, ("",) * 3) if readme else ("",) * 3
        labels = {11: joined(), 12: nuclei(0, 0, 0)}.get(n, nuclei())
        known.append(
            Known(str(n), picture(n), labels, patient, slide, 0.25, n != 11, tissue=tissue)
        )
    return known


def aperio(*outlines: list[tuple[float, float]]) -> str:
    regions = "".join(
        f'<Region Id="{n}" NegativeROA="0"><Vertices>'
        + "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in outline)
        + "</Vertices></Region>"
        for n, outline in enumerate(outlines, 1)
    )
    return (
        '<Annotations MicronsPerPixel="0.252000"><Annotation Id="1"><Regions>'
        f"{regions}</Regions></Annotation></Annotations>"
    )


def corners(box: tuple[int, int, int, int]) -> list[tuple[float, float]]:
    """Outline that holds just the pixels of a box: pixel 0 reaches from 0 to 1."""
    top, bottom, left, right = box
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


SLIDES = ("TCGA-A7-A13E-01Z-00-DX1", "TCGA-DK-A2I6-01A-01-TS1")


def monuseg(folder: Path, beside: bool = False) -> list[Known]:
    """Images and outlines in folders of their own (training), or beside each other (test)."""
    known = []
    for n, slide in enumerate(SLIDES):
        images = folder / ("MoNuSegTestData" if beside else "MoNuSeg Training/Tissue images")
        outlines = folder / ("MoNuSegTestData" if beside else "MoNuSeg Training/Annotations")
        save(images / f"{slide}.tif", picture(n))
        outlines.mkdir(parents=True, exist_ok=True)
        (outlines / f"{slide}.xml").write_text(aperio(*map(corners, BOXES)))
        known.append(Known(slide, picture(n), nuclei(), slide[:12], slide, 0.25))
    return known


def pannuke(folder: Path, published: bool = True) -> list[Known]:
    """Two patches in one fold; two nuclei of different kinds have the same id."""
    images = np.stack([picture(0), picture(1)]).astype(np.float64)
    masks = np.zeros((2, HEIGHT, WIDTH, 6))
    for n in range(2):
        masks[n, ..., 0] = nuclei(7, 0, 0)
        masks[n, ..., 3] = nuclei(0, 7, 0)
        masks[n, ..., 4] = nuclei(0, 0, 2)
        masks[n, ..., 5] = nuclei() == 0
    home = folder / "Fold 1"
    pictures, maps = home / "images/fold1", home / "masks/fold1"
    if not published:
        pictures = maps = folder / "fold1"
    for place in (pictures, maps):
        place.mkdir(parents=True, exist_ok=True)
    np.save(pictures / "images.npy", images)
    np.save(pictures / "types.npy", np.array(["Breast", "Colon"]))
    np.save(maps / "masks.npy", masks)
    return [
        Known(f"fold1-{n:05d}", picture(n), nuclei(), "", "", 0.25, tissue=tissue)
        for n, tissue in enumerate(("Breast", "Colon"))
    ]


def nuinsseg(folder: Path, vague: str = "vague areas/mask binary") -> list[Known]:
    """Two organs; one image has a vague area, one an empty one."""
    known = []
    for n, organ in enumerate(("human bladder", "mouse liver")):
        stem = f"{organ.replace(' ', '_')}_01"
        home = folder / organ
        doubtful = np.zeros((HEIGHT, WIDTH), np.uint8)
        doubtful[:5, :4] = 255 * (n == 0)
        save(home / f"tissue images/{stem}.png", picture(n))
        save(home / f"label masks modify/{stem}.tif", nuclei(1, 2, 9))
        save(home / f"label masks/{stem}.tif", nuclei(4, 4, 4))
        save(home / f"mask binary/{stem}.png", mask())
        save(home / vague / f"{stem}.png", doubtful)
        ignore = doubtful if n == 0 else None
        known.append(Known(stem, picture(n), nuclei(), slide=organ, ignore=ignore, tissue=organ))
    return known


def matlab(path: Path, labels: np.ndarray, key: str = "inst_map") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {key: labels, "type_map": labels > 0, "inst_centroid": np.zeros((3, 2))})
    return path


def consep(folder: Path) -> list[Known]:
    known = []
    for n, (part, name) in enumerate((("Test", "test_2"), ("Train", "train_10"))):
        save(folder / part / f"Images/{name}.png", picture(n))
        save(folder / part / f"Overlay/{name}.png", picture(n + 5))
        matlab(folder / part / f"Labels/{name}.mat", nuclei(2, 8, 9).astype(float))
        known.append(Known(name, picture(n), nuclei(), um_per_px=0.25))
    return known


def consep_tiles(folder: Path) -> list[Known]:
    """The tiled copy: another key, and tiles of one image that overlap."""
    known = []
    for n, name in enumerate(("train_1_0_20_0_28", "train_1_10_30_0_28", "train_2_0_20_0_28")):
        save(folder / f"tiles/{name}.png", picture(n))
        matlab(folder / f"labels/{name}.mat", nuclei(2, 8, 9), "instance_map")
        known.append(Known(name, picture(n), nuclei(), slide=name[:7], um_per_px=0.25))
    return known


def dsb2018(folder: Path) -> list[Known]:
    known = []
    for n, name in enumerate(("3ae1", "41f0")):
        home = folder / "stage1_train" / name
        save(home / f"images/{name}.png", rgba(picture(n)))
        for k in range(3):
            save(home / f"masks/{k}c0de.png", ((nuclei() == k + 1) * 255).astype(np.uint8))
        known.append(Known(name, picture(n), nuclei()))
    return known


def lizard(folder: Path) -> list[Known]:
    known = []
    for n, name in enumerate(("consep_2", "glas_10")):
        save(folder / f"lizard_images{n + 1}/Lizard_Images{n + 1}/{name}.png", picture(n))
        matlab(folder / f"Lizard_Labels/Labels/{name}.mat", nuclei(1, 5, 6).astype(np.int32))
        tissue = name.split("_")[0]
        known.append(Known(name, picture(n), nuclei(), um_per_px=0.5, tissue=tissue))
    (folder / "Lizard_Labels/info.csv").write_text("Filename,Split\nconsep_2,1\nglas_10,2\n")
    return known


def tnbc(folder: Path) -> list[Known]:
    known = []
    for number, name in (("01", "01_2"), ("01", "01_10"), ("02", "02_1")):
        image = picture(int(name[-1]))
        save(folder / f"Slide_{number}/{name}.png", rgba(image) if number == "01" else image)
        save(folder / f"GT_{number}/{name}.png", mask())
        known.append(Known(name, image, joined(), f"TNBC-{number}", f"Slide_{number}", 0.25, True))
    return known


def cryonuseg(folder: Path) -> list[Known]:
    """Three label maps per image: the first round of the first annotator counts."""
    known = []
    first = "Annotator 1 (biologist)"
    second = "Annotator 1 (biologist second round of manual marks up)"
    for n, name in enumerate(("Human_AdrenalGland_01", "Human_Larynx_02")):
        save(folder / f"tissue images/{name}.tif", picture(n))
        save(folder / first / f"label masks modify/{name}.tif", nuclei(1, 2, 4))
        for other in (f"{second}/{second}", "Annotator 2 (bioinformatician)"):
            save(folder / other / f"label masks modify/{name}.tif", nuclei(1, 0, 0))
        tissue = name.split("_")[1]
        known.append(Known(name, picture(n), nuclei(), um_per_px=0.25, tissue=tissue))
    return known


def plain(folder: Path, masks: str = "masks") -> list[Known]:
    known = []
    for n, name in enumerate(("a2", "a10")):
        save(folder / f"images/{name}.png", picture(n))
        save(folder / f"{masks}/{name}.png", nuclei(1, 2, 300))
        known.append(Known(name, picture(n), nuclei()))
    return known


def plain_one_folder(folder: Path) -> list[Known]:
    known = []
    for n, name in enumerate(("a2", "TCGA-A7-A13E-01Z-00-DX1")):
        save(folder / f"{name}.tif", picture(n))
        save(folder / f"{name}_mask.png", mask())
        patient, slide = (name[:12], name) if n else ("", "")
        known.append(Known(name, picture(n), joined(), patient, slide, instances=False))
    return known


LAYOUTS: dict[str, tuple[str, Callable[[Path], list[Known]]]] = {
    "tcia": ("tcia", tcia),
    "tcia without table": ("tcia", lambda folder: tcia(folder, readme=False)),
    "monuseg": ("monuseg", monuseg),
    "monuseg test": ("monuseg", lambda folder: monuseg(folder, beside=True)),
    "pannuke": ("pannuke", pannuke),
    "pannuke copy": ("pannuke", lambda folder: pannuke(folder, published=False)),
    "nuinsseg": ("nuinsseg", nuinsseg),
    "nuinsseg copy": ("nuinsseg", lambda folder: nuinsseg(folder, "mask binary_vague")),
    "nuinsseg other copy": (
        "nuinsseg",
        lambda folder: nuinsseg(folder, "vague areas/mask binary_vague"),
    ),
    "consep": ("consep", consep),
    "consep tiles": ("consep", consep_tiles),
    "dsb2018": ("dsb2018", dsb2018),
    "lizard": ("lizard", lizard),
    "tnbc": ("tnbc", tnbc),
    "cryonuseg": ("cryonuseg", cryonuseg),
    "plain": ("plain", plain),
    "plain labels": ("plain", lambda folder: plain(folder, "labels")),
    "plain annotations": ("plain", lambda folder: plain(folder, "annotations")),
    "plain one folder": ("plain", plain_one_folder),
}
