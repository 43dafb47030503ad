"""Fixtures every test may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rigs import make_rig

from scope_sr.config import Rig
from scope_sr.microscope import GuardedMicroscope, open_microscope


@pytest.fixture(scope="session")
def rig() -> Rig:
    return make_rig()


@pytest.fixture
def microscope(rig: Rig) -> Iterator[GuardedMicroscope]:
    with open_microscope(rig) as opened:
        yield opened
