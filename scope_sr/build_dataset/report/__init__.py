"""What people read of a dataset: pictures of each source, ``report.html`` and ``card.md``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scope_sr.build_dataset.report.card import card
from scope_sr.build_dataset.report.page import page
from scope_sr.build_dataset.report.pictures import draw_pictures
from scope_sr.dataset import Header
from scope_sr.dataset.index import Item

__all__ = ["draw_pictures", "write_report"]


def write_report(
    folder: Path, header: Header, items: Sequence[Item], reshoot: Sequence[dict[str, Any]]
) -> tuple[bytes, bytes]:
    """Write ``report.html`` and ``card.md`` as bytes; the same for the same dataset.

    Parameters
    ----------
    folder
        Of the dataset; what ``pictures/`` there holds of its sources goes into the report.
    reshoot
        Fields worth taking again, as :func:`scope_sr.build_dataset.reshoot.reshoot_list` gives it.
    """
    return page(folder, header, items, reshoot).encode(), card(header, items).encode()
