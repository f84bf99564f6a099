"""Batches as Parquet, and as Arrow's own file format."""

from __future__ import annotations

from pathlib import Path
from typing import Any as Untyped
from typing import Final

from angzarr.data.arrow import Converter, pyarrow
from angzarr.data.batch import Batch, concatenated

GROUP_ROWS: Final = 131_072
"""Rows that are collected for a row group: a reader's unit, and what is kept in memory."""


class ParquetFile:
    """Parquet, compressed by zstd; codes are dictionary columns."""

    def __init__(self, path: Path) -> None:
        self._parquet = pyarrow("parquet")
        self._path = path
        self._converter = Converter()
        self._waiting: list[Batch] = []
        self._writer: Untyped = None

    def write(self, batch: Batch) -> None:
        self._waiting.append(batch)
        if sum(map(len, self._waiting)) >= GROUP_ROWS:
            self._write()

    def finish(self) -> None:
        if self._waiting:
            self._write()

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _write(self) -> None:
        rows = self._converter.batch(concatenated(self._waiting))
        self._waiting.clear()
        if self._writer is None:
            self._writer = self._parquet.ParquetWriter(self._path, rows.schema, compression="zstd")
        self._writer.write_batch(rows)


class ArrowFile:
    """An Arrow IPC file, compressed by lz4. Codes become strings: dictionaries that grow from batch
    to batch are more than some readers take."""

    def __init__(self, path: Path) -> None:
        self._ipc = pyarrow("ipc")
        self._path = path
        self._converter = Converter()
        self._writer: Untyped = None

    def write(self, batch: Batch) -> None:
        rows = _decoded(self._converter.batch(batch))
        if self._writer is None:
            options = self._ipc.IpcWriteOptions(compression="lz4")
            self._writer = self._ipc.new_file(self._path, rows.schema, options=options)
        self._writer.write_batch(rows)

    def finish(self) -> None:
        pass

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


def _decoded(rows: Untyped) -> Untyped:
    pa = pyarrow()
    columns = [
        column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column
        for column in rows.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=rows.schema.names)
