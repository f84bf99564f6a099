"""Dead letters that coordinators of commands write (DLQ-2)."""

from __future__ import annotations

from angzarr import wire
from angzarr.coordinators import books

AGGREGATE = "aggregate"


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


def _letter(
    command: wire.CommandBook, reason: str, component: str, now_ns: int
) -> wire.AngzarrDeadLetter:
    return wire.AngzarrDeadLetter(
        cover=command.cover,
        rejected_command=command,
        rejection_reason=reason,
        occurred_at=books.timestamp(now_ns),
        source_component=component,
        source_component_type=AGGREGATE,
    )
