"""Declared editions: their records and what they are branches of (EDN-20, EDN-21)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from angzarr.cover import MAIN
from angzarr.errors import AngzarrError, EditionConflict, InvalidInput, MainProtected, StoreClosed
from angzarr.ports.edition_store import EDITION_DEPTH_MAX, EditionRecord, EditionStore
from angzarr.ports.stores import Stores
from angzarr.testing.clock import START_NS, ManualClock
from angzarr.testing.contracts.base import Opener, given_pages
from angzarr.testing.contracts.edition_limits import EditionLimitContract
from angzarr.testing.contracts.edition_uses import EditionUseContract
from angzarr.testing.pages import cover_of

CALLS: dict[str, Callable[[Stores], Awaitable[object]]] = {
    "editions.declare": lambda s: s.editions.declare("kid"),
    "editions.get": lambda s: s.editions.get("kid"),
    "editions.list": lambda s: s.editions.list(),
    "editions.forget": lambda s: s.editions.forget("kid"),
    "editions.usage": lambda s: s.editions.usage("kid"),
    "editions.branches": lambda s: s.editions.branches("account", "kid"),
}


async def given_chain(editions: EditionStore, count: int) -> None:
    """Editions e1 on main, e2 on e1, and so on; e1 without a record."""
    for level in range(2, count + 1):
        await editions.declare(f"e{level}", parent=f"e{level - 1}")


class DeclaredEditionContract(EditionLimitContract, EditionUseContract):
    """Claims about the edition store, and about appends to declared editions."""

    @pytest.fixture
    def editions(self, stores: Stores) -> EditionStore:
        """The edition store of `stores`."""
        return stores.editions

    @pytest.mark.spec("STO-5")
    @pytest.mark.parametrize("name", sorted(CALLS))
    async def test_editions_are_refused_after_close(self, stores: Stores, name: str) -> None:
        await stores.close()

        with pytest.raises(StoreClosed):
            await CALLS[name](stores)

    @pytest.mark.spec("EDN-20", "STO-29")
    async def test_a_declaration_gives_the_record(self, editions: EditionStore) -> None:
        record = await editions.declare(
            "kid", parent="mum", expires_at_ns=START_NS + 5, max_pages=7, max_bytes=900
        )

        assert record == EditionRecord("kid", "mum", START_NS, START_NS + 5, 7, 900)

    @pytest.mark.spec("EDN-20", "STO-29")
    async def test_a_plain_declaration_is_a_branch_of_main_for_ever(
        self, editions: EditionStore
    ) -> None:
        assert await editions.declare("kid") == EditionRecord("kid", MAIN, START_NS, 0, 0, 0)

    @pytest.mark.spec("EDN-20", "STO-29")
    async def test_a_declared_edition_is_got_by_name(self, editions: EditionStore) -> None:
        record = await editions.declare("kid", max_pages=3)

        assert await editions.get("kid") == record

    @pytest.mark.spec("STO-29")
    @pytest.mark.parametrize("name", ["", MAIN, "mum", "Kid", "kid "])
    async def test_what_was_not_declared_has_no_record(
        self, editions: EditionStore, name: str
    ) -> None:
        await editions.declare("kid", parent="mum")

        assert await editions.get(name) is None

    @pytest.mark.spec("STO-29")
    async def test_records_are_listed_by_name(self, editions: EditionStore) -> None:
        names = ["m", "b", "é", "z", "a", "ab", "B"]
        made = [await editions.declare(name) for name in names]

        assert await editions.list() == sorted(made, key=lambda record: record.name)

    @pytest.mark.spec("STO-29")
    async def test_without_declarations_the_list_is_empty(self, stores: Stores) -> None:
        await given_pages(stores.events, cover_of(edition="kid"), 1)

        assert await stores.editions.list() == []

    @pytest.mark.spec("STO-1", "EDN-20")
    @pytest.mark.parametrize("spelling", ["", MAIN])
    async def test_any_spelling_of_main_as_parent_is_main(
        self, editions: EditionStore, spelling: str
    ) -> None:
        assert (await editions.declare("kid", parent=spelling)).parent == MAIN

    @pytest.mark.spec("EDN-20")
    async def test_declaring_again_changes_nothing(
        self, editions: EditionStore, clock: ManualClock
    ) -> None:
        first = await editions.declare("kid", parent="mum", max_pages=7)
        clock.advance(9)

        assert await editions.declare("kid", parent="mum", max_pages=7) == first
        assert await editions.list() == [first]

    @pytest.mark.spec("EDN-20")
    async def test_declaring_again_changes_the_limits(
        self, editions: EditionStore, clock: ManualClock
    ) -> None:
        await editions.declare("kid", expires_at_ns=START_NS + 9, max_pages=7, max_bytes=800)
        clock.advance(9)

        await editions.declare("kid", max_bytes=5)

        assert await editions.get("kid") == EditionRecord("kid", MAIN, START_NS, 0, 0, 5)

    @pytest.mark.spec("EDN-20", "EDN-15")
    @pytest.mark.parametrize("spelling", ["", MAIN])
    async def test_main_is_not_declared(self, editions: EditionStore, spelling: str) -> None:
        with pytest.raises(MainProtected):
            await editions.declare(spelling, max_pages=-1)

        assert await editions.list() == []

    @pytest.mark.spec("EDN-20")
    @pytest.mark.parametrize("field", ["expires_at_ns", "max_pages", "max_bytes"])
    @pytest.mark.parametrize("value", [-1, 2**63])
    async def test_numbers_out_of_range_are_refused(
        self, editions: EditionStore, field: str, value: int
    ) -> None:
        limits: dict[str, Any] = {field: value}

        with pytest.raises(InvalidInput) as caught:
            await editions.declare("kid", **limits)

        assert (caught.value.field, caught.value.value) == (field, str(value))
        assert await editions.get("kid") is None

    @pytest.mark.spec("EDN-20")
    async def test_the_largest_numbers_are_kept(self, editions: EditionStore) -> None:
        most = 2**63 - 1

        record = await editions.declare("kid", expires_at_ns=most, max_pages=most, max_bytes=most)

        assert record == EditionRecord("kid", MAIN, START_NS, most, most, most)
        assert await editions.get("kid") == record

    @pytest.mark.spec("EDN-20")
    @pytest.mark.parametrize("other", ["dad", MAIN, ""])
    async def test_a_parent_never_changes(self, editions: EditionStore, other: str) -> None:
        known = await editions.declare("kid", parent="mum")

        with pytest.raises(EditionConflict) as caught:
            await editions.declare("kid", parent=other, max_pages=5)

        error = caught.value
        assert (error.edition, error.parent, error.requested) == ("kid", "mum", other or MAIN)
        assert await editions.get("kid") == known

    @pytest.mark.spec("EDN-20")
    async def test_a_branch_of_main_does_not_get_another_parent(
        self, editions: EditionStore
    ) -> None:
        await editions.declare("kid")

        with pytest.raises(EditionConflict) as caught:
            await editions.declare("kid", parent="mum")

        error = caught.value
        assert (error.edition, error.parent, error.requested) == ("kid", MAIN, "mum")

    @pytest.mark.spec("EDN-20")
    async def test_an_edition_with_pages_on_main_does_not_get_another_parent(
        self, stores: Stores
    ) -> None:
        await given_pages(stores.events, cover_of(domain="order", edition="kid"), 1)

        with pytest.raises(EditionConflict) as caught:
            await stores.editions.declare("kid", parent="mum")

        error = caught.value
        assert (error.edition, error.parent, error.requested) == ("kid", MAIN, "mum")
        assert await stores.editions.get("kid") is None

    @pytest.mark.spec("EDN-20")
    async def test_an_edition_with_pages_is_declared_a_branch_of_main(self, stores: Stores) -> None:
        await given_pages(stores.events, cover_of(edition="kid"), 1)

        assert (await stores.editions.declare("kid", max_pages=9)).max_pages == 9

    @pytest.mark.spec("EDN-20", "EDN-17")
    async def test_an_edition_whose_pages_are_deleted_gets_any_parent(self, stores: Stores) -> None:
        for domain in ("account", "order"):
            await given_pages(stores.events, cover_of(domain=domain, edition="kid"), 2)
        await stores.events.delete_edition("account", "kid")
        with pytest.raises(EditionConflict):
            await stores.editions.declare("kid", parent="mum")

        await stores.events.delete_edition("order", "kid")

        assert (await stores.editions.declare("kid", parent="mum")).parent == "mum"

    @pytest.mark.spec("EDN-20")
    async def test_a_parent_needs_no_record(self, editions: EditionStore) -> None:
        await editions.declare("kid", parent="mum")

        assert [record.name for record in await editions.list()] == ["kid"]

    @pytest.mark.spec("EDN-20")
    async def test_a_parent_can_be_declared_after_its_child(self, editions: EditionStore) -> None:
        await editions.declare("kid", parent="mum")

        await editions.declare("mum", parent="gran")

        assert [record.parent for record in await editions.list()] == ["mum", "gran"]

    @pytest.mark.spec("EDN-21")
    async def test_a_chain_has_so_many_levels_and_no_more(self, editions: EditionStore) -> None:
        await given_chain(editions, EDITION_DEPTH_MAX)

        with pytest.raises(InvalidInput) as caught:
            await editions.declare("more", parent=f"e{EDITION_DEPTH_MAX}")

        assert (caught.value.field, caught.value.value) == ("parent", str(EDITION_DEPTH_MAX + 1))
        assert await editions.get("more") is None

    @pytest.mark.spec("EDN-21")
    async def test_levels_below_count_for_the_length_of_a_chain(
        self, editions: EditionStore
    ) -> None:
        await given_chain(editions, EDITION_DEPTH_MAX)

        with pytest.raises(InvalidInput):
            await editions.declare("e1", parent="e0")

        assert await editions.get("e1") is None
        assert (await editions.declare("e1")).parent == MAIN

    @pytest.mark.spec("EDN-21")
    @pytest.mark.parametrize("levels", [1, 2, 3])
    async def test_a_chain_does_not_come_back_to_its_beginning(
        self, editions: EditionStore, levels: int
    ) -> None:
        await given_chain(editions, levels)

        with pytest.raises(InvalidInput) as caught:
            await editions.declare("e1", parent=f"e{levels}")

        assert (caught.value.field, caught.value.value) == ("parent", f"e{levels}")
        assert await editions.get("e1") is None

    @pytest.mark.spec("EDN-20", "EDN-21", "EDN-24")
    async def test_the_first_thing_wrong_is_what_is_told(
        self, editions: EditionStore, clock: ManualClock
    ) -> None:
        await given_chain(editions, EDITION_DEPTH_MAX)
        last = f"e{EDITION_DEPTH_MAX}"
        await editions.declare(last, parent=f"e{EDITION_DEPTH_MAX - 1}", expires_at_ns=START_NS)

        told = [
            await error_of(editions.declare("e3", parent="e3", max_bytes=-1)),
            await error_of(editions.declare("e3", parent="e3", expires_at_ns=1)),
            await error_of(editions.declare("more", parent=last, expires_at_ns=START_NS + 1)),
            await error_of(editions.declare("e1", expires_at_ns=1)),
        ]

        assert [type(error) for error in told] == [
            InvalidInput,
            EditionConflict,
            InvalidInput,
            InvalidInput,
        ]
        fields = [error.field for error in told if isinstance(error, InvalidInput)]
        assert fields == ["max_bytes", "parent", "expires_at_ns"]

    @pytest.mark.spec("EDN-20")
    async def test_of_many_first_declarations_one_names_the_parent(
        self, editions: EditionStore
    ) -> None:
        calls = [editions.declare("kid", parent=f"mum-{n}") for n in range(32)]

        answers = await asyncio.gather(*calls, return_exceptions=True)

        [record] = [answer for answer in answers if isinstance(answer, EditionRecord)]
        conflicts = [answer for answer in answers if isinstance(answer, EditionConflict)]
        assert await editions.get("kid") == record
        assert [error.parent for error in conflicts] == [record.parent] * 31

    @pytest.mark.spec("STO-29", "EDN-20")
    async def test_reopening_keeps_the_records(self, opener: Opener) -> None:
        stores = await opener()
        await stores.editions.declare("mum", expires_at_ns=START_NS + 90)
        await stores.editions.declare("kid", parent="mum", max_pages=3, max_bytes=4)
        await stores.editions.declare("gone")
        await stores.editions.forget("gone")
        listed = await stores.editions.list()

        stores = await opener()

        assert await stores.editions.list() == listed
        assert [record.name for record in listed] == ["kid", "mum"]
        with pytest.raises(EditionConflict):
            await stores.editions.declare("kid", parent="dad")
        with pytest.raises(InvalidInput):
            await stores.editions.declare("mum", expires_at_ns=START_NS + 89)


async def error_of(call: Awaitable[EditionRecord]) -> AngzarrError:
    """What a declaration is refused with."""
    with pytest.raises(AngzarrError) as caught:
        await call
    return caught.value
