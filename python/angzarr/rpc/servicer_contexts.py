"""What gRPC servicers are given beside requests: grpc's contexts, over a call of the front door."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from typing import Final, Generic, NamedTuple, NoReturn, Protocol, TypeVar, cast

import grpc
import grpc.aio

from angzarr.errors import AngzarrError
from angzarr.rpc.services import Exchange
from angzarr.rpc.status import KIND, Code, Status, Trailers, kind_of, status_of

Q = TypeVar("Q")
A = TypeVar("A")
T = TypeVar("T")

Pairs = Iterable[tuple[str, str | bytes]]

EOF: Final = cast("object", grpc.aio.EOF)  # type: ignore[attr-defined]  # missing in its stubs
"""What `read` gives after the last request."""

_CODES: Final = {code.value[0]: code for code in Code}

_log = logging.getLogger(__name__)


class GrpcStatus(Protocol):
    """A `grpc.Status`, as `grpc_status.rpc_status.to_status` makes it."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: Pairs | None


class Metadatum(NamedTuple):
    """One pair of a request's metadata, by place or by name."""

    key: str
    value: str | bytes


class Context(Generic[Q, A]):
    """What both kinds of context have. The methods without a docstring are grpc's own.

    Answers go out uncompressed, and certificates of clients are not passed on: what asks for that
    is taken and does nothing, or tells of nothing.
    """

    def __init__(
        self, exchange: Exchange, parse: Callable[[bytes], Q], encode: Callable[[A], bytes]
    ) -> None:
        self._exchange = exchange
        self._parse = parse
        self._encode = encode
        self._code = Code.OK
        self._details = ""
        self._trailers: Trailers = ()
        self._is_aborted = False
        self._is_done = False
        self._is_cancelled = False

    def invocation_metadata(self) -> tuple[Metadatum, ...]:
        return tuple(Metadatum(*pair) for pair in self._exchange.context.metadata.items())

    def peer(self) -> str:
        return self._exchange.peer

    def peer_identities(self) -> None:
        return None

    def peer_identity_key(self) -> None:
        return None

    def auth_context(self) -> dict[str, Iterable[bytes]]:
        return {}

    def time_remaining(self) -> float | None:
        deadline_ns = self._exchange.context.deadline_ns
        return None if deadline_ns is None else max(deadline_ns - time.monotonic_ns(), 0) / 1e9

    def set_compression(self, compression: object) -> None:
        pass

    def disable_next_message_compression(self) -> None:
        pass

    def set_code(self, code: grpc.StatusCode | int) -> None:
        self._code = _CODES.get(code, Code.UNKNOWN) if isinstance(code, int) else code

    def set_details(self, details: str) -> None:
        self._details = details

    def set_trailing_metadata(self, trailing_metadata: Pairs) -> None:
        self._trailers = tuple((key, value) for key, value in trailing_metadata)

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> Trailers:
        return self._trailers

    def status(self) -> Status:
        """How the call ends by what was set; a failure carries a kind (WIRE-11)."""
        details = self._details.encode("utf-8", "backslashreplace").decode()
        trailers = self._trailers
        if self._code is not Code.OK and KIND not in dict(trailers):
            trailers = (*trailers, (KIND, kind_of(self._code.name, details)))
        return Status(self._code, details, trailers)

    def failed(self, error: Exception) -> Status:
        """How the call ends after `error`: as was set or aborted, else by our own errors' table.

        UNKNOWN for any other exception, as in grpc, and logged.
        """
        if not self._is_aborted and isinstance(error, AngzarrError):
            return status_of(error)
        if self._code is Code.OK:
            self._code = Code.UNKNOWN
            self._details = f"Exception calling application: {error}"
            _log.error("a servicer raised %s", type(error).__name__, exc_info=error)
        return self.status()

    def parsed(self, request: bytes) -> Q:
        """The request's message. Raises AbortError INTERNAL, as grpc does, for what is none."""
        try:
            return self._parse(request)
        except Exception as error:
            _log.info("a request can't be parsed", exc_info=error)
            self._set_aborted(Code.INTERNAL, "Exception deserializing request!", ())
            raise grpc.aio.AbortError("not parsed") from error

    def _set_aborted(self, code: grpc.StatusCode, details: str, trailing_metadata: Pairs) -> None:
        self._is_aborted = True
        self.set_code(Code.UNKNOWN if code is Code.OK else code)
        self.set_details(details)
        if trailers := tuple(trailing_metadata):
            self.set_trailing_metadata(trailers)


class AsyncContext(Context[Q, A]):
    """A `grpc.aio.ServicerContext`."""

    def __init__(
        self, exchange: Exchange, parse: Callable[[bytes], Q], encode: Callable[[A], bytes]
    ) -> None:
        super().__init__(exchange, parse, encode)
        self._callbacks: list[Callable[[AsyncContext[Q, A]], object]] = []

    async def read(self) -> Q | object:
        request = await self._exchange.read()
        return EOF if request is None else self.parsed(request)

    async def write(self, message: A) -> None:
        await self._exchange.send(self._encode(message))

    async def send_initial_metadata(self, initial_metadata: Pairs) -> None:
        self._exchange.accept(initial_metadata)

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Pairs = ()
    ) -> NoReturn:
        self._set_aborted(code, details, trailing_metadata)
        raise grpc.aio.AbortError("Locally aborted.")

    async def abort_with_status(self, status: GrpcStatus) -> NoReturn:
        await self.abort(status.code, status.details, status.trailing_metadata or ())

    def add_done_callback(self, callback: Callable[[AsyncContext[Q, A]], object]) -> None:
        self._callbacks.append(callback)

    def cancelled(self) -> bool:
        return self._is_cancelled

    def done(self) -> bool:
        return self._is_done

    def end(self, *, is_cancelled: bool) -> None:
        """The call is over; callbacks are called."""
        self._is_done, self._is_cancelled = True, is_cancelled
        for callback in self._callbacks:
            asyncio.get_running_loop().call_soon(callback, self)


class ThreadContext(Context[Q, A]):
    """A `grpc.ServicerContext`, for a method that runs in a thread beside the loop."""

    def __init__(
        self, exchange: Exchange, parse: Callable[[bytes], Q], encode: Callable[[A], bytes]
    ) -> None:
        super().__init__(exchange, parse, encode)
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._lock = threading.Lock()
        self._waits: set[Future[object]] = set()
        self._callbacks: list[Callable[[], object]] = []

    def requests(self) -> Iterator[Q]:
        """All requests, waited for."""
        while (request := self._in_loop(self._exchange.read())) is not None:
            yield self.parsed(request)

    def write(self, message: A) -> None:
        """Send one answer; returns when there is room for another one."""
        self._in_loop(self._exchange.send(self._encode(message)))

    def send_initial_metadata(self, initial_metadata: Pairs) -> None:
        async def accept() -> None:
            self._exchange.accept(initial_metadata)

        self._in_loop(accept())

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        self._set_aborted(code, details, ())
        raise grpc.aio.AbortError("Locally aborted.")

    def abort_with_status(self, status: GrpcStatus) -> NoReturn:
        self._set_aborted(status.code, status.details, status.trailing_metadata or ())
        raise grpc.aio.AbortError("Locally aborted.")

    def is_active(self) -> bool:
        return not self._is_done

    def cancel(self) -> None:
        if self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)

    def add_callback(self, callback: Callable[[], object]) -> bool:
        with self._lock:
            if self._is_done:
                return False
            self._callbacks.append(callback)
            return True

    def end(self, *, is_cancelled: bool) -> None:
        """The call is over: callbacks are called, in the loop, and what its thread waits for ends.

        The thread itself can't be ended.
        """
        with self._lock:
            self._is_done, self._is_cancelled = True, is_cancelled
            waits, callbacks = tuple(self._waits), tuple(self._callbacks)
        for wait in waits:
            wait.cancel()
        for callback in callbacks:
            self._loop.call_soon(callback)

    def _in_loop(self, work: Coroutine[object, object, T]) -> T:
        """Run it in the loop and wait. Raises AbortError when the call is over."""
        with self._lock:
            if self._is_done:
                work.close()
                raise grpc.aio.AbortError("the call is over")
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._waits.add(future)  # type: ignore[arg-type]
        try:
            return future.result()
        finally:
            self._waits.discard(future)  # type: ignore[arg-type]


# For servicers that ask what they were given.
grpc.aio.ServicerContext.register(AsyncContext)
grpc.ServicerContext.register(ThreadContext)
