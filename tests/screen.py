"""A screen of its own, with a window manager, and hands on its mouse and keys."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NEEDED = ("Xvfb", "openbox", "xdotool")
MISSING = [name for name in NEEDED if shutil.which(name) is None]
SIZE = (1920, 1200)
PATIENCE_S = 40.0  # a busy computer

Facts = dict[str, Any]


def until(what: str, held: Callable[[], Any], seconds: float = PATIENCE_S) -> Any:
    """Wait until something holds and give it."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        found = held()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds:g} s: {what}")


class Screen:
    """An X server nobody sees."""

    def __init__(self, display: str, folder: Path) -> None:
        self.display = display
        self.folder = folder

    def environment(self, **more: str) -> dict[str, str]:
        """Give what a program on this screen starts with; settings are not this user's."""
        kept = {key: value for key, value in os.environ.items()
                if key not in ("QT_QPA_PLATFORM", "WAYLAND_DISPLAY")}  # fmt: skip
        return kept | {
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "DISPLAY": self.display,
            "XDG_CONFIG_HOME": str(self.folder / "config"),
        } | more  # fmt: skip

    def do(self, *words: object) -> str:
        """Move the mouse or press keys."""
        return subprocess.run(
            ["xdotool", *map(str, words)], env=self.environment(), check=True,
            capture_output=True, text=True, timeout=20,
        ).stdout.strip()  # fmt: skip

    def picture(self, path: Path) -> None:
        """Keep what is on the screen, where ImageMagick is there."""
        if shutil.which("import"):
            subprocess.run(["import", "-window", "root", str(path)], env=self.environment(),
                           check=True, timeout=30)  # fmt: skip


@contextmanager
def screen(folder: Path) -> Iterator[Screen]:
    """Start a server on a display that is free, and a window manager: keys need one."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "{}x{}x24".format(*SIZE),
         "-nolisten", "tcp"],
        pass_fds=[write], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    with os.fdopen(read) as told:
        display = f":{told.readline().strip()}"
    made = Screen(display, folder)
    manager = subprocess.Popen(
        ["openbox"], env=made.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until("a window manager", lambda: _managed(made))
        yield made
    finally:
        for started in (manager, server):
            started.terminate()
            started.wait(10)


def _managed(made: Screen) -> bool:
    asked = subprocess.run(
        ["xdotool", "get_num_desktops"], env=made.environment(),
        capture_output=True, check=False, timeout=20,
    )  # fmt: skip
    return asked.returncode == 0  # a bare server does not know


class Live:
    """``scope-sr live`` in a process of its own, on a screen, with hands on it."""

    def __init__(self, on: Screen, *given: object, told: bool = True) -> None:
        self.on = on
        self.out = on.folder / "out"
        self._told = on.folder / f"told-{time.monotonic_ns()}.json"
        self._words = self._told.with_suffix(".stderr")
        program = [Path(__file__).with_name("live_told.py")] if told else ["-m", "scope_sr"]
        with self._words.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, *program, "live", "--out", self.out, *map(str, given)],
                env=on.environment(LIVE_TOLD=str(self._told)),
                stdout=subprocess.DEVNULL, stderr=stderr, cwd=on.folder,  # no calibration here
            )  # fmt: skip

    @property
    def stderr(self) -> str:
        return self._words.read_text()

    @property
    def facts(self) -> Facts:
        """Give what the window shows."""
        assert self.process.poll() is None, self.stderr
        try:
            return dict(json.loads(self._told.read_text()))
        except FileNotFoundError:
            return {}

    def until(self, what: str, held: Callable[[Facts], Any], seconds: float = PATIENCE_S) -> Facts:
        """Wait until something is to be seen."""

        def look() -> Facts | None:
            facts = self.facts
            return facts if facts.get("seen") and held(facts) else None

        return dict(until(f"{what}; {self.stderr}", look, seconds))

    def middle(self, name: str) -> tuple[int, int]:
        left, top, wide, high = self.facts["rects"][name]
        return left + wide // 2, top + high // 2

    def move(self, x: float, y: float) -> None:
        self.on.do("mousemove", "--sync", round(x), round(y))

    def click(self, name: str) -> None:
        self.click_at(*self.middle(name))

    def click_at(self, x: float, y: float, button: int = 1, times: int = 1) -> None:
        self.on.do("mousemove", round(x), round(y),
                   "click", "--repeat", times, "--delay", 60, button)  # fmt: skip

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int = 8) -> None:
        self.on.do("mousemove", round(start[0]), round(start[1]), "mousedown", 1)
        for step in range(1, steps + 1):
            x, y = (a + (b - a) * step / steps for a, b in zip(start, end, strict=True))
            self.on.do("mousemove", round(x), round(y))
        self.on.do("mouseup", 1)

    def key(self, *keys: str) -> None:
        self.on.do("key", *keys)

    def still(self) -> Facts:
        """Wait until nothing moves, and the picture is of that place."""
        self.until("a stage that stands", lambda facts: not facts["busy"])
        first = self.facts["seen"]["number"]
        return self.until(
            "frames of a stage that stands",
            lambda facts: not facts["busy"] and facts["seen"]["number"] > first + 2,
        )

    def ended(self, seconds: float = 20.0) -> float:
        """Wait for the end of the program; give how long it took."""
        begun_s = time.monotonic()
        self.process.wait(seconds)
        return time.monotonic() - begun_s

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def leave(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
