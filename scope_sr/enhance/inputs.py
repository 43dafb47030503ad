"""What the inputs stand for, what they are called, and how large their pixels are."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scope_sr.config import reason
from scope_sr.enhance.asked import Asked
from scope_sr.errors import InputError
from scope_sr.modelfile import Card, find, read_card, shipped
from scope_sr.pictures import files, openslide
from scope_sr.pictures.files import fault, natural
from scope_sr.session.layout import SESSION

SAME = 0.005  # 0.499 is another spelling of 0.5
NEAR = 0.05  # pixel sizes that differ by more are of another magnification
OME = (".ome.tif", ".ome.tiff", ".ome.btf")
MADE = (".sr.ome.tif", ".labels.ome.tif", ".fidelity.ome.tif", ".overlay.png")
# A DICOM slide is many files: of these the one to open is named
IN_FOLDERS = ({*files.ENDINGS, *openslide.ENDINGS} | {".svs", ".btf"}) - {".dcm"}


@dataclass(frozen=True)
class Input:
    """One thing to be enhanced.

    Attributes
    ----------
    name
        What its outputs begin with: of a file without ending, of a session that of its folder.
    """

    path: Path
    kind: Literal["picture", "session"]
    name: str


def inputs(paths: Sequence[Path]) -> tuple[Input, ...]:
    """Find what is to be enhanced.

    A folder is a session, or stands for the pictures and sessions that lie right in it: not for
    hidden files, nor for what ``enhance`` made. So does a pattern that the shell left as it is, as
    on Windows.

    Returns
    -------
    In the order given; within folders and patterns as their numbers count.

    Raises
    ------
    InputError
        Something is not there or not to be read, a folder holds nothing to enhance, a file was made
        by ``enhance``, or two inputs are the same or would have outputs of the same name.
    """
    found = [one for path in paths for one in _meant(path)]
    if not found:
        msg = "nothing to enhance; name a picture, a slide, a session or a folder of them"
        raise InputError(msg)
    _refuse_twice(found)
    return tuple(found)


def name_of(path: Path) -> str:
    """Name the outputs of a file or a session.

    >>> [name_of(Path(path)) for path in ("a/S1.ome.tif", "b.c.png", "slide.SVS")]
    ['S1', 'b.c', 'slide']
    """
    if path.is_dir():
        return path.resolve().name or "session"
    ending = next((ending for ending in OME if path.name.lower().endswith(ending)), path.suffix)
    return path.name[: len(path.name) - len(ending)]


def _meant(path: Path) -> list[Input]:
    if not _exists(path):
        if glob.has_magic(str(path)):
            return _matching(path)
        raise fault(path, "no such file or folder; correct its name")
    if _is_session(path):
        return [Input(path, "session", name_of(path))]
    return _inside(path) if path.is_dir() else [_picture(path)]


def _picture(path: Path) -> Input:
    if not path.is_file():
        raise fault(path, "neither a file nor a folder; name a picture")
    if path.name.lower().endswith(MADE):
        raise fault(path, "was made by scope-sr enhance; give the picture that it was made of")
    return Input(path, "picture", name_of(path))


def _inside(folder: Path) -> list[Input]:
    try:
        found = _usable(folder.iterdir())
    except OSError as error:
        raise fault(folder, f"cannot be read ({reason(error)}); make it readable") from error
    if not found:
        text = "no picture and no session lies right in this folder"
        raise fault(folder, f"{text}; name one that holds some ({', '.join(sorted(IN_FOLDERS))})")
    return found


def _matching(pattern: Path) -> list[Input]:
    found = _usable(Path(name) for name in glob.glob(str(pattern)))  # noqa: PTH207
    if not found:
        raise fault(pattern, "no picture and no session of that name; correct the pattern")
    return found


def _usable(paths: Iterable[Path]) -> list[Input]:
    # macOS leaves a hidden ._image.png beside each image on drives of other systems
    seen = sorted((path for path in paths if not path.name.startswith(".")), key=natural)
    return [
        Input(path, "session" if _is_session(path) else "picture", name_of(path))
        for path in seen
        if _is_session(path) or _is_picture(path)
    ]


def _is_picture(path: Path) -> bool:
    name = path.name.lower()
    usable = path.suffix.lower() in IN_FOLDERS and not name.endswith(MADE)
    return usable and path.is_file()


def _is_session(path: Path) -> bool:
    return _exists(path / SESSION)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or with a zero byte
        return False


def _refuse_twice(found: list[Input]) -> None:
    """Names that differ by case alone are one file on Windows and macOS."""
    taken: dict[str, Input] = {}
    for one in found:
        before = taken.setdefault(one.name.casefold(), one)
        if before is one:
            continue
        if one.path.resolve() == before.path.resolve():
            raise fault(one.path, "is given twice; give it once")
        text = f"its results would have the name of those of {before.path} ({one.name})"
        raise fault(one.path, f"{text}; rename one, or enhance them with two --out")


def pixel_size(
    stated_um: float | None, asked: Asked, path: Path, card: Card
) -> tuple[float, tuple[str, ...]]:
    """Settle the pixel size of an input: the person's word goes before the file's.

    Parameters
    ----------
    stated_um
        As the file says, or None.
    asked
        With a pixel size, or the wish to take any.
    card
        Of the generator.

    Returns
    -------
    µm per pixel, and warnings.

    Raises
    ------
    InputError
        Nobody says it, or it differs by more than 5 % from what the model was made for.
    """
    um_per_px = asked.um_per_px or stated_um
    if um_per_px is None:
        msg = (
            f"{path}: does not say how large its pixels are; say --um-per-px"
            f" ({'; '.join(_made_for())})"
        )
        raise InputError(msg)
    if not asked.any_pixel_size and not near(um_per_px, card.um_per_px_in):
        msg = (
            f"{path}: {um_per_px:.4g} µm per pixel, {asked.model} was made for"
            f" {card.um_per_px_in:.4g}; {_way_out(um_per_px, card)}"
        )
        raise InputError(msg)
    if stated_um and abs(um_per_px / stated_um - 1) > SAME:
        words = f"the file says {stated_um:.4g} µm per pixel, --um-per-px {um_per_px:.4g} is taken"
        return um_per_px, (words,)
    return um_per_px, ()


def refuse_unfit_nuclei(asked: Asked, nuclei: Card, um_per_px: float, path: Path) -> None:
    """Refuse to look for nuclei in enhanced pictures of another pixel size than a model knows.

    Parameters
    ----------
    um_per_px
        Of the enhanced picture.

    Raises
    ------
    InputError
        The sizes differ by more than 5 %.
    """
    if not asked.any_pixel_size and not near(um_per_px, nuclei.um_per_px_in):
        msg = (
            f"{path}: enhanced {um_per_px:.4g} µm per pixel, --nuclei {asked.nuclei} was made for"
            f" {nuclei.um_per_px_in:.4g}; {_way_out(um_per_px, nuclei)}"
        )
        raise InputError(msg)


def near(um_per_px: float, wanted_um: float | None) -> bool:
    """Whether a pixel size is, within 5 %, the wanted one; any is where none is wanted.

    >>> near(0.504, 0.5), near(0.25, 0.5), near(0.25, None)
    (True, False, True)
    """
    return wanted_um is None or abs(um_per_px / wanted_um - 1) <= NEAR


def _way_out(um_per_px: float, card: Card) -> str:
    fitting = [
        name
        for name, other in _shipped()
        if other.kind == card.kind and other.um_per_px_in and near(um_per_px, other.um_per_px_in)
    ]
    option = "--nuclei" if card.kind == "nuclei" else "--model"
    other_model = (
        f"take {option} {' or '.join(fitting)}" if fitting else "take a model of that size"
    )
    return f"{other_model}, or say --any-pixel-size"


def _made_for() -> list[str]:
    """Say for which pixel sizes there are generators."""
    return [
        f"{name} is for {card.um_per_px_in:.4g}"
        for name, card in _shipped()
        if card.kind == "sr" and card.um_per_px_in
    ]


def _shipped() -> list[tuple[str, Card]]:
    return [(name, read_card(find(name)[0])) for name in shipped()]
