"""What was measured of a group, as bytes: it waits in the folder of work for a later run."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.measuring import GroupMeasured, Looks, Measured
from scope_sr.imaging.session_model import Matches


def to_npz(group: GroupMeasured) -> bytes:
    """Write what was measured of a group."""
    arrays: dict[str, NDArray[Any]] = {}
    highs = []
    for number, field in enumerate(group.highs):
        key = str(number)
        arrays[f"{key}.low_px"], arrays[f"{key}.high_px"] = (
            field.matches.low_px,
            field.matches.high_px,
        )
        arrays[f"{key}.colors_low"] = field.colors_low
        arrays[f"{key}.colors_high"] = field.colors_high
        arrays[f"{key}.expected_px"] = field.expected_px
        highs.append(
            {
                "name": field.name,
                "looks": _plain(field.looks, key, arrays),
                "found": field.found,
                "tissue_expected": field.tissue_expected,
                "likeness": field.likeness,
                "wide": field.wide,
                "sharpness": field.sharpness,
            }
        )
    table = {
        "low": group.low,
        "looks": _plain(group.looks, "low", arrays),
        "bright": list(group.bright),
        "highs": highs,
    }
    arrays["table"] = np.frombuffer(json.dumps(table).encode(), np.uint8)
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def from_npz(data: bytes) -> GroupMeasured:
    """Read what `to_npz` wrote."""
    with np.load(io.BytesIO(data)) as arrays:
        table = json.loads(arrays["table"].tobytes())
        highs = []
        for number, row in enumerate(table["highs"]):
            key = str(number)
            highs.append(
                Measured(
                    name=row["name"],
                    looks=_looks(row["looks"], key, arrays),
                    expected_px=arrays[f"{key}.expected_px"],
                    found=row["found"],
                    tissue_expected=row["tissue_expected"],
                    matches=Matches(arrays[f"{key}.low_px"], arrays[f"{key}.high_px"]),
                    likeness=row["likeness"],
                    wide=row["wide"],
                    sharpness=row["sharpness"],
                    colors_low=arrays[f"{key}.colors_low"],
                    colors_high=arrays[f"{key}.colors_high"],
                )
            )
        looks = _looks(table["looks"], "low", arrays)
        return GroupMeasured(table["low"], looks, tuple(table["bright"]), tuple(highs))


def _plain(looks: Looks, key: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    if looks.thumb is not None:
        arrays[f"{key}.thumb"] = looks.thumb
    return {"clipped": looks.clipped}


def _looks(row: dict[str, Any], key: str, arrays: Any) -> Looks:
    thumb = arrays[f"{key}.thumb"] if f"{key}.thumb" in arrays else None
    return Looks(row["clipped"], thumb)
