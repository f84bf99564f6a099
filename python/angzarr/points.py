"""Points in time that a stream can be read as of: a sequence, a moment, or a position of the log.

await hands.state("h1", at=12)                                  # after page 12
await hands.state("h1", at=datetime(2026, 1, 31, tzinfo=UTC))   # what was created by then
await hands.state("h1", at=Position(4711))                      # when the log ended there
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from angzarr import wire
from angzarr.errors import InvalidInput

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SEQUENCE_MAX: Final = 2**32 - 1
POSITION_MAX: Final = 2**64 - 1
WORD: Final = "position:"
"""What a position is written with where a plain number is a sequence."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a store's publication log: the number of its pages up to there; 0 is before all.

    One position is one moment of all streams at once, which a sequence is not, and it doesn't
    depend on clocks, as a time does. `client.position()` tells where the log ends now.
    """

    number: int

    def __int__(self) -> int:
        return self.number

    def __str__(self) -> str:
        return f"{WORD}{self.number}"


At = int | datetime | Position
"""int: a sequence, that page included. datetime: pages created by then; it has a time zone.
Position: pages that were in the log when it ended there (QRY-8, QRY-16)."""


def temporal(at: At) -> wire.TemporalQuery:
    """The point as the wire has it.

    Raises ValueError for a negative or too large number and for a time without a zone, TypeError
    for anything else.
    """
    if isinstance(at, Position):
        return wire.TemporalQuery(as_of_position=_within(at.number, POSITION_MAX, at))
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise ValueError(f"at={at.isoformat()} needs a time zone, e.g. datetime.now(UTC)")
        return wire.TemporalQuery(as_of_time=timestamp(at))
    if isinstance(at, bool) or not isinstance(at, int):  # pyright: ignore[reportUnnecessaryIsInstance]  # what users give
        raise TypeError(f"at is a sequence, a datetime or a Position, not {at!r}")
    return wire.TemporalQuery(as_of_sequence=_within(at, SEQUENCE_MAX, at))


def timestamp(moment: datetime) -> Timestamp:
    """The wire's Timestamp of a moment with a time zone."""
    since = moment - EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)


def moment(time: Timestamp) -> datetime:
    """The Timestamp as UTC, to the microsecond."""
    return EPOCH + timedelta(seconds=time.seconds, microseconds=time.nanos // 1_000)


def parse(text: str, field: str = "at") -> At:
    """A point as people write it: `7`, `2026-01-31T12:00:00Z` or `position:4711`.

    A time without a zone is UTC. Raises InvalidInput, naming `field`, for anything else.
    """
    number = text.removeprefix(WORD)
    if number.isdecimal() and number.isascii():
        value = int(number)
        if value > (POSITION_MAX if number != text else SEQUENCE_MAX):
            raise InvalidInput(field, "a number that fits", text)
        return value if number == text else Position(value)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        what = f"{text!r} is neither a sequence (7), nor a time (2026-01-31T12:00:00Z), nor a "
        message = f"{what}position ({WORD}4711)"
        raise InvalidInput(field, "a sequence, a time or a position", text, message) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _within(number: int, most: int, at: At) -> int:
    if not 0 <= number <= most:
        raise ValueError(f"at={at}: must be 0 to {most}")
    return number
