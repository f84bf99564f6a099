"""Projections as published books (PROJ-11, QRY-23)."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any

from angzarr import codec, wire
from angzarr.coordinators import StreamCoordinator

PAYLOAD = Any(type_url="type.googleapis.com/test.Row", value=b"row")


@pytest.mark.spec("PROJ-11")
async def test_a_projection_is_published_as_a_book_of_its_own(world) -> None:
    projector = await world.stored()

    await projector.deliver(
        world.delivery_of(await world.append("a", "b", correlation_id="corr-1"))
    )

    (book,) = world.published
    assert book.cover.domain == "_projection.rows.account"
    assert book.cover.root.value == world.cover().root
    assert book.cover.correlation_id == "corr-1"
    assert book.next_sequence == 2
    (page,) = book.pages
    assert page.header.sequence == 1
    assert page.committed
    assert page.created_at.ToNanoseconds() == world.clock.now_ns()
    assert page.event.type_url == "type.angzarr.io/angzarr.Projection"
    projection = wire.Projection.FromString(page.event.value)
    assert (projection.projector, projection.sequence) == ("rows", 1)
    assert codec.unpack(projection.projection, world.Total, "rows") == world.Total(2)


@pytest.mark.spec("PROJ-11")
async def test_its_sequence_is_the_projections(world) -> None:
    answer = wire.Projection(sequence=41, projection=PAYLOAD)
    projector = await world.plain(world.Recorder(answer=answer))

    await projector.deliver(world.delivery_of(await world.append("a")))

    assert world.published[0].pages[0].header.sequence == 41


@pytest.mark.spec("PROJ-11")
async def test_an_empty_projection_is_not_published(world) -> None:
    projector = await world.plain(world.Recorder(answer=wire.Projection(projector="recorder")))

    await projector.deliver(world.delivery_of(await world.append("a")))

    assert world.published == []


@pytest.mark.spec("PROJ-11")
async def test_nothing_is_published_unless_it_is_asked_for(world) -> None:
    projector = await world.stored(publish=None)

    await projector.deliver(world.delivery_of(await world.append("a")))

    assert world.published == []
    assert world.rows() == [(0, "a")]


@pytest.mark.spec("PROJ-11")
async def test_a_requests_projection_is_published_once(world) -> None:
    projector = await world.stored()

    await projector.project(await world.append("a"), world.context)
    await world.feed(projector)

    assert len(world.published) == 1


@pytest.mark.spec("PROJ-11")
async def test_a_speculation_is_not_published(world) -> None:
    projector = await world.stored()

    await projector.speculate(world.book(world.page(0, "a")), world.context)

    assert world.published == []


@pytest.mark.spec("PROJ-11")
async def test_a_projection_is_not_stored(world) -> None:
    projector = await world.stored()
    await world.append("a")
    head = await world.events.log_head()

    await world.feed(projector)

    assert await world.events.log_head() == head
    assert await world.events.domains() == ["account"]


@pytest.mark.spec("PROJ-9", "PROJ-11")
@pytest.mark.parametrize("publishes", [False, True])
async def test_a_replay_publishes_when_asked_to(world, publishes: bool) -> None:
    projector = await world.stored()
    await world.append("a")
    await world.feed(projector)
    world.published.clear()

    await world.feeder(projector).reset(
        projector.consumer, lambda: projector.begin_replay(publishes=publishes)
    )
    await world.feed(projector)
    await projector.end_replay()
    during = len(world.published)
    await world.append("b")
    await world.feed(projector)

    assert during == (1 if publishes else 0)
    assert len(world.published) == during + 1


@pytest.mark.spec("QRY-23", "PROJ-11")
async def test_subscribers_of_the_correlation_id_get_projections(world) -> None:
    streams = StreamCoordinator(world.events)
    await streams.start()
    projector = await world.stored(publish=streams.publish)
    mine = await streams.open(wire.EventStreamFilter(correlation_id="mine").SerializeToString())
    other = await streams.open(wire.EventStreamFilter(correlation_id="other").SerializeToString())

    await projector.deliver(world.delivery_of(await world.append("a", correlation_id="mine")))
    books = [wire.EventBook.FromString(await anext(mine)) for _ in range(2)]
    other.close()

    assert {book.cover.domain for book in books} == {"account", "_projection.rows.account"}
    assert [item async for item in other] == []
    await streams.stop()


@pytest.mark.spec("QRY-22")
async def test_a_slow_subscriber_does_not_stop_a_projector(world) -> None:
    streams = StreamCoordinator(world.events)
    projector = await world.stored(publish=streams.publish)
    await streams.open(wire.EventStreamFilter(correlation_id="mine").SerializeToString())

    for number in range(40):
        book = await world.append(str(number), correlation_id="mine")
        await projector.deliver(world.delivery_of(book))

    assert len(world.rows()) == 40
