"""Deliveries of one consumer: in order within a stream, streams side by side, bounded.

Each stream with unfinished entries has a lane. Workers take lanes that are ready, one entry a time.
An entry that has to wait, after a failure or for a request's turn, takes its lane out of the way
and no worker with it. When the window is full of what waits behind such entries, a lane lets go of
all but its first one (`spill`); they are read from the log again when it gets on (`refill`).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Final

from angzarr.coordinators.entries import Entry
from angzarr.coordinators.follower import SLICE_S
from angzarr.coordinators.shared_log import READ_COUNT

_CLOCK: Final = time.perf_counter


class Item:
    """An entry on its way. failures: attempts that failed. is_settled: it has waited for requests.
    letter_id: of the dead letter that it became.
    """

    __slots__ = ("entry", "failures", "is_done", "is_seen", "is_settled", "letter_id")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.failures = 0
        self.is_done = False
        self.is_seen = False
        self.is_settled = False
        self.letter_id = ""


Wait = Callable[[], Awaitable[None]]
Work = Callable[[Item], Awaitable[Wait | None]]
"""Works on an entry. None: it is finished. Else what to wait for before it is worked on again."""


class Lane:
    """The unfinished entries of one stream, in order.

    spilled: position from which on its entries are in the log only, None if all are here. is_held:
    its entries were spilled once, so that they are not in log order among all others.
    """

    __slots__ = ("is_held", "is_stalled", "items", "key", "spilled")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.items: deque[Item] = deque()
        self.spilled: int | None = None
        self.is_held = False
        self.is_stalled = False

    @property
    def lowest(self) -> int | None:
        """Position of its first unfinished page."""
        return self.items[0].entry.first_position if self.items else self.spilled


class Slices:
    """Shares the event loop between all workers of a process that never wait."""

    __slots__ = ("worker_count",)

    def __init__(self) -> None:
        self.worker_count = 0

    def until(self) -> float:
        """When a worker that starts now has to give way."""
        return _CLOCK() + SLICE_S / max(self.worker_count, 1)


class Lanes:
    """The lanes of one consumer. told: called when entries were finished or room was made."""

    def __init__(
        self,
        work: Work,
        *,
        concurrency: int,
        window: int,
        window_bytes: int,
        slices: Slices,
        told: Callable[[], None],
    ) -> None:
        self._work = work
        self._concurrency = concurrency
        self._window = window
        self._window_bytes = window_bytes
        self._slices = slices
        self._told = told
        self._lanes: dict[Hashable, Lane] = {}
        self._ready: deque[Lane] = deque()
        self._order: deque[Item] = deque()
        self._held: set[Lane] = set()
        self._hungry: set[Lane] = set()
        self._waiting: dict[Lane, asyncio.Task[None]] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._running = 0
        self._is_over = False
        self.count = 0
        self.size_bytes = 0

    def has_room(self) -> bool:
        """Whether another entry fits the window; one of any size does into an empty one."""
        return not self.count or (
            self.count < self._window and self.size_bytes < self._window_bytes
        )

    def make_room(self) -> bool:
        """Whether there is room, or can be made by what waits."""
        return self.has_room() or self._spill()

    def is_roomy(self) -> bool:
        """Whether reading on is worth it: there is room for some more, or for any while nothing is
        being worked on.
        """
        if self.count + min(READ_COUNT, self._window // 4) <= self._window:
            return self.has_room()
        return not self._running and self.make_room()

    def offer(self, entry: Entry) -> bool:
        """Take an entry that is above all others; False if there is no room."""
        key = entry.cover.stream if self._concurrency > 1 else ()
        lane = self._lanes.get(key)
        if lane is not None and lane.spilled is not None:
            return True  # it stays in the log
        if not self.make_room():
            return False
        if lane is None:
            lane = self._lanes[key] = Lane(key)
        elif lane.spilled is not None:
            return True  # this one has just made the room
        item = Item(entry)
        if not lane.is_held:
            self._order.append(item)
        self._put(lane, item)
        return True

    def lowest(self) -> int | None:
        """Position of the first page that is not finished; None if all are."""
        order = self._order
        while order and order[0].is_done:
            order.popleft()
        lowest = order[0].entry.first_position if order else None
        for lane in self._held:
            held = lane.lowest
            if held is not None and (lowest is None or held < lowest):
                lowest = held
        return lowest

    @property
    def waiting_count(self) -> int:
        """Streams whose first entry waits for its next attempt or its turn."""
        return len(self._waiting)

    @property
    def running_count(self) -> int:
        """Workers at work."""
        return self._running

    def hungry(self) -> dict[Hashable, Lane]:
        """Lanes whose next entry is in the log only, by key."""
        return {lane.key: lane for lane in self._hungry}

    @property
    def is_hungry(self) -> bool:
        """Whether there are any."""
        return bool(self._hungry)

    def refill(self, lane: Lane, entry: Entry) -> bool:
        """Put the lane's next entry back; False if it has enough now."""
        self._hungry.discard(lane)
        self._put(lane, Item(entry))
        lane.spilled = entry.position + 1
        return len(lane.items) < self._window // 4 and self.has_room()

    def read_past(self, lane: Lane, position: int) -> None:
        """Nothing of the lane is in the log from where it spilled to `position`."""
        if lane.spilled is not None:
            lane.spilled = max(lane.spilled, position + 1)

    def refilled(self, lane: Lane) -> None:
        """All entries that the lane had spilled are back."""
        lane.spilled = None
        self._hungry.discard(lane)
        if not lane.items:
            self._drop(lane)

    def notice_stalls(self) -> None:
        """Let lanes whose first entry is still the one of the last call be spilled. Called from
        time to time: a handler that never ends must not fill the window with what waits for it.
        """
        for lane in self._lanes.values():
            if lane.items and lane.items[0].is_seen:
                lane.is_stalled = True
            elif lane.items:
                lane.items[0].is_seen = True

    def end(self) -> None:
        """Start no further work."""
        self._is_over = True
        for task in self._waiting.values():
            task.cancel()

    def tasks(self) -> list[asyncio.Task[None]]:
        """What is at work, or waits."""
        return [*self._workers, *self._waiting.values()]

    def _put(self, lane: Lane, item: Item) -> None:
        lane.items.append(item)
        self.count += 1
        self.size_bytes += item.entry.size_bytes
        if len(lane.items) == 1:
            self._make_ready(lane)

    def _spill(self) -> bool:
        """Make room by letting go of what waits behind the longest queue of those that wait."""
        if self._concurrency == 1:
            return False  # all wait for the first one
        candidates = [lane for lane in self._waiting if len(lane.items) > 1]
        candidates += [
            lane for lane in self._lanes.values() if lane.is_stalled and len(lane.items) > 1
        ]
        if not candidates:
            return False
        lane = max(candidates, key=lambda candidate: len(candidate.items))
        first, *others = lane.items
        lane.items = deque([first])
        lane.spilled = others[0].entry.first_position
        lane.is_held = True
        self._held.add(lane)
        for item in others:
            item.is_done = True  # for the order; it is the lane that holds the cursor back now
            self._forget(item)
        return self.has_room()

    def _forget(self, item: Item) -> None:
        self.count -= 1
        self.size_bytes -= item.entry.size_bytes

    def _make_ready(self, lane: Lane) -> None:
        if self._is_over:
            return
        self._ready.append(lane)
        if self._running < self._concurrency:
            self._running += 1  # counted here, and not by its task, which ends a little later
            task = asyncio.get_running_loop().create_task(self._run())
            self._workers.add(task)
            self._slices.worker_count += 1
            task.add_done_callback(self._worker_ended)

    def _worker_ended(self, task: asyncio.Task[None]) -> None:
        self._workers.discard(task)
        self._slices.worker_count -= 1

    async def _run(self) -> None:
        """A worker: until no lane is ready."""
        busy_until = self._slices.until()
        try:
            while self._ready and not self._is_over:
                lane = self._ready.popleft()
                item = lane.items[0]
                wait = await self._work(item)
                if wait is None:
                    self._finish(lane, item)
                else:
                    self._wait(lane, wait)
                if _CLOCK() > busy_until:
                    await asyncio.sleep(0)
                    busy_until = self._slices.until()
        finally:
            self._running -= 1
            if not self._running:
                self._told()

    def _finish(self, lane: Lane, item: Item) -> None:
        lane.items.popleft()
        lane.is_stalled = False
        item.is_done = True
        self._forget(item)
        if lane.items:
            self._ready.append(lane)
        elif lane.spilled is not None:
            self._hungry.add(lane)
        else:
            self._drop(lane)
        self._told()

    def _drop(self, lane: Lane) -> None:
        """Forget a lane with nothing left."""
        self._held.discard(lane)
        del self._lanes[lane.key]

    def _wait(self, lane: Lane, wait: Wait) -> None:
        """Take the lane out of the way until `wait` is over."""
        if self._is_over:
            return
        task = asyncio.get_running_loop().create_task(self._waited(lane, wait))
        self._waiting[lane] = task
        if not self.has_room():
            self._told()  # what waits behind it can be let go of

    async def _waited(self, lane: Lane, wait: Wait) -> None:
        try:
            await wait()
        finally:
            del self._waiting[lane]
        self._make_ready(lane)
