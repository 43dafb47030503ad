"""``scope-sr calibrate`` at the terminal: what it says, asks and refuses, and how it ends."""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path

import pytest
from benches import Sections
from records import measured
from rigs import make_rig, rig_text
from stand import Stand, link_to_stand, stand_rig
from test_cli import refused, scope

from scope_sr.calibrate import CalibrationError
from scope_sr.calibration import SECTIONS, CalibrationRecord, Check
from scope_sr.errors import MicroscopeError

Capsys = pytest.CaptureFixture[str]
HOME = "calibration/simulated"
RUN = ["calibrate", "--rig", "small.toml"]
ALL = ",".join(SECTIONS)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with a small rig in it."""
    (tmp_path / "small.toml").write_text(rig_text(), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def sections(monkeypatch: pytest.MonkeyPatch) -> Sections:
    return Sections(monkeypatch)


def test_help_teaches(capsys: Capsys) -> None:
    code, out, err = scope(capsys, "calibrate", "--help")
    assert (code, err) == (0, "")
    for words in (
        "Put a slide with tissue under",
        "--resume",
        "--check",
        "--only offsets",
        ALL[:5],
    ):
        assert words in out
    for section in SECTIONS:
        assert section in out
    assert "Measure the microscope" in scope(capsys)[1]


@pytest.mark.usefixtures("sections")
def test_everything_from_begin_to_end(small: Path, capsys: Capsys) -> None:
    code, out, err = scope(capsys, *RUN)
    assert code == 0, err
    folder = f"{HOME}/{time.strftime('%Y-%m-%d')}"
    assert f"Rig simulated: {', '.join(SECTIONS)} of 10x, 20x, into {small / folder}" in out
    assert "the stage moves up to" in out
    assert "retracted by 500 µm before the nosepiece turns" in out
    assert re.search(r"8 checks in 0 min \d s: 8 ok, 0 warnings, 0 failed", out)
    assert f"{folder}/report.html" in out
    assert "ok    noise mean" in err
    assert CalibrationRecord.of_rig(make_rig(small)).folder == small / folder
    assert scope(capsys, *RUN)[0] == 0
    assert (small / f"{folder}-2/record.json").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("sections")
def test_without_a_rig_it_is_the_simulated_one(small: Path, capsys: Capsys) -> None:
    code, out, _ = scope(capsys, "calibrate", "--only", "noise", "--out", "A")
    assert code == 0
    assert "No --rig given: using the simulated microscope." in out


@pytest.mark.parametrize(("verdict", "code"), [("warn", 0), ("fail", 1)])
def test_a_failed_check_is_an_exit_code(
    small: Path, sections: Sections, capsys: Capsys, verdict: str, code: int
) -> None:
    sections.verdict = verdict
    ended, out, err = scope(capsys, *RUN, "--out", "A")
    assert ended == code
    counts = {"warn": "1 warnings, 0 failed", "fail": "0 warnings, 1 failed"}
    assert f"7 ok, {counts[verdict]}" in out
    assert re.search(rf"^offsets: {verdict} +offsets mean: .*; look at it$", out, re.MULTILINE)
    assert "Error" not in err
    assert (small / "A/record.json").is_file()


def test_some_sections_on_top_of_the_newest_record(
    small: Path, sections: Sections, capsys: Capsys
) -> None:
    measured(make_rig(small), small / HOME / "2026-01-02", x20=14.0)
    code, out, _ = scope(capsys, *RUN, "--only", "noise, offsets", "--out", "A")
    assert code == 0
    assert sections.measured == ["offsets", "noise"]
    assert "No record yet" not in out
    assert CalibrationRecord.load(small / "A").objectives["20x"].exposure_ms == 14.0


@pytest.mark.usefixtures("sections")
def test_some_sections_without_a_record(small: Path, capsys: Capsys) -> None:
    _, out, _ = scope(capsys, *RUN, "--only", "noise", "--out", "A")
    assert "No record yet: what is not measured now is taken from the rig file." in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--only", "sharpness"],
            f"--only 'sharpness': no such section; there are {SECTIONS[0]}, ",
        ),
        (["--only", ""], "--only '': no such section"),
        (["--out", "used/note.txt"], "used/note.txt is a file; choose another --out"),
        (["--only", "noise,"], "--only '': no such section"),
        (["--objectives", "60x"], "--objectives 60x: rig simulated has 5x, 10x, 20x"),
        (["--objectives", "10x,,20x"], "--objectives : rig simulated has"),
        (["--out", "used"], "used is not empty; choose another --out"),
        (["--resume"], "no interrupted calibration there; leave --resume out, or give --out"),
        (["--resume", "--out", "used"], "used holds no interrupted calibration"),
        (["--resume", "--only", "noise"], "leave --only and --objectives out"),
        (["--resume", "--objectives", "20x"], "leave --only and --objectives out"),
        (["--check"], "no record to check; make one: scope-sr calibrate"),
        (["--check", "--only", "noise"], "--check measures nothing; leave --only out"),
        (["--check", "--objectives", "20x"], "leave --objectives out"),
        (["--check", "--resume"], "leave --resume out"),
        (["--check", "--out", "used"], "used/record.json: no calibration record there"),
        (["--out", "--resume"], "'--resume' is no folder"),
        (["--chek"], "No such option"),
        (["stray"], "stray"),
        (["--rig", "none.toml"], "no such rig file"),
    ],
)
def test_bad_usage_is_one_line_that_names_the_way_out(
    small: Path, sections: Sections, capsys: Capsys, words: list[str], message: str
) -> None:
    (small / "used").mkdir()
    (small / "used/note.txt").write_text("mine", encoding="utf-8")
    assert message in refused(capsys, *RUN, *words)
    assert sections.measured == []
    assert {path.name for path in small.iterdir()} == {"small.toml", "used"}


def way_on(err: str) -> list[str]:
    """Give the words of the command that goes on, as printed."""
    found = re.search(r"go on with: (scope-sr calibrate .*)", err)
    assert found, err
    return shlex.split(found[1])[1:]


def test_ctrl_c_keeps_what_is_measured_and_says_how_to_go_on(
    small: Path, sections: Sections, capsys: Capsys
) -> None:
    sections.fault = KeyboardInterrupt()
    code, _, err = scope(capsys, *RUN)
    assert code == 130
    assert "Stopped; the stage stays where it is. Sections measured are kept" in err
    assert "Traceback" not in err
    before = list(sections.measured)
    assert before == ["flat-field", "stage", "pixel-size", "focus"]
    sections.fault = None
    sections.measured.clear()
    code, out, _ = scope(capsys, *way_on(err))
    assert code == 0
    assert sections.measured == ["offsets", "color", "chromatic", "noise"]
    assert "8 ok" in out


def test_resume_finds_the_newest_by_itself(small: Path, sections: Sections, capsys: Capsys) -> None:
    sections.fault = KeyboardInterrupt()
    assert scope(capsys, *RUN)[0] == 130
    sections.fault = None
    assert scope(capsys, *RUN, "--resume")[0] == 0
    assert len(list((small / HOME).glob("*/record.json"))) == 1
    assert "no interrupted calibration" in refused(capsys, *RUN, "--resume")


@pytest.mark.parametrize(
    "fault", [CalibrationError("no focus; do this"), MicroscopeError("the stage is stuck")]
)
def test_what_ends_it_is_one_line_with_the_way_on(
    small: Path, sections: Sections, capsys: Capsys, fault: Exception
) -> None:
    sections.fault = fault
    code, _, err = scope(capsys, *RUN, "--out", "A")
    assert code == 1
    (line,) = [line for line in err.splitlines() if line.startswith("Error")]
    assert line.startswith(f"Error: {fault}. Sections measured are kept, go on with: ")
    sections.fault = None
    assert scope(capsys, *way_on(line))[0] == 0


# -- --check ---------------------------------------------------------------------------------------


def found(section: str, verdict: str) -> Check:
    return Check(
        section=section,
        name=f"{section} against the record",
        value=(2.5,),
        unit="%",
        limit="1 %",
        verdict=verdict,
        advice="" if verdict == "ok" else f"{section} is stale",
        made_at="now",
    )


@pytest.fixture
def record(small: Path) -> Path:
    return measured(make_rig(small), small / HOME / "2026-01-02")


def test_check_says_that_the_record_holds(
    record: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = (found("pixel-size", "ok"), found("flat-field", "warn"))
    monkeypatch.setattr("scope_sr.calibrate.check_record", lambda *_args: checks)
    before = {path: path.read_bytes() for path in record.iterdir()}
    for words in ([], ["--out", str(record)]):
        code, out, err = scope(capsys, *RUN, "--check", *words)
        assert (code, err) == (0, "")
        assert "ok    pixel-size against the record: 2.5 %" in out
        assert "warn  flat-field against the record: 2.5 %  (limit 1 %); flat-field is stale" in out
        assert f"The record {record} holds" in out
    assert {path: path.read_bytes() for path in record.iterdir()} == before


def test_check_names_what_is_stale_and_how_to_renew_it(
    record: Path, sections: Sections, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = (found("pixel-size", "fail"), found("offsets", "fail"), found("offsets", "fail"))
    monkeypatch.setattr("scope_sr.calibrate.check_record", lambda *_args: checks)
    code, out, err = scope(capsys, *RUN, "--check")
    assert (code, err) == (1, "")
    assert f"The record {record} no longer holds: offsets, pixel-size. Renew it: " in out
    command = out.strip().splitlines()[-1].partition("Renew it: ")[2]
    assert scope(capsys, *shlex.split(command)[1:])[0] == 0
    assert sections.measured == ["pixel-size", "offsets"]


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "Stopped; the stage stays where it is."),
        (CalibrationError("tissue too sparse"), 1, "Error: tissue too sparse"),
    ],
)
@pytest.mark.usefixtures("record")
def test_a_check_that_does_not_come_to_its_end(
    capsys: Capsys,
    monkeypatch: pytest.MonkeyPatch,
    fault: BaseException,
    code: int,
    words: str,
) -> None:
    def fails(*_args: object) -> None:
        raise fault

    monkeypatch.setattr("scope_sr.calibrate.check_record", fails)
    ended, out, err = scope(capsys, *RUN, "--check")
    assert (ended, err.strip()) == (code, words)
    assert "holds" not in out


# -- a real stand ----------------------------------------------------------------------------------


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    """A stand where the running Micro-Manager would be, and a rig file for it."""
    (tmp_path / "stand.toml").write_text(stand_rig().text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    there = Stand()
    monkeypatch.setattr(
        "scope_sr.microscope.running.link_running", lambda _port: link_to_stand(there)
    )
    return there


def says(monkeypatch: pytest.MonkeyPatch, answer: str) -> list[str]:
    asked: list[str] = []

    def prompt(*_args: object, **_options: object) -> str:
        asked.append(answer)
        return answer

    monkeypatch.setattr("scope_sr.cli.operator.click.prompt", prompt)
    return asked


MOTIONS = ("set_xy_position", "set_position", "set_state_label", "enable_continuous_focus")


@pytest.mark.parametrize("words", [[], ["--check"]])
def test_no_moves_nothing(
    stand: Stand,
    tmp_path: Path,
    capsys: Capsys,
    monkeypatch: pytest.MonkeyPatch,
    sections: Sections,
    words: list[str],
) -> None:
    CalibrationRecord.nominal(stand_rig()).model_copy(update={"measured": True}).save(
        tmp_path / "calibration/stand/2026-01-02"
    )
    says(monkeypatch, "no")
    code, _, err = scope(capsys, "calibrate", "--rig", "stand.toml", *words)
    assert code == 2
    assert "Is a slide with stained tissue under 10x, in focus, the lamp warm" in err
    assert err.strip().splitlines()[-1].startswith("Error: nothing was moved")
    assert stand.of(*MOTIONS) == []
    assert sections.measured == []
    assert [path.name for path in (tmp_path / "calibration/stand").iterdir()] == ["2026-01-02"]


@pytest.mark.parametrize("words", [[], ["--yes"]])
def test_yes_goes_on(
    stand: Stand,
    capsys: Capsys,
    monkeypatch: pytest.MonkeyPatch,
    sections: Sections,
    words: list[str],
) -> None:
    asked = says(monkeypatch, "yes")
    run = ["calibrate", "--rig", "stand.toml", "--only", "noise", *words]
    code, out, err = scope(capsys, *run)
    assert code == 0, err
    assert len(asked) == (0 if words else 1)
    assert "the stage moves up to" in out
    assert sections.measured == ["noise"]
    assert stand.of("set_xy_position")
    assert stand.violations == []
