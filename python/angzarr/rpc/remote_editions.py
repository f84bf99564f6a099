"""The edition store of another process (see `remote_store`)."""

from __future__ import annotations

from angzarr.cover import MAIN
from angzarr.ports.edition_store import Branch, EditionRecord, Usage
from angzarr.rpc.store_link import Link


class RemoteEditions:
    """The edition store; its methods are the port's."""

    def __init__(self, link: Link) -> None:
        self._ask = link.ask

    async def declare(
        self,
        name: str,
        *,
        parent: str = MAIN,
        expires_at_ns: int = 0,
        max_pages: int = 0,
        max_bytes: int = 0,
    ) -> EditionRecord:
        return await self._ask(
            "editions.declare",
            name,
            parent=parent,
            expires_at_ns=expires_at_ns,
            max_pages=max_pages,
            max_bytes=max_bytes,
        )

    async def get(self, name: str) -> EditionRecord | None:
        return await self._ask("editions.get", name)

    async def list(self) -> list[EditionRecord]:
        return await self._ask("editions.list")

    async def forget(self, name: str) -> bool:
        return await self._ask("editions.forget", name)

    async def usage(self, name: str) -> Usage:
        return await self._ask("editions.usage", name)

    async def branches(
        self, domain: str, edition: str = "", *, after: bytes = b"", limit: int = 1_000
    ) -> list[Branch]:
        return await self._ask("editions.branches", domain, edition, after=after, limit=limit)
