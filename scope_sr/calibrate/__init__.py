"""Measure the instrument, and know how well: `calibrate`, and `check_record` in a minute."""

from scope_sr.calibrate.bench import CalibrationError
from scope_sr.calibrate.check import check_record
from scope_sr.calibrate.run import (
    Course,
    calibrate,
    make_folder,
    plan_course,
    reach_um,
    resume_course,
)
from scope_sr.calibrate.words import describe

__all__ = [
    "CalibrationError",
    "Course",
    "calibrate",
    "check_record",
    "describe",
    "make_folder",
    "plan_course",
    "reach_um",
    "resume_course",
]
