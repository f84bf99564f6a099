"""Timers of sagas and process managers: durable, replaceable, fired at least once (TIMER-1 to
TIMER-5).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from angzarr import wire
from angzarr.coordinators import books, validate
from angzarr.coordinators.duty import Postponed
from angzarr.coordinators.flow import LOG_DELIVERY, Outcome
from angzarr.coordinators.giving_up import Identity, ReactionDuty
from angzarr.coordinators.outputs import FIRED, Outputs, Source, Timer, recorded
from angzarr.coordinators.reaction import Means, Reaction
from angzarr.cover import MAIN, Provenance
from angzarr.ports.event_store import COMMIT, Dropped, Obligation

FIRED_URL: Final = f"type.googleapis.com/{FIRED}"
UNDECIDED_S: Final = 1.0
"""How long a timer waits for the decision of the cascade that scheduled it."""

Wake = Callable[[wire.EventBook], Awaitable[Outcome]]
"""Runs the component on a book with a TimerFired page."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredTimer:
    """An obligation's payload.

    source: the encoded Cover of the stream that scheduled. sequence, index, occasion: of the
    ScheduleTimer's provenance. key: what that stream keeps for as long as its edition lives, and
    the write that scheduled is not revoked. cascade_id: the cascade that it was scheduled in.
    """

    source: bytes
    sequence: int
    index: int
    occasion: bytes
    schedule: bytes
    key: Provenance
    cascade_id: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(StoredTimer).decode


def kind_of(component: str) -> str:
    """The kind of a component's timers: each process fires those of its own components."""
    return f"timer:{component}"


def id_of(source: Source, name: str) -> str:
    """The id of a timer, which another of its name replaces (TIMER-2)."""
    cover = source.cover
    return f"timer:{source.component}/{cover.edition}/{cover.domain}/{cover.root.hex()}/{name}"


def change_of(
    timer: Timer, source: Source, key: Provenance, *, cascade_id: str = ""
) -> Obligation | Dropped:
    """What a timer among the outputs changes; `key` is written to the source's stream with it."""
    timer_id = id_of(source, timer.name)
    if timer.schedule is None:
        return Dropped(timer_id)
    stored = StoredTimer(
        source=source.cover_bytes(),
        sequence=source.sequence,
        index=timer.index,
        occasion=source.occasion,
        schedule=timer.schedule.SerializeToString(deterministic=True),
        key=key,
        cascade_id=cascade_id,
    )
    due_ns = validate.time_ns(timer.schedule.due_at, "due_at")
    kind = kind_of(source.component)
    return Obligation(timer_id, kind, _encode(stored), due_ns, is_replacing=True)


class TimerDuty(ReactionDuty):
    """Fires the timers of one component; a duty for the worker of obligations."""

    def __init__(self, means: Means, identity: Identity, wake: Wake) -> None:
        super().__init__(means, identity, kind_of(identity.component))
        self._wake = wake

    async def fulfil(self, obligation: Obligation) -> None:
        """Send its command, or wake the component (TIMER-4).

        Raises Permanent for a failure that no further attempt can mend, Postponed while the cascade
        in which it was scheduled is undecided, and the failure itself.
        """
        stored = _decode(obligation.payload)
        source = _source(stored, self._identity.component)
        if await self._is_void(stored, source):
            _log.info("%s has no effect: what scheduled it is gone", obligation.id)
            return
        schedule = wire.ScheduleTimer.FromString(stored.schedule)
        with self.judged():
            if schedule.HasField("command"):
                command = recorded(stored.index, schedule.command)
                reaction = Reaction(self._means, source, LOG_DELIVERY)
                outcome = await reaction.run(Outputs([command]))
            else:
                outcome = await self._wake(_fired(stored, schedule, self._now_ns()))
            if outcome.failure:
                raise outcome.failure

    async def give_up(self, obligation: Obligation, error: Exception) -> None:
        """Store its dead letter: the command, or the book that the component was to be woken by."""
        stored = _decode(obligation.payload)
        schedule = wire.ScheduleTimer.FromString(stored.schedule)
        has_command = schedule.HasField("command")
        message = schedule.command if has_command else _fired(stored, schedule, self._now_ns())
        await self._means.stores.dead_letters.put(self.letter(message, error, obligation))

    async def _is_void(self, stored: StoredTimer, source: Source) -> bool:
        """Whether the edition was deleted since, or what scheduled it was rolled back (TIMER-5)."""
        events = self._means.stores.events
        if await events.find_by_provenance(source.cover, stored.key) is None:
            return True
        if not stored.cascade_id:
            return False
        decision = await events.decision(stored.cascade_id)
        if decision is None:
            raise Postponed(f"cascade {stored.cascade_id} is undecided", UNDECIDED_S)
        return decision.outcome != COMMIT

    def _now_ns(self) -> int:
        return self._means.clock.now_ns()


def _source(stored: StoredTimer, component: str) -> Source:
    message = wire.Cover.FromString(stored.source)
    cover = books.cover_of(message)
    return Source(
        component=component,
        cover=cover,
        sequence=stored.sequence,
        edition=None if cover.edition == MAIN else message.edition,
        occasion=stored.occasion,
    )


def _fired(stored: StoredTimer, schedule: wire.ScheduleTimer, now_ns: int) -> wire.EventBook:
    """The book that a component is woken with."""
    fired = wire.TimerFired(name=schedule.name, due_at=schedule.due_at)
    if schedule.HasField("payload"):
        fired.payload.CopyFrom(schedule.payload)
    book = wire.EventBook(next_sequence=(stored.sequence + 1) & books.UINT32_MASK)
    book.cover.ParseFromString(stored.source)
    page = book.pages.add(created_at=books.timestamp(now_ns), committed=True)
    page.header.sequence = stored.sequence
    page.event.type_url = FIRED_URL
    page.event.value = fired.SerializeToString(deterministic=True)
    return book
