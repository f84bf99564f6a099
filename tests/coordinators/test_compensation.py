"""HandleCompensation (CMD-41)."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any

from angzarr import wire
from angzarr.cover import COMPENSATE, REJECTION, Provenance, root_of
from angzarr.errors import CommandRejected, SequenceConflict

GOOGLE = "type.googleapis.com/angzarr."


def _notification(world, name="RejectionNotification", **more):
    payload = Any(type_url=GOOGLE + name)
    command = wire.Notification(payload=payload)
    book = world.book("", at=0, **more)
    book.pages[0].command.type_url = GOOGLE + "Notification"
    book.pages[0].command.value = command.SerializeToString()
    return book


@pytest.mark.spec("CMD-41")
async def test_the_answer_is_the_handlers_own_and_its_events_are_appended(world):
    await world.send("a=1")
    world.handler.answer = world.business("a=0")

    answer = await world.compensate(_notification(world))

    assert answer == world.handler.answer
    assert await world.values() == ["a=1", "a=0"]


@pytest.mark.spec("CMD-41")
@pytest.mark.parametrize(
    "answer",
    [
        wire.BusinessResponse(),
        wire.BusinessResponse(notification=wire.Notification()),
        wire.BusinessResponse(revocation=wire.RevocationResponse(reason="x", abort=True)),
    ],
)
async def test_an_answer_without_events_is_returned_and_the_notification_never_stored(
    world, answer
):
    world.handler.answer = answer

    assert await world.compensate(_notification(world)) == answer
    assert await world.values() == []


@pytest.mark.spec("CMD-41")
async def test_no_stamp_is_checked(world):
    await world.send("a=1", "b=1")
    world.handler.answer = world.business("a=0")

    await world.compensate(_notification(world, strategy=wire.MERGE_STRICT))

    assert len(await world.values()) == 3


@pytest.mark.spec("CMD-41", "CAS-8")
async def test_the_handler_sees_the_transformed_stream(world):
    await world.send("a=1", cascade_id="cascade")
    world.handler.answer = wire.BusinessResponse()

    await world.compensate(_notification(world))

    [page] = world.handler.seen[-1].events.pages
    assert page.event.type_url == world.FRAMEWORK + "NoOp"


@pytest.mark.spec("CMD-41")
@pytest.mark.parametrize("kind", [REJECTION, COMPENSATE])
async def test_a_repeat_gets_the_kept_answer_without_asking_again(world, kind):
    answer = world.business("a=0")
    world.handler.answer = answer
    metadata = world.origin(kind=kind)
    await world.compensate(_notification(world), metadata)
    world.handler.answer = world.business("other=1")

    again = await world.compensate(_notification(world), metadata)

    assert again == answer
    assert await world.values() == ["a=0"]
    source = world.cover(domain="order", root=root_of("order-1"))
    key = Provenance(source, 0, "saga:shipping", 0, kind)
    assert await world.events.find_by_provenance(world.cover(), key)


@pytest.mark.spec("CMD-41")
async def test_an_answer_without_events_is_kept_too(world):
    answer = wire.BusinessResponse(revocation=wire.RevocationResponse(escalate=True))
    world.handler.answer = answer
    await world.compensate(_notification(world), world.origin(kind=REJECTION))
    world.handler.answer = None

    assert await world.compensate(_notification(world), world.origin(kind=REJECTION)) == answer
    assert len(world.handler.seen) == 1


@pytest.mark.spec("CMD-41")
async def test_an_answer_too_long_to_keep_is_told_by_its_events(world):
    world.handler.answer = world.business("a=" + "1" * 70_000)
    await world.compensate(_notification(world), world.origin(kind=REJECTION))

    again = await world.compensate(_notification(world), world.origin(kind=REJECTION))

    assert [len(page.event.value) for page in again.events.pages] == [70_002]
    assert len(world.handler.seen) == 1


@pytest.mark.spec("CMD-41", "CMD-26")
async def test_rejection_compensation_and_command_of_one_output_are_three(world):
    world.handler.answer = world.business("a=1")

    await world.compensate(_notification(world), world.origin(kind=REJECTION))
    await world.compensate(_notification(world), world.origin(kind=COMPENSATE))
    await world.send("x", at=2, metadata=world.origin())

    assert len(await world.values()) == 3


@pytest.mark.spec("CMD-41")
async def test_a_deferred_notifications_kind_follows_from_its_payload(world):
    world.handler.answer = world.business("a=1")
    header = world.deferred(7)

    for name in ("RejectionNotification", "Compensate", "RejectionNotification"):
        await world.compensate(_notification(world, name, header=header))

    assert len(await world.values()) == 2


@pytest.mark.spec("CMD-41")
async def test_a_race_is_tried_again(world):
    calls = []

    async def append(real, cover, expected, pages, **options):
        if not calls:
            calls.append(expected)
            raise SequenceConflict(cover, expected, expected + 1)
        return await real(cover, expected, pages, **options)

    world.events.faults["append"] = append
    world.handler.answer = world.business("a=1")

    await world.compensate(_notification(world))

    assert len(world.handler.seen) == 2
    assert await world.values() == ["a=1"]


@pytest.mark.spec("CMD-41")
async def test_the_handlers_error_passes_through(world):
    world.rejecting("can't undo")

    with pytest.raises(CommandRejected, match="can't undo"):
        await world.compensate(_notification(world))


@pytest.mark.spec("CMD-41", "CMD-29")
async def test_a_delivery_overtaken_before_it_loads_is_a_repeat(world):
    """The handler refused to take back what it saw as taken back already."""
    answer = world.handler.answer = world.business("a=0")
    metadata = world.origin(kind=REJECTION)

    async def overtaken(find, *args):
        found = await find(*args)
        del world.events.faults["find_by_provenance"]
        await world.compensate(_notification(world), metadata)
        world.rejecting()
        return found

    world.events.faults["find_by_provenance"] = overtaken

    assert await world.compensate(_notification(world), metadata) == answer
    assert await world.values() == ["a=0"]
