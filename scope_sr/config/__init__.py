"""What we ask for: rigs, written by people as TOML, read into frozen types.

Every key carries its unit in its name. Unknown keys, wrong types and impossible values are
refused with one line that names the file, the key, the value and the way out.
"""

from __future__ import annotations

from scope_sr.config.messages import one_line, reason
from scope_sr.config.recipe import (
    Degradation,
    Mixture,
    SrganRecipe,
    UnetRecipe,
    load_recipe,
    recipe_of,
)
from scope_sr.config.rig import BUILT_IN, Rig, load_rig, parse_rig
from scope_sr.config.tables import AXES, XY, Camera, Labels, Number, Specimen, Table
from scope_sr.config.truth import TrueCamera, TrueObjective

__all__ = [
    "AXES",
    "BUILT_IN",
    "XY",
    "Camera",
    "Degradation",
    "Labels",
    "Mixture",
    "Number",
    "Rig",
    "Specimen",
    "SrganRecipe",
    "Table",
    "TrueCamera",
    "TrueObjective",
    "UnetRecipe",
    "load_recipe",
    "load_rig",
    "one_line",
    "parse_rig",
    "reason",
    "recipe_of",
]
