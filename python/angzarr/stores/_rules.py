"""Rules of the store ports without I/O: form of an append, branch points, snapshot retention."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from angzarr import wire
from angzarr.cover import ROOT_BYTES, Cover, Provenance
from angzarr.errors import DivergenceConflict, InvalidDivergence, InvalidInput, TooLarge
from angzarr.ports.event_store import ANSWER_BYTES_MAX, COMMIT, ROLLBACK, Limits, SnapshotPolicy
from angzarr.stores._pages import NS_PER_S

SNAPSHOT_EXTRA_BYTES: Final = 64 * 1024
"""A state as large as an append may be still has to fit with its envelope."""


class Kept(NamedTuple):
    """A stored snapshot as retention sees it; stored_at_ns by the store's clock."""

    sequence: int
    retention: int
    stored_at_ns: int


def stream_of(cover: Cover) -> tuple[str, str, bytes]:
    """The stream's key; InvalidInput unless the root has 16 bytes."""
    if len(cover.root) != ROOT_BYTES:
        raise InvalidInput("cover.root", f"{ROOT_BYTES} bytes", f"{len(cover.root)} bytes")
    return cover.stream


def key_of(provenance: Provenance | None, external_id: str) -> bytes:
    """The idempotency key's bytes, b"" without one; InvalidInput for both kinds at once."""
    if provenance is not None:
        if external_id:
            raise InvalidInput("external_id", "empty beside a provenance", external_id)
        if len(provenance.source.root) != ROOT_BYTES:
            found = f"{len(provenance.source.root)} bytes"
            raise InvalidInput("provenance.source.root", f"{ROOT_BYTES} bytes", found)
        return b"p" + provenance.key
    return b"e" + external_id.encode() if external_id else b""


def check_append(
    limits: Limits, pages: Sequence[bytes], *, snapshot: bytes | None, key: bytes, answer: bytes
) -> None:
    """The checks that need no stream: InvalidInput, TooLarge (STO-6, STO-11)."""
    if len(pages) > limits.max_pages_per_append:
        raise TooLarge("pages", f"at most {limits.max_pages_per_append}", len(pages))
    size_bytes = sum(map(len, pages))
    if size_bytes > limits.max_append_bytes:
        raise TooLarge("pages", f"at most {limits.max_append_bytes} bytes", size_bytes)
    if len(answer) > ANSWER_BYTES_MAX:
        raise TooLarge("answer", f"at most {ANSWER_BYTES_MAX} bytes", len(answer))
    if snapshot is not None:
        check_snapshot(limits, snapshot)
    if not pages and not key and snapshot is None:
        raise InvalidInput("pages", "at least 1 without a key or a snapshot", 0)


def check_snapshot(limits: Limits, snapshot: bytes) -> None:
    """TooLarge for a snapshot over the limit."""
    bytes_max = limits.max_append_bytes + SNAPSHOT_EXTRA_BYTES
    if len(snapshot) > bytes_max:
        raise TooLarge("snapshot", f"at most {bytes_max} bytes", len(snapshot))


def check_outcome(outcome: str) -> None:
    """InvalidInput unless it is COMMIT or ROLLBACK."""
    if outcome not in (COMMIT, ROLLBACK):
        raise InvalidInput("outcome", f"{COMMIT} or {ROLLBACK}", outcome)


def branch_point(cover: Cover, pinned: int | None, requested: int | None, parent_next: int) -> int:
    """Where a stream leaves its parent: its pin, else what is requested, else the parent's end
    (EDN-4 to 8).

    parent_next: next sequence of the parent's composite stream (EDN-21); it does not matter where
    there is a pin. 0 for main itself, whose divergences are ignored (EDN-2).
    Raises DivergenceConflict, InvalidDivergence.
    """
    if cover.is_main:
        return 0
    if pinned is not None:
        if requested is not None and requested != pinned:
            raise DivergenceConflict(cover, pinned, requested)
        return pinned
    if requested is None:
        return parent_next
    if requested > parent_next:
        raise InvalidDivergence(cover, requested, parent_next)
    return requested


def first_write_point(
    cover: Cover,
    pinned: int | None,
    requested: int | None,
    parent_next: int,
    expected_sequence: int,
) -> int:
    """branch_point() for an append: without a pin or request, where the caller saw the end.

    The parent may have grown since. An end that it has not reached is judged as a sequence, not as
    a divergence.
    """
    if requested is None and pinned is None and expected_sequence < parent_next:
        return branch_point(cover, pinned, expected_sequence, parent_next)
    return branch_point(cover, pinned, requested, parent_next)


def expired(kept: Iterable[Kept], put: int, policy: SnapshotPolicy, now_ns: int) -> list[int]:
    """What retention removes once `put` is stored; `kept` has that one too (SNAP-6, SNAP-8).

    Snapshots above `put` are touched by age alone, and the newest of all by nothing.
    """
    ranked = sorted(kept, reverse=True)
    age_ns = policy.max_age_s * NS_PER_S
    removed: list[int] = []
    for rank, snapshot in enumerate(ranked):
        if rank == 0 or snapshot.retention == wire.RETENTION_PERSIST:
            continue
        is_transient = snapshot.retention == wire.RETENTION_TRANSIENT
        is_surplus = snapshot.sequence <= put and (is_transient or rank >= policy.keep_last)
        is_old = bool(age_ns) and now_ns - snapshot.stored_at_ns > age_ns
        if is_surplus or is_old:
            removed.append(snapshot.sequence)
    return removed
