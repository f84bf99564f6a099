"""Reading: ranges, times, heads, names, bytes (STO-1, 4, 15, 16, 41; WIRE-7 to WIRE-9)."""

from __future__ import annotations

import pytest

from angzarr import wire
from angzarr.ports.event_store import Book, EventStore
from angzarr.ports.stores import Stores
from angzarr.testing.clock import NS_PER_S, START_NS
from angzarr.testing.contracts.base import StoreContract, given_pages, given_pending
from angzarr.testing.pages import (
    FRAMEWORK_URL,
    book_of,
    cover_of,
    page,
    pages,
    parse_book,
    sequences_of,
    snapshot,
    timestamp,
)

MAIN_SPELLINGS = ["", "angzarr"]

RANGES: dict[str, tuple[int, int | None, list[int]]] = {
    "from zero": (0, None, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
    "from the middle": (4, None, [4, 5, 6, 7, 8, 9]),
    "from the last": (9, None, [9]),
    "from the end": (10, None, []),
    "from past the end": (100, None, []),
    "full": (0, 10, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
    "partial": (3, 6, [3, 4, 5]),
    "single": (5, 6, [5]),
    "empty": (5, 5, []),
    "to zero": (0, 0, []),
    "turned around": (6, 3, []),
    "past the end": (8, 100, [8, 9]),
    "to the last sequence of all": (8, 2**32, [8, 9]),
}
"""start, stop and what comes of a stream of ten pages."""

ODD_PAYLOADS = {
    "empty": b"",
    "zero bytes": bytes(64),
    "all bytes": bytes(range(256)),
    "not protobuf": b"\xff\xff\xff\xff\xff",
    "not UTF-8": b"\xc3\x28",
    "a megabyte": bytes(range(256)) * 4_096,
}


class ReadContract(StoreContract):
    """Claims about reads of one timeline."""

    @pytest.mark.spec("STO-41", "WIRE-7", "WIRE-9")
    async def test_a_book_is_the_canonical_encoding(self, events: EventStore) -> None:
        made = await given_pages(events, cover_of(), 5)

        book = await events.load(cover_of())

        assert book == Book(book_of(cover_of(), made), next_sequence=5, is_plain=True)

    @pytest.mark.spec("STO-41")
    async def test_a_book_parses_into_what_was_appended(self, events: EventStore) -> None:
        made = await given_pages(events, cover_of(), 5)

        book = parse_book((await events.load(cover_of())).data)

        assert list(book.pages) == [wire.EventPage.FromString(data) for data in made]

    @pytest.mark.spec("STO-41")
    async def test_an_unknown_stream_is_an_empty_book(self, events: EventStore) -> None:
        book = await events.load(cover_of("nobody"))

        assert book == Book(book_of(cover_of("nobody"), []), next_sequence=0, is_plain=True)

    @pytest.mark.spec("WIRE-7")
    async def test_main_is_named_in_covers(self, events: EventStore) -> None:
        await given_pages(events, cover_of(), 1)

        book = parse_book((await events.load(cover_of())).data)

        assert book.cover.edition.name == "angzarr"

    @pytest.mark.spec("STO-41")
    async def test_a_books_cover_has_no_correlation_id(self, events: EventStore) -> None:
        cover = cover_of(correlation_id="corr-1")
        made = await given_pages(events, cover, 2)

        assert (await events.load(cover)).data == book_of(cover_of(), made)

    @pytest.mark.spec("STO-41", "QRY-6")
    @pytest.mark.parametrize("name", sorted(RANGES))
    async def test_a_range_gives_its_pages(self, events: EventStore, name: str) -> None:
        start, stop, expected = RANGES[name]
        made = await given_pages(events, cover_of(), 10)

        book = await events.load(cover_of(), start=start, stop=stop)

        assert book.data == book_of(cover_of(), [made[sequence] for sequence in expected])
        assert book.next_sequence == 10

    @pytest.mark.spec("WIRE-9")
    async def test_a_partial_book_ends_after_its_last_page(self, events: EventStore) -> None:
        await given_pages(events, cover_of(), 10)

        book = await events.load(cover_of(), start=2, stop=5)

        assert parse_book(book.data).next_sequence == 5
        assert book.next_sequence == 10

    @pytest.mark.spec("STO-41", "STO-40")
    @pytest.mark.parametrize("name", sorted(ODD_PAYLOADS))
    async def test_a_payload_comes_back_as_it_was(self, events: EventStore, name: str) -> None:
        made = page(0, value=ODD_PAYLOADS[name])
        await events.append(cover_of(), 0, [made])

        assert (await events.load(cover_of())).data == book_of(cover_of(), [made])

    @pytest.mark.spec("STO-41")
    async def test_unknown_fields_come_back(self, events: EventStore) -> None:
        unknown = b"\xfa\x06\x03new" + b"\x98\x01\x2a"
        made = [page(0) + unknown, page(1) + unknown]
        await events.append(cover_of(), 0, made)

        assert (await events.load(cover_of())).data == book_of(cover_of(), made)

    @pytest.mark.spec("STO-41")
    async def test_a_page_without_payload_comes_back(self, events: EventStore) -> None:
        made = wire.EventPage(header=wire.PageHeader(sequence=0)).SerializeToString()
        await events.append(cover_of(), 0, [made])

        assert (await events.load(cover_of())).data == book_of(cover_of(), [made])

    @pytest.mark.spec("STO-41")
    async def test_an_offloaded_payloads_reference_comes_back(self, events: EventStore) -> None:
        reference = wire.PayloadReference(uri="file:///blobs/ab.bin", content_hash=b"\x01" * 32)
        made = wire.EventPage(
            header=wire.PageHeader(sequence=0), external=reference, committed=True
        ).SerializeToString()
        await events.append(cover_of(), 0, [made])

        assert (await events.load(cover_of())).data == book_of(cover_of(), [made])

    @pytest.mark.spec("WIRE-8")
    async def test_a_page_without_flag_and_cascade_is_ordinary(self, events: EventStore) -> None:
        message = wire.EventPage.FromString(page(0))
        message.ClearField("committed")
        await events.append(cover_of(), 0, [message.SerializeToString()])

        assert await events.pending(cover_of()) == []
        assert await events.log_head() == 1
        assert (await events.load(cover_of())).is_plain

    @pytest.mark.spec("WIRE-8", "CAS-5")
    async def test_a_book_with_a_pending_page_is_not_plain(self, events: EventStore) -> None:
        await given_pages(events, cover_of(), 2)
        await given_pending(events, cover_of(), "casc-1")

        assert not (await events.load(cover_of())).is_plain
        assert not (await events.load_latest(cover_of())).is_plain

    @pytest.mark.spec("CAS-5")
    async def test_a_book_beside_the_pending_page_is_plain(self, events: EventStore) -> None:
        await given_pages(events, cover_of(), 2)
        await given_pending(events, cover_of(), "casc-1")

        assert (await events.load(cover_of(), stop=2)).is_plain

    @pytest.mark.spec("CAS-5")
    @pytest.mark.parametrize(
        ("type_url", "is_plain"),
        [
            (FRAMEWORK_URL + "NoOp", False),
            ("type.googleapis.com/angzarr.Confirmation", False),
            ("type.googleapis.com/angzarr.examples.Moved", True),
            ("type.googleapis.com/angzarrs.Moved", True),
            ("type.googleapis.com/test.angzarr.Moved", True),
        ],
    )
    async def test_a_framework_event_makes_a_book_not_plain(
        self, events: EventStore, type_url: str, is_plain: bool
    ) -> None:
        await events.append(cover_of(), 0, [page(0, type_url=type_url)])

        assert (await events.load(cover_of())).is_plain == is_plain

    @pytest.mark.spec("STO-15")
    async def test_created_at_keeps_its_nanoseconds(self, events: EventStore) -> None:
        await events.append(cover_of(), 0, [page(0, created_at_ns=START_NS + 123_456_789)])

        [stored] = parse_book((await events.load(cover_of())).data).pages

        assert stored.created_at == timestamp(START_NS + 123_456_789)

    @pytest.mark.spec("STO-41")
    async def test_until_a_time_gives_the_pages_up_to_it(self, events: EventStore) -> None:
        made = [page(n, created_at_ns=START_NS + n * NS_PER_S) for n in range(5)]
        await events.append(cover_of(), 0, made)

        book = await events.load_until(cover_of(), START_NS + 2 * NS_PER_S)

        assert book.data == book_of(cover_of(), made[:3])
        assert book.next_sequence == 5

    @pytest.mark.spec("STO-41")
    async def test_until_after_the_last_gives_all(self, events: EventStore) -> None:
        made = await given_pages(events, cover_of(), 5)

        book = await events.load_until(cover_of(), START_NS + 1)

        assert book == Book(book_of(cover_of(), made), next_sequence=5, is_plain=True)

    @pytest.mark.spec("STO-41")
    async def test_until_before_the_first_gives_none(self, events: EventStore) -> None:
        await given_pages(events, cover_of(), 5)

        book = await events.load_until(cover_of(), START_NS - 1)

        assert book == Book(book_of(cover_of(), []), next_sequence=5, is_plain=True)

    @pytest.mark.spec("STO-15", "STO-41")
    async def test_until_is_exact_to_the_nanosecond(self, events: EventStore) -> None:
        made = [page(0, created_at_ns=START_NS), page(1, created_at_ns=START_NS + 1)]
        await events.append(cover_of(), 0, made)

        assert sequences_of((await events.load_until(cover_of(), START_NS)).data) == [0]
        assert sequences_of((await events.load_until(cover_of(), START_NS + 1)).data) == [0, 1]

    @pytest.mark.spec("STO-15", "STO-41")
    async def test_mixed_precision_is_compared_as_instants(self, events: EventStore) -> None:
        times = [NS_PER_S * 9, NS_PER_S * 10 - 1, NS_PER_S * 10, NS_PER_S * 10 + 5, NS_PER_S * 100]
        made = [page(n, created_at_ns=time_ns) for n, time_ns in enumerate(times)]
        await events.append(cover_of(), 0, made)

        assert sequences_of((await events.load_until(cover_of(), NS_PER_S * 10)).data) == [0, 1, 2]

    @pytest.mark.spec("STO-15")
    async def test_until_judges_each_page_by_its_own_time(self, events: EventStore) -> None:
        made = [page(n, created_at_ns=START_NS + at) for n, at in enumerate((5, 9, 1))]
        await events.append(cover_of(), 0, made)

        book = await events.load_until(cover_of(), START_NS + 5)

        assert book.data == book_of(cover_of(), [made[0], made[2]])

    @pytest.mark.spec("STO-15")
    async def test_times_before_1970_are_instants_too(self, events: EventStore) -> None:
        made = [page(n, created_at_ns=at) for n, at in enumerate((-1, -NS_PER_S - 1, 0))]
        await events.append(cover_of(), 0, made)

        assert sequences_of((await events.load_until(cover_of(), -2)).data) == [1]
        assert sequences_of((await events.load_until(cover_of(), -1)).data) == [0, 1]

    @pytest.mark.spec("STO-15")
    async def test_a_page_without_time_is_as_old_as_can_be(self, events: EventStore) -> None:
        await events.append(cover_of(), 0, [page(0, created_at_ns=None)])

        assert sequences_of((await events.load_until(cover_of(), 0)).data) == [0]

    @pytest.mark.spec("STO-41", "STO-16")
    @pytest.mark.parametrize("count", [10_000, 100_000])
    async def test_a_long_stream_loads_whole(self, events: EventStore, count: int) -> None:
        made = await given_pages(events, cover_of(), count)

        book = await events.load(cover_of())

        assert book.data == book_of(cover_of(), made)
        assert book.next_sequence == count

    @pytest.mark.spec("STO-41", "STO-16")
    async def test_a_range_deep_in_a_long_stream_is_found(self, events: EventStore) -> None:
        made = await given_pages(events, cover_of(), 10_000)

        book = await events.load(cover_of(), start=9_500, stop=9_503)

        assert book.data == book_of(cover_of(), made[9_500:9_503])

    @pytest.mark.spec("STO-41")
    async def test_the_next_sequence_of_nothing_is_zero(self, events: EventStore) -> None:
        assert await events.next_sequence(cover_of()) == 0

    @pytest.mark.spec("STO-41")
    async def test_the_next_sequence_follows_the_last_page(self, events: EventStore) -> None:
        await given_pages(events, cover_of(), 4)

        assert await events.next_sequence(cover_of()) == 4

    @pytest.mark.spec("STO-41")
    async def test_the_next_sequence_grows_with_each_append(self, events: EventStore) -> None:
        seen: list[int] = []
        for count in (1, 3, 2):
            await given_pages(events, cover_of(), count)
            seen.append(await events.next_sequence(cover_of()))

        assert seen == [1, 4, 6]

    @pytest.mark.spec("STO-41")
    async def test_roots_of_nothing_are_none(self, events: EventStore) -> None:
        assert await events.roots("account") == []

    @pytest.mark.spec("STO-41")
    async def test_a_root_is_listed_once(self, events: EventStore) -> None:
        await given_pages(events, cover_of(), 3)
        await given_pages(events, cover_of(), 3)

        assert await events.roots("account") == [cover_of().root]

    @pytest.mark.spec("STO-41")
    async def test_roots_ascend(self, events: EventStore) -> None:
        roots = [b"\xff" * 16, bytes(16), b"\x80" + bytes(15), bytes(15) + b"\x01"]
        for root in roots:
            await given_pages(events, cover_of(root), 1)

        assert await events.roots("account") == sorted(roots)

    @pytest.mark.spec("STO-41")
    async def test_roots_are_those_of_exactly_the_edition(self, events: EventStore) -> None:
        await given_pages(events, cover_of("alice"), 1)
        await given_pages(events, cover_of("bob", edition="whatif"), 1)

        assert await events.roots("account") == [cover_of("alice").root]
        assert await events.roots("account", "whatif") == [cover_of("bob").root]

    @pytest.mark.spec("STO-41")
    async def test_roots_are_those_of_exactly_the_domain(self, events: EventStore) -> None:
        await given_pages(events, cover_of("alice", domain="a"), 1)
        await given_pages(events, cover_of("bob", domain="ab"), 1)

        assert await events.roots("a") == [cover_of("alice").root]

    @pytest.mark.spec("STO-41")
    async def test_domains_of_nothing_are_none(self, events: EventStore) -> None:
        assert await events.domains() == []

    @pytest.mark.spec("STO-41")
    async def test_domains_are_distinct_and_ascend(self, events: EventStore) -> None:
        for domain in ("order", "a_b", "account", "_angzarr", "a-b", "order"):
            await given_pages(events, cover_of(domain=domain), 1)

        assert await events.domains() == ["_angzarr", "a-b", "a_b", "account", "order"]

    @pytest.mark.spec("STO-41")
    async def test_a_domain_with_only_a_branch_is_listed(self, events: EventStore) -> None:
        await given_pages(events, cover_of(edition="whatif"), 1)

        assert await events.domains() == ["account"]

    @pytest.mark.spec("STO-41")
    async def test_editions_are_distinct_and_ascend(self, events: EventStore) -> None:
        for edition in ("whatif", "", "a", "whatif"):
            await given_pages(events, cover_of(edition=edition), 1)

        assert await events.editions("account") == ["a", "angzarr", "whatif"]

    @pytest.mark.spec("STO-41")
    async def test_editions_of_an_unknown_domain_are_none(self, events: EventStore) -> None:
        await given_pages(events, cover_of(), 1)

        assert await events.editions("accoun") == []

    @pytest.mark.spec("STO-41")
    async def test_roots_are_isolated(self, events: EventStore) -> None:
        alice = await given_pages(events, cover_of("alice"), 2)
        await given_pages(events, cover_of("bob"), 5)

        assert (await events.load(cover_of("alice"))).data == book_of(cover_of("alice"), alice)

    @pytest.mark.spec("STO-41")
    async def test_domains_are_isolated(self, events: EventStore) -> None:
        made = await given_pages(events, cover_of(domain="a"), 2)
        await given_pages(events, cover_of(domain="ab"), 5)

        assert (await events.load(cover_of(domain="a"))).data == book_of(cover_of(domain="a"), made)

    @pytest.mark.spec("STO-41")
    async def test_neighbouring_roots_do_not_run_into_each_other(self, events: EventStore) -> None:
        covers = [cover_of(bytes(15) + bytes([n])) for n in (0, 1, 2, 255)]
        for cover in covers:
            await given_pages(events, cover, 3)

        for cover in covers:
            assert (await events.load(cover)).data == book_of(cover, pages(0, 3))

    @pytest.mark.spec("STO-1", "WIRE-7")
    @pytest.mark.parametrize("written", MAIN_SPELLINGS)
    @pytest.mark.parametrize("read", MAIN_SPELLINGS)
    async def test_each_spelling_of_main_reaches_main(
        self, events: EventStore, written: str, read: str
    ) -> None:
        made = await given_pages(events, cover_of(edition=written, correlation_id="corr-1"), 2)
        cover = cover_of(edition=read)

        assert (await events.load(cover)).data == book_of(cover_of(), made)
        assert await events.next_sequence(cover) == 2
        assert await events.roots("account", read) == [cover.root]
        assert len(await events.by_correlation("corr-1", edition=read)) == 1
        assert await events.editions("account") == ["angzarr"]

    @pytest.mark.spec("STO-41")
    async def test_latest_without_a_snapshot_is_a_load(self, events: EventStore) -> None:
        await given_pages(events, cover_of(), 5)

        assert await events.load_latest(cover_of()) == await events.load(cover_of())

    @pytest.mark.spec("STO-41", "SNAP-10")
    async def test_latest_is_snapshot_plus_tail(self, stores: Stores) -> None:
        made = await given_pages(stores.events, cover_of(), 5)
        await stores.snapshots.put(cover_of(), snapshot(2))

        book = await stores.events.load_latest(cover_of())

        expected = book_of(cover_of(), made[3:], snapshot=snapshot(2))
        assert book == Book(expected, next_sequence=5, is_plain=True)

    @pytest.mark.spec("STO-41", "WIRE-9")
    async def test_latest_at_the_head_is_the_snapshot_alone(self, stores: Stores) -> None:
        await given_pages(stores.events, cover_of(), 5)
        await stores.snapshots.put(cover_of(), snapshot(4))

        book = await stores.events.load_latest(cover_of())

        assert book.data == book_of(cover_of(), [], snapshot=snapshot(4), next_sequence=5)
        assert book.next_sequence == 5

    @pytest.mark.spec("STO-41")
    async def test_latest_uses_the_newest_snapshot(self, stores: Stores) -> None:
        made = await given_pages(stores.events, cover_of(), 5)
        for sequence in (1, 3):
            taken = snapshot(sequence, retention=wire.RETENTION_PERSIST)
            await stores.snapshots.put(cover_of(), taken)

        book = await stores.events.load_latest(cover_of())

        taken = snapshot(3, retention=wire.RETENTION_PERSIST)
        assert book.data == book_of(cover_of(), made[4:], snapshot=taken)

    @pytest.mark.spec("STO-41")
    async def test_a_range_load_carries_no_snapshot(self, stores: Stores) -> None:
        made = await given_pages(stores.events, cover_of(), 5)
        await stores.snapshots.put(cover_of(), snapshot(2))

        assert (await stores.events.load(cover_of())).data == book_of(cover_of(), made)

    @pytest.mark.spec("STO-41", "SNAP-10")
    async def test_a_snapshot_beyond_the_head_is_no_base(self, stores: Stores) -> None:
        made = await given_pages(stores.events, cover_of(), 3)
        await stores.snapshots.put(cover_of(), snapshot(7))

        assert (await stores.events.load_latest(cover_of())).data == book_of(cover_of(), made)

    @pytest.mark.spec("STO-41")
    async def test_latest_hides_no_pages_appended_after(self, stores: Stores) -> None:
        await given_pages(stores.events, cover_of(), 3)
        await stores.snapshots.put(cover_of(), snapshot(2))
        await stores.events.load_latest(cover_of())

        tail = await given_pages(stores.events, cover_of(), 2)

        book = await stores.events.load_latest(cover_of())
        assert book.data == book_of(cover_of(), tail, snapshot=snapshot(2))
