"""Commands: checked, loaded, decided, appended, answered (CMD-1 to CMD-40)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from angzarr import wire
from angzarr.coordinators import (
    books,
    letters,
    merge,
    numbering,
    provenance,
    refusals,
    validate,
)
from angzarr.coordinators.compensation import Compensations
from angzarr.coordinators.conflicts import Conflicts
from angzarr.coordinators.counters import Counters
from angzarr.coordinators.external import External, PayloadReader
from angzarr.coordinators.facts import Facts
from angzarr.coordinators.history import History
from angzarr.coordinators.merge import StateUnknown, Verdict
from angzarr.coordinators.numbering import Times
from angzarr.coordinators.options import CommandOptions
from angzarr.coordinators.past import Past
from angzarr.coordinators.pipeline import (
    Call,
    Loaded,
    Moved,
    Pipeline,
    Sleep,
    Written,
    checked_cascade,
    real_sleep,
)
from angzarr.coordinators.reactions import NOTHING, Reacted, Reactions
from angzarr.coordinators.slots import Component
from angzarr.coordinators.snapshotting import Snapshotter
from angzarr.coordinators.speculation import Speculation
from angzarr.coordinators.synchronous import Synchronous
from angzarr.coordinators.system import System
from angzarr.coordinators.views import Views
from angzarr.cover import COMMAND, Cover
from angzarr.errors import (
    AngzarrError,
    CommandRejected,
    InvalidInput,
    SequenceConflict,
    SequenceMismatch,
    StoreUnavailable,
    UnknownDomain,
)
from angzarr.ports.clock import Clock, SystemClock
from angzarr.ports.components import CallContext, CommandHandler, Upcaster
from angzarr.ports.event_store import Accepted
from angzarr.ports.stores import Stores

_SYNC_MODES = (wire.SYNC_MODE_SIMPLE, wire.SYNC_MODE_CASCADE)
_STRATEGY_NAMES = {number: name for name, number in wire.MergeStrategy.items()}
_ANSWERED_AT_ONCE = (wire.MERGE_STRICT, wire.MERGE_MANUAL)


class CommandCoordinator:
    """Serves commands, facts, speculation and compensation for the aggregates of one store.

    handlers: by domain; `components` of another coordinator share their slots with it. upcasters:
    by domain, where there are any. payloads: reads what commands refer to. counters: where it
    counts. reactions: what SIMPLE and CASCADE requests run after the append. sleep: waits between
    attempts, in seconds. Requests and answers are encoded messages of the 0.3 protocol. Raises
    InvalidInput if snapshots are to be taken of a remote handler that does not accept them
    (SNAP-9).
    """

    def __init__(
        self,
        stores: Stores,
        handlers: Mapping[str, CommandHandler | Component],
        *,
        options: CommandOptions | None = None,
        upcasters: Mapping[str, Upcaster] | None = None,
        clock: Clock | None = None,
        payloads: PayloadReader | None = None,
        reactions: Reactions | None = None,
        counters: Counters | None = None,
        sleep: Sleep = real_sleep,
    ) -> None:
        self._options = options = options or CommandOptions()
        clock = clock or SystemClock()
        self._components = {
            domain: handler
            if isinstance(handler, Component)
            else Component(
                handler,
                concurrency=options.handler_concurrency,
                waiting=options.channel_capacity,
            )
            for domain, handler in handlers.items()
        }
        self._check_snapshots()
        views = Views(stores.events, upcasters or {})
        self._pipeline = Pipeline(stores, views, Times(clock), options, sleep, counters)
        self._conflicts = Conflicts(self._pipeline)
        self._external = External(payloads, stores.dead_letters, clock)
        self._reactions: Reactions = reactions or Synchronous(stores, clock)
        self._snapshotter = Snapshotter(self._pipeline)
        self._facts = Facts(self._pipeline)
        past = Past(self._pipeline)
        self._speculation = Speculation(self._pipeline, past, self._external)
        self._history = History(stores.events, past, self._component)
        self._compensations = Compensations(self._pipeline, self._decide)
        self._system = System(stores, clock)

    @property
    def pipeline(self) -> Pipeline:
        """What commands are loaded and appended with."""
        return self._pipeline

    @property
    def components(self) -> Mapping[str, Component]:
        """The handlers in their slots, by domain."""
        return self._components

    async def handle_command(self, request: bytes, context: CallContext) -> bytes:
        """CommandRequest → CommandResponse; durable when it returns.

        Raises InvalidInput, UnknownDomain, SequenceMismatch, SequenceConflict, CommandRejected,
        CascadeConflict, CascadeDecided, Overloaded, StorageFailed, and what handler and store raise
        beside these.
        """
        message = books.parse(wire.CommandRequest, request)
        if not message.HasField("command"):
            raise InvalidInput("command", "present", "none", "CommandRequest must have a command")
        cover = validate.command_book(message.command, self._options)
        cascade_id = checked_cascade(message)
        if cover.domain == validate.SYSTEM:
            return await self._system.handle(message.command, cover)
        call = self._call(message.command, cover, cascade_id, context)
        if message.sync_mode not in _SYNC_MODES:
            return books.frame(books.TAG_1, await self._run(call))
        async with self._reactions.begin(
            cover,
            sync_mode=message.sync_mode,
            cascade_error_mode=message.cascade_error_mode,
            cascade_id=cascade_id,
            context=context,
        ) as work:
            book = await self._run(call)
            reacted = await work.run(book)
        return b"".join(_response_parts(book, reacted))

    async def handle_event(self, request: bytes, context: CallContext) -> bytes:
        """EventRequest → FactInjectionResponse (FACT-1 to FACT-8).

        Raises InvalidInput, UnknownDomain, SequenceConflict if the stream never rests, and what the
        store raises.
        """
        message = books.parse(wire.EventRequest, request)
        if not message.HasField("events"):
            raise InvalidInput("events", "present", "none", "EventRequest must have events")
        cover = validate.event_book(message.events, self._options)
        component = self._component(cover)
        reacted = NOTHING
        if message.sync_mode not in _SYNC_MODES:
            book, is_known = await self._facts.record(message.events, cover, component, context)
        else:
            async with self._reactions.begin(
                cover,
                sync_mode=message.sync_mode,
                cascade_error_mode=wire.CASCADE_ERROR_FAIL_FAST,
                cascade_id="",  # a fact has none (FACT-7)
                context=context,
            ) as work:
                book, is_known = await self._facts.record(message.events, cover, component, context)
                reacted = await work.run(book)
        parts = [books.frame(books.TAG_1, book), b"\x10\x01" if is_known else b""]
        parts += (books.frame(books.TAG_3, item) for item in reacted.projections)
        return b"".join(parts)

    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes:
        """SpeculateCommandHandlerRequest → CommandResponse; nothing is stored (SPEC-1)."""
        message = books.parse(wire.SpeculateCommandHandlerRequest, request)
        if not message.HasField("command"):
            raise InvalidInput(
                "command", "present", "none", "SpeculateCommandHandlerRequest must have a command"
            )
        cover = validate.command_book(message.command, self._options)
        call = self._call(message.command, cover, "", context)
        point = message.point_in_time if message.HasField("point_in_time") else None
        return books.frame(books.TAG_1, await self._speculation.run(call, point))

    async def handle_compensation(self, request: bytes, context: CallContext) -> bytes:
        """CommandRequest with a Notification → the handler's BusinessResponse as it gave it
        (CMD-41).
        """
        message = books.parse(wire.CommandRequest, request)
        if not message.HasField("command"):
            raise InvalidInput("command", "present", "none", "CommandRequest must have a command")
        cover = validate.command_book(message.command, self._options, payloads=False)
        cascade_id = checked_cascade(message)
        return await self._compensations.run(
            message.command,
            cover,
            self._component(cover),
            cascade_id=cascade_id,
            context=context,
        )

    async def get_state(self, request: bytes, context: CallContext) -> bytes:
        """Query → StateResponse (QRY-17); `History` says the rest."""
        return await self._history.get_state(request, context)

    async def get_position(self, request: bytes, context: CallContext) -> bytes:
        """GetPositionRequest → LogPosition (QRY-18)."""
        return await self._history.get_position(request, context)

    async def close(self) -> None:
        """Wait for automatic snapshots that are being taken."""
        await self._snapshotter.close()

    def _check_snapshots(self) -> None:
        for domain, component in self._components.items():
            is_able = component.is_local or domain in self._options.accepts_snapshots
            every = self._options.snapshots_of(domain).every
            if every and not is_able:
                raise InvalidInput(
                    f"snapshots.domains.{domain}.every",
                    "0 unless the remote handler accepts_snapshots",
                    every,
                )

    def _component(self, cover: Cover) -> Component:
        component = self._components.get(cover.domain)
        if component is None:
            validate.target(cover.domain)
            raise UnknownDomain(cover.domain)
        return component

    def _call(
        self, command: wire.CommandBook, cover: Cover, cascade_id: str, context: CallContext
    ) -> Call:
        component = self._component(cover)
        divergence = validate.divergence(command.cover)
        if not command.pages:
            header, strategy = wire.PageHeader(), wire.MERGE_COMMUTATIVE
        else:
            first = command.pages[0]
            header, strategy = first.header, first.merge_strategy
        kind = header.WhichOneof("sequence_type")
        origin = None
        if kind == "angzarr_deferred" or provenance.METADATA in context.metadata:
            origin = provenance.provenance_of(header, command.pages, context, kind=COMMAND)
        return Call(
            cover=cover,
            component=component,
            command=command,
            context=context,
            divergence=divergence,
            cascade_id=cascade_id,
            strategy=strategy,
            expected=header.sequence,
            is_deferred=kind in ("angzarr_deferred", "external_deferred"),
            provenance=origin,
        )

    async def _run(self, call: Call) -> bytes:
        """The command's encoded EventBook: new pages, or those of the first acceptance."""
        accepted = await self._pipeline.accepted(call)
        if accepted is not None:
            return await self._repeated(call, accepted)
        await self._pipeline.refuse_decided(call.cascade_id)
        await self._external.resolve(call.command, call.component.name)
        is_retried = call.is_deferred or call.strategy not in _ANSWERED_AT_ONCE
        is_first = True

        async def attempt() -> bytes:
            nonlocal is_first
            if not is_first and (known := await self._pipeline.accepted(call)) is not None:
                return await self._repeated(call, known)
            is_first = False
            try:
                return await self._attempt(call)
            except AngzarrError as refusal:
                if (known := await self._pipeline.overtaken(call, refusal)) is not None:
                    return await self._repeated(call, known)
                raise

        try:
            return await self._pipeline.attempts(call.context, attempt, is_retried=is_retried)
        except Moved:
            loaded = await self._pipeline.load(call)
            raise await self._mismatch(call, loaded) from None
        except SequenceConflict as conflict:
            raise await self._exhausted(call, conflict) from None

    async def _attempt(self, call: Call) -> bytes:
        return await self._pipeline.loaded(call, partial(self._on, call))

    async def _on(self, call: Call, loaded: Loaded) -> bytes:
        verdict = Verdict.GO
        if not call.is_deferred:
            verdict = merge.check(call.strategy, call.expected, loaded.view.next_sequence)
        if verdict in (Verdict.REFUSE, Verdict.PARK):
            if (known := await self._pipeline.accepted(call)) is not None:
                return await self._repeated(call, known)  # before it is parked
            raise await self._mismatch(call, loaded)
        response = _events_of(await self._pipeline.decide(call, loaded.view))
        written = await self._decide(call, loaded, response, b"", is_tested=verdict is Verdict.TEST)
        return books.book_bytes(
            call.cover,
            written.pages,
            next_sequence=written.next_sequence,
            snapshot=written.snapshot,
        )

    async def _decide(
        self,
        call: Call,
        loaded: Loaded,
        response: wire.EventBook,
        answer: bytes,
        *,
        is_tested: bool = False,
    ) -> Written:
        """Number, test and append what a handler decided; `answer` is kept with the call's key."""
        view = loaded.view
        times = self._pipeline.times
        pages = numbering.new_pages(response, view)
        time_ns = times.next_ns(call.cover, view) if pages else 0
        is_dated = numbering.number(
            pages,
            view.next_sequence,
            cover=call.cover,
            time_ns=time_ns,
            cascade_id=call.cascade_id,
        )
        if is_tested:
            await self._refuse_overlap(call, loaded, pages)
        await self._conflicts.refuse_locked(call, view, pages)
        snapshot = await self._snapshot(call, loaded, response, len(pages))
        encoded = books.encoded(pages)
        if encoded or snapshot is not None or call.provenance is not None:
            await self._pipeline.append(call, loaded, encoded, snapshot=snapshot, answer=answer)
        following = view.next_sequence + len(encoded)
        if is_dated:
            times.dated(call.cover, time_ns)
        if snapshot is None and encoded and not call.cascade_id:
            self._snapshotter.consider(call, view, following)
        return Written(encoded, snapshot, following)

    async def _snapshot(
        self, call: Call, loaded: Loaded, response: wire.EventBook, page_count: int
    ) -> bytes | None:
        """The response's snapshot, encoded, if it is to be stored (SNAP-3, SNAP-5)."""
        if not response.HasField("snapshot"):
            return None
        snapshot = numbering.new_snapshot(response, loaded.view, page_count)
        if response.snapshot.HasField("state"):
            call.component.has_made_snapshots = True
        is_written = self._options.snapshots_of(call.cover.domain).write
        if snapshot is None or call.cascade_id or not is_written:
            return None
        if await self._pipeline.has_pending(call, loaded.view):
            return None
        return snapshot.SerializeToString(deterministic=True)

    async def _refuse_overlap(
        self, call: Call, loaded: Loaded, pages: Sequence[wire.EventPage]
    ) -> None:
        try:
            fields = await self._conflicts.overlap(call, loaded.view, pages)
        except StateUnknown:
            raise await self._mismatch(call, loaded) from None
        if fields:
            raise await self._mismatch(call, loaded, tuple(sorted(fields)))

    async def _mismatch(
        self, call: Call, loaded: Loaded, fields: tuple[str, ...] = ()
    ) -> SequenceMismatch:
        """The error for a stamp that is not the stream's; a MANUAL command is parked first
        (CMD-18).
        """
        view = loaded.view
        is_parked = call.strategy == wire.MERGE_MANUAL
        if is_parked:
            await self._park(call, view.next_sequence)
        return SequenceMismatch(
            call.cover,
            call.expected,
            view.next_sequence,
            strategy=_STRATEGY_NAMES.get(call.strategy, "MERGE_COMMUTATIVE"),
            fields=fields,
            is_parked=is_parked,
            book=await self._pipeline.detail(call, view),
        )

    async def _park(self, call: Call, actual: int) -> None:
        letter = letters.mismatch_letter(
            call.command,
            call.expected,
            actual,
            call.component.name,
            self._pipeline.times.now_ns(),
        )
        try:
            await self._pipeline.stores.dead_letters.put(letter)
        except StoreUnavailable:
            raise
        except AngzarrError as error:
            raise StoreUnavailable("dead letters", str(error)) from error

    async def _exhausted(self, call: Call, conflict: SequenceConflict) -> SequenceConflict:
        message = f"Sequence conflict: expected {conflict.expected}, got {conflict.actual}"
        detail = await self._pipeline.detail(call)
        return SequenceConflict(
            call.cover, conflict.expected, conflict.actual, message, book=detail
        )

    async def _repeated(self, call: Call, accepted: Accepted) -> bytes:
        """The book of an acceptance that is known already, with this request's correlation id
        (CMD-28). Raises the refusal, if that is what is known.
        """
        if refusals.is_refused(accepted):
            raise refusals.decode(accepted.answer).error
        if accepted.pages:
            last = wire.EventPage.FromString(accepted.pages[-1])
            following = last.header.sequence + 1
        else:
            following = await self._pipeline.events.next_sequence(
                call.cover, divergence=call.divergence
            )
        return books.book_bytes(call.cover, accepted.pages, next_sequence=following)


def _events_of(response: wire.BusinessResponse) -> wire.EventBook:
    """The handler's events; none for a notification or nothing. CommandRejected for a revocation
    (CMD-30).
    """
    if response.HasField("revocation"):
        raise CommandRejected(f"Command revoked: {response.revocation.reason}")
    return response.events


def _response_parts(book: bytes, reacted: Reacted) -> list[bytes]:
    """The parts of an encoded CommandResponse."""
    parts = [books.frame(books.TAG_1, book if reacted.book is None else reacted.book)]
    parts += (books.frame(books.TAG_2, item) for item in reacted.projections)
    parts += (books.frame(books.TAG_3, item) for item in reacted.cascade_errors)
    return parts
