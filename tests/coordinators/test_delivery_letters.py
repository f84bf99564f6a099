"""Dead letters of deliveries (DLQ-1, DLQ-2)."""

from __future__ import annotations

import base64

import pytest

from angzarr import wire
from angzarr.coordinators import letters
from angzarr.testing.clock import START_NS
from angzarr.testing.pages import book_of, cover_of, pages, parse_book

COVER = cover_of("alice", edition="what-if", correlation_id="c-1")
BOOK = book_of(COVER, pages(3, 2))


def _letter(book: bytes = BOOK, **more: object) -> wire.AngzarrDeadLetter:
    facts: dict[str, object] = {
        "attempts": 10,
        "is_transient": True,
        "component": "saga:shipping",
        "component_type": "saga",
        "now_ns": START_NS + 5,
    }
    encoded = letters.delivery_letter(book, "it failed", **(facts | more))
    return wire.AngzarrDeadLetter.FromString(encoded)


@pytest.mark.spec("DLQ-2")
def test_a_delivery_that_was_given_up_is_a_letter_with_its_events():
    letter = _letter()

    assert letter.WhichOneof("payload") == "rejected_events"
    assert letter.rejected_events == parse_book(BOOK)
    assert letter.cover == parse_book(BOOK).cover
    assert letter.rejection_reason == "Event processing failed after 10 attempts: it failed"
    assert (letter.source_component, letter.source_component_type) == ("saga:shipping", "saga")
    assert letter.occurred_at.ToNanoseconds() == START_NS + 5


@pytest.mark.spec("DLQ-2", "DLQ-3")
@pytest.mark.parametrize(("attempts", "is_transient"), [(10, True), (1, False)])
def test_its_detail_tells_error_retries_and_whether_another_attempt_may_do_better(
    attempts, is_transient
):
    letter = _letter(attempts=attempts, is_transient=is_transient)

    assert letter.WhichOneof("rejection_details") == "event_processing_failed"
    assert letter.event_processing_failed == wire.EventProcessingFailedDetails(
        error="it failed", retry_count=attempts - 1, is_transient=is_transient
    )


@pytest.mark.spec("DLQ-2", "STO-26")
@pytest.mark.parametrize("book", [b"\x0a\xff", b"no book"])
def test_a_book_that_does_not_parse_is_kept_all_the_same(book):
    letter = _letter(book)

    assert letter.WhichOneof("payload") == "rejected_events"
    assert base64.b64decode(letter.metadata[letters.UNDECODABLE]) == book


@pytest.mark.spec("DLQ-1")
def test_the_topic_follows_from_the_domain():
    assert letters.topic(_letter()) == "angzarr.dlq.account"


@pytest.mark.spec("DLQ-1")
def test_the_topic_of_a_letter_without_a_cover_is_unknown():
    assert letters.topic(_letter(b"no book")) == "angzarr.dlq.unknown"
