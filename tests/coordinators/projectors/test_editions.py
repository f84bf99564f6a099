"""A deleted edition's positions go with it (PROJ-15)."""

from __future__ import annotations

import pytest

from angzarr import wire
from angzarr.coordinators import CommandCoordinator
from angzarr.ports.components import Subscription


async def delete(world, edition: str = "whatif", domain: str = "account") -> None:
    """DeleteEditionEvents, as a client sends it (EDN-14)."""
    command = wire.DeleteEditionEvents(edition=edition, domain=domain)
    book = wire.CommandBook(cover=wire.Cover(domain="_angzarr"))
    page = book.pages.add()
    page.command.type_url = "type.angzarr.io/angzarr.DeleteEditionEvents"
    page.command.value = command.SerializeToString()
    commands = CommandCoordinator(world.stores, {}, clock=world.clock)
    request = wire.CommandRequest(command=book).SerializeToString()
    await commands.handle_command(request, world.context)


def rows_of(world, **options: object):
    return world.rows_class(world.store, **options)


@pytest.mark.spec("PROJ-15", "EDN-17")
@pytest.mark.parametrize("kind", ["plain", "stored"])
async def test_an_edition_that_is_written_anew_is_projected_anew(world, kind: str) -> None:
    """Sequences start again, and would be taken for known."""
    recorder = world.Recorder(editions=("whatif",))
    projector = await (
        world.plain(recorder)
        if kind == "plain"
        else world.stored(rows_of(world, editions=["whatif"]))
    )
    await world.append("old 0", "old 1", edition="whatif", divergence=0)
    await world.feed(projector)

    await delete(world)
    await world.append("new 0", edition="whatif", divergence=0)
    await world.feed(projector)

    if kind == "plain":
        assert recorder.sequences == [[0, 1], [0]]
    else:
        assert world.rows() == [(0, "old 0"), (1, "old 1"), (0, "new 0")]


@pytest.mark.spec("PROJ-15")
@pytest.mark.parametrize("kind", ["plain", "stored"])
async def test_what_was_written_before_the_deletion_was_heard_of_is_not_lost(
    world, kind: str
) -> None:
    """Streams are delivered side by side, so the new edition may come first."""
    recorder = world.Recorder(editions=("whatif",))
    projector = await (
        world.plain(recorder)
        if kind == "plain"
        else world.stored(rows_of(world, editions=["whatif"]))
    )
    await world.append("old 0", "old 1", edition="whatif", divergence=0)
    await world.feed(projector)
    await delete(world)
    deletion, position = None, 0
    for entry in await world.events.tail(0):
        if wire.EventBook.FromString(entry.book).cover.domain == "_angzarr":
            deletion, position = entry.book, entry.position
    assert deletion is not None
    new = await world.append("new 0", "new 1", edition="whatif", divergence=0)

    await projector.deliver(world.delivery_of(new))
    await projector.deliver(world.delivery_of(deletion, position))

    if kind == "plain":
        assert recorder.sequences[-1] == [0, 1]
    else:
        assert world.rows()[-2:] == [(0, "new 0"), (1, "new 1")]


@pytest.mark.spec("PROJ-15")
async def test_other_editions_and_domains_keep_their_positions(world) -> None:
    projector = await world.stored(
        rows_of(world, sources=["account", "order"], source=None, editions="*")
    )
    await world.append("main")
    await world.append("gone", edition="whatif", divergence=0)
    await world.append("other", edition="other", divergence=0)
    await world.append("elsewhere", edition="whatif", divergence=0, domain="order")
    await world.feed(projector)

    await delete(world)
    await world.feed(projector)
    for entry in await world.events.tail(0):
        await projector.deliver(world.delivery_of(entry.book))

    assert sorted(text for _, text in world.rows()) == ["elsewhere", "gone", "main", "other"]


@pytest.mark.spec("PROJ-15")
async def test_rows_of_the_edition_are_the_projectors_own_affair(world) -> None:
    projector = await world.stored(rows_of(world, editions=["whatif"]))
    await world.append("gone", edition="whatif", divergence=0)
    await world.feed(projector)

    await delete(world)
    await world.feed(projector)

    assert world.rows() == [(0, "gone")]


@pytest.mark.spec("PROJ-15", "PROJ-1")
async def test_deletions_are_heard_by_those_that_follow_branches(world) -> None:
    main = await world.plain(world.Recorder())
    branches = await world.plain(world.Recorder(name="projector:b", editions=("whatif",)))
    every = await world.plain(world.Recorder(name="projector:c", editions=None))

    assert [item.domain for item in main.log_subscriptions] == ["account"]
    assert main.log_editions == ("angzarr",)
    for projector in (branches, every):
        deletions = projector.log_subscriptions[-1]
        assert deletions == Subscription("_angzarr", ("angzarr.EditionEventsDeleted",))
    assert branches.log_editions == ("angzarr", "whatif")
    assert every.log_editions is None


@pytest.mark.spec("PROJ-15")
async def test_audit_pages_are_not_given_to_a_projector_that_did_not_ask(world) -> None:
    recorder = world.Recorder(editions=None)
    projector = await world.plain(recorder)
    await world.append("a", edition="whatif", divergence=0)
    await world.feed(projector)

    await delete(world)
    await world.feed(projector)

    assert [book.cover.domain for book in recorder.books] == ["account"]


@pytest.mark.spec("PROJ-15")
async def test_positions_of_branches_are_stored_at_once(world) -> None:
    """One that is stored after the deletion would outlive its branch."""
    projector = await world.plain(world.Recorder(editions=None))
    book = await world.append("a", edition="whatif", divergence=0)

    await projector.deliver(world.delivery_of(book))

    stored = await world.stores.positions.get(projector.consumer, world.cover(edition="whatif"))
    assert stored == 0
