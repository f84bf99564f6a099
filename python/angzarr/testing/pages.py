"""Builders for what crosses the store ports: covers, encoded pages, snapshots and books."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.any_pb2 import Any
from google.protobuf.timestamp_pb2 import Timestamp

from angzarr import wire
from angzarr.cover import Cover, Provenance, root_of
from angzarr.testing.clock import NS_PER_S, START_NS

TYPE_URL: Final = "type.googleapis.com/test.Happened"
FRAMEWORK_URL: Final = "type.angzarr.io/angzarr."


def cover_of(
    name: str | bytes = "alice",
    *,
    domain: str = "account",
    edition: str = "",
    correlation_id: str = "",
) -> Cover:
    """A cover whose root follows from `name`; bytes are the root itself."""
    return Cover(domain, root_of(name), edition, correlation_id)


def page(
    sequence: int,
    *,
    value: bytes = b"happened",
    type_url: str = TYPE_URL,
    created_at_ns: int | None = START_NS,
    cascade_id: str = "",
) -> bytes:
    """An encoded EventPage, pending with a cascade_id; created_at_ns None leaves the time out."""
    message = wire.EventPage(
        header=wire.PageHeader(sequence=sequence),
        event=Any(type_url=type_url, value=value),
        committed=not cascade_id,
    )
    if created_at_ns is not None:
        message.created_at.CopyFrom(timestamp(created_at_ns))
    if cascade_id:
        message.cascade_id = cascade_id
    return message.SerializeToString(deterministic=True)


def pages(first: int, count: int, *, cascade_id: str = "") -> list[bytes]:
    """`count` pages from sequence `first` on, told apart by their payloads."""
    return [
        page(sequence, value=b"event %d" % sequence, cascade_id=cascade_id)
        for sequence in range(first, first + count)
    ]


def page_of_size(sequence: int, size_bytes: int) -> bytes:
    """A page whose encoding is exactly `size_bytes` long."""
    value_bytes = size_bytes - len(page(sequence, value=b""))
    while True:
        encoded = page(sequence, value=bytes(value_bytes))
        if len(encoded) == size_bytes:
            return encoded
        if len(encoded) < size_bytes:
            raise ValueError(f"no page is exactly {size_bytes} bytes long")
        value_bytes -= len(encoded) - size_bytes


def snapshot(
    sequence: int,
    *,
    state: bytes = b"state",
    retention: wire.SnapshotRetention = wire.RETENTION_DEFAULT,
) -> bytes:
    """An encoded Snapshot."""
    message = wire.Snapshot(
        sequence=sequence,
        state=Any(type_url="type.googleapis.com/test.State", value=state),
        retention=retention,
    )
    return message.SerializeToString(deterministic=True)


def provenance(
    source_seq: int = 0,
    *,
    index: int | bytes = 0,
    component: str = "saga",
    kind: int = wire.COMMAND,
    source: Cover | None = None,
) -> Provenance:
    """A provenance key; its source is an order's stream on main unless given."""
    return Provenance(
        source or cover_of("order-1", domain="order"), source_seq, component, index, kind
    )


def timestamp(time_ns: int) -> Timestamp:
    """`time_ns` as the wire has it."""
    seconds, nanos = divmod(time_ns, NS_PER_S)
    return Timestamp(seconds=seconds, nanos=nanos)


def book_of(
    cover: Cover,
    pages: Sequence[bytes],
    *,
    snapshot: bytes = b"",
    next_sequence: int | None = None,
) -> bytes:
    """The canonical EventBook: fields in order, pages and snapshot as they are.

    The cover is written as given, its edition named. next_sequence: by WIRE-9 unless given.
    """
    if next_sequence is None:
        next_sequence = _next_sequence(pages, snapshot)
    parts = [_field(1, _cover_bytes(cover))]
    parts += [_field(2, snapshot)] if snapshot else []
    parts += [_field(3, encoded) for encoded in pages]
    parts += [b"\x30" + _varint(next_sequence)] if next_sequence else []
    return b"".join(parts)


def parse_page(data: bytes) -> wire.EventPage:
    """The EventPage in `data`."""
    return wire.EventPage.FromString(data)


def parse_book(data: bytes) -> wire.EventBook:
    """The EventBook in `data`."""
    return wire.EventBook.FromString(data)


def sequences_of(data: bytes) -> list[int]:
    """Sequences of the pages in an encoded book, as they come."""
    return [item.header.sequence for item in parse_book(data).pages]


def _next_sequence(pages: Sequence[bytes], snapshot: bytes) -> int:
    if pages:
        return parse_page(pages[-1]).header.sequence + 1
    return wire.Snapshot.FromString(snapshot).sequence + 1 if snapshot else 0


def _cover_bytes(cover: Cover) -> bytes:
    message = wire.Cover(
        domain=cover.domain,
        correlation_id=cover.correlation_id,
        edition=wire.Edition(name=cover.edition),
    )
    message.root.value = cover.root
    return message.SerializeToString(deterministic=True)


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
