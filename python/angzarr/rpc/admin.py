"""AdminService: backups of the open store, facts about the server; for callers on this machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from angzarr import wire
from angzarr.errors import InvalidInput
from angzarr.ports.clock import Clock, SystemClock
from angzarr.ports.components import CallContext
from angzarr.ports.stores import Stores
from angzarr.rpc.services import Rpc

SERVICE: Final = "angzarr.AdminService"

States = Callable[[], tuple[Sequence[str], Mapping[str, bool]]]


class Admin:
    """Answers AdminService.

    endpoints: `local` or an address by component name. Addresses and states come from `attach`.
    """

    def __init__(
        self,
        stores: Stores,
        *,
        endpoints: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._stores = stores
        self._endpoints = dict(endpoints or {})
        self._started_ns = (clock or SystemClock()).now_ns()
        self._states: States = lambda: ((), {})

    def attach(self, states: States) -> None:
        """Take the server's addresses and the states of its names from `states`."""
        self._states = states

    def rpcs(self) -> tuple[Rpc, ...]:
        """Backup and GetStatus, both for callers on this machine only."""
        return (
            Rpc(service=SERVICE, method="Backup", stream=self._backup, is_local_only=True),
            Rpc(service=SERVICE, method="GetStatus", unary=self._get_status, is_local_only=True),
        )

    async def _backup(self, request: bytes, _context: CallContext) -> AsyncIterator[bytes]:
        target = Path(_parsed_target(request))
        if not target.is_absolute():
            raise InvalidInput("target", "an absolute path on the server's machine", target)
        loop = asyncio.get_running_loop()
        latest = wire.BackupProgress()
        moved = asyncio.Event()

        def note(done_bytes: int, total_bytes: int) -> None:
            latest.done_bytes, latest.total_bytes = done_bytes, total_bytes
            moved.set()

        def progress(done_bytes: int, total_bytes: int) -> None:
            loop.call_soon_threadsafe(note, done_bytes, total_bytes)

        work = asyncio.ensure_future(self._stores.backup(target, progress))
        work.add_done_callback(lambda _: moved.set())
        try:
            while not work.done():
                await moved.wait()
                moved.clear()
                if not work.done():
                    yield latest.SerializeToString()
            await work
        finally:
            work.cancel()
        latest.is_complete = True
        latest.done_bytes = max(latest.done_bytes, latest.total_bytes)
        yield latest.SerializeToString()

    async def _get_status(self, _request: bytes, _context: CallContext) -> bytes:
        facts = self._stores.facts()
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
        )
        return status.SerializeToString()


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
