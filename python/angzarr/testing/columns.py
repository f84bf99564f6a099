"""Rows of columns, one by one, as tests compare them."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from angzarr.ports.columns import Columns, FieldColumn
from angzarr.ports.event_store import LogEntry
from angzarr.testing.clock import NS_PER_S
from angzarr.testing.pages import parse_book

FORMATS = {"int": "q", "float": "d", "bool": "B", "text": "I"}


class Row(NamedTuple):
    """One row; fields in the order that they were asked in, None without a value."""

    position: int
    sequence: int
    time_ns: int
    domain: str
    edition: str
    type: str
    root: bytes
    fields: tuple[object, ...] = ()


def rows_of(columns: Columns) -> list[Row]:
    """All rows of an answer, its buffers checked for their sizes and its names for their use."""
    count = columns.count
    roots = [columns.roots[n : n + 16] for n in range(0, len(columns.roots), 16)]
    fields = [values_of(field, count) for field in columns.fields]
    parts: list[Sequence[object]] = [
        _numbers("Q", columns.positions, count),
        _numbers("I", columns.sequences, count),
        _numbers("q", columns.times, count),
        _named(columns.domains, columns.domain_names, count),
        _named(columns.editions, columns.edition_names, count),
        _named(columns.types, columns.type_names, count),
        roots,
        list(zip(*fields, strict=True)) if fields else [()] * count,
    ]
    return [Row(*row) for row in zip(*parts, strict=True)]  # pyright: ignore[reportArgumentType]


def values_of(field: FieldColumn, count: int) -> list[object]:
    """The values of a field's `count` rows; what there is without one is checked to be 0."""
    values: Sequence[object]
    if field.kind == "payload":
        ends = _numbers("Q", field.offsets, count + 1)
        assert (ends[0], ends[-1]) == (0, len(field.values))
        values = [field.values[a:b] for a, b in itertools.pairwise(ends)]
        assert not field.vocabulary
    else:
        values = _numbers(FORMATS[field.kind], field.values, count)
        assert not field.offsets
    assert len(field.valid) == count
    assert set(field.valid) <= {0, 1}
    assert not any(
        value for value, is_valid in zip(values, field.valid, strict=True) if not is_valid
    )
    if field.kind == "text":
        codes = [int(str(value)) for value in values]
        used = {code for code, is_valid in zip(codes, field.valid, strict=True) if is_valid}
        _check_names(field.vocabulary, used)
        values = [field.vocabulary[code] if field.vocabulary else "" for code in codes]
    if field.kind == "bool":
        values = [bool(value) for value in values]
    return [v if is_valid else None for v, is_valid in zip(values, field.valid, strict=True)]


def rows_of_log(entries: Iterable[LogEntry]) -> list[Row]:
    """The rows that log entries are to have, without fields."""
    rows: list[Row] = []
    for entry in entries:
        book = parse_book(entry.book)
        cover = book.cover
        for position, page in enumerate(book.pages, entry.first_position):
            name = page.event.type_url.rpartition("/")[2]
            package, dot, rest = name.partition(".")
            if package == "angzarr" and dot and "." not in rest:
                continue
            time_ns = page.created_at.seconds * NS_PER_S + page.created_at.nanos
            rows.append(
                Row(
                    position,
                    page.header.sequence,
                    time_ns,
                    cover.domain,
                    cover.edition.name,
                    name,
                    cover.root.value,
                )
            )
    return rows


def _numbers(format: str, data: bytes, count: int) -> tuple[int, ...]:
    return struct.unpack(f"<{count}{format}", data)


def _named(codes: bytes, names: Sequence[str], count: int) -> list[str]:
    numbers = _numbers("I", codes, count)
    _check_names(names, set(numbers))
    return [names[code] for code in numbers]


def _check_names(names: Sequence[str], used: set[int]) -> None:
    assert len(set(names)) == len(names), f"a name twice: {names}"
    assert used == set(range(len(names))), f"names without a row: {names}, {used}"
