"""Which layout a folder has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scope_sr.build_dataset.masks.case import Layout, with_fit_names
from scope_sr.build_dataset.masks.monuseg import find_monuseg
from scope_sr.build_dataset.masks.pairs import find_consep, find_lizard, find_tcia, find_tnbc
from scope_sr.build_dataset.masks.pannuke import find_pannuke
from scope_sr.build_dataset.masks.plain import find_plain
from scope_sr.build_dataset.masks.single_nuclei import find_dsb2018
from scope_sr.build_dataset.masks.tree import Tree, read_tree
from scope_sr.build_dataset.masks.vienna import find_cryonuseg, find_nuinsseg
from scope_sr.pictures.files import fault

PUBLISHED = (
    find_tcia, find_monuseg, find_pannuke, find_nuinsseg, find_consep, find_dsb2018, find_lizard,
    find_tnbc, find_cryonuseg,
)  # fmt: skip
NAMES = "TCIA, MoNuSeg, PanNuke, NuInsSeg, CoNSeP, DSB 2018, Lizard, TNBC, CryoNuSeg"
WAY_OUT = "put images into images/ and their masks under the same names into masks/"


def find_layout(folder: Path) -> Layout:
    """Recognise the layout of a folder of images with nuclei masks by its files.

    Published layouts are known by the names of their files, wherever below the folder these lie. A
    plain ``images/`` with ``masks/`` counts only where it lies nearer to the top than they do.

    Raises
    ------
    InputError
        There is no such folder, nothing is in it, none or more than one layout fits, or no image
        has its mask. In one line: the folder, what was found, the layouts known, the way out.
    """
    tree = read_tree(Path(folder))
    found = [layout for find in PUBLISHED if (layout := find(tree)) is not None]
    whole = [layout for layout in found if layout.cases]
    plain = find_plain(tree)
    if plain is not None and plain.cases and _nearer(plain, whole):
        told = tuple(f"{layout.name}, deeper in the folder: left out" for layout in whole)
        return _named(replace(plain, problems=plain.problems + told), tree)
    if len(whole) == 1:
        told = _others(whole[0], plain)
        return _named(replace(whole[0], problems=whole[0].problems + told), tree)
    if whole:
        names = " and ".join(layout.name for layout in whole)
        raise fault(tree.folder, f"holds {names} at once; build them one by one, a folder each")
    raise _nothing(tree, [*found, *([plain] if plain else [])])


def _nearer(plain: Layout, others: Sequence[Layout]) -> bool:
    depth = _depth(plain)
    return all(depth < _depth(layout) for layout in others)


def _depth(layout: Layout) -> int:
    return min(len(case.files[0].parts) for case in layout.cases)


def _others(layout: Layout, plain: Layout | None) -> tuple[str, ...]:
    """Tell images with plain masks that lie about below a published layout."""
    own = {case.files[0] for case in layout.cases}
    n = sum(case.files[0] not in own for case in (plain.cases if plain else ()))
    return (f"{n} images with masks are no part of {layout.name}: left out",) if n else ()


def _named(layout: Layout, tree: Tree) -> Layout:
    return replace(layout, cases=with_fit_names(layout.cases, tree.folder))


def _nothing(tree: Tree, found: Sequence[Layout]) -> Exception:
    """Say why no case was found: the layout was clear but its masks were missing, or it was not."""
    if found:
        layout = found[0]
        n = len(layout.problems) - 1
        more = f" (and {n} more)" if n > 0 else ""
        first = layout.problems[0].removesuffix("; left out") if layout.problems else "no case"
        text = f"looks like {layout.name}, but no image of it has its mask: {first}{more}"
        return fault(tree.folder, f"{text}; complete it, or {WAY_OUT}")
    text = f"no layout known fits what it holds ({_contents(tree)}); known are {NAMES}"
    return fault(tree.folder, f"{text}; else {WAY_OUT}")


def _contents(tree: Tree) -> str:
    endings = Counter(path.suffix.lower() or "no ending" for path in tree.files)
    return ", ".join(f"{n} x {ending}" for ending, n in endings.most_common(4))
