"""What an edition reads through: its parents, and from where on its streams differ (EDN-21)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from angzarr import wire
from angzarr.cover import MAIN, Cover
from angzarr.errors import CorruptData
from angzarr.ports.edition_store import EDITION_DEPTH_MAX, Branch
from angzarr.ports.stores import Stores

PAGES_AT_ONCE: Final = 1_000


class Lineage:
    """Answers over the stores; nothing is kept, since editions come and go."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._events = stores.events

    async def chain(self, edition: str) -> list[str]:
        """The edition, its parent and so on, main last."""
        chain = [edition]
        while chain[-1] != MAIN:
            if len(chain) > EDITION_DEPTH_MAX:
                raise CorruptData(f"edition {edition}", f"parents {chain}", "a chain to main")
            record = await self._stores.editions.get(chain[-1])
            chain.append(record.parent if record else MAIN)
        return chain

    async def branches(self, domain: str, edition: str) -> AsyncIterator[Branch]:
        """All streams with pages on exactly this edition, roots ascending."""
        after = b""
        while True:
            found = await self._stores.editions.branches(
                domain, edition, after=after, limit=PAGES_AT_ONCE
            )
            for branch in found:
                yield branch
            if len(found) < PAGES_AT_ONCE:
                return
            after = found[-1].root

    async def first_pin(self, chain: Sequence[str], domain: str, root: bytes) -> int | None:
        """The lowest sequence at which any edition of the chain left its base; None where none has
        pages of the stream. Below it all of them read main.

        What a branch inherits is what its parents had when it began (EDN-21), so it may be that it
        reads main for longer.
        """
        pins = [
            pin
            for edition in chain
            if edition != MAIN
            and (pin := await self._events.divergence(Cover(domain, root, edition))) is not None
        ]
        return min(pins, default=None)

    async def left_main(self, cover: Cover, pin: int) -> int:
        """The first sequence at which the branch `cover`, which is pinned at `pin`, does not read
        main."""
        chain = await self.chain(cover.edition)
        if chain[1] == MAIN:
            return pin
        start = await self.first_pin(chain, cover.domain, cover.root)
        assert start is not None, "the branch itself has one"
        while start < pin:
            stop = min(start + PAGES_AT_ONCE, pin)
            ours = await self._stored(cover, start, stop)
            mains = await self._stored(cover.on(MAIN), start, stop)
            for sequence in range(start, stop):
                page = mains.get(sequence)
                if page is None or page != ours.get(sequence):
                    return sequence
            start = stop
        return pin

    async def inherited(
        self, cover: Cover, pages: Sequence[wire.EventPage]
    ) -> list[wire.EventPage]:
        """Those of the pages that the branch `cover` reads; they are stored ones, ascending, of an
        edition that it may read through."""
        if not pages:
            return []
        first, last = pages[0].header.sequence, pages[-1].header.sequence
        ours = await self._stored(cover, first, last + 1)
        return [page for page in pages if page == ours.get(page.header.sequence)]

    async def _stored(self, cover: Cover, start: int, stop: int) -> dict[int, wire.EventPage]:
        book = await self._events.load(cover, start=start, stop=stop)
        message = wire.EventBook.FromString(book.data)
        return {page.header.sequence: page for page in message.pages}
