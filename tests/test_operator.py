"""The person at the microscope: nosepieces turned by hand, configurations that move hardware."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import mm_test_adapters
import pytest
from mmpycorex import is_pymmcore_active
from rigs import demo_rig
from stand import LABELS, Faults, Stand, link_to_stand, stand_rig

from scope_sr.acquire_pairs import capture_pairs
from scope_sr.calibration import CalibrationRecord
from scope_sr.config import Rig, parse_rig
from scope_sr.errors import InputError, MicroscopeError, ReadbackError, ScopeSRError, StoppedError
from scope_sr.frame import Position
from scope_sr.microscope import Ask, GuardedMicroscope, open_microscope
from scope_sr.microscope.in_process import what_loading_sets
from scope_sr.plan import plan_pairs
from scope_sr.session import Session

HERE = Position(100.0, 100.0, 0.0)
MOTIONS = ("set_xy_position", "set_position", "set_state_label", "enable_continuous_focus")
MANUAL = {
    "turn_s = 0.03": "turn_s = 0.0\nmanual = true",
    '[micromanager.labels]\nnosepiece = "Nosepiece"\n': "",
    'label = "2-Plan Apo 10x"': 'label = "2-Plan Apo 10x"\npixel_size_um = 1.0',
    'label = "3-Plan Apo 20x"': 'label = "3-Plan Apo 20x"\npixel_size_um = 0.5',
}


class Hand:
    """An operator who turns the nosepiece as he is asked to, and remembers the questions."""

    def __init__(self, stand: Stand, *, slips_to: str = "") -> None:
        self.stand = stand
        self.slips_to = slips_to
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.when_s: list[float] = []
        self.z_um: list[float] = []

    def __call__(self, question: str, answers: Sequence[str]) -> str:
        self.asked.append((question, tuple(answers)))
        self.when_s.append(time.monotonic())
        self.z_um.append(self.stand.true_z_um)
        if len(answers) > 1:
            return "10x"
        label = next(label for label in LABELS if label.endswith(answers[0]))
        self.stand.turn_by_hand(self.slips_to or label)
        return answers[0]


def manual_stand(**faults: object) -> Stand:
    return Stand(Faults(**{"motorised": False, "encoded": False, **faults}))


def opened(
    stand: Stand, ask: Ask | None, monkeypatch: pytest.MonkeyPatch, rig: Rig | None = None
) -> GuardedMicroscope:
    """Open it by the front door, with the stand where the running Micro-Manager would be."""
    monkeypatch.setattr(
        "scope_sr.microscope.running.link_running", lambda _port: link_to_stand(stand)
    )
    return open_microscope(rig or stand_rig(**MANUAL), ask=ask)


def moved(stand: Stand) -> list[str]:
    return [call.verb for call in stand.of(*MOTIONS)]


# -- a nosepiece turned by hand --------------------------------------------------------------------


def test_the_operator_says_what_is_in_place_and_turns_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = manual_stand()
    hand = Hand(stand)
    with opened(stand, hand, monkeypatch) as microscope:
        assert moved(stand) == []
        assert hand.asked == [("Which objective is in the light path now?", ("10x", "20x"))]
        assert microscope.objective() == "10x"
        microscope.move_to(HERE)
        microscope.select_objective("10x")
        assert len(hand.asked) == 1  # it is in place
        microscope.select_objective("20x")
        question, answers = hand.asked[1]
        assert answers == ("20x",)
        assert "Turn the nosepiece by hand to 20x (3-Plan Apo 20x)" in question
        assert "retracted by 300 µm" in question
        assert microscope.objective() == "20x"
        assert microscope.position().z_um == pytest.approx(-300)
        microscope.move_to(HERE)
        assert microscope.snap().objective == "20x"
    assert stand.violations == []


def test_the_objective_is_retracted_before_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the record of the calls: the last of them is over before anybody is asked."""
    stand = manual_stand()
    hand = Hand(stand)
    stand.press_lock_button(on=True)
    with opened(stand, hand, monkeypatch) as microscope:
        microscope.move_to(HERE)
        microscope.select_objective("20x")
        assert hand.z_um[1] == pytest.approx(-300, abs=2)
        away = stand.of("set_position")[-1]
        assert away.time_s + away.seconds <= hand.when_s[1]
        off = stand.of("enable_continuous_focus")[-1]
        assert off.values == (False,)
        assert off.time_s < away.time_s
        after = [call for call in stand.of(*MOTIONS) if call.time_s > hand.when_s[1]]
        assert after == []
    assert stand.violations == []


def test_a_capture_with_a_hand_at_the_nosepiece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand = manual_stand()
    hand, rig = Hand(stand), stand_rig(**MANUAL)
    record = CalibrationRecord.nominal(rig)
    plan = plan_pairs(rig, record, rows=1, columns=2, origin=HERE, coverage="center")
    with (
        opened(stand, hand, monkeypatch, rig) as microscope,
        Session.create(tmp_path / "A", plan, rig, record) as session,
    ):
        assert capture_pairs(microscope, session).complete
    assert [shot.label for shot in stand.shots] == [LABELS[1]] * 2 + [LABELS[2]] * 2
    assert [answers for _, answers in hand.asked] == [("10x", "20x"), ("20x",)]
    assert stand.violations == []


def test_an_encoded_nosepiece_is_believed_and_not_the_operator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand = manual_stand(encoded=True)
    hand = Hand(stand, slips_to=LABELS[3])
    with opened(stand, hand, monkeypatch) as microscope:
        assert hand.asked == []  # it can say so itself
        microscope.move_to(HERE)
        with pytest.raises(
            ReadbackError, match=r"reports 4-Unknown after it was turned to 20x.*stays retracted"
        ):
            microscope.select_objective("20x")
        assert stand.true_z_um == pytest.approx(-300, abs=1)
        hand.slips_to = ""
        microscope.select_objective("20x")
        assert microscope.objective() == "20x"
        assert stand.true_z_um == pytest.approx(-300, abs=1)  # once is enough
    assert stand.violations == []


def test_nobody_there_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = manual_stand()
    with pytest.raises(
        InputError, match=r"^stand.toml: nosepiece.manual: nobody is here.*pass ask"
    ):
        opened(stand, None, monkeypatch)
    assert moved(stand) == []


def test_nobody_there_nothing_moves_at_a_turn_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoded one opens without a question; the turn cannot be, so why retract."""
    stand = manual_stand(encoded=True)
    with opened(stand, None, monkeypatch) as microscope:
        with pytest.raises(InputError, match="nobody is here"):
            microscope.select_objective("20x")
        assert moved(stand) == []


def interrupted(_question: str, _answers: Sequence[str]) -> str:
    raise KeyboardInterrupt


def test_ctrl_c_at_the_first_question(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = manual_stand()
    with pytest.raises(KeyboardInterrupt):
        opened(stand, interrupted, monkeypatch)
    assert moved(stand) == []


def test_ctrl_c_at_a_turn_moves_nothing_further(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = manual_stand(encoded=True)
    with opened(stand, interrupted, monkeypatch) as microscope:
        microscope.move_to(HERE)
        with pytest.raises(KeyboardInterrupt):
            microscope.select_objective("20x")
        before = len(moved(stand))
        assert microscope.objective() == "10x"
    assert len(moved(stand)) == before
    assert stand.true_z_um == pytest.approx(-300, abs=1)


def test_a_stop_during_the_question_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = manual_stand()
    microscope: GuardedMicroscope

    def stops(_question: str, answers: Sequence[str]) -> str:
        if len(answers) == 1:
            microscope.stop()
        return answers[0]

    with opened(stand, stops, monkeypatch) as microscope:
        microscope.move_to(HERE)
        with pytest.raises(StoppedError):
            microscope.select_objective("20x")
        assert microscope.objective() == "10x"


@pytest.mark.parametrize("answer", ["", "no", "10x", None])
def test_only_the_name_that_was_asked_for_confirms(
    answer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dialogue of the caller's own may come back cancelled; that is no turn."""
    stand = manual_stand()

    def says(_question: str, answers: Sequence[str]) -> str:
        return answers[0] if len(answers) > 1 else answer

    with opened(stand, says, monkeypatch) as microscope:
        microscope.move_to(HERE)
        with pytest.raises(ScopeSRError):
            microscope.select_objective("20x")
        assert microscope.objective() == "10x"


def test_nor_does_an_answer_that_was_not_offered_name_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand = manual_stand()
    with pytest.raises(ScopeSRError):
        opened(stand, lambda _q, _a: "40x", monkeypatch)
    assert moved(stand) == []


# -- a configuration of the user's own, in this process --------------------------------------------

ADAPTERS = Path(mm_test_adapters.device_adapter_path())
DEMO_CFG = ADAPTERS / "MMConfig_demo.cfg"
STARTUP = "Objective: Label = Nikon 10X S Fluor"


def own_text(config: str = str(DEMO_CFG), adapters: str = str(ADAPTERS)) -> str:
    """Write the demo rig as one that loads a configuration itself."""
    camera = {"color = true": "color = false", "width_px = 512": "width_px = 512"}
    text = demo_rig(
        **{**camera, "bits = 8 ": "bits = 16", "height_px = 512": "height_px = 512"}
    ).text.replace('backend = "demo"', 'backend = "micromanager"')
    text = text[: text.index("[specimen]")]
    return text + f"[micromanager]\nconfig = '{config}'\nadapters = '{adapters}'\n"


def own_rig(folder: Path, **where: str) -> Rig:
    return parse_rig(own_text(**where), source="own.toml", folder=folder)


class Told:
    """An operator who gives one answer and remembers what he was shown."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.shown = ""

    def __call__(self, question: str, answers: Sequence[str]) -> str:
        self.shown = question
        assert tuple(answers) == ("yes", "no")
        assert not is_pymmcore_active(), "asked when it was too late"
        return self.answer


def test_yes_opens_it_and_it_moves(tmp_path: Path) -> None:
    told = Told("yes")
    with open_microscope(own_rig(tmp_path), ask=told) as microscope:
        assert is_pymmcore_active()
        microscope.move_to(Position(120.0, -40.0, 3.0))
        assert microscope.position().x_um == pytest.approx(120, abs=0.1)
        microscope.select_objective("20x")
        assert microscope.objective() == "20x"
        assert microscope.snap().image.shape == (512, 512)
    assert not is_pymmcore_active()
    for line in (STARTUP, "Camera: Binning = 1", "MMConfig_demo.cfg", "away from the slide"):
        assert line in told.shown, told.shown
    assert "Core:" not in told.shown


@pytest.mark.parametrize("answer", ["no", "", "NO", None])
def test_anything_but_yes_loads_nothing(tmp_path: Path, answer: str) -> None:
    with pytest.raises(InputError, match=r"^MMConfig_demo.cfg was not loaded; nothing moved$"):
        open_microscope(own_rig(tmp_path), ask=Told(answer))
    assert not is_pymmcore_active()


def test_nobody_there_loads_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"moves hardware and nobody is here to agree"):
        open_microscope(own_rig(tmp_path))
    assert not is_pymmcore_active()


def test_ctrl_c_loads_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        open_microscope(own_rig(tmp_path), ask=interrupted)
    assert not is_pymmcore_active()


def test_all_that_startup_sets_is_shown(tmp_path: Path) -> None:
    """What the core sets after the devices are up, by its own rules and in its own order."""
    config = tmp_path / "my.cfg"
    config.write_text(
        "# mine\nProperty,Core,Initialize,0\nDevice,Z,DemoCamera,DStage\n"
        "Property,Z,UseSequences,No\nProperty,Core,Initialize,1\n"
        "Property,Z,Position,25\nProperty,Core,Focus,Z\n"
        "ConfigGroup,System,Startup,Z,Position,50\nConfigGroup,System,Other,Z,Position,75\n"
        "ConfigGroup,Lens,10X,Objective,State,1\n",
        encoding="utf-8",
    )
    assert what_loading_sets(config) == ["Z: Position = 25", "Z: Position = 50"]


def fails(kind: str, folder: Path) -> tuple[dict[str, str], str]:
    """Give a rig that cannot be opened, and the words one hears."""
    if kind == "missing":
        return {"config": "gone.cfg"}, r"gone\.cfg: cannot be read as a Micro-Manager configuration"
    if kind == "not one":
        (folder / "notes.cfg").write_text("dear diary,\nProperty,Z,Position,5\n", encoding="utf-8")
        return {"config": "notes.cfg"}, r"notes\.cfg: names no device; it is not a Micro-Manager"
    if kind == "a folder":
        return {"config": "."}, r"cannot be read as a Micro-Manager configuration"
    if kind == "binary":
        (folder / "junk.cfg").write_bytes(bytes(range(256)) * 20)
        return {"config": "junk.cfg"}, r"junk\.cfg: names no device"
    if kind == "no adapters":
        return {"adapters": "nowhere"}, r"own\.toml: micromanager\.adapters = nowhere: no such fold"
    if kind == "wrong adapters":
        (folder / "empty").mkdir()
        return {"adapters": "empty"}, r"MMConfig_demo\.cfg: .*Failed to load device adapter"
    (folder / "odd.cfg").write_text("Device,X,DemoCamera,NoSuchThing\n", encoding="utf-8")
    return {"config": "odd.cfg"}, r"^Micro-Manager, loading odd\.cfg: .*instantiate device \"NoSuch"


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "not one",
        "a folder",
        "binary",
        "no adapters",
        "wrong adapters",
        "unknown device",
    ],
)
def test_what_cannot_be_loaded_is_one_line(tmp_path: Path, kind: str) -> None:
    where, words = fails(kind, tmp_path)
    with pytest.raises((InputError, MicroscopeError), match=words) as caught:
        open_microscope(own_rig(tmp_path, **where), ask=lambda _q, _a: "yes")
    assert "\n" not in str(caught.value)
    assert not is_pymmcore_active()
    with open_microscope(own_rig(tmp_path), ask=lambda _q, _a: "yes") as microscope:
        assert microscope.objective() == "10x"  # nothing stands in the way of a good one


# -- at the terminal -------------------------------------------------------------------------------


def cli(folder: Path, said: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "own.toml").write_text(own_text(), encoding="utf-8")
    command = [sys.executable, "-m", "scope_sr", "acquire-pairs", "--rig", "own.toml"]
    command += ["--grid", "1x1", "--coverage", "center", "--origin", "0,0", "--out", "A", *options]
    return subprocess.run(
        command, cwd=folder, input=said, capture_output=True, text=True, timeout=60, check=False
    )


def test_yes_at_the_terminal(tmp_path: Path) -> None:
    done = cli(tmp_path, "yes\n", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert STARTUP in done.stderr
    assert "Nothing was moved" in done.stdout
    assert "Traceback" not in done.stderr


def test_yes_at_the_terminal_captures(tmp_path: Path) -> None:
    done = cli(tmp_path, "yes\n")
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1), done.stderr
    assert "1 of 1 low and 1 of 1 high fields" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("said", ["no\n", "maybe\nno\n", "\nno\n"])
def test_no_at_the_terminal(tmp_path: Path, said: str) -> None:
    done = cli(tmp_path, said)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("was not loaded; nothing moved")
    assert not (tmp_path / "A").exists()


@pytest.mark.parametrize("said", ["", "ye"])
def test_the_end_of_input_at_the_terminal(tmp_path: Path, said: str) -> None:
    done = cli(tmp_path, said)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "Stopped"
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "A").exists()
