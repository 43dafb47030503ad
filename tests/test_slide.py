"""The virtual slide: its laws for all three kinds, what is shipped, and images nobody can use."""

import json
from importlib.resources import files

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from scope_sr.config import Specimen, load_rig
from scope_sr.errors import InputError
from scope_sr.specimen import procedural, tissue_array
from scope_sr.specimen.image_slide import ImageSlide
from scope_sr.specimen.procedural import ProceduralTissue
from scope_sr.specimen.quilt import SMALLEST_NUCLEUS_PX, Piece, Quilt
from scope_sr.specimen.slide import open_slide
from scope_sr.specimen.tissue_array import TissueArray
from scope_sr.specimen.tissue_core import ROWS, arrange

DATA = files("scope_sr.specimen") / "data"
RNG = np.random.default_rng(7)
PICTURE = RNG.integers(0, 256, (90, 131, 3), np.uint8)
NUMBERS = RNG.integers(0, 400, (90, 131)).astype(np.uint16)


@pytest.fixture(scope="module")
def array():
    return TissueArray(seed=0)


@pytest.fixture(scope="module")
def slides(array, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slide")
    tifffile.imwrite(folder / "a.tif", PICTURE, tile=(32, 48), compression="zlib")
    tifffile.imwrite(folder / "n.tif", NUMBERS, rowsperstrip=7, compression="lzw")
    image = ImageSlide(folder / "a.tif", 0.25, folder / "n.tif")
    return {"array": array, "procedural": ProceduralTissue(seed=0), "image": image}


def hematoxylin(image):
    """Ruifrok & Johnston's haematoxylin, as far as two stains explain the colour."""
    density = -np.log10(np.maximum(image, 1) / 255.0)
    stains = np.array([procedural.HEMATOXYLIN, procedural.EOSIN])
    return (density.reshape(-1, 3) @ np.linalg.pinv(stains))[:, 0].reshape(image.shape[:2])


# ---- laws ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["array", "procedural", "image"])
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_crop_of_a_region_is_the_region_of_the_crop(slides, kind, data):
    slide = slides[kind]
    column, row = data.draw(st.integers(-300, 100)), data.draw(st.integers(-300, 100))
    left, top = data.draw(st.integers(0, 150)), data.draw(st.integers(0, 150))
    width, height = data.draw(st.integers(1, 150)), data.draw(st.integers(1, 150))
    inner = np.s_[top : top + height, left : left + width]
    for look in (slide.region, slide.labels):
        small = look(column + left, row + top, width, height)
        assert np.array_equal(look(column, row, 300, 300)[inner], small)
    assert slide.region(column, row, width, height).dtype == np.uint8
    assert slide.labels(column, row, width, height).dtype == np.int32


@pytest.mark.parametrize("make", [TissueArray, ProceduralTissue])
def test_a_seed_decides_everything(make):
    box = (-200, -150, 400, 300)
    one, same, other = make(3), make(3), make(4)
    other.region(90, 90, 10, 10)
    same.region(90, 90, 10, 10)
    assert np.array_equal(one.region(*box), same.region(*box))
    assert np.array_equal(one.labels(*box), same.labels(*box))
    assert not np.array_equal(one.region(*box), other.region(*box))


@pytest.mark.parametrize("kind", ["array", "image"])
def test_outside_is_clear_glass(slides, kind):
    far = (50_000, -90_000, 40, 30)
    assert (slides[kind].region(*far) == 255).all()
    assert (slides[kind].labels(*far) == 0).all()


def test_procedural_tissue_ends_in_glass_where_numbers_run_out():
    edge = procedural.HALF_BLOCKS * procedural.BLOCK_PX
    slide = ProceduralTissue(0)
    assert (slide.region(edge, 0, 20, 20) == 255).all()
    assert slide.labels(edge - 200, edge - 200, 200, 200).max() < 2**31 - 1
    assert slide.labels(-edge, -edge, 300, 300).min() == 0
    assert slide.size_px is None


@pytest.mark.parametrize("kind", ["array", "procedural"])
def test_labels_lie_on_nuclei(slides, kind):
    """A nucleus holds more haematoxylin than the ring of 2 to 6 px round it."""
    box = (-500, -500, 1000, 1000)
    stain, labels = hematoxylin(slides[kind].region(*box)), slides[kind].labels(*box)
    free = labels == 0
    ring = ndimage.binary_dilation(~free, iterations=6) & ndimage.binary_erosion(free, iterations=2)
    numbers = np.unique(labels)[1:]
    assert len(numbers) > 50
    assert stain[~free].mean() > 1.5 * stain[ring].mean()
    inside = ndimage.mean(stain, labels, numbers)
    assert np.mean(inside > stain[ring].mean()) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["array", "procedural"])
def test_a_number_means_one_nucleus(slides, kind):
    """No number is found in two places further apart than a nucleus is long."""
    labels = slides[kind].labels(-900, -900, 1800, 1800)
    spans = [s for s in ndimage.find_objects(_compact(labels)) if s is not None]
    assert max(max(s.stop - s.start for s in span) for span in spans) < 150


def _compact(labels):
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


# ---- the tissue array ----------------------------------------------------------------------------
def test_numbers_of_different_cores_differ(array):
    here, there = array.labels(-800, -800, 1600, 1600), array.labels(2000, -800, 1600, 1600)
    assert set(np.unique(here)) & set(np.unique(there)) == {0}


def test_patients_are_where_the_shipped_list_says(array):
    shipped = json.loads((DATA / "patients.json").read_text(encoding="utf-8"))
    assert shipped["um_per_px"] == array.um_per_px
    assert shipped["cores"] == [core.__dict__ for core in array.patients]


def test_neighbours_are_different_patients():
    grid = np.array([core.patient for core in tissue_array.patients()]).reshape(5, 7)
    assert set(grid.ravel()) == {f"{k:02d}" for k in range(1, 8)}
    assert (grid[:, 1:] != grid[:, :-1]).all()
    assert (grid[1:] != grid[:-1]).all()
    assert (grid[1:, 1:] != grid[:-1, :-1]).all()
    assert (grid[1:, :-1] != grid[:-1, 1:]).all()
    assert len(set(grid[1:4, 2:5].ravel())) >= 5, "3 x 3 large fields show several patients"


def test_tissue_lies_within_the_stated_radius(array):
    core = array.patients[18]
    centre = round(core.x_um / 0.25), round(-core.y_um / 0.25)
    image = array.region(centre[0] - 1400, centre[1] - 1400, 2800, 2800)
    y, x = np.nonzero((image < 255).any(axis=2))
    assert np.hypot(x - 1400, y - 1400).max() <= core.radius_um / 0.25
    glass = (image == 255).all(axis=2).mean()
    assert 0.4 < glass < 0.6


def test_the_slide_fits_on_the_stage(array):
    stage = load_rig("simulated").stage
    half_x, half_y = (n * array.um_per_px / 2 for n in array.size_px)
    assert stage.x_limits_um[0] < -half_x < half_x < stage.x_limits_um[1]
    assert stage.y_limits_um[0] < -half_y < half_y < stage.y_limits_um[1]


def test_few_cores_are_kept(monkeypatch):
    tiny = Piece(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint16))
    monkeypatch.setattr(tissue_array, "read_pieces", lambda patient: [tiny])
    monkeypatch.setattr(
        tissue_array,
        "assemble",
        lambda pieces, rng: Piece(
            np.zeros((tissue_array.CANVAS_PX,) * 2 + (3,), np.uint8),
            np.zeros((tissue_array.CANVAS_PX,) * 2, np.uint16),
        ),
    )
    slide = TissueArray(0)
    for column in range(-3, 4):
        for row in range(-2, 3):
            slide.region(column * 2800, row * 2800, 4, 4)
    assert slide._core.cache_info().currsize == tissue_array.CORES_KEPT <= 12


@pytest.mark.parametrize("patient", ["02", "04"])
def test_no_piece_lies_twice_the_same_way_up(patient):
    images = [piece.image for piece in tissue_array.read_pieces(patient)]
    chosen = arrange(images, np.random.default_rng(1))
    assert len({(image, way) for image, way, _, _ in chosen}) == len(chosen) == sum(ROWS)


def test_seams_go_round_nuclei_and_leave_no_slivers(array):
    sizes = np.bincount(array._core(17).labels.ravel())
    assert sizes[1:].min() >= SMALLEST_NUCLEUS_PX
    first = Piece(np.full((40, 40, 3), 90, np.uint8), np.zeros((40, 40), np.uint16))
    second = Piece(np.full((40, 40, 3), 180, np.uint8), np.zeros((40, 40), np.uint16))
    second.labels[10:20, 2:12] = 1
    quilt = Quilt(40, 64, overlap_px=16)
    quilt.lay(first, 0, 0)
    quilt.lay(second, 24, 0)
    assert (quilt.labels > 0).sum() == 100
    assert quilt.labels[10, 26] == 1


def test_shipped_files_are_small_and_attributed():
    total = sum(len(entry.read_bytes()) for entry in DATA.iterdir() if entry.is_file())
    assert total < 8e6
    text = (DATA / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for word in ("Naylor", "1175282", "CC BY 4.0", "What was changed"):
        assert word in text


# ---- images of the user --------------------------------------------------------------------------
def write_jpeg_tiff(path):
    tifffile.imwrite(path, PICTURE, tile=(64, 64), compression="jpeg", photometric="rgb")


WAYS = {
    "strips": lambda p: tifffile.imwrite(p, PICTURE, rowsperstrip=8, compression="deflate"),
    "tiles": lambda p: tifffile.imwrite(p, PICTURE, tile=(32, 16), compression="lzw", predictor=2),
    "contiguous": lambda p: tifffile.imwrite(p, PICTURE),
    "big-endian": lambda p: tifffile.imwrite(p, PICTURE.astype(">u2") * 257, byteorder=">"),
    "bigtiff": lambda p: tifffile.imwrite(p, PICTURE, bigtiff=True, tile=(32, 32)),
    "16-bit": lambda p: tifffile.imwrite(p, PICTURE.astype("u2") * 257, compression="zlib"),
    "planar": lambda p: tifffile.imwrite(
        p,
        np.moveaxis(PICTURE, 2, 0),
        photometric="rgb",
        planarconfig="separate",
        compression="zlib",
        rowsperstrip=16,
    ),
    "planar contiguous": lambda p: tifffile.imwrite(
        p, np.moveaxis(PICTURE, 2, 0), photometric="rgb", planarconfig="separate"
    ),
    "ome": lambda p: tifffile.imwrite(
        p, PICTURE, ome=True, metadata={"axes": "YXS", "PhysicalSizeX": 250, "PhysicalSizeY": 0.251,
        "PhysicalSizeXUnit": "nm"},
    ),
    "png": lambda p: Image.fromarray(PICTURE).save(p, "PNG"),
    "bmp": lambda p: Image.fromarray(PICTURE).save(p, "BMP"),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_the_picture_comes_back_whatever_holds_it(tmp_path, way):
    WAYS[way](tmp_path / "slide.any")
    slide = ImageSlide(tmp_path / "slide.any", 0.25)
    assert slide.size_px == (131, 90)
    assert np.array_equal(slide.region(-65, -45, 131, 90), PICTURE)
    around = slide.region(-100, -60, 200, 120)
    assert np.array_equal(around[15:105, 35:166], PICTURE)
    assert (around[:15] == 255).all()


def test_pixel_zero_is_the_middle_of_the_image(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    pixel = ImageSlide(tmp_path / "a.png", 1.0).region(0, 0, 1, 1)[0, 0]
    assert (pixel == PICTURE[90 // 2, 131 // 2]).all()


def test_jpeg_tiles_and_pyramids(tmp_path):
    path = tmp_path / "slide.svs"
    write_jpeg_tiff(path)
    tifffile.imwrite(path, PICTURE[::2, ::2], append=True)
    slide = ImageSlide(path, 0.25)
    assert np.array_equal(slide.region(-65, -45, 131, 90), tifffile.imread(path, key=0))
    assert slide._image._block.cache_info().maxsize > 0


@pytest.mark.parametrize(
    ("mode", "grey"), [("L", True), ("P", False), ("RGBA", False), ("LA", True), ("I;16", True)]
)
def test_other_kinds_of_pixels_become_rgb(tmp_path, mode, grey):
    picture = Image.fromarray(PICTURE)
    level = np.asarray(picture.convert("L"))
    if mode == "I;16":
        image = Image.fromarray(level.astype(np.uint16) * 257)
    else:
        image = picture.convert(mode)
    image.save(tmp_path / "a.png")
    seen = ImageSlide(tmp_path / "a.png", 0.25).region(-65, -45, 131, 90)
    wanted = np.repeat(level[:, :, None], 3, axis=2) if grey else np.asarray(image.convert("RGB"))
    assert np.array_equal(seen, wanted)


def test_transparent_is_clear_and_palettes_and_inverted_greys_are_undone(tmp_path):
    clear = np.dstack([PICTURE, np.zeros(PICTURE.shape[:2], np.uint8)])
    for name in ("a.png", "a.tif"):
        if name == "a.png":
            Image.fromarray(clear).save(tmp_path / name)
        else:
            tifffile.imwrite(tmp_path / name, clear, photometric="rgb", extrasamples=["unassalpha"])
        assert (ImageSlide(tmp_path / name, 0.25).region(-65, -45, 131, 90) == 255).all()
    level = PICTURE[:, :, 0]
    tifffile.imwrite(tmp_path / "w.tif", 255 - level, photometric="miniswhite")
    assert np.array_equal(ImageSlide(tmp_path / "w.tif", 1.0).region(0, 0, 9, 9)[:, :, 1],
                          level[45:54, 65:74])  # fmt: skip
    colors = RNG.integers(0, 256, (3, 256)).astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "p.tif", level, photometric="palette", colormap=colors)
    seen = ImageSlide(tmp_path / "p.tif", 1.0).region(-65, -45, 131, 90)
    assert np.array_equal(seen, (colors.T >> 8).astype(np.uint8)[level])


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_labels_of_the_user(tmp_path, suffix):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    Image.fromarray(NUMBERS).save(tmp_path / f"n.{suffix}")
    specimen = Specimen(image="a.png", um_per_px=0.25, labels=f"n.{suffix}")
    slide = open_slide(specimen, seed=0, folder=tmp_path)
    assert np.array_equal(slide.labels(-65, -45, 131, 90), NUMBERS)
    without = open_slide(Specimen(image="a.png", um_per_px=0.25), seed=0, folder=tmp_path)
    assert (without.labels(0, 0, 5, 5) == 0).all()


def test_only_the_blocks_in_the_window_are_decoded(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, tile=(16, 16), compression="zlib")
    slide = ImageSlide(tmp_path / "a.tif", 0.25)
    slide.region(0, 0, 2, 2)
    assert slide._image._block.cache_info().currsize == 1


def text_file(path):
    path.write_text("no picture", encoding="utf-8")


def damaged_tile(path):
    tifffile.imwrite(path, PICTURE, tile=(96, 144), compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].dataoffsets[0]
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(b"\xff" * 200)


def cut(path, write):
    write(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


BAD = {
    "missing": (lambda p: None, "no such file; correct specimen.image"),
    "folder": (lambda p: p.mkdir(), "correct specimen.image"),
    "empty": (lambda p: p.write_bytes(b""), "is empty"),
    "text": (text_file, "not a readable image"),
    "only a header": (lambda p: p.write_bytes(b"II*\0"), "not a readable TIFF"),
    "cut TIFF": (lambda p: cut(p, WAYS["contiguous"]), "cut short"),
    "cut JPEG TIFF": (lambda p: cut(p, write_jpeg_tiff), "cut short"),
    "cut PNG": (lambda p: cut(p, WAYS["png"]), "not a readable image"),
    "damaged tile": (damaged_tile, "cannot be decoded"),
    "float": (lambda p: tifffile.imwrite(p, PICTURE[:, :, 0] / 255.0), "float64"),
    "32 bits": (lambda p: tifffile.imwrite(p, PICTURE[:, :, 0].astype("u4")), "uint32"),
    "five channels": (
        lambda p: tifffile.imwrite(p, np.zeros((9, 9, 5), "u1"), planarconfig="contig",
                                   photometric="minisblack"),
        "5 channels",
    ),
    "stack": (lambda p: tifffile.imwrite(p, np.zeros((5, 90, 80), "u1"),
                                         photometric="minisblack"), "stack of 5"),
    "cmyk": (lambda p: Image.fromarray(PICTURE).convert("CMYK").save(p, "JPEG"), "CMYK"),
    "bilevel": (lambda p: Image.fromarray(PICTURE).convert("1").save(p, "PNG"), "kind 1"),
    "other scale": (
        lambda p: tifffile.imwrite(p, PICTURE, description="Aperio|AppMag = 20|MPP = 0.4990"),
        "slide.tif says 0.499 µm per pixel, the rig says 0.25; correct um_per_px",
    ),
    "other OME scale": (
        lambda p: tifffile.imwrite(p, PICTURE, ome=True,
                                   metadata={"axes": "YXS", "PhysicalSizeX": 0.256,
                                             "PhysicalSizeY": 0.25}),
        "says 0.256 µm per pixel",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_an_image_nobody_can_use_is_refused_in_one_line(tmp_path, case):
    write, words = BAD[case]
    write(tmp_path / "slide.tif")
    with pytest.raises(InputError) as caught:
        ImageSlide(tmp_path / "slide.tif", 0.25).region(-65, -45, 131, 90)
    message = str(caught.value)
    assert "slide.tif" in message
    assert words in message
    assert "\n" not in message
    assert ";" in message, "the way out stands after a semicolon"


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (NUMBERS[:50], "131 x 50 pixels do not fit an image of 131 x 90"),
        (PICTURE, "3 x uint8"),
        (NUMBERS.astype(np.float32), "1 x float32"),
        (NUMBERS.astype(np.int32) - 500, "number the nuclei from 1"),
        (NUMBERS.astype(np.uint32) + np.uint32(2**31), "number the nuclei from 1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, labels, words):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "n.tif", labels)
    with pytest.raises(InputError, match=words) as caught:
        ImageSlide(tmp_path / "a.png", 0.25, tmp_path / "n.tif").labels(0, 0, 5, 5)
    assert "\n" not in str(caught.value)


def test_a_mask_is_not_taken_for_a_map(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    mask = np.where(NUMBERS > 0, 255, 0).astype(np.uint8)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match="a mask, not a map"):
        ImageSlide(tmp_path / "a.png", 0.25, tmp_path / "mask.png")


def test_missing_labels_name_their_key(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"specimen\.labels"):
        ImageSlide(tmp_path / "a.png", 0.25, tmp_path / "none.png")


def test_a_huge_png_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="tiled TIFF"):
        ImageSlide(tmp_path / "a.png", 0.25)


def test_one_huge_compressed_block_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("scope_sr.pictures.tiff.LARGEST_BLOCK_BYTES", 1000)
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, compression="zlib")
    with pytest.raises(InputError, match="save it tiled"):
        ImageSlide(tmp_path / "a.tif", 0.25)


def test_the_kind_of_slide_follows_the_rig_file(tmp_path):
    assert isinstance(open_slide(Specimen(), seed=0, folder=tmp_path), TissueArray)
    tissue = open_slide(Specimen(tissue="procedural"), seed=0, folder=tmp_path)
    assert isinstance(tissue, ProceduralTissue)


def test_a_path_starts_at_the_rig_file(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.tif: no such file") as caught:
        open_slide(Specimen(image="nowhere.tif", um_per_px=1.0), seed=0, folder=tmp_path)
    assert str(tmp_path) in str(caught.value)
