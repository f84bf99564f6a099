"""Writing the rocksdict store: each change is one batch, made and written under the lock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from angzarr.cover import Cover, Provenance
from angzarr.errors import CascadeDecided, SequenceConflict, SequenceExhausted
from angzarr.ports.clock import Clock
from angzarr.ports.event_store import (
    SEQUENCE_MAX,
    Appended,
    Decision,
    Dropped,
    Duplicate,
    Limits,
    Obligation,
    SnapshotPolicy,
)
from angzarr.stores import _pages, _rules
from angzarr.stores import _rocksdict_db as keys
from angzarr.stores._declared import check_alive
from angzarr.stores._pages import Page
from angzarr.stores._records import RecordObligations
from angzarr.stores._rocksdict_db import number, text
from angzarr.stores._rocksdict_editions import Usages
from angzarr.stores._rocksdict_ports import DictRecords, DictSnapshots, StreamKey
from angzarr.stores._rocksdict_streams import (
    PLACE,
    Commit,
    Head,
    Key,
    Streams,
    cut,
    decode_commit,
    encode,
    state_of,
)
from angzarr.stores._rules import Kept

if TYPE_CHECKING:
    from rocksdict import WriteBatch


class Writer:
    """The changes of the event store. All but `append` expect the caller to hold the lock."""

    def __init__(
        self,
        streams: Streams,
        snapshots: DictSnapshots,
        records: DictRecords,
        obligations: RecordObligations,
        usages: Usages,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._streams = streams
        self._usages = usages
        self._shared = streams.shared
        self._db = streams.shared.db
        self._snapshots = snapshots
        self._records = records
        self._obligations = obligations
        self._limits = limits
        self._clock = clock

    def append(
        self,
        cover: Cover,
        expected_sequence: int,
        pages: Sequence[bytes],
        *,
        divergence: int | None = None,
        snapshot: bytes | None = None,
        snapshot_policy: SnapshotPolicy = SnapshotPolicy(),
        cascade_id: str = "",
        provenance: Provenance | None = None,
        external_id: str = "",
        answer: bytes = b"",
        obligations: Sequence[Obligation | Dropped] = (),
        sync: bool | None = None,
    ) -> Appended | Duplicate:
        """As the port says; checks in its order, then one batch."""
        self._db.check()
        stream, key = _rules.stream_of(cover), _rules.key_of(provenance, external_id)
        _rules.check_append(self._limits, pages, snapshot=snapshot, key=key, answer=answer)
        put = None if snapshot is None else Kept(*_pages.read_snapshot(snapshot), 0)
        with self._shared.lock:
            self._db.check()
            known = self._streams.accepted(stream, key) if key else None
            if known is not None:
                return Duplicate(known.first, known.first + known.page_count - 1)
            decision = self._streams.decision(cascade_id) if cascade_id else None
            if decision is not None:
                raise CascadeDecided(cascade_id, decision.outcome, decision.reason)
            record = self._shared.declared.get(cover.edition)
            if record is not None:
                check_alive(record, self._clock)
            head, is_first = self._head(cover, stream, divergence, expected_sequence)
            if expected_sequence != head.next_sequence:
                raise SequenceConflict(cover, expected_sequence, head.next_sequence)
            read = [_pages.read_page(p, expected_sequence + i) for i, p in enumerate(pages)]
            last = expected_sequence + len(pages) - 1
            if last > SEQUENCE_MAX:
                raise SequenceExhausted(cover)
            if record is not None:
                self._usages.check(record, pages)

            prefix = self._shared.prefix_for_writing(stream)
            batch = self._db.batch()
            commit = Commit(
                prefix, expected_sequence, len(pages), cover.correlation_id, cascade_id, False
            )
            if key:
                accepted = Key(expected_sequence, len(pages), cascade_id, answer)
                batch.put(keys.KEY + prefix + key, encode(accepted))
            following = self._put_pages(batch, head, read, commit)
            if is_first or following[1:] != head[1:]:
                batch.put(keys.STATE + prefix, encode(state_of(stream, following)))
            if snapshot is not None and put and not self._is_undecided(following, put.sequence):
                self._snapshots.store(batch, prefix, snapshot, put, snapshot_policy)
            if obligations:
                self._records.add(batch, self._obligations.append_ops(obligations))
            position = self._streams.log_head
            if pages:
                position = self._put_commits(batch, following, [commit])
            self._db.write(batch, is_sync=self._shared.is_sync if sync is None else sync)
            self._streams.log_head = position
            self._streams.put_head(stream, following)
            if record is not None:
                self._usages.add(record.name, pages)
        self._obligations.end_leases(obligations)
        return Appended(expected_sequence, last)

    def resolve(self, cover: Cover, stream: StreamKey, decision: Decision) -> bytes | None:
        """Write the marker and release what it sets free; None if nothing is unresolved."""
        head = self._streams.head(stream)
        cascade_id, prefix = decision.cascade_id, self._shared.prefix(stream)
        sequences = [n for n, held_by in head.unresolved.items() if held_by == cascade_id]
        if prefix is None or not sequences:
            return None
        first = head.next_sequence
        if first > SEQUENCE_MAX:
            raise SequenceExhausted(cover)
        marker = _pages.marker(cover, first, sequences, decision, self._clock.now_ns())
        batch = self._db.batch()
        for sequence in sequences:
            batch.delete(keys.PENDING + text(cascade_id) + prefix + number(sequence))
        unresolved = {n: c for n, c in head.unresolved.items() if c != cascade_id}
        commit = Commit(prefix, first, 1, cover.correlation_id, "", True)
        following = self._put_pages(
            batch,
            head._replace(unresolved=unresolved),
            [_pages.read_page(marker, first)],
            commit,
        )
        batch.put(keys.STATE + prefix, encode(state_of(stream, following)))
        begin = keys.HELD + prefix
        held = [decode_commit(value) for value in self._db.values(begin, begin + b"\xff")]
        position = self._put_commits(batch, following, [*held, commit])
        self._shared.write(batch)
        self._streams.log_head = position
        self._streams.put_head(stream, following)
        self._usages.add(stream[1], [marker])
        return marker

    def decide(self, cascade_id: str, outcome: str, reason: str) -> Decision:
        """Record a decision; the caller has seen that there is none."""
        decision = Decision(cascade_id, outcome, reason, self._clock.now_ns())
        batch = self._db.batch()
        value = encode((outcome, reason, decision.decided_at_ns))
        batch.put(keys.DECISION + text(cascade_id), value)
        self._shared.write(batch)
        return decision

    def delete_timeline(
        self, domain: str, edition: str, timeline: bytes, pending: Sequence[bytes]
    ) -> int:
        """Remove all records of an edition; count of its pages.

        Its entries in the log and in the correlation index stay behind a number that nobody has.
        """
        begin = keys.EVENT + timeline
        count = sum(1 for _ in self._db.items(begin, keys.after(begin)))
        batch = self._db.batch()
        for table in keys.STREAM_TABLES:
            batch.delete_range(table + timeline, keys.after(table + timeline))
        for key, _ in self._db.items(keys.POSITION, keys.after(keys.POSITION)):
            if key[-keys.PREFIX_BYTES : -16] == timeline:
                batch.delete(key)
        for key in pending:
            batch.delete(key)
        batch.delete(keys.TIMELINE + text(domain) + text(edition))
        self._shared.write(batch)
        self._shared.forget(domain, edition)
        self._streams.drop_heads(domain, edition)
        self._usages.forget(edition)
        return count

    def _head(
        self, cover: Cover, stream: StreamKey, divergence: int | None, expected: int
    ) -> tuple[Head, bool]:
        """The head to append at, and whether this is a branch's first write, which pins it."""
        head = self._streams.head(stream)
        if cover.is_main:
            return head, False
        if head.base is not None:
            _rules.first_write_point(cover, head.base, divergence, 0, expected)
            return head, False
        above, above_next = self._streams.above(stream)
        base = _rules.first_write_point(cover, None, divergence, above_next, expected)
        return Head(base, base, False, {}, cut(above, base)), True

    def _put_pages(
        self, batch: WriteBatch, head: Head, pages: Sequence[Page], commit: Commit
    ) -> Head:
        """Put pages and their indexes; the head after them."""
        prefix, unresolved, has_odd = commit.stream, head.unresolved, head.has_odd
        events = keys.EVENT + prefix
        for sequence, page in enumerate(pages, commit.first):
            batch.put(events + number(sequence), _pages.framed(page.data))
            if not page.is_plain:
                has_odd = True
                batch.put(keys.ODD + prefix + number(sequence), b"")
            if commit.cascade_id:
                unresolved = {**unresolved, sequence: commit.cascade_id}
                key = keys.PENDING + text(commit.cascade_id) + prefix + number(sequence)
                batch.put(key, page.created_at_ns.to_bytes(12, "big", signed=True))
        if commit.correlation_id and pages:
            key = keys.CORRELATION + text(commit.correlation_id) + prefix + number(commit.first)
            batch.put(key, number(commit.page_count))
        following = head.next_sequence + len(pages)
        return Head(following, head.base, has_odd, unresolved, head.inherited)

    def _put_commits(self, batch: WriteBatch, head: Head, commits: Sequence[Commit]) -> int:
        """Log what no unresolved page holds back, hold the rest (CAS-9); the log's new head."""
        position = self._streams.log_head
        limit = next(iter(head.unresolved), SEQUENCE_MAX + 1)
        for commit in commits:
            key = keys.HELD + commit.stream + number(commit.first)
            if commit.first >= limit:
                batch.put(key, encode(commit))
                continue
            position += commit.page_count
            batch.put(keys.LOG + number(position), encode(commit))
            place = keys.PLACE + commit.stream + number(commit.first)
            batch.put(place, PLACE.pack(position, commit.page_count))
            if len(commits) > 1:
                batch.delete(key)
        return position

    def _is_undecided(self, head: Head, sequence: int) -> bool:
        """Whether a pending page of the composite stream lies at or below `sequence` (SNAP-5)."""
        if next(iter(head.unresolved), SEQUENCE_MAX + 1) <= sequence:
            return True
        for part in head.inherited:
            below = self._streams.head(part.stream).unresolved
            if next(iter(below), SEQUENCE_MAX + 1) < min(part.stop, sequence + 1):
                return True
        return False
