"""What a destination's error means for who sent the command (SAGA-12, SAGA-13, CMD-11)."""

from __future__ import annotations

import pytest

from angzarr.coordinators.failures import Meaning, code_of, meaning_of
from angzarr.cover import Cover
from angzarr.errors import (
    CascadeConflict,
    CascadeDecided,
    CommandRejected,
    CorruptData,
    HandlerFailed,
    InvalidDivergence,
    InvalidInput,
    NotPermitted,
    Overloaded,
    RemoteError,
    SequenceConflict,
    SequenceExhausted,
    SequenceMismatch,
    StorageFailed,
    StoreUnavailable,
    TooLarge,
    UnknownDomain,
)

STREAM = Cover("player", bytes(16))


def failed(cause: Exception) -> HandlerFailed:
    error = HandlerFailed("aggregate:player", str(cause))
    error.__cause__ = cause
    return error


@pytest.mark.spec("SAGA-12", "CMD-11")
@pytest.mark.parametrize(
    "error",
    [
        SequenceMismatch(STREAM, 7, 8),
        SequenceConflict(STREAM, 7, 8),
        CascadeConflict(STREAM, ["X"], ["a"]),
        RemoteError("FAILED_PRECONDITION", "Sequence mismatch: command expects 7, aggregate at 8"),
        RemoteError("FAILED_PRECONDITION", "Sequence conflict: expected 7, got 8"),
        RemoteError("FAILED_PRECONDITION", "any words", error_kind="sequence_mismatch"),
        RemoteError("FAILED_PRECONDITION", "any words", error_kind="sequence_conflict"),
        RemoteError("ABORTED", "Cascade conflict: fields {a} locked by cascades [X]"),
    ],
    ids=str,
)
def test_fresh_numbers_may_help_after_a_mismatch(error):
    assert meaning_of(error) is Meaning.MISMATCH


@pytest.mark.spec("SAGA-12")
@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailable("data", "disk full"),
        StorageFailed("persist events", "disk full"),
        Overloaded("queue of aggregate:player", 1024),
        RemoteError("UNAVAILABLE", "connection refused"),
        RemoteError("DEADLINE_EXCEEDED", "Deadline Exceeded"),
        RemoteError("RESOURCE_EXHAUSTED", "queue is full", error_kind="overloaded"),
        RemoteError("CANCELLED", "the server is stopping"),
        RemoteError("INTERNAL", "Failed to load events: disk", error_kind="internal"),
        RemoteError("INTERNAL", "Failed to persist events: disk"),
        failed(TimeoutError()),
    ],
    ids=str,
)
def test_what_was_not_decided_is_resent(error):
    assert meaning_of(error) is Meaning.RESEND


@pytest.mark.spec("SAGA-13")
@pytest.mark.parametrize(
    "error",
    [
        SequenceMismatch(STREAM, 7, 8, strategy="MERGE_MANUAL", is_parked=True),
        RemoteError("ABORTED", "Sequence mismatch: … Sent to DLQ for manual review."),
        RemoteError("ABORTED", "any words", error_kind="parked"),
    ],
    ids=str,
)
def test_a_parked_command_is_known_as_such(error):
    assert meaning_of(error) is Meaning.PARKED


@pytest.mark.spec("SAGA-13")
@pytest.mark.parametrize(
    "error",
    [
        CommandRejected("no funds"),
        InvalidInput("cover.root", "16 bytes", "none"),
        TooLarge("pages", "at most 1000", 1001),
        UnknownDomain("player"),
        CascadeDecided("X", "COMMIT"),
        CorruptData("a page", "nothing", "an event"),
        SequenceExhausted(STREAM),
        failed(ValueError("a bug")),
        failed(CommandRejected("no funds")),
        RemoteError("FAILED_PRECONDITION", "Insufficient funds"),
        RemoteError("FAILED_PRECONDITION", "Sequence mismatch of cards", error_kind="rejected"),
        RemoteError("ABORTED", "something else"),
        RemoteError("UNKNOWN", "a bug"),
        RemoteError("RESOURCE_EXHAUSTED", "message too large", error_kind="too_large"),
    ],
    ids=str,
)
def test_anything_else_is_final(error):
    assert meaning_of(error) is Meaning.REFUSED


@pytest.mark.spec("SAGA-12")
def test_a_stored_command_with_failed_reactions_is_no_mismatch():
    error = RemoteError(
        "FAILED_PRECONDITION", "Saga x failed: Sequence mismatch", error_kind="reaction_failed"
    )

    assert meaning_of(error) is Meaning.STORED


@pytest.mark.spec("DLQ-3")
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RemoteError("ABORTED", "x"), "ABORTED"),
        (failed(ValueError("x")), "INTERNAL"),
        (failed(failed(TimeoutError())), "DEADLINE_EXCEEDED"),
        (HandlerFailed("saga:x", "no cause"), "INTERNAL"),
        (NotPermitted("x"), "PERMISSION_DENIED"),
        (InvalidDivergence(STREAM, 5, 3), "INVALID_ARGUMENT"),
        (SequenceExhausted(STREAM), "OUT_OF_RANGE"),
        (SequenceMismatch(STREAM, 7, 8, is_parked=True), "ABORTED"),
        (UnknownDomain("x"), "NOT_FOUND"),
        (ValueError("x"), "INTERNAL"),
    ],
    ids=str,
)
def test_codes_are_those_of_the_wire(error, code):
    from angzarr.rpc.status import status_of

    assert code_of(error) == code
    if not isinstance(error, ValueError):
        assert status_of(error).code.name == code
