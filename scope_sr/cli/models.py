"""``scope-sr models``."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from scope_sr.modelfile import Card, Contents, Figures

UNITS = {"psnr_db": ("PSNR", "{:.2f} dB"), "ssim": ("SSIM", "{:.4f}"), "dice": ("Dice", "{:.3f}"),
         "aji": ("AJI", "{:.3f}"), "pq": ("PQ", "{:.3f}"), "f1": ("F1", "{:.3f}")}  # fmt: skip
WIDTH = 100


@click.command("models", short_help="List the models that come with scope-sr, or show a card.")
@click.argument("model", metavar="[NAME|FILE]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document, for programs.")
def models(model: str | None, as_json: bool) -> None:
    """List the models that come with scope-sr; with NAME or FILE, show one whole card.

    A card says what a model is for (µm per pixel), what it was trained on, and what it was measured
    to be worth, with the bicubic picture beside it. Nothing in a model file is run.

    \b
    Examples
      scope-sr models                     what comes with scope-sr
      scope-sr models compact-x4          one card
      scope-sr models runs/x2/gan.ts      that of a model of yours
    """
    from scope_sr.modelfile import read, shipped

    if model is not None:
        found = read(model)
        click.echo(_json(found) if as_json else "\n".join(_whole(found)))
        return
    listed = [read(name) for name in shipped()]
    if as_json:
        click.echo(json.dumps([_table(one) for one in listed], ensure_ascii=False, indent=2))
    elif listed:
        click.echo("\n\n".join("\n".join(_essence(one)) for one in listed))
        click.echo("\nOne whole card: scope-sr models NAME")
    else:
        click.echo("No model comes with this scope-sr; train one: scope-sr train --help")


def _essence(model: Contents) -> Iterator[str]:
    card = model.card
    yield f"{model.path.stem}: {_kind(card)}"
    indent = "    "
    yield f"{indent}{_sizes(card)}; {card.architecture}, {_bytes(model)}"
    for figures in card.figures:
        yield from textwrap.wrap(
            f"{measured(figures)} ({figures.protocol}, n = {figures.images})",
            WIDTH,
            initial_indent=indent,
            subsequent_indent=indent * 2,
        )
    licence = f"licence {card.licence}" if card.licence else "licence not stated"
    yield f"{indent}trained on {_data(card)}; {licence}"


def _whole(model: Contents) -> Iterator[str]:
    card = model.card
    rows = [
        ("model", f"{card.name}: {_kind(card)}"),
        ("file", f"{model.path}, {_bytes(model)}"),
        ("SHA-256", model.sha256),
        ("pixels", _sizes(card)),
        *((f"{side} objective", _lens(card, side)) for side in card.objectives),
        ("network", f"{card.architecture}, {_pairs(card.settings)}"),
        ("parameters", f"{card.parameters:,}"),
        ("weights", f"{card.weights or 'not stated'}, after {card.steps} steps"),
        ("last losses", _pairs(card.losses)),
        ("tiles", f"halo {card.halo_px} px, on multiples of {card.multiple_px} px"),
        *(
            (f"figures {number}", f"{measured(one)} ({one.protocol}, n = {one.images})")
            for number, one in enumerate(card.figures, 1)
        ),
        *_dataset(card),
        ("licence", card.licence or "not stated"),
        ("made with", _pairs(card.versions)),
        ("note", card.note),
    ]
    for name, words in rows:
        if words:
            yield from textwrap.wrap(
                f"{name:<16}{words}", WIDTH, subsequent_indent=" " * 16, break_on_hyphens=False
            )


def _dataset(card: Card) -> Iterator[tuple[str, str]]:
    data = card.dataset
    if data is None:
        return
    yield "trained on", f"{_data(card)}, index {data.sha256[:12]}"
    yield "low pictures", data.degradation
    yield "data's licence", data.licence
    for split, names in (("train", data.train), ("val", data.val), ("test", data.test)):
        if names:
            yield f"split {split}", f"{len(names)} by {data.level}: {', '.join(names)}"


def _kind(card: Card) -> str:
    return f"super-resolution x{card.scale}" if card.kind == "sr" else "nuclei"


def _sizes(card: Card) -> str:
    if card.um_per_px_in is None:
        return "µm per pixel not known"
    if card.kind == "nuclei":
        return f"{card.um_per_px_in:.4g} µm per pixel"
    return f"{card.um_per_px_in:.4g} -> {card.um_per_px_out:.4g} µm per pixel"


def measured(figures: Figures) -> str:
    """Say what was measured, what it is compared with beside it.

    >>> from scope_sr.modelfile import Figures
    >>> measured(Figures("RGB", 9, psnr_db={"model": 37.168, "bicubic": 34.76}))
    'PSNR 37.17 dB (bicubic 34.76 dB)'
    """
    said = []
    for key, (name, form) in UNITS.items():
        values = dict(getattr(figures, key))
        own = form.format(values.pop("model")) if "model" in values else "not measured"
        beside = ", ".join(f"{other} {form.format(value)}" for other, value in values.items())
        if getattr(figures, key):
            said.append(f"{name} {own}" + (f" ({beside})" if beside else ""))
    return ", ".join(said)


def _data(card: Card) -> str:
    if card.dataset is None:
        return "data not stated"
    return card.dataset.name + (" (low pictures computed)" if card.dataset.simulated else "")


def _lens(card: Card, side: Any) -> str:
    lens = card.objectives[side]
    aperture = lens.numerical_aperture
    return lens.name + (f", NA {aperture:g}" if aperture is not None else "")


def _pairs(table: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in table.items()
    )


def _bytes(model: Contents) -> str:
    from scope_sr.disk import in_words

    return in_words(len(model.data))


def _json(model: Contents) -> str:
    return json.dumps(_table(model), ensure_ascii=False, indent=2)


def _table(model: Contents) -> dict[str, Any]:
    from scope_sr.modelfile import to_json

    return {
        "name": model.path.stem,
        "file": str(model.path),
        "bytes": len(model.data),
        "sha256": model.sha256,
        "card": json.loads(to_json(model.card)),
    }
