"""The command line: what it prints, what it refuses, and in which words."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from rigs import rig_text

import scope_sr
from scope_sr.cli import main
from scope_sr.session import Session

SMALL = {"width_px = 64": "width_px = 32", "height_px = 48": "height_px = 32"}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with a small rig in it."""
    (tmp_path / "small.toml").write_text(rig_text(**SMALL), encoding="utf-8")
    (tmp_path / "windows.toml").write_text('image = "C:\\Users\\me.svs"\n', encoding="utf-8")
    (tmp_path / "comma.toml").write_text("name = 0,30\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scope(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run a command in this process: exit code, standard output, standard error."""
    argv, sys.argv = sys.argv, ["scope-sr", *words]
    handler = signal.getsignal(signal.SIGTERM)
    code = 0
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = argv
        signal.signal(signal.SIGTERM, handler)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    code, _, err = scope(capsys, *words)
    assert code in {1, 2}, (code, err)
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("Error: ")
    return lines[0].removeprefix("Error: ")


def test_a_grid_from_plan_to_check(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--rig", "small.toml", "--grid", "1x2", "--out", "A"]
    code, out, _ = scope(capsys, "acquire-pairs", *options, "--dry-run")
    assert code == 0
    assert "1 x 2 grid" in out
    assert "Nothing was moved" in out
    assert not (small / "A").exists()
    with Image.open("A-plan.png") as picture:
        picture.verify()
    code, out, err = scope(capsys, "acquire-pairs", *options)
    assert code == 0, err
    assert "2 of 2 low and 8 of 8 high fields, 0 rejected" in out
    assert "10/10" in err
    code, out, _ = scope(capsys, "check", "A", "--list")
    assert code == 0
    assert "low/r00c01" in out
    assert "nothing remains" in out


def test_without_options_it_says_what_it_chose(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = scope(
        capsys, "acquire-pairs", "--rig", "small.toml", "--grid", "--coverage", "center"
    )
    assert code == 0
    folder = re.search(r"saving into (pairs-\S+)", out)
    assert folder
    assert "9 of 9 low and 9 of 9 high" in out
    assert Session.open(folder[1]).plan.rows == 3


def test_resume_goes_on_and_refuses_another_plan(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scope(capsys, "acquire-pairs", "--rig", "small.toml", "--grid", "1x1", "--out", "A")
    again = refused(capsys, "acquire-pairs", "--rig", "small.toml", "--grid", "1x1", "--out", "A")
    assert "--resume" in again
    (small / "A/high/r00c00-r01c01.ome.tif").unlink()
    code, out, _ = scope(capsys, "check", "A")
    assert code == 1
    assert "high/r00c00-r01c01" in out
    assert "a resume would capture 1" in out
    for option, value, words in (
        ("--grid", "2x2", "--grid 2x2: the session was planned with 1x1"),
        ("--overlap", "10%", "--overlap 0.1: the session was planned with 0.05"),
        ("--low", "5x", "--low 5x: the session was planned with 10x"),
        ("--origin", "1,2", "--origin"),
        ("--rig", "simulated", "camera.width_px 32 here, 1024 asked"),
    ):
        assert words in refused(capsys, "acquire-pairs", "--resume", "--out", "A", option, value)
    code, out, _ = scope(capsys, "acquire-pairs", "--resume", "--out", "A", "--grid", "1x1")
    assert code == 0
    assert "1 of 5 fields are left" in out
    assert scope(capsys, "check", "A")[0] == 0
    code, out, _ = scope(capsys, "acquire-pairs", "--resume", "--out", "A")
    assert code == 0
    assert "0 of 5 fields are left" in out


def test_a_capture_killed_before_its_sheet_gets_one_on_resume(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scope(capsys, "acquire-pairs", "--rig", "small.toml", "--grid", "1x1", "--out", "A")
    (small / "A/contact-sheet.png").unlink()
    before = (small / "A/journal.jsonl").read_bytes()
    code, out, _ = scope(capsys, "acquire-pairs", "--resume", "--out", "A", "--dry-run")
    assert (code, (small / "A/journal.jsonl").read_bytes()) == (0, before)
    assert "0 of 5 fields are left" in out
    assert not (small / "A/contact-sheet.png").exists()
    assert scope(capsys, "acquire-pairs", "--resume", "--out", "A")[0] == 0
    assert (small / "A/contact-sheet.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["acquire-pairs", "--grid", "3by4"],
            "'3by4' is not a grid; write rows x columns, like 3x5",
        ),
        (["acquire-pairs", "--grid", "0x4"], "like 3x5"),
        (["acquire-pairs", "--overlap", "5"], "write 10% or 0.1"),
        (["acquire-pairs", "--overlap", "nan"], "write 10% or 0.1"),
        (["acquire-pairs", "--overlap", "much"], "write 10% or 0.1"),
        (["acquire-pairs", "--origin", "5"], "write X,Y in µm"),
        (["acquire-pairs", "--origin", "a,b"], "write X,Y in µm"),
        (["acquire-pairs", "--origin", "inf,0"], "write X,Y in µm"),
        (["acquire-pairs", "--origin", "1e7,0"], "x_limits_um"),
        (["acquire-pairs", "--grid", "9999x9999"], "choose a smaller --grid"),
        (["acquire-pairs", "--low", "60x"], "it has 5x, 10x, 20x"),
        (["acquire-pairs", "--low", "20x", "--high", "10x"], "name the other way round"),
        (["acquire-pairs", "--exposur", "3"], "No such option"),
        (["acquire-pairs", "--coverage", "most"], "inscribed"),
        (["acquire-pairs", "--order", "spiral"], "serpentine"),
        (["acquire-pairs", "--rig", "none.toml"], "no such rig file"),
        (["acquire-pairs", "--rig", "."], "a folder; name a rig file in it"),
        (["acquire-pairs", "--resume"], "--resume needs --out DIR"),
        (["acquire-pairs", "--resume", "--out", "none"], "none"),
        (["acquire-pairs", "--out", "small.toml"], "small.toml"),
        (["acquire-pairs", "--out", "--dry-run"], "'--dry-run' is no folder"),
        (["acquire-pairs", "--out", ""], "is no folder"),
        (["acquire-pairs", "--dry-run", "--out", "x" * 400], "name too long"),
        (["acquire-pairs", "--out", "x" * 400], "name too long"),
        (["acquire-pairs", "stray"], "stray"),
        (["acquire-pairs", "--rig", "windows.toml"], "write Windows paths with / or in 'single"),
        (["acquire-pairs", "--rig", "comma.toml"], "write decimals with a point"),
        (["check"], "DIR"),
        (["check", "none"], "none"),
        (["check", "small.toml"], "small.toml"),
        (["chek"], "No such command"),
    ],
)
def test_bad_usage_is_one_line_that_names_the_way_out(
    small: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    if words[0] == "acquire-pairs" and "--rig" not in words and "--resume" not in words:
        words = [*words, "--rig", "small.toml"]
    assert message in refused(capsys, *words)


def image_rig(small: Path, name: str) -> None:
    specimen = {'tissue = "procedural"': f'image = "{name}"\num_per_px = 0.25'}
    (small / "image.toml").write_text(rig_text(**SMALL, **specimen), encoding="utf-8")


def test_an_image_of_the_user_is_captured(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tissue = (np.random.default_rng(0).random((300, 300, 3)) * 200).astype(np.uint8)
    tifffile.imwrite(small / "slide.tif", tissue, tile=(64, 64), compression="zlib", predictor=True)
    image_rig(small, "slide.tif")
    options = ["--rig", "image.toml", "--grid", "1x1", "--out", "A"]
    assert scope(capsys, "acquire-pairs", *options)[0] == 0


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_damaged_image_is_one_line(
    data: st.DataObject, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut short or with bytes overwritten: captured as it can be read, or refused in one line."""
    import io

    kind = data.draw(st.sampled_from(["PNG", "TIFF", "JPEG", "BMP"]))
    stream = io.BytesIO()
    Image.fromarray(np.full((40, 40, 3), 120, np.uint8)).save(stream, format=kind)
    whole = bytearray(stream.getvalue())
    cut = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        whole = whole[:cut]
    else:
        whole[cut : cut + 8] = data.draw(st.binary(min_size=8, max_size=8))
    (small / "image.any").write_bytes(bytes(whole))
    image_rig(small, "image.any")
    code, _, err = scope(
        capsys, "acquire-pairs", "--rig", "image.toml", "--grid", "1x1", "--dry-run"
    )
    assert code in {0, 1, 2}
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == (1 if code else 0)


def test_a_rig_finer_than_the_specimen_is_refused(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = rig_text(**SMALL, **{"pixel_size_um = 0.2503": "pixel_size_um = 0.2"})
    (small / "fine.toml").write_text(text, encoding="utf-8")
    message = refused(capsys, "acquire-pairs", "--rig", "fine.toml")
    assert "pixels of 0.2 µm with 20x are finer than the specimen's own 0.25 µm" in message
    others = ["--low", "5x", "--high", "10x", "--grid", "1x1", "--coverage", "center"]
    assert scope(capsys, "acquire-pairs", "--rig", "fine.toml", *others, "--out", "A")[0] == 0


WORDS = st.one_of(
    st.sampled_from(
        "--grid --rig --low --high --overlap --origin --coverage --order --out --resume"
        " --tissue-only acquire-pairs check 2x2 10x 20x 0.1 50% 1,2 -1,-2,nan small.toml simulated"
        " full raster A '' . .. /dev/null --list -h2 -- - \x00".split(" ")
    ),
    st.text(max_size=8),
)


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(words=st.lists(WORDS, max_size=6))
def test_any_words_end_without_a_traceback(
    words: list[str], small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "\x00" in "".join(words) or "--resume" not in words:
        words = [*words, "--dry-run"]
    code, _, err = scope(capsys, "acquire-pairs", *words)
    assert code in {0, 1, 2}
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) <= 1


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = scope(capsys)
    assert (code, err) == (0, "")
    assert "acquire-pairs" in out


def test_a_printed_command_can_be_pasted(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shlex

    options = ["--rig", "small.toml", "--grid", "1x1", "--coverage", "center"]
    _, out, _ = scope(capsys, "acquire-pairs", *options, "--out", "Präparat 3/mo no")
    command = out.strip().splitlines()[-1].removeprefix("Check it with: ")
    assert scope(capsys, *shlex.split(command)[1:])[0] == 0


def test_rejected_fields_are_said_and_taken_again(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = rig_text(**SMALL, **{"exposure_ms = 12.0": "exposure_ms = 0.1"})
    (small / "dark.toml").write_text(text, encoding="utf-8")
    options = ["--rig", "dark.toml", "--grid", "1x2", "--coverage", "center", "--out", "A"]
    code, out, _ = scope(capsys, "acquire-pairs", *options)
    assert code == 1
    assert "2 of 2 low and 0 of 2 high fields, 2 rejected" in out
    assert "rejected high/r00c00-r00c00: dark" in out
    code, out, _ = scope(capsys, "check", "A")
    assert "a resume would capture 2 fields" in out
    assert scope(capsys, "acquire-pairs", "--resume", "--out", "A")[0] == 1


def test_three_rejected_fields_in_a_row_end_the_run(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = rig_text(**SMALL, **{"exposure_ms = 12.0": "exposure_ms = 0.1"})
    (small / "dark.toml").write_text(text, encoding="utf-8")
    options = ["--rig", "dark.toml", "--grid", "2x2", "--out", "A"]
    code, _, err = scope(capsys, "acquire-pairs", *options)
    message = err.strip().splitlines()[-1]
    assert code == 1
    assert "3 fields in a row were rejected" in message
    assert "is the lamp on" in message
    assert "4 of 20 fields are safe" in message


def test_help_is_fast_and_loads_nothing_heavy() -> None:
    heavy = ("torch", "PySide6", "pyqtgraph", "pycromanager", "pymmcore", "numpy", "pydantic")
    code = (
        "import sys, runpy; sys.argv = ['scope-sr', '--help']\n"
        "try: runpy.run_module('scope_sr', run_name='__main__')\n"
        f"finally: print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr


def test_the_public_names_are_there() -> None:
    for name in scope_sr.__all__:
        assert getattr(scope_sr, name) is not None
    assert set(scope_sr.__all__) == set(scope_sr._HOMES)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        scope_sr.nothing  # noqa: B018


def start(*words: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "scope_sr", *words],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_fields(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 30
    journal = folder / "journal.jsonl"
    while time.monotonic() < deadline:
        if journal.exists() and journal.read_text(encoding="utf-8").count("captured") >= count:
            return
        time.sleep(0.02)
    pytest.fail("the capture never came to its fields")


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C cannot be sent to one process on Windows")
def test_ctrl_c_ends_at_once_and_says_how_to_go_on(small: Path) -> None:
    slow = rig_text(**SMALL, **{'clock = "virtual"': 'clock = "real"'})
    (small / "slow.toml").write_text(slow, encoding="utf-8")
    run = start("acquire-pairs", "--rig", "slow.toml", "--grid", "3x3", "--out", "A", cwd=small)
    wait_for_fields(small / "A", 2)
    began = time.monotonic()
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=20)
    assert time.monotonic() - began < 3
    assert run.returncode == 130
    assert re.search(
        r"Stopped. \d+ of 45 fields are safe; go on with: scope-sr .*--resume --out A", err
    )
    assert "Traceback" not in err
    assert Session.open(small / "A").verify().ok
