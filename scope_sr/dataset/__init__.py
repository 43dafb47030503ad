"""Registered pairs, or images with nuclei masks, on disk: written once, read at random.

::

    dataset.json      what it is: kind, scale, µm per px, sources with their digests, splits
    index.jsonl       one line per pair or image, the rejected ones too, with every number
    low/  high/       of pairs: uncompressed TIFF, to be memory-mapped
    image/  labels/   of nuclei: likewise; labels are 0 for background, else one number per nucleus
    card.md           for people: what it holds, where it comes from, what it must not be used for
    report.html       for people: pictures and gates
    reshoot.json      fields worth taking again; scope-sr acquire-pairs --reshoot carries it out
"""

from scope_sr.dataset.crops import Crops
from scope_sr.dataset.folder import Dataset
from scope_sr.dataset.index import SPLITS, Gate, Header, Labelled, Pair, Source, Split

__all__ = [
    "SPLITS",
    "Crops",
    "Dataset",
    "Gate",
    "Header",
    "Labelled",
    "Pair",
    "Source",
    "Split",
]
