"""Whether a model has seen what it is judged on: "never saw" must be true, or not be said."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from scope_sr.evaluate.material import Entry, Material
from scope_sr.modelfile import Card, TrainedOn

State = Literal["unseen", "kept for testing", "not named", "unknown", "chosen by", "seen"]
FEW = 4


@dataclass(frozen=True)
class Sight:
    """What is known of it.

    Attributes
    ----------
    state
        ``unseen``: of the split "test" of the dataset it learnt from. ``kept for testing``: of
        another dataset, but of names the card lists under "test". ``not named``: of another
        dataset, and of names the card does not list. ``chosen by``: its weights were chosen by
        them.
    names
        Patients, slides or images, as far as the card names them.
    level
        What the splits of the training data do not share.
    """

    state: State
    names: tuple[str, ...] = ()
    level: str = ""

    @property
    def bad(self) -> bool:
        """Whether figures on these fields say nothing about others."""
        return self.state in ("seen", "chosen by")

    def of(self, fields: str) -> str:
        """Say which fields they are: "12 fields it never saw"."""
        return {
            "unseen": f"{fields} it never saw{_SHARED.get(self.level, '')}",
            "kept for testing": f"{fields} of {self.level}s its card keeps for testing",
            "not named": f"{fields} of {self.level}s its card does not name (if they had other"
            " names there, it may have seen them)",
            "unknown": f"{fields} (whether it has seen them, nobody can tell)",
            "chosen by": f"{fields} BY WHICH ITS WEIGHTS WERE CHOSEN",
            "seen": f"{fields} IT LEARNT FROM",
        }[self.state]


def sight_of(card: Card, material: Material) -> Sight:
    """Hold what a card says of the training data against what the model is judged on."""
    trained = card.dataset
    if trained is None:
        return Sight("unknown")
    if material.sha256 and material.sha256 == trained.sha256:
        states: dict[str, State] = {"train": "seen", "val": "chosen by", "test": "unseen"}
        return Sight(states[material.split], _names(material.entries, trained.level), trained.level)
    return _by_names(trained, material)


def warning_of(sight: Sight, who: str) -> str:
    """Warn of figures that are worth nothing; empty where there is nothing to warn of."""
    if not sight.bad:
        return ""
    listed = ", ".join(sight.names[:FEW]) + (" …" if len(sight.names) > FEW else "")
    of = f" ({listed})" if listed else ""
    what = "learnt from" if sight.state == "seen" else "was chosen by"
    return (
        f"{who} {what} fields it is judged on here{of}: such figures say nothing about images it"
        " has not seen. Judge it on a split or on patients it does not know"
    )


_SHARED = {
    "area": ", of slides it learnt from",
    "image": ", though perhaps of patients it learnt from",
}


def _by_names(trained: TrainedOn, material: Material) -> Sight:
    """Compare names: a patient of one name may be another one, but warning is the safer error."""
    train, val, test = (
        {spelt(name) for name in names} for names in (trained.train, trained.val, trained.test)
    )
    listed = train | val | test
    ours = _names(material.entries, trained.level)
    learnt = tuple(name for name in ours if spelt(name) in train)
    chosen = tuple(name for name in ours if spelt(name) in val)
    if learnt:
        return Sight("seen", learnt)
    if chosen:
        return Sight("chosen by", chosen)
    if not (ours and listed and trained.level in ("patient", "slide")):
        return Sight("unknown")
    tested = {spelt(name) for name in ours} <= test
    return Sight("kept for testing" if tested else "not named", ours, trained.level)


def spelt(name: str) -> str:
    """Leave of a name what does not change with who writes it down.

    >>> spelt("TNBC-01") == spelt("tnbc_1") == spelt("Tnbc 01"), spelt("tnbc11") == spelt("tnbc1")
    (True, False)
    """
    letters = re.sub(r"[^a-z0-9]", "", name.casefold())
    return re.sub(r"0*(\d+)", r"\1", letters)


def _names(entries: tuple[Entry, ...], level: str) -> tuple[str, ...]:
    """Give what the fields are called at a level; nothing where one of them is not known there."""
    names = {
        "patient": [entry.patient for entry in entries],
        "slide": [entry.slide for entry in entries],
        "image": [
            name
            for entry in entries
            for name in (entry.name, entry.name.partition("/")[2], entry.patient, entry.slide)
            if name
        ],
    }.get(level, [])
    return () if "" in names else tuple(dict.fromkeys(names))
