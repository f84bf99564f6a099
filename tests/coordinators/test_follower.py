"""The one reader of the log's tail (STO-14, STO-27)."""

from __future__ import annotations

import asyncio
import time

import pytest

from angzarr.coordinators.delivery import DeliveryOptions
from angzarr.coordinators.entries import Entry
from angzarr.coordinators.follower import LogFollower
from angzarr.gathering import CALM_S
from angzarr.ports.event_store import LogEntry
from angzarr.testing.pages import book_of, cover_of, pages

from .bus import Time, turns


class Log:
    """An event store's log that is written by hand. reads: what tails were asked for."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self.head = 0
        self.reads: list[int] = []
        self.before_head = lambda: None
        self._news = asyncio.Event()

    def add(self, *positions: int, domain: str = "order") -> None:
        """One-page entries at these positions."""
        for position in positions:
            cover = cover_of("alice", domain=domain)
            self.entries.append(LogEntry(position, position, book_of(cover, pages(position, 1))))
            self.head = position
        self._news.set()

    async def tail(self, after: int, *, limit: int = 256, wait_s: float = 0.0) -> list[LogEntry]:
        self.reads.append(after)
        while True:
            found = [entry for entry in self.entries if entry.position > after][:limit]
            if found or not wait_s:
                return found
            self._news.clear()
            await self._news.wait()
            if not any(entry.position > after for entry in self.entries):
                return []  # the wait is over

    def time_out(self) -> None:
        """End the waits."""
        self._news.set()

    async def log_head(self) -> int:
        head = self.head
        self.before_head()
        return head


class Fed:
    """A feed with room for `room` entries. given: positions of what it took."""

    def __init__(self, read: int = 0, room: int = 1000, domain: str = "order") -> None:
        self.read = read
        self.room = room
        self.domain = domain
        self.given: list[int] = []
        self.left: list[int] = []

    def wants_domain(self, domain: str) -> bool:
        return domain == self.domain

    def take(self, entry: Entry) -> bool:
        if len(self.given) >= self.room:
            return False
        self.given.append(entry.position)
        return True

    def left_behind(self, read: int) -> None:
        self.left.append(read)


@pytest.fixture
def log():
    return Log()


@pytest.fixture
async def follower(log):
    made = LogFollower(log, options=DeliveryOptions(), sleep=Time().sleep)
    made.start()
    yield made
    await made.stop()


async def test_each_entry_is_given_to_the_feeds_that_want_its_domain(log, follower):
    orders, more, stock = Fed(), Fed(), Fed(domain="stock")
    for feed in (orders, more, stock):
        assert follower.attach(feed, is_at_end=True)

    log.add(1, 2)
    log.add(3, domain="stock")
    await turns()

    assert (orders.given, more.given, stock.given) == ([1, 2], [1, 2], [3])
    assert follower.position == 3


async def test_one_look_serves_several_commits_of_a_busy_loop(log, follower):
    feed = Fed()
    assert follower.attach(feed, is_at_end=True)

    for position in range(1, 101):
        log.add(position)
        await _busy_turn()

    await turns()
    assert feed.given == list(range(1, 101))
    assert len(log.reads) < 50


async def _busy_turn() -> None:
    """Go round the loop once, doing something."""
    until = time.perf_counter() + 4 * CALM_S
    while time.perf_counter() < until:
        pass
    await asyncio.sleep(0)


async def test_a_feed_that_is_ahead_is_not_given_what_it_has_read(log, follower):
    assert follower.attach(Fed(), is_at_end=True)
    log.add(1, 2, 3)
    ahead = Fed(read=2)
    assert follower.attach(ahead, is_at_end=False)

    await turns()

    assert ahead.given == [3]


async def test_a_feed_that_is_behind_is_not_attached(log, follower):
    log.add(1, 2, 3)
    assert follower.attach(Fed(read=3), is_at_end=True)
    log.add(4)
    await turns()

    assert not follower.attach(Fed(read=3), is_at_end=True)
    assert follower.attach(Fed(read=4), is_at_end=False)


async def test_the_first_feed_has_to_be_at_the_logs_end(log, follower):
    log.add(1, 2, 3)

    assert not follower.attach(Fed(read=0), is_at_end=False)
    assert follower.attach(Fed(read=3), is_at_end=True)


@pytest.mark.spec("STO-25")
async def test_a_feed_without_room_is_left_behind_where_it_stood(log, follower):
    full, other = Fed(room=2), Fed()
    follower.attach(full, is_at_end=True)
    follower.attach(other, is_at_end=True)

    log.add(1, 2, 3, 4)
    await turns()

    assert (full.given, full.left) == ([1, 2], [2])
    assert other.given == [1, 2, 3, 4]


@pytest.mark.spec("STO-25")
async def test_a_feed_that_was_ahead_is_left_behind_where_it_has_read(log, follower):
    follower.attach(Fed(), is_at_end=True)
    log.add(1, 2, 3)
    full = Fed(read=2, room=0)
    follower.attach(full, is_at_end=True)

    await turns()

    assert full.left == [2]


async def test_a_feed_that_left_is_given_nothing_more(log, follower):
    feed = Fed()
    follower.attach(feed, is_at_end=True)

    follower.detach(feed)
    follower.detach(feed)
    log.add(1)
    await turns()

    assert feed.given == []


async def test_without_feeds_only_the_head_is_looked_at(log, follower):
    log.add(*range(1, 500))
    await turns()
    assert follower.position == 499
    log.reads.clear()

    log.add(500)
    await turns()

    assert follower.position == 500
    assert len(log.reads) <= 2


async def test_a_feed_that_comes_while_the_head_is_looked_at_misses_nothing(log, follower):
    await turns()
    feed = Fed()

    def come() -> None:
        if not feed.given and feed not in follower._attached:
            assert follower.attach(feed, is_at_end=True)

    log.before_head = come
    log.add(1, 2, 3)
    await turns()

    assert feed.given == [1, 2, 3]


@pytest.mark.spec("EDN-14")
async def test_deleted_entries_at_the_end_are_passed(log, follower):
    feed = Fed()
    follower.attach(feed, is_at_end=True)
    log.time_out()
    await turns()
    log.head = 7  # whose entries are gone

    log.time_out()
    await turns()

    assert follower.position == 7


@pytest.mark.spec("STO-14", "EDN-14")
async def test_an_entry_that_comes_while_deleted_ones_are_passed_is_not(log, follower):
    feed = Fed()
    follower.attach(feed, is_at_end=True)
    log.time_out()
    await turns()
    log.head = 3

    def commit() -> None:
        log.before_head = lambda: None
        log.add(4)

    log.before_head = commit
    log.time_out()
    await turns()

    assert feed.given == [4]
    assert follower.position == 4


async def test_a_batch_that_became_old_while_feeds_changed_is_not_given_twice(log, follower):
    first = Fed(room=1)
    follower.attach(first, is_at_end=True)
    log.add(*range(1, 60))
    await turns()
    assert first.left == [1]

    again = Fed(read=59)
    assert follower.attach(again, is_at_end=True)
    log.add(60)
    await turns()

    assert again.given == [60]


async def test_following_ends_with_stop_and_begins_again(log, follower):
    feed = Fed()
    follower.attach(feed, is_at_end=True)
    await follower.stop()
    await follower.stop()
    log.add(1)
    await turns()
    assert feed.given == []

    follower.start()
    follower.start()
    await turns()

    assert feed.given == [1]
