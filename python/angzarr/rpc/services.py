"""Which coordinator call answers which gRPC method, and how bytes get there and back.

No handler has a serializer: a request's bytes go to the coordinator and its bytes go out. Calls
hold no gRPC types, so another front door can use the same table.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol, cast
from urllib.parse import unquote

import grpc
import grpc.aio

from angzarr.errors import NotPermitted, RemoteError, TooLarge
from angzarr.ports.components import CallContext
from angzarr.rpc.status import status_of

COMMANDS: Final = "angzarr.CommandHandlerCoordinatorService"
QUERIES: Final = "angzarr.EventQueryService"
STREAMS: Final = "angzarr.EventStreamService"

Context = grpc.aio.ServicerContext[bytes, bytes]
Unary = Callable[[bytes, CallContext], Awaitable[bytes]]
ServerStream = Callable[[bytes, CallContext], AsyncIterator[bytes]]
Live = Callable[[bytes], Awaitable["Subscription"]]
BothStream = Callable[[AsyncIterator[bytes], CallContext], AsyncIterator[bytes]]


class Commands(Protocol):
    """What answers CommandHandlerCoordinatorService: our coordinator, or a remote one (DEP-4)."""

    async def handle_command(self, request: bytes, context: CallContext) -> bytes: ...
    async def handle_event(self, request: bytes, context: CallContext) -> bytes: ...
    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes: ...
    async def handle_compensation(self, request: bytes, context: CallContext) -> bytes: ...


class Queries(Protocol):
    """What answers EventQueryService."""

    async def get_event_book(self, request: bytes, context: CallContext) -> bytes: ...
    def get_events(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]: ...
    def synchronize(
        self, requests: AsyncIterator[bytes], context: CallContext
    ) -> AsyncIterator[bytes]: ...
    def get_aggregate_roots(self, context: CallContext) -> AsyncIterator[bytes]: ...


class Subscription(Protocol):
    """Books as they come; `close` ends the iteration, from anywhere, and lets go of it."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    def close(self) -> None: ...


class Streams(Protocol):
    """What answers EventStreamService; `open` returns when what is published will be delivered."""

    async def open(self, request: bytes) -> Subscription: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rpc:
    """One method: full service name, method name, and the call that answers it, one of four kinds.

    live: a stream that ends when the server drains; its initial metadata says that it is accepted.
    too_large_hint: what to do instead when an answer is over the message limit.
    is_local_only: for callers on this machine only.
    """

    service: str
    method: str
    unary: Unary | None = None
    stream: ServerStream | None = None
    live: Live | None = None
    both: BothStream | None = None
    too_large_hint: str = ""
    is_local_only: bool = False

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.method}"


def command_rpcs(commands: Commands) -> tuple[Rpc, ...]:
    """The methods of CommandHandlerCoordinatorService."""
    return (
        Rpc(service=COMMANDS, method="HandleCommand", unary=commands.handle_command),
        Rpc(service=COMMANDS, method="HandleEvent", unary=commands.handle_event),
        Rpc(service=COMMANDS, method="HandleSyncSpeculative", unary=commands.handle_speculative),
        Rpc(service=COMMANDS, method="HandleCompensation", unary=commands.handle_compensation),
    )


def query_rpcs(queries: Queries) -> tuple[Rpc, ...]:
    """The methods of EventQueryService."""

    def get_aggregate_roots(_request: bytes, context: CallContext) -> AsyncIterator[bytes]:
        return queries.get_aggregate_roots(context)

    return (
        Rpc(
            service=QUERIES,
            method="GetEventBook",
            unary=queries.get_event_book,
            too_large_hint="; read it with GetEvents, which splits long streams",
        ),
        Rpc(service=QUERIES, method="GetEvents", stream=queries.get_events),
        Rpc(service=QUERIES, method="Synchronize", both=queries.synchronize),
        Rpc(service=QUERIES, method="GetAggregateRoots", stream=get_aggregate_roots),
    )


def stream_rpcs(streams: Streams) -> tuple[Rpc, ...]:
    """The methods of EventStreamService."""
    return (Rpc(service=STREAMS, method="Subscribe", live=streams.open),)


class ServiceTable(grpc.GenericRpcHandler):
    """All methods of one server by path; anything else answers UNIMPLEMENTED with a kind.

    message_bytes_max: what a request or an answer may have (WIRE-14).
    """

    def __init__(self, rpcs: Sequence[Rpc], *, message_bytes_max: int) -> None:
        self._live: set[Subscription] = set()
        self._is_draining = False
        self._limit = message_bytes_max
        self._handlers = {rpc.path: self._handler(rpc) for rpc in rpcs}

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        return self._handlers.get(handler_call_details.method) or _UNIMPLEMENTED

    def end_live(self) -> None:
        """End every live stream with UNAVAILABLE, since none of them ends by itself."""
        self._is_draining = True
        for subscription in tuple(self._live):
            subscription.close()

    def _handler(self, rpc: Rpc) -> grpc.RpcMethodHandler[bytes, bytes]:
        if rpc.unary:
            return grpc.unary_unary_rpc_method_handler(self._unary(rpc, rpc.unary))
        if rpc.stream:
            return grpc.unary_stream_rpc_method_handler(self._stream(rpc, rpc.stream))
        if rpc.live:
            return grpc.unary_stream_rpc_method_handler(self._live_stream(rpc, rpc.live))
        assert rpc.both
        return grpc.stream_stream_rpc_method_handler(self._both(rpc, rpc.both))

    def _unary(self, rpc: Rpc, call: Unary) -> Callable[[bytes, Context], Awaitable[bytes]]:
        limit, is_local_only = self._limit, rpc.is_local_only

        async def handle(request: bytes, context: Context) -> bytes:
            try:
                if is_local_only:
                    _check_peer(rpc, context)
                if len(request) > limit:
                    raise _too_large(rpc, "request", len(request), limit)
                answer = await call(request, _call_context(context))
                if len(answer) > limit:
                    raise _too_large(rpc, "answer", len(answer), limit)
                return answer
            except Exception as error:
                await _abort(context, error)

        return handle

    def _stream(
        self, rpc: Rpc, call: ServerStream
    ) -> Callable[[bytes, Context], AsyncIterator[bytes]]:
        async def handle(request: bytes, context: Context) -> AsyncIterator[bytes]:
            try:
                if rpc.is_local_only:
                    _check_peer(rpc, context)
                if len(request) > self._limit:
                    raise _too_large(rpc, "request", len(request), self._limit)
                async for answer in self._answers(rpc, call(request, _call_context(context))):
                    yield answer
            except Exception as error:
                await _abort(context, error)

        return handle

    def _both(
        self, rpc: Rpc, call: BothStream
    ) -> Callable[[AsyncIterator[bytes], Context], AsyncIterator[bytes]]:
        async def requests(items: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for item in items:
                if len(item) > self._limit:
                    raise _too_large(rpc, "request", len(item), self._limit)
                yield item

        async def handle(items: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
            try:
                answers = call(requests(items), _call_context(context))
                async for answer in self._answers(rpc, answers):
                    yield answer
            except Exception as error:
                await _abort(context, error)

        return handle

    def _live_stream(
        self, rpc: Rpc, call: Live
    ) -> Callable[[bytes, Context], AsyncIterator[bytes]]:
        async def handle(request: bytes, context: Context) -> AsyncIterator[bytes]:
            subscription = None
            try:
                subscription = await call(request)
                self._live.add(subscription)
                if self._is_draining:  # since `open` was called
                    subscription.close()
                await context.send_initial_metadata(())
                async for answer in subscription:
                    if len(answer) > self._limit:
                        raise _too_large(rpc, "answer", len(answer), self._limit)
                    yield answer
                if self._is_draining:
                    raise RemoteError("UNAVAILABLE", "server is stopping")
            except Exception as error:
                await _abort(context, error)
            finally:
                if subscription is not None:
                    self._live.discard(subscription)
                    subscription.close()

        return handle

    async def _answers(self, rpc: Rpc, answers: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Each of `answers` that is within the limit; the source is closed in any case."""
        try:
            async for answer in answers:
                if len(answer) > self._limit:
                    raise _too_large(rpc, "answer", len(answer), self._limit)
                yield answer
        finally:
            if isinstance(answers, AsyncGenerator):
                await answers.aclose()


def _call_context(context: Context) -> CallContext:
    remaining_s = cast("float | None", context.time_remaining())  # None without a deadline
    deadline_ns = None if remaining_s is None else time.monotonic_ns() + int(remaining_s * 1e9)
    return CallContext(deadline_ns, dict(context.invocation_metadata() or ()))


async def _abort(context: Context, error: Exception) -> NoReturn:
    status = status_of(error)
    await context.abort(status.code, status.message, status.trailers)


def _too_large(rpc: Rpc, what: str, size_bytes: int, limit_bytes: int) -> TooLarge:
    hint = rpc.too_large_hint if what == "answer" else ""
    limit = f"at most {limit_bytes} bytes"
    message = f"{what} of {rpc.method} has {size_bytes} bytes, the limit is {limit}{hint}"
    return TooLarge(what, limit, size_bytes, message)


def _check_peer(rpc: Rpc, context: Context) -> None:
    peer = context.peer()
    if not is_local_peer(peer):
        raise NotPermitted(f"{rpc.method} is for callers on this machine, not for {peer}")


def is_local_peer(peer: str) -> bool:
    """Whether gRPC's name of a peer is a Unix socket or a loopback address."""
    scheme, _, address = unquote(peer).partition(":")
    if scheme == "unix":
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


async def _unimplemented(_requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
    await _abort(context, RemoteError("UNIMPLEMENTED", "this server has no such method"))
    yield b""


_UNIMPLEMENTED: Final[grpc.RpcMethodHandler[bytes, bytes]] = grpc.stream_stream_rpc_method_handler(
    _unimplemented
)
