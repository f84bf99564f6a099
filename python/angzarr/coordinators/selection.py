"""A query's selection, checked and applied (QRY-6 to QRY-8)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from angzarr import wire
from angzarr.coordinators import books, validate
from angzarr.errors import InvalidInput

GAP_MAX: Final = 64
"""Unwanted pages that are rather read than skipped by another read."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Pages [start, stop), or those in `values`, or those with created_at ≤ until_ns, or those that
    the log had at `position`; stop None is the end.
    """

    start: int = 0
    stop: int | None = None
    values: tuple[int, ...] | None = None
    until_ns: int | None = None
    position: int | None = None

    @property
    def is_range(self) -> bool:
        return self.values is None and self.until_ns is None and self.position is None


def chosen(query: wire.Query) -> Chosen | None:
    """The query's selection; None is all pages. InvalidInput for a temporal one without a valid
    point.
    """
    kind = query.WhichOneof("selection")
    if kind == "range":
        lower = query.range.lower
        if not query.range.HasField("upper"):
            return Chosen(lower)
        return Chosen(lower, max(lower, query.range.upper + 1))
    if kind == "sequences":
        return Chosen(values=tuple(sorted(set(query.sequences.values))))
    if kind == "temporal":
        return _temporal(query.temporal)
    return None


def apply(choice: Chosen, pages: Iterable[wire.EventPage]) -> list[wire.EventPage]:
    """Those of `pages` that are chosen, in their order; a position has become a `stop` before."""
    if choice.values is not None:
        wanted = set(choice.values)
        return [page for page in pages if page.header.sequence in wanted]
    if choice.until_ns is not None:
        return [page for page in pages if books.nanoseconds(page.created_at) <= choice.until_ns]
    return [
        page
        for page in pages
        if page.header.sequence >= choice.start
        and (choice.stop is None or page.header.sequence < choice.stop)
    ]


def stretches(values: Iterable[int]) -> Iterator[tuple[int, int]]:
    """[start, stop) stretches that cover ascending `values`, wide gaps left out; one empty stretch
    for no values.
    """
    start = stop = None
    for value in values:
        if start is None or stop is None:
            start = value
        elif value - stop > GAP_MAX:
            yield start, stop
            start = value
        stop = value + 1
    yield (0, 0) if start is None or stop is None else (start, stop)


def _temporal(query: wire.TemporalQuery) -> Chosen:
    kind = query.WhichOneof("point_in_time")
    if kind == "as_of_sequence":
        return Chosen(stop=query.as_of_sequence + 1)
    if kind == "as_of_time":
        return Chosen(until_ns=validate.time_ns(query.as_of_time, "temporal.as_of_time"))
    if kind == "as_of_position":
        return Chosen(position=query.as_of_position)
    raise InvalidInput(
        "temporal",
        "as_of_time, as_of_sequence or as_of_position",
        "neither",
        "TemporalQuery must specify as_of_time or as_of_sequence",
    )
