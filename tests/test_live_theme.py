"""The palettes can be read, by weak eyes and by eyes that mix red and green up."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from PySide6 import QtWidgets
from skimage.color import rgb2lab

from scope_sr.live.window.showing import application
from scope_sr.live.window.theme import LEAST_PT, THEMES, Theme, contrast, digits, dress

pytestmark = pytest.mark.xdist_group("qt")
WORDS = ("text", "quiet", "good", "warn", "bad")
GROUNDS = ("panel", "raised")
# Machado, Oliveira and Fernandes, IEEE Trans. Vis. Comput. Graph. 15, 1291 (2009), severity 1,
# for linear RGB
BLIND = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
         [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip
TISSUE = {"eosin": "#d98cb3", "haematoxylin": "#5a3a8c", "glass": "#efebef"}
TELLING = 20.0  # of CIE L*a*b*: plainly another colour


def seen_by(colour: str, blindness: str) -> np.ndarray:
    rgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(BLIND[blindness] @ linear, 0, 1)
    back = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    return rgb2lab(back.reshape(1, 1, 3)).ravel()


@pytest.mark.parametrize(
    ("one", "other", "known"),
    [("#000000", "#ffffff", 21.0), ("#777777", "#ffffff", 4.48), ("#0000ff", "#ffffff", 8.59)],
)
def test_contrast_is_that_of_wcag(one: str, other: str, known: float) -> None:
    assert contrast(one, other) == pytest.approx(known, abs=0.01)
    assert contrast(other, one) == contrast(one, other)


@pytest.mark.parametrize("theme", THEMES.values(), ids=list(THEMES))
def test_words_can_be_read(theme: Theme) -> None:
    least = 7.0 if theme.name == "contrast" else 4.5
    pairs = [(word, ground) for word in WORDS for ground in GROUNDS]
    pairs += [("on_accent", "accent"), ("on_stop", "stop"), ("text", "hover")]
    poor = {
        pair: round(contrast(getattr(theme, pair[0]), getattr(theme, pair[1])), 2)
        for pair in pairs
        if contrast(getattr(theme, pair[0]), getattr(theme, pair[1])) < least
    }
    assert poor == {}


@pytest.mark.parametrize("theme", THEMES.values(), ids=list(THEMES))
def test_the_focus_can_be_seen(theme: Theme) -> None:
    assert contrast(theme.accent, theme.panel) >= 3
    assert contrast(theme.accent, theme.raised) >= 3


@pytest.mark.parametrize("blindness", BLIND)
@pytest.mark.parametrize("theme", THEMES.values(), ids=list(THEMES))
def test_what_lies_over_tissue_keeps_apart_from_it(theme: Theme, blindness: str) -> None:
    over = {name: getattr(theme, name) for name in ("nuclei", "clipped_high", "clipped_low")}
    pairs = [*combinations(over, 2), *((name, stain) for name in over for stain in TISSUE)]
    colours = {name: seen_by(colour, blindness) for name, colour in (over | TISSUE).items()}
    near = {
        pair: round(float(np.linalg.norm(colours[pair[0]] - colours[pair[1]])), 1) for pair in pairs
    }
    assert {pair: apart for pair, apart in near.items() if apart < TELLING} == {}


def test_small_writing_grows_and_large_writing_stays() -> None:
    app = application()
    before = app.font()
    font = app.font()
    try:
        for given, wanted in ((7.0, LEAST_PT), (15.0, 15.0)):
            font.setPointSizeF(given)
            app.setFont(font)
            dress(app, THEMES["dark"])
            label = QtWidgets.QLabel("x")
            assert label.font().pointSizeF() == wanted
            assert f"font-size: {2.3 * wanted:g}pt" in app.styleSheet()
    finally:
        app.setFont(before)
        app.setStyleSheet("")


def test_digits_are_of_one_width() -> None:
    label = QtWidgets.QLabel()
    label.setFont(digits(label.font()))
    widths = {label.fontMetrics().horizontalAdvance(digit * 20) for digit in "0123456789"}
    assert len(widths) == 1
