"""Merge strategies: what a stale stamp leads to (CMD-12 to CMD-18), and which fields two changes
share (CMD-20).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Final

from google.protobuf.message import DecodeError

from angzarr import wire
from angzarr.coordinators.slots import Component
from angzarr.errors import HandlerFailed, RemoteError
from angzarr.ports.components import CallContext

ANY_FIELD: Final = "*"
WHOLE: Final = frozenset((ANY_FIELD,))


class Verdict(enum.Enum):
    """What follows from a command's stamp.

    GO: decide and append. TEST: decide, then the overlap test. REFUSE: a mismatch. PARK: a mismatch
    for a person.
    """

    GO = enum.auto()
    TEST = enum.auto()
    REFUSE = enum.auto()
    PARK = enum.auto()


def check(strategy: int, expected: int, actual: int) -> Verdict:
    """The verdict for a stamped command; unknown strategies are COMMUTATIVE (WIRE-2)."""
    if expected == actual or strategy == wire.MERGE_AGGREGATE_HANDLES:
        return Verdict.GO
    if strategy == wire.MERGE_STRICT:
        return Verdict.REFUSE
    if strategy == wire.MERGE_MANUAL:
        return Verdict.PARK
    return Verdict.TEST if expected < actual else Verdict.REFUSE


def overlap(theirs: frozenset[str], mine: frozenset[str]) -> frozenset[str]:
    """Fields that both changed; a `*` on either side overlaps with everything."""
    if ANY_FIELD in theirs or ANY_FIELD in mine:
        return ((theirs | mine) - WHOLE) or WHOLE
    return theirs & mine


class StateUnknown(Exception):
    """A state can't be computed: no Replay, a failing one, or one without a state (CMD-15)."""


async def state(
    component: Component,
    pages: Iterable[wire.EventPage],
    snapshot: wire.Snapshot | None,
    context: CallContext,
) -> bytes:
    """The encoded Any of the state after `pages` on top of `snapshot`; b"" for a stream with
    neither.
    """
    request = wire.ReplayRequest(events=pages)
    if snapshot is not None:
        request.base_snapshot.CopyFrom(snapshot)
    elif not request.events:
        return b""
    try:
        answer = await component.replay(request.SerializeToString(), context)
        replayed = wire.ReplayResponse.FromString(answer)
    except (RemoteError, HandlerFailed, DecodeError) as error:
        raise StateUnknown from error
    if not replayed.HasField("state"):
        raise StateUnknown
    return replayed.state.SerializeToString(deterministic=True)


def below(pages: Sequence[wire.EventPage], sequence: int) -> list[wire.EventPage]:
    """Pages with a sequence less than `sequence`."""
    return [page for page in pages if page.header.sequence < sequence]
