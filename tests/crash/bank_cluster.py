"""The bank's processes on one directory, and the way to them while they come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bank_child import SOCKET_FILE, Job
from bank_points import Point
from bank_processes import Process, Zygote

from angzarr.caller import Caller
from angzarr.client import connect
from angzarr.rpc.remote_store import RemoteStores

STORE: Final = "store"
"""The role of the process that has the store."""
SHAPES: Final[Mapping[str, Mapping[str, str]]] = {
    "whole": {STORE: "*"},
    "split": {
        STORE: "aggregate:*,query:events,stream:events",
        "sagas": "saga:*",
        "watch": "process_manager:*",
        "views": "projector:*",
    },
    "doubled": {
        STORE: "aggregate:*,query:events,stream:events",
        "left": "saga:*,process_manager:*,projector:*",
        "right": "saga:*,process_manager:*,projector:*",
    },
}
"""What the processes run, by role; in `doubled` two of them can do the same."""
LEASE_S: Final = 0.15
SETTINGS: Final[Mapping[str, object]] = {
    "transport.type": "uds",
    "consumer.lease_s": LEASE_S,
    "delivery.first_ms": 5,
    "delivery.cap_s": 0.2,
}
"""A process that was killed is not waited for longer than need be."""


@dataclass(frozen=True, slots=True)
class Connection:
    """To one life of the process that has the store. number: which life, from 1."""

    number: int
    caller: Caller
    stores: RemoteStores


class Cluster:
    """The processes of one shape; use it as a context."""

    def __init__(self, zygote: Zygote, directory: Path, shape: str) -> None:
        self.directory = directory
        self.roles = SHAPES[shape]
        self.processes: dict[str, Process] = {}
        self._zygote = zygote
        self._connections: list[Connection] = []
        self._is_up = asyncio.Condition()

    async def __aenter__(self) -> Cluster:
        for role in self.roles:
            await self.start(role)
        return self

    async def __aexit__(self, *_: object) -> None:
        for role in self.processes:
            await self.stop(role)
        for connection in self._connections:
            await connection.caller.close()
            await connection.stores.close()

    async def start(
        self, role: str, *, failpoints: str = "", point: Point | None = None
    ) -> Process:
        """Start a process, the first time or again; it works when this returns, or has died where
        it was to.
        """
        is_store = role == STORE
        socket = self.directory / SOCKET_FILE
        store = f"rocksdb://{self.directory / 'data'}" if is_store else f"grpc+unix://{socket}"
        job = Job(
            role=role,
            directory=str(self.directory),
            select=self.roles[role],
            store=store,
            listens=is_store,
            settings=dict(SETTINGS),
            failpoints=failpoints,
            point=str(point or ""),
        )
        process = self.processes[role] = Process(self._zygote, job)
        is_ready = await process.ready()
        assert is_ready or failpoints or point, f"{role} does not start:\n{self.logs()}"
        if is_ready and is_store:
            await self._connect(f"unix:{socket}")
        return process

    async def stop(self, role: str) -> None:
        """Kill a process, if it has not ended before."""
        process = self.processes[role]
        process.kill()
        await process.ended()

    async def connection(self, after: int = 0) -> Connection:
        """To the process that has the store, in a life later than number `after`."""
        async with self._is_up:
            await self._is_up.wait_for(lambda: len(self._connections) > after)
            return self._connections[-1]

    def logs(self) -> str:
        """The ends of what the processes have logged."""
        files = sorted(self.directory.glob("*.log"))
        return "\n".join(f"--- {file.name}\n{file.read_text()[-6000:]}" for file in files)

    async def _connect(self, address: str) -> None:
        """Older connections stay open: to close one would cancel those who still wait there."""
        number = len(self._connections) + 1
        async with self._is_up:
            self._connections.append(Connection(number, connect(address), RemoteStores(address)))
            self._is_up.notify_all()
