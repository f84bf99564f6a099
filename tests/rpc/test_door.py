"""Calls through the native front door, as grpcio's clients see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from angzarr import errors
from angzarr.ports.components import CallContext
from angzarr.rpc import door, status
from angzarr.rpc.client_transport import GrpcTransport, SyncGrpcTransport
from angzarr.rpc.services import Exchange, Rpc

Opened = Callable[..., Awaitable[Any]]
UNARY, STREAM, BOTH, WHOLE = (f"/test.Test/{kind}" for kind in ("unary", "stream", "both", "whole"))
KIB = 1024


async def echo(request: bytes, _context: CallContext) -> bytes:
    return request


async def echoes(requests: AsyncIterator[bytes], _context: CallContext) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


def failing(error: Exception) -> Callable[[bytes, CallContext], Awaitable[bytes]]:
    async def fail(_request: bytes, _context: CallContext) -> bytes:
        raise error

    return fail


async def failure(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    """The error with which the call ends."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_answers_of_a_stream_come_in_order_and_end(opened: Opened) -> None:
    async def count(request: bytes, _context: CallContext) -> AsyncIterator[bytes]:
        for number in range(int(request)):
            yield b"%d" % number

    served = await opened(stream=count)
    call = served.channel.unary_stream(STREAM)(b"1000")

    assert [int(answer) async for answer in call] == list(range(1000))
    assert await call.code() is grpc.StatusCode.OK


async def test_stream_without_answers_ends_with_ok(opened: Opened) -> None:
    async def nothing(_request: bytes, _context: CallContext) -> AsyncIterator[bytes]:
        for answer in ():
            yield answer

    served = await opened(stream=nothing)
    call = served.channel.unary_stream(STREAM)(b"")

    assert [answer async for answer in call] == []
    assert await call.code() is grpc.StatusCode.OK


async def test_requests_and_answers_take_turns(opened: Opened) -> None:
    served = await opened(both=echoes)
    call = served.channel.stream_stream(BOTH)()
    answers: list[bytes] = []

    for number in range(20):
        await call.write(b"%d" % number)
        answers.append(await call.read())
    await call.done_writing()

    assert answers == [b"%d" % number for number in range(20)]
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_more_than_the_buffers_hold_passes_both_ways_in_order(opened: Opened) -> None:
    served = await opened(both=echoes)
    sent = [b"%d" % number + bytes(number) for number in range(3000)]

    call = served.channel.stream_stream(BOTH)(iter(sent))

    assert [answer async for answer in call] == sent


async def test_stream_may_end_before_its_requests_do(opened: Opened) -> None:
    async def first(requests: AsyncIterator[bytes], _context: CallContext) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request
            return

    served = await opened(both=first)
    call = served.channel.stream_stream(BOTH)()

    await call.write(b"one")

    assert await call.read() == b"one"
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


@pytest.mark.spec("WIRE-14")
async def test_messages_at_the_limit_pass_in_streams(opened: Opened) -> None:
    served = await opened(both=echoes, message_size_kb=64)
    sent = [bytes(64 * KIB)] * 5

    call = served.channel.stream_stream(BOTH)(iter(sent))

    assert [answer async for answer in call] == sent


@pytest.mark.spec("WIRE-14", "WIRE-11")
@pytest.mark.parametrize("size_bytes", [64 * KIB + 1, 128 * KIB, 128 * KIB + 1, 300 * KIB])
@pytest.mark.parametrize("method", [UNARY, BOTH])
async def test_request_over_the_limit_is_too_large_with_its_kind(
    opened: Opened, method: str, size_bytes: int
) -> None:
    served = await opened(unary=echo, both=echoes, message_size_kb=64)

    call = served.channel.stream_unary(method)(iter([bytes(size_bytes)]))

    error = await failure(call)
    found = dict(error.trailing_metadata())
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (found[status.KIND], found[status.FIELD]) == ("too_large", "request")
    assert found[status.VALUE] == str(size_bytes)


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compressed_requests_are_understood(
    opened: Opened, compression: grpc.Compression
) -> None:
    served = await opened(unary=echo, both=echoes)
    request = b"compressible " * 1000

    async with grpc.aio.insecure_channel(served.address, compression=compression) as channel:
        answer = await channel.unary_unary(UNARY)(request)
        answers = [item async for item in channel.stream_stream(BOTH)(iter([request, request]))]

    assert answer == request
    assert answers == [request, request]


@pytest.mark.spec("WIRE-14")
async def test_compressed_request_is_measured_by_what_is_in_it(opened: Opened) -> None:
    served = await opened(unary=echo, message_size_kb=64)

    async with grpc.aio.insecure_channel(
        served.address, compression=grpc.Compression.Gzip
    ) as channel:
        error = await failure(channel.unary_unary(UNARY)(bytes(10_000_000)))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.spec("WIRE-12")
async def test_request_metadata_is_the_callers_and_no_more(opened: Opened) -> None:
    seen: list[CallContext] = []

    async def note(request: bytes, context: CallContext) -> bytes:
        seen.append(context)
        return request

    served = await opened(unary=note)
    metadata = (
        ("twice", "one"),
        ("twice", "two"),
        ("empty", ""),
        ("spaced", "a b"),
        ("empty-bin", b""),
        ("any-bin", bytes(range(256))),
    )

    await served.channel.unary_unary(UNARY)(b"", metadata=metadata, timeout=20)

    found = dict(seen[0].metadata)
    assert found.pop("user-agent").startswith("grpc-python-asyncio/")
    assert found == dict(metadata)


async def test_answers_carry_no_metadata_of_the_servers_own(opened: Opened) -> None:
    served = await opened(unary=echo)
    call = served.channel.unary_unary(UNARY)(b"")

    await call

    assert tuple(await call.initial_metadata()) == ()
    assert tuple(await call.trailing_metadata()) == ()


@pytest.mark.parametrize(
    "message",
    ["", "plain", "50 % – ☃ 🂡", "line\nfeed\r\n\0", '"quoted"\\', "%41", "ünï" * 500],
    ids=["empty", "plain", "unicode", "control", "quotes", "percent", "long"],
)
async def test_status_message_may_be_any_text(opened: Opened, message: str) -> None:
    served = await opened(unary=failing(errors.RemoteError("ABORTED", message)))

    error = await failure(served.channel.unary_unary(UNARY)(b""))

    assert (error.code(), error.details()) == (grpc.StatusCode.ABORTED, message)


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.name != "OK"])
async def test_every_code_reaches_the_client(opened: Opened, code: grpc.StatusCode) -> None:
    served = await opened(unary=failing(errors.RemoteError(code.name, "so it is")))

    error = await failure(served.channel.unary_unary(UNARY)(b""))

    assert (error.code(), error.details()) == (code, "so it is")


@pytest.mark.spec("WIRE-10")
async def test_binary_trailers_arrive_as_they_were(opened: Opened) -> None:
    details = bytes(range(256))
    served = await opened(unary=failing(errors.RemoteError("ABORTED", "", details=details)))

    error = await failure(served.channel.unary_unary(UNARY)(b""))

    assert dict(error.trailing_metadata())[status.DETAILS] == details


@pytest.mark.spec("WIRE-11")
@pytest.mark.parametrize("path", ["/test.Test/None", "/test.None/unary", "/", "/test.Test/unary/"])
async def test_unknown_path_is_unimplemented_with_its_kind(opened: Opened, path: str) -> None:
    served = await opened(unary=echo)

    error = await failure(served.channel.unary_unary(path)(b""))

    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert error.details() == "this server has no such method"
    assert tuple(error.trailing_metadata()) == ((status.KIND, "internal"),)


@pytest.mark.parametrize("requests", [[], [b"one", b"two"]], ids=["none", "two"])
async def test_method_of_one_request_refuses_any_other_count(
    opened: Opened, requests: list[bytes]
) -> None:
    served = await opened(unary=echo)

    error = await failure(served.channel.stream_unary(UNARY)(iter(requests)))

    assert error.code() is grpc.StatusCode.INTERNAL
    assert "request" in error.details()


async def test_a_thousand_calls_run_at_once_on_one_connection(opened: Opened) -> None:
    running, all_run = 0, asyncio.Event()

    async def meet(request: bytes, _context: CallContext) -> bytes:
        nonlocal running
        running += 1
        if running == 1000:
            all_run.set()
        await all_run.wait()
        return request

    served = await opened(unary=meet)
    call = served.channel.unary_unary(UNARY)

    answers = await asyncio.gather(*(call(b"%d" % number) for number in range(1000)))

    assert answers == [b"%d" % number for number in range(1000)]


@pytest.mark.spec("OPS-13")
async def test_calls_over_the_limit_are_refused_at_once(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "CALLS_MAX", 1)
    entered, hold = asyncio.Event(), asyncio.Event()

    async def wait(request: bytes, _context: CallContext) -> bytes:
        entered.set()
        await hold.wait()
        return request

    served = await opened(unary=wait)
    call = served.channel.unary_unary(UNARY)
    first = asyncio.ensure_future(call(b"first"))
    await entered.wait()

    error = await failure(call(b"second"))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(error.trailing_metadata())[status.KIND] == "overloaded"
    hold.set()
    assert await first == b"first"


@pytest.mark.parametrize(("index", "start"), [(0, "ipv4:127.0.0.1:"), (1, "unix:")])
async def test_peer_is_named_as_grpc_does(
    opened: Opened, tmp_path: Path, index: int, start: str
) -> None:
    async def peer(exchange: Exchange) -> status.Status:
        await exchange.send(exchange.peer.encode())
        return status.OK

    served = await opened(whole=peer, socket=tmp_path / "x.sock")

    transport = GrpcTransport(served.server.addresses[index])

    assert (await transport.unary(WHOLE, b"")).startswith(start.encode())
    await transport.close()


async def test_path_that_an_authority_may_not_have_is_reached(
    opened: Opened, tmp_path: Path
) -> None:
    """gRPC's C core sends a socket's path as authority, and h2 refused the call for its `%`."""
    path = tmp_path / "a b%c" / "ü.sock"
    served = await opened(unary=echo, socket=path)

    transport = GrpcTransport(f"unix:{path}")
    answers = [await transport.unary(UNARY, b"%d" % number) for number in range(3)]

    assert answers == [b"0", b"1", b"2"]
    assert served.server.addresses[1] == f"unix:{path}"
    await transport.close()


async def test_local_only_stream_of_whole_calls_is_refused_to_others(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("angzarr.rpc.services.is_local_peer", lambda _peer: False)
    served = await opened(Rpc(service="t.T", method="B", both=echoes, is_local_only=True))

    error = await failure(served.channel.stream_unary("/t.T/B")(iter([b""])))

    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_answer_that_is_no_bytes_is_a_defect(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    async def wrong(_request: bytes, _context: CallContext) -> bytes:
        return "text"  # type: ignore[return-value]

    served = await opened(unary=wrong)

    error = await failure(served.channel.unary_unary(UNARY)(b""))

    assert error.code() is grpc.StatusCode.INTERNAL
    assert "TypeError" in caplog.text


async def test_clients_in_threads_are_served(opened: Opened) -> None:
    async def twice(request: bytes, _context: CallContext) -> AsyncIterator[bytes]:
        yield request
        yield request

    served = await opened(unary=echo, stream=twice)

    def calls() -> tuple[bytes, list[bytes]]:
        transport = SyncGrpcTransport(served.address)
        try:
            return transport.unary(UNARY, b"one"), list(transport.stream(STREAM, b"two"))
        finally:
            transport.close()

    assert await asyncio.to_thread(calls) == (b"one", [b"two", b"two"])


@pytest.mark.spec("OPS-4")
async def test_grpcs_own_reflection_client_reads_the_services(opened: Opened) -> None:
    served = await opened(unary=echo)

    def ask() -> tuple[list[str], str]:
        with grpc.insecure_channel(served.address) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            file = database.FindFileContainingSymbol("grpc.health.v1.Health")
            return list(database.get_services()), file.package

    services, package = await asyncio.to_thread(ask)

    assert {"test.Test", "grpc.health.v1.Health"} <= set(services)
    assert package == "grpc.health.v1"
