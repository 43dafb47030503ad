"""Enhance: pictures, slides and sessions in; pictures, nuclei and their measures out."""

from __future__ import annotations

from scope_sr.enhance.asked import Asked
from scope_sr.enhance.run import Outcome, enhance

__all__ = ["Asked", "Outcome", "enhance"]
