"""SIMPLE and CASCADE requests: projectors and reactions before the answer, and the four error modes
(SYNC-1 to SYNC-10).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Protocol

from angzarr import wire
from angzarr.coordinators import books, letters, names, provenance
from angzarr.coordinators.cascade_end import CascadeEnd
from angzarr.coordinators.delivery import is_transient
from angzarr.coordinators.elsewhere import Attendance, Attending
from angzarr.coordinators.flow import DEPTH, Flow, Outcome, depth_of
from angzarr.coordinators.options import SyncOptions
from angzarr.coordinators.reactions import NOTHING, Reacted, SyncWork
from angzarr.coordinators.resolution import Resolved
from angzarr.coordinators.subscriptions import Filter
from angzarr.coordinators.sync_projectors import Projecting, Projectors, cascade_error
from angzarr.coordinators.turns import Intent, Turns
from angzarr.coordinators.views import Views
from angzarr.cover import Cover, Provenance
from angzarr.errors import (
    AngzarrError,
    ReactionFailed,
    ReactionUnknown,
    StoreUnavailable,
    TooLarge,
)
from angzarr.ports.clock import Clock
from angzarr.ports.components import CallContext, Subscription
from angzarr.ports.dead_letters import DeadLetterQueue
from angzarr.ports.event_store import Obligation
from angzarr.ports.stores import Stores

FAIL_FAST, CONTINUE, COMPENSATE, DEAD_LETTER = (
    wire.CASCADE_ERROR_FAIL_FAST,
    wire.CASCADE_ERROR_CONTINUE,
    wire.CASCADE_ERROR_COMPENSATE,
    wire.CASCADE_ERROR_DEAD_LETTER,
)
_MODES: Final = (CONTINUE, COMPENSATE, DEAD_LETTER)

_log = logging.getLogger(__name__)


class Reacting(Protocol):
    """A saga or process manager as requests use it."""

    @property
    def name(self) -> str:
        """`saga:<name>` or `process_manager:<name>`."""
        ...

    @property
    def consumer(self) -> str:
        """What its positions in the log are kept under."""
        ...

    @property
    def subscriptions(self) -> tuple[Subscription, ...]: ...

    async def react(self, book: bytes, flow: Flow) -> Outcome:
        """A whole reaction to an EventBook of the pages that it subscribed. The obligations of
        refused commands are durable when it returns; StoreUnavailable where they can't be (COMP-3).
        ReactionUnknown where nobody can tell what it executed, and that would have to be undone.
        """
        ...


class Log(Protocol):
    """What the log's consumers are told (SYNC-3)."""

    async def advance(self, consumer: str, cover: Cover, sequence: int) -> None:
        """The consumer's reaction to the commit that ends with page `sequence` is done, durably."""
        ...


class Compensating(Protocol):
    """Makes obligations to compensate (SYNC-9)."""

    def compensate(
        self, target: Cover, sequences: Sequence[int], reason: str, provenance: Provenance
    ) -> Obligation: ...


class Recording(Protocol):
    """The worker of obligations."""

    async def record(self, *obligations: Obligation) -> None:
        """Store them; durable on return. Raises StoreUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class _Listed:
    """attending: the same reaction, if it is elsewhere."""

    reaction: Reacting
    filter: Filter
    attending: Attending | None
    is_process_manager: bool


class Synchronous:
    """What runs within requests in this process: `Reactions`.

    log: told of finished reactions, so that it does not deliver them again; None where nothing is
    delivered. notifications, duties: for COMPENSATE. dead_letters: for DEAD_LETTER, those of the
    store unless given.
    """

    def __init__(
        self,
        stores: Stores,
        clock: Clock,
        *,
        turns: Turns | None = None,
        log: Log | None = None,
        notifications: Compensating | None = None,
        duties: Recording | None = None,
        dead_letters: DeadLetterQueue | None = None,
        options: SyncOptions | None = None,
    ) -> None:
        self.events = stores.events
        self.clock = clock
        self.turns = turns or Turns()
        self.log = log
        self.notifications = notifications
        self.duties = duties
        self.dead_letters = dead_letters or stores.dead_letters
        self.options = options or SyncOptions()
        self.views = Views(stores.events, {})
        self.projectors = Projectors(self.turns, stores.events)
        self._sagas: list[_Listed] = []
        self._managers: list[_Listed] = []

    def add_projector(self, projector: Projecting) -> None:
        """Run it in SIMPLE and CASCADE requests, if it is synchronous."""
        self.projectors.add(projector)

    def add_saga(self, saga: Reacting) -> None:
        """Run it in CASCADE requests."""
        self._sagas.append(_listed(saga))

    def add_process_manager(self, manager: Reacting) -> None:
        """Run it in CASCADE requests that have a correlation id (SYNC-5)."""
        self._managers.append(_listed(manager, is_process_manager=True))

    def begin(
        self,
        cover: Cover,
        *,
        sync_mode: int,
        cascade_error_mode: int,
        cascade_id: str,
        context: CallContext,
    ) -> AbstractAsyncContextManager[SyncWork]:
        """As the port says."""
        flow = Flow(
            sync_mode=sync_mode,
            error_mode=cascade_error_mode if cascade_error_mode in _MODES else FAIL_FAST,
            cascade_id=cascade_id,
            context=context,
        )
        return _Request(self, cover, flow)

    def reactions(self, cover: Cover) -> list[_Listed]:
        """Those to events of the stream: sagas, then process managers."""
        listed = self._sagas + self._managers if cover.correlation_id else self._sagas
        return [one for one in listed if one.filter.wants(cover.domain)]


def _listed(reaction: Reacting, *, is_process_manager: bool = False) -> _Listed:
    attending = reaction if isinstance(reaction, Attending) else None
    return _Listed(reaction, Filter(reaction.subscriptions), attending, is_process_manager)


@dataclass(slots=True)
class _Ran:
    """One reaction of a request. book: what it was given."""

    listed: _Listed
    book: bytes
    outcome: Outcome


@dataclass(slots=True)
class _Pages:
    """What the request has stored. first, last: sequences."""

    book: wire.EventBook
    first: int
    last: int

    @property
    def without_payloads(self) -> bytes:
        """The book as an error carries it."""
        slim = wire.EventBook(cover=self.book.cover, next_sequence=self.book.next_sequence)
        for page in self.book.pages:
            slim.pages.add().header.CopyFrom(page.header)
        return slim.SerializeToString(deterministic=True)


@dataclass(slots=True)
class _Answer:
    projections: list[bytes] = field(default_factory=list[bytes])
    errors: list[wire.CascadeError] = field(default_factory=list[wire.CascadeError])
    book: bytes | None = None

    def take(self, projected: tuple[list[bytes], list[wire.CascadeError]]) -> None:
        """Add what projectors came to."""
        self.projections += projected[0]
        self.errors += projected[1]

    def reacted(self) -> Reacted:
        """The answer in its final form."""
        errors = tuple(error.SerializeToString(deterministic=True) for error in self.errors)
        return Reacted(tuple(self.projections), errors, self.book)


class _Request:
    """The work of one request, from its turns to its answer."""

    def __init__(self, owner: Synchronous, cover: Cover, flow: Flow) -> None:
        self._owner = owner
        self._cover = cover
        self._flow = flow
        self._is_root = provenance.METADATA not in flow.context.metadata
        self._reactions = owner.reactions(cover) if flow.is_cascade else []
        self._intent: Intent | None = None
        self._attendances: list[Attendance] = []
        self._stack = AsyncExitStack()
        self._turns = AsyncExitStack()

    async def __aenter__(self) -> SyncWork:
        try:
            if not self._flow.cascade_id:  # else nothing is visible before the decision
                await self._take_turns([self._cover])
            if self._reactions:
                await self._intend()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._turns.aclose()
        finally:
            await self._stack.aclose()

    async def run(self, book: bytes) -> Reacted:
        """As the port says."""
        message = wire.EventBook.FromString(book)
        sequences = [page.header.sequence for page in message.pages] or [0]
        pages = _Pages(message, sequences[0], sequences[-1])
        await self._wrote(pages.first, pages.last if message.pages else pages.first - 1)
        if not self._flow.cascade_id:
            return await self._run_visible(pages, book)
        if not self._flow.is_cascade:
            return NOTHING  # its pages are pending, and somebody else decides (CAS-13)
        if not self._is_root:
            return (await self._react(pages, book)).reacted()
        return await self._run_cascade(pages, book)

    async def _take_turns(self, covers: Sequence[Cover]) -> None:
        projectors, context = self._owner.projectors, self._flow.context
        await projectors.take_turns(self._turns, covers, context)

    async def _intend(self) -> None:
        """Have the log's deliveries of what will be written wait, here and elsewhere (SYNC-10)."""
        consumers = [one.reaction.consumer for one in self._reactions]
        intent = self._owner.turns.intend(consumers, self._cover)
        self._intent = await self._stack.enter_async_context(intent)
        for one in self._reactions:
            if one.attending is not None:
                attended = one.attending.attend(self._cover, self._flow.context)
                self._attendances.append(await self._stack.enter_async_context(attended))
        if self._attendances:
            await asyncio.gather(*(attendance.holds() for attendance in self._attendances))

    async def _wrote(self, first: int, last: int) -> None:
        if self._intent is not None:
            self._intent.wrote(first, last)
        for attendance in self._attendances:
            await attendance.wrote(first, last)

    async def _run_visible(self, pages: _Pages, book: bytes) -> Reacted:
        """Projectors first, then reactions (SYNC-1)."""
        projected = await self._owner.projectors.run(self._cover, pages.book, self._flow.context)
        await self._turns.aclose()
        answer = await self._react(pages, book)
        answer.projections += projected[0]
        answer.errors[:0] = projected[1]
        return answer.reacted()

    async def _run_cascade(self, pages: _Pages, book: bytes) -> Reacted:
        """Reactions first, then the decision, then projectors of what has become visible (CAS-10,
        CAS-12).
        """
        end = CascadeEnd(self._owner.events, self._flow.cascade_id, self._cover.correlation_id)
        try:
            answer = await self._react(pages, book)
        except AngzarrError as failure:
            if pages.book.pages or await end.participants():
                await end.roll_back(str(failure))
            raise
        participants = await end.participants()
        if not participants and not pages.book.pages:
            return answer.reacted()  # nothing was written, so there is nothing to decide (CAS-15)
        covers = [self._cover, *(participant.cover for participant in participants)]
        await self._take_turns(covers)
        resolved = await end.commit()
        for page in pages.book.pages:
            page.committed = True
        answer.book = pages.book.SerializeToString(deterministic=True)
        answer.take(await self._owner.projectors.run(self._cover, pages.book, self._flow.context))
        for one in resolved:
            if one.cover.stream != self._cover.stream:
                answer.errors += await self._project(one)
        await self._turns.aclose()
        return answer.reacted()

    async def _project(self, resolved: Resolved) -> list[wire.CascadeError]:
        """Run the projectors of another stream that the commit has made visible."""
        owner, cover = self._owner, resolved.cover
        if not owner.projectors.of(cover):
            return []
        stored = await owner.events.load(cover, start=resolved.sequences[0], stop=resolved.sequence)
        view = await owner.views.of(stored, cover, self._flow.context)
        view.message.cover.correlation_id = cover.correlation_id
        return (await owner.projectors.run(cover, view.message, self._flow.context))[1]

    async def _react(self, pages: _Pages, book: bytes) -> _Answer:
        """Run the reactions as the error mode says (SYNC-6)."""
        ran: list[_Ran] = []
        answer = _Answer()
        failure: ReactionFailed | None = None
        for listed in self._reactions if pages.book.pages else ():
            wanted = listed.filter.book(book)
            if wanted is None:
                continue
            one = _Ran(listed, wanted, await self._run_one(listed, wanted, pages))
            ran.append(one)
            for executed in one.outcome.executed:
                answer.errors += executed.cascade_errors
            error = one.outcome.error
            if error is None:
                continue
            if self._flow.error_mode == CONTINUE:
                answer.errors += self._errors(one)
            elif self._flow.error_mode == DEAD_LETTER:
                await self._write_letters(one)
            else:
                label = names.label(listed.reaction.name)
                failure = ReactionFailed(label, error, book=pages.without_payloads)
                break
        undoes = self._flow.error_mode == COMPENSATE and not self._flow.cascade_id
        if failure is not None and undoes:  # in a cascade it is the rollback that does (SYNC-8)
            await self._compensate(pages, ran, failure.reason)
        else:
            await self._pass_over(ran, pages.last)
        if failure is not None:
            raise failure
        return answer

    async def _run_one(self, listed: _Listed, book: bytes, pages: _Pages) -> Outcome:
        """One reaction; StoreUnavailable if its failures could not be recorded (COMP-3)."""
        limit = self._owner.options.max_cascade_depth
        depth = depth_of(self._flow.context)
        if depth > limit:
            text = f"the cascade is deeper than {limit} requests (limits.max_cascade_depth)"
            return Outcome(failure=TooLarge(DEPTH, f"at most {limit}", depth, text))
        reaction = listed.reaction
        # A repeat of the request, or the log, may be at the very same commit.
        async with self._owner.turns.book(reaction.consumer, self._cover, pages.first):
            try:
                return await reaction.react(book, self._flow)
            except (StoreUnavailable, ReactionUnknown):
                raise
            except AngzarrError as error:
                return Outcome(failure=error)

    async def _pass_over(self, ran: Sequence[_Ran], last: int) -> None:
        """Have the log pass over the reactions that are done with; those that failed are done from
        there (SYNC-3). What a cascade holds back is published as the same commit at its end.

        Not to be told is no failure: the reaction runs twice, which its keys make harmless.
        """
        log = self._owner.log
        is_done = self._flow.error_mode == DEAD_LETTER
        over = [one for one in ran if is_done or one.outcome.failure is None]
        if log is None or not over:
            return
        try:
            await asyncio.gather(
                *(log.advance(one.listed.reaction.consumer, self._cover, last) for one in over)
            )
        except AngzarrError as error:
            _log.warning("reactions to %s will run again: %s", self._cover, error)

    def _errors(self, one: _Ran) -> list[wire.CascadeError]:
        """One for each failure of a reaction (CONTINUE)."""
        outcome, name = one.outcome, one.listed.reaction.name
        failures: list[Exception] = [refused.error for refused in outcome.refused]
        failures += [] if outcome.failure is None else [outcome.failure]
        kind, domain = names.type_of(name), self._cover.domain
        return [cascade_error(name, kind, failure, domain) for failure in failures]

    async def _write_letters(self, one: _Ran) -> None:
        """The dead letters of a failed reaction, durable on return (DEAD_LETTER). A parked command
        has one already (CMD-18).
        """
        name, now_ns = one.listed.reaction.name, self._owner.clock.now_ns()
        component, kind = names.full(name), names.type_of(name)
        made = [
            letters.command_letter(
                refused.command,
                str(refused.error),
                error=str(refused.error),
                component=component,
                component_type=kind,
                now_ns=now_ns,
            )
            for refused in one.outcome.refused
            if not refused.is_parked
        ]
        if one.outcome.failure is not None:
            made.append(
                letters.delivery_letter(
                    one.book,
                    str(one.outcome.failure),
                    attempts=1,
                    is_transient=is_transient(one.outcome.failure),
                    component=component,
                    component_type=kind,
                    now_ns=now_ns,
                )
            )
        try:
            for letter in made:
                await self._owner.dead_letters.put(letter)
        except StoreUnavailable:
            raise
        except AngzarrError as error:
            raise StoreUnavailable("dead letters", str(error)) from error

    async def _compensate(self, pages: _Pages, ran: Sequence[_Ran], reason: str) -> None:
        """Have everything that was executed compensated, and no reaction run again (COMPENSATE);
        durable on return.
        """
        owner = self._owner
        obligations = [made for one in ran for made in self._obligations(one, reason)]
        if obligations:
            assert owner.duties is not None, "COMPENSATE needs a worker of obligations"
            await owner.duties.record(*obligations)
        if owner.log is not None:
            consumers = [listed.reaction.consumer for listed in self._reactions]
            await asyncio.gather(
                *(owner.log.advance(name, self._cover, pages.last) for name in consumers)
            )

    def _obligations(self, one: _Ran, reason: str) -> list[Obligation]:
        notifications = self._owner.notifications
        assert notifications is not None, "COMPENSATE needs notifications"
        made: list[Obligation] = []
        for executed in one.outcome.executed:
            written = [page.header.sequence for page in executed.book.pages]
            if not written:
                continue  # it was accepted without an event
            origin = executed.provenance or self._origin(one, executed.index)
            target = books.cover_of(executed.book.cover)
            made.append(notifications.compensate(target, written, reason, origin))
        return made

    def _origin(self, one: _Ran, index: int) -> Provenance:
        """Which output of which reaction a command was, where the reaction does not say."""
        name = one.listed.reaction.name
        component = f"pm:{names.bare(name)}" if one.listed.is_process_manager else name
        last = wire.EventBook.FromString(one.book).pages[-1].header.sequence
        return Provenance(self._cover, last, component, index)
