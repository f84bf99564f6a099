"""Declared editions that are in use: deletion, forgetting, their streams (EDN-19, EDN-25)."""

from __future__ import annotations

import pytest

from angzarr.cover import MAIN
from angzarr.errors import EditionInUse, InvalidInput, MainProtected
from angzarr.ports.edition_store import Branch, EditionRecord
from angzarr.ports.event_store import Appended
from angzarr.ports.stores import Stores
from angzarr.testing.clock import START_NS
from angzarr.testing.contracts.base import (
    Opener,
    StoreContract,
    given_pages,
    given_pending,
    traces_of,
)
from angzarr.testing.pages import book_of, cover_of, pages, snapshot

ALICE = cover_of()
MUM = cover_of(edition="mum")
KID = cover_of(edition="kid")


class EditionUseContract(StoreContract):
    """Claims about editions that others, or their own pages, keep from going away."""

    @pytest.mark.spec("EDN-25", "STO-29")
    async def test_forgetting_removes_the_record(self, stores: Stores) -> None:
        await stores.editions.declare("kid")
        await stores.editions.declare("other")

        assert await stores.editions.forget("kid") is True
        assert [record.name for record in await stores.editions.list()] == ["other"]

    @pytest.mark.spec("STO-29")
    @pytest.mark.parametrize("name", ["kid", "mum", "", MAIN])
    async def test_what_has_no_record_is_not_forgotten(self, stores: Stores, name: str) -> None:
        await stores.editions.declare("other", parent="mum")
        await given_pages(stores.events, KID, 1)

        assert await stores.editions.forget(name) is False

    @pytest.mark.spec("EDN-25")
    async def test_an_edition_with_children_is_not_forgotten(self, stores: Stores) -> None:
        record = await stores.editions.declare("mum")
        for name in ("kid", "ann", "zoe"):
            await stores.editions.declare(name, parent="mum")

        with pytest.raises(EditionInUse) as caught:
            await stores.editions.forget("mum")

        assert (caught.value.edition, caught.value.children) == ("mum", ("ann", "kid", "zoe"))
        assert await stores.editions.get("mum") == record

    @pytest.mark.spec("EDN-25")
    async def test_an_edition_with_pages_is_not_forgotten(self, stores: Stores) -> None:
        await stores.editions.declare("kid")
        await given_pages(stores.events, cover_of(domain="order", edition="kid"), 1)

        with pytest.raises(EditionInUse) as caught:
            await stores.editions.forget("kid")

        assert (caught.value.edition, caught.value.children) == ("kid", ())
        await stores.events.delete_edition("order", "kid")
        assert await stores.editions.forget("kid") is True

    @pytest.mark.spec("EDN-25")
    async def test_a_forgotten_name_is_declared_anew(self, stores: Stores) -> None:
        await stores.editions.declare("kid", parent="mum", expires_at_ns=START_NS + 5, max_pages=1)
        await stores.editions.forget("kid")

        record = await stores.editions.declare("kid", parent="dad")

        assert record == EditionRecord("kid", "dad", START_NS)

    @pytest.mark.spec("EDN-25", "EDN-4")
    async def test_a_forgotten_edition_is_a_branch_of_main(self, stores: Stores) -> None:
        made = await given_pages(stores.events, ALICE, 3)
        await stores.events.append(MUM, 1, pages(1, 1), divergence=1)
        await stores.editions.declare("kid", parent="mum", max_pages=1)

        await stores.editions.forget("kid")

        assert (await stores.events.load(KID)).data == book_of(KID, made)
        assert await stores.events.append(KID, 3, pages(3, 4)) == Appended(3, 6)

    @pytest.mark.spec("EDN-25", "EDN-17")
    async def test_forgetting_ends_what_streams_without_pages_have_left(
        self, stores: Stores
    ) -> None:
        events = stores.events
        made = await given_pages(events, ALICE, 3)
        await events.append(MUM, 1, pages(1, 1), divergence=1)
        await stores.editions.declare("kid", parent="mum")
        await events.append(KID, 2, [], external_id="x")
        await stores.snapshots.put(KID, snapshot(1))
        await stores.positions.put("proj", KID, 1)

        await stores.editions.forget("kid")
        await events.delete_edition("account", "mum")

        assert await events.divergence(KID) is None
        assert await events.find_by_external_id(KID, "x") is None
        assert await stores.snapshots.get(KID) is None
        assert await stores.positions.get("proj", KID) is None
        assert (await events.load(KID)).data == book_of(KID, made)

    @pytest.mark.spec("EDN-25", "STO-22")
    async def test_forgetting_ends_positions_where_nothing_was_written(
        self, stores: Stores
    ) -> None:
        await stores.editions.declare("kid")
        await stores.positions.put("proj", KID, 1)

        await stores.editions.forget("kid")

        assert await stores.positions.get("proj", KID) is None

    @pytest.mark.spec("EDN-25")
    async def test_an_edition_with_children_is_not_deleted(self, stores: Stores) -> None:
        await given_pages(stores.events, MUM, 2)
        await stores.editions.declare("zoe", parent="mum")
        await stores.editions.declare("ann", parent="mum")
        await stores.editions.declare("kid", parent="ann")
        before = await traces_of(stores, MUM)

        with pytest.raises(EditionInUse) as caught:
            await stores.events.delete_edition("account", "mum")

        assert (caught.value.edition, caught.value.children) == ("mum", ("ann", "zoe"))
        assert await traces_of(stores, MUM) == before

    @pytest.mark.spec("EDN-25")
    async def test_an_edition_with_children_is_not_deleted_where_it_has_nothing(
        self, stores: Stores
    ) -> None:
        await stores.editions.declare("kid", parent="mum")

        with pytest.raises(EditionInUse):
            await stores.events.delete_edition("order", "mum")

    @pytest.mark.spec("EDN-25", "EDN-15")
    async def test_children_are_told_before_pending_pages_and_after_wrong_use(
        self, stores: Stores
    ) -> None:
        await stores.editions.declare("kid", parent="mum")
        await stores.editions.declare("other")
        await given_pending(stores.events, MUM, "casc-1")

        with pytest.raises(EditionInUse):
            await stores.events.delete_edition("account", "mum")
        with pytest.raises(InvalidInput):
            await stores.events.delete_edition("", "mum")
        with pytest.raises(MainProtected):
            await stores.events.delete_edition("account", "")

    @pytest.mark.spec("EDN-25")
    async def test_editions_are_deleted_children_first(self, stores: Stores) -> None:
        await stores.editions.declare("mum")
        await stores.editions.declare("kid", parent="mum")
        await given_pages(stores.events, MUM, 2)
        await given_pages(stores.events, KID, 3)

        assert await stores.events.delete_edition("account", "kid") == 3
        with pytest.raises(EditionInUse):
            await stores.events.delete_edition("account", "mum")
        assert await stores.editions.forget("kid")
        assert await stores.events.delete_edition("account", "mum") == 2
        assert await stores.editions.forget("mum")

    @pytest.mark.spec("EDN-25", "EDN-20")
    async def test_deletion_in_a_domain_keeps_the_record(self, stores: Stores) -> None:
        record = await stores.editions.declare("kid", max_pages=4)
        await given_pages(stores.events, KID, 2)

        await stores.events.delete_edition("account", "kid")

        assert await stores.editions.get("kid") == record

    @pytest.mark.spec("EDN-17", "EDN-21")
    async def test_a_deleted_branch_diverges_anew_from_its_parent(self, stores: Stores) -> None:
        events = stores.events
        mains = await given_pages(events, ALICE, 3)
        await stores.editions.declare("kid", parent="mum")
        await events.append(KID, 1, pages(1, 1), divergence=1)
        await events.append(MUM, 2, pages(2, 3), divergence=2)

        await events.delete_edition("account", "kid")

        assert (await events.load(KID)).data == book_of(KID, [*mains[:2], *pages(2, 3)])
        await events.append(KID, 4, pages(4, 1), divergence=4)
        assert await events.divergence(KID) == 4

    @pytest.mark.spec("EDN-25", "STO-29")
    async def test_reopening_keeps_children_in_the_way(self, opener: Opener) -> None:
        stores = await opener()
        await given_pages(stores.events, MUM, 2)
        await stores.editions.declare("kid", parent="mum")

        stores = await opener()

        with pytest.raises(EditionInUse):
            await stores.events.delete_edition("account", "mum")

    @pytest.mark.spec("EDN-19", "STO-29")
    async def test_branches_tell_where_streams_left_and_end(self, stores: Stores) -> None:
        events = stores.events
        for name in ("alice", "bob"):
            await given_pages(events, cover_of(name), 4)
        await events.append(KID, 1, pages(1, 2), divergence=1)
        await given_pages(events, cover_of("bob", edition="kid"), 1)
        await given_pages(events, cover_of("carl", edition="kid"), 3)

        found = await stores.editions.branches("account", "kid")

        wanted = [("alice", 1, 3), ("bob", 4, 5), ("carl", 0, 3)]
        assert found == sorted(
            (Branch(cover_of(name).root, at, end) for name, at, end in wanted),
            key=lambda branch: branch.root,
        )

    @pytest.mark.spec("EDN-19", "STO-1")
    @pytest.mark.parametrize("spelling", ["", MAIN])
    async def test_mains_streams_begin_at_0(self, stores: Stores, spelling: str) -> None:
        await given_pages(stores.events, ALICE, 4)
        await given_pages(stores.events, KID, 1)

        assert await stores.editions.branches("account", spelling) == [Branch(ALICE.root, 0, 4)]

    @pytest.mark.spec("EDN-19")
    async def test_branches_come_page_by_page(self, stores: Stores) -> None:
        covers = [cover_of(f"root-{n}", edition="kid") for n in range(25)]
        for cover in covers:
            await given_pages(stores.events, cover, 1)

        found: list[bytes] = []
        while batch := await stores.editions.branches(
            "account", "kid", after=found[-1] if found else b"", limit=7
        ):
            assert len(batch) <= 7
            found += [branch.root for branch in batch]

        assert found == sorted(cover.root for cover in covers)

    @pytest.mark.spec("EDN-19")
    async def test_branches_are_those_of_exactly_this_edition(self, stores: Stores) -> None:
        await stores.editions.declare("kid", parent="mum")
        await given_pages(stores.events, MUM, 1)
        await given_pages(stores.events, cover_of(domain="order", edition="kid"), 1)
        await stores.events.append(KID, 1, [], external_id="x")

        assert await stores.editions.branches("account", "kid") == []
        assert await stores.editions.branches("nowhere", "nothing") == []
