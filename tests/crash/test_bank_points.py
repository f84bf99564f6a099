"""The points at which the bank's processes kill themselves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bank_app import Sent
from bank_points import Point, Points, WatchedStores, watched_function

from angzarr import codec, wire
from angzarr.cover import Cover
from angzarr.errors import SequenceConflict
from angzarr.ports.event_store import Obligation
from angzarr.stores import open_stores

COVER = Cover.of("account", "alice")


class Died(BaseException):
    """In place of a process's end."""


def dies() -> None:
    raise Died


@pytest.fixture
def points() -> Points:
    return Points(lambda _: None, dies)


def sent() -> bytes:
    page = wire.EventPage(event=codec.pack(Sent(1, "bob", 5), "account"), committed=True)
    page.header.sequence = 0
    page.created_at.FromSeconds(1)
    return page.SerializeToString()


async def write(stores: WatchedStores) -> None:
    """One append of an event, one of a key, and two obligations."""
    await stores.events.append(COVER, 0, [sent()])
    await stores.events.append(COVER, 1, [], external_id="key")
    await stores.obligations.put(Obligation("first", "kind", b"", 1))
    await stores.obligations.put(Obligation("second", "kind", b"", 1))


@pytest.mark.parametrize(
    ("point", "sequence", "duties"),
    [
        ("before:append.Sent@1", 0, []),
        ("after:append.Sent@1", 1, []),
        ("before:append.key@1", 1, []),
        ("after:append.key@1", 1, []),
        ("before:obligations.put@1", 1, []),
        ("after:obligations.put@1", 1, ["first"]),
        ("before:obligations.put@2", 1, ["first"]),
        ("after:obligations.put@2", 1, ["first", "second"]),
    ],
)
async def test_it_dies_on_the_side_of_the_step_that_it_is_told(
    points: Points, point: str, sequence: int, duties: list[str]
) -> None:
    real = open_stores("memory://")
    stores = WatchedStores(real, points)
    points.arm(Point.parse(point))

    with pytest.raises(Died):
        await write(stores)

    assert await real.events.next_sequence(COVER) == sequence
    found = await real.obligations.due(2**62, lease_s=0)
    assert [duty.id for duty in found] == duties


async def test_steps_that_fail_are_not_done(points: Points) -> None:
    stores = WatchedStores(open_stores("memory://"), points)
    points.arm(Point.parse("after:append.Sent@1"))
    with pytest.raises(SequenceConflict):
        await stores.events.append(COVER, 7, [sent()])

    with pytest.raises(Died):
        await stores.events.append(COVER, 0, [sent()])


async def test_it_lives_on_where_its_point_is_not_reached(points: Points) -> None:
    points.arm(Point.parse("before:obligations.put@3"))

    await write(WatchedStores(open_stores("memory://"), points))


async def test_it_tells_where_it_dies() -> None:
    told: list[str] = []
    points = Points(told.append, dies)
    points.arm(Point.parse("after:obligations.put@2"))

    with pytest.raises(Died):
        await write(WatchedStores(open_stores("memory://"), points))

    assert told == ["after:obligations.put@2"]


@pytest.mark.parametrize(("side", "done"), [("before", []), ("after", [True])])
def test_a_call_that_does_not_wait_is_a_step_too(
    points: Points, side: str, done: list[bool]
) -> None:
    calls: list[bool] = []
    is_step: Callable[[bool], bool] = bool
    commit = watched_function(calls.append, "commit", points, is_step=is_step)
    points.arm(Point.parse(f"{side}:commit@1"))
    commit(False)

    with pytest.raises(Died):
        commit(True)

    assert calls == [False, *done]
