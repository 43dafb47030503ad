"""Nuclei as tables: CSV for people and spreadsheets, Parquet for programs, GeoJSON for QuPath."""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from typing import Any

from scope_sr.enhance.measure import COLUMNS, Nucleus, Outline

DECIMALS = 4
OUTLINE_DECIMALS = 2  # of a pixel
SPACE = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")  # the same nucleus keeps its name


def to_csv(nuclei: Sequence[Nucleus]) -> bytes:
    """Write a table with a line for each nucleus, after one with the names of the columns.

    >>> to_csv([Nucleus(1, 2.0, 3.0, 40.0, 22.5, 0.5, 0.97, 30.0, 0.41234567)]).decode().split()
    ['id,x_um,y_um,area_um2,perimeter_um,eccentricity,solidity,orientation_deg,haematoxylin_od',
    '1,2.0,3.0,40.0,22.5,0.5,0.97,30.0,0.4123']
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rounded(nucleus) for nucleus in nuclei)
    return text.getvalue().encode()


def to_parquet(nuclei: Sequence[Nucleus]) -> bytes:
    """Write the same table for pandas, polars, R and DuckDB, nothing rounded."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = list(zip(*map(astuple, nuclei), strict=True)) or [()] * len(COLUMNS)
    types = [pa.int64() if name == "id" else pa.float64() for name in COLUMNS]
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    buffer = io.BytesIO()
    pq.write_table(pa.table(arrays, names=list(COLUMNS)), buffer)
    return buffer.getvalue()


def to_geojson(found: Iterable[tuple[Nucleus, Outline]], name: str) -> bytes:
    """Write outlines as detections that QuPath imports, in pixels of the picture `name`."""
    features = [_feature(nucleus, outline, name) for nucleus, outline in found]
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def _feature(nucleus: Nucleus, outline: Outline, name: str) -> dict[str, Any]:
    ring = [
        [round(float(x), OUTLINE_DECIMALS), round(float(y), OUTLINE_DECIMALS)] for x, y in outline
    ]
    measures = dict(zip(COLUMNS[3:], _rounded(nucleus)[3:], strict=True))
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(SPACE, f"{name}/{nucleus.id}")),
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "objectType": "detection",
            "name": f"nucleus {nucleus.id}",
            "measurements": measures,
        },
    }


def _rounded(nucleus: Nucleus) -> tuple[Any, ...]:
    return tuple(
        round(value, DECIMALS) if isinstance(value, float) else value for value in astuple(nucleus)
    )
