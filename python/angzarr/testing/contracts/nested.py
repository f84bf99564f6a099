"""Branches of branches: what they read, where they start, what they inherit (EDN-21, EDN-22)."""

from __future__ import annotations

import asyncio

import pytest

from angzarr.cover import Cover
from angzarr.errors import (
    DivergenceConflict,
    InvalidDivergence,
    SequenceConflict,
)
from angzarr.ports.event_store import Appended, EventStore
from angzarr.ports.stores import Stores
from angzarr.testing.clock import START_NS
from angzarr.testing.contracts.base import (
    Opener,
    attempt,
    given_pages,
    whole_log,
)
from angzarr.testing.contracts.nested_bases import NestedBaseContract
from angzarr.testing.contracts.nested_levels import (
    LEVELS,
    MAIN,
    expected_at,
    given_levels,
    own_page,
)
from angzarr.testing.pages import book_of, cover_of, page, pages, provenance

A, B, C, D = (MAIN.on(name) for name in "abcd")


async def given_example(stores: Stores) -> dict[str, list[bytes]]:
    """EDN-21's example, up to `a` writing 7; own pages by edition."""
    events, editions = stores.events, stores.editions
    own = {
        "main": pages(0, 10),
        "a": [page(n, value=b"a %d" % n) for n in (4, 5, 6, 7)],
        "b": [page(n, value=b"b %d" % n) for n in (6, 7)],
    }
    await editions.declare("b", parent="a")
    await editions.declare("c", parent="b")
    await editions.declare("d", parent="a")
    await events.append(MAIN, 0, own["main"])
    await events.append(A, 4, own["a"][:3], divergence=4)
    await events.append(B, 6, own["b"], divergence=6)
    await events.append(A, 7, own["a"][3:])
    return own


class NestedEditionContract(NestedBaseContract):
    """Claims about branches of branches."""

    @pytest.mark.spec("EDN-21")
    async def test_a_branch_of_a_branch_is_the_specs_example(self, stores: Stores) -> None:
        own = await given_example(stores)
        events: EventStore = stores.events

        of_a = [*own["main"][:4], *own["a"]]
        of_b = [*own["main"][:4], *own["a"][:2], *own["b"]]
        assert (await events.load(A)).data == book_of(A, of_a)
        assert (await events.load(B)).data == book_of(B, of_b)
        of_c = await events.load(C, divergence=3)
        assert (of_c.data, of_c.next_sequence) == (book_of(C, own["main"][:3]), 3)
        of_d = await events.load(D)
        assert (of_d.data, of_d.next_sequence) == (book_of(D, of_a), 8)

    @pytest.mark.spec("EDN-21", "EDN-5")
    async def test_the_examples_branch_below_the_branch_point_goes_on_from_there(
        self, stores: Stores
    ) -> None:
        own = await given_example(stores)

        await stores.events.append(C, 3, pages(3, 1), divergence=3)

        assert (await stores.events.load(C)).data == book_of(C, [*own["main"][:3], *pages(3, 1)])
        assert await stores.events.divergence(C) == 3

    @pytest.mark.spec("EDN-3", "EDN-21")
    @pytest.mark.parametrize("level", LEVELS)
    @pytest.mark.parametrize("is_written", [True, False])
    async def test_a_load_is_composite_on_each_level(
        self, stores: Stores, level: int, is_written: bool
    ) -> None:
        cover, expected = await given_levels(stores, level, is_written=is_written)

        book = await stores.events.load(cover)

        assert book.data == book_of(cover, expected)
        assert (book.next_sequence, book.is_plain) == (len(expected), True)

    @pytest.mark.spec("EDN-3", "EDN-21")
    @pytest.mark.parametrize("level", LEVELS)
    @pytest.mark.parametrize("is_written", [True, False])
    async def test_every_range_is_composite_on_each_level(
        self, stores: Stores, level: int, is_written: bool
    ) -> None:
        cover, expected = await given_levels(stores, level, is_written=is_written)
        for start in range(len(expected) + 2):
            for stop in (*range(len(expected) + 2), None):
                book = await stores.events.load(cover, start=start, stop=stop)

                assert book.data == book_of(cover, expected[start:stop]), (start, stop)
                assert book.next_sequence == len(expected)

    @pytest.mark.spec("EDN-3", "EDN-21")
    @pytest.mark.parametrize("level", LEVELS)
    @pytest.mark.parametrize("is_written", [True, False])
    async def test_until_a_time_is_composite_on_each_level(
        self, stores: Stores, level: int, is_written: bool
    ) -> None:
        cover, expected = await given_levels(stores, level, is_written=is_written)
        for age in range(len(expected) + 1):
            book = await stores.events.load_until(cover, START_NS + age)

            assert book.data == book_of(cover, expected[: age + 1])
            assert book.next_sequence == len(expected)

    @pytest.mark.spec("EDN-3", "EDN-21")
    @pytest.mark.parametrize("level", LEVELS)
    @pytest.mark.parametrize("is_written", [True, False])
    async def test_latest_and_next_are_composite_on_each_level(
        self, stores: Stores, level: int, is_written: bool
    ) -> None:
        cover, expected = await given_levels(stores, level, is_written=is_written)

        book = await stores.events.load_latest(cover)

        assert (book.data, book.next_sequence) == (book_of(cover, expected), len(expected))
        assert await stores.events.next_sequence(cover) == len(expected)

    @pytest.mark.spec("EDN-5", "EDN-7", "EDN-21")
    @pytest.mark.parametrize("level", LEVELS)
    async def test_every_divergence_up_to_the_parents_end_is_read(
        self, stores: Stores, level: int
    ) -> None:
        cover, expected = await given_levels(stores, level, is_written=False)
        events = stores.events
        for divergence in range(len(expected) + 1):
            book = await events.load(cover, divergence=divergence)
            latest = await events.load_latest(cover, divergence=divergence)

            assert book.data == latest.data == book_of(cover, expected[:divergence])
            assert await events.next_sequence(cover, divergence=divergence) == divergence

    @pytest.mark.spec("EDN-7", "EDN-21")
    @pytest.mark.parametrize("level", LEVELS)
    async def test_a_divergence_beyond_the_parents_end_is_refused(
        self, stores: Stores, level: int
    ) -> None:
        cover, expected = await given_levels(stores, level, is_written=False)
        end = len(expected)

        for call in (
            stores.events.load(cover, divergence=end + 1),
            stores.events.load_until(cover, START_NS, divergence=end + 1),
            stores.events.append(cover, end + 1, pages(end + 1, 1), divergence=end + 1),
        ):
            with pytest.raises(InvalidDivergence) as caught:
                await call
            assert (caught.value.requested, caught.value.next_sequence) == (end + 1, end)

    @pytest.mark.spec("EDN-8", "EDN-21")
    @pytest.mark.parametrize("level", LEVELS)
    async def test_a_pinned_branch_keeps_to_its_divergence(
        self, stores: Stores, level: int
    ) -> None:
        cover, expected = await given_levels(stores, level, is_written=True)
        pinned = await stores.events.divergence(cover)
        assert pinned is not None

        same = await stores.events.load(cover, divergence=pinned)

        assert same.data == book_of(cover, expected)
        for other in (pinned - 1, pinned + 1, 99):
            with pytest.raises(DivergenceConflict) as caught:
                await stores.events.load(cover, divergence=other)
            assert (caught.value.pinned, caught.value.requested) == (pinned, other)

    @pytest.mark.spec("EDN-4", "EDN-21")
    @pytest.mark.parametrize("level", LEVELS)
    async def test_the_first_write_pins_the_parents_end(self, stores: Stores, level: int) -> None:
        cover, expected = await given_levels(stores, level, is_written=False)
        end = len(expected)
        assert await stores.events.divergence(cover) is None

        appended = await stores.events.append(cover, end, [own_page(level, end)])

        assert appended == Appended(end, end)
        assert await stores.events.divergence(cover) == end
        after = await stores.events.load(cover)
        assert after.data == book_of(cover, [*expected, own_page(level, end)])

    @pytest.mark.spec("EDN-4", "EDN-21")
    async def test_an_unwritten_branch_follows_all_above_it(self, stores: Stores) -> None:
        events = stores.events
        leaf = MAIN.on("l3")
        await stores.editions.declare("l2", parent="l1")
        await stores.editions.declare("l3", parent="l2")
        made = await given_pages(events, MAIN, 3)
        assert (await events.load(leaf)).data == book_of(leaf, made)

        await events.append(MAIN.on("l1"), 2, [own_page(1, 2)], divergence=2)
        assert (await events.load(leaf)).data == book_of(leaf, [*made[:2], own_page(1, 2)])

        await events.append(MAIN.on("l2"), 1, [own_page(2, 1)], divergence=1)
        assert (await events.load(leaf)).data == book_of(leaf, [made[0], own_page(2, 1)])
        await given_pages(events, MAIN, 1)
        await events.append(MAIN.on("l2"), 2, [own_page(2, 2)])
        following = [made[0], own_page(2, 1), own_page(2, 2)]
        assert (await events.load(leaf)).data == book_of(leaf, following)

    @pytest.mark.spec("EDN-21")
    @pytest.mark.parametrize("level", [2, 3])
    async def test_what_parents_write_later_changes_nothing(
        self, stores: Stores, level: int
    ) -> None:
        cover, expected = await given_levels(stores, level, is_written=True)

        for above in range(level):
            await given_pages(stores.events, MAIN.on(f"l{above}" if above else ""), 3)

        assert (await stores.events.load(cover)).data == book_of(cover, expected)

    @pytest.mark.spec("EDN-21")
    async def test_a_parents_later_first_write_changes_nothing(self, stores: Stores) -> None:
        events, kid = stores.events, MAIN.on("kid")
        await stores.editions.declare("kid", parent="mum")
        made = await given_pages(events, MAIN, 6)
        await events.append(kid, 5, [own_page(2, 5)], divergence=5)

        await events.append(MAIN.on("mum"), 2, [own_page(1, 2)], divergence=2)

        assert (await events.load(kid)).data == book_of(kid, [*made[:5], own_page(2, 5)])
        assert await events.divergence(kid) == 5

    @pytest.mark.spec("EDN-21", "EDN-20")
    async def test_a_parent_declared_later_changes_nothing_that_is_pinned(
        self, stores: Stores
    ) -> None:
        events, kid = stores.events, MAIN.on("kid")
        made = await given_pages(events, MAIN, 4)
        await stores.editions.declare("kid", parent="mum")
        await events.append(kid, 4, [own_page(2, 4)])
        await events.append(MAIN.on("gran"), 1, [own_page(0, 1)], divergence=1)

        await stores.editions.declare("mum", parent="gran")

        assert (await events.load(kid)).data == book_of(kid, [*made, own_page(2, 4)])
        other = cover_of(edition="mum")
        assert (await events.load(other)).data == book_of(other, [made[0], own_page(0, 1)])

    @pytest.mark.spec("EDN-21")
    async def test_a_branch_at_its_parents_first_page_stands_on_what_is_below(
        self, stores: Stores
    ) -> None:
        events, kid = stores.events, MAIN.on("kid")
        await stores.editions.declare("kid", parent="mum")
        made = await given_pages(events, MAIN, 4)
        await events.append(MAIN.on("mum"), 2, [own_page(1, 2)], divergence=2)

        await events.append(kid, 2, [own_page(2, 2)], divergence=2)

        assert (await events.load(kid)).data == book_of(kid, [*made[:2], own_page(2, 2)])

    @pytest.mark.spec("EDN-5", "EDN-21")
    async def test_a_branch_at_0_inherits_nothing(self, stores: Stores) -> None:
        events, kid = stores.events, MAIN.on("kid")
        await stores.editions.declare("kid", parent="mum")
        await given_pages(events, MAIN, 4)
        await events.append(MAIN.on("mum"), 2, [own_page(1, 2)], divergence=2)

        await events.append(kid, 0, pages(0, 2), divergence=0)

        assert (await events.load(kid)).data == book_of(kid, pages(0, 2))

    @pytest.mark.spec("EDN-21")
    async def test_parents_without_the_stream_are_passed_through(self, stores: Stores) -> None:
        cover, _ = await given_levels(stores, 3, is_written=True)
        bob = cover_of("bob", edition=cover.edition)
        made = await given_pages(stores.events, cover_of("bob"), 3)

        await stores.events.append(bob, 3, [own_page(3, 3)])

        assert (await stores.events.load(bob)).data == book_of(bob, [*made, own_page(3, 3)])

    @pytest.mark.spec("EDN-9", "EDN-21")
    @pytest.mark.parametrize("divergence", [None, 5])
    async def test_of_many_first_writers_one_pins(
        self, stores: Stores, divergence: int | None
    ) -> None:
        await stores.editions.declare("l2", parent="l1")
        await given_pages(stores.events, MAIN, 3)
        await given_pages(stores.events, MAIN.on("l1"), 2)
        kid = MAIN.on("l2")
        tries = [
            stores.events.append(kid, 5, [page(5, value=b"%d" % n)], divergence=divergence)
            for n in range(32)
        ]

        answers = await asyncio.gather(*map(attempt, tries))

        refused = [answer for answer in answers if isinstance(answer, SequenceConflict)]
        assert answers.count(Appended(5, 5)) == 1
        assert [error.actual for error in refused] == [6] * 31

    @pytest.mark.spec("EDN-4", "EDN-9", "EDN-21")
    async def test_first_writes_race_with_the_parents_own(self, stores: Stores) -> None:
        """Whoever comes first, the branch has what its caller saw."""
        events = stores.events
        await stores.editions.declare("kid", parent="mum")
        covers = [cover_of(f"root-{n}") for n in range(40)]
        for cover in covers:
            await given_pages(events, cover, 4)

        calls = [
            call
            for cover in covers
            for call in (
                events.append(cover.on("mum"), 2, [own_page(1, 2)], divergence=2),
                events.append(cover.on("kid"), 4, [own_page(2, 4)]),
            )
        ]
        answers = await asyncio.gather(*map(attempt, calls))

        assert set(answers[::2]) == {Appended(2, 2)}
        for cover, answer in zip(covers, answers[1::2], strict=True):
            kid = cover.on("kid")
            found = (await events.load(kid)).data
            if isinstance(answer, Appended):
                assert found == book_of(kid, [*pages(0, 4), own_page(2, 4)])
            else:
                assert isinstance(answer, SequenceConflict)
                assert found == book_of(kid, [*pages(0, 2), own_page(1, 2)])

    @pytest.mark.spec("EDN-4", "EDN-21", "STO-4")
    async def test_no_reader_sees_on_a_branch_what_its_parent_wrote_after_the_pin(
        self, stores: Stores
    ) -> None:
        events = stores.events
        await stores.editions.declare("kid", parent="mum")
        covers = [cover_of(f"root-{n}") for n in range(20)]
        seen: list[bytes] = []

        async def write(cover: Cover) -> None:
            await given_pages(events, cover.on("mum"), 2)
            await events.append(cover.on("kid"), 2, [own_page(2, 2)])
            await events.append(cover.on("mum"), 2, [page(2, value=b"late")])

        writers = [asyncio.create_task(write(cover)) for cover in covers]
        while not all(writer.done() for writer in writers):
            books = await asyncio.gather(
                *(events.load(cover.on("kid")) for cover in covers),
                *(events.load_latest(cover.on("kid")) for cover in covers),
            )
            seen += [book.data for book in books]
            await asyncio.sleep(0)
        await asyncio.gather(*writers)

        assert not [data for data in seen if b"late" in data]

    @pytest.mark.spec("EDN-10", "EDN-21")
    async def test_a_nested_append_changes_no_other_edition(self, stores: Stores) -> None:
        cover, _ = await given_levels(stores, 3, is_written=True)

        await given_pages(stores.events, cover, 5)

        for level in range(3):
            other = MAIN.on(f"l{level}" if level else "")
            assert (await stores.events.load(other)).data == book_of(other, expected_at(level))

    @pytest.mark.spec("EDN-3", "EDN-21", "STO-12")
    async def test_keys_belong_to_the_own_stream(self, stores: Stores) -> None:
        events, mum, kid = stores.events, MAIN.on("mum"), MAIN.on("kid")
        await stores.editions.declare("kid", parent="mum")
        await events.append(mum, 0, pages(0, 1), external_id="x")
        await events.append(mum, 1, pages(1, 1), provenance=provenance())

        assert await events.find_by_external_id(kid, "x") is None
        assert await events.find_by_provenance(kid, provenance()) is None
        again = await events.append(kid, 2, pages(2, 1), provenance=provenance())
        assert again == Appended(2, 2)

    @pytest.mark.spec("EDN-10", "EDN-21", "STO-42")
    async def test_correlated_pages_are_the_own_ones(self, stores: Stores) -> None:
        cover, expected = await given_levels(stores, 3, is_written=True)
        asked = Cover(cover.domain, cover.root, cover.edition, "corr-1")
        await given_pages(stores.events, asked, 1)

        [book] = await stores.events.by_correlation("corr-1")

        end = len(expected)
        assert book.data == book_of(asked, pages(end, 1))
        assert book.next_sequence == end + 1

    @pytest.mark.spec("STO-14", "EDN-21")
    async def test_the_log_has_the_own_pages_only(self, stores: Stores) -> None:
        await given_levels(stores, 3, is_written=True)
        position = await stores.events.log_head()

        await stores.events.append(MAIN.on("l3"), 10, [own_page(3, 10)])

        [entry] = await whole_log(stores.events, position)
        assert entry.book == book_of(MAIN.on("l3"), [own_page(3, 10)])

    @pytest.mark.spec("EDN-21", "STO-2")
    @pytest.mark.parametrize("level", LEVELS)
    @pytest.mark.parametrize("is_written", [True, False])
    async def test_reopening_keeps_what_is_inherited(
        self, opener: Opener, level: int, is_written: bool
    ) -> None:
        stores = await opener()
        cover, expected = await given_levels(stores, level, is_written=is_written)
        pinned = await stores.events.divergence(cover)

        stores = await opener()

        assert (await stores.events.load(cover)).data == book_of(cover, expected)
        assert await stores.events.divergence(cover) == pinned
        end = len(expected)
        assert await stores.events.append(cover, end, [own_page(9, end)]) == Appended(end, end)
        after = await stores.events.load(cover)
        assert after.data == book_of(cover, [*expected, own_page(9, end)])
