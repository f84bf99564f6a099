"""Our server between two processes of the published client: its handlers and its callers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from grpc_health.v1 import health_pb2

from angzarr.app import App
from angzarr.rpc.client_transport import GrpcTransport
from angzarr.rpc.server import Server

HERE = pathlib.Path(__file__).parent
HANDLER = HERE / "peer_handler.py"
CALLER = HERE / "peer_caller.py"
END_S = 20.0


@dataclass
class HandlerProcess:
    """A component of the client's in its own process. calls: a line for each command decided on."""

    process: subprocess.Popen[bytes]
    endpoint: str
    calls: pathlib.Path

    def decided(self) -> list[str]:
        return self.calls.read_text().split() if self.calls.exists() else []

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def folder() -> Iterator[pathlib.Path]:
    """A folder whose path leaves room for a socket's name."""
    with short_folder() as path:
        yield path


@contextlib.contextmanager
def short_folder() -> Iterator[pathlib.Path]:
    path = pathlib.Path(tempfile.mkdtemp(prefix="angzarr-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


StartHandler = Callable[..., HandlerProcess]


@pytest.fixture
def start_handler(peer: pathlib.Path, folder: pathlib.Path) -> Iterator[StartHandler]:
    """Start a component in a style of peer_handler.py, on a Unix socket or on TCP."""
    with handlers(peer, folder) as start:
        yield start


@pytest.fixture(scope="module")
def running_handler(peer: pathlib.Path) -> Iterator[StartHandler]:
    """A component in a style of peer_handler.py; started once, as it keeps nothing but its calls,
    which are forgotten here.
    """
    with short_folder() as path, handlers(peer, path) as start:
        known: dict[str, HandlerProcess] = {}

        def run(style: str) -> HandlerProcess:
            handler = known.get(style) or known.setdefault(style, start(style))
            handler.calls.unlink(missing_ok=True)
            return handler

        yield run


@contextlib.contextmanager
def handlers(peer: pathlib.Path, folder: pathlib.Path) -> Iterator[StartHandler]:
    """What starts components; they end with the context."""
    started: list[HandlerProcess] = []

    def start(style: str, *, transport: str = "uds") -> HandlerProcess:
        calls = folder / f"{style}.calls"
        environment = os.environ | {"CALLS": str(calls), "TRANSPORT_TYPE": transport}
        if transport == "uds":
            names = {"UDS_BASE_PATH": str(folder), "SERVICE_NAME": "business", "DOMAIN": style}
            endpoint = f"unix://{folder}/business-{style}.sock"
        else:
            port = free_port()
            names, endpoint = {"PORT": str(port)}, f"tcp://127.0.0.1:{port}"
        process = subprocess.Popen(
            [peer, HANDLER, style],
            env=environment | names,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        handler = HandlerProcess(process, endpoint, calls)
        started.append(handler)
        return handler

    try:
        yield start
    finally:
        for handler in started:
            handler.end()


def free_port() -> int:
    """A port that was free; the client's server can't say which one it took."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Coordinator:
    """Our app, serving, and the client's calls to it."""

    app: App
    server: Server
    python: pathlib.Path

    @property
    def address(self) -> str:
        return self.server.addresses[0]

    async def serving(self, name: str = "") -> None:
        """Return when health says that the component serves; "" is all of them."""
        transport = GrpcTransport(self.address)
        request = health_pb2.HealthCheckRequest(service=name).SerializeToString()
        stream = transport.stream("/grpc.health.v1.Health/Watch", request)
        async for answer in stream:
            if health_pb2.HealthCheckResponse.FromString(answer).status == 1:
                break
        await transport.close()

    async def call(self, scenario: str, *arguments: str, address: str = "") -> Any:
        """What a scenario of peer_caller.py returns."""
        process = await asyncio.create_subprocess_exec(
            self.python, CALLER, address or self.address, scenario, *arguments,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return json.loads(out)

    async def redeliver(self, consumer: str, book: Any) -> None:
        """Deliver a book of the log once more, as after a crash before the cursor was stored."""
        reacting = self.app._parts.reacting
        await reacting.consumers.redeliver(consumer, book.SerializeToString())


StartCoordinator = Callable[..., Awaitable[Coordinator]]


@pytest.fixture
async def start_coordinator(peer: pathlib.Path) -> AsyncIterator[StartCoordinator]:
    """Serve an app on a memory store and a free port; keyword arguments are dotted settings."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*classes: type, **settings: object) -> Coordinator:
            dotted = {key.replace("__", "."): value for key, value in settings.items()}
            app = App(*classes, store="memory://", config=dotted)
            await stack.enter_async_context(app)
            server = await app.serve(port=0)
            stack.push_async_callback(server.stop, 0)
            return Coordinator(app, server, peer)

        yield start


@pytest.fixture(params=["router", "class"])
def handler(request: pytest.FixtureRequest, start_handler: StartHandler) -> HandlerProcess:
    """An aggregate in each of the client's two styles."""
    return start_handler(request.param)


@pytest.fixture
async def coordinator(handler: HandlerProcess, start_coordinator: StartCoordinator) -> Coordinator:
    """Our coordinator in front of `handler`, which serves."""
    found = await start_coordinator(components=player_at(handler))
    await found.serving()
    return found


def player_at(handler: HandlerProcess) -> dict[str, object]:
    return {"aggregate:player": {"endpoint": handler.endpoint}}
