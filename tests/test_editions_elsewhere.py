"""Editions over two processes with one store: one decides on boxes, the other on lids (DEP-12)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from angzarr import Aggregate, App, applies, command, connect
from angzarr.caller import Caller
from angzarr.editions import Choice, Difference
from angzarr.errors import InvalidInput, UnknownDomain
from angzarr.rpc.health import SERVICE as HEALTH
from angzarr.rpc.services import EDITIONS


@dataclass
class Put:
    field: str
    value: int


@dataclass
class WasPut:
    field: str
    value: int


class Thing(Aggregate, domain="thing"):
    width: int = 0
    height: int = 0

    @command
    def put(self, cmd: Put) -> WasPut:
        return WasPut(cmd.field, cmd.value)

    @applies
    def was_put(self, event: WasPut) -> None:
        setattr(self, event.field, event.value)


class Box(Thing, domain="box"):
    pass


class Lid(Thing, domain="lid"):
    pass


@pytest.fixture
async def owner() -> AsyncIterator[tuple[App, str]]:
    """The process that has the store; it decides on lids."""
    async with App(Lid, store="memory://") as app:
        server = await app.serve(port=0)
        yield app, server.addresses[0]
        await server.stop(0)


@pytest.fixture
async def front(owner: tuple[App, str]) -> AsyncIterator[App]:
    """The process that decides on boxes, and asks the other one about lids."""
    address = owner[1]
    config = {"components.aggregate:lid": {"endpoint": f"tcp://{address}", "role": "coordinator"}}
    async with App(Box, store=f"grpc://{address}", config=config) as app:
        yield app


@pytest.fixture
async def client(front: App) -> AsyncIterator[Caller]:
    """A client of the front; both things have a branch that leaves main after one event."""
    server = await front.serve(port=0)
    async with connect(server.addresses[0]) as client:
        for cls in (Box, Lid):
            await client.domain(cls).send("x", Put("width", 1))
            await client.domain(cls).on("what-if", divergence=1).send("x", Put("height", 9))
        yield client
    await server.stop(0)


async def differences(client: Caller, **more: str) -> list[Difference]:
    return [found async for found in client.editions.diff("", "what-if", **more)]


@pytest.mark.spec("EDN-26", "DEP-12")
async def test_states_come_from_the_process_that_decides(client: Caller) -> None:
    found = await differences(client)

    assert [(item.domain, item.fields) for item in found] == [
        ("box", ("height",)),
        ("lid", ("height",)),
    ]
    assert [item.right.state for item in found] == [{"width": 1, "height": 9}] * 2


@pytest.mark.spec("EDN-26", "DEP-12")
async def test_one_stream_elsewhere_may_be_compared(client: Caller) -> None:
    [found] = await differences(client, domain="lid", root="x")

    assert (found.domain, found.fields) == ("lid", ("height",))


@pytest.mark.spec("EDN-27", "DEP-12")
async def test_a_promotion_goes_to_both(client: Caller) -> None:
    report = await client.editions.promote("what-if")

    assert [(s.domain, s.judgement, len(s.events)) for s in report] == [
        ("box", "clean", 1),
        ("lid", "clean", 1),
    ]
    for cls in (Box, Lid):
        assert await client.domain(cls).state("x") == cls(width=1, height=9)


@pytest.mark.spec("EDN-27", "DEP-12")
@pytest.mark.parametrize("cls", [Box, Lid])
async def test_a_conflict_in_one_process_keeps_the_other_back(
    client: Caller, cls: type[Thing]
) -> None:
    await client.domain(cls).send("x", Put("height", 5))

    report = await client.editions.promote("what-if")

    assert [stream.domain for stream in report.conflicts] == [cls.table().domain]
    assert [stream.events for stream in report] == [(), ()]


@pytest.mark.spec("EDN-27", "DEP-12")
async def test_a_conflict_elsewhere_may_be_accepted(client: Caller) -> None:
    await client.domain(Lid).send("x", Put("height", 5))

    report = await client.editions.promote("what-if", Choice(Lid, "x", [1]), accept_conflicts=True)

    assert report.is_recorded
    assert await client.domain(Lid).state("x") == Lid(width=1, height=9)


@pytest.mark.spec("EDN-27", "DEP-12")
async def test_what_cant_be_promoted_there_is_refused_here(client: Caller) -> None:
    with pytest.raises(InvalidInput, match="own pages of lid"):
        await client.editions.promote("what-if", Choice(Box, "x"), Choice(Lid, "x", [0]))

    assert await client.domain(Box).state("x") == Box(width=1)


@pytest.mark.spec("EDN-27")
async def test_nobody_who_decides_is_nobody_to_promote_to(
    owner: tuple[App, str], client: Caller
) -> None:
    with pytest.raises(UnknownDomain, match="box"):
        await owner[0].editions.promote("what-if", Choice(Box))


@pytest.mark.spec("EDN-20", "DEP-11")
async def test_editions_of_a_store_elsewhere_are_declared_in_it(
    owner: tuple[App, str], client: Caller
) -> None:
    made = await client.editions.declare("kid", parent="what-if", max_pages=5)

    assert (await owner[0].editions.get("kid")).record == made


@pytest.mark.spec("EDN-24")
async def test_the_process_with_the_store_reaps(owner: tuple[App, str], front: App) -> None:
    assert owner[0]._running().reaper is not None
    assert front._running().reaper is None


@pytest.mark.spec("DEP-13", "OPS-4")
@pytest.mark.parametrize(
    ("select", "is_served"),
    [("*", True), ("query:events", True), ("aggregate:box", True), ("stream:events", False)],
)
async def test_the_service_is_where_queries_or_aggregates_are(select: str, is_served: bool) -> None:
    async with App(Box, store="memory://", select=select) as app:
        server = await app.serve(port=0)

        assert (EDITIONS in server.services) == is_served
        assert HEALTH in server.services
        assert (server.health.is_serving(EDITIONS) is True) == is_served
        await server.stop(0)
