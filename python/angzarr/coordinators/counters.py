"""What has happened in a process since its start, by name; `GetStatus` tells it."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from angzarr.cover import Cover
from angzarr.errors import SnapshotUnreadable

STREAMS_KEPT: Final = 4_096
"""Streams whose snapshots were told of; of more, some are told of once more."""

SNAPSHOTS_SKIPPED: Final = "snapshots.skipped"
SNAPSHOTS_FAILED: Final = "snapshots.failed"
SNAPSHOTS_TAKEN: Final = "snapshots.taken"
EDITIONS_REAPED: Final = "editions.reaped"
EDITIONS_FAILED: Final = "editions.reap_failed"
KNOWN: Final = (
    SNAPSHOTS_SKIPPED,
    SNAPSHOTS_FAILED,
    SNAPSHOTS_TAKEN,
    EDITIONS_REAPED,
    EDITIONS_FAILED,
)

_log = logging.getLogger(__name__)


class Counters:
    """Numbers that only grow. Those that are known are there from the start, at 0."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = dict.fromkeys(KNOWN, 0)
        self._told: OrderedDict[tuple[str, str, bytes], None] = OrderedDict()

    def add(self, name: str, count: int = 1) -> None:
        """Count what `name` stands for."""
        self._counts[name] = self._counts.get(name, 0) + count

    def values(self) -> Mapping[str, int]:
        """The counts by name."""
        return dict(self._counts)

    def skipped(self, cover: Cover, error: SnapshotUnreadable) -> None:
        """Count a snapshot that did not load, and say so, once a stream (SNAP-14)."""
        self.add(SNAPSHOTS_SKIPPED)
        if cover.stream in self._told:
            return
        self._told[cover.stream] = None
        if len(self._told) > STREAMS_KEPT:
            self._told.popitem(last=False)
        _log.warning("%s: its snapshot is skipped, its events are read instead: %s", cover, error)
