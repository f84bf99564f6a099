"""Ordinary gRPC servicers on our server, and on grpc.aio's, which clients can't tell apart."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from angzarr import errors
from angzarr.rpc import status
from angzarr.rpc.server import Server, ServerOptions
from angzarr.rpc.servicers import servicer_rpcs

SERVICE = "test.Words"
Context = Any


def add_to_server(servicer: Any, server: Any) -> None:
    """As grpcio-tools generates it for a service with a method of each kind."""
    types = {
        "request_deserializer": StringValue.FromString,
        "response_serializer": StringValue.SerializeToString,
    }
    handlers = {
        "Say": grpc.unary_unary_rpc_method_handler(servicer.Say, **types),
        "Count": grpc.unary_stream_rpc_method_handler(servicer.Count, **types),
        "Join": grpc.stream_unary_rpc_method_handler(servicer.Join, **types),
        "Talk": grpc.stream_stream_rpc_method_handler(servicer.Talk, **types),
    }
    generic = grpc.method_handlers_generic_handler(SERVICE, handlers)
    server.add_generic_rpc_handlers((generic,))
    server.add_registered_method_handlers(SERVICE, handlers)


def word(text: object) -> StringValue:
    return StringValue(value=str(text))


class Words:
    """Asynchronous methods; what `Say` does is up to its request."""

    def __init__(self) -> None:
        self.entered, self.cancelled = asyncio.Event(), asyncio.Event()
        self.done: asyncio.Queue[bool] = asyncio.Queue()

    async def Say(self, request: StringValue, context: Context) -> StringValue:
        match request.value:
            case "abort":
                await context.abort(
                    grpc.StatusCode.DATA_LOSS, "lost – it", (("k", "v"), ("k-bin", b"\0\xff"))
                )
            case "set":
                context.set_code(grpc.StatusCode.OUT_OF_RANGE)
                context.set_details("too far")
                context.set_trailing_metadata((("k", "v"),))
            case "raise":
                raise ValueError("no such word")
            case "set and raise":
                context.set_code(grpc.StatusCode.UNIMPLEMENTED)
                context.set_details("Method not implemented!")
                raise NotImplementedError
            case "metadata":
                await context.send_initial_metadata((("first", "1"), ("first-bin", b"\1")))
                context.set_trailing_metadata((("last", "2"),))
                return word(dict(context.invocation_metadata())["word"])
            case "remaining":
                return word(context.time_remaining() is not None)
            case "hang":
                context.add_done_callback(lambda found: self.done.put_nowait(found.cancelled()))
                self.entered.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    self.cancelled.set()
            case _:
                pass
        return word(request.value + "!")

    async def Count(self, request: StringValue, context: Context) -> AsyncIterator[StringValue]:
        for number in range(int(request.value)):
            yield word(number)
        if request.value == "3":
            await context.abort(grpc.StatusCode.ABORTED, "three")

    async def Join(self, requests: AsyncIterator[StringValue], context: Context) -> StringValue:
        return word(" ".join([request.value async for request in requests]))

    async def Talk(self, requests: object, context: Context) -> None:
        while (request := await context.read()) is not grpc.aio.EOF:
            await context.write(word(request.value.upper()))


class ThreadedWords:
    """The same without coroutines."""

    def __init__(self) -> None:
        self.entered, self.over = threading.Event(), threading.Event()

    def Say(self, request: StringValue, context: Context) -> StringValue:
        match request.value:
            case "abort":
                context.set_trailing_metadata((("k", "v"), ("k-bin", b"\0\xff")))
                context.abort(grpc.StatusCode.DATA_LOSS, "lost – it")
            case "set":
                context.set_code(grpc.StatusCode.OUT_OF_RANGE)
                context.set_details("too far")
                context.set_trailing_metadata((("k", "v"),))
            case "raise":
                raise ValueError("no such word")
            case "set and raise":
                context.set_code(grpc.StatusCode.UNIMPLEMENTED)
                context.set_details("Method not implemented!")
                raise NotImplementedError
            case "metadata":
                context.send_initial_metadata((("first", "1"), ("first-bin", b"\1")))
                context.set_trailing_metadata((("last", "2"),))
                return word(dict(context.invocation_metadata())["word"])
            case "remaining":
                return word(context.time_remaining() is not None)
            case "thread":
                return word(threading.current_thread() is threading.main_thread())
            case _:
                pass
        return word(request.value + "!")

    def Count(self, request: StringValue, context: Context) -> Iterator[StringValue]:
        if request.value == "endless":
            context.add_callback(self.over.set)
            self.entered.set()
            while True:
                yield word("again")
        for number in range(int(request.value)):
            yield word(number)
        if request.value == "3":
            context.abort(grpc.StatusCode.ABORTED, "three")

    def Join(self, requests: Iterator[StringValue], context: Context) -> StringValue:
        return word(" ".join([request.value for request in requests]))

    def Talk(self, requests: Iterator[StringValue], context: Context) -> Iterator[StringValue]:
        for request in requests:
            yield word(request.value.upper())


class Client:
    """Calls of the service, with words."""

    def __init__(self, channel: grpc.aio.Channel, address: str = "") -> None:
        self.address = address

        def method(kind: str, name: str) -> Callable[..., Any]:
            return getattr(channel, kind)(
                f"/{SERVICE}/{name}",
                request_serializer=lambda text: word(text).SerializeToString(),
                response_deserializer=lambda data: StringValue.FromString(data).value,
            )

        self.say, self.count = method("unary_unary", "Say"), method("unary_stream", "Count")
        self.join, self.talk = method("stream_unary", "Join"), method("stream_stream", "Talk")
        self.channel = channel

    async def failure(self, call: Any) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        return caught.value


@contextlib.asynccontextmanager
async def ours(servicer: object) -> AsyncIterator[Client]:
    options = ServerOptions(port=0, grace_s=0)
    server = Server(rpcs=servicer_rpcs(add_to_server, servicer), options=options)
    [address] = await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        yield Client(channel, address)
    await server.stop()


@contextlib.asynccontextmanager
async def theirs(servicer: object) -> AsyncIterator[Client]:
    server = grpc.aio.server()
    add_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Client(channel, f"127.0.0.1:{port}")
    await server.stop(None)


@pytest.fixture(params=[ours, theirs], ids=["ours", "grpc.aio"])
def serving(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=[Words, ThreadedWords], ids=["async", "threads"])
async def client(serving: Any, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with serving(request.param()) as client:
        yield client


def without_kind(pairs: Any) -> tuple[tuple[str, str | bytes], ...]:
    return tuple((key, value) for key, value in pairs if key != status.KIND)


async def test_each_kind_of_method_is_answered(client: Client) -> None:
    assert await client.say("hello") == "hello!"
    assert [found async for found in client.count("2")] == ["0", "1"]
    assert await client.join(iter(["a", "b", "c"])) == "a b c"
    assert [found async for found in client.talk(iter(["a", "b"]))] == ["A", "B"]


async def test_streams_may_be_empty(client: Client) -> None:
    assert [found async for found in client.count("0")] == []
    assert await client.join(iter([])) == ""
    assert [found async for found in client.talk(iter([]))] == []


async def test_long_streams_come_whole(client: Client) -> None:
    sent = [f"{number} " + "x" * 200 for number in range(1000)]

    assert [found async for found in client.talk(iter(sent))] == [text.upper() for text in sent]


async def test_abort_ends_with_its_status_and_metadata(client: Client) -> None:
    error = await client.failure(client.say("abort"))

    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "lost – it")
    assert without_kind(error.trailing_metadata()) == (("k", "v"), ("k-bin", b"\0\xff"))


async def test_abort_in_a_stream_comes_after_what_was_sent(client: Client) -> None:
    call = client.count("3")

    found = [await call.read() for _ in range(3)]

    assert found == ["0", "1", "2"]
    assert (await call.code(), await call.details()) == (grpc.StatusCode.ABORTED, "three")


async def test_code_that_is_set_ends_the_call_without_its_answer(client: Client) -> None:
    error = await client.failure(client.say("set"))

    assert (error.code(), error.details()) == (grpc.StatusCode.OUT_OF_RANGE, "too far")
    assert without_kind(error.trailing_metadata()) == (("k", "v"),)


async def test_exception_is_unknown_with_its_text(client: Client) -> None:
    error = await client.failure(client.say("raise"))

    assert error.code() is grpc.StatusCode.UNKNOWN
    assert "no such word" in error.details()


async def test_code_that_is_set_before_an_exception_stays(client: Client) -> None:
    """What generated base classes do for methods that are not written."""
    error = await client.failure(client.say("set and raise"))

    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_metadata_pass_both_ways(client: Client) -> None:
    call = client.say("metadata", metadata=(("word", "hidden"),))

    assert await call == "hidden"
    assert tuple(await call.initial_metadata()) == (("first", "1"), ("first-bin", b"\1"))
    assert tuple(await call.trailing_metadata()) == (("last", "2"),)


@pytest.mark.parametrize("timeout", [None, 20])
async def test_remaining_time_is_known_where_there_is_a_deadline(
    client: Client, timeout: float | None
) -> None:
    assert await client.say("remaining", timeout=timeout) == str(timeout is not None)


@pytest.mark.parametrize("made", [Words, ThreadedWords])
async def test_request_that_is_no_message_is_internal(made: Any) -> None:
    """As with grpc's threaded server; grpc.aio's says UNKNOWN."""
    async with ours(made()) as client:
        error = await client.failure(client.channel.unary_unary(f"/{SERVICE}/Say")(b"\xff"))

    assert error.code() is grpc.StatusCode.INTERNAL


async def test_cancelled_call_cancels_the_method_and_is_told_so() -> None:
    words = Words()
    async with ours(words) as client:
        call = client.say("hang")
        await words.entered.wait()

        call.cancel()

        await words.cancelled.wait()
        assert await words.done.get() is True


async def test_cancelled_call_ends_its_thread_and_calls_back() -> None:
    words = ThreadedWords()
    async with ours(words) as client:
        call = client.count("endless")
        await call.read()

        call.cancel()

        assert await asyncio.to_thread(words.over.wait, 20)
        assert await client.say("after") == "after!"


async def test_methods_that_are_not_asynchronous_run_in_threads() -> None:
    async with ours(ThreadedWords()) as client:
        assert await client.say("thread") == "False"


async def test_threads_are_bounded() -> None:
    class Crowd(ThreadedWords):
        def __init__(self) -> None:
            super().__init__()
            self.lock, self.running, self.most = threading.Lock(), 0, 0
            self.pair = threading.Barrier(2)

        def Say(self, request: StringValue, context: Context) -> StringValue:
            with self.lock:
                self.running += 1
                self.most = max(self.most, self.running)
            self.pair.wait(20)
            with self.lock:
                self.running -= 1
            return request

    crowd = Crowd()
    rpcs = servicer_rpcs(add_to_server, crowd, threads_max=2)
    server = Server(rpcs=rpcs, options=ServerOptions(port=0, grace_s=0))
    [address] = await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        say = Client(channel).say
        await asyncio.gather(*(say("x") for _ in range(20)))
    await server.stop()

    assert crowd.most == 2


@pytest.mark.spec("WIRE-11")
@pytest.mark.parametrize("text", ["abort", "set", "raise", "set and raise"])
@pytest.mark.parametrize("made", [Words, ThreadedWords])
async def test_every_failure_carries_a_kind(made: Any, text: str) -> None:
    async with ours(made()) as client:
        error = await client.failure(client.say(text))

    assert status.KIND in dict(error.trailing_metadata())


@pytest.mark.parametrize("made", [Words, ThreadedWords])
async def test_our_own_errors_end_a_call_as_they_do_anywhere(made: Any) -> None:
    class Refusing(made):
        async def Say(self, request: StringValue, context: Context) -> StringValue:
            raise errors.NotPermitted("not today")

    async with ours(Refusing()) as client:
        error = await client.failure(client.say(""))

    assert (error.code(), error.details()) == (grpc.StatusCode.PERMISSION_DENIED, "not today")


async def test_trailers_that_cannot_travel_are_a_defect(caplog: pytest.LogCaptureFixture) -> None:
    class Odd(Words):
        async def Say(self, request: StringValue, context: Context) -> StringValue:
            context.set_trailing_metadata((("Ünfit", "x"),))
            return request

    async with ours(Odd()) as client:
        error = await client.failure(client.say(""))

    assert error.code() is grpc.StatusCode.INTERNAL
    assert "metadata" in caplog.text


async def test_contexts_pass_for_grpcs_own() -> None:
    class Asking(Words):
        async def Say(self, request: StringValue, context: Context) -> StringValue:
            return word(isinstance(context, grpc.aio.ServicerContext))

    class AskingThreaded(ThreadedWords):
        def Say(self, request: StringValue, context: Context) -> StringValue:
            return word(isinstance(context, grpc.ServicerContext))

    for servicer in (Asking(), AskingThreaded()):
        async with ours(servicer) as client:
            assert await client.say("") == "True"


async def test_methods_without_serializers_get_bytes() -> None:
    async def reverse(request: bytes, _context: Context) -> bytes:
        return request[::-1]

    def add(_servicer: object, server: Any) -> None:
        """As code that was generated before there were registered methods."""
        handlers = {"Turn": grpc.unary_unary_rpc_method_handler(reverse)}
        generic = grpc.method_handlers_generic_handler(SERVICE, handlers)
        server.add_generic_rpc_handlers((generic,))

    server = Server(rpcs=servicer_rpcs(add, None), options=ServerOptions(port=0, grace_s=0))
    [address] = await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        assert await channel.unary_unary(f"/{SERVICE}/Turn")(b"abc") == b"cba"
    await server.stop()

    assert SERVICE in server.services


def test_methods_that_cannot_be_listed_are_refused() -> None:
    class Anything(grpc.GenericRpcHandler):
        def service(self, handler_call_details: object) -> None:
            return None

    with pytest.raises(errors.InvalidInput, match="Anything"):
        servicer_rpcs(lambda _, server: server.add_generic_rpc_handlers((Anything(),)), None)


def test_ints_are_codes_too() -> None:
    from angzarr.rpc.servicer_contexts import Context as Base

    context: Base[bytes, bytes] = Base(None, bytes, bytes)  # type: ignore[arg-type]
    context.set_code(5)

    assert context.code() is grpc.StatusCode.NOT_FOUND
    assert Int32Value(value=context.status().number).value == 5
