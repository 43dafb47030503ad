"""Job ``export``: a trained model in the form another runtime reads."""

from scope_sr.export.run import SUFFIXES, Exported, Form, export
from scope_sr.export.source import blend, opened

__all__ = ["SUFFIXES", "Exported", "Form", "blend", "export", "opened"]
