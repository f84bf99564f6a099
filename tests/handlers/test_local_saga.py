"""Sagas behind the Saga port."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from typing import ClassVar

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import Int64Value
from warehouse import (
    CORRELATION,
    CREATED,
    ROOT,
    OrderCancelled,
    OrderPaid,
    Recall,
    Ship,
    Shipment,
    Shipped,
    Shipping,
    book,
    commands,
    events,
    framework,
    reacted,
    returning,
)

from angzarr import (
    Cancel,
    Cover,
    Record,
    Saga,
    Send,
    Trigger,
    codec,
    handles,
    reject,
    routes,
    wire,
)
from angzarr.cover import root_of
from angzarr.errors import CommandRejected, CorruptData, HandlerFailed, InvalidInput
from angzarr.handlers import LocalSaga
from angzarr.ports import components
from angzarr.ports.components import CallContext

PAID = OrderPaid("Elm St 1")


@pytest.mark.spec("SAGA-1")
def test_it_is_a_saga_with_its_declarations():
    saga: components.Saga = LocalSaga(Shipping)

    assert saga.name == "saga:shipping"
    assert [s.domain for s in saga.subscriptions] == ["order"]
    assert saga.targets == ("shipment",)
    assert saga.routed("shipment", book("order", PAID).SerializeToString()) is None


async def test_an_event_becomes_a_command_for_the_declared_target():
    answer = await reacted(Shipping, book("order", PAID))

    assert commands(answer.commands, Ship) == [Ship("Elm St 1")]
    assert (answer.commands[0].cover.domain, answer.commands[0].cover.root.value) == (
        "shipment",
        ROOT,
    )


async def test_messages_are_answered_as_their_bytes_are_and_stay_as_they_were():
    source = book("order", PAID)

    answered = await LocalSaga(Shipping).react_to(source, {"shipment": 3}, CallContext())

    assert answered == await reacted(Shipping, book("order", PAID), shipment=3)
    assert source == book("order", PAID)


@pytest.mark.spec("SAGA-8", "COMPAT-7")
async def test_a_command_leaves_the_stamp_to_the_coordinator():
    answer = await reacted(Shipping, book("order", PAID), shipment=7)

    assert not answer.commands[0].pages[0].HasField("header")


@pytest.mark.spec("SAGA-16", "COMPAT-8")
async def test_outputs_leave_edition_and_correlation_id_to_the_coordinator():
    answer = await reacted(Shipping, book("order", OrderCancelled()))

    for found in (*answer.commands, *answer.events):
        assert (found.cover.correlation_id, found.cover.HasField("edition")) == ("", False)


@pytest.mark.spec("SAGA-9")
async def test_a_command_at_the_head_is_deferred_without_a_source():
    answer = await reacted(returning(Send(Recall(), at_head=True)), book("order", PAID))

    header = answer.commands[0].pages[0].header
    assert header.WhichOneof("sequence_type") == "angzarr_deferred"
    assert not header.angzarr_deferred.HasField("source")


@pytest.mark.spec("CMD-13")
async def test_the_strategy_is_the_outputs_else_the_targets_else_commutative():
    saga = returning(Send(Ship("")), Send(Recall()), Send(Ship(""), merge="manual"))
    by_class = returning(Send(Ship("")), Send(Recall()), targets=[Shipment])

    found = [
        [
            sent.pages[0].merge_strategy
            for sent in (await reacted(cls, book("order", PAID))).commands
        ]
        for cls in (saga, by_class)
    ]

    assert found == [
        [wire.MERGE_COMMUTATIVE, wire.MERGE_COMMUTATIVE, wire.MERGE_MANUAL],
        [wire.MERGE_STRICT, wire.MERGE_COMMUTATIVE],
    ]


@pytest.mark.spec("FACT-1", "FACT-5")
async def test_a_fact_is_deferred_and_recorded_once_for_its_cause():
    answer = await reacted(returning(Record(Shipped())), book("order", PAID))

    (fact,) = answer.events
    assert events([fact], Shipped) == [Shipped()]
    assert (fact.cover.domain, fact.cover.root.value) == ("shipment", ROOT)
    assert fact.pages[0].header.WhichOneof("sequence_type") == "angzarr_deferred"


@pytest.mark.spec("FACT-1", "FACT-3")
async def test_a_fact_may_have_an_external_id():
    answer = await reacted(returning(Record(Shipped(), external_id="dhl-1")), book("order", PAID))

    header = answer.events[0].pages[0].header
    assert header == wire.PageHeader(
        external_deferred=wire.ExternalDeferredSequence(external_id="dhl-1")
    )


@pytest.mark.spec("SAGA-11", "SAGA-18", "TIMER-1")
async def test_commands_and_timers_come_in_order_and_facts_apart():
    saga = returning(
        Record(Shipped("a")), Send(Ship("1")), Cancel("t"), Record(Shipped("b")), Send(Ship("2"))
    )

    answer = await reacted(saga, book("order", PAID))

    assert [sent.cover.domain for sent in answer.commands] == ["shipment", "_angzarr", "shipment"]
    assert commands([answer.commands[0], answer.commands[2]], Ship) == [Ship("1"), Ship("2")]
    assert events(answer.events, Shipped) == [Shipped("a"), Shipped("b")]


@pytest.mark.spec("COMPAT-10")
async def test_two_commands_to_one_root_are_two_books():
    answer = await reacted(returning(Send(Ship("")), Send(Ship(""))), book("order", PAID))

    assert [len(sent.pages) for sent in answer.commands] == [1, 1]


@pytest.mark.spec("COMPAT-11")
async def test_every_page_of_a_book_is_walked():
    published = book("order", OrderPaid("1"), OrderCancelled(), OrderPaid("2"), first=4)

    answer = await reacted(Shipping, published)

    assert commands(answer.commands, Ship, Recall) == [Ship("1"), Recall(), Recall(), Ship("2")]
    assert events(answer.events, Shipped) == [Shipped("none")]


@pytest.mark.spec("COMPAT-11", "CAS-7")
async def test_noops_framework_pages_and_unknown_events_are_passed_over():
    published = book(
        "order",
        framework(wire.NoOp(original_sequence=0)),
        OrderPaid("1"),
        framework(wire.Confirmation()),
        Shipped(),
    )

    answer = await reacted(Shipping, published)

    assert commands(answer.commands, Ship) == [Ship("1")]


async def test_a_book_without_anything_to_do_is_an_empty_answer():
    answer = await reacted(Shipping, book("order", framework(wire.NoOp())))

    assert answer == wire.SagaResponse()


@pytest.mark.spec("WIRE-6", "COMPAT-16")
async def test_an_event_is_found_under_any_prefix():
    packed = codec.pack(PAID, "order")
    answers = [
        await reacted(Shipping, book("order", Any(type_url=prefix + url, value=packed.value)))
        for prefix in ("", "x.example/")
        for url in ("order.OrderPaid",)
    ]

    assert [commands(answer.commands, Ship) for answer in answers] == [[Ship("Elm St 1")]] * 2


async def test_a_saga_works_with_messages_all_the_way():
    class Timing(Saga, source="clock", targets=["lamp"]):
        @handles
        def on(self, event: Duration) -> Send:
            return Send(Int64Value(value=event.seconds))

    answer = await reacted(Timing, book("clock", Duration(seconds=3)))

    sent = answer.commands[0].pages[0].command
    assert sent.type_url == "type.googleapis.com/google.protobuf.Int64Value"
    assert Int64Value.FromString(sent.value) == Int64Value(value=3)


async def test_a_method_may_answer_in_any_way():
    class Ways(Saga, source="order", targets=["shipment"]):
        @handles
        async def on(self, event: OrderPaid):
            return (Send(Ship(n)) for n in event.address)

        @handles
        async def on_cancelled(self, event: OrderCancelled) -> AsyncIterator[Send]:
            yield Send(Ship("d"))
            yield Send(Ship("e"))

        @handles
        def on_shipped(self, event: Shipped) -> Iterator[Send]:
            return map(Send, (Ship("f"), Ship("g")))

        @handles
        def on_nothing(self, event: Recall) -> None: ...

    published = book("order", OrderPaid("abc"), OrderCancelled(), Shipped(), Recall())

    answer = await reacted(Ways, published)

    assert "".join(ship.address for ship in commands(answer.commands, Ship)) == "abcdefg"


async def test_the_trigger_says_where_the_event_is():
    seen: list[object] = []

    class Looking(Saga, source="order", targets=["shipment"]):
        @handles
        def on(self, event: OrderPaid, at: Trigger) -> None:
            seen.append(at)
            seen.append(dict(at.next_sequences))

        @handles
        def on_cancelled(self, event: OrderCancelled, at: Cover) -> None:
            seen.append((at.domain, at.root, str(at)))

    source = book("order", PAID, OrderCancelled(), first=4)
    source.cover.edition.name = "what-if"

    await reacted(Looking, source, shipment=7)

    place = Trigger(
        domain="order",
        root=ROOT,
        edition="what-if",
        correlation_id=CORRELATION,
        sequence=4,
        created_at=CREATED,
    )
    assert seen == [place, {"shipment": 7}, ("order", ROOT, f"{place}")]


async def test_nothing_is_remembered_from_one_delivery_to_the_next():
    class Counting(Saga, source="order", targets=["shipment"]):
        count = 0

        @handles
        def on(self, event: OrderPaid) -> Send:
            self.count += 1
            return Send(Ship(str(self.count)))

    answers = [await reacted(Counting, book("order", PAID)) for _ in range(2)]

    assert [commands(a.commands, Ship) for a in answers] == [[Ship("1")], [Ship("1")]]


@pytest.mark.spec("SAGA-1")
async def test_a_route_says_which_root_an_event_leads_to():
    class Routed(Saga, source="order", targets=["shipment", "mail"]):
        @handles
        def on(self, event: OrderPaid | OrderCancelled) -> list[Send]:
            return [
                Send(Ship(""), domain="shipment"),
                Send(Ship(""), domain="mail"),
                Send(Ship(""), domain="mail", root="here"),
            ]

        @routes
        def anywhere(self, event: OrderPaid, at: Trigger) -> str:
            return f"{at.sequence}-{event.address}"

        @routes(domain="mail")
        def in_mail(self, event: OrderPaid) -> bytes | None:
            return None if event.address == "own" else b"m" * 16

    saga = LocalSaga(Routed)
    source = book("order", PAID, first=4).SerializeToString()
    answer = await reacted(Routed, book("order", PAID, first=4))

    roots = [sent.cover.root.value for sent in answer.commands]
    assert roots == [root_of("4-Elm St 1"), b"m" * 16, root_of("here")]
    assert [saga.routed(domain, source) for domain in ("shipment", "mail")] == roots[:2]


@pytest.mark.spec("SAGA-1")
def test_a_route_describes_a_book_by_the_first_event_that_it_knows():
    class Routed(Saga, source="order", targets=["shipment"]):
        @handles
        def on(self, event: OrderPaid | OrderCancelled) -> None: ...

        @routes
        def to(self, event: OrderPaid) -> str | None:
            return event.address or None

    saga = LocalSaga(Routed)
    no_ops = [framework(wire.NoOp()), OrderCancelled(), OrderPaid("")]
    found = [
        saga.routed("shipment", book("order", *pages).SerializeToString())
        for pages in ([*no_ops, OrderPaid("a"), OrderPaid("b")], no_ops)
    ]

    assert found == [root_of("a"), None]


async def test_an_event_without_a_route_leads_to_its_own_root():
    class Routed(Saga, source="order", targets=["shipment"]):
        @handles
        def on(self, event: OrderPaid | OrderCancelled) -> Send:
            return Send(Recall())

        @routes
        def to(self, event: OrderPaid) -> str:
            return "other"

    answer = await reacted(Routed, book("order", OrderCancelled(), PAID))

    assert [sent.cover.root.value for sent in answer.commands] == [ROOT, root_of("other")]


async def test_a_route_that_names_no_root_is_the_sagas_failure():
    class Routed(Saga, source="order", targets=["shipment"]):
        @handles
        def on(self, event: OrderPaid) -> Send:
            return Send(Recall())

        @routes
        def to(self, event: OrderPaid) -> bytes:
            return b"short"

    with pytest.raises(HandlerFailed, match=r"saga:routed failed: Routed\.to: ValueError: root"):
        await reacted(Routed, book("order", PAID))
    with pytest.raises(HandlerFailed, match=r"Routed\.to"):
        LocalSaga(Routed).routed("shipment", book("order", PAID).SerializeToString())


@pytest.mark.parametrize("wrong", [Ship(""), 3, [Send(Ship(""))], None])
async def test_another_output_fails_for_good(wrong: object):
    with pytest.raises(InvalidInput, match=r"Returning\.on returned \w+; it returns Send, Record"):
        await reacted(returning(wrong), book("order", PAID))


async def test_a_method_that_never_ends_fails_for_good():
    class Endless(Saga, source="order", targets=["shipment"]):
        @handles
        def on(self, event: OrderPaid) -> Iterator[Cancel]:
            return itertools.repeat(Cancel("t"))

    with pytest.raises(InvalidInput, match=r"Endless\.on returned more than 65535"):
        await reacted(Endless, book("order", PAID))


async def test_a_generator_is_closed_when_an_output_of_it_is_wrong():
    closed: list[str] = []

    class Yielding(Saga, source="order", targets=["shipment"]):
        @handles
        def on(self, event: OrderPaid) -> Iterator[Send]:
            try:
                yield Ship("")
            finally:
                closed.append("sync")

        @handles
        async def on_cancelled(self, event: OrderCancelled) -> AsyncIterator[Send]:
            try:
                yield Ship("")
            finally:
                closed.append("async")

    for event in (PAID, OrderCancelled()):
        with pytest.raises(InvalidInput):
            await reacted(Yielding, book("order", event))

    assert closed == ["sync", "async"]


async def test_an_exception_of_the_saga_is_its_failure():
    class Failing(Saga, source="order", targets=["shipment"]):
        @handles
        def on(self, event: OrderPaid) -> Iterator[Send]:
            yield Send(Ship(""))
            raise ZeroDivisionError("by design")

    with pytest.raises(
        HandlerFailed, match=r"saga:failing failed: Failing\.on: ZeroDivisionError: by design"
    ):
        await reacted(Failing, book("order", PAID))


def test_a_saga_that_wants_arguments_is_told_before_the_first_event():
    class Wanting(Saga, source="order", targets=["shipment"]):
        def __init__(self, mailer: object) -> None: ...

        @handles
        def on(self, event: OrderPaid) -> None: ...

    with pytest.raises(TypeError, match="mailer"):
        LocalSaga(Wanting)


async def test_a_saga_that_breaks_when_it_is_made_fails():
    class Breaking(Saga, source="order", targets=["shipment"]):
        made: ClassVar[list[int]] = []

        def __init__(self) -> None:
            self.made.append(1)
            if len(self.made) > 1:
                raise ZeroDivisionError("by design")

        @handles
        def on(self, event: OrderPaid) -> None: ...

    with pytest.raises(HandlerFailed, match="saga:breaking failed: making an object of it: Zero"):
        await reacted(Breaking, book("order", PAID))


async def test_an_output_for_the_root_of_an_event_without_one_fails_for_good():
    with pytest.raises(InvalidInput, match="a Send for shipment without a root"):
        await reacted(Shipping, book("order", PAID, root=b""))


async def test_a_refusal_of_the_saga_is_passed_on():
    class Failing(Saga, source="order", targets=["shipment"]):
        @handles
        def on(self, event: OrderPaid) -> None:
            reject("not this one")

    with pytest.raises(CommandRejected, match="not this one"):
        await reacted(Failing, book("order", PAID))


async def test_a_payload_that_cannot_be_encoded_is_the_sagas_failure():
    with pytest.raises(HandlerFailed, match="encoding what it returned"):
        await reacted(returning(Send(Ship("\ud800"))), book("order", PAID))


async def test_an_event_that_does_not_parse_is_corrupt():
    published = book("order", Any(type_url="order.OrderPaid", value=b"{"), first=4)

    with pytest.raises(CorruptData, match="page 4 of a stream of order"):
        await reacted(Shipping, published)


async def test_a_reference_in_place_of_an_event_is_corrupt():
    published = book("order", PAID)
    published.pages[0].external.uri = "file:///x"

    with pytest.raises(CorruptData, match="a reference"):
        await reacted(Shipping, published)


@pytest.mark.parametrize("method", ["handle", "refused"])
async def test_a_request_that_does_not_parse_is_invalid(method: str):
    with pytest.raises(InvalidInput, match=r"an encoded angzarr\."):
        await getattr(LocalSaga(Shipping), method)(b"\xff", CallContext())
