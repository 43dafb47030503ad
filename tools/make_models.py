"""Train the models that scope-sr ships, from redistributable images, and judge them.

``python tools/make_models.py DATA OUT``, where DATA holds

- ``tnbc_naylor/{images,masks}/PP_K.png``: P. Naylor et al., Zenodo 1175282, CC BY 4.0, patients
  01 to 07;
- ``tcia_4a4dkp9u/{images,images_nomask}``: L. Hou et al., doi 10.7937/tcia.2019.4a4dkp9u,
  CC BY 3.0;
- ``quip_tcga_he/images``: SBU-BMI/quip_cnn_segmentation, BSD-3-Clause.

Each step is a ``scope-sr`` command, said before it runs; what is finished is not done again, and
what was stopped is resumed. The models end in ``OUT/models``; ``--ship`` puts the three of the
package into it, ``--all`` trains and judges those too that docs/models.md compares them with. It
takes about two hours on one core, and two more for all.

No network learns from patients 02, 06 and 07 of TNBC, nor from the TCGA images in `TEST`; the
models are judged on them.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

TEST = {
    "tnbc02", "tnbc06", "tnbc07", "tcia_1_crop", "tcia_8_crop", "quip-real3", "quip_refer_2",
    "quip_refer_8", "quip_refer_16", "quip_refer_24",
}  # fmt: skip
VAL = {
    "tnbc05", "tcia_6_crop", "tcia_926_crop", "quip-real6", "quip_refer_6", "quip_refer_14",
}  # fmt: skip
BLURRED = {"refer_1.png", "refer_12.png", "refer_19.png"}  # out of focus: nothing to learn from
LICENCES = {
    "pairs": "CC BY 4.0 (TNBC), CC BY 3.0 (TCIA 4a4dkp9u), BSD-3-Clause (quip_cnn_segmentation)",
    "masks": "CC BY 4.0 (TNBC)",
}
RECIPES = Path(__file__).parent / "models"
SHIPPED = Path(__file__).parents[1] / "scope_sr" / "modelfile" / "shipped"
# generator: data, what it begins with
SR = {"compact-x2": ("pairs-x2", ""), "compact-x4": ("pairs-x4", "compact-x2")}
COMPARED = {
    "srresnet-x2": ("pairs-x2", ""), "srresnet-x4": ("pairs-x4", "srresnet-x2"),
    "bicubic-x2": ("pairs-x2", ""), "bicubic-x4": ("pairs-x4", "bicubic-x2"),
}  # fmt: skip


def main() -> None:
    """Lay out the data, train, judge."""
    options = _options()
    data, out = options.data.absolute(), options.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    lay_out_pairs(data, out)
    lay_out_masks(data, out)
    for scale in (2, 4):
        build_pairs(out, scale)
    build_masks(out)
    generators = {**SR, **(COMPARED if options.all else {})}
    for name, (dataset, start) in generators.items():
        train(out, "srgan", name, dataset, start)
    train(out, "unet", "nuclei", "nuclei", "")
    if options.all:
        train(out, "unet", "nuclei-mixed", "nuclei", "nuclei")
    for name in generators:
        judge(out, name)
    if options.ship:
        ship(out)


def lay_out_pairs(data: Path, out: Path) -> None:
    """Copy all high images into one folder, and say whose each is and in which split."""
    folder = out / "images"
    if folder.exists():
        return
    part = out / "images.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    rows = [("name", "patient", "split")]
    for path, name, patient in images_of(data):
        shutil.copyfile(path, part / name)
        rows.append((name, patient, split_of(patient)))
    with (out / "images.csv").open("w", newline="") as table:
        csv.writer(table).writerows(rows)
    part.replace(folder)


def images_of(data: Path) -> Iterator[tuple[Path, str, str]]:
    """Give each image, its new name and its patient."""
    for path in sorted((data / "tnbc_naylor" / "images").glob("*.png")):
        yield path, f"tnbc_{path.name}", f"tnbc{path.name[:2]}"
    for folder in ("images", "images_nomask"):
        for path in sorted((data / "tcia_4a4dkp9u" / folder).glob("*.png")):
            yield path, f"tcia_{path.name}", f"tcia_{path.stem}"
    for path in sorted((data / "quip_tcga_he" / "images").glob("*.png")):
        if path.name not in BLURRED:
            number = path.stem.rpartition("_")[2]
            # image0_k and image1_k show one tile
            tile = f"quip-real{number}" if path.name.startswith("real") else f"quip_{path.stem}"
            yield path, f"quip_{path.name}", tile


def split_of(patient: str) -> str:
    """Say in which split a patient is."""
    return "test" if patient in TEST else "val" if patient in VAL else "train"


def lay_out_masks(data: Path, out: Path) -> None:
    """Lay TNBC out as its authors do."""
    folder = out / "TNBC"
    if folder.exists():
        return
    part = out / "TNBC.part"
    shutil.rmtree(part, ignore_errors=True)
    rows = [("name", "patient", "split")]
    for path in sorted((data / "tnbc_naylor" / "images").glob("*.png")):
        number = path.name[:2]
        for source, home in (("images", "Slide"), ("masks", "GT")):
            (part / f"{home}_{number}").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(
                data / "tnbc_naylor" / source / path.name, part / f"{home}_{number}" / path.name
            )
        rows.append((path.name, f"tnbc{number}", split_of(f"tnbc{number}")))
    with (out / "TNBC.csv").open("w", newline="") as table:
        csv.writer(table).writerows(rows)
    part.replace(folder)


def build_pairs(out: Path, scale: int) -> None:
    """Compute low images through the optics of the simulated rig."""
    home = out / f"pairs-x{scale}"
    run("build-dataset", "--images", out / "images", "--rig", "simulated", "--scale", scale,
        "--patients", out / "images.csv", "--licence", LICENCES["pairs"], "--out", home,
        done=home / "report.html")  # fmt: skip


def build_masks(out: Path) -> None:
    """Read the masks."""
    home = out / "nuclei"
    run("build-dataset", "--masks", out / "TNBC", "--patients", out / "TNBC.csv",
        "--licence", LICENCES["masks"], "--out", home, done=home / "report.html")  # fmt: skip


def train(out: Path, job: str, name: str, dataset: str, start: str) -> None:
    """Train a model, or go on with it, and give it its name."""
    model = out / "models" / f"{name}.ts"
    home = out / "runs" / name
    made = home / ("nuclei.ts" if job == "unet" else "fidelity.ts")
    if (home / "checkpoints" / "last.pt").exists():
        run("train", job, "--out", home, "--resume", done=made)
    else:
        shutil.rmtree(home, ignore_errors=True)
        begin = ["--start", out / "models" / f"{start}.ts"] if start else []
        run("train", job, "--data", out / dataset, "--recipe", recipe_of(out, name), *begin,
            "--out", home, done=made)  # fmt: skip
    if not model.exists():
        christen(made, name, model)


def judge(out: Path, name: str) -> None:
    """Measure a generator on the patients nothing has learnt from, and the nuclei found in it."""
    model, data = out / "models" / f"{name}.ts", out / "nuclei"
    way = ["--degrade", "bicubic"] if name.startswith("bicubic") else []
    for by in ("nuclei", "nuclei-mixed"):
        report = out / "reports" / f"{name}-{by}"
        if (finder := out / "models" / f"{by}.ts").exists():
            run("evaluate", model, "--data", data, "--nuclei", finder, *way, "--out", report,
                done=report / "report.json")  # fmt: skip


def recipe_of(out: Path, name: str) -> Path:
    """Put the models of this very make into the recipe's mixture."""
    text = (RECIPES / f"{name}.toml").read_text("utf-8")
    home = out / "recipes" / f"{name}.toml"
    home.parent.mkdir(exist_ok=True)
    home.write_text(text.replace("OUT", out.as_posix()), "utf-8")
    return home


def christen(made: Path, name: str, model: Path) -> None:
    """Write a model file under the name it is shipped by; weights and figures stay."""
    from scope_sr.export import opened
    from scope_sr.modelfile import save

    network, card = opened(made)
    model.parent.mkdir(exist_ok=True)
    save(network, replace(card, name=name), model)


def ship(out: Path) -> None:
    """Put the models into the package, with their SHA-256."""
    sums = {}
    for name in (*SR, "nuclei"):
        shutil.copyfile(out / "models" / f"{name}.ts", SHIPPED / f"{name}.ts")
        sums[name] = (out / "models" / f"{name}.ts.sha256").read_text("utf-8").split()[0]
    (SHIPPED / "sha256.json").write_text(json.dumps(sums, indent=2) + "\n", "utf-8")


def run(command: str, *options: object, done: Path) -> None:
    """Carry a command of scope-sr out, unless what it makes is there."""
    if done.exists():
        return
    line = [sys.executable, "-m", "scope_sr", command, *map(str, options)]
    print("+", *line[1:], flush=True)  # noqa: T201
    # the calibration record of the simulated rig is found from here
    subprocess.run(line, check=True, cwd=Path(__file__).parents[1])  # noqa: S603


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--ship", action="store_true", help="copy the models into the package")
    parser.add_argument("--all", action="store_true", help="train those compared with, too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
