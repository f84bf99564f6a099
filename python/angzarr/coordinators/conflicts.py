"""Tests of a command's new pages against what others did: overlap (CMD-20) and cascade locks
(CAS-20, CAS-21).
"""

from __future__ import annotations

from collections.abc import Sequence

from angzarr import wire
from angzarr.coordinators import merge
from angzarr.coordinators.merge import StateUnknown
from angzarr.coordinators.pipeline import Call, Pipeline, storing
from angzarr.coordinators.views import View
from angzarr.errors import CascadeConflict, SnapshotUnreadable
from angzarr.ports.event_store import Book


class Conflicts:
    """Computes states through the handler's port and compares them."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def overlap(
        self, call: Call, view: View, pages: Sequence[wire.EventPage]
    ) -> frozenset[str]:
        """Fields changed both by what came after the stamp and by `pages`; StateUnknown if that
        can't be told.
        """
        return merge.overlap(*await self.changes(call, view, pages, call.expected))

    async def changes(
        self, call: Call, view: View, pages: Sequence[wire.EventPage], since: int
    ) -> tuple[frozenset[str], frozenset[str]]:
        """(theirs, mine): fields changed by the stream's pages from `since` on, and by `pages`
        after them; StateUnknown if that can't be told.
        """
        component, message = call.component, view.message
        snapshot = _snapshot(message)
        current = await merge.state(component, message.pages, snapshot, call.context)
        earlier = await self._state_below(call, view, since)
        after = await merge.state(component, [*message.pages, *pages], snapshot, call.context)
        diff = component.handler.diff
        return diff(earlier, current), diff(current, after)

    async def refuse_locked(self, call: Call, view: View, pages: Sequence[wire.EventPage]) -> None:
        """CascadeConflict if `pages` change what undecided cascades other than the call's own
        changed.
        """
        if view.is_plain or not pages:
            return
        holders = await self._holders(call)
        if not holders:
            return
        try:
            fields = await self._locked_fields(call, view, pages, set(holders.values()))
        except StateUnknown:
            fields = merge.WHOLE  # without Replay the whole stream is locked
        if fields:
            raise CascadeConflict(call.cover, sorted(set(holders.values())), sorted(fields))

    async def _holders(self, call: Call) -> dict[int, str]:
        """Sequences pending in other, undecided cascades, with their ids."""
        with storing("load events"):
            pending = await self._pipeline.events.pending(call.cover)
            others = {
                page.sequence: page.cascade_id
                for page in pending
                if page.cascade_id != call.cascade_id
            }
            decided = await self._pipeline.views.outcomes(set(others.values()))
        return {sequence: name for sequence, name in others.items() if name not in decided}

    async def _locked_fields(
        self, call: Call, view: View, pages: Sequence[wire.EventPage], holders: set[str]
    ) -> frozenset[str]:
        component, context = call.component, call.context
        message = view.message
        snapshot = _snapshot(message)
        without = await merge.state(component, message.pages, snapshot, context)
        stored = Book(view.stored, view.next_sequence, view.is_plain)
        shown = await self._pipeline.views.of(
            stored, call.cover, context, own=holders | {call.cascade_id}
        )
        with_them = await merge.state(component, shown.message.pages, snapshot, context)
        after = await merge.state(component, [*message.pages, *pages], snapshot, context)
        diff = component.handler.diff
        return merge.overlap(diff(without, with_them), diff(without, after))

    async def _state_below(self, call: Call, view: View, end: int) -> bytes:
        """The state of the pages below `end`, on no snapshot that holds later ones (CMD-20)."""
        message = view.message
        base = _snapshot(message)
        if base is None or base.sequence < end:
            return await merge.state(
                call.component, merge.below(message.pages, end), base, call.context
            )
        base = await self._pipeline.snapshot_below(call, end)
        try:
            return await self._state_on(call, base, end)
        except SnapshotUnreadable as error:
            self._pipeline.counters.skipped(call.cover, error)
        return await self._state_on(call, None, end)

    async def _state_on(self, call: Call, base: wire.Snapshot | None, end: int) -> bytes:
        start = base.sequence + 1 if base else 0
        with storing("load events"):
            book = await self._pipeline.events.load(
                call.cover, start=start, stop=end, divergence=call.divergence
            )
            earlier = await self._pipeline.view(book, call)
        return await merge.state(call.component, earlier.message.pages, base, call.context)


def _snapshot(book: wire.EventBook) -> wire.Snapshot | None:
    return book.snapshot if book.HasField("snapshot") else None
