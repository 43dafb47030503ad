"""The pictures of one source, drawn when it is built and kept when others are added."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scope_sr import disk
from scope_sr.build_dataset.report.tally import labelled_of, pairs_of
from scope_sr.dataset import Header, Labelled, Pair, Source
from scope_sr.dataset.fields import mapped
from scope_sr.dataset.index import Item
from scope_sr.dataset.splits import Area

if TYPE_CHECKING:
    from scope_sr.build_dataset.story import Story

PICTURES = "pictures"
# in the order in which the report shows them
KINDS = ("map", "examples", "residuals", "gates", "color", "rejected", "montage", "nuclei")


def picture_of(folder: Path, source: str, kind: str) -> Path:
    """Give the file of a picture: ``pictures/slide17-map.png``."""
    return folder / PICTURES / f"{Path(source).name}-{kind}.png"


def draw_pictures(
    folder: Path, header: Header, source: Source, items: Sequence[Item], story: Story | None
) -> None:
    """Draw what there is to see of a source into ``pictures/`` of a dataset.

    Parameters
    ----------
    folder
        Of the dataset; the images of the source lie there, ``dataset.json`` need not.
    items
        The whole index or the source's part of it.
    story
        Of a session; None for pairs, images and masks from folders.

    Raises
    ------
    OSError, ValueError
        An image the index names is missing or damaged, or the system refuses to write.
    """
    own = [item for item in items if item.source == source.name]
    disk.make_folders([folder / PICTURES])
    drawn = dict(
        _of_nuclei(folder, header, labelled_of(own))
        if header.kind == "nuclei"
        else _of_pairs(folder, header, source, pairs_of(own), story)
    )
    for kind in KINDS:
        path = picture_of(folder, source.name, kind)
        data = drawn.get(kind)
        if data is not None:
            disk.store(path, data)
        else:  # of an earlier build that had something to show
            path.unlink(missing_ok=True)


def _of_pairs(
    folder: Path, header: Header, source: Source, pairs: list[Pair], story: Story | None
) -> Iterator[tuple[str, bytes | None]]:
    from scope_sr.build_dataset.report.pictures.chart import draw_map
    from scope_sr.build_dataset.report.pictures.colors import draw_colors
    from scope_sr.build_dataset.report.pictures.examples import draw_examples, draw_rejected
    from scope_sr.build_dataset.report.pictures.fit import draw_residuals
    from scope_sr.build_dataset.report.pictures.judged import draw_gates

    yield "map", draw_map(pairs, _low_size(folder, pairs), _area(header, pairs))
    yield "residuals", draw_residuals(source, pairs, story)
    yield "gates", draw_gates(pairs)
    if story is not None:
        yield "color", draw_colors(story, (1 << header.bits) - 1)
    yield "examples", draw_examples(folder, header, source, pairs)
    yield "rejected", draw_rejected(folder, header, pairs)


def _of_nuclei(
    folder: Path, header: Header, items: list[Labelled]
) -> Iterator[tuple[str, bytes | None]]:
    from scope_sr.build_dataset.report.pictures.nuclei import draw_counts, draw_montage

    yield "montage", draw_montage(folder, header, items)
    yield "nuclei", draw_counts(folder, items)


def _low_size(folder: Path, pairs: list[Pair]) -> tuple[int, int] | None:
    """Give width and height of the low images of a source; all come from one camera."""
    for pair in pairs:
        if pair.accepted and pair.low:
            height, width = mapped(folder / pair.low).shape[:2]
            return width, height
    return None


def _area(header: Header, pairs: list[Pair]) -> Area | None:
    table = header.areas.get(pairs[0].slide) if header.level == "area" and pairs else None
    return Area.from_table(table) if table else None
