"""Items that are handled together while the event loop is busy."""

from __future__ import annotations

import asyncio

from angzarr.gathering import CALM_S, HELD_S_MAX, Gathering, give_way


class Turns:
    """A clock of a loop of which each turn takes `turn_s`."""

    def __init__(self, turn_s: float) -> None:
        self.turn_s = turn_s
        self.now = 0.0

    def now_s(self) -> float:
        self.now += self.turn_s
        return self.now


class Handled:
    """What was handled, one list a call."""

    def __init__(self, *items: str, count_max: int = 8, turn_s: float = 0.0) -> None:
        self.calls: list[list[str]] = []
        loop = asyncio.get_running_loop()
        self.gathering = Gathering(
            self.calls.append, count_max=count_max, now_s=Turns(turn_s).now_s
        )
        for item in items:
            self.gathering.add(loop, item)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_is_added_in_one_turn_is_handled_together_and_in_order():
    handled = Handled("a", "b", "c")
    before = list(handled.calls)

    await turns(2)

    assert (before, handled.calls) == ([], [["a", "b", "c"]])


async def test_a_busy_loop_gathers_for_a_while():
    turn_s = 2 * CALM_S
    handled = Handled("a", turn_s=turn_s)

    await turns(int(HELD_S_MAX / turn_s))
    before = list(handled.calls)
    await turns(2)

    assert (before, handled.calls) == ([], [["a"]])


async def test_no_more_than_the_bound_are_held():
    handled = Handled("a", "b", "c", count_max=2)
    before = list(handled.calls)

    await turns(2)

    assert (before, handled.calls) == ([["a", "b"]], [["a", "b"], ["c"]])


async def test_nothing_is_handled_twice_after_a_flush():
    handled = Handled("a")

    handled.gathering.flush()
    handled.gathering.flush()
    await turns(2)

    assert handled.calls == [["a"]]


async def test_giving_way_to_a_calm_loop_ends_with_its_turn():
    """Were it to go on, this would never end."""
    await give_way(float("inf"))
