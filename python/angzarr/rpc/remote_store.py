"""The store of another process of ours: `grpc://HOST:PORT` and `grpc+unix:///PATH` (DEP-11).

All ports of an open store, by calls of the StoreService of the server that has it open. What a
method promises is what it promises there; clock, limits and what is leased to whom are the
server's. Nothing is sent twice: when a connection breaks, StoreUnavailable leaves open whether a
write was done, and whoever wrote asks again by the key that he gave it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from angzarr import wire
from angzarr.cover import Cover, Provenance
from angzarr.errors import StoreUnavailable
from angzarr.ports.clock import Clock
from angzarr.ports.columns import Columns, FieldSpec
from angzarr.ports.dead_letters import DeadLetter
from angzarr.ports.event_store import (
    Accepted,
    Appended,
    Book,
    Decision,
    Dropped,
    Duplicate,
    Limits,
    LogEntry,
    Obligation,
    Participant,
    Pending,
    SnapshotPolicy,
)
from angzarr.ports.stores import StoreFacts
from angzarr.rpc.remote_editions import RemoteEditions
from angzarr.rpc.store_calls import FACTS, changes_to_wire
from angzarr.rpc.store_link import Link
from angzarr.rpc.tls import TlsFiles

POLL_S: Final = 20.0
"""What one call waits for the log to grow; a longer wait is several calls."""
BACKUP: Final = "/angzarr.AdminService/Backup"


def open_stores(path: str, *, sync: bool, limits: Limits, clock: Clock) -> RemoteStores:
    """The store of the server at `path`, `HOST:PORT` or a Unix socket's `/PATH`.

    Connecting begins with the first call. Limits and clock are the server's. Raises InvalidInput
    for something that is no address.
    """
    return RemoteStores(path, sync=sync)


class RemoteStores:
    """All ports over one server.

    sync: False leaves the flush of each append to the server's machine; True leaves it to the
    server's own setting.
    """

    def __init__(self, endpoint: str, *, sync: bool = True, tls: TlsFiles | None = None) -> None:
        self._link = Link(endpoint, tls=tls)
        self._facts = StoreFacts(self._link.url, True, 0, 0, {"server": "not reached yet"})
        self._asking: asyncio.Task[None] | None = None
        self.events = RemoteEvents(self._link, None if sync else False)
        self.snapshots = RemoteSnapshots(self._link)
        self.positions = RemotePositions(self._link)
        self.obligations = RemoteObligations(self._link)
        self.dead_letters = RemoteDeadLetters(self._link)
        self.editions = RemoteEditions(self._link)

    def facts(self) -> StoreFacts:
        """What the server last said; it is asked again meanwhile, for the next time.

        details: `server` is the store's url there, `unreachable` why it did not answer.
        """
        self._link.check()
        if self._asking is None or self._asking.done():
            with contextlib.suppress(RuntimeError):  # where no loop runs, nobody is asked
                loop = asyncio.get_running_loop()
                self._asking = loop.create_task(self._ask_for_later())
        return self._facts

    async def ask_facts(self) -> StoreFacts:
        """What the server says now. Raises StoreUnavailable."""
        try:
            found: StoreFacts = await self._link.ask(FACTS)
        except StoreUnavailable as error:
            details = {**self._facts.details, "unreachable": error.cause}
            self._facts = replace(self._facts, details=details)
            raise
        self._facts = replace(found, url=self._link.url)
        return self._facts

    async def backup(
        self, target: Path, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """As the port says, by the server and on its machine, which has to be this one."""
        request = wire.BackupRequest(target=_absolute(target)).SerializeToString()
        latest = wire.BackupProgress()
        async for data in self._link.stream(BACKUP, request):
            latest = self._progress(data)
            if progress is not None:
                progress(latest.done_bytes, latest.total_bytes)
        if not latest.is_complete:
            raise StoreUnavailable(self._link.url, f"the backup in {target} was ended early")

    async def close(self) -> None:
        """As the port says, here; the server's store stays open."""
        if self._asking is not None:
            self._asking.cancel()
        await self._link.close()

    async def _ask_for_later(self) -> None:
        with contextlib.suppress(StoreUnavailable):  # the facts say so
            await self.ask_facts()

    def _progress(self, data: bytes) -> wire.BackupProgress:
        try:
            return wire.BackupProgress.FromString(data)
        except DecodeError as error:
            raise StoreUnavailable(self._link.url, f"its answer is none: {error}") from error


def _absolute(path: Path) -> str:
    return str(path.absolute())


class RemoteEvents:
    """The event store; its methods are the port's."""

    def __init__(self, link: Link, sync: bool | None) -> None:
        self._ask = link.ask
        self._ask_in_turn = link.ask_in_turn
        self._ask_waiting = link.ask_waiting
        self._sync = sync

    async def append(
        self,
        cover: Cover,
        expected_sequence: int,
        pages: Sequence[bytes],
        *,
        divergence: int | None = None,
        snapshot: bytes | None = None,
        snapshot_policy: SnapshotPolicy = SnapshotPolicy(),
        cascade_id: str = "",
        provenance: Provenance | None = None,
        external_id: str = "",
        answer: bytes = b"",
        obligations: Sequence[Obligation | Dropped] = (),
        sync: bool | None = None,
    ) -> Appended | Duplicate:
        first, last, is_duplicate = await self._ask_in_turn(
            cover.stream,
            "events.append",
            cover,
            expected_sequence,
            pages,
            divergence=divergence,
            snapshot=snapshot,
            snapshot_policy=snapshot_policy,
            cascade_id=cascade_id,
            provenance=provenance,
            external_id=external_id,
            answer=answer,
            obligations=changes_to_wire(obligations) if obligations else (),
            sync=self._sync if sync is None else sync,
        )
        return Duplicate(first, last) if is_duplicate else Appended(first, last)

    async def load(
        self,
        cover: Cover,
        *,
        start: int = 0,
        stop: int | None = None,
        divergence: int | None = None,
    ) -> Book:
        return await self._ask("events.load", cover, start=start, stop=stop, divergence=divergence)

    async def load_until(
        self, cover: Cover, time_ns: int, *, divergence: int | None = None
    ) -> Book:
        return await self._ask("events.load_until", cover, time_ns, divergence=divergence)

    async def load_latest(self, cover: Cover, *, divergence: int | None = None) -> Book:
        return await self._ask("events.load_latest", cover, divergence=divergence)

    async def next_sequence(self, cover: Cover, *, divergence: int | None = None) -> int:
        return await self._ask("events.next_sequence", cover, divergence=divergence)

    async def length_at(self, cover: Cover, position: int, *, divergence: int | None = None) -> int:
        return await self._ask("events.length_at", cover, position, divergence=divergence)

    async def divergence(self, cover: Cover) -> int | None:
        return await self._ask("events.divergence", cover)

    async def pending(self, cover: Cover) -> list[Pending]:
        return await self._ask("events.pending", cover)

    async def roots(self, domain: str, edition: str = "") -> list[bytes]:
        return await self._ask("events.roots", domain, edition)

    async def domains(self) -> list[str]:
        return await self._ask("events.domains")

    async def editions(self, domain: str) -> list[str]:
        return await self._ask("events.editions", domain)

    async def by_correlation(
        self, correlation_id: str, *, domain: str | None = None, edition: str | None = None
    ) -> list[Book]:
        return await self._ask(
            "events.by_correlation", correlation_id, domain=domain, edition=edition
        )

    async def find_by_provenance(self, cover: Cover, provenance: Provenance) -> Accepted | None:
        return await self._ask("events.find_by_provenance", cover, provenance)

    async def find_by_external_id(self, cover: Cover, external_id: str) -> Accepted | None:
        return await self._ask("events.find_by_external_id", cover, external_id)

    async def delete_edition(self, domain: str, edition: str) -> int:
        return await self._ask("events.delete_edition", domain, edition)

    async def query_stale_cascades(self, before_ns: int) -> list[str]:
        return await self._ask("events.query_stale_cascades", before_ns)

    async def query_unfinished_cascades(self) -> list[str]:
        return await self._ask("events.query_unfinished_cascades")

    async def query_cascade_participants(self, cascade_id: str) -> list[Participant]:
        return await self._ask("events.query_cascade_participants", cascade_id)

    async def decide_cascade(self, cascade_id: str, outcome: str, reason: str = "") -> Decision:
        return await self._ask("events.decide_cascade", cascade_id, outcome, reason)

    async def decision(self, cascade_id: str) -> Decision | None:
        return await self._ask("events.decision", cascade_id)

    async def resolve_cascade(self, cover: Cover, cascade_id: str) -> bytes | None:
        return await self._ask("events.resolve_cascade", cover, cascade_id)

    async def tail(self, after: int, *, limit: int = 256, wait_s: float = 0.0) -> list[LogEntry]:
        if wait_s <= 0.0:
            return await self._ask("events.tail", after, limit=limit)
        deadline = time.monotonic() + wait_s
        while True:
            left_s = max(deadline - time.monotonic(), 0.0)
            entries: list[LogEntry] = await self._ask_waiting(
                "events.tail", after, limit=limit, wait_s=min(left_s, POLL_S)
            )
            if entries or not left_s:
                return entries

    async def log_head(self) -> int:
        return await self._ask("events.log_head")

    async def scan(
        self,
        after: int,
        *,
        limit: int = 65_536,
        editions: Sequence[str] | None = None,
        domains: Sequence[str] | None = None,
        fields: Sequence[FieldSpec] = (),
    ) -> Columns:
        return await self._ask(
            "events.scan", after, limit=limit, editions=editions, domains=domains, fields=fields
        )


class RemoteSnapshots:
    """The snapshot store; its methods are the port's."""

    def __init__(self, link: Link) -> None:
        self._ask = link.ask

    async def get(self, cover: Cover) -> bytes | None:
        return await self._ask("snapshots.get", cover)

    async def get_at(self, cover: Cover, sequence: int) -> bytes | None:
        return await self._ask("snapshots.get_at", cover, sequence)

    async def put(
        self, cover: Cover, snapshot: bytes, policy: SnapshotPolicy = SnapshotPolicy()
    ) -> None:
        await self._ask("snapshots.put", cover, snapshot, policy)

    async def delete(self, cover: Cover) -> int:
        return await self._ask("snapshots.delete", cover)

    async def delete_all(self, domain: str, edition: str | None = None) -> int:
        return await self._ask("snapshots.delete_all", domain, edition)


class RemotePositions:
    """The position store; its methods are the port's."""

    def __init__(self, link: Link) -> None:
        self._ask = link.ask

    async def get(self, consumer: str, cover: Cover) -> int | None:
        return await self._ask("positions.get", consumer, cover)

    async def put(self, consumer: str, cover: Cover, sequence: int) -> int:
        return await self._ask("positions.put", consumer, cover, sequence)

    async def cursor(self, consumer: str) -> int | None:
        return await self._ask("positions.cursor", consumer)

    async def put_cursor(self, consumer: str, position: int) -> int:
        return await self._ask("positions.put_cursor", consumer, position)

    async def reset(self, consumer: str) -> None:
        await self._ask("positions.reset", consumer)

    async def lease(self, consumer: str, partition: int, holder: str, ttl_s: float) -> bool:
        return await self._ask("positions.lease", consumer, partition, holder, ttl_s)


class RemoteObligations:
    """The obligation store; its methods are the port's."""

    def __init__(self, link: Link) -> None:
        self._ask = link.ask

    async def put(self, obligation: Obligation) -> None:
        await self._ask("obligations.put", obligation)

    async def get(self, obligation_id: str) -> Obligation | None:
        return await self._ask("obligations.get", obligation_id)

    async def due(
        self,
        now_ns: int,
        *,
        limit: int = 64,
        lease_s: float = 30.0,
        kinds: Collection[str] | None = None,
    ) -> list[Obligation]:
        return await self._ask("obligations.due", now_ns, limit=limit, lease_s=lease_s, kinds=kinds)

    async def next_due(self, *, kinds: Collection[str] | None = None) -> int | None:
        return await self._ask("obligations.next_due", kinds=kinds)

    async def renew(self, obligation_id: str, until_ns: int) -> None:
        await self._ask("obligations.renew", obligation_id, until_ns)

    async def retry(
        self,
        obligation_id: str,
        due_ns: int,
        error: str,
        *,
        seen: Obligation | None = None,
        is_counted: bool = True,
    ) -> None:
        await self._ask(
            "obligations.retry", obligation_id, due_ns, error, seen=seen, is_counted=is_counted
        )

    async def close(self, obligation_id: str, *, seen: Obligation | None = None) -> None:
        await self._ask("obligations.close", obligation_id, seen=seen)


class RemoteDeadLetters:
    """The dead letter queue; its methods are the port's."""

    def __init__(self, link: Link) -> None:
        self._ask = link.ask

    async def put(self, letter: bytes) -> str:
        return await self._ask("dead_letters.put", letter)

    async def list(self, *, before: str | None = None, limit: int = 50) -> list[DeadLetter]:
        return await self._ask("dead_letters.list", before=before, limit=limit)

    async def get(self, letter_id: str) -> DeadLetter | None:
        return await self._ask("dead_letters.get", letter_id)

    async def delete(self, letter_id: str) -> bool:
        return await self._ask("dead_letters.delete", letter_id)

    async def count_replay(self, letter_id: str) -> int | None:
        return await self._ask("dead_letters.count_replay", letter_id)
