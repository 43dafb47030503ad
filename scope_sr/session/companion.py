"""One companion file per pass: it lets ashlar and Bio-Formats open all fields as one data set."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

# The stdlib's parser is safe here: the companion is a file the operator made, with no entities
from xml.etree import ElementTree as ET

from scope_sr.session.ome import NAMESPACE, Document, Origin, to_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scope_sr.plan import Step
    from scope_sr.session.journal import Entry


def companion(origin: Origin, fields: Sequence[tuple[Step, Entry]], name: str) -> bytes:
    """Describe captured fields of one objective as the series of one data set.

    Parameters
    ----------
    fields
        At least one.
    name
        Of the companion file itself.
    """
    documents: dict[tuple[tuple[int, ...], str], Document] = {}
    images, annotations = [], []
    for index, (step, entry) in enumerate(fields):
        kind = entry.shape, entry.dtype
        if kind not in documents:
            documents[kind] = Document(origin, step.objective, *kind)
        document = documents[kind]
        document.fill(step, entry, entry.file, index)
        images.append(copy.deepcopy(document.image))
        annotations.append(copy.deepcopy(document.annotation))
    root = next(iter(documents.values())).root
    root.set("UUID", origin.urn(name))
    # In the schema's order the images follow the instruments, StructuredAnnotations stand last
    instruments, tail = root.findall(f"{{{NAMESPACE}}}Instrument"), root[-1]
    tail[:] = annotations
    root[:] = [*instruments, *images, tail]
    return to_bytes(root)


def listed_files(data: bytes) -> dict[str, str]:
    """Give the files a companion names, with their UUIDs.

    Raises
    ------
    ValueError
        It is not XML.
    """
    try:
        root = ET.fromstring(data)  # noqa: S314
    except ET.ParseError as error:
        raise ValueError(str(error)) from error
    blocks = root.iter(f"{{{NAMESPACE}}}UUID")
    return {block.get("FileName", ""): block.text or "" for block in blocks}
