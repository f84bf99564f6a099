"""The shop in processes: one for all, one for each component, and those of the published client."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc.aio
import yaml
from grpc_health.v1 import health_pb2

from angzarr import wire
from angzarr.rpc.remote_store import RemoteStores
from angzarr.stores import open_stores

HERE: Final = Path(__file__).parent
APP: Final = HERE / "shop_app.py"
NO_APP: Final = HERE / "peer_app.py"
START_S: Final = 60.0
"""How long a process may take to start, and to end; far more than it needs."""

SETTINGS: Final[dict[str, object]] = {"delivery": {"max_attempts": 2, "first_ms": 1}}
"""So that what is given up on is given up on soon."""
AGGREGATES: Final = tuple(f"aggregate:{d}" for d in ("order", "stock", "shipment", "ledger"))
REACTIONS: Final = (
    *(f"saga:{name}" for name in ("confirming", "shipping", "wrapping")),
    "process_manager:fulfilment",
)
READERS: Final = ("projector:orders", "projector:totals", "query:orders")
COMPONENTS: Final = (*AGGREGATES, *REACTIONS, *READERS)
PEER_AGGREGATES: Final = (*AGGREGATES, "aggregate:fulfilment")
PEERS: Final = (
    *PEER_AGGREGATES,
    *("saga:confirming", "saga:shipping", "process_manager:fulfilment"),
    *("projector:orders", "projector:totals"),
)


class Process:
    """A server of ours, or a handler of the client's; its output is in `folder`."""

    def __init__(
        self,
        name: str,
        folder: Path,
        command: Sequence[object],
        *,
        is_ours: bool = True,
        **more: str,
    ) -> None:
        self.name = name
        self.is_ours = is_ours
        self._folder = folder
        self._command = [str(part) for part in command]
        self._environment = {**os.environ, "PYTHONPATH": str(HERE), **more}
        self.addresses: list[str] = []

    async def start(self) -> None:
        """Start it; it may not be ready yet."""
        with (self._folder / f"{self.name}.errors").open("ab") as errors:
            self.process = await asyncio.create_subprocess_exec(
                *self._command,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=self._environment,
                cwd=self._folder,
            )

    async def listening(self, count: int = 1) -> None:
        """Return when it listens on so many addresses. Fails if it ends before."""
        assert self.process.stdout
        while len(self.addresses) < count:
            async with asyncio.timeout(START_S):
                line = (await self.process.stdout.readline()).decode()
            if not line:
                raise AssertionError(f"{self.name} ended: {self.errors()}")
            if line.startswith("listening on "):
                self.addresses.append(line.removeprefix("listening on ").strip())

    def errors(self) -> str:
        """What it had to complain of."""
        return (self._folder / f"{self.name}.errors").read_text()

    async def stop(self) -> int:
        """End it as operators do; its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(START_S):
            await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode

    def kill(self) -> None:
        """End it at once, if it lives."""
        if self.process.returncode is None:
            self.process.kill()


class Site:
    """Where a shop runs: its folder, and the address that its clients know, in any shape.

    settings: of all configuration files.
    """

    def __init__(self, folder: Path, settings: dict[str, object] = SETTINGS) -> None:
        self.folder = folder
        self.settings = settings
        self.socket = folder / "shop.sock"
        self.runs = folder / "runs"

    @property
    def address(self) -> str:
        return f"unix:{self.socket}"

    @property
    def read_models(self) -> dict[str, Path]:
        return {name: self.folder / f"{name}.sqlite" for name in ("orders", "totals")}

    def serve(self, name: str, *arguments: object, app: Path = APP) -> Process:
        """`angzarr serve`, not started yet."""
        command = (sys.executable, "-m", "angzarr.cli", "serve", app, "--port", 0, *arguments)
        return Process(name, self.folder, command, SHOP_RUNS=str(self.runs))

    def config(self, name: str, **settings: object) -> Path:
        """A configuration file."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**self.settings, **settings}))
        return path

    def front(self, config: Path, *arguments: object, app: Path = APP) -> Process:
        """The server that has the store, and listens where clients look."""
        data = ("--data", self.folder / "data")
        more = ("--config", config, "--uds", self.socket, *data, *arguments)
        return self.serve("front", *more, app=app)

    def apart(self, component: str, config: Path) -> Process:
        """A component of its own process, where the configuration says that it is."""
        more = ("--config", config, "--select", component, "--uds", self.place(component))
        store = ("--store", f"grpc+unix://{self.socket}")
        return self.serve(component.replace(":", "-"), *more, *store)

    def place(self, component: str) -> Path:
        """The socket of a component."""
        return self.folder / f"{component.replace(':', '-')}.sock"

    def split_config(self, components: Sequence[str] = COMPONENTS) -> Path:
        """One file for all processes of a shop, of which these components are apart."""
        entries = {
            name: {"endpoint": f"unix://{self.place(name)}", "role": "coordinator"}
            for name in components
        }
        return self.config("split", components=entries)

    def stores(self) -> RemoteStores:
        """The store of the running shop."""
        return RemoteStores(self.address)

    def peer(self, component: str, python: Path) -> Process:
        """A handler of the published client's in its own process, on its own socket."""
        kind, _, name = component.partition(":")
        timers = self.folder / "timer.descriptor"
        timers.write_bytes(wire.TimerFired.DESCRIPTOR.file.serialized_pb)
        command = (python, HERE / "peer_shop.py", component)
        place = {"UDS_BASE_PATH": str(self.folder), "SERVICE_NAME": kind, "DOMAIN": name}
        return Process(
            f"peer-{kind}-{name}",
            self.folder,
            command,
            is_ours=False,
            TRANSPORT_TYPE="uds",
            TIMERS=str(timers),
            **place,
        )

    def peer_config(self) -> Path:
        """Where the client's handlers are, and what can't be asked of them."""

        def at(component: str, **more: object) -> dict[str, object]:
            name = component.partition(":")[2]
            return {"name": name, "socket": str(self.place(component)), **more}

        handlers = {name: f"unix://{self.place(name)}" for name in PEER_AGGREGATES}
        workflow = "order:Placed,Cancelled;shipment:Shipped;fulfilment:Failed"
        return self.config(
            "peers",
            components={name: {"endpoint": handlers[name]} for name in handlers},
            sagas=[
                at("saga:confirming", subscriptions="stock:Reserved", targets=["order"]),
                at("saga:shipping", subscriptions="order:Paid", targets=["shipment"]),
            ],
            process_managers=[
                at(
                    "process_manager:fulfilment",
                    subscriptions=workflow,
                    targets=["order", "stock", "ledger"],
                )
            ],
            projectors=[
                at("projector:orders", subscriptions="order;shipment"),
                at("projector:totals", subscriptions="order", synchronous=True),
            ],
        )

    @asynccontextmanager
    async def own_stores(self) -> AsyncIterator[Any]:
        """The store of a shop that has stopped."""
        from angzarr.ports.clock import SystemClock
        from angzarr.ports.event_store import Limits

        url = f"rocksdb://{self.folder / 'data'}"
        found = open_stores(url, sync=True, limits=Limits(), clock=SystemClock())
        try:
            yield found
        finally:
            await found.close()

    @asynccontextmanager
    async def running(self, front: Process, others: Sequence[Process]) -> AsyncIterator[None]:
        """The processes, from when all of them serve until the last has stopped: the one with the
        store comes first and goes last."""
        async with AsyncExitStack() as stack:
            for process in (front, *others):
                await process.start()
                stack.callback(process.kill)
            for process in (front, *others):
                if process.is_ours:
                    await process.listening(2)
            await serving(self.address)
            yield
            ours = [process for process in others if process.is_ours]
            for process in (*reversed(ours), front):
                code = await process.stop()
                assert code == 0, f"{process.name} ended with {code}: {process.errors()}"
            for process in others:
                await process.stop()

    @asynccontextmanager
    async def whole(self) -> AsyncIterator[None]:
        """Everything in one process."""
        async with self.running(self.front(self.config("whole")), []):
            yield

    @asynccontextmanager
    async def peers(self, python: Path) -> AsyncIterator[None]:
        """Handlers of the published client's, each in a process, coordinated by our server.

        python: of the client's environment.
        """
        others = [self.peer(component, python) for component in PEERS]
        async with self.running(self.front(self.peer_config(), app=NO_APP), others):
            yield

    @asynccontextmanager
    async def split(self, components: Sequence[str] = COMPONENTS) -> AsyncIterator[None]:
        """Each of the components in a process of its own, the others with the store."""
        config = self.split_config(components)
        others = [self.apart(component, config) for component in components]
        async with self.running(self.front(config), others):
            yield


async def serving(address: str, name: str = "") -> None:
    """Return when health says that the component serves; "" is all of them."""
    request = health_pb2.HealthCheckRequest(service=name).SerializeToString()
    async with grpc.aio.insecure_channel(address) as channel, asyncio.timeout(START_S):
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
        async for answer in watch(request, wait_for_ready=True):
            if health_pb2.HealthCheckResponse.FromString(answer).status == 1:
                return
