"""Batches: rows of the log as numpy arrays, one a column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any as Untyped
from typing import overload

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Untyped]


class Payloads(Sequence[bytes]):
    """Encoded payloads of a batch's rows. data: all of them, one after the other; offsets: where
    each begins, and where the last ends."""

    def __init__(self, offsets: NDArray[np.uint64], data: bytes) -> None:
        self.offsets = offsets
        self.data = data

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row: int = range(len(self))[index]
        return self.data[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: NDArray[np.intp]) -> Payloads:
        """Those of some rows."""
        found: list[bytes] = [self[row] for row in rows.tolist()]
        return Payloads.of(found)

    @classmethod
    def of(cls, payloads: Sequence[bytes]) -> Payloads:
        """These payloads."""
        offsets = np.zeros(len(payloads) + 1, np.uint64)
        if payloads:
            np.cumsum([len(payload) for payload in payloads], out=offsets[1:])
        return cls(offsets, b"".join(payloads))


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows in columns of one length (DATA-2 to DATA-5).

    columns: by name. valid: of payload fields, where they have a value. categories: of columns that
    hold codes, what each code stands for; they are those of all batches of one reading, which only
    adds to them. payloads: where they were asked for. position: of the log, up to which this and
    the batches before have everything; where a later reading goes on.
    """

    columns: Mapping[str, Array]
    valid: Mapping[str, NDArray[np.bool_]]
    categories: Mapping[str, Sequence[str]]
    position: int = 0
    payloads: Payloads | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, name: str) -> Array:
        """The column; of one with categories its codes."""
        return self.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def text(self, name: str) -> Array:
        """A column of codes as strings, None where there is no value."""
        return labelled(self.columns[name], self.categories[name])

    def where(self, rows: Array) -> Batch:
        """The rows where a mask is true, or with these indexes; arrays are copied."""
        indexes = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return Batch(
            {name: column[indexes] for name, column in self.columns.items()},
            {name: mask[indexes] for name, mask in self.valid.items()},
            self.categories,
            self.position,
            self.payloads.take(indexes) if self.payloads is not None else None,
        )

    @property
    def size_bytes(self) -> int:
        """What the arrays take."""
        arrays = (*self.columns.values(), *self.valid.values())
        data = 0 if self.payloads is None else len(self.payloads.data)
        return sum(array.nbytes for array in arrays) + data

    def to_arrow(self) -> Untyped:
        """As a pyarrow.RecordBatch: codes become dictionary columns, rows without a value nulls.

        Raises MissingExtra without pyarrow. `to_arrow().to_pandas()` is a data frame.
        """
        from angzarr.data.arrow import record_batch

        return record_batch(self)


def labelled(codes: Array, categories: Sequence[str]) -> Array:
    """Codes as an array of strings; None where a code is negative."""
    names = np.empty(len(categories) + 1, object)
    names[: len(categories)] = list(categories)
    return names[codes]


def concatenated(batches: Sequence[Batch]) -> Batch:
    """The rows of several batches of one reading, at least one."""
    if len(batches) == 1:
        return batches[0]
    first, last = batches[0], batches[-1]
    payloads: Payloads | None = None
    if first.payloads is not None:
        payloads = Payloads.of([one for batch in batches for one in batch.payloads or ()])
    return Batch(
        {name: np.concatenate([b.columns[name] for b in batches]) for name in first.columns},
        {name: np.concatenate([b.valid[name] for b in batches]) for name in first.valid},
        last.categories,
        last.position,
        payloads,
    )
