"""Commands to `_angzarr` (EDN-14 to EDN-17, CAS-11 to CAS-15)."""

from __future__ import annotations

import re
import uuid

import pytest
from google.protobuf.any_pb2 import Any

from angzarr import wire
from angzarr.cover import NAMESPACE, root_of
from angzarr.errors import (
    CascadeDecided,
    EditionInUse,
    InvalidInput,
    MainProtected,
    PendingPages,
    UnknownCascade,
)


async def _order(world, event, **cover):
    """A command to `_angzarr`, without root and stamp."""
    request = wire.CommandRequest()
    request.command.cover.domain = "_angzarr"
    request.command.cover.correlation_id = cover.get("correlation_id", "")
    payload = Any(
        type_url="type.googleapis.com/" + event.DESCRIPTOR.full_name,
        value=event.SerializeToString(),
    )
    request.command.pages.add(command=payload)
    answer = await world.commands.handle_command(request.SerializeToString(), world.context)
    return wire.CommandResponse.FromString(answer).events


def _delete(edition="what-if", domain="account"):
    return wire.DeleteEditionEvents(edition=edition, domain=domain)


@pytest.mark.spec("EDN-14", "CMD-5")
async def test_an_edition_is_deleted_in_its_domain_and_the_count_told(world):
    await world.send("a=1")
    await world.send("b=1", "c=1", at=1, edition="what-if")

    book = await _order(world, _delete())

    [page] = book.pages
    assert page.event.type_url == world.FRAMEWORK + "EditionEventsDeleted"
    assert wire.EditionEventsDeleted.FromString(page.event.value) == wire.EditionEventsDeleted(
        edition="what-if",
        domain="account",
        deleted_count=2,
        deleted_at="2026-01-01T00:00:00.000000000Z",
    )
    assert await world.values(edition="what-if") == ["a=1"]


@pytest.mark.spec("EDN-14")
async def test_deleting_an_absent_edition_counts_zero(world):
    [page] = (await _order(world, _delete())).pages

    assert wire.EditionEventsDeleted.FromString(page.event.value).deleted_count == 0


@pytest.mark.spec("EDN-15")
@pytest.mark.parametrize("edition", ["", "angzarr"])
async def test_main_is_protected_in_any_spelling(world, edition):
    await world.send("a=1")

    with pytest.raises(MainProtected, match=r"^main timeline is protected"):
        await _order(world, _delete(edition))

    assert await world.values() == ["a=1"]


@pytest.mark.spec("EDN-15")
async def test_an_empty_domain_is_refused(world):
    with pytest.raises(InvalidInput):
        await _order(world, _delete(domain=""))


@pytest.mark.spec("EDN-15")
async def test_an_edition_with_pending_pages_is_kept_and_the_cascades_named(world):
    await world.send("a=1", edition="what-if", cascade_id="X")

    with pytest.raises(PendingPages, match=r"\[X\]"):
        await _order(world, _delete())


@pytest.mark.spec("EDN-16")
async def test_the_result_is_kept_as_an_audit_page(world):
    first = await _order(world, _delete())
    second = await _order(world, _delete())

    root = uuid.uuid5(NAMESPACE, "angzarr.DeleteEditionEvents:what-if:account").bytes
    kept = await world.stored(domain="_angzarr", root=root)
    assert list(kept.pages) == [first.pages[0], second.pages[0]]
    assert first.cover.root.value == root


@pytest.mark.spec("EDN-17")
async def test_a_deleted_name_diverges_anew(world):
    await world.send("a=1")
    await world.send("b=1", at=1, edition="what-if")
    await world.send("c=1", at=1)
    await _order(world, _delete())

    await world.send("d=1", at=2, edition="what-if")

    assert await world.values(edition="what-if") == ["a=1", "c=1", "d=1"]


@pytest.mark.spec("CMD-5")
async def test_an_unknown_system_command_is_refused(world):
    with pytest.raises(InvalidInput, match=r"angzarr\.CascadeCommit"):
        await _order(world, wire.CascadeConflictDetail())


@pytest.mark.spec("CAS-12", "CAS-14")
async def test_a_commit_lists_one_marker_per_participant_in_order(world):
    bob = root_of("bob")
    roots = sorted([bob, world.ROOT])
    await world.send("a=1", "b=1", cascade_id="X", root=bob)
    await world.send("c=1", cascade_id="X")
    await world.send("d=1", at=1, cascade_id="Y")

    book = await _order(world, wire.CascadeCommit(cascade_id="X"), correlation_id="c-1")

    markers = [wire.Confirmation.FromString(page.event.value) for page in book.pages]
    assert [marker.target.root.value for marker in markers] == roots
    by_root = {marker.target.root.value: list(marker.sequences) for marker in markers}
    assert by_root == {bob: [0, 1], world.ROOT: [0]}
    assert {b.cover.correlation_id for b in await world.log() if b.cover.domain == "account"} == {
        "",
        "c-1",
    }


@pytest.mark.spec("CAS-14", "CAS-15")
async def test_repeating_a_decision_is_harmless(world):
    await world.send("a=1", cascade_id="X")
    await _order(world, wire.CascadeRollback(cascade_id="X", reason="no"))

    again = await _order(world, wire.CascadeRollback(cascade_id="X", reason="again"))

    assert len(again.pages) == 0
    assert len(await world.values()) == 2
    assert (await world.events.decision("X")).reason == "no"


@pytest.mark.spec("CAS-11", "CAS-15")
@pytest.mark.parametrize(
    ("first", "second"),
    [(wire.CascadeCommit, wire.CascadeRollback), (wire.CascadeRollback, wire.CascadeCommit)],
)
async def test_the_first_decision_stands(world, first, second):
    await world.send("a=1", cascade_id="X")
    await _order(world, first(cascade_id="X"))

    with pytest.raises(CascadeDecided):
        await _order(world, second(cascade_id="X"))


@pytest.mark.spec("CAS-15")
async def test_a_cascade_that_nobody_knows_is_not_found(world):
    with pytest.raises(UnknownCascade, match=r"^Unknown cascade X$"):
        await _order(world, wire.CascadeCommit(cascade_id="X"))


@pytest.mark.spec("CMD-2")
async def test_a_decision_without_an_id_is_refused(world):
    with pytest.raises(InvalidInput, match="cascade_id"):
        await _order(world, wire.CascadeCommit())


@pytest.mark.spec("EDN-16")
async def test_a_decision_is_kept_as_an_audit_page(world):
    await world.send("a=1", cascade_id="X")
    await _order(world, wire.CascadeCommit(cascade_id="X"))

    root = uuid.uuid5(NAMESPACE, "angzarr.CascadeCommit:X:").bytes
    [page] = (await world.stored(domain="_angzarr", root=root)).pages
    assert wire.CascadeCommit.FromString(page.event.value).cascade_id == "X"


@pytest.mark.spec("EDN-25")
async def test_an_edition_with_branches_is_not_deleted_in_one_domain_either(world):
    await world.send("a=1", edition="what-if")
    await world.stores.editions.declare("kid", parent="what-if")

    with pytest.raises(EditionInUse, match=re.escape("edition what-if has branches [kid]")):
        await _order(world, _delete())

    assert await world.values(edition="what-if") == ["a=1"]


@pytest.mark.spec("EDN-14", "EDN-25")
async def test_the_record_of_an_edition_outlives_its_last_domain(world):
    await world.stores.editions.declare("what-if", max_pages=7)
    await world.send("a=1", edition="what-if")

    await _order(world, _delete())

    record = await world.stores.editions.get("what-if")
    assert record.max_pages == 7
