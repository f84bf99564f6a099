"""given … when … then: what handlers decide and want, checked without a store.

given(Account, Deposited(500)).when(Withdraw(200)).then(Withdrawn(200))
given(Account, Deposited(500)).when(Withdraw(900)).then_rejected("insufficient")
given(Account).when(Deposit(500)).then(Deposited(500)).then_state(balance_cents=500)
given(Account, Sent(200)).when_rejected(Credit(200), "closed").then(Returned(200))

given(Shipping).when(OrderPaid("Elm St 1")).then(Send(Ship("Elm St 1")))
given(Fulfilment, Paid()).when_woken(Remind()).then(Send(Nudge(), root="o-1"))
given(Statement).when(Deposited(500)).then_rows("SELECT cents FROM line", (500,))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any as Untyped
from typing import overload

from google.protobuf.any_pb2 import Any

from angzarr import codec, wire
from angzarr.codec import Payload
from angzarr.errors import CommandRejected
from angzarr.handlers import (
    Aggregate,
    LocalCommandHandler,
    ProcessManager,
    Projector,
    Revocation,
    Saga,
)
from angzarr.handlers.outputs import domain_of
from angzarr.ports.components import CallContext
from angzarr.testing.comparing import assert_fields, difference, run, shown
from angzarr.testing.projections import GivenProjector
from angzarr.testing.reactions import GivenProcess, GivenSaga, stored


@overload
def given(handler: type[Aggregate], *events: Payload) -> Given: ...
@overload
def given(handler: type[Saga]) -> GivenSaga: ...
@overload
def given(handler: type[ProcessManager], *events: Payload) -> GivenProcess: ...
@overload
def given(handler: type[Projector], *events: Payload) -> GivenProjector: ...
def given(
    handler: type[Aggregate] | type[Saga] | type[ProcessManager] | type[Projector],
    *events: Payload,
) -> Given | GivenSaga | GivenProcess | GivenProjector:
    """What there is before: an aggregate's stream that holds `events`, a process manager's own
    stream that does, a projector that has projected them, or a saga, which remembers nothing.
    """
    if issubclass(handler, Saga):
        if events:
            raise TypeError(f"{handler.__name__} is a saga: it has no events of its own")
        return GivenSaga(handler)
    if issubclass(handler, ProcessManager):
        return GivenProcess(handler, events)
    if issubclass(handler, Projector):
        return GivenProjector(handler, events)
    return Given(handler, events)


class Given:
    """A stream before the commands."""

    def __init__(self, aggregate: type[Aggregate], events: tuple[Payload, ...]) -> None:
        self._aggregate = aggregate
        self._events = events

    def when(self, *commands: Payload) -> Outcome:
        """Decide on `commands`, as the pages of one command book; async methods run to their end.

        Raises what a wrong test raises: CorruptData, InvalidInput, HandlerFailed.
        """
        domain = self._aggregate.table().domain
        packed = [codec.pack(command, domain) for command in commands]
        return Outcome(self._aggregate, self._events, packed)

    def when_rejected(
        self, command: Payload, reason: str = "refused", *, domain: str | type = ""
    ) -> Outcome:
        """Let a command be refused that was sent because of one of the events.

        domain: the refusing one, a name or a class; the aggregate's own unless it is said.
        """
        own = self._aggregate.table().domain
        refusing = domain_of(domain) or own
        refused = wire.RejectionNotification(rejection_reason=reason)
        refused.rejected_command.cover.domain = refusing
        refused.rejected_command.pages.add(command=codec.pack(command, refusing))
        notification = wire.Notification(payload=codec.pack(refused, own))
        return Outcome(self._aggregate, self._events, [codec.pack(notification, own)])

    def then_state(self, **fields: object) -> Given:
        """Assert that these fields of the state have these values."""
        state = _state(self._aggregate, self._events)
        assert_fields(state, fields)
        return self


class Outcome:
    """What the commands led to: new events, a refusal, or the Revocation that answers one."""

    def __init__(
        self, aggregate: type[Aggregate], events: tuple[Payload, ...], commands: Sequence[Any]
    ) -> None:
        self._aggregate = aggregate
        self._before = events
        self.events: tuple[Payload, ...] = ()
        self.revocation: Revocation | None = None
        self.rejection: CommandRejected | None = None
        try:
            answer = run(_decided(aggregate, events, commands))
        except CommandRejected as rejection:
            self.rejection = rejection
        else:
            self.events = _events(aggregate, answer)
            self.revocation = _revocation(answer)

    def then(self, *events: Payload | Revocation) -> Outcome:
        """Assert that exactly these events came of it, in this order; or this Revocation."""
        __tracebackhide__ = True
        self._assert_accepted()
        found = (self.revocation,) if self.revocation else self.events
        if list(found) != list(events):
            raise AssertionError("other events than expected:\n" + difference(events, found))
        return self

    def then_nothing(self) -> Outcome:
        """Assert that the commands were accepted and no event came of it."""
        __tracebackhide__ = True
        return self.then()

    def then_rejected(self, reason: str = "") -> Outcome:
        """Assert that the commands were refused, for a reason that contains `reason`."""
        __tracebackhide__ = True
        if self.rejection is None:
            raise AssertionError(f"expected a refusal, got events:\n{shown(self.events)}")
        if reason not in self.rejection.reason:
            raise AssertionError(
                f"refused for another reason:\n- {reason!r}\n+ {self.rejection.reason!r}"
            )
        return self

    def then_state(self, **fields: object) -> Outcome:
        """Assert that these fields of the state have these values after the new events."""
        __tracebackhide__ = True
        self._assert_accepted()
        assert_fields(_state(self._aggregate, self._before + self.events), fields)
        return self

    def _assert_accepted(self) -> None:
        __tracebackhide__ = True
        if self.rejection is not None:
            raise AssertionError(f"refused: {self.rejection.reason}") from self.rejection


async def _decided(
    aggregate: type[Aggregate], events: tuple[Payload, ...], commands: Sequence[Any]
) -> wire.BusinessResponse:
    """The answer, through the bytes that a store and a client would see."""
    contextual = wire.ContextualCommand(events=_book(aggregate, events))
    for command in commands:
        contextual.command.pages.add().command.CopyFrom(command)
    answer = await LocalCommandHandler(aggregate).handle(
        contextual.SerializeToString(), CallContext()
    )
    return wire.BusinessResponse.FromString(answer)


def _events(aggregate: type[Aggregate], answer: wire.BusinessResponse) -> tuple[Payload, ...]:
    table, pages = aggregate.table(), answer.events.pages
    kinds = [table.events[codec.full_name(page.event.type_url)] for page in pages]
    return tuple(kind.decode(page.event.value) for kind, page in zip(kinds, pages, strict=True))


def _revocation(answer: wire.BusinessResponse) -> Revocation | None:
    if not answer.HasField("revocation"):
        return None
    told = answer.revocation
    return Revocation(
        told.reason,
        emit_system_revocation=told.emit_system_revocation,
        send_to_dead_letter_queue=told.send_to_dead_letter_queue,
        escalate=told.escalate,
        abort=told.abort,
    )


def _book(aggregate: type[Aggregate], events: tuple[Payload, ...]) -> wire.EventBook:
    return stored(aggregate.table(), events)


def _state(aggregate: type[Aggregate], events: tuple[Payload, ...]) -> Untyped:
    return aggregate.table().load(None, _book(aggregate, events).pages)
