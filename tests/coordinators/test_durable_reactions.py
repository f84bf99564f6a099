"""Reactions over a store on disk that is closed and opened again: nothing is lost, nothing is done
twice (COMP-3, PM-6, PM-8, TIMER-4).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from angzarr.errors import CommandRejected, StoreUnavailable
from angzarr.testing.clock import NS_PER_S

from .reacting import (
    OTHER,
    STATE,
    Manager,
    Script,
    Town,
    cancel,
    command,
    decides,
    fact,
    indexes,
    schedule,
    sends,
    trigger,
)

pytest.importorskip("angzarr._native")

Reopen = Callable[[], Awaitable[Town]]


@pytest.fixture(params=["rocksdb", "rocksdict"])
async def reopen(tmp_path: Path, request: pytest.FixtureRequest):
    """Opens the store, or closes it and opens it again; the clock goes on."""
    if request.param == "rocksdict":
        pytest.importorskip("rocksdict")
    open_towns: list[Town] = []

    async def again() -> Town:
        now_ns = None
        for town in open_towns:
            now_ns = town.clock.now_ns()
            await town.close()
        open_towns.clear()
        open_towns.append(Town(f"{request.param}://{tmp_path / 'store'}"))
        if now_ns is not None:
            open_towns[0].clock.set(now_ns)
        return open_towns[0]

    yield again
    for town in open_towns:
        await town.close()


@pytest.mark.spec("COMP-3", "SAGA-13")
async def test_a_rejection_outlives_the_process_and_is_not_sent_again(reopen):
    town = await reopen()
    town.handlers["player"].answer = CommandRejected("no funds")
    script = Script(sends(command("player", "a=1"), command("table", "a=1")))
    book = await town.published("paid=1")
    await town.saga(script).react(book)
    town = await reopen()

    outcome = await town.saga(script).react(book)

    assert indexes(outcome) == ([1], [0])
    assert await town.values("player") == []
    assert [item.kind for item in await town.open()] == ["rejection"]


@pytest.mark.spec("COMP-3")
async def test_key_and_obligation_of_a_rejection_are_one_write(reopen):
    town = await reopen()
    town.handlers["player"].answer = CommandRejected("no funds")
    saga = town.saga(Script(sends(command("player", "a=1"))))
    book = await town.published("paid=1")
    town.events.faults["append"] = StoreUnavailable("data", "disk full")
    with pytest.raises(StoreUnavailable):
        await saga.react(book)
    town.handlers["player"].answer = None
    town.events.faults.clear()

    outcome = await saga.react(book)

    assert indexes(outcome) == ([0], [])
    assert await town.open() == []


@pytest.mark.spec("PM-6", "PM-8")
async def test_what_a_pm_recorded_is_carried_out_after_a_restart(reopen):
    town = await reopen()
    answer = decides(
        command("shipment", "a=1"), events=["begun=1"], facts=[fact("order", "b=1", root=OTHER)]
    )
    script = Manager(answer)
    entered = asyncio.Event()

    async def hang():
        entered.set()
        await asyncio.Event().wait()

    town.road.fails("shipment", hang)
    running = asyncio.create_task(town.manager(script).react(await trigger(town)))
    await entered.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    town = await reopen()
    town.clock.advance(30)
    manager = town.manager(script)

    await town.worker.run_due()
    await manager.close()

    assert len(script.seen) == 1
    assert await town.values("shipment") == ["a=1"]
    assert await town.values("order", OTHER) == ["b=1"]
    assert await town.values("fulfilment", STATE) == ["begun=1"]
    assert await town.open() == []


@pytest.mark.spec("TIMER-2", "TIMER-3", "TIMER-4")
@pytest.mark.parametrize("is_manager", [False, True])
async def test_timers_outlive_restarts(reopen, is_manager):
    town = await reopen()
    due_ns = town.clock.now_ns() + 60 * NS_PER_S
    books = (
        schedule("late", due_ns, command=command("order", "a=1", root=OTHER)),
        schedule("gone", due_ns, command=command("order", "b=1", root=OTHER)),
        cancel("gone"),
    )
    answers = decides if is_manager else sends
    script = (Manager if is_manager else Script)(answers(*books), targets=("order",))

    def reacting(town: Town):
        return town.manager(script) if is_manager else town.saga(script)

    book = await trigger(town)
    await reacting(town).react(book)
    town = await reopen()
    await reacting(town).react(book)
    town.clock.advance(59)
    assert await town.worker.run_due() == []
    town = await reopen()
    reacting(town)
    town.clock.advance(1)

    await town.worker.run_due()

    assert await town.values("order", OTHER) == ["a=1"]
    assert await town.open() == []


@pytest.mark.spec("TIMER-5", "EDN-14")
@pytest.mark.parametrize("is_manager", [False, True])
async def test_a_deleted_editions_timers_have_no_effect(reopen, is_manager):
    town = await reopen()
    answers = decides if is_manager else sends
    timer = schedule("late", 5, command=command("order", "a=1", root=OTHER))
    script = (Manager if is_manager else Script)(answers(timer), targets=("order",))
    reacts = town.manager(script) if is_manager else town.saga(script)
    await reacts.react(await trigger(town, edition="what-if"))
    await town.stores.real.events.delete_edition("fulfilment" if is_manager else "order", "what-if")

    await town.worker.run_due()

    assert (town.road.sent, await town.open()) == ([], [])
