"""Benches over gRPC: our server against a bare grpc.aio echo of the same size, in the same set-up.

Servers are processes of their own; one client process (this one) drives both with the same grpc.aio
calls on raw bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator

import grpc
import grpc.aio

from angzarr.wire import CommandRequest, ContextualCommand, Query
from benches.harness import OURS, Bench, Run, Target, rate, scratch
from benches.peers import free_port, process, wait
from benches.stores import IN_FLIGHT, Loop

HERE = pathlib.Path(__file__).resolve().parent
BANK = "angzarr.examples.bank.app"
CALLS = 3_200
BOOK_EVENTS = 100
HANDLE_COMMAND = "/angzarr.CommandHandlerCoordinatorService/HandleCommand"
GET_BOOK = "/angzarr.EventQueryService/GetEventBook"
HANDLE = "/angzarr.CommandHandlerService/Handle"


@contextlib.contextmanager
def server(command: list[object]) -> Iterator[str]:
    """A process that prints `listening on HOST:PORT`; its address."""
    child = subprocess.Popen(
        [str(c) for c in command], stdout=subprocess.PIPE, cwd=HERE.parent, text=True
    )
    try:
        assert child.stdout
        for line in child.stdout:
            found = re.match(r"listening on (\S+)", line)
            if found:
                yield found[1]
                break
        else:
            raise SystemExit(f"{command} did not start")
    finally:
        child.terminate()
        child.wait(20)


@contextlib.contextmanager
def ours(folder: pathlib.Path, *arguments: object) -> Iterator[str]:
    program = [sys.executable, *os.environ.get("SERVE", "-m angzarr.cli").split(), "serve"]
    options = ["--port", 0, "--data", folder / "data"]
    with server([*program, *arguments, *options]) as address:
        yield address


def echo(answer_bytes: int) -> contextlib.AbstractContextManager[str]:
    return server([sys.executable, "-m", "benches.echo", answer_bytes])


class Channel:
    """Calls on raw bytes over one connection."""

    def __init__(self, loop: Loop, address: str) -> None:
        self._loop = loop
        self._channel = loop(self._open(address))

    async def _open(self, address: str) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])

    def call(self, method: str, request: bytes) -> bytes:
        async def run() -> bytes:
            return await self._channel.unary_unary(method)(request, timeout=30)

        return self._loop(run())

    def rate(self, method: str, requests: Callable[[], list[bytes]], count: int = CALLS) -> float:
        """Calls per second with 64 in flight, which take turns through the requests."""
        made = requests()
        turns = iter(made * (count // len(made)))

        async def run() -> None:
            call = self._channel.unary_unary(method)

            async def work() -> None:
                for request in turns:
                    await call(request, timeout=60)

            await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))

        return rate(count, lambda: self._loop(run()))

    def close(self) -> None:
        self._loop(self._channel.close())


def deposit(
    root: bytes,
    domain: str = "account",
    type_url: str = "json.angzarr.io/account.Deposit",
    value: bytes = b'{"amount_cents":1}',
) -> bytes:
    """A HandleCommand request that every state accepts (AGGREGATE_HANDLES)."""
    request = CommandRequest()
    request.command.cover.domain = domain
    request.command.cover.root.value = root
    page = request.command.pages.add()
    page.header.sequence = 0
    page.merge_strategy = 2
    page.command.type_url, page.command.value = type_url, value
    return request.SerializeToString()


def deposits(root_count: int = CALLS // 10, **kind: object) -> Callable[[], list[bytes]]:
    """A request for each of so many fresh roots, so that streams stay short in every round."""
    return lambda: [deposit(uuid.uuid4().bytes, **kind) for _ in range(root_count)]  # type: ignore[arg-type]


@contextlib.contextmanager
def connected(loop: Loop, address: str) -> Iterator[Channel]:
    with contextlib.closing(Channel(loop, address)) as channel:
        yield channel


@contextlib.contextmanager
def grpc64() -> Iterator[dict[str, Run]]:
    with (
        scratch() as folder,
        contextlib.closing(Loop()) as loop,
        ours(folder, BANK) as address,
        connected(loop, address) as channel,
    ):
        size = len(channel.call(HANDLE_COMMAND, deposit(uuid.uuid4().bytes)))
        with echo(size) as bare_address, connected(loop, bare_address) as bare:
            yield {
                OURS: lambda: channel.rate(HANDLE_COMMAND, deposits()),
                "bare echo": lambda: bare.rate(HANDLE_COMMAND, deposits()),
            }


@contextlib.contextmanager
def grpcbook() -> Iterator[dict[str, Run]]:
    with (
        scratch() as folder,
        contextlib.closing(Loop()) as loop,
        ours(folder, BANK) as address,
        connected(loop, address) as channel,
    ):
        root = uuid.uuid4().bytes
        for _ in range(BOOK_EVENTS):
            channel.call(HANDLE_COMMAND, deposit(root))
        query = Query()
        query.cover.domain, query.cover.root.value = "account", root
        request = query.SerializeToString()
        size = len(channel.call(GET_BOOK, request))
        with echo(size) as bare_address, connected(loop, bare_address) as bare:
            requests = [request] * IN_FLIGHT
            yield {
                OURS: lambda: channel.rate(GET_BOOK, lambda: requests),
                "bare echo": lambda: bare.rate(GET_BOOK, lambda: requests),
            }


@contextlib.contextmanager
def grpcremote() -> Iterator[dict[str, Run]]:
    """The handler is a process of the published client; `direct` calls its Handle with the same
    commands. Each goes to a fresh root, so that both give the handler the same to do."""
    made = subprocess.run(
        [sys.executable, HERE.parent / ".ci/peer_env.py"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    port, count = free_port(), CALLS // 2
    kind = {"domain": "player", "type_url": "type.googleapis.com/examples.SitOut", "value": b""}
    with scratch() as folder, contextlib.closing(Loop()) as loop:
        environment = {"PORT": str(port), "TRANSPORT_TYPE": "tcp", "CALLS": str(folder / "calls")}
        script = HERE.parent / "tests/compat/peer_handler.py"
        config = folder / "config.yaml"
        config.write_text(
            f'components:\n  "aggregate:player":\n    endpoint: tcp://127.0.0.1:{port}\n'
        )
        with process([made.stdout.strip(), script, "router"], env=os.environ | environment):
            with connected(loop, f"127.0.0.1:{port}") as direct:
                served = ours(folder, HERE / "remote.py", "--config", config)
                with served as address, connected(loop, address) as channel:
                    probe = deposit(uuid.uuid4().bytes, **kind)
                    wait(lambda: bool(channel.call(HANDLE_COMMAND, probe)), "the remote handler")

                    def contextual() -> list[bytes]:
                        books = [
                            CommandRequest.FromString(r).command for r in deposits(count, **kind)()
                        ]
                        return [ContextualCommand(command=b).SerializeToString() for b in books]

                    yield {
                        OURS: lambda: channel.rate(HANDLE_COMMAND, deposits(count, **kind), count),
                        "direct": lambda: direct.rate(HANDLE, contextual, count),
                    }


BENCHES = [
    Bench(
        "grpc64",
        "HandleCommand over gRPC, 64 concurrent",
        "calls/s",
        "rpc",
        grpc64,
        (Target("bare echo", 0.6),),
    ),
    Bench(
        "grpcremote",
        "HandleCommand over gRPC, handler a process of client 0.3.1",
        "calls/s",
        "rpc",
        grpcremote,
        (Target("direct", 0.4),),
    ),
    Bench(
        "grpcbook",
        "GetEventBook of 100 events over gRPC",
        "calls/s",
        "rpc",
        grpcbook,
        (Target("bare echo", 0.8),),
    ),
]
