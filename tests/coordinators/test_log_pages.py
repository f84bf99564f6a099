"""The log read page by page, ahead of who goes through it (PROJ-9)."""

from __future__ import annotations

import asyncio

import pytest

from angzarr.coordinators.log_pages import LogPages
from angzarr.errors import StoreUnavailable
from angzarr.ports.event_store import LogEntry

from .bus import turns


class Log:
    """A log of one-page entries. reads: positions that tails were asked after."""

    def __init__(self, count: int) -> None:
        self.entries = [LogEntry(position, position, b"") for position in range(1, count + 1)]
        self.reads: list[int] = []
        self.fault: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.running = 0

    async def tail(self, after: int, *, limit: int = 256, wait_s: float = 0.0) -> list[LogEntry]:
        self.reads.append(after)
        self.running += 1
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.fault is not None:
                raise self.fault
            return [entry for entry in self.entries if entry.position > after][:limit]
        finally:
            self.running -= 1


def positions(entries: list[LogEntry]) -> list[int]:
    return [entry.position for entry in entries]


async def test_pages_follow_one_another_up_to_the_logs_end() -> None:
    log = Log(7)
    pages = LogPages(log, 3)

    found = [positions(await pages.after(position)) for position in (0, 3, 6, 7)]

    assert found == [[1, 2, 3], [4, 5, 6], [7], []]
    assert log.reads == [0, 3, 6, 7]


async def test_the_next_page_is_read_while_one_is_worked_on() -> None:
    log = Log(6)
    pages = LogPages(log, 3)

    await pages.after(0)

    assert log.reads == [0, 3]


async def test_nothing_is_read_ahead_of_the_logs_end() -> None:
    log = Log(2)
    pages = LogPages(log, 3)

    await pages.after(0)
    await turns()

    assert log.reads == [0]


async def test_the_rest_of_a_page_is_given_without_another_read() -> None:
    log = Log(3)
    pages = LogPages(log, 3)
    await pages.after(0)

    assert positions(await pages.after(2)) == [3]
    assert log.reads == [0, 3]


async def test_who_goes_back_is_given_what_was_there_before() -> None:
    log = Log(9)
    pages = LogPages(log, 3)
    for position in (0, 3):
        await pages.after(position)

    assert positions(await pages.after(1)) == [2, 3, 4]
    assert positions(await pages.after(4)) == [5, 6, 7]


async def test_a_read_that_fails_is_told_to_who_asks_for_it() -> None:
    log = Log(9)
    pages = LogPages(log, 3)
    log.gate = asyncio.Event()
    asking = asyncio.create_task(pages.after(0))
    await turns()
    log.gate.set()
    await asking
    log.fault = StoreUnavailable("log", "it is gone")

    await pages.after(3)
    with pytest.raises(StoreUnavailable):
        await pages.after(6)
    log.fault = None

    assert positions(await pages.after(6)) == [7, 8, 9]


async def test_what_is_being_read_ends_with_it() -> None:
    log = Log(9)
    pages = LogPages(log, 3)
    await pages.after(0)
    log.gate = asyncio.Event()
    await pages.after(3)
    assert log.running == 1

    await pages.close()
    await pages.close()

    assert log.running == 0
