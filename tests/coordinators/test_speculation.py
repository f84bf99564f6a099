"""Speculation on aggregates (SPEC-1 to SPEC-4)."""

from __future__ import annotations

import pytest

from angzarr import wire
from angzarr.cover import root_of
from angzarr.errors import CommandRejected, InvalidInput

OTHER = root_of("bob")
WRITES = {"append", "decide_cascade", "resolve_cascade", "put"}


@pytest.mark.spec("SPEC-1")
async def test_the_events_are_numbered_and_nothing_is_kept(world):
    await world.send("a=1")
    world.trace.clear()

    response = await world.speculate("b=1", "c=1", at=1)

    assert [page.header.sequence for page in response.events.pages] == [1, 2]
    assert response.events.next_sequence == 3
    assert not WRITES & set(world.trace)
    assert await world.values() == ["a=1"]
    assert len(await world.log()) == 1


@pytest.mark.spec("SPEC-1")
async def test_speculation_leaves_no_key(world):
    await world.speculate("a=1", header=world.deferred(7))

    await world.send("a=1", header=world.deferred(7))

    assert await world.values() == ["a=1"]


@pytest.mark.spec("SPEC-1")
async def test_speculation_dead_letters_nothing(world):
    await world.send("a=1")
    await world.speculate("b=1", at=0, strategy=wire.MERGE_MANUAL)

    request = wire.SpeculateCommandHandlerRequest(command=world.book("x"))
    request.command.pages[0].external.uri = "file:///blob"
    with pytest.raises(CommandRejected, match="unreadable"):
        await world.commands.handle_speculative(request.SerializeToString(), world.context)

    assert await world.letters() == []


@pytest.mark.spec("SPEC-1", "CAS-8")
async def test_speculation_sees_the_transformed_stream(world):
    await world.send("a=1", cascade_id="cascade")

    await world.speculate("b=1", at=1)

    [page] = world.handler.seen[-1].events.pages
    assert page.event.type_url == world.FRAMEWORK + "NoOp"


@pytest.mark.spec("SPEC-2")
async def test_as_of_a_sequence_the_state_is_that_of_the_pages_up_to_it(world):
    await world.send("a=1", "b=1", "c=1")

    response = await world.speculate("x=1", point=wire.TemporalQuery(as_of_sequence=1))

    values = [page.event.value for page in world.handler.seen[-1].events.pages]
    assert values == [b"a=1", b"b=1"]
    assert response.events.pages[0].header.sequence == 2


@pytest.mark.spec("SPEC-2")
async def test_as_of_a_time_the_state_is_that_of_the_pages_until_it(world):
    await world.send("a=1")
    point = wire.TemporalQuery()
    point.as_of_time.FromNanoseconds(world.clock.now_ns())
    world.clock.advance(ns=1)
    await world.send("b=1", at=1)

    response = await world.speculate("x=1", point=point)

    assert [page.event.value for page in world.handler.seen[-1].events.pages] == [b"a=1"]
    assert response.events.pages[0].header.sequence == 1


@pytest.mark.spec("SPEC-2")
async def test_with_neither_the_state_is_the_latest(world):
    await world.send("a=1", "b=1")

    response = await world.speculate("x=1", point=wire.TemporalQuery())

    assert response.events.pages[0].header.sequence == 2


@pytest.mark.spec("SPEC-2")
@pytest.mark.parametrize("point", [None, wire.TemporalQuery(as_of_sequence=1)])
async def test_speculation_on_an_edition_is_composite(world, point):
    await world.send("a=1", "b=1")

    await world.speculate("x=1", edition="what-if", divergence=2, point=point)

    values = [page.event.value for page in world.handler.seen[-1].events.pages]
    assert values == [b"a=1", b"b=1"]


@pytest.mark.spec("SPEC-3")
@pytest.mark.parametrize("strategy", [wire.MERGE_STRICT, wire.MERGE_MANUAL])
async def test_no_stamp_is_checked(world, strategy):
    await world.send("a=1")

    response = await world.speculate("b=1", at=99, strategy=strategy)

    assert response.events.pages[0].header.sequence == 1


@pytest.mark.spec("SPEC-3")
async def test_no_cascade_lock_is_checked(world):
    await world.send("a=1", cascade_id="cascade")

    assert (await world.speculate("a=2")).events.pages


@pytest.mark.spec("SPEC-3")
async def test_the_handlers_error_passes_through(world):
    world.rejecting("no funds")

    with pytest.raises(CommandRejected, match=r"^no funds$"):
        await world.speculate("a=1")


@pytest.mark.spec("SPEC-4")
@pytest.mark.parametrize("sequence", [1, 2**32 - 1])
async def test_a_sequence_above_the_head_is_refused(world, sequence):
    await world.send("a=1")

    with pytest.raises(InvalidInput) as refused:
        await world.speculate("x=1", point=wire.TemporalQuery(as_of_sequence=sequence))

    assert refused.value.value == str(sequence)


@pytest.mark.spec("SPEC-4")
@pytest.mark.parametrize(("seconds", "nanos"), [(0, -1), (0, 10**9), (10**12, 0)])
async def test_an_invalid_time_is_refused(world, seconds, nanos):
    point = wire.TemporalQuery()
    point.as_of_time.seconds, point.as_of_time.nanos = seconds, nanos

    with pytest.raises(InvalidInput, match=f"seconds: {seconds} nanos: {nanos}"):
        await world.speculate("x=1", point=point)


@pytest.mark.spec("SPEC-2", "QRY-16")
async def test_as_of_a_position_the_state_is_that_of_the_log_then(world):
    await world.send("a=1")
    await world.send("x=1", root=OTHER)
    await world.send("b=1", at=1)

    response = await world.speculate("c=1", point=wire.TemporalQuery(as_of_position=2))

    assert len(world.handler.seen[-1].events.pages) == 1
    assert [page.header.sequence for page in response.events.pages] == [1]


@pytest.mark.spec("SPEC-2", "QRY-16", "EDN-3")
async def test_as_of_a_position_the_state_of_a_branch_is_composite(world):
    await world.send("a=1")
    await world.send("b=1", at=1)
    await world.send("c=1", at=1, edition="what-if", divergence=1)

    await world.speculate("d=1", edition="what-if", point=wire.TemporalQuery(as_of_position=2))

    [page] = world.handler.seen[-1].events.pages
    assert page.event.value == b"a=1"


@pytest.mark.spec("SPEC-2", "QRY-16")
async def test_a_position_above_the_logs_head_is_the_latest_state(world):
    await world.send("a=1")

    response = await world.speculate("b=1", point=wire.TemporalQuery(as_of_position=2**64 - 1))

    assert response.events.next_sequence == 2
