"""The log as columns, in plain Python: rows are collected one by one (see `ports/columns.py`)."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final, get_args

from angzarr import wire
from angzarr.cover import MAIN
from angzarr.errors import InvalidInput
from angzarr.ports.columns import Columns, FieldColumn, FieldKind, FieldSpec
from angzarr.stores._extracting import ENCODINGS, Extractor, extractors_of
from angzarr.stores._pages import NS_PER_S, is_framework

TIME_MIN, TIME_MAX = -(2**63), 2**63 - 1
NUMBER_MAX: Final = 2**29 - 1
TYPE_CODES: Final = {"int": "q", "float": "d", "bool": "B", "text": "I", "payload": "Q"}


def check_scan(limit: int, fields: Sequence[FieldSpec]) -> None:
    """InvalidInput for a limit or a field that says nothing."""
    if limit < 1:
        raise InvalidInput("limit", "at least 1", limit)
    for field in fields:
        if field.kind not in get_args(FieldKind):
            raise InvalidInput(
                f"fields.{field.name}.kind", _listed(get_args(FieldKind)), field.kind
            )
        for path in field.paths:
            if path.numbers and path.encoding not in ENCODINGS:
                name = f"fields.{field.name}.encoding"
                raise InvalidInput(name, _listed(ENCODINGS), path.encoding)
            if any(not 0 < number < 2**29 for number in path.numbers):
                name = f"fields.{field.name}.numbers"
                raise InvalidInput(name, "1 to 2²⁹-1", path.numbers)


def _listed(names: Iterable[str]) -> str:
    return "one of " + ", ".join(names)


class Selection:
    """Which streams a scan is about."""

    def __init__(self, editions: Sequence[str] | None, domains: Sequence[str] | None) -> None:
        self._editions = None if editions is None else {edition or MAIN for edition in editions}
        self._domains = None if domains is None else set(domains)

    def has(self, stream: tuple[str, str, bytes]) -> bool:
        """Whether a stream's pages are wanted."""
        return (self._domains is None or stream[0] in self._domains) and (
            self._editions is None or stream[1] in self._editions
        )


class Rows:
    """Columns in the making."""

    def __init__(self, fields: Sequence[FieldSpec] = ()) -> None:
        self._specs = fields
        self._positions, self._sequences, self._times = array("Q"), array("I"), array("q")
        self._domains, self._editions, self._types = array("I"), array("I"), array("I")
        self._roots: list[bytes] = []
        self._domain_codes: dict[str, int] = {}
        self._edition_codes: dict[str, int] = {}
        self._type_codes: dict[str, int] = {}
        self._fields = [_Field(spec) for spec in fields]
        self._known: dict[str, tuple[int, list[tuple[_Field, Extractor]]] | None] = {}
        self._payloads = [field for field in self._fields if field.spec.kind == "payload"]

    def add(
        self,
        stream: tuple[str, str, bytes],
        first_position: int,
        pages: Iterable[wire.EventPage],
        after: int = 0,
    ) -> None:
        """Rows of a commit's pages, as they are to be seen; those at or below `after` are not."""
        domain, edition, root = stream
        start = len(self._positions)
        for position, page in enumerate(pages, first_position):
            if position <= after:
                continue
            event = page.event
            type_url = event.type_url
            known = self._known[type_url] if type_url in self._known else self._learn(type_url)
            if known is None:
                continue
            self._positions.append(position)
            self._sequences.append(page.header.sequence)
            created_at = page.created_at
            time_ns = created_at.seconds * NS_PER_S + created_at.nanos
            self._times.append(min(max(time_ns, TIME_MIN), TIME_MAX))
            self._types.append(known[0])
            if self._fields:
                self._extract(event.value, known[1], has_payload=page.HasField("event"))
        count = len(self._positions) - start
        if count:
            self._domains.extend([_code(self._domain_codes, domain)] * count)
            self._editions.extend([_code(self._edition_codes, edition)] * count)
            self._roots.append(root * count)

    def add_bare(
        self, stream: tuple[str, str, bytes], rows: Sequence[tuple[int, int, str, bytes]]
    ) -> None:
        """Rows without positions, of (sequence, time in nanoseconds, type URL, payload)."""
        domain, edition, root = stream
        count = 0
        for sequence, time_ns, type_url, payload in rows:
            known = self._known.get(type_url, ...)
            if known is ...:
                known = self._learn(type_url)
            if known is None:
                continue
            count += 1
            self._positions.append(0)
            self._sequences.append(sequence)
            self._times.append(time_ns)
            self._types.append(known[0])
            if known[1] or self._payloads:
                self._extract(payload, known[1], has_payload=True)
        if count:
            self._domains.extend([_code(self._domain_codes, domain)] * count)
            self._editions.extend([_code(self._edition_codes, edition)] * count)
            self._roots.append(root * count)

    def columns(self, last: int) -> Columns:
        """All rows; `last` as the port says."""
        return Columns(
            count=len(self._positions),
            last=last,
            positions=_little(self._positions),
            sequences=_little(self._sequences),
            times=_little(self._times),
            domains=_little(self._domains),
            editions=_little(self._editions),
            types=_little(self._types),
            roots=b"".join(self._roots),
            domain_names=list(self._domain_codes),
            edition_names=list(self._edition_codes),
            type_names=list(self._type_codes),
            fields=[field.column(len(self._positions)) for field in self._fields],
        )

    def _learn(self, type_url: str) -> tuple[int, list[tuple[_Field, Extractor]]] | None:
        """Code and extractors of a type; None for framework events."""
        if is_framework(type_url):
            self._known[type_url] = None
            return None
        code = _code(self._type_codes, type_url.rpartition("/")[2])
        found = [
            (field, extractor)
            for field, extractor in zip(
                self._fields, extractors_of(self._specs, type_url), strict=True
            )
            if extractor is not None
        ]
        self._known[type_url] = code, found
        return self._known[type_url]

    def _extract(
        self, payload: bytes, found: list[tuple[_Field, Extractor]], *, has_payload: bool
    ) -> None:
        row = len(self._positions)
        if has_payload:
            for field in self._payloads:
                field.put(row, payload)
        for field, extractor in found:
            value = extractor(payload)
            if value is not None:
                field.put(row, value)


class _Field:
    """A FieldColumn in the making. Rows without a value are filled in when one comes after them."""

    def __init__(self, spec: FieldSpec) -> None:
        self.spec = spec
        self._values: array[Any] = array(TYPE_CODES[spec.kind])
        self._valid = bytearray()
        self._codes: dict[str, int] = {}
        self._payloads: list[bytes] = []
        self._size_bytes = 0

    def put(self, row: int, value: bytes | int | float | str) -> None:
        """The value of the row with this number, counted from 1."""
        self._fill(row - 1)
        if isinstance(value, bytes):
            self._payloads.append(value)
            self._values.append(self._size_bytes)
            self._size_bytes += len(value)
        else:
            self._values.append(_code(self._codes, value) if isinstance(value, str) else value)
        self._valid.append(1)

    def column(self, count: int) -> FieldColumn:
        """The column of `count` rows."""
        self._fill(count)
        name, kind = self.spec.name, self.spec.kind
        valid = bytes(self._valid)
        if kind != "payload":
            return FieldColumn(name, kind, _little(self._values), valid, list(self._codes))
        offsets = _little(self._values + array("Q", [self._size_bytes]))
        return FieldColumn(name, kind, b"".join(self._payloads), valid, [], offsets)

    def _fill(self, count: int) -> None:
        missing = count - len(self._valid)
        if missing > 0:
            empty = self._size_bytes if self.spec.kind == "payload" else 0
            self._values.extend([empty] * missing)
            self._valid.extend(bytes(missing))


def _code(codes: dict[str, int], name: str) -> int:
    return codes.setdefault(name, len(codes))


def _little(values: array[Any]) -> bytes:
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values.tobytes()
