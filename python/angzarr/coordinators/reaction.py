"""A reaction's outputs on their way: rounds of commands, then facts (SAGA-10, SAGA-12 to SAGA-15,
SAGA-18).
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Protocol

from angzarr import wire
from angzarr.coordinators import books, failures, names, provenance, refusals
from angzarr.coordinators.counters import Counters
from angzarr.coordinators.destinations import Destinations
from angzarr.coordinators.failures import Meaning
from angzarr.coordinators.flow import DEPTH, Executed, Flow, Outcome, Refused
from angzarr.coordinators.options import CommandOptions, ReactionOptions
from angzarr.coordinators.outputs import Command, Fact, Outputs, Source, Stamp, Timer
from angzarr.coordinators.pipeline import Sleep, is_past, real_sleep
from angzarr.coordinators.settlements import Settlements, Worker
from angzarr.cover import COMMAND, FACT, Cover, Provenance
from angzarr.errors import (
    AngzarrError,
    ReactionUnknown,
    RemoteError,
    SequenceExhausted,
    StoreClosed,
    StoreForked,
    UnknownDomain,
)
from angzarr.ports.clock import Clock, SystemClock
from angzarr.ports.components import CallContext, Upcaster
from angzarr.ports.event_store import SEQUENCE_MAX, Dropped, Obligation
from angzarr.ports.stores import Stores
from angzarr.routing import Commands

CORRELATION: Final = "x-correlation-id"
_PASSED_ON: Final = ("traceparent", "tracestate")
_CASCADE_TAG: Final = b"\x22"

Rerun = Callable[[], Awaitable[Outputs]]
"""Runs the handler again with fresh numbers (SAGA-12)."""
SetTimer = Callable[[Timer], Obligation | Dropped]
"""What a timer among the outputs changes (TIMER-2, TIMER-3)."""


class Notifications(Protocol):
    """Tells sources of rejected commands (COMP-2)."""

    def rejection(
        self, command: wire.CommandBook, provenance: Provenance, reason: str
    ) -> Obligation:
        """The obligation to notify the source; its id follows from the provenance."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What all sagas and process managers of a process work with.

    commands: takes what they send, by domain, wherever it goes. worker: of the obligations in
    `stores`. upcasters: by source domain (UPC-2). sleep: waits between rounds, in seconds.
    counters: where they count.
    """

    stores: Stores
    commands: Commands
    destinations: Destinations
    notifications: Notifications
    worker: Worker
    options: ReactionOptions = field(default_factory=ReactionOptions)
    command_options: CommandOptions = field(default_factory=CommandOptions)
    upcasters: Mapping[str, Upcaster] = field(default_factory=dict[str, Upcaster])
    clock: Clock = field(default_factory=SystemClock)
    sleep: Sleep = real_sleep
    counters: Counters = field(default_factory=Counters)


class Reaction:
    """One run of a saga or process manager, from the first command to the last fact.

    rerun: how the handler is run again after a mismatch; None where it can't be, and the
    coordinator's own stamps are merely taken anew. set_timer: for timers among the commands; None
    where they are recorded already. kind: of the commands' provenance. settles: whether refused
    commands are settled and notified, as all but those of COMP-13 are.
    """

    def __init__(
        self,
        means: Means,
        source: Source,
        flow: Flow,
        *,
        rerun: Rerun | None = None,
        set_timer: SetTimer | None = None,
        kind: int = COMMAND,
        settles: bool = True,
    ) -> None:
        self._means = means
        self._source = source
        self._flow = flow
        self._rerun = rerun
        self._set_timer = set_timer
        self._kind = kind
        self._settles = settles
        self._settlements = Settlements(means.stores.events, means.worker)
        self._shared = provenance.source_bytes(source.cover, source.sequence, source.component)
        self._metadata = metadata_of(flow, source.cover)
        self._tail = modes_bytes(flow.sync_mode, flow.error_mode)
        if flow.cascade_id:
            self._tail += books.frame(_CASCADE_TAG, flow.cascade_id.encode())
        self._done: set[int] = set()
        self._unsettled: set[int] = set()
        self._executed: list[Executed] = []
        self._refused: list[Refused] = []
        self._failure: AngzarrError | None = None

    async def run(self, outputs: Outputs) -> Outcome:
        """Send everything; what became of it.

        When it returns, refused commands are settled durably. Raises StoreUnavailable if that could
        not be done: nothing may be acknowledged then (COMP-3).
        """
        outputs = await self._send(outputs)
        if self._failure is None:
            await self._inject(outputs.facts)
        executed = sorted(self._executed, key=lambda item: item.index)
        refused = sorted(self._refused, key=lambda item: item.index)
        return Outcome(tuple(executed), tuple(refused), self._failure)

    async def _send(self, outputs: Outputs) -> Outputs:
        """Rounds until each command is accepted or refused; the outputs of the last run."""
        backoff, context = self._means.options.backoff, self._flow.context
        nested: AngzarrError | None = None
        for retry in range(backoff.tries):
            found = await self._round(outputs.commands, is_last=retry == backoff.tries - 1)
            nested = nested or found.nested
            if not found.again:
                break
            delay_s = backoff.delay_s(retry) * random.uniform(0.5, 1.0)
            if is_past(context, delay_s):
                self._failure = RemoteError("DEADLINE_EXCEEDED", "Deadline Exceeded")
                break
            await self._means.sleep(delay_s)
            if Meaning.MISMATCH in found.again and self._rerun is not None:
                try:
                    outputs = await self._rerun()
                except AngzarrError as error:
                    self._failure = error
                    break
        self._failure = self._failure or nested
        return outputs

    async def _round(self, commands: Sequence[Command | Timer], *, is_last: bool) -> _Round:
        """Try each command that is neither accepted nor refused, in order."""
        round_ = _Round()
        for output in commands:
            if output.index in self._done or await self._is_settled(output):
                continue
            if isinstance(output, Timer):
                await self._set(output)
                continue
            if output.stream in round_.held:
                continue  # an earlier one to the same root has to come first (SAGA-14)
            error = await self._try(output, round_)
            if error is None:
                continue
            meaning = failures.meaning_of(error)
            if meaning in (Meaning.MISMATCH, Meaning.RESEND) and not is_last:
                round_.again.add(meaning)
                round_.held.add(output.stream)
            elif meaning is Meaning.RESEND:
                round_.held.add(output.stream)
                self._leave(error)
            elif (known := await self._overtaken(output, error, meaning)) is not None:
                self._accept(output, wire.CommandResponse(events=known), round_)
            else:
                await self._refuse(output, error, is_parked=meaning is Meaning.PARKED)
        return round_

    def _leave(self, error: AngzarrError) -> None:
        """The destination can't be reached, and nobody knows whether it has executed the command.

        So it is not rejected, which would make up for what may have happened: the reaction fails,
        and runs again (SAGA-12). Raises ReactionUnknown where a failure has to be undone.
        """
        if self._flow.has_to_be_undone:
            raise ReactionUnknown(names.label(self._source.component), str(error)) from error
        self._failure = self._failure or error

    async def _try(self, output: Command, round_: _Round) -> AngzarrError | None:
        """Send one command; why it was not accepted."""
        try:
            await self._stamp(output, round_)
            answer = await self._means.commands.handle_command(
                self._request(output.book), self._context(output.index, self._kind)
            )
        except (StoreClosed, StoreForked):
            raise  # this process is going down, which decides nothing
        except AngzarrError as error:
            if failures.meaning_of(error) is not Meaning.STORED:
                return error
            round_.nested = round_.nested or error
            self._accept(output, wire.CommandResponse(events=_stored(error)), round_)
        else:
            self._accept(output, books.parse(wire.CommandResponse, answer), round_)
        return None

    def _accept(self, output: Command, response: wire.CommandResponse, round_: _Round) -> None:
        self._done.add(output.index)
        pages = response.events.pages
        if pages:
            made = pages[0].header.sequence, len(pages)
            round_.made.setdefault(output.stream, {})[made[0]] = made[1]
        errors = tuple(response.cascade_errors)
        self._executed.append(Executed(output.index, response.events, errors))

    async def _stamp(self, output: Command, round_: _Round) -> None:
        """Give the command its sequence for this round (SAGA-7, SAGA-8, SAGA-10)."""
        if output.stamp is Stamp.NONE:
            return
        if output.stamp is Stamp.ACTUAL:
            domain, root = output.stream
            cover = Cover(domain, root, self._source.cover.edition)
            divergence = self._source.divergence(domain)
            number = await self._means.destinations.next_sequence(cover, divergence)
        else:
            number = round_.raised(output.stream, output.number)
        if number + len(output.book.pages) - 1 > SEQUENCE_MAX:
            raise SequenceExhausted(books.cover_of(output.book.cover))
        headers = [page.header for page in output.book.pages]
        if output.stamp is Stamp.KEPT:
            shift = number - headers[0].sequence
            for header in headers:
                if shift and header.HasField("sequence"):
                    header.sequence += shift
        else:
            for index, header in enumerate(headers):
                header.sequence = number + index

    async def _is_settled(self, output: Command | Timer) -> bool:
        """Whether an earlier run of the reaction is done with the output already (COMP-3)."""
        index = output.index
        if index in self._unsettled:
            return False
        if not self._settles and isinstance(output, Command):
            return False
        if isinstance(output, Timer):
            is_settled = self._set_timer is None or await self._settlements.is_carried_out(
                self._source, index
            )
        else:
            found = await self._settlements.refusal(self._source, index)
            is_settled = found is not None
            if found is not None:
                self._refused.append(Refused(index, output.book, found.error, found.is_parked))
        (self._done if is_settled else self._unsettled).add(index)
        return is_settled

    async def _set(self, timer: Timer) -> None:
        assert self._set_timer is not None, "timers without it are settled"
        change = self._set_timer(timer)
        await self._settlements.carry_out(self._source, timer.index, change)
        self._done.add(timer.index)

    async def _overtaken(
        self, output: Command, error: AngzarrError, meaning: Meaning
    ) -> wire.EventBook | None:
        """Have the destination refuse the command for good, whoever else sends it; what another run
        of the reaction got accepted meanwhile, None if it is refused.

        A parked command may still be executed. Of a stream in another store nobody can tell.
        """
        if not self._settles or meaning is Meaning.PARKED:
            return None
        domain, root = output.stream
        destinations = self._means.destinations
        if domain not in destinations.domains or not destinations.is_near(domain):
            return None
        cover = Cover(domain, root, self._source.cover.edition)
        key = self._source.provenance(output.index)
        found = await refusals.refuse(self._means.stores.events, cover, key, error)
        if found is None:
            return None
        pages = [wire.EventPage.FromString(page) for page in found.pages]
        return wire.EventBook(cover=output.book.cover, pages=pages)

    async def _refuse(self, output: Command, error: AngzarrError, *, is_parked: bool) -> None:
        """The command is rejected: its source will be told, unless it is parked (SAGA-13)."""
        index = output.index
        if self._settles:
            obligations: list[Obligation] = []
            if not is_parked:
                origin = self._source.provenance(index)
                obligations.append(
                    self._means.notifications.rejection(output.book, origin, str(error))
                )
            await self._settlements.refuse(
                self._source, index, error, obligations, is_parked=is_parked
            )
        self._done.add(index)
        self._refused.append(Refused(index, output.book, error, is_parked))

    async def _inject(self, facts: Sequence[Fact]) -> None:
        """Record the facts in order; the first error ends it (SAGA-18)."""
        for fact in facts:
            request = books.frame(books.TAG_1, fact.book.SerializeToString(deterministic=True))
            try:
                await self._means.commands.handle_event(request, self._context(fact.index, FACT))
            except UnknownDomain as error:
                text = f"Target aggregate not found: {error.name}"
                self._failure = UnknownDomain(error.name, text)
                return
            except AngzarrError as error:
                self._failure = error
                return

    def _request(self, book: wire.CommandBook) -> bytes:
        command = book.SerializeToString(deterministic=True)
        return b"".join((books.TAG_1, books.varint(len(command)), command, self._tail))

    def _context(self, index: int, kind: int) -> CallContext:
        output = provenance.output_bytes(index, kind, self._source.occasion)
        metadata = {**self._metadata, provenance.METADATA: self._shared + output}
        return CallContext(self._flow.context.deadline_ns, metadata)


@dataclass(slots=True)
class _Round:
    """again: what may help those that were not accepted. held: streams whose further commands wait.
    made: per stream the pages of accepted commands, first sequence → count. nested: the first
    failure of what followed from an accepted command.
    """

    again: set[Meaning] = field(default_factory=set[Meaning])
    held: set[tuple[str, bytes]] = field(default_factory=set[tuple[str, bytes]])
    made: dict[tuple[str, bytes], dict[int, int]] = field(
        default_factory=dict[tuple[str, bytes], dict[int, int]]
    )
    nested: AngzarrError | None = None

    def raised(self, stream: tuple[str, bytes], number: int) -> int:
        """The stamp past the pages that earlier commands of this round made at it (SAGA-10)."""
        made = self.made.get(stream)
        while made and (count := made.get(number)):
            number += count
        return number


def metadata_of(flow: Flow, cover: Cover) -> dict[str, str | bytes]:
    """What all calls of a reaction carry: correlation, trace, in a cascade its depth (SYNC-4)."""
    given = flow.context.metadata
    metadata = {key: given[key] for key in _PASSED_ON if key in given}
    if cover.correlation_id:
        metadata[CORRELATION] = cover.correlation_id
    if flow.is_cascade:
        metadata[DEPTH] = str(depth_of(flow.context) + 1)
    return metadata


def depth_of(context: CallContext) -> int:
    """How deep in a cascade a request is; 0 for a client's own (SYNC-4)."""
    given = context.metadata.get(DEPTH, "0")
    text = given.decode("ascii", "replace") if isinstance(given, bytes) else given
    return int(text) if text.isascii() and text.isdecimal() else 0


@lru_cache(maxsize=16)
def modes_bytes(sync_mode: int, error_mode: int) -> bytes:
    """The modes of a flow, under the numbers of CommandRequest and SagaHandleRequest alike."""
    request = wire.CommandRequest(
        sync_mode=sync_mode,  # type: ignore[arg-type]
        cascade_error_mode=error_mode,  # type: ignore[arg-type]
    )
    return request.SerializeToString()


def _stored(error: AngzarrError) -> wire.EventBook:
    """The pages that a CASCADE command has stored although what followed from it failed."""
    book = error.details if isinstance(error, RemoteError) else getattr(error, "book", b"")
    return books.parse(wire.EventBook, book)
