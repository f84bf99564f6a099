"""Which dead letters a list is to show: `field = "value" {AND …}` (DLQ-7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NoReturn

from google.protobuf.timestamp_pb2 import Timestamp

from angzarr import wire
from angzarr.coordinators import books
from angzarr.errors import InvalidInput

TYPES: Final = tuple(
    field.name
    for field in wire.AngzarrDeadLetter.DESCRIPTOR.oneofs_by_name["rejection_details"].fields
)
"""Names of a letter's details, which are its rejection types."""

_TEXTS: Final = ("domain", "correlation_id", "rejection_type", "source_component")
_TIMES: Final = ("occurred_after", "occurred_before")
_FORM: Final = 'field = "value", joined by AND'

_TERM = re.compile(r'\s*(\w+)\s*=\s*"([^"]*)"')
_AND = re.compile(r"\s+AND(?=\s)")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """What is asked of a letter; all of it, and all letters where nothing is asked.

    texts: wanted values by field. after_ns, before_ns: bounds of occurred_at, both exclusive.
    """

    texts: dict[str, str]
    after_ns: int | None = None
    before_ns: int | None = None

    def matches(self, entry: wire.DeadLetterEntry) -> bool:
        """Whether the entry has it. A letter that says no time occurred when it was stored."""
        letter = entry.letter
        found = {
            "domain": letter.cover.domain,
            "correlation_id": letter.cover.correlation_id,
            "rejection_type": entry.rejection_type,
            "source_component": letter.source_component,
        }
        if any(found[field] != value for field, value in self.texts.items()):
            return False
        has_time = letter.HasField("occurred_at")
        occurred_ns = books.nanoseconds(letter.occurred_at if has_time else entry.created_at)
        return (self.after_ns is None or occurred_ns > self.after_ns) and (
            self.before_ns is None or occurred_ns < self.before_ns
        )


def parse(text: str) -> LetterFilter:
    """The filter in `text`; "" lets all pass.

    Raises InvalidInput naming what is unknown, repeated or malformed.
    """
    values: dict[str, str] = {}
    position = 0
    while text[position:].strip():
        if values:
            joined = _AND.match(text, position)
            position = joined.end() if joined else _malformed(text[position:])
        term = _TERM.match(text, position) or _malformed(text[position:])
        _add(values, term[1], term[2])
        position = term.end()
    return LetterFilter(
        {field: values[field] for field in _TEXTS if field in values},
        *(_time_ns(field, values[field]) if field in values else None for field in _TIMES),
    )


def _add(values: dict[str, str], field: str, value: str) -> None:
    known = (*_TEXTS, *_TIMES)
    if field not in known:
        names = ", ".join(known)
        raise InvalidInput(
            "filter", f"of {names}", field, f"filter: unknown field {field}; known: {names}"
        )
    if field in values:
        raise InvalidInput("filter", "each field once", field, f"filter: {field} is repeated")
    if field == "rejection_type" and value not in TYPES:
        names = ", ".join(TYPES)
        message = f"filter: unknown rejection_type {value!r}; known: {names}"
        raise InvalidInput("filter", f"rejection_type of {names}", value, message)
    values[field] = value


def _time_ns(field: str, value: str) -> int:
    time = Timestamp()
    try:
        if not _TIME.fullmatch(value):
            raise ValueError(value)
        time.FromJsonString(value)
    except ValueError as error:
        example = "an RFC 3339 time such as 2026-01-31T12:00:00Z"
        message = f"filter: {field} must be {example}, got {value!r}"
        raise InvalidInput("filter", f"{field}: {example}", value, message) from error
    return books.nanoseconds(time)


def _malformed(text: str) -> NoReturn:
    where = text.strip() or "nothing after AND"
    raise InvalidInput("filter", _FORM, where, f"filter must be {_FORM}; malformed: {where}")
