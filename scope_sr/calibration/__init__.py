"""What was measured on a rig: the one place that maps pixels, µm and objectives onto each other."""

from scope_sr.calibration.quantities import (
    SECTIONS,
    CameraCalibration,
    Check,
    CourseSoFar,
    Fingerprint,
    FocusCalibration,
    Section,
    StageCalibration,
    Times,
    Verdict,
)
from scope_sr.calibration.record import (
    PARTIAL,
    RECORD,
    CalibrationRecord,
    ObjectiveCalibration,
    PairCalibration,
)

__all__ = [
    "PARTIAL",
    "RECORD",
    "SECTIONS",
    "CalibrationRecord",
    "CameraCalibration",
    "Check",
    "CourseSoFar",
    "Fingerprint",
    "FocusCalibration",
    "ObjectiveCalibration",
    "PairCalibration",
    "Section",
    "StageCalibration",
    "Times",
    "Verdict",
]
