"""Calibration against known truth: what it finds, how sure it is, and every fault by its name."""

from __future__ import annotations

import math
import multiprocessing
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from benches import (
    Faulty,
    Sections,
    check,
    failed,
    faulty,
    fields_of,
    measure,
    measure_low,
    measure_seed,
    mottled,
    no_pictures,
    on_slide,
    place_of,
    quick_light,
    specks,
)
from filelock import FileLock
from hidden_rigs import Found, against_truth, hidden_rig, table
from rigs import make_rig
from test_guarded import Recorder

from scope_sr.calibrate import (
    CalibrationError,
    Course,
    calibrate,
    check_record,
    describe,
    flat_field,
    offsets,
    pairing,
    pixel_size,
    plan_course,
    resume_course,
    stage,
)
from scope_sr.calibrate.bench import Bench
from scope_sr.calibration import SECTIONS, CalibrationRecord, Check, Section
from scope_sr.config import Rig, parse_rig
from scope_sr.errors import InputError, MicroscopeError, StoppedError
from scope_sr.frame import Position
from scope_sr.microscope import GuardedMicroscope, open_microscope

FEW: tuple[Section, ...] = ("flat-field", "stage", "pixel-size", "offsets", "noise")
START = Position(12.0, -7.0, 1.0)
SMALL = 128  # px, of benches with a fault that shows all the same
NARROW = {
    "x_limits_um = [-8000.0, 8000.0]": "x_limits_um = [-300.0, 300.0]",
    "y_limits_um = [-6000.0, 6000.0]": "y_limits_um = [-300.0, 300.0]",
}


@pytest.fixture(autouse=True, scope="module")
def quickly() -> Iterator[None]:
    with quick_light():
        yield


@pytest.fixture
def undrawn() -> Iterator[None]:
    with no_pictures():
        yield


# -- the truth -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Whole:
    """A calibration of seed 0, and how the microscope was left."""

    rig: Rig
    record: CalibrationRecord
    folder: Path
    told: list[str]
    end: Position
    objective: str

    @property
    def truth(self) -> dict[str, Found]:
        return {found.name: found for found in against_truth(self.rig, self.record)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Whole:
    """One for all processes of a run: it takes half a minute."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "whole"
    kept = folder.with_suffix(".pickle")
    with FileLock(folder.with_suffix(".lock")):
        if not kept.exists():
            kept.write_bytes(pickle.dumps(measured_whole(folder)))
    return pickle.loads(kept.read_bytes())


def measured_whole(folder: Path) -> Whole:
    backend = faulty()
    rig = backend._rig
    told: list[str] = []
    with pytest.MonkeyPatch.context() as patch, GuardedMicroscope(backend, rig) as microscope:
        patch.setattr(offsets, "TURNS", 3)
        patch.setattr(offsets, "PLACES", 3)
        patch.setattr(pixel_size, "SIDES", (5,))
        patch.setattr(stage, "ARRIVALS", 6)
        microscope.move_to(START)
        course = plan_course(rig, folder, sections=FEW)
        record = calibrate(microscope, rig, course, tell=told.append)
        return Whole(rig, record, folder, told, microscope.position(), microscope.objective())


MEASURED = {
    *(f"{name} {what}" for name in ("10x", "20x")
      for what in ("scale", "rotation, mrad", "corner, px", "distortion", "flat, %")),
    "parcentric x, µm", "parcentric y, µm", "parfocal, µm", "backlash x, µm", "backlash y, µm",
    "gain r", "gain g", "gain b",
}  # fmt: skip


def test_what_is_found_is_true(whole: Whole) -> None:
    assert set(whole.truth) == MEASURED
    for name, found in whole.truth.items():
        assert abs(found.error) <= found.limit, name
        if found.sigma is not None:
            assert 0 < found.sigma < found.limit, name
            assert abs(found.error) <= 4 * found.sigma, name


def test_nothing_else_claims_to_be_measured(whole: Whole) -> None:
    assert {found.section for found in whole.record.checks} == set(FEW)
    assert whole.record.focus is None
    assert whole.record.pairs == ()


def test_every_check_is_ok_and_says_where_it_can_be_seen(whole: Whole) -> None:
    for found in whole.record.checks:
        assert found.verdict == "ok", describe(found)
        assert not found.picture or (whole.folder / found.picture).is_file()
        assert all(math.isfinite(value) for value in (*found.value, *found.sigma))
    assert sum(bool(found.picture) for found in whole.record.checks) > 12


def test_what_lies_in_the_folder(whole: Whole) -> None:
    names = {path.name for path in whole.folder.iterdir()}
    fields = {f"{kind}-{name}.tif" for kind in ("flat", "dark") for name in ("10x", "20x")}
    assert fields | {"record.json", "report.html"} <= names
    assert "so-far.json" not in names
    assert not [name for name in names if name.endswith(".part")]
    again = CalibrationRecord.load(whole.folder)
    assert again.digest == whole.record.digest
    assert again.course is None
    assert again.measured
    assert again.fingerprint is not None
    for name in ("10x", "20x"):
        assert again.field(name, "flat").shape == (192, 192, 3)
    report = (whole.folder / "report.html").read_text(encoding="utf-8")
    assert "20x parcentric offset" in report


def test_the_microscope_is_left_as_it_was_found(whole: Whole) -> None:
    assert place_of(whole.end) == pytest.approx(place_of(START), abs=0.01)
    assert whole.objective == "10x"


def test_times_are_those_of_the_simulator(whole: Whole) -> None:
    times, truth = whole.record.stage.times, whole.rig.simulation
    assert times.settle_s == pytest.approx(truth.stage.settle_ms / 1000, rel=0.02)
    assert times.speed_um_per_s == pytest.approx(truth.stage.speed_um_per_s, rel=0.02)
    assert times.acceleration_um_per_s2 == pytest.approx(
        truth.stage.acceleration_um_per_s2, rel=0.1
    )
    assert times.snap_s == pytest.approx(whole.rig.camera.readout_ms / 1000, rel=0.02)
    assert times.turn_s == pytest.approx(truth.nosepiece.turn_s, rel=0.05)


def test_every_result_is_told(whole: Whole) -> None:
    for found in whole.record.checks:
        assert describe(found) in whole.told
    assert [text for text in whole.told if text.startswith("---")] == [
        f"--- {section}" for section in SECTIONS if section in FEW
    ]


SEEDS = range(20)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_twenty_hidden_rigs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every quantity inside its limit on every rig; the stated uncertainties are true."""
    processes = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
    with processes as pool:
        outcomes = list(pool.map(measure_seed, SEEDS, [tmp_path] * len(SEEDS)))
    rows = [
        (seed, found)
        for seed, (found_all, _) in zip(SEEDS, outcomes, strict=True)
        for found in found_all
    ]
    with capsys.disabled():
        sys.stdout.write(f"\n{table(rows)}\n")
    assert [trouble for _, troubles in outcomes for trouble in troubles] == []
    beyond = [
        (seed, found.name, found.error)
        for seed, found in rows
        if found.limit is not None and abs(found.error) > found.limit
    ]
    assert beyond == []
    inside = {
        name: [abs(f.error) <= 2 * f.sigma for _, f in rows if f.name == name and f.sigma]
        for name in dict.fromkeys(found.name for _, found in rows)
    }
    for name, hits in inside.items():
        assert not hits or np.mean(hits) >= 0.8, (name, np.mean(hits))
    assert 0.9 <= np.mean([hit for hits in inside.values() for hit in hits]) < 1


# -- faults ----------------------------------------------------------------------------------------


def over_glass(folder: Path) -> Faulty:
    """Give a bench with nothing but bare glass: no need to look for it."""
    return Faulty(on_slide(hidden_rig(0, SMALL), folder, specks(400, 0)))


def blamed(
    backend: Faulty, folder: Path, *sections: Section, tell: Callable[[str], None] = lambda _: None
) -> str:
    """Calibrate something that cannot be: gives the message, which is one line."""
    with pytest.raises(CalibrationError) as caught:
        measure(backend, folder / "A", *sections, tell=tell)
    assert "\n" not in str(caught.value)
    assert not (folder / "A/record.json").exists()
    here = backend.position()
    assert place_of(here) == pytest.approx((0, 0, 0), abs=0.01), "it went back"
    assert backend.objective() == "10x"
    return str(caught.value)


def test_another_low_objective_than_the_label_says(tmp_path: Path) -> None:
    backend = faulty(SMALL, **{"pixel_size_um = 0.5012": "pixel_size_um = 0.2512"})
    said = blamed(backend, tmp_path, "stage")
    assert "wrong objective label? A pixel of 10x is 0.25" in said
    assert "which objective is in slot 2" in said


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn", "few_places")
def test_another_high_objective_than_the_label_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairing, "TRIES", 1)
    monkeypatch.setattr(pairing, "MOST_RINGS", 1)
    backend = faulty(**{"pixel_size_um = 0.2503": "pixel_size_um = 0.5103"})
    said = blamed(backend, tmp_path, "pixel-size")
    assert "20x shows nothing that 10x sees" in said
    assert "20x in slot 3 (wrong objective label?)" in said


@pytest.fixture
def few_arrivals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "ARRIVALS", 3)


class Slips:
    """Makes the stage slip once the grid of the pixel size has so many places."""

    def __init__(self, backend: Faulty, after: int, places: int = 10**9) -> None:
        self.backend, self.after, self.places = backend, after, places
        self.begun = 10**9
        backend.slip_um = self.slip_um

    def slip_um(self, snaps: int, _place: Position) -> float:
        return 30.0 if self.after < snaps - self.begun <= self.after + self.places else 0.0

    def tell(self, text: str) -> None:
        if text.startswith("pixel size of 10x"):
            self.begun = self.backend.snaps


def pixel_size_with(slips: Slips, folder: Path) -> CalibrationRecord:
    return measure_low(slips.backend, folder / "A", "pixel-size", tell=slips.tell)


@pytest.fixture
def few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_size, "SIDES", (5,))


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn", "few_places")
def test_a_stage_that_slips_in_the_middle(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"^the stage slipped: .*fasten the slide") as caught:
        pixel_size_with(Slips(faulty(), after=8), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn", "few_places")
@pytest.mark.parametrize("after", [4, 22], ids=["for a while", "at the end"])
def test_a_stage_that_slips_for_a_few_places(tmp_path: Path, after: int) -> None:
    """The scale comes from the others; the record says what happened."""
    backend = faulty()
    record = pixel_size_with(Slips(backend, after, places=4), tmp_path)
    (found,) = failed(record).values()
    assert found.section == "pixel-size"
    assert "the stage slipped or drifted" in found.advice
    scale = record.objectives["10x"].pixel_size_um
    true = backend._rig.simulation.objectives["10x"].pixel_size_um
    assert scale == pytest.approx(true, rel=0.001)


@pytest.mark.usefixtures("undrawn")
def test_a_lamp_that_drifts(tmp_path: Path) -> None:
    backend = over_glass(tmp_path)
    backend.light = lambda snaps, _ms: 0.999**snaps
    found = failed(measure_low(backend, tmp_path / "A", "flat-field"))
    drift = found["10x lamp drift over the flat-field"]
    assert drift.value[0] == pytest.approx(-1.6, abs=0.2)
    assert "the lamp drifts: let it warm up" in drift.advice


def test_a_lamp_that_flares_up_once_the_exposure_is_set(tmp_path: Path) -> None:
    backend = over_glass(tmp_path)

    def tell(text: str) -> None:
        if text.startswith("flat-field of 10x"):
            begun = backend.snaps
            backend.light = lambda snaps, _ms: 1.25 if snaps > begun + 8 else 1.0

    said = blamed(backend, tmp_path, "flat-field", tell=tell)
    assert "saturated flats" in said
    assert "dim the lamp or shorten the exposure" in said


@pytest.mark.parametrize(("factor", "words"), [(1e4, "saturated at"), (1e-4, "too dark at")])
def test_a_lamp_for_no_exposure(tmp_path: Path, factor: float, words: str) -> None:
    backend = over_glass(tmp_path)
    backend.light = lambda _snaps, _ms: factor
    said = blamed(backend, tmp_path, "flat-field")
    assert words in said
    assert "look at lamp, shutter and filters" in said


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("factor", [0.02, 4.0])
def test_an_exposure_far_from_the_right_one(tmp_path: Path, factor: float) -> None:
    """Where all is white, tissue looks like glass; so it does in the dark."""
    backend = faulty(SMALL)
    backend.light = lambda _snaps, _ms: factor
    record = measure_low(backend, tmp_path / "A", "flat-field")
    assert failed(record) == {}
    assert against_truth(backend._rig, record)[-1].name == "10x flat, %"
    assert against_truth(backend._rig, record)[-1].found < 0.6


@pytest.mark.slow
@pytest.mark.parametrize("contrast", [0.01, 0.1], ids=["dirty glass", "tissue everywhere"])
def test_glass_that_is_not_bare(tmp_path: Path, contrast: float) -> None:
    rig = on_slide(hidden_rig(0, SMALL, **NARROW), tmp_path, mottled(3200, contrast))
    said = blamed(Faulty(rig), tmp_path, "flat-field")
    assert "no bare glass found" in said
    assert "begin nearer to an empty part of the slide, or clean it" in said


def test_a_blank_field_that_is_not_blank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where what was blank at the first look is not when it is measured."""
    monkeypatch.setattr(Bench, "find_blank", lambda bench, name: (bench.turn_to(name), (0, 0))[1])
    monkeypatch.setattr(flat_field, "_expose", lambda *_args: None)
    said = blamed(faulty(SMALL), tmp_path, "flat-field")
    assert "the blank field is not blank, 17 of 17 frames" in said
    assert "clean the slide" in said


@pytest.mark.parametrize("count", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (20, 60))])
@pytest.mark.usefixtures("undrawn")
def test_tissue_too_sparse(tmp_path: Path, count: int) -> None:
    rig = on_slide(hidden_rig(0, SMALL, **NARROW), tmp_path, specks(4000, count))
    said = blamed(Faulty(rig), tmp_path, "pixel-size")
    assert said.startswith("tissue too sparse")
    assert "tissue under the objective" in said or "begin where" in said


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn", "few_arrivals")
def test_backlash_beyond_what_the_approach_takes_up(tmp_path: Path) -> None:
    backend = faulty(**{"\nbacklash_um = [2.0, 1.6]": "\nbacklash_um = [1.6, 26.0]"})
    record = measure(backend, tmp_path / "A", "stage")
    (found,) = failed(record).values()
    assert found.name == "backlash in x and y"
    assert "set approach_um in hidden.toml to more than that" in found.advice
    assert record.stage.backlash_um[1] == pytest.approx(26, abs=0.5)


@pytest.mark.parametrize(
    ("seconds", "ringing_um"), [(0.2, 8.0), pytest.param(1.0, 30.0, marks=pytest.mark.slow)]
)
def test_a_stage_that_says_done_too_early(
    tmp_path: Path, seconds: float, ringing_um: float
) -> None:
    backend = faulty(SMALL)
    backend.ringing_s, backend.ringing_um = seconds, ringing_um
    said = blamed(backend, tmp_path, "stage")
    found = re.match(r"the picture still moves (\S+) s after the stage reports done", said)
    assert float(found[1]) == pytest.approx(seconds, abs=0.04)
    assert "set stage.stable_ms in hidden.toml to" in said


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn", "few_arrivals")
def test_a_stage_that_says_done_a_little_too_early(tmp_path: Path) -> None:
    backend = faulty(SMALL)
    backend.ringing_s, backend.ringing_um = 0.04, 2.0
    record = measure(backend, tmp_path / "A", "stage")
    (found,) = (one for one in record.checks if one.verdict != "ok")
    assert (found.name, found.verdict) == ("still after a move is done", "warn")
    assert "the stage reports done too early: set stage.stable_ms in hidden.toml" in found.advice


def test_a_stage_that_does_not_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = faulty(SMALL)
    still = Position(0.0, 0.0, 0.0)
    moved = backend._true_stage
    monkeypatch.setattr(
        backend, "_true_stage", lambda: Position(still.x_um, still.y_um, moved().z_um)
    )
    said = blamed(backend, tmp_path, "stage")
    assert "the picture does not follow the stage" in said
    assert "is the stage connected" in said


@pytest.mark.usefixtures("undrawn")
def test_a_camera_with_gamma(tmp_path: Path) -> None:
    backend = over_glass(tmp_path)
    backend.picture = lambda share: share**0.8
    found = failed(measure(backend, tmp_path / "A", "noise"))
    assert "set gamma to 1" in found["linearity, largest deviation"].advice


# -- the one-minute check --------------------------------------------------------------------------


def moved_away(whole: Whole, by_um: float) -> str:
    x_um, y_um = whole.rig.simulation.objectives["20x"].parcentric_um
    return f"parcentric_um = [{x_um + by_um:.2f}, {y_um:.2f}]"


def test_the_record_holds_on_the_instrument_it_was_made_of(whole: Whole) -> None:
    backend = faulty()
    assert check(backend, whole.record) == {}
    assert place_of(backend.position()) == pytest.approx((0, 0, 0), abs=0.01)
    assert backend.objective() == "10x"


@pytest.mark.slow
def test_a_camera_rotated_since_the_record(whole: Whole) -> None:
    turned = whole.rig.simulation.camera.rotation_deg + 0.5
    backend = faulty(**{"rotation_deg = 0.6": f"rotation_deg = {turned}"})
    found = check(backend, whole.record)["10x rotation against the record"]
    assert found.section == "pixel-size"
    assert "pixel-size is stale: the camera was rotated" in found.advice
    assert found.value[0] == pytest.approx(1000 * math.radians(0.5), abs=1.0)


@pytest.mark.slow
def test_offsets_and_light_since_the_record(whole: Whole) -> None:
    light = whole.rig.simulation.objectives["10x"].light_e_per_ms
    backend = faulty(
        **{
            "parcentric_um = [-37.2, 22.1]": moved_away(whole, 10.0),
            "light_e_per_ms = 870.0": f"light_e_per_ms = {0.8 * light}",
        }
    )
    found = check(backend, whole.record)
    assert {one.section for one in found.values()} == {"offsets", "flat-field"}
    offset = found["20x parcentric offset against the record"]
    assert offset.value[0] == pytest.approx(10, abs=2)
    assert "offsets are stale" in offset.advice
    dimmed = found["light against the record"]
    assert dimmed.value[0] == pytest.approx(20, abs=1)
    assert "flat-field is stale: the lamp" in dimmed.advice


@pytest.mark.slow
def test_another_high_objective_since_the_record(whole: Whole) -> None:
    size_um = whole.rig.simulation.objectives["20x"].pixel_size_um * 1.01
    backend = faulty(**{"pixel_size_um = 0.2503": f"pixel_size_um = {size_um:.5f}"})
    found = check(backend, whole.record)
    assert {one.section for one in found.values()} == {"pixel-size"}
    scale = found["20x scale against the record"]
    assert scale.value[0] == pytest.approx(1.0, abs=0.2)
    assert "pixel-size is stale: another objective" in scale.advice


# -- the course ------------------------------------------------------------------------------------


@pytest.fixture
def sections(monkeypatch: pytest.MonkeyPatch) -> Sections:
    return Sections(monkeypatch)


def carried_out(backend: Recorder, course: Course, stop_at: int = 10**9) -> int:
    """Carry out a course, interrupted by Ctrl-C at a word it tells; gives the motions before."""
    told: list[str] = []
    motions = 0

    def tell(text: str) -> None:
        nonlocal motions
        told.append(text)
        if len(told) == stop_at:
            motions = len(backend.motions)
            raise KeyboardInterrupt

    rig = backend._rig
    with GuardedMicroscope(backend, rig) as microscope:
        if microscope.position() != START:
            microscope.move_to(START)
        backend.motions.clear()
        if stop_at == 10**9:
            calibrate(microscope, rig, course, tell=tell)
        else:
            with pytest.raises(KeyboardInterrupt):
                calibrate(microscope, rig, course, tell=tell)
    return motions


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4, 5, 8, 13, 20, 26])
def test_interrupted_anywhere_it_goes_on_with_what_is_left(
    tmp_path: Path, sections: Sections, stop_at: int
) -> None:
    rig, folder = make_rig(), tmp_path / "A"
    course = plan_course(rig, folder)
    backend = Recorder(rig)
    motions = carried_out(backend, course, stop_at)
    assert len(backend.motions) == motions, "nothing moved after the interruption"
    assert not (folder / "record.json").exists()
    before = CalibrationRecord.load(folder, "so-far.json").checks
    again = resume_course(folder)
    assert again.done == tuple(sections.measured[: len(again.done)])
    assert [found.section for found in before] == list(again.done)
    assert again.remaining == SECTIONS[len(again.done) :]
    assert again.objectives == course.objectives
    sections.measured.clear()
    carried_out(Recorder(rig), again)
    assert tuple(sections.measured) == again.remaining
    record = CalibrationRecord.load(folder)
    assert record.checks[: len(before)] == before
    assert [found.section for found in record.checks] == list(SECTIONS)
    assert not (folder / "so-far.json").exists()
    with pytest.raises(InputError, match="holds no interrupted calibration"):
        resume_course(folder)


def test_what_cannot_be_measured_sends_the_stage_back(tmp_path: Path, sections: Sections) -> None:
    sections.fault = CalibrationError("no focus; do this")
    backend = Recorder(make_rig())
    with pytest.raises(CalibrationError, match=r"^no focus; do this$"):
        carried_out(backend, plan_course(backend._rig, tmp_path / "A"))
    assert place_of(backend.position()) == pytest.approx(place_of(START), abs=0.01)
    assert backend.objective() == "10x"
    again = resume_course(tmp_path / "A")
    assert again.remaining[0] == "offsets"
    sections.fault = None
    carried_out(Recorder(make_rig()), again)
    assert (tmp_path / "A/record.json").is_file()


@pytest.mark.parametrize("fault", [MicroscopeError("the stage is stuck"), StoppedError("stopped")])
def test_after_a_fault_of_the_instrument_nothing_moves(
    tmp_path: Path, sections: Sections, fault: Exception
) -> None:
    sections.fault = fault
    backend = Recorder(make_rig())
    with pytest.raises(MicroscopeError, match=str(fault)):
        carried_out(backend, plan_course(backend._rig, tmp_path / "A"))
    assert backend.motions[-1][1].x_um == pytest.approx(160.0)
    assert backend.objective() == "20x"
    assert resume_course(tmp_path / "A").remaining[0] == "offsets"


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_one_section_anew_keeps_all_else(whole: Whole, tmp_path: Path) -> None:
    """A real one: the gain of another camera, on top of an older record."""
    well_e = whole.rig.simulation.camera.full_well_e
    backend = faulty(**{"full_well_e = 10000.0": f"full_well_e = {1.1 * well_e:.1f}"})
    folder = tmp_path / "B"
    record = measure(backend, folder, "noise", before=whole.record)
    assert [c for c in record.checks if c.section != "noise"] == [
        c for c in whole.record.checks if c.section != "noise"
    ]
    assert record.objectives == whole.record.objectives
    assert (record.stage, record.tissue_um) == (whole.record.stage, whole.record.tissue_um)
    assert fields_of(folder) == fields_of(whole.folder)
    assert len(fields_of(folder)) == 4
    gain = np.array(record.camera.gain_e_per_dn) / np.array(whole.record.camera.gain_e_per_dn)
    assert gain == pytest.approx(1.1, rel=0.02)
    assert CalibrationRecord.load(folder).field("20x", "flat") is not None
    assert not (folder / "so-far.json").exists()


def test_a_course_that_cannot_be(tmp_path: Path, sections: Sections) -> None:
    rig = make_rig()
    with pytest.raises(InputError, match=r"^--objectives 60x: rig simulated has 5x, 10x, 20x$"):
        plan_course(rig, tmp_path / "A", objectives=("60x",))
    carried_out(Recorder(rig), plan_course(rig, tmp_path / "A", sections=("noise",)))
    with pytest.raises(InputError, match=r"A is not empty; choose another --out$"):
        plan_course(rig, tmp_path / "A")
    carried_out(Recorder(rig), plan_course(rig, tmp_path / "B"), stop_at=3)
    with pytest.raises(InputError, match=r"B is not empty; go on with it by --resume, or choose"):
        plan_course(rig, tmp_path / "B")
    with pytest.raises(InputError, match="holds no interrupted calibration"):
        resume_course(tmp_path / "none")
    text = (tmp_path / "B/so-far.json").read_text(encoding="utf-8")
    record = CalibrationRecord.load(tmp_path / "B", "so-far.json")
    assert record.course is not None
    record.model_copy(update={"course": None}).save(tmp_path / "B", "so-far.json")
    with pytest.raises(InputError, match="does not say what was to be measured"):
        resume_course(tmp_path / "B")
    (tmp_path / "B/so-far.json").write_text(text[: len(text) // 2], encoding="utf-8")
    with pytest.raises(InputError, match=r"so-far\.json") as caught:
        resume_course(tmp_path / "B")
    assert "\n" not in str(caught.value)


def test_the_reference_is_measured_first_and_kept(tmp_path: Path) -> None:
    rig = make_rig()
    assert plan_course(rig, tmp_path / "A", objectives=("20x",)).objectives == ("10x", "20x")
    before = CalibrationRecord.nominal(rig).model_copy(update={"reference": "5x"})
    course = plan_course(rig, tmp_path / "A", objectives=("20x", "10x"), before=before)
    assert course.objectives == ("5x", "20x", "10x")
    assert course.record.reference == "5x"


def test_checks_of_a_section_measured_twice_are_the_newer(
    tmp_path: Path, sections: Sections
) -> None:
    rig = make_rig()
    carried_out(Recorder(rig), plan_course(rig, tmp_path / "A"))
    before = CalibrationRecord.load(tmp_path / "A")
    old: tuple[Check, ...] = tuple(
        found.model_copy(update={"made_at": "long ago"}) for found in before.checks
    )
    before = before.model_copy(update={"checks": old})
    course = plan_course(rig, tmp_path / "B", sections=("offsets",), before=before)
    carried_out(Recorder(rig), course)
    record = CalibrationRecord.load(tmp_path / "B")
    assert [found.section for found in record.checks] == list(SECTIONS)
    new = [found.section for found in record.checks if found.made_at != "long ago"]
    assert new == ["offsets"]


# -- another instrument ----------------------------------------------------------------------------


def test_a_record_of_another_camera_is_not_mixed_with_this_one(
    whole: Whole, tmp_path: Path
) -> None:
    """Neither completed by some sections anew, nor taken up again, nor checked."""
    rig = parse_rig(
        whole.rig.text.replace("bits = 8", "bits = 12"), source="twelve.toml", folder=tmp_path
    )
    only = plan_course(rig, tmp_path / "A", sections=("noise",), before=whole.record)
    with open_microscope(rig) as microscope:
        begun = microscope.position()
        for job in (
            lambda: calibrate(microscope, rig, only),
            lambda: check_record(microscope, rig, whole.record, lambda _: None),
        ):
            with pytest.raises(InputError, match=r"its bits was 8 at calibration and is 12 now"):
                job()
        assert microscope.position() == begun
    assert not (tmp_path / "A").exists()


def test_a_damaged_flat_is_not_handed_on(whole: Whole, tmp_path: Path) -> None:
    whole.record.save(tmp_path / "old")
    (tmp_path / "old" / "flat-10x.tif").write_bytes(b"junk")
    old = CalibrationRecord.load(tmp_path / "old")
    only = plan_course(whole.rig, tmp_path / "new", sections=("noise",), before=old)
    with (
        open_microscope(whole.rig) as microscope,
        pytest.raises(InputError, match=r"flat-10x.tif: cannot be read"),
    ):
        calibrate(microscope, whole.rig, only)
    assert not (tmp_path / "new").exists()
