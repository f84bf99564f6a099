"""DlqAdmin: dead letters listed, read, deleted, replayed and redelivered (DLQ-7 to DLQ-11)."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from angzarr import wire
from angzarr.coordinators import DlqAdmin
from angzarr.deadletters.chain import Chain, Target
from angzarr.deadletters.channel import ChannelDeadLetters
from angzarr.errors import (
    AngzarrError,
    CommandRejected,
    CorruptData,
    DeadLetterRefused,
    InvalidInput,
    ReplayRunning,
    SequenceMismatch,
    StoreUnavailable,
    UnknownDeadLetter,
    UnknownDomain,
)
from angzarr.ports.components import CallContext
from angzarr.ports.dead_letters import PROVENANCE

GOOGLE = "type.googleapis.com/angzarr."


@dataclass
class Consumers:
    """Takes dead events; `error` is what their component fails of."""

    taken: list[tuple[str, wire.EventBook]] = field(default_factory=list)
    error: AngzarrError | None = None

    async def redeliver(self, component: str, book: bytes) -> None:
        self.taken.append((component, wire.EventBook.FromString(book)))
        if self.error:
            raise self.error


class Office:
    """The admin of a world's dead letters, in messages."""

    def __init__(self, world, **options):
        self.world = world
        self.consumers = Consumers()
        self.letters = world.stores.dead_letters
        self.admin = DlqAdmin(
            options.pop("letters", self.letters),
            commands=options.pop("commands", world.commands),
            sequences=world.stores.events,
            redelivery=options.pop("redelivery", self.consumers),
            **options,
        )
        self.context = CallContext()

    async def park(self, *texts: str, at: int = 7, **more: object) -> str:
        """A parked command's id."""
        with pytest.raises(SequenceMismatch):
            await self.world.send(*texts, at=at, strategy=wire.MERGE_MANUAL, **more)
        [newest] = await self.world.stores.real.dead_letters.list(limit=1)
        return newest.id

    async def put(self, **fields: object) -> str:
        """A letter with these fields."""
        return await self.letters.put(wire.AngzarrDeadLetter(**fields).SerializeToString())

    async def events(self, component: str = "saga:shipping") -> str:
        """A letter that holds events."""
        book = wire.EventBook(next_sequence=1)
        self.world.fill(book.cover)
        return await self.put(
            cover=book.cover, rejected_events=book, source_component=component,
            event_processing_failed=wire.EventProcessingFailedDetails(error="poison"),
        )  # fmt: skip

    async def list(self, text: str = "", size: int = 0, token: str = ""):
        request = wire.ListDeadLettersRequest(filter=text, page_size=size, page_token=token)
        answer = await self.admin.list_letters(request.SerializeToString(), self.context)
        return wire.ListDeadLettersResponse.FromString(answer)

    async def ids(self, text: str = "", size: int = 0) -> list[str]:
        return [entry.id for entry in (await self.list(text, size)).entries]

    async def get(self, letter_id: str) -> wire.DeadLetterEntry:
        request = wire.GetDeadLetterRequest(id=letter_id).SerializeToString()
        return wire.DeadLetterEntry.FromString(await self.admin.get_letter(request, self.context))

    async def delete(self, letter_id: str) -> bool:
        request = wire.DeleteDeadLetterRequest(id=letter_id).SerializeToString()
        answer = await self.admin.delete_letter(request, self.context)
        return wire.DeleteDeadLetterResponse.FromString(answer).existed

    async def replay(
        self, letter_id: str, mode: int = wire.REPLAY_FRESH_SEQUENCE, payloads: tuple[Any, ...] = ()
    ) -> wire.ReplayDeadLetterResponse:
        request = wire.ReplayDeadLetterRequest(id=letter_id, mode=mode, payloads=payloads)
        answer = await self.admin.replay(request.SerializeToString(), self.context)
        return wire.ReplayDeadLetterResponse.FromString(answer)

    async def redeliver(self, letter_id: str) -> str:
        request = wire.RedeliverDeadLetterRequest(id=letter_id).SerializeToString()
        answer = await self.admin.redeliver(request, self.context)
        return wire.RedeliverDeadLetterResponse.FromString(answer).component

    async def count(self, letter_id: str) -> int:
        return (await self.get(letter_id)).replay_count


@pytest.fixture
async def office(world) -> AsyncIterator[Office]:
    return Office(world)


def asked(world) -> wire.CommandBook:
    """What the handler was asked last."""
    return world.handler.seen[-1].command


# What is listed and read.


@pytest.mark.spec("DLQ-7")
async def test_an_entry_says_what_is_stored(office, world):
    letter_id = await office.park("a=1", correlation_id="c-1")

    entry = await office.get(letter_id)

    assert (entry.id, entry.rejection_type, entry.replay_count) == (
        letter_id, "sequence_mismatch", 0,
    )  # fmt: skip
    assert entry.created_at.ToNanoseconds() == world.clock.now_ns()
    assert [entry.letter] == await world.letters()
    assert (await office.list()).entries == [entry]


@pytest.mark.spec("DLQ-7")
async def test_the_list_is_newest_first(office):
    ids = [await office.put() for _ in range(3)]

    assert await office.ids() == ids[::-1]


@pytest.mark.spec("DLQ-7")
async def test_an_empty_queue_lists_nothing(office):
    assert await office.list() == wire.ListDeadLettersResponse()


@pytest.mark.spec("DLQ-7")
@pytest.mark.parametrize(("asked_for", "given"), [(0, 50), (7, 7), (500, 500), (501, 500)])
async def test_a_page_has_fifty_entries_unless_told_and_five_hundred_at_most(
    office, asked_for, given
):
    for _ in range(501):
        await office.put()

    assert len(await office.ids(size=asked_for)) == given


@pytest.mark.spec("DLQ-7")
async def test_pages_follow_each_other_without_gap_or_repeat(office):
    ids = [await office.put() for _ in range(7)]

    found, token = [], ""
    while True:
        page = await office.list(size=3, token=token)
        found.append([entry.id for entry in page.entries])
        token = page.next_page_token
        if not token:
            break

    assert found == [ids[:3:-1], ids[3:0:-1], ids[:1]]


@pytest.mark.spec("DLQ-7")
async def test_a_full_page_that_is_the_last_one_has_no_token(office):
    for _ in range(3):
        await office.put()

    assert (await office.list(size=3)).next_page_token == ""


@pytest.mark.spec("DLQ-7")
async def test_letters_that_come_between_pages_move_nothing(office):
    ids = [await office.put() for _ in range(4)]
    first = await office.list(size=2)
    await office.put()

    second = await office.list(size=2, token=first.next_page_token)

    assert [entry.id for entry in second.entries] == [ids[1], ids[0]]


@pytest.mark.spec("DLQ-7")
async def test_the_list_goes_on_after_its_last_letter_was_deleted(office):
    ids = [await office.put() for _ in range(4)]
    first = await office.list(size=2)
    await office.delete(ids[2])

    second = await office.list(size=2, token=first.next_page_token)

    assert [entry.id for entry in second.entries] == [ids[1], ids[0]]


@pytest.mark.spec("DLQ-7")
async def test_a_filter_finds_among_many_and_pages_over_them(office):
    wanted = []
    for number in range(120):
        letter_id = await office.put(source_component="saga:a" if number % 40 == 0 else "saga:b")
        wanted += [letter_id] if number % 40 == 0 else []

    first = await office.list('source_component = "saga:a"', size=2)
    second = await office.list('source_component = "saga:a"', size=2, token=first.next_page_token)

    assert [entry.id for entry in (*first.entries, *second.entries)] == wanted[::-1]
    assert second.next_page_token == ""


@pytest.mark.spec("DLQ-7")
async def test_every_field_of_the_filter_is_that_of_the_letter(office, world):
    await office.put()
    world.clock.advance(60)
    letter_id = await office.park("a=1", correlation_id="c-1")
    letter = (await office.get(letter_id)).letter
    world.clock.advance(60)
    await office.put()
    early, late = (wire.DeadLetterEntry(created_at=letter.occurred_at) for _ in range(2))
    early.created_at.seconds -= 1
    late.created_at.seconds += 1

    for text in (
        'domain = "account"',
        'correlation_id = "c-1"',
        'rejection_type = "sequence_mismatch"',
        'source_component = "aggregate:account"',
        f'occurred_after = "{early.created_at.ToJsonString()}" AND '
        f'occurred_before = "{late.created_at.ToJsonString()}"',
    ):
        assert await office.ids(text) == [letter_id], text


@pytest.mark.spec("DLQ-7")
async def test_a_filter_that_is_wrong_is_refused(office):
    with pytest.raises(InvalidInput, match="unknown field root"):
        await office.list('root = "x"')


@pytest.mark.spec("DLQ-7", "WIRE-14")
async def test_a_page_ends_before_it_is_too_long_for_a_message(world):
    office = Office(world, message_bytes_max=64 * 1024)
    ids = [await office.put(rejection_reason="x" * 20_000) for _ in range(5)]

    first = await office.list()
    second = await office.list(token=first.next_page_token)

    assert first.ByteSize() < 64 * 1024
    assert [entry.id for entry in (*first.entries, *second.entries)] == ids[::-1]
    assert second.next_page_token == ""


@pytest.mark.spec("DLQ-7", "WIRE-14")
async def test_a_letter_too_long_for_any_message_is_listed_without_its_payload(world):
    office = Office(world, message_bytes_max=64 * 1024)
    before, after = await office.put(), None
    command = world.book("x" * 100_000)
    long = await office.put(rejected_command=command, rejection_reason="poison")
    after = await office.put()

    page = await office.list()

    assert [entry.id for entry in page.entries] == [after, long, before]
    assert page.entries[1].letter == wire.AngzarrDeadLetter(rejection_reason="poison")


@pytest.mark.spec("DLQ-7")
async def test_others_go_on_while_a_filter_reads_many_letters(office):
    for _ in range(500):
        await office.put()
    steps = []

    async def other() -> None:
        while True:
            steps.append(1)
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    await office.list('domain = "nowhere"')
    beside.cancel()

    assert len(steps) >= 9


@pytest.mark.spec("DLQ-7")
async def test_an_unknown_id_is_not_found(office):
    with pytest.raises(UnknownDeadLetter, match="Unknown dead letter nobody"):
        await office.get("nobody")


@pytest.mark.spec("DLQ-7")
async def test_deleting_is_idempotent(office):
    letter_id = await office.put()

    assert await office.delete(letter_id)
    assert not await office.delete(letter_id)
    assert await office.ids() == []


@pytest.mark.spec("DLQ-7")
async def test_a_letter_that_does_not_parse_is_corrupt_and_can_be_deleted(office):
    letter_id = await office.letters.put(b"\xff\xff")

    with pytest.raises(CorruptData, match=letter_id):
        await office.list()
    with pytest.raises(CorruptData, match=letter_id):
        await office.get(letter_id)
    assert await office.delete(letter_id)


@pytest.mark.spec("DLQ-7")
async def test_without_a_readable_target_every_method_is_refused(world):
    chain = Chain(
        [Target("channel", ChannelDeadLetters()), Target("logging", ChannelDeadLetters())]
    )
    office = Office(world, letters=chain)

    for call in (
        office.list(), office.get("x"), office.delete("x"), office.replay("x"),
        office.redeliver("x"),
    ):  # fmt: skip
        with pytest.raises(DeadLetterRefused, match="channel, logging"):
            await call


@pytest.mark.spec("DLQ-7")
@pytest.mark.parametrize(
    "method", ["list_letters", "get_letter", "delete_letter", "replay", "redeliver"]
)
async def test_bytes_that_are_no_request_are_refused(office, method):
    with pytest.raises(InvalidInput, match="do not parse"):
        await getattr(office.admin, method)(b"\xff\xff", office.context)


# Commands that are sent again.


@pytest.mark.spec("DLQ-8")
@pytest.mark.parametrize("mode", [wire.REPLAY_FRESH_SEQUENCE, wire.REPLAY_UNSPECIFIED, 77])
async def test_a_fresh_replay_stamps_the_streams_next_sequence(office, world, mode):
    await world.send("a=1")
    letter_id = await office.park("b=1")

    answer = await office.replay(letter_id, mode)

    assert [page.header.sequence for page in answer.response.events.pages] == [1]
    assert asked(world).pages[0].header.sequence == 1
    assert asked(world).pages[0].merge_strategy == wire.MERGE_MANUAL
    assert await world.values() == ["a=1", "b=1"]


@pytest.mark.spec("DLQ-8")
async def test_each_page_of_a_fresh_replay_has_its_own_stamp(office, world):
    await world.send("a=1")
    letter_id = await office.park("b=1", "c=1")

    await office.replay(letter_id)

    assert [page.header.sequence for page in asked(world).pages] == [1, 2]


@pytest.mark.spec("DLQ-8")
async def test_the_next_sequence_is_that_of_the_commands_branch(office, world):
    await world.send("a=1", "b=1", "c=1")
    branch = {"edition": "whatif", "divergence": 1}
    letter_id = await office.park("d=1", **branch)

    await office.replay(letter_id)

    assert asked(world).pages[0].header.sequence == 1
    assert await world.values(edition="whatif") == ["a=1", "d=1"]


@pytest.mark.spec("DLQ-8")
async def test_a_replay_as_is_keeps_the_stamp(office, world):
    letter_id = await office.park("a=1", at=1)
    await world.send("b=1")

    answer = await office.replay(letter_id, wire.REPLAY_AS_IS)

    assert [page.header.sequence for page in answer.response.events.pages] == [1]


@pytest.mark.spec("DLQ-8")
async def test_a_replay_as_is_sends_everything_but_the_correlation_id_unchanged(office, world):
    command = world.book("a=1", at=0, strategy=wire.MERGE_STRICT, correlation_id="c-1")
    letter_id = await office.put(rejected_command=command)

    answer = await office.replay(letter_id, wire.REPLAY_AS_IS)

    command.cover.correlation_id = answer.new_correlation_id
    assert asked(world) == command


@pytest.mark.spec("DLQ-8")
async def test_a_replay_as_is_whose_stamp_is_wrong_still_is_parked_again(office, world):
    letter_id = await office.park("a=1")

    with pytest.raises(SequenceMismatch) as refused:
        await office.replay(letter_id, wire.REPLAY_AS_IS)

    assert refused.value.is_parked
    assert len(await office.ids()) == 2


@pytest.mark.spec("DLQ-8")
async def test_each_replay_has_a_new_correlation_id(office, world):
    letter_id = await office.park("a=1", correlation_id="c-1")

    answers = [await office.replay(letter_id) for _ in range(2)]

    given = [answer.new_correlation_id for answer in answers]
    assert len({*given, "c-1", ""}) == 4
    assert [book.cover.correlation_id for book in await world.log()] == given
    assert world.handler.contexts[-1].metadata["x-correlation-id"] == given[-1]


@pytest.mark.spec("DLQ-8")
@pytest.mark.parametrize("mode", [wire.REPLAY_AS_IS, wire.REPLAY_FRESH_SEQUENCE])
async def test_a_replay_is_no_repeat_of_the_reaction_that_sent_it(office, world, mode):
    """With its provenance it would be answered from the first execution, and do nothing."""
    command = world.book("a=1", header=world.deferred(3))
    await world.send(book=command)
    letter_id = await office.put(rejected_command=command)

    await office.replay(letter_id, mode)

    assert await world.values() == ["a=1", "a=1"]


@pytest.mark.spec("DLQ-8")
async def test_a_deferred_command_stays_deferred_as_is_without_its_source(office, world):
    command = world.book("a=1", header=world.deferred(3))
    await world.send("b=1")
    letter_id = await office.put(rejected_command=command)

    answer = await office.replay(letter_id, wire.REPLAY_AS_IS)

    assert [page.header.sequence for page in answer.response.events.pages] == [1]


@pytest.mark.spec("DLQ-8")
async def test_no_metadata_of_the_call_goes_on_but_its_trace(office, world):
    letter_id = await office.park("a=1")
    office.context = CallContext(
        time.monotonic_ns() + 60 * 10**9,
        {
            **world.origin(),
            "angzarr-cascade-depth": "3",
            "traceparent": "00-1-2-01",
            "tracestate": "a=b",
        },
    )

    answer = await office.replay(letter_id)

    seen = world.handler.contexts[-1]
    assert dict(seen.metadata) == {
        "traceparent": "00-1-2-01",
        "tracestate": "a=b",
        "x-correlation-id": answer.new_correlation_id,
    }
    assert seen.deadline_ns == office.context.deadline_ns


@pytest.mark.spec("DLQ-8")
async def test_the_entry_stays_and_counts_its_replays(office):
    letter_id = await office.park("a=1")
    before = await office.get(letter_id)

    await office.replay(letter_id)
    await office.replay(letter_id)

    before.replay_count = 2
    assert await office.get(letter_id) == before


@pytest.mark.spec("DLQ-8")
async def test_a_replay_that_the_domain_refuses_is_counted_and_answered_with_its_reason(
    office, world
):
    letter_id = await office.park("a=1")
    world.rejecting("no funds")

    with pytest.raises(CommandRejected, match="no funds"):
        await office.replay(letter_id)

    assert await office.count(letter_id) == 1


@pytest.mark.spec("DLQ-8")
async def test_a_replay_that_could_not_be_sent_is_not_counted(office, world):
    letter_id = await office.park("a=1")
    world.stores.events.faults["next_sequence"] = StoreUnavailable("data", "away")

    with pytest.raises(StoreUnavailable, match="away"):
        await office.replay(letter_id)

    assert await office.count(letter_id) == 0


@pytest.mark.spec("DLQ-8")
async def test_a_count_that_cant_be_kept_sends_nothing(office, world):
    letter_id = await office.park("a=1")
    world.stores.dead_letters.faults["count_replay"] = StoreUnavailable("data", "full")

    with pytest.raises(StoreUnavailable, match="full"):
        await office.replay(letter_id)

    assert world.handler.seen == []


@pytest.mark.spec("DLQ-8")
async def test_a_letter_deleted_while_its_replay_begins_is_not_sent(office, world):
    letter_id = await office.park("a=1")

    async def deleted(real, *args, **options):
        await office.delete(letter_id)
        return await real(*args, **options)

    world.stores.events.faults["next_sequence"] = deleted
    with pytest.raises(UnknownDeadLetter):
        await office.replay(letter_id)

    assert world.handler.seen == []


@pytest.mark.spec("DLQ-8", "DLQ-10")
async def test_a_second_replay_of_one_entry_is_aborted_while_one_runs(office, world):
    letter_id, other = await office.park("a=1"), await office.park("b=1")
    gate = asyncio.Event()
    world.handler.gate = gate.wait
    running = asyncio.create_task(office.replay(letter_id))
    await world.handler.entered.wait()

    for call in (office.replay(letter_id), office.redeliver(letter_id)):
        with pytest.raises(ReplayRunning, match=letter_id):
            await call
    gate.set()
    await running

    world.handler.gate = None
    await office.replay(other)
    await office.replay(letter_id)
    assert (await office.count(letter_id), await office.count(other)) == (2, 1)


@pytest.mark.spec("DLQ-8")
async def test_an_entry_can_be_replayed_again_after_a_replay_that_failed_or_was_cancelled(
    office, world
):
    letter_id = await office.park("a=1")
    world.rejecting()
    with pytest.raises(CommandRejected):
        await office.replay(letter_id)
    gate = asyncio.Event()
    world.handler.answer, world.handler.gate = None, gate.wait
    world.handler.entered.clear()
    cancelled = asyncio.create_task(office.replay(letter_id))
    await world.handler.entered.wait()
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    world.handler.gate = None

    await office.replay(letter_id)

    assert await world.values() == ["a=1"]


@pytest.mark.spec("DLQ-8")
async def test_events_are_not_replayed_as_a_command(office, world):
    letter_id = await office.events()

    with pytest.raises(DeadLetterRefused, match=f"{letter_id} holds events, not a command"):
        await office.replay(letter_id)

    assert await office.count(letter_id) == 0


@pytest.mark.spec("DLQ-8")
async def test_a_letter_without_a_command_is_not_replayed(office):
    letter_id = await office.put()

    with pytest.raises(DeadLetterRefused, match=f"{letter_id} holds no command"):
        await office.replay(letter_id)


@pytest.mark.spec("DLQ-8")
async def test_a_process_without_commands_replays_none(world):
    office = Office(world, commands=None)
    letter_id = await office.put(rejected_command=world.book("a=1"))

    with pytest.raises(DeadLetterRefused, match="no commands are handled in this process"):
        await office.replay(letter_id)


@pytest.mark.spec("DLQ-8")
async def test_an_unknown_letter_is_neither_replayed_nor_redelivered(office):
    for call in (office.replay("nobody"), office.redeliver("nobody")):
        with pytest.raises(UnknownDeadLetter):
            await call


@pytest.mark.spec("DLQ-8")
async def test_a_command_to_an_unknown_domain_is_answered_as_one(office, world):
    letter_id = await office.put(rejected_command=world.book("a=1", domain="shop"))

    with pytest.raises(UnknownDomain):
        await office.replay(letter_id)


@pytest.mark.spec("DLQ-8")
async def test_a_command_whose_cover_is_wrong_is_refused_before_it_is_counted(office, world):
    letter_id = await office.put(rejected_command=world.book("a=1", root=b"short"))

    with pytest.raises(InvalidInput, match="Invalid UUID"):
        await office.replay(letter_id)

    assert await office.count(letter_id) == 0


@pytest.mark.spec("DLQ-8", "EDN-14")
async def test_a_command_to_angzarr_itself_has_no_sequence_to_be_stamped_with(office, world):
    command = wire.CommandBook(cover=wire.Cover(domain="_angzarr"))
    order = wire.DeleteEditionEvents(edition="whatif", domain="account")
    page = command.pages.add()
    page.command.CopyFrom(
        Any(type_url=GOOGLE + "DeleteEditionEvents", value=order.SerializeToString())
    )
    letter_id = await office.put(rejected_command=command)

    answer = await office.replay(letter_id)

    assert len(answer.response.events.pages) == 1


# Commands that are edited.


def payload(world, text: str) -> Any:
    return Any(type_url=world.COMMAND, value=text.encode())


@pytest.mark.spec("DLQ-9")
async def test_edited_payloads_are_sent_in_the_place_of_the_commands(office, world):
    letter_id = await office.park("a=1", "b=1")
    before = await office.get(letter_id)

    await office.replay(letter_id, payloads=(payload(world, "a=2"), payload(world, "b=2")))

    assert await world.values() == ["a=2", "b=2"]
    assert (await office.get(letter_id)).letter == before.letter


@pytest.mark.spec("DLQ-9")
@pytest.mark.parametrize("count", [1, 3])
async def test_another_number_of_payloads_than_of_pages_is_refused(office, world, count):
    letter_id = await office.park("a=1", "b=1")

    with pytest.raises(InvalidInput, match="one a page of the command: 2"):
        await office.replay(letter_id, payloads=(payload(world, "a=2"),) * count)

    assert await office.count(letter_id) == 0


@pytest.mark.spec("DLQ-9", "PAY-6")
async def test_an_edited_payload_takes_the_place_of_a_reference(office, world):
    command = world.book("x", at=0)
    command.pages[0].external.uri = "file:///gone"
    letter_id = await office.put(rejected_command=command)

    await office.replay(letter_id, payloads=(payload(world, "a=1"),))

    assert await world.values() == ["a=1"]


# Notifications that were given up on.


def envelope(world, header: wire.PageHeader) -> wire.CommandBook:
    """A notification of a rejected command, as COMP-2 makes it."""
    rejected = Any(type_url=GOOGLE + "RejectionNotification")
    notification: Message = wire.Notification(payload=rejected)
    book = world.book("", header=header, correlation_id="c-1")
    book.pages[0].command.type_url = GOOGLE + "Notification"
    book.pages[0].command.value = notification.SerializeToString()
    return book


@pytest.mark.spec("DLQ-11", "COMP-6")
@pytest.mark.parametrize("mode", [wire.REPLAY_AS_IS, wire.REPLAY_FRESH_SEQUENCE])
async def test_a_notification_is_given_to_the_source_to_compensate(office, world, mode):
    book = envelope(world, world.deferred(3))
    letter_id = await office.put(rejected_command=book)
    world.handler.answer = world.business("a=0")

    answer = await office.replay(letter_id, mode)

    assert answer.response.events == world.handler.answer.events
    assert await world.values() == ["a=0"]
    assert asked(world).cover.correlation_id == answer.new_correlation_id


@pytest.mark.spec("DLQ-11", "COMP-5")
async def test_a_notification_that_was_answered_already_is_not_acted_on_again(office, world):
    """Its answer was lost on the way, so it was given up on: a second one would pay back twice."""
    book = envelope(world, world.deferred(3))
    origin = world.origin(3, index=1, kind=wire.REJECTION)
    world.handler.answer = world.business("a=0")
    await world.compensate(book, origin)
    encoded = base64.b64encode(origin["angzarr-provenance-bin"]).decode()
    letter_id = await office.put(rejected_command=book, metadata={PROVENANCE: encoded})

    answer = await office.replay(letter_id)

    assert answer.response.events == world.handler.answer.events
    assert await world.values() == ["a=0"]


@pytest.mark.spec("DLQ-11")
async def test_a_notification_that_is_declined_is_answered_with_the_reason(office, world):
    letter_id = await office.put(rejected_command=envelope(world, world.deferred(3)))
    world.handler.answer = wire.BusinessResponse(
        revocation=wire.RevocationResponse(reason="too late", abort=True)
    )

    with pytest.raises(CommandRejected, match="Compensation declined: too late"):
        await office.replay(letter_id)


@pytest.mark.spec("DLQ-11")
async def test_a_provenance_that_is_none_is_corrupt(office, world):
    book = envelope(world, world.deferred(3))
    letter_id = await office.put(rejected_command=book, metadata={PROVENANCE: "?"})

    with pytest.raises(CorruptData, match="a provenance in base64"):
        await office.replay(letter_id)

    assert world.handler.seen == []


# Events that are delivered again.


@pytest.mark.spec("DLQ-10")
async def test_dead_events_go_to_their_component_once_more(office):
    letter_id = await office.events("saga:shipping")

    component = await office.redeliver(letter_id)

    entry = await office.get(letter_id)
    assert component == "saga:shipping"
    assert office.consumers.taken == [("saga:shipping", entry.letter.rejected_events)]
    assert entry.replay_count == 1


@pytest.mark.spec("DLQ-10")
async def test_a_redelivery_that_fails_is_answered_with_the_error_and_the_entry_stays(office):
    letter_id = await office.events()
    office.consumers.error = CommandRejected("poison")

    with pytest.raises(CommandRejected, match="poison"):
        await office.redeliver(letter_id)

    assert await office.count(letter_id) == 1


@pytest.mark.spec("DLQ-10")
async def test_a_command_is_not_delivered_as_events(office):
    letter_id = await office.park("a=1")

    with pytest.raises(DeadLetterRefused, match=f"{letter_id} holds no events; replay it"):
        await office.redeliver(letter_id)

    assert office.consumers.taken == []


@pytest.mark.spec("DLQ-10")
async def test_a_process_without_consumers_redelivers_nothing(world):
    office = Office(world, redelivery=None)
    letter_id = await office.events("saga:shipping")

    with pytest.raises(DeadLetterRefused, match=f"saga:shipping of {letter_id} does not run"):
        await office.redeliver(letter_id)

    assert await office.count(letter_id) == 0
