"""Checks and numbers in words: the same in the terminal, in pictures and in the report."""

from __future__ import annotations

import math

from scope_sr.calibration import Check


def describe(check: Check) -> str:
    """Say a check in one line.

    >>> check = Check(section="noise", name="gain", value=(39.2,), sigma=(0.1,), unit="e/DN",
    ...     limit="", verdict="ok", made_at="2026-11-23T12:00:00Z")
    >>> describe(check)
    'ok    gain: 39.2 ± 0.1 e/DN'
    """
    limit = f"  (limit {check.limit})" if check.limit and check.verdict != "ok" else ""
    advice = f"; {check.advice}" if check.advice else ""
    return f"{check.verdict:<5} {check.name}: {value_of(check)}{limit}{advice}"


def value_of(check: Check) -> str:
    """Give value, uncertainty and unit of a check."""
    values = ", ".join(brief(v, _of(check.sigma, i)) for i, v in enumerate(check.value))
    sigma = ", ".join(_short(s) for s in check.sigma)
    spread = f" ± {sigma}" if sigma else ""
    return f"{values}{spread} {check.unit}"


def brief(value: float, sigma: float = 0.0) -> str:
    """Write a number with no more digits than its uncertainty deserves.

    >>> brief(2.03414, 0.07), brief(-0.0004, 0.1), brief(1234.5, 0.0), brief(float("nan"), 1.0)
    ('2.034', '0', '1234', 'nan')
    """
    if sigma <= 0 or not (math.isfinite(sigma) and math.isfinite(value)):
        return f"{value:.4g}"
    digits = min(max(0, 1 - math.floor(math.log10(sigma))), 8)
    text = f"{round(value, digits) + 0.0:.{digits}f}"  # no -0
    return text.rstrip("0").rstrip(".") if digits else text


def plus_minus(value: float, sigma: float | None) -> str:
    """Write a number with its uncertainty, if there is one.

    >>> plus_minus(2.0341, 0.0712), plus_minus(0.5, None), plus_minus(3.0, 0.0)
    ('2.034 ± 0.071', '0.5', '3')
    """
    if sigma is None or not sigma > 0:
        return brief(value)
    return f"{brief(value, sigma)} ± {_short(sigma)}"


def _of(sigma: tuple[float, ...], index: int) -> float:
    return sigma[min(index, len(sigma) - 1)] if sigma else 0.0


def _short(sigma: float) -> str:
    """Write an uncertainty with two digits, without an exponent where that can be read.

    >>> _short(0.07), _short(0.0000544), _short(123.4)
    ('0.07', '0.000054', '123')
    """
    if not 1e-7 < sigma < 1e6:
        return f"{sigma:.2g}"
    digits = max(0, 1 - math.floor(math.log10(sigma)))
    return f"{sigma:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{sigma:.0f}"
