"""What a process manager decides on a trigger, and the one write that records it (PM-3 to PM-7,
PM-9, PM-10, PM-12).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from angzarr import wire
from angzarr.coordinators import books, numbering, outputs, provenance, recorded, timers
from angzarr.coordinators.conflicts import Conflicts
from angzarr.coordinators.destinations import describe, describe_covers, map_bytes
from angzarr.coordinators.flow import Flow
from angzarr.coordinators.giving_up import Identity
from angzarr.coordinators.numbering import Times
from angzarr.coordinators.outputs import Command, Described, Outputs, Source, Stamp, Targets, Timer
from angzarr.coordinators.pipeline import Call, Loaded, Pipeline, Written, storing
from angzarr.coordinators.reaction import Means, metadata_of
from angzarr.coordinators.recorded import RecordedOutputs
from angzarr.coordinators.seeing import Seeing, Seen
from angzarr.coordinators.slots import Component, Slots
from angzarr.coordinators.validate import SYSTEM
from angzarr.coordinators.views import Views
from angzarr.cover import Provenance
from angzarr.errors import RemoteError
from angzarr.ports.components import CallContext, ProcessManager
from angzarr.ports.event_store import Dropped, Obligation

NS_PER_S: Final = 1_000_000_000
_MAP_TAG = b"\x1a"
_DECISIONS: Final = ("angzarr.CascadeCommit", "angzarr.CascadeRollback")


@dataclass(frozen=True, slots=True)
class Trigger:
    """What a process manager reacts to.

    data: the encoded book as it sees it. book: as it was delivered, which is what is recorded: it
    may be seen anew after a change of code. base: the source of its outputs, its own stream;
    sequence and occasion are those of a reaction that records nothing. key: of the reaction's
    write.
    """

    data: bytes
    book: bytes
    base: Source
    key: Provenance


@dataclass(frozen=True, slots=True)
class Begun:
    """A reaction that is recorded. obligation_id: of what is left to do; "" for nothing. rerun: its
    handler once more, on the state of the first run. is_parked: it was given up on before.
    """

    source: Source
    outputs: Outputs
    obligation_id: str
    cascade_id: str
    rerun: Callable[[Flow], Awaitable[Outputs]]
    is_parked: bool = False


class Unanswered(Exception):
    """The process manager has no rejection handlers."""


class Refusals:
    """A process manager's rejection handlers, in the place of an aggregate's handler."""

    is_local = True

    def __init__(self, manager: ProcessManager) -> None:
        self._manager = manager
        self.name = manager.name

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        """ContextualCommand → BusinessResponse. Raises Unanswered where it has no handlers."""
        answer = await self._manager.refused(request, context)
        if answer is None:
            raise Unanswered
        return answer

    async def replay(self, request: bytes, context: CallContext) -> bytes:
        """Its port has no Replay, so pages of other cascades lock the whole stream (CAS-20)."""
        raise RemoteError("UNIMPLEMENTED", f"{self.name} has no Replay")

    def diff(self, before: bytes, after: bytes) -> frozenset[str]:
        """Never told."""
        return frozenset("*")


class Decider:
    """Asks one process manager, and records what it says."""

    def __init__(self, manager: ProcessManager, means: Means, identity: Identity) -> None:
        self._manager = manager
        self._means = means
        self._identity = identity
        options = means.options
        bounds = {
            "concurrency": options.handler_concurrency,
            "waiting": options.channel_capacity,
        }
        self._slots = Slots(manager.name, **bounds)
        self.seeing = Seeing(manager.subscriptions, means.stores.events, means.upcasters)
        self.component = Component(Refusals(manager), **bounds)
        times = Times(means.clock)
        views = Views(means.stores.events, means.upcasters)
        self.pipeline = Pipeline(
            means.stores, views, times, means.command_options, means.sleep, means.counters
        )
        self._conflicts = Conflicts(self.pipeline)

    async def decide(self, trigger: Trigger, call: Call, loaded: Loaded, flow: Flow) -> Begun:
        """Ask, and record in one write events, key, snapshot, outputs and timers (PM-6).

        Raises Moved and Repeated as Pipeline.append, and what makes the reaction fail.
        """
        view = loaded.view
        response, described = await self.ask(trigger, view.data, flow, {})
        pages = numbering.new_pages(response.process_events, view)
        source = _source_of(trigger, view.next_sequence, len(pages))
        made = self._read(response, source, described)
        made = _with_decisions(made, pages)
        obligation = recorded.obligation_of(
            trigger.key,
            made,
            source,
            trigger=trigger.book,
            state_end=view.next_sequence,
            cascade_id=call.cascade_id,
            due_ns=self._means.clock.now_ns() + int(self._means.options.head_start_s * NS_PER_S),
        )
        changes = _timer_changes(made, source, trigger.key, call.cascade_id)
        if obligation is not None:
            changes.append(obligation)
        await self._append(call, loaded, response.process_events, pages, changes=changes)
        if changes:
            self._means.worker.wake()

        async def rerun(flow: Flow) -> Outputs:
            return await self._again(trigger, view.data, source, flow)

        return Begun(
            source=source,
            outputs=made,
            obligation_id=obligation.id if obligation else "",
            cascade_id=call.cascade_id,
            rerun=rerun,
        )

    def rerun_of(
        self, payload: RecordedOutputs, source: Source
    ) -> Callable[[Flow], Awaitable[Outputs]]:
        """As Begun.rerun, for a reaction that was recorded by another delivery (PM-9)."""

        async def rerun(flow: Flow) -> Outputs:
            events, cover = self._means.stores.events, source.cover
            divergence = source.divergence(cover.domain)
            with storing("load events"):
                book = await events.load(cover, stop=payload.state_end, divergence=divergence)
                own = (payload.cascade_id,) if payload.cascade_id else ()
                view = await self.pipeline.views.of(book, cover, flow.context, own=own)
            given = Seen(payload.trigger, wire.EventBook.FromString(payload.trigger))
            seen = await self.seeing.of(given, flow.context)
            if seen is None:
                return Outputs([], [])
            base = replace(source, sequence=0, occasion=b"")
            came = outputs.source_of(source.component, seen.message)
            trigger = Trigger(seen.data, given.data, base, came.provenance(0))
            return await self._again(trigger, view.data, source, flow)

        return rerun

    async def ask(
        self, trigger: Trigger, state: bytes, flow: Flow, supplied: Mapping[str, Described]
    ) -> tuple[wire.ProcessManagerHandleResponse, dict[str, Described]]:
        """Prepare and Handle on a state; the answer and the numbers that it was given (PM-3, PM-4).

        supplied: numbers that are given already.
        """
        base = trigger.base
        context = CallContext(flow.context.deadline_ns, metadata_of(flow, base.cover))
        both = books.frame(books.TAG_1, trigger.data) + books.frame(books.TAG_2, state)
        covers = await self._prepare(both, context)
        destinations = self._means.destinations
        wanted = [cover for cover in covers if cover.domain not in supplied]
        described = await describe_covers(destinations, wanted, base)
        others = [
            domain
            for domain in self._manager.targets or sorted(destinations.domains)
            if domain not in described and domain not in supplied
        ]
        described |= await describe(destinations, others, base, base.cover.root)
        described |= supplied
        request = both + map_bytes(described, _MAP_TAG)
        answer = await self._slots.run(self._manager.handle, request, context)
        return books.parse(wire.ProcessManagerHandleResponse, answer), described

    async def answer(
        self, call: Call, loaded: Loaded, response: wire.EventBook, answer: bytes
    ) -> Written:
        """Record its answer to a rejection, which is also kept with the call's key (PM-12)."""
        pages = numbering.new_pages(response, loaded.view)
        return await self._append(call, loaded, response, pages, answer=answer)

    async def _prepare(self, request: bytes, context: CallContext) -> Sequence[wire.Cover]:
        try:
            answer = await self._slots.run(self._manager.prepare, request, context)
        except RemoteError as error:
            if error.code != "UNIMPLEMENTED":
                raise
            return ()
        return books.parse(wire.ProcessManagerPrepareResponse, answer).destinations

    async def _again(self, trigger: Trigger, state: bytes, source: Source, flow: Flow) -> Outputs:
        """The outputs of another run; its events are ignored (PM-9)."""
        response, described = await self.ask(trigger, state, flow, {})
        return self._read(response, source, described)

    def _read(
        self,
        response: wire.ProcessManagerHandleResponse,
        source: Source,
        described: Mapping[str, Described],
    ) -> Outputs:
        targets = Targets(frozenset(self._manager.targets), self._means.destinations.domains)
        return outputs.read(
            source, response.commands, response.facts, targets=targets, described=described
        )

    async def _append(
        self,
        call: Call,
        loaded: Loaded,
        response: wire.EventBook,
        pages: list[wire.EventPage],
        *,
        answer: bytes = b"",
        changes: Sequence[Obligation | Dropped] = (),
    ) -> Written:
        """Number the pages and append them with all that goes with them."""
        view, times = loaded.view, self.pipeline.times
        time_ns = times.next_ns(call.cover, view) if pages else 0
        is_dated = numbering.number(
            pages,
            view.next_sequence,
            cover=call.cover,
            time_ns=time_ns,
            cascade_id=call.cascade_id,
        )
        await self._conflicts.refuse_locked(call, view, pages)
        snapshot = await self._snapshot(call, loaded, response, len(pages))
        encoded = books.encoded(pages)
        if encoded or snapshot is not None or call.provenance is not None:
            await self.pipeline.append(
                call, loaded, encoded, snapshot=snapshot, answer=answer, obligations=changes
            )
        if is_dated:
            times.dated(call.cover, time_ns)
        return Written(encoded, snapshot, view.next_sequence + len(encoded))

    async def _snapshot(
        self, call: Call, loaded: Loaded, response: wire.EventBook, page_count: int
    ) -> bytes | None:
        """The returned snapshot, encoded, if it is to be stored (PM-5, SNAP-3, SNAP-5)."""
        snapshot = numbering.new_snapshot(response, loaded.view, page_count)
        options = self._means.command_options.snapshots_of(call.cover.domain)
        if snapshot is None or call.cascade_id or not options.write:
            return None
        if await self.pipeline.has_pending(call, loaded.view):
            return None
        return snapshot.SerializeToString(deterministic=True)


def _source_of(trigger: Trigger, next_sequence: int, page_count: int) -> Source:
    """The source of a reaction's outputs: its last new event, else the head of its state (PM-9)."""
    last = max(next_sequence + page_count - 1, 0)
    if page_count:
        return replace(trigger.base, sequence=last)
    # Reactions without events of their own have this sequence in common, so the trigger tells them
    # apart.
    return replace(
        trigger.base, sequence=last, occasion=provenance.occasion_of(b"trigger", trigger.key.key)
    )


def _with_decisions(made: Outputs, pages: Sequence[wire.EventPage]) -> Outputs:
    """The outputs with the events' decisions about cascades after the commands (PM-10)."""
    following = len(made.commands) + len(made.facts)
    decisions: list[Command | Timer] = []
    for page in pages:
        if books.full_name(page.event.type_url) in _DECISIONS:
            book = wire.CommandBook()
            book.cover.domain = SYSTEM
            book.pages.add().command.CopyFrom(page.event)
            decisions.append(Command(following + len(decisions), book, Stamp.NONE, 0))
    return replace(made, commands=[*made.commands, *decisions]) if decisions else made


def _timer_changes(
    made: Outputs, source: Source, key: Provenance, cascade_id: str
) -> list[Obligation | Dropped]:
    """What the timers among the outputs change; the last of a name counts."""
    by_name: dict[str, Obligation | Dropped] = {}
    for item in made.commands:
        if isinstance(item, Timer):
            by_name[item.name] = timers.change_of(item, source, key, cascade_id=cascade_id)
    return list(by_name.values())
