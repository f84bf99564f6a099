"""Responses, numbering, the append, races and replies (CMD-30 to CMD-40, CMD-42)."""

from __future__ import annotations

import asyncio
import time

import pytest
from google.protobuf.any_pb2 import Any

from angzarr import wire
from angzarr.coordinators import Backoff, CommandOptions
from angzarr.errors import (
    CommandRejected,
    PayloadMissing,
    SequenceConflict,
    SequenceExhausted,
    SequenceMismatch,
    StorageFailed,
    StoreUnavailable,
)
from angzarr.ports.components import CallContext
from angzarr.ports.event_store import Book

from .conftest import Fields


@pytest.mark.spec("CMD-30")
async def test_a_revocation_refuses_the_command(world):
    world.handler.answer = wire.BusinessResponse(
        revocation=wire.RevocationResponse(reason="too late")
    )

    with pytest.raises(CommandRejected, match=r"^Command revoked: too late$"):
        await world.send("a=1")

    assert await world.values() == []


@pytest.mark.spec("CMD-30", "CMD-35")
@pytest.mark.parametrize(
    "answer",
    [
        wire.BusinessResponse(),
        wire.BusinessResponse(notification=wire.Notification()),
        wire.BusinessResponse(events=wire.EventBook()),
    ],
)
async def test_a_notification_or_nothing_succeeds_with_an_empty_book(world, answer):
    world.handler.answer = answer

    response = await world.send("a=1")

    assert len(response.events.pages) == 0
    assert await world.log() == []


def _echo(world, asked, *texts):
    response = world.business(*texts)
    new = list(response.events.pages)
    del response.events.pages[:]
    response.events.pages.extend(asked.events.pages)
    for index, page in enumerate(new):
        page.header.sequence = len(asked.events.pages) + index
        response.events.pages.add().CopyFrom(page)
    return response


@pytest.mark.spec("CMD-31", "COMPAT-3")
async def test_pages_that_the_handler_echoes_are_not_new(world):
    await world.send("a=1", "b=1", "c=1", "d=1", "e=1")
    world.handler.answer = lambda asked: _echo(world, asked, "f=1")

    response = await world.send("x", at=5)

    assert [(p.header.sequence, p.event.value) for p in response.events.pages] == [(5, b"f=1")]
    assert len(await world.values()) == 6


@pytest.mark.spec("CMD-31", "COMPAT-2")
@pytest.mark.parametrize("sequence", [0, 5, 77])
async def test_a_wrong_header_never_drops_a_page(world, sequence):
    await world.send("a=1", "b=1", "c=1", "d=1", "e=1")
    answer = world.business("f=1")
    answer.events.pages[0].header.sequence = sequence
    world.handler.answer = answer

    response = await world.send("x", at=5)

    assert [page.header.sequence for page in response.events.pages] == [5]


@pytest.mark.spec("CMD-31")
async def test_pages_without_headers_are_numbered_from_the_head(world):
    await world.send("a=1", "b=1", "c=1", "d=1", "e=1")

    response = await world.send("f=1", "g=1", at=5)

    assert [page.header.sequence for page in response.events.pages] == [5, 6]


@pytest.mark.spec("CMD-31")
async def test_an_equal_page_that_is_not_leading_is_new(world):
    await world.send("a=1")
    prior = (await world.stored()).pages[0]
    answer = world.business("b=1")
    answer.events.pages.add().CopyFrom(prior)
    world.handler.answer = answer

    await world.send("x", at=1)

    assert await world.values() == ["a=1", "b=1", "a=1"]


@pytest.mark.spec("CMD-32")
async def test_outside_a_cascade_pages_are_committed_whatever_the_handler_says(world):
    answer = world.business("a=1")
    answer.events.pages[0].committed = False
    answer.events.pages[0].cascade_id = "mine"
    world.handler.answer = answer

    await world.send("x")

    [page] = (await world.stored()).pages
    assert page.committed
    assert not page.HasField("cascade_id")


@pytest.mark.spec("CMD-32", "CAS-1")
async def test_in_a_cascade_pages_are_pending_whatever_the_handler_says(world):
    answer = world.business("a=1")
    answer.events.pages[0].committed = True
    world.handler.answer = answer

    response = await world.send("x", cascade_id="cascade")

    for page in (response.events.pages[0], (await world.stored()).pages[0]):
        assert not page.committed
        assert page.cascade_id == "cascade"


@pytest.mark.spec("CMD-33")
async def test_an_undated_page_gets_the_clocks_time_and_a_dated_one_keeps_its_own(world):
    answer = world.business("a=1", "b=1")
    answer.events.pages[1].created_at.seconds = 42
    world.handler.answer = answer

    await world.send("x")

    first, second = (await world.stored()).pages
    assert first.created_at.ToNanoseconds() == world.clock.now_ns()
    assert second.created_at.seconds == 42


@pytest.mark.spec("CMD-33")
@pytest.mark.parametrize("is_restarted", [False, True])
async def test_times_of_a_stream_never_run_backwards(world, is_restarted):
    await world.send("a=1")
    late = world.clock.now_ns()
    world.clock.set(late - 10**9)
    if is_restarted:
        world.coordinate()

    await world.send("b=1", at=1)

    assert (await world.stored()).pages[1].created_at.ToNanoseconds() == late


@pytest.mark.spec("CMD-33")
async def test_a_handlers_future_time_does_not_push_the_clocks(world):
    await world.send("a=1")
    answer = world.business("b=1")
    answer.events.pages[0].created_at.FromNanoseconds(world.clock.now_ns() + 10**12)
    world.handler.answer = answer
    await world.send("x", at=1)
    world.handler.answer = None

    await world.send("c=1", at=2)

    assert (await world.stored()).pages[2].created_at.ToNanoseconds() == world.clock.now_ns()


@pytest.mark.spec("CMD-34")
async def test_the_stored_correlation_id_is_the_commands_and_none_is_made_up(world):
    await world.send("a=1", correlation_id="c-1")
    await world.send("b=1", at=1)

    assert [book.cover.correlation_id for book in await world.log()] == ["c-1", ""]


@pytest.mark.spec("CMD-35")
async def test_nothing_new_is_not_appended(world):
    world.handler.answer = wire.BusinessResponse()

    await world.send("a=1")

    assert "append" not in world.trace


@pytest.mark.spec("CMD-36")
async def test_all_parts_go_into_one_append(world):
    appended = []

    async def watch(real, cover, expected, pages, **options):
        appended.append((cover, len(pages), options))
        return await real(cover, expected, pages, **options)

    world.events.faults["append"] = watch
    answer = world.business("a=1")
    answer.events.snapshot.state.CopyFrom(world.state_any(a="1"))
    world.handler.answer = answer

    await world.send("x", metadata=world.origin(), correlation_id="c-1")

    [(cover, count, options)] = appended
    assert (cover.correlation_id, count) == ("c-1", 1)
    assert options["snapshot"]
    assert options["provenance"]


@pytest.mark.spec("CMD-36")
async def test_a_failing_append_is_an_internal_error_and_nothing_exists(world):
    world.events.faults["append"] = StoreUnavailable("memory://", "disk full")

    with pytest.raises(StorageFailed, match=r"^Failed to persist events: .*disk full") as failed:
        await world.send("a=1", metadata=world.origin())

    assert failed.value.kind == "internal"
    assert await world.values() == []
    assert await world.log() == []


def _racing(world, times: int):
    """Another writer is faster, `times` times."""
    left = [times]

    async def append(real, cover, expected, pages, **options):
        if left[0]:
            left[0] -= 1
            page = wire.EventPage(committed=True)
            page.header.sequence = expected
            page.created_at.seconds = 1
            page.event.CopyFrom(Any(type_url=world.EVENT, value=b"other=%d" % left[0]))
            await real(cover, expected, [page.SerializeToString()])
        return await real(cover, expected, pages, **options)

    world.events.faults["append"] = append


@pytest.mark.spec("CMD-37")
@pytest.mark.parametrize("kind", ["deferred", "aggregate", "commutative"])
async def test_a_race_is_tried_again_from_the_load(world, kind):
    _racing(world, 2)
    options = {
        "deferred": {"header": world.deferred()},
        "aggregate": {"strategy": wire.MERGE_AGGREGATE_HANDLES},
        "commutative": {"strategy": wire.MERGE_COMMUTATIVE},
    }[kind]

    response = await world.send("a=1", **options)

    assert response.events.pages[0].header.sequence == 2
    assert world.handler.seen[-1].events.next_sequence == 2
    assert 0.005 <= world.slept[0] <= 0.010
    assert 0.010 <= world.slept[1] <= 0.020


@pytest.mark.spec("CMD-37")
async def test_a_strict_command_that_loses_a_race_is_a_mismatch_at_once(world):
    _racing(world, 1)

    with pytest.raises(SequenceMismatch, match="command expects 0, aggregate at 1") as refused:
        await world.send("a=1")

    assert wire.EventBook.FromString(refused.value.book).next_sequence == 1
    assert world.slept == []


@pytest.mark.spec("CMD-37", "CMD-18")
async def test_a_manual_command_that_loses_a_race_is_parked(world):
    _racing(world, 1)

    with pytest.raises(SequenceMismatch) as refused:
        await world.send("a=1", strategy=wire.MERGE_MANUAL)

    assert refused.value.is_parked
    assert len(await world.letters()) == 1


@pytest.mark.spec("CMD-37")
async def test_ten_lost_races_are_a_conflict_with_the_book(world):
    _racing(world, 100)

    with pytest.raises(SequenceConflict) as refused:
        await world.send("a=1", strategy=wire.MERGE_AGGREGATE_HANDLES)

    assert str(refused.value) == "Sequence conflict: expected 9, got 10"
    assert wire.EventBook.FromString(refused.value.book).next_sequence == 10
    assert len(world.handler.seen) == 10
    assert len(world.slept) == 9


@pytest.mark.spec("CMD-37")
async def test_no_attempt_is_made_after_the_callers_deadline(world):
    _racing(world, 100)
    world.coordinate(CommandOptions(backoff=Backoff(first_s=3600, cap_s=3600)))
    context = CallContext(deadline_ns=time.monotonic_ns() + 60 * 10**9)
    request = wire.CommandRequest(command=world.book("a=1", strategy=wire.MERGE_AGGREGATE_HANDLES))

    with pytest.raises(SequenceConflict):
        await world.commands.handle_command(request.SerializeToString(), context)

    assert len(world.handler.seen) == 1


@pytest.mark.spec("CMD-37")
def test_backoff_doubles_from_10_ms_to_2_s_in_10_tries():
    backoff = Backoff()

    assert [backoff.delay_s(n) for n in (0, 1, 7, 8, 20)] == [0.01, 0.02, 1.28, 2.0, 2.0]
    assert backoff.tries == 10


@pytest.mark.spec("CMD-37")
async def test_many_writers_of_one_stream_all_get_through(world):
    await asyncio.gather(
        *(world.send(f"a={n}", strategy=wire.MERGE_AGGREGATE_HANDLES) for n in range(20))
    )

    assert sorted(await world.values()) == sorted(f"a={n}" for n in range(20))


def _at_the_end(world, sequence: int) -> None:
    """The stream claims to be at `sequence`."""

    async def load(real, cover, **options):
        return Book((await real(cover, **options)).data, sequence, True)

    world.events.faults["load_latest"] = load


@pytest.mark.spec("CMD-38")
async def test_an_append_beyond_the_last_sequence_names_the_stream(world):
    _at_the_end(world, 2**32 - 1)

    with pytest.raises(SequenceExhausted) as refused:
        await world.send("a=1", "b=1", at=2**32 - 1)

    assert refused.value.cover.stream == world.cover().stream
    assert "append" not in world.trace


@pytest.mark.spec("CMD-38")
async def test_a_deferred_command_to_a_full_stream_names_it(world):
    _at_the_end(world, 2**32)

    with pytest.raises(SequenceExhausted):
        await world.send("a=1", header=world.deferred())


@pytest.mark.spec("CMD-38")
async def test_a_deferred_command_to_a_full_stream_reaches_no_handler_here(world):
    class Deciding(Fields):
        async def decide(self, *_: object) -> wire.BusinessResponse:
            raise AssertionError("it was asked")

    world.coordinate(handlers={"account": Deciding()})
    _at_the_end(world, 2**32)

    with pytest.raises(SequenceExhausted):
        await world.send("a=1", header=world.deferred())


@pytest.mark.spec("CMD-39")
async def test_the_reply_has_the_new_pages_the_full_cover_and_the_snapshot(world):
    await world.send("a=1")
    answer = world.business("b=1")
    answer.events.snapshot.state.CopyFrom(world.state_any(a="1", b="1"))
    world.handler.answer = answer

    response = await world.send("x", at=1, edition="what-if", correlation_id="c-1")

    book = response.events
    assert [page.event.value for page in book.pages] == [b"b=1"]
    assert book.cover == world.fill(wire.Cover(), edition="what-if", correlation_id="c-1")
    assert book.next_sequence == 2
    assert book.snapshot.sequence == 1
    assert (len(response.projections), len(response.cascade_errors)) == (0, 0)


@pytest.mark.spec("CMD-39", "WIRE-7")
async def test_a_reply_on_main_names_the_edition(world):
    assert (await world.send("a=1")).events.cover.edition.name == "angzarr"


@pytest.mark.spec("CMD-40")
async def test_the_published_book_has_the_new_pages_and_the_cover_with_its_edition(world):
    response = await world.send("a=1", "b=1", correlation_id="c-1")

    [book] = await world.log()
    assert list(book.pages) == list(response.events.pages)
    assert book.cover == world.fill(wire.Cover(), edition="angzarr", correlation_id="c-1")


def _reference(command: wire.CommandBook) -> wire.PayloadReference:
    reference = command.pages[0].external
    reference.uri = "file:///blob"
    reference.storage_type = wire.PAYLOAD_STORAGE_TYPE_FILESYSTEM
    return reference


@pytest.mark.spec("CMD-42", "PAY-6")
async def test_an_external_payload_is_resolved_before_the_handler(world):
    class Payloads:
        async def get(self, reference):
            assert wire.PayloadReference.FromString(reference).uri == "file:///blob"
            return Any(type_url=world.COMMAND, value=b"a=1").SerializeToString()

    world.coordinate(payloads=Payloads())
    book = world.book("x")
    _reference(book)

    await world.send(book=book)

    assert world.handler.seen[0].command.pages[0].command.value == b"a=1"
    assert await world.values() == ["a=1"]


@pytest.mark.spec("CMD-42", "PAY-6")
@pytest.mark.parametrize("is_configured", [True, False])
async def test_an_unreadable_payload_refuses_the_command_and_is_dead_lettered(world, is_configured):
    class Payloads:
        async def get(self, reference):
            raise PayloadMissing("file:///blob", "nothing", "a blob")

    world.coordinate(payloads=Payloads() if is_configured else None)
    book = world.book("x")
    _reference(book)

    with pytest.raises(CommandRejected, match=r"^payload file:///blob unreadable: "):
        await world.send(book=book)

    [letter] = await world.letters()
    assert letter.payload_retrieval_failed.uri == "file:///blob"
    assert letter.rejected_command == book
    assert world.handler.seen == []
