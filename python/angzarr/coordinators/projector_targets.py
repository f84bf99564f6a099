"""Where a projector's books go: into its read store, or to a projector that keeps its rows itself.

In a read store rows and positions commit together, so each event has its effect once (PROJ-4). What
keeps its rows itself, a remote projector for one, may be given a page again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from angzarr import wire
from angzarr.coordinators import books
from angzarr.coordinators.options import ProjectorOptions
from angzarr.coordinators.pipeline import Sleep
from angzarr.coordinators.projecting import (
    Applied,
    Place,
    PlainPlace,
    Projecting,
    StoredPlace,
)
from angzarr.coordinators.projector_positions import LatePositions
from angzarr.coordinators.projector_writer import Writer
from angzarr.coordinators.rebuild import Rebuild
from angzarr.cover import Cover
from angzarr.errors import AngzarrError, StoreClosed
from angzarr.ports.components import CallContext, Projector
from angzarr.ports.event_store import EventStore
from angzarr.ports.read_store import Progress, ReadModel, ReadStore, StoredProjector, Unit
from angzarr.ports.stores import Stores

Reset = Callable[[], Awaitable[object]]
Wants = Callable[[Cover], bool]

_NO_CONTEXT: Final = CallContext()
_log = logging.getLogger(__name__)


class Target(Protocol):
    """What a projector's coordinator does with books."""

    async def open(self) -> None:
        """Make ready."""
        ...

    async def begin(self) -> None:
        """Set the consumer's cursor to where the rows are; for who leads it, and nobody else."""
        ...

    async def close(self) -> None:
        """Finish what was asked for, store positions, let go. Idempotent."""
        ...

    async def apply(
        self, book: bytes, context: CallContext, how: str, cover: Cover | None = None
    ) -> Applied | None:
        """`Projecting.feed`, with its effects durable, or as durable as they get, on return."""
        ...

    async def pass_by(self, cover: Cover, last: int) -> None:
        """Move the stream's position to `last` without a call (DLQ-4)."""
        ...

    async def forget_edition(self, domain: str, edition: str) -> None:
        """The edition was deleted in the domain: forget its positions (PROJ-15)."""
        ...

    async def speculate(self, book: bytes, context: CallContext) -> wire.Projection:
        """What the projector would answer, without effect (PROJ-12)."""
        ...

    async def reset(self) -> None:
        """Begin anew: no rows, no positions (PROJ-9). Nothing else runs meanwhile."""
        ...

    async def end_reset(self) -> None:
        """The consumer's cursor is that of the new rows from now on."""
        ...

    async def read_log(self, wants: Wants, progress: Progress | None) -> None:
        """Apply the log from the consumer's cursor to its head, and move the cursor there."""
        ...


class StoredTarget:
    """A read store, written in transactions that waiting books share."""

    def __init__(
        self,
        projector: StoredProjector,
        store: ReadStore[object],
        stores: Stores,
        projecting: Projecting,
        *,
        name: str,
        consumer: str,
        options: ProjectorOptions,
    ) -> None:
        self._projector = projector
        self._store = store
        self._positions = stores.positions
        self._events = stores.events
        self._projecting = projecting
        self._rebuild = Rebuild(projector, projecting, stores.events)
        self._name = name
        self._consumer = consumer
        self._options = options
        self._model: ReadModel[object] | None = None
        self._writer: Writer | None = None
        self._healing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the read store.

        Raises ReadStoreUnavailable, InvalidInput, FormatTooNew.
        """
        if self._model is not None:
            return
        model = self._model = await self._store.open(self._name)
        self._writer = Writer(model, self._options, self._finished, self._replaced)
        await self._writer.adopt()

    async def begin(self) -> None:
        """Let the consumer go on where the rows end.

        They may end before its cursor, since a crash of the machine takes the newest transactions,
        and since files can be deleted or restored; and behind it, after a rebuild.
        """
        async with self._open_model().transaction() as unit:
            own = await unit.cursor()
        stored = await self._positions.cursor(self._consumer)
        if stored is not None and (own or 0) < stored:
            await self._positions.reset(self._consumer)
        if own is not None or stored is not None:
            await self._positions.put_cursor(self._consumer, own or 0)

    async def close(self) -> None:
        """Finish what was asked for, and close the read store. Idempotent."""
        writer, self._writer = self._writer, None
        model, self._model = self._model, None
        if self._healing is not None:
            self._healing.cancel()
            await asyncio.gather(self._healing, return_exceptions=True)
        try:
            if writer is not None:
                await writer.close()
        finally:
            if model is not None:
                await model.close()

    async def apply(
        self, book: bytes, context: CallContext, how: str, cover: Cover | None = None
    ) -> Applied | None:
        """Apply it in a transaction; committed on return."""

        async def work(unit: Unit[object]) -> Applied | None:
            place = StoredPlace(self._projector, unit)
            return await self._projecting.feed(place, book, context, how, cover)

        return await self._open_writer().run(work)

    async def pass_by(self, cover: Cover, last: int) -> None:
        """Move the position in a transaction."""

        async def work(unit: Unit[object]) -> None:
            await _raise_position(StoredPlace(self._projector, unit), cover, last)

        await self._open_writer().run(work)

    async def forget_edition(self, domain: str, edition: str) -> None:
        """Forget the edition's positions, and catch up with what was written under its name since.

        That may have been delivered before this was, and been taken for known.
        """

        async def work(unit: Unit[object]) -> None:
            await unit.forget_edition(domain, edition)
            place = StoredPlace(self._projector, unit)
            await _catch_up_edition(self._projecting, self._events, place, domain, edition)

        await self._open_writer().run(work)

    async def speculate(self, book: bytes, context: CallContext) -> wire.Projection:
        """Run the projector's methods in a transaction, and roll it back."""
        message = await self._projecting.lifted(book, context)
        packed = None
        try:
            async with self._open_model().transaction() as unit:
                packed = await self._projector.apply(message, unit.db)
                raise _Undone
        except _Undone:
            return wire.Projection(projection=packed)

    async def reset(self) -> None:
        """Let the projector, or else the store, delete the rows, and forget positions and cursor,
        in one transaction.
        """
        self._open_writer().suspend()
        async with self._open_model().transaction() as unit:
            if not await self._projector.reset(unit.db):
                await unit.clear()
            await unit.forget()

    async def end_reset(self) -> None:
        """Copy the consumer's cursor again."""
        await self._open_writer().adopt()

    async def read_log(self, wants: Wants, progress: Progress | None) -> None:
        """Apply the log in large transactions."""
        rebuilt = await self._rebuild.catch_up(self._open_model(), progress=progress)
        await self._positions.put_cursor(self._consumer, rebuilt.position)

    async def _finished(self) -> int | None:
        return await self._positions.cursor(self._consumer)

    def _replaced(self) -> None:
        """Another read model is in the place of the one that holds all that is finished."""
        if self._healing is None or self._healing.done():
            self._healing = asyncio.get_running_loop().create_task(self._heal())

    async def _heal(self) -> None:
        """Bring the new one to the log's head; only then it holds what is finished."""
        try:
            await self._rebuild.catch_up(self._open_model(), is_shared=True, passes_failures=True)
            await self._open_writer().adopt()
        except StoreClosed:
            return
        except AngzarrError as error:
            _log.warning("%s: catching up after a switch failed: %s", self._consumer, error)

    def _open_model(self) -> ReadModel[object]:
        if self._model is None:
            raise StoreClosed(self._store.place)
        return self._model

    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise StoreClosed(self._store.place)
        return self._writer


class PlainTarget:
    """A projector that keeps its rows itself; positions are stored beside, a little later.

    reset: the projector's own, None without one.
    """

    def __init__(
        self,
        projector: Projector,
        stores: Stores,
        projecting: Projecting,
        *,
        consumer: str,
        options: ProjectorOptions,
        reset: Reset | None,
        sleep: Sleep,
    ) -> None:
        self._projector = projector
        self._consumer = consumer
        self._events = stores.events
        self._positions = stores.positions
        self._projecting = projecting
        self._reset = reset
        self._late = LatePositions(stores.positions, consumer, options, sleep)
        self._place = PlainPlace(projector, self._late)

    async def open(self) -> None:
        """Nothing is opened."""

    async def begin(self) -> None:
        """The consumer's cursor is the one that there is."""

    async def close(self) -> None:
        """Store positions. Raises StoreUnavailable."""
        await self._late.close()

    async def apply(
        self, book: bytes, context: CallContext, how: str, cover: Cover | None = None
    ) -> Applied | None:
        """Ask the projector; positions are durable soon after."""
        return await self._projecting.feed(self._place, book, context, how, cover)

    async def pass_by(self, cover: Cover, last: int) -> None:
        """Move the position, durable soon after."""
        await _raise_position(self._place, cover, last)

    async def forget_edition(self, domain: str, edition: str) -> None:
        """The store has forgotten them with the edition (EDN-14); catch up with what was written
        under its name since.
        """
        await _catch_up_edition(self._projecting, self._events, self._place, domain, edition)

    async def speculate(self, book: bytes, context: CallContext) -> wire.Projection:
        """The projector's own HandleSpeculative; Handle is never called in its place."""
        seen = (await self._projecting.lifted(book, context)).SerializeToString()
        answer = await self._projector.handle_speculative(seen, context)
        return books.parse(wire.Projection, answer)

    async def reset(self) -> None:
        """Call the projector's own reset; who feeds it resets the stored positions."""
        self._late.forget()
        if self._reset is not None:
            await self._reset()

    async def end_reset(self) -> None:
        """Nothing was held back."""

    async def read_log(self, wants: Wants, progress: Progress | None) -> None:
        """Apply the log book by book."""
        position = await self._positions.cursor(self._consumer) or 0
        head = await self._events.log_head()
        while position < head:
            entries = await self._events.tail(position)
            for entry in entries:
                book = books.parse(wire.EventBook, entry.book)
                if wants(books.cover_of(book.cover)):
                    await self._projecting.feed(self._place, book, _NO_CONTEXT)
            position = entries[-1].position if entries else head  # the rest was deleted
            if progress is not None:
                progress(min(position, head), head)
        await self._late.flush()
        await self._positions.put_cursor(self._consumer, position)


class _Undone(Exception):
    """Rolls a transaction back."""


async def _raise_position(place: Place, cover: Cover, last: int) -> None:
    position = await place.position(cover)
    if position is None or position < last:
        await place.put_position(cover, last)


async def _catch_up_edition(
    projecting: Projecting, events: EventStore, place: Place, domain: str, edition: str
) -> None:
    for root in await events.roots(domain, edition):
        await projecting.catch_up(place, Cover(domain, root, edition), _NO_CONTEXT)
