"""Inputs of `enhance`: what is found, how it is read, what is refused, what looks odd."""

import os
import random
import subprocess
import sys
from types import SimpleNamespace

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scope_sr.enhance.asked import Asked
from scope_sr.enhance.inputs import inputs, name_of, near, pixel_size, refuse_unfit_nuclei
from scope_sr.enhance.slide import GREY, opened
from scope_sr.errors import InputError
from scope_sr.imaging.staining import unlike_he
from scope_sr.modelfile import Card
from scope_sr.pictures import openslide as by_openslide
from scope_sr.pictures.whole import ON_WHITE, PALETTE, TURNED
from scope_sr.specimen.tissue_array import read_pieces

RNG = np.random.default_rng(3)
NOISE = RNG.integers(0, 256, (90, 131, 3), np.uint8)
# Smooth, as pictures are: JPEG keeps it nearly as it is
PICTURE = np.asarray(Image.fromarray(NOISE).resize((9, 6)).resize((131, 90)))
LEVEL = PICTURE[:, :, 1]
EVERYTHING = slice(None), slice(None)


def png(path, picture=PICTURE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


def tiff(path, picture=PICTURE, **options):
    tifffile.imwrite(path, picture, **options)
    return path


def session(folder):
    folder.mkdir(parents=True)
    (folder / "session.json").write_text("{}")
    return folder


def refusal(work, *arguments):
    with pytest.raises(InputError) as caught:
        work(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


# ---- what is found -------------------------------------------------------------------------------
def test_a_folder_stands_for_its_pictures_and_sessions(tmp_path):
    for name in ("f10.png", "f9.PNG", ".f1.png", "s.ome.tif", "deep/x.png"):
        png(tmp_path / name)
    for name in ("notes.txt", "f9.sr.ome.tif", "f9.labels.ome.tif", "f9.overlay.png"):
        (tmp_path / name).write_text("x")
    (tmp_path / "folder.png").mkdir()
    session(tmp_path / "monday")
    found = inputs([tmp_path])
    assert [(one.name, one.kind) for one in found] == [
        ("f9", "picture"), ("f10", "picture"), ("monday", "session"), ("s", "picture"),
    ]  # fmt: skip


def test_files_keep_the_order_they_are_given_in(tmp_path):
    paths = [png(tmp_path / name) for name in ("b.png", "a.png")]
    (tmp_path / "odd.ending").write_bytes(paths[0].read_bytes())
    found = inputs([*paths, tmp_path / "odd.ending", session(tmp_path / "s")])
    assert [one.name for one in found] == ["b", "a", "odd", "s"]


def test_a_pattern_the_shell_left_is_expanded(tmp_path):
    for name in ("1.png", "2.png", "2.overlay.png", "3.txt"):
        png(tmp_path / "x.png").rename(tmp_path / name)
    assert [one.name for one in inputs([tmp_path / "*.*"])] == ["1", "2"]
    assert "correct the pattern" in refusal(inputs, [tmp_path / "*.svs"])
    literal = png(tmp_path / "[1].png")
    assert inputs([literal])[0].path == literal


def test_a_session_here_has_the_name_of_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(session(tmp_path / "here"))
    (one,) = inputs([type(tmp_path)()])
    assert (one.name, one.kind) == ("here", "session")


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ([], "nothing to enhance"),
        (["none.png"], "no such file"),
        (["empty"], "lies right in this folder"),
        (["a.png", "a.png"], "is given twice"),
        (["a.png", "deep/../a.png"], "is given twice"),
        (["a.png", "deep/A.tif"], "rename one"),
        (["a.png", "deep"], "rename one"),
        (["a.sr.ome.tif"], "was made by scope-sr enhance"),
        (["\0.png"], "no such file"),
        (["x" * 5000], "no such file"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, given_, words):
    for name in ("a.png", "deep/A.tif"):
        png(tmp_path / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("x")
    (tmp_path / "a.sr.ome.tif").write_text("x")
    assert words in refusal(inputs, [tmp_path / name for name in given_])


@pytest.mark.parametrize(
    ("file", "name"), [("a.b.ome.tiff", "a.b"), ("A.OME.TIF", "A"), ("a", "a"), ("a.svs", "a")]
)
def test_names_of_outputs(tmp_path, file, name):
    assert name_of(tmp_path / file) == name


# ---- pictures that come back -----------------------------------------------------------------
YCC = np.asarray(Image.fromarray(PICTURE).convert("YCbCr"))


def jpeg_2000(path, picture, compression):
    tiles = [picture[:48, :64], picture[:48, 64:128], picture[42:90, :64], picture[42:90, 64:128]]
    data = [imagecodecs.jpeg2k_encode(np.ascontiguousarray(t), level=0, codecformat="j2k",
                                      mct=False) for t in tiles]  # fmt: skip
    tifffile.imwrite(path, iter(data), shape=(96, 128, 3), dtype=np.uint8, tile=(48, 64),
                     compression=compression, photometric="rgb", metadata=None)  # fmt: skip


def written(path, kind):
    """Write the picture as one kind of file; give what should come back."""
    match kind:
        case "png":
            Image.fromarray(PICTURE).save(path, "PNG")
        case "turned":
            exif = Image.Exif()
            exif[0x0112] = 6  # the camera was turned left: show it turned right
            Image.fromarray(PICTURE).save(path, "PNG", exif=exif)
            return np.rot90(PICTURE, -1), (TURNED,)
        case "grey":
            Image.fromarray(LEVEL).save(path, "PNG")
            return np.repeat(LEVEL[:, :, None], 3, axis=2), (GREY,)
        case "palette":
            image = Image.fromarray(PICTURE).quantize(200)
            image.save(path, "PNG")
            return np.asarray(image.convert("RGB")), (PALETTE,)
        case "opaque":
            Image.fromarray(PICTURE).convert("RGBA").save(path, "PNG")
        case "clear":
            clear = np.dstack([PICTURE, np.zeros(LEVEL.shape, np.uint8)])
            Image.fromarray(clear).save(path, "PNG")
            return np.full_like(PICTURE, 255), (ON_WHITE,)
        case "premultiplied":
            half = np.dstack([PICTURE // 2, np.full(LEVEL.shape, 128, np.uint8)])
            tifffile.imwrite(path, half, photometric="rgb", extrasamples=["assocalpha"])
            wanted = PICTURE // 2 + np.rint(255 * (1 - 128 / 255)).astype(np.uint8)
            return wanted, (ON_WHITE,)
        case "spare channel":
            spare = np.dstack([PICTURE, LEVEL])
            tifffile.imwrite(path, spare, photometric="rgb", extrasamples=["unspecified"])
            return PICTURE, ("the last channel, of which the file says nothing, left out",)
        case "tiled":
            tifffile.imwrite(path, PICTURE, tile=(32, 48), compression="zlib", predictor=True)
        case "strips":
            tifffile.imwrite(path, PICTURE, rowsperstrip=7, compression="lzw", bigtiff=True)
        case "pyramid":
            with tifffile.TiffWriter(path, ome=True) as file:
                file.write(PICTURE, tile=(32, 32), subifds=1)
                file.write(PICTURE[::2, ::2], tile=(32, 32), subfiletype=1)
        case "jpeg 2000":
            jpeg_2000(path, PICTURE, 33005)
            return None, ()
        case "jpeg 2000 ycc":
            jpeg_2000(path, YCC, 33003)
            return None, ()
    return PICTURE, ()


KINDS = [
    "png", "turned", "grey", "palette", "opaque", "clear", "premultiplied", "spare channel",
    "tiled", "strips", "pyramid",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_comes_back_with_what_was_made_of_it(tmp_path, kind):
    wanted, notes = written(tmp_path / "a.any", kind)
    slide = opened(tmp_path / "a.any")
    assert slide.shape == wanted.shape[:2]
    assert slide.notes == notes
    seen = slide.region(*EVERYTHING)
    assert (seen.dtype, seen.flags.c_contiguous) == (np.uint8, True)
    assert np.array_equal(seen, wanted)
    part = slide.region(slice(11, 60), slice(33, 34))
    assert part.flags.c_contiguous
    assert np.array_equal(part, wanted[11:60, 33:34])


@pytest.mark.parametrize("kind", ["jpeg 2000", "jpeg 2000 ycc"])
def test_aperios_jpeg_2000(tmp_path, kind):
    written(tmp_path / "a.svs", kind)
    seen = opened(tmp_path / "a.svs").region(slice(0, 48), slice(0, 128))
    worst = np.abs(seen.astype(int) - PICTURE[:48, :128]).max()
    assert worst <= (3 if kind == "jpeg 2000 ycc" else 0)


@settings(max_examples=25, deadline=None)
@given(st.tuples(st.integers(0, 90), st.integers(0, 90), st.integers(0, 131), st.integers(0, 131)))
def test_a_window_is_cut_from_the_picture(tmp_path_factory, ends):
    path = tmp_path_factory.getbasetemp() / "windows.tif"
    if not path.exists():
        tiff(path, tile=(16, 32), compression="zlib")
    rows, columns = slice(*ends[:2]), slice(*ends[2:])
    assert np.array_equal(opened(path).region(rows, columns), PICTURE[rows, columns])


def test_empty_tiles_are_white_and_said(tmp_path):
    blocks = [b"" if k == 3 else bytes([k]) * (32 * 32 * 3) for k in range(4)]
    tifffile.imwrite(tmp_path / "a.tif", iter(blocks), shape=(64, 64, 3), dtype=np.uint8,
                     tile=(32, 32), photometric="rgb")  # fmt: skip
    slide = opened(tmp_path / "a.tif")
    assert slide.notes == ("1 of its 4 tiles are empty, shown white",)
    assert (slide.region(slice(32, 64), slice(32, 64)) == 255).all()
    assert (slide.region(slice(32, 64), slice(0, 32)) == 2).all()


def test_only_what_a_window_needs_is_decoded(tmp_path):
    slide = opened(tiff(tmp_path / "a.tif", tile=(16, 16), compression="zlib"))
    slide.region(slice(0, 10), slice(0, 10))
    assert slide._pixels._block.cache_info().currsize == 1


# ---- pixel sizes that files state ------------------------------------------------------------
def ome(x_um, y_um, unit="µm"):
    return {"ome": True, "metadata": {"axes": "YXS", "PhysicalSizeX": x_um, "PhysicalSizeY": y_um,
                                      "PhysicalSizeXUnit": unit,
                                      "PhysicalSizeYUnit": unit}}  # fmt: skip


STATED = {
    "ome": (ome(0.5, 0.5), 0.5),
    "ome in nm": (ome(500, 501, "nm"), 0.5005),
    "ome, no length": (ome(1, 1, "pixel"), None),
    "ome, not square": (ome(0.5, 0.25), None),
    "aperio": ({"description": "Aperio|AppMag = 20|MPP = 0.4990"}, 0.499),
    "per cm": ({"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}, 0.5),
    "per cm of a printer": ({"resolution": (118, 118), "resolutionunit": "CENTIMETER"}, None),
    "per inch": ({"resolution": (50800, 50800), "resolutionunit": "INCH"}, None),
    "imagej": ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "um"}}, 0.5),
    "imagej, pixels": ({"imagej": True, "resolution": (2, 2)}, None),
    "none": ({}, None),
}


@pytest.mark.parametrize("case", STATED)
def test_the_pixel_size_a_file_states(tmp_path, case):
    options, wanted = STATED[case]
    slide = opened(tiff(tmp_path / "a.tif", **options))
    assert slide.um_per_px == (None if wanted is None else pytest.approx(wanted))
    assert any("not square" in note for note in slide.notes) == (case == "ome, not square")


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_dots_per_inch_are_no_pixel_size(tmp_path, ending):
    Image.fromarray(PICTURE).save(tmp_path / f"a.{ending}", dpi=(50800, 50800))
    assert opened(tmp_path / f"a.{ending}").um_per_px is None


# ---- pictures nobody can use -----------------------------------------------------------------
def half_written(path):
    """Leave the last strips out, as libtiff does when a program dies: their places are zero."""
    tiff(path, rowsperstrip=10, compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as file:
        tags = file.pages.first.tags
        for name in ("StripOffsets", "StripByteCounts"):
            tags[name].overwrite([*tags[name].value[:-2], 0, 0])


def deep(path):
    data = imagecodecs.png_encode(PICTURE.astype(np.uint16) * 257)
    path.write_bytes(data)


def saved(picture, kind="PNG"):
    return lambda path: picture.save(path, kind)


BAD = {
    "missing": (lambda p: None, "no such file"),
    "folder": (lambda p: p.mkdir(), "name a picture in it"),
    "empty": (lambda p: p.write_bytes(b""), "is empty"),
    "text": (lambda p: p.write_text("no picture"), "not a readable image"),
    "cmyk": (saved(Image.fromarray(PICTURE).convert("CMYK"), "JPEG"), "CMYK, inks"),
    "bilevel": (saved(Image.fromarray(LEVEL).convert("1")), "black or white"),
    "16 bits grey": (saved(Image.fromarray(LEVEL.astype(np.uint16))), "white as 255"),
    "16 bits colour": (deep, "16 bits per channel"),
    "16 bits TIFF": (lambda p: tiff(p, PICTURE.astype(np.uint16)), "uint16 of 16 bits"),
    "12 bits TIFF": (lambda p: tiff(p, LEVEL.astype(np.uint16), bitspersample=12), "12 bits"),
    "float TIFF": (lambda p: tiff(p, PICTURE / np.float32(255), photometric="rgb"), "float32"),
    "bilevel TIFF": (lambda p: tiff(p, LEVEL > 99, photometric="minisblack"), "of 1 bits"),
    "cmyk TIFF": (lambda p: tiff(p, np.dstack([PICTURE, LEVEL]), photometric="separated"),
                  "neither grey nor RGB"),
    "cielab TIFF": (lambda p: tiff(p, photometric="cielab"), "neither grey nor RGB"),
    "fluorescence": (lambda p: tiff(p, np.zeros((4, 60, 70), np.uint8), ome=True,
                                    photometric="minisblack", metadata={"axes": "CYX"}),
                     "stack of 4"),
    "tiny": (saved(Image.fromarray(PICTURE[:1, :1])), "1 x 1 px is too small"),
    "half-written TIFF": (half_written, "2 of its 9 strips were never written"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_picture_nobody_can_use_is_refused_in_one_line(tmp_path, case):
    write, words = BAD[case]
    write(tmp_path / "a.png")
    message = refusal(lambda: opened(tmp_path / "a.png").region(*EVERYTHING))
    assert words in message
    assert "a.png" in message
    assert ";" in message, "the way out stands after a semicolon"


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert "save it as a tiled TIFF" in refusal(opened, png(tmp_path / "a.png"))


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid"), reason="of POSIX")
def test_a_file_one_may_not_read(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    path = png(tmp_path / "a.png")
    path.chmod(0)
    assert "make it readable" in refusal(opened, path)


FRAGILE = {
    "png": lambda p: Image.fromarray(PICTURE).save(p, "PNG"),
    "jpeg": lambda p: Image.fromarray(PICTURE).save(p, "JPEG"),
    "progressive": lambda p: Image.fromarray(PICTURE).save(p, "JPEG", progressive=True),
    "bmp": lambda p: Image.fromarray(PICTURE).save(p, "BMP"),
    "raw strips": lambda p: tiff(p, rowsperstrip=8),
    "zlib tiles": lambda p: tiff(p, tile=(32, 48), compression="zlib", predictor=True),
    "jpeg tiles": lambda p: tiff(p, tile=(32, 48), compression="jpeg"),
    "jpeg 2000": lambda p: tiff(p, tile=(32, 48), compression="jpeg2000"),
    "ome": lambda p: tiff(p, **ome(0.5, 0.5)),
}


@pytest.mark.parametrize("kind", FRAGILE)
def test_a_cut_picture_is_refused_and_a_damaged_one_never_a_crash(tmp_path, kind):
    path = tmp_path / "a.any"
    FRAGILE[kind](path)
    whole, chance = path.read_bytes(), random.Random(kind)
    wanted = opened(path).region(*EVERYTHING)
    for part in (0.1, 0.5, 0.9, 0.98):
        path.write_bytes(whole[: int(part * len(whole))])
        try:
            assert np.array_equal(opened(path).region(*EVERYTHING), wanted)
            assert (kind, part) == ("ome", 0.98), "only its text was behind its pixels"
        except InputError as error:
            assert "\n" not in str(error)
    for _ in range(12):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(min(len(damaged), 600))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            assert opened(path).region(slice(0, 90), slice(0, 131)).dtype == np.uint8
        except InputError as error:
            assert "\n" not in str(error)


def test_nothing_is_printed_about_a_damaged_tiff(tmp_path):
    path = tiff(tmp_path / "a.tif", tile=(32, 48), compression="zlib")
    path.write_bytes(path.read_bytes()[:-300])
    script = (
        "import sys, pathlib; from scope_sr.enhance.slide import opened\n"
        "try: opened(pathlib.Path(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=True
    )
    assert (run.stdout.strip(), run.stderr) == ("InputError", "")


# ---- slides of OpenSlide ---------------------------------------------------------------------
def test_openslide_gives_what_tifffile_gives(tmp_path):
    pytest.importorskip("openslide")
    options = {"tile": (32, 48), "compression": "jpeg", "description": "Aperio Image |MPP = 0.499",
               "metadata": None}  # fmt: skip
    # OpenSlide knows Aperio's slides by their text, whatever the ending
    both = [opened(tiff(tmp_path / name, **options)) for name in ("a.svs", "b.ndpi")]
    assert isinstance(both[1]._pixels, by_openslide.OpenSlidePixels)
    assert {slide.shape for slide in both} == {(90, 131)}
    assert {slide.um_per_px for slide in both} == {0.499}
    assert both[1].notes == ()
    ours, theirs = (slide.region(slice(5, 80), slice(40, 131)).astype(int) for slide in both)
    assert np.abs(ours - theirs).max() <= 1


def test_of_a_slide_only_what_was_scanned_is_taken(tmp_path, monkeypatch):
    """A stand-in for the library: 131 x 90 px of picture in a far larger, empty slide."""
    plane = np.zeros((400, 500, 4), np.uint8)
    plane[200:290, 100:231] = np.dstack([PICTURE, np.full(LEVEL.shape, 255)])
    plane[200:210, 100:110, 3] = 0

    class Stand:
        dimensions = (500, 400)
        properties = {  # noqa: RUF012
            "openslide.bounds-x": "100", "openslide.bounds-y": "200",
            "openslide.bounds-width": "131", "openslide.bounds-height": "90",
            "openslide.mpp-x": "0.25", "openslide.mpp-y": "0.2502",
        }  # fmt: skip

        def read_region(self, corner, level, size):
            assert level == 0
            (x, y), (width, height) = corner, size
            return Image.fromarray(plane[y : y + height, x : x + width])

    library = SimpleNamespace(OpenSlide=lambda path: Stand(), OpenSlideError=RuntimeError)
    monkeypatch.setitem(sys.modules, "openslide", library)
    (tmp_path / "a.mrxs").write_text("slide")
    slide = opened(tmp_path / "a.mrxs")
    assert (slide.shape, slide.um_per_px) == ((90, 131), pytest.approx(0.2501))
    wanted = PICTURE.copy()
    wanted[:10, :10] = 255
    assert np.array_equal(slide.region(slice(5, 50), slice(3, 90)), wanted[5:50, 3:90])


def test_openslide_reads_no_text(tmp_path):
    pytest.importorskip("openslide")
    (tmp_path / "a.mrxs").write_text("no slide")
    assert "OpenSlide cannot read it" in refusal(opened, tmp_path / "a.mrxs")


def test_without_openslide_the_way_to_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openslide", None)
    (tmp_path / "a.mrxs").write_text("slide")
    assert 'python -m pip install "scope-sr[openslide]"' in refusal(opened, tmp_path / "a.mrxs")


# ---- pixel sizes -----------------------------------------------------------------------------
X2 = Card("sr", "x2", "compact", {"blocks": 1, "channels": 1}, 2, 0.5, 0.25)
NUCLEI = Card("nuclei", "n", "unet", {"base": 1, "depth": 1}, 1, 0.25, 0.25)


def asked(tmp_path, **options):
    return Asked((), "compact-x2", tmp_path, nuclei="nuclei", **options)


def test_the_person_goes_before_the_file(tmp_path):
    path = tmp_path / "a.png"
    assert pixel_size(0.49, asked(tmp_path), path, X2) == (0.49, ())
    assert pixel_size(None, asked(tmp_path, um_per_px=0.5), path, X2) == (0.5, ())
    assert pixel_size(0.499, asked(tmp_path, um_per_px=0.5), path, X2) == (0.5, ())
    assert "says 0.49 µm" in pixel_size(0.49, asked(tmp_path, um_per_px=0.5), path, X2)[1][0]
    size, (warning,) = pixel_size(0.25, asked(tmp_path, um_per_px=0.5), path, X2)
    assert size == 0.5
    assert "0.25" in warning
    assert "--um-per-px 0.5 is taken" in warning


def test_nobody_says_the_pixel_size(tmp_path):
    message = refusal(pixel_size, None, asked(tmp_path, any_pixel_size=True), tmp_path / "a", X2)
    assert "--um-per-px" in message
    assert "compact-x2 is for 0.5007; compact-x4 is for 1.001" in message
    assert "nuclei" not in message


def test_another_pixel_size_needs_another_model_or_the_flag(tmp_path):
    message = refusal(pixel_size, 1.0, asked(tmp_path), tmp_path / "a", X2)
    assert "1 µm per pixel, compact-x2 was made for 0.5" in message
    assert "take --model compact-x4, or say --any-pixel-size" in message
    assert "a model of that size" in refusal(pixel_size, 0.1, asked(tmp_path), tmp_path / "a", X2)
    assert pixel_size(1.0, asked(tmp_path, any_pixel_size=True), tmp_path / "a", X2) == (1.0, ())


def test_nuclei_are_sought_at_their_models_pixel_size(tmp_path):
    path = tmp_path / "a"
    refuse_unfit_nuclei(asked(tmp_path), NUCLEI, 0.2503, path)
    refuse_unfit_nuclei(asked(tmp_path, any_pixel_size=True), NUCLEI, 0.5, path)
    message = refusal(refuse_unfit_nuclei, asked(tmp_path), NUCLEI, 0.5, path)
    assert "--nuclei nuclei was made for 0.25" in message


@given(st.floats(0.01, 10), st.floats(0.8, 1.2))
def test_near_is_five_percent(um, ratio):
    if abs(abs(ratio - 1) - 0.05) > 1e-9:
        assert near(um * ratio, um) == (abs(ratio - 1) < 0.05)


# ---- what looks odd --------------------------------------------------------------------------
@pytest.fixture(scope="module")
def stained():
    return [piece.image for patient in ("02", "04", "06") for piece in read_pieces(patient)]


def oddities(pictures):
    return {unlike_he(np.ascontiguousarray(picture)) for picture in pictures}


def test_he_is_like_he(stained):
    assert oddities(stained) == {None}


def test_grey_dark_blank_and_brown_pictures_are_told(stained):
    (grey,) = oddities(np.repeat(picture[..., :1], 3, axis=2) for picture in stained)
    assert grey == "nearly without colour"
    assert oddities([np.full((99, 99, 3), 240, np.uint8)]) == {"no tissue seen"}
    dark = PICTURE // 8
    assert "dark all over" in unlike_he(dark)
    assert oddities(picture[..., [0, 2, 1]] for picture in stained) <= {
        "brown or yellow, as of DAB", "green", None,
    }  # fmt: skip
    dab = 255 * 10 ** -(LEVEL[..., None] / 255.0 * np.array([0.27, 0.57, 0.78]))
    assert unlike_he(dab.astype(np.uint8)) == "brown or yellow, as of DAB"
    blue = 255 * 10 ** -(LEVEL[..., None] / 255.0 * np.array([0.83, 0.52, 0.13]))
    assert unlike_he(blue.astype(np.uint8)) == "blue"


def test_most_he_stored_as_bgr_is_told(stained):
    told = [unlike_he(np.ascontiguousarray(picture[..., ::-1])) for picture in stained]
    assert sum(bool(words) for words in told) >= 0.7 * len(told)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_any_picture_gets_an_answer(rows, columns, seed):
    picture = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), np.uint8)
    words = unlike_he(picture)
    assert words is None or (words and "\n" not in words)
