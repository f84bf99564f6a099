"""Facts (FACT-1 to FACT-8)."""

from __future__ import annotations

import asyncio

import pytest

from angzarr import wire
from angzarr.cover import FACT, Provenance, root_of
from angzarr.errors import InvalidInput, SequenceConflict, StorageFailed, StoreUnavailable


@pytest.mark.spec("FACT-1")
@pytest.mark.parametrize("header", [wire.PageHeader(), wire.PageHeader(sequence=0)])
async def test_facts_without_a_deferred_header_are_refused(world, header):
    with pytest.raises(
        InvalidInput, match=r"^Fact events must have ExternalDeferredSequence markers$"
    ):
        await world.record("a=1", header=header)


@pytest.mark.spec("FACT-1")
@pytest.mark.parametrize("kind", ["external_deferred", "angzarr_deferred"])
async def test_one_deferred_header_among_several_is_enough(world, kind):
    request = wire.EventRequest()
    world.fill(request.events.cover)
    request.events.pages.add()
    getattr(request.events.pages.add().header, kind).SetInParent()

    await world.commands.handle_event(request.SerializeToString(), world.context)

    assert len(await world.values()) == 2


@pytest.mark.spec("FACT-2")
async def test_facts_are_numbered_dated_committed_and_published(world):
    await world.send("a=1")

    answer = await world.record("b=1", "c=1", correlation_id="c-1")

    pages = (await world.stored()).pages[1:]
    assert [page.header.sequence for page in pages] == [1, 2]
    assert all(page.committed for page in pages)
    assert pages[0].created_at.ToNanoseconds() == world.clock.now_ns()
    assert list(answer.events.pages) == list(pages)
    published = (await world.log())[-1]
    assert list(published.pages) == list(pages)
    assert published.cover.correlation_id == "c-1"


@pytest.mark.spec("FACT-2")
async def test_a_fact_asks_no_handler_and_keeps_its_own_time(world):
    request = wire.EventRequest()
    world.fill(request.events.cover)
    page = request.events.pages.add()
    page.header.external_deferred.SetInParent()
    page.created_at.seconds = 42

    await world.commands.handle_event(request.SerializeToString(), world.context)

    assert (await world.stored()).pages[0].created_at.seconds == 42
    assert world.handler.seen == []


@pytest.mark.spec("FACT-2")
async def test_a_fact_that_loses_a_race_is_recorded_after_it(world):
    calls = []

    async def append(real, cover, expected, pages, **options):
        if not calls:
            calls.append(expected)
            raise SequenceConflict(cover, expected, expected + 1)
        return await real(cover, expected, pages, **options)

    world.events.faults["append"] = append

    answer = await world.record("a=1")

    assert answer.events.pages[0].header.sequence == 0
    assert len(world.slept) == 1


@pytest.mark.spec("FACT-2", "CAS-20")
async def test_a_fact_is_not_stopped_by_a_cascades_locks(world):
    await world.send("a=1", cascade_id="cascade")

    answer = await world.record("a=2")

    assert answer.events.pages[0].header.sequence == 1


@pytest.mark.spec("FACT-3", "FACT-8")
async def test_a_known_external_id_gives_the_original_pages(world):
    await world.send("a=1", "b=1", "c=1")
    first = await world.record("d=1", external_id="x-1")

    again = await world.record("e=9", external_id="x-1")

    assert (first.already_processed, again.already_processed) == (False, True)
    assert [page.header.sequence for page in again.events.pages] == [3]
    assert again.events.pages == first.events.pages
    assert again.events.next_sequence == 4
    assert len(await world.values()) == 4


@pytest.mark.spec("FACT-3")
async def test_the_external_id_is_kept_per_stream(world):
    await world.record("a=1", external_id="x-1")

    for cover in ({"root": root_of("bob")}, {"edition": "what-if"}):
        answer = await world.record("a=1", external_id="x-1", **cover)
        assert not answer.already_processed


@pytest.mark.spec("FACT-3")
async def test_without_an_external_id_a_fact_is_always_appended(world):
    await world.record("a=1")
    await world.record("a=1")

    assert await world.values() == ["a=1", "a=1"]


@pytest.mark.spec("FACT-4")
async def test_of_concurrent_facts_with_one_id_one_is_written(world):
    answers = await asyncio.gather(*(world.record("a=1", external_id="x-1") for _ in range(8)))

    assert sorted(answer.already_processed for answer in answers) == [False] + [True] * 7
    assert await world.values() == ["a=1"]


@pytest.mark.spec("FACT-4")
async def test_the_loser_of_the_race_reads_what_the_winner_wrote(world):
    async def find(real, cover, external_id):
        if not (world.events.faults.pop("find_by_external_id", None)):
            return await real(cover, external_id)
        await world.record("a=1", external_id=external_id)  # the winner, after our look
        return None

    world.events.faults["find_by_external_id"] = find

    answer = await world.record("a=2", external_id="x-1")

    assert answer.already_processed
    assert answer.events.pages[0].event.value == b"a=1"
    assert await world.values() == ["a=1"]


@pytest.mark.spec("FACT-5")
async def test_a_reactions_fact_is_recorded_once(world):
    header = world.deferred(7)
    await world.record("a=1", header=header, metadata=world.origin(index=2))

    again = await world.record("a=1", header=header, metadata=world.origin(index=2))

    assert again.already_processed
    key = Provenance(world.cover(domain="order"), 7, "saga:shipping", 2, FACT)
    assert await world.events.find_by_provenance(world.cover(), key)


@pytest.mark.spec("FACT-6")
@pytest.mark.parametrize("route", [True, False])
async def test_facts_persist_directly_whether_routed_or_not(world, route):
    await world.record("a=1", route=route)

    assert await world.values() == ["a=1"]
    assert world.handler.seen == []


@pytest.mark.spec("FACT-7")
async def test_a_fact_goes_to_its_own_edition_and_divergence(world):
    await world.send("a=1", "b=1")

    answer = await world.record("c=1", edition="what-if", divergence=1)

    assert await world.values(edition="what-if") == ["a=1", "c=1"]
    assert answer.events.cover.edition.name == "what-if"
    assert await world.values() == ["a=1", "b=1"]


@pytest.mark.spec("FACT-7", "CAS-9")
async def test_a_fact_behind_pending_pages_is_published_after_them(world):
    await world.send("a=1", cascade_id="cascade")
    await world.record("b=1")
    held = await world.log()

    await world.events.decide_cascade("cascade", "COMMIT")
    await world.events.resolve_cascade(world.cover(), "cascade")

    sequences = [page.header.sequence for book in await world.log() for page in book.pages]
    assert held == []
    assert sequences == [0, 1, 2]
    assert not (await world.stored()).pages[1].HasField("cascade_id")


async def test_a_fact_that_can_not_be_written_says_so(world):
    world.events.faults["append"] = StoreUnavailable("memory://", "disk full")

    with pytest.raises(StorageFailed, match=r"^Failed to persist events"):
        await world.record("a=1")
