"""Calls with messages both ways, and how their ends are told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from angzarr.errors import RemoteError
from angzarr.ports.components import CallContext
from angzarr.rpc.remote import Endpoint
from angzarr.rpc.services import Rpc
from angzarr.rpc.status import Code, Status

CONTEXT = CallContext()
ROUNDS = 50

Open = Callable[..., Awaitable[Any]]


@pytest.fixture
async def converse(opened: Open) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Begin a conversation with a method of a server; its calls as services.Rpc has them."""
    endpoints: list[Endpoint] = []

    async def begin(context: CallContext = CONTEXT, **kinds: Any) -> Any:
        rpc = Rpc(service="test.Test", method="talk", **kinds)
        endpoints.append(Endpoint((await opened(rpc)).address))
        return endpoints[-1].converse("/test.Test/talk", context)

    yield begin
    for endpoint in endpoints:
        await endpoint.close()


async def echo(requests: AsyncIterator[bytes], _context: CallContext) -> AsyncIterator[bytes]:
    async for request in requests:
        yield b"re:" + request


async def test_messages_go_both_ways_in_turn(converse: Any) -> None:
    conversation = await converse(both=echo)

    answers = []
    for message in (b"one", b"", b"three"):
        await conversation.send(message)
        answers.append(await conversation.receive())
    await conversation.finish()

    assert answers == [b"re:one", b"re:", b"re:three"]
    assert await conversation.receive() is None
    assert (await conversation.ended()).code is Code.OK


async def test_error_of_the_peer_is_raised_with_kind_and_details(converse: Any) -> None:
    async def refuse(requests: Any, _context: CallContext) -> AsyncIterator[bytes]:
        yield b"first"
        raise RemoteError("ABORTED", "no – é", error_kind="parked", details=b"\0\xff")

    conversation = await converse(both=refuse)

    assert await conversation.receive() == b"first"
    with pytest.raises(RemoteError) as caught:
        await conversation.receive()

    found = caught.value
    assert (found.code, found.message, found.error_kind, found.details) == (
        "ABORTED", "no – é", "parked", b"\0\xff",
    )  # fmt: skip


async def test_message_after_the_end_raises_how_it_ended(converse: Any) -> None:
    async def refuse(exchange: Any) -> Status:
        return Status(Code.DATA_LOSS, "lost", ())

    conversation = await converse(whole=refuse, has_many_requests=True)
    await conversation.ended()

    with pytest.raises(RemoteError, match="lost"):
        await conversation.send(b"late")


async def test_message_after_a_good_end_is_unavailable(converse: Any) -> None:
    async def leave(exchange: Any) -> Status:
        return Status(Code.OK, "", ())

    conversation = await converse(whole=leave, has_many_requests=True)
    await conversation.ended()

    with pytest.raises(RemoteError) as caught:
        await conversation.send(b"late")

    assert caught.value.code == "UNAVAILABLE"


@pytest.mark.parametrize("code", [Code.OK, Code.DATA_LOSS])
async def test_end_is_the_peers_whatever_is_on_its_way_there(opened: Any, code: Code) -> None:
    """grpc.aio tells of an INTERNAL error of its own when a message could not be sent any more."""

    async def hasty(exchange: Any) -> Status:
        await exchange.send(b"enough")
        return Status(code, "lost" if code is not Code.OK else "", (("k", "v"),))

    peer = await opened(Rpc(service="t.T", method="t", whole=hasty, has_many_requests=True))
    endpoint = Endpoint(peer.address)

    async def send_on(conversation: Any) -> None:
        while True:
            await conversation.send(b"x")

    ends = set()
    for _ in range(ROUNDS):
        conversation = endpoint.converse("/t.T/t", CONTEXT)
        sending = asyncio.ensure_future(send_on(conversation))
        first = await conversation.receive()
        await asyncio.gather(sending, return_exceptions=True)
        end = await conversation.ended()
        ends.add((first, end.code, end.message, end.trailers[0]))
    await endpoint.close()

    assert ends == {(b"enough", code, "lost" if code is not Code.OK else "", ("k", "v"))}


async def test_deadline_and_metadata_reach_the_peer(converse: Any) -> None:
    seen: list[CallContext] = []

    async def note(requests: Any, context: CallContext) -> AsyncIterator[bytes]:
        seen.append(context)
        yield b""

    deadline_ns = time.monotonic_ns() + 20_000_000_000
    context = CallContext(deadline_ns, {"angzarr-cascade-depth": "2", "user-agent": "mine"})
    conversation = await converse(context, both=note)
    await conversation.receive()

    assert seen[0].deadline_ns is not None
    assert abs(seen[0].deadline_ns - deadline_ns) < 2e9
    assert seen[0].metadata["angzarr-cascade-depth"] == "2"
    assert seen[0].metadata["user-agent"] != "mine"


async def test_passed_deadline_begins_nothing(converse: Any) -> None:
    with pytest.raises(RemoteError) as caught:
        await converse(CallContext(time.monotonic_ns() - 1), both=echo)

    assert caught.value.code == "DEADLINE_EXCEEDED"


async def test_cancelled_conversation_ends_at_the_peer(converse: Any) -> None:
    is_over = asyncio.Event()

    async def wait(requests: AsyncIterator[bytes], _context: CallContext) -> AsyncIterator[bytes]:
        try:
            async for request in requests:
                yield request
        finally:
            is_over.set()

    conversation = await converse(both=wait)
    await conversation.send(b"x")
    await conversation.receive()

    conversation.cancel()
    conversation.cancel()

    await is_over.wait()


async def test_nobody_there_is_unavailable() -> None:
    endpoint = Endpoint("127.0.0.1:1")
    conversation = endpoint.converse("/t.T/t", CONTEXT)

    with pytest.raises(RemoteError) as caught:
        await conversation.receive()

    assert caught.value.code == "UNAVAILABLE"
    await endpoint.close()
