"""A progress bar for people, ten lines for logs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from scope_sr.cli.operator import Operator

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")


def bars(*, elapsed: bool = False) -> Progress:
    """Make the bars of long work for people; `elapsed` shows how long instead of how long yet."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeElapsedColumn() if elapsed else TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each stage to people, ten lines for each to logs."""
    with bars() as progress:
        tasks: dict[str, Any] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(tasks[stage], completed=done, total=total)
            tenth = max(1, total // 10)
            if not progress.console.is_terminal and done and (done == total or done % tenth == 0):
                click.echo(f"{stage} {done}/{total}", err=True)

        yield tell


def with_progress(
    items: Iterable[T], say: Callable[[T], str], operator: Operator, *, total: int, done: int = 0
) -> Iterator[T]:
    """Pass items on and show how far they are; `say` puts one in words."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    console = Console(stderr=True)
    columns = (
        BarColumn(bar_width=16, table_column=Column(no_wrap=True, min_width=8)),
        MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=2 * len(str(total)) + 1)),
        TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
        TextColumn(
            "{task.description}",
            markup=False,
            table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
        ),
    )
    with Progress(
        *columns, console=console, expand=True, disable=not console.is_terminal
    ) as progress:
        operator.progress = progress
        task = progress.add_task("starting", total=total, completed=done)
        for item in items:
            done += 1
            state = say(item)
            progress.update(task, completed=done, description=state)
            if not console.is_terminal and (done == total or done % max(1, total // 10) == 0):
                click.echo(f"{done}/{total} {state}", err=True)
            yield item
