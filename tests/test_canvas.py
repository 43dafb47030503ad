"""Pictures made on the disk: what is done survives, and none of it lies in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scope_sr import disk
from scope_sr.enhance.canvas import PIXELS, STATE, Canvas, Raw
from scope_sr.errors import ScopeSRError

PURPOSE = {"model": "abc", "window_px": 64}


def bands(rows: int = 10) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, 7, 3), np.uint8)


def test_what_is_put_down_is_read_back_in_any_cut(tmp_path: Path) -> None:
    canvas, picture = Canvas(tmp_path / "c", (10, 7, 3), np.uint8, PURPOSE), bands()
    canvas.put(0, picture[:4])
    canvas.put(4, picture[4:])
    assert canvas.rows == 10
    np.testing.assert_array_equal(canvas[2:9, 1:5], picture[2:9, 1:5])


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    picture = bands()
    Canvas(tmp_path / "c", (10, 7, 3), np.uint8, PURPOSE).put(0, picture[:6])
    again = Canvas(tmp_path / "c", (10, 7, 3), np.uint8, PURPOSE)
    assert again.rows == 6
    again.put(6, picture[6:])
    np.testing.assert_array_equal(again[:, :], picture)


def test_a_band_counts_only_when_its_line_stands(tmp_path: Path, monkeypatch) -> None:
    canvas = Canvas(tmp_path / "c", (10, 7, 3), np.uint8, PURPOSE)
    canvas.put(0, bands()[:3])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "store", full)
    with pytest.raises(OSError, match="No space"):
        canvas.put(3, bands()[3:])
    assert Canvas(tmp_path / "c", (10, 7, 3), np.uint8, PURPOSE).rows == 3


@pytest.mark.parametrize(
    "other",
    [{**PURPOSE, "model": "other"}, {**PURPOSE, "window_px": 32}, {}],
)
def test_of_another_purpose_it_is_begun_anew(tmp_path: Path, other: dict) -> None:
    Canvas(tmp_path / "c", (10, 7, 3), np.uint8, PURPOSE).put(0, bands()[:6])
    assert Canvas(tmp_path / "c", (10, 7, 3), np.uint8, other).rows == 0


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"7", b'{"rows": "x"}', b"\xff"])
def test_a_damaged_state_is_begun_anew(tmp_path: Path, damage: bytes) -> None:
    Canvas(tmp_path / "c", (10, 7, 3), np.uint8, PURPOSE).put(0, bands()[:6])
    (tmp_path / "c" / STATE).write_bytes(damage)
    assert Canvas(tmp_path / "c", (10, 7, 3), np.uint8, PURPOSE).rows == 0


def test_pixels_cut_short_are_begun_anew(tmp_path: Path) -> None:
    Canvas(tmp_path / "c", (10, 7, 3), np.uint8, PURPOSE).put(0, bands()[:6])
    pixels = tmp_path / "c" / PIXELS
    pixels.write_bytes(pixels.read_bytes()[:50])
    assert Canvas(tmp_path / "c", (10, 7, 3), np.uint8, PURPOSE).rows == 0


def test_rows_are_put_down_in_order(tmp_path: Path) -> None:
    canvas = Canvas(tmp_path / "c", (10, 7, 3), np.uint8, PURPOSE)
    with pytest.raises(ValueError, match="row 4 is put down where 0 comes next"):
        canvas.put(4, bands()[4:])
    assert canvas.rows == 0


def test_too_little_room_is_said_before_the_work(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 10**6)
    with pytest.raises(ScopeSRError, match=r"3\.0 GB are needed .* 1\.0 MB are free"):
        Raw(tmp_path / "x.raw", (1000, 1000, 3000), np.uint8, new=True)
    assert not (tmp_path / "x.raw").exists()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's account")
def test_what_was_read_and_written_does_not_stay_in_memory(tmp_path: Path) -> None:
    def of_files_kb() -> int:
        text = Path("/proc/self/status").read_text()
        return int(text.split("RssFile:")[1].split()[0])

    raw = Raw(tmp_path / "x.raw", (200, 1000, 1000), np.uint8, new=True)
    before = of_files_kb()
    for top in range(0, 200, 20):
        raw[top : top + 20, :] = np.full((20, 1000, 1000), 1, np.uint8)
        assert raw[top : top + 20, 0:1000].min() == 1
    assert of_files_kb() - before < 60_000  # of 200 MB
