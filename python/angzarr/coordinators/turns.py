"""Who works on which stream's pages in this process: the log's deliveries and requests take turns
(PROJ-7, PROJ-16, SYNC-10).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar

from angzarr.cover import Cover

_Stream = tuple[str, str, str, bytes]
_Key = tuple[str | int | bytes, ...]


class Turns:
    """Turns at streams, by consumer. It is used by one event loop.

    `alone` and `book` are exclusive and served in the order of asking; who has one may ask for it
    again, in the same task or in one that it started meanwhile. Requests never wait for each
    other's intents, so that two cascades that write to each other's streams end.
    """

    def __init__(self) -> None:
        self._waiting: dict[_Key, deque[asyncio.Future[None]]] = {}
        self._intents: dict[_Stream, list[Intent]] = {}

    def alone(self, consumer: str, cover: Cover) -> AbstractAsyncContextManager[None]:
        """Be the only one to work on the stream for the consumer."""
        return _Turn(self._waiting, (consumer, *cover.stream))

    def book(self, consumer: str, cover: Cover, first: int) -> AbstractAsyncContextManager[None]:
        """Be the only one to work on the commit that starts at `first` for the consumer."""
        return _Turn(self._waiting, (consumer, *cover.stream, first))

    def intend(self, consumers: Sequence[str], cover: Cover) -> AbstractAsyncContextManager[Intent]:
        """Announce, before an append to the stream, that its pages will be worked on for the
        consumers right away, until the context is left. It never waits.
        """
        streams = [(consumer, *cover.stream) for consumer in consumers]
        return _Announced(self._intents, streams)

    def is_settled(self, consumer: str, cover: Cover, last: int) -> bool:
        """Whether `settled` would return at once."""
        if not self._intents:
            return True
        intents = self._intents.get((consumer, *cover.stream), ())
        return not any(intent.holds_back(last) for intent in intents)

    async def settled(self, consumer: str, cover: Cover, first: int, last: int) -> None:
        """Wait while an intent of the stream has not said what it wrote, and while a request works
        on pages ≤ `last`. To be asked with pages that are in the log.

        Only intents that are there now count: later ones write after these pages, so a stream that
        always has one holds nothing back.
        """
        for intent in tuple(self._intents.get((consumer, *cover.stream), ())):
            while intent.holds_back(last):
                await intent.changed()


class Intent:
    """What a request will write, or has written, to a stream whose reactions it runs itself."""

    def __init__(self) -> None:
        self._first: int | None = None
        self._is_over = False
        self._waiting: list[asyncio.Future[None]] = []

    def wrote(self, first: int, last: int) -> None:
        """Say what the append wrote: from now on deliveries of earlier pages go on. Nothing, which
        is last < first, ends it.
        """
        self._first = first if self._first is None else min(self._first, first)
        self._is_over = self._is_over or last < first
        self._wake()

    def holds_back(self, last: int) -> bool:
        """Whether a delivery of pages up to `last` has to wait for it."""
        return not self._is_over and (self._first is None or self._first <= last)

    async def changed(self) -> None:
        """Wait until it says more, or ends."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def end(self) -> None:
        """The request is over."""
        self._is_over = True
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


class _Announced:
    """An intent's context."""

    __slots__ = ("_intent", "_intents", "_streams")

    def __init__(self, intents: dict[_Stream, list[Intent]], streams: list[_Stream]) -> None:
        self._intents = intents
        self._streams = streams
        self._intent = Intent()

    async def __aenter__(self) -> Intent:
        for stream in self._streams:
            self._intents.setdefault(stream, []).append(self._intent)
        return self._intent

    async def __aexit__(self, *_: object) -> None:
        for stream in self._streams:
            intents = self._intents[stream]
            intents.remove(self._intent)
            if not intents:
                del self._intents[stream]
        self._intent.end()


class _Turn:
    """An exclusive turn's context. A key that is present in `waiting` is taken."""

    __slots__ = ("_is_again", "_key", "_waiting", "is_held")

    def __init__(self, waiting: dict[_Key, deque[asyncio.Future[None]]], key: _Key) -> None:
        self._waiting = waiting
        self._key = key
        self._is_again = False
        self.is_held = False

    async def __aenter__(self) -> None:
        before = _held.get()
        queue = self._waiting.get(self._key)
        if queue is None:
            self._waiting[self._key] = deque()
        elif any(turn.is_held and turn.is_for(self) for turn in before):
            self._is_again = True
            return
        else:
            await self._wait(queue)
        self.is_held = True
        _held.set((*before, self))

    async def __aexit__(self, *_: object) -> None:
        if self._is_again:
            return
        self.is_held = False
        _held.set(tuple(turn for turn in _held.get() if turn is not self))
        self._pass_on()

    def is_for(self, other: _Turn) -> bool:
        """Whether both are the same turn."""
        return self._key == other._key and self._waiting is other._waiting

    async def _wait(self, queue: deque[asyncio.Future[None]]) -> None:
        future = asyncio.get_running_loop().create_future()
        queue.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if not future.cancelled():
                self._pass_on()  # it was handed over just before
            elif future in queue:
                queue.remove(future)
            raise

    def _pass_on(self) -> None:
        queue = self._waiting[self._key]
        while queue:
            future = queue.popleft()
            if not future.done():
                future.set_result(None)
                return
        del self._waiting[self._key]


_held: ContextVar[tuple[_Turn, ...]] = ContextVar("turns that the running task has", default=())
