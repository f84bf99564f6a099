"""Writes on their way to the engine's committer, several at once from a busy loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from angzarr.cover import Cover, root_of
from angzarr.errors import Overloaded
from angzarr.ports.event_store import Appended
from angzarr.stores._outbox import CALM_S, HELD_COUNT_MAX, HELD_S_MAX, Outbox
from angzarr.stores.registry import open_stores
from angzarr.testing.pages import pages

ALICE = Cover("account", root_of("alice"))


class Engine:
    """Takes changes, which are names here. taken: what it has; refused: what it refuses."""

    def __init__(self, *refused: str) -> None:
        self.taken: list[str] = []
        self.refused = refused

    def submit(
        self, mailbox: object, future: asyncio.Future[Any], change: str, alone: bool
    ) -> None:
        assert not alone
        if change in self.refused:
            raise Overloaded("writer queue", 1)
        self.taken.append(change)


class Turns:
    """A clock of a loop of which each turn takes `turn_s`."""

    def __init__(self, turn_s: float) -> None:
        self.turn_s = turn_s
        self.now = 0.0

    def now_s(self) -> float:
        self.now += self.turn_s
        return self.now


def filled(engine: Engine, *changes: str, turn_s: float = 0.0) -> list[asyncio.Future[Any]]:
    """An outbox of the running loop that was given the changes; their futures."""
    loop = asyncio.get_running_loop()
    outbox = Outbox(engine, None, now_s=Turns(turn_s).now_s)
    futures = [loop.create_future() for _ in changes]
    for future, change in zip(futures, changes, strict=True):
        outbox.add(loop, future, change)
    return futures


async def test_what_is_added_in_one_turn_is_handed_over_together_and_in_order():
    engine = Engine()

    filled(engine, "a", "b", "c")
    before = list(engine.taken)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert (before, engine.taken) == ([], ["a", "b", "c"])


async def test_a_busy_loop_holds_them_for_a_while():
    engine = Engine()
    turn_s = 2 * CALM_S
    turns = int(HELD_S_MAX / turn_s)

    filled(engine, "a", turn_s=turn_s)
    for _ in range(turns):
        await asyncio.sleep(0)
    before = list(engine.taken)
    for _ in range(2):
        await asyncio.sleep(0)

    assert (before, engine.taken) == ([], ["a"])


async def test_it_never_holds_many():
    engine = Engine()
    names = [str(number) for number in range(HELD_COUNT_MAX)]

    filled(engine, *names)

    assert engine.taken == names


async def test_a_refused_write_is_told_and_the_others_go_on():
    engine = Engine("b")

    refused = filled(engine, "a", "b", "c")[1]
    with pytest.raises(Overloaded):
        await refused

    assert engine.taken == ["a", "c"]


@pytest.mark.spec("OPS-3")
async def test_what_is_held_when_the_store_is_closed_is_written(tmp_path):
    stores = open_stores(f"rocksdb://{tmp_path}/store")
    writing = asyncio.create_task(stores.events.append(ALICE, 0, pages(0, 1)))
    await asyncio.sleep(0)

    await stores.close()

    assert await writing == Appended(0, 0)
