"""given … when … then: an aggregate's decisions checked without a store.

given(Account, Deposited(500)).when(Withdraw(200)).then(Withdrawn(200))
given(Account, Deposited(500)).when(Withdraw(900)).then_rejected("insufficient")
given(Account).when(Deposit(500)).then(Deposited(500)).then_state(balance_cents=500)

given(Statement).when(Deposited(500)).then_rows("SELECT cents FROM line", (500,))
"""

from __future__ import annotations

import asyncio
import difflib
import threading
from collections.abc import Coroutine
from pprint import pformat
from typing import Any as Untyped
from typing import TypeVar, cast, overload

from angzarr import codec, wire
from angzarr.codec import Payload
from angzarr.errors import CommandRejected
from angzarr.handlers import Aggregate, LocalCommandHandler, Projector
from angzarr.ports.components import CallContext
from angzarr.testing.projections import GivenProjector

T = TypeVar("T")

WIDTH_COLUMNS = 88


@overload
def given(handler: type[Aggregate], *events: Payload) -> Given: ...
@overload
def given(handler: type[Projector], *events: Payload) -> GivenProjector: ...
def given(handler: type[Aggregate] | type[Projector], *events: Payload) -> Given | GivenProjector:
    """What there is before: an aggregate's stream that holds `events`, none for a new stream, or a
    projector that has projected them.
    """
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
        _assert_fields(state, fields)
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
            self.events = _run(_decided(aggregate, events, commands))
        except CommandRejected as rejection:
            self.rejection = rejection

    def then(self, *events: Payload) -> Outcome:
        """Assert that exactly these events came of it, in this order."""
        __tracebackhide__ = True
        self._assert_accepted()
        if list(self.events) != list(events):
            raise AssertionError("other events than expected:\n" + _difference(events, self.events))
        return self

    def then_nothing(self) -> Outcome:
        """Assert that the commands were accepted and no event came of it."""
        __tracebackhide__ = True
        return self.then()

    def then_rejected(self, reason: str = "") -> Outcome:
        """Assert that the commands were refused, for a reason that contains `reason`."""
        __tracebackhide__ = True
        if self.rejection is None:
            raise AssertionError(f"expected a refusal, got events:\n{_shown(self.events)}")
        if reason not in self.rejection.reason:
            raise AssertionError(
                f"refused for another reason:\n- {reason!r}\n+ {self.rejection.reason!r}"
            )
        return self

    def then_state(self, **fields: object) -> Outcome:
        """Assert that these fields of the state have these values after the new events."""
        __tracebackhide__ = True
        self._assert_accepted()
        _assert_fields(_state(self._aggregate, self._before + self.events), fields)
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
    table = aggregate.table()
    book = wire.EventBook(next_sequence=len(events))
    for sequence, event in enumerate(events):
        kind = codec.payload_type(type(event), table.domain)
        if kind.name not in table.events:
            known = ", ".join(sorted(table.events)) or "none"
            raise TypeError(f"{aggregate.__name__} applies no {kind.name}; it applies: {known}")
        page = book.pages.add(event=codec.pack(event, table.domain), committed=True)
        page.header.sequence = sequence
    return book


def _state(aggregate: type[Aggregate], events: tuple[Payload, ...]) -> Untyped:
    return aggregate.table().load(None, _book(aggregate, events).pages)


def _assert_fields(state: object, fields: dict[str, object]) -> None:
    __tracebackhide__ = True
    found = {name: getattr(state, name) for name in fields}
    if found != fields:
        raise AssertionError("another state than expected:\n" + _difference(fields, found))


def _difference(expected: object, found: object) -> str:
    """Lines of both, marked - where only expected and + where only found."""
    lines = difflib.ndiff(_lines(expected), _lines(found))
    return "\n".join(line for line in lines if not line.startswith("?"))


def _lines(value: object) -> list[str]:
    return _shown(value).splitlines()


def _shown(value: Untyped) -> str:
    if isinstance(value, tuple):
        items = cast("tuple[object, ...]", value)
        return "\n".join(pformat(item, width=WIDTH_COLUMNS) for item in items) or "nothing"
    return "\n".join(f"{name} = {item!r}" for name, item in value.items())


def _run(work: Coroutine[object, object, T]) -> T:
    """The result of `work`: in a loop of its own, in a thread of its own where one runs already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(asyncio.run(work))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]
