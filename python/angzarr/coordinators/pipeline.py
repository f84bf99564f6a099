"""What every way of writing to a stream shares: load, decide, append, and the attempts after a race
(CMD-6).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from angzarr import wire
from angzarr.coordinators import books, validate, visibility
from angzarr.coordinators.counters import Counters
from angzarr.coordinators.numbering import Times
from angzarr.coordinators.options import CommandOptions
from angzarr.coordinators.slots import Component
from angzarr.coordinators.views import View, Views
from angzarr.cover import MAIN, Cover, Provenance
from angzarr.errors import (
    AngzarrError,
    CascadeDecided,
    CorruptData,
    DivergenceConflict,
    SequenceConflict,
    SequenceExhausted,
    SnapshotUnreadable,
    StorageFailed,
    StoreUnavailable,
)
from angzarr.ports.components import CallContext
from angzarr.ports.event_store import (
    SEQUENCE_MAX,
    Accepted,
    Book,
    Dropped,
    Duplicate,
    Obligation,
)
from angzarr.ports.stores import Stores

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

NS_PER_S: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One checked request on its way through the pipeline.

    divergence: as requested, None without an entry. expected: the stamp, 0 without one.
    is_deferred: no stamp is meant, so none is checked and races are tried again.
    """

    cover: Cover
    component: Component
    command: wire.CommandBook
    context: CallContext
    divergence: int | None = None
    cascade_id: str = ""
    strategy: int = wire.MERGE_COMMUTATIVE
    expected: int = 0
    is_deferred: bool = False
    provenance: Provenance | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A stream as a command's handler sees it. pin: the divergence that its append has to hold;
    is_pin_ours: nobody asked for it, it only tells whether the branch was begun elsewhere
    meanwhile."""

    view: View
    pin: int | None
    is_pin_ours: bool


@dataclass(frozen=True, slots=True)
class Written:
    """What an append came to: the new pages, encoded, the stored snapshot, and the stream's next
    sequence.
    """

    pages: Sequence[bytes]
    snapshot: bytes | None
    next_sequence: int


class Moved(Exception):
    """The stream moved between load and append."""

    def __init__(self, conflict: SequenceConflict) -> None:
        self.conflict = conflict
        super().__init__(str(conflict))


class Repeated(Exception):
    """The append's key is known: another delivery was faster."""


class storing:
    """Turn a failing backend into StorageFailed; errors that say more pass as they are.

    A class, since a generator's context costs a microsecond or two, several times a command.
    """

    __slots__ = ("_work",)

    def __init__(self, work: str) -> None:
        self._work = work

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if kind is StoreUnavailable:  # not closed, locked, forked: the store's state, no failure
            raise StorageFailed(self._work, str(error)) from error


class Pipeline:
    """The steps of an attempt, over the ports."""

    def __init__(
        self,
        stores: Stores,
        views: Views,
        times: Times,
        options: CommandOptions,
        sleep: Sleep,
        counters: Counters | None = None,
    ) -> None:
        self.stores = stores
        self.events = stores.events
        self.views = views
        self.times = times
        self.options = options
        self.counters = counters or Counters()
        self._sleep = sleep

    async def loaded(self, call: Call, use: Callable[[Loaded], Awaitable[T]]) -> T:
        """`use` on the stream as loaded; where its snapshot is no state of the handler's class as
        it is now, once more on all of its pages (SNAP-14). Raises as `load`, and what `use` raises.
        """
        try:
            return await use(await self.load(call))
        except SnapshotUnreadable as error:
            self.counters.skipped(call.cover, error)
        return await use(await self.load(call, is_whole=True))

    async def load(self, call: Call, *, is_whole: bool = False) -> Loaded:
        """The stream's current state for the call's handler (CMD-8); InvalidDivergence,
        DivergenceConflict.

        is_whole: all pages, and no snapshot.
        """
        cover = call.cover
        with storing("load events"):
            is_fresh = await self._is_fresh(call)
            if not is_whole and self.reads_snapshots(call.component, cover.domain):
                book = await self.events.load_latest(cover, divergence=call.divergence)
            else:
                book = await self.events.load(cover, divergence=call.divergence)
            view = await self.view(book, call)
        return Loaded(view, book.next_sequence if is_fresh else call.divergence, is_fresh)

    async def load_end(self, call: Call) -> Loaded:
        """The stream's last page as stored, for what needs to know no more than the end."""
        with storing("load events"):
            is_fresh = await self._is_fresh(call)
            following = await self.events.next_sequence(call.cover, divergence=call.divergence)
            book = await self.events.load(
                call.cover, start=max(following - 1, 0), divergence=call.divergence
            )
        pin = book.next_sequence if is_fresh else call.divergence
        return Loaded(View(book), pin, is_fresh)

    async def _is_fresh(self, call: Call) -> bool:
        """Whether the call would begin a branch, at a point that nobody asked for."""
        if call.cover.is_main or call.divergence is not None:
            return False
        return await self.events.divergence(call.cover) is None

    async def view(self, book: Book, call: Call) -> View:
        """What the call's handler sees of a stored book."""
        own = (call.cascade_id,) if call.cascade_id else ()
        return await self.views.of(book, call.cover, call.context, own=own)

    async def snapshot_below(self, call: Call, end: int) -> wire.Snapshot | None:
        """The newest snapshot that holds pages below `end` only: the stream's own, else one of the
        part that it inherits of main (SNAP-10).
        """
        if end == 0:
            return None
        with storing("load events"):
            found = await self.stores.snapshots.get_at(call.cover, end - 1)
            if found is None and not call.cover.is_main:
                point = await self._inherited(call, end)
                if point:
                    found = await self.stores.snapshots.get_at(call.cover.on(MAIN), point - 1)
        return None if found is None else wire.Snapshot.FromString(found)

    async def _inherited(self, call: Call, end: int) -> int:
        """How many of the first `end` pages are main's for sure: those below the divergences of the
        edition and of what it is a branch of. A parent that was pinned later may have left earlier.
        """
        cover, requested = call.cover, call.divergence
        while not cover.is_main:
            pinned = await self.events.divergence(cover)
            branched = requested if pinned is None else pinned
            end = end if branched is None else min(end, branched)
            record = await self.stores.editions.get(cover.edition)
            cover, requested = cover.on(record.parent if record else MAIN), None
        return end

    async def has_pending(self, call: Call, view: View) -> bool:
        """Whether an undecided page lies in what the view shows, the stream's own or one that it
        inherits, which forbids snapshots (SNAP-5, EDN-22).
        """
        if view.is_plain:
            return False
        with storing("load events"):
            if await self.events.pending(call.cover):
                return True
        return not call.cover.is_main and visibility.has_undecided(view.message.pages)

    def reads_snapshots(self, component: Component, domain: str) -> bool:
        """Whether the handler is sent snapshots: it made some itself, or is known to take them
        (COMPAT-4, SNAP-9).
        """
        if not self.options.snapshots_of(domain).read:
            return False
        return (
            component.is_local
            or component.has_made_snapshots
            or domain in self.options.accepts_snapshots
        )

    async def accepted(self, call: Call) -> Accepted | None:
        """What was accepted under the call's key before (CMD-28)."""
        if call.provenance is None:
            return None
        with storing("load events"):
            return await self.events.find_by_provenance(call.cover, call.provenance)

    async def overtaken(self, call: Call, refusal: AngzarrError) -> Accepted | None:
        """What another delivery of the call has committed since its key was looked for: the handler
        may have seen it, and refused it (CMD-29).
        """
        if isinstance(refusal, StorageFailed | StoreUnavailable):
            return None
        return await self.accepted(call)

    async def refuse_decided(self, cascade_id: str) -> None:
        """CascadeDecided for a cascade that has its decision (CAS-3)."""
        if cascade_id:
            with storing("load events"):
                decision = await self.events.decision(cascade_id)
            if decision is not None:
                raise CascadeDecided(cascade_id, decision.outcome, decision.reason)

    async def decide(self, call: Call, view: View) -> wire.BusinessResponse:
        """The handler's answer to the call on what it sees (CMD-24)."""
        component = call.component
        if component.deciding is None:
            return books.parse(wire.BusinessResponse, await self.ask(call, view))
        if call.is_deferred:
            check_room(call.command, view.next_sequence, call.cover)
        return await component.run(
            component.deciding.decide, view.message, call.command, call.context
        )

    async def ask(self, call: Call, view: View) -> bytes:
        """The handler's encoded answer to the call on what it sees (CMD-24)."""
        command = call.command
        if call.is_deferred:
            command = stamped(command, view.next_sequence, call.cover)
        request = b"".join(
            (
                books.frame(books.TAG_1, view.data),
                books.frame(books.TAG_2, command.SerializeToString(deterministic=True)),
            )
        )
        return await call.component.handle(request, call.context)

    async def append(
        self,
        call: Call,
        loaded: Loaded,
        pages: Sequence[bytes],
        *,
        snapshot: bytes | None = None,
        external_id: str = "",
        answer: bytes = b"",
        obligations: Sequence[Obligation | Dropped] = (),
    ) -> None:
        """Append to the stream where it was loaded. Raises Moved, Repeated, and what the store
        raises.
        """
        try:
            with storing("persist events"):
                result = await self.events.append(
                    call.cover,
                    loaded.view.next_sequence,
                    pages,
                    divergence=loaded.pin,
                    snapshot=snapshot,
                    snapshot_policy=self.options.snapshots_of(call.cover.domain).policy,
                    cascade_id=call.cascade_id,
                    provenance=call.provenance,
                    external_id=external_id,
                    answer=answer,
                    obligations=obligations,
                )
        except SequenceConflict as conflict:
            raise Moved(conflict) from conflict
        except DivergenceConflict as conflict:
            if not loaded.is_pin_ours:
                raise
            actual = await self.events.next_sequence(call.cover)
            raise Moved(
                SequenceConflict(call.cover, loaded.view.next_sequence, actual)
            ) from conflict
        if isinstance(result, Duplicate):
            raise Repeated

    async def attempts(
        self, context: CallContext, attempt: Callable[[], Awaitable[T]], *, is_retried: bool = True
    ) -> T:
        """Run `attempt` until the stream does not move under it, with backoff, within the deadline
        (CMD-37).

        is_retried: False raises Moved at once. Raises the last SequenceConflict when tries or time
        run out.
        """
        backoff = self.options.backoff
        retry = 0
        while True:
            try:
                return await attempt()
            except Moved as moved:
                if not is_retried:
                    raise
                delay_s = backoff.delay_s(retry) * random.uniform(0.5, 1.0)
                retry += 1
                if retry >= backoff.tries or is_past(context, delay_s):
                    raise moved.conflict from None
            except Repeated:
                delay_s = 0.0  # the next attempt finds what was accepted
                retry += 1
                if retry >= backoff.tries:
                    raise CorruptData(
                        "an idempotency key", "an acceptance that can't be read", "its pages"
                    ) from None
            await self._sleep(delay_s)

    async def detail(self, call: Call, view: View | None = None) -> bytes:
        """The EventBook of a sequence error: the current one, or without its pages where it is long
        (CMD-19).
        """
        if view is None:
            view = (await self.load(call)).view
        if len(view.data) <= self.options.max_error_detail_bytes:
            return view.data
        cover = Cover(call.cover.domain, call.cover.root, call.cover.edition)
        return books.book_bytes(cover, (), next_sequence=view.next_sequence)


def stamped(command: wire.CommandBook, sequence: int, cover: Cover) -> wire.CommandBook:
    """A copy of a deferred command, its pages numbered from `sequence` on (CMD-24)."""
    check_room(command, sequence, cover)
    copy = wire.CommandBook()
    copy.CopyFrom(command)
    for index, page in enumerate(copy.pages):
        page.header.sequence = sequence + index
    return copy


def check_room(command: wire.CommandBook, sequence: int, cover: Cover) -> None:
    """SequenceExhausted unless the command's pages can be numbered from `sequence` on."""
    if sequence + len(command.pages) - 1 > SEQUENCE_MAX:
        raise SequenceExhausted(cover)


def checked_cascade(request: wire.CommandRequest) -> str:
    """The request's cascade id, "" without one."""
    return validate.cascade_id(request.cascade_id) if request.HasField("cascade_id") else ""


def is_past(context: CallContext, delay_s: float) -> bool:
    """Whether the deadline comes before `delay_s` is over."""
    deadline_ns = context.deadline_ns
    return deadline_ns is not None and time.monotonic_ns() + delay_s * NS_PER_S >= deadline_ns


real_sleep: Sleep = asyncio.sleep
