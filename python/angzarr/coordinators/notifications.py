"""Sources told of rejected commands, and streams of what is to be compensated, durably (COMP-1 to
COMP-8, COMP-11 to COMP-13, SYNC-9).
"""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

from angzarr import wire
from angzarr.coordinators import books, names, provenance
from angzarr.coordinators.delivery import is_transient
from angzarr.coordinators.duty import Permanent, Postponed
from angzarr.coordinators.fallback import EMPTY, Failure, Fallback, Flags
from angzarr.coordinators.notices import Notice
from angzarr.coordinators.options import Backoff, CompensationOptions
from angzarr.cover import COMPENSATE, REJECTION, Cover, Provenance
from angzarr.errors import (
    AngzarrError,
    HandlerFailed,
    InvalidInput,
    RemoteError,
    SequenceError,
    TooLarge,
)
from angzarr.ports.clock import Clock
from angzarr.ports.components import CallContext
from angzarr.ports.event_store import ROLLBACK, EventStore, Obligation
from angzarr.routing import Commands

REJECTED: Final = "rejection"
UNDONE: Final = "compensate"
CORRELATION: Final = "x-correlation-id"
POSTPONED_S: Final = (0.1, 60.0)
"""The shortest and the longest wait for a cascade's decision; it doubles the time so far."""
NS_PER_S: Final = 1_000_000_000

_log = logging.getLogger(__name__)


class MakesUp(Protocol):
    """A saga in this process, which may have handlers of its own rejections (COMP-13)."""

    async def make_up(
        self, notification: bytes, rejected: Provenance, context: CallContext
    ) -> bool:
        """True: it answered, and its outputs were accepted. False: it has nothing to say. Raises
        the error of an output that was refused, or has not got through.
        """
        ...


class Compensates(Protocol):
    """A process manager in this process, for the domain of its state (PM-12)."""

    async def compensate(self, command: wire.CommandBook, context: CallContext) -> bytes | None:
        """A notification's command → BusinessResponse; None: it has no rejection handlers, so the
        command handler of its domain is asked.
        """
        ...


class Notifications:
    """Makes the obligations to notify, and fulfils them through the coordinators of `commands`.

    events: the store that the sources' streams are in.
    """

    def __init__(
        self,
        commands: Commands,
        events: EventStore,
        fallback: Fallback,
        clock: Clock,
        *,
        options: CompensationOptions | None = None,
    ) -> None:
        self._commands = commands
        self._events = events
        self._fallback = fallback
        self._clock = clock
        self._options = options or CompensationOptions()
        self._sagas: dict[str, MakesUp] = {}
        self._managers: dict[str, Compensates] = {}
        self._done: dict[str, set[str]] = {}

    def add_saga(self, component: str, saga: MakesUp) -> NotificationDuty:
        """Ask this saga first about rejections of its own commands; the duty that does.

        component: `saga:<name>`. Its obligations are of a kind of their own, since no other process
        can ask it.
        """
        self._sagas[component] = saga
        return NotificationDuty(self, _kind(component), self._options)

    def add_process_manager(self, component: str, manager: Compensates) -> NotificationDuty:
        """As add_saga, for a process manager, whose component is `pm:<name>`."""
        self._managers[component] = manager
        return NotificationDuty(self, _kind(component), self._options)

    def duties(self) -> tuple[NotificationDuty, NotificationDuty]:
        """What any process can do that reaches the command handlers: rejections of components that
        nobody asks, and compensations.
        """
        return (
            NotificationDuty(self, REJECTED, self._options),
            NotificationDuty(self, UNDONE, self._options),
        )

    def rejection(
        self, command: wire.CommandBook, provenance: Provenance, reason: str
    ) -> Obligation:
        """The obligation to notify the source of a rejected command (COMP-1); one for each
        provenance.
        """
        component = provenance.component
        is_asked = component in self._sagas or component in self._managers
        notice = Notice(
            provenance=_encoded(provenance),
            reason=reason,
            recorded_ns=self._clock.now_ns(),
            command=command.SerializeToString(deterministic=True),
        )
        key = replace(provenance, kind=REJECTION).key.hex()
        kind = _kind(component) if is_asked else REJECTED
        return Obligation(f"{REJECTED}:{key}", kind, notice.encoded(), notice.recorded_ns)

    def compensate(
        self, target: Cover, sequences: Sequence[int], reason: str, provenance: Provenance
    ) -> Obligation:
        """The obligation to have what an executed command wrote compensated; one for each
        provenance.
        """
        notice = Notice(
            provenance=_encoded(provenance),
            reason=reason,
            recorded_ns=self._clock.now_ns(),
            target=books.cover_bytes(target),
            sequences=tuple(sequences),
        )
        key = replace(provenance, kind=COMPENSATE).key.hex()
        return Obligation(f"{UNDONE}:{key}", UNDONE, notice.encoded(), notice.recorded_ns)

    async def fulfil(self, obligation: Obligation) -> None:
        """Deliver it once, and do what the answer asks for; as Duty.fulfil."""
        notice = Notice.read(obligation.payload)
        attempt = obligation.attempts + 1
        if notice.is_rejection:
            standing = await self._standing(notice)
            if standing is Standing.PENDING:
                raise Postponed("the source's cascade is not decided", self._pause_s(notice))
            if standing is Standing.GONE:
                _log.info("%s: what caused it was revoked or deleted meanwhile", obligation.id)
                return
            if await self._made_up(notice, attempt):
                return
        flags = await self._asked(notice, attempt)
        if flags is None:
            return
        done = self._done.setdefault(obligation.id, set())
        await self._fallback.carry_out(_failure(notice), flags, done)
        self._done.pop(obligation.id, None)

    async def give_up(self, obligation: Obligation, error: Exception) -> None:
        """The dead letter of an obligation whose budget is over; durable on return (COMP-6)."""
        notice = Notice.read(obligation.payload)
        await self._fallback.give_up(
            notice.envelope(obligation.attempts),
            notice.origin.component,
            error,
            obligation.attempts,
        )
        self._done.pop(obligation.id, None)

    async def _standing(self, notice: Notice) -> Standing:
        """Whether the event that caused it is in force (COMP-12)."""
        source, sequence = notice.origin.source, notice.origin.source_seq
        is_saga = names.type_of(notice.origin.component) == names.SAGA
        if is_saga and not source.is_main and await self._events.divergence(source) is None:
            return Standing.GONE  # its edition was deleted
        book = await self._events.load(source, start=sequence, stop=sequence + 1)
        if book.is_plain:
            return Standing.IN_FORCE
        for page in wire.EventBook.FromString(book.data).pages:
            if not page.cascade_id or books.is_framework(page.event.type_url):
                continue
            decision = await self._events.decision(page.cascade_id)
            if decision is not None and decision.outcome == ROLLBACK:
                return Standing.GONE
            if decision is None and not page.committed:
                return Standing.PENDING
        return Standing.IN_FORCE

    def _pause_s(self, notice: Notice) -> float:
        shortest_s, longest_s = POSTPONED_S
        age_s = (self._clock.now_ns() - notice.recorded_ns) / NS_PER_S
        return min(max(age_s, shortest_s), longest_s)

    async def _made_up(self, notice: Notice, attempt: int) -> bool:
        """Whether the saga itself has done something about it (COMP-13)."""
        origin = notice.origin
        saga = self._sagas.get(origin.component)
        if saga is None:
            return False
        notification = notice.notification(attempt).SerializeToString(deterministic=True)
        context = CallContext(self._deadline_ns(), _metadata(notice, b""))
        try:
            return await saga.make_up(notification, origin, context)
        except AngzarrError as error:
            if is_transient(error) or isinstance(error, SequenceError):
                raise
            raise Permanent(error) from error

    async def _asked(self, notice: Notice, attempt: int) -> Flags | None:
        """Deliver the notification: the flags to carry out, None where it was compensated.

        Raises what is to be tried again.
        """
        try:
            answer = await self._deliver(notice, attempt)
            response = books.parse(wire.BusinessResponse, answer)
        except AngzarrError as error:
            return self._fallback.configured(_reason(error))
        if response.events.pages:
            return None
        if response.HasField("revocation"):
            return Flags.of(response.revocation)
        return self._fallback.configured(EMPTY)

    async def _deliver(self, notice: Notice, attempt: int) -> bytes:
        envelope = notice.envelope(attempt)
        origin = notice.origin
        kind = REJECTION if notice.is_rejection else COMPENSATE
        named = provenance.encoded(replace(origin, kind=kind))
        context = CallContext(self._deadline_ns(), _metadata(notice, named))
        if notice.is_rejection and (manager := self._managers.get(origin.component)) is not None:
            answer = await manager.compensate(envelope, context)
            if answer is not None:
                return answer
        request = wire.CommandRequest(command=envelope).SerializeToString(deterministic=True)
        return await self._commands.handle_compensation(request, context)

    def _deadline_ns(self) -> int:
        return time.monotonic_ns() + int(self._options.delivery_s * NS_PER_S)


class Standing(enum.Enum):
    """What became of the event that caused a rejected command."""

    IN_FORCE = enum.auto()
    PENDING = enum.auto()
    GONE = enum.auto()


class NotificationDuty:
    """One kind of obligations to notify, for the worker: a `Duty`."""

    def __init__(
        self, notifications: Notifications, kind: str, options: CompensationOptions
    ) -> None:
        self._notifications = notifications
        self._options = options
        self.kind = kind

    @property
    def backoff(self) -> Backoff:
        return self._options.backoff

    @property
    def max_attempts(self) -> int:
        return self._options.backoff.tries

    async def fulfil(self, obligation: Obligation) -> None:
        await self._notifications.fulfil(obligation)

    async def give_up(self, obligation: Obligation, error: Exception) -> None:
        await self._notifications.give_up(obligation, error)


def _kind(component: str) -> str:
    return f"{REJECTED}:{component}"


def _encoded(origin: Provenance) -> bytes:
    return provenance.encoded(origin)


def _metadata(notice: Notice, named: bytes) -> dict[str, str | bytes]:
    metadata: dict[str, str | bytes] = {provenance.METADATA: named} if named else {}
    correlation_id = notice.cover.correlation_id
    if correlation_id:
        metadata[CORRELATION] = correlation_id
    return metadata


def _failure(notice: Notice) -> Failure:
    command = (
        wire.CommandBook.FromString(notice.command)
        if notice.is_rejection
        else notice.envelope()  # there is no rejected command: what could not be told
    )
    return Failure(command, notice.origin, notice.reason)


def _reason(error: AngzarrError) -> str:
    """Why there is no answer; raises an error that another attempt may not meet (COMP-4, COMP-11,
    COMPAT-13).
    """
    cause: BaseException = error
    while isinstance(cause, HandlerFailed) and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(error, SequenceError) or is_transient(error):
        raise error
    is_bad_input = isinstance(cause, InvalidInput) and not isinstance(cause, TooLarge)
    if is_bad_input or (
        isinstance(cause, RemoteError) and cause.code in ("INVALID_ARGUMENT", "UNIMPLEMENTED")
    ):
        return EMPTY
    return f"gRPC error: {error}"
