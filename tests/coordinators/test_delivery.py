"""Which failures of deliveries are tried again, and when (DLQ-3)."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.message import DecodeError

from angzarr import errors
from angzarr.coordinators.delivery import DeliveryOptions, is_transient
from angzarr.cover import Cover

COVER = Cover("order", bytes(16))
TRANSIENT = {
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "RESOURCE_EXHAUSTED",
    "ABORTED",
    "INTERNAL",
    "UNKNOWN",
    "CANCELLED",
}
PERMANENT = {
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "DATA_LOSS",
    "UNAUTHENTICATED",
}


def _caused(cause: Exception) -> errors.HandlerFailed:
    failure = errors.HandlerFailed("saga:shipping", str(cause))
    failure.__cause__ = cause
    return failure


@pytest.mark.spec("DLQ-3")
@pytest.mark.parametrize("code", sorted(TRANSIENT | PERMANENT))
def test_a_remote_error_is_judged_by_its_code(code):
    assert is_transient(errors.RemoteError(code, "it failed")) is (code in TRANSIENT)


@pytest.mark.spec("DLQ-3")
@pytest.mark.parametrize("code", sorted(TRANSIENT | PERMANENT))
def test_kind_internal_says_no_more_than_the_code(code):
    error = errors.RemoteError(code, "it failed", error_kind="internal")

    assert is_transient(error) is (code in TRANSIENT)


@pytest.mark.spec("DLQ-3", "WIRE-11")
@pytest.mark.parametrize(
    ("code", "kind", "expected"),
    [
        ("RESOURCE_EXHAUSTED", "too_large", False),
        ("RESOURCE_EXHAUSTED", "overloaded", True),
        ("ABORTED", "parked", False),
        ("ABORTED", "cascade_conflict", True),
        ("FAILED_PRECONDITION", "sequence_mismatch", True),
        ("FAILED_PRECONDITION", "sequence_conflict", True),
        ("FAILED_PRECONDITION", "rejected", False),
        ("FAILED_PRECONDITION", "edition", False),
        ("DATA_LOSS", "corrupt", False),
    ],
)
def test_a_remote_error_with_a_kind_is_judged_by_it(code, kind, expected):
    assert is_transient(errors.RemoteError(code, "it failed", error_kind=kind)) is expected


@pytest.mark.spec("DLQ-3", "CMD-11")
@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("FAILED_PRECONDITION", "Sequence mismatch: command expects 1, aggregate at 2", True),
        ("FAILED_PRECONDITION", "Sequence conflict: expected 1, got 2", True),
        ("ABORTED", "Sequence mismatch: command expects 1, aggregate at 2. Sent to DLQ", False),
        ("RESOURCE_EXHAUSTED", "Sent message larger than max (5 vs. 4)", False),
    ],
)
def test_without_a_kind_the_message_tells_what_a_code_leaves_open(code, message, expected):
    assert is_transient(errors.RemoteError(code, message)) is expected


@pytest.mark.spec("DLQ-3")
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.StoreUnavailable("data", "disk full"), True),
        (errors.StorageFailed("load events", "disk"), True),
        (errors.UpcasterFailed("order", "no"), True),
        (errors.Overloaded("queue", 1), True),
        (errors.CascadeConflict(COVER, ["a"], ["b"]), True),
        (errors.SequenceConflict(COVER, 1, 2), True),
        (errors.SequenceMismatch(COVER, 1, 2), True),
        (errors.SequenceMismatch(COVER, 1, 2, is_parked=True), False),
        (errors.CommandRejected("no"), False),
        (errors.NotPermitted("no"), False),
        (errors.InvalidInput("a", "b", "c"), False),
        (errors.TooLarge("a", "b", "c"), False),
        (errors.UnknownDomain("x"), False),
        (errors.CascadeDecided("c", "COMMIT"), False),
        (errors.DivergenceConflict(COVER, 1, 2), False),
        (errors.SequenceExhausted(COVER), False),
        (errors.CorruptData("here", "a", "b"), False),
    ],
)
def test_an_error_of_ours_is_judged_by_its_kind(error, expected):
    assert is_transient(error) is expected


@pytest.mark.spec("DLQ-3", "SAGA-5")
@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (ValueError("a bug"), True),
        (TimeoutError(), True),
        (errors.CommandRejected("no"), False),
        (errors.StoreUnavailable("data", "x"), True),
        (errors.RemoteError("NOT_FOUND", "x"), False),
        (DecodeError("x"), False),
    ],
)
def test_a_handlers_failure_is_judged_by_its_cause(cause, expected):
    assert is_transient(_caused(cause)) is expected


@pytest.mark.spec("DLQ-3")
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DecodeError("no EventBook"), False),
        (ValueError("a bug"), True),
        (TimeoutError(), True),
        (asyncio.CancelledError(), True),
    ],
)
def test_what_does_not_parse_is_permanent_and_other_exceptions_are_not(error, expected):
    assert is_transient(error) is expected


@pytest.mark.spec("DLQ-3")
def test_delays_double_from_100_ms_to_30_s():
    options = DeliveryOptions(jitter=0.0)

    delays = [options.delay_s(failures) for failures in range(1, 12)]

    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


@pytest.mark.spec("DLQ-3")
def test_delays_are_shortened_at_random_by_up_to_the_jitter():
    options = DeliveryOptions(jitter=0.5)

    delays = {options.delay_s(1) for _ in range(200)}

    assert len(delays) > 100
    assert 0.05 <= min(delays) < 0.06
    assert 0.09 < max(delays) <= 0.1


@pytest.mark.spec("DLQ-3", "DLQ-4")
def test_a_delay_stays_at_its_cap_however_often_it_failed():
    assert DeliveryOptions(jitter=0.0).delay_s(1_000_000) == 30.0
