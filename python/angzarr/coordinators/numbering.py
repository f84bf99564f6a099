"""New pages and snapshots out of a handler's response: numbered, dated and marked (CMD-30 to
CMD-33, SNAP-3).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from angzarr import wire
from angzarr.coordinators import books
from angzarr.coordinators.views import View
from angzarr.cover import Cover
from angzarr.errors import SequenceExhausted
from angzarr.ports.clock import Clock
from angzarr.ports.event_store import SEQUENCE_MAX

STREAMS_KEPT: Final = 16_384


class Times:
    """Times of pages that their maker left undated: the clock's, never running backwards in a
    stream (CMD-33).
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: OrderedDict[tuple[str, str, bytes], int] = OrderedDict()

    def now_ns(self) -> int:
        """The clock's time."""
        return self._clock.now_ns()

    def next_ns(self, cover: Cover, view: View) -> int:
        """The time for new pages of the stream, of which `view` is the end.

        For a stream that this process has not dated yet, its last page stands for the previous
        value.
        """
        last = self._last.get(cover.stream)
        if last is None:
            pages = view.message.pages if view.next_sequence else ()
            last = books.nanoseconds(pages[-1].created_at) if pages else 0
        return max(last, self._clock.now_ns())

    def dated(self, cover: Cover, time_ns: int) -> None:
        """Remember that pages with this time were written."""
        self._last[cover.stream] = max(time_ns, self._last.pop(cover.stream, 0))
        if len(self._last) > STREAMS_KEPT:
            self._last.popitem(last=False)


def new_pages(response: wire.EventBook, view: View) -> list[wire.EventPage]:
    """The response's pages without the leading ones that merely repeat pages of `view` (CMD-31)."""
    pages = list(response.pages)
    echoed = 0
    loaded: dict[int, wire.EventPage] | None = None
    for page in pages:
        header = page.header
        if not header.HasField("sequence") or header.sequence >= view.next_sequence:
            break
        if loaded is None:
            loaded = {prior.header.sequence: prior for prior in view.message.pages}
        if page != loaded.get(header.sequence):
            break
        echoed += 1
    return pages[echoed:]


def number(
    pages: Sequence[wire.EventPage],
    first: int,
    *,
    cover: Cover,
    time_ns: int,
    cascade_id: str = "",
) -> bool:
    """Number `pages` from `first` on, date the undated and mark them pending in the cascade, or
    committed; in place.

    Returns whether `time_ns` was used. Raises SequenceExhausted.
    """
    if first + len(pages) - 1 > SEQUENCE_MAX:
        raise SequenceExhausted(cover)
    is_dated = False
    for sequence, page in enumerate(pages, first):
        page.header.sequence = sequence
        if not page.HasField("created_at"):
            created_at = page.created_at
            created_at.seconds, created_at.nanos = divmod(time_ns, books.NS_PER_S)
            is_dated = True
        page.committed = not cascade_id
        if cascade_id:
            page.cascade_id = cascade_id
        else:
            page.ClearField("cascade_id")
    return is_dated


def new_snapshot(response: wire.EventBook, view: View, page_count: int) -> wire.Snapshot | None:
    """The response's snapshot at the stream's new end if its state is a new one (SNAP-3)."""
    end = view.next_sequence + page_count
    if not end or not response.HasField("snapshot") or not response.snapshot.HasField("state"):
        return None
    returned = response.snapshot
    loaded = books.snapshot_in(view.data)
    if loaded is not None and loaded.state == returned.state:
        return None
    retention = returned.retention
    if retention not in (wire.RETENTION_PERSIST, wire.RETENTION_TRANSIENT):
        retention = wire.RETENTION_DEFAULT
    return wire.Snapshot(sequence=end - 1, state=returned.state, retention=retention)
