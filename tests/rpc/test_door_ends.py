"""How calls through the front door end before their answer: cancelled, late, lost, drained."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from angzarr.ports.components import CallContext
from angzarr.rpc import status
from angzarr.rpc.door import Door
from angzarr.rpc.services import Rpc

Opened = Callable[..., Awaitable[Any]]
UNARY, STREAM, BOTH = (f"/test.Test/{kind}" for kind in ("unary", "stream", "both"))
CHUNK = bytes(100_000)
BUFFERED_BYTES_MAX = 32 * 1024 * 1024
"""What a call may hold that nobody reads: mostly the windows of HTTP/2, ours and grpcio's."""


class Waiting:
    """Calls that wait until they are let go, or cancelled."""

    def __init__(self) -> None:
        self.entered, self.hold, self.cancelled = (asyncio.Event() for _ in range(3))

    async def unary(self, request: bytes, _context: CallContext) -> bytes:
        self.entered.set()
        try:
            await self.hold.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return request

    async def stream(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]:
        yield b"first"
        yield await self.unary(request, context)

    async def both(
        self, requests: AsyncIterator[bytes], context: CallContext
    ) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request
            await self.unary(request, context)


@pytest.fixture
async def waiting() -> Waiting:
    return Waiting()


async def echo(request: bytes, _context: CallContext) -> bytes:
    return request


async def failure(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_cancelling_a_stream_cancels_its_source(opened: Opened, waiting: Waiting) -> None:
    served = await opened(stream=waiting.stream)
    call = served.channel.unary_stream(STREAM)(b"")
    await call.read()
    await waiting.entered.wait()

    call.cancel()

    await waiting.cancelled.wait()


async def test_cancelling_a_stream_of_requests_cancels_who_reads_them(
    opened: Opened, waiting: Waiting
) -> None:
    served = await opened(both=waiting.both)
    call = served.channel.stream_stream(BOTH)()
    await call.write(b"one")
    await call.read()
    await waiting.entered.wait()

    call.cancel()

    await waiting.cancelled.wait()


async def test_cancelling_many_calls_at_once_leaves_the_connection(
    opened: Opened, waiting: Waiting
) -> None:
    served = await opened(unary=waiting.unary, stream=waiting.stream)
    calls = [served.channel.unary_unary(UNARY)(b"") for _ in range(300)]
    await waiting.entered.wait()

    for call in calls:
        call.cancel()

    await waiting.cancelled.wait()
    assert await served.channel.unary_stream(STREAM)(b"").read() == b"first"


async def test_deadline_that_passes_cancels_the_work(opened: Opened, waiting: Waiting) -> None:
    served = await opened(unary=waiting.unary)

    error = await failure(served.channel.unary_unary(UNARY)(b"", timeout=1))

    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await waiting.cancelled.wait()


async def test_work_that_was_cancelled_here_is_answered(opened: Opened) -> None:
    """Its client waited for ever, since grpc.aio took it for a call that the client had ended."""

    async def cancelled(_request: bytes, _context: CallContext) -> bytes:
        raise asyncio.CancelledError

    served = await opened(unary=cancelled)

    error = await failure(served.channel.unary_unary(UNARY)(b""))

    assert error.code() is grpc.StatusCode.CANCELLED
    assert dict(error.trailing_metadata())[status.KIND] == "unavailable"


async def test_killed_client_cancels_its_calls(opened: Opened, waiting: Waiting) -> None:
    served = await opened(unary=waiting.unary)
    call = f"grpc.insecure_channel('{served.address}').unary_unary('{UNARY}')(b'')"
    client = await asyncio.create_subprocess_exec(sys.executable, "-c", f"import grpc; {call}")
    await waiting.entered.wait()

    client.send_signal(signal.SIGKILL)

    await waiting.cancelled.wait()
    await client.wait()


async def test_slow_reader_stops_its_source_and_nobody_else(opened: Opened) -> None:
    made = 0

    async def endless(_request: bytes, _context: CallContext) -> AsyncIterator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield CHUNK

    served = await opened(unary=echo, stream=endless)
    call = served.channel.unary_stream(STREAM)(b"")
    await call.read()

    for _ in range(200):
        assert await served.channel.unary_unary(UNARY)(b"others") == b"others"

    assert made * len(CHUNK) < BUFFERED_BYTES_MAX
    call.cancel()


async def test_slow_handler_stops_its_client_and_nobody_else(
    opened: Opened, waiting: Waiting
) -> None:
    served = await opened(unary=echo, both=waiting.both)
    call = served.channel.stream_stream(BOTH)()
    written = 0

    async def write() -> None:
        nonlocal written
        while True:
            await call.write(CHUNK)
            written += 1

    writing = asyncio.ensure_future(write())
    await waiting.entered.wait()

    for _ in range(200):
        assert await served.channel.unary_unary(UNARY)(b"others") == b"others"

    assert written * len(CHUNK) < BUFFERED_BYTES_MAX
    writing.cancel()
    call.cancel()


@pytest.mark.spec("OPS-3")
async def test_call_during_a_drain_is_unavailable_and_the_running_one_ends_well(
    opened: Opened, waiting: Waiting
) -> None:
    served = await opened(unary=waiting.unary, grace_s=20)
    call = served.channel.unary_unary(UNARY)
    running = asyncio.ensure_future(call(b"running"))
    await waiting.entered.wait()
    watch = health_pb2_grpc.HealthStub(served.channel).Watch(health_pb2.HealthCheckRequest())
    await watch.read()

    stopping = asyncio.ensure_future(served.server.stop())
    await watch.read()  # NOT_SERVING: the drain has begun
    error = await failure(call(b"late"))
    waiting.hold.set()

    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert await running == b"running"
    await stopping


@pytest.mark.spec("OPS-3", "WIRE-11")
async def test_call_that_outlasts_the_grace_is_unavailable_and_cancelled(
    opened: Opened, waiting: Waiting
) -> None:
    served = await opened(unary=waiting.unary, stream=waiting.stream)
    unary = asyncio.ensure_future(failure(served.channel.unary_unary(UNARY)(b"")))
    await waiting.entered.wait()
    stream = served.channel.unary_stream(STREAM)(b"")
    await stream.read()

    await served.server.stop(0.01)

    error = await unary
    assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "server is stopping")
    assert dict(error.trailing_metadata())[status.KIND] == "unavailable"
    assert await stream.code() is grpc.StatusCode.UNAVAILABLE
    assert waiting.cancelled.is_set()


@pytest.mark.spec("OPS-3")
async def test_idle_connection_does_not_hold_up_a_stop(opened: Opened) -> None:
    served = await opened(unary=echo, grace_s=20)
    await served.channel.unary_unary(UNARY)(b"")

    await asyncio.wait_for(served.server.stop(), 5)


async def test_stops_that_overlap_end_together_at_the_shorter_grace(
    opened: Opened, waiting: Waiting
) -> None:
    served = await opened(unary=waiting.unary)
    call = asyncio.ensure_future(failure(served.channel.unary_unary(UNARY)(b"")))
    await waiting.entered.wait()

    patient = asyncio.ensure_future(served.server.stop(20))
    await served.server.stop(0)

    await asyncio.wait_for(patient, 5)
    assert (await call).code() is grpc.StatusCode.UNAVAILABLE


async def test_wait_ends_with_the_server(opened: Opened) -> None:
    served = await opened(unary=echo)
    waiting = asyncio.ensure_future(served.server.wait())

    await served.server.stop()

    await waiting


def door_threads() -> int:
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    return names.count("angzarr-door\n")


async def test_no_thread_is_left_after_a_stop(opened: Opened) -> None:
    served = await opened(unary=echo)
    await served.channel.unary_unary(UNARY)(b"")
    before = door_threads()

    await served.server.stop()

    assert (before, door_threads()) == (1, 0)


def test_dropped_door_ends_its_thread() -> None:
    async def start() -> None:
        door = Door((Rpc(service="t.T", method="U", unary=echo),), message_bytes_max=1024)
        door.bind_tcp("127.0.0.1", 0)
        door.start()

    asyncio.run(start())
    gc.collect()

    while door_threads():
        time.sleep(0.01)  # until the thread is gone, of which nothing tells any more


def run(script: str) -> subprocess.CompletedProcess[str]:
    """Run a program; `call`, `serve` and `start` are there."""
    begin = """
        import asyncio, gc, os, sys, threading
        import grpc
        from angzarr.rpc.server import Server, ServerOptions
        from angzarr.rpc.services import Rpc

        entered = threading.Event()

        async def hang(request, context):
            entered.set()
            if request == b"echo":
                return request
            await asyncio.Event().wait()

        def server(**options):
            rpc = Rpc(service="t.T", method="U", unary=hang)
            return Server(rpcs=(rpc,), options=ServerOptions(port=0, grace_s=0, **options))

        def call(address, request=b""):
            return grpc.insecure_channel(address).unary_unary("/t.T/U").future(request, timeout=20)
    """
    text = textwrap.dedent(begin) + textwrap.dedent(script)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )


def test_interpreter_ends_though_the_server_was_not_stopped() -> None:
    began = time.monotonic()

    done = run("""
        async def main():
            global kept
            kept = server()
            [address] = await kept.start()
            running = call(address)
            await asyncio.to_thread(entered.wait)

        asyncio.run(main())
        print("over")
    """)

    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")
    assert time.monotonic() - began < 15


def test_loop_may_be_closed_before_the_server_is_stopped() -> None:
    done = run("""
        loop = asyncio.new_event_loop()
        kept = server()
        [address] = loop.run_until_complete(kept.start())
        running = call(address)
        loop.run_until_complete(asyncio.sleep(0))
        while not entered.is_set():
            loop.run_until_complete(asyncio.sleep(0.01))
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        late = call(address)
        del kept, loop, task
        gc.collect()
        try:
            late.result()
        except grpc.RpcError as error:
            print(error.code().name)
    """)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "UNAVAILABLE\n"


def test_fork_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    """The door's thread and its locks stay behind; the socket's file is the parent's."""
    path = tmp_path / "x.sock"

    done = run(f"""
        import pathlib
        path = pathlib.Path({str(path)!r})

        async def main():
            served = server(socket=path)
            addresses = await served.start()
            child = os.fork()
            if child == 0:
                try:
                    served._door._native.refuse()
                except RuntimeError as error:
                    refused = "after forking" in str(error)
                del served
                gc.collect()
                os._exit(0 if refused else 1)
            _, status = os.waitpid(child, 0)
            answers = [await asyncio.wrap_future(wrapped(call(a, b"echo"))) for a in addresses]
            print(status, answers, path.exists())
            await served.stop()

        def wrapped(call):
            import concurrent.futures
            future = concurrent.futures.Future()
            call.add_done_callback(lambda done: future.set_result(done.result()))
            return future

        asyncio.run(main())
    """)

    assert (done.returncode, done.stdout) == (0, "0 [b'echo', b'echo'] True\n"), done.stderr
