"""Replays: a read model made anew, in place or beside the one that serves (PROJ-9, PROJ-17)."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from functools import partial
from typing import Final, Protocol

from angzarr.coordinators.options import ProjectorOptions
from angzarr.coordinators.pipeline import Sleep, real_sleep
from angzarr.coordinators.projecting import Projecting
from angzarr.coordinators.projector import ProjectorCoordinator
from angzarr.coordinators.rebuild import Limit, Rebuild, Rebuilt
from angzarr.errors import NotPermitted
from angzarr.ports.components import Upcaster
from angzarr.ports.event_store import EventStore
from angzarr.ports.position_store import PositionStore
from angzarr.ports.read_store import (
    Comparison,
    Progress,
    ReadModel,
    ReplacedReadStore,
    StoredProjector,
)
from angzarr.ports.stores import Stores

POLL_S: Final = 0.1
"""How often a running replay is looked at."""

LEASE_S: Final = 30.0


class HasPosition(Protocol):
    """How far a consumer has come in the log."""

    @property
    def position(self) -> int: ...


class Fed(Protocol):
    """What a replay in place wants of the consumers that are fed from the log."""

    async def reset(
        self, consumer: str, between: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Forget where it was and begin anew; `between` is called while nothing is delivered."""
        ...

    def states(self) -> Mapping[str, HasPosition]:
        """How each consumer is doing, by name."""
        ...


async def replay_in_place(
    projector: ProjectorCoordinator,
    consumers: Fed,
    events: EventStore,
    *,
    publishes: bool = False,
    progress: Progress | None = None,
    sleep: Sleep = real_sleep,
) -> None:
    """Delete the rows of a projector that is being fed, and feed it the log from its beginning;
    returns when it has come to where the log ended.

    Until then synchronous requests are answered without its projection. publishes: whether its
    projections are published meanwhile (PROJ-11). Raises what resetting raises; if the rows are
    deleted by then, it counts as being replayed until a replay comes to its end.
    """
    head = await events.log_head()
    await consumers.reset(projector.consumer, partial(projector.begin_replay, publishes=publishes))
    try:
        while True:
            position = consumers.states()[projector.consumer].position
            if progress is not None:
                progress(min(position, head), head)
            if position >= head:
                return
            await sleep(POLL_S)
    finally:
        await projector.end_replay()


async def replay_at_rest(
    projector: ProjectorCoordinator, stores: Stores, *, progress: Progress | None = None
) -> None:
    """The same for a projector that nothing feeds, such as that of a server that does not run.

    Raises NotPermitted while another process feeds it, and what the projector raises.
    """
    async with _leased(stores.positions, projector.consumer):
        await projector.begin_replay()
        await stores.positions.reset(projector.consumer)
        try:
            await projector.read_log(progress)
        finally:
            await projector.end_replay()


@contextlib.asynccontextmanager
async def _leased(positions: PositionStore, consumer: str) -> AsyncGenerator[None]:
    """Keep every other process from feeding the consumer."""
    holder = f"replay-{uuid.uuid4()}"
    if not await positions.lease(consumer, 0, holder, LEASE_S):
        raise NotPermitted(f"{consumer} is fed by a running server; stop it, or replay there")

    async def renew() -> None:
        while True:
            await asyncio.sleep(LEASE_S / 3)
            await positions.lease(consumer, 0, holder, LEASE_S)

    renewing = asyncio.get_running_loop().create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        await positions.lease(consumer, 0, holder, 0)


class Beside:
    """A projector's read model that is built anew while the old one serves.

    It needs nothing of the process that serves: the log, and the two read models. passes_failures:
    events that the projector fails on are left out, and told.
    """

    def __init__(
        self,
        projector: StoredProjector,
        store: ReplacedReadStore,
        events: EventStore,
        *,
        options: ProjectorOptions | None = None,
        upcasters: Mapping[str, Upcaster] | None = None,
        progress: Progress | None = None,
        passes_failures: bool = False,
    ) -> None:
        self._name = projector.name.partition(":")[2]
        self._store = store
        self._progress = progress
        self._passes_failures = passes_failures
        projecting = Projecting(events, upcasters or {}, options or ProjectorOptions())
        self._rebuild = Rebuild(projector, projecting, events)
        self._rebuilt = Rebuilt()

    async def build(self) -> Rebuilt:
        """Build it from the log's beginning to its head; one that was begun before is discarded.

        Raises what the projector raises, ReadStoreUnavailable; what was built so far stays beside.
        """
        await self._store.discard()
        model = await self._store.beside().open(self._name)
        try:
            await self._catch_up(model, None)
        finally:
            await model.close()
        return self._rebuilt

    async def compare(self) -> Comparison:
        """Bring it to the events of the one that serves, and tell how their rows differ."""
        return await self._store.compare(self._name, self._catch_up)

    async def switch(self) -> None:
        """Put it in the place of the one that serves."""
        await self._store.switch(self._name, self._catch_up)

    async def _catch_up(self, model: ReadModel[object], limit: Limit | None) -> None:
        self._rebuilt = await self._rebuild.catch_up(
            model, limit, progress=self._progress, passes_failures=self._passes_failures
        )
