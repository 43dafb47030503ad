"""What stands beside exported images: options for BasicSR, a card for Hugging Face."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from scope_sr.dataset.index import Header, Split

# What Hugging Face calls the licences that data come with; others it wants as "other" and a name
LICENCES = {
    *("cc0-1.0", "cc-by-4.0", "cc-by-3.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"),
    *("cc-by-nc-nd-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-nc-sa-3.0"),
    *("mit", "apache-2.0", "bsd-3-clause", "odbl", "pddl"),
}
HUB_SPLITS: dict[Split, str] = {"train": "train", "val": "validation", "test": "test"}

_PAIRS = """\
    type: PairedImageDataset
    dataroot_gt: {gt}
    dataroot_lq: {lq}
    meta_info_file: {meta}
    filename_tmpl: '{{}}'
    io_backend:
      type: disk
"""
_TRAINING = """\
    gt_size: {gt_size}
    use_hflip: true
    use_rot: true
    use_shuffle: true
    num_worker_per_gpu: 4
    batch_size_per_gpu: 16
    dataset_enlarge_ratio: 1
    prefetch_mode: ~
"""


def basicsr_options(header: Header, folder: Path, low_px: int, splits: Sequence[Split]) -> str:
    """Write the part of BasicSR's options that names the images; paths as they lie now.

    Test stands in a comment: a training that looks at it has chosen by it.
    """
    lines = [
        "# Put this into the options of a training of BasicSR; mend the paths if the folder moves.",
        "# BasicSR reads 8 bits and three colours: of 16 bits it keeps the upper eight, and a grey",
        "# image it reads as three equal colours.",
        f"scale: {header.scale}",
        "",
        "datasets:",
    ]
    for split in splits:
        paths = {
            "gt": _quoted(folder / split / "HR"),
            "lq": _quoted(folder / split / "LR"),
            "meta": _quoted(folder / f"meta_info_{split}.txt"),
        }
        block = [f"    name: {_quoted(f'{header.name}-{split}')}"]
        block += _PAIRS.format(**paths).splitlines()
        if split == "train":
            block += ["", *_TRAINING.format(gt_size=header.scale * low_px).splitlines()]
        if split == "test":
            lines += ["# For the options of basicsr/test.py:", "#  test_1:"]
            lines += [f"#{line}" for line in block]
        else:
            lines += [f"  {split}:", *block, ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def dataset_card(header: Header, counts: Mapping[Split, int], low_px: int, about: str) -> str:
    """Write a dataset card: a table for the Hub, and below it what people should know."""
    task = "image-to-image" if header.kind == "pairs" else "image-segmentation"
    table = [
        "---",
        f"pretty_name: {_quoted(header.name)}",
        *_licence(header),
        "task_categories:",
        f"- {task}",
        "tags:",
        "- microscopy",
        "- histology",
        "configs:",
        "- config_name: default",
        "  data_files:",
    ]
    for split in counts:
        table += [f"  - split: {HUB_SPLITS[split]}", f"    path: {split}/**"]
    told = ", ".join(f"{HUB_SPLITS[split]} {number}" for split, number in counts.items())
    lines = [*table, "---", "", f"# {header.name}", "", _contents(header, low_px), ""]
    lines += [f"Samples: {told}. Split by {header.level}. Written by {header.software}.", ""]
    return "\n".join(lines) + (f"\n{about}" if about else "")


def _contents(header: Header, low_px: int) -> str:
    if header.kind == "nuclei":
        return (
            "`image` holds images whole, `labels` 0 for background and else one number per nucleus,"
            " `ignore`, where there is one, what nobody is to judge."
        )
    high_px = header.scale * low_px
    sizes = ""
    if header.low_um_per_px and header.high_um_per_px:
        sizes = f" ({header.low_um_per_px:.4g} and {header.high_um_per_px:.4g} µm per pixel)"
    made = "The low images were computed, not captured. " if header.simulated else ""
    return (
        f"{made}`LR` holds squares of {low_px} px of the low magnification, `HR` the same tissue"
        f" under the high one, {high_px} px{sizes}. `x_px` and `y_px` are the square's corner in"
        " low pixels of its pair."
    )


def _licence(header: Header) -> list[str]:
    told = sorted({source.licence.strip() for source in header.sources if source.licence.strip()})
    if not told:
        return ["license: unknown"]
    plain = told[0].lower().replace(" ", "-")
    all_told = all(source.licence.strip() for source in header.sources)
    if len(told) == 1 and all_told and plain in LICENCES:
        return [f"license: {plain}"]
    name = "; ".join(told if all_told else [*told, "not told of some sources"])
    return ["license: other", f"license_name: {_quoted(name)}"]


def _quoted(text: str | Path) -> str:
    """Write a string so that YAML reads it back; JSON's strings are YAML's too."""
    return json.dumps(text.as_posix() if isinstance(text, Path) else text, ensure_ascii=False)
