"""A field as an OME-TIFF: the pixels losslessly, and in OME-XML where and how they were taken."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING

# The stdlib's parser is safe here: it only ever reads what ome-types has just written
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from ome_types import model

    from scope_sr.config import Rig
    from scope_sr.plan import Step
    from scope_sr.session.journal import Entry

NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
ANNOTATION = "scope-sr/field/1"
TILE_PX = 512
NO_UUID = "urn:uuid:00000000-0000-0000-0000-000000000000"
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# Keys of the MapAnnotation, in the order of _particulars
PARTICULARS = (
    "step", "pass", "row", "column", "parent", "commanded_x_um", "commanded_y_um",
    "commanded_z_um", "objective", "slot", "session", "rig_digest", "software",
)  # fmt: skip
# Without this ElementTree writes ns0:OME, which some readers do not take for OME-XML
ET.register_namespace("", NAMESPACE)


@dataclass(frozen=True)
class Origin:
    """What all fields of a session have in common; `created_s` is in seconds since 1970."""

    session_id: str
    created_s: float
    software: str
    rig: Rig
    rig_digest: str
    pixel_size_um: dict[str, float]

    def urn(self, name: str) -> str:
        """Name a file of the session for all time; a recaptured field keeps its name."""
        return f"urn:uuid:{uuid.uuid5(uuid.UUID(self.session_id), name)}"


@dataclass(frozen=True)
class Kind:
    """What the OME-XML of a field depends on beyond the particulars of its step."""

    microscope: str
    objective: str
    magnification: float
    numerical_aperture: float
    pixel_size_um: float
    bits: int
    shape: tuple[int, ...]
    dtype: str


class Document:
    """The OME-XML of one field, built once and then filled in for each.

    Building one with ome-types takes longer than all the software of a field may. `root` is the
    OME element, `image` its Image and `annotation` its MapAnnotation; all are reused by `fill`.
    """

    def __init__(self, origin: Origin, objective: str, shape: tuple[int, ...], dtype: str) -> None:
        lens = origin.rig.objectives[objective]
        kind = Kind(
            microscope=origin.rig.name,
            objective=objective,
            magnification=lens.magnification,
            numerical_aperture=lens.numerical_aperture,
            pixel_size_um=origin.pixel_size_um[objective],
            bits=min(origin.rig.camera.bits, {"uint8": 8, "uint16": 16}[dtype]),
            shape=shape,
            dtype=dtype,
        )
        self.origin = origin
        self.root = ET.fromstring(_template(kind))  # noqa: S314
        self.root.set("Creator", origin.software)
        self.image = _child(self.root, "Image")
        self.annotation = _child(self.root, "StructuredAnnotations/MapAnnotation")
        self._values = list(_child(self.annotation, "Value"))

    def fill(self, step: Step, entry: Entry, file: str, index: int = 0) -> None:
        """Put the particulars of one field in; `file` is its path as seen from the document."""
        name = self.origin.urn(step.name)
        self.root.set("UUID", name)
        image, pixels = self.image, _child(self.image, "Pixels")
        image.attrib |= {"ID": f"Image:{index}", "Name": step.name}
        when = EPOCH + timedelta(seconds=entry.time)
        _child(image, "AcquisitionDate").text = when.isoformat(timespec="milliseconds")[:-6] + "Z"
        _child(image, "AnnotationRef").set("ID", f"Annotation:{index}")
        pixels.set("ID", f"Pixels:{index}")
        _child(pixels, "Channel").set("ID", f"Channel:{index}:0")
        identity = _child(pixels, "TiffData/UUID")
        identity.set("FileName", file)
        identity.text = name
        self._place(step, entry)
        self.annotation.set("ID", f"Annotation:{index}")
        for item, value in zip(self._values, _particulars(self.origin, step), strict=True):
            item.text = value

    def _place(self, step: Step, entry: Entry) -> None:
        where = entry.position or step.position
        x, y, z = _exact(where.x_um), _exact(where.y_um), _exact(where.z_um)
        _child(self.image, "StageLabel").attrib |= {"Name": step.name, "X": x, "Y": y, "Z": z}
        _child(self.image, "Pixels/Plane").attrib |= {
            "PositionX": x,
            "PositionY": y,
            "PositionZ": z,
            "ExposureTime": _exact(entry.exposure_ms),
            "DeltaT": _exact(round(entry.time - self.origin.created_s, 6)),
        }


def to_bytes(root: ET.Element) -> bytes:
    """Write a document as UTF-8."""
    text: str = ET.tostring(root, encoding="unicode")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + text.encode()


def to_tiff(
    image: NDArray[np.uint8] | NDArray[np.uint16], xml: bytes, pixel_size_um: float
) -> bytes:
    """Write an image, ``(row, column)`` or ``(row, column, 3)``, as a tiled, lossless OME-TIFF."""
    import tifffile

    buffer = BytesIO()
    rows, columns = image.shape[:2]
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(
            image,
            description=xml,
            metadata=None,
            software=False,
            photometric="rgb" if image.ndim == 3 else "minisblack",
            tile=(min(TILE_PX, rows // 16 * 16), min(TILE_PX, columns // 16 * 16)),
            # zstd-1 with predictor: 0.59 of the size at 300 MB/s; see docs/decisions
            compression="zstd",
            compressionargs={"level": 1},
            predictor=True,
            resolution=(1e4 / pixel_size_um, 1e4 / pixel_size_um),
            resolutionunit="CENTIMETER",
        )
    return buffer.getvalue()


def from_tiff(data: bytes) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Read the pixels back, without looking at the OME-XML."""
    import tifffile

    with tifffile.TiffFile(BytesIO(data)) as file:
        pixels: NDArray[np.uint8] | NDArray[np.uint16] = file.pages.first.asarray()
    return pixels


def _particulars(origin: Origin, step: Step) -> tuple[str, ...]:
    """Give what OME-XML has no place for, in the order of PARTICULARS."""
    return (
        step.name,
        step.pass_,
        str(step.row),
        str(step.column),
        step.parent,
        _exact(step.position.x_um),
        _exact(step.position.y_um),
        _exact(step.position.z_um),
        step.objective,
        str(origin.rig.objectives[step.objective].slot),
        origin.session_id,
        origin.rig_digest,
        origin.software,
    )


def _exact(number: float) -> str:
    """Give the digits that read back as the same number; a driver may hand over NumPy's floats."""
    return repr(float(number))


@lru_cache(maxsize=16)
def _template(kind: Kind) -> str:
    """Describe the instrument and the pixels; what differs between fields is a placeholder."""
    from ome_types import OME, model

    entries = model.Map(ms=[model.Map.M(k=key, value="") for key in PARTICULARS])
    ome = OME(
        uuid=NO_UUID,
        instruments=[_instrument(kind)],
        images=[
            model.Image(
                id="Image:0",
                name="",
                acquisition_date=EPOCH,
                instrument_ref=model.InstrumentRef(id="Instrument:0"),
                objective_settings=model.ObjectiveSettings(id="Objective:0"),
                stage_label=model.StageLabel(
                    name="", x=0, y=0, z=0, x_unit="µm", y_unit="µm", z_unit="µm"
                ),
                pixels=_pixels(kind),
                annotation_refs=[model.AnnotationRef(id="Annotation:0")],
            )
        ],
        structured_annotations=model.StructuredAnnotations(
            map_annotations=[
                model.MapAnnotation(id="Annotation:0", namespace=ANNOTATION, value=entries)
            ]
        ),
    )
    return ome.to_xml()


def _instrument(kind: Kind) -> model.Instrument:
    from ome_types import model

    return model.Instrument(
        id="Instrument:0",
        microscope=model.Microscope(model=kind.microscope),
        objectives=[
            model.Objective(
                id="Objective:0",
                model=kind.objective,
                nominal_magnification=kind.magnification,
                lens_na=kind.numerical_aperture,
                immersion="Oil" if kind.numerical_aperture > 1 else "Air",
            )
        ],
        detectors=[model.Detector(id="Detector:0", model=f"camera of {kind.microscope}")],
    )


def _pixels(kind: Kind) -> model.Pixels:
    from ome_types import model

    samples = kind.shape[2] if len(kind.shape) == 3 else 1
    return model.Pixels(
        id="Pixels:0",
        dimension_order="XYCZT",
        type=kind.dtype,
        significant_bits=kind.bits,
        interleaved=samples > 1,
        big_endian=False,
        size_x=kind.shape[1],
        size_y=kind.shape[0],
        size_z=1,
        size_c=samples,
        size_t=1,
        physical_size_x=kind.pixel_size_um,
        physical_size_x_unit="µm",
        physical_size_y=kind.pixel_size_um,
        physical_size_y_unit="µm",
        channels=[
            model.Channel(
                id="Channel:0:0",
                samples_per_pixel=samples,
                detector_settings=model.DetectorSettings(id="Detector:0"),
            )
        ],
        tiff_data_blocks=[
            model.TiffData(
                ifd=0,
                plane_count=1,
                uuid=model.TiffData.UUID(value=NO_UUID, file_name=""),
            )
        ],
        planes=[
            model.Plane(
                the_z=0, the_c=0, the_t=0,
                position_x=0, position_y=0, position_z=0,
                position_x_unit="µm", position_y_unit="µm", position_z_unit="µm",
                exposure_time=0, exposure_time_unit="ms",
                delta_t=0, delta_t_unit="s",
            )
        ],
    )  # fmt: skip


def _child(element: ET.Element, path: str) -> ET.Element:
    found = element.find("/".join(f"{{{NAMESPACE}}}{part}" for part in path.split("/")))
    if found is None:
        msg = f"the OME-XML of ome-types has no {path}"
        raise LookupError(msg)
    return found
