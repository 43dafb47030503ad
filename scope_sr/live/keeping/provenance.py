"""Where a picture comes from and what was done to it: for JSON, and as OME-XML."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from scope_sr.config import Rig
from scope_sr.frame import Frame, Position
from scope_sr.modelfile.card import Card, to_json
from scope_sr.software import NOTICE, this_version

if TYPE_CHECKING:
    from ome_types import OME, model

NAMESPACE = "scope-sr/live/1"
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
END_OF_PIXELS = "</Pixels>"


@dataclass(frozen=True)
class Network:
    """A network that took part.

    Attributes
    ----------
    sha256
        Of its model file.
    runtime
        What computed it, in words.
    """

    name: str
    sha256: str = ""
    runtime: str = ""
    card: Card | None = None

    def table(self) -> dict[str, Any]:
        """Give it as JSON takes it."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "runtime": self.runtime,
            "card": None if self.card is None else json.loads(to_json(self.card)),
        }


@dataclass(frozen=True)
class Circumstances:
    """What the pictures of a while have in common.

    Attributes
    ----------
    source
        Name of the rig or of what is replayed.
    rig
        None for a folder of pictures.
    gains
        White balance: by what red, green and blue of the camera were multiplied.
    camera_gain
        None where nobody knows.
    model, nuclei
        Generator and nuclei network; None where there was none.
    notes
        More that a reader should know, such as warnings of the model.
    """

    source: str
    rig: Rig | None = None
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    camera_gain: float | None = None
    model: Network | None = None
    nuclei: Network | None = None
    notes: tuple[str, ...] = ()

    def table(self) -> dict[str, Any]:
        """Give it as JSON takes it."""
        return {
            "source": self.source,
            "backend": None if self.rig is None else self.rig.backend,
            "rig_digest": None if self.rig is None else self.rig.digest,
            "white_balance": dict(zip(("red", "green", "blue"), self.gains, strict=True)),
            "camera_gain": self.camera_gain,
            "model": None if self.model is None else self.model.table(),
            "nuclei_model": None if self.nuclei is None else self.nuclei.table(),
            "notes": list(self.notes),
        }

    def lens(self, objective: str) -> dict[str, Any]:
        """Give what is known of an objective, as JSON takes it."""
        known = None if self.rig is None else self.rig.objectives.get(objective)
        return {
            "name": objective,
            "magnification": None if known is None else known.magnification,
            "numerical_aperture": None if known is None else known.numerical_aperture,
        }


def about(frame: Frame, um_per_px: float | None, circumstances: Circumstances) -> dict[str, Any]:
    """Give how a frame was taken, as JSON takes it."""
    return {
        "time": utc(frame.time),
        "time_s": frame.time,
        "number": frame.number,
        "objective": circumstances.lens(frame.objective),
        "exposure_ms": frame.exposure_ms,
        "stage_um": {"x": frame.position.x_um, "y": frame.position.y_um, "z": frame.position.z_um},
        "um_per_px": um_per_px,
    }


def signature() -> dict[str, Any]:
    """Give what stands in everything that is saved."""
    return {"notice": NOTICE, "software": this_version()}


def utc(time_s: float) -> str:
    """Give seconds since 1970 as people write them.

    >>> utc(1.8e9 + 0.25)
    '2027-01-15T08:00:00.250Z'
    """
    when = EPOCH + timedelta(seconds=time_s)
    return when.isoformat(timespec="milliseconds")[:-6] + "Z"


@dataclass(frozen=True)
class Plane:
    """Where and when one picture was taken; `time_s` in seconds since 1970."""

    position: Position
    exposure_ms: float
    time_s: float


@dataclass(frozen=True)
class Planes:
    """What an OME-TIFF holds: one picture, or one after the other.

    Attributes
    ----------
    name
        Of the image.
    shape, dtype
        Of one plane: ``(row, column)`` or ``(row, column, 3)``.
    bits
        Significant ones of a sample.
    um_per_px
        None where nobody knows.
    objective
        All were taken with.
    description
        For a reader.
    facts
        Provenance, for the annotation; tables in it become lists of ``a.b = c``.
    taken
        Of each plane; the first stands for the image.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bits: int
    um_per_px: float | None
    objective: str
    description: str
    facts: Mapping[str, Any]
    taken: Sequence[Plane]


def ome_xml(planes: Planes, circumstances: Circumstances) -> bytes:
    """Describe an OME-TIFF.

    ome-types makes all but the planes: there may be thousands, and they hold numbers only.
    """
    text: str = _document(planes, circumstances).to_xml()
    before, end, after = text.partition(END_OF_PIXELS)
    began_s = planes.taken[0].time_s
    lines = (_plane(number, plane, began_s) for number, plane in enumerate(planes.taken))
    return (HEAD + "".join([before, *lines, end, after])).encode()


def _plane(number: int, plane: Plane, began_s: float) -> str:
    at = plane.position
    return (
        f'<Plane TheZ="0" TheT="{number}" TheC="0" DeltaT="{plane.time_s - began_s:.6f}"'
        f' DeltaTUnit="s" ExposureTime="{float(plane.exposure_ms)!r}" ExposureTimeUnit="ms"'
        f' PositionX="{float(at.x_um)!r}" PositionXUnit="µm"'
        f' PositionY="{float(at.y_um)!r}" PositionYUnit="µm"'
        f' PositionZ="{float(at.z_um)!r}" PositionZUnit="µm"/>'
    )


def _document(planes: Planes, circumstances: Circumstances) -> OME:
    from ome_types import OME, model

    entries = model.Map(ms=[model.Map.M(k=key, value=value) for key, value in flat(planes.facts)])
    first, at = planes.taken[0], planes.taken[0].position
    return OME(
        uuid=f"urn:uuid:{uuid.uuid4()}",
        creator=this_version(),
        instruments=[_instrument(circumstances, planes.objective)],
        images=[
            model.Image(
                id="Image:0",
                name=planes.name,
                description=planes.description,
                acquisition_date=EPOCH + timedelta(seconds=first.time_s),
                instrument_ref=model.InstrumentRef(id="Instrument:0"),
                objective_settings=model.ObjectiveSettings(id="Objective:0"),
                stage_label=model.StageLabel(
                    name=planes.name, x=at.x_um, y=at.y_um, z=at.z_um,
                    x_unit="µm", y_unit="µm", z_unit="µm",
                ),
                pixels=_pixels(planes),
                annotation_refs=[model.AnnotationRef(id="Annotation:0")],
            )
        ],
        structured_annotations=model.StructuredAnnotations(
            map_annotations=[
                model.MapAnnotation(id="Annotation:0", namespace=NAMESPACE, value=entries)
            ]
        ),
    )  # fmt: skip


def flat(table: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Give the facts of a table within tables one by one.

    >>> flat({"a": {"b": 1, "c": None}, "d": ["e"]})
    [('a.b', '1'), ('d', '["e"]')]
    """
    facts: list[tuple[str, str]] = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            facts += flat(value, f"{before}{key}.")
        elif value is not None:
            words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            facts.append((f"{before}{key}", words))
    return facts


def _instrument(circumstances: Circumstances, objective: str) -> model.Instrument:
    from ome_types import model

    lens = circumstances.lens(objective)
    aperture = lens["numerical_aperture"]
    return model.Instrument(
        id="Instrument:0",
        microscope=model.Microscope(model=circumstances.source),
        objectives=[
            model.Objective(
                id="Objective:0",
                model=objective or "unknown",
                nominal_magnification=lens["magnification"],
                lens_na=aperture,
                immersion=None if aperture is None else "Oil" if aperture > 1 else "Air",
            )
        ],
    )


def _pixels(planes: Planes) -> model.Pixels:
    from ome_types import model

    samples = planes.shape[2] if len(planes.shape) == 3 else 1
    um = planes.um_per_px
    size = {} if um is None else {
        "physical_size_x": um, "physical_size_x_unit": "µm",
        "physical_size_y": um, "physical_size_y_unit": "µm",
    }  # fmt: skip
    return model.Pixels(
        id="Pixels:0",
        dimension_order="XYCZT",
        type={"float32": "float"}.get(planes.dtype, planes.dtype),
        significant_bits=planes.bits,
        interleaved=samples > 1,
        big_endian=False,
        size_x=planes.shape[1],
        size_y=planes.shape[0],
        size_z=1,
        size_c=samples,
        size_t=len(planes.taken),
        channels=[model.Channel(id="Channel:0:0", samples_per_pixel=samples)],
        tiff_data_blocks=[model.TiffData(ifd=0, plane_count=len(planes.taken))],
        **size,
    )
