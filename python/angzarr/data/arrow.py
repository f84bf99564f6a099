"""Batches as Arrow record batches. pyarrow has no types of its own, so these are untyped."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any as Untyped

import numpy as np

from angzarr.data.batch import Array, Batch, Payloads
from angzarr.errors import MissingExtra

ROOT_BYTES = 16


def pyarrow(module: str = "") -> Untyped:
    """The package, or a module of it. Raises MissingExtra."""
    try:
        return importlib.import_module(f"pyarrow.{module}" if module else "pyarrow")
    except ModuleNotFoundError as error:
        raise MissingExtra("pyarrow", "data") from error


class Converter:
    """Makes record batches of the batches of one reading; all have one schema."""

    def __init__(self) -> None:
        self._pa = pyarrow()
        self._dictionaries: dict[str, Untyped] = {}

    def batch(self, batch: Batch) -> Untyped:
        """The pyarrow.RecordBatch: codes are dictionary columns, no value is null."""
        pa = self._pa
        names: list[str] = []
        arrays: list[Untyped] = []
        for name, column in batch.columns.items():
            names.append(name)
            mask = batch.valid.get(name)
            has_gaps = mask is not None and not mask.all()
            missing = ~mask if mask is not None and has_gaps else None
            if name in batch.categories:
                codes = pa.array(column, mask=missing)
                dictionary = self._dictionary(name, batch.categories[name])
                arrays.append(pa.DictionaryArray.from_arrays(codes, dictionary))
            else:
                arrays.append(self._plain(column, missing))
        if batch.payloads is not None:
            names.append("payload")
            arrays.append(self._binary(batch.payloads))
        return pa.RecordBatch.from_arrays(arrays, names=names)

    def _plain(self, column: Array, missing: Array | None) -> Untyped:
        pa = self._pa
        if column.dtype.kind == "V":
            kind = pa.binary(ROOT_BYTES)
            return pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(column)])
        if column.dtype.kind == "M":
            kind = pa.timestamp("ns", tz="UTC")
            return pa.array(column.view(np.int64), pa.int64(), mask=missing).cast(kind)
        if column.dtype.kind == "O":
            return pa.array(column, pa.string(), mask=missing)
        return pa.array(column, mask=missing)

    def _dictionary(self, name: str, categories: Sequence[str]) -> Untyped:
        known = self._dictionaries.get(name)
        if known is None or len(known) != len(categories):
            known = self._pa.array(list(categories), self._pa.string())
            self._dictionaries[name] = known
        return known

    def _binary(self, payloads: Payloads) -> Untyped:
        pa = self._pa
        offsets = payloads.offsets.astype(np.int64)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(payloads.data)]
        return pa.Array.from_buffers(pa.large_binary(), len(payloads), buffers)


def record_batch(batch: Batch) -> Untyped:
    """One batch by itself."""
    return Converter().batch(batch)
