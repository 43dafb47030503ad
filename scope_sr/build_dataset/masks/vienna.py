"""NuInsSeg and CryoNuSeg: the folders of the ImageJ macro of the Medical University of Vienna."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from scope_sr.build_dataset.masks.case import Case, Layout
from scope_sr.build_dataset.masks.tree import IMAGES, Couple, Tree, by_key, couple
from scope_sr.pictures.files import natural

PICTURES, MAPS = "tissue images", "label masks modify"  # "label masks" numbers overlaps anew
FROZEN = {".tif", ".tiff"}
NUMBER = re.compile(r"[_ ]\d+$")
VAGUE = ("mask binary", "mask binary_vague")


def find_nuinsseg(tree: Tree) -> Layout | None:
    """Find ``<organ>/tissue images/*.png`` with ``<organ>/label masks modify/*.tif``."""
    images = [path for path in _within(tree, PICTURES) if path.suffix.lower() not in FROZEN]
    if not images:
        return None
    pictures, twice = by_key(tree, images, _beside)
    maps, again = by_key(tree, _within(tree, MAPS), _beside)
    vague, _ = by_key(tree, _vague(tree), _organ_of_vague)
    couples, problems = couple(tree, pictures, maps, f"{MAPS}: {{}}")
    return Layout(
        "nuinsseg",
        "CC BY 4.0",
        "NuInsSeg (doi 10.5281/zenodo.10518968), Vienna: 31 slides, one per organ, of humans and "
        "mice; vague areas are to be ignored. Taken at 40x, pixel size not published.",
        tuple(_nuinsseg_case(tree, found, vague) for found in couples),
        (*twice, *again, *problems),
    )


def _within(tree: Tree, folder: str) -> list[Path]:
    return [path for path in tree.having(*IMAGES) if path.parent.name.lower() == folder]


def _beside(path: Path) -> str:
    return f"{path.parent.parent.as_posix()}/{path.stem}".lower()


def _vague(tree: Tree) -> Iterable[Path]:
    for path in tree.having(*IMAGES):
        parent, above = path.parent.name.lower(), path.parent.parent.name.lower()
        if parent == VAGUE[1] or (parent == VAGUE[0] and above == "vague areas"):
            yield path


def _organ_of_vague(path: Path) -> str:
    nested = path.parent.parent.name.lower() == "vague areas"
    organ = path.parent.parent.parent if nested else path.parent.parent
    return f"{organ.as_posix()}/{path.stem}".lower()


def _nuinsseg_case(tree: Tree, found: Couple, vague: dict[str, Path]) -> Case:
    ignore = (vague[found.key],) if found.key in vague else ()
    files = (found.image, found.mask, *ignore)
    home = found.image.parent.parent
    name = found.image.stem  # human_bladder_01
    organ = home.name if home != tree.folder else NUMBER.sub("", name)
    return Case(name, "nuinsseg", files, slide=organ, instances=True, tissue=organ)


def find_cryonuseg(tree: Tree) -> Layout | None:
    """Find ``tissue images/*.tif`` with the label maps of the first annotator's first round."""
    images = [path for path in _within(tree, PICTURES) if path.suffix.lower() in FROZEN]
    if not images:
        return None
    pictures, twice = by_key(tree, images, _stem)
    ranked = sorted(_within(tree, MAPS), key=lambda path: (_rank(tree, path), natural(path)))
    maps, _ = by_key(tree, ranked, _stem)  # the other annotators mark the same images
    couples, problems = couple(tree, pictures, maps, f"{MAPS}: {{}}")
    return Layout(
        "cryonuseg",
        "CC BY-NC-SA 4.0",
        "CryoNuSeg: frozen sections of TCGA, not independent of other sets made of it; where there "
        "are several annotators, the first round of the first one. Nominal pixel size of 40x.",
        tuple(_cryonuseg_case(found) for found in couples),
        (*twice, *problems),
    )


def _stem(path: Path) -> str:
    return path.stem.lower()


def _rank(tree: Tree, path: Path) -> int:
    place = tree.relative(path).lower()
    if "annotator" not in place:
        return 0
    first = "annotator 1" in place
    return 1 if first and "second" not in place else 2 if first else 3


def _cryonuseg_case(found: Couple) -> Case:
    files = (found.image, found.mask)
    parts = found.image.stem.split("_")  # Human_AdrenalGland_01
    tissue = parts[1] if len(parts) == 3 else ""
    name = found.image.stem
    return Case(name, "cryonuseg", files, um_per_px=0.25, instances=True, tissue=tissue)
