"""Sagas: what they are asked, what they answer for, and calls of their coordinator (SAGA-1 to
SAGA-19, SPEC-5, COMP-13).
"""

from __future__ import annotations

import asyncio

import pytest

from angzarr import wire
from angzarr.coordinators.flow import LOG_DELIVERY
from angzarr.cover import REJECTION, Cover, Provenance
from angzarr.errors import (
    CommandRejected,
    HandlerFailed,
    InvalidInput,
    OrchestrationFailed,
    Overloaded,
    RemoteError,
    StoreUnavailable,
)
from angzarr.ports.components import CallContext

from .reacting import (
    DOMAINS,
    OTHER,
    ROOT,
    Delivery,
    Script,
    cascade,
    command,
    cover,
    fact,
    indexes,
    schedule,
    sends,
)

DOWN = RemoteError("UNAVAILABLE", "connection refused")
HANDLER_DOWN = HandlerFailed("saga:shipping", "a bug")


def test_its_names(town):
    saga = town.saga(Script())

    assert (saga.name, saga.consumer) == ("saga:shipping", "saga-shipping")
    assert [item.domain for item in saga.subscriptions] == ["order"]
    assert [duty.kind for duty in saga.duties] == ["timer:saga:shipping"]


# What Handle is asked


@pytest.mark.spec("SAGA-2", "COMPAT-11")
async def test_one_request_a_book_with_the_book_as_it_came(town):
    script = Script(sends())
    book = await town.published("paid=1;sent=1", correlation_id="c-1")

    await town.saga(script).react(book)

    [asked] = script.seen
    assert asked.source == wire.EventBook.FromString(book)
    assert [page.header.sequence for page in asked.source.pages] == [0, 1]


@pytest.mark.spec("SAGA-2")
async def test_a_book_without_pages_is_nothing_to_react_to(town):
    script = Script(HANDLER_DOWN)

    outcome = await town.saga(script).react(
        wire.EventBook(cover=cover("order")).SerializeToString()
    )

    assert (outcome.failure, script.seen) == (None, [])


@pytest.mark.spec("SAGA-4")
@pytest.mark.parametrize(
    ("flow", "modes"),
    [
        (LOG_DELIVERY, (wire.SYNC_MODE_ASYNC, wire.CASCADE_ERROR_FAIL_FAST)),
        (
            cascade(error_mode=wire.CASCADE_ERROR_COMPENSATE),
            (wire.SYNC_MODE_CASCADE, wire.CASCADE_ERROR_COMPENSATE),
        ),
    ],
)
async def test_the_modes_are_those_of_the_flow(town, flow, modes):
    script = Script(sends(command("player", "a=1")))

    await town.saga(script).react(await town.published("paid=1"), flow)

    [asked] = script.seen
    assert (asked.sync_mode, asked.cascade_error_mode) == modes
    [sent] = town.road.sent
    assert (sent.request.sync_mode, sent.request.cascade_error_mode) == modes


@pytest.mark.spec("SAGA-6", "COMPAT-6")
async def test_the_map_holds_every_declared_domain(town):
    await town.fill("player", 2)
    script = Script(sends())

    await town.saga(script).react(await town.published("paid=1"))

    assert dict(script.seen[0].destination_sequences) == {"player": 2, "table": 0}


@pytest.mark.spec("SAGA-6", "COMPAT-6")
async def test_without_declared_domains_it_holds_every_registered_one(town):
    script = Script(sends(), targets=())

    await town.saga(script).react(await town.published("paid=1"))

    assert set(script.seen[0].destination_sequences) == set(DOMAINS)


@pytest.mark.spec("SAGA-1", "SAGA-6", "SAGA-7")
async def test_a_declared_routing_says_which_root_is_described(town):
    await town.fill("player", 3, OTHER)
    script = Script(lambda asked: sends(command("player", "a=1", root=OTHER, at=3)))
    script.routes = {"player": OTHER}

    outcome = await town.saga(script).react(await town.published("paid=1"))

    assert dict(script.seen[0].destination_sequences) == {"player": 3, "table": 0}
    assert indexes(outcome) == ([0], [])


@pytest.mark.spec("SAGA-6")
async def test_numbers_that_cannot_be_read_fail_the_reaction(town):
    town.events.faults["next_sequence"] = StoreUnavailable("data", "gone")
    script = Script(sends())

    outcome = await town.saga(script).react(await town.published("paid=1"))

    assert isinstance(outcome.failure, StoreUnavailable)
    assert script.seen == []


@pytest.mark.spec("UPC-2")
async def test_it_sees_upcast_pages_where_its_process_has_the_upcaster(town):
    script = Script(sends())

    await town.saga(script, upcasters={"order": Lifting()}).react(await town.published("paid=1"))

    assert script.seen[0].source.pages[0].event.value == b"lifted"


class Lifting:
    """An upcaster to the payload `lifted`."""

    async def upcast(self, request: bytes, context: CallContext) -> bytes:
        asked = wire.UpcastRequest.FromString(request)
        for page in asked.events:
            page.event.value = b"lifted"
        return wire.UpcastResponse(events=asked.events).SerializeToString()


class Here(Script):
    """A saga that takes messages. given: what it was asked."""

    def __init__(self, *answers: object) -> None:
        super().__init__(*answers)
        self.given: list[tuple[wire.EventBook, dict[str, int]]] = []

    async def react_to(
        self, source: wire.EventBook, next_sequences: dict[str, int], context: CallContext
    ) -> wire.SagaResponse:
        self.given.append((source, dict(next_sequences)))
        return sends(command("player", "a=1"))


@pytest.mark.spec("SAGA-2", "SAGA-6")
async def test_a_saga_here_is_given_messages_and_not_their_bytes(town):
    await town.fill("player", 2)
    saga, book = Here(), await town.published("paid=1", correlation_id="c-1")

    outcome = await town.saga(saga).react(book)

    assert saga.given == [(wire.EventBook.FromString(book), {"player": 2, "table": 0})]
    assert indexes(outcome) == ([0], [])
    assert saga.seen == []


@pytest.mark.spec("UPC-2")
async def test_a_saga_here_is_given_upcast_messages(town):
    saga = Here()

    await town.saga(saga, upcasters={"order": Lifting()}).react(await town.published("paid=1"))

    assert saga.given[0][0].pages[0].event.value == b"lifted"


# Failures of Handle


@pytest.mark.spec("SAGA-5", "SYNC-6")
@pytest.mark.parametrize("error", [DOWN, HANDLER_DOWN])
async def test_an_error_of_handle_is_a_failed_reaction(town, error):
    outcome = await town.saga(Script(error)).react(await town.published("paid=1"), cascade())

    assert outcome.failure is outcome.error is error


@pytest.mark.spec("SAGA-2", "SAGA-5")
async def test_a_delivery_raises_what_kept_it_from_being_finished(town):
    saga = town.saga(Script(DOWN, sends(command("player", "a=1"))))
    delivery = Delivery(await town.published("paid=1"))

    with pytest.raises(RemoteError, match="connection refused"):
        await saga.deliver(delivery)

    await saga.deliver(delivery)
    assert await town.values("player") == ["a=1"]


@pytest.mark.spec("SAGA-2", "COMP-3")
async def test_a_delivery_whose_rejections_are_recorded_is_finished(town):
    town.handlers["player"].answer = CommandRejected("no funds")
    saga = town.saga(Script(sends(command("player", "a=1"))))

    await saga.deliver(Delivery(await town.published("paid=1")))

    assert len(await town.open()) == 1


@pytest.mark.spec("SAGA-5")
async def test_an_answer_that_does_not_parse_fails_the_reaction(town):
    script = Script()
    book = await town.published("paid=1")

    async def handle(request, context):
        return b"\xff"

    script.handle = handle

    assert isinstance((await town.saga(script).react(book)).failure, InvalidInput)


@pytest.mark.spec("SAGA-17")
async def test_an_undeclared_domain_fails_the_reaction_before_anything_is_sent(town):
    books = [command("player", "a=1"), command("shipment", "a=1")]
    saga = town.saga(Script(sends(*books)))

    outcome = await saga.react(await town.published("paid=1"))

    assert isinstance(outcome.failure, InvalidInput)
    assert town.road.sent == []
    assert await town.open() == []


@pytest.mark.spec("CMD-7")
async def test_calls_of_one_saga_are_bounded(town):
    entered, gate = asyncio.Event(), asyncio.Event()

    async def wait():
        entered.set()
        await gate.wait()

    script = Script(sends())
    script.gate = wait
    options = town.options(handler_concurrency=1, channel_capacity=0)
    saga = town.saga(script, options=options)
    book = await town.published("paid=1")
    first = asyncio.create_task(saga.react(book))
    await entered.wait()

    second = await saga.react(book)

    assert isinstance(second.failure, Overloaded)
    gate.set()
    assert (await first).failure is None


# What is sent


@pytest.mark.spec("SAGA-11", "SAGA-16", "WIRE-12", "EDN-12")
async def test_every_command_carries_its_provenance(town):
    script = Script(sends(command("player", "a=1"), command("table", "a=1")))
    await town.published("old=1", edition="what-if", correlation_id="c-1")
    book = await town.published("paid=1;sent=1", edition="what-if", correlation_id="c-1")

    await town.saga(script).react(book)

    first, second = (item.provenance for item in town.road.sent)
    assert (first.component, first.source_seq, first.kind) == ("saga:shipping", 2, wire.COMMAND)
    assert (first.index, second.index, first.occasion) == (0, 1, b"")
    assert first.source == cover("order", edition="what-if", correlation_id="c-1")
    assert town.road.sent[0].context.metadata["x-correlation-id"] == "c-1"
    assert await town.values("player", edition="what-if") == ["a=1"]
    assert await town.values("player") == []


@pytest.mark.spec("SYNC-4", "SYNC-1", "CAS-2")
@pytest.mark.parametrize(("given", "sent"), [({}, "1"), ({"angzarr-cascade-depth": "4"}, "5")])
async def test_in_a_cascade_depth_deadline_and_id_go_on(town, given, sent):
    script = Script(sends(command("player", "a=1")))
    context = CallContext(deadline_ns=2**62, metadata={**given, "traceparent": "00-1"})
    flow = cascade(cascade_id="X", context=context)

    await town.saga(script).react(await town.published("paid=1", cascade_id="X"), flow)

    [item] = town.road.sent
    assert item.context.deadline_ns == 2**62
    assert item.context.metadata["angzarr-cascade-depth"] == sent
    assert item.context.metadata["traceparent"] == "00-1"
    assert item.request.cascade_id == "X"
    [page] = await town.pages("player")
    assert (page.committed, page.cascade_id) == (False, "X")
    assert script.contexts[0].deadline_ns == 2**62


@pytest.mark.spec("SYNC-4")
@pytest.mark.parametrize("given", [b"\xff", "-1", "x", ""])
async def test_a_depth_that_is_no_number_counts_as_none(town, given):
    context = CallContext(metadata={"angzarr-cascade-depth": given})
    script = Script(sends(command("player", "a=1")))

    await town.saga(script).react(await town.published("paid=1"), cascade(context=context))

    assert town.road.sent[0].context.metadata["angzarr-cascade-depth"] == "1"


@pytest.mark.spec("SYNC-4", "SAGA-11")
async def test_what_the_request_itself_carried_does_not_go_on(town):
    metadata = {"angzarr-provenance-bin": b"\x12\x01", "authorization": "secret"}
    script = Script(sends(command("player", "a=1")))

    flow = cascade(context=CallContext(metadata=metadata))
    await town.saga(script).react(await town.published("paid=1"), flow)

    assert "angzarr-provenance-bin" not in script.contexts[0].metadata
    assert town.road.sent[0].provenance.component == "saga:shipping"
    assert "authorization" not in town.road.sent[0].context.metadata


@pytest.mark.spec("SYNC-1")
async def test_a_delivery_of_the_log_says_nothing_of_a_depth(town):
    await town.saga(Script(sends(command("player", "a=1")))).react(await town.published("paid=1"))

    [item] = town.road.sent
    assert "angzarr-cascade-depth" not in item.context.metadata
    assert not item.request.HasField("cascade_id")


async def test_errors_of_what_followed_in_the_same_request_are_told(town):
    """A CASCADE command that was accepted under CONTINUE lists what failed after it."""
    script = Script(sends(command("player", "a=1")))
    saga = town.saga(script)
    failed = wire.CascadeError(component_name="billing", error_message="no credit")

    async def handle_command(request, context):
        return wire.CommandResponse(cascade_errors=[failed]).SerializeToString()

    town.road.handle_command = handle_command

    outcome = await saga.react(await town.published("paid=1"), cascade())

    assert outcome.executed[0].cascade_errors == (failed,)


@pytest.mark.spec("COMP-3", "SYNC-10")
async def test_a_caller_that_goes_away_leaves_what_the_log_can_go_on_with(town):
    entered = asyncio.Event()

    async def hang():
        entered.set()
        await asyncio.Event().wait()

    town.handlers["player"].answer = CommandRejected("no funds")
    saga = town.saga(Script(sends(command("player", "a=1"), command("table", "a=1"))))
    book = await town.published("paid=1")
    town.road.fails("table", hang)
    running = asyncio.create_task(saga.react(book, cascade()))
    await entered.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    town.handlers["player"].answer = None

    outcome = await saga.react(book)

    assert indexes(outcome) == ([1], [0])
    assert await town.values("player") == []
    assert await town.values("table") == ["a=1"]
    assert len(await town.open()) == 1


# Execute


def execute(book: bytes | None, **more: object) -> bytes:
    request = wire.SagaHandleRequest(**more)
    if book is not None:
        request.source.ParseFromString(book)
    return request.SerializeToString()


@pytest.mark.spec("SAGA-19")
async def test_execute_runs_a_reaction_with_fresh_numbers(town):
    await town.fill("player", 2)
    script = Script(lambda asked: sends(command("player", "a=1", at=2)))
    request = execute(await town.published("paid=1"), destination_sequences={"player": 9})

    answer = await town.saga(script).execute(request, CallContext())

    assert answer == b""
    assert dict(script.seen[0].destination_sequences) == {"player": 2, "table": 0}
    assert (await town.values("player"))[2:] == ["a=1"]


@pytest.mark.spec("SAGA-19")
async def test_execute_without_a_source_is_invalid(town):
    with pytest.raises(InvalidInput, match="SagaHandleRequest must have a source"):
        await town.saga(Script()).execute(execute(None), CallContext())


@pytest.mark.spec("SAGA-19")
async def test_execute_of_a_malformed_source_is_invalid(town):
    book = wire.EventBook(cover=cover("order", b"short"))

    with pytest.raises(InvalidInput, match="Invalid UUID"):
        await town.saga(Script()).execute(execute(book.SerializeToString()), CallContext())


@pytest.mark.spec("SAGA-19")
async def test_a_failed_execute_says_why(town):
    from angzarr.rpc.status import status_of

    saga = town.saga(Script(DOWN))

    with pytest.raises(OrchestrationFailed) as failed:
        await saga.execute(execute(await town.published("paid=1")), CallContext())

    assert str(failed.value) == "Saga orchestration failed: connection refused"
    assert status_of(failed.value).code.name == "INTERNAL"


@pytest.mark.spec("SAGA-19", "COMP-3")
async def test_execute_with_a_rejected_command_succeeds_and_compensates(town):
    town.handlers["player"].answer = CommandRejected("no funds")
    saga = town.saga(Script(sends(command("player", "a=1"))))

    assert await saga.execute(execute(await town.published("paid=1")), CallContext()) == b""
    assert len(await town.open()) == 1


@pytest.mark.spec("SAGA-4", "SAGA-19", "WIRE-2")
async def test_execute_passes_its_modes_on_and_reads_unknown_ones_as_0(town):
    script = Script(sends())
    book = await town.published("paid=1")
    saga = town.saga(script)

    await saga.execute(
        execute(book, sync_mode=wire.SYNC_MODE_CASCADE, cascade_error_mode=1), CallContext()
    )
    await saga.execute(execute(book, sync_mode=77, cascade_error_mode=77), CallContext())

    modes = [(asked.sync_mode, asked.cascade_error_mode) for asked in script.seen]
    assert modes == [(wire.SYNC_MODE_CASCADE, 1), (0, 0)]


@pytest.mark.spec("SAGA-16", "EDN-5", "SAGA-19")
async def test_the_full_edition_of_the_source_reaches_the_outputs(town):
    await town.fill("player", 3)
    source = wire.EventBook.FromString(await town.published("paid=1"))
    source.cover.CopyFrom(cover("order", edition="what-if", divergences={"player": 1}))
    saga = town.saga(Script(sends(command("player", "a=1"))))

    await saga.execute(execute(source.SerializeToString()), CallContext())

    assert town.road.sent[0].request.command.cover.edition == source.cover.edition
    assert await town.values("player", edition="what-if") == ["old0=1", "a=1"]


# ExecuteSpeculative


def speculate(book: bytes | None, **more: object) -> bytes:
    request = wire.SpeculateSagaRequest()
    request.request.ParseFromString(execute(book, **more))
    return request.SerializeToString()


@pytest.mark.spec("SPEC-5")
async def test_speculation_calls_handle_once_and_sends_nothing(town):
    script = Script(
        sends(command("player", "a=1", edition="x"), events=[fact("table", "seen=1", edition="x")])
    )
    book = await town.published("paid=1", edition="what-if", correlation_id="c-1")
    head = await town.events.log_head()

    answer = await town.saga(script).execute_speculative(speculate(book), CallContext())

    response = wire.SagaResponse.FromString(answer)
    assert len(script.seen) == 1
    for made in (*response.commands, *response.events):
        assert (made.cover.edition.name, made.cover.correlation_id) == ("what-if", "c-1")
    assert not response.commands[0].pages[0].HasField("header")
    assert (town.road.sent, town.road.facts, await town.open()) == ([], [], [])
    assert await town.events.log_head() == head


@pytest.mark.spec("SPEC-5")
async def test_speculation_passes_supplied_numbers_on_and_fills_the_missing(town):
    await town.fill("player", 2)
    await town.fill("table", 1)
    script = Script(sends())
    request = speculate(await town.published("paid=1"), destination_sequences={"player": 9, "x": 4})

    await town.saga(script).execute_speculative(request, CallContext())

    assert dict(script.seen[0].destination_sequences) == {"player": 9, "table": 1, "x": 4}


@pytest.mark.spec("SPEC-5")
@pytest.mark.parametrize("request_", [b"", speculate(None)])
async def test_speculation_without_a_source_is_invalid(town, request_):
    with pytest.raises(InvalidInput, match="must have a source"):
        await town.saga(Script()).execute_speculative(request_, CallContext())


@pytest.mark.spec("SPEC-5", "SPEC-3")
async def test_a_handlers_error_passes_through_speculation(town):
    request = speculate(await town.published("paid=1"))

    with pytest.raises(HandlerFailed):
        await town.saga(Script(HANDLER_DOWN)).execute_speculative(request, CallContext())


# COMP-13: what makes up for a rejection


REJECTED = Provenance(Cover("order", ROOT, "", "c-1"), 4, "saga:shipping", 1)


def notification() -> bytes:
    return wire.Notification(cover=cover("order", correlation_id="c-1")).SerializeToString()


@pytest.mark.spec("COMP-13")
@pytest.mark.parametrize("answer", [None, sends()])
async def test_a_saga_that_has_nothing_to_say_leaves_it_to_the_source(town, answer):
    script = Script()
    script.makes_up = answer

    assert await town.saga(script).make_up(notification(), REJECTED) is False
    assert [told.cover.correlation_id for told in script.told] == ["c-1"]


@pytest.mark.spec("COMP-13")
async def test_what_makes_up_is_sent_with_the_rejections_provenance(town):
    await town.fill("order", 3)
    script = Script()
    script.makes_up = sends(
        command("order", "undo=1", at=99), command("player", "b=1"), events=[fact("table", "c=1")]
    )

    assert await town.saga(script).make_up(notification(), REJECTED) is True

    numbers = [item.provenance.index for item in (*town.road.sent, *town.road.facts)]
    assert numbers == [131_072, 131_073, 131_074]
    for item in town.road.sent:
        provenance = item.provenance
        assert (provenance.kind, provenance.component) == (wire.REJECTION, "saga:shipping")
        assert (provenance.source, provenance.source_seq) == (
            cover("order", edition="angzarr", correlation_id="c-1"),
            4,
        )
        assert item.request.command.cover.correlation_id == "c-1"
    assert town.road.sent[0].stamps == [3]
    assert await town.values("order") == ["old0=1", "old1=1", "old2=1", "undo=1"]
    assert await town.values("table") == ["c=1"]


@pytest.mark.spec("COMP-13", "COMP-5")
async def test_making_up_twice_is_making_up_once(town):
    script = Script()
    script.makes_up = lambda: sends(command("order", "undo=1"))
    saga = town.saga(script)

    await saga.make_up(notification(), REJECTED)
    await saga.make_up(notification(), REJECTED)

    assert await town.values("order") == ["undo=1"]


@pytest.mark.spec("COMP-13", "SAGA-17")
async def test_only_the_source_domain_is_allowed_beside_the_declared_ones(town):
    script = Script()
    script.makes_up = sends(command("shipment", "a=1"))

    with pytest.raises(InvalidInput, match=r"declared outputs \(order, player, table\)"):
        await town.saga(script).make_up(notification(), REJECTED)


@pytest.mark.spec("COMP-13")
async def test_a_refused_output_is_raised_and_its_siblings_stay(town):
    town.handlers["order"].answer = CommandRejected("closed")
    script = Script()
    script.makes_up = lambda: sends(command("order", "undo=1"), command("player", "b=1"))
    saga = town.saga(script)

    with pytest.raises(CommandRejected, match="closed"):
        await saga.make_up(notification(), REJECTED)

    assert await town.values("player") == ["b=1"]
    assert (town.told.rejections, await town.open()) == ([], [])
    town.handlers["order"].answer = None
    assert await saga.make_up(notification(), REJECTED)
    assert await town.values("player") == ["b=1"]


@pytest.mark.spec("COMP-13", "SAGA-12")
async def test_a_mismatch_while_making_up_is_stamped_anew_without_asking(town):
    script = Script()
    script.makes_up = lambda: sends(command("order", "undo=1"))
    saga = town.saga(script)
    town.road.fails("order", lambda: town.fill("order", 2))

    assert await saga.make_up(notification(), REJECTED)

    assert [item.stamps for item in town.road.to("order")] == [[0], [2]]
    assert len(script.told) == 1


@pytest.mark.spec("COMP-13")
async def test_an_error_of_its_handler_is_raised(town):
    script = Script()
    script.makes_up = HANDLER_DOWN

    with pytest.raises(HandlerFailed):
        await town.saga(script).make_up(notification(), REJECTED)


@pytest.mark.spec("COMP-13", "TIMER-1")
async def test_a_timer_may_make_up(town):
    script = Script()
    due_ns = town.clock.now_ns() + 5
    script.makes_up = lambda: sends(schedule("again", due_ns, command=command("order", "undo=1")))

    assert await town.saga(script).make_up(notification(), REJECTED)
    town.clock.advance(1)
    await town.worker.run_due()

    assert await town.values("order") == ["undo=1"]
    assert town.road.sent[0].provenance.index == 131_072


@pytest.mark.spec("COMP-13", "EDN-12")
async def test_on_a_branch_it_makes_up_on_the_branch(town):
    script = Script()
    script.makes_up = sends(command("order", "undo=1"))
    await town.published("paid=1", edition="what-if")
    source = Cover("order", ROOT, "what-if")
    rejected = Provenance(source, 0, "saga:shipping", 0, occasion=bytes(16))

    await town.saga(script).make_up(notification(), rejected)

    assert await town.values("order", edition="what-if") == ["paid=1", "undo=1"]
    assert town.road.sent[0].provenance.occasion == bytes(16)
    assert town.road.sent[0].provenance.source.correlation_id == "c-1"
    assert REJECTION == wire.REJECTION
