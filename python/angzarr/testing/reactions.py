"""given … when … then for sagas and process managers; `scenario.given` begins it.

given(Shipping).when(OrderPaid("Elm St 1"), root="o-1").then(Send(Ship("Elm St 1")))
given(Shipping).when_rejected(Ship("Elm St 1"), "unknown").then(Send(Refund(), domain="order"))
given(Fulfilment, Paid()).when(OrderShipped(), root="o-1").then(Shipped(), Cancel("remind"))
given(Fulfilment, Paid()).when_woken(Remind()).then(Send(Nudge(), root="o-1"))

What an expected output leaves out is completed as it is for a real one: the only target that fits,
the root of the event's stream, the time that `after` leads to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any as Untyped
from typing import Final, Self, TypedDict, Unpack

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from angzarr import codec, wire
from angzarr.codec import Payload
from angzarr.cover import Cover, Root, root_of
from angzarr.handlers import (
    LocalProcessManager,
    LocalSaga,
    Output,
    ProcessManager,
    Record,
    Revocation,
    Saga,
    Schedule,
    Send,
)
from angzarr.handlers.local_process_manager import Recorded
from angzarr.handlers.outputs import OUTPUTS, domain_of
from angzarr.handlers.placing import Place
from angzarr.handlers.reactions import TIMER_FIRED, Handled, ReactionTable
from angzarr.handlers.table import HandlerTable
from angzarr.handlers.trigger import trigger_of
from angzarr.testing.clock import NS_PER_S, START_NS
from angzarr.testing.comparing import assert_fields, difference, run

START: Final = datetime.fromtimestamp(START_NS // NS_PER_S, UTC)
"""When events are created unless it is said: ManualClock's first moment."""


class At(TypedDict, total=False):
    """Where events are, for `when`; each may be left out.

    source: domain or class; needed where several sources have such events. root: as callers name
    it, "root". edition: main. correlation_id: "workflow". sequence: the first event's, 0.
    created_at: START. next_sequences: none.
    """

    source: str | type
    root: Root
    edition: str
    correlation_id: str
    sequence: int
    created_at: datetime
    next_sequences: Mapping[str, int]


class SagaOutcome:
    """What a saga wants done. outputs: completed, as their receivers read them."""

    def __init__(self, outputs: Sequence[Output], place: Place) -> None:
        self.outputs = tuple(_received(output, place.domain) for output in outputs)
        self._place = place

    def then(self, *outputs: Output) -> Self:
        """Assert that exactly these outputs came of it, in this order."""
        __tracebackhide__ = True
        _assert_same(outputs, self.outputs, self._place)
        return self

    def then_nothing(self) -> Self:
        """Assert that nothing came of it."""
        __tracebackhide__ = True
        return self.then()


class ProcessOutcome:
    """What a process manager recorded and wants done.

    results: its own events, and completed outputs, in the order in which they were given; or the
    Revocation that answers a rejection.
    """

    def __init__(
        self,
        handler: LocalProcessManager,
        state: wire.EventBook,
        trigger: wire.EventBook,
        results: Sequence[Recorded | Output | Revocation],
        place: Place,
    ) -> None:
        self.results = tuple(_received(item, handler.domain) for item in results)
        self._handler = handler
        self._before = state
        self._trigger = trigger
        self._place = place

    def then(self, *results: Payload | Output | Revocation) -> Self:
        """Assert that exactly these events and outputs came of it, in this order."""
        __tracebackhide__ = True
        _assert_same(results, self.results, self._place)
        return self

    def then_nothing(self) -> Self:
        """Assert that nothing came of it."""
        __tracebackhide__ = True
        return self.then()

    def then_state(self, **fields: object) -> Self:
        """Assert that these fields of the state have these values after the new events."""
        __tracebackhide__ = True
        table = self._handler.table
        new = [item for item in self.results if type(item) in table.own_events]
        pages = [*self._before.pages, *stored(table.state, new).pages]
        assert_fields(table.state.load(None, pages), fields)
        return self

    def then_prepared(self, *covers: Cover) -> Self:
        """Assert that the `@prepares` methods named exactly these streams, in this order."""
        __tracebackhide__ = True
        request = wire.ProcessManagerPrepareRequest(
            trigger=self._trigger, process_state=self._before
        )
        found = tuple(run(self._handler.prepared(request)))
        if found != covers:
            raise AssertionError(f"other streams than expected:\n{difference(covers, found)}")
        return self


class GivenSaga:
    """A saga before an event."""

    def __init__(self, saga: type[Saga]) -> None:
        self._saga = saga
        self._handler = LocalSaga(saga)

    def when(self, *events: Payload, **at: Unpack[At]) -> SagaOutcome:
        """Let it react to `events`, as the pages of one book.

        Raises what a wrong test raises: TypeError, CorruptData, InvalidInput, HandlerFailed.
        """
        domain = _source(self._handler.table, events, at)
        return self._reacted(_book(domain, [codec.pack(e, domain) for e in events], at), events, at)

    def when_woken(self, payload: Payload, **at: Unpack[At]) -> SagaOutcome:
        """Let a timer of the stream be due, that was scheduled with `payload`."""
        domain = _source(self._handler.table, (), at)
        fired = _fired(payload, self._handler.table)
        return self._reacted(_book(domain, [fired], at), (payload,), at)

    def when_rejected(
        self,
        command: Payload,
        reason: str = "refused",
        *,
        domain: str | type = "",
        **at: Unpack[At],
    ) -> SagaOutcome:
        """Let a command that it sent be refused.

        domain: the refusing one, where several targets take the command. at: the stream whose event
        the command was sent for; the command's own root is the same.
        """
        source = _source(self._handler.table, (), at)
        book = _book(source, [], at)
        notification = wire.Notification(cover=book.cover)
        notification.sent_at.FromDatetime(at.get("created_at", START))
        refused = _refused(self._handler.table, command, reason, domain_of(domain), book.cover)
        notification.payload.CopyFrom(_packed(refused))
        outputs = run(self._handler.make_up(notification))
        return SagaOutcome(outputs, self._handler.place_of_rejection(notification))

    def _reacted(self, book: wire.EventBook, payloads: Sequence[Payload], at: At) -> SagaOutcome:
        request = wire.SagaHandleRequest(source=book)
        request.destination_sequences.update(at.get("next_sequences", {}))
        outputs = run(self._handler.react(request))
        place = self._handler.place(self._saga(), _handled(book, payloads))
        return SagaOutcome(outputs, place)


class GivenProcess:
    """A process manager, and the events in its own stream, before an event."""

    def __init__(self, manager: type[ProcessManager], events: tuple[Payload, ...]) -> None:
        self._handler = LocalProcessManager(manager)
        self._events = events

    def when(self, *events: Payload, **at: Unpack[At]) -> ProcessOutcome:
        """Let it react to `events`, as the pages of one book. Raises as GivenSaga.when."""
        domain = _source(self._handler.table, events, at)
        packed = [codec.pack(event, domain) for event in events]
        return self._reacted(_book(domain, packed, at), events, at)

    def when_woken(self, payload: Payload, **at: Unpack[At]) -> ProcessOutcome:
        """Let a timer of its own be due, that was scheduled with `payload`."""
        fired = _fired(payload, self._handler.table)
        return self._reacted(_book(self._handler.domain, [fired], _own(at)), (payload,), at)

    def when_rejected(
        self,
        command: Payload,
        reason: str = "refused",
        *,
        domain: str | type = "",
        **at: Unpack[At],
    ) -> ProcessOutcome:
        """Let a command that it sent be refused. domain, at: as GivenSaga.when_rejected's."""
        state, book = self._state(at), _book("", [], at)
        refused = _refused(self._handler.table, command, reason, domain_of(domain), book.cover)
        request = wire.ContextualCommand(events=state)
        notification = wire.Notification(cover=state.cover, payload=_packed(refused))
        request.command.pages.add(command=_packed(notification))
        answer = run(self._handler.make_up(request)) or []
        place = self._handler.place(_handled(book, ()))
        return ProcessOutcome(self._handler, state, book, answer, place)

    def then_state(self, **fields: object) -> Self:
        """Assert that these fields of the state have these values."""
        __tracebackhide__ = True
        table = self._handler.table.state
        assert_fields(table.load(None, stored(table, self._events).pages), fields)
        return self

    def _reacted(self, book: wire.EventBook, payloads: Sequence[Payload], at: At) -> ProcessOutcome:
        state = self._state(at)
        request = wire.ProcessManagerHandleRequest(trigger=book, process_state=state)
        request.destination_sequences.update(at.get("next_sequences", {}))
        _, results = run(self._handler.react(request))
        place = self._handler.place(_handled(book, payloads))
        return ProcessOutcome(self._handler, state, book, results, place)

    def _state(self, at: At) -> wire.EventBook:
        state = stored(self._handler.table.state, self._events)
        state.cover.CopyFrom(_book(self._handler.domain, [], _own(at)).cover)
        return state


def stored(table: HandlerTable, events: Sequence[object]) -> wire.EventBook:
    """A stream of the table's class that holds `events`. Raises TypeError for one it lacks."""
    book = wire.EventBook(next_sequence=len(events))
    for sequence, event in enumerate(events):
        kind: codec.PayloadType[Untyped] = codec.payload_type(type(event), table.domain)  # type: ignore[type-var]
        if kind.name not in table.events:
            known = ", ".join(sorted(table.events)) or "none"
            raise TypeError(f"{table.cls.__name__} applies no {kind.name}; it applies: {known}")
        page = book.pages.add(committed=True)
        page.header.sequence = sequence
        page.event.type_url, page.event.value = kind.type_url, kind.encode(event)
    return book


def _book(domain: str, events: Sequence[Any], at: At) -> wire.EventBook:
    first = at.get("sequence", 0)
    book = wire.EventBook(next_sequence=first + len(events))
    book.cover.domain = domain
    book.cover.root.value = root_of(at.get("root", "root"))
    book.cover.correlation_id = at.get("correlation_id", "workflow")
    book.cover.edition.name = at.get("edition", "")
    for sequence, event in enumerate(events, first):
        page = book.pages.add(event=event, committed=True)
        page.header.sequence = sequence
        page.created_at.FromDatetime(at.get("created_at", START))
    return book


def _own(at: At) -> At:
    """The process manager's own stream: its root is the correlation id's (PM-2)."""
    own = At(**at)
    own["root"] = at.get("correlation_id", "workflow")
    return own


def _source(table: ReactionTable, events: Sequence[Payload], at: At) -> str:
    """The domain that the events come from."""
    owner, named = table.cls.__name__, at.get("source")
    known = [source.pattern for source in table.sources]
    if named is not None:
        return domain_of(named)
    if events:
        cls = type(events[0])
        known = list(table.handles.sources_for(cls))
        if not known:
            raise TypeError(f"{owner} has no @handles method for {cls.__name__}")
    if len(known) > 1 or known[0].endswith("*"):
        raise TypeError(f"say which source of {owner} is meant, source=…: {', '.join(known)}")
    return known[0]


def _fired(payload: Payload, table: ReactionTable) -> Any:
    packed = codec.pack(payload, table.domain)
    return Any(
        type_url=codec.PROTOBUF_PREFIX + TIMER_FIRED,
        value=wire.TimerFired(name="timer", payload=packed).SerializeToString(),
    )


def _refused(
    table: ReactionTable, command: Payload, reason: str, domain: str, cover: wire.Cover
) -> wire.RejectionNotification:
    domain = table.targets.domain_for(Send(command, domain=domain), "the test")
    refused = wire.RejectionNotification(rejection_reason=reason)
    refused.rejected_command.cover.CopyFrom(cover)
    refused.rejected_command.cover.domain = domain
    refused.rejected_command.pages.add(command=codec.pack(command, domain))
    return refused


def _packed(message: Message) -> Any:
    return codec.pack(message, "")


def _handled(book: wire.EventBook, payloads: Sequence[Payload]) -> Handled:
    page = book.pages[0] if book.pages else wire.EventPage()
    payload = payloads[0] if payloads else None
    return Handled("the test", payload, page.event.type_url, trigger_of(book.cover, page, {}))


def _received(item: Recorded | Output | Revocation, domain: str) -> Untyped:
    """The item with its payload as its receiver reads it.

    domain: that own events and the payloads of timers are named in.
    """
    match item:
        case Recorded():
            return _read_back(item.event, domain)
        case Send():
            return replace(item, command=_read_back(item.command, item.domain))
        case Record():
            return replace(item, event=_read_back(item.event, item.domain))
        case Schedule(what=Send() as later):
            return replace(item, what=_received(later, domain))
        case Schedule():
            return replace(item, what=_read_back(item.what, domain))
        case _:
            return item


def _read_back(payload: Payload, domain: str) -> Payload:
    kind: codec.PayloadType[Untyped] = codec.payload_type(type(payload), domain)
    try:
        return kind.decode(kind.encode(payload))
    except codec.DECODE_ERRORS as error:
        raise AssertionError(f"{payload!r} can't be read by its receiver: {error}") from error


def _assert_same(expected: Sequence[object], found: Sequence[object], place: Place) -> None:
    __tracebackhide__ = True
    completed = tuple(
        place.complete(item, "the expectation") if isinstance(item, OUTPUTS) else item
        for item in expected
    )
    if completed != found:
        what = "something else than expected"
        raise AssertionError(f"{what}:\n{difference(completed, tuple(found))}")
