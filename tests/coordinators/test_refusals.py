"""Two runs of one reaction at once, as when a process lost its lease and another took over: each
command is accepted or refused, for both of them (SAGA-13, COMP-3, DEP-14).
"""

from __future__ import annotations

import pytest

from angzarr import wire
from angzarr.coordinators.destinations import QueryDestinations, RoutedDestinations
from angzarr.coordinators.query import QueryCoordinator
from angzarr.cover import Cover
from angzarr.errors import AngzarrError, CommandRejected, RemoteError, StoreUnavailable

from .reacting import (
    ROOT,
    Manager,
    Script,
    Town,
    command,
    decides,
    indexes,
    sends,
    trigger,
)

NO = CommandRejected("no funds")


@pytest.fixture
async def town():
    made = Town()
    yield made
    await made.close()


def shipping() -> Script:
    return Script(sends(command("player", "a=1")))


async def rejections(town: Town) -> list[bytes]:
    """Reasons of the rejections that a source is to be told of."""
    return [item.payload for item in await town.open() if item.kind == "rejection"]


@pytest.mark.spec("SAGA-13", "COMP-3", "DEP-14")
@pytest.mark.parametrize("failure", [NO, RemoteError("NOT_FOUND", "gone")])
async def test_a_command_that_another_run_got_accepted_is_not_refused(town, failure):
    """Once it was both executed and compensated: an aggregate refused it to one process, changed
    its mind for the other, which had taken over, and the first went on to tell the source."""
    book = await town.published("paid=1")
    other = town.saga(shipping())

    async def overtaken():
        assert indexes(await other.react(book)) == ([0], [])
        raise failure

    town.road.fails("player", overtaken)

    outcome = await town.saga(shipping()).react(book)

    assert indexes(outcome) == ([0], [])
    [executed] = outcome.executed
    assert [page.event.value for page in executed.book.pages] == [b"a=1"]
    assert (await town.values("player"), await rejections(town)) == (["a=1"], [])


@pytest.mark.spec("SAGA-12", "SAGA-13")
async def test_a_command_whose_answers_were_all_lost_is_not_refused(town):
    book = await town.published("paid=1")
    other = town.saga(shipping(), commands=town.commands)

    async def lost():
        if not await town.values("player"):
            await other.react(book)
        raise RemoteError("UNAVAILABLE", "gone")

    tries = town.means.options.backoff.tries
    town.road.fails("player", lost, *[RemoteError("UNAVAILABLE", "gone")] * tries)

    saga = town.saga(shipping())
    outcome = await saga.react(book)
    again = await saga.react(book)

    assert outcome.failure is not None
    assert (indexes(outcome), indexes(again)) == (([], []), ([0], []))
    assert (await town.values("player"), await rejections(town)) == (["a=1"], [])


@pytest.mark.spec("SAGA-13", "COMP-3", "CMD-28", "DEP-14")
async def test_a_command_that_another_run_refused_is_not_executed(town):
    """It had looked for the settlement before that was there."""
    book = await town.published("paid=1")
    other = town.saga(shipping())

    async def overtaken():
        town.handlers["player"].answer = NO
        assert indexes(await other.react(book)) == ([], [0])
        town.handlers["player"].answer = None

    town.road.fails("player", overtaken)

    outcome = await town.saga(shipping()).react(book)

    assert indexes(outcome) == ([], [0])
    assert str(outcome.refused[0].error) == "no funds"
    assert (await town.values("player"), await rejections(town)) == ([], [b"no funds"])


@pytest.mark.spec("SAGA-13", "CMD-28", "CMD-29")
async def test_a_command_that_is_refused_while_its_handler_runs_is_not_executed(town):
    book = await town.published("paid=1")
    other = town.saga(shipping())
    handler = town.handlers["player"]
    real = handler.handle

    async def overtaken(request, context):
        handler.handle, handler.answer = real, NO
        assert indexes(await other.react(book)) == ([], [0])
        handler.answer = None
        return await real(request, context)

    handler.handle = overtaken

    outcome = await town.saga(shipping()).react(book)

    assert indexes(outcome) == ([], [0])
    assert (await town.values("player"), await rejections(town)) == ([], [b"no funds"])


@pytest.mark.spec("SAGA-13", "COMP-3")
@pytest.mark.parametrize(
    "failure", [NO, RemoteError("ABORTED", "Sequence conflict: 1", error_kind="sequence_conflict")]
)
async def test_what_was_refused_stays_so_if_the_process_dies_before_it_is_settled(town, failure):
    book = await town.published("paid=1")
    tries = town.means.options.backoff.tries
    town.road.fails("player", *[failure] * tries)
    appends = []

    async def append(real, *arguments, **options):
        appends.append(arguments)
        if len(appends) == 2:
            raise StoreUnavailable("data", "gone")
        return await real(*arguments, **options)

    town.events.faults["append"] = append
    with pytest.raises(StoreUnavailable):
        await town.saga(shipping()).react(book)
    town.events.faults.clear()
    town.road.faults.clear()
    town.slept.clear()

    outcome = await town.saga(shipping()).react(book)

    assert indexes(outcome) == ([], [0])
    assert (town.slept, await town.values("player")) == ([], [])
    assert await rejections(town) == [str(failure).encode()]


@pytest.mark.spec("SAGA-13")
async def test_a_refusal_that_can_not_be_recorded_is_none(town):
    town.handlers["player"].answer = NO
    book = await town.published("paid=1")
    town.events.faults["append"] = StoreUnavailable("data", "gone")
    saga = town.saga(shipping())

    with pytest.raises(StoreUnavailable):
        await saga.react(book)

    assert await town.open() == []


@pytest.mark.spec("PM-8", "PM-9", "SAGA-13")
async def test_it_holds_for_process_managers_too(town):
    answer = decides(command("shipment", "a=1"), events=["begun=1"])
    book = await trigger(town)
    town.road.fails("shipment", NO)
    outcome = await town.manager(Manager(answer)).react(book)
    assert indexes(outcome) == ([], [0])

    request = town.road.to("shipment")[0]
    with pytest.raises(AngzarrError, match="no funds") as raised:
        await town.commands.handle_command(request.request.SerializeToString(), request.context)

    assert raised.value.error_kind == "rejected"
    assert town.handlers["shipment"].seen == []


@pytest.mark.spec("SAGA-13", "EDN-3")
async def test_a_refusal_begins_no_branch(town):
    book = await town.published("paid=1", edition="what-if")
    town.handlers["player"].answer = NO

    outcome = await town.saga(shipping()).react(book)

    assert indexes(outcome) == ([], [0])
    assert await town.stores.events.divergence(Cover("player", ROOT, "what-if")) is None


@pytest.mark.spec("SAGA-13")
async def test_on_a_branch_that_has_begun_it_holds_too(town):
    book = await town.published("paid=1", edition="what-if")
    await town.published("b=1", domain="player", edition="what-if")
    other = town.saga(shipping())

    async def overtaken():
        await other.react(book)
        raise NO

    town.road.fails("player", overtaken)

    outcome = await town.saga(shipping()).react(book)

    assert indexes(outcome) == ([0], [])


@pytest.mark.spec("SAGA-13")
async def test_a_stream_in_another_store_is_left_alone(town):
    book = await town.published("paid=1")
    town.handlers["player"].answer = NO
    far = QueryDestinations(QueryCoordinator(town.events), ["player"])
    destinations = RoutedDestinations(town.means.destinations, {"player": far})

    outcome = await town.saga(shipping(), destinations=destinations).react(book)

    assert indexes(outcome) == ([], [0])
    sent = town.road.to("player")[0]
    town.handlers["player"].answer = None
    answer = await town.commands.handle_command(sent.request.SerializeToString(), sent.context)
    assert len(wire.CommandResponse.FromString(answer).events.pages) == 1


@pytest.mark.spec("SAGA-13", "CMD-18")
async def test_a_parked_command_can_still_be_executed(town):
    await town.fill("player", 1)
    book = await town.published("paid=1")
    parked = command("player", "a=1", at=0, strategy=wire.MERGE_MANUAL)

    outcome = await town.saga(Script(sends(parked))).react(book)

    assert outcome.refused[0].is_parked
    sent = town.road.to("player")[0]
    sent.request.command.pages[0].header.sequence = 1
    answer = await town.commands.handle_command(sent.request.SerializeToString(), sent.context)
    assert len(wire.CommandResponse.FromString(answer).events.pages) == 1


@pytest.mark.spec("SAGA-13", "SAGA-18")
async def test_a_command_to_nowhere_is_refused_without_a_trace(town):
    book = await town.published("paid=1")
    lost = Script(sends(command("nowhere", "a=1")), targets=())

    outcome = await town.saga(lost).react(book)

    assert indexes(outcome) == ([], [0])
    assert await town.stores.events.next_sequence(Cover("nowhere", ROOT)) == 0
