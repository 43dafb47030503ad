"""What is true of the simulated microscope; the operator's tables say what he believes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from scope_sr.config.tables import XY, Fraction, Name, NotNegative, Number, Positive, Table, Whole


class TrueObjective(Table):
    """What an objective of the simulated microscope really does."""

    pixel_size_um: Positive | None = None
    parcentric_um: XY = (0.0, 0.0)
    parfocal_um: Number = 0.0
    distortion: Annotated[Number, Field(ge=-0.1, le=0.1)] = 0.0
    lateral_chromatic: XY = (0.0, 0.0)
    axial_chromatic_um: XY = (0.0, 0.0)
    vignetting: Fraction = 0.0
    illumination_centre: XY = (0.0, 0.0)
    color_gain: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)
    light_e_per_ms: Positive = 870.0


class TrueCamera(Table):
    """What the sensor of the simulated camera really does."""

    rotation_deg: Annotated[Number, Field(ge=-45, le=45)] = 0.0
    full_well_e: Positive = 10000.0
    read_noise_e: NotNegative = 6.0
    gain_e_per_dn: Positive | None = None
    dark_dn: NotNegative = 0.0
    pixel_response: Fraction = 0.0
    dust: Annotated[Whole, Field(ge=0, le=1000)] = 0


class TrueStage(Table):
    """What the mechanics of the simulated stage really do."""

    repeatability_um: NotNegative = 0.0
    z_repeatability_um: NotNegative = 0.0
    backlash_um: tuple[NotNegative, NotNegative] = (0.0, 0.0)
    z_backlash_um: NotNegative = 0.0
    drift_um_per_min: tuple[Number, Number, Number] = (0.0, 0.0, 0.0)
    speed_um_per_s: Positive = 10000.0
    acceleration_um_per_s2: Positive = 100000.0
    z_speed_um_per_s: Positive = 1000.0
    settle_ms: NotNegative = 50.0


class TrueNosepiece(Table):
    """What the simulated nosepiece really does at each turn."""

    repeatability_um: NotNegative = 0.0
    z_repeatability_um: NotNegative = 0.0
    turn_s: NotNegative = 1.5


class Surface(Table):
    """How far the tissue lies from the plane of the stage."""

    tilt_um_per_mm: XY = (0.0, 0.0)
    relief_um: NotNegative = 0.0
    relief_scale_um: Positive = 1000.0


class Simulation(Table):
    """The truth of the simulated microscope; only the simulator reads it."""

    seed: Annotated[Whole, Field(ge=0, lt=2**31)] = 0
    clock: Literal["real", "virtual"] = "real"
    objectives: dict[Name, TrueObjective] = Field(default={})
    camera: TrueCamera = TrueCamera()
    stage: TrueStage = TrueStage()
    nosepiece: TrueNosepiece = TrueNosepiece()
    surface: Surface = Surface()
