"""Process managers: reactions with a state, keyed by correlation id (PM-1 to PM-12)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from angzarr import wire
from angzarr.coordinators import books, outputs, recorded, validate
from angzarr.coordinators.compensation import Compensations
from angzarr.coordinators.decision import Begun, Decider, Trigger, Unanswered
from angzarr.coordinators.flow import LOG_DELIVERY, Flow, Outcome
from angzarr.coordinators.giving_up import Identity
from angzarr.coordinators.outputs import Described, Source
from angzarr.coordinators.pipeline import Call, Loaded
from angzarr.coordinators.reaction import Means, Reaction
from angzarr.coordinators.recorded import PARKED, OutputDuty
from angzarr.coordinators.saga import Delivered, flow_of
from angzarr.coordinators.seeing import Seen
from angzarr.coordinators.timers import TimerDuty
from angzarr.cover import TRIGGER, Cover, root_of
from angzarr.errors import AngzarrError, InvalidInput, OrchestrationFailed
from angzarr.ports.components import CallContext, ProcessManager, Subscription
from angzarr.ports.event_store import ROLLBACK, Obligation

NS_PER_S: Final = 1_000_000_000
PREFIX: Final = "process_manager:"

_log = logging.getLogger(__name__)


class ProcessManagerCoordinator:
    """Drives one process manager. Requests and answers are encoded messages of the 0.3 protocol.

    name: `process_manager:<name>`. component: `pm:<name>`, its name in provenance. domain: of its
    state streams. consumer: what its positions in the log are kept under. duties: its timers and
    what its reactions left to do, for the worker of obligations. Raises InvalidInput if it
    subscribes nothing (PM-1).
    """

    def __init__(self, manager: ProcessManager, means: Means) -> None:
        if not manager.subscriptions:
            raise InvalidInput(f"{manager.name}.subscriptions", "at least one", 0)
        self._manager = manager
        self._means = means
        self._events = means.stores.events
        short = manager.name.removeprefix(PREFIX)
        self.name = manager.name
        self.domain = manager.domain
        self.consumer = consumer_name(short)
        self._identity = Identity(manager.name, f"pm:{short}", "process_manager")
        self.component = self._identity.component
        self._decider = Decider(manager, means, self._identity)
        self._compensations = Compensations(self._decider.pipeline, self._decider.answer)
        self._running: dict[str, asyncio.Event] = {}
        self._closing: dict[str, asyncio.Task[None]] = {}
        self.duties = (
            TimerDuty(means, self._identity, self._wake),
            OutputDuty(means, self._identity, self._resume),
        )

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """Its inputs, and stored types that may become some of them."""
        return self._decider.seeing.subscriptions

    async def react(self, book: bytes, flow: Flow = LOG_DELIVERY) -> Outcome:
        """A whole reaction to a book of new, visible pages, in the request that caused it.

        Events, key and outputs are durable before the first command is sent; what is not finished
        when this returns goes on by itself. A book without correlation id is passed over. Raises
        StoreUnavailable if a refusal could not be recorded (COMP-3).
        """
        message = books.parse(wire.EventBook, book)
        outcome, _ = await self._react(book, message, flow)
        return outcome

    async def deliver(self, delivery: Delivered) -> None:
        """As react, for a delivery of the log. Raises what kept it from being recorded: from there
        on it is the worker's affair."""
        message = books.parse(wire.EventBook, delivery.book)
        outcome, is_recorded = await self._react(delivery.book, message, LOG_DELIVERY)
        if outcome.failure is not None and not is_recorded:
            raise outcome.failure

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        """ProcessManagerCoordinatorRequest → an empty ProcessManagerHandleResponse (PM-11).

        A rejected command is compensated and is no failure. Raises InvalidInput,
        OrchestrationFailed, StoreUnavailable as react.
        """
        message = books.parse(wire.ProcessManagerCoordinatorRequest, request)
        has_trigger = message.HasField("trigger")
        check_trigger(has_trigger, message.trigger, "ProcessManagerCoordinatorRequest")
        flow = flow_of(message.sync_mode, message.cascade_error_mode, context)
        trigger = message.trigger
        outcome, _ = await self._react(trigger.SerializeToString(), trigger, flow)
        if outcome.failure is not None:
            text = str(outcome.failure)
            raise OrchestrationFailed("Process manager", text) from outcome.failure
        return b""

    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes:
        """SpeculatePmRequest → the ProcessManagerHandleResponse that Handle gives; nothing is
        stored or sent (SPEC-5).
        """
        message = books.parse(wire.SpeculatePmRequest, request).request
        check_trigger(message.HasField("trigger"), message.trigger, "SpeculatePmRequest.request")
        flow = replace(LOG_DELIVERY, context=context)
        data = message.trigger.SerializeToString()
        trigger = await self._trigger(data, message.trigger, flow)
        if trigger is None:
            return b""
        supplied = {
            domain: Described(b"", sequence)
            for domain, sequence in message.destination_sequences.items()
        }

        async def ask(loaded: Loaded) -> wire.ProcessManagerHandleResponse:
            answer, _ = await self._decider.ask(trigger, loaded.view.data, flow, supplied)
            return answer

        if message.HasField("process_state"):
            state = message.process_state.SerializeToString()
            response, _ = await self._decider.ask(trigger, state, flow, supplied)
        else:
            response = await self._decider.pipeline.loaded(self._call(trigger, flow), ask)
        for book in (*response.commands, *response.facts):
            outputs.complete(book.cover, trigger.base)
        if response.HasField("process_events"):
            response.process_events.cover.ParseFromString(trigger.base.cover_bytes())
        return response.SerializeToString(deterministic=True)

    async def compensate(self, command: wire.CommandBook, context: CallContext) -> bytes | None:
        """A Notification's command to its stream → its BusinessResponse, whose events are stored,
        now or at the first delivery (PM-12).

        context: with the metadata of the notification's provenance. None: it has no rejection
        handlers. Raises as CommandCoordinator.handle_compensation.
        """
        options = self._means.command_options
        cover = validate.command_book(command, options, payloads=False)
        try:
            return await self._compensations.run(
                command, cover, self._decider.component, cascade_id="", context=context
            )
        except Unanswered:
            return None

    async def close(self) -> None:
        """Wait for what is being closed in the background."""
        await asyncio.gather(*self._closing.values())

    async def _react(
        self, book: bytes, message: wire.EventBook, flow: Flow
    ) -> tuple[Outcome, bool]:
        """What became of it, and whether what is left to do is recorded and goes on by itself."""
        if not message.pages or not message.cover.correlation_id:
            return Outcome(), False
        try:
            trigger = await self._trigger(book, message, flow)
            begun = await self._begin(trigger, flow) if trigger else None
        except AngzarrError as error:
            return Outcome(failure=error), False
        if begun is None:
            return Outcome(), True
        return await self._finish(begun, flow) or Outcome(), not begun.is_parked

    async def _wake(self, book: wire.EventBook) -> Outcome:
        """Woken by a timer: as a delivery, what is recorded goes on by itself."""
        data = book.SerializeToString(deterministic=True)
        outcome, is_recorded = await self._react(data, book, LOG_DELIVERY)
        return replace(outcome, failure=None) if is_recorded else outcome

    async def _trigger(self, book: bytes, message: wire.EventBook, flow: Flow) -> Trigger | None:
        """What the book is to it; None for nothing."""
        seen = await self._decider.seeing.of(Seen(book, message), flow.context)
        if seen is None:
            return None
        came = outputs.source_of(self._identity.component, seen.message)
        correlation_id = came.cover.correlation_id
        own = Cover(self.domain, root_of(correlation_id), came.cover.edition, correlation_id)
        base = Source(component=came.component, cover=own, sequence=0, edition=came.edition)
        return Trigger(seen.data, book, base, came.provenance(0, TRIGGER))

    def _call(self, trigger: Trigger, flow: Flow) -> Call:
        return Call(
            cover=trigger.base.cover,
            component=self._decider.component,
            command=wire.CommandBook(),
            context=flow.context,
            divergence=trigger.base.divergence(self.domain),
            cascade_id=flow.cascade_id,
            is_deferred=True,
            provenance=trigger.key,
        )

    async def _begin(self, trigger: Trigger, flow: Flow) -> Begun | None:
        """Decide and record, or find what was recorded before (PM-6 to PM-8); None if nothing is
        left to do.
        """
        call, pipeline = self._call(trigger, flow), self._decider.pipeline

        async def attempt() -> Begun | None:
            if await pipeline.accepted(call) is not None:
                return await self._recorded(recorded.id_of(trigger.key))
            await pipeline.refuse_decided(call.cascade_id)

            async def decide(loaded: Loaded) -> Begun:
                return await self._decider.decide(trigger, call, loaded, flow)

            return await pipeline.loaded(call, decide)

        return await pipeline.attempts(flow.context, attempt)

    async def _recorded(self, obligation_id: str) -> Begun | None:
        """What an earlier delivery recorded and left."""
        for name in (obligation_id, PARKED + obligation_id):
            obligation = await self._means.stores.obligations.get(name)
            if obligation is not None:
                return await self._begun(obligation)
        return None

    async def _begun(self, obligation: Obligation) -> Begun | None:
        """A recorded reaction, to be carried on. None, and closed, if its cascade was rolled back;
        of one that was committed by now, the rest is done outside it.
        """
        payload = recorded.payload_of(obligation)
        cascade_id = payload.cascade_id
        decision = await self._events.decision(cascade_id) if cascade_id else None
        if decision is not None and decision.outcome == ROLLBACK:
            await self._means.stores.obligations.close(obligation.id)
            return None
        source = recorded.source_of(payload, self._identity.component)
        return Begun(
            source=source,
            outputs=recorded.outputs_of(payload),
            obligation_id=obligation.id,
            cascade_id="" if decision is not None else cascade_id,
            rerun=self._decider.rerun_of(payload, source),
            is_parked=obligation.id.startswith(PARKED),
        )

    async def _resume(self, obligation: Obligation) -> Outcome | None:
        """For the worker: carry on with what a delivery left, if it is still there."""
        begun = await self._begun(obligation)
        return None if begun is None else await self._finish(begun, LOG_DELIVERY, is_worker=True)

    async def _finish(self, begun: Begun, flow: Flow, *, is_worker: bool = False) -> Outcome | None:
        """Carry out what is recorded; None if somebody else has done so meanwhile."""
        if not begun.obligation_id:
            return Outcome()
        flow = replace(flow, cascade_id=begun.cascade_id)
        store = self._means.stores.obligations
        async with self._alone(begun.obligation_id) as has_waited:
            if begun.obligation_id in self._closing:
                return None
            if (has_waited or is_worker) and await store.get(begun.obligation_id) is None:
                return None
            reaction = Reaction(self._means, begun.source, flow, rerun=lambda: begun.rerun(flow))
            outcome = await reaction.run(begun.outputs)
            if outcome.failure is None:
                self._close(begun.obligation_id)
            elif not is_worker and not begun.is_parked:
                delay_ns = int(self._means.options.duties.first_s * NS_PER_S)
                due_ns = self._means.clock.now_ns() + delay_ns
                await store.retry(begun.obligation_id, due_ns, str(outcome.failure))
                self._means.worker.wake()
        return outcome

    @asynccontextmanager
    async def _alone(self, obligation_id: str) -> AsyncGenerator[bool]:
        """Nobody else in this process carries it out meanwhile; whether somebody just has."""
        has_waited = False
        while (other := self._running.get(obligation_id)) is not None:
            has_waited = True
            await other.wait()
        done = self._running[obligation_id] = asyncio.Event()
        try:
            yield has_waited
        finally:
            del self._running[obligation_id]
            done.set()

    def _close(self, obligation_id: str) -> None:
        """Close it without waiting: left open, it would be carried out again, to no effect."""

        async def close() -> None:
            try:
                await self._means.stores.obligations.close(obligation_id)
            except AngzarrError as error:
                _log.warning("%s is done with, but stays open: %s", obligation_id, error)
            finally:
                del self._closing[obligation_id]

        self._closing[obligation_id] = asyncio.get_running_loop().create_task(close())


def check_trigger(is_present: bool, trigger: wire.EventBook, name: str) -> Cover:
    """The checked cover of a request's trigger. Raises InvalidInput (PM-1)."""
    if not is_present:
        raise InvalidInput("trigger", "present", "none", f"{name} must have a trigger")
    cover = validate.cover(trigger.cover)
    if not cover.correlation_id:
        raise InvalidInput(
            "trigger.cover.correlation_id", "not empty", "", "the trigger has no correlation id"
        )
    return cover


def consumer_name(manager: str) -> str:
    """What its positions in the log are kept under."""
    return f"process-manager-{manager}"
