"""The filter of a list of dead letters (DLQ-7)."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from angzarr import wire
from angzarr.coordinators import letter_filter
from angzarr.errors import InvalidInput

pytestmark = pytest.mark.spec("DLQ-7")


def entry(**fields: str) -> wire.DeadLetterEntry:
    """An entry; `occurred_at` and `created_at` are RFC 3339."""
    made = wire.DeadLetterEntry(id="1", rejection_type=fields.get("rejection_type", ""))
    made.letter.cover.domain = fields.get("domain", "account")
    made.letter.cover.correlation_id = fields.get("correlation_id", "")
    made.letter.source_component = fields.get("source_component", "")
    if "occurred_at" in fields:
        made.letter.occurred_at.FromJsonString(fields["occurred_at"])
    made.created_at.CopyFrom(Timestamp())
    made.created_at.FromJsonString(fields.get("created_at", "2026-01-31T12:00:00Z"))
    return made


def matches(text: str, **fields: str) -> bool:
    return letter_filter.parse(text).matches(entry(**fields))


@pytest.mark.parametrize("text", ["", "  "])
def test_no_filter_lets_all_pass(text: str) -> None:
    assert matches(text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("domain", "order"),
        ("correlation_id", "c-1"),
        ("rejection_type", "sequence_mismatch"),
        ("source_component", "saga:shipping"),
    ],
)
def test_a_text_field_must_be_equal(field: str, value: str) -> None:
    text = f'{field} = "{value}"'

    assert matches(text, **{field: value})
    assert not matches(text, **{field: value + "x"})
    assert not matches(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('occurred_after = "2026-01-31T11:59:59Z"', True),
        ('occurred_after = "2026-01-31T12:00:00Z"', False),
        ('occurred_before = "2026-01-31T12:00:00Z"', False),
        ('occurred_before = "2026-01-31T12:00:00.000000001Z"', True),
        ('occurred_after = "2026-01-31T13:59:59+02:00"', True),
        ('occurred_before = "2026-01-31T13:00:00+02:00"', False),
    ],
)
def test_times_are_exclusive_bounds_of_the_instant(text: str, expected: bool) -> None:
    assert matches(text, occurred_at="2026-01-31T12:00:00Z", created_at="2030-01-01T00:00:00Z") is (
        expected
    )


def test_a_letter_without_a_time_occurred_when_it_was_stored() -> None:
    text = 'occurred_after = "2026-01-30T00:00:00Z"'

    assert matches(text, created_at="2026-01-31T00:00:00Z")
    assert not matches(text, created_at="2026-01-29T00:00:00Z")


@pytest.mark.parametrize("joined", [" AND ", "  AND\t"])
def test_all_of_several_fields_must_match(joined: str) -> None:
    text = joined.join(
        ['domain="order"', 'source_component = "saga:x"', 'occurred_after= "2026-01-01T00:00:00Z"']
    )

    assert matches(text, domain="order", source_component="saga:x")
    assert not matches(text, domain="order")
    assert not matches(text, domain="account", source_component="saga:x")
    assert not matches(
        text, domain="order", source_component="saga:x", created_at="2025-01-01T00:00:00Z"
    )


def test_a_value_may_hold_the_word_that_joins() -> None:
    assert matches('correlation_id = "a AND b"', correlation_id="a AND b")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('root = "x"', "unknown field root"),
        ('Domain = "x"', "unknown field Domain"),
        ('domain = "x" AND domain = "y"', "domain is repeated"),
        ('domain = "x" AND rejection_type = "typo"', "unknown rejection_type 'typo'"),
        ("domain = x", "malformed: domain = x"),
        ('domain "x"', 'malformed: domain "x"'),
        ('domain = "x', 'malformed: domain = "x'),
        ("nonsense", "malformed: nonsense"),
        ('domain = "x" AND', "malformed: AND"),
        ('domain = "x" AND ', "malformed: nothing after AND"),
        ('AND domain = "x"', "malformed: AND domain"),
        ('domain = "x" OR correlation_id = "y"', "malformed: OR"),
        ('domain = "x" and correlation_id = "y"', "malformed: and"),
        ('domain = "x" correlation_id = "y"', "malformed: correlation_id"),
        ('domain = "x"AND correlation_id = "y"', "malformed: AND"),
        ('domain != "x"', "malformed: domain !="),
        ('occurred_after = "yesterday"', "occurred_after must be an RFC 3339 time"),
        ('occurred_after = "2026-01-31"', "got '2026-01-31'"),
        ('occurred_after = "2026-01-31T12:00:00"', "got '2026-01-31T12:00:00'"),
        ('occurred_before = "2026-02-31T12:00:00Z"', "got '2026-02-31T12:00:00Z'"),
        ('occurred_before = "2026-1-31T12:00:00Z"', "got '2026-1-31T12:00:00Z'"),
    ],
)
def test_what_is_unknown_repeated_or_malformed_is_named(text: str, named: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        letter_filter.parse(text)

    assert named in str(refused.value)
    assert refused.value.field == "filter"
