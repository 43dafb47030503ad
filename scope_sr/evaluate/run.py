"""The job ``evaluate``, from a model and images to a report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scope_sr import disk
from scope_sr.config import reason
from scope_sr.errors import InputError, ScopeSRError
from scope_sr.evaluate.asked import Asked, refuse_for, refuse_pixel_size, refuse_unclear
from scope_sr.evaluate.datasets import of_dataset
from scope_sr.evaluate.folders import of_folders
from scope_sr.evaluate.judging import Judge, Model, Row
from scope_sr.evaluate.lpips import load_lpips
from scope_sr.evaluate.material import Material
from scope_sr.evaluate.page import GENERATOR, page
from scope_sr.evaluate.seen import sight_of, warning_of
from scope_sr.evaluate.summary import SCHEMA, summary, to_json
from scope_sr.evaluate.words import verdict
from scope_sr.modelfile import load, shipped
from scope_sr.software import this_version

JSON, PAGE = "report.json", "report.html"
OUR_NUCLEI = "nuclei"  # of the models that come with the package
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Evaluation:
    """A finished report.

    Attributes
    ----------
    folder
        Where ``report.json`` and ``report.html`` lie.
    report
        What ``report.json`` says.
    verdict
        The result in a sentence.
    warnings
        What to beware of, one line each.
    """

    folder: Path
    report: dict[str, Any]
    verdict: str
    warnings: tuple[str, ...]


def evaluate(asked: Asked, tell: Tell = lambda *_: None) -> Evaluation:
    """Judge a model, beside bicubic and Lanczos, and write the report.

    Parameters
    ----------
    tell
        Told (what is being done, fields done, of how many).

    Raises
    ------
    InputError
        Model, images and options do not go together, or one of them cannot be used; nothing was
        written.
    ScopeSRError
        The report cannot be written.
    """
    refuse_unclear(asked)
    _refuse_occupied(asked.out)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Model = load(asked.model, device)
    refuse_for(asked, model.card)
    material = (of_dataset if asked.data else of_folders)(asked, model.card)
    if not material.entries:
        msg = f"{material.what}: nothing in it is large enough to judge on; take larger images"
        raise InputError(msg)
    nuclei = _nuclei_model(asked, model, material, device)
    _refuse_pixel_sizes(asked, model, nuclei, material)
    distance = load_lpips(*asked.lpips).distance if asked.lpips else None
    judge = Judge(model, nuclei, distance, captured=material.captured)
    rows = _judged(judge, material, tell)
    report = _report(asked, judge, material, rows, device)
    tell("writing the report", 0, 1)
    html = page(report, judge, material, rows)
    _write(asked.out, html.encode(), to_json(report))
    tell("writing the report", 1, 1)
    return Evaluation(asked.out, report, report["verdict"], tuple(report["warnings"]))


def _nuclei_model(asked: Asked, model: Model, material: Material, device: str) -> Model | None:
    """Load what finds nuclei, where they are marked and the model itself does not find them."""
    if model.card.kind == "nuclei" or not material.masks:
        return None
    name = asked.nuclei or (OUR_NUCLEI if OUR_NUCLEI in shipped() else "")
    if not name:
        return None
    found: Model = load(name, device)
    if found.card.kind != "nuclei":
        msg = f"--nuclei {name}: a model for super-resolution; name one that finds nuclei"
        raise InputError(msg)
    return found


def _refuse_pixel_sizes(
    asked: Asked, model: Model, nuclei: Model | None, material: Material
) -> None:
    for entry in material.entries:
        um = entry.um_per_px
        refuse_pixel_size(
            asked, model.card, asked.model, None if um is None else um * model.card.scale
        )
        if nuclei is not None:
            refuse_pixel_size(asked, nuclei.card, asked.nuclei or OUR_NUCLEI, um)


def _judged(judge: Judge, material: Material, tell: Tell) -> list[Row]:
    rows = []
    total = len(material.entries)
    tell("judging fields", 0, total)
    for number, entry in enumerate(material.entries, start=1):
        rows.append(judge.judge(entry, material.load(entry)))
        tell("judging fields", number, total)
    return rows


def _report(
    asked: Asked, judge: Judge, material: Material, rows: list[Row], device: str
) -> dict[str, Any]:
    card = judge.model.card
    found = summary(rows, card.kind, material.made, material.lowered, material.cut, card.scale)
    sight = sight_of(card, material)
    warnings = [warning_of(sight, "The model"), *_nuclei_warnings(judge, material)]
    if material.left_out:
        warnings.append(
            f"{len(material.left_out)} images were too small to be judged and are left out:"
            f" {', '.join(material.left_out[:4])}"
        )
    report = {
        "schema": SCHEMA,
        "kind": card.kind,
        "verdict": "",
        **found,
        "seen": {"state": sight.state, "names": list(sight.names)},
        "warnings": [warning for warning in warnings if warning],
        "data": {"what": material.what, **material.facts, "left_out": list(material.left_out)},
        "model": _about(asked.model, judge.model),
        "nuclei_model": _about(asked.nuclei or OUR_NUCLEI, judge.nuclei) if judge.nuclei else None,
        "device": device,
        "software": this_version(),
        "torch": torch.__version__,
    }
    return {**report, "verdict": verdict(report, sight)}


def _nuclei_warnings(judge: Judge, material: Material) -> list[str]:
    if judge.nuclei is None:
        return []
    found = [warning_of(sight_of(judge.nuclei.card, material), "The nuclei model")]
    if "features nuclei" in judge.model.card.losses:
        found.append(
            "The weights learnt from the features of a nuclei model; if it was this one, the"
            " figures of nuclei flatter them: judge with another one"
        )
    return found


def _about(name: str, model: Model) -> dict[str, Any]:
    return {
        "name": name,
        "sha256": model.sha256,
        "card": dataclasses.asdict(model.card),
    }


# --------------------------------------------------------------- the folder


def _refuse_occupied(out: Path) -> None:
    """Refuse a folder that holds anything but a report of ours."""
    if not out.exists():
        return
    try:
        inside = sorted(path.name for path in out.iterdir())
    except OSError as error:
        msg = f"--out {out}: {reason(error)}; name a folder of its own"
        raise InputError(msg) from error
    names = {name.removesuffix(disk.PART) for name in inside}
    if not names <= {JSON, PAGE} or (inside and not _is_ours(out)):
        msg = f"--out {out}: is not empty and holds no report of ours; name a new folder"
        raise InputError(msg)


def _is_ours(out: Path) -> bool:
    try:
        if (out / JSON).exists():
            return bool(json.loads((out / JSON).read_bytes())["schema"] == SCHEMA)
        return GENERATOR.encode() in (out / PAGE).read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write(out: Path, html: bytes, data: bytes) -> None:
    """Write the report; the JSON last, so that it is never that of another page."""
    try:
        disk.make_folders([out])
        disk.remove([out / JSON])
        disk.store(out / PAGE, html)
        disk.store(out / JSON, data)
    except OSError as error:
        why = f"cannot be written ({reason(error)})"
        msg = f"--out {out}: the report {why}; make room, or name another folder"
        raise ScopeSRError(msg) from error
