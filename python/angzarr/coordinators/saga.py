"""Sagas: events of some domains turned into commands and facts for others (SAGA-1 to SAGA-19)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from angzarr import wire
from angzarr.coordinators import books, outputs, timers, validate
from angzarr.coordinators.destinations import describe, map_bytes
from angzarr.coordinators.flow import LOG_DELIVERY, Flow, Outcome
from angzarr.coordinators.giving_up import Identity
from angzarr.coordinators.outputs import Described, Outputs, Source, Targets, Timer
from angzarr.coordinators.reaction import Means, Reaction, SetTimer, metadata_of, modes_bytes
from angzarr.coordinators.seeing import Seeing, Seen
from angzarr.coordinators.slots import Slots
from angzarr.coordinators.timers import TimerDuty
from angzarr.cover import MAIN, REJECTION, SCHEDULED, Cover, Provenance
from angzarr.errors import AngzarrError, InvalidInput, OrchestrationFailed
from angzarr.ports.components import CallContext, Reacting, Saga, Subscription
from angzarr.ports.event_store import Dropped, Obligation

MADE_UP: Final = 65_536
"""Numbers that what makes up for one rejected output may have (COMP-13)."""

_MAP_TAG = b"\x22"
_SYNC_MODES = frozenset(wire.SyncMode.values())
_ERROR_MODES = frozenset(wire.CascadeErrorMode.values())


class Delivered(Protocol):
    """What a coordinator needs of a delivery of the log."""

    @property
    def book(self) -> bytes:
        """The encoded EventBook, with the pages that are subscribed."""
        ...


class SagaCoordinator:
    """Drives one saga. Requests and answers are encoded messages of the 0.3 protocol.

    name: `saga:<name>`. consumer: what its positions in the log are kept under. duties: its timers,
    for the worker of obligations.
    """

    def __init__(self, saga: Saga, means: Means) -> None:
        self._saga = saga
        self._reacting = saga if isinstance(saga, Reacting) else None
        self._means = means
        self._seeing = Seeing(saga.subscriptions, means.stores.events, means.upcasters)
        self._slots = Slots(
            saga.name,
            concurrency=means.options.handler_concurrency,
            waiting=means.options.channel_capacity,
        )
        self.name = saga.name
        self.consumer = consumer_name(saga.name.removeprefix("saga:"))
        self._identity = Identity(saga.name, saga.name, "saga")
        self.duties = (TimerDuty(means, self._identity, self._wake),)

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """Its inputs, and stored types that may become some of them."""
        return self._seeing.subscriptions

    async def react(self, book: bytes, flow: Flow = LOG_DELIVERY) -> Outcome:
        """A whole reaction to a book of new, visible pages, in the request that caused it.

        On return all outputs are accepted, or refused with their obligations durable, unless
        Outcome.failure says why not. Raises StoreUnavailable if a refusal, or a timer, could not be
        recorded: nothing may be acknowledged then (COMP-3).
        """
        return await self._react(book, books.parse(wire.EventBook, book), flow)

    async def deliver(self, delivery: Delivered) -> None:
        """As react, for a delivery of the log; raises what kept it from being finished (SAGA-5)."""
        outcome = await self.react(delivery.book)
        if outcome.failure is not None:
            raise outcome.failure

    async def execute(self, request: bytes, context: CallContext) -> bytes:
        """SagaHandleRequest → an empty SagaResponse after a whole reaction (SAGA-19).

        A rejected command is compensated and is no failure. Raises InvalidInput,
        OrchestrationFailed, StoreUnavailable as react.
        """
        message = books.parse(wire.SagaHandleRequest, request)
        check_source(message, "SagaHandleRequest")
        flow = flow_of(message.sync_mode, message.cascade_error_mode, context)
        source = message.source
        outcome = await self._react(source.SerializeToString(), source, flow)
        if outcome.failure is not None:
            raise OrchestrationFailed("Saga", str(outcome.failure)) from outcome.failure
        return b""

    async def execute_speculative(self, request: bytes, context: CallContext) -> bytes:
        """SpeculateSagaRequest → the SagaResponse that Handle gives; nothing is sent (SPEC-5)."""
        message = books.parse(wire.SpeculateSagaRequest, request).request
        check_source(message, "SpeculateSagaRequest.request")
        flow = flow_of(message.sync_mode, message.cascade_error_mode, context)
        book = Seen(message.source.SerializeToString(), message.source)
        seen = await self._seeing.of(book, flow.context)
        if seen is None:
            return b""
        source = outputs.source_of(self.name, seen.message)
        supplied = message.destination_sequences
        missing = [domain for domain in self._domains() if domain not in supplied]
        described = await self._describe(seen, source, missing)
        for domain, sequence in supplied.items():
            described[domain] = Described(b"", sequence)
        answer = await self._handle(seen, source, flow, described)
        for book in (*answer.commands, *answer.events):
            outputs.complete(book.cover, source)
        return answer.SerializeToString(deterministic=True)

    async def make_up(
        self, notification: bytes, rejected: Provenance, context: CallContext = CallContext()
    ) -> bool:
        """Ask the saga itself what to do about a rejected command of its own, and do it (COMP-13).

        notification: encoded, as the source would get it. rejected: the command's provenance.
        False: it has nothing to say, so the source is to be notified. Raises the error of an output
        that was refused in its turn, or that has not got through; those accepted stay accepted.
        """
        answer = await self._slots.run(self._saga.refused, notification, context)
        response = books.parse(wire.SagaResponse, answer or b"")
        if not response.commands and not response.events:
            return False
        source = _making_up(self.name, notification, rejected)
        targets = self._targets(source.cover.domain)
        made = outputs.read(
            source, response.commands, response.events, targets=targets, described={}
        )
        flow = replace(LOG_DELIVERY, context=context)
        outcome = await Reaction(
            self._means,
            source,
            flow,
            set_timer=self._set_timer(source, flow),
            kind=REJECTION,
            settles=False,
        ).run(made)
        if outcome.error is not None:
            raise outcome.error
        return True

    async def _wake(self, book: wire.EventBook) -> Outcome:
        return await self._react(book.SerializeToString(deterministic=True), book, LOG_DELIVERY)

    async def _react(self, book: bytes, message: wire.EventBook, flow: Flow) -> Outcome:
        if not message.pages:
            return Outcome()
        try:
            seen = await self._seeing.of(Seen(book, message), flow.context)
        except AngzarrError as error:
            return Outcome(failure=error)
        if seen is None:
            return Outcome()
        return await self._react_to(seen, flow)

    async def _react_to(self, seen: Seen, flow: Flow) -> Outcome:
        source = outputs.source_of(self.name, seen.message)

        async def run() -> Outputs:
            return await self._run(seen, source, flow)

        try:
            made = await run()
        except AngzarrError as error:
            return Outcome(failure=error)
        timers_of = self._set_timer(source, flow)
        return await Reaction(self._means, source, flow, rerun=run, set_timer=timers_of).run(made)

    async def _run(self, seen: Seen, source: Source, flow: Flow) -> Outputs:
        """One call of the handler with fresh numbers; its outputs, checked."""
        described = await self._describe(seen, source, self._domains())
        answer = await self._handle(seen, source, flow, described)
        return outputs.read(
            source, answer.commands, answer.events, targets=self._targets(), described=described
        )

    async def _describe(
        self, seen: Seen, source: Source, domains: Sequence[str]
    ) -> dict[str, Described]:
        return await describe(
            self._means.destinations,
            domains,
            source,
            source.cover.root,
            routed=lambda domain: self._saga.routed(domain, seen.data),
        )

    async def _handle(
        self, seen: Seen, source: Source, flow: Flow, described: Mapping[str, Described]
    ) -> wire.SagaResponse:
        context = CallContext(flow.context.deadline_ns, metadata_of(flow, source.cover))
        if self._reacting is not None:
            numbers = {domain: at.sequence for domain, at in described.items()}
            return await self._slots.run(self._reacting.react_to, seen.message, numbers, context)
        request = b"".join(
            (
                books.frame(books.TAG_1, seen.data),
                modes_bytes(flow.sync_mode, flow.error_mode),
                map_bytes(described, _MAP_TAG),
            )
        )
        answer = await self._slots.run(self._saga.handle, request, context)
        return books.parse(wire.SagaResponse, answer)

    def _domains(self) -> Sequence[str]:
        """Those that destination_sequences holds: the declared ones, else all (COMPAT-6)."""
        return self._saga.targets or sorted(self._means.destinations.domains)

    def _targets(self, *more: str) -> Targets:
        declared = self._saga.targets
        allowed = frozenset((*declared, *more)) if declared else frozenset[str]()
        return Targets(allowed, self._means.destinations.domains)

    def _set_timer(self, source: Source, flow: Flow) -> SetTimer:
        """What a timer changes; its key is the settled output's own (COMP-3)."""

        def change(timer: Timer) -> Obligation | Dropped:
            key = source.provenance(timer.index, SCHEDULED)
            return timers.change_of(timer, source, key, cascade_id=flow.cascade_id)

        return change


def consumer_name(saga: str) -> str:
    """What its positions in the log are kept under (SAGA-2)."""
    return f"saga-{saga}"


def flow_of(sync_mode: int, error_mode: int, context: CallContext) -> Flow:
    """The flow of a request that calls a coordinator directly; unknown modes are 0 (WIRE-2)."""
    return Flow(
        sync_mode=sync_mode if sync_mode in _SYNC_MODES else wire.SYNC_MODE_ASYNC,
        error_mode=error_mode if error_mode in _ERROR_MODES else wire.CASCADE_ERROR_FAIL_FAST,
        context=context,
    )


def check_source(request: wire.SagaHandleRequest, name: str) -> Cover:
    """The checked cover of a request's source. Raises InvalidInput."""
    if not request.HasField("source"):
        raise InvalidInput("source", "present", "none", f"{name} must have a source")
    return validate.cover(request.source.cover)


def _making_up(name: str, notification: bytes, rejected: Provenance) -> Source:
    """The source of what makes up for a rejected output."""
    assert isinstance(rejected.index, int), "outputs of our reactions are numbered"
    told = books.parse(wire.Notification, notification)
    cover = rejected.source
    if not cover.correlation_id:
        cover = replace(cover, correlation_id=told.cover.correlation_id)
    return Source(
        component=name,
        cover=cover,
        sequence=rejected.source_seq,
        edition=None if cover.edition == MAIN else wire.Edition(name=cover.edition),
        occasion=rejected.occasion,
        first_index=MADE_UP * (1 + rejected.index),
    )
