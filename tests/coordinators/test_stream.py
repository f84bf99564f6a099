"""EventStreamService (QRY-20 to QRY-22)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from angzarr import wire
from angzarr.coordinators import StreamCoordinator, StreamOptions
from angzarr.cover import root_of
from angzarr.errors import InvalidInput, Overloaded, StoreClosed, StoreUnavailable


@pytest.fixture
async def streams(world) -> AsyncIterator[StreamCoordinator]:
    made = StreamCoordinator(
        world.events, options=StreamOptions(subscriber_buffer=4, wait_s=1.0, retry_s=0.0)
    )
    await made.start()
    yield made
    await made.stop()


def _filter(correlation_id="c-1"):
    return wire.EventStreamFilter(correlation_id=correlation_id).SerializeToString()


async def _take(subscription, count):
    return [wire.EventBook.FromString(await anext(subscription)) for _ in range(count)]


def _values(books):
    return [page.event.value.decode() for book in books for page in book.pages]


@pytest.mark.spec("QRY-20")
@pytest.mark.parametrize("correlation_id", ["", "a b"])
async def test_an_empty_or_invalid_id_is_refused(world, streams, correlation_id):
    with pytest.raises(InvalidInput):
        await streams.open(_filter(correlation_id))


@pytest.mark.spec("QRY-20")
async def test_every_book_with_the_id_comes_in_log_order_from_any_stream(world, streams):
    subscription = await streams.open(_filter())

    await world.send("a=1", correlation_id="c-1")
    await world.send("b=1", correlation_id="c-2", root=root_of("bob"))
    await world.send("c=1", at=1, edition="what-if", correlation_id="c-1")
    await world.send("d=1", root=root_of("carol"), correlation_id="c-1")

    assert _values(await _take(subscription, 3)) == ["a=1", "c=1", "d=1"]


@pytest.mark.spec("QRY-20")
async def test_one_turn_of_the_loop_registers_a_subscriber(world, streams):
    books = streams.subscribe(_filter(), world.context)
    first = asyncio.ensure_future(anext(books))
    await asyncio.sleep(0)

    await world.send("a=1", correlation_id="c-1")

    assert _values([wire.EventBook.FromString(await first)]) == ["a=1"]
    await books.aclose()


@pytest.mark.spec("QRY-21")
async def test_there_is_no_history(world, streams):
    await world.send("a=1", correlation_id="c-1")  # not followed yet: no turn of the loop
    subscription = await streams.open(_filter())
    await world.send("b=1", at=1, correlation_id="c-1")

    assert _values(await _take(subscription, 1)) == ["b=1"]


@pytest.mark.spec("QRY-21", "CAS-9")
async def test_pending_pages_arrive_when_they_are_released(world, streams):
    subscription = await streams.open(_filter())
    await world.send("a=1", correlation_id="c-1", cascade_id="X")
    await world.send("b=1", root=root_of("bob"), correlation_id="c-1")
    early = _values(await _take(subscription, 1))

    await world.events.decide_cascade("X", "COMMIT")
    await world.events.resolve_cascade(world.cover(), "X")

    assert early == ["b=1"]
    assert _values(await _take(subscription, 1)) == ["a=1"]


@pytest.mark.spec("QRY-22")
async def test_a_slow_subscriber_is_ended_and_others_go_on(world, streams):
    slow, fast = await streams.open(_filter()), await streams.open(_filter())
    got = []
    for n in range(6):
        await world.send(f"a={n}", at=n, correlation_id="c-1")
        got += _values(await _take(fast, 1))

    assert got == [f"a={n}" for n in range(6)]
    assert _values(await _take(slow, 4)) == ["a=0", "a=1", "a=2", "a=3"]
    with pytest.raises(Overloaded) as ended:
        await anext(slow)
    assert ended.value.limit == 4


@pytest.mark.spec("QRY-22")
def test_the_buffer_holds_32_books_unless_configured():
    assert StreamOptions().subscriber_buffer == 32


async def test_a_closed_subscription_ends_and_gets_nothing_more(world, streams):
    subscription = await streams.open(_filter())
    subscription.close()
    await world.send("a=1", correlation_id="c-1")

    with pytest.raises(StopAsyncIteration):
        await anext(subscription)


async def test_stopping_ends_all_subscriptions(world, streams):
    subscription = await streams.open(_filter())
    waiting = asyncio.ensure_future(anext(subscription))
    await asyncio.sleep(0)

    await streams.stop()

    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_a_store_that_closes_ends_the_streams_with_its_error(world, streams):
    subscription = await streams.open(_filter())

    await world.stores.real.close()

    with pytest.raises(StoreClosed):
        await anext(subscription)


async def test_after_a_failing_look_at_the_log_subscribers_hear_of_it_and_new_ones_are_served(
    world,
):
    failing = StreamCoordinator(world.events, options=StreamOptions(retry_s=0.0, wait_s=1.0))
    world.events.faults["tail"] = StoreUnavailable("memory://", "disk on fire")
    subscription = await failing.open(_filter())
    await failing.start()

    with pytest.raises(StoreUnavailable):
        await anext(subscription)

    del world.events.faults["tail"]
    later = await failing.open(_filter())
    await world.send("a=1", correlation_id="c-1")
    assert _values(await _take(later, 1)) == ["a=1"]
    await failing.stop()
