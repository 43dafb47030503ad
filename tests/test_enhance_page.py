"""The overlay and the page of a run: what they say, and that they say it of anything."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2
import numpy as np
import pytest
from PIL import Image

from scope_sr.enhance import overlay, page, pyramid
from scope_sr.enhance.counting import Counted, counted
from scope_sr.enhance.overlay import FOUND_RGB
from scope_sr.enhance.page import NOTICE
from scope_sr.enhance.page import page as written
from scope_sr.enhance.statistics import statistics
from scope_sr.imaging.nuclei import planes, targets
from scope_sr.specimen.tissue_array import patients, read_pieces

UM = 0.25
EVIL = '<script>alert("&")</script>'
VOID = {"meta", "img", "link", "br"}


class Reader(HTMLParser):
    """Reads a page and sees to it that what is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, key: str) -> list[str]:
        return [attrs[key] or "" for name, attrs in self.tags if name == tag and key in attrs]


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, Counted]:
    """Give real tissue and its nuclei."""
    piece = read_pieces(patients()[0].patient)[0]
    seen = planes(*targets(piece.labels.astype(int)))
    return piece.image, counted(seen, piece.image, UM, tmp_path_factory.mktemp("work"), {})


@pytest.fixture(scope="module")
def run(tissue: tuple[np.ndarray, Counted], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the files of one input that the page looks at."""
    folder = tmp_path_factory.mktemp("run")
    image, nuclei = tissue
    overlay.write(folder / "a.overlay.png", nuclei, image)
    pyramid.write(folder / "a b&c.sr.ome.tif", image, UM, name="a", note="", work=folder)
    return folder


def entry(tissue: tuple[np.ndarray, Counted] | None, **changes: Any) -> dict[str, Any]:
    """Give what the summary says of an input that is done."""
    files = {"sr": "a b&c.sr.ome.tif"}
    if tissue:
        files |= {"csv": "a.nuclei.csv", "overlay": "a.overlay.png"}
    return {
        "name": "a", "path": "/slides/a.tif", "state": "done", "warnings": [],
        "shape_in": [256, 256], "shape_out": [512, 512], "um_per_px_in": 0.5, "um_per_px_out": UM,
        "files": files, "seams": None, "fidelity": None, "seconds": 3.2,
        "nuclei": statistics(tissue[1], tissue[0]) if tissue else None, **changes,
    }  # fmt: skip


def failed(name: str, error: str) -> dict[str, Any]:
    return {
        "name": name, "path": name, "state": "failed", "error": error, "warnings": [], "files": {}
    }  # fmt: skip


def report(*inputs: dict[str, Any], nuclei: bool = True) -> dict[str, Any]:
    """Give a summary as it is read back from its file."""
    about = {"name": "compact-x2", "sha256": "ab" * 32, "card": {"scale": 2, "dataset": None}}
    found = {
        "schema": "scope-sr/enhanced/1", "model": about, "runtime": {"model": "openvino"},
        "nuclei_model": {"name": "nuclei", "sha256": "cd" * 32, "card": {}} if nuclei else None,
        "inputs": list(inputs), "software": "scope-sr 9.9",
    }  # fmt: skip
    return json.loads(json.dumps(found))


# The page --------------------------------------------------------------------------------------


def test_the_page_says_what_was_done_and_with_what(
    run: Path, tissue: tuple[np.ndarray, Counted]
) -> None:
    one = entry(tissue)
    shown = read(written(report(one), run))
    assert "✓ 1 of 1 input enhanced" in shown.text
    assert NOTICE in shown.text
    assert f"{one['nuclei']['count']:,} in 1 picture" in shown.text
    assert f"{one['nuclei']['per_mm2']:,.0f}" in shown.text
    assert "512 × 512 px of 0.25 µm, 0.13 × 0.13 mm" in shown.text
    for word in ("compact-x2, SHA-256 " + "ab" * 32, "nuclei, SHA-256 " + "cd" * 32, "openvino"):
        assert word in shown.text


def test_the_page_needs_no_network_and_links_what_lies_beside_it(
    run: Path, tissue: tuple[np.ndarray, Counted]
) -> None:
    text = written(report(entry(tissue)), run)
    shown = read(text)
    assert all(source.startswith("data:image/") for source in shown.all("img", "src"))
    links = [unquote(link) for link in shown.all("a", "href")]
    assert set(links) == set(entry(tissue)["files"].values())
    assert not re.search(r"(src|href)=\"?(https?:|//|/)", text)
    assert "@import" not in text
    assert "<script" not in text


def test_pictures_on_the_page_can_be_opened(run: Path, tissue: tuple[np.ndarray, Counted]) -> None:
    shown = read(written(report(entry(tissue)), run))
    sizes = []
    for source in shown.all("img", "src"):
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as image:
            sizes.append(image.size)
    assert sizes == [(900, 520), (480, 480)]  # the histograms and the overlay


def test_without_nuclei_the_enhanced_picture_is_shown(run: Path) -> None:
    shown = read(written(report(entry(None), nuclei=False), run))
    (source,) = shown.all("img", "src")
    assert source.startswith("data:image/jpeg;base64,")
    assert "mm²" not in shown.text


def test_files_that_are_gone_leave_no_picture(
    tmp_path: Path, tissue: tuple[np.ndarray, Counted]
) -> None:
    (tmp_path / "a.overlay.png").write_bytes(b"torn")
    shown = read(written(report(entry(tissue), entry(None)), tmp_path))
    assert len(shown.all("img", "src")) == 1  # the histograms


def test_what_failed_stands_there_with_its_reason(run: Path) -> None:
    wrong = failed("b.tif", "b.tif: is cut short, 12 bytes are missing; copy it again")
    waiting = {**failed("c.tif", ""), "state": "waiting"}
    shown = read(written(report(entry(None), wrong, waiting, nuclei=False), run))
    assert "✗ 1 of 3 inputs enhanced; 1 failed; 1 not done yet: go on with --resume" in shown.text
    assert wrong["error"] in shown.text


def test_a_run_in_which_nothing_was_done_has_a_page(tmp_path: Path) -> None:
    shown = read(written(report(failed("b.tif", "b.tif: no")), tmp_path))
    assert "✗ 0 of 1 input enhanced; 1 failed" in shown.text


def test_warnings_and_seams_and_disagreement_are_told(run: Path) -> None:
    seams = {"pairs": 12, "linked": 11, "seam_px": 0.312, "by_stage": ["low/r00c00"]}
    one = entry(None, warnings=["looks unlike H&E"], seams=seams, fidelity={"mean_levels": 1.234})
    shown = read(written(report(one, nuclei=False), run))
    assert "! 1 of 1 input enhanced; 1 with a warning" in shown.text
    assert "looks unlike H&E" in shown.text
    assert "0.31 px off" in shown.text
    assert "11 of 12 seams" in shown.text
    assert "1 field placed by the stage alone" in shown.text
    assert "mean levels 1.23" in shown.text


def test_nothing_from_outside_becomes_markup(run: Path) -> None:
    evil = entry(None, name=EVIL, warnings=[EVIL], files={"sr": EVIL, EVIL: "x"})
    told = report(evil, failed(EVIL, EVIL), nuclei=False)
    told["model"]["name"] = told["software"] = told["model"]["sha256"] = EVIL
    told["model"]["card"] = {"name": EVIL, "dataset": {"name": EVIL}}
    text = written(told, run)
    assert "<script" not in text
    assert read(text).text.count(EVIL) >= 9


def test_a_picture_whose_nuclei_are_all_cut_has_a_row(
    run: Path, tissue: tuple[np.ndarray, Counted], tmp_path: Path
) -> None:
    image = tissue[0][:20, :20]
    full = np.zeros((20, 20, 3), np.uint8)
    full[..., 0] = 255
    known = statistics(counted(full, image, UM, tmp_path, {}), image)
    assert (known["count"], known["on_edge"]) == (1, 1)
    shown = read(written(report(entry(tissue, nuclei=known)), run))
    assert "1 in 1 picture" in shown.text


def test_of_many_inputs_the_first_have_pictures_and_all_have_links(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "MOST_SHOWN", 2)
    many = [entry(None, name=f"slide {n}", files={"sr": f"{n}.tif"}) for n in range(5)]
    shown = read(written(report(*many, nuclei=False), run))
    assert [f"slide {n}" in shown.text for n in range(5)] == [True] * 5
    assert set(shown.all("a", "href")) == {f"{n}.tif" for n in range(5)}
    assert "3 others" in shown.text


# The overlay -----------------------------------------------------------------------------------


def yellow(image: np.ndarray) -> np.ndarray:
    return np.abs(image.astype(int) - FOUND_RGB).max(axis=2) < 60


def disks(side: int, work: Path, um_per_px: float = UM) -> tuple[np.ndarray, Counted, np.ndarray]:
    """Give a grey picture with disks of 8 µm, apart from each other; their labels."""
    labels = np.zeros((side, side), np.int32)
    radius = round(4 / um_per_px)
    for number, row in enumerate(range(3 * radius, side - 2 * radius, 4 * radius)):
        cv2.circle(labels, (side // 2, row), radius, number + 1, -1)
    picture = np.full((side, side, 3), 150, np.uint8)
    seen = planes(*targets(labels))
    return picture, counted(seen, picture, um_per_px, work, {}), labels


def test_nuclei_are_outlined_where_they_are(tmp_path: Path) -> None:
    picture, found, labels = disks(400, tmp_path / "work")
    drawn = overlay.with_nuclei(picture, found, 1)
    lines = yellow(drawn)
    inner = cv2.erode((labels > 0).astype(np.uint8), np.ones((7, 7))) > 0
    outer = cv2.dilate((labels > 0).astype(np.uint8), np.ones((7, 7))) > 0
    assert lines.sum() > 0.5 * found.journal.nuclei * np.pi * 32
    assert not lines[inner].any()
    assert not (drawn != 150)[~outer].any()


def test_small_nuclei_are_filled(tmp_path: Path) -> None:
    picture, found, labels = disks(400, tmp_path / "work")
    small = picture[::8, ::8]
    drawn = overlay.with_nuclei(small, found, 8)
    middle = labels[4::8, 4::8] > 0
    inside = cv2.erode(middle.astype(np.uint8), np.ones((2, 2))) > 0
    assert ((drawn[..., 0] > 180) & (drawn[..., 2] < 110))[inside].all()


def test_the_bar_is_as_long_as_it_says() -> None:
    for side, um_per_px in ((600, 0.25), (1500, 0.5), (2000, 3.1)):
        drawn = overlay.with_bar(np.full((side, side, 3), 128, np.uint8), um_per_px)
        runs = [np.flatnonzero(row == 0) for row in drawn[side // 2 :, :, 0] if (row == 0).any()]
        longest = max(len(row) for row in runs if len(row) == np.ptp(row) + 1)
        length_um = longest * um_per_px
        assert length_um == pytest.approx(float(f"{length_um:.1g}"), rel=0.01)
        assert 70 < longest < side / 2


def test_too_small_a_picture_has_no_bar() -> None:
    tiny = np.full((30, 40, 3), 128, np.uint8)
    assert (overlay.with_bar(tiny, UM) == tiny).all()


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (700, 30)])
def test_overlays_of_any_size_are_written(
    shape: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlay, "LONGEST_PX", 100)
    picture = np.full((*shape, 3), 150, np.uint8)
    found = counted(np.zeros_like(picture), picture, UM, tmp_path / "work", {})
    overlay.write(tmp_path / "o.png", found, picture)
    with Image.open(tmp_path / "o.png") as image:
        assert max(image.size) <= 100
        assert image.mode == "RGB"


def test_an_overlay_cut_off_leaves_nothing(
    tmp_path: Path, tissue: tuple[np.ndarray, Counted], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scope_sr.disk.sync_file", cut_off)
    with pytest.raises(OSError, match="No space"):
        overlay.write(tmp_path / "o.png", tissue[1], tissue[0])
    assert [*tmp_path.iterdir()] == []
