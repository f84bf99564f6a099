"""One reader of the log's tail for all consumers of a process that keep up with it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from angzarr.coordinators.delivery import DeliveryOptions
from angzarr.coordinators.entries import NOWHERE, Entry
from angzarr.coordinators.pipeline import Sleep
from angzarr.coordinators.shared_log import READ_COUNT, SharedLog
from angzarr.errors import AngzarrError, StoreClosed
from angzarr.gathering import give_way
from angzarr.ports.event_store import EventStore

SLICE_S: Final = 0.001
"""How long work that never waits may keep the event loop."""
PAUSE_S: Final = 0.001
"""How long a busy event loop is left to others between two looks at the log."""

_log = logging.getLogger(__name__)


class Feed(Protocol):
    """A consumer that is fed. It is attached while it keeps up."""

    def wants_domain(self, domain: str) -> bool:
        """Whether anything of the domain may be for it; never changes."""
        ...

    @property
    def read(self) -> int:
        """Log position up to which it has been given everything."""
        ...

    def take(self, entry: Entry) -> bool:
        """Take an entry that is above `read`, or leave it; False if there is no room for it."""
        ...

    def left_behind(self, read: int) -> None:
        """It was detached with everything up to `read` given; it reads the log itself now."""
        ...


class LogFollower:
    """Reads the tail once and gives each entry to the attached feeds that want its domain.

    A feed that can't take an entry is detached, so the others never wait for it, and nothing is
    kept for it here. position: everything up to it was given to the attached ones; without any, the
    newest position that was seen. head: the log's, as it was seen last. log: shared with those that
    read it by themselves.
    """

    def __init__(self, events: EventStore, *, options: DeliveryOptions, sleep: Sleep) -> None:
        self.log = SharedLog(events)
        self._events = events
        self._options = options
        self._sleep = sleep
        self._attached: list[Feed] = []
        self._by_domain: dict[str, tuple[Feed, ...]] = {}
        self._task: asyncio.Task[None] | None = None
        self.position = 0
        self.head = 0

    def start(self) -> None:
        """Follow the log. Idempotent."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._follow())

    async def stop(self) -> None:
        """Stop following. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def attach(self, feed: Feed, *, is_at_end: bool) -> bool:
        """Feed it from now on; False while it is behind the others, or, when there are none, has
        not seen the log's end.
        """
        if feed.read < self.position or not (self._attached or is_at_end):
            return False
        if not self._attached:
            self.position = feed.read
        self._attached.append(feed)
        self._by_domain.clear()
        return True

    def detach(self, feed: Feed) -> None:
        """Feed it no more; no matter whether it is attached."""
        if feed in self._attached:
            self._attached.remove(feed)
            self._by_domain.clear()

    async def _follow(self) -> None:
        await persist("following the log", self._step, self._options, self._sleep)

    async def _step(self) -> bool:
        if not self._attached:
            await self._watch()
            return False
        entries = await self._events.tail(
            self.position, limit=READ_COUNT, wait_s=self._options.wait_s
        )
        if entries:
            # There is more behind a full answer.
            is_full = len(entries) == READ_COUNT
            self.head = await self._events.log_head() if is_full else entries[-1].position
            await self._give(self.log.keep(entries))
            if not is_full:
                # One look then serves several commits. A look after each of them took a quarter of
                # a loop that makes thousands a second; a calm loop looks again at once.
                await give_way(PAUSE_S)
        elif self._attached:
            await self._pass_gap()
        return False

    async def _watch(self) -> None:
        """Without anyone to feed only the log's head is looked at."""
        found = await self._events.tail(self.position, limit=1, wait_s=self._options.wait_s)
        self.head = await self._events.log_head() if found else self.head
        if not self._attached:
            self.position = max(self.position, self.head)

    async def _pass_gap(self) -> None:
        """Pass positions whose entries were deleted."""
        position = self.position
        entries, seen = await self.log.look(position)
        if not entries and self.position == position:
            self.position = seen

    async def _give(self, entries: list[Entry]) -> None:
        """Fan out, with a turn for others now and then; feeds may come and go meanwhile."""
        busy_until = time.perf_counter() + SLICE_S
        for entry in entries:
            if entry.position <= self.position or not self._attached:
                continue
            for feed in self._wanting(entry):
                if entry.position > feed.read and not feed.take(entry):
                    self.detach(feed)
                    feed.left_behind(max(feed.read, self.position))
            self.position = entry.position
            if time.perf_counter() > busy_until:
                await asyncio.sleep(0)
                busy_until = time.perf_counter() + SLICE_S

    def _wanting(self, entry: Entry) -> tuple[Feed, ...]:
        if entry.cover is NOWHERE:
            return tuple(self._attached)  # nobody can tell whose it is
        domain = entry.cover.domain
        found = self._by_domain.get(domain)
        if found is None:
            found = tuple(feed for feed in self._attached if feed.wants_domain(domain))
            self._by_domain[domain] = found
        return found


async def persist(
    work: str, step: Callable[[], Awaitable[bool]], options: DeliveryOptions, sleep: Sleep
) -> None:
    """Take `step` again and again until it is True; what it raises is logged, and it is taken anew
    after a growing delay. It ends when the store is closed, too.
    """
    failures = 0
    while True:
        try:
            if await step():
                return
        except StoreClosed:
            _log.info("%s ends: the store is closed", work)
            return
        except AngzarrError as error:
            _log.warning("%s failed, and is tried again: %s", work, error)
        except Exception:
            _log.exception("%s failed unexpectedly, and is tried again", work)
        else:
            failures = 0
            await asyncio.sleep(0)  # there are stores that never make anyone wait
            continue
        failures += 1
        await sleep(options.delay_s(failures))
