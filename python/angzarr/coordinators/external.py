"""Commands whose payload lies elsewhere: resolved before the handler sees them (CMD-42, PAY-6)."""

from __future__ import annotations

from typing import Protocol

from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError

from angzarr import wire
from angzarr.coordinators.letters import payload_letter
from angzarr.errors import AngzarrError, CommandRejected
from angzarr.ports.clock import Clock
from angzarr.ports.dead_letters import DeadLetterQueue


class PayloadReader(Protocol):
    """Gets what a PayloadReference refers to, verified."""

    async def get(self, reference: bytes) -> bytes:
        """PayloadReference → the blob, an encoded Any; PayloadMissing, PayloadCorrupt."""
        ...


class External:
    """Puts payloads in the place of references."""

    def __init__(
        self, reader: PayloadReader | None, letters: DeadLetterQueue, clock: Clock
    ) -> None:
        self._reader = reader
        self._letters = letters
        self._clock = clock

    async def resolve(
        self, command: wire.CommandBook, component: str, *, keeps_letters: bool = True
    ) -> None:
        """Resolve the book's references in place.

        Raises CommandRejected "payload <uri> unreadable: …" after a dead letter is durable;
        keeps_letters: False for calls that leave no trace (SPEC-1).
        """
        for page in command.pages:
            if not page.HasField("external"):
                continue
            reference = page.external
            try:
                payload = await self._read(reference)
            except (AngzarrError, DecodeError) as error:
                if keeps_letters:
                    letter = payload_letter(
                        command, reference, str(error), component, self._clock.now_ns()
                    )
                    await self._letters.put(letter)
                raise CommandRejected(f"payload {reference.uri} unreadable: {error}") from error
            page.command.CopyFrom(payload)

    async def _read(self, reference: wire.PayloadReference) -> Any:
        if self._reader is None:
            raise CommandRejected("no payload store is configured")
        return Any.FromString(await self._reader.get(reference.SerializeToString()))
