"""Which fields are worth taking again, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scope_sr.build_dataset.gates import retake
from scope_sr.build_dataset.setup import Visit
from scope_sr.dataset import Pair


def reshoot_list(
    folders: Sequence[Path], visits: Sequence[Visit], pairs: Sequence[Pair]
) -> list[dict[str, Any]]:
    """List the fields worth taking again, per session, with the reasons."""
    found = []
    for folder, visit in zip(folders, visits, strict=True):
        steps: dict[str, list[str]] = {}
        for pair in pairs:
            if pair.source == visit.name and not pair.accepted:
                for step in _to_retake(pair):
                    steps.setdefault(step, []).extend(
                        reason for reason in pair.reasons if reason not in steps.get(step, [])
                    )
        if steps:
            order = [step.name for step in visit.session.plan.steps if step.name in steps]
            found.append(
                {
                    "session": str(folder.absolute()),
                    "id": visit.session.header.id,
                    "steps": [
                        {
                            "step": name,
                            "sha256": visit.session.entries[name].sha256,
                            "reasons": steps[name],
                        }
                        for name in order
                    ],
                }
            )
    return found


def _to_retake(pair: Pair) -> set[str]:
    low, high = str(pair.facts["low_step"]), str(pair.facts["high_step"])
    sides = retake(pair.gates)
    found = {step for side, step in (("low", low), ("high", high)) if side in sides}
    for reason in pair.reasons:
        if reason.startswith("duplicate: "):
            found.add(reason.removeprefix("duplicate: ").partition(" ")[0])
        if reason.startswith("not found: "):
            found.add(high)
    return found
