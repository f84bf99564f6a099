"""Copies of a RocksDB store as files: a manifest with hashes, and copying that reaches the disk."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

import msgspec

from angzarr.errors import CorruptData, InvalidInput, StoreUnavailable

MANIFEST: Final = "manifest.json"
MANIFEST_VERSION: Final = 1
CHUNK_BYTES: Final = 1024 * 1024
CHECKPOINT_SUFFIX: Final = ".checkpoint"

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""

_checkpoint_numbers = itertools.count(1)


class Checkpointing(Protocol):
    """What a backup asks of the open engine."""

    def log_head(self) -> int: ...
    def facts(self) -> tuple[int, int, int, int, int, int]: ...
    def checkpoint(self, target: str) -> None: ...


class CopiedFile(msgspec.Struct, frozen=True):
    """One file of a backup, by its name in the backup's directory."""

    name: str
    size_bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What a backup says of itself; it is written last, so a directory without one is no backup.

    log_head: the log holds at least this position.
    """

    manifest_version: int
    format_version: int
    log_head: int
    files: list[CopiedFile]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


def back_up(engine: Checkpointing, data: Path, target: Path, progress: Progress) -> None:
    """Copy the store that `engine` has open in `data` into the new directory `target`.

    Raises InvalidInput if the target is not empty, StoreUnavailable if copying fails; then the
    target is left empty.
    """
    log_head, format_version = engine.log_head(), engine.facts()[0]
    with EmptyTarget(target, str(data)) as is_new:
        # Beside the live files, so that the checkpoint is on their file system and its hard links
        # cost nothing.
        checkpoint = data / f"{os.getpid()}-{next(_checkpoint_numbers)}{CHECKPOINT_SUFFIX}"
        try:
            engine.checkpoint(str(checkpoint))
            names = sorted(_file_names(checkpoint))
            all_bytes = sum((checkpoint / name).stat().st_size for name in names)
            done = _Tally(progress, all_bytes)
            files = [copy_file(checkpoint / name, target / name, name, done) for name in names]
        finally:
            shutil.rmtree(checkpoint, ignore_errors=not checkpoint.exists())
        manifest = Manifest(MANIFEST_VERSION, format_version, log_head, files)
        # Renamed, so that where there is a manifest it is a whole one.
        written = target / f"{MANIFEST}.new"
        _write_synced(written, msgspec.json.format(msgspec.json.encode(manifest)))
        written.replace(target / MANIFEST)
        sync_directories(target, is_new=is_new)


def remove_leftovers(data: Path) -> None:
    """Remove checkpoints of backups that a crash cut off; to be called by the owner of `data`."""
    for leftover in data.glob(f"*{CHECKPOINT_SUFFIX}*"):
        shutil.rmtree(leftover)


def read_manifest(backup: Path) -> Manifest:
    """The manifest of a backup.

    Raises InvalidInput if there is none, CorruptData if it is not as it was written.
    """
    path = backup / MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (FileNotFoundError, NotADirectoryError) as cause:
        raise InvalidInput("backup", f"a directory with a {MANIFEST}", backup) from cause
    except msgspec.MsgspecError as cause:
        raise CorruptData(str(path), str(cause), "the manifest of a backup") from cause
    if manifest.manifest_version > MANIFEST_VERSION:
        raise InvalidInput(
            "backup", f"of version {MANIFEST_VERSION} at most", manifest.manifest_version
        )
    for file in manifest.files:
        if Path(file.name).is_absolute() or ".." in Path(file.name).parts:
            raise CorruptData(str(path), file.name, "the name of a file in the backup")
    return manifest


def restore_files(backup: Path, manifest: Manifest, target: Path, progress: Progress) -> None:
    """Check all files of a backup, then copy them into `target`, an empty directory.

    Both passes count as progress.

    Raises CorruptData naming the file that is missing or not as it was written.
    """
    done = _Tally(progress, 2 * manifest.size_bytes)
    for file in manifest.files:
        _check(backup / file.name, file, done)
    for file in manifest.files:
        copied = copy_file(backup / file.name, target / file.name, file.name, done)
        if copied != file:
            raise CorruptData(str(backup / file.name), copied.sha256, file.sha256)


class EmptyTarget:
    """A directory to fill: made or found empty, and empty again after a failure.

    Yields whether it is new.
    """

    def __init__(self, target: Path, store: str) -> None:
        self._target = target
        self._store = store

    def __enter__(self) -> bool:
        is_new = not self._target.exists()
        try:
            self._target.mkdir(parents=True, exist_ok=True)
        except OSError as cause:
            raise InvalidInput("target", "a directory", self._target) from cause
        if any(self._target.iterdir()):
            raise InvalidInput("target", "a new or empty directory", self._target)
        return is_new

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        for path in self._target.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        if isinstance(error, OSError):
            raise StoreUnavailable(self._store, f"copying to {self._target}: {error}") from error


def copy_file(source: Path, target: Path, name: str, done: Progressing) -> CopiedFile:
    """Copy one file and have it on disk on return."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size_bytes = hashlib.sha256(), 0
    with target.open("xb") as file:
        for chunk in _chunks(source):
            digest.update(chunk)
            size_bytes += file.write(chunk)
            done(len(chunk))
        file.flush()
        os.fsync(file.fileno())
    return CopiedFile(name, size_bytes, digest.hexdigest())


def sync_directories(target: Path, *, is_new: bool) -> None:
    """Have names on disk: of the files in `target`, and of a new `target` in its parent."""
    for directory in [target, *(path for path in target.rglob("*") if path.is_dir())]:
        _sync_directory(directory)
    if is_new:
        _sync_directory(target.parent)


Progressing = Callable[[int], None]
"""Called with the count of bytes just done."""


class _Tally:
    """Adds up bytes for a Progress."""

    def __init__(self, progress: Progress, all_bytes: int) -> None:
        self._progress = progress
        self._all_bytes = all_bytes
        self._done_bytes = 0

    def __call__(self, size_bytes: int) -> None:
        self._done_bytes += size_bytes
        self._progress(self._done_bytes, self._all_bytes)


def _check(path: Path, file: CopiedFile, done: Progressing) -> None:
    digest = hashlib.sha256()
    try:
        for chunk in _chunks(path):
            digest.update(chunk)
            done(len(chunk))
    except FileNotFoundError as cause:
        raise CorruptData(str(path), "no file", f"sha256 {file.sha256}") from cause
    if digest.hexdigest() != file.sha256:
        raise CorruptData(str(path), f"sha256 {digest.hexdigest()}", file.sha256)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _file_names(directory: Path) -> list[str]:
    return [str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()]


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
