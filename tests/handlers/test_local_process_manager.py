"""Process managers behind the ProcessManager port."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import Int64Value
from warehouse import (
    CORRELATION,
    CREATED,
    FULFILMENT,
    ROOT,
    CancelOrder,
    Done,
    Fulfilment,
    OrderCancelled,
    OrderPaid,
    Recall,
    Remind,
    Ship,
    Shipped,
    Waiting,
    book,
    commands,
    events,
    fired,
    framework,
    managed,
    timer,
)

from angzarr import (
    Cancel,
    Cover,
    ProcessManager,
    Record,
    Send,
    Trigger,
    applies,
    handles,
    prepares,
    wire,
)
from angzarr.cover import root_of
from angzarr.errors import CorruptData, HandlerFailed, InvalidInput
from angzarr.handlers import LocalProcessManager
from angzarr.ports import components
from angzarr.ports.components import CallContext

PAID = OrderPaid("Elm St 1")


class Returning(ProcessManager, domain=FULFILMENT, source="order", targets=["shipment", "mail"]):
    """Answers an OrderPaid with what a test puts here."""

    address: str = ""
    answer = ()

    @handles
    def on(self, event: OrderPaid):
        return type(self).answer

    @applies
    def waiting(self, event: Waiting) -> None:
        if event.address == "nowhere":
            raise LookupError("no such place")
        self.address = event.address


async def prepared(
    cls: type[ProcessManager], trigger: wire.EventBook, state: wire.EventBook | None = None
) -> wire.ProcessManagerPrepareResponse:
    request = wire.ProcessManagerPrepareRequest(trigger=trigger, process_state=state)
    answer = await LocalProcessManager(cls).prepare(request.SerializeToString(), CallContext())
    return wire.ProcessManagerPrepareResponse.FromString(answer)


def test_it_is_a_process_manager_with_its_declarations():
    manager: components.ProcessManager = LocalProcessManager(Fulfilment)

    assert (manager.name, manager.domain) == ("process_manager:fulfilment", "fulfilment")
    assert [s.domain for s in manager.subscriptions] == ["order", "shipment"]
    assert manager.targets == ("order", "shipment")


@pytest.mark.spec("PM-5", "COMPAT-9")
async def test_its_events_have_neither_cover_nor_header():
    answer = await managed(Fulfilment, book("order", PAID))

    assert events([answer.process_events], Waiting, domain=FULFILMENT) == [Waiting("Elm St 1")]
    assert not answer.process_events.HasField("cover")
    assert not answer.process_events.pages[0].HasField("header")
    assert not answer.process_events.HasField("snapshot")


@pytest.mark.spec("PM-9", "SAGA-8")
async def test_its_commands_and_timers_come_in_order_without_stamps():
    answer = await managed(Fulfilment, book("order", PAID), shipment=7)

    assert [sent.cover.domain for sent in answer.commands] == ["shipment", "_angzarr"]
    assert commands(answer.commands[:1], Ship) == [Ship("Elm St 1")]
    assert answer.commands[0].cover.root.value == ROOT
    assert not answer.commands[0].pages[0].HasField("header")
    assert answer.commands[0].pages[0].merge_strategy == wire.MERGE_STRICT
    assert not answer.facts


async def test_an_event_is_applied_where_it_is_yielded():
    answer = await managed(Fulfilment, book("order", PAID))

    assert commands(answer.commands[:1], Ship) == [Ship("Elm St 1")]  # from self.address


async def test_an_event_is_applied_where_an_async_method_yields_it():
    class Following(ProcessManager, domain=FULFILMENT, source="order", targets=["mail"]):
        address: str = ""

        @handles
        async def on(self, event: OrderPaid) -> AsyncIterator[Waiting | Send]:
            yield Waiting(event.address)
            yield Send(Ship(self.address), root="x")

        @applies
        def waiting(self, event: Waiting) -> None:
            self.address = event.address

    answer = await managed(Following, book("order", PAID))

    assert commands(answer.commands, Ship) == [Ship("Elm St 1")]


async def test_it_reacts_in_the_state_of_its_stream():
    state = book(FULFILMENT, Waiting("Oak St 2"))

    answer = await managed(Fulfilment, book(FULFILMENT, fired(Remind(3), FULFILMENT)), state)

    assert commands(answer.commands, CancelOrder) == [CancelOrder("3 to Oak St 2")]


@pytest.mark.spec("SNAP-13")
async def test_a_snapshot_stands_for_the_pages_before_it():
    states = Fulfilment.table().state.states
    state = book(FULFILMENT, Waiting("old"), Waiting("Oak St 2"), first=4)
    state.snapshot.sequence = 4
    state.snapshot.state.type_url = states.type_url
    state.snapshot.state.value = states.encode(Fulfilment(reminders=9, address="x"))
    del state.pages[1]

    answer = await managed(Fulfilment, book(FULFILMENT, fired(Remind(3), FULFILMENT)), state)

    assert commands(answer.commands, CancelOrder) == [CancelOrder("3 to x")]


async def test_each_event_of_a_book_sees_what_the_earlier_ones_recorded():
    class Counting(ProcessManager, domain=FULFILMENT, source="order", targets=["mail"]):
        count: int = 0

        @handles
        def on(self, event: OrderPaid) -> tuple[Done, Send]:
            return Done(), Send(Ship(str(self.count)), root="x")

        @applies
        def done(self, event: Done) -> None:
            self.count += 1

    answer = await managed(Counting, book("order", PAID, PAID), book(FULFILMENT, Done()))

    assert commands(answer.commands, Ship) == [Ship("1"), Ship("2")]
    assert len(answer.process_events.pages) == 2


@pytest.mark.spec("COMPAT-11")
async def test_every_page_of_a_trigger_is_walked_and_framework_pages_are_passed_over():
    trigger = book("order", framework(wire.NoOp()), PAID, OrderCancelled(), PAID)

    answer = await managed(Fulfilment, trigger)

    assert len(answer.process_events.pages) == 2


async def test_a_trigger_without_anything_to_do_is_an_empty_answer():
    answer = await managed(Fulfilment, book("order", OrderCancelled()))

    assert answer == wire.ProcessManagerHandleResponse()


async def test_events_of_each_source_have_their_own_method():
    answer = await managed(Fulfilment, book("shipment", Shipped()))

    assert events([answer.process_events], Done, domain=FULFILMENT) == [Done()]
    assert timer(answer.commands[0], wire.CancelTimer) == wire.CancelTimer(name="remind")


@pytest.mark.spec("PM-9", "FACT-1")
async def test_facts_come_apart(monkeypatch: pytest.MonkeyPatch):
    fact = Record(Shipped(), domain="shipment", root="s-1", external_id="dhl-1")
    monkeypatch.setattr(
        Returning, "answer", [fact, Cancel("t"), Record(Done(), domain="mail", root="m")]
    )

    answer = await managed(Returning, book("order", PAID))

    assert [f.cover.domain for f in answer.facts] == ["shipment", "mail"]
    assert answer.facts[0].cover.root.value == root_of("s-1")
    headers = [f.pages[0].header.WhichOneof("sequence_type") for f in answer.facts]
    assert headers == ["external_deferred", "angzarr_deferred"]
    assert len(answer.commands) == 1


async def test_it_works_with_messages_all_the_way():
    class Timing(ProcessManager, domain="timing", source="clock", targets=["lamp"]):
        total: Duration

        @handles
        def on(self, event: Duration) -> Iterator[Int64Value | Send]:
            yield Int64Value(value=event.seconds)
            yield Send(Duration(seconds=self.total.seconds), root="lamp")

        @applies
        def added(self, event: Int64Value) -> None:
            self.total.seconds += event.value

    answer = await managed(
        Timing, book("clock", Duration(seconds=3)), book("timing", Int64Value(value=4))
    )

    assert events([answer.process_events], Int64Value, domain="timing") == [Int64Value(value=3)]
    assert commands(answer.commands, Duration) == [Duration(seconds=7)]


async def test_the_trigger_says_where_the_event_is():
    seen: list[Trigger] = []

    class Looking(ProcessManager, domain=FULFILMENT, source="order"):
        @handles
        def on(self, event: OrderPaid, at: Trigger) -> None:
            seen.append(at)

    await managed(Looking, book("order", PAID, first=4), shipment=7)

    assert (str(seen[0]), seen[0].sequence, seen[0].created_at, seen[0].correlation_id) == (
        f"{Cover('order', ROOT)}",
        4,
        CREATED,
        CORRELATION,
    )
    assert seen[0].next_sequences == {"shipment": 7}


@pytest.mark.spec("SNAP-2", "PM-5")
@pytest.mark.parametrize(
    ("before", "snapshot_at", "is_due"),
    [(0, None, False), (1, None, False), (2, None, True), (4, 3, False), (4, 1, True)],
)
async def test_a_snapshot_comes_with_the_event_that_makes_it_due(
    before: int, snapshot_at: int | None, is_due: bool
):
    class Counting(ProcessManager, domain=FULFILMENT, source="order", snapshot_every=3):
        count: int = 0

        @handles
        def on(self, event: OrderPaid) -> Done:
            return Done()

        @applies
        def done(self, event: Done) -> None:
            self.count += 1

    state = book(FULFILMENT, *[Done()] * before)
    states = Counting.table().state.states
    if snapshot_at is not None:
        state.snapshot.sequence = snapshot_at
        state.snapshot.state.type_url = states.type_url
        state.snapshot.state.value = states.encode(Counting(count=snapshot_at + 1))

    answer = await managed(Counting, book("order", PAID), state)

    assert answer.process_events.HasField("snapshot") == is_due
    if is_due:
        assert states.decode(answer.process_events.snapshot.state.value).count == before + 1


@pytest.mark.spec("SNAP-2")
async def test_a_snapshot_counts_from_the_newest_one_where_no_page_follows_it():
    class Counting(ProcessManager, domain=FULFILMENT, source="order", snapshot_every=2):
        count: int = 0

        @handles
        def on(self, event: OrderPaid) -> Done:
            return Done()

        @applies
        def done(self, event: Done) -> None: ...

    states = Counting.table().state.states
    state = book(FULFILMENT)
    state.snapshot.sequence = 9
    state.snapshot.state.type_url = states.type_url
    state.snapshot.state.value = states.encode(Counting())

    one = await managed(Counting, book("order", PAID), state)
    two = await managed(Counting, book("order", PAID, PAID), state)

    assert [a.process_events.HasField("snapshot") for a in (one, two)] == [False, True]


# -- destinations


class Preparing(ProcessManager, domain=FULFILMENT, source="order", targets=["shipment", "mail"]):
    address: str = ""

    @handles
    def on(self, event: OrderPaid) -> None: ...

    @prepares
    def streams(self, event: OrderPaid, at: Trigger) -> Iterator[Cover]:
        yield Cover.of("shipment", event.address)
        yield Cover("mail", at.root)
        yield Cover.of("shipment", self.address or event.address)

    @applies
    def waiting(self, event: Waiting) -> None:
        self.address = event.address


@pytest.mark.spec("PM-3")
async def test_prepare_names_each_stream_once_in_order():
    answer = await prepared(Preparing, book("order", PAID, PAID), book(FULFILMENT, Waiting("Oak")))

    assert [(d.domain, d.root.value) for d in answer.destinations] == [
        ("shipment", root_of("Elm St 1")),
        ("mail", ROOT),
        ("shipment", root_of("Oak")),
    ]


@pytest.mark.spec("PM-3")
async def test_prepared_streams_leave_the_edition_to_the_coordinator():
    answer = await prepared(Preparing, book("order", PAID))

    assert not any(d.HasField("edition") or d.correlation_id for d in answer.destinations)


@pytest.mark.spec("PM-3")
async def test_without_prepares_methods_there_are_no_destinations():
    answer = await prepared(Fulfilment, book("order", PAID))

    assert not answer.destinations


async def test_prepare_passes_over_what_is_not_for_it():
    trigger = book(
        "order", framework(wire.NoOp()), OrderCancelled(), fired(Remind(), FULFILMENT), Recall()
    )

    answer = await prepared(Preparing, trigger)

    assert not answer.destinations


@pytest.mark.parametrize(
    ("cover", "told"),
    [
        (
            Cover.of("billing", "x"),
            r"Wrong\.streams prepares billing/.*not among its targets: m",
        ),
        (Cover("mail", b"short"), "16 bytes"),
        ("mail", r"Wrong\.streams returned str; it returns Covers"),
    ],
)
async def test_a_wrong_stream_fails_for_good(cover: object, told: str):
    class Wrong(ProcessManager, domain=FULFILMENT, source="order", targets=["mail"]):
        @handles
        def on(self, event: OrderPaid) -> None: ...

        @prepares
        def streams(self, event: OrderPaid):
            return cover

    with pytest.raises(InvalidInput, match=told):
        await prepared(Wrong, book("order", PAID))


# -- what goes wrong


@pytest.mark.spec("SAGA-17", "PM-9")
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            Send(Ship(""), domain="shipment"),
            r"Returning\.on returned a Send for shipment without",
        ),
        (Record(Done(), domain="mail"), r"Returning\.on returned a Record for mail without a root"),
        (Send(Ship(""), domain="billing", root="x"), "for billing, which is not among its targets"),
        (Done(), r"Returning\.on returned Done; it returns an event that it applies, Send"),
        ((None,), r"Returning\.on returned NoneType"),
        (itertools.repeat(Waiting("")), "more than 65535"),
    ],
)
async def test_a_wrong_answer_fails_for_good(
    answer: object, told: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Returning, "answer", answer)

    with pytest.raises(InvalidInput, match=told):
        await managed(Returning, book("order", PAID))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Waiting(3), "can't be read back"),
        (Waiting("nowhere"), r"applying fulfilment\.Waiting: LookupError"),
        (Send(Ship("\ud800"), domain="mail", root="x"), "encoding what it returned"),
    ],
)
async def test_an_answer_that_breaks_is_its_failure(
    answer: object, told: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Returning, "answer", answer)

    with pytest.raises(HandlerFailed, match=f"process_manager:returning failed: .*{told}"):
        await managed(Returning, book("order", PAID))


async def test_an_exception_of_it_is_its_failure():
    class Failing(ProcessManager, domain=FULFILMENT, source="order"):
        @handles
        async def on(self, event: OrderPaid) -> None:
            raise ZeroDivisionError("by design")

    with pytest.raises(HandlerFailed, match=r"process_manager:failing failed: Failing\.on: Zero"):
        await managed(Failing, book("order", PAID))


async def test_a_state_that_its_annotations_exclude_is_its_failure():
    class Lying(ProcessManager, domain=FULFILMENT, source="order", snapshot_every=1):
        count: int = 0

        @handles
        def on(self, event: OrderPaid) -> Done:
            return Done()

        @applies
        def done(self, event: Done) -> None:
            self.count = "many"

    with pytest.raises(HandlerFailed, match="encoding the state"):
        await managed(Lying, book("order", PAID))


async def test_a_stored_event_that_does_not_parse_is_corrupt():
    state = book(FULFILMENT, Any(type_url="fulfilment.Waiting", value=b"{"))

    with pytest.raises(CorruptData, match="page 0 of a stream of fulfilment"):
        await managed(Fulfilment, book("order", PAID), state)


@pytest.mark.parametrize("method", ["handle", "refused"])
async def test_a_request_that_does_not_parse_is_invalid(method: str):
    with pytest.raises(InvalidInput, match=r"an encoded angzarr\."):
        await getattr(LocalProcessManager(Fulfilment), method)(b"\xff", CallContext())


async def test_a_prepare_that_does_not_parse_is_invalid():
    with pytest.raises(InvalidInput, match=r"an encoded angzarr\."):
        await LocalProcessManager(Preparing).prepare(b"\xff", CallContext())
