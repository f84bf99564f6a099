"""Rows of the log as columns: what `EventStore.scan` is asked for, and what it answers with.

Buffers are little-endian, one value a row, ready for `numpy.frombuffer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FieldKind = Literal["int", "float", "bool", "text", "payload"]


@dataclass(frozen=True, slots=True)
class FieldPath:
    """Where a field is in payloads of one type.

    type_name: full name, without a prefix. keys: of JSON payloads, from the outside in. numbers: of
    protobuf payloads, field numbers from the outside in. encoding: of the last number: `varint`,
    `zigzag`, `bool`, `fixed32`, `fixed64`, `sfixed32`, `sfixed64`, `float`, `double` or `string`.
    Of a type with several paths the first counts.
    """

    type_name: str
    keys: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    encoding: str = ""


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A payload field that becomes a column.

    kind: `int` (i64), `float` (f64), `bool` (u8), `text` (codes into a vocabulary), or `payload`:
    the whole encoded payload, whatever its type, without paths. Types without a path, and payloads
    where the field is absent or of another kind, have no value in the column. A whole number is
    fine as `float`; nothing else is converted. Numbers beyond the column's type are no value; a
    varint is read as two's complement.
    """

    name: str
    kind: FieldKind
    paths: tuple[FieldPath, ...] = ()


@dataclass(frozen=True, slots=True)
class FieldColumn:
    """A FieldSpec's values.

    values: i64, f64, u8, or u32 codes into `vocabulary`, 0 where there is none; of `payload` the
    payloads' bytes one after the other. valid: u8, 1 where the row has a value. offsets: of
    `payload`, u64, count + 1.
    """

    name: str
    kind: FieldKind
    values: bytes
    valid: bytes
    vocabulary: list[str]
    offsets: bytes = b""


@dataclass(frozen=True, slots=True)
class Columns:
    """Visible user events of the log, in its order (framework events and NoOps are left out).

    count: rows. last: the position up to which the log was looked at, where the next scan goes on;
    equal to what was asked for as `after` at the log's end. positions: u64. sequences: u32. times:
    i64, created_at in nanoseconds since the epoch. domains, editions, types: u32 codes into the
    vocabularies, which are those of this answer. types: full names without a prefix, "" of a page
    without an event. roots: 16 bytes a row.
    """

    count: int
    last: int
    positions: bytes
    sequences: bytes
    times: bytes
    domains: bytes
    editions: bytes
    types: bytes
    roots: bytes
    domain_names: list[str]
    edition_names: list[str]
    type_names: list[str]
    fields: list[FieldColumn]
