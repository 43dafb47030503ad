"""How good a model is, beside bicubic and Lanczos, on images it did not learn from."""

from __future__ import annotations

from scope_sr.evaluate.asked import Asked
from scope_sr.evaluate.run import Evaluation, evaluate

__all__ = ["Asked", "Evaluation", "evaluate"]
