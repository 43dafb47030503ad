"""What a snapshot or a recording needs to know, gathered where it is known: in the window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_sr.live.keeping.provenance import Circumstances, Network
from scope_sr.live.keeping.snapshot import Moment
from scope_sr.live.model.thread import ModelState

if TYPE_CHECKING:
    from scope_sr.live.window.window import LiveWindow


def moment(window: LiveWindow) -> Moment | None:
    """Gather what is there now; None before the first frame.

    The enhanced picture belongs to the frame it was made of: where there is one, that frame is
    saved, so that original and enhanced show the same.
    """
    enhanced, seen = window.canvas.enhanced, window.seen
    if seen is None:
        return None
    made_of = enhanced.seen
    if made_of is None or made_of.view != seen.view:
        return Moment(seen, circumstances(window))
    return Moment(
        made_of,
        circumstances(window),
        enhanced=enhanced.rgb(),
        labels=enhanced.labels(),
        covered=enhanced.covered,
        areas_um2=enhanced.areas_um2.copy(),
        counted_um2=enhanced.covered_um2,
        apart=None if enhanced.apart is None else enhanced.apart.copy(),
    )


def circumstances(window: LiveWindow) -> Circumstances:
    """Say what all pictures of this while have in common."""
    pipeline = window.pipeline
    state = pipeline.model.state()
    return Circumstances(
        source=pipeline.stand.name,
        rig=pipeline.stand.rig,
        gains=pipeline.camera.gains,
        camera_gain=pipeline.stand.gain,
        model=_network(state, "model"),
        nuclei=_network(state, "nuclei"),
        notes=tuple(state.warnings),
    )


def _network(state: ModelState, kind: str) -> Network | None:
    card = state.cards.get(kind)
    if card is None:
        return None
    return Network(card.name, state.sums.get(kind, ""), state.backend, card)
