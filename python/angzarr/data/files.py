"""Files of batches, written as they come: all of a file is there under its name, or nothing.

with data.writer("hands.parquet") as file:
    for batch in data.batches("rocksdb://data"):
        file.write(batch)
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Protocol, Self, get_args

from angzarr.data.batch import Batch
from angzarr.errors import InvalidInput

Format = Literal["parquet", "arrow", "npz", "npy"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
"""Parquet, an Arrow IPC file, numpy's archive, and a directory of numpy's arrays, to be mapped."""

_SUFFIXES: Final[dict[str, Format]] = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".npz": "npz",
    ".npy": "npy",
}


class Body(Protocol):
    """How a format writes. All batches have the columns of the first."""

    def write(self, batch: Batch) -> None:
        """Add the batch's rows."""
        ...

    def finish(self) -> None:
        """Write what comes at the end, so that the file is whole."""
        ...

    def close(self) -> None:
        """Let go of everything, finished or not."""
        ...


class Writer:
    """A file in the making, under another name; it takes its own when the block ends well.

    row_count: rows so far. position: the log position of the last batch.
    """

    def __init__(self, path: Path, format: Format, body: Body, partial: Path) -> None:
        self.path = path
        self.format: Format = format
        self.row_count = 0
        self.position = 0
        self._body = body
        self._is_begun = False
        self._partial = partial

    @property
    def size_bytes(self) -> int:
        """On disk, so far."""
        path = self._partial if self._partial.exists() else self.path
        return sum(file.stat().st_size for file in _files(path))

    def write(self, batch: Batch) -> None:
        """Add the batch's rows."""
        self._is_begun = True
        self._body.write(batch)
        self.row_count += len(batch)
        self.position = batch.position

    def finish(self) -> None:
        """Make the file whole, and visible under its name; what had the name is replaced.

        Raises InvalidInput if nothing was written: it would have no columns.
        """
        if not self._is_begun:
            self.discard()
            raise InvalidInput("batches", "at least one; `Batches.nothing` makes one", 0)
        try:
            self._body.finish()
        finally:
            self._body.close()
        for file in _files(self._partial):
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        if self._partial.is_dir() and self.path.is_dir():
            shutil.rmtree(self.path)
        os.replace(self._partial, self.path)

    def discard(self) -> None:
        """Leave nothing behind."""
        try:
            self._body.close()
        finally:
            _remove(self._partial)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.discard()


def writer(path: str | Path, format: Format | None = None, *, overwrite: bool = False) -> Writer:
    """A file to write batches to.

    format: None is what the suffix says: .parquet, .arrow, .feather, .npz; .npy is a directory.
    overwrite: whether a file that is there is replaced, when the new one is whole. Raises
    InvalidInput for a format that is not known, a file that is there, a directory that isn't;
    MissingExtra.
    """
    path = Path(path)
    format = format or _SUFFIXES.get(path.suffix)
    if format not in FORMATS:
        raise InvalidInput("format", "one of " + ", ".join(FORMATS), format or path.suffix)
    if not path.parent.is_dir():
        raise InvalidInput("path", "in a directory that exists", path)
    if path.exists() and (not overwrite or path.is_dir() != (format == "npy")):
        raise InvalidInput("path", "a new file; or say that it may be overwritten", path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    _remove(partial)
    return Writer(path, format, _body(format, partial), partial)


def _body(format: Format, partial: Path) -> Body:
    if format in ("npz", "npy"):
        from angzarr.data.numpy_files import Archive, Arrays

        return Archive(partial) if format == "npz" else Arrays(partial)
    from angzarr.data.arrow_files import ArrowFile, ParquetFile

    return ParquetFile(partial) if format == "parquet" else ArrowFile(partial)


def _files(path: Path) -> list[Path]:
    found = path.rglob("*") if path.is_dir() else [path]
    return [file for file in found if file.is_file()]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
