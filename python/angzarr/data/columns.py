"""A store's columns as batches: categories that stay, fields put together of their parts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any as Untyped
from typing import Final, cast, overload

import numpy as np
from numpy.typing import NDArray

from angzarr.data.batch import Array, Batch, Payloads
from angzarr.data.fields import Plan
from angzarr.errors import CorruptData, TooLarge
from angzarr.ports.columns import Columns, FieldColumn, FieldSpec

CATEGORIES_MAX: Final = 1 << 20
"""Strings that one column's categories keep in memory."""
PAYLOAD: Final = "\npayload"
"""The spec of whole payloads; no column is called so."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NAT: Final = np.iinfo(np.int64).min
_CODED: Final = ("domain", "edition", "type")
_DTYPES: Final = {"int": "<i8", "float": "<f8", "bool": "|u1", "text": "<u4"}


class Vocabulary(Sequence[str]):
    """Categories of one column, which only grow: a string keeps its code."""

    def __init__(self, name: str, limit: int = CATEGORIES_MAX) -> None:
        self._name = name
        self._limit = limit
        self._names: list[str] = []
        self._codes: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self._names[index]

    def __repr__(self) -> str:
        return f"Vocabulary({self._names!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._names == list(cast("Sequence[object]", other))

    def __hash__(self) -> int:
        return id(self)

    def codes(self, names: Iterable[str]) -> NDArray[np.int32]:
        """The codes of `names`; new ones get the next. Raises TooLarge."""
        codes = self._codes
        found = [codes.setdefault(name, len(codes)) for name in names]
        if len(codes) > len(self._names):
            if len(codes) > self._limit:
                raise TooLarge(
                    f"categories of {self._name}",
                    f"at most {self._limit}; Field(…, kind='strings') keeps none",
                    len(codes),
                )
            self._names.extend(list(codes)[len(self._names) :])
        return np.array(found, np.int32)


class Reader:
    """Makes batches of what a store answers; one for a whole reading, since categories are its.

    plans: of the payload fields. has_payloads: whether rows have their payloads. types: full names
    of those that are wanted; None is all.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        *,
        has_payloads: bool = False,
        types: Collection[str] | None = None,
        categories_max: int = CATEGORIES_MAX,
    ) -> None:
        self.plans = plans
        self.has_payloads = has_payloads
        self._types = types
        texts = [plan.name for plan in plans if plan.kind == "text"]
        self.categories = {name: Vocabulary(name, categories_max) for name in (*_CODED, *texts)}

    def specs(self, *, with_payloads: bool = False) -> list[FieldSpec]:
        """What the store is to read."""
        found = [spec for plan in self.plans for spec in plan.specs.values()]
        if self.has_payloads or with_payloads:
            found.append(FieldSpec(PAYLOAD, "payload"))
        return found

    def batch(self, found: Columns) -> Batch:
        """All rows of an answer. Raises TooLarge for too many categories, CorruptData for buffers
        that are not as the port says."""
        count = found.count
        columns: dict[str, Array] = {
            "position": _array(found.positions, "<u8", count),
            "sequence": _array(found.sequences, "<u4", count),
            "time": _array(found.times, "<i8", count).view("<M8[ns]"),
            "domain": self._coded("domain", found.domains, found.domain_names, count),
            "edition": self._coded("edition", found.editions, found.edition_names, count),
            "type": self._coded("type", found.types, found.type_names, count),
            "root": _array(found.roots, "V16", count),
        }
        valid: dict[str, NDArray[np.bool_]] = {}
        by_name = {column.name: column for column in found.fields}
        for plan in self.plans:
            columns[plan.name], valid[plan.name] = self._field(plan, by_name, columns["type"])
        payloads = _payloads(by_name[PAYLOAD], count) if PAYLOAD in by_name else None
        return Batch(columns, valid, self.categories, found.last, payloads)

    def wanted(self, batch: Batch, until: int | None = None) -> Batch:
        """The rows of the wanted types, with positions up to `until`."""
        mask: NDArray[np.bool_] | None = None
        if self._types is not None:
            names = self.categories["type"]
            mask = np.array([name in self._types for name in names], bool)[batch["type"]]
        if until is not None and len(batch) and int(batch["position"][-1]) > until:
            below = batch["position"] <= until
            mask = below if mask is None else mask & below
        return batch if mask is None or mask.all() else batch.where(mask)

    def _coded(self, name: str, data: bytes, names: Sequence[str], count: int) -> Array:
        return _recoded(_array(data, "<u4", count), self.categories[name].codes(names))

    def _field(
        self, plan: Plan, found: Mapping[str, FieldColumn], types: Array
    ) -> tuple[Array, NDArray[np.bool_]]:
        """A plan's values and where there are any."""
        count = len(types)
        parts = {role: found[spec.name] for role, spec in plan.specs.items()}
        if plan.kind == "datetime":
            return _times(parts, count)
        values, valid = _value(parts["value"], count)
        if plan.kind in ("text", "strings"):
            return self._text(plan, parts["value"].vocabulary, values, valid, types)
        if "text" in parts:
            values, valid = _with_decimals(values, valid, parts["text"])
        absent = ~valid
        if "wide" in parts:
            absent &= ~_mask(parts["wide"], count)
        if plan.is_unsigned:
            valid = valid & (values >= 0)
        for rows, default in self._defaults(plan, types, absent):
            values, valid = values.copy(), valid.copy()
            values[rows], valid[rows] = default, True
        if plan.kind == "bool":
            return values.astype(np.bool_), valid
        if plan.kind == "float" and not valid.all():
            values = np.where(valid, values, np.nan)
        return values, valid

    def _text(
        self,
        plan: Plan,
        vocabulary: Sequence[str],
        values: Array,
        valid: NDArray[np.bool_],
        types: Array,
    ) -> tuple[Array, NDArray[np.bool_]]:
        missing = list(self._defaults(plan, types, ~valid))
        if plan.kind == "strings":
            names = np.empty(len(vocabulary) + 1, object)
            names[: len(vocabulary)] = vocabulary
            texts: Array = names[np.where(valid, values.astype(np.int64), -1)]
        else:
            texts = _recoded(values, self.categories[plan.name].codes(vocabulary))
            texts = texts if valid.all() else np.where(valid, texts, np.int32(-1))
        for rows, default in missing:
            text = str(default)
            texts, valid = texts.copy(), valid.copy()
            is_coded = plan.kind == "text"
            texts[rows] = self.categories[plan.name].codes([text])[0] if is_coded else text
            valid[rows] = True
        return texts, valid

    def _defaults(
        self, plan: Plan, types: Array, absent: NDArray[np.bool_]
    ) -> Iterable[tuple[NDArray[np.bool_], object]]:
        """Rows where an absent field stands for its default (DATA-5)."""
        if not plan.defaults or not absent.any():
            return
        for code, name in enumerate(self.categories["type"]):
            if name in plan.defaults:
                rows = absent & (types == code)
                if rows.any():
                    yield rows, plan.defaults[name]


def _array(data: bytes, dtype: str, count: int) -> Array:
    try:
        array: Array = np.frombuffer(data, dtype)
    except ValueError as error:
        raise CorruptData("a scan's column", f"{len(data)} bytes", f"{count} × {dtype}") from error
    if len(array) != count:
        raise CorruptData("a scan's column", f"{len(array)} rows", str(count))
    return array if sys.byteorder == "little" else array.astype(array.dtype.newbyteorder("="))


def _recoded(codes: Array, mapping: NDArray[np.int32]) -> Array:
    """An answer's codes as those of the reading; no copy where they are the same."""
    if len(mapping) == 0:
        return np.zeros(len(codes), np.int32)
    if np.array_equal(mapping, np.arange(len(mapping))):
        return codes.view(np.int32)
    return mapping[codes]


def _mask(column: FieldColumn, count: int) -> NDArray[np.bool_]:
    return _array(column.valid, "|u1", count).view(np.bool_)


def _value(column: FieldColumn, count: int) -> tuple[Array, NDArray[np.bool_]]:
    return _array(column.values, _DTYPES[column.kind], count), _mask(column, count)


def _payloads(column: FieldColumn, count: int) -> Payloads:
    return Payloads(_array(column.offsets, "<u8", count + 1), column.values)


def _times(parts: Mapping[str, FieldColumn], count: int) -> tuple[Array, NDArray[np.bool_]]:
    """Texts and protobuf Timestamps as datetime64[ns]; NaT without one."""
    nanoseconds = np.full(count, _NAT, np.int64)
    valid = np.zeros(count, np.bool_)
    if "text" in parts:
        parsed, is_text = _parsed(parts["text"], count, _nanoseconds, np.int64)
        valid |= is_text
        nanoseconds = np.where(is_text, parsed, nanoseconds)
    if "seconds" in parts:
        seconds, has_seconds = _value(parts["seconds"], count)
        nanos, has_nanos = _value(parts["nanos"], count)
        is_stamp = has_seconds | has_nanos
        valid |= is_stamp
        stamped = np.where(has_seconds, seconds, 0) * 1_000_000_000 + np.where(has_nanos, nanos, 0)
        nanoseconds = np.where(is_stamp, stamped, nanoseconds)
    return nanoseconds.view("<M8[ns]"), valid


def _with_decimals(
    values: Array, valid: NDArray[np.bool_], texts: FieldColumn
) -> tuple[Array, NDArray[np.bool_]]:
    parsed, is_text = _parsed(texts, len(values), float, np.float64)
    return np.where(is_text, parsed, values), valid | is_text


def _parsed(
    column: FieldColumn, count: int, parse: Callable[[str], float | int], dtype: Untyped
) -> tuple[Array, NDArray[np.bool_]]:
    """Texts read as something else, each of the vocabulary once; no value where they are no such
    thing."""
    codes, valid = _value(column, count)
    parsed: Array = np.zeros(len(column.vocabulary) + 1, dtype)
    is_sound = np.zeros(len(parsed), np.bool_)
    for code, text in enumerate(column.vocabulary):
        try:
            parsed[code] = parse(text)
            is_sound[code] = True
        except (ValueError, OverflowError):
            continue  # no value, as of any other kind (DATA-5)
    codes = np.where(valid, codes.astype(np.int64), len(column.vocabulary))
    return parsed[codes], is_sound[codes]


def _nanoseconds(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 text; without a zone it is UTC."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND * 1_000
