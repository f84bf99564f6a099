"""The bus on the log: who gets what, in which order (STO-25, STO-26, STO-50, SAGA-2, PROJ-2)."""

from __future__ import annotations

import asyncio

import pytest

from angzarr import wire
from angzarr.coordinators.consumers import Delivery
from angzarr.cover import root_of
from angzarr.errors import InvalidInput
from angzarr.ports.components import Subscription
from angzarr.testing.pages import TYPE_URL, cover_of, page, pages, sequences_of

from .bus import ALICE, BOB, Bus, Recorder, projector, spec, turns

CORRELATED = cover_of("alice", correlation_id="c-1")


@pytest.mark.spec("STO-50", "STO-25", "SAGA-2", "PROJ-2")
@pytest.mark.parametrize("make", [spec, projector])
async def test_a_book_is_delivered_as_it_was_published(bus, make):
    got = Recorder()
    await bus.start(make(got))
    await bus.publish(BOB)

    await bus.publish(CORRELATED, 3)
    await got.until(2)

    entry = (await bus.stores.events.tail(1))[0]
    assert got.done[1] == Delivery(CORRELATED, entry.book, 0, 2, position=4, attempt=1)


@pytest.mark.spec("STO-50", "STO-26", "PROJ-6")
async def test_what_was_published_before_anyone_subscribed_is_delivered_to_who_comes(bus):
    await bus.publish(count=2)
    await bus.publish()
    got = Recorder()

    await bus.start(spec(got))
    await got.until(2)

    assert got.sequences == [0, 2]


@pytest.mark.spec("STO-26")
async def test_a_new_consumer_may_start_with_what_is_published_from_now_on(bus):
    await bus.publish(count=2)
    got = Recorder()
    await bus.start(spec(got, from_now=True))

    await bus.publish()
    await got.until(1)

    assert got.sequences == [2]


@pytest.mark.spec("STO-26")
async def test_from_now_means_the_first_start(bus):
    got = Recorder()
    first = await bus.start(spec(got, from_now=True))
    await first.stop()
    await bus.publish()

    await bus.start(spec(got, from_now=True))
    await got.until(1)

    assert got.sequences == [0]


@pytest.mark.spec("STO-26", "STO-50", "OPS-3")
async def test_a_known_consumer_resumes_where_it_stopped(bus):
    got = Recorder()
    first = await bus.start(spec(got))
    await bus.publish(count=2)
    await got.until(1)
    await first.stop()
    await bus.publish()

    await bus.start(spec(got))
    await got.until(2)

    assert [sequences_of(d.book) for d in got.got] == [[0, 1], [2]]


@pytest.mark.spec("STO-26", "STO-50")
async def test_the_same_consumers_can_be_started_again(bus):
    got = Recorder()
    consumers = await bus.start(spec(got))
    await bus.publish()
    await got.until(1)

    await consumers.stop()
    await bus.publish()
    await consumers.start()
    await got.until(2)

    assert got.sequences == [0, 1]


@pytest.mark.spec("STO-50", "STO-25")
async def test_many_messages_arrive_once_and_in_order_per_root(bus):
    got = Recorder()
    await bus.start(spec(got))
    covers = [cover_of(f"root-{number}") for number in range(20)]

    for sequence in range(25):
        for cover in covers:
            await bus.stores.events.append(cover, sequence, pages(sequence, 1))
    await got.until(500)

    assert all(got.of(cover) == list(range(25)) for cover in covers)
    assert len(got.got) == 500


@pytest.mark.spec("STO-50", "STO-25")
async def test_concurrent_publication_loses_nothing(bus):
    got = Recorder()
    await bus.start(spec(got))

    async def write(number: int) -> None:
        for _ in range(20):
            await bus.publish(cover_of(f"root-{number}"), 1 + number % 3)

    await asyncio.gather(*(write(number) for number in range(32)))
    await got.until(640)

    for number in range(32):
        count = 1 + number % 3
        assert got.of(cover_of(f"root-{number}")) == list(range(0, 20 * count, count))


@pytest.mark.spec("STO-50", "SAGA-3")
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["order"], ["order"]),
        (["order", "stock"], ["order", "stock"]),
        (["*"], ["account", "order", "stock"]),
        (["nothing"], []),
    ],
)
async def test_domains_are_chosen_by_name_several_or_all(bus, wanted, expected):
    got, last = Recorder(), Recorder()
    subscriptions = tuple(Subscription(domain) for domain in wanted)
    await bus.start(spec(got, subscriptions=subscriptions), spec(last, "last", domain="z"))

    for domain in ("order", "_angzarr", "account", "stock", "z"):
        await bus.publish(cover_of("alice", domain=domain))
    await last.until(1)
    await got.until(len(expected))

    assert sorted({d.cover.domain for d in got.done} - {"z"}) == expected


@pytest.mark.spec("SAGA-3", "SAGA-2")
async def test_types_are_chosen_page_by_page_for_sagas(timed):
    got = Recorder()
    await timed.start(spec(got, subscriptions=(Subscription("account", ("Paid",)),)))
    paid = "type.googleapis.com/shop.Paid"

    await timed.stores.events.append(ALICE, 0, [page(0), page(1, type_url=paid), page(2)])
    await timed.stores.events.append(ALICE, 3, [page(3)])
    await turns()

    (delivery,) = got.done
    assert sequences_of(delivery.book) == [1]
    assert (delivery.first, delivery.last) == (0, 2)


@pytest.mark.spec("PROJ-2", "PROJ-3")
async def test_who_keeps_positions_gets_every_page_of_the_domain(timed):
    got = Recorder()
    await timed.start(projector(got, subscriptions=(Subscription("account", ("Paid",)),)))

    await timed.publish(count=2)
    await turns()

    assert [sequences_of(d.book) for d in got.done] == [[0, 1]]


@pytest.mark.spec("SAGA-2", "CAS-9")
async def test_pages_that_became_visible_are_delivered_and_no_ops_are_not(timed):
    saga, projected = Recorder(), Recorder()
    await timed.start(spec(saga), projector(projected))
    events = timed.stores.events
    await events.append(ALICE, 0, pages(0, 1, cascade_id="x"), cascade_id="x")
    await events.append(ALICE, 1, pages(1, 1))
    await turns()
    assert saga.got == []

    await events.decide_cascade("x", "COMMIT")
    await events.resolve_cascade(ALICE, "x")
    await turns()

    assert saga.sequences == [0, 1]
    assert projected.sequences == [0, 1, 2]  # with the marker's NoOp


@pytest.mark.spec("PM-1")
async def test_books_without_a_correlation_id_are_passed_over_where_that_is_wanted(timed):
    got = Recorder()
    consumers = await timed.start(spec(got, skips_without_correlation=True))

    await timed.publish(BOB)
    await timed.publish(CORRELATED)
    await turns()

    assert [d.cover for d in got.got] == [CORRELATED]
    assert consumers.states()["saga-shipping"].position == 2


@pytest.mark.spec("EDN-13")
@pytest.mark.parametrize(
    ("editions", "expected"),
    [
        (None, ["angzarr", "what-if", "else"]),
        (("main",), ["angzarr"]),
        (("angzarr",), ["angzarr"]),
        (("",), ["angzarr"]),
        (("what-if", "main"), ["angzarr", "what-if"]),
    ],
)
async def test_consumers_get_the_editions_that_they_ask_for(timed, editions, expected):
    got = Recorder()
    await timed.start(spec(got, editions=editions))

    for edition in ("", "what-if", "else"):
        await timed.publish(cover_of("alice", edition=edition))
    await turns()

    assert [d.cover.edition for d in got.done] == expected


@pytest.mark.spec("STO-25", "STO-50", "SAGA-2")
async def test_consumers_are_independent(bus):
    first, second = Recorder(), Recorder()
    await bus.start(spec(first, "first"), spec(second, "second"))

    await bus.publish()
    await bus.publish(BOB)
    await asyncio.gather(first.until(2), second.until(2))

    assert {d.position for d in first.got} == {d.position for d in second.got} == {1, 2}


@pytest.mark.spec("SAGA-2", "PROJ-14")
async def test_deliveries_of_a_stream_are_one_after_the_other(bus):
    gate = asyncio.Event()
    got = Recorder(lambda delivery: gate.wait())
    await bus.start(spec(got))
    for _ in range(3):
        await bus.publish()
    await bus.publish(BOB)
    await got.until(lambda recorder: len(recorder.got) >= 2)
    await turns()

    assert {(d.cover.root, d.first) for d in got.got} == {(ALICE.root, 0), (BOB.root, 0)}
    gate.set()
    await got.until(4)
    assert got.of(ALICE) == [0, 1, 2]


@pytest.mark.spec("PROJ-14")
@pytest.mark.parametrize("concurrency", [2, 16])
async def test_streams_are_handled_side_by_side_up_to_the_concurrency(bus, concurrency):
    gate = asyncio.Event()
    got = Recorder(lambda delivery: gate.wait())
    await bus.start(spec(got, concurrency=concurrency))
    for number in range(20):
        await bus.publish(cover_of(f"root-{number}"))
    await got.until(lambda recorder: len(recorder.got) >= concurrency)
    await turns()

    assert len(got.got) == concurrency
    gate.set()
    await got.until(20)


@pytest.mark.spec("PROJ-14")
async def test_with_a_concurrency_of_one_the_order_is_the_logs(bus):
    got = Recorder(lambda delivery: asyncio.sleep(0))
    await bus.start(spec(got, concurrency=1))

    for number in range(30):
        await bus.publish(cover_of(f"root-{number % 7}"), 1 + number % 2)
    await got.until(30)

    positions = [d.position for d in got.done]
    assert positions == sorted(positions)


@pytest.mark.spec("PROJ-14", "SAGA-2")
async def test_the_cursor_is_below_the_lowest_unfinished_position(timed):
    gate = asyncio.Event()
    got = Recorder(lambda d: gate.wait() if d.position == 3 else None)
    consumers = await timed.start(spec(got))
    for cover in (ALICE, ALICE, BOB, ALICE, ALICE):
        await timed.publish(cover)
    await timed.time.advance(1.0)
    assert len(got.done) == 4

    assert await timed.stores.positions.cursor("saga-shipping") == 2
    assert (consumers.states()["saga-shipping"].position, consumers.lag("saga-shipping")) == (2, 3)

    gate.set()
    await timed.time.advance(1.0)
    assert await timed.stores.positions.cursor("saga-shipping") == 5


@pytest.mark.spec("SAGA-2")
async def test_an_entry_that_is_not_finished_is_delivered_again_after_a_crash(timed):
    gate = asyncio.Event()
    stuck = Recorder(lambda d: gate.wait() if d.cover.stream == BOB.stream else None)
    await timed.start(spec(stuck), holder="me")
    for cover in (ALICE, BOB, ALICE):
        await timed.publish(cover, 2)
    await timed.time.advance(1.0)
    got = Recorder()

    restarted = Bus(timed.stores, timed.time)  # the first one is never heard of again
    await restarted.start(spec(got), holder="me")
    await turns()

    assert [(d.cover.stream, d.first) for d in got.done] == [(BOB.stream, 0), (ALICE.stream, 2)]
    gate.set()
    await restarted.close()


@pytest.mark.spec("SAGA-2", "OPS-3")
async def test_cursors_are_stored_a_little_later_and_seldom(timed):
    got = Recorder()
    await timed.start(spec(got))
    positions = timed.stores.positions
    await timed.publish()
    await turns()
    assert got.sequences == [0]
    assert await positions.cursor("saga-shipping") is None

    await timed.time.advance(0.1)
    assert await positions.cursor("saga-shipping") == 1
    await timed.publish()
    await timed.time.advance(0.05)
    assert await positions.cursor("saga-shipping") == 1


@pytest.mark.spec("PROJ-6")
async def test_a_cursor_moves_on_with_a_log_that_is_not_for_it(timed):
    await timed.start(spec(Recorder(), domain="nothing"))

    await timed.publish(count=7)
    await timed.time.advance(6.0)

    assert await timed.stores.positions.cursor("saga-shipping") == 7


@pytest.mark.spec("PROJ-6", "STO-27")
async def test_lag_is_the_distance_to_the_logs_head(timed):
    gate = asyncio.Event()
    consumers = await timed.start(spec(Recorder(lambda d: gate.wait())), spec(Recorder(), "idle"))
    for _ in range(4):
        await timed.publish()
    await turns()

    assert (consumers.lag("saga-shipping"), consumers.lag("saga-idle")) == (4, 0)
    gate.set()
    await turns()
    assert consumers.lag("saga-shipping") == 0


@pytest.mark.spec("OPS-3")
async def test_stop_waits_for_running_deliveries_and_stores_their_cursor(timed):
    gate = asyncio.Event()
    got = Recorder(lambda d: gate.wait())
    consumers = await timed.start(spec(got))
    await timed.publish()
    await timed.publish()
    await turns()

    stopping = asyncio.create_task(consumers.stop())
    await turns()
    assert not stopping.done()
    gate.set()
    await stopping

    assert got.sequences == [0]  # and none was begun
    assert await timed.stores.positions.cursor("saga-shipping") == 1


@pytest.mark.spec("OPS-3")
async def test_a_stop_that_is_given_up_ends_the_deliveries_that_run(timed):
    cancelled = asyncio.Event()

    async def hang(delivery):
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    consumers = await timed.start(spec(hang))
    await timed.publish()
    await turns()
    stopping = asyncio.create_task(consumers.stop())
    await turns()

    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)

    assert cancelled.is_set()


async def test_stopping_twice_and_before_a_start_is_fine(timed):
    consumers = timed.consumers(spec(Recorder()))

    await consumers.stop()
    await consumers.start()
    await consumers.stop()
    await consumers.stop()


@pytest.mark.spec("SAGA-2")
async def test_nothing_is_delivered_after_a_stop(timed):
    got = Recorder()
    consumers = await timed.start(spec(got))
    await consumers.stop()

    await timed.publish()
    await timed.time.advance(60.0)

    assert got.got == []


async def test_a_name_is_given_to_one_consumer(timed):
    consumers = timed.consumers(spec(Recorder()))

    with pytest.raises(InvalidInput, match="saga-shipping"):
        consumers.add(spec(Recorder()))


@pytest.mark.spec("PM-1")
async def test_a_consumer_without_subscriptions_is_refused(timed):
    empty = spec(Recorder())
    empty = type(empty)(
        name="process-manager-x",
        component="process_manager:x",
        component_type="process_manager",
        subscriptions=(),
        deliver=empty.deliver,
    )

    with pytest.raises(InvalidInput, match=r"process_manager:x\.subscriptions"):
        timed.consumers(empty)


async def test_a_consumer_that_is_added_later_begins_with_the_next_start(timed):
    await timed.publish()
    consumers = await timed.start(spec(Recorder()))
    got = Recorder()

    consumers.add(spec(got, "later"))
    await consumers.start()
    await turns()

    assert got.sequences == [0]


async def test_a_consumer_that_is_removed_gets_nothing_more_and_keeps_its_place(timed):
    got = Recorder()
    consumers = await timed.start(spec(got))
    await timed.publish()
    await turns()

    await consumers.remove("saga-shipping")
    await timed.publish()
    await timed.time.advance(60.0)

    assert got.sequences == [0]
    assert await timed.stores.positions.cursor("saga-shipping") == 1
    assert consumers.states() == {}


@pytest.mark.spec("EDN-14")
async def test_entries_of_deleted_editions_are_passed(timed):
    got = Recorder()
    branch = cover_of("alice", edition="what-if")
    for cover in (ALICE, branch, branch):
        await timed.publish(cover)
    await timed.stores.events.delete_edition("account", "what-if")

    consumers = await timed.start(spec(got))
    await timed.time.advance(6.0)
    assert consumers.states()["saga-shipping"].position == 3

    await timed.publish(ALICE)
    await turns()
    assert [d.position for d in got.done] == [1, 4]


@pytest.mark.spec("EDN-14")
async def test_a_consumer_at_the_end_passes_entries_that_are_deleted_before_it_sees_them(timed):
    got = Recorder()
    consumers = timed.consumers(spec(got), wait_s=0.0)
    await timed.publish(ALICE)
    await consumers.start()
    await got.until(1)
    branch = cover_of("alice", edition="what-if")
    await timed.stores.events.append(branch, 1, pages(1, 1))  # no turn of the loop in between
    await timed.stores.events.delete_edition("account", "what-if")

    await turns()

    assert (consumers.states()["saga-shipping"].position, len(got.got)) == (2, 1)


@pytest.mark.spec("DLQ-8")
@pytest.mark.parametrize("name", ["saga-shipping", "saga:shipping"])
async def test_a_dead_book_is_delivered_once_more_by_name_of_consumer_or_component(timed, name):
    got = Recorder()
    consumers = await timed.start(spec(got))
    await timed.publish(CORRELATED, 2)
    await turns()

    await consumers.redeliver(name, got.done[0].book)

    assert got.got[1] == Delivery(
        CORRELATED, got.done[0].book, 0, 1, position=0, attempt=1, is_redelivered=True
    )


@pytest.mark.spec("DLQ-8")
async def test_a_redelivery_that_fails_says_so_and_is_not_tried_again(timed):
    def fail(delivery):
        raise InvalidInput("a", "b", "c")

    got = Recorder()
    consumers = await timed.start(spec(got))
    await timed.publish()
    await turns()
    got.fault = fail

    with pytest.raises(InvalidInput):
        await consumers.redeliver("saga-shipping", got.done[0].book)
    await timed.time.advance(600.0)

    assert len(got.got) == 2
    assert await timed.letters() == []


@pytest.mark.spec("DLQ-8")
async def test_a_redelivery_to_nobody_names_those_that_are_known(timed):
    consumers = timed.consumers(spec(Recorder()))

    with pytest.raises(InvalidInput, match="saga-shipping"):
        await consumers.redeliver("saga:other", b"")


@pytest.mark.spec("PROJ-9")
async def test_reset_delivers_the_log_from_its_beginning(bus):
    got = Recorder()
    consumers = await bus.start(projector(got))
    await bus.stores.positions.put("projector-orders", ALICE, 1)
    await bus.publish(count=2)
    await bus.publish()
    await got.until(2)

    await consumers.reset("projector-orders")
    assert await bus.stores.positions.get("projector-orders", ALICE) is None
    await got.until(4)

    assert got.sequences == [0, 2, 0, 2]


@pytest.mark.spec("PROJ-9")
async def test_reset_waits_for_deliveries_that_run(timed):
    gate = asyncio.Event()
    got = Recorder(lambda d: gate.wait())
    consumers = await timed.start(projector(got))
    await timed.publish()
    await turns()

    resetting = asyncio.create_task(consumers.reset("projector-orders"))
    await turns()
    assert not resetting.done()
    gate.set()
    await resetting
    await turns()

    assert got.sequences == [0, 0]


@pytest.mark.spec("PROJ-9")
async def test_between_the_old_deliveries_and_the_new_ones_reset_runs_what_it_is_given(timed):
    got = Recorder()
    consumers = await timed.start(projector(got))
    await timed.publish()
    await turns()
    seen: list[int] = []

    async def clear() -> None:
        await timed.publish()
        await timed.time.advance(30.0)  # long enough for leases to be looked after
        seen.append(len(got.got))

    await consumers.reset("projector-orders", clear)
    await turns()

    assert seen == [1]
    assert got.sequences == [0, 0, 1]


@pytest.mark.spec("PROJ-9")
async def test_a_reset_that_fails_in_between_leaves_the_positions(timed):
    got = Recorder()
    consumers = await timed.start(projector(got))
    await timed.publish()
    await turns()

    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await consumers.reset("projector-orders", fail)
    await timed.publish()
    await timed.time.advance(30.0)

    assert got.sequences == [0, 1]


@pytest.mark.spec("PROJ-9", "STO-26")
async def test_a_consumer_that_started_from_now_gets_everything_after_a_reset(timed):
    await timed.publish()
    got = Recorder()
    consumers = await timed.start(projector(got, from_now=True))

    await consumers.reset("projector-orders")
    await turns()

    assert got.sequences == [0]


@pytest.mark.spec("PROJ-9")
async def test_reset_before_a_start_delivers_nothing_yet(timed):
    await timed.publish()
    got = Recorder()
    consumers = timed.consumers(projector(got))

    await consumers.reset("projector-orders")
    await timed.time.advance(30.0)
    assert got.got == []

    assert await timed.stores.positions.lease("projector-orders", 0, "other", 0.0)


@pytest.mark.spec("PROJ-9")
async def test_after_a_reset_a_consumer_is_at_the_logs_beginning_until_it_gets_on(timed):
    """It was said to be where it had been, so that a replay in place ended before it had begun."""
    gate = asyncio.Event()
    gate.set()
    consumers = await timed.start(projector(Recorder(), begin=gate.wait))
    await timed.publish(count=3)
    await turns()
    assert consumers.states()["projector-orders"].position == 3
    gate.clear()

    await consumers.reset("projector-orders")

    assert consumers.states()["projector-orders"].position == 0
    gate.set()
    await turns()
    assert consumers.states()["projector-orders"].position == 3


async def test_many_consumers_cost_one_reader_of_the_log(timed, monkeypatch):
    recorders = [Recorder() for _ in range(100)]
    await timed.start(*(spec(got, str(number)) for number, got in enumerate(recorders)))
    await turns()
    reads: list[int] = []
    tail = timed.stores.events.tail

    async def counted(after: int, **more: object):
        reads.append(after)
        return await tail(after, **more)

    monkeypatch.setattr(timed.stores.events, "tail", counted)
    for _ in range(10):
        await timed.publish()
        await turns()

    assert all(got.sequences == list(range(10)) for got in recorders)
    assert len(reads) <= 11


@pytest.mark.spec("STO-25")
async def test_the_handlers_book_is_what_the_store_gave_for_a_large_one(bus):
    got = Recorder()
    await bus.start(spec(got))

    await bus.stores.events.append(ALICE, 0, [page(0, value=bytes(2_000_000))])
    await got.until(1)

    (event,) = wire.EventBook.FromString(got.done[0].book).pages
    assert (event.event.type_url, len(event.event.value)) == (TYPE_URL, 2_000_000)
    assert got.done[0].cover.root == root_of("alice")
