"""What one consumer has read of the log is there for the others (STO-25)."""

from __future__ import annotations

import pytest

from angzarr.coordinators import shared_log
from angzarr.coordinators.entries import Entry
from angzarr.coordinators.shared_log import READ_COUNT, SharedLog
from angzarr.ports.event_store import LogEntry
from angzarr.testing.pages import book_of, cover_of, page, pages

from .bus import Recorder, spec, turns


class Log:
    """A store's log that is written by hand. reads: what tails were asked after."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self.reads: list[int] = []

    def add(self, *positions: int, domain: str = "order", size: int = 1) -> None:
        for position in positions:
            book = book_of(cover_of("alice", domain=domain), [page(position, value=bytes(size))])
            self.entries.append(LogEntry(position, position, book))

    async def tail(self, after: int, *, limit: int = 256, wait_s: float = 0.0) -> list[LogEntry]:
        self.reads.append(after)
        return [entry for entry in self.entries if entry.position > after][:limit]

    async def log_head(self) -> int:
        return self.entries[-1].position if self.entries else 0


@pytest.fixture
def log():
    return Log()


def positions(entries: list[Entry]) -> list[int]:
    return [entry.position for entry in entries]


async def test_what_was_read_is_not_read_again(log):
    log.add(*range(1, 4))
    shared = SharedLog(log)

    looks = [await shared.look(after) for after in (0, 0, 1)]

    assert [positions(entries) for entries, _ in looks] == [[1, 2, 3], [1, 2, 3], [2, 3]]
    assert [seen for _, seen in looks] == [3, 3, 3]
    assert log.reads == [0]


async def test_all_share_what_was_parsed(log):
    log.add(1)
    shared = SharedLog(log)

    [followed] = shared.keep(await log.tail(0))

    assert (await shared.look(0))[0][0] is followed
    assert shared.keep(await log.tail(0)) == [followed]


async def test_a_look_is_bounded_whatever_is_there(log):
    log.add(*range(1, 2 * READ_COUNT))
    shared = SharedLog(log)
    shared.keep(await log.tail(0))

    entries, seen = await shared.look(0)

    assert (len(entries), seen) == (READ_COUNT, READ_COUNT)


async def test_the_logs_end_is_looked_at_each_time(log):
    log.add(1)
    shared = SharedLog(log)
    await shared.look(0)
    assert await shared.look(1) == ([], 1)

    log.add(2)

    assert positions((await shared.look(1))[0]) == [2]


async def test_entries_of_deleted_editions_are_passed(log):
    log.add(1, 5)
    shared = SharedLog(log)

    assert positions((await shared.look(0))[0]) == [1, 5]
    assert positions((await shared.look(1))[0]) == [5]


@pytest.mark.spec("EDN-14")
async def test_what_was_read_before_an_edition_was_deleted_is_read_again(log):
    log.add(1, 2)
    shared = SharedLog(log)
    await shared.look(0)
    del log.entries[0]
    log.add(3, domain="_angzarr")

    shared.keep(await log.tail(2))

    assert positions((await shared.look(0))[0]) == [2, 3]


@pytest.mark.spec("STO-25")
@pytest.mark.parametrize(("count", "size"), [(4, 10_000), (10_000, 4 * 1_100)])
async def test_no_more_is_kept_than_the_newest(log, monkeypatch, count, size):
    monkeypatch.setattr(shared_log, "KEPT_COUNT", count)
    monkeypatch.setattr(shared_log, "KEPT_BYTES", size)
    log.add(*range(1, 11), size=1_000)
    shared = SharedLog(log)
    await shared.look(0)
    log.reads.clear()

    for after in (9, 6, 5):
        await shared.look(after)

    assert log.reads == [5]


@pytest.mark.spec("STO-25")
async def test_consumers_that_lag_together_cost_one_reader_of_the_log(timed, monkeypatch):
    for number in range(4):
        cover = cover_of(f"root-{number}")
        await timed.stores.events.append(cover, 0, pages(0, 1))
    reads: list[int] = []
    tail = timed.stores.events.tail

    async def counted(after: int, **more: object):
        reads.append(after)
        return await tail(after, **more)

    monkeypatch.setattr(timed.stores.events, "tail", counted)
    recorders = [Recorder() for _ in range(100)]
    await timed.start(*(spec(got, str(number)) for number, got in enumerate(recorders)))
    await turns()

    assert {len(got.done) for got in recorders} == {4}
    assert reads.count(0) <= 2  # the follower, which watches the head, and one of the consumers
