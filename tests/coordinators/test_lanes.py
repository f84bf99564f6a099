"""Lanes by themselves: what needs room, who works, what is given back (DLQ-4, PROJ-14)."""

from __future__ import annotations

import asyncio

import pytest

from angzarr.coordinators.entries import Entry
from angzarr.coordinators.lanes import Item, Lanes, Slices
from angzarr.ports.event_store import LogEntry
from angzarr.testing.pages import book_of, cover_of, pages

from .bus import turns


def entry(position: int, name: str = "alice") -> Entry:
    return Entry(LogEntry(position, position, book_of(cover_of(name), pages(position, 1))))


class Worker:
    """What lanes call. waits: roots whose entries wait until `go`."""

    def __init__(self) -> None:
        self.waiting: set[bytes] = set()
        self.done: list[int] = []
        self.told = 0
        self._go = asyncio.Event()

    async def __call__(self, item: Item):
        if item.entry.cover.root in self.waiting:
            return self._go.wait
        self.done.append(item.entry.position)
        return None

    def go(self) -> None:
        self.waiting.clear()
        self._go.set()

    def tell(self) -> None:
        self.told += 1


@pytest.fixture
def worker():
    return Worker()


@pytest.fixture
async def lanes(worker):
    made = Lanes(
        worker,
        concurrency=4,
        window=3,
        window_bytes=10_000,
        slices=Slices(),
        told=worker.tell,
    )
    yield made
    made.end()
    await asyncio.gather(*made.tasks(), return_exceptions=True)


@pytest.mark.spec("PROJ-14")
async def test_the_lowest_position_is_that_of_the_first_unfinished_entry(lanes, worker):
    worker.waiting.add(cover_of("alice").root)
    assert lanes.lowest() is None

    assert lanes.offer(entry(5))
    assert lanes.offer(entry(6, "bob"))
    await turns()
    assert (worker.done, lanes.lowest()) == ([6], 5)

    worker.go()
    await turns()
    assert (sorted(worker.done), lanes.lowest()) == ([5, 6], None)


@pytest.mark.spec("DLQ-4")
async def test_an_entry_of_a_stream_that_let_go_of_others_needs_no_room(lanes, worker):
    worker.waiting |= {cover_of(name).root for name in ("alice", "bob", "carol")}
    for position in (1, 2, 3):
        assert lanes.offer(entry(position))
    await turns()
    assert lanes.offer(entry(4, "bob"))  # which made alice let go of 2 and 3
    assert lanes.offer(entry(5, "carol"))
    await turns()
    assert not lanes.has_room()

    assert lanes.offer(entry(6))
    assert not lanes.offer(entry(7, "dave"))
    assert lanes.lowest() == 1


@pytest.mark.spec("DLQ-4")
async def test_what_was_let_go_of_is_asked_for_when_its_stream_gets_on(lanes, worker):
    worker.waiting.add(cover_of("alice").root)
    for position in (1, 2, 3):
        lanes.offer(entry(position))
    await turns()
    lanes.offer(entry(4, "bob"))
    worker.go()
    await turns()

    (lane,) = lanes.hungry().values()
    assert (lane.spilled, lanes.lowest(), lanes.is_hungry) == (2, 2, True)
    lanes.refill(lane, entry(2))
    lanes.refill(lane, entry(3))
    lanes.refilled(lane)
    await turns()

    assert sorted(worker.done) == [1, 2, 3, 4]
    assert (lanes.lowest(), lanes.count, lanes.is_hungry) == (None, 0, False)


@pytest.mark.spec("DLQ-4")
async def test_a_stream_whose_rest_is_not_in_the_log_any_more_is_forgotten(lanes, worker):
    worker.waiting.add(cover_of("alice").root)
    for position in (1, 2, 3):
        lanes.offer(entry(position))
    await turns()
    lanes.offer(entry(4, "bob"))
    worker.go()
    await turns()
    (lane,) = lanes.hungry().values()

    lanes.read_past(lane, 8)
    assert lanes.lowest() == 9
    lanes.refilled(lane)

    assert (lanes.lowest(), lanes.is_hungry) == (None, False)
    assert lanes.offer(entry(10))
    await turns()
    assert worker.done[-1] == 10


async def test_an_entry_that_comes_as_the_last_worker_leaves_is_worked_on(lanes, worker):
    for position in range(1, 200):
        lanes.offer(entry(position, f"root-{position % 5}"))
        if position % 3 == 0:
            await asyncio.sleep(0)
    await turns(400)

    assert len(worker.done) == len(set(worker.done)) > 100
    assert lanes.count == 0


@pytest.mark.spec("OPS-3")
async def test_after_the_end_nothing_is_begun(lanes, worker):
    lanes.offer(entry(1))
    lanes.end()
    await turns()

    assert worker.done == []
    assert lanes.lowest() == 1


@pytest.mark.spec("OPS-3")
async def test_the_end_ends_waits(lanes, worker):
    worker.waiting.add(cover_of("alice").root)
    lanes.offer(entry(1))
    await turns()
    assert lanes.waiting_count == 1

    lanes.end()
    await turns()

    assert (lanes.tasks(), lanes.lowest()) == ([], 1)
