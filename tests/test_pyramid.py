"""Pyramids as QuPath, napari and Fiji read them: sizes, units, numbers; whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import ome_types
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from scope_sr import disk
from scope_sr.enhance import pyramid
from scope_sr.enhance.canvas import Raw
from scope_sr.errors import ScopeSRError
from scope_sr.pictures.boxes import Box
from scope_sr.pictures.tiff import TiffPixels

UM = 0.25
NOTE = 'Enhanced by <compact-x2> & "others", µ'


def noise(shape: tuple[int, ...], dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 200, shape).astype(dtype)


def write(path: Path, picture: np.ndarray, **how) -> tifffile.TiffFile:
    work = path.parent / "work"
    work.mkdir(exist_ok=True)
    pyramid.write(path, picture, UM, name="a <b> & c", note=NOTE, work=work, **how)
    return tifffile.TiffFile(path)


@pytest.mark.parametrize(
    ("shape", "dtype", "kind", "levels"),
    [
        ((1, 1, 3), np.uint8, "uint8", [(1, 1, 3)]),
        ((5, 7, 3), np.uint8, "uint8", [(5, 7, 3)]),
        ((1025, 33, 3), np.uint8, "uint8", [(1025, 33, 3), (513, 17, 3)]),
        ((30, 2050, 3), np.uint8, "uint8", [(30, 2050, 3), (15, 1025, 3), (8, 513, 3)]),
        ((1027, 40), np.uint32, "uint32", [(1027, 40), (514, 20)]),
        ((40, 1027), np.float32, "float", [(40, 1027), (20, 514)]),
    ],
)
def test_it_opens_with_all_its_levels_and_its_size(
    tmp_path: Path, shape: tuple[int, ...], dtype: type, kind: str, levels: list[tuple[int, ...]]
) -> None:
    picture = noise(shape, dtype)
    with write(tmp_path / "a.ome.tif", picture) as tiff:
        (series,) = tiff.series
        assert tiff.is_ome
        assert tiff.is_bigtiff
        assert [level.shape for level in series.levels] == levels
        np.testing.assert_array_equal(series.asarray(), picture)
        xml = tiff.ome_metadata
        page = tiff.pages.first
        assert page.resolutionunit == 3
        assert page.resolution == (40000.0, 40000.0)  # per cm
        assert page.is_tiled
        assert page.software.startswith("scope-sr")
    image = ome_types.from_xml(xml).images[0]
    assert (image.name, image.description) == ("a <b> & c", NOTE)
    pixels = image.pixels
    assert (pixels.size_y, pixels.size_x) == shape[:2]
    assert (pixels.physical_size_x, pixels.physical_size_y) == (UM, UM)
    assert pixels.physical_size_x_unit.value == pixels.physical_size_y_unit.value == "µm"
    assert pixels.type.value == kind
    assert sum(channel.samples_per_pixel for channel in pixels.channels) == len(shape[2:]) * 2 + 1


def test_the_ome_xml_obeys_the_schema(tmp_path: Path) -> None:
    pytest.importorskip("xmlschema")
    for number, picture in enumerate((noise((1030, 9, 3)), noise((9, 9), np.uint32))):
        with write(tmp_path / f"{number}.ome.tif", picture) as tiff:
            ome_types.validate_xml(tiff.ome_metadata)


def test_our_own_reader_reads_it_and_its_pixel_size(tmp_path: Path) -> None:
    picture = noise((1100, 70, 3))
    write(tmp_path / "a.ome.tif", picture).close()
    tiff = TiffPixels(tmp_path / "a.ome.tif")
    assert (tiff.height, tiff.width, tiff.samples) == (1100, 70, 3)
    assert tiff.stated_um == (UM, UM)
    assert (tiff.read(Box(3, 900, 20, 150)) == picture[900:1050, 3:23]).all()


def test_the_same_picture_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / f"{name}.ome.tif", noise((1100, 300, 3))).close()
    write(tmp_path / "c.ome.tif", noise((1100, 301, 3))).close()
    first, second, third = ((tmp_path / f"{name}.ome.tif").read_bytes() for name in "abc")
    assert first == second != third
    uuids = [ome_types.from_tiff(tmp_path / f"{name}.ome.tif").uuid for name in "ac"]
    assert uuids[0] != uuids[1]


def test_the_date_is_not_in_it(tmp_path: Path) -> None:
    with write(tmp_path / "a.ome.tif", noise((9, 9, 3))) as tiff:
        assert "DateTime" not in tiff.pages.first.tags
        assert "AcquisitionDate" not in tiff.ome_metadata


@pytest.mark.parametrize(
    ("nuclei", "dtype"), [(65535, np.uint16), (65536, np.float32), (2**24, np.float32)]
)
def test_the_largest_label_is_kept_exactly(tmp_path: Path, nuclei: int, dtype: type) -> None:
    labels = np.zeros((1030, 1030), np.uint32)
    labels[::2, ::2] = nuclei
    labels[1::2, :] = nuclei - 1  # a mean of labels would be that of no nucleus
    assert pyramid.dtype_of_labels(nuclei) == dtype
    with write(tmp_path / "a.ome.tif", labels, dtype=dtype) as tiff:
        finest, coarse = (level.asarray() for level in tiff.series[0].levels)
    assert finest.dtype == coarse.dtype == dtype
    np.testing.assert_array_equal(finest, labels)
    assert (coarse == nuclei).all()


def test_coarser_colours_are_means() -> None:
    picture = np.zeros((2, 4, 3), np.uint8)
    picture[0, 2:] = 100
    assert pyramid.halved(picture)[0, :, 0].tolist() == [0, 50]
    assert pyramid.halved(picture[..., 0].astype(np.float32)).tolist() == [[0.0, 50.0]]


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(2, 30))
def test_levels_made_band_by_band_are_those_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, rows: int, columns: int, band: int
) -> None:
    picture = noise((rows, columns, 3))
    work = tmp_path_factory.mktemp("levels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyramid, "SMALLEST_PX", 10)
        patch.setattr(pyramid, "BAND_ROWS", 2 * band)
        levels = pyramid.coarser(picture, work)
    above = picture
    for level in levels:
        above = pyramid.halved(above)
        np.testing.assert_array_equal(level[:, :], above)
    assert max(above.shape[:2]) <= 10


def test_a_picture_on_the_disk_is_written_like_one_in_memory(tmp_path: Path) -> None:
    picture = noise((1300, 520, 3))
    raw = Raw(tmp_path / "a.raw", picture.shape, np.uint8, new=True)
    raw[:, :] = picture
    write(tmp_path / "a.ome.tif", picture).close()
    write(tmp_path / "b.ome.tif", raw).close()
    assert (tmp_path / "a.ome.tif").read_bytes() == (tmp_path / "b.ome.tif").read_bytes()


class Breaking:
    """A picture whose lower part cannot be read."""

    shape, dtype = (1000, 600, 3), np.dtype(np.uint8)

    def __getitem__(self, where: tuple[slice, slice]) -> np.ndarray:
        if where[0].start > 0:
            raise KeyboardInterrupt
        return noise((512, 600, 3))[:, where[1]]


def test_a_write_cut_off_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    path.write_bytes(b"of an earlier run")
    with pytest.raises(KeyboardInterrupt):
        write(path, Breaking())  # type: ignore[arg-type]
    assert path.read_bytes() == b"of an earlier run"
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a.ome.tif", "work"]


def test_no_room_for_the_levels_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "free_bytes", lambda _: 1000)
    with pytest.raises(ScopeSRError, match=r"are needed .* 1.0 kB are free"):
        write(tmp_path / "a.ome.tif", noise((1100, 40, 3)))
    assert not (tmp_path / "a.ome.tif").exists()
