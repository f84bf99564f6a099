"""Upcasting in the coordinators (UPC-2 to UPC-4)."""

from __future__ import annotations

import pytest

from angzarr import wire
from angzarr.coordinators import QueryCoordinator
from angzarr.errors import HandlerFailed, RemoteError, UpcasterFailed


class Lifting:
    """Prefixes every payload with `new-`; `answer` changes the response."""

    def __init__(self) -> None:
        self.seen: list[wire.UpcastRequest] = []
        self.error: Exception | None = None
        self.is_lossy = False
        self.drops = 0

    async def upcast(self, request, context):
        asked = wire.UpcastRequest.FromString(request)
        self.seen.append(asked)
        if self.error:
            raise self.error
        response = wire.UpcastResponse()
        for page in asked.events[self.drops :]:
            lifted = response.events.add()
            if not self.is_lossy:
                lifted.CopyFrom(page)
            lifted.event.type_url = page.event.type_url
            lifted.event.value = b"new-" + page.event.value
        return response.SerializeToString()


@pytest.fixture
def lifting(world) -> Lifting:
    upcaster = Lifting()
    world.coordinate(upcasters={"account": upcaster})
    world.queries = QueryCoordinator(world.stores.events, upcasters={"account": upcaster})
    return upcaster


def _seen(world):
    return [page.event.value for page in world.handler.seen[-1].events.pages]


@pytest.mark.spec("UPC-2")
async def test_commands_speculation_and_compensation_see_lifted_events(world, lifting):
    await world.send("a=1")

    await world.send("b=1", at=1)
    assert _seen(world) == [b"new-a=1"]
    await world.speculate("c=1")
    assert _seen(world) == [b"new-a=1", b"new-b=1"]
    await world.compensate(world.book("c=1"))
    assert _seen(world) == [b"new-a=1", b"new-b=1"]
    assert lifting.seen[0].domain == "account"


@pytest.mark.spec("UPC-2", "QRY-4")
async def test_queries_see_lifted_events(world, lifting):
    await world.send("a=1")
    query = wire.Query(cover=world.fill(wire.Cover()))

    data = await world.queries.get_event_book(query.SerializeToString(), world.context)

    assert [p.event.value for p in wire.EventBook.FromString(data).pages] == [b"new-a=1"]


@pytest.mark.spec("UPC-2")
async def test_what_is_stored_and_published_stays_as_written(world, lifting):
    await world.send("a=1")
    await world.send("b=1", at=1)

    assert await world.values() == ["a=1", "b=1"]
    assert [book.pages[0].event.value for book in await world.log()] == [b"a=1", b"b=1"]


@pytest.mark.spec("UPC-2")
async def test_without_pages_the_upcaster_is_not_called(world, lifting):
    await world.send("a=1")

    assert lifting.seen == []


@pytest.mark.spec("UPC-3")
async def test_only_visible_user_events_are_sent_and_noops_stay_in_place(world, lifting):
    await world.send("a=1")
    await world.send("b=1", at=1, cascade_id="other")
    await world.send("c=1", at=2)

    await world.speculate("d=1", at=3)

    assert [page.event.value for page in lifting.seen[-1].events] == [b"a=1", b"c=1"]
    pages = world.handler.seen[-1].events.pages
    assert [page.header.sequence for page in pages] == [0, 1, 2]
    assert pages[1].event.type_url == world.FRAMEWORK + "NoOp"
    assert pages[2].event.value == b"new-c=1"


@pytest.mark.spec("UPC-4", "COMPAT-15")
async def test_what_an_upcaster_loses_is_put_back(world, lifting):
    await world.send("a=1", cascade_id="mine")
    lifting.is_lossy = True

    await world.send("b=1", at=1, cascade_id="mine")

    [page] = world.handler.seen[-1].events.pages
    [stored, _] = (await world.stored()).pages
    assert page.event.value == b"new-a=1"
    assert (page.header, page.created_at) == (stored.header, stored.created_at)
    assert (page.committed, page.cascade_id) == (False, "mine")


@pytest.mark.spec("UPC-4", "COMPAT-15")
async def test_another_count_of_pages_is_an_error_that_names_the_upcaster(world, lifting):
    await world.send("a=1", "b=1")
    lifting.drops = 1

    with pytest.raises(UpcasterFailed, match=r"^Upcaster failed: sent 2 pages, got 1") as failed:
        await world.send("c=1", at=2)

    assert "account" in str(failed.value)
    assert failed.value.kind == "internal"


@pytest.mark.spec("UPC-4")
@pytest.mark.parametrize(
    "error", [RemoteError("UNAVAILABLE", "gone"), HandlerFailed("upcaster:account", "gone")]
)
async def test_a_failing_upcaster_fails_the_command_and_nothing_is_written(world, lifting, error):
    await world.send("a=1")
    lifting.error = error

    with pytest.raises(UpcasterFailed, match=r"^Upcaster failed: .*gone"):
        await world.send("b=1", at=1)

    assert await world.values() == ["a=1"]


@pytest.mark.spec("CMD-31", "UPC-2")
async def test_echoed_lifted_pages_are_not_new(world, lifting):
    await world.send("a=1")

    def echo(asked):
        response = wire.BusinessResponse()
        response.events.pages.extend(asked.events.pages)
        response.events.pages.extend(world.business("b=1").events.pages)
        return response

    world.handler.answer = echo

    await world.send("x", at=1)

    assert await world.values() == ["a=1", "b=1"]
