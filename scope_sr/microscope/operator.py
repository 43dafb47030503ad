"""The person at the microscope, who turns what has no motor and agrees before anything moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scope_sr.config import Rig
from scope_sr.errors import InputError

Ask = Callable[[str, Sequence[str]], str]
"""Puts a question to the operator and returns the one of the answers he gave."""


class Operator:
    """Who turns a nosepiece that has no motor.

    Asked in the caller's thread and without a deadline, so that Ctrl-C reaches the question.
    """

    def __init__(self, ask: Ask | None, rig: Rig) -> None:
        self._ask = ask
        self._rig = rig

    def refuse_absence(self) -> None:
        """Refuse to begin what only a person could end.

        Raises
        ------
        InputError
            There is nobody to ask.
        """
        if self._ask is None:
            msg = (
                f"{self._rig.source}: nosepiece.manual: nobody is here to turn it or to say what is"
                " in place; run it in a terminal, or pass ask= to open_microscope"
            )
            raise InputError(msg)

    def which_is_in_place(self) -> str:
        """Ask which objective is in the light path."""
        question = "Which objective is in the light path now?"
        return self._answer(question, tuple(self._rig.objectives))

    def turn_to(self, name: str) -> None:
        """Let the operator turn the nosepiece, and confirm by name what is in place now."""
        self._answer(
            f"The objective is retracted by {self._rig.nosepiece.escape_um:g} µm. Turn the"
            f" nosepiece by hand to {name} ({self._rig.objectives[name].label}) until it clicks"
            " into place; then confirm with its name",
            (name,),
        )

    def _answer(self, question: str, answers: tuple[str, ...]) -> str:
        self.refuse_absence()
        answer = self._ask(question, answers) if self._ask else ""
        if answer not in answers:
            msg = f"{answer!r} is no answer to: {question} ({', '.join(answers)})"
            raise InputError(msg)
        return answer
