"""Services of the user's in another process, which clients can't tell from served ones."""

# ruff: noqa: F811

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from angzarr import errors
from angzarr.rpc import status
from angzarr.rpc.forwarding import forwarded_rpcs
from angzarr.rpc.remote import Endpoint
from angzarr.rpc.server import Server, ServerOptions

from .test_servicers import (  # noqa: F401  the same claims
    SERVICE,
    Client,
    ThreadedWords,
    Words,
    add_to_server,
    client,
    ours,
    test_abort_ends_with_its_status_and_metadata,
    test_abort_in_a_stream_comes_after_what_was_sent,
    test_code_that_is_set_before_an_exception_stays,
    test_code_that_is_set_ends_the_call_without_its_answer,
    test_each_kind_of_method_is_answered,
    test_exception_is_unknown_with_its_text,
    test_long_streams_come_whole,
    test_metadata_pass_both_ways,
    test_remaining_time_is_known_where_there_is_a_deadline,
    test_streams_may_be_empty,
    theirs,
    word,
)

pytestmark = pytest.mark.spec("DEP-12", "DEP-7")


@contextlib.asynccontextmanager
async def forwarding(address: str, **options: Any) -> AsyncIterator[Client]:
    """A client of a server that forwards the service to `address`."""
    endpoint = Endpoint(address)
    rpcs = forwarded_rpcs(add_to_server, endpoint)
    server = Server(rpcs=rpcs, options=ServerOptions(**{"port": 0, "grace_s": 0, **options}))
    [front] = await server.start()
    async with grpc.aio.insecure_channel(front) as channel:
        yield Client(channel)
    await server.stop()
    await endpoint.close()


@contextlib.asynccontextmanager
async def behind(serve: Any, servicer: object) -> AsyncIterator[Client]:
    """A client that reaches the servicer by way of another server."""
    async with serve(servicer) as direct, forwarding(direct.address) as client:
        yield client


@pytest.fixture(params=[ours, theirs], ids=["ours", "grpc.aio"])
def serving(request: pytest.FixtureRequest) -> Any:
    return lambda servicer: behind(request.param, servicer)


async def test_peers_kind_and_details_reach_the_client() -> None:
    class Refusing(Words):
        async def Say(self, request: object, context: Any) -> object:
            raise errors.RemoteError("ABORTED", "no", error_kind="parked", details=b"\0\xffd")

    async with behind(ours, Refusing()) as client:
        error = await client.failure(client.say("x"))

    trailers = dict(error.trailing_metadata())
    assert (error.code(), error.details()) == (grpc.StatusCode.ABORTED, "no")
    assert trailers[status.KIND] == "parked"
    assert trailers[status.DETAILS] == b"\0\xffd"


@pytest.mark.spec("WIRE-11")
async def test_failure_of_a_peer_without_kinds_gets_one() -> None:
    async with behind(theirs, Words()) as client:
        error = await client.failure(client.say("abort"))

    assert dict(error.trailing_metadata())[status.KIND] == "corrupt"


async def test_peer_that_is_not_there_is_unavailable() -> None:
    async with forwarding("127.0.0.1:1") as client:
        error = await client.failure(client.say("x"))

    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert dict(error.trailing_metadata())[status.KIND] == "unavailable"


async def test_cancelled_call_is_cancelled_at_the_peer() -> None:
    words = Words()
    async with behind(ours, words) as client:
        call = client.say("hang")
        await words.entered.wait()

        call.cancel()

        await words.cancelled.wait()
        assert await words.done.get() is True


async def test_deadline_that_passes_ends_the_call_here_and_there() -> None:
    words = Words()
    async with behind(ours, words) as client:
        error = await client.failure(client.say("hang", timeout=0.5))

        await words.cancelled.wait()

    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_peer_may_end_a_call_before_its_requests_end() -> None:
    class Hasty(Words):
        async def Talk(self, requests: object, context: Any) -> None:
            await context.read()
            await context.write(word("enough"))

    async with behind(ours, Hasty()) as client:
        call = client.talk()
        await call.write("one")

        assert await call.read() == "enough"
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK


async def test_answers_come_while_requests_are_sent() -> None:
    async with behind(ours, Words()) as client:
        call = client.talk()

        for text in ("a", "b"):
            await call.write(text)
            assert await call.read() == text.upper()
        await call.done_writing()

        assert await call.read() is grpc.aio.EOF


@pytest.mark.spec("WIRE-14")
@pytest.mark.parametrize("made", [Words, ThreadedWords])
async def test_request_over_the_limit_is_refused_here(made: Any) -> None:
    async with ours(made()) as direct, forwarding(direct.address, message_size_kb=1) as client:
        call = client.talk()
        await call.write("x" * 1500)

        assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "request of Talk" in await call.details()


async def test_initial_metadata_come_before_the_first_answer() -> None:
    go_on = asyncio.Event()

    class Early(Words):
        async def Count(self, request: object, context: Any) -> AsyncIterator[object]:
            await context.send_initial_metadata((("first", "1"),))
            await go_on.wait()
            yield word("done")

    async with behind(ours, Early()) as client:
        call = client.count("1")

        begun = await call.initial_metadata()
        go_on.set()

        assert tuple(begun) == (("first", "1"),)
        assert await call.read() == "done"


async def test_reflection_and_health_know_the_service() -> None:
    endpoint = Endpoint("127.0.0.1:1")
    server = Server(rpcs=forwarded_rpcs(add_to_server, endpoint), options=ServerOptions(port=0))

    assert SERVICE in server.services
    assert SERVICE in server.health.names()
    await endpoint.close()


async def test_methods_that_cannot_be_listed_are_refused() -> None:
    class Anything(grpc.GenericRpcHandler):
        def service(self, handler_call_details: object) -> None:
            return None

    def add(_servicer: object, server: Any) -> None:
        server.add_generic_rpc_handlers((Anything(),))

    endpoint = Endpoint("127.0.0.1:1")
    with pytest.raises(errors.InvalidInput, match="Anything"):
        forwarded_rpcs(add, endpoint)
    await endpoint.close()
