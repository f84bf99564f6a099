"""What an obligation to notify keeps, and the message that it becomes (COMP-2, SYNC-9). Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import msgspec
from google.protobuf.message import DecodeError, Message

from angzarr import wire
from angzarr.coordinators import books
from angzarr.cover import Cover, Provenance
from angzarr.errors import CorruptData

URL: Final = "type.googleapis.com/angzarr."
"""The prefix that all 0.3.1 clients route (WIRE-5)."""
ATTEMPT: Final = "attempt"
"""Metadata of a Notification: which delivery of it this is, from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One rejected command, or one command to be compensated.

    provenance: that of the command, encoded. reason: why it was rejected, or is compensated.
    recorded_ns: when. command: the rejected one, encoded. target: the Cover of the stream that the
    other one wrote, encoded; sequences: what it wrote there.
    """

    provenance: bytes
    reason: str
    recorded_ns: int
    command: bytes = b""
    target: bytes = b""
    sequences: tuple[int, ...] = ()

    @property
    def is_rejection(self) -> bool:
        return not self.target

    @property
    def origin(self) -> Provenance:
        """The command's provenance."""
        read = wire.Provenance.FromString(self.provenance)
        return Provenance(
            books.cover_of(read.source),
            read.source_seq,
            read.component,
            read.index,
            occasion=read.occasion,
        )

    def encoded(self) -> bytes:
        """What an obligation has as its payload."""
        return _encode(self)

    @classmethod
    def read(cls, payload: bytes) -> Notice:
        """A payload read back. Raises CorruptData."""
        try:
            return _decode(payload)
        except (msgspec.DecodeError, DecodeError) as error:
            raise CorruptData("an obligation", f"{error}", "an encoded Notice") from error

    def notification(self, attempt: int) -> wire.Notification:
        """What the source is told; attempt: from 1, 0 leaves it out."""
        told = wire.Notification(sent_at=books.timestamp(self.recorded_ns))
        told.cover.CopyFrom(_message(self.cover))
        if attempt:
            told.metadata[ATTEMPT] = str(attempt)
        if self.is_rejection:
            payload: Message = wire.RejectionNotification(rejection_reason=self.reason)
            payload.rejected_command.ParseFromString(self.command)
        else:
            payload = wire.Compensate(sequences=self.sequences, reason=self.reason)
            payload.target.ParseFromString(self.target)
        _pack(told.payload, payload)
        return told

    def envelope(self, attempt: int = 0) -> wire.CommandBook:
        """The notification as a command to the stream that is notified."""
        origin = self.origin
        book = wire.CommandBook()
        book.cover.CopyFrom(_message(self.cover))
        page = book.pages.add(merge_strategy=wire.MERGE_COMMUTATIVE)
        deferred = page.header.angzarr_deferred
        deferred.source.CopyFrom(_message(origin.source))
        deferred.source_seq = origin.source_seq
        _pack(page.command, self.notification(attempt))
        return book

    @property
    def cover(self) -> Cover:
        """The stream that is notified, with a correlation id if there is any."""
        source = self.origin.source
        if self.is_rejection:
            command = wire.CommandBook.FromString(self.command)
            return _correlated(source, command.cover.correlation_id)
        target = books.cover_of(wire.Cover.FromString(self.target))
        return _correlated(target, source.correlation_id)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Notice).decode


def _correlated(cover: Cover, correlation_id: str) -> Cover:
    return cover if cover.correlation_id else replace(cover, correlation_id=correlation_id)


def _message(cover: Cover) -> wire.Cover:
    return wire.Cover.FromString(books.cover_bytes(cover))


def _pack(holder: Message, event: Message) -> None:
    holder.type_url = URL + event.DESCRIPTOR.name  # type: ignore[attr-defined]
    holder.value = event.SerializeToString(deterministic=True)  # type: ignore[attr-defined]
