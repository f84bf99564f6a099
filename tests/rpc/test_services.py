"""Bytes to coordinators and back, over real connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from angzarr import errors
from angzarr.ports.components import CallContext
from angzarr.rpc import status
from angzarr.rpc.services import is_local_peer, process_manager_rpcs, projector_rpcs, saga_rpcs

Serve = Callable[..., Awaitable[Any]]
COMMANDS = "/angzarr.CommandHandlerCoordinatorService/"
QUERIES = "/angzarr.EventQueryService/"
SUBSCRIBE = "/angzarr.EventStreamService/Subscribe"


async def drain(stream: AsyncIterator[bytes], into: list[bytes]) -> None:
    """Append everything that comes, so that what came before an error is there."""
    async for item in stream:
        into.append(item)  # noqa: PERF401


@pytest.mark.spec("WIRE-1")
@pytest.mark.parametrize(
    ("method", "called"),
    [
        ("HandleCommand", "handle_command"),
        ("HandleEvent", "handle_event"),
        ("HandleSyncSpeculative", "handle_speculative"),
        ("HandleCompensation", "handle_compensation"),
    ],
)
async def test_command_method_gives_the_coordinator_the_very_bytes(
    served: Any, method: str, called: str
) -> None:
    answer = await served.transport.unary(COMMANDS + method, b"\xff not protobuf")

    assert answer == b"\xff not protobuf"
    assert [seen[:2] for seen in served.commands.seen] == [(called, b"\xff not protobuf")]


class Answers:
    """A coordinator whose every call answers with its name and its request."""

    def __getattr__(self, name: str) -> Callable[[bytes, CallContext], Awaitable[bytes]]:
        async def answer(request: bytes, _context: CallContext) -> bytes:
            return name.encode() + request

        return answer


@pytest.mark.spec("WIRE-1", "WIRE-15")
@pytest.mark.parametrize(
    ("method", "called"),
    [
        ("SagaCoordinatorService/Execute", b"execute"),
        ("SagaCoordinatorService/ExecuteSpeculative", b"execute_speculative"),
        ("ProcessManagerCoordinatorService/Handle", b"handle"),
        ("ProcessManagerCoordinatorService/HandleSpeculative", b"handle_speculative"),
        ("ProjectorCoordinatorService/HandleSync", b"handle_sync"),
        ("ProjectorCoordinatorService/Handle", b"handle"),
        ("ProjectorCoordinatorService/HandleSpeculative", b"handle_speculative"),
    ],
)
async def test_methods_of_reactions_give_the_coordinator_the_very_bytes(
    opened: Callable[..., Awaitable[Any]], method: str, called: bytes
) -> None:
    all_of_them = Answers()
    rpcs = (saga_rpcs, process_manager_rpcs, projector_rpcs)
    peer = await opened(*(rpc for make in rpcs for rpc in make(all_of_them)))

    answer = await peer.channel.unary_unary(f"/angzarr.{method}")(b"\xff not protobuf")

    assert answer == called + b"\xff not protobuf"


@pytest.mark.spec("WIRE-1")
async def test_query_methods_stream_the_very_bytes(served: Any) -> None:
    books = [book async for book in served.transport.stream(QUERIES + "GetEvents", b"")]
    roots = [root async for root in served.transport.stream(QUERIES + "GetAggregateRoots", b"")]

    assert books == roots == [b"one", b"two"]
    assert await served.transport.unary(QUERIES + "GetEventBook", b"") == b"one"


@pytest.mark.spec("QRY-12")
async def test_synchronize_answers_in_order_and_ends_when_the_client_half_closes(
    served: Any,
) -> None:
    call = served.channel.stream_stream(QUERIES + "Synchronize")(iter([b"a", b"b", b"c"]))

    answers = [answer async for answer in call]

    assert answers == [b"re:a", b"re:b", b"re:c"]
    assert await call.code() is grpc.StatusCode.OK


@pytest.mark.spec("QRY-12")
async def test_synchronize_ends_with_the_error_of_the_first_invalid_request(served: Any) -> None:
    served.queries.error = errors.InvalidInput("cover", "a domain", "")

    async def requests() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"bad"
        await asyncio.Event().wait()  # the client would go on; the server ends it

    call = served.channel.stream_stream(QUERIES + "Synchronize")(requests())
    answers: list[bytes] = []

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await drain(call, answers)

    assert answers == [b"re:a"]
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.spec("WIRE-11")
@pytest.mark.parametrize("path", [COMMANDS + "HandleCommand", "/angzarr.NoService/Method"])
async def test_every_failed_rpc_carries_a_kind(served: Any, path: str) -> None:
    served.commands.error = errors.Overloaded("limits.channel_capacity", 1)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.call(path)(b"")

    assert status.KIND in dict(caught.value.trailing_metadata())


@pytest.mark.spec("WIRE-11")
async def test_error_in_the_middle_of_a_stream_carries_its_kind(served: Any) -> None:
    served.queries.error = errors.CorruptData("events/7", "crc 1", "crc 2")
    books: list[bytes] = []

    with pytest.raises(errors.CorruptData):
        await drain(served.transport.stream(QUERIES + "GetEvents", b""), books)

    assert books == [b"one", b"two"]


@pytest.mark.spec("CMD-11")
async def test_remote_handlers_status_reaches_the_caller_unchanged(served: Any) -> None:
    served.commands.error = errors.RemoteError("OUT_OF_RANGE", "tilt – 50 %", details=b"\x00\xff")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.call(COMMANDS + "HandleCommand")(b"")

    found = caught.value
    assert (found.code(), found.details()) == (grpc.StatusCode.OUT_OF_RANGE, "tilt – 50 %")
    assert dict(found.trailing_metadata())["grpc-status-details-bin"] == b"\x00\xff"


@pytest.mark.spec("WIRE-12")
async def test_request_metadata_reaches_the_coordinator(served: Any) -> None:
    metadata = {
        "x-correlation-id": "c-1",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "angzarr-provenance-bin": b"\x00\xff\n",
        "angzarr-cascade-depth": "3",
        "angzarr-raw": "1",
    }

    await served.transport.unary(COMMANDS + "HandleCommand", b"", metadata=metadata)

    context = served.commands.seen[0][2]
    assert {key: context.metadata[key] for key in metadata} == metadata


async def test_deadline_reaches_the_coordinator(served: Any) -> None:
    before_ns = time.monotonic_ns()

    await served.transport.unary(COMMANDS + "HandleCommand", b"", timeout_s=20.0)

    deadline_ns = served.commands.seen[0][2].deadline_ns
    assert 15e9 < deadline_ns - before_ns < 21e9


async def test_call_without_a_deadline_has_none(served: Any) -> None:
    await served.transport.unary(COMMANDS + "HandleCommand", b"")

    assert served.commands.seen[0][2].deadline_ns is None


async def test_cancelled_call_cancels_the_coordinators_work(served: Any) -> None:
    served.commands.hold = asyncio.Event()
    call = served.call(COMMANDS + "HandleCommand")(b"")
    await served.commands.entered.wait()

    call.cancel()

    await served.commands.is_cancelled.wait()


async def test_abandoned_stream_closes_its_source(served: Any) -> None:
    served.queries.books = [bytes(100_000)] * 1000
    stream = served.transport.stream(QUERIES + "GetEvents", b"")
    await anext(stream)

    await stream.aclose()

    await served.queries.is_closed.wait()


@pytest.mark.spec("WIRE-14")
async def test_messages_at_the_limit_pass_both_ways(serve: Serve) -> None:
    served = await serve(message_size_kb=64)
    request = bytes(64 * 1024)

    assert await served.transport.unary(COMMANDS + "HandleCommand", request) == request


@pytest.mark.spec("WIRE-14")
async def test_messages_of_ten_mebibytes_pass_by_default(served: Any) -> None:
    request = bytes(10_240 * 1024)

    assert await served.transport.unary(COMMANDS + "HandleCommand", request) == request


@pytest.mark.spec("WIRE-14")
async def test_larger_answer_is_too_large(serve: Serve) -> None:
    served = await serve(message_size_kb=64)
    served.commands.answer = bytes(64 * 1024 + 1)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.call(COMMANDS + "HandleCommand")(b"")

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(caught.value.trailing_metadata())[status.KIND] == "too_large"


@pytest.mark.spec("WIRE-14")
@pytest.mark.parametrize("size_bytes", [64 * 1024 + 1, 256 * 1024])
async def test_larger_request_is_too_large(serve: Serve, size_bytes: int) -> None:
    """Also where gRPC itself cuts it off, which sends no kind."""
    served = await serve(message_size_kb=64)

    with pytest.raises(errors.TooLarge):
        await served.transport.unary(COMMANDS + "HandleCommand", bytes(size_bytes))

    assert served.commands.seen == []


@pytest.mark.spec("QRY-10", "WIRE-14")
async def test_book_over_the_limit_names_size_limit_and_get_events(serve: Serve) -> None:
    served = await serve(message_size_kb=64)
    served.queries.books = [bytes(70_000)]

    with pytest.raises(errors.TooLarge, match=r"70000 bytes.* 65536 bytes.*GetEvents") as caught:
        await served.transport.unary(QUERIES + "GetEventBook", b"")

    assert (caught.value.limit, caught.value.value) == ("at most 65536 bytes", "70000")


@pytest.mark.spec("QRY-20")
async def test_subscription_is_accepted_only_when_it_will_see_what_follows(served: Any) -> None:
    call = served.channel.unary_stream(SUBSCRIBE)(b"c-1")

    await call.initial_metadata()
    served.streams.publish(b"book")

    assert await call.read() == b"book"
    call.cancel()


@pytest.mark.spec("QRY-20")
async def test_refused_subscription_ends_with_its_error(served: Any) -> None:
    served.streams.error = errors.InvalidInput("correlation_id", "not empty", "")

    with pytest.raises(errors.InvalidInput):
        await anext(served.transport.stream(SUBSCRIBE, b""))


async def test_cancelled_subscription_is_unregistered(served: Any) -> None:
    call = served.channel.unary_stream(SUBSCRIBE)(b"c-1")
    await call.initial_metadata()

    call.cancel()

    await served.streams.is_left.wait()
    assert served.streams.subscriptions == []


@pytest.mark.parametrize(
    ("peer", "is_local"),
    [
        ("ipv4:127.0.0.1:5000", True),
        ("ipv4:127.8.0.1:5000", True),
        ("ipv4:10.0.0.7:5000", False),
        ("ipv6:[::1]:5000", True),
        ("ipv6:%5B::1%5D:5000", True),
        ("ipv6:[::ffff:127.0.0.1]:5000", True),
        ("ipv6:[2001:db8::1]:5000", False),
        ("unix:", True),
        ("unix:/run/angzarr/x.sock", True),
        ("vsock:1:2", False),
        ("", False),
    ],
)
def test_local_peer_is_loopback_or_unix(peer: str, is_local: bool) -> None:
    assert is_local_peer(peer) is is_local
