"""Refused commands have their key at their destination, too, so that each command is accepted or
refused for good, whoever asks (SAGA-13).

A reaction may run twice at once: its process slept past its lease, and another took over. Then one
run could hear a refusal, and tell the source, while the other's command is accepted. And a command
may be executed although no answer ever came. The destination's stream decides: what is written
first under the command's key, pages or a refusal, holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from angzarr.coordinators import failures
from angzarr.coordinators.failures import Meaning
from angzarr.cover import Cover, Provenance
from angzarr.errors import (
    AngzarrError,
    CorruptData,
    DivergenceConflict,
    InvalidDivergence,
    InvalidInput,
    RemoteError,
    SequenceConflict,
    SequenceExhausted,
    StoreUnavailable,
    clip,
)
from angzarr.ports.event_store import Accepted, Duplicate, EventStore

REASON_BYTES_MAX: Final = 4 * 1024
TRIES: Final = 100
"""Attempts at a key in a stream that others write to; a conflict means that one of them got on."""

_NOWHERE: Final = (InvalidInput, InvalidDivergence, DivergenceConflict, SequenceExhausted)
"""The stream takes nothing, so it accepts no command either."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a command was refused, as it is kept with a key."""

    code: str
    kind: str
    message: str
    is_parked: bool = False

    @classmethod
    def of(cls, error: AngzarrError, *, is_parked: bool = False) -> Refusal:
        """That of a destination's answer."""
        message = clip(str(error), REASON_BYTES_MAX)
        return cls(failures.code_of(error), failures.kind_of(error), message, is_parked)

    @property
    def error(self) -> AngzarrError:
        """The destination's error once more."""
        return RemoteError(self.code, self.message, error_kind=self.kind)


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Refusal).decode


def decode(answer: bytes) -> Refusal:
    """What was kept with a key. Raises CorruptData."""
    try:
        return _decode(answer)
    except msgspec.MsgspecError as error:
        raise CorruptData("an idempotency key", str(error), "a refusal") from error


async def refuse(
    events: EventStore, cover: Cover, key: Provenance, error: AngzarrError
) -> Accepted | None:
    """Refuse the command with this key for good: from now on that is what it is answered with.
    None if it is refused, now or before; else what was accepted under the key meanwhile.

    cover: its stream. A branch that has not begun is left alone, since a key would begin it.
    Raises StoreUnavailable, whatever the store could not do.
    """
    answer = encode(_final(error))
    try:
        if not cover.is_main and await events.divergence(cover) is None:
            return None
        for _ in range(TRIES):
            sequence = await events.next_sequence(cover)
            try:
                done = await events.append(cover, sequence, (), provenance=key, answer=answer)
            except SequenceConflict:
                continue
            if not isinstance(done, Duplicate):
                return None
            found = await events.find_by_provenance(cover, key)
            if found is not None:
                return None if is_refused(found) else found
    except StoreUnavailable:
        raise
    except _NOWHERE:
        return None
    except AngzarrError as failure:
        raise StoreUnavailable("refusals", str(failure)) from failure
    raise StoreUnavailable("refusals", f"{cover} does not rest")


def is_refused(found: Accepted) -> bool:
    """Whether what a command's key stands for is a refusal: an acceptance keeps no answer."""
    return bool(found.answer) and not found.pages


def _final(error: AngzarrError) -> Refusal:
    """The refusal as later deliveries are answered: none of them shall try again."""
    refusal = Refusal.of(error)
    if failures.meaning_of(error) is Meaning.REFUSED:
        return refusal
    return Refusal("FAILED_PRECONDITION", "rejected", refusal.message)
