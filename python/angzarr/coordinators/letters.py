"""Dead letters that coordinators write (DLQ-2)."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from google.protobuf.message import DecodeError

from angzarr import wire
from angzarr.coordinators import books

AGGREGATE = "aggregate"
UNDECODABLE = "undecodable_book"
"""Metadata of a letter whose book does not parse: the book in base64."""


def topic(letter: wire.AngzarrDeadLetter) -> str:
    """Where a broker gets the letter: by the domain of its cover (DLQ-1)."""
    return f"angzarr.dlq.{letter.cover.domain or 'unknown'}"


def mismatch_letter(
    command: wire.CommandBook, expected: int, actual: int, component: str, now_ns: int
) -> bytes:
    """The letter for a MANUAL command whose stamp is not the stream's next sequence (CMD-18)."""
    letter = _letter(
        command,
        f"Sequence mismatch: command expects {expected}, aggregate at {actual}",
        component,
        now_ns,
    )
    letter.sequence_mismatch.expected_sequence = expected
    letter.sequence_mismatch.actual_sequence = actual
    letter.sequence_mismatch.merge_strategy = wire.MERGE_MANUAL
    return letter.SerializeToString(deterministic=True)


def payload_letter(
    command: wire.CommandBook,
    reference: wire.PayloadReference,
    error: str,
    component: str,
    now_ns: int,
) -> bytes:
    """The letter for a command whose payload can't be read (PAY-6)."""
    letter = _letter(command, f"payload {reference.uri} unreadable: {error}", component, now_ns)
    letter.payload_retrieval_failed.CopyFrom(
        wire.PayloadRetrievalFailedDetails(
            storage_type=reference.storage_type,
            uri=reference.uri,
            content_hash=reference.content_hash,
            original_size=reference.original_size,
            error=error,
        )
    )
    return letter.SerializeToString(deterministic=True)


def given_up(error: str, attempts: int) -> str:
    """The reason of a letter for what was tried `attempts` times (DLQ-2)."""
    return f"Event processing failed after {attempts} attempts: {error}"


def delivery_letter(
    book: bytes,
    error: str,
    *,
    attempts: int,
    is_transient: bool,
    component: str,
    component_type: str,
    now_ns: int,
) -> bytes:
    """The letter for a published book that a consumer was given up on with after `attempts`.

    is_transient: whether the last error was. A book that does not parse is kept as metadata.
    """
    letter = wire.AngzarrDeadLetter(
        rejection_reason=given_up(error, attempts),
        occurred_at=books.timestamp(now_ns),
        source_component=component,
        source_component_type=component_type,
        event_processing_failed=wire.EventProcessingFailedDetails(
            error=error, retry_count=attempts - 1, is_transient=is_transient
        ),
    )
    try:
        events = wire.EventBook.FromString(book)
    except DecodeError:
        events = wire.EventBook()
        letter.metadata[UNDECODABLE] = base64.b64encode(book).decode()
    letter.rejected_events.CopyFrom(events)
    if events.HasField("cover"):
        letter.cover.CopyFrom(events.cover)
    return letter.SerializeToString(deterministic=True)


def command_letter(
    command: wire.CommandBook,
    reason: str,
    *,
    error: str,
    component: str,
    component_type: str,
    now_ns: int,
    attempts: int = 1,
    is_transient: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """The letter for a reaction's command that was rejected, with the original reason, or for a
    notification that nobody would take.

    error, attempts, is_transient: of the last attempt.
    """
    letter = _letter(command, reason, component, now_ns, component_type)
    letter.metadata.update(metadata or {})
    letter.event_processing_failed.error = error
    letter.event_processing_failed.retry_count = attempts - 1
    letter.event_processing_failed.is_transient = is_transient
    return letter.SerializeToString(deterministic=True)


def _letter(
    command: wire.CommandBook,
    reason: str,
    component: str,
    now_ns: int,
    component_type: str = AGGREGATE,
) -> wire.AngzarrDeadLetter:
    return wire.AngzarrDeadLetter(
        cover=command.cover,
        rejected_command=command,
        rejection_reason=reason,
        occurred_at=books.timestamp(now_ns),
        source_component=component,
        source_component_type=component_type,
    )
