"""The edition store over the native engine."""

from __future__ import annotations

from angzarr._native import Change
from angzarr.cover import MAIN
from angzarr.ports.edition_store import Branch, EditionRecord, Usage
from angzarr.stores._declared import check_name, check_numbers
from angzarr.stores._rocksdb_engine import Engine


class RocksEditions:
    """The edition store; its methods are the port's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._native = engine.native

    async def declare(
        self,
        name: str,
        *,
        parent: str = MAIN,
        expires_at_ns: int = 0,
        max_pages: int = 0,
        max_bytes: int = 0,
    ) -> EditionRecord:
        now_ns = self._engine.now_ns()
        wanted = EditionRecord(name, parent or MAIN, now_ns, expires_at_ns, max_pages, max_bytes)
        check_name(name)
        check_numbers(wanted)  # the engine takes none that are negative or too large
        change = Change.declare_edition(
            name, wanted.parent, now_ns, expires_at_ns, max_pages, max_bytes
        )
        return EditionRecord(*await self._engine.write(change))

    async def get(self, name: str) -> EditionRecord | None:
        found = self._native.edition(name)
        return EditionRecord(*found) if found else None

    async def list(self) -> list[EditionRecord]:
        found = await self._engine.in_thread(self._native.declared)
        return [EditionRecord(*record) for record in found]

    async def forget(self, name: str) -> bool:
        return await self._engine.write(Change.forget_edition(name))

    async def usage(self, name: str) -> Usage:
        return Usage(*await self._engine.in_thread(self._native.usage, name or MAIN))

    async def branches(
        self, domain: str, edition: str = "", *, after: bytes = b"", limit: int = 1_000
    ) -> list[Branch]:
        edition = edition or MAIN
        found = await self._engine.in_thread(self._native.branches, domain, edition, after, limit)
        return [Branch(*branch) for branch in found]
