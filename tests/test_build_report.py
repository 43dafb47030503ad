"""What people read of a dataset: its pictures, report and card."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from datasets import Making, tissue
from PIL import Image

from scope_sr.build_dataset.gates import LIMITS, WORDS, gate, reasons
from scope_sr.build_dataset.report import draw_pictures, write_report
from scope_sr.build_dataset.report.page import MOST_LISTED
from scope_sr.build_dataset.report.pictures import KINDS
from scope_sr.build_dataset.report.pictures.chart import draw_map
from scope_sr.build_dataset.report.pictures.judged import place
from scope_sr.build_dataset.report.tally import (
    gate_rows,
    optics_of,
    reason_rows,
    split_rows,
    warnings,
)
from scope_sr.build_dataset.report.words import FAMILIES, FAULTS, GATES, reason_title
from scope_sr.build_dataset.story import Story
from scope_sr.dataset import Gate, Labelled, Pair, Source
from scope_sr.dataset.index import Place
from scope_sr.dataset.splits import cut

MOST_BYTES = 400_000
TURNED = ((0.01, -0.5), (0.5, 0.01))  # columns run along y of the stage, as on some cameras
GOOD = {
    "shift_px": 0.03,
    "spread_px": 0.07,
    "likeness": 0.99,
    "sharpness": 1.01,
    "blocks": 30.0,
    "away_um": 0.5,
    "tissue": 0.8,
    "clipped_low": 0.0,
    "clipped_high": 0.001,
    "blank_low": 0.99,
    "blank_high": 1.0,
    "usable": 0.7,
}
FACTS = {
    "id": "9f22d511",
    "begun": "2026-11-23T15:20:07.678+00:00",
    "rig": "bench",
    "calibration": "b07a3d92ea47bc47c599",
    "low": "10x",
    "high": "20x",
    "numerical_apertures": [0.3, 0.75],
    "linear": [[0.5, -0.0005], [0.0005, 0.5]],
    "low_distortion": -0.0016,
    "high_distortion": -0.0014,
    "low_bend_px": np.full((7, 2), 0.01).tolist(),
    "high_bend_px": np.zeros((7, 2)).tolist(),
    "radius_px": 362.0,
    "block_residual_px": 0.022,
    "blocks": 1181,
    "offset_um": [0.25, -0.125],
    "sharpness": 1.0,
    "color_matrix": np.eye(3, 4).tolist(),
    "color_residual_dn": 0.57,
    "color_before_dn": 8.99,
    "color_source": "fitted to registered pixels",
}
SESSION = Source("A", "session", "0" * 64, "CC BY 4.0", FACTS)


def gates(**changes: float) -> dict[str, Gate]:
    return {name: gate(name, value) for name, value in {**GOOD, **changes}.items()}


def rejected(name: str, low_step: str = "", **changes: float) -> Pair:
    found = gates(**changes)
    box = (0, 0, 64, 64) if changes else (0, 0, 0, 0)
    why = reasons(found) if changes else ("tissue: nothing to see in it but glass",)
    facts = {"low_step": low_step} if low_step else {}
    return Pair(name, "A", "", box_px=box, reasons=why, gates=found if changes else {},
                place=Place((120.0, 0.0), TURNED), facts=facts)  # fmt: skip


def session(folder: Path, **header: object) -> Making:
    """Four kept fields, one of them taken twice over for val and test, and five rejected ones."""
    centres = np.array([[0.0, 0.0], [0.0, 60.0], [60.0, 0.0], [60.0, 60.0]])
    making = Making(
        folder,
        **{
            "level": "area",
            "areas": {"": cut(centres, 64.0).table()},
            "sources": (SESSION,),
            **header,
        },
    )
    for number, split in enumerate(("train", "train", "val", "test")):
        making.pair(
            f"A/f{number}",
            split,
            tissue(number),
            at_um=tuple(centres[number]),
            affine=TURNED,
            gates=gates(spread_px=0.05 + 0.02 * number),
            facts={"low_step": f"low/f{number}"},
        )
    making.items += [
        rejected("A/glass"),
        rejected("A/soft", "low/f0", sharpness=0.5),
        rejected("A/off", "low/f1", shift_px=0.5, spread_px=0.6),
        rejected("A/far", "low/f1", away_um=11.0),
        rejected("A/empty", tissue=0.03, blocks=2.0),
    ]
    return making


def story_of(making: Making) -> Story:
    rng = np.random.default_rng(1)
    low = rng.uniform(60, 220, (300, 3)).astype(np.float32)
    return Story(
        source=making.header.sources[0],
        pairs=tuple(making.items),
        arrows=np.column_stack([rng.uniform(-250, 250, (40, 2)), rng.normal(0, 0.02, (40, 2))]),
        misfits_px=np.abs(rng.normal(0, 0.06, 800)),
        colors_low=low,
        colors_high=low + rng.normal(6, 1, low.shape).astype(np.float32),
    )


def told(making: Making, story: Story | None = None, reshoot: Sequence = ()) -> tuple[str, str]:
    """Write the images, draw the pictures, and give report and card."""
    left_out = [item for item in making.items if not item.accepted]
    kept = [item for item in making.items if item.accepted]
    making.folder.mkdir(exist_ok=True)
    making.items = kept  # only these have files
    making.done()
    making.items += left_out
    for source in making.header.sources:
        draw_pictures(making.folder, making.header, source, making.items, story)
    html, card = write_report(making.folder, making.header, making.items, reshoot)
    return html.decode(), card.decode()


def drawn(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "pictures").iterdir())}


class Strict(HTMLParser):
    """Fails where a tag is not closed, an image has no alternative or something is loaded."""

    VOID = frozenset({"meta", "img"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert tag not in {"script", "link", "iframe", "b"}
        if tag == "img":
            assert found["alt"]
            assert (found["src"] or "").startswith("data:image/png;base64,")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


# ---- a session -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Making, str, str]:
    making = session(tmp_path_factory.mktemp("whole") / "ds")
    return making, *told(making, story_of(making))


def test_all_counts_appear_and_add_up(whole: tuple[Making, str, str]) -> None:
    making, html, card = whole
    rows = split_rows(making.items)
    assert [row.items for row in rows] == [2, 1, 1]
    assert "4 of 9 pairs kept: 2 to learn from (train), 1 to choose by (val)," in html
    assert "5 of 9 pairs were rejected" in card
    by_reason = reason_rows(making.items)
    assert sum(first for _, first, _ in by_reason) == 5
    for title, first, every in by_reason:
        assert f'<th scope="row">{title}</th><td>{first}</td><td>{every}</td>' in html
        assert f"| {title} | {first} | {every} |" in card
    assert "| train (to learn from) | 2 | not named | not named |" in card


def test_every_reason_is_told(whole: tuple[Making, str, str]) -> None:
    making, html, _ = whole
    text = " ".join(Strict(html).text)
    for item in making.items:
        for reason in item.reasons:
            assert reason in text


def test_limits_are_those_of_the_gates(whole: tuple[Making, str, str]) -> None:
    making, html, card = whole
    for name, limits in LIMITS.items():
        words = Gate(1.0, *limits).limits()
        assert re.search(rf"\(`{name}`\) \| {re.escape(words)}[ |]", card)
        assert f"{GATES[name][0]}<div" in html
        assert f"<td>{words}" in html
    assert {row.name for row in gate_rows(making.header, making.items)} == set(LIMITS)


def test_words_exist_for_every_gate() -> None:
    assert set(GATES) == set(LIMITS) == set(WORDS)
    assert set(FAULTS) >= set(LIMITS)
    assert {key for keys in FAMILIES.values() for key in keys} <= set(FAULTS)
    assert reason_title("/tmp/x.png: damaged") == "another reason"


def test_how_well_the_pairs_fit_is_told(whole: tuple[Making, str, str]) -> None:
    _, html, card = whole
    assert "<td>0.08 px (0.02 µm)</td>" in html  # median of 0.05, 0.07, 0.09, 0.11
    assert "<td>0.11 px (0.028 µm)</td>" in html  # the largest
    assert "0.044 px (scatter)" in html
    assert "1181 blocks" in card
    assert "2.0000 high pixels of the camera to a low one" in html
    assert "1 mrad between low and high images" in html
    assert "0.25 and -0.12 µm" in html
    assert "off by 9 grey levels of 255 before matching, by 0.57 after" in html


def test_pictures_of_a_session_are_all_there_and_inside_the_report(
    whole: tuple[Making, str, str],
) -> None:
    making, html, _ = whole
    files = drawn(making.folder)
    kinds = ("map", "examples", "residuals", "gates", "color", "rejected")
    assert set(files) == {f"A-{kind}.png" for kind in kinds}
    inside = [base64.b64decode(data) for data in re.findall(r'base64,([^"]+)"', html)]
    assert inside == [files[f"A-{kind}.png"] for kind in KINDS if kind in kinds]
    for data in inside:
        assert len(data) < MOST_BYTES
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "PNG"
            assert min(image.size) > 200
            assert not image.info.get("Software")
            assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 10  # something is drawn


def test_the_report_stands_alone_and_is_well_formed(whole: tuple[Making, str, str]) -> None:
    _, html, _ = whole
    Strict(html)
    assert "http" not in html
    assert str(whole[0].folder) not in html


def test_the_same_dataset_gives_the_same_bytes(whole: tuple[Making, str, str]) -> None:
    making, html, card = whole
    before = drawn(making.folder)
    draw_pictures(
        making.folder, making.header, making.header.sources[0], making.items, story_of(making)
    )
    assert drawn(making.folder) == before
    again = write_report(making.folder, making.header, making.items, [])
    assert again == (html.encode(), card.encode())


def test_the_card_says_how_the_images_were_obtained(whole: tuple[Making, str, str]) -> None:
    _, _, card = whole
    assert "**captured**" in card
    assert "| A | high | 20x | 0.75 | 0.25 | 0.447 | 1.8 |" in card
    assert "A: CC BY 4.0" in card
    assert "no licence" not in card
    assert "9f22d511" in card
    assert "0" * 64 in card
    assert "Dataset.open" in card
    assert "Warning" not in card  # 0.25 µm is coarser than 0.183 µm, Nyquist of NA 0.75


def test_python_lines_of_the_card_run(whole: tuple[Making, str, str]) -> None:
    making, _, card = whole
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code is not None
    lines = code[1].replace("path/of/this/folder", making.folder.as_posix())
    scope: dict[str, object] = {}
    exec(lines.replace('"train", 96', '"train", 32'), scope)
    assert scope["crop"].high.shape == (64, 64, 3)


# ---- what is to be reshot ------------------------------------------------------------------------


def test_the_reshoot_list_has_its_command_and_no_paths(tmp_path: Path) -> None:
    steps = [{"step": f"high/f{n}", "reasons": [f"sharpness: {n}"]} for n in range(MOST_LISTED + 7)]
    lists = [{"session": r"C:\secret\slide 17", "id": "x", "steps": steps}]
    making = session(tmp_path / "ds")
    html, _ = (part.decode() for part in write_report(tmp_path, making.header, making.items, lists))
    Strict(html)
    assert "scope-sr acquire-pairs --reshoot small" in html
    assert "slide 17" in html
    assert "secret" not in html
    assert "and 7 more" in html


def test_thousands_of_pairs_make_no_huge_report(tmp_path: Path) -> None:
    making = session(tmp_path)
    items = [rejected(f"A/r{n}", sharpness=0.5) for n in range(5000)]
    html, card = write_report(tmp_path, making.header, items, [])
    assert len(html) < 100_000
    assert len(card) < 20_000
    assert b"and 4800 more" in html
    assert b"0 of 5000 pairs kept" in html


# ---- odd datasets --------------------------------------------------------------------------------


def test_one_pair(tmp_path: Path) -> None:
    making = Making(tmp_path / "ds", low_um_per_px=None, color=False, bits=12, level="image")
    making.pair("A/only", "train", tissue(3, full=4095)[..., 1])
    (making.folder / "pictures").mkdir(parents=True)
    (making.folder / "pictures" / "A-map.png").write_bytes(b"of an earlier build")
    html, card = told(making)
    Strict(html)
    assert "1 of 1 pair kept" in html
    assert set(drawn(making.folder)) == {"A-examples.png"}
    assert "There is no pair in val and test" in html
    assert "It holds 1 pair only" in html
    assert "µm per pixel not known" in card


def test_nothing_kept(tmp_path: Path) -> None:
    making = session(tmp_path / "ds")
    making.items = [item for item in making.items if not item.accepted]
    html, card = told(making, replace(story_of(making), arrows=np.empty((0, 4)),
                                      misfits_px=np.empty(0), colors_low=np.empty((0, 3)),
                                      colors_high=np.empty((0, 3))))  # fmt: skip
    Strict(html)
    assert "✗ 0 of 5 pairs kept" in html
    assert "Nothing was kept" in html
    assert "Nothing was kept" in card
    assert set(drawn(making.folder)) == {"A-residuals.png", "A-gates.png"}


def test_an_empty_dataset(tmp_path: Path) -> None:
    making = Making(tmp_path)
    html, card = write_report(tmp_path, making.header, [], [])
    Strict(html.decode())
    assert b"0 of 0 pairs kept" in html
    assert card.startswith(b"# small\n")


def test_pairs_without_a_story(tmp_path: Path) -> None:
    source = Source("A", "images", "1" * 64)
    making = Making(tmp_path / "ds", simulated=True, level="image", sources=(source,))
    for number in range(3):
        making.pair(f"A/{number}", "train", tissue(number), facts={"residual_hr_px": 0.1 * number},
                    gates={"likeness": gate("likeness", 0.95)})  # fmt: skip
    html, card = told(making)
    assert set(drawn(making.folder)) == {"A-examples.png", "A-gates.png", "A-residuals.png"}
    assert "computed from the high ones" in html
    assert "**simulated**" in card
    assert "no licence was stated; ask" in card
    assert "Ask" not in card
    assert "left over" in html
    assert "image by image" in html


def test_nuclei(tmp_path: Path) -> None:
    source = Source("A", "masks", "1" * 64, "CC BY-NC-SA 4.0")
    making = Making(tmp_path / "ds", kind="nuclei", scale=1, level="image", sources=(source,))
    labels = np.zeros((128, 128), np.uint16)
    for number in range(9):
        labels[10 + 12 * number : 18 + 12 * number, 20:32] = number + 1
    for number in range(3):
        making.nuclei(f"n{number}", "train", tissue(number), labels, um_per_px=0.25, nuclei=9,
                      facts={"layout": "consep"})  # fmt: skip
    making.nuclei("plain", "val", tissue(8), (labels > 0).astype(np.uint16))
    making.items.append(Labelled("A/bad", "A", reasons=("cannot be read",)))
    html, card = told(making)
    Strict(html)
    assert set(drawn(making.folder)) == {"A-montage.png", "A-nuclei.png"}
    assert "4 of 5 images kept" in html
    assert html.count("27 nuclei in 3 images") == 2  # of all, and of the source
    assert "1 image: touching nuclei are not told apart" in card
    assert "another reason" in html
    assert "consep" in html
    assert "A: CC BY-NC-SA 4.0" in card
    assert "dataset.labelled" in card


# ---- warnings ------------------------------------------------------------------------------------


def beware(making: Making) -> str:
    return "\n".join(warnings(making.header, making.items))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"calibration": "nominal values of the rig"}, "No calibration was used for A"),
        ({"sharpness": 0.8}, "the low images are out of focus"),
        ({"sharpness": 1.1}, "the high images are out of focus"),
        ({"color_source": "none: too little tissue to fit one"}, "could not be matched"),
        ({"numerical_apertures": [0.1, 0.25]}, "finer than the objective can show"),
        ({"rig": "simulated"}, "The simulated microscope took A"),
    ],
)
def test_a_session_to_beware_of(tmp_path: Path, facts: dict[str, object], words: str) -> None:
    good = session(tmp_path)
    assert words not in beware(good)
    bad = replace(SESSION, facts={**FACTS, **facts})
    assert words in beware(session(tmp_path, sources=(bad,)))


def test_the_card_warns_of_pixels_finer_than_nyquist(tmp_path: Path) -> None:
    fine = replace(SESSION, facts={**FACTS, "numerical_apertures": [0.1, 0.25]})
    making = session(tmp_path, sources=(fine,))
    low, high = optics_of(fine, making.header) or (None, None)
    assert low is not None
    assert high is not None
    assert (low.empty, high.empty) == (True, True)
    assert high.resolved_um == pytest.approx(1.342)
    _, card = write_report(tmp_path, making.header, making.items, [])
    assert "**Warning:** A: the pixels of the high images (0.25 µm) are finer" in card.decode()
    assert "0.55 µm (Nyquist" in card.decode()


def test_splits_by_area_and_missing_splits_are_warned_of(tmp_path: Path) -> None:
    making = session(tmp_path)
    assert "areas of the same slides" in beware(making)
    assert "There is no pair" not in beware(making)
    making.items = making.items[:3]
    assert "There is no pair in test: without test none can be judged" in beware(making)


# ---- names ---------------------------------------------------------------------------------------


def test_what_a_dataset_says_is_text_never_markup(tmp_path: Path) -> None:
    nasty = "<b>&|`$x$"
    source = Source(nasty, "session", "<b>", nasty, {**FACTS, "id": nasty, "rig": nasty})
    making = Making(tmp_path / "ds", name=nasty, sources=(source,), software=nasty)
    making.pair(nasty + "/f", "train", tissue(0), gates=gates())
    making.items[0] = replace(making.items[0], source=nasty, low="low/a.tif", high="high/a.tif")
    making.images = dict(zip(("low/a.tif", "high/a.tif"), making.images.values(), strict=True))
    making.items.append(Pair(nasty + "/g", nasty, "", reasons=(f"capture: {nasty}",)))
    html, card = told(making)
    parsed = Strict(html)
    assert f"Dataset {nasty}" in parsed.text
    assert f"capture: {nasty}" in parsed.text
    assert html.count("<img") == len(drawn(making.folder)) == 3
    assert "<b>" not in card
    assert "&lt;b&gt;&amp;\\|\\`\\$x\\$" in card


# ---- single pictures -----------------------------------------------------------------------------


def test_places_between_ideal_and_limits() -> None:
    assert place(Gate(0.25, most=0.25), 0.0) == 1.0
    assert place(Gate(0.9, least=0.9), 1.0) == pytest.approx(-1.0)
    assert place(Gate(1.12, least=0.9, most=1.12), 1.0) == pytest.approx(1.0)
    assert place(Gate(0.5, least=0.9), 1.0) < -1.0
    assert place(Gate(1.2, least=0.9), 1.0) == 0.0  # better than ideal


def test_a_map_needs_places_and_a_size(tmp_path: Path) -> None:
    pairs = [rejected("A/a"), rejected("A/b", tissue=0.03)]
    assert draw_map([replace(pair, place=None) for pair in pairs], (64, 64), None) is None
    assert draw_map(pairs, None, None) is None  # nothing says how large a low image is
    shifted = replace(pairs[1], facts={"shift_x_px": 3.0, "shift_y_px": -2.0})
    found = draw_map([pairs[0], shifted], None, None)
    assert found is not None
    assert found.startswith(b"\x89PNG")


def test_drawing_is_loaded_by_the_first_picture_only() -> None:
    code = "import sys, scope_sr.build_dataset.report; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
