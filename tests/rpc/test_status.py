"""Errors to codes, trailers and back."""

from __future__ import annotations

import logging
import pathlib
import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angzarr import errors, wire
from angzarr.cover import Cover
from angzarr.rpc import status
from angzarr.testing.clock import START_NS

ROOT = pathlib.Path(__file__).resolve().parents[2]
WIRE_SPEC = (ROOT / "docs" / "spec" / "wire.md").read_text()
COVER = Cover("account", bytes(range(16)))
BRANCH = COVER.on("what-if")
BOOK = wire.EventBook(
    cover=wire.Cover(
        domain="account", root=wire.UUID(value=COVER.root), edition=wire.Edition(name="angzarr")
    ),
    next_sequence=7,
).SerializeToString()

TABLE = [
    (errors.InvalidInput("domain", "lower case", "X"), "INVALID_ARGUMENT", "invalid_input"),
    (errors.TooLarge("pages", "at most 100", 101), "RESOURCE_EXHAUSTED", "too_large"),
    (errors.SequenceMismatch(COVER, 5, 7, book=BOOK), "FAILED_PRECONDITION", "sequence_mismatch"),
    (
        errors.SequenceMismatch(COVER, 5, 7, fields=("gold",), book=BOOK),
        "FAILED_PRECONDITION",
        "sequence_mismatch",
    ),
    (errors.SequenceMismatch(COVER, 5, 7, is_parked=True, book=BOOK), "ABORTED", "parked"),
    (errors.SequenceConflict(COVER, 5, 7), "FAILED_PRECONDITION", "sequence_conflict"),
    (errors.SequenceExhausted(COVER), "OUT_OF_RANGE", "too_large"),
    (errors.CommandRejected("no funds"), "FAILED_PRECONDITION", "rejected"),
    (errors.CascadeConflict(COVER, ["c1", "c0"], ["gold"]), "ABORTED", "cascade_conflict"),
    (errors.CascadeDecided("c1", "COMMIT"), "FAILED_PRECONDITION", "cascade_decided"),
    (
        errors.CascadeDecided("c1", "ROLLBACK", "timed out"),
        "FAILED_PRECONDITION",
        "cascade_decided",
    ),
    (errors.CascadeRolledBack("c1", "timeout"), "ABORTED", "cascade_decided"),
    (errors.CascadeUndecided("c1"), "UNAVAILABLE", "unavailable"),
    (
        errors.ReactionFailed("Saga shipping", errors.CommandRejected("full"), book=BOOK),
        "FAILED_PRECONDITION",
        "reaction_failed",
    ),
    (
        errors.ReactionFailed("Process manager x", errors.UnknownDomain("y")),
        "NOT_FOUND",
        "reaction_failed",
    ),
    (errors.InvalidDivergence(BRANCH, 9, 7), "INVALID_ARGUMENT", "edition"),
    (errors.DivergenceConflict(BRANCH, 3, 5), "FAILED_PRECONDITION", "edition"),
    (errors.MainProtected("account"), "FAILED_PRECONDITION", "edition"),
    (errors.PendingPages("account", "what-if", ["c1"]), "FAILED_PRECONDITION", "edition"),
    (errors.EditionConflict("kid", "angzarr", "mum"), "FAILED_PRECONDITION", "edition"),
    (errors.EditionExpired("kid", START_NS), "FAILED_PRECONDITION", "edition"),
    (errors.EditionInUse("mum", ["zoe", "ann"]), "FAILED_PRECONDITION", "edition"),
    (errors.EditionInUse("mum", []), "FAILED_PRECONDITION", "edition"),
    (errors.QuotaExceeded.of("kid", "max_pages", 5, 6), "RESOURCE_EXHAUSTED", "too_large"),
    (errors.QuotaExceeded.of("kid", "max_bytes", 900, 901), "RESOURCE_EXHAUSTED", "too_large"),
    (errors.UnknownDomain("nope"), "NOT_FOUND", "not_found"),
    (errors.UnknownCascade("c9"), "NOT_FOUND", "not_found"),
    (errors.UnknownDeadLetter("18c"), "NOT_FOUND", "not_found"),
    (errors.DeadLetterRefused("18c holds events"), "FAILED_PRECONDITION", "rejected"),
    (errors.ReplayRunning("18c"), "ABORTED", "rejected"),
    (errors.Overloaded("limits.writer_queue", 4096), "RESOURCE_EXHAUSTED", "overloaded"),
    (errors.StoreUnavailable("data", "disk full"), "UNAVAILABLE", "unavailable"),
    (errors.StoreClosed("data"), "UNAVAILABLE", "unavailable"),
    (errors.CorruptData("events/7", "crc 1", "crc 2"), "DATA_LOSS", "corrupt"),
    (errors.StorageFailed("load events", "disk full"), "INTERNAL", "internal"),
    (errors.UpcasterFailed("account", "sent 2 pages, got 1"), "INTERNAL", "internal"),
    (errors.HandlerFailed("aggregate:account", "ValueError: no"), "INTERNAL", "internal"),
    (errors.NotPermitted("angzarr-raw is off"), "PERMISSION_DENIED", "rejected"),
]
IDS = [f"{type(error).__name__}-{index}" for index, (error, _, _) in enumerate(TABLE)]


@pytest.mark.spec("WIRE-11", "STO-30")
@pytest.mark.parametrize(("error", "code", "kind"), TABLE, ids=IDS)
def test_error_has_code_and_kind_of_the_table(
    error: errors.AngzarrError, code: str, kind: str
) -> None:
    found = status.status_of(error)

    assert (found.code.name, dict(found.trailers)[status.KIND]) == (code, kind)
    assert found.message == str(error)


def classes(of: type[errors.AngzarrError]) -> set[type[errors.AngzarrError]]:
    return {of}.union(*(classes(sub) for sub in of.__subclasses__()))


@pytest.mark.spec("WIRE-11")
def test_every_class_of_error_has_a_kind_of_the_wire() -> None:
    kinds = re.search(r"\*\*WIRE-11\*\*.*?one of (.*?)\. `inv", WIRE_SPEC, re.DOTALL)

    assert kinds
    assert {found.kind for found in classes(errors.AngzarrError)} <= set(
        re.findall(r"`(\w+)`", kinds[1])
    )


@pytest.mark.spec("WIRE-11")
@pytest.mark.parametrize(("error", "code", "kind"), TABLE, ids=IDS)
def test_error_comes_back_as_its_class_with_its_text(
    error: errors.AngzarrError, code: str, kind: str
) -> None:
    sent = status.status_of(error)

    found = status.error_of(sent.code.name, sent.message, sent.trailers)

    assert (type(found), str(found)) == (type(error), str(error))


@pytest.mark.spec("WIRE-11")
@pytest.mark.parametrize(("error", "code", "kind"), TABLE, ids=IDS)
def test_fields_of_an_error_survive_the_way(
    error: errors.AngzarrError, code: str, kind: str
) -> None:
    """All but overlapping fields and what an edition error is about, which don't travel."""
    sent = status.status_of(error)

    found = vars(status.error_of(sent.code.name, sent.message, sent.trailers))

    lost = (
        {"cover", "fields", "strategy", "field", "limit", "value"} if kind == "edition" else set()
    )
    lost |= {"fields", "strategy"} if isinstance(error, errors.SequenceMismatch) else set()
    lost |= {"cover"} if isinstance(error, errors.CascadeConflict) else set()
    assert {k: v for k, v in found.items() if k not in lost} == {
        k: v for k, v in vars(error).items() if k not in lost
    }


@pytest.mark.spec("WIRE-11")
def test_invalid_input_carries_field_limit_and_value_percent_encoded() -> None:
    error = errors.InvalidInput("correlation_id", "0-128 of A-Z a-z", "größer als 50 %\n")

    trailers = dict(status.status_of(error).trailers)

    assert trailers[status.FIELD] == "correlation_id"
    assert unquote(str(trailers[status.LIMIT])) == "0-128 of A-Z a-z"
    assert str(trailers[status.VALUE]).isascii()
    assert unquote(str(trailers[status.VALUE])) == "größer als 50 %\n"


@pytest.mark.spec("WIRE-11")
@given(st.text())
def test_encoded_value_is_a_prefix_of_at_most_256_bytes_that_ends_at_a_character(text: str) -> None:
    encoded = status.encode(text)

    assert len(encoded) <= 256
    assert all("!" <= character <= "~" for character in encoded)
    assert text.startswith(unquote(encoded, errors="strict"))


@pytest.mark.spec("WIRE-10", "COMPAT-19")
def test_sequence_mismatch_carries_the_raw_book() -> None:
    trailers = dict(status.status_of(errors.SequenceMismatch(COVER, 5, 7, book=BOOK)).trailers)

    assert trailers["grpc-status-details-bin"] == BOOK


@pytest.mark.spec("WIRE-10")
def test_cascade_conflict_carries_the_raw_detail() -> None:
    error = errors.CascadeConflict(COVER, ["c1", "c0"], ["gold"])

    trailers = dict(status.status_of(error).trailers)

    detail = wire.CascadeConflictDetail(cascade_ids=["c0", "c1"], overlapping_fields=["gold"])
    assert trailers["grpc-status-details-bin"] == detail.SerializeToString()


@pytest.mark.spec("WIRE-10", "SYNC-6")
def test_a_failed_reaction_carries_what_was_stored_and_its_own_causes_code() -> None:
    inner = errors.ReactionFailed("Saga b", errors.SequenceMismatch(COVER, 5, 7, is_parked=True))
    error = errors.ReactionFailed("Saga a", inner, book=BOOK)

    found = status.status_of(error)

    assert (found.code.name, dict(found.trailers)[status.DETAILS]) == ("ABORTED", BOOK)
    assert found.message.startswith("Saga a failed: Saga b failed: Sequence mismatch")


@pytest.mark.spec("CMD-37")
def test_exhausted_conflict_carries_the_raw_book() -> None:
    text = "Sequence conflict: expected 5, got 7"
    error = errors.SequenceConflict(COVER, 5, 7, text, book=BOOK)

    found = status.status_of(error)

    assert (found.message, dict(found.trailers)[status.DETAILS]) == (text, BOOK)


def test_error_without_details_has_no_details_trailer() -> None:
    trailers = dict(status.status_of(errors.CommandRejected("no")).trailers)

    assert set(trailers) == {status.KIND}


@pytest.mark.spec("CMD-11", "COMPAT-5")
def test_remote_error_is_passed_on_unchanged() -> None:
    error = errors.RemoteError("DATA_LOSS", "half a byte", error_kind="corrupt", details=b"\x00raw")

    found = status.status_of(error)

    assert (found.code.name, found.message) == ("DATA_LOSS", "half a byte")
    assert dict(found.trailers) == {status.KIND: "corrupt", status.DETAILS: b"\x00raw"}


@pytest.mark.spec("WIRE-11", "DEP-4")
def test_what_a_peer_says_of_wrong_input_is_passed_on() -> None:
    """A forwarded refusal lost field, limit and value on the way."""
    sent = status.status_of(errors.InvalidInput("root", "16 bytes", "größer als 50 %"))

    passed_on = status.status_of(status.as_it_came(sent.code.name, sent.message, sent.trailers))

    assert passed_on == sent


@pytest.mark.spec("WIRE-11", "CMD-11")
@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("FAILED_PRECONDITION", "not enough funds", "rejected"),
        ("FAILED_PRECONDITION", "Sequence mismatch: command expects 1, aggregate at 2",
         "sequence_mismatch"),
        ("FAILED_PRECONDITION", "Sequence conflict: expected 1, got 2", "sequence_conflict"),
        ("FAILED_PRECONDITION", "the Sequence mismatch", "rejected"),
        ("INVALID_ARGUMENT", "bad", "invalid_input"),
        ("UNKNOWN", "ZeroDivisionError", "internal"),
        ("ABORTED", "Cascade conflict: fields {x} locked by cascades [c]", "cascade_conflict"),
        ("NOT_FOUND", "x", "not_found"),
        ("UNIMPLEMENTED", "x", "internal"),
        ("RESOURCE_EXHAUSTED", "Received message larger than max (5 vs. 4)", "too_large"),
        ("RESOURCE_EXHAUSTED", "busy", "overloaded"),
    ],
)  # fmt: skip
def test_status_without_kind_is_classified_by_code_and_prefix(
    code: str, message: str, kind: str
) -> None:
    assert status.kind_of(code, message) == kind


@pytest.mark.spec("WIRE-11")
def test_kind_wins_over_code_and_prefix() -> None:
    text = "Sequence mismatch between two decks"

    found = status.error_of("FAILED_PRECONDITION", text, ((status.KIND, "rejected"),))

    assert isinstance(found, errors.CommandRejected)


@pytest.mark.spec("WIRE-11")
def test_unknown_kind_is_a_remote_error_with_everything() -> None:
    trailers = ((status.KIND, "brand_new"), (status.DETAILS, b"d"))

    found = status.error_of("ABORTED", "later", trailers)

    assert isinstance(found, errors.RemoteError)
    assert (found.code, found.message, found.error_kind, found.details) == (
        "ABORTED", "later", "brand_new", b"d",
    )  # fmt: skip


def test_code_that_the_class_does_not_stand_for_is_kept_in_a_remote_error() -> None:
    found = status.error_of("UNKNOWN", "no", ((status.KIND, "rejected"),))

    assert isinstance(found, errors.RemoteError)
    assert found.code == "UNKNOWN"


def test_unreadable_details_do_not_hide_the_error() -> None:
    text = "Sequence mismatch: command expects 1, aggregate at 2"

    found = status.error_of("FAILED_PRECONDITION", text, ((status.DETAILS, b"\xff\xff"),))

    assert isinstance(found, errors.SequenceMismatch)
    assert (found.expected, found.actual, found.book) == (1, 2, b"\xff\xff")


@pytest.mark.spec("WIRE-11")
def test_unexpected_exception_is_internal_and_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        found = status.status_of(ZeroDivisionError("boom"))

    assert (found.code.name, dict(found.trailers)[status.KIND]) == ("INTERNAL", "internal")
    assert caplog.records[0].exc_info


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (ValueError("x"), "INTERNAL"),
        (errors.CommandRejected("x"), "FAILED_PRECONDITION"),
        (errors.RemoteError("ABORTED", "x"), "ABORTED"),
        (TimeoutError(), "DEADLINE_EXCEEDED"),
    ],
)
@pytest.mark.spec("WIRE-11")
def test_handler_failure_has_the_code_of_its_cause(cause: Exception, code: str) -> None:
    error = errors.HandlerFailed("aggregate:account", str(cause))
    error.__cause__ = cause

    found = status.status_of(error)

    assert (found.code.name, dict(found.trailers)[status.KIND]) == (code, "internal")


@given(st.text(max_size=6000), st.binary(max_size=4096))
def test_message_and_details_fit_into_what_clients_read(text: str, details: bytes) -> None:
    error = errors.RemoteError("UNKNOWN", text, details=details)

    found = status.status_of(error)

    on_the_wire = sum(
        1 if " " <= c <= "~" and c != "%" else 3 * len(c.encode()) for c in found.message
    )
    assert on_the_wire + len(details) * 4 // 3 < 8 * 1024
