"""Build a dataset a network can trust: registered, judged and split before anything learns."""

from scope_sr.build_dataset.built_in import LICENCE, write_tissue
from scope_sr.build_dataset.parallel import usual_workers
from scope_sr.build_dataset.run import Built, from_images, from_masks, from_pairs, from_sessions

__all__ = [
    "LICENCE",
    "Built",
    "from_images",
    "from_masks",
    "from_pairs",
    "from_sessions",
    "usual_workers",
    "write_tissue",
]
