"""Which of the log's books and pages a consumer gets (SAGA-3, EDN-13): pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from angzarr import wire
from angzarr.coordinators import books
from angzarr.cover import MAIN
from angzarr.ports.components import Subscription

NO_OP: Final = "angzarr.NoOp"
EXTERNAL: Final = "\x00external"
"""Stands for the type of a payload that is elsewhere, which nobody can tell."""
DOMAINS_KEPT: Final = 4096
"""Domains whose types are kept by a filter, so that made-up names can't fill the memory."""

Types = frozenset[str] | None
"""Full names and last components that are wanted; None is every type."""


def matches(subscription: Subscription, domain: str, type_name: str) -> bool:
    """Whether an event of `domain` with this type, a full name or a type URL, is subscribed.

    A domain matches exactly, by `*`, or by `prefix.*`, which is every domain that starts with
    `prefix.`; `*` leaves out domains that start with `_`. A type matches by its full name or its
    last component. NoOps never match; other messages of package `angzarr` match no last component.
    """
    if not matches_domain(subscription.domain, domain):
        return False
    return _takes(_names(subscription.types), type_name)


def editions_of(names: Iterable[str] | None) -> frozenset[str] | None:
    """Editions as covers name them; None is every one. `main` is the main timeline, as "" is
    (EDN-13).
    """
    if names is None:
        return None
    return frozenset(MAIN if name in ("", "main") else name for name in names)


class Filter:
    """All subscriptions of one consumer; a page is wanted if one of them matches it."""

    def __init__(self, subscriptions: Iterable[Subscription]) -> None:
        self._subscriptions = tuple(subscriptions)
        self._by_domain: dict[str, Types] = {}

    def wants(self, domain: str) -> bool:
        """Whether anything of the domain is subscribed."""
        return self._types(domain) != frozenset()

    def wants_any(self, domain: str, type_names: Iterable[str]) -> bool:
        """Whether one of these types, full names or type URLs, is subscribed in the domain."""
        types = self._types(domain)
        return any(_takes(types, name) for name in type_names)

    def wants_all(self, domain: str, type_names: Iterable[str]) -> bool:
        """Whether each of these types is."""
        types = self._types(domain)
        return all(_takes(types, name) for name in type_names)

    def pages(self, domain: str, pages: Iterable[wire.EventPage]) -> list[wire.EventPage]:
        """Those of the pages that are subscribed, in their order; never a NoOp.

        A page whose payload is elsewhere (`external`) does not show its type and is wanted.
        """
        types = self._types(domain)
        if types == frozenset():
            return []
        return [page for page in pages if _takes_page(types, page)]

    def book(self, book: bytes) -> bytes | None:
        """An encoded EventBook with its subscribed pages only: itself when all are, None when none
        is. What a saga or process manager sees of a commit, whoever runs it, is made here.

        Raises DecodeError for what does not parse.
        """
        message = wire.EventBook.FromString(book)
        wanted = self.kept(message)
        if wanted is None or wanted is message:
            return None if wanted is None else book
        return wanted.SerializeToString(deterministic=True)

    def kept(self, book: wire.EventBook) -> wire.EventBook | None:
        """As `book`, of a message."""
        wanted = self.pages(book.cover.domain, book.pages)
        if not wanted:
            return None
        if len(wanted) == len(book.pages):
            return book
        kept = wire.EventBook(cover=book.cover, pages=wanted)
        kept.next_sequence = (wanted[-1].header.sequence + 1) & books.UINT32_MASK  # WIRE-9
        return kept

    def _types(self, domain: str) -> Types:
        try:
            return self._by_domain[domain]
        except KeyError:
            pass
        types = self._union(domain)
        if len(self._by_domain) < DOMAINS_KEPT:
            self._by_domain[domain] = types
        return types

    def _union(self, domain: str) -> Types:
        found: set[str] = set()
        for subscription in self._subscriptions:
            if not matches_domain(subscription.domain, domain):
                continue
            names = _names(subscription.types)
            if names is None:
                return None
            found |= names
        return frozenset(found)


def type_urls(pages: Iterable[wire.EventPage]) -> tuple[str, ...]:
    """Type URLs of the pages' payloads; EXTERNAL for a payload that is elsewhere."""
    return tuple([page.event.type_url or _typeless(page) for page in pages])


def _typeless(page: wire.EventPage) -> str:
    return EXTERNAL if page.HasField("external") else ""


def _takes_page(types: Types, page: wire.EventPage) -> bool:
    return page.HasField("external") or _takes(types, page.event.type_url)


def _takes(types: Types, type_url: str) -> bool:
    if type_url == EXTERNAL:
        return types != frozenset()
    full = books.full_name(type_url)
    if full == NO_OP:
        return False
    if types is None or full in types:
        return True
    return not books.is_framework(type_url) and full.rpartition(".")[2] in types


def _names(types: Sequence[str]) -> Types:
    """None for an empty list, which means every type; "" names none."""
    if not types:
        return None
    return frozenset(books.full_name(name) for name in types) - {""}


def matches_domain(pattern: str, domain: str) -> bool:
    """Whether a subscription's domain is this one, or a pattern of it."""
    if pattern == "*":
        return not domain.startswith("_")
    if pattern.endswith(".*"):
        return domain.startswith(pattern[:-1])
    return bool(pattern) and pattern == domain
