"""Snapshots as an administrator sees them: which there are, and away with them (SNAP-12)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from angzarr import wire
from angzarr.coordinators import books, validate
from angzarr.coordinators.pipeline import storing
from angzarr.cover import ROOT_BYTES, Cover
from angzarr.errors import InvalidInput
from angzarr.ports.components import CallContext
from angzarr.ports.stores import Stores


class SnapshotAdmin:
    """Encoded messages in and out, over a store."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def list_snapshots(self, request: bytes, _context: CallContext) -> AsyncIterator[bytes]:
        """SnapshotsRequest → SnapshotEntries by edition, root and sequence. Raises InvalidInput."""
        asked = _read(request)
        for edition in await self._editions(asked):
            with storing("read roots"):
                roots = await self._roots(asked, edition)
            for root in roots:
                for entry in await self._entries(Cover(asked.domain, root, edition)):
                    yield entry.SerializeToString()

    async def delete_snapshots(self, request: bytes, _context: CallContext) -> bytes:
        """SnapshotsRequest → DeleteSnapshotsResponse. Raises InvalidInput."""
        asked = _read(request)
        snapshots, root = self._stores.snapshots, asked.root.value
        with storing("delete snapshots"):
            if not root:
                deleted = await snapshots.delete_all(asked.domain, asked.edition or None)
            else:
                deleted = 0
                for edition in await self._editions(asked):
                    deleted += await snapshots.delete(Cover(asked.domain, root, edition))
        return wire.DeleteSnapshotsResponse(deleted=deleted).SerializeToString()

    async def _editions(self, asked: wire.SnapshotsRequest) -> Iterable[str]:
        if asked.edition:
            return (asked.edition,)
        with storing("read editions"):
            return await self._stores.events.editions(asked.domain)

    async def _roots(self, asked: wire.SnapshotsRequest, edition: str) -> Iterable[bytes]:
        if asked.root.value:
            return (asked.root.value,)
        return await self._stores.events.roots(asked.domain, edition)

    async def _entries(self, cover: Cover) -> list[wire.SnapshotEntry]:
        """Those of one stream, ascending; the port tells of them from the newest on."""
        found: list[wire.SnapshotEntry] = []
        with storing("read snapshots"):
            data = await self._stores.snapshots.get(cover)
            while data is not None:
                snapshot = wire.Snapshot.FromString(data)
                entry = wire.SnapshotEntry(
                    sequence=snapshot.sequence,
                    retention=snapshot.retention,
                    type=books.full_name(snapshot.state.type_url),
                    size_bytes=len(data),
                )
                entry.cover.ParseFromString(books.cover_bytes(cover))
                found.insert(0, entry)
                if not snapshot.sequence:
                    break
                data = await self._stores.snapshots.get_at(cover, snapshot.sequence - 1)
        return found


def _read(request: bytes) -> wire.SnapshotsRequest:
    asked = books.parse(wire.SnapshotsRequest, request)
    validate.domain(asked.domain, "domain")
    if asked.edition:
        validate.edition(asked.edition, "edition")
    if len(asked.root.value) not in (0, ROOT_BYTES):
        raise InvalidInput("root", f"{ROOT_BYTES} bytes", f"{len(asked.root.value)} bytes")
    return asked
