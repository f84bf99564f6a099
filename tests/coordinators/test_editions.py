"""Editions declared, listed, deleted (EDN-1, EDN-18 to EDN-25)."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from angzarr import wire
from angzarr.coordinators import lineage
from angzarr.cover import MAIN, NAMESPACE, Cover, root_of
from angzarr.editions import Branch, Edition
from angzarr.errors import (
    EditionConflict,
    EditionExpired,
    EditionInUse,
    InvalidInput,
    MainProtected,
    PendingPages,
    QuotaExceeded,
    StorageFailed,
    StoreUnavailable,
    UnknownEdition,
)

from .conftest import Fields
from .editing import desk, everything

START = datetime(2026, 1, 1, tzinfo=UTC)
BOB = root_of("bob")


@pytest.fixture
def both(world):
    """A world with two domains."""
    world.coordinate(handlers={"account": world.handler, "player": Fields("player")})
    return world


def audit_root(edition, domain):
    return uuid.uuid5(NAMESPACE, f"angzarr.DeleteEditionEvents:{edition}:{domain}").bytes


@pytest.mark.spec("EDN-20")
async def test_a_declared_edition_has_a_record(world):
    made = await desk(world).declare("what-if", ttl=timedelta(hours=1), max_pages=5)

    assert (made.name, made.parent, made.max_pages, made.max_bytes) == ("what-if", MAIN, 5, 0)
    assert (made.created_at, made.expires_at) == (START, START + timedelta(hours=1))
    assert (await desk(world).get("what-if")).record == made


@pytest.mark.spec("EDN-20")
async def test_declaring_again_changes_the_limits(world):
    await desk(world).declare("what-if", ttl=timedelta(hours=1), max_pages=5)

    again = await desk(world).declare("what-if", max_bytes=7)

    assert (again.expires_at, again.max_pages, again.max_bytes) == (None, 0, 7)


@pytest.mark.spec("EDN-20")
async def test_a_parent_never_changes(world):
    await desk(world).declare("left")
    await desk(world).declare("what-if", parent="left")

    with pytest.raises(EditionConflict, match="edition what-if is a branch of left, not of right"):
        await desk(world).declare("what-if", parent="right")


@pytest.mark.spec("EDN-20", "EDN-15")
@pytest.mark.parametrize("name", ["", MAIN])
async def test_main_is_not_declared(world, name):
    with pytest.raises(MainProtected):
        await desk(world).declare(name)


@pytest.mark.spec("EDN-2")
@pytest.mark.parametrize("names", [("Left", ""), ("left", "Right")])
async def test_names_of_declared_editions_have_their_form(world, names):
    with pytest.raises(InvalidInput, match="a-z first"):
        await desk(world).declare(names[0], parent=names[1])


@pytest.mark.spec("EDN-24")
@pytest.mark.parametrize(
    "expiry",
    [
        {"ttl": timedelta(0)},
        {"ttl": timedelta(seconds=-1)},
        {"ttl": timedelta(days=365 * 1_000)},
        {"expires_at": datetime(1969, 1, 1, tzinfo=UTC)},
    ],
    ids=lambda expiry: str(next(iter(expiry.values()))),
)
async def test_an_expiry_that_is_none_is_refused(world, expiry):
    with pytest.raises(InvalidInput, match=r"^(ttl|expires_at) must be"):
        await desk(world).declare("what-if", **expiry)


@pytest.mark.spec("EDN-1", "EDN-19")
async def test_an_edition_exists_from_its_first_write(world):
    with pytest.raises(UnknownEdition, match="Unknown edition what-if"):
        await desk(world).get("what-if")

    await world.send("a=1", edition="what-if")

    found = await desk(world).get("what-if")
    assert (found.record, found.parent, found.stream_counts) == (None, MAIN, {"account": 1})


@pytest.mark.parametrize("name", ["", MAIN])
async def test_main_is_no_edition_to_look_at(world, name):
    with pytest.raises(InvalidInput, match="an edition other than main"):
        await desk(world).get(name)


@pytest.mark.spec("EDN-19")
async def test_an_edition_shows_what_it_holds(both):
    await both.send("a=1", "b=2", edition="what-if")
    await both.send("a=1", edition="what-if", root=BOB)
    await both.send("a=1", edition="what-if", domain="player")

    found = await desk(both).get("what-if")

    sizes = [
        page.ByteSize()
        for cover in ({}, {"root": BOB}, {"domain": "player"})
        for page in (await both.stored(edition="what-if", **cover)).pages
    ]
    assert found == Edition("what-if", None, 4, sum(sizes), {"account": 2, "player": 1})


@pytest.mark.spec("EDN-19")
async def test_declared_and_other_editions_are_listed_without_main(both):
    await both.send("a=1")
    await both.send("a=1", at=1, edition="b")
    await both.send("a=1", edition="c", domain="player")
    await desk(both).declare("a", parent="b")

    found = await everything(desk(both).list())

    assert [(item.name, item.parent, item.stream_counts) for item in found] == [
        ("a", "b", {}),
        ("b", MAIN, {"account": 1}),
        ("c", MAIN, {"player": 1}),
    ]


@pytest.mark.spec("EDN-19")
async def test_a_list_of_one_domain_has_the_editions_with_streams_in_it(both):
    await both.send("a=1", edition="b")
    await both.send("a=1", edition="c", domain="player")
    await desk(both).declare("a")

    found = await everything(desk(both).list(domain="player"))

    assert [item.name for item in found] == ["c"]


@pytest.mark.spec("EDN-19")
async def test_branches_are_listed_with_their_divergence(both, monkeypatch):
    monkeypatch.setattr(lineage, "PAGES_AT_ONCE", 2)
    roots = sorted(root_of(name) for name in "vwxyz")
    for root in roots:
        await both.send("a=1", root=root)
        await both.send("b=1", at=1, root=root, edition="what-if")
    await both.send("a=1", "b=1", domain="player", edition="what-if")

    found = await everything(desk(both).branches("what-if"))

    assert found == [
        *(Branch(Cover("account", root, "what-if"), 1, 2) for root in roots),
        Branch(Cover("player", both.ROOT, "what-if"), 0, 2),
    ]


@pytest.mark.spec("EDN-19")
async def test_branches_of_one_domain_are_listed(both):
    await both.send("a=1", edition="what-if")
    await both.send("a=1", domain="player", edition="what-if")

    found = await everything(desk(both).branches("what-if", domain="player"))

    assert [branch.cover.domain for branch in found] == ["player"]


@pytest.mark.spec("EDN-25", "EDN-14")
async def test_a_whole_edition_is_deleted_in_every_domain_with_its_record(both):
    await both.send("a=1")
    await both.send("b=1", at=1, edition="what-if")
    await both.send("a=1", "b=1", domain="player", edition="what-if")
    await desk(both).declare("what-if")

    deleted = await desk(both).delete("what-if")

    assert (deleted.page_counts, deleted.was_declared) == ({"account": 1, "player": 2}, True)
    assert await both.values(edition="what-if") == ["a=1"]
    with pytest.raises(UnknownEdition):
        await desk(both).get("what-if")


@pytest.mark.spec("EDN-16", "EDN-25")
async def test_a_deleted_edition_leaves_an_audit_page_for_each_domain(both):
    await both.send("a=1", edition="what-if")
    await both.send("a=1", "b=1", domain="player", edition="what-if")

    await desk(both).delete("what-if")

    told = []
    for domain in ("account", "player"):
        book = await both.stored(domain="_angzarr", root=audit_root("what-if", domain))
        told += [wire.EditionEventsDeleted.FromString(page.event.value) for page in book.pages]
    assert [(event.domain, event.deleted_count) for event in told] == [
        ("account", 1),
        ("player", 2),
    ]


@pytest.mark.spec("EDN-25")
async def test_an_edition_with_branches_is_not_deleted(world):
    await world.send("a=1", edition="left")
    await desk(world).declare("one", parent="left")
    await desk(world).declare("two", parent="left")

    with pytest.raises(EditionInUse, match=re.escape("edition left has branches [one, two]")):
        await desk(world).delete("left")

    assert await world.values(edition="left") == ["a=1"]


@pytest.mark.spec("EDN-25", "EDN-15")
async def test_pending_pages_in_one_domain_keep_all_of_the_edition(both):
    await both.send("a=1", edition="what-if")
    await both.send("a=1", domain="player", edition="what-if", cascade_id="c-1")

    with pytest.raises(PendingPages, match=re.escape("edition what-if of player has pending")):
        await desk(both).delete("what-if")

    assert await both.values(edition="what-if") == ["a=1"]


@pytest.mark.spec("EDN-25")
async def test_a_deletion_that_failed_half_way_is_repeated(both):
    await both.send("a=1", edition="what-if")
    await both.send("a=1", "b=1", domain="player", edition="what-if")
    await desk(both).declare("what-if")

    async def refuse_players(real, domain, edition):
        if domain == "player":
            raise StoreUnavailable("memory", "the disk is gone")
        return await real(domain, edition)

    both.events.faults["delete_edition"] = refuse_players
    with pytest.raises(StorageFailed):
        await desk(both).delete("what-if")
    left = await desk(both).get("what-if")
    both.events.faults.clear()
    deleted = await desk(both).delete("what-if")

    assert left.record
    assert left.stream_counts == {"player": 1}
    assert (deleted.page_counts, deleted.was_declared) == ({"player": 2}, True)


@pytest.mark.spec("EDN-14", "EDN-25")
async def test_deleting_what_is_not_there_is_fine(world):
    deleted = await desk(world).delete("what-if")

    assert (deleted.page_counts, deleted.was_declared) == ({}, False)


@pytest.mark.spec("EDN-15")
@pytest.mark.parametrize("name", ["", MAIN])
async def test_main_is_not_deleted(world, name):
    await world.send("a=1")

    with pytest.raises(MainProtected):
        await desk(world).delete(name)


@pytest.mark.spec("EDN-17")
async def test_a_deleted_editions_name_diverges_anew(world):
    await world.send("a=1", "b=1", edition="what-if", at=0)
    await desk(world).delete("what-if")
    await world.send("a=1")

    await world.send("z=1", at=1, edition="what-if")

    [branch] = await everything(desk(world).branches("what-if"))
    assert (branch.divergence, branch.next_sequence) == (1, 2)


@pytest.mark.spec("EDN-24")
async def test_an_expired_edition_takes_no_events_and_is_read_on(world):
    await world.send("a=1", edition="what-if")
    await desk(world).declare("what-if", ttl=timedelta(seconds=10))
    world.clock.advance(10)

    with pytest.raises(EditionExpired, match="edition what-if expired at 2026-01-01T00:00:10"):
        await world.send("b=1", at=1, edition="what-if")

    assert await world.values(edition="what-if") == ["a=1"]


@pytest.mark.spec("EDN-23")
async def test_a_command_over_the_quota_is_refused(both):
    await desk(both).declare("what-if", max_pages=2)
    await both.send("a=1", edition="what-if")

    with pytest.raises(QuotaExceeded, match="edition what-if would have 3 pages"):
        await both.send("a=1", "b=1", domain="player", edition="what-if")

    await both.send("a=1", domain="player", edition="what-if")
    assert (await desk(both).get("what-if")).page_count == 2


@pytest.mark.spec("EDN-21")
async def test_a_command_on_a_nested_branch_is_decided_on_what_its_parent_reads(world):
    await world.send("a=1", "b=1")
    await world.send("a=2", at=2, edition="left")
    await desk(world).declare("kid", parent="left")

    await world.send("c=1", at=3, edition="kid")

    asked = world.handler.seen[-1].events
    assert [page.event.value.decode() for page in asked.pages] == ["a=1", "b=1", "a=2"]
    assert await world.values(edition="kid") == ["a=1", "b=1", "a=2", "c=1"]


@pytest.mark.spec("EDN-18", "CAS-9")
async def test_a_cascade_may_span_editions_of_one_stream(world):
    await world.send("a=1")
    await world.send("b=1", at=1, cascade_id="c-1")
    await world.send("c=1", at=1, edition="what-if", divergence=1, cascade_id="c-1")

    participants = await world.events.query_cascade_participants("c-1")

    assert [(p.cover.edition, p.sequences) for p in participants] == [
        (MAIN, (1,)),
        ("what-if", (1,)),
    ]


@pytest.mark.spec("EDN-18", "CAS-14")
async def test_one_decision_resolves_the_pages_of_a_cascade_on_all_editions(world):
    await world.send("a=1")
    await world.send("b=1", at=1, cascade_id="c-1")
    await world.send("c=1", at=1, edition="what-if", divergence=1, cascade_id="c-1")

    request = wire.CommandRequest()
    request.command.cover.domain = "_angzarr"
    payload = request.command.pages.add().command
    payload.type_url = "type.googleapis.com/angzarr.CascadeCommit"
    payload.value = wire.CascadeCommit(cascade_id="c-1").SerializeToString()
    await world.commands.handle_command(request.SerializeToString(), world.context)

    shown = {}
    for edition in (MAIN, "what-if"):
        query = wire.Query(cover=world.fill(wire.Cover(), edition=edition))
        book = await world.queries.get_event_book(query.SerializeToString(), world.context)
        pages = wire.EventBook.FromString(book).pages
        shown[edition] = [p.event.value.decode() for p in pages if p.event.type_url == world.EVENT]
    assert shown == {MAIN: ["a=1", "b=1"], "what-if": ["a=1", "c=1"]}
