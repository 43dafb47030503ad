"""The job ``build-dataset``, from each kind of source to a finished dataset with its report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scope_sr.build_dataset.draft import Draft
from scope_sr.build_dataset.files import Found, name_of
from scope_sr.build_dataset.images import build_from_images, plan_images
from scope_sr.build_dataset.labelled import build_from_masks
from scope_sr.build_dataset.masks import find_layout
from scope_sr.build_dataset.pairs import build_from_pairs, find_pairs, registration_json
from scope_sr.build_dataset.parallel import workers
from scope_sr.build_dataset.people import Whose, read_patients
from scope_sr.build_dataset.report import draw_pictures, write_report
from scope_sr.build_dataset.reshoot import reshoot_list
from scope_sr.build_dataset.sessions import (
    build_from_sessions,
    names_of,
    open_sessions,
    scale_of,
    visits_of,
)
from scope_sr.build_dataset.setup import Visit
from scope_sr.build_dataset.story import Story
from scope_sr.config import Rig
from scope_sr.dataset import Dataset, Header
from scope_sr.dataset.folder import CARD, REGISTRATION, REPORT, RESHOOT
from scope_sr.dataset.index import Item
from scope_sr.degradation import optics_of
from scope_sr.session import resume_command

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Built:
    """A finished dataset, the fields of its sessions worth taking again, and remarks."""

    dataset: Dataset
    reshoot: tuple[dict[str, Any], ...] = ()
    remarks: tuple[str, ...] = ()


def from_sessions(
    folders: Sequence[Path],
    out: Path,
    *,
    scale: int | None,
    patients: Path | None,
    licence: str,
    count: int,
    resume: bool,
    tell: Tell,
) -> Built:
    """Build from captured sessions.

    Raises
    ------
    InputError
        A session cannot be used, or two cannot stand in one dataset; nothing was written.
    DatasetError
        The folder cannot be written.
    """
    sessions = open_sessions(folders)
    names = names_of(folders)
    scale = scale_of(sessions, scale)
    visits = visits_of(sessions, names, read_patients(patients, names))
    job = {"kind": "pairs", "from": "sessions", "scale": scale, "licence": licence}
    with Draft.begin(out, job, names, resume=resume) as draft, workers(count) as pool:
        header, pairs, stories = build_from_sessions(visits, draft, scale, licence, pool, tell)
        reshoot = reshoot_list(folders, visits, pairs)
        dataset = _finished(draft, header, pairs, stories, reshoot)
        return Built(dataset, tuple(reshoot), tuple(_unfinished(visits)))


def from_pairs(
    low: Path,
    high: Path,
    out: Path,
    *,
    scale: int | None,
    patients: Path | None,
    licence: str,
    count: int,
    resume: bool,
    tell: Tell,
) -> Built:
    """Build from pairs of image files of unknown geometry, of one name in two folders."""
    found = find_pairs(low, high)
    whose = _whose(found, patients)
    job = {"kind": "pairs", "from": "pairs", "asked": scale, "licence": licence}
    with Draft.begin(out, job, [name_of(low)], resume=resume) as draft, workers(count) as pool:
        header, pairs = build_from_pairs(found, whose, draft, scale, licence, pool, tell)
        draft.write(REGISTRATION, registration_json(pairs))
        return Built(_finished(draft, header, pairs), remarks=found.problems)


def from_images(
    folder: Path,
    rig: Rig,
    out: Path,
    *,
    scale: int | None,
    patients: Path | None,
    licence: str,
    count: int,
    resume: bool,
    tell: Tell,
) -> Built:
    """Build from high-magnification images alone: the low ones are made by the rig's optics."""
    optics = optics_of(rig, scale)
    found = plan_images(folder)
    whose = _whose(found, patients)
    job = {"kind": "pairs", "from": "images", "optics": optics.table(), "licence": licence}
    with Draft.begin(out, job, [name_of(folder)], resume=resume) as draft, workers(count) as pool:
        header, pairs = build_from_images(found, optics, whose, draft, licence, pool, tell)
        return Built(_finished(draft, header, pairs), remarks=found.problems)


def from_masks(
    folder: Path,
    out: Path,
    *,
    patients: Path | None,
    licence: str,
    count: int,
    resume: bool,
    tell: Tell,
) -> Built:
    """Build from images in which nuclei are marked, in any layout known."""
    layout = find_layout(folder)
    whose = read_patients(patients, [case.name for case in layout.cases]) if patients else None
    job = {"kind": "nuclei", "from": "masks", "licence": licence}
    with Draft.begin(out, job, [name_of(folder)], resume=resume) as draft, workers(count) as pool:
        header, items = build_from_masks(folder, layout, whose, draft, licence, pool, tell)
        return Built(_finished(draft, header, items), remarks=layout.problems)


def _whose(found: Found, patients: Path | None) -> dict[str, Whose]:
    """Read whose tissue each image shows; the table has the names the user gave them."""
    rows = read_patients(patients, found.titles)
    return {name: rows[title] for name, title in zip(found.names, found.titles, strict=True)}


def _unfinished(visits: Sequence[Visit]) -> Iterator[str]:
    """Say of which sessions only a part was there to build from."""
    for visit in visits:
        left = len(visit.session.remaining())
        if left:
            again = resume_command(visit.session.folder)
            yield (
                f"{visit.name}: {left} of {len(visit.session.plan.steps)} fields are not captured,"
                f" or rejected when they were; {again} takes them"
            )


def _finished(
    draft: Draft,
    header: Header,
    items: Sequence[Item],
    stories: Sequence[Story] = (),
    reshoot: Sequence[dict[str, Any]] = (),
) -> Dataset:
    """Draw what is new, write what people read, and last what makes it a dataset."""
    told = {story.source.name: story for story in stories}
    known = {source.name for source in draft.known.header.sources} if draft.known else set()
    for source in header.sources:
        if source.name in told or source.name not in known or source.kind != "session":
            own = [item for item in items if item.source == source.name]
            draw_pictures(draft.folder, header, source, own, told.get(source.name))
    report, card = write_report(draft.folder, header, items, reshoot)
    draft.write(REPORT, report)
    draft.write(CARD, card)
    draft.write(RESHOOT, json.dumps({"sessions": list(reshoot)}, indent=2).encode() + b"\n")
    return draft.finish(header, items)
