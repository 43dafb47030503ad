"""A dataset of images in which nuclei are marked, from whatever layout they come in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from scope_sr.build_dataset.allotting import settled
from scope_sr.build_dataset.draft import Draft, refusals
from scope_sr.build_dataset.files import name_of
from scope_sr.build_dataset.masks import Case, Layout, write_case
from scope_sr.build_dataset.parallel import Workers
from scope_sr.build_dataset.people import Whose
from scope_sr.dataset import Header, Labelled, Source
from scope_sr.dataset.cells import CELL_PX
from scope_sr.software import this_version


def build_from_masks(
    folder: Path,
    layout: Layout,
    whose: Mapping[str, Whose] | None,
    draft: Draft,
    licence: str,
    pool: Workers,
    tell: Any,
) -> tuple[Header, tuple[Labelled, ...]]:
    """Write every image with its nuclei; whose they are the user says, else the layout."""
    cases = [_of(case, whose) for case in layout.cases]
    source = name_of(folder)
    write = partial(_write, draft.folder, source)
    items: list[Labelled] = []
    for number, item in enumerate(pool.each(write, cases), start=1):
        items.append(item)
        tell("writing", number, len(cases))
    digest = hashlib.sha256("".join(i.image_sha256 + i.labels_sha256 for i in items).encode())
    facts = {"layout": layout.name, "note": layout.note}
    header = Header(
        kind="nuclei",
        name=draft.folder.absolute().name,
        scale=1,
        low_um_per_px=cases[0].um_per_px,
        bits=8,
        color=True,
        cell_px=CELL_PX,
        simulated=False,
        level="image",
        groups={},
        areas={},
        sources=(Source(source, "masks", digest.hexdigest(), licence or layout.licence, facts),),
        software=this_version(),
    )
    before = draft.known.header if draft.known else None
    return settled(draft.folder, header, items, before, whose.values() if whose else ())


def _of(case: Case, whose: Mapping[str, Whose] | None) -> Case:
    if whose is None:
        return case
    return replace(case, patient=whose[case.name].patient, slide=whose[case.name].slide)


def _write(folder: Path, source: str, case: Case) -> Labelled:
    with refusals(folder):
        return write_case(case, folder, source)
