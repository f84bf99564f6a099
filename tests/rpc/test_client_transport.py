"""The client's transports: for asyncio and for threads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from angzarr import errors
from angzarr.rpc.client_transport import GrpcTransport, SyncGrpcTransport

Serve = Callable[..., Awaitable[Any]]
HANDLE = "/angzarr.CommandHandlerCoordinatorService/HandleCommand"
GET_EVENTS = "/angzarr.EventQueryService/GetEvents"


async def test_error_of_a_call_is_the_servers(served: Any) -> None:
    served.commands.error = errors.UnknownDomain("nope")

    with pytest.raises(errors.UnknownDomain, match="No aggregate registered for domain: nope"):
        await served.transport.unary(HANDLE, b"")


async def test_timeout_is_a_remote_error(served: Any) -> None:
    served.commands.hold = asyncio.Event()

    with pytest.raises(errors.RemoteError) as caught:
        await served.transport.unary(HANDLE, b"", timeout_s=0.05)

    assert caught.value.code == "DEADLINE_EXCEEDED"


async def test_timeout_of_zero_has_passed(served: Any) -> None:
    """gRPC takes 0 for no deadline, and the call went through."""
    served.commands.hold = asyncio.Event()

    with pytest.raises(errors.RemoteError) as caught:
        await served.transport.unary(HANDLE, b"", timeout_s=0.0)

    assert caught.value.code == "DEADLINE_EXCEEDED"


async def test_server_that_is_not_there_is_unavailable() -> None:
    transport = GrpcTransport("127.0.0.1:9")

    with pytest.raises(errors.RemoteError) as caught:
        await transport.unary(HANDLE, b"", timeout_s=10)

    assert caught.value.code == "UNAVAILABLE"
    await transport.close()


async def test_metadata_travels_with_streams(served: Any) -> None:
    stream = served.transport.stream(GET_EVENTS, b"", metadata={"angzarr-raw": "1"})

    assert [book async for book in stream] == [b"one", b"two"]


async def test_threads_get_the_same_answers_and_errors(served: Any) -> None:
    transport = SyncGrpcTransport(served.address)

    answer = await asyncio.to_thread(transport.unary, HANDLE, b"sync")
    books = await asyncio.to_thread(lambda: list(transport.stream(GET_EVENTS, b"")))
    served.commands.error = errors.CommandRejected("no funds")
    with pytest.raises(errors.CommandRejected, match="no funds"):
        await asyncio.to_thread(transport.unary, HANDLE, b"")
    served.queries.error = errors.Overloaded("q", 1)
    with pytest.raises(errors.Overloaded):
        await asyncio.to_thread(lambda: list(transport.stream(GET_EVENTS, b"")))

    assert (answer, books) == (b"sync", [b"one", b"two"])
    transport.close()


async def test_closing_twice_is_fine(served: Any) -> None:
    transport = GrpcTransport(served.address)

    await transport.close()
    await transport.close()
