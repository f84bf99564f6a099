"""What every dead letter of a coordinator has (DLQ-2)."""

from __future__ import annotations

import pytest

from angzarr import wire
from angzarr.coordinators import letters
from angzarr.coordinators.letter_filter import TYPES
from angzarr.ports.dead_letters import rejection_type_of
from angzarr.testing.clock import START_NS

COMMAND = wire.CommandBook(
    cover=wire.Cover(domain="account", root=wire.UUID(value=bytes(16)), correlation_id="c-1"),
    pages=[wire.CommandPage(header=wire.PageHeader(sequence=3))],
)
REFERENCE = wire.PayloadReference(
    storage_type=wire.PAYLOAD_STORAGE_TYPE_FILESYSTEM,
    uri="file:///blob",
    content_hash=b"hash",
    original_size=9,
)
MADE = {
    "sequence_mismatch": letters.mismatch_letter(COMMAND, 3, 5, "aggregate:account", START_NS),
    "payload_retrieval_failed": letters.payload_letter(
        COMMAND, REFERENCE, "gone", "aggregate:account", START_NS
    ),
}


def parsed(name: str) -> wire.AngzarrDeadLetter:
    return wire.AngzarrDeadLetter.FromString(MADE[name])


@pytest.mark.spec("DLQ-2")
@pytest.mark.parametrize("name", MADE)
def test_every_letter_has_all_that_says_where_it_is_from(name: str) -> None:
    letter = parsed(name)

    assert letter.cover == COMMAND.cover
    assert letter.WhichOneof("payload") == "rejected_command"
    assert letter.rejected_command == COMMAND
    assert letter.WhichOneof("rejection_details") == name
    assert letter.occurred_at.ToNanoseconds() == START_NS
    assert (letter.source_component, letter.source_component_type) == (
        "aggregate:account",
        "aggregate",
    )


@pytest.mark.spec("DLQ-2")
def test_a_mismatch_says_both_sequences_and_the_strategy() -> None:
    letter = parsed("sequence_mismatch")

    assert letter.rejection_reason == "Sequence mismatch: command expects 3, aggregate at 5"
    assert letter.sequence_mismatch == wire.SequenceMismatchDetails(
        expected_sequence=3, actual_sequence=5, merge_strategy=wire.MERGE_MANUAL
    )


@pytest.mark.spec("DLQ-2", "PAY-6")
def test_an_unreadable_payload_says_which_and_why() -> None:
    letter = parsed("payload_retrieval_failed")

    assert letter.rejection_reason == "payload file:///blob unreadable: gone"
    assert letter.payload_retrieval_failed == wire.PayloadRetrievalFailedDetails(
        storage_type=wire.PAYLOAD_STORAGE_TYPE_FILESYSTEM,
        uri="file:///blob",
        content_hash=b"hash",
        original_size=9,
        error="gone",
    )


@pytest.mark.spec("DLQ-2", "DLQ-7")
@pytest.mark.parametrize("name", MADE)
def test_a_letters_detail_is_its_rejection_type(name: str) -> None:
    assert rejection_type_of(parsed(name)) == name
    assert name in TYPES


@pytest.mark.spec("DLQ-7")
def test_the_rejection_types_are_those_of_the_wire() -> None:
    assert TYPES == ("sequence_mismatch", "event_processing_failed", "payload_retrieval_failed")
