"""Servers on a free port with coordinators that answer what a test tells them to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
import pytest

from angzarr.ports.components import CallContext
from angzarr.rpc.client_transport import GrpcTransport
from angzarr.rpc.server import Server, ServerOptions
from angzarr.rpc.services import Rpc
from angzarr.stores import open_stores
from angzarr.testing.clock import ManualClock

from .served_stores import Host, WaitedFor


@dataclass
class FakeCommands:
    """Answers with the request's own bytes unless `error` or `answer` is set; keeps what it saw."""

    answer: bytes | None = None
    error: Exception | None = None
    seen: list[tuple[str, bytes, CallContext]] = field(default_factory=list)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    hold: asyncio.Event | None = None
    is_cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def _answer(self, method: str, request: bytes, context: CallContext) -> bytes:
        self.seen.append((method, request, context))
        self.entered.set()
        if self.hold:
            try:
                await self.hold.wait()
            except asyncio.CancelledError:
                self.is_cancelled.set()
                raise
        if self.error:
            raise self.error
        return request if self.answer is None else self.answer

    async def handle_command(self, request: bytes, context: CallContext) -> bytes:
        return await self._answer("handle_command", request, context)

    async def handle_event(self, request: bytes, context: CallContext) -> bytes:
        return await self._answer("handle_event", request, context)

    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes:
        return await self._answer("handle_speculative", request, context)

    async def handle_compensation(self, request: bytes, context: CallContext) -> bytes:
        return await self._answer("handle_compensation", request, context)


@dataclass
class FakeQueries:
    """Answers from `books`; then raises `error` if it is set."""

    books: list[bytes] = field(default_factory=lambda: [b"one", b"two"])
    error: Exception | None = None
    is_closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def get_event_book(self, request: bytes, context: CallContext) -> bytes:
        if self.error:
            raise self.error
        return self.books[0]

    async def get_events(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]:
        try:
            for book in self.books:
                yield book
            if self.error:
                raise self.error
        finally:
            self.is_closed.set()

    async def synchronize(
        self, requests: AsyncIterator[bytes], context: CallContext
    ) -> AsyncIterator[bytes]:
        async for request in requests:
            if self.error and request == b"bad":
                raise self.error
            yield b"re:" + request

    async def get_aggregate_roots(self, context: CallContext) -> AsyncIterator[bytes]:
        for book in self.books:
            yield book


class FakeSubscription:
    """A queue of books; None ends it."""

    def __init__(self, owner: FakeStreams) -> None:
        self.owner = owner
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (book := await self.queue.get()) is not None:
            yield book

    def close(self) -> None:
        self.queue.put_nowait(None)
        if self in self.owner.subscriptions:
            self.owner.subscriptions.remove(self)
            self.owner.is_left.set()


class FakeStreams:
    """Delivers what is published while there are subscribers."""

    def __init__(self) -> None:
        self.subscriptions: list[FakeSubscription] = []
        self.error: Exception | None = None
        self.is_left = asyncio.Event()

    def publish(self, book: bytes) -> None:
        for subscription in self.subscriptions:
            subscription.queue.put_nowait(book)

    async def open(self, request: bytes) -> FakeSubscription:
        if self.error:
            raise self.error
        subscription = FakeSubscription(self)
        self.subscriptions.append(subscription)
        return subscription


@dataclass
class Served:
    """A running server with its fakes."""

    server: Server
    commands: FakeCommands
    queries: FakeQueries
    streams: FakeStreams
    address: str
    channel: grpc.aio.Channel
    transport: GrpcTransport

    def call(self, path: str) -> grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]:
        return self.channel.unary_unary(path)


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a server with fakes; keyword arguments are those of ServerOptions."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(components: tuple[str, ...] = (), **options: object) -> Served:
            commands, queries, streams = FakeCommands(), FakeQueries(), FakeStreams()
            server = Server(
                commands=commands,
                queries=queries,
                streams=streams,
                components=components,
                options=ServerOptions(**{"port": 0, "grace_s": 0.2, **options}),
            )
            address = (await server.start())[0]
            stack.push_async_callback(server.stop)
            channel = grpc.aio.insecure_channel(
                address, options=(("grpc.max_receive_message_length", -1),)
            )
            stack.push_async_callback(channel.close)
            transport = GrpcTransport(address)
            stack.push_async_callback(transport.close)
            return Served(server, commands, queries, streams, address, channel, transport)

        yield start


@pytest.fixture
async def served(serve: Serve) -> Served:
    return await serve()


@dataclass
class Opened:
    """A running server of some methods of `test.Test`."""

    server: Server
    address: str
    channel: grpc.aio.Channel


@pytest.fixture
async def opened() -> AsyncIterator[Callable[..., Awaitable[Opened]]]:
    """Start a server of methods: an Rpc's kind by its name, as in opened(unary=call, grace_s=1).

    The method of `unary` is /test.Test/unary, and so on; other arguments are ServerOptions.
    """
    kinds = {"unary", "stream", "live", "both", "whole"}
    async with contextlib.AsyncExitStack() as stack:

        async def start(*rpcs: Rpc, **arguments: Any) -> Opened:
            made = [
                Rpc(service="test.Test", method=kind, **{kind: call})
                for kind, call in arguments.items()
                if kind in kinds
            ]
            options = {key: value for key, value in arguments.items() if key not in kinds}
            server = Server(
                rpcs=(*rpcs, *made), options=ServerOptions(**{"port": 0, "grace_s": 0.2, **options})
            )
            address = (await server.start())[0]
            stack.push_async_callback(server.stop)
            channel = grpc.aio.insecure_channel(
                address, options=(("grpc.max_receive_message_length", -1),)
            )
            stack.push_async_callback(channel.close)
            return Opened(server, address, channel)

        yield start


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def host(clock: ManualClock) -> AsyncIterator[Host]:
    """A process that has a store in memory open for others."""
    stores = open_stores("memory://", clock=clock)
    stores.events = events = WaitedFor(stores.events)  # type: ignore[misc, assignment]
    host = Host(stores)
    host.waited_for_by = events.waited_for_by
    await host.start()
    yield host
    await host.close()
