"""Books as sagas and process managers see them: upcast, and what of it they subscribed (UPC-2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from angzarr import wire
from angzarr.coordinators import books
from angzarr.coordinators.subscriptions import Filter, matches_domain
from angzarr.coordinators.views import Views
from angzarr.ports.components import CallContext, KnownUpcaster, Subscription, Upcaster
from angzarr.ports.event_store import Book, EventStore


@dataclass(frozen=True, slots=True)
class Seen:
    """A book encoded and parsed."""

    data: bytes
    message: wire.EventBook


class Seeing:
    """Makes what one reaction sees. subscriptions: its own, of current types."""

    def __init__(
        self,
        subscriptions: tuple[Subscription, ...],
        events: EventStore,
        upcasters: Mapping[str, Upcaster],
    ) -> None:
        self._filter = Filter(subscriptions)
        self._upcasters = upcasters
        self._views = Views(events, upcasters)
        self.subscriptions = widened(subscriptions, upcasters)

    async def of(self, book: Seen, context: CallContext) -> Seen | None:
        """The book upcast, without the user's pages of which nothing came that is subscribed; None
        without any. Raises UpcasterFailed.

        In domains without upcasters it is the book, which holds nothing else. Framework pages stay:
        a fired timer is nobody's subscription.
        """
        cover = books.cover_of(book.message.cover)
        if cover.domain not in self._upcasters:
            return book
        stored = Book(book.data, book.message.next_sequence, is_plain=True)
        message = (await self._views.of(stored, cover, context)).message
        wanted = self._wanted(message)
        if not wanted:
            return None
        if len(wanted) < len(message.pages):
            kept = wire.EventBook(cover=message.cover, pages=wanted)
            kept.next_sequence = (wanted[-1].header.sequence + 1) & books.UINT32_MASK  # WIRE-9
            message = kept
        return Seen(message.SerializeToString(deterministic=True), message)

    def _wanted(self, book: wire.EventBook) -> list[wire.EventPage]:
        subscribed = {id(page) for page in self._filter.pages(book.cover.domain, book.pages)}
        return [
            page
            for page in book.pages
            if id(page) in subscribed or books.is_framework(page.event.type_url)
        ]


def widened(
    subscriptions: tuple[Subscription, ...], upcasters: Mapping[str, Upcaster]
) -> tuple[Subscription, ...]:
    """The subscriptions, and beside them the stored types that upcasters may make subscribed ones
    of: those that an upcaster takes, where that can be told, else all of its domain.
    """
    more: list[Subscription] = []
    for domain, upcaster in upcasters.items():
        if any(item.types and matches_domain(item.domain, domain) for item in subscriptions):
            taken = upcaster.takes if isinstance(upcaster, KnownUpcaster) else ()
            more.append(Subscription(domain, taken))
    return (*subscriptions, *more)
