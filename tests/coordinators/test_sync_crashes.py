"""A process that dies at any step of a CASCADE request, or of what follows, loses nothing."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from angzarr import wire
from angzarr.errors import CommandRejected, ReactionFailed

from .syncing import PARCEL, Crash, World

FAIL_FAST = wire.CASCADE_ERROR_FAIL_FAST
CONTINUE = wire.CASCADE_ERROR_CONTINUE
COMPENSATE = wire.CASCADE_ERROR_COMPENSATE
DEAD_LETTER = wire.CASCADE_ERROR_DEAD_LETTER
MODES = {
    "FAIL_FAST": FAIL_FAST,
    "CONTINUE": CONTINUE,
    "COMPENSATE": COMPENSATE,
    "DEAD_LETTER": DEAD_LETTER,
}

modes = pytest.mark.parametrize("errors", MODES.values(), ids=MODES)
sides = pytest.mark.parametrize("dies_after", [False, True], ids=["before", "after"])


def made():
    """Three sagas: one that succeeds, one whose second command is refused, one after it."""
    world = World()
    world.refused["refused=1"] = CommandRejected("no room")
    world.saga("saga:first", on="paid=1", commands=[("ledger", "first=1")])
    commands = [("ledger", "second=1"), ("shipment", "refused=1")]
    world.saga("saga:failing", on="paid=1", commands=commands)
    world.saga("saga:after", on="paid=1", commands=[("ledger", "after=1")])
    return world


async def lived(world, dies_at, dies_after, **request):
    """The request, the log's deliveries and the worker, until the process dies at the step; then
    another process. The request's answer, None without one; and whether it died.
    """
    answer = None
    world.dies_at, world.dies_after = dies_at, dies_after

    async def live():
        nonlocal answer
        [answer] = await asyncio.gather(world.send(**request), return_exceptions=True)
        if isinstance(answer, Crash):
            answer = None
            raise Crash
        await world.deliver()
        await world.settle()

    [end] = await asyncio.gather(live(), return_exceptions=True)
    assert end is None or isinstance(end, Crash), end
    world.restart()
    await reap(world)
    await world.deliver()
    await world.settle()
    await world.deliver()
    await world.settle()
    return answer, end is not None


async def each_death(dies_after, **request):
    """(world, answer, whether the request was answered) for each step that a process can die at,
    and for the life without a death.
    """
    dies_at = 0
    died = True
    while died:
        dies_at += 1
        world = made()
        answer, died = await lived(world, dies_at, dies_after, **request)
        yield world, answer
        await world.close()
    assert dies_at > 20, "that was all?"


@modes
@sides
@pytest.mark.spec("COMP-3", "COMP-4", "SYNC-3", "SYNC-7")
async def test_the_rejection_is_notified_and_nothing_is_executed_twice(errors, dies_after):
    async for world, _ in each_death(dies_after, errors=errors):
        if await world.values() == []:
            continue  # it died before the append, so nothing was acknowledged

        events = Counter(await world.values())
        ledger = Counter(await world.values("ledger"))
        assert events["paid=1"] == 1
        assert events["RejectionNotification=1"] == 1
        assert (ledger["first=1"], ledger["second=1"]) == (1, 1)
        assert ledger["after=1"] <= 1
        assert await world.open() == []


@sides
@pytest.mark.parametrize("errors", [FAIL_FAST, CONTINUE, DEAD_LETTER])
@pytest.mark.spec("SYNC-3", "SYNC-6")
async def test_every_other_reaction_is_done_in_the_end(errors, dies_after):
    async for world, _ in each_death(dies_after, errors=errors):
        if await world.values():
            assert Counter(await world.values("ledger"))["after=1"] == 1


@sides
@pytest.mark.spec("SYNC-6", "COMP-3")
async def test_compensations_are_made_all_or_none_and_all_after_the_answer(dies_after):
    counts = set()
    async for world, answer in each_death(dies_after, errors=COMPENSATE):
        ledger = Counter(await world.values("ledger"))
        counts.add(ledger["Compensate=1"])
        if isinstance(answer, ReactionFailed):
            assert ledger["Compensate=1"] == 2
            assert ledger["after=1"] == 0
    assert counts == {0, 2}


@sides
@pytest.mark.spec("SYNC-6", "DLQ-5")
async def test_the_dead_letter_is_there_when_the_request_is_answered(dies_after):
    async for world, answer in each_death(dies_after, errors=DEAD_LETTER):
        letters = await world.letters()
        if isinstance(answer, wire.CommandResponse):
            assert [letter.cover.domain for letter in letters] == ["shipment"]
        else:
            assert len(letters) <= 1


@modes
@sides
@pytest.mark.spec("SYNC-8", "CAS-12", "CAS-16", "CAS-17", "COMP-12")
async def test_a_cascade_is_committed_whole_or_not_at_all(errors, dies_after):
    async for world, answer in each_death(dies_after, errors=errors, cascade_id="X"):
        decision = await world.real.events.decision("X")
        if not await world.values():
            continue

        outcome = decision.outcome
        seen = [await visible(world, domain, root) for domain, root in STREAMS]
        told = Counter(await world.values())["RejectionNotification=1"]
        if outcome == "ROLLBACK":
            assert seen == [[], []]
            assert told == 0
        else:
            assert seen[0][:1] == ["paid=1"]
            assert sorted(seen[1]) == ["after=1", "first=1", "second=1"]
            assert told == 1
        is_failing = errors in (FAIL_FAST, COMPENSATE)
        if answer is not None:
            assert outcome == ("ROLLBACK" if is_failing else "COMMIT")
            assert isinstance(answer, ReactionFailed) == is_failing
        assert await world.open() == []


STREAMS = [("order", None), ("ledger", PARCEL)]


async def reap(world):
    """Decide and finish what the dead process left, as the reaper does."""
    events = world.real.events
    if await events.decision("X") is None and await events.query_cascade_participants("X"):
        await events.decide_cascade("X", "ROLLBACK", "timeout")
    for participant in await events.query_cascade_participants("X"):
        await events.resolve_cascade(participant.cover, "X")


async def visible(world, domain, root):
    """The users' events of a stream that can be seen."""
    handler = world.handlers[domain]
    await world.send("look=1", domain=domain, mode=0, **({"root": root} if root else {}))
    return [
        page.event.value.decode()
        for page in handler.seen[-1].events.pages
        if page.event.type_url.startswith("type.googleapis.com/")
    ]
