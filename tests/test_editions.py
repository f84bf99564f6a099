"""Editions as callers see them: typed, in process and over gRPC, with and without `await`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.any_pb2 import Any

from angzarr import Aggregate, App, applies, command, connect, wire
from angzarr.caller import Caller
from angzarr.coordinators.audit import stream_of
from angzarr.cover import MAIN, Cover, root_of
from angzarr.editions import Branch, Choice, Declared, Deleted, Differences, Edition
from angzarr.errors import (
    CorruptData,
    EditionConflict,
    EditionExpired,
    EditionInUse,
    InvalidInput,
    MainProtected,
    PendingPages,
    QuotaExceeded,
    UnknownEdition,
)
from angzarr.testing.clock import ManualClock

START = datetime(2026, 1, 1, tzinfo=UTC)
ROOT = root_of("x")


@dataclass
class Put:
    field: str
    value: int


@dataclass
class WasPut:
    field: str
    value: int


class Box(Aggregate, domain="box"):
    width: int = 0
    height: int = 0

    @command
    def put(self, cmd: Put) -> WasPut:
        return WasPut(cmd.field, cmd.value)

    @applies
    def was_put(self, event: WasPut) -> None:
        setattr(self, event.field, event.value)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def app(clock: ManualClock) -> AsyncIterator[App]:
    async with App(Box, store="memory://", clock=clock) as app:
        yield app


@pytest.fixture(params=["app", "grpc"])
async def client(app: App, request: pytest.FixtureRequest) -> AsyncIterator[Caller]:
    """The same face in process and over gRPC."""
    if request.param == "app":
        yield app
        return
    server = await app.serve(port=0)
    async with connect(server.addresses[0]) as client:
        yield client
    await server.stop(0)


async def branched(client: Caller) -> None:
    """Main has width 1 and 2; the branch leaves it after the first with a height."""
    box = client.domain(Box)
    await box.send("x", Put("width", 1))
    await box.send("x", Put("width", 2))
    await box.on("what-if", divergence=1).send("x", Put("height", 9))


@pytest.mark.spec("EDN-20")
async def test_a_declared_edition_comes_back_as_it_is(client: Caller) -> None:
    declared = await client.editions.declare(
        "kid", parent="what-if", ttl=timedelta(days=1), max_pages=10, max_bytes=1_000
    )

    expires_at = START + timedelta(days=1)
    assert declared == Declared("kid", "what-if", START, expires_at, 10, 1_000)


@pytest.mark.spec("EDN-20")
async def test_an_edition_may_expire_at_a_moment(client: Caller) -> None:
    moment = datetime(2026, 6, 1, 12, 30, 0, 250, tzinfo=UTC)

    declared = await client.editions.declare("what-if", expires_at=moment)

    assert declared.expires_at == moment


async def test_ttl_and_a_moment_are_one_too_many(client: Caller) -> None:
    with pytest.raises(ValueError, match="give one of them"):
        await client.editions.declare("what-if", ttl=timedelta(1), expires_at=START)


async def test_a_moment_has_a_time_zone(client: Caller) -> None:
    with pytest.raises(ValueError, match="needs a time zone"):
        await client.editions.declare("what-if", expires_at=datetime(2026, 6, 1))


@pytest.mark.spec("EDN-19")
async def test_an_edition_is_shown_with_what_it_holds(client: Caller) -> None:
    await branched(client)

    found = await client.editions.get("what-if")

    assert (found.record, found.parent, found.page_count) == (None, MAIN, 1)
    assert found.stream_counts == {"box": 1}
    assert [item async for item in client.editions.list()] == [found]
    assert [item async for item in client.editions.list(domain=Box)] == [found]
    assert [item async for item in client.editions.list(domain="other")] == []


@pytest.mark.spec("EDN-19")
async def test_its_branches_have_covers(client: Caller) -> None:
    await branched(client)

    found = [branch async for branch in client.editions.branches("what-if", domain=Box)]

    assert found == [Branch(Cover("box", ROOT, "what-if"), 1, 2)]


@pytest.mark.spec("EDN-25")
async def test_a_deletion_tells_what_there_was(client: Caller) -> None:
    await branched(client)
    await client.editions.declare("what-if")

    assert await client.editions.delete("what-if") == Deleted({"box": 1}, True)
    assert await client.editions.delete("what-if") == Deleted({}, False)


@pytest.mark.spec("EDN-26")
async def test_a_difference_has_events_and_states_of_the_class(client: Caller) -> None:
    await branched(client)

    [found] = [item async for item in client.editions.diff("", "what-if", domain=Box)]

    assert (found.domain, found.root, found.first_sequence) == ("box", ROOT, 1)
    assert [event.payload for event in found.left.events] == [WasPut("width", 2)]
    assert [event.payload for event in found.right.events] == [WasPut("height", 9)]
    assert found.right.events[0].cover == Cover("box", ROOT, "what-if")
    assert (found.left.state, found.right.state) == (Box(width=2), Box(width=1, height=9))
    assert found.fields == ("height", "width")


@pytest.mark.spec("EDN-26")
async def test_a_stream_that_is_not_there_has_the_state_of_an_empty_one(client: Caller) -> None:
    await client.domain(Box).on("what-if").send("x", Put("height", 9))

    [found] = [item async for item in client.editions.diff(MAIN, "what-if", domain=Box, root="x")]

    assert (found.left.events, found.left.next_sequence, found.left.state) == ((), 0, Box())


async def test_without_the_class_states_are_opened_as_far_as_they_can_be(app: App) -> None:
    await branched(app)

    plain = Caller(app.transport)
    [found] = [item async for item in plain.editions.diff("", "what-if")]

    assert found.left.state == {"width": 2, "height": 0}
    assert found.left.events[0].payload == {"field": "width", "value": 2}


async def test_an_app_knows_its_own_classes(app: App) -> None:
    await branched(app)

    [found] = [item async for item in app.editions.diff("", "what-if")]

    assert found.left.state == Box(width=2)


def test_a_state_of_another_type_is_corrupt() -> None:
    part = wire.StreamDifference(is_last=True, left_next_sequence=1)
    part.cover.domain, part.cover.root.value = "box", ROOT
    part.left_state.CopyFrom(Any(type_url="type.googleapis.com/other.Type"))

    with pytest.raises(CorruptData, match=r"found other\.Type"):
        Differences("", "what-if", {"box": Box}).add(part.SerializeToString())


@pytest.mark.spec("EDN-27")
async def test_a_promotion_reports_and_records(client: Caller) -> None:
    await branched(client)

    report = await client.editions.promote("what-if", Choice(Box, "x", [1]))

    [stream] = report
    assert (stream.domain, stream.root, stream.sequences) == ("box", ROOT, (1,))
    assert (stream.judgement, stream.theirs, stream.mine) == ("disjoint", ("width",), ("height",))
    assert [event.sequence for event in stream.events] == [2]
    assert (report.is_recorded, report.conflicts, report.is_dry_run) == (True, (), False)
    assert await client.domain(Box).state("x") == Box(width=2, height=9)


@pytest.mark.spec("EDN-27")
async def test_a_repeated_promotion_says_so(client: Caller) -> None:
    await branched(client)
    first = await client.editions.promote("what-if")

    again = await client.editions.promote("what-if")

    assert [stream.judgement for stream in again] == ["repeated"]
    assert again.streams[0].events == first.streams[0].events


@pytest.mark.spec("EDN-27")
async def test_a_conflict_is_in_the_report(client: Caller) -> None:
    await branched(client)
    await client.domain(Box).on("what-if").send("x", Put("width", 7))

    report = await client.editions.promote("what-if", dry_run=True)

    assert [stream.overlap for stream in report.conflicts] == [("width",)]
    assert not report.is_recorded


@pytest.mark.spec("EDN-15", "EDN-20", "EDN-25")
async def test_refusals_are_typed(client: Caller, clock: ManualClock) -> None:
    editions, box = client.editions, client.domain(Box)
    await editions.declare("what-if", max_pages=2)
    await editions.declare("kid", parent="what-if", ttl=timedelta(hours=1))
    await box.on("what-if").send("x", Put("width", 1))

    with pytest.raises(EditionConflict) as conflict:
        await editions.declare("kid", parent="other")
    with pytest.raises(EditionInUse) as in_use:
        await editions.delete("what-if")
    await box.on("what-if").send("y", Put("width", 1), cascade_id="c-1")
    with pytest.raises(MainProtected):
        await editions.delete("")
    with pytest.raises(UnknownEdition):
        await editions.get("nobody")
    with pytest.raises(InvalidInput):
        await editions.declare("No Name")
    with pytest.raises(QuotaExceeded):
        await box.on("what-if").send("x", Put("width", 2))
    clock.advance(3_600)
    with pytest.raises(EditionExpired):
        await box.on("kid").send("x", Put("width", 2))
    await editions.delete("kid")
    with pytest.raises(PendingPages):
        await editions.delete("what-if")

    assert (conflict.value.parent, conflict.value.requested) == ("what-if", "other")
    assert in_use.value.children == ("kid",)


def test_without_await_there_is_the_same_face() -> None:
    with App(Box, store="memory://") as client:
        client.domain(Box).on("what-if").send("x", Put("height", 9))
        client.editions.declare("kid", parent="what-if")

        names = [edition.name for edition in client.editions.list()]
        [found] = list(client.editions.diff("", "what-if", domain=Box))
        report = client.editions.promote("what-if")

    assert names == ["kid", "what-if"]
    assert found.right.state == Box(height=9)
    assert report.is_recorded


async def test_an_edition_that_was_never_declared_is_a_branch_of_main() -> None:
    assert Edition("what-if", None, 0, 0, {}).parent == MAIN


@pytest.mark.spec("EDN-24")
async def test_the_app_deletes_expired_editions(clock: ManualClock) -> None:
    config = {"editions.reap_interval_s": 0.001}
    async with App(Box, store="memory://", clock=clock, config=config) as app:
        await app.editions.declare("what-if", ttl=timedelta(seconds=1))
        follow = app.domain("_angzarr").follow(
            stream_of(wire.DeleteEditionEvents, "what-if", "box").root, poll_s=0.001
        )
        await app.domain(Box).on("what-if").send("x", Put("height", 9))
        clock.advance(1)

        audit = await anext(follow)
        await follow.aclose()

        assert audit.sequence == 0
        assert [item async for item in app.editions.list()] == []


@pytest.mark.spec("EDN-24", "OPS-9")
async def test_an_interval_of_zero_is_no_reaper(clock: ManualClock) -> None:
    config = {"editions.reap_interval_s": 0}
    async with App(Box, store="memory://", clock=clock, config=config) as app:
        assert app._running().reaper is None
