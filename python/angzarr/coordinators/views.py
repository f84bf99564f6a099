"""What readers see of stored books: the visibility transform, then upcasting (CAS-8, UPC-2 to
UPC-4).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Final

from google.protobuf.message import DecodeError

from angzarr import wire
from angzarr.coordinators import books, visibility
from angzarr.cover import Cover
from angzarr.errors import AngzarrError, UpcasterFailed
from angzarr.ports.components import CallContext, Upcaster
from angzarr.ports.event_store import Book, EventStore

DECISIONS_KEPT: Final = 4096
"""Decisions never change, so those seen are kept, up to this many."""


class View:
    """A book as its reader sees it.

    data: encoded, changed where transform or upcasting did. stored: as the store gave it.
    next_sequence: the stream's. is_plain: no page of a cascade and no framework event is in it.
    """

    __slots__ = ("_message", "data", "is_plain", "next_sequence", "stored")

    def __init__(self, book: Book, message: wire.EventBook | None = None) -> None:
        self.stored = book.data
        self.next_sequence = book.next_sequence
        self.is_plain = book.is_plain
        self._message = message
        self.data = book.data if message is None else message.SerializeToString(deterministic=True)

    @property
    def message(self) -> wire.EventBook:
        """`data` parsed, once, and only if it is asked for."""
        if self._message is None:
            self._message = wire.EventBook.FromString(self.data)
        return self._message


class Views:
    """Makes views of an event store's books."""

    def __init__(self, events: EventStore, upcasters: Mapping[str, Upcaster]) -> None:
        self._events = events
        self._upcasters = upcasters
        self._outcomes: dict[str, str] = {}

    async def of(
        self, book: Book, cover: Cover, context: CallContext, *, own: Collection[str] = ()
    ) -> View:
        """The view of a book of the stream of `cover`; pending pages of the cascades in `own`
        count. Raises UpcasterFailed, and what the store raises.
        """
        upcaster = self._upcasters.get(cover.domain)
        if book.is_plain and upcaster is None:
            return View(book)
        message = wire.EventBook.FromString(book.data)
        if not book.is_plain:
            outcomes = await self.outcomes(visibility.cascade_ids(message.pages))
            visibility.transform(message.pages, outcomes, own=own)
        if upcaster is not None:
            await _upcast(upcaster, cover.domain, message, context)
        return View(book, message)

    async def outcomes(self, cascade_ids: set[str]) -> dict[str, str]:
        """COMMIT or ROLLBACK of those that are decided."""
        found: dict[str, str] = {}
        for cascade_id in cascade_ids:
            outcome = self._outcomes.get(cascade_id)
            if outcome is None:
                decision = await self._events.decision(cascade_id)
                if decision is None:
                    continue
                outcome = decision.outcome
                if len(self._outcomes) >= DECISIONS_KEPT:
                    self._outcomes.pop(next(iter(self._outcomes)))
                self._outcomes[cascade_id] = outcome
            found[cascade_id] = outcome
        return found


async def _upcast(
    upcaster: Upcaster, domain: str, book: wire.EventBook, context: CallContext
) -> None:
    """Replace the payloads of the user's visible pages by what the upcaster makes of them."""
    pages = [page for page in book.pages if not books.is_framework(page.event.type_url)]
    if not pages:
        return
    request = wire.UpcastRequest(domain=domain, events=pages).SerializeToString()
    try:
        answer = wire.UpcastResponse.FromString(await upcaster.upcast(request, context))
    except asyncio.CancelledError:
        raise
    except (AngzarrError, DecodeError) as error:
        raise UpcasterFailed(domain, str(error)) from error
    if len(answer.events) != len(pages):
        raise UpcasterFailed(domain, f"sent {len(pages)} pages, got {len(answer.events)}")
    for page, lifted in zip(pages, answer.events, strict=True):
        # Whatever else came back, only the payload is taken (UPC-4).
        page.ClearField("payload")
        if lifted.HasField("event"):
            page.event.CopyFrom(lifted.event)
        elif lifted.HasField("external"):
            page.external.CopyFrom(lifted.external)
