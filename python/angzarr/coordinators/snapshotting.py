"""Automatic snapshots, taken outside the caller's latency (SNAP-7)."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from angzarr import wire
from angzarr.coordinators import books, merge
from angzarr.coordinators.counters import SNAPSHOTS_FAILED, SNAPSHOTS_TAKEN
from angzarr.coordinators.merge import StateUnknown
from angzarr.coordinators.pipeline import Call, Loaded, Pipeline
from angzarr.coordinators.views import View
from angzarr.errors import AngzarrError

_log = logging.getLogger(__name__)


class Snapshotter:
    """Takes a snapshot when a stream has grown enough since its newest one."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._running: dict[tuple[str, str, bytes], asyncio.Task[None]] = {}

    def consider(self, call: Call, view: View, next_sequence: int) -> None:
        """Start taking one after an append to `view` that left the stream at `next_sequence`, if it
        is due.
        """
        options = self._pipeline.options.snapshots_of(call.cover.domain)
        if not options.every or not options.write or call.cover.stream in self._running:
            return
        newest = books.snapshot_in(view.data)
        if next_sequence - (newest.sequence + 1 if newest else 0) < options.every:
            return
        task = asyncio.get_running_loop().create_task(self._take(call))
        self._running[call.cover.stream] = task
        task.add_done_callback(lambda _: self._running.pop(call.cover.stream, None))

    async def close(self) -> None:
        """Wait for those that are being taken."""
        await asyncio.gather(*self._running.values())

    async def _take(self, call: Call) -> None:
        counters = self._pipeline.counters
        try:
            if await self._pipeline.loaded(call, partial(self._on, call)):
                counters.add(SNAPSHOTS_TAKEN)
        except (AngzarrError, StateUnknown) as error:
            counters.add(SNAPSHOTS_FAILED)
            _log.warning("no snapshot of %s: %s", call.cover, error.__cause__ or error)

    async def _on(self, call: Call, loaded: Loaded) -> bool:
        """Take one of the state; whether one may be taken."""
        view, cover = loaded.view, call.cover
        if await self._pipeline.has_pending(call, view):
            return False  # it would hold what is undecided (SNAP-5)
        message = view.message
        base = message.snapshot if message.HasField("snapshot") else None
        encoded = await merge.state(call.component, message.pages, base, call.context)
        snapshot = wire.Snapshot(sequence=view.next_sequence - 1)
        snapshot.state.ParseFromString(encoded)
        policy = self._pipeline.options.snapshots_of(cover.domain).policy
        await self._pipeline.stores.snapshots.put(cover, snapshot.SerializeToString(), policy)
        return True
