"""given … when … then: what handlers decide and want, checked without a store.

given(Account, Deposited(500)).when(Withdraw(200)).then(Withdrawn(200))
given(Account, Deposited(500)).when(Withdraw(900)).then_rejected("insufficient")
given(Account).when(Deposit(500)).then(Deposited(500)).then_state(balance_cents=500)

given(Shipping).when(OrderPaid("Elm St 1")).then(Send(Ship("Elm St 1")))
given(Fulfilment, Paid()).when_woken(Remind()).then(Send(Nudge(), root="o-1"))
given(Statement).when(Deposited(500)).then_rows("SELECT cents FROM line", (500,))
"""

from __future__ import annotations

from typing import Any as Untyped
from typing import overload

from angzarr import codec, wire
from angzarr.codec import Payload
from angzarr.errors import CommandRejected
from angzarr.handlers import Aggregate, LocalCommandHandler, ProcessManager, Projector, Saga
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
        return Outcome(self._aggregate, self._events, commands)

    def then_state(self, **fields: object) -> Given:
        """Assert that these fields of the state have these values."""
        state = _state(self._aggregate, self._events)
        assert_fields(state, fields)
        return self


class Outcome:
    """What the commands led to: new events, or a refusal."""

    def __init__(
        self,
        aggregate: type[Aggregate],
        events: tuple[Payload, ...],
        commands: tuple[Payload, ...],
    ) -> None:
        self._aggregate = aggregate
        self._before = events
        self.events: tuple[Payload, ...] = ()
        self.rejection: CommandRejected | None = None
        try:
            self.events = run(_decided(aggregate, events, commands))
        except CommandRejected as rejection:
            self.rejection = rejection

    def then(self, *events: Payload) -> Outcome:
        """Assert that exactly these events came of it, in this order."""
        __tracebackhide__ = True
        self._assert_accepted()
        if list(self.events) != list(events):
            raise AssertionError("other events than expected:\n" + difference(events, self.events))
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
    aggregate: type[Aggregate], events: tuple[Payload, ...], commands: tuple[Payload, ...]
) -> tuple[Payload, ...]:
    """New events, through the bytes that a store and a client would see."""
    table = aggregate.table()
    contextual = wire.ContextualCommand(events=_book(aggregate, events))
    for command in commands:
        packed = codec.pack(command, table.domain)
        contextual.command.pages.add().command.CopyFrom(packed)
    answer = await LocalCommandHandler(aggregate).handle(
        contextual.SerializeToString(), CallContext()
    )
    pages = wire.BusinessResponse.FromString(answer).events.pages
    kinds = [table.events[codec.full_name(page.event.type_url)] for page in pages]
    return tuple(kind.decode(page.event.value) for kind, page in zip(kinds, pages, strict=True))


def _book(aggregate: type[Aggregate], events: tuple[Payload, ...]) -> wire.EventBook:
    return stored(aggregate.table(), events)


def _state(aggregate: type[Aggregate], events: tuple[Payload, ...]) -> Untyped:
    return aggregate.table().load(None, _book(aggregate, events).pages)
