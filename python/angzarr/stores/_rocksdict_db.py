"""RocksDB through the rocksdict package: keys, range reads and the mapping of its errors."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from angzarr.errors import (
    AngzarrError,
    CorruptData,
    FormatTooNew,
    InvalidInput,
    MissingExtra,
    StoreClosed,
    StoreForked,
    StoreLocked,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from rocksdict import WriteBatch

FORMAT_VERSION: Final = 2

# One key space; the first byte is the table. Integers are big-endian, so keys sort as numbers do.
# A stream is its timeline's number (4 bytes) and its root (16).
EVENT: Final = b"E"  # stream · sequence → the page, framed as EventBook.pages
STATE: Final = (
    b"S"  # stream → branch point, odd pages, unresolved pages, base; absent on plain main streams
)
ODD: Final = b"Q"  # stream · sequence → nothing: the page is not plain
HELD: Final = b"H"  # stream · first sequence → the commit, which is not in the log yet
LOG: Final = b"L"  # position of the last page → the commit
PLACE: Final = b"P"  # stream · first sequence of a commit in the log → its position there, count
EDITION: Final = b"B"  # name → record of a declared edition
CORRELATION: Final = b"C"  # id · stream · first sequence → count
KEY: Final = b"K"  # stream · idempotency key → what it was accepted for
SNAPSHOT: Final = b"N"  # stream · sequence → retention, time of storing, the snapshot
PENDING: Final = b"X"  # cascade id · stream · sequence → created_at
DECISION: Final = b"D"  # cascade id → the decision
POSITION: Final = b"O"  # consumer · stream → sequence
CURSOR: Final = b"U"  # consumer → position
LEASE: Final = b"Y"  # consumer · partition → holder, until
RECORD: Final = b"R"  # space · key → value
TIMELINE: Final = b"T"  # domain · edition → number
META: Final = b"M"  # name → value

PREFIX_BYTES: Final = 20
STREAM_TABLES: Final = (EVENT, STATE, ODD, HELD, PLACE, KEY, SNAPSHOT)


def number(value: int) -> bytes:
    """A sequence or position within a key."""
    return value.to_bytes(8, "big")


def text(value: str) -> bytes:
    """A name within a key, told apart from what follows by its length."""
    encoded = value.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def after(prefix: bytes) -> bytes:
    """The first key above all that start with `prefix`, which does not end in 0xFF bytes only."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1])


def size_of(directory: Path) -> int:
    """Bytes of its files."""
    return sum(file.stat().st_size for file in directory.iterdir() if file.is_file())


class Db:
    """One open directory. Reads need no lock; batches are written one at a time by the caller."""

    def __init__(self, path: str) -> None:
        try:
            import rocksdict
        except ImportError as error:
            raise MissingExtra("rocksdict", "baseline") from error
        if not path:
            raise InvalidInput("store", "a URL with a path, as in rocksdict://data", "rocksdict://")
        self.path = path
        self.url = f"rocksdict://{path}"
        self._process = os.getpid()
        self._is_closed = False
        self._failure = ""
        self._rocksdict = rocksdict
        self._options: dict[bool, rocksdict.WriteOptions] = {}
        for is_sync in (False, True):
            self._options[is_sync] = rocksdict.WriteOptions()
            self._options[is_sync].sync = is_sync
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        try:
            Path(path).mkdir(parents=True, exist_ok=True)
            self._rdict = rocksdict.Rdict(path, options)
        except Exception as error:  # rocksdict raises nothing narrower
            raise self._opening(error) from error
        self._check_format()
        self._owner.write_text(str(os.getpid()))

    @property
    def _owner(self) -> Path:
        return Path(self.path) / "owner"

    def _opening(self, error: Exception) -> AngzarrError:
        if "lock" not in str(error).lower():
            return self._error(error)
        try:
            holder = int(self._owner.read_text())
        except (OSError, ValueError):
            holder = None
        return StoreLocked(self.url, holder)

    def _check_format(self) -> None:
        stored = self._rdict.get(META + b"format")
        found = FORMAT_VERSION if stored is None else int.from_bytes(stored, "big")
        if found > FORMAT_VERSION:
            self._rdict.close()
            raise FormatTooNew(self.url, found, FORMAT_VERSION)
        self.found_version = found
        if stored is None:
            self.write_format()

    def write_format(self, batch: WriteBatch | None = None) -> None:
        """Write, with a batch, that the directory has this format from now on."""
        batch = batch or self.batch()
        batch.put(META + b"format", FORMAT_VERSION.to_bytes(4, "big"))
        self.write(batch, is_sync=True)

    def check(self) -> None:
        """StoreForked, StoreClosed."""
        if os.getpid() != self._process:
            raise StoreForked(self.url, self._process, os.getpid())
        if self._is_closed:
            raise StoreClosed(self.url)

    def batch(self) -> WriteBatch:
        """An empty batch of writes."""
        return self._rocksdict.WriteBatch(raw_mode=True)

    def write(self, batch: WriteBatch, *, is_sync: bool) -> None:
        """All of `batch`. A failure leaves the disk unknown, so no later write is taken."""
        if self._failure:
            raise StoreUnavailable(self.url, self._failure)
        try:
            self._rdict.write(batch, self._options[is_sync])
        except Exception as error:  # rocksdict raises nothing narrower
            self._failure = str(error)
            raise self._error(error) from error

    def get(self, key: bytes) -> bytes | None:
        """The value under `key`."""
        try:
            return self._rdict.get(key)
        except Exception as error:  # rocksdict raises nothing narrower
            raise self._error(error) from error

    def get_many(self, wanted: list[bytes]) -> list[bytes | None]:
        """The values under keys."""
        try:
            read: Any = self._rdict.get  # typed for one key
            return read(wanted)
        except Exception as error:  # rocksdict raises nothing narrower
            raise self._error(error) from error

    def values(self, begin: bytes, end: bytes) -> list[bytes]:
        """Values of the keys in [begin, end), ascending, as they were at one moment."""
        try:
            iterator = self._iterator(end)
            iterator.seek(begin)
            found: list[bytes] = []
            while iterator.valid():
                found.append(iterator.value())
                iterator.next()
            iterator.status()
        except Exception as error:  # rocksdict raises nothing narrower
            raise self._error(error) from error
        return found

    def items(self, begin: bytes, end: bytes) -> Generator[tuple[bytes, bytes], None, None]:
        """Keys in [begin, end) with their values, ascending, as they were at one moment."""
        try:
            iterator = self._iterator(end)
            iterator.seek(begin)
            while iterator.valid():
                yield iterator.key(), iterator.value()
                iterator.next()
            iterator.status()
        except AngzarrError:
            raise
        except Exception as error:  # rocksdict raises nothing narrower
            raise self._error(error) from error

    def first(self, begin: bytes, end: bytes) -> bytes | None:
        """The lowest key in [begin, end)."""
        for key, _ in self.items(begin, end):
            return key
        return None

    def last(self, begin: bytes, end: bytes) -> tuple[bytes, bytes] | None:
        """The highest key in [begin, end) and its value."""
        try:
            iterator = self._iterator(end)
            iterator.seek_for_prev(end)
            if not iterator.valid():
                iterator.status()
                return None
            key = iterator.key()
            return (key, iterator.value()) if key >= begin else None
        except Exception as error:  # rocksdict raises nothing narrower
            raise self._error(error) from error

    def checkpoint(self, target: Path) -> None:
        """A consistent copy in `target`; InvalidInput unless that is new or an empty directory."""
        if target.exists():
            if not target.is_dir() or any(target.iterdir()):
                raise InvalidInput("target", "a new or empty directory", target)
            target.rmdir()
        try:
            self._rocksdict.Checkpoint(self._rdict).create_checkpoint(str(target))
        except Exception as error:  # rocksdict raises nothing narrower
            raise self._error(error) from error

    def close(self) -> None:
        """Idempotent, and without effect in a forked child."""
        if self._is_closed or os.getpid() != self._process:
            return
        self._is_closed = True
        self._owner.unlink(missing_ok=True)
        self._rdict.close()

    def _iterator(self, end: bytes) -> Any:
        options = self._rocksdict.ReadOptions()
        options.set_iterate_upper_bound(end)
        return self._rdict.iter(options)

    def _error(self, error: Exception) -> AngzarrError:
        if isinstance(error, self._rocksdict.DbClosedError):
            return StoreClosed(self.url)
        if "orruption" in str(error):
            return CorruptData(self.url, str(error), "what was written")
        return StoreUnavailable(self.url, str(error))
