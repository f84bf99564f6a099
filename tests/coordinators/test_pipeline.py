"""One attempt at a command: order, load, the handler's call and its errors (CMD-6 to CMD-11)."""

from __future__ import annotations

import asyncio

import pytest

from angzarr import wire
from angzarr.coordinators import CommandOptions
from angzarr.cover import root_of
from angzarr.errors import (
    CommandRejected,
    Overloaded,
    RemoteError,
    SequenceConflict,
    SequenceMismatch,
    StorageFailed,
    StoreClosed,
    StoreUnavailable,
)


@pytest.mark.spec("CMD-6")
async def test_the_steps_come_in_their_order(world):
    class Lifting:
        async def upcast(self, request, context):
            world.trace.append("upcast")
            return wire.UpcastResponse(
                events=wire.UpcastRequest.FromString(request).events
            ).SerializeToString()

    async def trace() -> None:
        world.trace.append("handle")

    world.coordinate(upcasters={"account": Lifting()})
    await world.send("a=1")
    world.trace.clear()
    world.handler.gate = trace

    await world.send("b=1", at=1, metadata=world.origin())

    assert world.trace == ["find_by_provenance", "load_latest", "upcast", "handle", "append"]


@pytest.mark.spec("CMD-6")
async def test_a_stale_stamp_is_noticed_only_after_the_load(world):
    await world.send("a=1")
    world.trace.clear()

    with pytest.raises(SequenceMismatch):
        await world.send("b=1", at=0)

    assert world.trace == ["load_latest"]


@pytest.mark.spec("CMD-7")
async def test_handlers_of_different_streams_run_at_the_same_time(world):
    both = asyncio.Barrier(2)
    world.handler.gate = both.wait

    await asyncio.gather(world.send("a=1"), world.send("a=1", root=root_of("bob")))

    assert len(world.handler.seen) == 2


@pytest.mark.spec("CMD-7")
async def test_calls_beyond_the_bounds_are_refused_at_once_and_write_nothing(world):
    go = asyncio.Event()
    world.handler.gate = go.wait
    world.coordinate(CommandOptions(handler_concurrency=1, channel_capacity=1))
    roots = [root_of(name) for name in ("a", "b", "c")]
    running = [asyncio.ensure_future(world.send("a=1", root=root)) for root in roots[:2]]
    await world.handler.entered.wait()

    with pytest.raises(Overloaded) as refused:
        await world.send("a=1", root=roots[2])

    assert refused.value.limit == 1
    assert len(world.handler.seen) == 1
    go.set()
    await asyncio.gather(*running)
    assert await world.values(root=roots[1]) == ["a=1"]
    assert await world.values(root=roots[2]) == []


@pytest.mark.spec("CMD-7")
async def test_a_cancelled_waiter_leaves_its_place_and_no_slot_is_lost(world):
    go = asyncio.Event()
    world.handler.gate = go.wait
    world.coordinate(CommandOptions(handler_concurrency=1, channel_capacity=1))
    first = asyncio.ensure_future(world.send("a=1"))
    waiter = asyncio.ensure_future(world.send("b=1", root=root_of("b")))
    await world.handler.entered.wait()
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)

    third = asyncio.ensure_future(world.send("c=1", root=root_of("c")))
    go.set()
    await asyncio.gather(first, third)

    assert await world.values(root=root_of("c")) == ["c=1"]


@pytest.mark.spec("CMD-8")
async def test_the_handler_gets_the_newest_snapshot_and_the_pages_after_it(world):
    response = world.business("a=1")
    response.events.snapshot.state.CopyFrom(world.state_any(a="1"))
    world.handler.answer = response
    await world.send("x")
    world.handler.answer = None
    await world.send("b=1", at=1)

    await world.send("c=1", at=2)

    book = world.handler.seen[-1].events
    assert book.snapshot.sequence == 0
    assert [page.header.sequence for page in book.pages] == [1]


@pytest.mark.spec("CMD-8")
async def test_the_load_is_composite_on_editions(world):
    await world.send("a=1")
    await world.send("b=1", at=1, edition="what-if")

    await world.send("c=1", at=2, edition="what-if")

    pages = world.handler.seen[-1].events.pages
    assert [page.event.value for page in pages] == [b"a=1", b"b=1"]


@pytest.mark.spec("CMD-8")
async def test_a_failing_load_is_an_internal_error_and_says_so(world):
    world.events.faults["load_latest"] = StoreUnavailable("memory://", "disk on fire")

    with pytest.raises(StorageFailed, match=r"^Failed to load events: .*disk on fire") as failed:
        await world.send("a=1")

    assert failed.value.kind == "internal"
    assert world.handler.seen == []


async def test_a_closed_store_is_told_as_such(world):
    await world.stores.real.close()

    with pytest.raises(StoreClosed):
        await world.send("a=1")


@pytest.mark.spec("CMD-9")
async def test_the_loaded_cover_is_the_commands_without_the_correlation_id(world):
    await world.send("a=1", correlation_id="c-1", edition="what-if")

    cover = world.handler.seen[0].events.cover
    assert (cover.domain, cover.root.value, cover.edition.name) == (
        "account",
        world.ROOT,
        "what-if",
    )
    assert cover.correlation_id == ""


@pytest.mark.spec("CMD-10")
async def test_pages_go_to_the_commands_stream_whatever_the_response_says(world):
    response = world.business("a=1")
    world.fill(response.events.cover, "shop", root_of("bob"), "elsewhere")
    world.handler.answer = response

    answer = await world.send("x")

    assert await world.values() == ["a=1"]
    assert answer.events.cover.domain == "account"
    assert await world.values(domain="shop", root=root_of("bob"), edition="elsewhere") == []


@pytest.mark.spec("CMD-11", "COMPAT-5")
@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("FAILED_PRECONDITION", "no funds", ""),
        ("FAILED_PRECONDITION", "Sequence conflict: expected 1, got 2", "sequence_conflict"),
        ("ABORTED", "odd", ""),
        ("UNAVAILABLE", "gone", ""),
    ],
)
async def test_a_handlers_status_reaches_the_caller_unchanged_and_untried(
    world, code, message, kind
):
    error = RemoteError(code, message, error_kind=kind, details=b"raw")
    world.handler.answer = error

    with pytest.raises(RemoteError) as raised:
        await world.send("a=1", strategy=wire.MERGE_COMMUTATIVE)

    assert raised.value is error
    assert len(world.handler.seen) == 1
    assert world.slept == []
    assert await world.values() == []


@pytest.mark.spec("CMD-11")
@pytest.mark.parametrize("error", [CommandRejected("no"), None])
async def test_a_handlers_own_sequence_error_is_not_a_race(world, error):
    world.handler.answer = error or SequenceConflict(world.cover(), 1, 2)

    with pytest.raises(type(world.handler.answer)):
        await world.send("a=1", strategy=wire.MERGE_AGGREGATE_HANDLES)

    assert len(world.handler.seen) == 1


@pytest.mark.spec("WIRE-12")
async def test_the_callers_context_reaches_the_handler(world):
    await world.send("a=1", metadata={"traceparent": "00-x"})

    assert world.handler.contexts[0].metadata["traceparent"] == "00-x"
