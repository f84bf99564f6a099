"""Reading the rocksdict store: heads, composite streams, keys and the log."""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, TypeVar

import msgspec

from angzarr.cover import MAIN, Cover
from angzarr.errors import CorruptData
from angzarr.ports.event_store import ROLLBACK, Book, Decision, LogEntry
from angzarr.stores import _pages, _rules
from angzarr.stores import _rocksdict_db as keys
from angzarr.stores._rocksdict_db import FORMAT_VERSION, PREFIX_BYTES, number, text
from angzarr.stores._rocksdict_ports import Shared, StreamKey

HEAD_COUNT_MAX: Final = 100_000
"""Cached heads, some 300 bytes each; all are dropped when there would be more."""

UPGRADE_COUNT: Final = 10_000
"""Records of one write of an upgrade."""

T = TypeVar("T")


class Stretch(NamedTuple):
    """Own pages [start, stop) of a stream, as a part of a composite stream."""

    stream: StreamKey
    prefix: bytes
    start: int
    stop: int


class Head(NamedTuple):
    """The end of a stream; replaced, never changed.

    base: branch point; None on a branch without writes. has_odd: some own page is not plain.
    unresolved: cascade ids of its pending pages that no marker names, by sequence, ascending.
    inherited: what the pages below `base` are, pinned with it (EDN-21).
    """

    next_sequence: int
    base: int | None
    has_odd: bool
    unresolved: dict[int, str]
    inherited: tuple[Stretch, ...] = ()


class State(NamedTuple):
    """What of a head is not to be seen in its pages.

    inherited: prefix and end of each stretch; None is main up to the branch point.
    """

    base: int | None
    has_odd: bool
    unresolved: dict[int, str]
    inherited: list[tuple[bytes, int]] | None = None


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
    """A composite stream at one moment: what it inherits below `base`, then its own pages (EDN-3,
    EDN-21)."""

    bare: Cover
    base: int
    next_sequence: int
    own: bytes | None
    own_is_odd: bool
    inherited: tuple[Stretch, ...]


class Moved(Exception):
    """Pages went away between two reads: their edition was deleted, or they are damaged."""


encode = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(State).decode
_decode_key = msgspec.msgpack.Decoder(Key).decode
PLACE: Final = struct.Struct(">QI")
"""Position of a commit's last page, and count of its pages."""
decode_commit = msgspec.msgpack.Decoder(Commit).decode
_decode_decision = msgspec.msgpack.Decoder(tuple[str, str, int]).decode


def split_correlation(key: bytes) -> tuple[bytes, int]:
    """Stream prefix and first sequence of a key in the correlation index."""
    return key[-PREFIX_BYTES - 8 : -8], int.from_bytes(key[-8:], "big")


def split_pending(key: bytes) -> tuple[str, bytes, int]:
    """Cascade id, stream prefix and sequence of a key in the index of pending pages."""
    cascade_id = key[3 : -PREFIX_BYTES - 8].decode()
    return cascade_id, key[-PREFIX_BYTES - 8 : -8], int.from_bytes(key[-8:], "big")


def cut(stretches: tuple[Stretch, ...], stop: int) -> tuple[Stretch, ...]:
    """What of the stretches lies below `stop`."""
    return tuple(s._replace(stop=min(s.stop, stop)) for s in stretches if s.start < stop)


def state_of(stream: StreamKey, head: Head) -> State:
    """What is kept of a head; one stretch of main needs no record."""
    inherited = head.inherited
    if stream[1] == MAIN or all(part.stream[1] == MAIN for part in inherited):
        return State(head.base, head.has_odd, head.unresolved)
    parts = [(part.prefix, part.stop) for part in inherited]
    return State(head.base, head.has_odd, head.unresolved, parts)


class Streams:
    """Reads. Heads are cached; only a holder of the writers' lock fills the cache."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._db = shared.db
        self._heads: dict[StreamKey, Head] = {}
        newest = self._db.last(keys.LOG, keys.after(keys.LOG))
        self.log_head = int.from_bytes(newest[0][1:], "big") if newest else 0
        if self._db.found_version < FORMAT_VERSION:
            self._upgrade()

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
        return Head(
            following, base, state.has_odd, state.unresolved, self._inherited(stream, state)
        )

    def _inherited(self, stream: StreamKey, state: State) -> tuple[Stretch, ...]:
        """The stretches of a pinned branch."""
        if not state.base or stream[1] == MAIN:
            return ()
        stored = state.inherited
        if stored is None:
            main = self.shared.prefix((stream[0], MAIN, stream[2]))
            stored = [(main or b"", state.base)]
        found: list[Stretch] = []
        start = 0
        for prefix, stop in stored:
            source = self.shared.stream(prefix)
            if source is None:
                raise CorruptData(self._db.url, "nothing", f"the base of {stream}")
            found.append(Stretch(source, prefix, start, stop))
            start = stop
        return tuple(found)

    def view(self, cover: Cover, divergence: int | None) -> View:
        """The composite stream now; InvalidDivergence, DivergenceConflict."""
        stream = _rules.stream_of(cover)
        own = self.head(stream)
        bare = replace(cover, correlation_id="") if cover.correlation_id else cover
        prefix = self.shared.prefix(stream)
        if cover.is_main:
            return View(bare, 0, own.next_sequence, prefix, own.has_odd, ())
        if own.base is None:
            # The base first, then once more whether the branch is pinned: the other way round
            # another thread could pin it and then write on the base, in between.
            above, above_next = self.above(stream)
            own = self.head(stream)
            if own.base is None:
                base = _rules.branch_point(cover, None, divergence, above_next)
                return View(bare, base, base, prefix, False, cut(above, base))
        base = _rules.branch_point(cover, own.base, divergence, 0)
        return View(bare, base, own.next_sequence, prefix, own.has_odd, own.inherited)

    def above(self, stream: StreamKey) -> tuple[tuple[Stretch, ...], int]:
        """What the stream of a branch is on its parent now, and the first free sequence there."""
        domain, edition, root = stream
        parent = domain, self.shared.declared.parent(edition), root
        head = self.head(parent)
        if head.base is None:
            above = self.above(parent)
            head = self.head(parent)
            if head.base is None:
                return above
        if head.next_sequence == head.base:
            return head.inherited, head.next_sequence
        prefix = self.shared.prefix(parent) or b""
        own = Stretch(parent, prefix, head.base, head.next_sequence)
        return (*head.inherited, own), head.next_sequence

    def frames(self, view: View, start: int, stop: int | None) -> tuple[list[bytes], bool]:
        """The pages in [start, stop), framed, and whether all are plain. Raises Moved."""
        end = view.next_sequence if stop is None else min(stop, view.next_sequence)
        frames: list[bytes] = []
        is_odd = False
        for part in view.inherited:
            begin, until = max(start, part.start), min(end, part.stop)
            if begin < until:
                frames += self._range(part.prefix, begin, until)
                is_odd = is_odd or (
                    self.head(part.stream).has_odd and self._is_odd(part.prefix, begin, until)
                )
        begin = max(start, view.base)
        frames += self._range(view.own, begin, end)
        is_odd = is_odd or (view.own_is_odd and self._is_odd(view.own, begin, end))
        return frames, not is_odd

    def length_at(self, view: View, position: int) -> int:
        """Leading pages of the view that were in the log at `position`."""
        own = Stretch(("", "", b""), view.own or b"", view.base, view.next_sequence)
        for part in (*view.inherited, own):
            length = self._published_at(part, position)
            if length < part.stop:
                return length
        return view.next_sequence

    def _published_at(self, part: Stretch, position: int) -> int:
        """The first sequence of a stretch that was not in the log at `position`, at most its end.

        Positions ascend within a stream, so it is found by halving.
        """
        begin = keys.PLACE + part.prefix
        low, high = part.start, part.stop  # below `low` all are in the log, from `high` on none
        while low < high:
            middle = (low + high) // 2
            found = self._db.last(begin, begin + number(middle + 1))
            if found is None:
                return low
            first = int.from_bytes(found[0][-8:], "big")
            last_position, count = PLACE.unpack(found[1])
            reached = first + min(max(position - (last_position - count), 0), count)
            if reached > middle:
                low = reached
            elif reached > first:  # within the commit, or behind the last that is in the log at all
                return reached
            else:
                high = first
        return min(low, part.stop)

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

    def roots(self, timeline: bytes, after: bytes = b"") -> Generator[bytes, None, None]:
        """Roots with pages on a timeline, ascending, those above `after`."""
        begin, end = keys.EVENT + timeline + after, keys.after(keys.EVENT + timeline)
        while (key := self._db.first(begin, end)) is not None:
            root = key[5:21]
            if root > after:
                yield root
            begin = key[:21] + number(2**64 - 1)

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
        for last, commit in self.commits(position):
            if len(found) >= limit:
                break
            stream = self.shared.stream(commit.stream)
            frames = stream and self._entry_frames(commit)
            if stream and frames:
                cover = _pages.cover_of(stream, commit.correlation_id)
                book = _pages.book_bytes(cover, frames, commit.first + commit.page_count)
                found.append(LogEntry(last, last - commit.page_count + 1, book))
        return found

    def commits(self, after: int) -> Generator[tuple[int, Commit], None, None]:
        """Commits in the log above a position, with that of their last page."""
        for key, value in self._db.items(keys.LOG + number(after + 1), keys.after(keys.LOG)):
            yield int.from_bytes(key[1:], "big"), decode_commit(value)

    def _upgrade(self) -> None:
        """From format 1, which had no positions by stream."""
        batch = self._db.batch()
        for count, (position, commit) in enumerate(self.commits(0), 1):
            if self.shared.stream(commit.stream) is not None:
                key = keys.PLACE + commit.stream + number(commit.first)
                batch.put(key, PLACE.pack(position, commit.page_count))
            if count % UPGRADE_COUNT == 0:
                self._db.write(batch, is_sync=False)
                batch = self._db.batch()
        self._db.write_format(batch)

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
