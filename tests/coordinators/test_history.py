"""HistoryService: states as of a point, and where the log ends (QRY-17, QRY-18)."""

from __future__ import annotations

import pytest

from angzarr import wire
from angzarr.errors import (
    HandlerFailed,
    InvalidInput,
    RemoteError,
    StorageFailed,
    StoreUnavailable,
    UnknownDomain,
)


def _query(world, point=None, **cover):
    query = wire.Query(temporal=point)
    world.fill(query.cover, **cover)
    return query


async def _ask(world, query):
    answer = await world.commands.get_state(query.SerializeToString(), world.context)
    return wire.StateResponse.FromString(answer)


async def _state(world, point=None, **cover):
    return (await _ask(world, _query(world, point, **cover))).state.value.decode()


def _sequence(number):
    return wire.TemporalQuery(as_of_sequence=number)


@pytest.mark.spec("QRY-17")
async def test_the_state_is_the_handlers_with_the_streams_cover_and_end(world):
    await world.send("a=1", "b=1")

    found = await _ask(world, _query(world))

    assert found.state == world.state_any(a="1", b="1")
    assert found.next_sequence == 2
    assert found.cover == world.fill(wire.Cover(), edition="angzarr")


@pytest.mark.spec("QRY-17", "QRY-8")
async def test_the_state_as_of_a_sequence_ends_there(world):
    await world.send("a=1", "b=1", "c=1")

    found = await _ask(world, _query(world, _sequence(1)))

    assert (found.state, found.next_sequence) == (world.state_any(a="1", b="1"), 2)


@pytest.mark.spec("QRY-17", "QRY-8")
async def test_the_state_above_the_head_is_the_latest(world):
    await world.send("a=1")

    assert await _state(world, _sequence(9)) == "a=1"


@pytest.mark.spec("QRY-17", "QRY-8")
async def test_the_state_as_of_a_time_is_that_of_the_pages_created_by_then(world):
    await world.send("a=1")
    point = wire.TemporalQuery()
    point.as_of_time.FromNanoseconds(world.clock.now_ns())
    world.clock.advance(1)
    await world.send("b=1", at=1)

    assert await _state(world, point) == "a=1"


@pytest.mark.spec("QRY-17", "QRY-16")
async def test_the_state_as_of_a_position_is_that_of_the_log_then(world):
    await world.send("a=1")
    await world.send("b=1", at=1)

    assert await _state(world, wire.TemporalQuery(as_of_position=1)) == "a=1"


@pytest.mark.spec("QRY-17", "EDN-3")
async def test_the_state_of_a_branch_is_composite(world):
    await world.send("a=1", "b=1", "c=1")
    await world.send("x=1", at=1, edition="what-if", divergence=1)

    assert await _state(world, edition="what-if") == "a=1;x=1"


@pytest.mark.spec("QRY-17", "EDN-5")
async def test_the_state_of_a_branch_without_pages_ends_at_its_divergence(world):
    await world.send("a=1", "b=1", "c=1")

    assert await _state(world, edition="what-if", divergence=2) == "a=1;b=1"


@pytest.mark.spec("QRY-17", "CAS-8")
async def test_what_is_undecided_is_not_in_the_state(world):
    await world.send("a=1")
    await world.send("b=1", at=1, cascade_id="cascade")

    assert await _state(world) == "a=1"


@pytest.mark.spec("QRY-17")
async def test_a_stream_without_pages_has_no_state(world):
    found = await _ask(world, _query(world))

    assert not found.HasField("state")
    assert world.handler.replayed == []


@pytest.mark.spec("QRY-17")
@pytest.mark.parametrize(
    "selection",
    [{"range": wire.SequenceRange(lower=1)}, {"sequences": wire.SequenceSet(values=[1])}],
)
async def test_a_state_of_chosen_pages_is_refused(world, selection):
    query = wire.Query(**selection)
    world.fill(query.cover)

    with pytest.raises(InvalidInput, match="selection"):
        await _ask(world, query)


@pytest.mark.spec("QRY-17")
async def test_a_state_is_of_one_stream(world):
    with pytest.raises(InvalidInput, match="correlation_id"):
        await _ask(world, _query(world, correlation_id="c-1"))


@pytest.mark.spec("QRY-17", "CMD-4")
async def test_the_state_of_an_unknown_domain_is_not_found(world):
    with pytest.raises(UnknownDomain):
        await _ask(world, _query(world, domain="other"))


@pytest.mark.spec("QRY-17")
async def test_a_handler_without_replay_has_no_states(world):
    await world.send("a=1")
    world.handler.replay_answer = RemoteError("UNIMPLEMENTED", "no Replay")

    with pytest.raises(RemoteError, match="no Replay"):
        await _ask(world, _query(world))


@pytest.mark.spec("QRY-17")
async def test_an_answer_without_a_state_is_the_handlers_failure(world):
    await world.send("a=1")
    world.handler.replay_answer = wire.ReplayResponse()

    with pytest.raises(HandlerFailed, match="without a state"):
        await _ask(world, _query(world))


@pytest.mark.spec("QRY-17", "QRY-15")
async def test_asking_for_a_state_writes_nothing(world):
    await world.send("a=1")
    world.trace.clear()

    await _ask(world, _query(world))

    assert not {"append", "put", "decide_cascade", "resolve_cascade"} & set(world.trace)


@pytest.mark.spec("QRY-18")
async def test_the_position_is_the_logs_head(world):
    await world.send("a=1", "b=1")
    await world.send("c=1", edition="what-if", divergence=0)

    answer = await world.commands.get_position(b"", world.context)

    assert wire.LogPosition.FromString(answer).position == 3


@pytest.mark.spec("QRY-18", "QRY-15")
async def test_a_failing_store_has_no_position(world):
    world.events.faults["log_head"] = StoreUnavailable("disk", "gone")

    with pytest.raises(StorageFailed):
        await world.commands.get_position(b"", world.context)
