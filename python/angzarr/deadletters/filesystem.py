"""Dead letters as JSON files in a directory (DLQ-6).

Each file has what a person looks for, and the whole letter in base64, byte for byte. Several
processes may share a directory: a file appears whole under a name that nobody else gives.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import secrets
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from google.protobuf.message import DecodeError

from angzarr import wire
from angzarr.errors import CorruptData, StoreUnavailable
from angzarr.ports.clock import Clock
from angzarr.ports.dead_letters import DeadLetter, rejection_type_of, topic_of

T = TypeVar("T")

_log: Final = logging.getLogger("angzarr.dead_letters")

SUFFIX: Final = ".json"
_ID: Final = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}")
"""Nanoseconds since the epoch, and a number of the process that wrote it; both in hex."""


@dataclass(frozen=True, slots=True)
class _File:
    """What a file holds. letter: the encoded AngzarrDeadLetter. summary: for people alone."""

    id: str
    created_at_ns: int
    replay_count: int
    letter: bytes
    summary: dict[str, str] = field(default_factory=dict[str, str])


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_File).decode


class FilesystemDeadLetters:
    """A DeadLetterQueue over files. max_files: beyond it the oldest ones go; 0 keeps all.

    The directory is made if it is not there. Methods raise StoreUnavailable where the disk fails,
    CorruptData for a file that is not what was written.
    """

    def __init__(self, path: Path, clock: Clock, *, max_files: int = 0) -> None:
        self._path = path
        self._clock = clock
        self._max_files = max_files
        self._process = secrets.token_hex(4)
        self._lock = threading.Lock()
        with self._told():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            newest = next(iter(self._ids()), "0")
        self._newest_ns = int(newest.partition("-")[0], 16)

    async def put(self, letter: bytes) -> str:
        """Store it in a file of its own; durable on return."""
        return await self._in_thread(lambda: self._put(letter))

    async def list(self, *, before: str | None = None, limit: int = 50) -> list[DeadLetter]:
        """Newest first."""
        return await self._in_thread(lambda: self._list(before, limit))

    async def get(self, letter_id: str) -> DeadLetter | None:
        """One by id."""
        file = await self._in_thread(lambda: self._read(letter_id))
        return file and _letter(file)

    async def delete(self, letter_id: str) -> bool:
        """Remove its file; whether it existed."""
        return await self._in_thread(lambda: self._delete(letter_id))

    async def count_replay(self, letter_id: str) -> int | None:
        """Count one more replay; the count with it."""
        return await self._in_thread(lambda: self._count(letter_id))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Files block, and letters are rare: a thread of the loop's pool does it, one at a time."""

        def alone() -> T:
            with self._lock, self._told():
                return work()

        return await asyncio.to_thread(alone)

    def _put(self, letter: bytes) -> str:
        now_ns = self._clock.now_ns()
        self._newest_ns = max(now_ns, self._newest_ns + 1)  # the clock may stand or go back
        letter_id = f"{self._newest_ns:016x}-{self._process}"
        self._write(_File(letter_id, now_ns, 0, letter, _summary(letter)))
        if self._max_files:
            for oldest in self._ids()[self._max_files :]:
                self._file(oldest).unlink(missing_ok=True)
                _log.warning("dead letter %s is gone: max_files is %d", oldest, self._max_files)
        return letter_id

    def _list(self, before: str | None, limit: int) -> list[DeadLetter]:
        found: list[DeadLetter] = []
        for letter_id in self._ids():
            if len(found) == limit:
                break
            if before is not None and letter_id >= before:
                continue
            file = self._read(letter_id)
            if file is not None:  # another process may have deleted it
                found.append(_letter(file))
        return found

    def _delete(self, letter_id: str) -> bool:
        if not _ID.fullmatch(letter_id):
            return False
        try:
            self._file(letter_id).unlink()
        except FileNotFoundError:
            return False
        self._flush_directory()
        return True

    def _count(self, letter_id: str) -> int | None:
        file = self._read(letter_id)
        if file is None:
            return None
        self._write(replace(file, replay_count=file.replay_count + 1))
        return file.replay_count + 1

    def _ids(self) -> list[str]:
        """All, newest first."""
        names = (name.removesuffix(SUFFIX) for name in os.listdir(self._path))
        return sorted(filter(_ID.fullmatch, names), reverse=True)

    def _file(self, letter_id: str) -> Path:
        return self._path / f"{letter_id}{SUFFIX}"

    def _read(self, letter_id: str) -> _File | None:
        if not _ID.fullmatch(letter_id):
            return None
        path = self._file(letter_id)
        try:
            return _decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, ValueError) as error:
            raise CorruptData(str(path), str(error), "a dead letter's file") from error

    def _write(self, file: _File) -> None:
        """Write it under another name first: a reader sees all of it or nothing, and so does a
        crash."""
        target = self._file(file.id)
        scratch = target.with_name(f".{file.id}.{self._process}")
        try:
            with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                out.write(msgspec.json.format(_encode(file)))
                out.flush()
                os.fsync(out.fileno())
            scratch.replace(target)
        except OSError:
            scratch.unlink(missing_ok=True)
            raise
        self._flush_directory()

    def _flush_directory(self) -> None:
        handle = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _told(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            why = error.strerror or str(error)
            raise StoreUnavailable(f"of dead letters in {self._path}", why) from error


def _letter(file: _File) -> DeadLetter:
    return DeadLetter(file.id, file.letter, file.created_at_ns, file.replay_count)


def _summary(letter: bytes) -> dict[str, str]:
    try:
        message = wire.AngzarrDeadLetter.FromString(letter)
    except DecodeError:
        return {}
    cover = message.cover
    found = {
        "topic": topic_of(message),
        "domain": cover.domain,
        "root": cover.root.value.hex(),
        "edition": cover.edition.name,
        "correlation_id": cover.correlation_id,
        "rejection_type": rejection_type_of(message),
        "rejection_reason": message.rejection_reason,
        "source_component": message.source_component,
        "occurred_at": message.occurred_at.ToJsonString()
        if message.HasField("occurred_at")
        else "",
    }
    return {key: value for key, value in found.items() if value}
