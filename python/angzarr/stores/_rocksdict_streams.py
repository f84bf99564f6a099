"""Reading the rocksdict store: heads, composite streams, keys and the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, TypeVar

import msgspec

from angzarr.cover import MAIN, Cover
from angzarr.errors import CorruptData
from angzarr.ports.event_store import ROLLBACK, Book, Decision, LogEntry
from angzarr.stores import _pages, _rules
from angzarr.stores import _rocksdict_db as keys
from angzarr.stores._rocksdict_db import PREFIX_BYTES, number, text
from angzarr.stores._rocksdict_ports import Shared, StreamKey

HEAD_COUNT_MAX: Final = 100_000
"""Cached heads, some 300 bytes each; all are dropped when there would be more."""

T = TypeVar("T")


class Head(NamedTuple):
    """The end of a stream; replaced, never changed.

    base: branch point; None on a branch without writes. has_odd: some own page is not plain.
    unresolved: cascade ids of its pending pages that no marker names, by sequence, ascending.
    """

    next_sequence: int
    base: int | None
    has_odd: bool
    unresolved: dict[int, str]


class State(NamedTuple):
    """What of a head is not to be seen in its pages."""

    base: int | None
    has_odd: bool
    unresolved: dict[int, str]


class Commit(NamedTuple):
    """One append's pages. stream: its prefix in keys."""

    stream: bytes
    first: int
    page_count: int
    correlation_id: str
    cascade_id: str
    is_marker: bool


class Key(NamedTuple):
    """What an idempotency key was accepted for."""

    first: int
    page_count: int
    cascade_id: str
    answer: bytes


class View(NamedTuple):
    """A composite stream at one moment: main's pages below `base`, then its own (EDN-3)."""

    bare: Cover
    base: int
    next_sequence: int
    own: bytes | None
    main: bytes | None
    own_is_odd: bool
    main_is_odd: bool


class Moved(Exception):
    """Pages went away between two reads: their edition was deleted, or they are damaged."""


encode = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(State).decode
_decode_key = msgspec.msgpack.Decoder(Key).decode
decode_commit = msgspec.msgpack.Decoder(Commit).decode
_decode_decision = msgspec.msgpack.Decoder(tuple[str, str, int]).decode


def split_correlation(key: bytes) -> tuple[bytes, int]:
    """Stream prefix and first sequence of a key in the correlation index."""
    return key[-PREFIX_BYTES - 8 : -8], int.from_bytes(key[-8:], "big")


def split_pending(key: bytes) -> tuple[str, bytes, int]:
    """Cascade id, stream prefix and sequence of a key in the index of pending pages."""
    cascade_id = key[3 : -PREFIX_BYTES - 8].decode()
    return cascade_id, key[-PREFIX_BYTES - 8 : -8], int.from_bytes(key[-8:], "big")


class Streams:
    """Reads. Heads are cached; only a holder of the writers' lock fills the cache."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._db = shared.db
        self._heads: dict[StreamKey, Head] = {}
        newest = self._db.last(keys.LOG, keys.after(keys.LOG))
        self.log_head = int.from_bytes(newest[0][1:], "big") if newest else 0

    def head(self, stream: StreamKey) -> Head:
        """The stream's head."""
        head = self._heads.get(stream)
        if head is None:
            with self.shared.lock:
                head = self._read_head(stream)
                self.put_head(stream, head)
        return head

    def put_head(self, stream: StreamKey, head: Head) -> None:
        """Cache a head, under the lock."""
        if len(self._heads) >= HEAD_COUNT_MAX:
            self._heads = {}
        self._heads[stream] = head

    def drop_heads(self, domain: str, edition: str) -> None:
        """Forget a deleted edition, under the lock."""
        self._heads = {k: v for k, v in self._heads.items() if k[:2] != (domain, edition)}

    def _read_head(self, stream: StreamKey) -> Head:
        base = 0 if stream[1] == MAIN else None
        prefix = self.shared.prefix(stream)
        if prefix is None:
            return Head(base or 0, base, False, {})
        stored = self._db.get(keys.STATE + prefix)
        state = State(base or 0, False, {}) if stored is None else _decode_state(stored)
        base = base if stored is None else state.base
        begin = keys.EVENT + prefix
        newest = self._db.last(begin, begin + b"\xff")
        following = int.from_bytes(newest[0][-8:], "big") + 1 if newest else base or 0
        return Head(following, base, state.has_odd, state.unresolved)

    def view(self, cover: Cover, divergence: int | None) -> View:
        """The composite stream now; InvalidDivergence, DivergenceConflict."""
        stream = _rules.stream_of(cover)
        own = self.head(stream)
        bare = replace(cover, correlation_id="") if cover.correlation_id else cover
        prefix = self.shared.prefix(stream)
        if cover.is_main:
            return View(bare, 0, own.next_sequence, prefix, None, own.has_odd, False)
        main_stream = stream[0], MAIN, stream[2]
        main = self.head(main_stream)
        base = _rules.branch_point(cover, own.base, divergence, main.next_sequence)
        end = base if own.base is None else own.next_sequence
        main_prefix = self.shared.prefix(main_stream)
        return View(bare, base, end, prefix, main_prefix, own.has_odd, main.has_odd)

    def frames(self, view: View, start: int, stop: int | None) -> tuple[list[bytes], bool]:
        """The pages in [start, stop), framed, and whether all are plain. Raises Moved."""
        end = view.next_sequence if stop is None else min(stop, view.next_sequence)
        split = min(end, view.base)
        frames = self._range(view.main, start, split)
        frames += self._range(view.own, max(start, view.base), end)
        is_odd = (view.main_is_odd and self._is_odd(view.main, start, split)) or (
            view.own_is_odd and self._is_odd(view.own, max(start, view.base), end)
        )
        return frames, not is_odd

    def _range(self, prefix: bytes | None, start: int, stop: int) -> list[bytes]:
        if start >= stop:
            return []
        begin = keys.EVENT + (prefix or b"")
        frames = self._db.values(begin + number(start), begin + number(stop)) if prefix else []
        if len(frames) != stop - start:
            raise Moved(f"sequences {start} to {stop - 1}: {len(frames)} pages")
        return frames

    def _is_odd(self, prefix: bytes | None, start: int, stop: int) -> bool:
        begin = keys.ODD + (prefix or b"")
        return start < stop and bool(self._db.first(begin + number(start), begin + number(stop)))

    def consistent(self, read: Callable[[], T]) -> T:
        """`read`, once more and without writers where an edition went away in its middle."""
        self._db.check()
        try:
            return read()
        except Moved:
            with self.shared.lock:
                self._heads = {}
                try:
                    return read()
                except Moved as error:
                    raise CorruptData(self._db.url, str(error), "all of them") from error

    def pages_at(self, stream: StreamKey, sequences: Iterable[int]) -> list[bytes]:
        """Own pages at `sequences`, encoded."""
        prefix = self.shared.prefix(stream)
        found: list[bytes] = []
        for sequence in sequences if prefix else ():
            frame = self._db.get(keys.EVENT + (prefix or b"") + number(sequence))
            if frame is None:
                raise CorruptData(f"{self._db.url} sequence {sequence}", "nothing", "a page")
            found.append(_pages.unframe(frame))
        return found

    def correlated(self, cover: Cover, ranges: Sequence[tuple[int, int]]) -> Book:
        """The stream's own pages in `ranges`, given as first sequence and count."""
        sequences = [n for first, count in sorted(ranges) for n in range(first, first + count)]
        pages = [_pages.known_page(data) for data in self.pages_at(cover.stream, sequences)]
        return _pages.correlated_book(cover, pages, self.head(cover.stream).next_sequence)

    def decision(self, cascade_id: str) -> Decision | None:
        """The cascade's decision, if any."""
        stored = self._db.get(keys.DECISION + text(cascade_id))
        return None if stored is None else Decision(cascade_id, *_decode_decision(stored))

    def accepted(self, stream: StreamKey, key: bytes) -> Key | None:
        """What the key stands for, unless that was revoked."""
        prefix = self.shared.prefix(stream)
        stored = self._db.get(keys.KEY + prefix + key) if prefix and key else None
        if stored is None:
            return None
        known = _decode_key(stored)
        if known.page_count and known.cascade_id:
            decision = self.decision(known.cascade_id)
            if decision and decision.outcome == ROLLBACK:
                return None
        return known

    def entries(self, position: int, limit: int) -> list[LogEntry]:
        """Up to `limit` log entries above `position`, those of deleted editions left out."""
        found: list[LogEntry] = []
        for key, value in self._db.items(keys.LOG + number(position + 1), keys.after(keys.LOG)):
            if len(found) >= limit:
                break
            commit = decode_commit(value)
            stream = self.shared.stream(commit.stream)
            frames = stream and self._entry_frames(commit)
            if stream and frames:
                last = int.from_bytes(key[1:], "big")
                cover = _pages.cover_of(stream, commit.correlation_id)
                book = _pages.book_bytes(cover, frames, commit.first + commit.page_count)
                found.append(LogEntry(last, last - commit.page_count + 1, book))
        return found

    def _entry_frames(self, commit: Commit) -> bytes:
        """The commit's pages as consumers see them, framed; none if its edition just went away."""
        try:
            frames = self._range(commit.stream, commit.first, commit.first + commit.page_count)
        except Moved as error:
            if self.shared.stream(commit.stream) is None:
                return b""
            raise CorruptData(self._db.url, str(error), "all of them") from error
        if not (commit.cascade_id or commit.is_marker):
            return b"".join(frames)
        decision = self.decision(commit.cascade_id) if commit.cascade_id else None
        stored = [_pages.unframe(frame) for frame in frames]
        shown = _pages.as_published(stored, decision, is_marker=commit.is_marker)
        return _pages.frames_of(shown)
