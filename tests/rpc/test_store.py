"""StoreService: what it answers, to whom, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from angzarr import errors, wire
from angzarr.ports.event_store import Limits, LogEntry
from angzarr.rpc import store
from angzarr.rpc.server import Server, ServerOptions
from angzarr.rpc.status import KIND, parts_of
from angzarr.rpc.store import StoreService
from angzarr.rpc.store_calls import ERROR, calls, error_of_bytes
from angzarr.stores.memory import MemoryStores, open_stores
from angzarr.testing.clock import ManualClock
from angzarr.testing.pages import cover_of, pages

from .served_stores import WaitedFor

CALL = "/angzarr.StoreService/Call"
READ = "/angzarr.StoreService/Read"
ALICE = cover_of("alice")


class Served:
    """A server of a store, and a plain channel to it."""

    def __init__(self, server: Server, stores: MemoryStores, channel: grpc.aio.Channel) -> None:
        self.server = server
        self.stores = stores
        self._channel = channel
        self.inner_events = stores.events
        events = WaitedFor(stores.events)
        stores.events = events  # type: ignore[assignment]
        self.waited_for_by = events.waited_for_by

    async def call(self, name: str, *positional: object, **named: object) -> Any:
        """One call; its result."""
        call = calls()[name]
        answer = await self.raw(call.port, call.method, call.arguments(*positional, **named))
        return call.result_of(wire.StoreAnswer.FromString(answer).result)

    async def raw(self, port: str, method: str, arguments: bytes) -> bytes:
        request = wire.StoreCall(port=port, method=method, arguments=arguments)
        return await self._channel.unary_unary(CALL)(request.SerializeToString())

    async def read(self, name: str, *positional: object) -> list[bytes]:
        """The pieces of a result."""
        call = calls()[name]
        request = wire.StoreCall(
            port=call.port, method=call.method, arguments=call.arguments(*positional)
        )
        pieces = self._channel.unary_stream(READ)(request.SerializeToString())
        return [wire.StoreAnswer.FromString(piece).result async for piece in pieces]


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a server of an empty store in memory; keyword arguments are those of ServerOptions."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*, is_local_only: bool = True, **options: Any) -> Served:
            stores = open_stores("", sync=True, limits=Limits(), clock=ManualClock())
            limit = options.get("message_size_kb", 10_240) * 1024
            service = StoreService(stores, message_bytes_max=limit, is_local_only=is_local_only)
            server = Server(
                store=service, options=ServerOptions(**{"port": 0, "grace_s": 0.2, **options})
            )
            channel = grpc.aio.insecure_channel((await server.start())[0])
            stack.push_async_callback(server.stop)
            stack.push_async_callback(channel.close)
            return Served(server, stores, channel)

        yield start


async def failure(call: Awaitable[object]) -> tuple[str, str, dict[str, str | bytes]]:
    """Code, message and trailers of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    code, message, trailers = parts_of(caught.value)
    return code, message, dict(trailers)


@pytest.mark.spec("DEP-11")
async def test_a_call_reaches_the_store(serve: Serve) -> None:
    served = await serve()

    written = await served.call("events.append", ALICE, 0, pages(0, 3))

    assert written == (0, 2, False)
    assert await served.stores.events.next_sequence(ALICE) == 3


@pytest.mark.spec("DEP-12", "WIRE-11", "STO-30")
async def test_an_error_has_code_and_kind_of_the_table_and_all_its_fields(serve: Serve) -> None:
    served = await serve()

    code, message, trailers = await failure(
        served.call("events.append", ALICE.on("b"), 3, pages(3, 1))
    )

    assert (code, trailers[KIND]) == ("FAILED_PRECONDITION", "sequence_conflict")
    error = error_of_bytes(bytes(trailers[ERROR]))
    assert isinstance(error, errors.SequenceConflict)
    assert (error.cover, error.expected, error.actual) == (ALICE.on("b"), 3, 0)
    assert str(error) == message


@pytest.mark.spec("STO-30")
async def test_a_defect_of_the_store_is_internal_and_no_error_of_a_store(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    served = await serve()
    monkeypatch.setattr(served.inner_events, "_decisions", None)

    code, _, trailers = await failure(served.call("events.decision", "casc-1"))

    assert (code, trailers[KIND], trailers.get(ERROR)) == ("INTERNAL", "internal", None)


@pytest.mark.parametrize(
    ("port", "method"),
    [("events", "figures"), ("events", "_write"), ("stores", "close"), ("", ""), ("other", "get")],
)
async def test_what_is_no_method_of_a_port_is_refused(serve: Serve, port: str, method: str) -> None:
    served = await serve()

    code, message, _ = await failure(served.raw(port, method, b"\x80"))

    assert code == "INVALID_ARGUMENT"
    assert f"{port}.{method}" in message


async def test_a_request_that_does_not_parse_is_refused(serve: Serve) -> None:
    served = await serve()

    code, message, _ = await failure(served._channel.unary_unary(CALL)(b"\xff"))

    assert (code, "StoreCall" in message) == ("INVALID_ARGUMENT", True)


@pytest.mark.spec("DEP-11")
@pytest.mark.parametrize("is_local_only", [True, False])
async def test_a_caller_on_another_machine_is_refused_unless_all_may_call(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, is_local_only: bool
) -> None:
    served = await serve(is_local_only=is_local_only)
    monkeypatch.setattr("angzarr.rpc.services.is_local_peer", lambda _peer: False)

    if is_local_only:
        assert (await failure(served.call("events.log_head")))[0] == "PERMISSION_DENIED"
        assert (await failure(served.read("events.log_head")))[0] == "PERMISSION_DENIED"
    else:
        assert await served.call("events.log_head") == 0
        assert len(await served.read("events.log_head")) == 1


@pytest.mark.spec("WIRE-14", "STO-16")
async def test_a_result_over_the_message_limit_is_read_in_pieces(serve: Serve) -> None:
    served = await serve(message_size_kb=64)
    await served.stores.events.append(ALICE, 0, pages(0, 1_000))
    await served.stores.events.append(ALICE, 1_000, pages(1_000, 500))
    call = calls()["events.load"]
    whole = call.result(await served.stores.events.load(ALICE))

    code, _, trailers = await failure(served.call("events.load", ALICE))
    pieces = await served.read("events.load", ALICE)

    assert (code, trailers[KIND]) == ("RESOURCE_EXHAUSTED", "too_large")
    assert len(whole) > 64 * 1024
    assert max(map(len, pieces)) <= 32 * 1024
    assert b"".join(pieces) == whole


@pytest.mark.spec("STO-14")
async def test_a_tail_gives_as_many_entries_as_fit(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve(message_size_kb=64)
    monkeypatch.setattr(store, "TAIL_ENTRIES_MAX", 3)
    for first, count in ((0, 200), (200, 600), (800, 1), (801, 1), (802, 1)):
        await served.stores.events.append(ALICE, first, pages(first, count))

    async def tail(after: int) -> list[int]:
        entries: list[LogEntry] = await served.call("events.tail", after, limit=100)
        return [entry.position for entry in entries]

    assert await tail(0) == [200]  # the next one would be over 32 KiB with it
    assert await tail(200) == [800]  # is over that alone
    assert await tail(800) == [801, 802, 803]


@pytest.mark.spec("STO-14")
async def test_a_wait_is_bounded(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    served = await serve()
    monkeypatch.setattr(store, "WAIT_S_MAX", 0.01)

    assert await served.call("events.tail", 0, wait_s=3_600.0) == []


@pytest.mark.spec("OPS-3", "STO-14")
async def test_a_server_that_stops_ends_the_waits_for_its_log(serve: Serve) -> None:
    served = await serve(grace_s=25)
    waiting = [asyncio.create_task(served.call("events.tail", 0, wait_s=25.0)) for _ in range(3)]
    await served.waited_for_by(3)

    began = time.monotonic()
    await served.server.stop()

    assert time.monotonic() - began < 10
    assert await asyncio.gather(*waiting) == [[], [], []]


async def test_a_caller_who_goes_ends_his_wait(serve: Serve) -> None:
    served = await serve()
    waiting = asyncio.create_task(served.call("events.tail", 0, wait_s=25.0))
    await served.waited_for_by(1)

    waiting.cancel()

    await served.waited_for_by(0)


async def test_the_facts_say_what_the_store_is_called_there(serve: Serve) -> None:
    served = await serve()

    facts = await served.call("stores.facts")

    assert facts.details["server"] == facts.url == "memory://"
