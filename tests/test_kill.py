"""Killed at any moment: nothing captured is lost, nothing false is kept."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rigs import rig_text

from scope_sr.session import Session

CHANGES = {
    "width_px = 64": "width_px = 48",
    'clock = "virtual"': 'clock = "real"',
    "settle_ms = 50.0": "settle_ms = 5.0",
    "turn_s = 1.2": "turn_s = 0.1",
}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "scope_sr", "acquire-pairs", *words]


def killed(words: list[str], folder: Path, after_s: float) -> bool:
    """Run a capture and kill it after a while; False if it was done before."""
    run = subprocess.Popen(
        command(*words), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        _, err = run.communicate(timeout=after_s)
    except subprocess.TimeoutExpired:
        run.kill()
        run.communicate()
        return True
    assert run.returncode == 0, err
    return False


def captured_twice(session: Path) -> int:
    """Count fields whose bytes were journalled more than once."""
    lines = (session / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [event["step"] for event in map(json.loads, lines) if event["event"] == "captured"]
    return len(steps) - len(set(steps))


def run_with_kills(folder: Path, name: str, moments: random.Random, most: int) -> int:
    """Capture a session through kills at random moments, until it is done; count the kills."""
    kills = 0
    while kills < most:
        begun = (folder / name / "session.json").exists()
        words = ["--resume", "--out", name]
        if not begun:
            words = ["--rig", "kill.toml", "--grid", "2x2", "--out", name]
        if not killed(words, folder, moments.uniform(0.3, 2.5)):
            return kills
        kills += 1
    begun = (folder / name / "session.json").exists()  # not where every kill came too early
    words = ["--resume"] if begun else ["--rig", "kill.toml", "--grid", "2x2"]
    subprocess.run(command(*words, "--out", name), cwd=folder, check=True, capture_output=True)
    return kills


def kill_and_compare(folder: Path, kills: int, seed: int) -> None:
    (folder / "kill.toml").write_text(rig_text(**CHANGES), encoding="utf-8")
    plain = ["--rig", "kill.toml", "--grid", "2x2", "--out", "whole"]
    subprocess.run(command(*plain), cwd=folder, check=True, capture_output=True)
    whole = Session.open(folder / "whole")
    moments = random.Random(seed)
    done = 0
    for count in range(kills):
        if done >= kills:
            break
        name = f"killed-{count}"
        mine = run_with_kills(folder, name, moments, kills - done)
        done += mine
        session = Session.open(folder / name)
        assert session.verify().ok, session.verify().problems
        assert session.remaining() == ()
        assert captured_twice(folder / name) <= mine
        for step in whole.plan.steps:
            assert np.array_equal(session.read(step.name), whole.read(step.name)), step.name
    assert done == kills


@pytest.mark.slow
def test_killed_a_few_times(tmp_path: Path) -> None:
    kill_and_compare(tmp_path, kills=2, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_fifty_moments(tmp_path: Path) -> None:
    kill_and_compare(tmp_path, kills=50, seed=2)
