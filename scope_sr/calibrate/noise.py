"""Section ``noise``: gain, read noise, range and linearity of the camera, by photon transfer."""

from __future__ import annotations

import numpy as np

from scope_sr.calibrate import pictures
from scope_sr.calibrate.bench import Bench
from scope_sr.calibration import CameraCalibration
from scope_sr.errors import ReadbackError
from scope_sr.imaging.photon_transfer import Noise, photon_transfer

SHARES = np.linspace(0.04, 1.06, 12)  # of the exposure that puts glass near full scale
LINEARITY_LIMIT = 0.01
GAIN_LIMIT = 0.01


def measure_noise(bench: Bench) -> None:
    """Take pairs of bare glass over the range of the camera."""
    blank_um = bench.find_blank(bench.reference)
    bench.microscope.move_to(bench.place(bench.reference, blank_um))
    bench.tell(f"camera noise: {2 * len(SHARES)} frames of bare glass")
    exposure_ms = bench.exposure_ms(bench.reference)
    pairs = []
    for share in SHARES:
        try:
            bench.expose(float(share) * exposure_ms)
        except ReadbackError:
            continue  # an exposure shorter than the camera's lines
        taken_ms = bench.microscope.exposure_ms()
        first, second = (bench.microscope.snap().image for _ in range(2))
        pairs.append((taken_ms, first, second))
    bench.expose(exposure_ms)
    noise = photon_transfer(pairs, bench.rig.camera.full_scale)
    picture = bench.folder / "noise.png"
    pictures.photon_transfer(picture, noise)
    _know(bench, noise)
    _judge(bench, noise, picture.name)


def _know(bench: Bench, noise: Noise) -> None:
    read = [value for value in noise.read_noise_e if value is not None]
    camera = CameraCalibration(
        gain_e_per_dn=noise.gain_e_per_dn,
        gain_sigma=noise.gain_sigma_e_per_dn,
        read_noise_e=tuple(read) if len(read) == len(noise.read_noise_e) else None,
        full_well_e=noise.full_well_e,
        dark_dn=noise.dark_dn,
        variance_dn2=noise.offset_dn2,
        linearity=max(noise.linearity),
        effective=noise.effective,
    )
    bench.record = bench.record.model_copy(update={"camera": camera})


def _judge(bench: Bench, noise: Noise, picture: str) -> None:
    gain, sigma = np.array(noise.gain_e_per_dn), np.array(noise.gain_sigma_e_per_dn)
    bench.note(
        "camera gain" + (", effective" if noise.effective else ""), gain, "e per DN",
        f"known to {100 * GAIN_LIMIT:g} %",
        "ok" if (sigma / gain).max() <= GAIN_LIMIT else "warn", sigma=sigma, picture=picture,
        advice="the lamp is unsteady, or the camera processes its images (denoising, gamma)",
    )  # fmt: skip
    if noise.hidden_by_bits:
        bench.note(
            "read noise hidden by the bits of the camera, less than", 0.29 * gain, "e",
            "none; more bits would show it", picture=picture,
        )  # fmt: skip
    else:
        read = [value if value is not None else 0.0 for value in noise.read_noise_e]
        bench.note("read noise", tuple(read), "e", "none", picture=picture)
    bench.note("full well, at least", noise.full_well_e, "e", "none", picture=picture)
    worst = max(noise.linearity)
    bench.note(
        "linearity, largest deviation", 100 * worst, "% of full scale",
        f"{100 * LINEARITY_LIMIT:g} %", "ok" if worst <= LINEARITY_LIMIT else "fail",
        picture=picture,
        advice=(
            "grey levels do not follow the light: set gamma to 1, switch off automatic exposure and"
            " white balance; or the lamp drifts"
        ),
    )  # fmt: skip
