"""Outputs that are done with at their source: refused, scheduled or cancelled (COMP-3, TIMER-2).

An accepted output is known at its destination, where it has its key. That a refused one is done
with is said by a key at the source, in one write with the obligations that follow: its destination
may be out of reach, or lead another store. The same holds for timers, which have no destination.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from angzarr.coordinators import refusals
from angzarr.coordinators.outputs import Source
from angzarr.coordinators.refusals import Refusal
from angzarr.cover import REFUSED, SCHEDULED, Provenance
from angzarr.errors import AngzarrError, SequenceConflict, StoreUnavailable
from angzarr.ports.event_store import Dropped, EventStore, Obligation

TRIES: Final = 100
"""Attempts at a key in a stream that others write to; a conflict means that one of them got on."""


class Worker(Protocol):
    """The worker of obligations."""

    def wake(self) -> None:
        """Look for what is due: an append has carried obligations."""
        ...


class Settlements:
    """Keys of settled outputs, in the streams of their sources."""

    def __init__(self, events: EventStore, worker: Worker) -> None:
        self._events = events
        self._worker = worker

    async def refusal(self, source: Source, index: int) -> Refusal | None:
        """How a command was refused, if it was. Raises StoreUnavailable."""
        key = source.provenance(index, REFUSED)
        found = await self._events.find_by_provenance(source.cover, key)
        return None if found is None else refusals.decode(found.answer)

    async def is_carried_out(self, source: Source, index: int) -> bool:
        """Whether a timer among the outputs was carried out. Raises StoreUnavailable."""
        key = source.provenance(index, SCHEDULED)
        return await self._events.find_by_provenance(source.cover, key) is not None

    async def refuse(
        self,
        source: Source,
        index: int,
        error: AngzarrError,
        obligations: Sequence[Obligation] = (),
        *,
        is_parked: bool = False,
    ) -> None:
        """Settle a command that its destination refused for good; durable on return.

        obligations: what follows, in the same write. Raises StoreUnavailable, whatever the store
        could not do (COMP-3).
        """
        refusal = Refusal.of(error, is_parked=is_parked)
        key = source.provenance(index, REFUSED)
        await self._settle(source, key, obligations, refusals.encode(refusal))

    async def carry_out(self, source: Source, index: int, change: Obligation | Dropped) -> None:
        """Settle a timer: do what it changes. Raises StoreUnavailable as refuse."""
        await self._settle(source, source.provenance(index, SCHEDULED), (change,), b"")

    async def _settle(
        self,
        source: Source,
        key: Provenance,
        changes: Sequence[Obligation | Dropped],
        answer: bytes,
    ) -> None:
        try:
            await self._append(source, key, changes, answer)
        except StoreUnavailable:
            raise
        except AngzarrError as error:
            raise StoreUnavailable("obligations", str(error)) from error
        if changes:
            self._worker.wake()

    async def _append(
        self,
        source: Source,
        key: Provenance,
        changes: Sequence[Obligation | Dropped],
        answer: bytes,
    ) -> None:
        cover = source.cover
        for attempt in range(TRIES):
            sequence = await self._events.next_sequence(cover)
            try:
                await self._events.append(
                    cover, sequence, (), provenance=key, answer=answer, obligations=changes
                )
                return
            except SequenceConflict:
                if attempt == TRIES - 1:
                    raise
