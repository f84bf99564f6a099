"""A projector class behind the Projector port, in this process."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any as Untyped
from typing import Final

from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError

from angzarr import codec, wire
from angzarr.codec import Payload
from angzarr.cover import Cover
from angzarr.errors import AngzarrError, CorruptData, HandlerFailed, InvalidInput, RemoteError
from angzarr.handlers.projector import Projector
from angzarr.handlers.projector_table import EventMethod
from angzarr.handlers.trigger import cover_of, trigger_at
from angzarr.ports.components import CallContext, Subscription
from angzarr.ports.read_store import ReadStore

SEEN_TYPE_URLS_MAX: Final = 1024
"""Type URLs remembered a domain; facts of a peer may carry any number of them."""

_Entry = tuple[Callable[[bytes], object], Callable[..., Untyped], EventMethod]


class LocalProjector:
    """Runs a projector's methods: ports.components.Projector, and StoredProjector where it has a
    read store."""

    def __init__(self, cls: type[Projector]) -> None:
        self.table = cls.projector_table()
        self._projector = cls()
        self._by_domain: dict[str, _Methods] = {}

    @property
    def name(self) -> str:
        """`projector:<name>`."""
        return self.table.component

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """Its sources, with the types that it has methods for."""
        return self.table.subscriptions()

    @property
    def editions(self) -> tuple[str, ...] | None:
        """Editions that it is fed; None is every one."""
        return self.table.editions

    @property
    def is_synchronous(self) -> bool:
        """Whether SIMPLE and CASCADE requests wait for it."""
        return self.table.is_synchronous

    @property
    def read_store(self) -> ReadStore[object] | None:
        """Where its rows are committed with its positions."""
        return self.table.read_store

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        """EventBook → Projection, of a projector without a read store.

        Raises InvalidInput for a book that does not parse, CorruptData for a page that does not,
        HandlerFailed for an exception of the user's code.
        """
        try:
            book = wire.EventBook.FromString(request)
        except DecodeError as error:
            raise InvalidInput("events", "an encoded angzarr.EventBook", error) from error
        packed = await self.apply(book, None)
        return wire.Projection(projection=packed).SerializeToString()

    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes:
        """Raises RemoteError UNIMPLEMENTED: without a read store, nothing undoes what methods do.

        With one, the coordinator runs `apply` in a transaction that it rolls back.
        """
        raise RemoteError("UNIMPLEMENTED", "HandleSpeculative needs a read_store")

    async def apply(
        self, book: wire.EventBook, db: object, cover: Cover | None = None
    ) -> Any | None:
        """Call the methods for the book's events, in order; what the last one to return something
        returned, packed. NoOps and types without a method are skipped. cover: the book's own.
        """
        cover = cover or cover_of(book.cover)
        methods = self._by_domain.get(cover.domain) or self._methods_of(cover.domain)
        entries = methods.by_url
        latest: object = None
        for page in book.pages:
            event = page.event
            url = event.type_url
            entry = entries.get(url) or methods.look_up(url)
            if entry is None:
                if page.HasField("external"):
                    raise CorruptData(_at(cover, page), "a reference", "the payload itself")
                continue
            decode, call, method = entry
            try:
                payload = decode(event.value)
            except codec.DECODE_ERRORS as error:
                name = codec.full_name(url)
                raise codec.unreadable(name, _at(cover, page), error) from error
            place = trigger_at(cover, page, {}) if method.wants_place else None
            try:
                answer = call(payload, place, db)
                if answer is not None and inspect.isawaitable(answer):
                    answer = await answer
            except AngzarrError:
                raise
            except Exception as error:
                what = f"{method.name} at {_at(cover, page)}: {type(error).__name__}: {error}"
                raise HandlerFailed(self.name, what) from error
            if answer is not None:
                latest = answer
        return None if latest is None else self._packed(latest)

    async def reset(self, db: object) -> bool:
        """Call the class's `reset`, where it has one."""
        reset = self.table.reset
        if reset is None:
            return False
        arguments = (self._projector,) if self.read_store is None else (self._projector, db)
        try:
            answer = reset(*arguments)
            if inspect.isawaitable(answer):
                await answer
        except AngzarrError:
            raise
        except Exception as error:
            what = f"reset: {type(error).__name__}: {error}"
            raise HandlerFailed(self.name, what) from error
        return True

    def _methods_of(self, domain: str) -> _Methods:
        made = _Methods(
            {
                name: (kind.decode, method.bound(self._projector), method)
                for name, (kind, method) in self.table.of_domain(domain).items()
            }
        )
        if len(self._by_domain) < SEEN_TYPE_URLS_MAX:
            self._by_domain[domain] = made
        return made

    def _packed(self, answer: Untyped) -> Any:
        payload: Payload = answer
        try:
            return codec.pack(payload, self.table.name)
        except Exception as error:
            what = f"a @projects method returned no payload: {error}"
            raise HandlerFailed(self.name, what) from error


class _Methods:
    """A domain's methods, by the type URLs that were seen."""

    __slots__ = ("_by_name", "by_url")

    def __init__(self, by_name: dict[str, _Entry]) -> None:
        self._by_name = by_name
        self.by_url: dict[str, _Entry] = {}

    def look_up(self, url: str) -> _Entry | None:
        found = self._by_name.get(codec.full_name(url))
        if found is not None and len(self.by_url) < SEEN_TYPE_URLS_MAX:
            self.by_url[url] = found
        return found


def _at(cover: Cover, page: wire.EventPage) -> str:
    return f"page {page.header.sequence} of {cover.domain}/{cover.root.hex()}"
