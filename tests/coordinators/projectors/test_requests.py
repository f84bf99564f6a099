"""Projectors within requests: applied before the answer, and asked over the service (PROJ-7,
PROJ-8, PROJ-10, PROJ-12, PROJ-16).
"""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.any_pb2 import Any

from angzarr import codec, wire
from angzarr.coordinators.projector_service import ProjectorService
from angzarr.errors import (
    HandlerFailed,
    InvalidInput,
    ProjectorFailed,
    ProjectorReplaying,
    RemoteError,
)
from angzarr.ports.components import Subscription
from angzarr.ports.event_store import COMMIT, ROLLBACK

PAYLOAD = Any(type_url="type.googleapis.com/test.Row", value=b"row")


def projection(data: bytes) -> wire.Projection:
    return wire.Projection.FromString(data)


def request(book: bytes, sync_mode: int = wire.SYNC_MODE_SIMPLE) -> bytes:
    return wire.EventRequest(
        events=wire.EventBook.FromString(book), sync_mode=sync_mode
    ).SerializeToString()


@pytest.mark.spec("PROJ-7", "PROJ-4")
async def test_a_requests_pages_are_committed_when_it_is_answered(world) -> None:
    projector = await world.stored()

    await projector.project(await world.append("a"), world.context)

    assert world.rows() == [(0, "a")]


@pytest.mark.spec("PROJ-7")
@pytest.mark.parametrize("kind", ["plain", "stored"])
async def test_the_log_finds_nothing_new_after_a_request(world, kind: str) -> None:
    recorder = world.Recorder()
    projector = await (world.plain(recorder) if kind == "plain" else world.stored())
    await projector.project(await world.append("a"), world.context)

    feeder = await world.feed(projector)

    assert len(feeder.delivered) == 1
    if kind == "plain":
        assert recorder.sequences == [[0]]
    else:
        assert world.rows() == [(0, "a")]


@pytest.mark.spec("PROJ-7", "PROJ-5")
async def test_a_request_fills_the_gap_before_its_pages(world) -> None:
    recorder = world.Recorder()
    projector = await world.plain(recorder)
    await world.append("a", "b")

    await projector.project(await world.append("c"), world.context)

    assert recorder.sequences == [[0, 1, 2]]


@pytest.mark.spec("PROJ-7", "CMD-28")
async def test_a_request_with_nothing_new_has_no_projection(world) -> None:
    projector = await world.stored()
    book = await world.append("a")
    await projector.project(book, world.context)

    assert await projector.project(book, world.context) is None


@pytest.mark.spec("PROJ-10", "COMPAT-14")
async def test_what_the_handler_left_empty_is_filled_in(world) -> None:
    recorder = world.Recorder()
    projector = await world.plain(recorder)
    await world.append("a", "b", correlation_id="corr-1")
    book = await world.append("c", "d", correlation_id="corr-1")

    found = projection(await projector.project(book, world.context))

    assert found == wire.Projection(
        cover=wire.EventBook.FromString(book).cover, projector="recorder", sequence=3
    )


@pytest.mark.spec("PROJ-10")
async def test_what_the_handler_says_is_kept(world) -> None:
    said = wire.Projection(
        cover=wire.Cover(domain="elsewhere"), projector="other", sequence=77, projection=PAYLOAD
    )
    projector = await world.plain(world.Recorder(answer=said))

    found = projection(await projector.project(await world.append("a"), world.context))

    assert found == said


@pytest.mark.spec("PROJ-10")
async def test_a_methods_value_is_the_projection(world) -> None:
    projector = await world.stored()

    found = projection(await projector.project(await world.append("a", "b"), world.context))

    assert found.projector == "rows"
    assert found.sequence == 1
    assert codec.unpack(found.projection, world.Total, "rows") == world.Total(2)


@pytest.mark.spec("PROJ-10", "PROJ-5")
async def test_of_several_books_the_last_projection_counts(world) -> None:
    from angzarr.coordinators.options import ProjectorOptions

    world.options = ProjectorOptions(gap_pages=2)
    projector = await world.stored()
    await world.append(*"abcde")

    found = projection(await projector.project(await world.append("f"), world.context))

    assert found.sequence == 5
    assert codec.unpack(found.projection, world.Total, "rows") == world.Total(6)


@pytest.mark.spec("PROJ-7", "CAS-9", "CAS-10")
@pytest.mark.parametrize("outcome", [COMMIT, ROLLBACK])
async def test_pages_behind_a_pending_one_are_left_to_the_log(world, outcome: str) -> None:
    """Else the projector would never see the pending page: its position would be past it."""
    projector = await world.stored()
    await projector.project(await world.append("a"), world.context)
    await world.append("pending", cascade_id="c-1")
    book = await world.append("c")

    early = await projector.project(book, world.context)
    before = world.rows()
    await world.events.decide_cascade("c-1", outcome)
    await world.events.resolve_cascade(world.cover(), "c-1")
    await world.feed(projector)

    assert early is None
    assert before == [(0, "a")]
    pending = [(1, "pending")] if outcome == COMMIT else []
    assert world.rows() == [(0, "a"), *pending, (2, "c")]


@pytest.mark.spec("PROJ-7", "CAS-9")
async def test_pages_before_a_pending_one_are_applied(world) -> None:
    projector = await world.stored()
    await world.append("a", "b")
    await world.append("pending", cascade_id="c-1")
    book = await world.append("c")

    found = projection(await projector.project(book, world.context))

    assert world.rows() == [(0, "a"), (1, "b")]
    assert found.sequence == 1


@pytest.mark.spec("CAS-10")
async def test_a_requests_own_pending_pages_are_left_to_the_log(world) -> None:
    projector = await world.stored()
    book = await world.append("pending", cascade_id="c-1")

    assert await projector.project(book, world.context) is None
    assert world.rows() == []


@pytest.mark.spec("PROJ-7", "SYNC-2")
async def test_a_handlers_error_comes_as_it_is(world) -> None:
    projector = await world.stored()
    book = await world.append("bad")

    with pytest.raises(HandlerFailed, match="a bad event"):
        await projector.project(book, world.context)


@pytest.mark.spec("PROJ-7", "PROJ-8")
async def test_handle_sync_answers_for_the_first_subscribed_projector(world) -> None:
    foreign = world.Recorder(name="projector:foreign", subscriptions=(Subscription("order"),))
    first = world.Recorder(name="projector:first")
    second = world.Recorder(name="projector:second", answer=wire.Projection(projector="x"))
    projectors = [await world.plain(item) for item in (foreign, first, second)]
    service = ProjectorService(projectors, world.turns)

    found = projection(await service.handle_sync(request(await world.append("a")), world.context))

    assert found.projector == "first"
    assert (first.sequences, second.sequences, foreign.sequences) == ([[0]], [[0]], [])


@pytest.mark.spec("PROJ-8")
async def test_without_a_subscribed_projector_there_is_only_a_cover(world) -> None:
    service = ProjectorService([await world.plain(world.Recorder())], world.turns)
    book = await world.append("a", domain="order")

    found = projection(await service.handle_sync(request(book), world.context))

    assert found == wire.Projection(cover=wire.EventBook.FromString(book).cover)


@pytest.mark.spec("PROJ-8", "EDN-13")
async def test_a_projector_of_another_edition_is_not_subscribed(world) -> None:
    recorder = world.Recorder()
    service = ProjectorService([await world.plain(recorder)], world.turns)
    book = await world.append("a", edition="whatif", divergence=0)

    found = projection(await service.handle_sync(request(book), world.context))

    assert not found.projector
    assert recorder.books == []


@pytest.mark.spec("PROJ-8")
async def test_nothing_new_is_answered_with_the_projectors_name(world) -> None:
    service = ProjectorService([await world.plain(world.Recorder())], world.turns)
    book = await world.append("a")
    await service.handle_sync(request(book), world.context)

    found = projection(await service.handle_sync(request(book), world.context))

    assert found == wire.Projection(
        cover=wire.EventBook.FromString(book).cover, projector="recorder"
    )


@pytest.mark.spec("PROJ-8")
@pytest.mark.parametrize("method", ["handle_sync", "handle"])
async def test_a_projectors_error_is_told_with_its_name(world, method: str) -> None:
    """INTERNAL, since the error is none of the classes that have a code of their own."""
    recorder = world.Recorder(answer=RemoteError("FAILED_PRECONDITION", "no table"))
    service = ProjectorService([await world.plain(recorder)], world.turns)
    book = await world.append("a")
    asked = request(book) if method == "handle_sync" else book

    with pytest.raises(ProjectorFailed, match=r"^Projector recorder failed: no table$") as caught:
        await getattr(service, method)(asked, world.context)

    assert caught.value.kind == "internal"


@pytest.mark.spec("PROJ-8")
async def test_handle_answers_when_all_have_finished(world) -> None:
    first = world.Recorder(name="projector:first", answer=RemoteError("INTERNAL", "boom"))
    second = world.Recorder(name="projector:second")
    goes_on = asyncio.Event()
    second.gate = goes_on.wait
    service = ProjectorService([await world.plain(first), await world.plain(second)], world.turns)
    task = asyncio.ensure_future(service.handle(await world.append("a"), world.context))
    for _ in range(20):
        await asyncio.sleep(0)

    assert not task.done()
    goes_on.set()
    with pytest.raises(ProjectorFailed, match="Projector first failed"):
        await task
    assert second.sequences == [[0]]


@pytest.mark.spec("PROJ-8")
async def test_handle_answers_empty(world) -> None:
    recorder = world.Recorder(answer=wire.Projection(projector="x"))
    service = ProjectorService([await world.plain(recorder)], world.turns)

    assert await service.handle(await world.append("a"), world.context) == b""
    assert recorder.sequences == [[0]]


@pytest.mark.spec("PROJ-7")
async def test_two_deliveries_of_one_stream_never_run_at_the_same_time(world) -> None:
    recorder = world.Recorder()
    goes_on = asyncio.Event()
    recorder.gate = goes_on.wait
    projector = await world.plain(recorder)
    service = ProjectorService([projector], world.turns)
    book = await world.append("a")
    requests = [
        asyncio.ensure_future(service.handle_sync(request(book), world.context)) for _ in range(3)
    ]
    log = asyncio.ensure_future(world.feeder(projector).run())
    for _ in range(50):
        await asyncio.sleep(0)

    assert len(recorder.books) == 1
    goes_on.set()
    await asyncio.gather(*requests, log)
    assert recorder.sequences == [[0]]


@pytest.mark.spec("PROJ-16")
async def test_the_log_waits_for_a_request_that_has_its_turn(world) -> None:
    """What the request's own pages produced is the request's to answer with."""
    recorder = world.Recorder(answer=wire.Projection(projection=PAYLOAD))
    projector = await world.plain(recorder)
    async with world.turns.alone(projector.consumer, world.cover()):
        book = await world.append("a")
        log = asyncio.ensure_future(world.feeder(projector).run())
        for _ in range(50):
            await asyncio.sleep(0)
        before = list(recorder.sequences)
        answer = await projector.project(book, world.context)
    await log

    assert before == []
    assert answer is not None
    assert projection(answer).projection == PAYLOAD
    assert recorder.sequences == [[0]]


@pytest.mark.spec("PROJ-8")
@pytest.mark.parametrize(
    ("method", "data", "field"),
    [
        ("handle_sync", b"\xff", "request"),
        ("handle_sync", b"", "events"),
        ("handle", b"\xff", "request"),
        ("handle", b"", "cover.domain"),
        ("handle_speculative", b"\xff", "request"),
        ("handle_speculative", b"", "events"),
    ],
)
async def test_wrong_requests_are_told(world, method: str, data: bytes, field: str) -> None:
    service = ProjectorService([await world.plain(world.Recorder())], world.turns)

    with pytest.raises(InvalidInput) as caught:
        await getattr(service, method)(data, world.context)

    assert caught.value.field == field


@pytest.mark.spec("PROJ-8")
async def test_pages_without_a_sequence_are_refused(world) -> None:
    """Their place in the stream can't be known."""
    recorder = world.Recorder()
    service = ProjectorService([await world.plain(recorder)], world.turns)
    book = wire.EventBook.FromString(await world.append("a"))
    book.pages[0].ClearField("header")

    with pytest.raises(InvalidInput, match=r"pages\[0\].header.sequence"):
        await service.handle(book.SerializeToString(), world.context)

    assert recorder.books == []


@pytest.mark.spec("PROJ-12", "SPEC-5")
async def test_speculation_asks_the_projectors_own_method(world) -> None:
    recorder = world.Recorder(speculation=wire.Projection(projection=PAYLOAD))
    projector = await world.plain(recorder)
    service = ProjectorService([projector], world.turns)
    book = wire.EventBook.FromString(await world.append("a", "b"))

    asked = wire.SpeculateProjectorRequest(events=book).SerializeToString()
    found = projection(await service.handle_speculative(asked, world.context))

    assert found == wire.Projection(
        cover=book.cover, projector="recorder", sequence=1, projection=PAYLOAD
    )
    assert recorder.speculated == [book]
    assert recorder.books == []
    assert await world.position(projector) is None


@pytest.mark.spec("PROJ-12", "SPEC-5", "COMPAT-14")
async def test_a_projector_that_can_not_speculate_says_so_with_its_name(world) -> None:
    unimplemented = RemoteError("UNIMPLEMENTED", "Method not found!", error_kind="")
    recorder = world.Recorder(speculation=unimplemented)
    service = ProjectorService([await world.plain(recorder)], world.turns)
    book = wire.EventBook.FromString(await world.append("a"))
    asked = wire.SpeculateProjectorRequest(events=book).SerializeToString()

    with pytest.raises(RemoteError, match=r"^Projector recorder: Method not found!$") as caught:
        await service.handle_speculative(asked, world.context)

    assert caught.value.code == "UNIMPLEMENTED"
    assert recorder.books == []


@pytest.mark.spec("PROJ-12")
async def test_other_errors_of_a_speculation_pass_as_they_are(world) -> None:
    recorder = world.Recorder(speculation=RemoteError("INVALID_ARGUMENT", "what?"))
    service = ProjectorService([await world.plain(recorder)], world.turns)
    book = wire.EventBook.FromString(await world.append("a"))
    asked = wire.SpeculateProjectorRequest(events=book).SerializeToString()

    with pytest.raises(RemoteError, match=r"^what\?$"):
        await service.handle_speculative(asked, world.context)


@pytest.mark.spec("PROJ-12", "SPEC-5")
async def test_speculation_in_a_read_store_leaves_no_trace(world) -> None:
    projector = await world.stored()
    service = ProjectorService([projector], world.turns)
    await projector.deliver(world.delivery_of(await world.append("a")))
    book = wire.EventBook.FromString(world.book(world.page(1, "what if"), world.page(2, "then")))
    asked = wire.SpeculateProjectorRequest(events=book).SerializeToString()

    found = projection(await service.handle_speculative(asked, world.context))
    await projector.deliver(world.delivery_of(await world.append("b")))

    assert codec.unpack(found.projection, world.Total, "rows") == world.Total(3)
    assert (found.projector, found.sequence) == ("rows", 2)
    assert world.rows() == [(0, "a"), (1, "b")]


@pytest.mark.spec("PROJ-12")
async def test_speculation_that_fails_is_told(world) -> None:
    service = ProjectorService([await world.stored()], world.turns)
    book = wire.EventBook.FromString(world.book(world.page(0, "bad")))
    asked = wire.SpeculateProjectorRequest(events=book).SerializeToString()

    with pytest.raises(HandlerFailed, match="a bad event"):
        await service.handle_speculative(asked, world.context)

    assert world.rows() == []


@pytest.mark.spec("PROJ-12")
async def test_without_a_subscribed_projector_speculation_is_only_a_cover(world) -> None:
    service = ProjectorService([], world.turns)
    book = wire.EventBook.FromString(await world.append("a"))
    asked = wire.SpeculateProjectorRequest(events=book).SerializeToString()

    found = projection(await service.handle_speculative(asked, world.context))

    assert found == wire.Projection(cover=book.cover)


@pytest.mark.spec("PROJ-9")
async def test_a_projector_that_is_replayed_answers_no_request(world) -> None:
    projector = await world.stored()
    service = ProjectorService([projector], world.turns)
    book = await world.append("a")
    await projector.begin_replay()

    with pytest.raises(ProjectorReplaying, match=r"^replaying$"):
        await projector.project(book, world.context)
    with pytest.raises(ProjectorReplaying) as caught:
        await service.handle_sync(request(book), world.context)

    assert caught.value.kind == "unavailable"
    await projector.end_replay()
    assert await projector.project(book, world.context) is not None
