"""The dead letter queue port (STO-24)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A stored dead letter. letter: encoded AngzarrDeadLetter; ids ascend with time."""

    id: str
    letter: bytes
    created_at_ns: int
    replay_count: int = 0


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
