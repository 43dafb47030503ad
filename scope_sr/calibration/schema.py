"""The JSON schema of a record, for other programs; ``python -m scope_sr.calibration.schema``."""

from __future__ import annotations

import json
from pathlib import Path

from scope_sr.calibration.record import CalibrationRecord

PATH = Path(__file__).with_name("record.schema.json")


def text() -> str:
    """Generate the schema from the type of the record."""
    schema = CalibrationRecord.model_json_schema()
    schema["description"] = schema["description"].partition("\n\nExamples")[0]
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8", newline="\n")
