"""A capture on disk: plan, fields, journal; what survives a crash, and how it is read.

::

    session.json      what it is: schema, identity, creation, digests
    plan.json         every step, complete before anything moved
    rig.toml          the rig as the operator wrote it
    calibration/      the record, if one was measured
    journal.jsonl     what happened to each step; a field counts when its line stands here
    low/  high/       one OME-TIFF per field, exactly as the camera gave it
    *.companion.ome   one per pass: ashlar and Bio-Formats open it as one data set
"""

from scope_sr.session.folder import Session
from scope_sr.session.journal import Entry
from scope_sr.session.layout import estimate_bytes, quoted, resume_command
from scope_sr.session.verify import Report

__all__ = [
    "Entry",
    "Report",
    "Session",
    "estimate_bytes",
    "quoted",
    "resume_command",
]
