"""Rigs whose hidden truth is drawn by a seed, from easy to hard: what calibration has to find."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rigs import rig_text

from scope_sr.calibration import CalibrationRecord
from scope_sr.config import Rig, parse_rig

MOUNTS = (("+x", "-y"), ("-x", "-y"), ("+x", "+y"), ("+y", "+x"), ("-y", "+x"))


def hidden_rig(seed: int, size_px: int = 256, **changes: str) -> Rig:
    """Draw a rig: the higher the seed (to 19), the farther the truth from what the rig says."""
    rng = np.random.default_rng((41, seed))
    hard = 0.3 + 0.7 * min(seed, 19) / 19
    right, down = MOUNTS[seed % len(MOUNTS)]

    def off(span: float) -> float:
        return float(rng.uniform(-span, span) * hard)

    def around(value: float, span: float) -> float:
        return value * (1 + off(span))

    angle, away = rng.uniform(0, 2 * math.pi), 200 * hard
    high = (-38.0 + away * math.cos(angle), 21.0 + away * math.sin(angle))
    text = rig_text(
        **{
            "width_px = 64": f"width_px = {size_px}",
            "height_px = 48": f"height_px = {size_px}",
            'tissue = "procedural"': 'tissue = "tnbc"',
            'image_right = "+x"': f'image_right = "{right}"',
            'image_down = "-y"': f'image_down = "{down}"',
            "seed = 0": f"seed = {seed % 3}",
            "bits = 8": f"bits = {(8, 12)[seed % 2]}",
            "rotation_deg = 0.6": f"rotation_deg = {off(2.5):.4f}",
            "full_well_e = 10000.0": f"full_well_e = {around(11000, 0.25):.1f}",
            "dust = 6": "dust = 2",
            "\nrepeatability_um = 0.3": f"\nrepeatability_um = {0.1 + 0.2 * hard:.3f}",
            "\nbacklash_um = [2.0, 1.6]": f"\nbacklash_um = [{2 + off(1.5):.3f}, {2 + off(2):.3f}]",
            "pixel_size_um = 0.5012": f"pixel_size_um = {around(0.503, 0.02):.5f}",
            "pixel_size_um = 0.2503": f"pixel_size_um = {around(0.257, 0.02):.5f}",
            "parcentric_um = [-37.2, 22.1]": f"parcentric_um = [{high[0]:.2f}, {high[1]:.2f}]",
            "parfocal_um = 3.8": f"parfocal_um = {3.8 + off(8):.3f}",
            "distortion = 0.0015": f"distortion = {off(0.003):.5f}",
            "distortion = -0.001": f"distortion = {off(0.002):.5f}",
            "lateral_chromatic = [0.0002, -0.0003]": f"lateral_chromatic = [{off(8e-4):.6f},"
            f" {off(8e-4):.6f}]",
            "lateral_chromatic = [0.00015, -0.0002]": f"lateral_chromatic = [{off(6e-4):.6f},"
            f" {off(6e-4):.6f}]",
            "vignetting = 0.10": f"vignetting = {0.15 + off(0.12):.3f}",
            "vignetting = 0.06": f"vignetting = {0.12 + off(0.1):.3f}",
            "light_e_per_ms = 870.0": f"light_e_per_ms = {around(870, 0.5):.1f}",
            "light_e_per_ms = 725.0": f"light_e_per_ms = {around(725, 0.5):.1f}",
            **changes,
        }
    )
    text = text.replace("dark_dn = 2.0", f"dark_dn = {2.0 if seed % 2 == 0 else 30.0}")
    return parse_rig(text, source="hidden.toml", folder=Path.cwd())


@dataclass(frozen=True)
class Found:
    """One quantity: what was found, what is true, the sigma stated, the limit asked for."""

    name: str
    found: float
    true: float
    sigma: float | None
    limit: float | None = None

    @property
    def error(self) -> float:
        return self.found - self.true


def against_truth(rig: Rig, record: CalibrationRecord) -> list[Found]:
    """Set a record beside what is true of its rig, as far as its sections were measured."""
    rows = []
    for name in _known(rig, record):
        rows += _geometry(rig, record, name)
    rows += _offsets(rig, record)
    rows += _stage_and_camera(rig, record)
    return rows + _light(rig, record)


def _known(rig: Rig, record: CalibrationRecord) -> list[str]:
    return [name for name in (rig.low, rig.high) if name in record.objectives]


def _geometry(rig: Rig, record: CalibrationRecord, name: str) -> list[Found]:
    rows = []
    lens, true = record.objectives[name], rig.simulation.objectives[name]
    size_px = (rig.camera.width_px, rig.camera.height_px)
    if lens.scale_sigma is not None:
        assert true.pixel_size_um
        rotation = math.radians(rig.simulation.camera.rotation_deg)
        scale = lens.pixel_size_um / true.pixel_size_um - 1
        turn = lens.affine @ np.linalg.inv(_true_axes(rig))
        angle = math.atan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1])
        corner = np.array(size_px) / 2
        corners = [corner * (i, j) for i in (-1, 1) for j in (-1, 1)]
        wrong = lens.affine - _true_axes(rig, rotation) * true.pixel_size_um
        far = max(float(np.hypot(*(wrong @ c))) for c in corners) / true.pixel_size_um
        low = name == rig.low
        rows += [
            Found(f"{name} scale", scale, 0.0, lens.scale_sigma, 0.001),
            Found(f"{name} rotation, mrad", 1000 * (angle - rotation), 0.0,
                  lens.rotation_sigma_mrad, 0.5 if low else 1.0),
            Found(f"{name} corner, px", far, 0.0, None, 0.6),
            Found(f"{name} distortion", lens.distortion, true.distortion, lens.distortion_sigma,
                  2e-4 if low else 4e-3),
        ]  # fmt: skip
    if lens.lateral_chromatic is not None:
        assert lens.lateral_chromatic_sigma is not None
        radius = math.hypot(*size_px) / 2
        rows += [
            Found(f"{name} chromatic {color}, px", radius * got, radius * real, radius * sigma,
                  0.02)
            for color, got, real, sigma in zip(
                ("red", "blue"), lens.lateral_chromatic, true.lateral_chromatic,
                lens.lateral_chromatic_sigma, strict=True,
            )
        ]  # fmt: skip
    return rows


def _offsets(rig: Rig, record: CalibrationRecord) -> list[Found]:
    if rig.high not in record.objectives:
        return []
    lens, true = record.objectives[rig.high], rig.simulation.objectives[rig.high]
    if lens.parcentric_sigma_um is None:
        return []
    rows = [
        Found(f"parcentric {axis}, µm", got, real, sigma, 1.0)
        for axis, got, real, sigma in zip(
            "xy", lens.parcentric_um, true.parcentric_um, lens.parcentric_sigma_um, strict=True
        )
    ]
    depth_um = 0.55 / 0.75**2 + lens.pixel_size_um / 0.75
    sigma = lens.parfocal_sigma_um
    rows.append(Found("parfocal, µm", lens.parfocal_um, true.parfocal_um, sigma, depth_um / 2))
    return rows


def _stage_and_camera(rig: Rig, record: CalibrationRecord) -> list[Found]:
    truth, stage, camera = rig.simulation, record.stage, record.camera
    rows = []
    if stage is not None:
        rows += [
            Found(f"backlash {axis}, µm", got, real, sigma, 0.3)
            for axis, got, real, sigma in zip(
                "xy", stage.backlash_um, truth.stage.backlash_um, stage.backlash_sigma_um,
                strict=True,
            )
        ]  # fmt: skip
    if camera is not None:
        gain = truth.camera.full_well_e / rig.camera.full_scale
        rows += [
            Found(f"gain {color}", got / gain - 1, 0.0, sigma / gain, 0.01)
            for color, got, sigma in zip(
                "rgb", camera.gain_e_per_dn, camera.gain_sigma, strict=True
            )
        ]
    return rows


def _light(rig: Rig, record: CalibrationRecord) -> list[Found]:
    rows = [Found("colours, DN", pair.residual_dn, 0.0, None, 4.0) for pair in record.pairs]
    measured = [name for name in _known(rig, record) if record.objectives[name].flat is not None]
    flats = [Found(f"{name} flat, %", *_flat_error(rig, record, name), None, 0.4)
             for name in measured]  # fmt: skip
    return rows + flats


def _flat_error(rig: Rig, record: CalibrationRecord, name: str) -> tuple[float, float]:
    from scope_sr.specimen.sensor import Sensor

    truth = rig.simulation
    sensor = Sensor(rig.camera, truth.camera, truth.objectives[name], seed=truth.seed)
    rate = sensor.rate_e_per_ms.astype(float)
    true = rate / rate.mean(axis=(0, 1))
    flat = record.field(name, "flat")
    assert flat is not None
    return 100 * float(np.std(flat / true)), 0.0


def _true_axes(rig: Rig, rotation: float = 0.0) -> np.ndarray:
    from scope_sr.config import AXES

    axes = np.array([AXES[rig.camera.image_right], AXES[rig.camera.image_down]]).T
    cos, sin = math.cos(rotation), math.sin(rotation)
    return np.array([[cos, -sin], [sin, cos]]) @ axes


def table(rows: list[tuple[int, Found]]) -> str:
    """Say per quantity: RMS error, worst, limit, and how many truths lie inside twice the sigma."""
    lines = ["quantity                    rms error     worst     limit   inside 2 sigma"]
    for name in dict.fromkeys(found.name for _, found in rows):
        group = [found for _, found in rows if found.name == name]
        errors = np.array([found.error for found in group])
        stated = [f for f in group if f.sigma]
        inside = sum(abs(f.error) <= 2 * f.sigma for f in stated)
        share = f"{inside} of {len(stated)}" if stated else ""
        limit = "" if group[0].limit is None else f"{group[0].limit:.3g}"
        rms, worst = float(np.sqrt((errors**2).mean())), float(np.abs(errors).max())
        lines.append(f"{name:<26} {rms:>10.3g} {worst:>9.3g} {limit:>9}   {share}")
    return "\n".join(lines)


__all__ = ["Found", "against_truth", "hidden_rig", "table"]
