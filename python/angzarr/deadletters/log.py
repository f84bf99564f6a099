"""Dead letters as lines in the log: the last resort of a chain (DLQ-6)."""

from __future__ import annotations

import logging
from typing import Final

from google.protobuf.message import DecodeError

from angzarr import wire
from angzarr.cover import Cover
from angzarr.ports.clock import Clock
from angzarr.ports.dead_letters import rejection_type_of, topic_of

_log: Final = logging.getLogger("angzarr.dead_letters")


class LoggedDeadLetters:
    """Tells that a letter was written, why, and of what; its payload is never logged (OPS-7)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def put(self, letter: bytes) -> str:
        """Log it as an error; always succeeds."""
        letter_id = f"{self._clock.now_ns():016x}"
        _log.error("dead letter %s: %s", letter_id, _text(letter))
        return letter_id


def _text(letter: bytes) -> str:
    try:
        message = wire.AngzarrDeadLetter.FromString(letter)
    except DecodeError:
        return f"{len(letter)} bytes that do not parse"
    cover = Cover(
        message.cover.domain,
        message.cover.root.value,
        message.cover.edition.name,
        message.cover.correlation_id,
    )
    parts = (
        topic_of(message),
        str(cover),
        f"correlation id {cover.correlation_id or 'none'}",
        f"from {message.source_component or 'unknown'} ({message.source_component_type})",
        rejection_type_of(message),
        message.rejection_reason,
    )
    return "; ".join(part for part in parts if part)
