"""What the children of crash tests write, and how a checker recognises it: labels in every page.

A batch is one append. Its label is unique; each of its pages says which of how many it is, so half
a batch shows.
"""

from __future__ import annotations

from typing import Final

from angzarr import wire
from angzarr.cover import Cover, Provenance, root_of
from angzarr.ports.clock import SystemClock
from angzarr.ports.event_store import Dropped, Obligation

DOMAIN: Final = "crash"
EDITION: Final = "what-if"
TYPE_URL: Final = "type.googleapis.com/crash.Happened"


def page_of(sequence: int, label: str, index: int, count: int, cascade_id: str = "") -> bytes:
    """An encoded page of a batch; its size varies with the label."""
    page = wire.EventPage(header=wire.PageHeader(sequence=sequence), committed=not cascade_id)
    page.created_at.FromNanoseconds(SystemClock().now_ns())
    page.event.type_url = TYPE_URL
    page.event.value = f"{label} {index} {count} ".encode() + bytes(len(label) ** 2)
    if cascade_id:
        page.cascade_id = cascade_id
    return page.SerializeToString()


def label_of(page: wire.EventPage) -> tuple[str, int, int]:
    """(label, index, count) of a page."""
    label, index, count, _ = page.event.value.split(b" ", 3)
    return label.decode(), int(index), int(count)


def snapshot_of(sequence: int) -> bytes:
    """An encoded Snapshot of a stream up to `sequence`."""
    snapshot = wire.Snapshot(sequence=sequence)
    snapshot.state.type_url = "type.googleapis.com/crash.State"
    snapshot.state.value = str(sequence).encode()
    return snapshot.SerializeToString()


def provenance_of(label: str) -> Provenance:
    """The idempotency key of a batch."""
    return Provenance(Cover("source", root_of("source")), 0, component=label)


def changes_of(label: str, step: int, timer: str) -> list[Obligation | Dropped]:
    """What the batch of a step does to obligations: a duty of its own, or the client's timer."""
    if step % 4 == 1:
        return [Obligation(label, "duty", b"", 1)]
    if step % 8 == 6:
        return [Obligation(timer, "timer", label.encode(), step, is_replacing=True)]
    return [Dropped(timer)] if step % 16 == 15 else []


def stream_of(name: str, edition: str = "") -> Cover:
    """A stream of the workload."""
    return Cover(DOMAIN, root_of(name), edition)
