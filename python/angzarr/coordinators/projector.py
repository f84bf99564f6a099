"""Projectors: fed from the log and by requests, each page once a stream, in order (PROJ rules)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from angzarr import wire
from angzarr.coordinators import projector_books, validate
from angzarr.coordinators.delivery import Delivery
from angzarr.coordinators.options import ProjectorOptions
from angzarr.coordinators.pipeline import Sleep, real_sleep
from angzarr.coordinators.projecting import (
    PUBLISHED,
    REDELIVERED,
    REQUESTED,
    Applied,
    Projecting,
)
from angzarr.coordinators.projector_targets import PlainTarget, Reset, StoredTarget, Target
from angzarr.coordinators.subscriptions import Filter, editions_of
from angzarr.cover import MAIN, Cover
from angzarr.errors import ProjectorReplaying, RemoteError
from angzarr.ports.clock import Clock, SystemClock
from angzarr.ports.components import CallContext, Projector, Subscription, Upcaster
from angzarr.ports.read_store import Progress, ReadStore, StoredProjector
from angzarr.ports.stores import Stores

CORRELATION: Final = "x-correlation-id"
NS_PER_S: Final = 1_000_000_000

_DELETIONS: Final = Subscription(validate.SYSTEM, (projector_books.DELETED,))

Publish = Callable[[bytes], None]
"""Takes the encoded EventBook of a projection (PROJ-11)."""


class ProjectorCoordinator:
    """Drives one projector.

    Consumers feed it: `consumer`, `component`, `log_subscriptions`, `log_editions`, `concurrency`,
    `begin`, `deliver` and `gave_up` are what they want to know, and they give a stream one delivery
    at a time. Requests call `project` when it is their turn at the stream.

    upcasters: by domain, where there are any. publish: takes projections; None publishes none.
    """

    is_elsewhere = False

    def __init__(
        self,
        projector: Projector,
        target: Target,
        *,
        concurrency: int,
        options: ProjectorOptions,
        clock: Clock,
        publish: Publish | None,
    ) -> None:
        self.component = projector.name
        self.name = projector.name.partition(":")[2]
        self.consumer = consumer_name(self.name)
        self.subscriptions = projector.subscriptions
        self.is_synchronous = projector.is_synchronous
        self.concurrency = concurrency
        self.editions = projector.editions
        self._editions = editions_of(projector.editions)
        self._filter = Filter(projector.subscriptions)
        self._target = target
        self._options = options
        self._clock = clock
        self._publish = publish
        self._is_replaying = False
        self._is_quiet = False

    @property
    def log_subscriptions(self) -> tuple[Subscription, ...]:
        """What the log has to deliver: its own, and deletions of editions that it may follow."""
        if self._editions == frozenset((MAIN,)):
            return self.subscriptions
        return (*self.subscriptions, _DELETIONS)

    @property
    def log_editions(self) -> tuple[str, ...] | None:
        """Editions that the log has to deliver; those deletions are on main."""
        return None if self._editions is None else tuple(sorted(self._editions | {MAIN}))

    def wants(self, cover: Cover) -> bool:
        """Whether it is for a stream, by domain and edition."""
        if self._editions is not None and cover.edition not in self._editions:
            return False
        return self._filter.wants(cover.domain)

    async def open(self) -> None:
        """Open the read store, before consumers start.

        Raises ReadStoreUnavailable, InvalidInput, FormatTooNew.
        """
        await self._target.open()

    async def begin(self) -> None:
        """Set the consumer's cursor to where the rows end. It is the leading process's to set: one
        that stands by would take back what the other has finished.

        Raises ReadStoreUnavailable, StoreUnavailable.
        """
        await self._target.begin()

    async def close(self) -> None:
        """Finish what was asked for, store positions, let go. Idempotent."""
        await self._target.close()

    async def deliver(self, delivery: Delivery) -> None:
        """Apply a delivery of the log (PROJ-2). Raises what the projector raises, and
        ReadStoreUnavailable, for which nothing is to be given up.
        """
        if delivery.cover.domain == validate.SYSTEM:
            await self._forget_editions(delivery)
        if not self.wants(delivery.cover):
            return
        how = REDELIVERED if delivery.is_redelivered else PUBLISHED
        cover = delivery.cover
        applied = await self._target.apply(delivery.book, self._context(cover), how, cover)
        if applied is not None and self._publish is not None:
            self._finished(applied)

    async def gave_up(self, delivery: Delivery) -> None:
        """Go on behind a delivery whose dead letter is durable (DLQ-4)."""
        if self.wants(delivery.cover):
            await self._target.pass_by(delivery.cover, delivery.last)

    async def project(self, book: bytes, context: CallContext) -> bytes | None:
        """Apply a request's new pages, and what is missing before them; the encoded Projection,
        None where nothing is new or for it (PROJ-7). The caller has the turn at the stream.

        Pages from the stream's first pending one on are left to the log (CAS-9, CAS-10). Raises
        ProjectorReplaying, what the projector raises, ReadStoreUnavailable.
        """
        if self._is_replaying:
            raise ProjectorReplaying(self.name)
        applied = await self._target.apply(book, context, REQUESTED)
        if applied is None:
            return None
        return self._finished(applied).SerializeToString(deterministic=True)

    async def speculate(self, book: bytes, context: CallContext) -> bytes:
        """The encoded Projection that the book would lead to, without effect (PROJ-12).

        Raises RemoteError UNIMPLEMENTED, naming the projector, where it can't do that.
        """
        message = wire.EventBook.FromString(book)
        try:
            projection = await self._target.speculate(book, context)
        except RemoteError as error:
            if error.code != "UNIMPLEMENTED":
                raise
            raise RemoteError(
                error.code,
                f"Projector {self.name}: {error.message}",
                error_kind=error.error_kind,
                details=error.details,
            ) from error
        last = message.pages[-1].header.sequence if message.pages else 0
        finished = projector_books.finish(projection, message.cover, self.name, last)
        return finished.SerializeToString(deterministic=True)

    async def begin_replay(self, *, publishes: bool = False) -> None:
        """Delete rows and positions. To be called while nothing is delivered, and to be followed by
        a reset of the consumer's cursor, and by `end_replay` when the log is read. publishes:
        whether projections of the replay are published. What it raises leaves everything as it was.
        """
        was_replaying = self._is_replaying
        self._is_replaying, self._is_quiet = True, not publishes
        try:
            await self._target.reset()
        except BaseException:
            if not was_replaying:
                await self.end_replay()
            raise

    async def read_log(self, progress: Progress | None = None) -> None:
        """Apply the log up to its head, here and now, and move the consumer there. For a projector
        that nothing feeds. Raises what the projector raises.
        """
        await self._target.read_log(self.wants, progress)

    async def end_replay(self) -> None:
        """The read model has caught up, or nothing was deleted."""
        self._is_replaying = self._is_quiet = False
        await self._target.end_reset()

    async def _forget_editions(self, delivery: Delivery) -> None:
        """Hear of deleted editions (PROJ-15)."""
        book = wire.EventBook.FromString(delivery.book)
        for deleted in projector_books.deleted_editions(book):
            if self.wants(Cover(deleted.domain, b"", deleted.edition)):
                await self._target.forget_edition(deleted.domain, deleted.edition)

    def _finished(self, applied: Applied) -> wire.Projection:
        """The whole Projection, published where that is wanted (PROJ-10, PROJ-11)."""
        projection = projector_books.finish(
            applied.projection or wire.Projection(), applied.cover, self.name, applied.last
        )
        if self._publish and not self._is_quiet and projection.projection.type_url:
            now_ns = self._clock.now_ns()
            self._publish(projector_books.output_book(projection, applied.cover, self.name, now_ns))
        return projection

    def _context(self, cover: Cover) -> CallContext:
        timeout_ns = int(self._options.handle_timeout_s * NS_PER_S)
        metadata = {CORRELATION: cover.correlation_id} if cover.correlation_id else {}
        return CallContext(time.monotonic_ns() + timeout_ns, metadata)


def plain_projector(
    projector: Projector,
    stores: Stores,
    *,
    options: ProjectorOptions | None = None,
    upcasters: Mapping[str, Upcaster] | None = None,
    reset: Reset | None = None,
    publish: Publish | None = None,
    clock: Clock | None = None,
    sleep: Sleep = real_sleep,
) -> ProjectorCoordinator:
    """The coordinator of a projector that keeps its rows itself, near or far.

    reset: what deletes them for a replay, where the projector has that.
    """
    options = options or ProjectorOptions()
    name = projector.name.partition(":")[2]
    projecting = Projecting(stores.events, upcasters or {}, options)
    target = PlainTarget(
        projector,
        stores,
        projecting,
        consumer=consumer_name(name),
        options=options,
        reset=reset,
        sleep=sleep,
    )
    return ProjectorCoordinator(
        projector,
        target,
        concurrency=options.concurrency,
        options=options,
        clock=clock or SystemClock(),
        publish=publish,
    )


def stored_projector(
    projector: StoredProjector,
    read_store: ReadStore[object],
    stores: Stores,
    *,
    options: ProjectorOptions | None = None,
    upcasters: Mapping[str, Upcaster] | None = None,
    publish: Publish | None = None,
    clock: Clock | None = None,
) -> ProjectorCoordinator:
    """The coordinator of a projector with a read store.

    Its books are applied one after the other, in transactions that those share which are on their
    way; so as many may be on their way as fit a transaction, unless the log's order is wanted.
    """
    options = options or ProjectorOptions()
    name = projector.name.partition(":")[2]
    projecting = Projecting(stores.events, upcasters or {}, options)
    target = StoredTarget(
        projector,
        read_store,
        stores,
        projecting,
        name=name,
        consumer=consumer_name(name),
        options=options,
    )
    concurrency = options.concurrency
    return ProjectorCoordinator(
        projector,
        target,
        concurrency=1 if concurrency == 1 else max(concurrency, options.batch_books),
        options=options,
        clock=clock or SystemClock(),
        publish=publish,
    )


def consumer_name(projector: str) -> str:
    """What its positions are kept under (PROJ-2)."""
    return f"projector-{projector}"
