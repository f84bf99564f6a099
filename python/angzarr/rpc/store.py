"""StoreService: an open store for our own processes that have no engine (DEP-11)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, Final

from google.protobuf.message import DecodeError

from angzarr import wire
from angzarr.errors import AngzarrError, InvalidInput
from angzarr.ports.components import CallContext
from angzarr.ports.event_store import Duplicate, LogEntry
from angzarr.ports.stores import Stores
from angzarr.rpc import store_batches, store_calls
from angzarr.rpc.services import Rpc
from angzarr.rpc.status import Status, status_of
from angzarr.rpc.store_batches import ANSWER_BYTES_MAX, SEVERAL, SMALL
from angzarr.rpc.store_calls import ERROR, FACTS, SERVICE, Call, calls

WAIT_S_MAX: Final = 30.0
"""What one call may wait for the log to grow; who waits longer calls again."""
TAIL_ENTRIES_MAX: Final = 1_024
TAIL_BYTES_MAX: Final = 4 * 1024 * 1024
"""What one call gives of the log, the last entry excepted; a reader asks for the rest."""
PIECE_BYTES_MAX: Final = 1024 * 1024
"""One message of a result in pieces."""

Answer = Callable[..., Awaitable[object]]


class StoreService:
    """Answers StoreService.

    message_bytes_max: of an answer that is one message (WIRE-14). is_local_only: for callers on
    this machine only.
    """

    def __init__(
        self, stores: Stores, *, message_bytes_max: int, is_local_only: bool = True
    ) -> None:
        self._stores = stores
        self._piece_bytes = min(PIECE_BYTES_MAX, message_bytes_max // 2)
        self._tail_bytes = min(TAIL_BYTES_MAX, message_bytes_max // 2)
        self._is_local_only = is_local_only
        self._is_draining = False
        self._waits: set[asyncio.Task[list[LogEntry]]] = set()
        self._answers = {name: (call, self._answer_of(call)) for name, call in calls().items()}

    def rpcs(self) -> tuple[Rpc, ...]:
        """Call and Read."""
        is_local_only = self._is_local_only
        return (
            Rpc(
                service=SERVICE,
                method="Call",
                unary=self._call,
                is_local_only=is_local_only,
                status=_status,
            ),
            Rpc(
                service=SERVICE,
                method="Read",
                stream=self._read,
                is_local_only=is_local_only,
                status=_status,
            ),
        )

    def drain(self) -> None:
        """End the waits for the log to grow, from now on: the server stops."""
        self._is_draining = True
        for wait in self._waits:
            wait.cancel()

    async def _call(self, request: bytes, _context: CallContext) -> bytes:
        return wire.StoreAnswer(result=await self._result(request)).SerializeToString()

    async def _read(self, request: bytes, _context: CallContext) -> AsyncIterator[bytes]:
        result = memoryview(await self._result(request))
        for start in range(0, len(result), self._piece_bytes):
            piece = bytes(result[start : start + self._piece_bytes])
            yield wire.StoreAnswer(result=piece).SerializeToString()

    async def _result(self, request: bytes) -> bytes:
        try:
            asked = wire.StoreCall.FromString(request)
        except DecodeError as error:
            raise InvalidInput("request", "a StoreCall", error) from error
        name = f"{asked.port}.{asked.method}"
        if name == SEVERAL:
            questions = store_batches.asked_of(asked.arguments)
            return store_batches.answers_bytes([await self._small(*one) for one in questions])
        known = self._answers.get(name)
        if known is None:
            raise InvalidInput("method", "one of a port of the store", name)
        call, answer = known
        positional, named = call.arguments_of(asked.arguments)
        return call.result(await answer(*positional, **named))

    async def _small(self, name: str, arguments: bytes) -> bytes | None:
        """The result of a question among several; None where it is to be asked by itself: then
        its error comes with all that belongs to it.
        """
        if name not in SMALL:
            return None
        call, answer = self._answers[name]
        try:
            positional, named = call.arguments_of(arguments)
            result = call.result(await answer(*positional, **named))
        except AngzarrError:
            return None
        return result if len(result) <= ANSWER_BYTES_MAX else None

    def _answer_of(self, call: Call) -> Answer:
        """What answers a call: the port's method, or one here where more is to be said."""
        own: dict[str, Answer] = {
            "events.append": self._append,
            "events.tail": self._tail,
            FACTS: self._facts,
        }
        if call.name in own:
            return own[call.name]

        def ask(*positional: Any, **named: Any) -> Awaitable[object]:
            # Looked up when it is called: what a store has not, nobody needs for the rest.
            method: Answer = getattr(getattr(self._stores, call.port), call.method)
            return method(*positional, **named)

        return ask

    async def _append(self, *positional: Any, **named: Any) -> tuple[int, int, bool]:
        named["obligations"] = store_calls.changes_of_wire(named["obligations"])
        appended = await self._stores.events.append(*positional, **named)
        return appended.first, appended.last, isinstance(appended, Duplicate)

    async def _tail(self, after: int, *, limit: int, wait_s: float) -> list[LogEntry]:
        wait_s = 0.0 if self._is_draining else min(wait_s, WAIT_S_MAX)
        limit = min(limit, TAIL_ENTRIES_MAX)
        tail = self._stores.events.tail(after, limit=limit, wait_s=wait_s)
        return _fitting(await self._waited(tail) if wait_s else await tail, self._tail_bytes)

    async def _waited(self, tail: Coroutine[object, object, list[LogEntry]]) -> list[LogEntry]:
        """The entries; none if the server began to stop while they were waited for."""
        wait = asyncio.ensure_future(tail)
        self._waits.add(wait)
        try:
            await asyncio.wait([wait])
            return [] if wait.cancelled() else wait.result()
        finally:
            self._waits.discard(wait)
            wait.cancel()

    async def _facts(self) -> object:
        facts = self._stores.facts()
        return replace(facts, details={"server": facts.url, **facts.details})


def _status(error: BaseException) -> Status:
    """A failed call's end, with all fields of a store's error."""
    status = status_of(error)
    fields = store_calls.error_bytes(error)
    return replace(status, trailers=(*status.trailers, (ERROR, fields))) if fields else status


def _fitting(entries: list[LogEntry], bytes_max: int) -> list[LogEntry]:
    """The first of `entries` that are no larger than `bytes_max` together, one at least."""
    size_bytes = 0
    for count, entry in enumerate(entries):
        size_bytes += len(entry.book)
        if size_bytes > bytes_max and count:
            return entries[:count]
    return entries
