"""A process that dies at any durable step: each output is done once, or refused once and notified
(SAGA-2, COMP-3, PM-6, PM-8), whatever its destination says the second time.
"""

from __future__ import annotations

import contextlib
import itertools

import pytest

from angzarr.errors import CommandRejected

from .conftest import business
from .reacting import (
    OTHER,
    ROOT,
    STATE,
    Manager,
    Script,
    Town,
    command,
    decides,
    fact,
    schedule,
    sends,
    trigger,
)

STEPS = 10
"""Appends of the longest run below, and one that is never reached."""


class Died(BaseException):
    """The process is gone; nobody catches it."""


def die_at(town: Town, step: int, *, is_after: bool) -> None:
    """Die before or after the append number `step` from now on."""
    numbers = itertools.count()

    async def append(real, *arguments, **options):
        number = next(numbers)
        if number == step and not is_after:
            raise Died
        done = await real(*arguments, **options)
        if number == step:
            raise Died
        return done

    town.events.faults["append"] = append


def changes_its_mind(town: Town, domain: str, first_says_no: bool) -> None:
    """The aggregate refuses every other command, whichever it is."""
    says_no = itertools.cycle((first_says_no, not first_says_no))

    def answer(asked):
        if next(says_no):
            raise CommandRejected("not now")
        return business(asked.command.pages[0].command.value.decode())

    town.handlers[domain].answer = answer


async def until_finished(town: Town, make, book: bytes) -> None:
    """Deliver, die, restart, deliver again, and let the worker do the rest."""
    with contextlib.suppress(Died):
        await make().react(book)
    town.events.faults.clear()
    assert (await make().react(book)).failure is None
    for _ in range(3):
        town.clock.advance(60)
        await town.worker.run_due()


async def recorded_rejections(town: Town) -> list[int]:
    """Indexes of the outputs whose source is to be notified; nothing else is left to do."""
    indexes = {f"rejection:{p.key.hex()}": p.index for _, p, _ in town.told.rejections}
    return [indexes[item.id] for item in await town.open()]


@pytest.mark.spec("COMP-3", "SAGA-2", "SAGA-13", "SAGA-18")
@pytest.mark.parametrize("first_says_no", [True, False])
@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("step", range(STEPS))
async def test_a_saga(town, step, is_after, first_says_no):
    changes_its_mind(town, "player", first_says_no)
    script = Script(
        lambda asked: sends(
            command("player", "a=1"),
            schedule("late", 5, command=command("table", "late=1", root=OTHER)),
            command("player", "b=1"),
            command("table", "c=1"),
            events=[fact("table", "seen=1", external_id="")],
        )
    )
    book = await town.published("paid=1")
    die_at(town, step, is_after=is_after)

    await until_finished(town, lambda: town.saga(script), book)

    accepted = await town.values("player")
    refused = await recorded_rejections(town)
    assert sorted(accepted + [{0: "a=1", 2: "b=1"}[index] for index in refused]) == ["a=1", "b=1"]
    assert await town.values("table") == ["c=1", "seen=1"]
    assert await town.values("table", OTHER) == ["late=1"]


@pytest.mark.spec("PM-6", "PM-8", "COMP-3")
@pytest.mark.parametrize("first_says_no", [True, False])
@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("step", range(STEPS))
async def test_a_process_manager(town, step, is_after, first_says_no):
    changes_its_mind(town, "shipment", first_says_no)
    script = Manager(
        lambda asked: decides(
            command("shipment", "a=1"),
            schedule("late", 5, command=command("order", "late=1", root=OTHER)),
            command("shipment", "b=1"),
            events=["begun=1"],
            facts=[fact("order", "seen=1", root=STATE, external_id="")],
        )
    )
    book = await trigger(town)
    die_at(town, step, is_after=is_after)

    await until_finished(town, lambda: town.manager(script), book)

    accepted = await town.values("shipment", ROOT)
    refused = await recorded_rejections(town)
    assert sorted(accepted + [{0: "a=1", 2: "b=1"}[index] for index in refused]) == ["a=1", "b=1"]
    assert await town.values("fulfilment", STATE) == ["begun=1"]
    assert await town.values("order", STATE) == ["seen=1"]
    assert await town.values("order", OTHER) == ["late=1"]
