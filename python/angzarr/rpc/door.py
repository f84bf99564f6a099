"""The calls of the native front door, run in an event loop (decision 007).

The door reads and writes on a thread of its own. Here each call is a task, which the door's signals
feed and cancel.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Sequence,
)
from functools import partial
from pathlib import Path
from typing import Final

from angzarr import _native
from angzarr.errors import RemoteError
from angzarr.ports.components import CallContext
from angzarr.rpc.services import (
    BothStream,
    Live,
    Rpc,
    ServerStream,
    Subscription,
    Unary,
    check_peer,
    too_large,
)
from angzarr.rpc.status import OK, Status, status_of
from angzarr.rpc.tls import TlsFiles, server_pems

CALLS_MAX: Final = 16_384
"""Calls that run at once, streams included; further ones are answered RESOURCE_EXHAUSTED."""

CLEANUP_S: Final = 1.0
"""What cancelled calls get for their own ends before `stop` returns."""

Run = Callable[[int, bytes | None, CallContext, str], Coroutine[object, object, None]]
"""What runs one call: its id, request (None where there are many), context and peer."""

_log = logging.getLogger(__name__)


class Door:
    """Serves `rpcs` from the running event loop, once: it isn't started again after `stop`.

    message_bytes_max: what a request or an answer may have (WIRE-14). Raises InvalidInput for TLS
    files that can't be read.
    """

    def __init__(
        self, rpcs: Sequence[Rpc], *, message_bytes_max: int, tls: TlsFiles | None = None
    ) -> None:
        self._limit = message_bytes_max
        self._native = _native.Door(
            [(rpc.path, rpc.both is not None or rpc.has_many_requests) for rpc in rpcs],
            2 * message_bytes_max,  # so that our own check answers, which names limit and hint
            CALLS_MAX,
            time.monotonic_ns(),
            server_pems(tls) if tls else None,
        )
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._exchanges: dict[int, _Exchange] = {}
        self._live: set[Subscription] = set()
        self._is_draining = False
        self._idle, self._stopped = asyncio.Event(), asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runs = [(self._run_of(rpc), rpc.path) for rpc in rpcs]

    def bind_tcp(self, host: str, port: int) -> int:
        """Listen on `host`, from `start` on; the port. Raises InvalidInput where that can't be."""
        return self._native.bind_tcp(host, port)

    def bind_unix(self, path: Path) -> None:
        """Listen on a Unix socket, from `start` on. Raises InvalidInput where that can't be."""
        self._native.bind_unix(path)

    def start(self) -> None:
        """Serve, in the running loop."""
        self._native.start()
        self._loop = asyncio.get_running_loop()
        # The loop's selector keeps this alive, since the descriptor must outlive its watching.
        self._loop.add_reader(self._native.fileno(), self._deliver)

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, end live ones, give the others `grace_s`, then end all. Idempotent."""
        self._native.refuse()
        self._is_draining = True
        for subscription in tuple(self._live):
            subscription.close()
        if self._loop is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), grace_s)
        self._native.close()  # also cancels what runs, by the signal `gone`
        if self._loop is not None:
            await self._stopped.wait()
            self._native.join()
            self._loop.remove_reader(self._native.fileno())
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=CLEANUP_S)

    async def wait(self) -> None:
        """Return when it has stopped."""
        await self._stopped.wait()

    def _deliver(self) -> None:
        """Start the calls that have come, then pass on the signals."""
        loop, tasks = self._loop, self._tasks
        assert loop is not None
        calls, signals = self._native.drain()
        for id, method, request, deadline_ns, metadata, peer in calls:
            run, path = self._runs[method]
            work = run(id, request, CallContext(deadline_ns, metadata), peer)
            task = loop.create_task(work, name=path)
            if not task.done():  # as a loop with eager tasks may have it
                tasks[id] = task
        for name, id, payload in signals:
            self._signal(name, id, payload)

    def _signal(self, name: str, id: int, payload: bytes | str | None) -> None:
        if name == "gone":
            if task := self._tasks.get(id):
                task.cancel()
                # A task that is cancelled before its first step never gets to forget itself.
                task.add_done_callback(partial(self._forget, id))
        elif name == "idle":
            self._idle.set()
        elif name == "stopped":
            self._stopped.set()
        elif name in ("warning", "note"):
            _log.log(logging.WARNING if name == "warning" else logging.INFO, "%s", payload)
        elif exchange := self._exchanges.get(id):
            exchange.signal(name, payload)

    def _run_of(self, rpc: Rpc) -> Run:
        if rpc.unary:
            return self._unary(rpc, rpc.unary)
        if rpc.stream:
            return self._exchanging(rpc, partial(self._stream, rpc.stream))
        if rpc.live:
            return self._exchanging(rpc, partial(self._live_stream, rpc.live))
        if rpc.both:
            return self._exchanging(rpc, partial(self._both, rpc.both))
        assert rpc.whole
        return self._exchanging(rpc, rpc.whole)

    def _unary(self, rpc: Rpc, call: Unary) -> Run:
        limit, is_local_only, status_of = self._limit, rpc.is_local_only, rpc.status
        reply, tasks = self._native.reply, self._tasks

        async def run(id: int, request: bytes | None, context: CallContext, peer: str) -> None:
            try:
                assert request is not None
                if is_local_only:
                    check_peer(rpc, peer)
                if len(request) > limit:
                    raise too_large(rpc, "request", len(request), limit)
                answer = await call(request, context)
                if len(answer) > limit:
                    raise too_large(rpc, "answer", len(answer), limit)
                reply(id, answer)
            except Exception as error:
                self._end(id, status_of(error))
            except asyncio.CancelledError as error:
                self._end(id, status_of(error))
                raise
            finally:
                tasks.pop(id, None)

        return run

    def _exchanging(self, rpc: Rpc, answer: Callable[[_Exchange], Awaitable[Status]]) -> Run:
        status_of = rpc.status

        async def run(exchange: _Exchange) -> None:
            try:
                check_peer(rpc, exchange.peer)
                self._end(exchange.id, await answer(exchange))
            except Exception as error:
                self._end(exchange.id, status_of(error))
            except asyncio.CancelledError as error:
                self._end(exchange.id, status_of(error))
                raise
            finally:
                self._forget(exchange.id)

        def start(
            id: int, request: bytes | None, context: CallContext, peer: str
        ) -> Coroutine[object, object, None]:
            # Made before the task's first step, since signals may come before that.
            exchange = _Exchange(
                self._native,
                rpc=rpc,
                message_bytes_max=self._limit,
                id=id,
                request=request,
                context=context,
                peer=peer,
            )
            self._exchanges[id] = exchange
            return run(exchange)

        return start

    async def _stream(self, call: ServerStream, exchange: _Exchange) -> Status:
        await _send_all(exchange, call(await exchange.only(), exchange.context))
        return OK

    async def _both(self, call: BothStream, exchange: _Exchange) -> Status:
        await _send_all(exchange, call(exchange.requests(), exchange.context))
        return OK

    async def _live_stream(self, call: Live, exchange: _Exchange) -> Status:
        subscription = await call(await exchange.only())
        self._live.add(subscription)
        try:
            if self._is_draining:  # since `open` was called
                subscription.close()
            exchange.accept(())
            async for answer in subscription:
                await exchange.send(answer)
            if self._is_draining:
                raise RemoteError("UNAVAILABLE", "server is stopping")
            return OK
        finally:
            self._live.discard(subscription)
            subscription.close()

    def _end(self, id: int, status: Status) -> None:
        try:
            self._native.finish(id, status.number, status.message, status.trailers)
        except ValueError as error:  # trailers of a servicer that can't travel
            defect = status_of(error)
            self._native.finish(id, defect.number, defect.message, defect.trailers)

    def _forget(self, id: int, _task: object = None) -> None:
        self._tasks.pop(id, None)
        self._exchanges.pop(id, None)


class _Exchange:
    """One call with more than one message, a `services.Exchange`."""

    def __init__(
        self,
        native: _native.Door,
        *,
        rpc: Rpc,
        message_bytes_max: int,
        id: int,
        request: bytes | None,
        context: CallContext,
        peer: str,
    ) -> None:
        self.id = id
        self.context = context
        self.peer = peer
        self._native = native
        self._limit = message_bytes_max
        self._rpc = rpc
        self._has_many = request is None
        self._messages = deque(() if request is None else (request,))
        self._is_last = not self._has_many
        self._arrival, self._room = asyncio.Event(), asyncio.Event()

    def signal(self, name: str, payload: bytes | str | None) -> None:
        """What the door tells of this call."""
        if name == "room":
            self._room.set()
            return
        if isinstance(payload, bytes):
            self._messages.append(payload)
        else:
            self._is_last = True
        self._arrival.set()

    async def read(self) -> bytes | None:
        while not self._messages:
            if self._is_last:
                return None
            self._arrival.clear()
            await self._arrival.wait()
        message = self._messages.popleft()
        if self._has_many:
            self._native.took(self.id, len(message))
        if len(message) > self._limit:
            raise too_large(self._rpc, "request", len(message), self._limit)
        return message

    async def only(self) -> bytes:
        """The request of a method that has one: the door announces no call without it."""
        request = await self.read()
        assert request is not None
        return request

    async def requests(self) -> AsyncIterator[bytes]:
        """All requests that come."""
        while (request := await self.read()) is not None:
            yield request

    def accept(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        self._native.accept(self.id, tuple(metadata))

    async def send(self, answer: bytes) -> None:
        if len(answer) > self._limit:
            raise too_large(self._rpc, "answer", len(answer), self._limit)
        has_room = self._native.send(self.id, answer)
        if not has_room:
            self._room.clear()
            await self._room.wait()


async def _send_all(exchange: _Exchange, answers: AsyncIterator[bytes]) -> None:
    """Send each of `answers`; the source is closed in any case."""
    try:
        async for answer in answers:
            await exchange.send(answer)
    finally:
        if isinstance(answers, AsyncGenerator):
            await answers.aclose()
