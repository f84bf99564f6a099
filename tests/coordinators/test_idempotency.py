"""Deferred and stamped commands, and what is accepted only once (CMD-24 to CMD-29)."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager

import pytest
from google.protobuf.any_pb2 import Any

from angzarr import wire
from angzarr.coordinators import Reacted
from angzarr.cover import Provenance, root_of
from angzarr.errors import CommandRejected, InvalidInput, SequenceMismatch

EXTERNAL = wire.PageHeader(external_deferred=wire.ExternalDeferredSequence(external_id="x-1"))


@pytest.mark.spec("CMD-24")
@pytest.mark.parametrize("strategy", [wire.MERGE_STRICT, wire.MERGE_MANUAL, wire.MERGE_COMMUTATIVE])
@pytest.mark.parametrize("is_external", [True, False])
async def test_a_deferred_command_is_appended_at_the_head_unchecked(world, strategy, is_external):
    await world.send("a=1", "b=1")
    header = EXTERNAL if is_external else world.deferred()

    response = await world.send("c=1", "d=1", header=header, strategy=strategy)

    assert [page.header.sequence for page in response.events.pages] == [2, 3]
    assert [p.header.sequence for p in world.handler.seen[-1].command.pages] == [2, 3]


@pytest.mark.spec("CMD-25")
async def test_a_stamped_command_with_provenance_is_checked_like_a_clients(world):
    await world.send("a=1")

    with pytest.raises(SequenceMismatch):
        await world.send("b=1", at=0, metadata=world.origin())


@pytest.mark.spec("CMD-25", "CMD-28")
async def test_a_stamped_command_with_provenance_is_accepted_once(world):
    first = await world.send("a=1", at=0, metadata=world.origin())

    again = await world.send("a=1", at=0, metadata=world.origin())

    assert again.events == first.events
    assert await world.values() == ["a=1"]


@pytest.mark.spec("CMD-26")
@pytest.mark.parametrize(
    "other",
    [
        {"source_seq": 1},
        {"component": "saga:billing"},
        {"index": 1},
        {"root": root_of("order-2")},
        {"domain": "offer"},
        {"edition": "what-if"},
        {"occasion": bytes(16)},
    ],
)
async def test_every_part_of_the_key_tells_commands_apart(world, other):
    await world.send("a=1", at=0, metadata=world.origin())

    await world.send("a=1", at=1, metadata=world.origin(**other))

    assert await world.values() == ["a=1", "a=1"]


@pytest.mark.spec("CMD-26")
async def test_an_occasion_of_another_length_is_refused(world):
    with pytest.raises(InvalidInput, match=r"provenance\.occasion"):
        await world.send("a=1", metadata=world.origin(occasion=b"short"))


@pytest.mark.spec("CMD-26")
async def test_the_key_belongs_to_its_destination(world):
    await world.send("a=1", metadata=world.origin())

    await world.send("a=1", metadata=world.origin(), root=root_of("bob"))

    assert await world.values(root=root_of("bob")) == ["a=1"]


@pytest.mark.spec("CMD-26")
async def test_without_metadata_the_commands_hash_stands_for_the_index(world):
    header = world.deferred(7)

    await world.send("a=1", header=header)
    await world.send("a=1", header=header)
    await world.send("a=2", header=header)

    assert await world.values() == ["a=1", "a=2"]
    source = world.cover(domain="order")
    digest = hashlib.sha256(b"test.Assign" + b"a=1").digest()
    assert await world.events.find_by_provenance(world.cover(), Provenance(source, 7, "", digest))


@pytest.mark.spec("CMD-26", "WIRE-13")
async def test_the_header_gives_the_source_and_the_metadata_component_and_index(world):
    metadata = world.origin(3, component="saga:x", index=5, domain="elsewhere")

    await world.send("a=1", header=world.deferred(7), metadata=metadata)

    key = Provenance(world.cover(domain="order"), 7, "saga:x", 5)
    assert await world.events.find_by_provenance(world.cover(), key)


@pytest.mark.spec("CMD-26")
@pytest.mark.parametrize("source", [{"domain": ""}, {"root": b""}])
async def test_a_source_that_names_no_stream_gives_no_idempotency(world, source):
    header = world.deferred(7, **source)

    await world.send("a=1", header=header)
    await world.send("a=1", header=header)

    assert await world.values() == ["a=1", "a=1"]


@pytest.mark.spec("CMD-26")
async def test_a_source_root_of_another_length_is_refused(world):
    with pytest.raises(InvalidInput, match="Invalid UUID"):
        await world.send("a=1", header=world.deferred(root=b"short"))


@pytest.mark.spec("CMD-27", "CMD-35")
async def test_the_key_of_a_command_without_events_is_kept(world):
    world.handler.answer = wire.BusinessResponse()
    await world.send("a=1", metadata=world.origin())
    world.handler.answer = None

    again = await world.send("a=1", metadata=world.origin())

    assert len(world.handler.seen) == 1
    assert len(again.events.pages) == 0
    assert await world.values() == []


@pytest.mark.spec("CMD-27")
async def test_a_refused_command_leaves_no_key(world):
    world.rejecting()
    with pytest.raises(CommandRejected):
        await world.send("a=1", metadata=world.origin())
    world.handler.answer = None

    await world.send("a=1", metadata=world.origin())

    assert await world.values() == ["a=1"]


@pytest.mark.spec("CMD-28")
async def test_a_repeat_answers_with_the_first_pages_and_its_own_correlation_id(world):
    await world.send("a=1", "b=1", metadata=world.origin(), correlation_id="c-1")
    await world.send("c=1", at=2)
    world.handler.seen.clear()

    again = await world.send("a=1", "b=1", metadata=world.origin(), correlation_id="c-2")

    assert [page.event.value for page in again.events.pages] == [b"a=1", b"b=1"]
    assert again.events.cover.correlation_id == "c-2"
    assert world.handler.seen == []


@pytest.mark.spec("CMD-28", "CMD-39")
@pytest.mark.parametrize("mode", [wire.SYNC_MODE_SIMPLE, wire.SYNC_MODE_CASCADE])
async def test_a_repeats_synchronous_work_runs_again(world, mode):
    class Recording:
        def __init__(self) -> None:
            self.books: list[wire.EventBook] = []

        @asynccontextmanager
        async def begin(self, cover, *, sync_mode, cascade_error_mode, cascade_id, context):
            assert sync_mode == mode
            yield self

        async def run(self, book):
            self.books.append(wire.EventBook.FromString(book))
            projection = wire.Projection(projector="balance").SerializeToString()
            error = wire.CascadeError(component_name="s").SerializeToString()
            return Reacted((projection,), (error,))

    reactions = Recording()
    world.coordinate(reactions=reactions)
    await world.send("a=1", metadata=world.origin(), sync_mode=mode)

    again = await world.send("a=1", metadata=world.origin(), sync_mode=mode)

    assert reactions.books[0].pages == reactions.books[1].pages
    assert again.projections[0].projector == "balance"
    assert again.cascade_errors[0].component_name == "s"


@pytest.mark.spec("CMD-28")
async def test_an_acceptance_whose_pages_are_all_revoked_does_not_count(world):
    await world.send("a=1", metadata=world.origin(), cascade_id="cascade")
    await world.events.decide_cascade("cascade", "ROLLBACK", "no")
    await world.events.resolve_cascade(world.cover(), "cascade")

    await world.send("a=1", at=2, metadata=world.origin())

    assert len(world.handler.seen) == 2


@pytest.mark.spec("CMD-29", "COMPAT-10")
async def test_two_outputs_of_one_reaction_are_both_executed(world):
    header = world.deferred(7)

    await world.send("a=1", header=header, metadata=world.origin(index=0))
    await world.send("a=1", header=header, metadata=world.origin(index=1))

    assert await world.values() == ["a=1", "a=1"]


@pytest.mark.spec("CMD-29")
async def test_two_concurrent_deliveries_append_once_and_both_succeed(world):
    world.handler.gate = asyncio.Barrier(2).wait
    header = world.deferred(7)

    one, two = await asyncio.gather(
        world.send("a=1", header=header, metadata=world.origin()),
        world.send("a=1", header=header, metadata=world.origin()),
    )

    assert one.events == two.events
    assert await world.values() == ["a=1"]


@pytest.mark.spec("CMD-28", "CMD-29")
@pytest.mark.parametrize("at", [None, 0], ids=["deferred", "stamped"])
async def test_a_delivery_overtaken_before_it_loads_is_a_repeat(world, at):
    """It had looked for its key in vain, and loaded what the other had committed since: the handler
    refused what it saw as done, a stamped command was parked. Seen under load.
    """
    first: list[wire.CommandResponse] = []

    async def deliver():
        stamp = {"header": world.deferred(7)} if at is None else {"at": at}
        return await world.send("a=1", strategy=wire.MERGE_MANUAL, metadata=world.origin(), **stamp)

    async def overtaken(find, *args):
        found = await find(*args)
        del world.events.faults["find_by_provenance"]
        first.append(await deliver())
        world.rejecting()
        return found

    world.events.faults["find_by_provenance"] = overtaken

    again = await deliver()

    assert again.events == first[0].events
    assert await world.values() == ["a=1"]
    assert await world.letters() == []


@pytest.mark.spec("CMD-26", "CMD-42")
async def test_commands_that_differ_in_their_references_alone_are_two(world):
    class Payloads:
        async def get(self, reference):
            uri = wire.PayloadReference.FromString(reference).uri
            return Any(type_url=world.COMMAND, value=uri.encode()).SerializeToString()

    world.coordinate(payloads=Payloads())
    for uri in ("a=1", "b=1"):
        book = world.book("x", header=world.deferred(7))
        book.pages[0].external.uri = uri
        await world.send(book=book)

    assert await world.values() == ["a=1", "b=1"]
