"""A snapshot: what the camera gave, what was on the screen, the nuclei, and how all was made.

It is six files of one name, whole or not at all; the JSON appears last.

==========================  ====================================================================
``NAME.camera.ome.tif``     the frame as the camera gave it
``NAME.original.ome.tif``   the same developed: eight bits, corrected, white balanced
``NAME.enhanced.ome.tif``   the enhanced picture; black where it was not there yet
``NAME.nuclei.ome.tif``     numbers of the nuclei, 0 where there is none, over the enhanced picture
``NAME.png``                original and enhanced side by side, to look at
``NAME.json``               provenance
==========================  ====================================================================

Each is an image of its own: viewers take channels and planes of one file for one size and scale.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr import disk
from scope_sr.live.keeping.provenance import (
    Circumstances,
    Plane,
    Planes,
    about,
    ome_xml,
    signature,
    utc,
)
from scope_sr.live.seen import Rgb, Seen
from scope_sr.software import NOTICE

SCHEMA = "scope-sr/snapshot/1"
MOST_UINT16, MOST_FLOAT32 = 2**16 - 1, 2**24  # up to which a format holds each number of a nucleus
Picture = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Moment:
    """What was there when somebody pressed the button; nobody writes into it any more.

    Attributes
    ----------
    seen
        The frame that was made larger; with no enhanced picture the last one.
    enhanced
        ``(scale * rows, scale * columns, 3)`` uint8; 0 where nothing is. None: there was none.
    labels
        Over the enhanced picture, or over the original where there is none: 0, or a nucleus.
    covered
        Share of the field that was enhanced.
    areas_um2, counted_um2
        Of the nuclei that were counted, and of the field they were counted in.
    apart
        ``(rows, columns)`` disagreement in grey levels of 255, nan where nobody looked.
    taken_s
        Seconds since 1970.
    """

    seen: Seen
    circumstances: Circumstances
    enhanced: Rgb | None = None
    labels: NDArray[np.int32] | None = None
    covered: float = 0.0
    areas_um2: NDArray[np.float64] | None = None
    counted_um2: float | None = None
    apart: NDArray[np.float32] | None = None
    taken_s: float = field(default_factory=time.time)

    @property
    def scale(self) -> int:
        """Pixels of the enhanced picture to one of the original."""
        return 1 if self.enhanced is None else self.enhanced.shape[0] // self.seen.shape[0]


@dataclass(frozen=True, eq=False)
class _Part:
    """One picture of a snapshot; `scale` is that of its pixels against the camera's."""

    kind: str
    words: str
    pixels: Picture
    scale: int = 1


def write(folder: Path, moment: Moment, meanwhile: Callable[[], None] = lambda: None) -> Path:
    """Save a snapshot; give the PNG, beside which the others stand.

    Parameters
    ----------
    folder
        Made if it is not there.
    meanwhile
        Called between the files, for what cannot wait until all are written.

    Raises
    ------
    OSError
        The system refused; no file of it stands under its name.
    """
    disk.make_folders([folder])
    name = free_name(folder, "snapshot", moment.taken_s)
    parts = _parts(moment)
    facts = table(moment, name, parts)
    writers: dict[str, Callable[[Path], object]] = {
        # the last name to be given: where it stands the others stand
        f"{name}.json": lambda path: path.write_bytes(_lines(facts)),
        f"{name}.png": lambda path: _to_look_at(path, moment),
    }
    for part in parts:
        writers[_file(name, part)] = _saver(part, name, moment, facts)
    _all_or_none(folder, writers, meanwhile)
    return folder / f"{name}.png"


def free_name(folder: Path, what: str, at_s: float) -> str:
    """Find a name by the clock on the wall that nothing in a folder begins with."""
    begin = time.strftime(f"{what}-%Y-%m-%d-%H-%M-%S", time.localtime(at_s))
    there = {path.name.partition(".")[0] for path in folder.glob(f"{what}-*")}
    names = (begin if number == 1 else f"{begin}-{number}" for number in count(1))
    return next(name for name in names if name not in there)


def table(moment: Moment, name: str, parts: list[_Part]) -> dict[str, Any]:
    """Give the whole provenance, as JSON takes it."""
    seen = moment.seen
    return {
        "schema": SCHEMA,
        "name": name,
        **signature(),
        "saved": utc(moment.taken_s),
        "frame": {**about(seen.frame, seen.um_per_px, moment.circumstances), "view": seen.view},
        **moment.circumstances.table(),
        "enhanced": _enhanced(moment),
        "nuclei": _nuclei(moment),
        "disagreement": _disagreement(moment.apart),
        "files": {
            part.kind: {
                "file": _file(name, part),
                "holds": part.words,
                "shape": list(part.pixels.shape),
                "um_per_px": _um(seen, part),
            }
            for part in parts
        },
    }


def _parts(moment: Moment) -> list[_Part]:
    """List the pictures there are."""
    parts = [
        _Part("camera", "the frame as the camera gave it", moment.seen.frame.image),
        _Part("original", "the frame developed: 8 bits, corrected, white balanced",
              moment.seen.rgb),
    ]  # fmt: skip
    if moment.enhanced is not None:
        words = (
            f"the enhanced picture, {100 * moment.covered:.0f} % of the field; the rest is black"
        )
        parts.append(_Part("enhanced", words, moment.enhanced, moment.scale))
    if moment.labels is not None:
        words = "nuclei, each with a number of its own; 0: none"
        scale = moment.labels.shape[0] // moment.seen.shape[0]
        parts.append(_Part("nuclei", words, _shown(moment.labels), scale))
    return parts


def _shown(labels: NDArray[np.int32]) -> Picture:
    """Give labels as numbers that QuPath and Fiji show: neither shows whole ones of 32 bits."""
    most = int(labels.max(initial=0))
    if most <= MOST_UINT16:
        return labels.astype(np.uint16)
    return labels.astype(np.float32 if most <= MOST_FLOAT32 else np.uint32)


def _enhanced(moment: Moment) -> dict[str, Any] | None:
    if moment.enhanced is None:
        return None
    return {
        "scale": moment.scale,
        "covered_share": round(moment.covered, 4),
        "within_px": _box(moment.enhanced),
        "elsewhere": "black: not enhanced when the snapshot was taken",
    }


def _box(picture: Rgb) -> dict[str, int] | None:
    """Find the rectangle outside of which a picture is black."""
    lit = picture.max(axis=2) > 0
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    if not len(rows):
        return None
    return {
        "top": int(rows[0]),
        "left": int(columns[0]),
        "rows": int(rows[-1] - rows[0] + 1),
        "columns": int(columns[-1] - columns[0] + 1),
    }


def _nuclei(moment: Moment) -> dict[str, Any] | None:
    """Sum up the nuclei; areas and density only where the pixel size is known."""
    areas, field_um2 = moment.areas_um2, moment.counted_um2
    if areas is None:
        return None
    known = moment.seen.um_per_px is not None
    dense = known and field_um2
    return {
        "count": len(areas),
        "counted_mm2": round(field_um2 / 1e6, 6) if known and field_um2 is not None else None,
        "per_mm2": round(len(areas) / field_um2 * 1e6, 1) if dense and field_um2 else None,
        "mean_area_um2": round(float(areas.mean()), 2) if known and len(areas) else None,
    }


def _disagreement(apart: NDArray[np.float32] | None) -> dict[str, float] | None:
    """Sum up the map, in grey levels of 255."""
    known = None if apart is None else apart[np.isfinite(apart)]
    if known is None or not len(known):
        return None
    return {
        "mean_dn": round(float(known.mean()), 2),
        "p95_dn": round(float(np.percentile(known, 95)), 2),
        "largest_dn": round(float(known.max()), 2),
    }


def _um(seen: Seen, part: _Part) -> float | None:
    return None if seen.um_per_px is None else seen.um_per_px / part.scale


def _file(name: str, part: _Part) -> str:
    return f"{name}.{part.kind}.ome.tif"


def _saver(
    part: _Part, name: str, moment: Moment, facts: dict[str, Any]
) -> Callable[[Path], object]:
    """Give what writes a picture with its provenance under a name."""
    seen, bits = moment.seen, 8 * part.pixels.itemsize
    rig = moment.circumstances.rig
    um_per_px = _um(seen, part)
    planes = Planes(
        name=f"{name} {part.kind}",
        shape=part.pixels.shape,
        dtype=part.pixels.dtype.name,
        bits=min(bits, rig.camera.bits) if part.kind == "camera" and rig else bits,
        um_per_px=um_per_px,
        objective=seen.frame.objective,
        description=f"{part.words}. {NOTICE}",
        facts={key: value for key, value in facts.items() if key != "files"},
        taken=[Plane(seen.frame.position, seen.frame.exposure_ms, seen.frame.time)],
    )
    xml = ome_xml(planes, moment.circumstances)
    return lambda path: _save(path, part.pixels, xml, um_per_px)


def _save(path: Path, pixels: Picture, xml: bytes, um_per_px: float | None) -> None:
    import tifffile

    per_cm = None if um_per_px is None else (1e4 / um_per_px, 1e4 / um_per_px)
    tifffile.imwrite(
        path,
        pixels,
        description=xml,
        metadata=None,
        software=False,
        photometric="rgb" if pixels.ndim == 3 else "minisblack",
        # colours of tissue shrink little in much time; numbers of nuclei to a fiftieth
        compression=None if pixels.ndim == 3 else "zlib",
        resolution=per_cm,
        resolutionunit=None if per_cm is None else "CENTIMETER",
    )


def _to_look_at(path: Path, moment: Moment) -> None:
    from scope_sr.live.keeping.sidebyside import drawn

    drawn(moment.seen, moment.enhanced, moment.labels, moment.covered).save(
        path, format="png", compress_level=1
    )


def _all_or_none(
    folder: Path, writers: dict[str, Callable[[Path], object]], meanwhile: Callable[[], None]
) -> None:
    """Write files that stand under their names together, or not."""
    paths = [folder / name for name in writers]
    try:
        with ExitStack() as parts:  # gives the names in the opposite order, when all are written
            for path, write_it in zip(paths, writers.values(), strict=True):
                write_it(parts.enter_context(disk.whole(path)))
                meanwhile()
    except BaseException:
        with contextlib.suppress(OSError):
            disk.remove(paths)
        raise


def _lines(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, indent=2, ensure_ascii=False).encode() + b"\n"
