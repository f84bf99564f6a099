"""What an error means for who sent the message: CMD-11 and SAGA-12 to SAGA-14, without I/O."""

from __future__ import annotations

import enum
from typing import Final

from angzarr.errors import (
    AngzarrError,
    HandlerFailed,
    InvalidDivergence,
    NotPermitted,
    RemoteError,
    SequenceExhausted,
    SequenceMismatch,
    StorageFailed,
)

REACTION_FAILED: Final = "reaction_failed"
"""Kind of the answer to a CASCADE request that is stored, but what followed from it failed."""

RESENT: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED"})

_MISMATCHES: Final = frozenset({"sequence_mismatch", "sequence_conflict", "cascade_conflict"})
_STORE_TEXTS: Final = ("Failed to load events: ", "Failed to persist events: ")

_CODES: Final = {
    "invalid_input": "INVALID_ARGUMENT",
    "rejected": "FAILED_PRECONDITION",
    "sequence_mismatch": "FAILED_PRECONDITION",
    "sequence_conflict": "FAILED_PRECONDITION",
    "parked": "ABORTED",
    "cascade_conflict": "ABORTED",
    "cascade_decided": "FAILED_PRECONDITION",
    "edition": "FAILED_PRECONDITION",
    "not_found": "NOT_FOUND",
    "overloaded": "RESOURCE_EXHAUSTED",
    "too_large": "RESOURCE_EXHAUSTED",
    "unavailable": "UNAVAILABLE",
    "corrupt": "DATA_LOSS",
    "internal": "INTERNAL",
}


class Meaning(enum.Enum):
    """What a destination's error says of the command.

    MISMATCH: the stamp, or a lock; fresh numbers may help. RESEND: nothing was decided, or nobody
    knows; the same command again. PARKED: it is a dead letter by now. STORED: it was accepted, but
    what followed from it failed. REFUSED: final.
    """

    MISMATCH = enum.auto()
    RESEND = enum.auto()
    PARKED = enum.auto()
    STORED = enum.auto()
    REFUSED = enum.auto()


def meaning_of(error: AngzarrError) -> Meaning:
    """What `error`, a destination's answer to a command, means (SAGA-12, SAGA-13)."""
    kind = kind_of(error)
    if kind == REACTION_FAILED:
        return Meaning.STORED
    if kind == "parked":
        return Meaning.PARKED
    if kind in _MISMATCHES:
        return Meaning.MISMATCH
    if kind == "rejected":
        return Meaning.REFUSED  # whatever its text is
    if isinstance(error, StorageFailed) or str(error).startswith(_STORE_TEXTS):
        return Meaning.RESEND  # the destination's store failed: nobody has decided anything
    if kind != "too_large" and code_of(error) in RESENT:
        return Meaning.RESEND
    return Meaning.REFUSED


def kind_of(error: AngzarrError) -> str:
    """The error's kind; of a peer that names none, by code and message (WIRE-11)."""
    if isinstance(error, SequenceMismatch) and error.is_parked:
        return "parked"
    if not isinstance(error, RemoteError):
        return error.kind
    if error.error_kind:
        return error.error_kind
    is_aborted = error.code == "ABORTED"
    if is_aborted or error.code == "FAILED_PRECONDITION":
        if error.message.startswith("Sequence mismatch"):
            return "parked" if is_aborted else "sequence_mismatch"
        if error.message.startswith("Sequence conflict"):
            return "sequence_conflict"
        if error.message.startswith("Cascade conflict"):
            return "cascade_conflict"
    return "internal"


def code_of(error: BaseException) -> str:
    """The name of the gRPC code that stands for `error`; INTERNAL for what is no AngzarrError."""
    if isinstance(error, RemoteError):
        return error.code
    if isinstance(error, HandlerFailed):
        cause = error.__cause__
        return code_of(cause) if cause is not None else "INTERNAL"
    if isinstance(error, TimeoutError):
        return "DEADLINE_EXCEEDED"
    if isinstance(error, NotPermitted):
        return "PERMISSION_DENIED"
    if isinstance(error, InvalidDivergence):
        return "INVALID_ARGUMENT"
    if isinstance(error, SequenceExhausted):
        return "OUT_OF_RANGE"
    return _CODES.get(kind_of(error), "INTERNAL") if isinstance(error, AngzarrError) else "INTERNAL"
