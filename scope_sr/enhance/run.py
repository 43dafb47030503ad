"""The job ``enhance``: what is asked for is planned, then made input by input."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scope_sr import disk
from scope_sr.config import reason
from scope_sr.engine import card_of, chosen, sha256_of
from scope_sr.enhance.asked import Asked
from scope_sr.enhance.ledger import DONE, FAILED, PAGE, Entry, Ledger
from scope_sr.enhance.making import Tools, made
from scope_sr.enhance.page import page
from scope_sr.enhance.planning import Item, failed, planned
from scope_sr.enhance.ranks import Ranks, joined
from scope_sr.errors import ScopeSRError
from scope_sr.modelfile import Card
from scope_sr.software import this_version

Tell = Callable[[str, int, int], None]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes
    ----------
    page
        To look at.
    done
        How many inputs are enhanced.
    failed
        Name and reason of each that is not.
    """

    page: Path
    done: int
    failed: tuple[tuple[str, str], ...]


def enhance(asked: Asked, tell: Tell = lambda *_: None, say: Say = lambda _: None) -> Outcome:
    """Enhance pictures, slides and sessions, and find their nuclei.

    Under ``torchrun`` each process takes its share of the inputs. An input that fails is named and
    does not stop the others.

    Parameters
    ----------
    tell
        Told (what is being done, how much of it is done, of how much).
    say
        Told lines worth reading: what is computed with, what to beware of.

    Raises
    ------
    InputError
        Models, inputs and options do not go together, or no input can be enhanced; nothing was
        written.
    ScopeSRError
        The folder cannot be written.
    """
    card = card_of(asked.model)
    nuclei = card_of(asked.nuclei) if asked.nuclei else None
    items, refused = planned(asked, card, nuclei)
    ledger = Ledger(asked.out)
    entries = [item.waiting for item in items] + [item.failed for item in refused]
    with joined() as ranks:
        head = _head(asked, card, nuclei)
        # told by the first: another that reads it later would find some done, and share otherwise
        names = ranks.once(lambda: ledger.begin(head, entries, resume=asked.resume))
        todo = [item for item in items if item.input.name in names]
        if todo:
            tools = _tools(asked, ledger, ranks, say)
            for number, item in enumerate(ranks.share(todo), start=1):
                _carry_out(item, tools, ledger, _named(tell, item, number, len(todo)), say)
        ranks.wait()
        return ranks.once(lambda: _finished(ledger))


def _head(asked: Asked, card: Card, nuclei: Card | None) -> dict[str, Any]:
    return {
        "software": this_version(),
        "model": _about(asked.model, card),
        "nuclei_model": _about(asked.nuclei, nuclei) if asked.nuclei and nuclei else None,
        "fidelity": asked.fidelity,
        "runtime": {},
    }


def _about(model: str, card: Card) -> dict[str, Any]:
    return {"name": card.name, "sha256": sha256_of(model), "card": dataclasses.asdict(card)}


def _tools(asked: Asked, ledger: Ledger, ranks: Ranks, say: Say) -> Tools:
    """Make the models ready; a run that goes on computes with what it was begun with."""
    models = {"model": asked.model, "nuclei_model": asked.nuclei}
    if not ranks.first:
        ranks.wait()  # until the first has said what it computes with
    head, engines = ledger.read(), {}
    for kind, model in models.items():
        if model is None:
            continue
        wanted = head["runtime"].get(kind, "auto") if asked.runtime == "auto" else asked.runtime
        engines[kind] = chosen(model, wanted, tell=say if ranks.first else lambda _: None)
        if ranks.first:
            ledger.note_runtime(kind, engines[kind].runtime.name)
    if ranks.first:
        ranks.wait()
    sums = {key: head[key]["sha256"] for key in engines}
    return Tools(engines["model"], engines.get("nuclei_model"), sums, fidelity=asked.fidelity)


def _carry_out(item: Item, tools: Tools, ledger: Ledger, tell: Tell, say: Say) -> None:
    """Make what is asked for of one input; what goes wrong with it is put down."""
    try:
        entry = made(item, tools, ledger, tell)
    except ScopeSRError as error:
        entry = failed(item.waiting, str(error))
    except OSError as error:
        entry = failed(item.waiting, f"{error.filename or ledger.out}: {reason(error)}")
    ledger.note(entry)
    if entry["state"] == DONE:  # only now: stopped in between, all of it would be made again
        shutil.rmtree(ledger.work_of(item.input.name), ignore_errors=True)
    say(_line(entry))


def _line(entry: Entry) -> str:
    name = entry["name"]
    if entry["state"] == FAILED:
        return f"{name}: FAILED: {entry['error']}"
    found = f", {entry['nuclei']['count']} nuclei" if entry["nuclei"] else ""
    beware = "".join(f"\n{name}: WARNING: {warning}" for warning in entry["warnings"])
    rows, columns = entry["shape_out"]
    return f"{name}: {columns} x {rows} px{found}, {entry['seconds']:.0f} s{beware}"


def _named(tell: Tell, item: Item, number: int, total: int) -> Tell:
    before = f"[{number}/{total}] " if total > 1 else ""
    return lambda stage, done, of: tell(f"{before}{item.input.name}: {stage}", done, of)


def _finished(ledger: Ledger) -> Outcome:
    """Write the page; what lay in the work folder is not needed any more."""
    report = ledger.read()
    path = ledger.out / PAGE
    try:
        disk.store(path, page(report, ledger.out).encode())
    except OSError as error:
        msg = f"{path}: cannot be written ({reason(error)}); make room, and go on with --resume"
        raise ScopeSRError(msg) from error
    states = [entry["state"] for entry in report["inputs"]]
    if set(states) == {DONE}:
        shutil.rmtree(ledger.work, ignore_errors=True)
    wrong = tuple((e["name"], e["error"]) for e in report["inputs"] if e["state"] == FAILED)
    return Outcome(path, states.count(DONE), wrong)
