"""The stream of a Micro-Manager core: its newest frame, each once, and settings in the midst."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from scope_sr.errors import MicroscopeError
from scope_sr.microscope.link import Link, ask, in_words

BELIEVED_S = 0.1  # how long the core's count of frames tells that there is none newer


class Streaming:
    """A camera that runs into the core's buffer.

    Frames are numbered on from the one before the stream; the core numbers each stream from 0.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._first: int | None = None
        self._last = 0
        self._image_number = -1
        self._fetched = (0, 0, -BELIEVED_S)
        self._whole = threading.Lock()  # held while a frame is fetched, and over an interruption

    @property
    def runs(self) -> bool:
        """Whether it was begun and not ended."""
        return self._first is not None

    def begin(self, before: int) -> None:
        """Let the camera run, the buffer emptied of frames of another geometry.

        Parameters
        ----------
        before
            Number of the last frame there was.
        """
        self._ask("clear_circular_buffer")
        self._ask("start_continuous_sequence_acquisition", 0.0)
        self._image_number = -1
        self._fetched = (0, 0, -BELIEVED_S)
        self._first, self._last = before + 1, before

    def end(self) -> None:
        """Stop the camera and empty the buffer: frames left in it outlive a change of geometry."""
        if self._first is not None:
            self._ask("stop_sequence_acquisition")
            self._ask("clear_circular_buffer")
            self._first = None

    def set(self, setting: Callable[[], object]) -> None:
        """Make a setting; the stream is interrupted where the camera refuses it while it runs.

        Most take exposure and gain as they run; some answer that they are busy.
        """
        try:
            setting()
        except MicroscopeError:
            if not self.runs:
                raise
            with self._whole:
                self.end()
                try:
                    setting()
                finally:
                    self.begin(self._last)

    def newest(self, after: int) -> tuple[NDArray[Any], int] | None:
        """Fetch the newest frame if its number is above `after`; never waits.

        Raises
        ------
        MicroscopeError
            There is no stream, or it was ended behind our back.
        """
        if not self._whole.acquire(blocking=False):
            return None
        try:
            found = self._fetch(after)
            if found is None:
                self._refuse_ended()
            return found
        finally:
            self._whole.release()

    def _fetch(self, after: int) -> tuple[NDArray[Any], int] | None:
        """Fetch it; the core repeats one until the next, its number tells."""
        if self._first is None:
            msg = "the camera is not streaming; start the stream first"
            raise MicroscopeError(msg)
        count = int(ask(self._link.frames, "get_remaining_image_count"))
        if not count or self._is_known(count, after):
            return None
        with in_words("the camera's stream"):
            found = self._link.newest()
        if found is None:
            return None
        raw, image_number = found
        if image_number < self._image_number:  # the stream was begun anew behind our back
            self._first = self._last + 1
        self._image_number = image_number
        number = self._first + image_number
        self._fetched = (count, number, time.monotonic())
        if number <= after:
            return None
        self._last = number
        return raw, number

    def _is_known(self, count: int, after: int) -> bool:
        """Tell by the count in the buffer that the newest frame is still the one fetched last.

        A core gives its newest frame only whole, so each look in vain would copy one. The count
        grows with each frame and begins anew when the buffer is full; others may take frames out,
        so that it is believed for a short time only.
        """
        at_count, number, at_s = self._fetched
        return count == at_count and number <= after and time.monotonic() - at_s < BELIEVED_S

    def _refuse_ended(self) -> None:
        if not ask(self._link.frames, "is_sequence_running"):
            self._first = None
            msg = "the stream was ended in Micro-Manager; start it again"
            raise MicroscopeError(msg)

    def _ask(self, verb: str, *values: object) -> Any:
        return ask(self._link.hardware, verb, *values)
