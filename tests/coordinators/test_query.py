"""EventQueryService (QRY-1 to QRY-15)."""

from __future__ import annotations

import pytest

from angzarr import wire
from angzarr.coordinators import QueryCoordinator, QueryOptions
from angzarr.cover import root_of
from angzarr.errors import InvalidInput, NotPermitted, StorageFailed, StoreUnavailable, TooLarge
from angzarr.ports.components import CallContext

BOB = root_of("bob")
WRITES = {"append", "delete_edition", "decide_cascade", "resolve_cascade"}


def _query(world, *, cover=None, bare=False, **more):
    query = wire.Query(**{k: v for k, v in more.items() if k in ("range", "sequences", "temporal")})
    if not bare:
        fields = {k: v for k, v in more.items() if k not in ("range", "sequences", "temporal")}
        world.fill(query.cover, **fields)
    if cover is not None:
        query.cover.CopyFrom(cover)
    return query.SerializeToString()


async def _book(world, metadata=None, **more):
    context = CallContext(metadata=metadata or {})
    data = await world.queries.get_event_book(_query(world, **more), context)
    return wire.EventBook.FromString(data)


async def _books(world, **more):
    stream = world.queries.get_events(_query(world, **more), world.context)
    return [wire.EventBook.FromString(data) async for data in stream]


def _sequences(book):
    return [page.header.sequence for page in book.pages]


async def _ten(world):
    await world.send(*(f"a={n}" for n in range(10)))


# --- by correlation


async def _correlated(world):
    await world.send("a=1", correlation_id="c-1")
    await world.send("b=1", at=1)
    await world.send("c=1", at=2, correlation_id="c-1")
    await world.send("d=1", root=BOB, correlation_id="c-1")
    await world.send("e=1", root=BOB, at=1, edition="what-if", correlation_id="c-1")


def _correlation_cover(**fields):
    cover = wire.Cover(correlation_id="c-1", domain=fields.get("domain", ""))
    if "root" in fields:
        cover.root.value = fields["root"]
    if "edition" in fields:
        cover.edition.name = fields["edition"]
    return cover


@pytest.mark.spec("QRY-1")
async def test_by_correlation_the_first_matching_book_has_only_its_pages(world):
    await _correlated(world)
    first = min(BOB, world.ROOT)

    book = await _book(world, cover=_correlation_cover())

    assert book.cover == world.fill(
        wire.Cover(), root=first, edition="angzarr", correlation_id="c-1"
    )
    alice = await _book(world, cover=_correlation_cover(root=world.ROOT))
    assert _sequences(alice) == [0, 2]
    assert alice.next_sequence == 3


@pytest.mark.spec("QRY-1")
async def test_the_next_sequence_by_correlation_is_the_whole_streams(world):
    await world.send("a=1", correlation_id="c-1")
    await world.send("b=1", at=1)

    book = await _book(world, cover=_correlation_cover())

    assert (_sequences(book), book.next_sequence) == ([0], 2)


@pytest.mark.spec("QRY-1", "EDN-10")
@pytest.mark.parametrize(
    ("filters", "values"),
    [
        ({"root": BOB}, [b"d=1"]),
        ({"edition": "what-if"}, [b"e=1"]),
        ({"domain": "account", "root": BOB, "edition": "angzarr"}, [b"d=1"]),
        ({"domain": "shop"}, []),
    ],
)
async def test_domain_root_and_edition_filter_where_they_are_given(world, filters, values):
    await _correlated(world)

    book = await _book(world, cover=_correlation_cover(**filters))

    assert [page.event.value for page in book.pages] == values


@pytest.mark.spec("QRY-1")
async def test_an_unknown_correlation_id_is_an_empty_book(world):
    assert await _book(world, cover=_correlation_cover()) == wire.EventBook()


@pytest.mark.spec("QRY-1")
async def test_a_selection_applies_to_the_pages_with_the_id(world):
    await _correlated(world)
    cover = _correlation_cover(root=world.ROOT)

    book = await _book(world, cover=cover, range=wire.SequenceRange(lower=1))

    assert _sequences(book) == [2]


# --- addresses


@pytest.mark.spec("QRY-2")
@pytest.mark.parametrize("change", [{"domain": ""}, {"root": b""}])
async def test_domain_and_root_are_required_without_a_correlation_id(world, change):
    with pytest.raises(
        InvalidInput, match=r"^Query must have a cover with domain/root or correlation_id$"
    ):
        await _book(world, **change)


@pytest.mark.spec("QRY-2")
async def test_a_query_without_a_cover_is_refused(world):
    with pytest.raises(InvalidInput, match=r"^Query must have a cover"):
        await _book(world, bare=True)


@pytest.mark.spec("QRY-2", "CMD-2", "EDN-2")
@pytest.mark.parametrize(
    "change",
    [
        {"domain": "Account"},
        {"root": b"short"},
        {"edition": "What"},
        {"correlation_id": "a b"},
    ],
)
async def test_every_field_of_the_cover_is_checked(world, change):
    with pytest.raises(InvalidInput):
        await _book(world, **change)


@pytest.mark.spec("QRY-3")
async def test_an_unknown_aggregate_is_an_empty_book_with_the_cover(world):
    book = await _book(world, edition="what-if")

    assert book.cover == world.fill(wire.Cover(), edition="what-if")
    assert (len(book.pages), book.next_sequence) == (0, 0)


# --- what a book holds


@pytest.mark.spec("QRY-4", "EDN-3")
async def test_reads_are_composite_and_transformed_and_every_page_is_dated(world):
    await world.send("a=1", "b=1")
    await world.send("c=1", at=1, edition="what-if", divergence=1, cascade_id="X")

    book = await _book(world, edition="what-if")

    assert _sequences(book) == [0, 1]
    assert book.pages[1].event.type_url == world.FRAMEWORK + "NoOp"
    assert all(page.HasField("created_at") for page in book.pages)


@pytest.mark.spec("QRY-4", "EDN-5")
async def test_a_branch_that_is_not_written_is_read_up_to_its_divergence(world):
    await _ten(world)

    book = await _book(world, edition="what-if", divergence=3)

    assert (_sequences(book), book.next_sequence) == ([0, 1, 2], 3)


@pytest.mark.spec("QRY-4")
async def test_a_plain_book_passes_through_as_stored(world):
    await _ten(world)

    data = await world.queries.get_event_book(_query(world), world.context)

    assert data == (await world.stores.real.events.load(world.cover())).data


@pytest.mark.spec("QRY-5", "SNAP-11")
async def test_a_book_has_all_pages_and_no_snapshot(world):
    answer = world.business("a=1", "b=1")
    answer.events.snapshot.state.CopyFrom(world.state_any(a="1"))
    world.handler.answer = answer
    await world.send("x")

    book = await _book(world)

    assert not book.HasField("snapshot")
    assert _sequences(book) == [0, 1]


# --- selections


@pytest.mark.spec("QRY-6", "QRY-9")
@pytest.mark.parametrize(
    ("lower", "upper", "found", "following"),
    [
        (2, 4, [2, 3, 4], 5),
        (8, None, [8, 9], 10),
        (8, 99, [8, 9], 10),
        (3, 3, [3], 4),
        (4, 2, [], 0),
        (10, None, [], 0),
        (0, 2**32 - 1, list(range(10)), 10),
    ],
)
async def test_a_range_is_inclusive_at_both_ends(world, lower, upper, found, following):
    await _ten(world)

    book = await _book(world, range=wire.SequenceRange(lower=lower, upper=upper))

    assert (_sequences(book), book.next_sequence) == (found, following)


@pytest.mark.spec("QRY-7", "QRY-9")
@pytest.mark.parametrize(
    ("values", "found", "following"),
    [([7, 3, 3, 12], [3, 7], 8), ([], [], 0), ([99], [], 0), ([2**32 - 1, 0], [0], 1)],
)
async def test_a_set_gives_exactly_its_sequences_ascending(world, values, found, following):
    await _ten(world)

    book = await _book(world, sequences=wire.SequenceSet(values=values))

    assert (_sequences(book), book.next_sequence) == (found, following)
    assert book.cover.domain == "account"


@pytest.mark.spec("QRY-7")
async def test_a_set_with_wide_gaps_is_read_in_stretches(world):
    await world.send(*["a=1"] * 100)
    await world.send(*["a=1"] * 100, at=100)
    world.trace.clear()

    book = await _book(world, sequences=wire.SequenceSet(values=[0, 1, 199]))

    assert _sequences(book) == [0, 1, 199]
    assert world.trace == ["load", "load"]


@pytest.mark.spec("QRY-8")
@pytest.mark.parametrize(("last", "found"), [(0, [0]), (4, [0, 1, 2, 3, 4]), (99, list(range(10)))])
async def test_as_of_a_sequence_gives_the_pages_up_to_it(world, last, found):
    await _ten(world)

    book = await _book(world, temporal=wire.TemporalQuery(as_of_sequence=last))

    assert _sequences(book) == found
    assert book.next_sequence == found[-1] + 1


@pytest.mark.spec("QRY-8")
async def test_as_of_a_time_compares_instants(world):
    await world.send("a=1")
    time_ns = world.clock.now_ns()
    world.clock.advance(ns=1)
    await world.send("b=1", at=1)
    point = wire.TemporalQuery()
    point.as_of_time.FromNanoseconds(time_ns)

    assert _sequences(await _book(world, temporal=point)) == [0]
    point.as_of_time.FromNanoseconds(time_ns + 1)
    assert _sequences(await _book(world, temporal=point)) == [0, 1]


@pytest.mark.spec("QRY-8")
async def test_as_of_the_last_time_of_all_gives_everything(world):
    await _ten(world)
    point = wire.TemporalQuery()
    point.as_of_time.FromJsonString("9999-12-31T23:59:59.999999999Z")

    assert len((await _book(world, temporal=point)).pages) == 10


@pytest.mark.spec("QRY-8")
async def test_a_temporal_query_without_a_point_is_refused(world):
    with pytest.raises(
        InvalidInput, match=r"^TemporalQuery must specify as_of_time or as_of_sequence$"
    ):
        await _book(world, temporal=wire.TemporalQuery())


@pytest.mark.spec("QRY-8")
async def test_an_invalid_time_is_refused_with_its_value(world):
    point = wire.TemporalQuery()
    point.as_of_time.nanos = -1

    with pytest.raises(InvalidInput) as refused:
        await _book(world, temporal=point)

    assert refused.value.value == "seconds: 0 nanos: -1"


# --- at a position of the log


def _at(position):
    return wire.TemporalQuery(as_of_position=position)


@pytest.mark.spec("QRY-16")
async def test_at_a_position_are_the_pages_that_the_log_had_then(world):
    await world.send("a=1")
    await world.send("x=1", root=BOB)
    await world.send("b=1", "c=1", at=1)

    found = [_sequences(await _book(world, temporal=_at(n))) for n in range(6)]

    assert found == [[], [0], [0], [0, 1], [0, 1, 2], [0, 1, 2]]


@pytest.mark.spec("QRY-16", "QRY-9")
async def test_next_sequence_at_a_position_follows_the_last_page(world):
    await _ten(world)

    found = [(await _book(world, temporal=_at(n))).next_sequence for n in (0, 4)]

    assert found == [0, 4]


@pytest.mark.spec("QRY-16", "EDN-3")
async def test_at_a_position_a_branch_is_composite(world):
    await world.send("a=1")  # 1
    await world.send("b=1", at=1)  # 2
    await world.send("c=1", at=1, edition="what-if", divergence=1)  # 3
    await world.send("d=1", at=2)  # 4
    await world.send("e=1", at=2, edition="what-if")  # 5

    found = [
        _sequences(await _book(world, temporal=_at(n), edition="what-if")) for n in (0, 1, 2, 3, 5)
    ]

    assert found == [[], [0], [0], [0, 1], [0, 1, 2]]


@pytest.mark.spec("QRY-16", "EDN-5")
async def test_at_a_position_a_branch_without_pages_ends_at_its_divergence(world):
    await _ten(world)

    book = await _book(world, temporal=_at(7), edition="what-if", divergence=3)

    assert _sequences(book) == [0, 1, 2]


@pytest.mark.spec("QRY-16")
async def test_pages_of_a_cascade_are_there_from_their_release_on(world):
    await world.send("a=1")  # 1
    await world.send("b=1", at=1, cascade_id="k")
    await world.send("x=1", root=BOB)  # 2
    await world.events.decide_cascade("k", "COMMIT")
    await world.events.resolve_cascade(world.cover(), "k")  # 3: the page, 4: its marker

    found = [len((await _book(world, temporal=_at(n))).pages) for n in (1, 2, 3, 4)]

    assert found == [1, 1, 2, 3]


@pytest.mark.spec("QRY-16", "QRY-1")
async def test_at_a_position_correlated_streams_end_each_where_it_was_then(world):
    await _correlated(world)
    cover = wire.Cover(correlation_id="c-1")

    books = await _books(world, cover=cover, temporal=_at(3))

    assert [(b.cover.root.value, _sequences(b)) for b in books if b.pages] == [(world.ROOT, [0, 2])]


@pytest.mark.spec("QRY-16", "QRY-11")
async def test_at_a_position_a_long_stream_comes_in_parts(world):
    await _ten(world)
    world.queries = QueryCoordinator(world.events, options=QueryOptions(query_result_limit=3))

    found = [_sequences(book) for book in await _books(world, temporal=_at(5))]

    assert found == [[0, 1, 2], [3, 4]]


# --- sizes


@pytest.mark.spec("QRY-10", "WIRE-14")
async def test_a_book_over_the_message_limit_is_refused_and_points_to_get_events(world):
    await _ten(world)
    world.queries = QueryCoordinator(world.events, options=QueryOptions(message_size_bytes=200))

    with pytest.raises(TooLarge, match=r"exceeds the message limit of 200 bytes.*GetEvents"):
        await _book(world)


@pytest.mark.spec("QRY-11")
@pytest.mark.parametrize(
    ("selection", "found"),
    [
        ({}, [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]),
        ({"range": wire.SequenceRange(lower=2, upper=5)}, [[2, 3, 4], [5]]),
        ({"range": wire.SequenceRange(lower=5, upper=2)}, [[]]),
        ({"temporal": wire.TemporalQuery(as_of_sequence=3)}, [[0, 1, 2], [3]]),
        ({"sequences": wire.SequenceSet(values=[9, 1, 3, 5])}, [[1, 3, 5], [9]]),
        ({"sequences": wire.SequenceSet(values=[1])}, [[1]]),
    ],
)
async def test_a_long_stream_comes_in_books_of_one_cover(world, selection, found):
    await _ten(world)
    world.queries = QueryCoordinator(world.events, options=QueryOptions(query_result_limit=3))

    books = await _books(world, **selection)

    assert [_sequences(book) for book in books] == found
    assert {book.cover.SerializeToString(deterministic=True) for book in books} == {
        world.fill(wire.Cover(), edition="angzarr").SerializeToString(deterministic=True)
    }


@pytest.mark.spec("QRY-11")
async def test_no_book_is_over_half_a_message(world):
    await world.send(*["a=" + "1" * 100 for _ in range(20)])
    world.queries = QueryCoordinator(world.events, options=QueryOptions(message_size_bytes=2000))

    stream = world.queries.get_events(_query(world), world.context)
    parts = [data async for data in stream]

    assert max(map(len, parts)) <= 1000
    books = [wire.EventBook.FromString(data) for data in parts]
    assert [s for book in books for s in _sequences(book)] == list(range(20))
    assert [book.next_sequence for book in books] == [_sequences(b)[-1] + 1 for b in books]


@pytest.mark.spec("QRY-11")
@pytest.mark.parametrize("count", [0, 1])
async def test_a_short_or_empty_stream_is_one_book(world, count):
    if count:
        await world.send("a=1")

    assert [len(book.pages) for book in await _books(world)] == [count]


@pytest.mark.spec("QRY-11", "QRY-1")
async def test_by_correlation_every_matching_stream_comes_in_order(world):
    await _correlated(world)

    books = await _books(world, cover=_correlation_cover())

    covers = [(b.cover.edition.name, b.cover.root.value) for b in books]
    assert covers == sorted(covers)
    assert len(covers) == 3


@pytest.mark.spec("QRY-11")
async def test_a_stream_that_grows_meanwhile_is_not_followed(world):
    await world.send("a=1", "b=1")
    world.queries = QueryCoordinator(world.events, options=QueryOptions(query_result_limit=1))
    stream = world.queries.get_events(_query(world), world.context)

    first = wire.EventBook.FromString(await anext(stream))
    await world.send("c=1", at=2)
    rest = [wire.EventBook.FromString(data) async for data in stream]

    assert [_sequences(book) for book in (first, *rest)] == [[0], [1]]


@pytest.mark.spec("QRY-11", "EDN-3")
async def test_a_branch_is_read_in_books_across_its_divergence(world):
    await world.send("a=1", "b=1", "c=1")
    await world.send("d=1", "e=1", at=2, edition="what-if", divergence=2)
    world.queries = QueryCoordinator(world.events, options=QueryOptions(query_result_limit=3))

    books = await _books(world, edition="what-if")

    values = [page.event.value for book in books for page in book.pages]
    assert values == [b"a=1", b"b=1", b"d=1", b"e=1"]


# --- the other calls


async def _requests(*items):
    for item in items:
        yield item


@pytest.mark.spec("QRY-12")
async def test_synchronize_answers_each_request_in_order_and_ends_with_them(world):
    await _ten(world)
    requests = _requests(
        _query(world, range=wire.SequenceRange(lower=8, upper=9)),
        _query(world, root=BOB),
        _query(world, range=wire.SequenceRange(lower=0, upper=0)),
    )

    answers = [
        _sequences(wire.EventBook.FromString(data))
        async for data in world.queries.synchronize(requests, world.context)
    ]

    assert answers == [[8, 9], [], [0]]


@pytest.mark.spec("QRY-12")
async def test_synchronize_ends_with_the_first_invalid_request(world):
    await _ten(world)
    requests = _requests(_query(world), b"", _query(world))
    answers = world.queries.synchronize(requests, world.context)

    assert await anext(answers)
    with pytest.raises(InvalidInput):
        await anext(answers)


@pytest.mark.spec("QRY-13")
async def test_raw_reads_are_forbidden_unless_configured(world):
    with pytest.raises(NotPermitted, match=r"query\.allow_raw"):
        await _book(world, metadata={"angzarr-raw": "1"})


@pytest.mark.spec("QRY-13", "CAS-8")
async def test_a_raw_read_gives_pages_as_stored(world):
    class Never:
        async def upcast(self, request, context):
            raise AssertionError("raw reads are not lifted")

    await world.send("a=1", cascade_id="X")
    world.queries = QueryCoordinator(
        world.events, upcasters={"account": Never()}, options=QueryOptions(allow_raw=True)
    )

    book = await _book(world, metadata={"angzarr-raw": "1"})

    assert book.pages == (await world.stored()).pages
    assert book.pages[0].cascade_id == "X"


@pytest.mark.spec("QRY-14")
async def test_roots_with_main_pages_come_once_by_domain_and_root(world):
    world.coordinate(handlers={name: world.Fields(name) for name in ("account", "shop", "zoo")})
    await world.send("a=1", domain="shop")
    await world.send("a=1", root=BOB)
    await world.send("a=1", "b=1")
    await world.send("a=1", domain="zoo", edition="what-if")
    await world.send("b=1", at=2, edition="what-if")
    await world.stores.real.events.append(
        world.cover(domain="_angzarr"), 0, [(await world.stored()).pages[0].SerializeToString()]
    )

    found = [
        wire.AggregateRoot.FromString(data)
        async for data in world.queries.get_aggregate_roots(world.context)
    ]

    expected = [("account", root) for root in sorted([BOB, world.ROOT])] + [("shop", world.ROOT)]
    assert [(item.domain, item.root.value) for item in found] == expected


@pytest.mark.spec("QRY-14")
async def test_an_error_of_one_domain_ends_the_roots_with_it(world):
    world.coordinate(handlers={name: world.Fields(name) for name in ("account", "shop")})
    await world.send("a=1")
    await world.send("a=1", domain="shop")

    async def roots(real, domain):
        if domain == "shop":
            raise StoreUnavailable("memory://", "disk on fire")
        return await real(domain)

    world.events.faults["roots"] = roots
    found = world.queries.get_aggregate_roots(world.context)

    assert await anext(found)
    with pytest.raises(StorageFailed, match=r"shop.*disk on fire"):
        await anext(found)


@pytest.mark.spec("QRY-15")
@pytest.mark.parametrize("method", ["load", "load_until", "by_correlation"])
async def test_a_storage_failure_is_internal(world, method):
    world.events.faults[method] = StoreUnavailable("memory://", "disk on fire")
    point = wire.TemporalQuery()
    point.as_of_time.seconds = 1
    more = {
        "load": {},
        "load_until": {"temporal": point},
        "by_correlation": {"correlation_id": "c-1"},
    }[method]

    with pytest.raises(StorageFailed) as failed:
        await _book(world, **more)

    assert failed.value.kind == "internal"


@pytest.mark.spec("QRY-15")
async def test_a_read_never_writes(world):
    await _correlated(world)
    world.trace.clear()

    await _book(world)
    await _books(world, cover=_correlation_cover())
    _ = [data async for data in world.queries.get_aggregate_roots(world.context)]

    assert not WRITES & set(world.trace)
