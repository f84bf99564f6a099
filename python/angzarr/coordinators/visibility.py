"""Which pages count: the visibility transform of cascades (CAS-5 to CAS-7), without I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from angzarr import wire
from angzarr.coordinators import books
from angzarr.ports.event_store import COMMIT, ROLLBACK

FRAMEWORK: Final = "framework_event"
REVOKED: Final = "revoked"
UNCOMMITTED: Final = "uncommitted"

Marks = dict[int, set[str]]
"""Sequence → cascade ids that markers name for it; "" is any."""


def cascade_ids(pages: Iterable[wire.EventPage]) -> set[str]:
    """Cascades whose decisions the transform of `pages` needs."""
    return {
        page.cascade_id
        for page in pages
        if page.cascade_id and not books.is_framework(page.event.type_url)
    }


def transform(
    pages: Iterable[wire.EventPage], outcomes: Mapping[str, str], *, own: Collection[str] = ()
) -> None:
    """Make `pages`, parsed and in order, what a reader may see; in place, none is added or removed.

    outcomes: COMMIT or ROLLBACK by cascade id, where decided. own: cascades whose pending pages
    count, as those of the running command's own do.
    """
    pages = list(pages)
    confirmed, revoked = _marks(pages)
    for page in pages:
        if books.is_framework(page.event.type_url):
            hide(page, FRAMEWORK, "")
            continue
        cascade_id = page.cascade_id
        outcome = outcomes.get(cascade_id) if cascade_id else None
        if outcome == ROLLBACK or _is_marked(page, revoked):
            hide(page, REVOKED, cascade_id)
        elif page.committed or not cascade_id:
            continue
        elif outcome == COMMIT or _is_marked(page, confirmed):
            page.committed = True  # committed is what says visible (WIRE-8)
        elif cascade_id not in own:
            hide(page, UNCOMMITTED, cascade_id)


def has_undecided(pages: Iterable[wire.EventPage]) -> bool:
    """Whether one of `pages`, transformed, stands for a page that waits for its decision."""
    return any(
        books.full_name(page.event.type_url) == "angzarr.NoOp"
        and wire.NoOp.FromString(page.event.value).reason == UNCOMMITTED
        for page in pages
    )


def hide(page: wire.EventPage, reason: str, cascade_id: str) -> None:
    """Put a NoOp in the page's place: header and created_at stay (CAS-7)."""
    event = wire.NoOp(original_sequence=page.header.sequence, cascade_id=cascade_id, reason=reason)
    page.ClearField("external")
    page.ClearField("cascade_id")
    page.committed = True
    books.pack_framework(page, event)


def _marks(pages: Iterable[wire.EventPage]) -> tuple[Marks, Marks]:
    """Confirmed and revoked sequences by the markers among `pages`."""
    confirmed: Marks = {}
    revoked: Marks = {}
    for page in pages:
        name = books.full_name(page.event.type_url)
        if name == "angzarr.Confirmation":
            marker = wire.Confirmation.FromString(page.event.value)
            found = confirmed
        elif name == "angzarr.Revocation":
            marker = wire.Revocation.FromString(page.event.value)
            found = revoked
        else:
            continue
        for sequence in marker.sequences:
            found.setdefault(sequence, set()).add(marker.cascade_id)
    return confirmed, revoked


def _is_marked(page: wire.EventPage, marks: Marks) -> bool:
    ids = marks.get(page.header.sequence)
    return ids is not None and ("" in ids or page.cascade_id in ids)
