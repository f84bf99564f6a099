"""What happens where a source does not make good what was rejected: dead letter, escalation,
SagaCompensationFailed (COMP-8, COMP-9, COMP-11).
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import Final

from angzarr import wire
from angzarr.coordinators import books, letters, names
from angzarr.coordinators.escalation import Escalation, Escalations
from angzarr.coordinators.options import CompensationOptions
from angzarr.cover import ROOT_BYTES, Cover, Provenance
from angzarr.errors import AngzarrError, SequenceConflict
from angzarr.ports.clock import Clock
from angzarr.ports.dead_letters import DeadLetterQueue
from angzarr.ports.event_store import EventStore

EMPTY: Final = "client logic returned empty response"
TRIES: Final = 100
"""Attempts at the failure's page; only another writer of the very same stream can be in the way."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """A command that was rejected, or could not be compensated.

    command: that command; for a compensation, the notification that tells of it. provenance: its
    own. reason: why it was rejected, or is compensated.
    """

    command: wire.CommandBook
    provenance: Provenance
    reason: str

    @property
    def correlation_id(self) -> str:
        return self.command.cover.correlation_id or self.provenance.source.correlation_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What is to be done, in this order; `abort` leaves out what follows it. reason: why the
    source did nothing.
    """

    send_to_dead_letter_queue: bool = False
    escalate: bool = False
    abort: bool = False
    emit_system_revocation: bool = False
    reason: str = ""

    @classmethod
    def of(cls, answer: wire.RevocationResponse) -> Flags:
        """Those that a handler answered with."""
        return cls(
            send_to_dead_letter_queue=answer.send_to_dead_letter_queue,
            escalate=answer.escalate,
            abort=answer.abort,
            emit_system_revocation=answer.emit_system_revocation,
            reason=answer.reason,
        )


class Fallback:
    """Carries flags out. dead_letters: the chain of DLQ targets; extra: one more that gets the
    letters written here, if it can. escalations: None if nobody is to be told.
    """

    def __init__(
        self,
        events: EventStore,
        dead_letters: DeadLetterQueue,
        clock: Clock,
        *,
        options: CompensationOptions | None = None,
        extra: DeadLetterQueue | None = None,
        escalations: Escalations | None = None,
    ) -> None:
        self._events = events
        self._dead_letters = dead_letters
        self._clock = clock
        self._options = options or CompensationOptions()
        self._extra = extra
        self._escalations = escalations

    def configured(self, reason: str) -> Flags:
        """The flags for a source that has no answer (COMP-11)."""
        options = self._options
        return Flags(
            send_to_dead_letter_queue=options.fallback_send_to_dlq,
            escalate=options.fallback_escalate,
            emit_system_revocation=options.fallback_emit_system_revocation,
            reason=reason,
        )

    async def carry_out(self, failure: Failure, flags: Flags, done: set[str]) -> None:
        """Do what the flags say, each step whatever became of those before it.

        done: steps that an earlier call for this failure has done; they are added to. Raises the
        first error of a step that has to be tried again: a dead letter or an event that could not
        be stored. An escalation that nobody took is only logged.
        """
        late: AngzarrError | None = None
        if flags.send_to_dead_letter_queue and "dead letter" not in done:
            try:
                await self._send(failure)
                done.add("dead letter")
            except AngzarrError as error:
                _log.error("%s: the dead letter can't be written: %s", _name(failure), error)
                late = error
        if flags.escalate and "escalation" not in done:
            done.add("escalation")
            await self._escalate(failure, flags.reason)
        if flags.abort:
            _log.error("%s: Compensation aborted: %s", _name(failure), flags.reason)
        elif flags.emit_system_revocation and "event" not in done:
            try:
                await self._emit(failure, flags.reason)
                done.add("event")
            except AngzarrError as error:
                late = late or error
        elif not (flags.send_to_dead_letter_queue or flags.escalate):
            _log.warning("%s: compensation declined: %s", _name(failure), flags.reason)
        if late is not None:
            raise late

    async def give_up(
        self, envelope: wire.CommandBook, component: str, error: Exception, attempts: int
    ) -> None:
        """The dead letter of a notification that could not be delivered; durable on return
        (COMP-6).
        """
        text = str(error)
        letter = letters.command_letter(
            envelope,
            f"Event processing failed after {attempts} attempts: {text}",
            error=text,
            component=names.full(component),
            component_type=names.type_of(component),
            now_ns=self._clock.now_ns(),
            attempts=attempts,
            is_transient=True,
            metadata={"attempts": str(attempts), "last_error": text},
        )
        await self._put(letter)

    async def _send(self, failure: Failure) -> None:
        component = failure.provenance.component
        letter = letters.command_letter(
            failure.command,
            failure.reason,
            error=failure.reason,
            component=names.full(component),
            component_type=names.type_of(component),
            now_ns=self._clock.now_ns(),
        )
        await self._put(letter)

    async def _put(self, letter: bytes) -> None:
        await self._dead_letters.put(letter)
        if self._extra is None:
            return
        try:
            await self._extra.put(letter)
        except AngzarrError as error:
            _log.error("the extra dead letter target failed, the letter is in the queue: %s", error)

    async def _escalate(self, failure: Failure, reason: str) -> None:
        if self._escalations is None:
            _log.error("%s: nobody to escalate to: %s", _name(failure), reason)
            return
        source = failure.provenance.source
        escalation = Escalation(
            source_domain=source.domain,
            source_root_id=source.root.hex(),
            source_seq=failure.provenance.source_seq,
            rejection_reason=failure.reason,
            compensation_reason=reason,
            correlation_id=failure.correlation_id,
            occurred_at=books.rfc3339(self._clock.now_ns()),
        )
        try:
            await self._escalations.escalate(escalation)
        except AngzarrError as error:
            _log.error("%s: the escalation failed: %s", _name(failure), error)

    async def _emit(self, failure: Failure, reason: str) -> None:
        """Store SagaCompensationFailed once, on the source's edition."""
        source = failure.provenance.source
        now_ns = self._clock.now_ns()
        event = wire.SagaCompensationFailed(
            triggering_aggregate=wire.Cover.FromString(books.cover_bytes(source)),
            triggering_event_sequence=failure.provenance.source_seq,
            saga_name=names.bare(failure.provenance.component),
            rejection_reason=failure.reason,
            compensation_failure_reason=reason,
            rejected_command=failure.command,
            occurred_at=books.timestamp(now_ns),
        )
        page = wire.EventPage(committed=True, created_at=books.timestamp(now_ns))
        books.pack_framework(page, event)
        root = failure_root(failure)
        cover = Cover(self._options.fallback_domain, root, source.edition, failure.correlation_id)
        for attempt in range(TRIES):
            page.header.sequence = await self._events.next_sequence(cover)
            try:
                await self._events.append(
                    cover,
                    page.header.sequence,
                    [page.SerializeToString(deterministic=True)],
                    external_id=root.hex(),
                )
                return
            except SequenceConflict:
                if attempt == TRIES - 1:
                    raise


def failure_root(failure: Failure) -> bytes:
    """The root of its SagaCompensationFailed: the same for each failure of one command (COMP-9)."""
    source = failure.provenance.source
    digest = hashlib.sha256()
    for part in (
        source.domain.encode(),
        source.root,
        failure.provenance.source_seq.to_bytes(4, "big"),
        failure.command.SerializeToString(deterministic=True),
        failure.reason.encode(),
    ):
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.digest()[:ROOT_BYTES]


def _name(failure: Failure) -> str:
    """Which failure a log line is about."""
    source, component = failure.provenance.source, names.full(failure.provenance.component)
    target = failure.command.cover.domain
    return f"{component}, {target} command for {source} event {failure.provenance.source_seq}"
