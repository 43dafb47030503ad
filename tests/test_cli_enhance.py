"""``scope-sr enhance`` as it is typed: what it teaches, says, refuses and survives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from sessions import tree
from test_cli import refused, scope
from test_enhance import damaged, entries, make_quick, png, tiff, tissue

from scope_sr.cli.enhance import enhance
from scope_sr.enhance import making
from scope_sr.modelfile import read_card
from scope_sr.modelfile.card import to_json

pytestmark = pytest.mark.xdist_group("enhance")
X2 = ("--model", "compact-x2", "--runtime", "cpu")
HALF = ("--um-per-px", "0.5")


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick(monkeypatch)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with a picture."""
    png(tmp_path / "field.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_help_teaches_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = scope(capsys, "enhance", "--help")
    assert code == 0
    for parameter in enhance.params:
        for option in parameter.opts:
            assert option in out or not option.startswith("--")
        if parameter.param_type_name == "option":
            assert parameter.help
    for words in ("Examples", "torchrun", "summary.html", "openslide"):
        assert words in out
    assert max(map(len, out.splitlines())) <= 100


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, runpy; sys.argv = ['scope-sr', 'enhance', '--help']\n"
        "try: runpy.run_module('scope_sr', run_name='__main__')\n"
        "finally: print([m for m in ('torch', 'numpy', 'cv2', 'tifffile') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr


def test_it_says_what_it_did_and_where_to_look(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("field.png", *X2, *HALF, "--nuclei", "nuclei", "--out", "my run")
    code, out, err = scope(capsys, "enhance", *words)
    assert code == 0, err
    assert out == f"1 enhanced\nLook at {Path('my run/summary.html')}\n"
    assert "compact-x2: computing with cpu" in err
    count = entries(here / "my run")["field"]["nuclei"]["count"]
    assert f"field: 280 x 200 px, {count} nuclei, " in err
    assert "\x1b" not in err


# Refused ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to stand in, with one of everything that can be named by mistake."""
    folder = tmp_path_factory.mktemp("stand")
    png(folder / "field.png")
    (folder / "twin").mkdir()
    tiff(folder / "twin/field.tif")
    tifffile.imwrite(
        folder / "coarse.tif", tissue(0), photometric="rgb",
        resolution=(1e4 / 0.53, 1e4 / 0.53), resolutionunit="CENTIMETER",
    )  # fmt: skip
    tifffile.imwrite(folder / "deep.tif", tissue(0).astype(np.uint16), photometric="rgb")
    tifffile.imwrite(folder / "field.sr.ome.tif", tissue(0), photometric="rgb")
    (folder / "torn.png").write_bytes((folder / "field.png").read_bytes()[:5000])
    (folder / "nothing.png").touch()
    (folder / "empty").mkdir()
    (folder / "occupied").mkdir()
    for name in ("occupied/letter.txt", "file.txt"):
        (folder / name).write_text("mine")
    (folder / "form.xml").write_text("<net/>")
    (folder / "form.bin").write_bytes(b"0")
    (folder / "form.xml.json").write_bytes(to_json(read_card("compact-x2")))
    return folder


WRONG = {
    "nothing named": ((*X2, *HALF), "Missing argument"),
    "no --out": (("field.png", *X2), "Missing option '--out'"),
    "no --model": (("field.png", "--out", "new"), "Missing option '--model'"),
    "no pixel size": (("field.png", *X2), "say --um-per-px (compact-x2 is for 0.5007"),
    "6 % off": (("coarse.tif", *X2), "0.53 µm per pixel, compact-x2 was made for 0.5007"),
    "other size": (("field.png", *X2, "--um-per-px", "0.25"), "or say --any-pixel-size"),
    "x4 for x2": (
        ("field.png", *HALF, "--model", "compact-x4"),
        "take --model compact-x2, or say --any-pixel-size",
    ),
    "no pixel at all": (("field.png", *X2, "--um-per-px", "0"), "0.0 is not in the range"),
    "nuclei as --model": (("field.png", *HALF, "--model", "nuclei"), "give it with --nuclei"),
    "generator as --nuclei": (
        ("field.png", *X2, *HALF, "--nuclei", "compact-x2"),
        "name one that finds nuclei",
    ),
    "no such model": (("field.png", *HALF, "--model", "none"), "none"),
    "no such nuclei": (("field.png", *X2, *HALF, "--nuclei", "none.ts"), "none.ts"),
    "a picture as --model": (("field.png", *HALF, "--model", "field.png"), "field.png"),
    "no such input": (("none.png", *X2, *HALF), "none.png: no such file or folder"),
    "no such pattern": (("no*.tif", *X2, *HALF), "correct the pattern"),
    "empty folder": (("empty", *X2, *HALF), "no picture and no session"),
    "empty file": (("nothing.png", *X2, *HALF), "nothing.png: is empty"),
    "torn file": (("torn.png", *X2, *HALF), "torn.png"),
    "no picture": (("file.txt", *X2, *HALF), "file.txt"),
    "16 bits": (("deep.tif", *X2, *HALF), "save it as 8-bit RGB"),
    "our own": (("field.sr.ome.tif", *X2, *HALF), "was made by scope-sr enhance"),
    "twice": (("field.png", "field.png", *X2, *HALF), "is given twice"),
    "one name for two": (("field.png", "twin", *X2, *HALF), "rename one"),
    "out occupied": (("field.png", *X2, *HALF, "--out", "occupied"), "holds no run of ours"),
    "out a file": (("field.png", *X2, *HALF, "--out", "file.txt"), "name a folder of its own"),
    "out in a file": (("field.png", *X2, *HALF, "--out", "file.txt/x"), "--out file.txt/x: "),
    "resume elsewhere": (
        ("field.png", *X2, *HALF, "--out", "occupied", "--resume"),
        "holds no run of ours",
    ),
    "form in cpu": (
        ("field.png", *HALF, "--model", "form.xml", "--runtime", "cpu"),
        "form.xml: an OpenVINO form runs in openvino, not in cpu",
    ),
    "no such runtime": (("field.png", *HALF, "--model", "compact-x2", "--runtime", "tpu"), "'tpu'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_one_line_and_changes_nothing(
    stand: Path, capsys: pytest.CaptureFixture[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, message = WRONG[name]
    before = tree(stand)
    monkeypatch.chdir(stand)
    out = () if "--out" in words or name == "no --out" else ("--out", "new")
    said = refused(capsys, "enhance", *words, *out)
    assert message in said
    assert not (stand / "new").exists()
    assert tree(stand) == before


def test_a_gpu_that_is_not_there_is_refused_before_anything_is_written(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = ("field.png", *HALF, "--model", "compact-x2", "--runtime", "cuda", "--out", "new")
    assert "cuda: this computer has none; there are " in refused(capsys, "enhance", *words)
    assert [path.name for path in here.iterdir()] == ["field.png"]


def test_any_pixel_size_lets_it_through(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("field.png", *X2, "--um-per-px", "1.0", "--any-pixel-size", "--nuclei", "nuclei")
    code, out, err = scope(capsys, "enhance", *words, "--out", "new")
    assert (code, out.splitlines()[0]) == (0, "1 enhanced"), err
    entry = entries(here / "new")["field"]
    assert (entry["um_per_px_in"], entry["um_per_px_out"]) == (1.0, 0.5)


def test_what_is_no_he_is_enhanced_with_a_warning(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(tissue(0)[..., [1, 0, 1]]).save("green.png")
    code, _, err = scope(capsys, "enhance", "green.png", *X2, *HALF, "--out", "new")
    assert code == 0
    assert "green: WARNING: does not look like H&E (green)" in err
    assert "does not look like H&amp;E (green)" in (here / "new/summary.html").read_text("utf-8")


# Stopped and gone on with -------------------------------------------------------------------------


def test_ctrl_c_says_how_to_go_on(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    words = ("enhance", "field.png", *X2, *HALF, "--out", "new")
    with monkeypatch.context() as patch:
        patch.setattr(making, "of_slide", stop)
        code, out, err = scope(capsys, *words)
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    assert err.splitlines()[-1] == (
        "Stopped. What is done is safe in new; go on: the same with --resume"
    )
    assert "holds a run; go on with --resume, or name a new folder" in refused(capsys, *words)
    other = [{"compact-x2": "compact-x4"}.get(word, word) for word in words]
    assert "begun with --model compact-x2; do the same again" in refused(
        capsys, *other, "--any-pixel-size", "--resume"
    )
    code, out, err = scope(capsys, *words, "--resume")
    assert (code, out.splitlines()[0]) == (0, "1 enhanced"), err
    code, out, err = scope(capsys, *words, "--resume")
    assert (code, out.splitlines()[0]) == (0, "1 enhanced"), err
    assert "computing with" not in err  # all is done: no model was opened


def test_stopped_before_there_is_anything_it_can_be_begun_again(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the folder is there, and nothing in it says whose it is."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    words = ("enhance", "field.png", *X2, *HALF, "--out", "new")
    with monkeypatch.context() as patch:
        patch.setattr("scope_sr.disk.store", stop)
        code, _, err = scope(capsys, *words)
    assert code == 130
    assert err.splitlines()[-1] == "Stopped before anything was made; begin again"
    assert (here / "new").exists()
    (here / "new/summary.json.part").write_text("{")  # where power was cut
    assert scope(capsys, *words)[0] == 0
    assert not (here / "new/summary.json.part").exists()


def test_one_that_fails_is_named_and_the_exit_code_says_so(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "in").mkdir()
    for number, name in enumerate("ab"):
        tiff(here / "in" / f"{name}.tif", number)
    damaged(here / "in/a.tif")
    (here / "in/torn.png").write_bytes((here / "field.png").read_bytes()[:5000])
    code, out, err = scope(capsys, "enhance", "in", *X2, *HALF, "--out", "new")
    assert code == 1
    assert "Traceback" not in err
    assert f"a: FAILED: {Path('in/a.tif')}: " in err
    lines = out.splitlines()
    assert lines[0].startswith(f"FAILED a: {Path('in/a.tif')}: ")
    assert lines[1].startswith(f"FAILED torn: {Path('in/torn.png')}: ")
    assert lines[2:] == ["1 enhanced, 2 failed", f"Look at {Path('new/summary.html')}"]
    tiff(here / "in/a.tif", 0)
    png(here / "in/torn.png", 2)
    code, out, _ = scope(capsys, "enhance", "in", *X2, *HALF, "--out", "new", "--resume")
    assert (code, out.splitlines()[0]) == (0, "3 enhanced")
    states = {
        entry["state"] for entry in json.loads(Path("new/summary.json").read_bytes())["inputs"]
    }
    assert states == {"done"}
