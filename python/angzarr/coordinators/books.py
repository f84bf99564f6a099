"""Encoded books: framing by hand what is encoded already, so that nothing is parsed only to be
written again.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from angzarr import wire
from angzarr.cover import MAIN, Cover
from angzarr.errors import InvalidInput

M = TypeVar("M", bound=Message)

FRAMEWORK_URL: Final = "type.angzarr.io/angzarr."
NS_PER_S: Final = 1_000_000_000
UINT32_MASK: Final = 2**32 - 1

TAG_1, TAG_2, TAG_3 = b"\x0a", b"\x12", b"\x1a"
_NEXT_TAG = b"\x30"
_SMALL: Final = [bytes([number]) for number in range(0x80)]


def parse(message: type[M], data: bytes) -> M:
    """The message in `data`; InvalidInput if it does not parse."""
    try:
        return message.FromString(data)
    except DecodeError as error:
        name = message.DESCRIPTOR.name
        raise InvalidInput(
            "request", f"an encoded {name}", f"{len(data)} bytes that do not parse"
        ) from error


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


def frame(tag: bytes, data: bytes) -> bytes:
    """`data` as the field that `tag` names."""
    return tag + varint(len(data)) + data


@lru_cache(maxsize=4096)
def _names(domain: str, edition: str) -> tuple[bytes, bytes]:
    name = frame(b"\x12", domain.encode()) if domain else b""
    return name, frame(b"\x22", frame(TAG_1, edition.encode()))


def cover_bytes(cover: Cover) -> bytes:
    """The canonical Cover: root, domain, correlation id, edition with its name; divergences don't
    travel.
    """
    domain, edition = _names(cover.domain, cover.edition)
    root = frame(TAG_1, frame(TAG_1, cover.root)) if cover.root else frame(TAG_1, b"")
    if not cover.correlation_id:
        return root + domain + edition
    return b"".join((root, domain, frame(TAG_3, cover.correlation_id.encode()), edition))


def book_bytes(
    cover: Cover, pages: Iterable[bytes], *, next_sequence: int, snapshot: bytes | None = None
) -> bytes:
    """The canonical EventBook of encoded pages."""
    head = cover_bytes(cover)
    parts = [TAG_1, varint(len(head)), head]
    if snapshot is not None:
        parts += (TAG_2, varint(len(snapshot)), snapshot)
    for page in pages:
        parts += (TAG_3, varint(len(page)), page)
    following = (
        next_sequence & UINT32_MASK
    )  # the field has 32 bits; after the last sequence there is no next
    if following:
        parts += (_NEXT_TAG, varint(following))
    return b"".join(parts)


def snapshot_in(book: bytes) -> wire.Snapshot | None:
    """The snapshot of a canonical EventBook, found without parsing its pages."""
    at = field_at(book, 0)[1]
    if book[at : at + 1] != TAG_2:
        return None
    return wire.EventBook.FromString(book[at : field_at(book, at)[1]]).snapshot


def field_at(data: bytes, at: int) -> tuple[int, int]:
    """Where the value of the length-delimited field at `at` starts and ends."""
    size, shift, at = 0, 0, at + 1
    while True:
        byte = data[at]
        at += 1
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            return at, at + size
        shift += 7


def full_name(type_url: str) -> str:
    """The type's full name: what follows the last `/` (WIRE-6)."""
    return type_url.rpartition("/")[2]


def is_framework(type_url: str) -> bool:
    """Whether the type is one of ours: `angzarr.` and a name without further dots (CAS-5)."""
    package, dot, name = full_name(type_url).partition(".")
    return package == MAIN and bool(dot) and "." not in name


def pack_framework(page: wire.EventPage, event: Message) -> None:
    """Make `event`, a framework message, the page's payload (WIRE-4)."""
    page.event.type_url = FRAMEWORK_URL + event.DESCRIPTOR.name
    page.event.value = event.SerializeToString(deterministic=True)


def cover_of(message: wire.Cover) -> Cover:
    """The value object of a checked Cover."""
    return Cover(message.domain, message.root.value, message.edition.name, message.correlation_id)


def timestamp(time_ns: int) -> Timestamp:
    """`time_ns` since the epoch as the wire has it."""
    seconds, nanos = divmod(time_ns, NS_PER_S)
    return Timestamp(seconds=seconds, nanos=nanos)


def nanoseconds(time: Timestamp) -> int:
    """Nanoseconds since the epoch."""
    return time.seconds * NS_PER_S + time.nanos


def rfc3339(time_ns: int) -> str:
    """`time_ns` since the epoch as text, in UTC."""
    seconds, nanos = divmod(time_ns, NS_PER_S)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"


def encoded(pages: Sequence[wire.EventPage]) -> list[bytes]:
    """The pages' bytes."""
    return [page.SerializeToString(deterministic=True) for page in pages]
