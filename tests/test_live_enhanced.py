"""The enhanced picture put together from patches, against what was put in."""

from __future__ import annotations

import numpy as np
import pytest

from scope_sr.frame import Frame, Position
from scope_sr.live.dyes import STRIKING_DN, VISIBLE_DN, heated, table
from scope_sr.live.enhanced import KEPT_S, Enhanced, borders
from scope_sr.live.seen import Nuclei, Patch, Seen, Window

ROWS, COLUMNS = 12, 20
WHOLE = Window(0, 0, ROWS, COLUMNS)
LEFT, RIGHT = Window(0, 0, ROWS, 8), Window(0, 8, ROWS, 12)


def seen(view=1, at_s=100.0, objective="10x", z_um=0.0, shape=(ROWS, COLUMNS), um_per_px=0.5):
    rgb = np.zeros((*shape, 3), np.uint8)
    frame = Frame(rgb, Position(0.0, 0.0, z_um), objective, 10.0, at_s, 1)
    return Seen(frame, rgb, um_per_px, at_s, view, at_s)


def patch(of, window=WHOLE, level=50, scale=2, **more):
    pixels = np.full((scale * window.rows, scale * window.columns, 4), level, np.uint8)
    pixels[..., 3] = 255
    return Patch(of, window, scale, pixels, model="m", **more)


def nuclei(window, *areas, scale=2):
    """As many nuclei as areas, each one pixel large and in the first row."""
    labels = np.zeros((scale * window.rows, scale * window.columns), np.int32)
    labels[0, : len(areas)] = np.arange(1, len(areas) + 1)
    return Nuclei(labels, (labels > 0).astype(np.uint8) * 2, np.array(areas, float))


def here(old, new):
    return 0.0, 0.0


def test_patches_lie_where_they_belong_and_nothing_lies_elsewhere():
    enhanced, one = Enhanced(), seen()
    enhanced.lay(patch(one, RIGHT, level=70))
    assert (enhanced.pixels[:, 16:, :3] == 70).all()
    assert (enhanced.pixels[:, :16] == 0).all()  # of opacity too: the original shows through
    assert enhanced.covered == pytest.approx(12 / 20)
    enhanced.lay(patch(one, LEFT, level=30))
    assert (enhanced.pixels[:, :16, :3] == 30).all()
    assert (enhanced.pixels[:, 16:, :3] == 70).all()
    assert (enhanced.pixels[..., 3] == 255).all()
    assert enhanced.covered == 1.0


def test_a_patch_of_the_whole_field_is_not_copied_and_never_written_into():
    enhanced, one = Enhanced(), seen()
    whole = patch(one, level=40, nuclei=nuclei(WHOLE, 1.0))
    enhanced.lay(whole)
    assert enhanced.pixels is whole.pixels
    enhanced.lay(patch(one, LEFT, level=90, nuclei=nuclei(LEFT)))
    assert (whole.pixels[..., :3] == 40).all()  # the writer may hold it
    assert whole.nuclei.classes[0, 0] == 2
    assert (enhanced.pixels[:, :16, :3] == 90).all()
    assert (enhanced.pixels[:, 16:, :3] == 40).all()


def test_buffers_are_used_again_and_are_empty_then():
    enhanced, buffers = Enhanced(), set()
    for view in range(9):
        enhanced.lay(patch(seen(view), (LEFT, RIGHT)[view % 2], level=view + 1))
        buffers.add(enhanced.pixels.ctypes.data)
        there = enhanced.pixels[..., 3] > 0
        assert there.sum() == enhanced.covered * there.size, view
        assert (enhanced.pixels[there][:, 0] == view + 1).all(), view
    assert len(buffers) == 2


def test_colours_are_rgb_for_files_and_bgra_for_the_screen():
    enhanced, one = Enhanced(), patch(seen())
    one.pixels[...] = (10, 20, 30, 255)
    enhanced.lay(one)
    assert enhanced.rgb()[0, 0].tolist() == [30, 20, 10]
    enhanced.rgb()[...] = 0
    assert enhanced.pixels[0, 0].tolist() == [10, 20, 30, 255]  # a copy


@pytest.mark.parametrize(
    "other",
    [
        patch(seen(view=2)),
        patch(seen(view=1), scale=4),
        patch(seen(shape=(6, 10)), Window(0, 0, 6, 10)),
    ],
)
def test_another_view_scale_or_field_begins_anew(other):
    enhanced = Enhanced()
    enhanced.lay(patch(seen(), LEFT, nuclei=nuclei(LEFT, 5.0)))
    enhanced.lay(other)
    assert enhanced.scale == other.scale
    assert enhanced.pixels.shape == other.pixels.shape
    assert enhanced.areas_um2.size == 0
    assert enhanced.before is None  # the new one covers its field


def test_what_was_there_stays_beneath_until_the_new_picture_covers_the_field():
    enhanced, old, new = Enhanced(), seen(1), seen(2, at_s=101.0)
    enhanced.lay(patch(old, level=10))
    enhanced.lay(patch(new, LEFT, level=20))
    beneath, above = enhanced.in_place(new, lambda was, now: (3.0, -2.0))
    assert (beneath.column, beneath.row) == (3.0, -2.0)
    assert (beneath.layer.pixels[..., 0] == 10).all()
    assert (above.column, above.row) == (0.0, 0.0)
    enhanced.lay(patch(new, RIGHT, level=20))
    assert [one.layer.seen.view for one in enhanced.in_place(new, here)] == [2]


@pytest.mark.parametrize(
    ("now", "offset"),
    [
        (seen(2, objective="20x"), (0.0, 0.0)),
        (seen(2, z_um=3.0), (0.0, 0.0)),
        (seen(2), (COLUMNS, 0.0)),
        (seen(2), (0.0, -ROWS)),
        (seen(2), None),
        (seen(2, at_s=100.1 + KEPT_S), (0.0, 0.0)),
        (seen(2, shape=(6, 10)), (0.0, 0.0)),
    ],
)
def test_what_shows_something_else_is_not_drawn(now, offset):
    enhanced = Enhanced()
    enhanced.lay(patch(seen(1, at_s=100.0)))
    assert enhanced.in_place(seen(2, at_s=100.1), here)
    assert enhanced.in_place(now, lambda was, new: offset) == []


def test_a_picture_of_the_same_view_is_drawn_however_old_and_a_while_longer():
    enhanced, hour_s = Enhanced(), 3600.0
    enhanced.lay(patch(seen(1, at_s=0.0)))
    (placed,) = enhanced.in_place(seen(1, at_s=hour_s), lambda was, now: None)
    assert placed.fills
    assert enhanced.in_place(seen(2, at_s=hour_s + KEPT_S - 0.1), here)
    assert not enhanced.in_place(seen(2, at_s=hour_s + KEPT_S + 0.1), here)


def test_each_place_has_its_age():
    enhanced = Enhanced()
    enhanced.lay(patch(seen(at_s=100.0)))
    enhanced.lay(patch(seen(at_s=103.0), LEFT))
    layer = enhanced.layer
    assert (layer.made_s(0, 0), layer.made_s(0, 8)) == (103.0, 100.0)
    assert enhanced.oldest_s == 100.0
    enhanced.lay(patch(seen(at_s=104.0), RIGHT))
    assert enhanced.oldest_s == 103.0
    enhanced.lay(patch(seen(view=2, at_s=105.0), LEFT))
    assert enhanced.layer.made_s(0, 8) is None
    assert enhanced.oldest_s == 105.0


def test_nuclei_are_counted_once():
    enhanced, one = Enhanced(), seen()
    enhanced.lay(patch(one, LEFT, nuclei=nuclei(LEFT, 10.0, 11.0)))
    enhanced.lay(patch(one, RIGHT, nuclei=nuclei(RIGHT, 20.0)))
    assert sorted(enhanced.areas_um2) == [10.0, 11.0, 20.0]
    assert enhanced.covered_um2 == pytest.approx(ROWS * COLUMNS * 0.25)
    enhanced.lay(patch(one, LEFT, nuclei=nuclei(LEFT, 12.0)))
    assert sorted(enhanced.areas_um2) == [12.0, 20.0]
    overlapping = Window(0, 6, ROWS, 4)
    enhanced.lay(patch(one, overlapping, nuclei=nuclei(overlapping, 30.0)))
    assert enhanced.areas_um2.tolist() == [30.0]
    assert enhanced.covered_um2 == pytest.approx(ROWS * 4 * 0.25)  # so the density stays right


def test_a_patch_whose_nuclei_were_not_looked_for_leaves_those_of_before():
    enhanced, one = Enhanced(), seen()
    enhanced.lay(patch(one, nuclei=nuclei(WHOLE, 10.0)))
    enhanced.lay(patch(one))
    assert enhanced.areas_um2.tolist() == [10.0]
    assert enhanced.overlay[0, 0] != 0


def test_labels_of_the_field_are_all_different():
    enhanced, one = Enhanced(), seen()
    assert enhanced.labels() is None
    enhanced.lay(patch(one, LEFT, nuclei=nuclei(LEFT, 1.0, 1.0)))
    enhanced.lay(patch(one, RIGHT, nuclei=nuclei(RIGHT, 1.0)))
    labels = enhanced.labels()
    assert labels[0, :2].tolist() == [1, 2]
    assert labels[0, 16] == 3
    assert np.count_nonzero(labels) == 3


def test_nuclei_change_their_style_without_new_data():
    enhanced, one = Enhanced(), seen()
    inner = nuclei(WHOLE, 1.0)
    inner.classes[0, :3] = (1, 2, 0)
    enhanced.lay(patch(one, nuclei=inner))
    enhanced.style(fill=False, outline=True, rgb=(255, 0, 10))
    assert [hex(colour) for colour in enhanced.overlay[0, :3]] == ["0x0", "0xffff000a", "0x0"]
    enhanced.style(fill=True, outline=False, rgb=(255, 0, 10))
    within, edge, outside = (int(colour) for colour in enhanced.overlay[0, :3])
    assert within == edge != 0
    assert outside == 0
    alpha, red = within >> 24, within >> 16 & 255
    assert 0 < alpha < 255
    assert red == alpha  # premultiplied
    enhanced.lay(patch(one, LEFT, nuclei=nuclei(LEFT, 1.0)))  # later patches have the style too
    assert int(enhanced.overlay[0, 0]) == edge


def test_small_disagreement_is_not_drawn_and_large_stands_out():
    apart = np.array(
        [[np.nan, 0, VISIBLE_DN - 0.5, VISIBLE_DN + 0.5, STRIKING_DN, 500]], np.float32
    )
    alphas = (heated(apart) >> 24)[0].tolist()
    assert alphas[:3] == [0, 0, 0]
    assert 0 < alphas[3] < alphas[4] == alphas[5] < 255
    enhanced = Enhanced()
    enhanced.lay(patch(seen(), LEFT, apart=np.full((ROWS, 8), 9.0, np.float32)))
    assert np.isnan(enhanced.apart[:, 8:]).all()
    assert (enhanced.apart[:, :8] == 9.0).all()
    assert not enhanced.layer.heat[:, 8:].any()


def test_the_border_is_traced_where_the_field_is_not_all_enhanced():
    enhanced, one = Enhanced(), seen()
    assert borders([], one.shape) == []
    enhanced.lay(patch(one, Window(2, 4, 6, 10)))
    (line,) = borders(enhanced.in_place(one, here), one.shape)
    assert (line.min(axis=0).tolist(), line.max(axis=0).tolist()) == ([4, 2], [13, 7])
    enhanced.lay(patch(one))
    assert borders(enhanced.in_place(one, here), one.shape) == []
    moved = enhanced.in_place(seen(2), lambda was, now: (5.0, -3.0))
    (line,) = borders(moved, one.shape)
    assert (line.min(axis=0).tolist(), line.max(axis=0).tolist()) == ([5, 0], [19, 8])


def test_where_nobody_knows_the_pixel_size_there_is_no_area():
    enhanced = Enhanced()
    assert enhanced.covered_um2 is None
    enhanced.lay(patch(seen(um_per_px=None), nuclei=nuclei(WHOLE, 4.0)))
    assert enhanced.covered_um2 is None
    assert enhanced.areas_um2.tolist() == [4.0]
    enhanced.clear()
    assert (enhanced.seen, enhanced.pixels, enhanced.rgb()) == (None, None, None)


def test_classes_beyond_the_known_ones_have_no_colour():
    assert not table(fill=True, outline=True)[3:].any()
