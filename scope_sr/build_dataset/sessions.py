"""A dataset from sessions: two readings of each, what its fields share being fitted in between."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.draft import Draft
from scope_sr.build_dataset.drawing import GroupTask, Lie, draw_group
from scope_sr.build_dataset.measuring import (
    GroupMeasured,
    Measured,
    MeasureTask,
    measure_group,
)
from scope_sr.build_dataset.parallel import Workers
from scope_sr.build_dataset.people import Whose, asked_splits
from scope_sr.build_dataset.pooling import (
    Shared,
    acquaint,
    begin_with,
    duplicates,
    pick_acquaintances,
    pick_samples,
    pool,
)
from scope_sr.build_dataset.setup import (
    Group,
    Setup,
    Visit,
    digest_of,
    groups_of,
    set_up,
)
from scope_sr.build_dataset.story import Story, story_of
from scope_sr.build_dataset.work import from_npz, to_npz
from scope_sr.dataset import Header, Pair, Source
from scope_sr.dataset.cells import CELL_PX
from scope_sr.dataset.index import Level, Split, from_line, to_line
from scope_sr.dataset.splits import Area, assign, cut, level_of
from scope_sr.degradation import refuse_empty_magnification, usual_scale
from scope_sr.errors import InputError
from scope_sr.imaging.session_model import SessionModel, shift_of
from scope_sr.session import Session
from scope_sr.software import this_version

Tell = Callable[[str, int, int], None]

SAME_SCALE = 0.01  # by which sessions of one dataset may differ in µm per pixel


def open_sessions(folders: Sequence[Path]) -> list[Session]:
    """Open sessions to build from.

    Raises
    ------
    InputError
        One is missing, damaged or without a single pair, or two cannot stand in one dataset.
    """
    sessions = [Session.open(folder.absolute()) for folder in folders]
    for folder, session in zip(folders, sessions, strict=True):
        if not groups_of(session):
            there = len(session.there())
            msg = (
                f"{folder}: no pair to build from, {there} of {len(session.plan.steps)} fields are"
                " captured and no high one lies in a low one; capture first"
            )
            raise InputError(msg)
    _refuse_mixture(folders, sessions)
    return sessions


def scale_of(sessions: Sequence[Session], asked: int | None) -> int:
    """Choose the scale of the dataset, or refuse the one asked for."""
    for session in sessions:
        plan, lenses = session.plan, session.record.objectives
        ratio = lenses[plan.low].pixel_size_um / lenses[plan.high].pixel_size_um
        scale = asked or usual_scale(session.record, plan.low, plan.high)
        refuse_empty_magnification(str(session.folder), ratio, scale)
    return scale


def visits_of(
    sessions: Sequence[Session], names: Sequence[str], whose: dict[str, Whose]
) -> list[Visit]:
    """Put with each session its name in the dataset, its digest and whose it is."""
    return [
        Visit(session, name, digest_of(session), whose[name])
        for session, name in zip(sessions, names, strict=True)
    ]


def names_of(folders: Sequence[Path]) -> list[str]:
    """Name sessions by their folders, each name once.

    >>> names_of([Path("a/slide"), Path("b/slide")])
    ['slide', 'slide-2']
    """
    names: list[str] = []
    for folder in folders:
        name = folder.absolute().name
        same = sum(known == name or known.startswith(f"{name}-") for known in names)
        names.append(f"{name}-{same + 1}" if name in names else name)
    return names


def build_from_sessions(
    visits: Sequence[Visit],
    draft: Draft,
    scale: int,
    licence: str,
    pool_of: Workers,
    tell: Tell,
) -> tuple[Header, tuple[Pair, ...], tuple[Story, ...]]:
    """Build all that is not built yet; gives header, index and what the report shows.

    Sessions that a finished dataset in the folder knows, unchanged, are not read again.
    """
    allot = _allotment(visits, draft)
    pairs: list[Pair] = []
    sources, stories = [], []
    for visit in visits:
        source, own = _known(draft, visit)
        if source is None:
            story = _build(visit, draft, scale, pool_of, allot, tell)
            source, own = story.source, story.pairs
            stories.append(story)
        sources.append(replace(source, licence=licence))
        pairs += own
    first = visits[0].session
    header = Header(
        kind="pairs",
        name=draft.folder.absolute().name,
        scale=scale,
        low_um_per_px=first.record.objectives[first.plan.low].pixel_size_um,
        bits=first.rig.camera.bits,
        color=first.rig.camera.color,
        cell_px=CELL_PX,
        simulated=False,
        level=allot.level,
        groups=allot.groups,
        areas={slide: area.table() for slide, area in allot.areas.items()},
        sources=tuple(sources),
        software=this_version(),
    )
    return header, tuple(pairs), tuple(stories)


@dataclass(frozen=True)
class Allotment:
    """Which split whose tissue belongs to."""

    level: Level
    groups: dict[str, Split]
    areas: dict[str, Area]

    def split_of(self, whose: Whose) -> Split | Area:
        """Give the split of a session, or how its slide is cut."""
        if self.level == "area":
            return self.areas[whose.slide]
        return self.groups[whose.patient if self.level == "patient" else whose.slide]


def _allotment(visits: Sequence[Visit], draft: Draft) -> Allotment:
    """Decide all splits before a pixel is read; what was decided before stays."""
    before = draft.known.header if draft.known else None
    whose = [visit.whose for visit in visits]
    level = (
        before.level if before else level_of([w.patient for w in whose], [w.slide for w in whose])
    )
    keys = [w.patient if level == "patient" else w.slide for w in whose]
    if level in ("patient", "slide") and "" in keys:
        name = visits[keys.index("")].name
        msg = f"the dataset is split by {level}: say of which {level} {name} is, with --patients"
        raise InputError(msg)
    known = {**asked_splits(whose, level), **(before.groups if before else {})}
    if level != "area":
        return Allotment(level, assign(keys, known), {})
    areas = {s: Area.from_table(table) for s, table in before.areas.items()} if before else {}
    return Allotment(level, {}, areas)


def _cut(session: Session, measured: Sequence[GroupMeasured]) -> Area:
    """Cut a slide by where high fields with tissue were taken, before anything is drawn."""
    plan, record = session.plan, session.record
    highs = [field for group in measured for field in group.highs]
    found = [field for field in highs if field.found] or highs
    centres = [
        record.specimen_um(plan.high, stand)
        for field in found
        if (stand := session.entries[field.name].position) is not None
    ]
    lens, camera = record.objectives[plan.low], session.rig.camera
    return cut(np.array(centres), lens.pixel_size_um * min(camera.width_px, camera.height_px))


def _known(draft: Draft, visit: Visit) -> tuple[Source | None, tuple[Pair, ...]]:
    if draft.known is None or not draft.known.index_is_its_own:
        return None, ()
    for source in draft.known.header.sources:
        if (source.name, source.digest) == (visit.name, visit.digest):
            own = [i for i in draft.known.items if isinstance(i, Pair) and i.source == source.name]
            same = all(pair.patient == visit.whose.patient for pair in own)
            if same and _is_whole(draft.folder, own):
                return source, tuple(own)
    return None, ()


def _is_whole(folder: Path, pairs: Sequence[Pair]) -> bool:
    """Tell whether the images of a finished dataset are there as they were written."""
    files = {pair.low: pair.low_sha256 for pair in pairs if pair.accepted}
    files |= {pair.high: pair.high_sha256 for pair in pairs if pair.accepted}
    try:
        return all(
            hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha256
            for name, sha256 in files.items()
        )
    except OSError:
        return False


def _build(
    visit: Visit, draft: Draft, scale: int, pool_of: Workers, allot: Allotment, tell: Tell
) -> Story:
    session = visit.session
    setup = set_up(session, visit.name, scale)
    groups = groups_of(session)
    model, offset = begin_with(setup, _acquainted(setup, groups, pool_of, tell))
    measured = _measured(visit, setup, groups, model, offset, draft, pool_of, tell)
    shared = pool(setup, session, model, measured)
    lies = place_fields(session, shared, measured)
    if allot.level == "area":
        allot.areas.setdefault(visit.whose.slide, _cut(session, measured))
    pairs = _drawn(visit, setup, shared, measured, lies, draft, pool_of, allot, tell)
    return story_of(visit, setup, shared, measured, pairs)


def _acquainted(
    setup: Setup, groups: tuple[Group, ...], pool_of: Workers, tell: Tell
) -> Iterable[Any]:
    tasks = [(setup, low, high) for low, high in pick_acquaintances(groups)]
    for done, found in enumerate(pool_of.each(acquaint, tasks), start=1):
        tell(f"{setup.name}: first fields", done, len(tasks))
        yield found


def _measured(
    visit: Visit,
    setup: Setup,
    groups: tuple[Group, ...],
    model: SessionModel,
    offset: NDArray[np.float64],
    draft: Draft,
    pool_of: Workers,
    tell: Tell,
) -> list[GroupMeasured]:
    """Measure all groups, those of an earlier run that was broken off but once."""
    files = {group.low: _work_file(visit, group.low, "npz") for group in groups}
    kept = {low: data for low, file in files.items() if (data := draft.kept(file)) is not None}
    found = {low: from_npz(data) for low, data in kept.items()}
    samples = pick_samples(groups)
    tasks = [
        MeasureTask(setup, model, offset, group, samples)
        for group in groups
        if group.low not in found
    ]
    done, total = sum(len(g.highs) for g in found.values()), sum(len(g.highs) for g in groups)
    tell(f"{setup.name}: measuring", done, total)
    for measured in pool_of.each(measure_group, tasks):
        draft.keep(files[measured.low], to_npz(measured))
        found[measured.low] = measured
        done += len(measured.highs)
        tell(f"{setup.name}: measuring", done, total)
    return [found[group.low] for group in groups]


def place_fields(
    session: Session, shared: Shared, measured: Sequence[GroupMeasured]
) -> dict[str, tuple[Lie, ...]]:
    """Place every field by the map of the session, and name those that cannot be right."""
    twins = _twins(session, measured)
    return {
        group.low: tuple(_lie(session, shared, group, field, twins) for field in group.highs)
        for group in measured
    }


def _twins(session: Session, measured: Sequence[GroupMeasured]) -> dict[str, str]:
    lows = [(g.low, session.entries[g.low].time, g.looks.thumb) for g in measured]
    highs = [
        (field.name, session.entries[field.name].time, field.looks.thumb)
        for group in measured
        for field in group.highs
    ]
    return {**duplicates(lows), **duplicates(highs)}


def _lie(
    session: Session,
    shared: Shared,
    group: GroupMeasured,
    field: Measured,
    twins: dict[str, str],
) -> Lie:
    against = [f"capture: {f}" for n in (group.low, field.name) for f in session.entries[n].faults]
    against += [
        f"duplicate: {name} shows what {twins[name]} shows; the stage did not move"
        for name in (group.low, field.name)
        if name in twins
    ]
    if not len(field.matches):
        against.append(
            "not found: nothing in the low field looks like it; is it in focus, and of this place?"
            if field.looks.thumb is not None or field.tissue_expected
            else "tissue: nothing to see in it but glass"
        )
        return Lie(field.name, None, math.nan, field.looks.clipped, 0, tuple(against))
    shift, _ = shift_of(shared.model, field.matches)
    away_px = shift - field.expected_px - shared.offset_px
    pixel_um = session.record.objectives[session.plan.low].pixel_size_um
    return Lie(
        name=field.name,
        shift_px=shift,
        away_um=float(np.hypot(*away_px)) * pixel_um,
        clipped=field.looks.clipped,
        blocks=len(field.matches),
        reasons=tuple(against),
    )


def _drawn(
    visit: Visit,
    setup: Setup,
    shared: Shared,
    measured: Sequence[GroupMeasured],
    lies: dict[str, tuple[Lie, ...]],
    draft: Draft,
    pool_of: Workers,
    allot: Allotment,
    tell: Tell,
) -> tuple[Pair, ...]:
    """Draw all groups, those of an earlier run that was broken off but once."""
    files = {group.low: _work_file(visit, group.low, "jsonl") for group in measured}
    kept = {low: data for low, file in files.items() if (data := draft.kept(file)) is not None}
    found: dict[str, tuple[Any, ...]] = {
        low: tuple(from_line(line, "pairs") for line in data.splitlines())
        for low, data in kept.items()
    }
    tasks = [
        GroupTask(
            setup, shared, draft.folder, group.low, group.looks.clipped, lies[group.low],
            visit.whose.slide, visit.whose.patient, allot.split_of(visit.whose),
        )
        for group in measured
        if group.low not in found
    ]  # fmt: skip
    done, total = sum(map(len, found.values())), sum(map(len, lies.values()))
    tell(f"{setup.name}: drawing", done, total)
    for task, pairs in zip(tasks, pool_of.each(draw_group, tasks), strict=True):
        draft.keep(files[task.low], "".join(to_line(pair) + "\n" for pair in pairs).encode())
        found[task.low] = tuple(from_line(to_line(pair), "pairs") for pair in pairs)
        done += len(pairs)
        tell(f"{setup.name}: drawing", done, total)
    return tuple(pair for group in measured for pair in found[group.low])


def _refuse_mixture(folders: Sequence[Path], sessions: Sequence[Session]) -> None:
    """Refuse sessions whose images a network could not take for the same kind of thing."""
    first = sessions[0]

    def kind(session: Session) -> tuple[float, int, bool]:
        lens = session.record.objectives[session.plan.low]
        return lens.pixel_size_um, session.rig.camera.bits, session.rig.camera.color

    size, bits, color = kind(first)
    ids: dict[str, Path] = {}
    for folder, session in zip(folders, sessions, strict=True):
        if session.header.id in ids:
            msg = f"{folder} is the same session as {ids[session.header.id]}; name it once"
            raise InputError(msg)
        ids[session.header.id] = folder
        own_size, own_bits, own_color = kind(session)
        for what, mine, other in (
            ("bits per pixel", own_bits, bits),
            ("colour", own_color, color),
        ):
            if mine != other:
                msg = (
                    f"{folder}: {what} {mine}, {folders[0]}: {other}; one dataset holds one kind of"
                    " image, build two"
                )
                raise InputError(msg)
        if abs(own_size / size - 1) > SAME_SCALE:
            msg = (
                f"{folder}: {own_size:.4g} µm per low pixel, {folders[0]}: {size:.4g}; a dataset"
                " has one scale, build two"
            )
            raise InputError(msg)


def _work_file(visit: Visit, step: str, ending: str) -> str:
    """Name the file of a group's work; another content of the session has other files."""
    return f"{visit.name}-{visit.digest[:16]}/{step.replace('/', '-')}.{ending}"
