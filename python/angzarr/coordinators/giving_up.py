"""Dead letters of what sagas and process managers could not finish (DLQ-2, DLQ-3)."""

from __future__ import annotations

from dataclasses import dataclass

from angzarr import wire
from angzarr.coordinators import books, failures


@dataclass(frozen=True, slots=True)
class Identity:
    """A component under its names.

    name: `saga:shipping`, `process_manager:fulfilment`; in logs, errors and dead letters.
    component: `saga:shipping`, `pm:fulfilment`; in provenance. component_type: of DLQ-2.
    """

    name: str
    component: str
    component_type: str


def letter(
    message: wire.EventBook | wire.CommandBook,
    by: Identity,
    error: Exception,
    *,
    attempts: int,
    now_ns: int,
) -> bytes:
    """The letter for a message that `by` gave up on after `attempts`."""
    text = str(error)
    made = wire.AngzarrDeadLetter(
        cover=message.cover,
        rejection_reason=f"Event processing failed after {attempts} attempts: {text}",
        occurred_at=books.timestamp(now_ns),
        source_component=by.name,
        source_component_type=by.component_type,
    )
    made.event_processing_failed.error = text
    made.event_processing_failed.retry_count = max(attempts - 1, 0)
    made.event_processing_failed.is_transient = failures.is_transient(error)
    if isinstance(message, wire.CommandBook):
        made.rejected_command.CopyFrom(message)
    else:
        made.rejected_events.CopyFrom(message)
    return made.SerializeToString(deterministic=True)
