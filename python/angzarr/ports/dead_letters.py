"""The dead letter queue port (STO-24), and what is read off a letter by whoever keeps one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from angzarr import wire

TOPIC_PREFIX: Final = "angzarr.dlq"
DASHED_TOPIC_PREFIX: Final = "angzarr-dlq"
"""The prefix on NATS, Pub/Sub and SNS/SQS, where a dot in it means something else (DLQ-1)."""

NO_DOMAIN: Final = "unknown"

PROVENANCE: Final = "provenance"
"""Key in a letter's metadata: the encoded Provenance of a notification, in base64, so that a
replay is answered like a redelivery (DLQ-11)."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A stored dead letter. letter: encoded AngzarrDeadLetter; ids ascend with time."""

    id: str
    letter: bytes
    created_at_ns: int
    replay_count: int = 0


class DeadLetterSink(Protocol):
    """Where dead letters go; not every such place can be read."""

    async def put(self, letter: bytes) -> str:
        """Store an encoded AngzarrDeadLetter; its id. As durable as the place is on return.

        Raises an AngzarrError if it is not stored.
        """
        ...


class DeadLetterQueue(Protocol):
    """Messages that were given up on, durable."""

    async def put(self, letter: bytes) -> str:
        """Store an encoded AngzarrDeadLetter; its id. Durable on return."""
        ...

    async def list(self, *, before: str | None = None, limit: int = 50) -> list[DeadLetter]:
        """Newest first; `before`: only ids below it."""
        ...

    async def get(self, letter_id: str) -> DeadLetter | None:
        """One by id."""
        ...

    async def delete(self, letter_id: str) -> bool:
        """Remove it; whether it existed."""
        ...

    async def count_replay(self, letter_id: str) -> int | None:
        """Count one more replay; the count with it, None for an unknown id. Durable on return."""
        ...


def topic_of(letter: wire.AngzarrDeadLetter, prefix: str = TOPIC_PREFIX) -> str:
    """The letter's topic: `angzarr.dlq.<domain of its cover>`, `unknown` without one (DLQ-1)."""
    return f"{prefix}.{letter.cover.domain or NO_DOMAIN}"


def rejection_type_of(letter: wire.AngzarrDeadLetter) -> str:
    """Which detail it has: `sequence_mismatch`, `event_processing_failed`,
    `payload_retrieval_failed`; "" without one."""
    return letter.WhichOneof("rejection_details") or ""
