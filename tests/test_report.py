"""The pictures of a calibration, and the report that carries them."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rigs import make_rig

from scope_sr.calibrate import pictures
from scope_sr.calibrate.report import write_report
from scope_sr.calibration import (
    SECTIONS,
    CalibrationRecord,
    Check,
    Fingerprint,
    ObjectiveCalibration,
)
from scope_sr.imaging.affine import Affine, fit_affine
from scope_sr.imaging.color import color_matrix
from scope_sr.imaging.focus_surface import FocusSurface, fit_surface
from scope_sr.imaging.photon_transfer import Noise

Draw = Callable[[Path], None]
MOST_BYTES = 80_000


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


# ---- what the sections hand over -----------------------------------------------------------------


def stage(path: Path) -> None:
    dice, play_um = rng(), np.array([2.03, 1.6])
    below, above = ([dice.normal(off, 0.3, (10, 2)) for _ in range(2)] for off in (0, play_um))
    pictures.stage(path, below, above, play_um, np.array([0.131, 0.128]), 0.3)


def affine(path: Path, side: int = 5, scatter_um: float = 0.3, slipped: int = 0) -> None:
    steps_um = (np.arange(side) - (side - 1) / 2) * 256.0
    sent_um = np.array([(x, y) for y in steps_um for x in steps_um])
    really_um = sent_um + rng().normal(0, scatter_um, sent_um.shape)
    really_um[:slipped] += 40.0
    matrix = 0.5012 * np.array([[1.0, 0.0105], [0.0105, -1.0]])
    fitted: Affine = fit_affine(really_um @ np.linalg.inv(matrix).T, sent_um)
    pictures.affine(path, "10x", sent_um, fitted)


def lens(**changes: object) -> ObjectiveCalibration:
    known = {
        "affine_um_per_px": ((0.25, 0.001), (0.001, -0.25)),
        "scale_sigma": 0.0002,
        "rotation_sigma_mrad": 0.1,
        "distortion": -0.001,
        "distortion_sigma": 0.0001,
        "parcentric_um": (-37.21, 22.08),
        "parcentric_sigma_um": (0.21, 0.24),
        "parfocal_um": 3.81,
        "parfocal_sigma_um": 0.05,
        "turret_sigma_um": (0.48, 0.53, 0.11),
        "lateral_chromatic": (0.00015, -0.0002),
        "exposure_ms": 11.62,
        "glass_dn": (221.0, 223.0, 219.0),
    }
    return ObjectiveCalibration.model_validate({**known, **changes})


def offsets(path: Path, missing: float = 0.0, **changes: object) -> None:
    turn_um = rng().normal((-37.2, 22.1), 0.5, (5, 1, 2))
    across_um = turn_um + rng().normal(0, 0.12, (5, 5, 2))
    focus_um = np.full((5, 5), np.nan)
    focus_um[:, :2] = 3.8 + rng().normal(0, 0.12, (5, 2))
    focus_um[0, 2:] = 3.8 + rng().normal(0, 0.12, 3)
    lost = rng().random((5, 5)) < missing
    across_um[lost], focus_um[lost] = np.nan, np.nan
    pictures.offsets(path, "20x", across_um, focus_um, lens(**changes))


def flat_field(path: Path, shape: tuple[int, ...] = (512, 512, 3)) -> None:
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    shading = 1.06 - 0.1 * ((x - 0.1) ** 2 + (y + 0.1) ** 2) + 0.02 * x
    shading[(x - 0.4) ** 2 + (y - 0.5) ** 2 < 0.0006] *= 0.92
    flat = shading * rng().normal(1, 0.004, shading.shape)
    dark = np.full(shape, 2.0) + rng().normal(0, 0.02, shape)
    if len(shape) == 3:
        flat = flat[..., None] + np.array([0.01, 0.0, -0.01]) * x[..., None]
    pictures.flat_field(path, "10x", flat.astype(np.float32), dark.astype(np.float32))


def noise(*, channels: int = 3, hidden: bool = False, points: int = 96) -> Noise:
    dice = rng()
    levels = [np.sort(dice.uniform(10, 228, points)) for _ in range(channels)]
    gains = [39.2, 39.3, 39.1][:channels]
    variances = [
        (0.05 + level / gain) * dice.normal(1, 0.01, points)
        for level, gain in zip(levels, gains, strict=True)
    ]
    return Noise(
        gain_e_per_dn=tuple(gains),
        gain_sigma_e_per_dn=(0.08, 0.09, 0.08)[:channels],
        read_noise_e=(None if hidden else 6.1,) * channels,
        full_well_e=(9876.0,) * channels,
        dark_dn=(2.01,) * channels,
        linearity=(0.0009,) * channels,
        slope=tuple(1 / gain for gain in gains),
        offset_dn2=(0.05,) * channels,
        levels_dn=tuple(tuple(level.tolist()) for level in levels),
        variances_dn2=tuple(tuple(variance.tolist()) for variance in variances),
        hidden_by_bits=hidden,
        effective=hidden,
        lamp_drift=0.001,
    )


def color(path: Path, samples: int = 6000) -> None:
    absorbed = rng().gamma(1.2, 0.35, (samples, 2))
    stains = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    source = 225 * np.exp(-absorbed @ stains) + rng().normal(0, 1.2, (samples, 3))
    mixed = np.array([[0.95, 0.02, 0.0], [0.03, 0.97, 0.02], [0.0, 0.03, 1.04]])
    target = source @ mixed.T + (2.0, -1.0, 3.0) + rng().normal(0, 1.5, (samples, 3))
    source, target = source.astype(np.float32), target.astype(np.float32)
    matrix, residual_dn = color_matrix(target, source)
    pictures.color(path, "10x", "20x", source, target, matrix, residual_dn)


def chromatic(path: Path, dots: int = 0) -> None:
    sizes = (0.0002, -0.0003)
    moves = rng().uniform(-600, 600, (2, dots))
    pairs = [np.column_stack([m, e * m + rng().normal(0, 0.05, dots)])
             for m, e in zip(moves, sizes, strict=True)]  # fmt: skip
    pictures.chromatic(path, "10x", sizes, (2e-5, 2e-5), 724.0, pairs if dots else ())


def points(count: int, wrong: int = 0) -> np.ndarray:
    xy = rng().uniform(-3000, 3000, (count, 2))
    z = 0.25e-3 * xy[:, 0] - 0.15e-3 * xy[:, 1] + rng().normal(0, 0.08, count) - 12.3
    z[:wrong] += 6
    return np.column_stack([xy, z])


def focus(path: Path, count: int = 9, wrong: int = 0, planes: int = 7) -> None:
    z_um = (np.arange(planes) - planes // 2) * 3.9 - 12.3
    stack = [(float(z), float(0.05 * np.exp(-((z + 12.1) ** 2) / 60) + 0.002)) for z in z_um]
    table = points(count, wrong)
    surface: FocusSurface = fit_surface(table[:, :2], table[:, 2])
    pictures.focus(path, "10x", stack, -12.11, table, surface)


DRAWN: dict[str, Draw] = {
    "stage": stage,
    "affine, slipped": lambda path: affine(path, side=7, slipped=3),
    "affine, exact": lambda path: affine(path, scatter_um=0.0),
    "offsets, half missing": lambda path: offsets(path, missing=0.5),
    "offsets, none found": lambda path: offsets(path, missing=1.0, turret_sigma_um=None),
    "flat-field": flat_field,
    "flat-field, mono": lambda path: flat_field(path, (480, 640)),
    "flat-field, one channel": lambda path: flat_field(path, (48, 64, 1)),
    "noise": lambda path: pictures.photon_transfer(path, noise()),
    "noise, mono, hidden": lambda path: pictures.photon_transfer(
        path, noise(channels=1, hidden=True)
    ),
    "noise, no points": lambda path: pictures.photon_transfer(path, noise(points=0)),
    "color": color,
    "chromatic": chromatic,
    "chromatic, with its blocks": lambda path: chromatic(path, dots=400),
    "focus, 4 points, 3 planes": lambda path: focus(path, count=4, planes=3),
    "focus, 40 points, outliers": lambda path: focus(path, count=40, wrong=3),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_can_be_read_and_is_small(name: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    DRAWN[name](path)
    assert [file.name for file in tmp_path.iterdir()] == ["picture.png"]
    assert path.stat().st_size < MOST_BYTES
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape == (500, 900, 3)
    assert pixels.std() > 10
    assert (pixels[0] == 255).all()  # nothing runs out at the top


# ---- the report ----------------------------------------------------------------------------------


def check(section: str = "stage", verdict: str = "ok", **changes: object) -> Check:
    known = {
        "section": section,
        "name": f"{section} that is {verdict}",
        "value": (2.034, 1.6),
        "sigma": (0.07, 0.08),
        "unit": "µm",
        "limit": "what approach_um takes up",
        "verdict": verdict,
        "advice": "" if verdict == "ok" else f"mend {section} <first>",
        "made_at": "2026-11-23T12:05:09Z",
    }
    return Check.model_validate({**known, **changes})


def record(*checks: Check, **changes: object) -> CalibrationRecord:
    rig = make_rig()
    known = {
        "rig": rig.name,
        "made_at": "2026-11-23T12:00:00Z",
        "software": "scope-sr 0.1.0",
        "reference": "10x",
        "fingerprint": Fingerprint.of(rig, "camera <A&B>"),
        "objectives": {**CalibrationRecord.nominal(rig).objectives, "20x": lens()},
        "checks": checks,
    }
    return CalibrationRecord.model_validate({**known, **changes})


def report(record: CalibrationRecord, folder: Path) -> str:
    write_report(record, folder)
    assert not list(folder.glob("*.part"))
    text = (folder / "report.html").read_text(encoding="utf-8")
    Balanced().judge(text)
    return text


class Balanced(HTMLParser):
    """Every element is closed, and nothing is loaded from elsewhere."""

    EMPTY = frozenset({"meta", "img"})

    def judge(self, text: str) -> None:
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link")
        assert (dict(attrs).get("src") or "data:").startswith("data:")
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_each_check_stands_in_the_report_once_with_its_verdict(tmp_path: Path) -> None:
    verdicts = ("ok", "warn", "fail")
    checks = [check(section, verdict) for section in SECTIONS for verdict in verdicts]
    text = report(record(*checks), tmp_path)
    for one in checks:
        row = f'<tr class="{one.verdict}"><th scope="row">{one.name}'
        assert text.count(row) == 1
    assert text.count("2.034, 1.6 ± 0.07, 0.08 µm") == len(checks)
    for sign in ("✓ ok", "! look", "✗ failed"):
        assert sign in text
    assert "Of 24 checks, 8 failed and 8 to look at" in text
    assert f"--only {','.join(SECTIONS)}" in text
    assert "Not measured" in text  # the 5x and 10x of this record


def test_all_is_well(tmp_path: Path) -> None:
    text = report(record(*(check(section) for section in SECTIONS)), tmp_path)
    assert "✓ All 8 checks are ok." in text
    assert "--only" not in text
    assert "2026-11-23 12:05 UTC" in text
    assert "-37.21 ± 0.21, 22.08 ± 0.24" in text
    assert text.count("0, the reference") == 2
    assert "<li>everything of 5x, 10x</li>" in text


def test_what_a_record_says_is_text_never_markup(tmp_path: Path) -> None:
    nasty = "<script>alert('&')</script>"
    bad = check("noise", "fail", name=nasty, unit=nasty, limit=nasty, advice=nasty)
    text = report(record(bad, rig=nasty, software=nasty), tmp_path)
    assert nasty not in text
    assert "&lt;script&gt;" in text
    assert "camera &lt;A&amp;B&gt;" in text


def test_pictures_are_inside_once_each_and_only_those_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "record"
    folder.mkdir()
    stage(folder / "stage.png")
    (tmp_path / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\nsecret")
    (folder / "fake.png").write_text("no picture")
    named = [
        check(picture="stage.png", name="one"),
        check(picture="stage.png", name="two"),
        check("noise", picture="../secret.png"),
        check("focus", picture="fake.png"),
    ]
    text = report(record(*named), folder)
    inside = [base64.b64decode(data) for data in re.findall(r'base64,([^"]+)"', text)]
    assert inside == [(folder / "stage.png").read_bytes()]
    assert text.count("is not in this folder") == 2


def test_a_report_replaces_the_old_one_only_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = report(record(check()), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError, match="full"):
            write_report(record(), tmp_path)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == before


def test_a_nominal_record_has_a_report_too(tmp_path: Path) -> None:
    text = report(CalibrationRecord.nominal(make_rig()), tmp_path)
    assert "Nothing was measured" in text
    assert "scope-sr calibrate --rig simulated" in text
    assert "calibrated</th><td>never" in text
    assert "as the rig file says" in text


def test_drawing_is_loaded_by_the_first_picture_only() -> None:
    code = "import sys, scope_sr.calibrate; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
