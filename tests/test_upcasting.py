"""Old events on every path that a handler or reader sees (UPC-2), upcast in process and remotely.

| path | test |
|---|---|
| command handler | test_a_command_is_decided_on_lifted_events |
| … on a branch | test_a_branch_is_decided_on_lifted_events |
| Replay of the overlap test | test_the_overlap_test_replays_lifted_events |
| Replay of an automatic snapshot | test_an_automatic_snapshot_is_made_of_lifted_events |
| speculation, now and in the past | test_speculation_decides_on_lifted_events |
| compensation, rejections | test_a_rejection_is_answered_on_lifted_events |
| states | test_a_state_is_made_of_lifted_events |
| queries | test_a_reader_sees_lifted_events, test_a_reader_by_correlation_sees_lifted_events |
| facts | test_a_repeated_fact_is_answered_as_written |
| saga: log, request, speculation | test_a_saga_reacts_to…, test_a_saga_that_is_asked_… |
| … its dead letters | test_a_dead_letter_of_a_saga_is_redelivered_lifted |
| process manager: trigger, state | test_a_process_manager_reacts_to_lifted_events_… |
| … asked, its rejections, its timers | test_a_process_manager_that_is_asked_…, …_woken_… |
| … what it left to do | test_what_a_process_manager_left_is_recorded_as_written |
| projector: log, gap, request, replay | test_a_projector_…, test_a_read_model_… |
| what is stored, published | test_what_is_stored_and_published_stays_as_written |
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest
from google.protobuf.message import Message
from tests.lifted import (
    O1,
    Add,
    Counted,
    Lines,
    Listed,
    Mark,
    Marked,
    OldOrder,
    Order,
    Ordered,
    Placed,
    Reserving,
    Shop,
    Stock,
    Watch,
    lines,
    upcaster_service,
)

from angzarr import Position, calls, wire
from angzarr.caller import Caller
from angzarr.coordinators import recorded
from angzarr.coordinators.reaction_services import SagaService
from angzarr.cover import root_of
from angzarr.errors import SequenceMismatch
from angzarr.ports.components import CallContext


@pytest.fixture(params=["in process", "remote"])
async def shop(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shop]:
    monkeypatch.chdir(tmp_path)
    Listed.rows.clear()
    if request.param == "in process":
        yield Shop()
        return
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([upcaster_service()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield Shop(f"tcp://127.0.0.1:{port}")
    await server.stop(0)


async def _payloads(events: AsyncIterator[calls.Event]) -> list[object]:
    return [event.payload async for event in events]


def _notification(payload: Message) -> bytes:
    """The compensation request that tells o-1 of `payload`."""
    told = wire.Notification()
    told.payload.type_url = f"type.googleapis.com/{payload.DESCRIPTOR.full_name}"
    told.payload.value = payload.SerializeToString()
    request = wire.CommandRequest()
    request.command.cover.domain, request.command.cover.root.value = O1.domain, O1.root
    page = request.command.pages.add()
    page.command.type_url = "type.googleapis.com/angzarr.Notification"
    page.command.value = told.SerializeToString()
    return request.SerializeToString()


def _types(book: wire.EventBook) -> list[str]:
    return [page.event.type_url.rpartition("/")[2] for page in book.pages]


# --- commands


@pytest.mark.spec("UPC-2")
async def test_a_command_is_decided_on_lifted_events(shop: Shop) -> None:
    await shop.placed("tea", "milk")

    async with shop.now() as app:
        sent = await app.domain(Order).send("o-1", Mark())

        assert [event.payload for event in sent.events] == [Marked("TEA MILK")]


@pytest.mark.spec("UPC-2", "EDN-3")
async def test_a_branch_is_decided_on_lifted_events(shop: Shop) -> None:
    await shop.placed("tea", "milk")

    async with shop.now() as app:
        branch = app.domain(Order).on("what-if", divergence=1)
        sent = await branch.send("o-1", Mark())

        assert [event.payload for event in sent.events] == [Marked("TEA")]
        assert (await branch.state("o-1")).items == ("TEA",)


@pytest.mark.spec("UPC-2", "CMD-20")
async def test_the_overlap_test_replays_lifted_events(shop: Shop) -> None:
    await shop.placed("tea", "milk")

    async with shop.now() as app:
        orders = app.domain(Order)
        sent = await orders.send("o-1", Mark(), expected_sequence=1, merge="commutative")
        with pytest.raises(SequenceMismatch) as refused:
            await orders.send("o-1", Add("x"), expected_sequence=1, merge="commutative")

        assert sent.sequences == (2,)
        assert refused.value.fields == ("items",)


@pytest.mark.spec("UPC-2", "SNAP-7")
async def test_an_automatic_snapshot_is_made_of_lifted_events(shop: Shop) -> None:
    await shop.placed("tea", "milk")

    async with shop.now(snapshots__every=3) as app:
        await app.domain(Order).send("o-1", Add("egg"))
        await app._parts.coordinator.close()
        kept = wire.Snapshot.FromString(await app.stores.snapshots.get(O1))

        assert kept.state.value == b'{"items":["TEA","MILK","egg"],"text":""}'


@pytest.mark.spec("UPC-2", "SPEC-1", "SPEC-2")
async def test_speculation_decides_on_lifted_events(shop: Shop) -> None:
    await shop.placed("tea", "milk")

    async with shop.now() as app:
        orders = app.domain(Order)
        now = await orders.speculate("o-1", Mark())
        then = await orders.speculate("o-1", Mark(), at=0)

        assert [now.events[0].payload, then.events[0].payload] == [
            Marked("TEA MILK"),
            Marked("TEA"),
        ]


@pytest.mark.spec("UPC-2", "CMD-41")
async def test_a_rejection_is_answered_on_lifted_events(shop: Shop) -> None:
    await shop.placed("tea")
    refused = wire.RejectionNotification(rejection_reason="none")
    refused.rejected_command.cover.domain = "stock"
    page = refused.rejected_command.pages.add()
    page.command.type_url, page.command.value = "json.angzarr.io/stock.Reserve", b'{"item":"x"}'

    async with shop.now() as app:
        coordinator = app._parts.coordinator
        undone = wire.Compensate(sequences=[0], reason="a slip")
        await coordinator.handle_compensation(_notification(refused), CallContext())
        await coordinator.handle_compensation(_notification(undone), CallContext())
        found = await _payloads(app.domain(Order).events("o-1", first=1))

        assert found == [Marked("refused: TEA"), Marked("undone: TEA")]


# --- readers


@pytest.mark.spec("UPC-2", "QRY-17")
async def test_a_state_is_made_of_lifted_events(shop: Shop) -> None:
    await shop.placed("tea", "milk")

    async with shop.now() as app:
        named = Caller(app.transport).domain("order")

        assert await named.state("o-1") == {"items": ["TEA", "MILK"], "text": ""}
        assert await named.state("o-1", at=0) == {"items": ["TEA"], "text": ""}
        assert (await app.domain(Order).state("o-1")).items == ("TEA", "MILK")


@pytest.mark.spec("UPC-2", "QRY-4")
async def test_a_reader_sees_lifted_events(shop: Shop) -> None:
    await shop.placed("tea", "milk")

    async with shop.now() as app:
        orders = app.domain(Order)
        both = [Ordered(["TEA"]), Ordered(["MILK"])]

        assert await _payloads(orders.events("o-1")) == both
        assert await _payloads(orders.events("o-1", first=1)) == both[1:]
        assert await _payloads(orders.events("o-1", sequences=[1])) == both[1:]
        assert await _payloads(orders.events("o-1", at=0)) == both[:1]
        assert await _payloads(orders.events("o-1", at=Position(1))) == both[:1]
        assert [event.payload for event in await orders.book("o-1")] == both


@pytest.mark.spec("UPC-2", "QRY-1")
async def test_a_reader_by_correlation_sees_lifted_events(shop: Shop) -> None:
    await shop.placed("tea", correlation_id="c-1")

    async with shop.now() as app:
        assert await _payloads(app.correlated("c-1")) == [{"items": ["TEA"]}]


@pytest.mark.spec("UPC-2", "FACT-3")
async def test_a_repeated_fact_is_answered_as_written(shop: Shop) -> None:
    async with shop.old() as app:
        await app.domain(OldOrder).record("o-1", Placed("tea"), external_id="e-1")

    async with shop.now() as app:
        again = await app.domain(Order).record("o-1", Placed("tea"), external_id="e-1")

        assert (again.is_duplicate, again.events[0].type_name) == (True, "order.Placed")


@pytest.mark.spec("UPC-2", "UPC-5")
async def test_what_is_stored_and_published_stays_as_written(shop: Shop) -> None:
    await shop.placed("tea")

    async with shop.now() as app:
        await app.domain(Order).send("o-1", Mark())
        [first, _] = await app.stores.events.tail(0)
        stored = await app.stores.events.load(O1)

        assert _types(wire.EventBook.FromString(first.book)) == ["order.Placed"]
        assert _types(wire.EventBook.FromString(stored.data)) == ["order.Placed", "order.Marked"]


# --- sagas


@pytest.mark.spec("UPC-2", "SAGA-3")
async def test_a_saga_reacts_to_events_of_a_type_that_it_has_never_known(shop: Shop) -> None:
    """It subscribes what its methods take, but the log has the old type."""
    await shop.placed("tea")

    async with shop.now(Reserving) as app:
        await app.settled()

        assert (await app.domain(Stock).state("TEA")).items == ("TEA",)


@pytest.mark.spec("UPC-2", "SAGA-3")
async def test_what_is_subscribed_neither_before_nor_after_is_left_out(shop: Shop) -> None:
    await shop.placed("tea")

    async with shop.now(Reserving) as app:
        await app.domain(Order).send("o-1", Mark())
        await app.settled()

        assert [cover.root async for cover in app.roots("stock")] == [root_of("TEA")]


@pytest.mark.spec("UPC-2", "SAGA-19", "SPEC-5")
async def test_a_saga_that_is_asked_sees_lifted_events(shop: Shop) -> None:
    await shop.placed("tea")

    async with shop.now(Reserving) as app:
        [saga] = app._parts.reacting.sagas
        service = SagaService([saga], app._parts.reacting.turns)
        entry = (await app.stores.events.tail(0))[0]
        asked = wire.SpeculateSagaRequest()
        asked.request.source.ParseFromString(entry.book)
        answer = await service.execute_speculative(asked.SerializeToString(), CallContext())
        await service.execute(asked.request.SerializeToString(), CallContext())

        [book] = wire.SagaResponse.FromString(answer).commands
        assert book.pages[0].command.value == b'{"item":"TEA"}'
        assert (await app.domain(Stock).state("TEA")).items == ("TEA",)


@pytest.mark.spec("UPC-2", "DLQ-8")
async def test_a_dead_letter_of_a_saga_is_redelivered_lifted(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.placed("tea")
    monkeypatch.setattr(Reserving, "fails", True)

    async with shop.now(Reserving) as app:
        await app.settled()
        [found] = await app.stores.dead_letters.list()
        monkeypatch.setattr(Reserving, "fails", False)
        letter = wire.AngzarrDeadLetter.FromString(found.letter).rejected_events
        await app._parts.reacting.redeliver("saga:reserving", letter.SerializeToString())

        assert _types(letter) == ["order.Placed"]
        assert (await app.domain(Stock).state("TEA")).items == ("TEA",)


# --- process managers


@pytest.mark.spec("UPC-2", "PM-3")
async def test_a_process_manager_reacts_to_lifted_events_on_a_lifted_state(shop: Shop) -> None:
    await shop.placed("tea", correlation_id="c-1")
    await shop.noted(2)

    async with shop.now(Watch) as app:
        await app.settled()

        found = await _payloads(app.domain("watch", types=[Counted]).events("c-1"))
        assert found == [Counted(200, "lifted"), Counted(201, "TEA")]


@pytest.mark.spec("UPC-2", "TIMER-4")
async def test_a_process_manager_is_woken_on_a_lifted_state(shop: Shop) -> None:
    await shop.placed("tea", correlation_id="c-1")
    await shop.noted(2)

    async with shop.now(Watch) as app:
        await app.settled()
        shop.clock.advance(3601)
        await app.settled()

        found = await _payloads(app.domain("watch", types=[Counted]).events("c-1", first=2))
        assert found == [Counted(401, "woken")]


@pytest.mark.spec("UPC-2", "PM-12")
async def test_a_process_manager_answers_a_rejection_on_a_lifted_state(shop: Shop) -> None:
    await shop.placed("refused", correlation_id="c-1")
    await shop.noted(2)

    async with shop.now(Watch) as app:
        await app.settled()

        found = await _payloads(app.domain("watch", types=[Counted]).events("c-1", first=2))
        assert found == [Counted(401, "refused")]


@pytest.mark.spec("UPC-2", "PM-11", "SPEC-5")
async def test_a_process_manager_that_is_asked_sees_lifted_events(shop: Shop) -> None:
    await shop.placed("tea", correlation_id="c-1")
    await shop.noted(2)

    async with shop.now(Watch) as app:
        await app.settled()
        [manager] = app._parts.reacting.managers
        entry = (await app.stores.events.tail(0))[0]
        asked = wire.SpeculatePmRequest()
        asked.request.trigger.ParseFromString(entry.book)
        answer = await manager.handle_speculative(asked.SerializeToString(), CallContext())

        [event] = wire.ProcessManagerHandleResponse.FromString(answer).process_events.pages
        assert event.event.value == b'{"count":402,"why":"TEA"}'


@pytest.mark.spec("UPC-2", "PM-6")
async def test_what_a_process_manager_left_is_recorded_as_written(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it is lifted once, by the upcaster of the day on which it is carried on."""
    await shop.placed("refused", correlation_id="c-1")
    payloads: list[recorded.RecordedOutputs] = []
    made = recorded.obligation_of

    def keep(*args: object, **more: object) -> object:
        obligation = made(*args, **more)
        payloads.append(recorded.payload_of(obligation))
        return obligation

    monkeypatch.setattr(recorded, "obligation_of", keep)
    async with shop.now(Watch) as app:
        await app.settled()

        assert _types(wire.EventBook.FromString(payloads[0].trigger)) == ["order.Placed"]


# --- projectors


@pytest.mark.spec("UPC-2", "PROJ-5")
async def test_a_projector_is_fed_lifted_events(shop: Shop) -> None:
    await shop.placed("tea", "milk")

    async with shop.now(Listed) as app:
        await app.settled()

        assert Listed.rows == ["TEA", "MILK"]


@pytest.mark.spec("UPC-2", "PROJ-5", "SYNC-1")
async def test_a_projector_in_a_request_fills_its_gap_with_lifted_events(shop: Shop) -> None:
    await shop.placed("tea", "milk")

    async with shop.now(Listed) as app:
        await app.domain(Order).send("o-1", Add("egg"), sync_mode="simple")

        assert Listed.rows == ["TEA", "MILK", "egg"]


@pytest.mark.spec("UPC-2", "PROJ-4")
async def test_a_read_model_is_made_of_lifted_events(shop: Shop) -> None:
    await shop.placed("tea", "milk")

    async with shop.now(Lines) as app:
        await app.settled()

        assert lines() == ["TEA", "MILK"]


@pytest.mark.spec("UPC-2", "PROJ-9")
async def test_a_read_model_is_replayed_with_lifted_events(shop: Shop) -> None:
    await shop.placed("tea", "milk")

    async with shop.now(Lines) as app:
        await app.settled()
        await app.replay("lines")

        assert lines() == ["TEA", "MILK"]


@pytest.mark.spec("UPC-2", "DLQ-8")
async def test_a_dead_letter_of_a_read_model_is_redelivered_lifted(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.placed("tea")
    monkeypatch.setattr(Lines, "fails", True)

    async with shop.now(Lines) as app:
        await app.settled()
        [found] = await app.stores.dead_letters.list()
        monkeypatch.setattr(Lines, "fails", False)
        letter = wire.AngzarrDeadLetter.FromString(found.letter).rejected_events
        await app._parts.reacting.redeliver("projector:lines", letter.SerializeToString())

        assert lines() == ["TEA"]


@pytest.mark.spec("UPC-2", "SPEC-5")
async def test_a_projector_that_is_asked_sees_lifted_events(shop: Shop) -> None:
    await shop.placed("tea")

    async with shop.now(Lines) as app:
        [projector] = app._parts.reacting.projectors
        [entry] = await app.stores.events.tail(0)
        answer = await projector.speculate(entry.book, CallContext())

        assert wire.Projection.FromString(answer).projection.value == b'{"items":["TEA"]}'
