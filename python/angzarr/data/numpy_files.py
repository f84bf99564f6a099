"""Batches as numpy's files: an archive, or a directory of arrays that readers map into memory.

    rows = data.load("hands.npz")

An array a column; beside it `NAME.valid` of payload fields, `NAME.categories` of codes. Strings,
and payloads, are `NAME.offsets` and `NAME.data`, their bytes.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

import numpy as np

from angzarr.data.batch import Array, Batch, Payloads
from angzarr.errors import CorruptData, InvalidInput

HEADER_BYTES: Final = 128
"""Of an .npy file; what is in it is known at the end, and it has room to spare."""
VALID, CATEGORIES, OFFSETS, DATA = ".valid", ".categories", ".offsets", ".data"
POSITION: Final = "log.position"
PAYLOAD: Final = "payload"


class Arrays:
    """A directory of .npy files."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: dict[str, _Growing] = {}
        self._categories: Mapping[str, Sequence[str]] = {}
        self._position = 0
        path.mkdir()

    def write(self, batch: Batch) -> None:
        for name, column in batch.columns.items():
            if column.dtype == np.object_:
                texts = [b"" if text is None else str(text).encode() for text in column.tolist()]
                self._bytes(name, Payloads.of(texts))
            else:
                self._append(name, column)
        for name, mask in batch.valid.items():
            self._append(name + VALID, mask)
        if batch.payloads is not None:
            self._bytes(PAYLOAD, batch.payloads)
        self._categories = batch.categories
        self._position = batch.position

    def finish(self) -> None:
        for name, names in self._categories.items():
            self._append(name + CATEGORIES, np.array(list(names), np.str_))
        self._append(POSITION, np.array([self._position], np.uint64))
        for file in self._files.values():
            file.finish()

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _append(self, name: str, values: Array) -> None:
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = _Growing(self._path / f"{name}.npy", values.dtype)
        file.append(values)

    def _bytes(self, name: str, payloads: Payloads) -> None:
        """Offsets go on where those of the batch before ended."""
        known = self._files.get(name + DATA)
        start = 0 if known is None else known.count
        ends = payloads.offsets[1:] - payloads.offsets[0] + np.uint64(start)
        if known is None:
            self._append(name + OFFSETS, np.zeros(1, np.uint64))
        self._append(name + OFFSETS, ends)
        first, last = int(payloads.offsets[0]), int(payloads.offsets[-1])
        self._append(name + DATA, np.frombuffer(payloads.data, np.uint8)[first:last])


class Archive:
    """An .npz file: the arrays are collected beside it, and put together at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = path.with_name(path.name + ".arrays")
        if self._folder.exists():
            shutil.rmtree(self._folder)
        self._arrays = Arrays(self._folder)

    def write(self, batch: Batch) -> None:
        self._arrays.write(batch)

    def finish(self) -> None:
        self._arrays.finish()
        self._arrays.close()
        with zipfile.ZipFile(self._path, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(self._folder.iterdir()):
                archive.write(file, file.name)

    def close(self) -> None:
        self._arrays.close()
        if self._folder.exists():
            shutil.rmtree(self._folder)


class _Growing:
    """An .npy file that gets longer. count: of its values."""

    def __init__(self, path: Path, dtype: np.dtype[np.generic]) -> None:
        self._dtype = dtype
        self._file: IO[bytes] = path.open("wb")
        self._file.write(bytes(HEADER_BYTES))
        self.count = 0

    def append(self, values: Array) -> None:
        self._file.write(np.ascontiguousarray(values).view(np.uint8).data)
        self.count += len(values)

    def finish(self) -> None:
        """Write the header, which says how many values there are."""
        kind = np.lib.format.dtype_to_descr(self._dtype)
        text = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': ({self.count},), }}"
        room = HEADER_BYTES - 10 - 1
        header = b"\x93NUMPY\x01\x00" + (room + 1).to_bytes(2, "little")
        self._file.seek(0)
        self._file.write(header + text.ljust(room).encode("latin1") + b"\n")

    def close(self) -> None:
        self._file.close()


def load(path: str | Path) -> Batch:
    """What was written as .npz or as a directory; the latter's arrays are mapped, not read.

    Raises InvalidInput where there is no such thing, CorruptData for one of another origin.
    """
    path = Path(path)
    if not path.exists():
        raise InvalidInput("path", "an .npz file, or a directory of .npy files", path)
    arrays = _mapped(path) if path.is_dir() else _read(path)
    if POSITION not in arrays:
        raise CorruptData(str(path), "arrays without " + POSITION, "what `writer` makes")
    position = int(arrays.pop(POSITION)[0])
    columns: dict[str, Array] = {}
    for name in arrays:
        if name.endswith(OFFSETS) and name != PAYLOAD + OFFSETS:
            columns[name.removesuffix(OFFSETS)] = _strings(arrays, name.removesuffix(OFFSETS))
        elif not name.endswith((VALID, CATEGORIES, OFFSETS, DATA)):
            columns[name] = arrays[name]
    payloads: Payloads | None = None
    if PAYLOAD + OFFSETS in arrays:
        payloads = Payloads(arrays[PAYLOAD + OFFSETS], arrays[PAYLOAD + DATA].tobytes())
    valid = {n.removesuffix(VALID): a for n, a in arrays.items() if n.endswith(VALID)}
    categories = {
        name.removesuffix(CATEGORIES): array.tolist()
        for name, array in arrays.items()
        if name.endswith(CATEGORIES)
    }
    return Batch(columns, valid, categories, position, payloads)


def _mapped(path: Path) -> dict[str, Array]:
    files = sorted(path.glob("*.npy"))
    return {file.stem: _map(file) for file in files}


def _map(file: Path) -> Array:
    is_empty = file.stat().st_size == HEADER_BYTES  # nothing that could be mapped
    return np.load(file, mmap_mode=None if is_empty else "r", allow_pickle=False)


def _read(path: Path) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _strings(arrays: Mapping[str, Array], name: str) -> Array:
    payloads = Payloads(arrays[name + OFFSETS], arrays[name + DATA].tobytes())
    strings = np.empty(len(payloads), object)
    strings[:] = [text.decode() for text in payloads]
    valid = arrays.get(name + VALID)
    if valid is not None:
        strings[~np.asarray(valid)] = None
    return strings
