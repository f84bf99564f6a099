"""The way to another process's store: connections to its StoreService, one for each event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Hashable, Mapping
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
import msgspec
from google.protobuf.message import DecodeError

from angzarr import wire
from angzarr.errors import (
    AngzarrError,
    InvalidInput,
    NotPermitted,
    StoreClosed,
    StoreForked,
    StoreUnavailable,
    TooLarge,
)
from angzarr.rpc import sockets
from angzarr.rpc.channels import open_channel, target_of
from angzarr.rpc.status import error_from_rpc, parts_of
from angzarr.rpc.store_batches import (
    SEVERAL,
    SMALL,
    Answers,
    Asked,
    Batches,
    answers_of,
    asked_bytes,
)
from angzarr.rpc.store_calls import ERROR, SERVICE, STORE_ERRORS, calls, error_of_bytes
from angzarr.rpc.tls import TlsFiles

CALL_S: Final = 60.0
"""What a call may take; those that walk over a whole store get SLOW_CALL_S."""
SLOW_CALL_S: Final = 600.0
SLOW: Final = frozenset(
    {
        "events.roots",
        "events.domains",
        "events.editions",
        "events.delete_edition",
        "events.scan",
        "editions.forget",
        "editions.usage",
    }
)
CONNECT_S: Final = 5.0
"""What a call may take that begins while the server is not reached."""
OPTIONS: Final[Mapping[str, int | str]] = {
    "grpc.max_reconnect_backoff_ms": 1_000,
    # A peer that is gone without a word is found out by a ping. gRPC pings every 10 s at most, and
    # then waits for the longer of the two others.
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.http2.ping_timeout_ms": 10_000,
}
CLOSE_S: Final = 10.0
"""What calls that are on their way get when the store is closed."""
MESSAGE_SIZE_KB: Final = 1_000_000
"""Of an answer: the server has a limit of its own, so this is as good as none."""

IN_PIECES: Final = frozenset({"obligations.due", "events.resolve_cascade", "events.scan"})
"""Not to be asked again when the answer proves too large: they have done something by then, or
taken long."""

T = TypeVar("T")


class Link:
    """Calls of one server's StoreService, from any event loop and thread of this process.

    endpoint: as `channels.target_of` takes it. url: what errors call the store.

    Calls raise the store's own errors; StoreUnavailable where no answer comes, and then a write may
    have been done or not; StoreClosed after close, StoreForked in a forked child.
    """

    def __init__(self, endpoint: str, *, tls: TlsFiles | None = None) -> None:
        self.url = url_of(endpoint)
        self._endpoint = endpoint
        self._tls = tls
        self._process = os.getpid()
        self._is_closed = False
        self._lock = threading.Lock()
        self._thread = threading.local()
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Connection]
        self._by_loop = weakref.WeakKeyDictionary()

    def check(self) -> None:
        """StoreForked, StoreClosed."""
        if os.getpid() != self._process:
            raise StoreForked(self.url, self._process, os.getpid())
        if self._is_closed:
            raise StoreClosed(self.url)

    async def ask(self, name: str, *positional: object, **named: object) -> Any:
        """Call `port.method` with its arguments; its result."""
        self.check()
        arguments, connection = _arguments(name, positional, named), self._here()
        if name in SMALL:
            small = await connection.batches.ask(name, arguments)
            if small is not None:
                return self._result(name, small)
        request, call_s = _request(name, arguments), _call_s(name)
        if name in IN_PIECES:
            answer = await connection.read(request, call_s)
        else:
            answer = await connection.call(request, call_s)
        return self._result(name, answer)

    async def ask_in_turn(
        self, turn: Hashable, name: str, *positional: object, **named: object
    ) -> Any:
        """As `ask`, after the calls of the same turn that were begun before in this loop: gRPC may
        carry calls over one connection in any order."""
        self.check()
        request = _request(name, _arguments(name, positional, named))
        connection = self._here()
        async with connection.turn(turn):
            return self._result(name, await connection.call(request, CALL_S))

    async def ask_waiting(
        self, name: str, *positional: object, wait_s: float, **named: object
    ) -> Any:
        """As `ask`, for a call that waits for `wait_s`; close() ends it at once."""
        self.check()
        request = _request(name, _arguments(name, positional, {**named, "wait_s": wait_s}))
        answer = await self._here().waiting(request, wait_s + CALL_S)
        return self._result(name, answer)

    async def stream(self, path: str, request: bytes) -> AsyncIterator[bytes]:
        """The answers of another method of the same server."""
        self.check()
        async for answer in self._here().stream(path, request):
            yield answer

    async def close(self) -> None:
        """Refuse calls from now on, end waiting ones, let the others finish. Idempotent."""
        with self._lock:
            self._is_closed = True
            connections, self._by_loop = self._by_loop, weakref.WeakKeyDictionary()
        here = asyncio.get_running_loop()
        for loop, connection in list(connections.items()):
            if loop is here:
                await connection.close()
            elif loop.is_running():  # of another thread; one that rests keeps nothing waiting
                elsewhere = asyncio.run_coroutine_threadsafe(connection.close(), loop)
                with contextlib.suppress(TimeoutError):  # its loop has ended meanwhile
                    await asyncio.wait_for(asyncio.wrap_future(elsewhere), 2 * CLOSE_S)

    def _result(self, name: str, answer: bytes) -> Any:
        try:
            return calls()[name].result_of(answer)
        except msgspec.MsgspecError as error:
            cause = f"its answer to {name} is none: {error}"
            raise StoreUnavailable(self.url, cause) from error

    def _here(self) -> _Connection:
        """The connection of the running loop."""
        loop = asyncio.get_running_loop()
        known: tuple[weakref.ref[asyncio.AbstractEventLoop], _Connection] | None
        known = getattr(self._thread, "known", None)
        if known is not None and known[0]() is loop:
            return known[1]
        with self._lock:
            self.check()
            for other in [one for one in self._by_loop if one.is_closed()]:
                del self._by_loop[other]
            connection = self._by_loop.get(loop)
            if connection is None:
                connection = _Connection(self.url, self._endpoint, self._tls)
                self._by_loop[loop] = connection
        self._thread.known = weakref.ref(loop), connection
        return connection


class _Connection:
    """A channel that is kept, for calls of one event loop."""

    def __init__(self, url: str, endpoint: str, tls: TlsFiles | None) -> None:
        self._url = url
        self._channel = open_channel(
            endpoint, tls=tls, message_size_kb=MESSAGE_SIZE_KB, more=OPTIONS
        )
        self._call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
        self._call = self._channel.unary_unary(f"/{SERVICE}/Call")
        self._read: grpc.aio.UnaryStreamMultiCallable[bytes, bytes]
        self._read = self._channel.unary_stream(f"/{SERVICE}/Read")
        self._is_closed = False
        self._waits: set[asyncio.Task[bytes]] = set()
        self._turns: dict[Hashable, asyncio.Future[None]] = {}
        self._running_count = 0
        self._idle = asyncio.Event()
        self.batches = Batches(self._several)

    async def call(self, request: bytes, call_s: float) -> bytes:
        """A StoreCall's result, in pieces if it is too large for one message."""
        try:
            answer = await self._told(self._unary(request, call_s))
        except TooLarge as error:
            if error.field != "answer":
                raise
            return await self.read(request, call_s)
        return self._result(answer)

    async def read(self, request: bytes, call_s: float) -> bytes:
        """A StoreCall's result, put together from pieces."""
        return await self._told(self._pieces(request, call_s))

    @contextlib.asynccontextmanager
    async def turn(self, key: Hashable) -> AsyncGenerator[None]:
        """Wait for those who hold the key or wait for it, then hold it."""
        before = self._turns.get(key)
        mine = self._turns[key] = asyncio.get_running_loop().create_future()
        try:
            if before is not None:
                await asyncio.wait([before])
            yield
        finally:
            is_last = self._turns.get(key) is mine
            if before is not None and not before.done():
                # Cancelled: those behind wait for the one in front.
                before.add_done_callback(lambda _: mine.set_result(None))
                if is_last:
                    self._turns[key] = before
            else:
                mine.set_result(None)
                if is_last:
                    del self._turns[key]

    async def waiting(self, request: bytes, call_s: float) -> bytes:
        """As `call`; closing ends it with StoreClosed."""
        wait = asyncio.ensure_future(self.call(request, call_s))
        self._waits.add(wait)
        try:
            await asyncio.wait([wait])
            if wait.cancelled():
                raise StoreClosed(self._url)
            return wait.result()
        finally:
            self._waits.discard(wait)
            wait.cancel()

    async def stream(self, path: str, request: bytes) -> AsyncIterator[bytes]:
        """Answers of another method."""
        start: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(path)
        call = start(request)
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise self._error_of(error) from error
        finally:
            call.cancel()

    async def close(self) -> None:
        """End what waits, let the rest finish for CLOSE_S, let go of the connection."""
        self._is_closed = True
        for wait in self._waits:
            wait.cancel()
        if self._running_count and not self._is_away():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), CLOSE_S)
        await self._channel.close()

    async def _several(self, asked: Asked) -> Answers:
        request = _request(SEVERAL, asked_bytes(asked))
        try:
            return answers_of(await self.call(request, CALL_S), len(asked))
        except msgspec.MsgspecError as error:
            cause = f"its answer to {SEVERAL} is none: {error}"
            raise StoreUnavailable(self._url, cause) from error

    async def _unary(self, request: bytes, call_s: float) -> bytes:
        timeout_s, is_away = self._patience(call_s)
        return await self._call(request, timeout=timeout_s, wait_for_ready=is_away)

    async def _pieces(self, request: bytes, call_s: float) -> bytes:
        timeout_s, is_away = self._patience(call_s)
        call = self._read(request, timeout=timeout_s, wait_for_ready=is_away)
        return b"".join([self._result(answer) async for answer in call])

    def _patience(self, call_s: float) -> tuple[float, bool]:
        """What a call gets, and whether it waits for the server to be reached."""
        if self._is_closed:  # from another thread, since the caller looked
            raise StoreClosed(self._url)
        is_away = self._is_away()
        return (min(call_s, CONNECT_S) if is_away else call_s), is_away

    def _is_away(self) -> bool:
        """Whether the server could not be reached lately: a call is refused at once then, though
        the server may be back, unless it waits for the next try."""
        return self._channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE

    async def _told(self, call: Coroutine[object, object, T]) -> T:
        """The call's result, or its error as the ports have it."""
        self._running_count += 1
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise self._error_of(error) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if self._is_closed and not (task and task.cancelling()):
                raise StoreUnavailable(self._url, "it was closed before the answer") from error
            raise
        finally:
            self._running_count -= 1
            if self._is_closed and not self._running_count:
                self._idle.set()

    def _error_of(self, call: grpc.aio.AioRpcError) -> AngzarrError:
        code, message, trailers = parts_of(call)
        fields = dict(trailers).get(ERROR)
        error = error_of_bytes(fields) if isinstance(fields, bytes) else None
        error = error or error_from_rpc(call)
        if isinstance(error, StoreClosed):  # there: nobody has closed it here
            return StoreUnavailable(self._url, "the server has closed it")
        if isinstance(error, STORE_ERRORS):
            return error
        if code == grpc.StatusCode.UNIMPLEMENTED.name:
            message = "the server there offers no store (its server.store_access is off)"
        elif isinstance(error, NotPermitted):
            message += "; its server.store_access says who may use it"
        return StoreUnavailable(self._url, f"{code}: {message}")

    def _result(self, answer: bytes) -> bytes:
        try:
            return wire.StoreAnswer.FromString(answer).result
        except DecodeError as error:
            raise StoreUnavailable(self._url, f"its answer is none: {error}") from error


def url_of(endpoint: str) -> str:
    """`grpc://HOST:PORT` or `grpc+unix:///PATH`. Raises InvalidInput for anything else."""
    if sockets.is_socket_address(endpoint):
        return f"grpc+unix://{sockets.path_of(endpoint)}"
    return f"grpc://{target_of(endpoint)}"


def _arguments(name: str, positional: tuple[object, ...], named: dict[str, object]) -> bytes:
    try:
        return calls()[name].arguments(*positional, **named)
    except OverflowError as error:
        raise InvalidInput("arguments", "integers of 64 bits", error) from error


def _request(name: str, arguments: bytes) -> bytes:
    port, _, method = name.partition(".")
    return wire.StoreCall(port=port, method=method, arguments=arguments).SerializeToString()


def _call_s(name: str) -> float:
    return SLOW_CALL_S if name in SLOW else CALL_S
