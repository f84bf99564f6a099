"""Process managers (PM-1 to PM-12, COMPAT-9, SPEC-5)."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from google.protobuf.any_pb2 import Any

from angzarr import wire
from angzarr.cover import REJECTION, Cover, Provenance
from angzarr.errors import (
    CascadeConflict,
    CascadeDecided,
    CommandRejected,
    HandlerFailed,
    InvalidInput,
    OrchestrationFailed,
    RemoteError,
    SequenceConflict,
    SequenceMismatch,
    StoreUnavailable,
)
from angzarr.ports.components import CallContext

from .conftest import EVENT, business
from .reacting import (
    OTHER,
    ROOT,
    STATE,
    Delivery,
    Manager,
    cascade,
    command,
    cover,
    decides,
    deferred,
    fact,
    indexes,
    trigger,
)

PM_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "angzarr.dev")
MISMATCH = SequenceMismatch(Cover("shipment", ROOT), 0, 1)
DOWN = RemoteError("UNAVAILABLE", "connection refused")
BUG = HandlerFailed("process_manager:fulfilment", "a bug")


def test_its_names(town):
    manager = town.manager(Manager())

    assert manager.name == "process_manager:fulfilment"
    assert manager.consumer == "process-manager-fulfilment"
    assert manager.domain == "fulfilment"
    assert [item.domain for item in manager.subscriptions] == ["order", "shipment"]
    assert [duty.kind for duty in manager.duties] == [
        "timer:pm:fulfilment",
        "output:pm:fulfilment",
    ]


# PM-1, PM-2


@pytest.mark.spec("PM-1")
def test_without_subscriptions_it_does_not_start(town):
    script = Manager()
    script.subscriptions = ()

    with pytest.raises(InvalidInput, match="process_manager:fulfilment"):
        town.manager(script)


@pytest.mark.spec("PM-1")
async def test_a_delivery_without_a_correlation_id_is_skipped(town):
    script = Manager(BUG)

    await town.manager(script).deliver(Delivery(await town.published("paid=1")))

    assert script.seen == []


@pytest.mark.spec("PM-2", "COMPAT-9")
@pytest.mark.parametrize(
    ("correlation_id", "root"),
    [
        ("c-1", uuid.uuid5(PM_NAMESPACE, "c-1").bytes),
        ("0123e456-7890-4abc-8def-000000000001", bytes.fromhex("0123e45678904abc8def000000000001")),
        ("0123E456-7890-4ABC-8DEF-000000000001", bytes.fromhex("0123e45678904abc8def000000000001")),
        (
            "0123e45678904abc8def000000000001",
            uuid.uuid5(PM_NAMESPACE, "0123e45678904abc8def000000000001").bytes,
        ),
    ],
    ids=["text", "uuid", "upper case", "hex is text"],
)
async def test_the_state_streams_root_is_the_correlation_ids(town, correlation_id, root):
    manager = town.manager(Manager(decides(events=["begun=1"])))

    await manager.react(await trigger(town, correlation_id=correlation_id))

    assert await town.values("fulfilment", root) == ["begun=1"]


@pytest.mark.spec("PM-2", "COMPAT-9")
async def test_two_workflows_never_share_a_state(town):
    script = Manager(decides(events=["begun=1"]))
    manager = town.manager(script)

    await manager.react(await trigger(town))
    await manager.react(await trigger(town, correlation_id="c-2"))

    assert [len(asked.process_state.pages) for asked in script.seen] == [0, 0]
    assert await town.values("fulfilment", STATE) == ["begun=1"]


@pytest.mark.spec("PM-2")
async def test_the_state_is_loaded_by_its_key_and_never_by_correlation(town):
    script = Manager(decides(events=["begun=1"]))
    manager = town.manager(script)
    await town.fill("fulfilment", 3, OTHER, correlation_id="c-1")

    await manager.react(await trigger(town))

    assert list(script.seen[0].process_state.pages) == []


@pytest.mark.spec("PM-2", "EDN-3", "COMPAT-9")
async def test_the_state_is_that_of_the_triggers_edition(town):
    script = Manager(decides(events=["main=1"]), decides(events=["branch=1"]))
    manager = town.manager(script)
    await manager.react(await trigger(town))

    await manager.react(await trigger(town, edition="what-if"))

    assert [page.event.value for page in script.seen[1].process_state.pages] == [b"main=1"]
    assert await town.values("fulfilment", STATE, "what-if") == ["main=1", "branch=1"]
    assert await town.values("fulfilment", STATE) == ["main=1"]


@pytest.mark.spec("PM-2", "EDN-5")
async def test_the_triggers_divergence_for_the_pm_domain_counts(town):
    script = Manager(decides(events=["a=1"]), decides(events=["b=1"]), decides(events=["c=1"]))
    manager = town.manager(script)
    await manager.react(await trigger(town))
    await manager.react(await trigger(town, at=1))
    book = wire.EventBook.FromString(await trigger(town, edition="what-if"))
    book.cover.edition.divergences.add(domain="fulfilment", sequence=1)

    await manager.react(book.SerializeToString())

    assert await town.values("fulfilment", STATE, "what-if") == ["a=1", "c=1"]


@pytest.mark.spec("CAS-8")
async def test_the_state_is_transformed(town):
    script = Manager(decides(events=["pending=1"]), decides())
    manager = town.manager(script)
    await manager.react(await trigger(town, cascade_id="X"), cascade(cascade_id="X"))

    await manager.react(await trigger(town, domain="shipment"))
    await manager.react(await trigger(town, domain="table"), cascade(cascade_id="X"))

    seen = [asked.process_state.pages[0].event.type_url for asked in script.seen[1:]]
    assert seen == ["type.angzarr.io/angzarr.NoOp", EVENT]


@pytest.mark.spec("UPC-2", "CAS-8")
async def test_state_and_trigger_are_upcast(town):
    class Upcaster:
        async def upcast(self, request, context):
            asked = wire.UpcastRequest.FromString(request)
            for page in asked.events:
                page.event.value = asked.domain.encode()
            return wire.UpcastResponse(events=asked.events).SerializeToString()

    script = Manager(decides(events=["begun=1"]))
    manager = town.manager(script, upcasters={"order": Upcaster(), "fulfilment": Upcaster()})
    await manager.react(await trigger(town))

    await manager.react(await trigger(town))

    asked = script.seen[1]
    assert asked.trigger.pages[0].event.value == b"order"
    assert asked.process_state.pages[0].event.value == b"fulfilment"
    assert await town.values("fulfilment", STATE) == ["begun=1", "begun=1"]


# PM-3, PM-4


@pytest.mark.spec("PM-3", "PM-4")
async def test_prepare_names_destinations_on_trigger_and_state(town):
    await town.fill("shipment", 3, OTHER)
    script = Manager(decides(events=["begun=1"]))
    script.prepares = [cover("shipment", OTHER), cover("shipment", ROOT), cover("player")]
    manager = town.manager(script)
    book = await trigger(town)

    await manager.react(book)

    [prepared] = script.prepared
    assert prepared.trigger == wire.EventBook.FromString(book)
    assert prepared.process_state.cover.domain == "fulfilment"
    numbers = dict(script.seen[0].destination_sequences)
    assert numbers == {"shipment": 3, "player": 0, "order": 1}


@pytest.mark.spec("PM-4", "SAGA-7", "SAGA-8")
async def test_the_first_prepared_root_is_the_described_one(town):
    await town.fill("shipment", 3, OTHER)
    books = [command("shipment", "a=1", root=OTHER), command("shipment", "b=1")]
    script = Manager(decides(*books))
    script.prepares = [cover("shipment", OTHER), cover("shipment", ROOT)]

    await town.manager(script).react(await trigger(town))

    assert [item.stamps for item in town.road.to("shipment")] == [[3], [0]]


@pytest.mark.spec("PM-4", "SAGA-6", "COMPAT-6")
async def test_further_declared_domains_are_described_by_the_state_streams_root(town):
    await town.fill("order", 2, STATE)
    await town.fill("shipment", 4, OTHER, correlation_id="c-1")
    script = Manager(decides())

    await town.manager(script).react(await trigger(town, domain="table"))

    assert dict(script.seen[0].destination_sequences) == {"order": 2, "shipment": 4}


@pytest.mark.spec("PM-4")
async def test_without_declared_domains_every_registered_one_is_described(town):
    script = Manager(decides(), targets=())

    await town.manager(script).react(await trigger(town))

    assert set(script.seen[0].destination_sequences) == set(town.handlers)


@pytest.mark.spec("PM-3")
async def test_unimplemented_prepare_means_no_destinations(town):
    script = Manager(decides(events=["begun=1"]))
    script.prepares = RemoteError("UNIMPLEMENTED", "Method not found!")

    outcome = await town.manager(script).react(await trigger(town))

    assert outcome.failure is None
    assert len(script.seen) == 1


@pytest.mark.spec("PM-3")
async def test_another_error_of_prepare_fails_the_reaction(town):
    script = Manager(decides(events=["begun=1"]))
    script.prepares = DOWN

    outcome = await town.manager(script).react(await trigger(town))

    assert (outcome.failure, script.seen) == (DOWN, [])


# PM-5, PM-6


@pytest.mark.spec("PM-5", "COMPAT-9", "COMPAT-2")
async def test_events_need_neither_cover_nor_headers(town):
    manager = town.manager(Manager(decides(events=["a=1", "b=1"]), decides(events=["c=1"])))
    await manager.react(await trigger(town))

    await manager.react(await trigger(town))

    pages = await town.pages("fulfilment", STATE)
    assert [page.header.sequence for page in pages] == [0, 1, 2]
    assert all(page.committed and page.HasField("created_at") for page in pages)
    book = (await town.stores.real.events.tail(0))[-1].book
    assert wire.EventBook.FromString(book).cover == cover(
        "fulfilment", STATE, edition="angzarr", correlation_id="c-1"
    )


@pytest.mark.spec("PM-5")
async def test_a_cover_and_numbers_of_the_handler_are_ignored(town):
    answer = decides(events=["a=1"])
    answer.process_events.cover.CopyFrom(cover("elsewhere", OTHER, correlation_id="own"))
    answer.process_events.pages[0].header.sequence = 77

    await town.manager(Manager(answer)).react(await trigger(town))

    [page] = await town.pages("fulfilment", STATE)
    assert page.header.sequence == 0


@pytest.mark.spec("PM-5", "CMD-31", "COMPAT-3")
async def test_pages_of_the_state_that_it_echoes_are_not_new(town):
    def echo(asked):
        answer = decides(events=["new=1"])
        fresh = answer.process_events.pages[0]
        del answer.process_events.pages[:]
        answer.process_events.pages.extend(asked.process_state.pages)
        answer.process_events.pages.append(fresh)
        return answer

    manager = town.manager(Manager(decides(events=["a=1"]), echo))
    await manager.react(await trigger(town))

    await manager.react(await trigger(town))

    assert await town.values("fulfilment", STATE) == ["a=1", "new=1"]


@pytest.mark.spec("PM-5", "SNAP-3", "SNAP-4")
async def test_a_returned_snapshot_is_stored_and_given_next_time(town):
    state = Any(type_url="type.googleapis.com/test.State", value=b"paid")
    script = Manager(decides(events=["a=1", "b=1"], snapshot=state), decides())
    manager = town.manager(script)
    await manager.react(await trigger(town))

    await manager.react(await trigger(town))

    given = script.seen[1].process_state
    assert (given.snapshot.sequence, given.snapshot.state) == (1, state)
    assert list(given.pages) == []


@pytest.mark.spec("PM-5", "SNAP-5")
async def test_no_snapshot_is_stored_in_a_cascade(town):
    state = Any(type_url="type.googleapis.com/test.State", value=b"paid")
    manager = town.manager(Manager(decides(events=["a=1"], snapshot=state)))

    await manager.react(await trigger(town, cascade_id="X"), cascade(cascade_id="X"))

    assert await town.stores.snapshots.get(Cover("fulfilment", STATE)) is None


@pytest.mark.spec("PM-5", "SNAP-5")
async def test_no_snapshot_is_stored_above_a_pending_page(town):
    state = Any(type_url="type.googleapis.com/test.State", value=b"paid")
    manager = town.manager(Manager(decides(events=["a=1"]), decides(snapshot=state)))
    await manager.react(await trigger(town, cascade_id="X"), cascade(cascade_id="X"))

    outcome = await manager.react(await trigger(town, domain="shipment"))

    assert outcome.failure is None
    assert await town.stores.snapshots.get(Cover("fulfilment", STATE)) is None


@pytest.mark.spec("PM-5", "SNAP-9")
async def test_no_snapshot_is_stored_where_writing_them_is_off(town):
    from angzarr.coordinators import CommandOptions, SnapshotOptions

    state = Any(type_url="type.googleapis.com/test.State", value=b"paid")
    options = CommandOptions(snapshots=SnapshotOptions(write=False))
    script = Manager(decides(events=["a=1"], snapshot=state))

    await town.manager(script, command_options=options).react(await trigger(town))

    assert await town.stores.snapshots.get(Cover("fulfilment", STATE)) is None


@pytest.mark.spec("PM-6")
async def test_events_key_and_outputs_are_one_write_before_the_first_command(town):
    manager = town.manager(
        Manager(
            decides(command("shipment", "a=1"), events=["begun=1"], facts=[fact("order", "b=1")])
        )
    )
    book = await trigger(town)
    seen = []

    async def look():
        seen.append((await town.values("fulfilment", STATE), await town.open()))

    town.road.fails("shipment", look)

    await manager.react(book)

    [(values, [obligation])] = seen
    assert values == ["begun=1"]
    assert obligation.kind == "output:pm:fulfilment"
    assert obligation.due_ns == town.clock.now_ns() + 30 * 10**9
    key = Provenance(Cover("order", ROOT), 0, "pm:fulfilment", 0, kind=6)
    found = await town.events.find_by_provenance(Cover("fulfilment", STATE), key)
    assert len(found.pages) == 1


@pytest.mark.spec("PM-6")
async def test_when_the_write_fails_nothing_is_sent(town):
    manager = town.manager(Manager(decides(command("shipment", "a=1"), events=["begun=1"])))
    book = await trigger(town)
    town.events.faults["append"] = StoreUnavailable("data", "disk full")

    outcome = await manager.react(book)

    assert str(outcome.failure) == "Failed to persist events: store data is unavailable: disk full"
    assert (town.road.sent, await town.open()) == ([], [])
    assert await town.values("fulfilment", STATE) == []


@pytest.mark.spec("PM-6")
async def test_commands_are_executed_in_order_then_facts(town):
    answer = decides(
        command("shipment", "a=1"),
        command("order", "b=1", root=STATE),
        facts=[fact("shipment", "c=1")],
    )

    outcome = await town.manager(Manager(answer)).react(await trigger(town, domain="table"))

    assert [item.provenance.index for item in (*town.road.sent, *town.road.facts)] == [0, 1, 2]
    assert await town.values("shipment") == ["a=1", "c=1"]
    assert await town.values("order", STATE) == ["b=1"]
    assert indexes(outcome) == ([0, 1], [])


@pytest.mark.spec("PM-6")
async def test_a_trigger_without_an_answer_leaves_its_key(town):
    script = Manager(decides())
    manager = town.manager(script)
    book = await trigger(town)

    await manager.react(book)
    await manager.react(book)

    assert len(script.seen) == 1
    assert await town.open() == []


@pytest.mark.spec("PM-6")
async def test_what_is_carried_out_is_closed(town):
    manager = town.manager(Manager(decides(command("shipment", "a=1"))))

    await manager.react(await trigger(town))
    await manager.close()

    assert await town.open() == []


async def test_a_close_that_fails_is_harmless(town, caplog):
    manager = town.manager(Manager(decides(command("shipment", "a=1"))))
    town.stores.obligations.faults["close"] = StoreUnavailable("data", "gone")

    outcome = await manager.react(await trigger(town))
    await manager.close()

    assert outcome.failure is None
    assert "stays open" in caplog.text


# PM-7


@pytest.mark.spec("PM-7", "CMD-37")
async def test_when_its_stream_moves_state_prepare_and_handle_run_again(town):
    script = Manager(decides(command("shipment", "a=1"), events=["mine=1"]))
    manager = town.manager(script)
    book = await trigger(town)
    others = [1]

    async def append(real, at, expected, pages, **options):
        if others and at.domain == "fulfilment":
            others.pop()
            await town.published("theirs=1", domain="fulfilment", root=STATE)
        return await real(at, expected, pages, **options)

    town.events.faults["append"] = append

    await manager.react(book)

    assert [len(asked.process_state.pages) for asked in script.seen] == [0, 1]
    assert len(script.prepared) == 2
    assert await town.values("fulfilment", STATE) == ["theirs=1", "mine=1"]
    assert await town.values("shipment") == ["a=1"]
    assert len(town.slept) == 1
    assert 0.005 <= town.slept[0] <= 0.010


@pytest.mark.spec("PM-7", "CMD-37")
async def test_a_stream_that_never_rests_fails_the_reaction_after_ten_tries(town):
    script = Manager(decides(events=["mine=1"]))
    manager = town.manager(script)
    book = await trigger(town)
    town.events.faults["append"] = SequenceConflict(Cover("fulfilment", STATE), 0, 1)

    outcome = await manager.react(book)

    assert isinstance(outcome.failure, SequenceConflict)
    assert len(script.seen) == 10


@pytest.mark.spec("PM-7", "PM-8")
async def test_of_two_deliveries_of_a_trigger_one_is_recorded(town):
    script = Manager(decides(command("shipment", "a=1"), events=["begun=1"]))
    manager = town.manager(script)
    book = await trigger(town)
    both = asyncio.Barrier(2)
    script.gate = both.wait

    await asyncio.gather(manager.react(book), manager.react(book))

    assert await town.values("fulfilment", STATE) == ["begun=1"]
    assert await town.values("shipment") == ["a=1"]


# PM-8


@pytest.mark.spec("PM-8")
async def test_a_redelivered_trigger_does_not_run_the_handler(town):
    script = Manager(decides(command("shipment", "a=1"), events=["begun=1"]))
    manager = town.manager(script)
    book = await trigger(town)
    await manager.react(book)
    await manager.close()

    again = await manager.react(book)

    assert len(script.seen) == 1
    assert (again.failure, len(town.road.sent)) == (None, 1)
    assert await town.values("fulfilment", STATE) == ["begun=1"]


@pytest.mark.spec("PM-8")
async def test_it_continues_what_was_left_to_do(town):
    script = Manager(decides(command("shipment", "a=1"), facts=[fact("order", "b=1", root=OTHER)]))
    manager = town.manager(script)
    book = await trigger(town)
    town.road.fails("order", DOWN)
    first = await manager.react(book)

    again = await manager.react(book)
    await manager.close()

    assert (first.failure, again.failure) == (DOWN, None)
    assert len(script.seen) == 1
    assert await town.values("shipment") == ["a=1"]
    assert await town.values("order", OTHER) == ["b=1"]
    assert await town.open() == []


@pytest.mark.spec("PM-8", "SAGA-2")
async def test_a_delivery_is_finished_once_it_is_recorded(town):
    script = Manager(decides(facts=[fact("order", "b=1", root=OTHER)]))
    manager = town.manager(script)
    town.road.fails("order", DOWN)

    await manager.deliver(Delivery(await trigger(town)))

    [obligation] = await town.open()
    assert (obligation.attempts, obligation.last_error) == (1, "connection refused")
    assert obligation.due_ns == town.clock.now_ns() + 10**8


@pytest.mark.spec("PM-8", "SAGA-5")
async def test_a_delivery_that_is_not_recorded_raises(town):
    manager = town.manager(Manager(BUG))

    with pytest.raises(HandlerFailed):
        await manager.deliver(Delivery(await trigger(town)))


# PM-9


@pytest.mark.spec("PM-9", "SAGA-11")
async def test_provenance_names_the_state_stream_and_its_last_new_event(town):
    script = Manager(
        decides(command("shipment", "a=1"), events=["a=1", "b=1"]),
        decides(command("shipment", "b=1"), events=["c=1"]),
    )
    manager = town.manager(script)
    await manager.react(await trigger(town))
    await manager.react(await trigger(town))

    provenances = [item.provenance for item in town.road.sent]
    assert [item.source_seq for item in provenances] == [1, 2]
    assert {item.component for item in provenances} == {"pm:fulfilment"}
    assert {item.occasion for item in provenances} == {b""}
    source = cover("fulfilment", STATE, edition="angzarr", correlation_id="c-1")
    assert provenances[0].source == source


@pytest.mark.spec("PM-9", "COMPAT-10")
async def test_two_reactions_without_events_of_their_own_are_two(town):
    """They have source and source_seq in common; without the occasion the second command would be
    taken for a repeat of the first, and be lost."""
    script = Manager(decides(command("shipment", "a=1")), decides(command("shipment", "b=1")))
    manager = town.manager(script)
    await manager.react(await trigger(town))
    await manager.react(await trigger(town))

    first, second = (item.provenance for item in town.road.sent)
    assert first.source_seq == second.source_seq == 0
    assert first.occasion != second.occasion
    assert await town.values("shipment") == ["a=1", "b=1"]


@pytest.mark.spec("PM-9")
async def test_without_new_events_source_seq_is_the_states_head(town):
    script = Manager(decides(events=["a=1", "b=1"]), decides(command("shipment", "a=1")))
    manager = town.manager(script)
    await manager.react(await trigger(town))
    await manager.react(await trigger(town))

    assert town.road.sent[0].provenance.source_seq == 1


@pytest.mark.spec("PM-9", "SAGA-12")
async def test_a_mismatch_runs_prepare_and_handle_again_on_the_first_runs_state(town):
    def handle(asked):
        stamp = asked.destination_sequences["shipment"]
        return decides(command("shipment", "a=1", at=stamp), events=["begun=1"])

    script = Manager(handle)
    script.prepares = [cover("shipment")]
    manager = town.manager(script)
    book = await trigger(town)
    town.road.fails("shipment", lambda: town.fill("shipment", 1))

    outcome = await manager.react(book)

    first, second = script.seen
    assert first.process_state == second.process_state
    assert first.trigger == second.trigger == wire.EventBook.FromString(book)
    assert [asked.destination_sequences["shipment"] for asked in script.seen] == [0, 1]
    assert len(script.prepared) == 2
    assert [item.stamps for item in town.road.sent] == [[0], [1]]
    assert await town.values("fulfilment", STATE) == ["begun=1"]
    assert indexes(outcome) == ([0], [])


@pytest.mark.spec("PM-9", "SAGA-13", "COMP-1", "COMP-3")
async def test_a_rejected_command_is_to_be_notified_to_the_state_stream(town):
    town.handlers["shipment"].answer = CommandRejected("no stock")
    answer = decides(
        command("shipment", "a=1"), command("order", "b=1", root=STATE), events=["x=1"]
    )
    manager = town.manager(Manager(answer))

    outcome = await manager.react(await trigger(town))
    await manager.close()

    assert indexes(outcome) == ([1], [0])
    [(_, provenance, reason)] = town.told.rejections
    assert (provenance.source, provenance.source_seq) == (
        Cover("fulfilment", STATE, "", "c-1"),
        0,
    )
    assert (provenance.component, reason) == ("pm:fulfilment", "no stock")
    assert [item.kind for item in await town.open()] == ["rejection"]


@pytest.mark.spec("PM-9", "SAGA-17", "PM-6")
async def test_an_undeclared_domain_fails_it_before_anything_is_written(town):
    manager = town.manager(Manager(decides(command("player", "a=1"), events=["begun=1"])))

    outcome = await manager.react(await trigger(town))

    assert isinstance(outcome.failure, InvalidInput)
    assert await town.values("fulfilment", STATE) == []


@pytest.mark.spec("PM-9", "SAGA-18")
async def test_an_unknown_facts_domain_fails_it_before_anything_is_written(town):
    answer = decides(command("order", "a=1"), events=["begun=1"], facts=[fact("nowhere", "a=1")])
    manager = town.manager(Manager(answer, targets=()))

    outcome = await manager.react(await trigger(town))

    assert str(outcome.failure) == "Target aggregate not found: nowhere"
    assert (town.road.sent, await town.values("fulfilment", STATE)) == ([], [])


@pytest.mark.spec("PM-9", "SAGA-16", "COMPAT-8")
async def test_outputs_get_the_triggers_edition_and_correlation_id(town):
    answer = decides(
        command("shipment", "a=1", edition="x"), facts=[fact("order", "b=1", root=OTHER)]
    )
    manager = town.manager(Manager(answer))
    book = wire.EventBook.FromString(await trigger(town, edition="what-if"))
    book.cover.edition.divergences.add(domain="shipment", sequence=0)

    await manager.react(book.SerializeToString())

    covers = [town.road.sent[0].request.command.cover, town.road.facts[0].request.events.cover]
    assert [item.edition for item in covers] == [book.cover.edition] * 2
    assert [item.correlation_id for item in covers] == ["c-1"] * 2


@pytest.mark.spec("PM-9", "SAGA-9")
async def test_a_deferred_commands_source_is_the_state_stream(town):
    manager = town.manager(
        Manager(decides(command("shipment", "a=1", header=deferred()), events=["x=1"]))
    )

    await manager.react(await trigger(town))

    header = town.road.sent[0].request.command.pages[0].header.angzarr_deferred
    assert (header.source.domain, header.source.root.value) == ("fulfilment", STATE)


@pytest.mark.spec("SAGA-4", "SYNC-4", "PM-9")
async def test_in_a_cascade_its_pages_are_pending_and_its_commands_cascade_too(town):
    manager = town.manager(Manager(decides(command("shipment", "a=1"), events=["begun=1"])))
    book = await trigger(town, cascade_id="X")

    await manager.react(book, cascade(cascade_id="X", context=CallContext(deadline_ns=2**62)))

    [page] = await town.pages("fulfilment", STATE)
    assert (page.committed, page.cascade_id) == (False, "X")
    [sent] = town.road.sent
    assert (sent.request.sync_mode, sent.request.cascade_id) == (wire.SYNC_MODE_CASCADE, "X")
    assert sent.context.metadata["angzarr-cascade-depth"] == "1"
    assert sent.context.deadline_ns == 2**62


@pytest.mark.spec("CAS-3")
async def test_in_a_decided_cascade_it_does_not_begin(town):
    script = Manager(decides(events=["begun=1"]))
    book = await trigger(town, cascade_id="X")
    await town.events.decide_cascade("X", "ROLLBACK", "timeout")

    outcome = await town.manager(script).react(book, cascade(cascade_id="X"))

    assert isinstance(outcome.failure, CascadeDecided)
    assert script.seen == []


@pytest.mark.spec("CAS-20")
async def test_pending_pages_of_another_cascade_lock_its_stream(town):
    script = Manager(decides(events=["begun=1"]))
    manager = town.manager(script)
    await manager.react(await trigger(town, cascade_id="X"), cascade(cascade_id="X"))

    outcome = await manager.react(await trigger(town, domain="shipment"))

    assert isinstance(outcome.failure, CascadeConflict)
    assert len(await town.values("fulfilment", STATE)) == 1


# PM-10


@pytest.mark.spec("PM-10")
async def test_only_its_new_pages_are_published(town):
    manager = town.manager(Manager(decides(events=["a=1"]), decides(events=["b=1"])))
    await manager.react(await trigger(town))
    await manager.react(await trigger(town))

    entries = await town.stores.real.events.tail(0)
    book = wire.EventBook.FromString(entries[-1].book)
    assert [page.event.value for page in book.pages] == [b"b=1"]


@pytest.mark.spec("PM-10", "CAS-12")
@pytest.mark.parametrize("message", [wire.CascadeCommit, wire.CascadeRollback])
async def test_a_decision_among_its_events_decides(town, message):
    await town.published("pending=1", domain="table", cascade_id="X")
    answer = decides(command("shipment", "a=1"), facts=[fact("order", "b=1", root=OTHER)])
    page = answer.process_events.pages.add()
    page.event.type_url = f"type.googleapis.com/angzarr.{message.__name__}"
    page.event.value = message(cascade_id="X").SerializeToString()

    outcome = await town.manager(Manager(answer)).react(await trigger(town))

    decision = await town.events.decision("X")
    assert decision.outcome == ("COMMIT" if message is wire.CascadeCommit else "ROLLBACK")
    assert [item.provenance.index for item in (*town.road.sent, *town.road.facts)] == [0, 2, 1]
    assert indexes(outcome) == ([0, 2], [])
    assert len(await town.pages("fulfilment", STATE)) == 1


@pytest.mark.spec("PM-10", "CAS-15")
async def test_a_decision_that_comes_too_late_is_rejected_like_a_command(town):
    await town.published("pending=1", domain="table", cascade_id="X")
    await town.events.decide_cascade("X", "ROLLBACK", "timeout")
    answer = decides()
    page = answer.process_events.pages.add()
    page.event.type_url = "type.googleapis.com/angzarr.CascadeCommit"
    page.event.value = wire.CascadeCommit(cascade_id="X").SerializeToString()

    outcome = await town.manager(Manager(answer)).react(await trigger(town))

    assert isinstance(outcome.refused[0].error, CascadeDecided)
    assert town.told.rejections[0][2] == "Cascade X rolled back: timeout"


# PM-11


def handle_request(book: bytes | None, **more: object) -> bytes:
    request = wire.ProcessManagerCoordinatorRequest(**more)
    if book is not None:
        request.trigger.ParseFromString(book)
    return request.SerializeToString()


@pytest.mark.spec("PM-11")
async def test_handle_answers_empty_after_the_commands(town):
    script = Manager(decides(command("shipment", "a=1"), events=["begun=1"]))
    request = handle_request(await trigger(town))

    assert await town.manager(script).handle(request, CallContext()) == b""
    assert await town.values("shipment") == ["a=1"]
    assert await town.values("fulfilment", STATE) == ["begun=1"]


@pytest.mark.spec("PM-11")
@pytest.mark.parametrize("is_before", [True, False])
async def test_a_failed_handle_says_why(town, is_before):
    from angzarr.rpc.status import status_of

    script = Manager(DOWN if is_before else decides(facts=[fact("order", "b=1", root=OTHER)]))
    town.road.fails("order", DOWN)
    request = handle_request(await trigger(town))

    with pytest.raises(OrchestrationFailed) as failed:
        await town.manager(script).handle(request, CallContext())

    assert str(failed.value) == "Process manager orchestration failed: connection refused"
    assert status_of(failed.value).code.name == "INTERNAL"


@pytest.mark.spec("PM-11", "COMP-3")
async def test_a_handle_with_a_rejected_command_succeeds(town):
    town.handlers["shipment"].answer = CommandRejected("no stock")
    script = Manager(decides(command("shipment", "a=1")))

    assert (
        await town.manager(script).handle(handle_request(await trigger(town)), CallContext()) == b""
    )


@pytest.mark.spec("PM-1", "PM-11")
async def test_handle_without_a_trigger_or_correlation_id_is_invalid(town):
    manager = town.manager(Manager())

    with pytest.raises(InvalidInput, match="must have a trigger"):
        await manager.handle(handle_request(None), CallContext())
    with pytest.raises(InvalidInput, match="no correlation id"):
        await manager.handle(handle_request(await town.published("paid=1")), CallContext())


@pytest.mark.spec("SAGA-4", "PM-11")
async def test_handle_passes_its_modes_on(town):
    script = Manager(decides(command("shipment", "a=1")))
    request = handle_request(
        await trigger(town), sync_mode=wire.SYNC_MODE_CASCADE, cascade_error_mode=1
    )

    await town.manager(script).handle(request, CallContext())

    sent = town.road.sent[0].request
    assert (sent.sync_mode, sent.cascade_error_mode) == (wire.SYNC_MODE_CASCADE, 1)


# PM-12


def rejection(root: bytes = STATE, **more: object) -> wire.CommandBook:
    told = wire.Notification(cover=cover("fulfilment", root))
    book = wire.CommandBook(cover=cover("fulfilment", root, **more))
    page = book.pages.add()
    page.command.type_url = "type.googleapis.com/angzarr.Notification"
    page.command.value = told.SerializeToString()
    page.header.CopyFrom(deferred(cover("fulfilment", root, **more), 0))
    return book


def told_context(index: int = 0, edition: str = "") -> CallContext:
    provenance = wire.Provenance(
        source=cover("fulfilment", STATE, edition=edition),
        component="pm:fulfilment",
        index=index,
        kind=wire.REJECTION,
    )
    return CallContext(metadata={"angzarr-provenance-bin": provenance.SerializeToString()})


@pytest.mark.spec("PM-12")
async def test_its_rejection_handlers_answer_on_its_state(town):
    script = Manager(decides(events=["begun=1"]))
    script.answers_rejections = business("undone=1")
    manager = town.manager(script)
    await manager.react(await trigger(town))

    answer = await manager.compensate(rejection(correlation_id="c-1"), told_context())

    assert wire.BusinessResponse.FromString(answer) == script.answers_rejections
    assert await town.values("fulfilment", STATE) == ["begun=1", "undone=1"]
    [asked] = script.told
    assert [page.event.value for page in asked.events.pages] == [b"begun=1"]
    assert asked.command.pages[0].header.sequence == 1
    entries = await town.stores.real.events.tail(0)
    assert wire.EventBook.FromString(entries[-1].book).cover.correlation_id == "c-1"


@pytest.mark.spec("PM-12")
@pytest.mark.parametrize(
    "answer",
    [
        business("undone=1"),
        wire.BusinessResponse(revocation=wire.RevocationResponse(escalate=True, reason="x")),
        wire.BusinessResponse(),
    ],
    ids=["events", "flags", "nothing"],
)
async def test_a_rejection_is_answered_once(town, answer):
    script = Manager()
    script.answers_rejections = answer
    manager = town.manager(script)
    first = await manager.compensate(rejection(), told_context())
    script.answers_rejections = business("other=1")

    again = await manager.compensate(rejection(), told_context())

    assert again == first == answer.SerializeToString()
    assert len(script.told) == 1
    key = Provenance(Cover("fulfilment", STATE), 0, "pm:fulfilment", 0, REJECTION)
    assert await town.events.find_by_provenance(Cover("fulfilment", STATE), key)


@pytest.mark.spec("PM-12")
async def test_rejections_of_two_outputs_are_two(town):
    script = Manager()
    script.answers_rejections = business("undone=1")
    manager = town.manager(script)

    await manager.compensate(rejection(), told_context(0))
    await manager.compensate(rejection(), told_context(1))

    assert await town.values("fulfilment", STATE) == ["undone=1", "undone=1"]


@pytest.mark.spec("PM-12")
async def test_one_without_rejection_handlers_leaves_it_to_others(town):
    assert await town.manager(Manager()).compensate(rejection(), told_context()) is None
    assert await town.events.log_head() == 0


@pytest.mark.spec("PM-12")
async def test_an_error_of_its_rejection_handler_is_raised(town):
    script = Manager()
    script.answers_rejections = BUG

    with pytest.raises(HandlerFailed):
        await town.manager(script).compensate(rejection(), told_context())


@pytest.mark.spec("PM-12", "EDN-12")
async def test_a_rejection_on_a_branch_is_answered_on_the_branch(town):
    script = Manager(decides(events=["begun=1"]))
    script.answers_rejections = business("undone=1")
    manager = town.manager(script)
    await manager.react(await trigger(town, edition="what-if"))

    await manager.compensate(rejection(edition="what-if"), told_context(edition="what-if"))

    assert await town.values("fulfilment", STATE, "what-if") == ["begun=1", "undone=1"]
    assert await town.values("fulfilment", STATE) == []


# SPEC-5


def speculate(book: bytes | None, **more: object) -> bytes:
    request = wire.SpeculatePmRequest(request=wire.ProcessManagerHandleRequest(**more))
    if book is not None:
        request.request.trigger.ParseFromString(book)
    return request.SerializeToString()


@pytest.mark.spec("SPEC-5")
async def test_speculation_stores_and_sends_nothing(town):
    script = Manager(
        decides(
            command("shipment", "a=1", edition="x"), events=["b=1"], facts=[fact("order", "c=1")]
        )
    )
    book = await trigger(town, edition="what-if")
    head = await town.events.log_head()

    answer = await town.manager(script).handle_speculative(speculate(book), CallContext())

    response = wire.ProcessManagerHandleResponse.FromString(answer)
    assert len(script.seen) == 1
    for made in (*response.commands, *response.facts):
        assert (made.cover.edition.name, made.cover.correlation_id) == ("what-if", "c-1")
    assert response.process_events.cover == cover(
        "fulfilment", STATE, edition="what-if", correlation_id="c-1"
    )
    assert (town.road.sent, town.road.facts, await town.open()) == ([], [], [])
    assert await town.events.log_head() == head


@pytest.mark.spec("SPEC-5")
async def test_speculation_uses_a_given_state_and_given_numbers(town):
    await town.fill("order", 2, STATE)
    script = Manager(decides())
    state = wire.EventBook(cover=cover("fulfilment", STATE))
    state.pages.add().header.sequence = 0
    request = speculate(
        await trigger(town, domain="table"),
        process_state=state,
        destination_sequences={"shipment": 9},
    )

    await town.manager(script).handle_speculative(request, CallContext())

    assert script.seen[0].process_state == state
    assert dict(script.seen[0].destination_sequences) == {"shipment": 9, "order": 2}


@pytest.mark.spec("SPEC-5")
async def test_speculation_without_a_state_uses_the_stored_one(town):
    script = Manager(decides(events=["begun=1"]))
    manager = town.manager(script)
    await manager.react(await trigger(town))

    await manager.handle_speculative(speculate(await trigger(town)), CallContext())

    assert [page.event.value for page in script.seen[1].process_state.pages] == [b"begun=1"]


@pytest.mark.spec("SPEC-5", "PM-1")
async def test_speculation_needs_a_trigger_with_a_correlation_id(town):
    manager = town.manager(Manager())

    with pytest.raises(InvalidInput, match="must have a trigger"):
        await manager.handle_speculative(b"", CallContext())
    with pytest.raises(InvalidInput, match="no correlation id"):
        await manager.handle_speculative(speculate(await town.published("paid=1")), CallContext())
