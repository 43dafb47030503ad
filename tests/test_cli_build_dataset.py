"""``scope-sr build-dataset`` as it is typed: what it teaches, refuses and survives."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import mask_layouts
import numpy as np
import pytest
import tifffile
from paired_sessions import awkward_rig, session_of
from PIL import Image
from sessions import filled, small_rig, tree
from test_build_sources import Now
from test_cli import refused, scope

from scope_sr import disk
from scope_sr.build_dataset import run
from scope_sr.build_dataset.parallel import Workers
from scope_sr.cli.build_dataset import build_dataset
from scope_sr.dataset import Dataset

pytestmark = pytest.mark.xdist_group("build_sources")
BUILD = "build-dataset"


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out drawing and processes, but in the programs that are started."""
    make_quick(monkeypatch)


def make_quick(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(run, "draw_pictures", lambda *_args: None)
    patch.setattr(run, "workers", lambda _count: nullcontext(Workers(Now(), 1)))


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of two low and eight high fields."""
    folder = tmp_path_factory.mktemp("captured")
    return session_of(folder, awkward_rig(14, 160), rows=1, columns=2).folder


@pytest.fixture(scope="module")
def whole(captured: Path) -> Path:
    """A folder with the session, and a dataset built from it at one go."""
    with pytest.MonkeyPatch.context() as patch:
        make_quick(patch)
        run.from_sessions(
            [captured], captured.parent / "ds", scale=None, patients=None, licence="", count=1,
            resume=False, tell=lambda *_: None,
        )  # fmt: skip
    return captured.parent


@pytest.fixture(scope="module")
def stand(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to stand in, with one of everything that can be named by mistake."""
    folder = tmp_path_factory.mktemp("stand")
    for name in ("session", "ds"):
        shutil.copytree(whole / name, folder / name)
    for name in ("occupied", "empty", "export-basicsr", "export-imagefolder"):
        (folder / name).mkdir()
    for name in ("occupied/letter.txt", "export-basicsr/old.txt", "file.txt"):
        (folder / name).write_text("mine")
    for name in ("lr/a.png", "hr/a.png", "tiles/a.png", "odd/b.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((80, 80, 3), 200, np.uint8)).save(folder / name)
    mask_layouts.plain(folder / "nuclei")
    (folder / "who.csv").write_text("name,patient\nother,anna\n")
    filled(folder / "small", small_rig())
    filled(folder / "deep", small_rig(**{"bits = 8": "bits = 12"}))
    filled(folder / "coarse", small_rig(**{"pixel_um = 5.0 ": "pixel_um = 5.5 "}))
    shutil.copytree(folder / "small", folder / "low-only")
    for path in (folder / "low-only/high").iterdir():
        path.unlink()
    return folder


@pytest.fixture
def place(stand: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to build in, with what can be built from."""
    monkeypatch.chdir(tmp_path)
    for name in ("session", "small", "nuclei", "lr", "hr"):
        (tmp_path / name).symlink_to(stand / name, target_is_directory=True)
    return tmp_path


def test_help_teaches_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = scope(capsys, BUILD, "--help")
    assert code == 0
    for parameter in build_dataset.params:
        for option in parameter.opts:
            assert option in out or not option.startswith("--")
        if parameter.param_type_name == "option":
            assert parameter.help
    for words in ("Examples", "LR_DIR HR_DIR", "--resume", "scope-sr check ds", "report.html"):
        assert words in out
    assert max(map(len, out.splitlines())) <= 100


WRONG = {
    "no --out": (["session"], "Missing option '--out'"),
    "nothing": (["--out", "new"], "nothing to build from"),
    "two kinds": (["session", "--masks", "nuclei", "--out", "new"], "SESSION and --masks"),
    "three kinds": (
        ["session", "--images", "tiles", "--pairs", "lr", "hr", "--out", "new"],
        "SESSION and --pairs and --images",
    ),
    "rig alone": (["session", "--rig", "simulated", "--out", "new"], "belong together"),
    "images alone": (["--images", "tiles", "--out", "new"], "belong together"),
    "no such rig": (["--images", "tiles", "--rig", "no.toml", "--out", "new"], "no such rig"),
    "scale of masks": (["--masks", "nuclei", "--scale", "2", "--out", "new"], "leave it out"),
    "scale 3": (["session", "--scale", "3", "--out", "new"], "'3' is not one of '2', '4'"),
    "scale 4": (["session", "--scale", "4", "--out", "new"], "--scale 4 asks for 4 pixels"),
    "no such session": (["none", "--out", "new"], "none"),
    "a file": (["file.txt", "--out", "new"], "file.txt"),
    "no session": (["occupied", "--out", "new"], "occupied"),
    "a dataset": (["ds", "--out", "new"], "ds"),
    "no high field": (["low-only", "--out", "new"], "no pair to build from"),
    "twice": (["session", "session", "--out", "new"], "the same session as"),
    "other bits": (["small", "deep", "--out", "new"], "one dataset holds one kind of image"),
    "other pixels": (["small", "coarse", "--out", "new"], "a dataset has one scale"),
    "out is a file": (["session", "--out", "file.txt"], "file.txt is a file"),
    "out occupied": (["session", "--out", "occupied"], "nothing in it was touched"),
    "out is a session": (["session", "--out", "small"], "nothing in it was touched"),
    "out is the session": (["session", "--out", "session"], "nothing in it was touched"),
    "out within a file": (["session", "--out", "file.txt/ds"], "file.txt"),
    "out has no name": (["session", "--out", "--resume"], "'--resume' is no folder"),
    "out too long": (["session", "--out", "x" * 400], "name too long"),
    "finished": (["session", "--out", "ds"], "add to it with --resume"),
    "nothing to resume": (["session", "--out", "new", "--resume"], "leave out --resume"),
    "resume elsewhere": (["session", "--out", "occupied", "--resume"], "leave out --resume"),
    "other licence": (["session", "--out", "ds", "--resume", "--licence", "CC0"], "'CC0'"),
    "other kind": (["--masks", "nuclei", "--out", "ds", "--resume"], "was begun with"),
    "dropped": (["small", "--out", "ds", "--resume"], "ds holds session as well"),
    "no patient": (["session", "--patients", "who.csv", "--out", "new"], "no row for session"),
    "no patients": (["session", "--patients", "none.csv", "--out", "new"], "none.csv"),
    "no workers": (["session", "--workers", "0", "--out", "new"], "0 is not in the range"),
    "export occupied": (["session", "--export", "basicsr", "--out", "export"], "is not empty"),
    "export of masks": (
        ["--masks", "nuclei", "--export", "basicsr", "--out", "new"],
        "choose imagefolder",
    ),
    "no such export": (["session", "--export", "zip", "--out", "new"], "'imagefolder'"),
    "one folder of pairs": (["--out", "new", "--pairs", "lr"], "requires 2 arguments"),
    "no such pairs": (["--pairs", "lr", "none", "--out", "new"], "name a folder of images"),
    "no common name": (["--pairs", "lr", "odd", "--out", "new"], "no name in common"),
    "no images": (["--images", "empty", "--rig", "simulated", "--out", "new"], "no image there"),
    "no masks": (["--masks", "tiles", "--out", "new"], "tiles"),
    "no such masks": (["--masks", "none", "--out", "new"], "none"),
    "stray option": (["session", "--out", "new", "--epochs", "3"], "No such option"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_one_line_and_changes_nothing(
    stand: Path, capsys: pytest.CaptureFixture[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, message = WRONG[name]
    before = tree(stand)
    monkeypatch.chdir(stand)
    said = refused(capsys, BUILD, *words)
    assert message in said
    assert not (stand / "new").exists()
    assert tree(stand) == before


def test_it_says_what_it_did_and_what_to_do_next(
    whole: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = scope(capsys, BUILD, "session", "--out", "ds")
    assert code == 0, err
    assert out.splitlines() == [
        "8 of 8 pairs kept: 6 train, 1 val, 1 test, split by area",
        f"Look at {Path('ds/report.html')}",
        "Check it with: scope-sr check ds",
    ]
    assert "session: measuring 8/8\nsession: drawing 4/8\n" in err
    assert images(place / "ds") == images(whole / "ds")


def test_a_resume_of_what_is_finished_changes_nothing(
    whole: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(shutil.copytree(whole / "ds", place / "ds"))
    code, out, err = scope(capsys, BUILD, "session", "--out", "ds", "--resume")
    assert code == 0, err
    assert "8 of 8 pairs kept" in out
    after = tree(place / "ds")
    assert after.keys() == before.keys()
    assert {name for name in before if before[name] != after[name]} <= {"report.html", "card.md"}


def test_export_comes_with_it(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--masks", "nuclei", "--out", "ds", "--export", "imagefolder"]
    code, out, err = scope(capsys, BUILD, *words)
    assert code == 0, err
    assert f"Patches: {place / 'ds-imagefolder'}" in out
    assert list((place / "ds-imagefolder").rglob("*.png"))


def test_where_nothing_is_kept_the_exit_code_says_so(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = scope(capsys, BUILD, "--pairs", "lr", "hr", "--out", "new")
    assert code == 1
    assert "0 of 1 pairs kept" in out
    assert "rejected     1  not registered" in out
    assert not Dataset.open(place / "new").items[0].accepted


def test_a_damaged_field_is_named_and_the_build_goes_on_when_it_is_whole(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole / "session", tmp_path / "session")
    field = tmp_path / "session/high/r00c01-r01c00.ome.tif"
    good = bytearray(field.read_bytes())
    bad = good.copy()
    bad[len(bad) // 2] ^= 0x10
    field.write_bytes(bad)
    code, _, err = scope(capsys, BUILD, "session", "--out", "ds")
    assert code == 1
    last = err.strip().splitlines()[-1]
    assert last.startswith(f"Error: {field}: its bytes are not those that were written; delete it")
    assert "Traceback" not in err
    assert not (tmp_path / "ds/dataset.json").exists()
    field.write_bytes(good)
    code, out, err = scope(capsys, BUILD, "session", "--out", "ds", "--resume")
    assert code == 0, err
    assert "8 of 8 pairs kept" in out
    assert images(tmp_path / "ds") == images(whole / "ds")


def images(folder: Path) -> dict[str, bytes]:
    """Give what must be the same however often a build was broken off."""
    tops = ("low/", "high/", "index.jsonl", "dataset.json")
    return {name: data for name, data in tree(folder).items() if name.startswith(tops)}


def test_a_flat_of_another_size_is_refused(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole / "session", tmp_path / "other")
    flat = tmp_path / "other/calibration/flat-20x.tif"
    tifffile.imwrite(flat, tifffile.imread(flat)[:100], photometric="rgb")
    code, _, err = scope(capsys, BUILD, str(tmp_path / "other"), "--out", str(tmp_path / "ds"))
    assert code == 2
    assert "flat of 20x is 160x100 px, the fields are 160x160" in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize("calls", [0, 2, 3, 8, 14])
def test_a_full_disk_is_one_line(
    whole: Path,
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    calls: int,
) -> None:
    write, left = disk._write, [calls]

    def full(*args: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(*args)

    monkeypatch.setattr(disk, "_write", full)
    code, _, err = scope(capsys, BUILD, "session", "--out", "ds")
    assert code == 1, err
    assert (
        "No space left on device; see to the disk, then the same command with --resume"
        in (err.strip().splitlines()[-1])
    )
    assert "Traceback" not in err
    assert not (place / "ds/dataset.json").exists()
    assert not list((place / "ds").rglob("*.part"))
    if calls in {0, 14}:
        monkeypatch.setattr(disk, "_write", write)
        code, _, err = scope(capsys, BUILD, "session", "--out", "ds", "--resume")
        assert code == 0, err
        assert images(place / "ds") == images(whole / "ds")


def test_a_session_in_which_nothing_is_found_is_no_error(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = scope(capsys, BUILD, "small", "--out", "ds")
    assert code == 1
    assert "0 of 1 pairs kept" in out
    assert "rejected     1  not found" in out


# --- stopped --------------------------------------------------------------------------------------


def start(cwd: Path, *words: str, workers: int = 2) -> subprocess.Popen[str]:
    """Start the program as a shell does: in a group of its own, which Ctrl-C reaches whole."""
    return subprocess.Popen(
        [sys.executable, "-m", "scope_sr", BUILD, *words, "--workers", str(workers)],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def read_until(program: subprocess.Popen[str], words: str) -> str:
    assert program.stderr
    said = ""
    for line in program.stderr:
        said += line
        if words in line:
            return said
    pytest.fail(f"it never said {words!r}: {said}")


def gone(program: subprocess.Popen[str], within_s: float = 10.0) -> bool:
    """Say whether nothing of its group runs any more."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            os.killpg(program.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def copied(whole: Path, folder: Path) -> Path:
    (folder / "session").symlink_to(whole / "session", target_is_directory=True)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C cannot be sent to one group on Windows")
def test_ctrl_c_ends_it_and_says_how_to_go_on(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = start(copied(whole, tmp_path), "session", "--out", "ds", workers=1)
    read_until(program, "measuring 4/8")
    os.killpg(program.pid, signal.SIGINT)
    out, err = program.communicate(timeout=20)
    assert program.returncode == 130
    assert "Traceback" not in err
    assert "KeyboardInterrupt" not in err
    assert err.strip().splitlines()[-1] == (
        "Stopped. What is done is safe in ds; go on: the same with --resume"
    )
    assert out == ""
    assert gone(program)
    monkeypatch.chdir(tmp_path)
    code, out, err = scope(capsys, BUILD, "session", "--out", "ds", "--resume")
    assert code == 0, err
    assert images(tmp_path / "ds") == images(whole / "ds")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no process groups on Windows")
@pytest.mark.parametrize("wait_s", [0.0, 0.01, 0.02, 0.3, 0.6, 0.9, 1.2, 1.5])
def test_ctrl_c_at_any_time_leaves_no_worker_and_no_traceback(
    whole: Path, tmp_path: Path, wait_s: float
) -> None:
    """While the program starts its processes as well as later."""
    program = start(copied(whole, tmp_path), "session", "--out", "ds")
    deadline = time.monotonic() + 20
    while not (tmp_path / "ds").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(wait_s)
    os.killpg(program.pid, signal.SIGINT)
    _, err = program.communicate(timeout=20)
    # -2 is CPython's own: it ends by the signal where Ctrl-C fell into an exec(), as of a dataclass
    assert program.returncode in {0, 130, -signal.SIGINT}, err
    assert "Traceback" not in err, err
    assert program.returncode == 0 or "Stopped" in err.strip().splitlines()[-1]
    assert gone(program)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no process groups on Windows")
@pytest.mark.parametrize("words", ["first fields", "measuring 4/8", "drawing 4/8"])
def test_killed_and_resumed_it_gives_the_same_bytes(
    whole: Path, tmp_path: Path, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program = start(copied(whole, tmp_path), "session", "--out", "ds")
    read_until(program, words)
    os.kill(program.pid, signal.SIGKILL)
    program.communicate(timeout=20)
    assert gone(program), "a worker lives on without its parent"
    assert not (tmp_path / "ds/dataset.json").exists()
    again = start(tmp_path, "session", "--out", "ds", "--resume")
    _, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert images(tmp_path / "ds") == images(whole / "ds")
