"""Restoring a backup of a RocksDB store, and checking a store; `Stores.backup` makes one."""

from __future__ import annotations

from pathlib import Path

from angzarr.errors import CorruptData, InvalidInput
from angzarr.stores import _copies
from angzarr.stores._copies import Progress
from angzarr.stores.rocksdb import Verified, open_engine

STORE_MARK = "CURRENT"
"""A file that every RocksDB directory has."""

__all__ = ["Verified", "restore", "verify"]


def restore(backup: Path, target: Path, progress: Progress | None = None) -> Verified:
    """Make the store in `backup` anew in the directory `target`, and verify it.

    progress: called with (bytes done, bytes in all); hashing and copying both count.
    Raises InvalidInput if `target` is not empty or `backup` is none, CorruptData naming the file
    that was altered or is missing, StoreUnavailable if copying fails. After an error the target is
    empty.
    """
    manifest = _copies.read_manifest(backup)
    with _copies.EmptyTarget(target, str(target)) as is_new:
        _copies.restore_files(backup, manifest, target, progress or _ignore)
        _copies.sync_directories(target, is_new=is_new)
        verified = verify(target)
        if verified.position < manifest.log_head:
            wanted = f"at least position {manifest.log_head}"
            raise CorruptData(f"log of {target}", f"position {verified.position}", wanted)
    return verified


def verify(path: Path) -> Verified:
    """Read the whole store in `path` and check it: pages, sequences, log and checksums.

    Raises CorruptData for what is not as it was written, InvalidInput if there is no store,
    StoreLocked while it is open elsewhere, FormatTooNew.
    """
    if not (path / STORE_MARK).exists():
        raise InvalidInput("path", "the directory of a store", path)
    engine = open_engine(str(path))
    try:
        return Verified(*engine.verify())
    finally:
        engine.close()


def _ignore(_done_bytes: int, _all_bytes: int) -> None:
    pass
