"""Fixtures every test may use."""

from __future__ import annotations

import os

for library in ("OMP", "OPENBLAS", "MKL"):  # one thread each: pytest-xdist fills the cores
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
os.environ["QT_QPA_PLATFORM"] = "offscreen"  # no display is needed, and none is used

from collections.abc import Iterator

import pytest
from pyjavaz.bridge import _DataSocket
from rigs import make_rig

from scope_sr.config import Rig
from scope_sr.microscope import GuardedMicroscope, open_microscope


class ClosingSocket(_DataSocket):
    """The client's socket, closed when let go of: pyjavaz never does, and pyzmq warns of that."""

    def __del__(self) -> None:
        self._socket.close()


def pytest_xdist_auto_num_workers() -> int:
    """Take one more process than there are cores: many tests wait for a stage or a camera."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of one long calibration in one process: another would only wait for it."""
    for item in items:
        if "whole" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("whole"))


@pytest.fixture(autouse=True, scope="session")
def close_sockets() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyjavaz.bridge._DataSocket", ClosingSocket)
        yield


@pytest.fixture(scope="session")
def rig() -> Rig:
    return make_rig()


@pytest.fixture
def microscope(rig: Rig) -> Iterator[GuardedMicroscope]:
    with open_microscope(rig) as opened:
        yield opened
