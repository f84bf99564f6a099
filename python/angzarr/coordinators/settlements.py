"""Outputs that are done with at their source: refused, scheduled or cancelled (COMP-3, TIMER-2).

An accepted output is known at its destination, where it has its key. A refused one left no trace
there: were its reaction to run again, it might be accepted, and its source be told of a rejection
all the same. So a key at the source says that it is done with, in one write with the obligations
that follow; the same holds for timers, which have no destination.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from angzarr.coordinators import failures
from angzarr.coordinators.outputs import Source
from angzarr.cover import REFUSED, SCHEDULED, Provenance
from angzarr.errors import AngzarrError, RemoteError, SequenceConflict, StoreUnavailable, clip
from angzarr.ports.event_store import Dropped, EventStore, Obligation

REASON_BYTES_MAX: Final = 4 * 1024
TRIES: Final = 100
"""Attempts at a key in a stream that others write to; a conflict means that one of them got on."""


class Worker(Protocol):
    """The worker of obligations."""

    def wake(self) -> None:
        """Look for what is due: an append has carried obligations."""
        ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a command was refused, as it is kept with its key."""

    code: str
    kind: str
    message: str
    is_parked: bool

    @property
    def error(self) -> AngzarrError:
        """The destination's error once more."""
        return RemoteError(self.code, self.message, error_kind=self.kind)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Refusal).decode


class Settlements:
    """Keys of settled outputs, in the streams of their sources."""

    def __init__(self, events: EventStore, worker: Worker) -> None:
        self._events = events
        self._worker = worker

    async def refusal(self, source: Source, index: int) -> Refusal | None:
        """How a command was refused, if it was. Raises StoreUnavailable."""
        key = source.provenance(index, REFUSED)
        found = await self._events.find_by_provenance(source.cover, key)
        return None if found is None else _decode(found.answer)

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
        refusal = Refusal(
            failures.code_of(error),
            failures.kind_of(error),
            clip(str(error), REASON_BYTES_MAX),
            is_parked,
        )
        key = source.provenance(index, REFUSED)
        await self._settle(source, key, obligations, _encode(refusal))

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
