"""What the pages of reports are put together from; everything in them is escaped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape


def paragraph(text: str, kind: str = "when") -> str:
    """Write a paragraph of one of the classes in ``report.css``.

    >>> paragraph("a < b", "notice")
    '<p class="notice">a &lt; b</p>'
    """
    return f'<p class="{kind}">{escape(text)}</p>'


def facts(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Write names and what they stand for, a row each."""
    yield '<div class="wide"><table class="head">'
    for name, value in rows:
        yield f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
    yield "</table></div>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Write a table; the first cell of each row names it."""
    yield '<div class="wide"><table>\n<tr>'
    yield "".join(f'<th scope="col">{escape(name)}</th>' for name in head) + "</tr>"
    for first, *rest in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        yield f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'
    yield "</table></div>"
