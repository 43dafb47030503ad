"""The person at the microscope, who turns what has no motor and agrees before anything moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Ask = Callable[[str, Sequence[str]], str]
"""Puts a question to the operator and returns the one of the answers he gave."""
