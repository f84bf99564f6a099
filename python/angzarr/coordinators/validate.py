"""What a request may say (CMD-2 to CMD-5): pure checks of parsed messages; the first violation is
InvalidInput.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from angzarr import wire
from angzarr.coordinators import books
from angzarr.coordinators.options import CommandOptions
from angzarr.cover import ROOT_BYTES, Cover
from angzarr.errors import InvalidInput

SYSTEM: Final = "_angzarr"
"""The only reserved domain that takes commands."""

_DOMAIN = re.compile(r"[a-z_][a-z0-9_-]{0,63}")
_CORRELATION = re.compile(r"[A-Za-z0-9_-]{0,128}")
_EDITION = re.compile(r"([a-z][a-z0-9_-]{0,63})?")
_COMPONENT = re.compile(r"([a-z]+:)?[a-z][a-z0-9_-]{0,127}")
_CASCADE = re.compile(r"[A-Za-z0-9_:.-]{0,128}")

_DOMAIN_LIMIT = "1-64 bytes: a-z or _ first, then a-z 0-9 _ -"
_CORRELATION_LIMIT = "0-128 of A-Z a-z 0-9 _ -"
_EDITION_LIMIT = "0-64 bytes: a-z first, then a-z 0-9 _ -"
_COMPONENT_LIMIT = "1-128 bytes: a-z first, then a-z 0-9 _ -"
_CASCADE_LIMIT = "0-128 of A-Z a-z 0-9 _ - : ."

_SECONDS_MIN, _SECONDS_MAX = (
    -62_135_596_800,
    253_402_300_799,
)  # years 1 to 9999, as Timestamp defines
_NS_MIN, _NS_MAX = -(2**63), 2**63 - 1


def command_book(
    book: wire.CommandBook, options: CommandOptions, *, payloads: bool = True
) -> Cover:
    """Check a client's command; its cover. payloads: whether the size limit holds (CMD-3)."""
    if not book.HasField("cover"):
        raise InvalidInput("command.cover", "present", "none", "CommandBook must have a cover")
    checked = cover(book.cover)
    _page_count("command", len(book.pages), options)
    if payloads:
        _payloads((page.command.value for page in book.pages), options)
    return checked


def event_book(book: wire.EventBook, options: CommandOptions) -> Cover:
    """Check a book of facts; its cover."""
    if not book.HasField("cover"):
        raise InvalidInput("events.cover", "present", "none", "EventBook must have a cover")
    checked = cover(book.cover)
    _page_count("event", len(book.pages), options)
    _payloads((page.event.value for page in book.pages), options)
    return checked


def cover(message: wire.Cover) -> Cover:
    """Check all fields of a cover; its value object. A `_angzarr` cover needs no root (EDN-16)."""
    domain(message.domain)
    root = message.root.value
    if len(root) != ROOT_BYTES and (root or message.domain != SYSTEM):
        found = f"{len(root)} bytes" if root else "none"
        raise InvalidInput(
            "cover.root",
            f"{ROOT_BYTES} bytes",
            found,
            f"Invalid UUID: 16 bytes wanted, got {found}",
        )
    return Cover(message.domain, root, *_edition_and_correlation(message))


def partial_cover(message: wire.Cover) -> Cover:
    """As cover(), for a filter: domain and root may be missing."""
    if message.domain:
        domain(message.domain)
    root = message.root.value
    if root and len(root) != ROOT_BYTES:
        raise InvalidInput(
            "cover.root",
            f"{ROOT_BYTES} bytes",
            f"{len(root)} bytes",
            f"Invalid UUID: 16 bytes wanted, got {len(root)} bytes",
        )
    return Cover(message.domain, root, *_edition_and_correlation(message))


def _edition_and_correlation(message: wire.Cover) -> tuple[str, str]:
    correlation_id = message.correlation_id
    if correlation_id and not _CORRELATION.fullmatch(correlation_id):
        raise InvalidInput("cover.correlation_id", _CORRELATION_LIMIT, correlation_id)
    name = message.edition.name
    if name:
        edition(name)
    if message.edition.divergences:
        _divergences(message.edition.divergences)
    return name, correlation_id


def domain(name: str, field: str = "cover.domain") -> None:
    """Check a domain's name."""
    if not _DOMAIN.fullmatch(name):
        raise InvalidInput(field, _DOMAIN_LIMIT, name)


def edition(name: str, field: str = "cover.edition.name") -> None:
    """Check an edition's name."""
    if not _EDITION.fullmatch(name):
        raise InvalidInput(field, _EDITION_LIMIT, name)


def component(name: str, field: str) -> None:
    """Check a component's name, which may have its type before it: `saga:shipping`."""
    if not _COMPONENT.fullmatch(name):
        raise InvalidInput(field, _COMPONENT_LIMIT, name)


def cascade_id(name: str, field: str = "cascade_id") -> str:
    """Check a cascade's id; empty counts as unset."""
    if name and not _CASCADE.fullmatch(name):
        raise InvalidInput(field, _CASCADE_LIMIT, name)
    return name


def target(name: str) -> None:
    """Refuse reserved domains, which take no commands and no facts (CMD-5)."""
    if name.startswith("_"):
        raise InvalidInput("cover.domain", "not reserved (only _angzarr takes commands)", name)


def divergence(message: wire.Cover) -> int | None:
    """Where the cover's branch is to start in its own domain; None on main (EDN-2, EDN-5)."""
    for entry in message.edition.divergences:
        if entry.domain == message.domain:
            return None if message.edition.name in ("", "angzarr") else entry.sequence
    return None


def time_ns(time: Timestamp, field: str) -> int:
    """An instant in nanoseconds, within what a store can compare; InvalidInput for no valid
    Timestamp.
    """
    if not (_SECONDS_MIN <= time.seconds <= _SECONDS_MAX and 0 <= time.nanos < books.NS_PER_S):
        raise InvalidInput(
            field, "a valid timestamp", f"seconds: {time.seconds} nanos: {time.nanos}"
        )
    return max(_NS_MIN, min(_NS_MAX, books.nanoseconds(time)))


def _divergences(entries: Iterable[wire.DomainDivergence]) -> None:
    seen: set[str] = set()
    for entry in entries:
        domain(entry.domain, "cover.edition.divergences.domain")
        if entry.domain in seen:
            raise InvalidInput(
                "cover.edition.divergences", "at most one entry per domain", entry.domain
            )
        seen.add(entry.domain)


def _page_count(kind: str, count: int, options: CommandOptions) -> None:
    limit = options.max_pages_per_book
    if count > limit:
        message = f"{kind} book exceeds maximum pages (max: {limit}, got: {count})"
        raise InvalidInput("pages", f"at most {limit}", count, message)


def _payloads(values: Iterable[bytes], options: CommandOptions) -> None:
    limit = options.max_payload_bytes
    for index, value in enumerate(values):
        if len(value) > limit:
            raise InvalidInput(
                f"pages[{index}].payload",
                f"at most {limit} bytes",
                f"{len(value)} bytes",
                f"page payload exceeds maximum size at page {index} "
                f"(max: {limit} bytes, got: {len(value)} bytes)",
            )
