"""The operator at the terminal: questions between the steps of a running job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress


class Operator:
    """Asks at the terminal, and takes the progress bar away meanwhile."""

    def __init__(self) -> None:
        self.progress: Progress | None = None

    def ask(self, question: str, answers: Sequence[str]) -> str:
        """Ask until one of the answers is given; Ctrl-C and the end of input stop the job."""
        if self.progress is not None:
            self.progress.stop()
        click.echo(f"\n{question}", err=True)
        try:
            answer: str = click.prompt(">", type=click.Choice(answers), err=True, prompt_suffix=" ")
        except click.Abort:
            click.echo(err=True)
            raise KeyboardInterrupt from None
        if self.progress is not None:
            self.progress.start()
        return answer
