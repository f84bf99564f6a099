"""What follows from events of a nested branch stays on it, and reads through its parents (SAGA-16,
EDN-12, EDN-21).
"""

from __future__ import annotations

import pytest

from angzarr import wire
from angzarr.coordinators.destinations import StoreDestinations
from angzarr.coordinators.lineage import Lineage
from angzarr.cover import MAIN, Cover
from angzarr.ports.components import CallContext

from .reacting import DOMAINS, OTHER, ROOT, STATE, Manager, Script, command, decides, fact, sends


@pytest.fixture
async def nested(town):
    """A town with edition `kid`, a branch of `left`, whose players have a page of `left` each."""
    await town.stores.editions.declare("kid", parent="left")
    await town.fill("player", 2)
    await town.published("left=1", domain="player", edition="left")
    return town


def destinations(town):
    return StoreDestinations(town.events, DOMAINS, Lineage(town.stores))


@pytest.mark.spec("SAGA-16", "EDN-12", "EDN-21")
async def test_a_sagas_command_stays_on_the_nested_branch(nested):
    script = Script(sends(command("player", "a=1")))
    book = await nested.published("paid=1", edition="kid")

    outcome = await nested.saga(script).react(book)

    assert outcome.failure is None
    read = ["old0=1", "old1=1", "left=1"]
    assert await nested.values("player", edition="kid") == [*read, "a=1"]
    assert await nested.values("player", edition="left") == read
    assert await nested.values("player") == read[:2]


@pytest.mark.spec("SAGA-16", "EDN-21")
async def test_the_commands_handler_sees_what_the_parent_holds(nested):
    book = await nested.published("paid=1", edition="kid")

    await nested.saga(Script(sends(command("player", "a=1")))).react(book)

    asked = nested.handlers["player"].seen[-1].events
    assert asked.cover.edition.name == "kid"
    assert [p.event.value.decode() for p in asked.pages] == ["old0=1", "old1=1", "left=1"]


@pytest.mark.spec("SAGA-6", "SAGA-16", "EDN-21")
async def test_a_saga_is_given_the_numbers_of_the_nested_branch(nested):
    script = Script(sends())
    book = await nested.published("paid=1", edition="kid")

    await nested.saga(script).react(book)

    [asked] = script.seen
    assert dict(asked.destination_sequences) == {"player": 3, "table": 0}


@pytest.mark.spec("SAGA-16", "SAGA-18", "EDN-12")
async def test_a_sagas_fact_stays_on_the_nested_branch(nested):
    script = Script(sends(events=[fact("player", "f=1", external_id="x-1")]))
    book = await nested.published("paid=1", edition="kid")

    await nested.saga(script).react(book)

    assert (await nested.values("player", edition="kid"))[3:] == ["f=1"]
    assert len(await nested.values("player", edition="left")) == 3


@pytest.mark.spec("SAGA-16", "EDN-21")
async def test_an_output_pins_the_other_domain_where_the_parent_is_by_then(nested):
    book = await nested.published("paid=1", edition="kid")
    await nested.saga(Script(sends(command("player", "a=1")))).react(book)
    await nested.published("left=2", domain="player", edition="left")

    assert await nested.events.divergence(Cover("player", ROOT, "kid")) == 3
    assert (await nested.values("player", edition="kid"))[2:] == ["left=1", "a=1"]


@pytest.mark.spec("EDN-12", "SAGA-11")
async def test_the_provenance_names_the_nested_branch(nested):
    book = await nested.published("paid=1", edition="kid")

    await nested.saga(Script(sends(command("player", "a=1")))).react(book)

    assert nested.road.sent[0].provenance.source.edition.name == "kid"


@pytest.mark.spec("PM-9", "EDN-12", "EDN-21")
async def test_a_process_managers_state_and_commands_stay_on_the_nested_branch(nested):
    manager = Manager(decides(command("player", "a=1"), events=["begun=1"]), targets=["player"])
    book = await nested.published("paid=1", edition="kid", correlation_id="c-1")

    await nested.manager(manager).react(book)

    assert await nested.values("fulfilment", STATE, "kid") == ["begun=1"]
    assert (await nested.values("player", edition="kid"))[2:] == ["left=1", "a=1"]
    for edition in (MAIN, "left"):
        assert await nested.values("fulfilment", STATE, edition) == []


@pytest.mark.spec("PM-2", "EDN-21")
async def test_a_process_manager_on_a_nested_branch_goes_on_from_its_parents_state(nested):
    manager = Manager(decides(events=["step=1"]))
    running = nested.manager(manager)
    for edition in ("left", "kid"):
        book = await nested.published("paid=1", edition=edition, correlation_id="c-1")
        await running.react(book)

    state = manager.seen[-1].process_state
    assert [page.event.value.decode() for page in state.pages] == ["step=1"]
    assert await nested.values("fulfilment", STATE, "kid") == ["step=1", "step=1"]
    assert await nested.values("fulfilment", STATE, "left") == ["step=1"]


@pytest.mark.spec("COMP-2", "EDN-12")
async def test_a_rejection_on_a_nested_branch_returns_to_it(nested):
    book = await nested.published("paid=1", edition="kid")
    nested.handlers["player"].answer = wire.BusinessResponse(
        revocation=wire.RevocationResponse(reason="no")
    )

    await nested.saga(Script(sends(command("player", "a=1")))).react(book)

    [(refused, key, _)] = nested.told.rejections
    assert (refused.cover.edition.name, key.source.edition) == ("kid", "kid")


@pytest.mark.spec("SAGA-6", "EDN-21")
async def test_the_root_that_carries_the_correlation_id_may_be_the_parents(nested):
    await nested.published("left=1", domain="table", root=OTHER, edition="left", correlation_id="c")

    found = await destinations(nested).carrying("table", "kid", "c")

    assert found == Cover("table", OTHER, "kid")


@pytest.mark.spec("SAGA-6", "EDN-21")
async def test_what_the_parent_wrote_after_the_branch_began_carries_nothing(nested):
    await nested.published("kid=1", domain="table", root=OTHER, edition="kid")
    await nested.published("left=1", domain="table", root=OTHER, edition="left", correlation_id="c")

    assert await destinations(nested).carrying("table", "kid", "c") is None


@pytest.mark.spec("SAGA-6", "EDN-21")
async def test_mains_pages_that_the_parent_replaced_carry_nothing(nested):
    await nested.published("main=1", domain="table", root=OTHER)
    await nested.published("left=1", domain="table", root=OTHER, edition="left")
    await nested.published("main=2", domain="table", root=OTHER, correlation_id="c")

    assert await destinations(nested).carrying("table", "kid", "c") is None


@pytest.mark.spec("CMD-20", "EDN-21", "EDN-22")
async def test_the_overlap_test_on_a_nested_branch_takes_no_snapshot_of_another_branch(nested):
    await nested.fill("player", 4)
    snapshot = wire.Snapshot(sequence=2)  # of a page of main that `left` replaced
    snapshot.state.type_url = "type.googleapis.com/test.State"
    snapshot.state.value = b"wrong=1"
    await nested.stores.snapshots.put(Cover("player", ROOT), snapshot.SerializeToString())
    for number in range(3):
        await nested.published(f"kid{number}=1", domain="player", edition="kid")
    own = wire.Snapshot(sequence=5)
    own.state.type_url = "type.googleapis.com/test.State"
    own.state.value = b"kid0=1;kid1=1;kid2=1;left=1;old0=1;old1=1"
    cover = Cover("player", ROOT, "kid")
    await nested.stores.snapshots.put(cover, own.SerializeToString())

    stale = command("player", "z=1", at=4, strategy=wire.MERGE_COMMUTATIVE, edition="kid")
    request = wire.CommandRequest(command=stale).SerializeToString()
    await nested.commands.handle_command(request, CallContext())

    bases = {r.base_snapshot.state.value for r in nested.handlers["player"].replayed}
    assert b"wrong=1" not in bases
    assert (await nested.values("player", edition="kid"))[-1] == "z=1"
