"""AdminService: backups of the open store, facts about the server; for callers on this machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final, Protocol

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from angzarr import wire
from angzarr.coordinators.consumers import ConsumerState
from angzarr.coordinators.counters import Counters
from angzarr.coordinators.snapshot_admin import SnapshotAdmin
from angzarr.errors import InvalidInput
from angzarr.ports.clock import Clock, SystemClock
from angzarr.ports.components import CallContext
from angzarr.ports.stores import Stores
from angzarr.rpc.services import Rpc

SERVICE: Final = "angzarr.AdminService"

States = Callable[[], tuple[Sequence[str], Mapping[str, bool]]]
Note = Callable[[int, int], None]


class Workers(Protocol):
    """What follows the log in this process."""

    def states(self) -> Mapping[str, ConsumerState]:
        """How each consumer is doing, by name."""
        ...

    async def replay(
        self, projector: str, *, publishes: bool = False, progress: Note | None = None
    ) -> None:
        """Feed a projector the log from its beginning; returns when it has come to its end.

        Raises InvalidInput for an unknown one.
        """
        ...


class Admin:
    """Answers AdminService.

    endpoints: `local` or an address by component name. Addresses and states come from `attach`.
    workers: None where nothing follows the log. counters: what GetStatus tells of.
    """

    def __init__(
        self,
        stores: Stores,
        *,
        endpoints: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        workers: Workers | None = None,
        counters: Counters | None = None,
    ) -> None:
        self._stores = stores
        self._snapshots = SnapshotAdmin(stores)
        self._endpoints = dict(endpoints or {})
        self._started_ns = (clock or SystemClock()).now_ns()
        self._states: States = lambda: ((), {})
        self._workers = workers
        self._counters = counters or Counters()

    def attach(self, states: States) -> None:
        """Take the server's addresses and the states of its names from `states`."""
        self._states = states

    def rpcs(self) -> tuple[Rpc, ...]:
        """All methods, for callers on this machine only."""
        return (
            Rpc(service=SERVICE, method="Backup", stream=self._backup, is_local_only=True),
            Rpc(service=SERVICE, method="GetStatus", unary=self._get_status, is_local_only=True),
            Rpc(service=SERVICE, method="ReplayProjector", stream=self._replay, is_local_only=True),
            Rpc(
                service=SERVICE,
                method="ListSnapshots",
                stream=self._snapshots.list_snapshots,
                is_local_only=True,
            ),
            Rpc(
                service=SERVICE,
                method="DeleteSnapshots",
                unary=self._snapshots.delete_snapshots,
                is_local_only=True,
            ),
        )

    async def _backup(self, request: bytes, _context: CallContext) -> AsyncIterator[bytes]:
        target = Path(_parsed_target(request))
        if not target.is_absolute():
            raise InvalidInput("target", "an absolute path on the server's machine", target)
        last = 0
        async for done, total in _progress(lambda note: self._stores.backup(target, note)):
            last = total
            yield wire.BackupProgress(done_bytes=done, total_bytes=total).SerializeToString()
        complete = wire.BackupProgress(done_bytes=last, total_bytes=last, is_complete=True)
        yield complete.SerializeToString()

    async def _replay(self, request: bytes, _context: CallContext) -> AsyncIterator[bytes]:
        try:
            asked = wire.ReplayProjectorRequest.FromString(request)
        except DecodeError as error:
            raise InvalidInput("request", "a ReplayProjectorRequest", error) from error
        if self._workers is None:
            raise InvalidInput("name", "a projector of this process, which has none", asked.name)
        workers = self._workers
        last = 0
        async for done, total in _progress(
            lambda note: workers.replay(asked.name, publishes=asked.publishes, progress=note)
        ):
            last = total
            yield wire.ReplayProgress(done=done, total=total).SerializeToString()
        yield wire.ReplayProgress(done=last, total=last, is_complete=True).SerializeToString()

    async def _get_status(self, _request: bytes, _context: CallContext) -> bytes:
        facts = self._stores.facts()
        consumers = self._workers.states() if self._workers else dict[str, ConsumerState]()
        addresses, states = self._states()
        started_at = Timestamp()
        started_at.FromNanoseconds(self._started_ns)
        status = wire.ServerStatus(
            version=_version(),
            process_id=os.getpid(),
            started_at=started_at,
            addresses=addresses,
            store=wire.StoreStatus(
                url=facts.url,
                is_durable=facts.is_durable,
                format_version=facts.format_version,
                size_bytes=facts.size_bytes,
                log_head=await self._stores.events.log_head(),
                details=facts.details,
            ),
            components=[
                wire.ComponentStatus(
                    name=name, endpoint=self._endpoints.get(name, "local"), is_serving=is_serving
                )
                for name, is_serving in states.items()
            ],
            consumers=[
                wire.ConsumerStatus(
                    name=name,
                    position=state.position,
                    lag=state.lag,
                    is_leading=state.is_leading,
                    waiting=state.waiting,
                    last_error=state.last_error,
                )
                for name, state in consumers.items()
            ],
            counters=self._counters.values(),
        )
        return status.SerializeToString()


async def _progress(start: Callable[[Note], Awaitable[None]]) -> AsyncIterator[tuple[int, int]]:
    """Run the work; (done, total) as it moves, and once at the end. The reader's end is its end.

    start: is given what to call with (done, total), from any thread.
    """
    loop = asyncio.get_running_loop()
    latest = 0, 0
    moved = asyncio.Event()

    def note(done: int, total: int) -> None:
        nonlocal latest
        latest = done, total
        moved.set()

    def progress(done: int, total: int) -> None:
        loop.call_soon_threadsafe(note, done, total)

    work = asyncio.ensure_future(start(progress))
    work.add_done_callback(lambda _: moved.set())
    try:
        while not work.done():
            await moved.wait()
            moved.clear()
            if not work.done():
                yield latest
        await work
    finally:
        work.cancel()
    await asyncio.sleep(0)  # the last note is on its way through the loop
    yield latest


def _version() -> str:
    try:
        return metadata.version("angzarr")
    except metadata.PackageNotFoundError:
        return "source"  # run from a checkout that is not installed


def _parsed_target(request: bytes) -> str:
    try:
        return wire.BackupRequest.FromString(request).target
    except DecodeError as error:
        raise InvalidInput("request", "a BackupRequest", error) from error
