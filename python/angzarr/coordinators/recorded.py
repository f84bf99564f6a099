"""Outputs of process managers as obligations: recorded with the events that go with them, carried
out in order, resumed after a crash (PM-6, PM-8).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from angzarr import wire
from angzarr.coordinators import books, outputs
from angzarr.coordinators.flow import Outcome
from angzarr.coordinators.giving_up import Identity, ReactionDuty
from angzarr.coordinators.outputs import Command, Fact, Outputs, Source
from angzarr.coordinators.reaction import Means
from angzarr.cover import MAIN, Provenance
from angzarr.ports.event_store import Obligation

PARKED: Final = "parked:"
"""Put before id and kind of what was given up on: nobody carries it out until its trigger comes
again."""
NEVER_NS: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class RecordedOutputs:
    """An obligation's payload: all that a process manager's reaction left to do.

    trigger: the encoded EventBook. state_end: next sequence of the state that it was decided on.
    source: the encoded Cover of its own stream, with sequence and occasion of the outputs'
    provenance. commands: by index, as outputs.read() left them. facts: by index.
    """

    trigger: bytes
    state_end: int
    source: bytes
    sequence: int
    occasion: bytes
    commands: list[tuple[int, bytes]]
    facts: list[tuple[int, bytes]]
    cascade_id: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(RecordedOutputs).decode

Resume = Callable[[Obligation], Awaitable[Outcome | None]]
"""Carries out a recorded reaction's outputs, unless somebody else has done so by then: None."""


def kind_of(component: str) -> str:
    """The kind of a component's outputs: each process carries out those of its own components."""
    return f"output:{component}"


def id_of(key: Provenance) -> str:
    """The id of what the reaction under this key left to do."""
    return f"output:{key.key.hex()}"


def obligation_of(
    key: Provenance,
    made: Outputs,
    source: Source,
    *,
    trigger: bytes,
    state_end: int,
    cascade_id: str,
    due_ns: int,
) -> Obligation | None:
    """The obligation for a reaction's commands and facts; None without any."""
    commands = [
        (item.index, item.book.SerializeToString(deterministic=True))
        for item in made.commands
        if isinstance(item, Command)
    ]
    facts = [(item.index, item.book.SerializeToString(deterministic=True)) for item in made.facts]
    if not commands and not facts:
        return None
    payload = RecordedOutputs(
        trigger=trigger,
        state_end=state_end,
        source=source.cover_bytes(),
        sequence=source.sequence,
        occasion=source.occasion,
        commands=commands,
        facts=facts,
        cascade_id=cascade_id,
    )
    return Obligation(id_of(key), kind_of(source.component), _encode(payload), due_ns)


def payload_of(obligation: Obligation) -> RecordedOutputs:
    """What an obligation says."""
    return _decode(obligation.payload)


def source_of(payload: RecordedOutputs, component: str) -> Source:
    """The source of recorded outputs."""
    message = wire.Cover.FromString(payload.source)
    cover = books.cover_of(message)
    return Source(
        component=component,
        cover=cover,
        sequence=payload.sequence,
        edition=None if cover.edition == MAIN else message.edition,
        occasion=payload.occasion,
    )


def outputs_of(payload: RecordedOutputs) -> Outputs:
    """The recorded outputs, to be sent; no destination_sequences are known by now."""
    commands = [
        outputs.recorded(index, wire.CommandBook.FromString(data))
        for index, data in payload.commands
    ]
    facts = [Fact(index, wire.EventBook.FromString(data)) for index, data in payload.facts]
    return Outputs(commands, facts)


class OutputDuty(ReactionDuty):
    """Carries out what a process manager recorded; a duty for the worker of obligations.

    The delivery that recorded it does so itself, at once; this is for what it left.
    """

    def __init__(self, means: Means, identity: Identity, resume: Resume) -> None:
        super().__init__(means, identity, kind_of(identity.component))
        self._resume = resume

    async def fulfil(self, obligation: Obligation) -> None:
        """Send what was neither accepted nor refused yet.

        Raises Permanent for a failure that no further attempt can mend, else the failure itself.
        """
        with self.judged():
            outcome = await self._resume(obligation)
            if outcome is not None and outcome.failure is not None:
                raise outcome.failure

    async def give_up(self, obligation: Obligation, error: Exception) -> None:
        """Store the trigger's dead letter, and keep what is left to do until it is replayed."""
        trigger = wire.EventBook.FromString(payload_of(obligation).trigger)
        await self._means.stores.obligations.put(
            Obligation(
                PARKED + obligation.id, PARKED + obligation.kind, obligation.payload, NEVER_NS
            )
        )
        await self._means.stores.dead_letters.put(self.letter(trigger, error, obligation))
