"""Encoded pages, books and covers: what the Python stores read from them and build of them.

Pure functions. Books are framed by hand, since joining bytes that are there costs a tenth of
parsing and encoding them again; the result is what protobuf writes for the same message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError, Message

from angzarr import wire
from angzarr.cover import Cover
from angzarr.errors import CorruptData, InvalidInput
from angzarr.ports.event_store import COMMIT, SEQUENCE_MAX, Book, Decision

FRAMEWORK_URL: Final = "type.angzarr.io/angzarr."
NS_PER_S: Final = 1_000_000_000

_COVER_TAG, _SNAPSHOT_TAG, _PAGE_TAG, _NEXT_TAG = b"\x0a", b"\x12", b"\x1a", b"\x30"


class Page(NamedTuple):
    """A page as stored, and what a store has to know of it.

    created_at_ns: 0 without created_at. is_plain: it carries neither a cascade_id nor a framework
        event.
    """

    data: bytes
    created_at_ns: int
    is_plain: bool


def read_page(data: bytes, sequence: int, field: str = "pages") -> Page:
    """Check that `data` is an EventPage numbered `sequence` and take from it what the store keeps.

    A sequence above the last is compared as the 32 bits that the wire has for it, so that a page at
    the end of a full stream is not taken for a misnumbered one. Raises InvalidInput naming `field`.
    """
    try:
        page = wire.EventPage.FromString(data)
    except DecodeError as error:
        raise InvalidInput(field, "encoded EventPages", "bytes that do not parse") from error
    found = page.header.sequence if page.header.HasField("sequence") else None
    if found != sequence & SEQUENCE_MAX:
        raise InvalidInput(
            f"{field}.header.sequence", str(sequence), "none" if found is None else found
        )
    return _page(data, page)


def known_page(data: bytes) -> Page:
    """A page that a store read back; CorruptData if it does not parse."""
    try:
        return _page(data, wire.EventPage.FromString(data))
    except DecodeError as error:
        raise CorruptData("a stored page", "bytes that do not parse", "an EventPage") from error


def _page(data: bytes, page: wire.EventPage) -> Page:
    created_at = page.created_at
    is_plain = not page.cascade_id and not is_framework(page.event.type_url)
    return Page(data, created_at.seconds * NS_PER_S + created_at.nanos, is_plain)


def is_framework(type_url: str) -> bool:
    """Whether the type is ours: `angzarr.` and a name without further dots (CAS-5, WIRE-6)."""
    package, dot, name = type_url.rpartition("/")[2].partition(".")
    return package == "angzarr" and bool(dot) and "." not in name


def read_snapshot(data: bytes, field: str = "snapshot") -> tuple[int, int]:
    """Sequence and retention number of an encoded Snapshot; InvalidInput if it does not parse."""
    try:
        snapshot = wire.Snapshot.FromString(data)
    except DecodeError as error:
        raise InvalidInput(field, "an encoded Snapshot", "bytes that do not parse") from error
    return snapshot.sequence, int(snapshot.retention)


def read_book(
    cover: Cover,
    start: int,
    pages: Sequence[Page],
    head: int,
    snapshot: tuple[int, bytes] | None = None,
) -> Book:
    """The Book of a read: `pages` from sequence `start` on, `head` the stream's next sequence.

    snapshot: its sequence and its bytes, where the read used one.
    """
    following = start + len(pages) if pages else snapshot[0] + 1 if snapshot else 0
    return _book(replace(cover, correlation_id=""), pages, following, head, snapshot)


def sparse_book(cover: Cover, pages: Sequence[tuple[int, Page]], head: int) -> Book:
    """The Book of a read that left pages out; `pages` with their sequences."""
    following = pages[-1][0] + 1 if pages else 0
    return _book(replace(cover, correlation_id=""), [page for _, page in pages], following, head)


def correlated_book(cover: Cover, pages: Sequence[Page], head: int) -> Book:
    """The Book of a stream's pages under a correlation id; `head` is the next sequence it tells."""
    return _book(cover, pages, head, head)


def _book(
    cover: Cover,
    pages: Sequence[Page],
    following: int,
    head: int,
    snapshot: tuple[int, bytes] | None = None,
) -> Book:
    frames = frames_of(page.data for page in pages)
    data = book_bytes(cover, frames, following, None if snapshot is None else snapshot[1])
    return Book(data, head, all(page.is_plain for page in pages))


def book_bytes(cover: Cover, frames: bytes, following: int, snapshot: bytes | None = None) -> bytes:
    """An encoded EventBook of framed pages; `following` is its next_sequence (WIRE-9)."""
    head = cover_bytes(cover)
    parts = [_COVER_TAG, varint(len(head)), head]
    if snapshot is not None:
        parts += (_SNAPSHOT_TAG, varint(len(snapshot)), snapshot)
    parts.append(frames)
    if following:
        parts += (_NEXT_TAG, varint(following))
    return b"".join(parts)


def cover_of(stream: tuple[str, str, bytes], correlation_id: str = "") -> Cover:
    """The cover of a stream's key."""
    domain, edition, root = stream
    return Cover(domain, root, edition, correlation_id)


def frames_of(pages: Iterable[bytes]) -> bytes:
    """Encoded EventPages framed as field `pages` of an EventBook."""
    parts: list[bytes] = []
    for page in pages:
        parts += (_PAGE_TAG, varint(len(page)), page)
    return b"".join(parts)


def framed(page: bytes) -> bytes:
    """One encoded EventPage as field `pages` of an EventBook."""
    return _PAGE_TAG + varint(len(page)) + page


def unframe(frame: bytes) -> bytes:
    """The page in what `framed` made."""
    start = 1
    while frame[start] & 0x80:
        start += 1
    return frame[start + 1 :]


class OpenBook(NamedTuple):
    """An EventBook that a store made, in parts: its snapshot, and its framed pages."""

    snapshot: bytes | None
    frames: bytes


def open_book(data: bytes, following: int) -> OpenBook:
    """The parts of an encoded EventBook of a store; `following` is its next_sequence."""
    size, place = _number(data, 1)
    place += size  # beyond the cover
    snapshot: bytes | None = None
    if data[place : place + 1] == _SNAPSHOT_TAG:
        size, place = _number(data, place + 1)
        snapshot = data[place : place + size]
        place += size
    tail_bytes = 1 + len(varint(following)) if following else 0
    return OpenBook(snapshot, data[place : len(data) - tail_bytes])


def split_frames(frames: bytes) -> list[bytes]:
    """The encoded pages in what `frames_of` made."""
    pages: list[bytes] = []
    place, end = 0, len(frames)
    while place < end:
        size, place = _number(frames, place + 1)
        pages.append(frames[place : place + size])
        place += size
    return pages


def _number(data: bytes, place: int) -> tuple[int, int]:
    """The varint at `place`, and where it ends."""
    number = data[place]
    if number < 0x80:
        return number, place + 1
    number, shift = number & 0x7F, 7
    while True:
        place += 1
        part = data[place]
        number |= (part & 0x7F) << shift
        if part < 0x80:
            return number, place + 1
        shift += 7


def cover_bytes(cover: Cover) -> bytes:
    """A canonical Cover: root, domain, correlation id, edition with its name, no divergences."""
    root = b"" if not cover.root else _field(b"\x0a", cover.root)
    domain, edition = _names(cover.domain, cover.edition)
    correlation = _field(b"\x1a", cover.correlation_id.encode()) if cover.correlation_id else b""
    return b"".join((_field(b"\x0a", root), domain, correlation, edition))


@lru_cache(maxsize=4096)
def _names(domain: str, edition: str) -> tuple[bytes, bytes]:
    head = _field(b"\x12", domain.encode()) if domain else b""
    return head, _field(b"\x22", _field(b"\x0a", edition.encode()))


def _field(tag: bytes, value: bytes) -> bytes:
    return tag + varint(len(value)) + value


def varint(number: int) -> bytes:
    """`number` ≥ 0 as protobuf writes it."""
    if number < 0x80:
        return _SMALL[number]
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


_SMALL: Final = [bytes([number]) for number in range(0x80)]


def marker(
    cover: Cover, sequence: int, sequences: Sequence[int], decision: Decision, now_ns: int
) -> bytes:
    """The encoded Confirmation or Revocation of `sequences`, as the cascade was decided (CAS-4).

    Its target is the stream, without the correlation id: whoever resolves writes the same bytes.
    """
    target = wire.Cover.FromString(cover_bytes(replace(cover, correlation_id="")))
    if decision.outcome == COMMIT:
        event: Message = wire.Confirmation(
            target=target, sequences=sequences, cascade_id=decision.cascade_id
        )
    else:
        event = wire.Revocation(
            target=target,
            sequences=sequences,
            cascade_id=decision.cascade_id,
            reason=decision.reason,
        )
    page = wire.EventPage(committed=True, cascade_id=decision.cascade_id)
    page.header.sequence = sequence
    page.created_at.seconds, page.created_at.nanos = divmod(now_ns, NS_PER_S)
    _set_event(page, event)
    return page.SerializeToString(deterministic=True)


def noop(data: bytes, *, cascade_id: str, reason: str) -> bytes:
    """The NoOp that stands for an encoded page: its header and created_at, no payload (CAS-7)."""
    page = wire.EventPage.FromString(data)
    event = wire.NoOp(original_sequence=page.header.sequence, cascade_id=cascade_id, reason=reason)
    page.committed = True
    page.ClearField("cascade_id")
    page.ClearField("external")
    _set_event(page, event)
    return page.SerializeToString(deterministic=True)


def committed(data: bytes) -> bytes:
    """The encoded page with committed=true."""
    page = wire.EventPage.FromString(data)
    page.committed = True
    return page.SerializeToString(deterministic=True)


def as_published(
    pages: Iterable[bytes], decision: Decision | None, *, is_marker: bool
) -> list[bytes]:
    """Pages of one commit as the log shows them at their release (CAS-9).

    decision: that of the pages' cascade; None for pages outside any, which stay as they are.
    """
    if is_marker:
        return [noop(page, cascade_id="", reason="framework_event") for page in pages]
    if decision is None:
        return list(pages)
    if decision.outcome == COMMIT:
        return [committed(page) for page in pages]
    return [noop(page, cascade_id=decision.cascade_id, reason="revoked") for page in pages]


def _set_event(page: wire.EventPage, event: Message) -> None:
    page.event.type_url = FRAMEWORK_URL + event.DESCRIPTOR.name
    page.event.value = event.SerializeToString(deterministic=True)
