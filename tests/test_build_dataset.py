"""Datasets built from simulated sessions, against what the simulator knows."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from paired_sessions import Slip, awkward_rig, session_of, truth_of
from sessions import tree

from scope_sr.build_dataset import run
from scope_sr.build_dataset.setup import set_up
from scope_sr.check import check
from scope_sr.cli import cli
from scope_sr.dataset import Dataset, Pair
from scope_sr.dataset.folder import RESHOOT
from scope_sr.errors import InputError
from scope_sr.imaging.laying import covered
from scope_sr.imaging.session_model import Lens, SessionModel
from scope_sr.session import Session

SIZE_PX, SEED = 256, 14
pytestmark = pytest.mark.xdist_group("build_dataset")


def quiet(_stage: str, _done: int, _total: int) -> None:
    """Show no progress."""


def build(
    folder: Path,
    out: Path,
    *,
    tell: Callable[[str, int, int], None] = quiet,
    count: int = 1,
    resume: bool = False,
    patients: Path | None = None,
) -> run.Built:
    return run.from_sessions(
        [folder], out, scale=None, patients=patients, licence="", count=count, resume=resume,
        tell=tell,
    )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def without_pictures() -> object:
    """Leave out the drawing: tests/test_build_report.py looks at that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "draw_pictures", lambda *_args: None)
        yield


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return session_of(tmp_path_factory.mktemp("good"), awkward_rig(SEED, SIZE_PX))


@pytest.fixture(scope="module")
def dataset(good: Session, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return build(good.folder, tmp_path_factory.mktemp("built") / "ds").dataset


SLIPS = {
    "low/r00c00": Slip(defocus_um=4.0),
    "high/r00c01-r00c00": Slip(defocus_um=1.3),
    "high/r00c01-r00c01": Slip(defocus_um=-1.3),
    "high/r00c01-r01c00": Slip(off_um=(0.0, -9.0)),
    "high/r01c01-r01c00": Slip(stuck=True),
    "high/r01c00-r00c00": Slip(off_um=(160.0, 90.0)),
}


@pytest.fixture(scope="module")
def slipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Session, run.Built]:
    folder = tmp_path_factory.mktemp("slipped")
    session = session_of(folder, awkward_rig(SEED, SIZE_PX), slips=SLIPS)
    return session, build(session.folder, folder / "ds")


def model_of(dataset: Dataset) -> SessionModel:
    facts = dataset.header.sources[0].facts
    radius = facts["radius_px"]
    return SessionModel(
        linear=np.array(facts["linear"]),
        low=Lens(radius, facts["low_distortion"]),
        high=Lens(radius, facts["high_distortion"]),
        low_bend=np.array(facts["low_bend_px"]),
        high_bend=np.array(facts["high_bend_px"]),
    )


def errors_px(session: Session, dataset: Dataset) -> list[float]:
    """Give the RMS error of each pair kept, over its field, in high pixels of the dataset."""
    truth, model = truth_of(session), model_of(dataset)
    size = session.rig.camera.width_px, session.rig.camera.height_px
    setup = set_up(session, "s", dataset.header.scale)
    found = []
    for pair in dataset.items:
        if not isinstance(pair, Pair) or not pair.accepted:
            continue
        shift = np.array([pair.facts["shift_x_px"], pair.facts["shift_y_px"]], float)
        box = covered(model, shift, size[::-1], size[::-1])
        assert (box.x, box.y, box.width, box.height) == pair.box_px
        x, y = (np.linspace(a, a + n - 1, 15) for a, n in ((box.x, box.width), (box.y, box.height)))
        at = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2) - (np.array(size) - 1) / 2
        low, high = (truth[str(pair.facts[key])] for key in ("low_step", "high_step"))
        true = high.offsets_px(low.seen_um(at))
        inside = (np.abs(true) < np.array(size) / 2).all(axis=1)
        off = (model.to_high(at, shift) - true)[inside] * setup.scale / setup.ratio
        found.append(math.sqrt((off**2).sum(axis=1).mean()))
    return found


def test_pairs_lie_where_the_truth_says(good: Session, dataset: Dataset) -> None:
    errors = errors_px(good, dataset)
    assert len(errors) >= 15
    assert np.median(errors) < 0.03
    assert max(errors) < 0.08


def test_nearly_all_good_pairs_are_kept(good: Session, dataset: Dataset) -> None:
    kept = sum(item.accepted for item in dataset.items)
    assert kept >= 0.95 * len(good.plan.of_pass("high"))


def test_the_two_images_show_the_same(good: Session, dataset: Dataset) -> None:
    k = dataset.header.scale
    for pair in dataset.items:
        assert isinstance(pair, Pair)
        low, high = dataset.images(pair)
        assert high.shape[:2] == (k * low.shape[0], k * low.shape[1])
        rows, columns = np.nonzero(dataset.usable(pair))
        part = np.s_[rows.min() * 8 : rows.max() * 8, columns.min() * 8 : columns.max() * 8]
        small = high.reshape(low.shape[0], k, low.shape[1], k, 3).mean(axis=(1, 3))
        levels = 255 / good.rig.camera.full_scale
        off = (low[part].astype(float) - small[part]) * levels
        assert abs(np.median(off)) < 1.0  # grey levels of 8 bits: the colours match
        assert np.sqrt((off**2).mean()) < 9


def test_low_pixels_are_the_cameras_own(good: Session, dataset: Dataset) -> None:
    pair = next(item for item in dataset.items if isinstance(item, Pair))
    raw = good.read(str(pair.facts["low_step"])).astype(float)
    flat, dark = (good.record.field("10x", kind) for kind in ("flat", "dark"))
    assert flat is not None
    assert dark is not None
    stored = dataset.mapped(pair.low)
    assert np.abs((raw - dark) / flat - stored).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("name", SLIPS)
def test_every_slip_is_rejected(slipped: tuple[Session, run.Built], name: str) -> None:
    _, built = slipped
    hit = [
        item
        for item in built.dataset.items
        if name in (item.facts["low_step"], item.facts["high_step"])
    ]
    assert hit
    assert not any(item.accepted for item in hit)


def test_what_did_not_slip_is_kept(slipped: tuple[Session, run.Built]) -> None:
    _, built = slipped
    rest = [
        item
        for item in built.dataset.items
        if not SLIPS.keys() & {item.facts["low_step"], item.facts["high_step"]}
    ]
    assert len(rest) == 7
    assert all(item.accepted for item in rest)


def test_fields_that_slipped_are_to_be_taken_again(slipped: tuple[Session, run.Built]) -> None:
    session, built = slipped
    (again,) = built.reshoot
    assert again["session"] == str(session.folder)
    asked = {step["step"] for step in again["steps"]}
    assert asked == SLIPS.keys()


@pytest.mark.slow
def test_one_worker_or_two_give_the_same_bytes(
    good: Session, dataset: Dataset, tmp_path: Path
) -> None:
    other = build(good.folder, tmp_path / "ds", count=2).dataset.folder
    first, second = (tree(folder) for folder in (dataset.folder, other))
    assert first.keys() == second.keys()
    assert all(first[name] == second[name] for name in first if name != RESHOOT)


class PulledError(Exception):
    """The plug."""


@pytest.mark.parametrize("stage", ["measuring", pytest.param("drawing", marks=pytest.mark.slow)])
def test_a_build_broken_off_goes_on_to_the_same_dataset(
    good: Session, dataset: Dataset, tmp_path: Path, stage: str
) -> None:
    def pull(what: str, done: int, total: int) -> None:
        if what.endswith(stage) and 0 < done < total:
            raise PulledError

    with pytest.raises(PulledError):
        build(good.folder, tmp_path / "ds", tell=pull)
    with pytest.raises(InputError, match="no dataset there"):
        Dataset.open(tmp_path / "ds")
    with pytest.raises(InputError, match="--resume"):
        build(good.folder, tmp_path / "ds")
    seen: list[tuple[str, int]] = []
    again = build(
        good.folder, tmp_path / "ds", resume=True, tell=lambda s, d, _: seen.append((s, d))
    )
    assert next(done for what, done in seen if what.endswith(stage)) > 0
    first, second = (tree(folder) for folder in (dataset.folder, again.dataset.folder))
    assert first.keys() == second.keys()
    assert all(first[name] == second[name] for name in first if name != RESHOOT)


def test_no_tissue_crosses_a_split(dataset: Dataset) -> None:
    assert check(dataset.folder).ok
    assert {item.split for item in dataset.items if item.accepted} == {"train", "val", "test"}


def test_sessions_are_added_and_nobody_changes_sides(
    good: Session, dataset: Dataset, slipped: tuple[Session, run.Built], tmp_path: Path
) -> None:
    other, _ = slipped
    folder = tmp_path / "second"
    shutil.copytree(other.folder, folder)
    out = tmp_path / "ds"
    shutil.copytree(dataset.folder, out)
    seen = []
    built = run.from_sessions(
        [good.folder, folder], out, scale=None, patients=None, licence="", count=1, resume=True,
        tell=lambda stage, *_: seen.append(stage),
    )  # fmt: skip
    assert not any(stage.startswith("session:") for stage in seen)  # known and unchanged
    assert built.dataset.header.areas == dataset.header.areas
    before = {item.name: item for item in dataset.items}
    after = {item.name: item for item in built.dataset.items}
    assert all(after[name] == item for name, item in before.items())
    assert any(name.startswith("second/") for name in after)
    with pytest.raises(InputError, match="name all it holds"):
        build(folder, out, resume=True)


def test_a_damaged_dataset_is_mended_by_building_on(
    good: Session, dataset: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "ds"
    shutil.copytree(dataset.folder, out)
    whole = tree(out)
    image = next(path for path in sorted(out.rglob("*.tif")) if "high" in path.parts)
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    index = out / "index.jsonl"
    index.write_bytes(index.read_bytes().replace(b'"split": "val"', b'"split": "train"'))
    found = check(out)
    assert not found.ok
    assert "edited since" in found.text
    build(good.folder, out, resume=True)
    assert check(out).ok
    mended = tree(out)
    assert all(mended[name] == whole[name] for name in whole if name != RESHOOT)


def test_half_a_session_is_told(good: Session, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    shutil.copytree(good.folder, folder)
    for name in ("r00c00-r00c00", "r01c01-r01c01"):
        (folder / f"high/{name}.ome.tif").unlink()
    (remark,) = build(folder, tmp_path / "ds").remarks
    assert remark.startswith("half: 2 of 20 fields are not captured")
    assert f"acquire-pairs --resume --out {folder}" in remark


def test_reshoot_takes_again_what_the_dataset_asks_for(
    slipped: tuple[Session, run.Built], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session, built = slipped
    folder = tmp_path / "again"
    shutil.copytree(session.folder, folder)
    asked = ["acquire-pairs", "--reshoot", str(built.dataset.folder), "--out", str(folder)]
    cli.main([*asked, "--dry-run"], standalone_mode=False)
    assert f"{len(SLIPS)} fields of" in capsys.readouterr().out
    assert not Session.open(folder).remaining()
    cli.main([*asked, "--skip-check"], standalone_mode=False)
    after = Session.open(folder)
    assert not after.remaining()
    taken = {name for name, entry in after.entries.items() if entry != session.entries[name]}
    assert taken == SLIPS.keys()
    cli.main([*asked, "--skip-check"], standalone_mode=False)  # nothing is left to take again
    assert Session.open(folder).entries == after.entries
    again = build(folder, tmp_path / "ds").dataset
    assert sum(item.accepted for item in again.items) >= 15


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("scale", [2, 4])
def test_ten_awkward_rigs(scale: int, tmp_path: Path) -> None:
    """Every pair kept, at 512 px; benchmarks/registration.py judges held-out fields."""
    errors, kept, good = [], 0, 0
    for seed in range(10):
        folder = tmp_path / str(seed)
        folder.mkdir()
        rows = 2 if scale == 2 else 1
        session = session_of(folder, awkward_rig(seed, 512, scale), rows=rows)
        built = build(session.folder, folder / "ds").dataset
        errors += errors_px(session, built)
        with_tissue = [item for item in built.items if item.gates and item.gates["tissue"].ok]
        good += len(with_tissue)
        kept += sum(item.accepted for item in with_tissue)
    assert np.median(errors) <= 0.03
    assert np.percentile(errors, 95) <= 0.06
    assert max(errors) <= 0.15
    assert kept >= (0.95 if scale == 2 else 0.85) * good  # 126 px of tissue hold few blocks at x4
    assert good > 100


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("scale", [2, 4])
def test_ten_awkward_rigs_with_slips(scale: int, tmp_path: Path) -> None:
    """Every pair that is defocused, of a wrong place or taken twice is rejected."""
    for seed in range(10):
        folder = tmp_path / str(seed)
        folder.mkdir()
        slips = {
            "low/r00c00": Slip(defocus_um=4.0 if seed % 2 else -4.0),
            "high/r00c01-r00c00": Slip(defocus_um=1.3),
            "high/r00c01-r00c01": Slip(defocus_um=-1.3),
            "high/r00c01-r01c00": Slip(off_um=(40.0, 30.0)),
            "high/r00c01-r01c01": Slip(stuck=True),
        }
        # half of the fields are good: what is usual in a session cannot be told from slips alone
        rows = 2 if scale == 2 else 1
        session = session_of(folder, awkward_rig(seed, 512, scale), rows=rows, slips=slips)
        for item in build(session.folder, folder / "ds").dataset.items:
            hit = slips.keys() & {item.facts["low_step"], item.facts["high_step"]}
            assert not (hit and item.accepted), (seed, item.name, item.gates)
