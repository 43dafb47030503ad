"""Pieces of a page: tables, figures and paragraphs; whatever is not of this program is escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n"


def paragraph(text: str, kind: str = "") -> str:
    """Give a paragraph of plain text."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def facts_table(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Give a table of names and values."""
    yield '<div class="wide"><table class="head">'
    for name, value in rows:
        yield f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
    yield "</table></div>"


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()
) -> Iterator[str]:
    """Give a table; `notes` stand small below the first cell of each row."""
    yield '<div class="wide"><table>'
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    yield f"<tr>{cells}</tr>"
    for number, (first, *rest) in enumerate(rows):
        note = notes[number] if number < len(notes) else ""
        small = f'<div class="advice">{escape(note)}</div>' if note else ""
        others = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        yield f'<tr><th scope="row">{escape(first)}{small}</th>{others}</tr>'
    yield "</table></div>"


def bullets(lines: Sequence[str], kind: str = "") -> Iterator[str]:
    """Give a list of plain lines."""
    yield f'<ul class="{kind}">' if kind else "<ul>"
    for line in lines:
        yield f"<li>{escape(line)}</li>"
    yield "</ul>"


def folded(summary: str, inside: Iterator[str]) -> Iterator[str]:
    """Give something long that is opened by a click."""
    yield f"<details><summary>{escape(summary)}</summary>"
    yield from inside
    yield "</details>"


def figure(path: Path, alt: str, caption: str) -> Iterator[str]:
    """Embed a picture, if it is there and one."""
    content = path.read_bytes() if path.is_file() else b""
    if content.startswith(PNG):
        data = base64.b64encode(content).decode()
        yield f'<figure><img alt="{escape(alt)}" src="data:image/png;base64,{data}">'
        yield f"<figcaption>{escape(caption)}</figcaption></figure>"
