"""Which pages a projector is given: each once a stream, in order, without gaps (PROJ-3, PROJ-5)."""

from __future__ import annotations

import asyncio

import pytest

from angzarr import wire
from angzarr.coordinators.options import ProjectorOptions
from angzarr.cover import Cover
from angzarr.errors import HandlerFailed, RemoteError
from angzarr.ports.components import CallContext, Subscription
from angzarr.ports.event_store import COMMIT, ROLLBACK


@pytest.mark.spec("PROJ-2")
async def test_each_commit_is_one_book_of_its_own(world) -> None:
    recorder = world.Recorder()
    projector = await world.plain(recorder)
    await world.append("a", "b")
    await world.append("c")
    await world.append("x", name="bob")

    await world.feed(projector)

    assert recorder.sequences == [[0, 1], [2], [0]]
    assert projector.consumer == "projector-recorder"
    assert recorder.books[0].cover.domain == "account"


@pytest.mark.spec("PROJ-2", "WIRE-12")
async def test_a_book_comes_as_it_was_published(world) -> None:
    recorder = world.Recorder()
    projector = await world.plain(recorder)
    await world.append("a", correlation_id="corr-1")

    await world.feed(projector)

    assert recorder.books == [wire.EventBook.FromString(await world.entry(0))]
    assert recorder.contexts[0].metadata == {"x-correlation-id": "corr-1"}
    assert recorder.contexts[0].deadline_ns is not None


@pytest.mark.spec("PROJ-3", "PROJ-4", "PROJ-5")
async def test_the_example_of_the_specification(world) -> None:
    """Position 4. Delivered 3-6 → handler gets 5, 6, position 6. Delivered 9-10 → 7, 8 are fetched
    first, handler gets 7-10.
    """
    recorder = world.Recorder()
    projector = await world.plain(recorder)
    await world.append(*(str(number) for number in range(11)))
    pages = [world.page(number, str(number)) for number in range(11)]
    await projector.deliver(world.delivery_of(world.book(*pages[:5])))
    recorder.books.clear()

    await projector.deliver(world.delivery_of(world.book(*pages[3:7])))
    await projector.deliver(world.delivery_of(world.book(*pages[9:11])))

    assert recorder.sequences == [[5, 6], [7, 8, 9, 10]]
    assert await world.position(projector) == 10


@pytest.mark.spec("PROJ-3", "PROJ-4", "PROJ-5")
async def test_the_example_of_the_specification_in_a_read_store(world) -> None:
    projector = await world.stored()
    await world.append(*(str(number) for number in range(11)))
    pages = [world.page(number, str(number)) for number in range(11)]

    for part in (pages[:5], pages[3:7], pages[9:11]):
        await projector.deliver(world.delivery_of(world.book(*part)))

    assert world.rows() == [(number, str(number)) for number in range(11)]


@pytest.mark.spec("PROJ-3")
async def test_a_book_with_nothing_new_is_not_delivered(world) -> None:
    recorder = world.Recorder()
    projector = await world.plain(recorder)
    delivery = world.delivery_of(await world.append("a", "b"))
    await projector.deliver(delivery)

    await projector.deliver(delivery)

    assert recorder.sequences == [[0, 1]]


@pytest.mark.spec("PROJ-3")
async def test_a_position_is_stored_after_success_only(world) -> None:
    recorder = world.Recorder(answer=RemoteError("INTERNAL", "boom"))
    projector = await world.plain(recorder)
    delivery = world.delivery_of(await world.append("a"))

    with pytest.raises(RemoteError, match="boom"):
        await projector.deliver(delivery)
    recorder.answer = None
    await projector.deliver(delivery)

    assert recorder.sequences == [[0], [0]]
    assert await world.position(projector) == 0


@pytest.mark.spec("PROJ-3")
async def test_a_position_never_moves_back(world) -> None:
    recorder = world.Recorder()
    projector = await world.plain(recorder)
    first = world.delivery_of(await world.append("a"))
    second = world.delivery_of(await world.append("b", "c"))
    await projector.deliver(second)

    await projector.deliver(first)

    assert await world.position(projector) == 2
    assert recorder.sequences == [[0, 1, 2]]


@pytest.mark.spec("PROJ-3")
async def test_positions_are_kept_by_projector_domain_edition_and_root(world) -> None:
    first, second = world.Recorder(), world.Recorder(name="projector:other", editions=None)
    second.subscriptions = (Subscription("*"),)
    one, other = await world.plain(first), await world.plain(second)
    await world.append("a")
    await world.append("b", name="bob")
    await world.append("c", domain="order")
    await world.append("d", edition="whatif")

    await world.feed(one)
    await world.feed(other)

    assert first.sequences == [[0], [0]]
    assert second.sequences == [[0], [0], [0], [0, 1]]


@pytest.mark.spec("PROJ-3")
async def test_positions_are_stored_a_little_later(world) -> None:
    """Many deliveries share a flush; a position that is too low loses nothing."""
    recorder = world.Recorder()
    waiting = asyncio.Event()

    async def sleep(delay_s: float) -> None:
        world.slept.append(delay_s)
        await waiting.wait()

    projector = await world.plain(recorder, sleep=sleep)
    first = world.delivery_of(await world.append("a"))
    second = world.delivery_of(await world.append("b"))
    await projector.deliver(first)
    await projector.deliver(second)
    stored = world.stores.positions.get(projector.consumer, world.cover())
    await asyncio.sleep(0)

    assert await stored is None
    assert world.slept == [0.1]
    waiting.set()
    assert await world.position(projector) == 1


@pytest.mark.spec("PROJ-5")
async def test_without_a_position_everything_is_missing(world) -> None:
    recorder = world.Recorder()
    projector = await world.plain(recorder)
    await world.append("a", "b", correlation_id="corr-1")
    last = world.delivery_of(await world.append("c", correlation_id="corr-2"))

    await projector.deliver(last)

    assert recorder.sequences == [[0, 1, 2]]
    (book,) = recorder.books
    assert book.cover.correlation_id == "corr-2"
    assert book.next_sequence == 3


@pytest.mark.spec("PROJ-5", "EDN-3", "EDN-13")
async def test_a_branch_starts_with_its_inherited_pages(world) -> None:
    recorder = world.Recorder(editions=("whatif",))
    projector = await world.plain(recorder)
    await world.append("main 0", "main 1", "main 2")
    await world.append("branch 2", edition="whatif", divergence=2)
    await world.append("main 3")

    await world.feed(projector)

    (book,) = recorder.books
    assert [page.header.sequence for page in book.pages] == [0, 1, 2]
    assert b"main 1" in book.pages[1].event.value
    assert b"branch 2" in book.pages[2].event.value
    assert book.cover.edition.name == "whatif"


@pytest.mark.spec("PROJ-5", "WIRE-7", "COMPAT-17")
@pytest.mark.parametrize("spelling", [None, "", "angzarr"])
async def test_an_unset_edition_is_main(world, spelling: str | None) -> None:
    recorder = world.Recorder()
    projector = await world.plain(recorder)
    await world.append("a")
    book = wire.EventBook.FromString(await world.append("b"))
    book.cover.ClearField("edition")
    if spelling is not None:
        book.cover.edition.name = spelling

    await projector.deliver(world.delivery_of(book.SerializeToString()))

    assert recorder.sequences == [[0, 1]]
    assert await world.position(projector) == 1


@pytest.mark.spec("PROJ-5")
async def test_a_long_gap_comes_in_several_books(world) -> None:
    world.options = ProjectorOptions(gap_pages=4)
    recorder = world.Recorder()
    projector = await world.plain(recorder)
    await world.append(*(str(number) for number in range(10)))

    await projector.deliver(world.delivery_of(await world.append("10", "11")))

    assert recorder.sequences == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert [book.next_sequence for book in recorder.books] == [4, 8, 12]


@pytest.mark.spec("PROJ-5", "WIRE-14")
async def test_books_of_a_gap_stay_below_the_message_limit(world) -> None:
    world.options = ProjectorOptions(book_bytes=500)
    recorder = world.Recorder()
    projector = await world.plain(recorder)
    await world.append(*("x" * 100 for _ in range(6)))

    await projector.deliver(world.delivery_of(await world.append("y" * 1000)))

    assert recorder.sequences == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.spec("PROJ-3", "PROJ-5")
async def test_an_error_in_a_long_gap_keeps_what_was_applied(world) -> None:
    world.options = ProjectorOptions(gap_pages=2)
    recorder = world.Recorder()
    projector = await world.plain(recorder)
    await world.append(*(str(number) for number in range(4)))
    delivery = world.delivery_of(await world.append("4"))

    async def gate() -> None:
        if len(recorder.books) == 2:
            raise RemoteError("INTERNAL", "boom")

    recorder.gate = gate
    with pytest.raises(RemoteError):
        await projector.deliver(delivery)
    recorder.gate = None
    await projector.deliver(delivery)

    assert recorder.sequences == [[0, 1], [2, 3, 4], [2, 3, 4]]


@pytest.mark.spec("PROJ-5", "PROJ-13", "CAS-8")
async def test_a_gap_is_read_as_readers_see_it(world) -> None:
    """Revoked pages, and markers, are NoOps."""
    recorder = world.Recorder()
    projector = await world.plain(recorder)
    await world.append("a")
    await world.append("revoked", cascade_id="c-1")
    await world.events.decide_cascade("c-1", ROLLBACK)
    await world.events.resolve_cascade(world.cover(), "c-1")

    await projector.deliver(world.delivery_of(await world.append("b")))

    (book,) = recorder.books
    names = [page.event.type_url.rpartition(".")[2] for page in book.pages]
    assert names == ["Happened", "NoOp", "NoOp", "Happened"]


@pytest.mark.spec("PROJ-13")
@pytest.mark.parametrize("types", [(), ("account.Happened",)])
async def test_a_book_of_no_ops_only_moves_the_position(world, types: tuple[str, ...]) -> None:
    recorder = world.Recorder(subscriptions=(Subscription("account", types),))
    projector = await world.plain(recorder)
    await world.append("revoked", cascade_id="c-1")
    await world.events.decide_cascade("c-1", ROLLBACK)
    await world.events.resolve_cascade(world.cover(), "c-1")

    await world.feed(projector)

    assert recorder.books == []
    assert await world.position(projector) == 1


@pytest.mark.spec("PROJ-13")
async def test_our_own_router_skips_no_ops(world) -> None:
    projector = await world.stored()
    await world.append("a")
    await world.append("revoked", cascade_id="c-1")
    await world.append("confirmed", cascade_id="c-2")
    await world.events.decide_cascade("c-1", ROLLBACK)
    await world.events.decide_cascade("c-2", COMMIT)
    for cascade_id in ("c-1", "c-2"):
        await world.events.resolve_cascade(world.cover(), cascade_id)

    await world.feed(projector)

    assert world.rows() == [(0, "a"), (2, "confirmed")]


@pytest.mark.spec("PROJ-1", "SAGA-3")
async def test_pages_of_types_that_are_not_subscribed_are_left_out(world) -> None:
    recorder = world.Recorder(subscriptions=(Subscription("account", ("Happened",)),))
    projector = await world.plain(recorder)
    other = world.page(1, "b")
    other.event.type_url = "type.googleapis.com/account.Other"
    await world.append(pages=[world.page(0, "a"), other, world.page(2, "c")])
    await world.append(pages=[_renumbered(other, 3)])

    await world.feed(projector)

    assert recorder.sequences == [[0, 2]]
    assert recorder.books[0].next_sequence == 3
    assert await world.position(projector) == 3


def _renumbered(page: wire.EventPage, sequence: int) -> wire.EventPage:
    made = wire.EventPage()
    made.CopyFrom(page)
    made.header.sequence = sequence
    return made


@pytest.mark.spec("PROJ-1")
@pytest.mark.parametrize(
    ("domain", "pattern", "is_wanted"),
    [
        ("account", "account", True),
        ("account", "*", True),
        ("_angzarr", "*", False),
        ("_angzarr", "_angzarr", True),
        ("order", "account", False),
    ],
)
async def test_reserved_domains_are_for_those_that_name_them(
    world, domain: str, pattern: str, is_wanted: bool
) -> None:
    projector = await world.plain(world.Recorder(subscriptions=(Subscription(pattern),)))

    assert projector.wants(Cover(domain, bytes(16))) is is_wanted


@pytest.mark.spec("PROJ-1", "EDN-13")
@pytest.mark.parametrize(
    ("editions", "wanted"),
    [
        (("main",), {"angzarr"}),
        (("whatif",), {"whatif"}),
        (("main", "whatif"), {"angzarr", "whatif"}),
        (None, {"angzarr", "whatif", "other"}),
    ],
)
async def test_a_projector_gets_the_editions_that_it_chose(
    world, editions: tuple[str, ...] | None, wanted: set[str]
) -> None:
    recorder = world.Recorder(editions=editions)
    projector = await world.plain(recorder)
    for edition in ("", "whatif", "other"):
        await world.append("a", edition=edition, divergence=0 if edition else None)

    await world.feed(projector)

    assert {book.cover.edition.name for book in recorder.books} == wanted


@pytest.mark.spec("UPC-2")
async def test_pages_are_upcast_where_the_domain_has_an_upcaster(world) -> None:
    class Upper:
        async def upcast(self, request: bytes, context: CallContext) -> bytes:
            asked = wire.UpcastRequest.FromString(request)
            for page in asked.events:
                page.event.value = page.event.value.replace(b"old", b"new")
            return wire.UpcastResponse(events=asked.events).SerializeToString()

    projector = await world.stored(upcasters={"account": Upper()})
    await world.append("old 0")

    await projector.deliver(world.delivery_of(await world.append("old 1")))
    await projector.deliver(world.delivery_of(await world.append("old 2")))

    assert world.rows() == [(0, "new 0"), (1, "new 1"), (2, "new 2")]


@pytest.mark.spec("PROJ-2", "DLQ-3")
async def test_a_handlers_error_is_a_failed_delivery(world) -> None:
    projector = await world.stored()
    await world.append("bad")

    with pytest.raises(HandlerFailed, match="a bad event"):
        await world.feed(projector)

    assert world.rows() == []


@pytest.mark.spec("DLQ-4", "PROJ-3")
@pytest.mark.parametrize("kind", ["plain", "stored"])
async def test_what_was_given_up_on_is_passed(world, kind: str) -> None:
    """Else the gap before the next book would bring the poison back."""
    recorder = world.Recorder()
    projector = await (world.plain(recorder) if kind == "plain" else world.stored())
    await projector.deliver(world.delivery_of(await world.append("a")))
    poison = world.delivery_of(await world.append("bad", "lost"))

    await projector.gave_up(poison)
    await projector.deliver(world.delivery_of(await world.append("b")))

    if kind == "plain":
        assert recorder.sequences == [[0], [3]]
    else:
        assert world.rows() == [(0, "a"), (3, "b")]


@pytest.mark.spec("DLQ-8", "PROJ-3")
@pytest.mark.parametrize("kind", ["plain", "stored"])
async def test_a_dead_letter_is_delivered_once_more_though_it_was_passed(world, kind: str) -> None:
    recorder = world.Recorder()
    projector = await (world.plain(recorder) if kind == "plain" else world.stored())
    book = await world.append("a")
    await projector.gave_up(world.delivery_of(book))
    await projector.deliver(world.delivery_of(await world.append("b")))

    await projector.deliver(world.delivery_of(book, is_redelivered=True))
    await projector.deliver(world.delivery_of(await world.append("c")))

    if kind == "plain":
        assert recorder.sequences == [[1], [0], [2]]
    else:
        assert world.rows() == [(1, "b"), (0, "a"), (2, "c")]
