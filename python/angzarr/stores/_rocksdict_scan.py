"""The log of the rocksdict store as columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

from angzarr import wire
from angzarr.errors import CorruptData
from angzarr.ports.columns import Columns, FieldSpec
from angzarr.ports.event_store import ROLLBACK
from angzarr.stores import _rocksdict_db as keys
from angzarr.stores._rocksdict_db import number
from angzarr.stores._rocksdict_streams import Commit, Streams
from angzarr.stores._scanning import Rows, Selection

READ_COUNT: Final = 4_096
"""Pages that are read and parsed together, which costs much less than one by one."""


def scan(
    streams: Streams, after: int, limit: int, selection: Selection, fields: Sequence[FieldSpec]
) -> Columns:
    """As `EventStore.scan`, its arguments checked."""
    rows, last = Rows(fields), after
    waiting: list[tuple[int, Commit]] = []
    page_count = 0
    for position, commit in streams.commits(after):
        if last > after and position - after > limit:
            break
        last = position
        if _is_wanted(streams, commit, selection):
            waiting.append((position, commit))
            page_count += commit.page_count
        if page_count >= READ_COUNT:
            _add(streams, rows, waiting, after)
            waiting, page_count = [], 0
    _add(streams, rows, waiting, after)
    return rows.columns(last)


def _is_wanted(streams: Streams, commit: Commit, selection: Selection) -> bool:
    """Whether consumers see something of it: no marker, not revoked, its edition not deleted."""
    stream = streams.shared.stream(commit.stream)
    if commit.is_marker or stream is None or not selection.has(stream):
        return False
    decision = streams.decision(commit.cascade_id) if commit.cascade_id else None
    return decision is None or decision.outcome != ROLLBACK


def _add(streams: Streams, rows: Rows, commits: Sequence[tuple[int, Commit]], after: int) -> None:
    """Read the pages of commits and add their rows."""
    wanted = [
        keys.EVENT + commit.stream + number(sequence)
        for _, commit in commits
        for sequence in range(commit.first, commit.first + commit.page_count)
    ]
    frames = streams.shared.db.get_many(wanted)
    if None in frames:
        _add_one_by_one(streams, rows, commits, after)
        return
    # One message of all of them: parsing it costs less than one for each commit.
    pages = iter(wire.EventBook.FromString(b"".join(filter(None, frames))).pages)
    for position, commit in commits:
        own = list(islice(pages, commit.page_count))
        stream = streams.shared.stream(commit.stream)
        if stream is not None:  # else deleted meanwhile
            rows.add(stream, position - commit.page_count + 1, own, after)


def _add_one_by_one(
    streams: Streams, rows: Rows, commits: Sequence[tuple[int, Commit]], after: int
) -> None:
    """As `_add`, where pages are missing: those of editions that were deleted meanwhile."""
    if len(commits) > 1:
        for commit in commits:
            _add(streams, rows, [commit], after)
    elif streams.shared.stream(commits[0][1].stream) is not None:
        where = f"{streams.shared.db.url} position {commits[0][0]}"
        raise CorruptData(where, "nothing", "a page")
