"""Several targets in a row: a dead letter goes to the first one that takes it (DLQ-6)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from angzarr.errors import AngzarrError, DeadLetterRefused, StoreUnavailable
from angzarr.ports.dead_letters import DeadLetter, DeadLetterQueue, DeadLetterSink

_log: Final = logging.getLogger("angzarr.dead_letters")


@dataclass(frozen=True, slots=True)
class Target:
    """One place. type: as the configuration names it. queue: the same place where it can be read,
    None where it can't."""

    type: str
    sink: DeadLetterSink
    queue: DeadLetterQueue | None = None


class Chain:
    """A DeadLetterQueue over targets, in their order.

    Letters are read from every target that can be read, since each may have some. Their ids are
    distinct and ascend with time in all of them, so what is listed is one order. DeadLetterRefused
    where none can be read.
    """

    def __init__(self, targets: Sequence[Target]) -> None:
        self.targets = tuple(targets)
        self._queues = tuple(target.queue for target in targets if target.queue)

    async def put(self, letter: bytes) -> str:
        """The id in the first target that took it. StoreUnavailable if none did (DLQ-5)."""
        failures: list[str] = []
        cause: AngzarrError | None = None
        for target in self.targets:
            try:
                return await target.sink.put(letter)
            except AngzarrError as error:
                _log.warning("a dead letter was not taken by %s: %s", target.type, error)
                failures.append(f"{target.type}: {error}")
                cause = error
        raise StoreUnavailable("of dead letters", "; ".join(failures)) from cause

    async def list(self, *, before: str | None = None, limit: int = 50) -> list[DeadLetter]:
        """Newest first, of all targets that can be read."""
        found = [
            letter
            for queue in self._readable()
            for letter in await queue.list(before=before, limit=limit)
        ]
        return sorted(found, key=lambda letter: letter.id, reverse=True)[:limit]

    async def get(self, letter_id: str) -> DeadLetter | None:
        """One by id, wherever it is."""
        for queue in self._readable():
            if (found := await queue.get(letter_id)) is not None:
                return found
        return None

    async def delete(self, letter_id: str) -> bool:
        """Remove it, wherever it is; whether it existed."""
        for queue in self._readable():
            if await queue.delete(letter_id):
                return True
        return False

    async def count_replay(self, letter_id: str) -> int | None:
        """Count one more replay, wherever the letter is; the count with it."""
        for queue in self._readable():
            if (count := await queue.count_replay(letter_id)) is not None:
                return count
        return None

    def _readable(self) -> tuple[DeadLetterQueue, ...]:
        if not self._queues:
            types = ", ".join(target.type for target in self.targets)
            raise DeadLetterRefused(
                f"dlq.targets ({types}) can't be read; add store or filesystem to them"
            )
        return self._queues
