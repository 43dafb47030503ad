"""What a report says in words: the verdict, names of figures, numbers with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scope_sr.evaluate.seen import Sight

NONE = "–"
# of each figure: its name, decimals, unit
NAMES: dict[str, tuple[str, int, str]] = {
    "psnr_db": ("PSNR", 2, " dB"),
    "ssim": ("SSIM", 4, ""),
    "y_psnr_db": ("PSNR of Y", 2, " dB"),
    "y_ssim": ("SSIM of Y", 4, ""),
    "lpips": ("LPIPS (less is better)", 4, ""),
    "consistency_db": ("consistency with the low image", 2, " dB"),
    "shifted_psnr_db": ("PSNR after the best shift", 2, " dB"),
    "fitted_psnr_db": ("PSNR after shift and colours", 2, " dB"),
    "dice": ("Dice", 3, ""),
    "aji": ("AJI", 3, ""),
    "pq": ("PQ", 3, ""),
    "f1": ("F1", 3, ""),
}
# In the words of someone who looks through a microscope
MEANINGS = {
    "psnr_db": "PSNR: how small the error is against the range of grey levels. 6 dB more is"
    " half the error; 30 dB is an error of 8 of 255 grey levels, 40 dB one of 2.5. It says"
    " nothing by itself, for the same method gives other figures on other tissue: look at the gain",
    "ssim": "SSIM: how alike the fine structure is, from 0 to 1 for identical pictures",
    "lpips": "LPIPS: how different two pictures look to a network trained on what people see",
    "consistency_db": "consistency: whether the enlarged picture, made low again, is the low"
    " picture. The lower, the more the model has changed what the camera saw, not only added to it",
    "shifted_psnr_db": "after the best shift, and with colours fitted: what is left when two"
    " captured pictures that do not quite lie on each other, or differ in tint, are not blamed"
    " on the model",
    "dice": "Dice: how far the areas of found and of marked nuclei agree, from 0 to 1; it does"
    " not ask whether nuclei are told apart",
    "aji": "AJI: the same nucleus by nucleus, so that two taken for one cost",
    "f1": "F1: share of nuclei found, missed and invented ones counting alike; one counts as"
    " found if more than half of both areas together is shared",
    "pq": "PQ: F1 times how well the found nuclei are outlined",
}
Report = Mapping[str, Any]


def verdict(report: Report, sight: Sight) -> str:
    """Say the result in a sentence or two."""
    if report["kind"] == "nuclei":
        return _of_nuclei(report, sight)
    gain = report["gains"]["psnr_db"]
    where = sight.of(some(report["images"], "field")) + _patients(report)
    text = f"{_against_bicubic(gain)} in PSNR{_similarity(report)}, on {where}{_unsure(gain)}."
    if loses_to_lanczos(report):
        text += f" But Lanczos does no worse: {number('psnr_db', report['psnr_db']['lanczos'])}."
    return text + _recovered(report)


def sign(report: Report) -> str:
    """Give ``ok``, ``warn`` or ``fail``."""
    if report["seen"]["state"] in ("seen", "chosen by"):
        return "fail"
    sure = report["seen"]["state"] in ("unseen", "kept for testing") and not report["warnings"]
    if report["kind"] == "nuclei":
        sure = sure and bool(report["intervals"]["f1"])
    if report["kind"] == "sr":
        gain = report["gains"]["psnr_db"]
        if gain["interval"] and not beats(gain):
            return "fail"
        sure = sure and beats(gain) and not loses_to_lanczos(report)
    return "ok" if sure else "warn"


def loses_to_lanczos(report: Report) -> bool:
    """Whether a model that beats bicubic is no better than Lanczos in the mean."""
    means = report["psnr_db"]
    return bool(beats(report["gains"]["psnr_db"]) and means["model"] <= means["lanczos"])


def beats(gain: Mapping[str, Any]) -> bool:
    """Whether a gain is above zero by more than chance."""
    return bool(gain["interval"] and gain["interval"][0] > 0)


def number(figure: str, value: float | None, *, signed: bool = False) -> str:
    """Write a figure as it is usual; nothing was measured where it is None.

    >>> number("psnr_db", 31.2345), number("ssim", 0.91, signed=True), number("f1", None)
    ('31.23 dB', '+0.9100', '–')
    """
    if value is None:
        return NONE
    _, digits, unit = NAMES[figure]
    return f"{value:{'+' if signed else ''}.{digits}f}{unit}"


def with_interval(figure: str, value: float | None, interval: Any, *, signed: bool = False) -> str:
    """Write a figure and where its mean lies with 95 % certainty.

    >>> with_interval("psnr_db", 0.5, (0.4, 0.6), signed=True)
    '+0.50 dB [+0.40 to +0.60]'
    """
    text = number(figure, value, signed=signed)
    if interval is None or value is None:
        return text
    digits, plus = NAMES[figure][1], "+" if signed else ""
    low, high = (f"{end:{plus}.{digits}f}" for end in interval)
    return f"{text} [{low} to {high}]"


def share_in_words(recovered: Mapping[str, Any]) -> str:
    """Write which share of a gap was closed.

    >>> share_in_words({"share": 0.613, "interval": (0.5, 0.7)}), share_in_words({"share": None})
    ('61 % [50 to 70]', 'not defined')
    """
    if recovered["share"] is None:
        return "not defined"
    text = f"{100 * recovered['share']:.0f} %"
    interval = recovered["interval"]
    return f"{text} [{100 * interval[0]:.0f} to {100 * interval[1]:.0f}]" if interval else text


def some(count: int, what: str) -> str:
    """Count things.

    >>> some(1, "field"), some(2, "field")
    ('1 field', '2 fields')
    """
    return f"{count} {what}{'' if count == 1 else 's'}"


def _against_bicubic(gain: Mapping[str, Any]) -> str:
    off = with_interval("psnr_db", gain["mean"], gain["interval"], signed=True)
    if gain["interval"] is None:
        return f"{'Better' if gain['mean'] > 0 else 'Worse'} than bicubic: {off}"
    if beats(gain):
        return f"Beats bicubic by {off.replace('+', '')}"
    if gain["interval"][1] < 0:
        return f"Does NOT beat bicubic, it is worse: {off}"
    return f"Does NOT beat bicubic: the difference of {off} may be chance;"


def _unsure(gain: Mapping[str, Any]) -> str:
    return "" if gain["interval"] else "; too few fields to say whether it is so on others"


def _similarity(report: Report) -> str:
    gain = report["gains"]["ssim"]
    off = with_interval("ssim", gain["mean"], gain["interval"], signed=True)
    return f", {off} in SSIM"


def _patients(report: Report) -> str:
    patients = report["data"].get("patients")
    return f" ({some(len(patients), 'patient')})" if patients else ""


def _recovered(report: Report) -> str:
    if "recovered" not in report:
        return ""
    figure = "dice" if report["f1"]["high"] is None else "f1"
    by, closed = report[figure], report["recovered"][figure]
    text = ", ".join(
        f"{number(figure, by[name])} in {what}"
        for name, what in (
            ("bicubic", "bicubic"),
            ("model", "the model's"),
            ("high", "true images"),
        )
    )
    share = share_in_words(closed)
    told = f"{share} of the loss comes back" if closed["share"] is not None else closed["why"]
    return f" {NAMES[figure][0]} of nuclei: {text}; {told}."


def _of_nuclei(report: Report, sight: Sight) -> str:
    figures = [
        f"{NAMES[figure][0]} {with_interval(figure, report[figure], report['intervals'][figure])}"
        for figure in ("f1", "pq", "aji", "dice")
    ]
    where = sight.of(some(report["images"], "image")) + _patients(report)
    if report["f1"] is None:
        figures = figures[-1:]
        where += "; the masks do not tell nuclei apart, so none were counted"
    elif not report["intervals"]["f1"]:
        where += "; too few images to say whether it is so on others"
    return f"Finds nuclei with {', '.join(figures)}, on {where}."
