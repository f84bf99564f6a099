"""What a reaction came to, on its way between processes."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any

from angzarr import errors, wire
from angzarr.coordinators.flow import Executed, Outcome, Refused
from angzarr.cover import Cover, Provenance
from angzarr.rpc import outcomes
from angzarr.rpc.status import status_of

ROOT = bytes(range(16))
COVER = Cover("order", ROOT, "what-if", "c-1")


def travelled(outcome: Outcome) -> Outcome:
    return outcomes.decoded(outcomes.encoded(outcome))


def book(payload: bytes = b"x" * 1000) -> wire.EventBook:
    made = wire.EventBook(next_sequence=6)
    made.cover.domain, made.cover.root.value = "shipment", ROOT
    for sequence in (4, 5):
        page = made.pages.add(committed=True)
        page.header.sequence = sequence
        page.event.CopyFrom(Any(type_url="type.googleapis.com/test.Set", value=payload))
    made.pages[1].cascade_id = "k-1"
    made.pages[1].committed = False
    return made


def test_nothing_is_nothing() -> None:
    assert outcomes.encoded(Outcome()) == b""
    assert travelled(Outcome()) == Outcome()


@pytest.mark.spec("DEP-12")
def test_executed_commands_keep_number_pages_errors_and_provenance() -> None:
    failed = wire.CascadeError(component_name="inner", error_message="no room")
    origin = Provenance(COVER, 7, "saga:shipping", 3, occasion=bytes(16))
    executed = (
        Executed(0, wire.EventBook()),
        Executed(65_536 * 3, book(), (failed,), origin),
    )

    first, second = travelled(Outcome(executed)).executed

    assert (first.index, first.provenance, len(first.book.pages)) == (0, None, 0)
    assert (second.index, second.cascade_errors, second.provenance) == (196_608, (failed,), origin)
    assert second.book.cover == book().cover
    assert second.book.next_sequence == 6
    assert [page.header.sequence for page in second.book.pages] == [4, 5]
    assert [(page.committed, page.cascade_id) for page in second.book.pages] == [
        (True, ""), (False, "k-1"),
    ]  # fmt: skip


def test_payloads_of_executed_commands_stay_where_they_are() -> None:
    """They may be as large as a message together, and nobody looks at them."""
    assert len(outcomes.encoded(Outcome((Executed(0, book(b"x" * 10**6)),)))) < 200


def test_refused_commands_come_whole() -> None:
    command = wire.CommandBook()
    command.pages.add().command.value = b"ship"
    error = errors.CommandRejected("no room")
    refused = (Refused(1, command, error), Refused(2, command, error, is_parked=True))

    found = travelled(Outcome(refused=refused)).refused

    assert [(item.index, item.command, item.is_parked) for item in found] == [
        (1, command, False), (2, command, True),
    ]  # fmt: skip
    assert [str(item.error) for item in found] == ["no room", "no room"]


@pytest.mark.spec("DEP-12", "WIRE-11")
@pytest.mark.parametrize(
    "error",
    [
        errors.CommandRejected("no trucks – é"),
        errors.InvalidInput("cover", "present", "none"),
        errors.TooLarge("x", "at most 1", 2),
        errors.SequenceMismatch(COVER, 77, 0, is_parked=True, book=b"\0\xff"),
        errors.SequenceConflict(COVER, 1, 2, book=b"\0\xff"),
        errors.UnknownDomain("nowhere"),
        errors.Overloaded("queue", 3),
        errors.StorageFailed("load events", "disk full"),
        errors.HandlerFailed("saga:shipping", "boom"),
        errors.ReactionFailed("Saga inner", errors.CommandRejected("no room"), book=b"\0\xff"),
        errors.CascadeDecided("k-1", "ROLLBACK", "wounded"),
        errors.RemoteError("UNKNOWN", "what", error_kind="", details=b"\1"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_failures_are_the_status_that_they_were(error: errors.AngzarrError) -> None:
    found = travelled(Outcome(failure=error)).failure

    assert isinstance(found, errors.RemoteError)
    assert str(found) == str(error)
    before, after = status_of(error), status_of(found)
    kept = ("angzarr-error-kind", "grpc-status-details-bin")
    assert (before.code, before.message) == (after.code, after.message)
    assert [dict(before.trailers).get(key) for key in kept] == [
        dict(after.trailers).get(key) for key in kept
    ]


def test_long_messages_are_not_cut() -> None:
    """Headers would have no room for this one, and a dead letter tells it."""
    text = "é" * 100_000

    found = travelled(Outcome(failure=errors.CommandRejected(text))).failure

    assert str(found) == text


def test_messages_that_are_no_unicode_travel() -> None:
    found = travelled(Outcome(failure=errors.CommandRejected("\ud800!"))).failure

    assert str(found) == "\\ud800!"


def test_answers_that_do_not_parse_are_internal() -> None:
    with pytest.raises(errors.RemoteError) as caught:
        outcomes.decoded(b"\xff")

    assert caught.value.code == "INTERNAL"
