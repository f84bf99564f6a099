"""Reads: one book, several books of a long stream, and which aggregates there are (QRY-1 to
QRY-16).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace

from angzarr import wire
from angzarr.coordinators import books, selection, validate
from angzarr.coordinators.options import QueryOptions
from angzarr.coordinators.pipeline import storing
from angzarr.coordinators.selection import Chosen
from angzarr.coordinators.views import Views
from angzarr.cover import ROOT_BYTES, Cover
from angzarr.errors import InvalidInput, NotPermitted, TooLarge
from angzarr.ports.components import CallContext, Upcaster
from angzarr.ports.event_store import Book, EventStore

RAW = "angzarr-raw"
_NO_COVER = "Query must have a cover with domain/root or correlation_id"


@dataclass(frozen=True, slots=True)
class _Request:
    """A checked query. chosen None: all pages."""

    cover: Cover
    is_edition_given: bool
    divergence: int | None
    chosen: Chosen | None
    is_raw: bool
    context: CallContext


class QueryCoordinator:
    """Serves EventQueryService over an event store; encoded messages in and out."""

    def __init__(
        self,
        events: EventStore,
        *,
        upcasters: Mapping[str, Upcaster] | None = None,
        options: QueryOptions | None = None,
    ) -> None:
        self._events = events
        self._upcasters = upcasters or {}
        self._views = Views(events, self._upcasters)
        self._options = options or QueryOptions()

    async def get_event_book(self, request: bytes, context: CallContext) -> bytes:
        """Query → EventBook. Raises InvalidInput, NotPermitted, TooLarge, StorageFailed."""
        wanted = self._read(request, context)
        if wanted.cover.correlation_id:
            found = await self._correlated(wanted)
            data = await self._correlated_book(found[0], wanted) if found else b""
        else:
            data = await self._stream_book(await self._placed(wanted))
        limit = self._options.message_size_bytes
        if len(data) > limit:
            raise TooLarge(
                "EventBook",
                f"at most {limit} bytes",
                f"{len(data)} bytes",
                f"EventBook of {len(data)} bytes exceeds the message limit of {limit} bytes; "
                "read it with GetEvents, which splits long streams",
            )
        return data

    async def get_events(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]:
        """Query → EventBooks; a long stream comes in several (QRY-11)."""
        wanted = self._read(request, context)
        if wanted.cover.correlation_id:
            for found in await self._correlated(wanted):
                for book in self._split(await self._correlated_book(found, wanted)):
                    yield book
            return
        wanted = await self._placed(wanted)
        if wanted.chosen is None or wanted.chosen.is_range:
            async for book in self._stream_books(wanted):
                yield book
        else:
            for book in self._split(await self._stream_book(wanted)):
                yield book

    async def synchronize(
        self, requests: AsyncIterator[bytes], context: CallContext
    ) -> AsyncIterator[bytes]:
        """Queries → an EventBook for each, in order, as get_event_book; the first error ends it
        (QRY-12).
        """
        async for request in requests:
            yield await self.get_event_book(request, context)

    async def get_aggregate_roots(self, context: CallContext) -> AsyncIterator[bytes]:
        """AggregateRoots with pages on main, by domain, then root (QRY-14)."""
        with storing("read domains"):
            domains = await self._events.domains()
        for domain in domains:
            if domain.startswith("_"):
                continue
            with storing(f"read roots of {domain}"):
                roots = await self._events.roots(domain)
            for root in roots:
                yield wire.AggregateRoot(
                    domain=domain, root=wire.UUID(value=root)
                ).SerializeToString()

    def _read(self, request: bytes, context: CallContext) -> _Request:
        query = books.parse(wire.Query, request)
        cover = validate.partial_cover(query.cover)
        is_addressed = bool(cover.domain) and len(cover.root) == ROOT_BYTES
        if not cover.correlation_id and not is_addressed:
            raise InvalidInput("cover", "domain and root, or correlation_id", cover, _NO_COVER)
        is_raw = context.metadata.get(RAW) in ("1", b"1")
        if is_raw and not self._options.allow_raw:
            raise NotPermitted(f"{RAW} is not served; set query.allow_raw = true to allow it")
        return _Request(
            cover,
            bool(query.cover.edition.name),
            validate.divergence(query.cover),
            selection.chosen(query),
            is_raw,
            context,
        )

    async def _placed(self, wanted: _Request) -> _Request:
        """The request with a position of the log as the sequence it comes to (QRY-16)."""
        chosen = wanted.chosen
        if chosen is None or chosen.position is None:
            return wanted
        with storing("read events"):
            stop = await self._events.length_at(
                wanted.cover, chosen.position, divergence=wanted.divergence
            )
        return replace(wanted, chosen=Chosen(stop=stop))

    async def _stream_book(self, wanted: _Request) -> bytes:
        cover, divergence, chosen = wanted.cover, wanted.divergence, wanted.chosen
        if chosen is not None and chosen.values is not None:
            return await self._chosen_book(wanted, chosen)
        with storing("read events"):
            if chosen is None:
                book = await self._events.load(cover, divergence=divergence)
            elif chosen.until_ns is not None:
                book = await self._events.load_until(cover, chosen.until_ns, divergence=divergence)
            else:
                book = await self._events.load(
                    cover, start=chosen.start, stop=chosen.stop, divergence=divergence
                )
            return await self._shown(book, wanted)

    async def _chosen_book(self, wanted: _Request, chosen: Chosen) -> bytes:
        """A book of exactly the chosen sequences, read in few stretches (QRY-7)."""
        found = wire.EventBook()
        with storing("read events"):
            for start, stop in selection.stretches(chosen.values or ()):
                part = await self._events.load(
                    wanted.cover, start=start, stop=stop, divergence=wanted.divergence
                )
                shown = wire.EventBook.FromString(await self._shown(part, wanted))
                found.pages.extend(selection.apply(chosen, shown.pages))
                if stop >= part.next_sequence:
                    break
        return _partial(wanted.cover, books.encoded(found.pages), found)

    async def _stream_books(self, wanted: _Request) -> AsyncIterator[bytes]:
        """All pages, or a range of them, in books of a bounded number of pages; the end is where it
        was at first.
        """
        chosen, limit = wanted.chosen, self._options.query_result_limit
        start, stop = (chosen.start, chosen.stop) if chosen else (0, None)
        is_first = True
        while is_first or (stop is not None and start < stop):
            with storing("read events"):
                book = await self._events.load(
                    wanted.cover,
                    start=start,
                    stop=start + limit if stop is None else max(start, min(stop, start + limit)),
                    divergence=wanted.divergence,
                )
                data = await self._shown(book, wanted)
            if is_first:
                stop = book.next_sequence if stop is None else min(stop, book.next_sequence)
                is_first = False
            for part in self._split(data):
                yield part
            start += limit

    async def _correlated(self, wanted: _Request) -> list[Book]:
        """The matching streams' books (QRY-1)."""
        cover = wanted.cover
        with storing("read events"):
            found = await self._events.by_correlation(
                cover.correlation_id,
                domain=cover.domain or None,
                edition=cover.edition if wanted.is_edition_given else None,
            )
        if not cover.root:
            return found
        return [book for book in found if _root_of(book) == cover.root]

    async def _correlated_book(self, book: Book, wanted: _Request) -> bytes:
        message = wire.EventBook.FromString(book.data)
        cover = books.cover_of(message.cover)
        with storing("read events"):
            data = await self._shown(book, replace(wanted, cover=cover))
        placed = await self._placed(replace(wanted, cover=cover, divergence=None))
        if placed.chosen is None:
            return data
        shown = wire.EventBook.FromString(data)
        pages = selection.apply(placed.chosen, shown.pages)
        part = wire.EventBook(pages=pages)
        return _partial(cover, books.encoded(pages), part)

    async def _shown(self, book: Book, wanted: _Request) -> bytes:
        if wanted.is_raw:
            return book.data
        return (await self._views.of(book, wanted.cover, wanted.context)).data

    def _split(self, data: bytes) -> list[bytes]:
        """The book in parts within the limits of pages and of half a message, each with its cover
        (QRY-11).
        """
        count_max = self._options.query_result_limit
        bytes_max = self._options.message_size_bytes // 2
        message = wire.EventBook.FromString(data) if data else wire.EventBook()
        if len(data) <= bytes_max and len(message.pages) <= count_max:
            return [data]
        cover = books.cover_of(message.cover)
        overhead = len(books.book_bytes(cover, (), next_sequence=2**32 - 1))
        parts: list[bytes] = []
        taken: list[bytes] = []
        size = overhead
        for page in message.pages:
            encoded = page.SerializeToString(deterministic=True)
            framed = len(books.frame(books.TAG_3, encoded))
            if taken and (len(taken) == count_max or size + framed > bytes_max):
                parts.append(books.book_bytes(cover, taken, next_sequence=page.header.sequence))
                taken, size = [], overhead
            taken.append(encoded)
            size += framed
        parts.append(books.book_bytes(cover, taken, next_sequence=message.next_sequence))
        return parts


def _partial(cover: Cover, pages: list[bytes], message: wire.EventBook) -> bytes:
    """A book of selected pages: its next_sequence follows the last one, 0 without any (QRY-9)."""
    following = message.pages[-1].header.sequence + 1 if pages else 0
    return books.book_bytes(cover, pages, next_sequence=following)


def _root_of(book: Book) -> bytes:
    return wire.EventBook.FromString(book.data).cover.root.value
