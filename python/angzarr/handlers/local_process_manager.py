"""A process manager class behind the ProcessManager port, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any as Untyped
from typing import cast

from angzarr import codec, wire
from angzarr.codec import Payload
from angzarr.cover import ROOT_BYTES, Cover
from angzarr.errors import InvalidInput
from angzarr.handlers.notifications import NOTIFICATION, Revocation, read_notification
from angzarr.handlers.outputs import OUTPUTS, Output
from angzarr.handlers.placing import Place, write
from angzarr.handlers.process_manager import ProcessManager
from angzarr.handlers.reactions import Handled, decoded, require_room, walk, wrong_result
from angzarr.handlers.requests import parse
from angzarr.ports.components import CallContext, Subscription


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event of the process manager's own, as it is stored and as it was given."""

    event: Payload
    type_url: str
    value: bytes


class LocalProcessManager:
    """Runs a process manager's methods on encoded messages: ports.components.ProcessManager."""

    def __init__(self, cls: type[ProcessManager]) -> None:
        self.table = cls.table()

    @property
    def name(self) -> str:
        """`process_manager:<name>`."""
        return self.table.component

    @property
    def domain(self) -> str:
        """The domain of its state streams."""
        return self.table.domain

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """Its sources, each with the types that a method takes."""
        return self.table.subscriptions

    @property
    def targets(self) -> tuple[str, ...]:
        """Its declared output domains."""
        return self.table.targets.names

    async def prepare(self, request: bytes, context: CallContext) -> bytes:
        """ProcessManagerPrepareRequest → ProcessManagerPrepareResponse with what the `@prepares`
        methods name, each stream once. Raises as `handle`.
        """
        response = wire.ProcessManagerPrepareResponse()
        if self.table.prepares:
            wanted = parse(wire.ProcessManagerPrepareRequest, request, "request")
            for cover in await self.prepared(wanted):
                destination = response.destinations.add(domain=cover.domain)
                destination.root.value = cover.root
        return response.SerializeToString()

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        """ProcessManagerHandleRequest → ProcessManagerHandleResponse.

        process_events have neither cover nor headers (PM-5), and a snapshot where one is due;
        commands and timers follow in order, then facts. NoOps, and events that no method takes, are
        passed over. Raises InvalidInput for an output that can't be sent (SAGA-17) or a timer that
        no method takes, CorruptData for a page or snapshot that does not parse, HandlerFailed for
        any other exception of the user's code.
        """
        wanted = parse(wire.ProcessManagerHandleRequest, request, "request")
        state, results = await self.react(wanted)
        response = wire.ProcessManagerHandleResponse()
        events = [item for item in results if isinstance(item, Recorded)]
        _add_events(events, response.process_events)
        if self._is_snapshot_due(wanted.process_state, len(events)):
            self._add_snapshot(state, response.process_events)
        outputs = [item for item in results if not isinstance(item, Recorded)]
        try:
            write(outputs, self.domain, response.commands, response.facts)
        except Exception as error:
            raise self.table.failed("encoding what it returned", error) from error
        return response.SerializeToString()

    async def refused(self, request: bytes, context: CallContext) -> bytes | None:
        """ContextualCommand{its state, a Notification's command} → BusinessResponse, as an
        aggregate answers; None where no method takes the refused command. Raises as `handle`.
        """
        wanted = parse(wire.ContextualCommand, request, "request")
        answer = await self.make_up(wanted)
        if answer is None:
            return None
        response = wire.BusinessResponse()
        for item in answer:
            if isinstance(item, Revocation):
                response.revocation.CopyFrom(item.message())
            else:
                _add_events([item], response.events)
        return response.SerializeToString()

    async def react(
        self, request: wire.ProcessManagerHandleRequest
    ) -> tuple[Untyped, list[Recorded | Output]]:
        """The state after the trigger, and what the methods gave in their order."""
        table = self.table
        state = self._state(request.process_state)
        results: list[Recorded | Output] = []

        def take(handled: Handled, item: object) -> None:
            require_room(results, handled.who)
            if type(item) in table.own_events:
                results.append(self._recorded(state, item))
                return
            if not isinstance(item, OUTPUTS):
                wanted = "an event that it applies, Send, Record, Schedule or Cancel"
                raise wrong_result(handled.who, item, wanted)
            results.append(self.place(handled).complete(item, handled.who))

        numbers = dict(request.destination_sequences)
        await walk(table, table.reaction_to, state, request.trigger, numbers, take)
        return state, results

    def place(self, handled: Handled) -> Place:
        """What completes the outputs for an event. Each names its root: which one of the streams
        that a workflow joins is meant can't be told.
        """
        table, since = self.table, handled.trigger.created_at
        return Place(table.targets, lambda _: None, since, table.wakes, table.domain)

    async def prepared(self, request: wire.ProcessManagerPrepareRequest) -> list[Cover]:
        """The streams that the `@prepares` methods name, each once, in their order."""
        found: dict[tuple[str, bytes], Cover] = {}

        def take(handled: Handled, item: object) -> None:
            if not isinstance(item, Cover):
                raise wrong_result(handled.who, item, "Covers")
            self._check_destination(item, handled.who)
            found.setdefault((item.domain, item.root), item)

        state = self._state(request.process_state)
        find = partial(decoded, self.table.prepares)
        await walk(self.table, find, state, request.trigger, {}, take)
        return list(found.values())

    async def make_up(self, request: wire.ContextualCommand) -> list[Recorded | Revocation] | None:
        """What the `@rejected` method answers, events or one Revocation; None without a method."""
        for page in request.command.pages:
            if codec.full_name(page.command.type_url) != NOTIFICATION:
                continue
            told = read_notification(page.command.value)
            if not isinstance(told, wire.RejectionNotification):
                continue
            found = self.table.state.rejections.find(told)
            if found is not None:
                method, rejection = found
                state = self._state(request.events)
                who = f"{self.table.cls.__name__}.{method.__name__}"
                return await self._answers(who, partial(method, state, rejection), state)
        return None

    async def _answers(
        self, who: str, method: partial[object], state: Untyped
    ) -> list[Recorded | Revocation]:
        answers: list[Recorded | Revocation] = []

        def take(item: object) -> None:
            require_room(answers, who)
            is_first = not answers
            if isinstance(item, Revocation) and is_first:
                answers.append(item)
            elif type(item) in self.table.own_events and not _revokes(answers):
                answers.append(self._recorded(state, item))
            else:
                raise wrong_result(who, item, "events that it applies, or one Revocation")

        await self.table.run(who, method, take)
        return answers

    def _state(self, book: wire.EventBook) -> Untyped:
        snapshot = book.snapshot if book.HasField("snapshot") else None
        return self.table.state.load(snapshot, book.pages)

    def _recorded(self, state: Untyped, event: object) -> Recorded:
        return Recorded(cast("Payload", event), *self.table.state.record(state, event))

    def _check_destination(self, cover: Cover, who: str) -> None:
        known = self.table.targets.names
        if known and cover.domain not in known:
            message = f"{who} prepares {cover}, which is not among its targets: {', '.join(known)}"
            raise InvalidInput("destination.domain", "a declared target", cover.domain, message)
        if len(cover.root) != ROOT_BYTES:
            limit = f"{ROOT_BYTES} bytes"
            raise InvalidInput("destination.root", limit, f"{len(cover.root)} bytes")

    def _is_snapshot_due(self, book: wire.EventBook, event_count: int) -> bool:
        every = self.table.snapshot_every
        if not every or not event_count:
            return False
        after = book.snapshot.sequence + 1 if book.HasField("snapshot") else 0
        following = book.pages[-1].header.sequence + 1 if book.pages else after
        return following + event_count - after >= every

    def _add_snapshot(self, state: Untyped, book: wire.EventBook) -> None:
        states = self.table.state.states
        book.snapshot.state.type_url = states.type_url
        try:
            book.snapshot.state.value = states.encode(state)
        except Exception as error:
            raise self.table.failed("encoding the state", error) from error


def _add_events(events: Sequence[Recorded], book: wire.EventBook) -> None:
    for event in events:
        stored = book.pages.add().event
        stored.type_url, stored.value = event.type_url, event.value


def _revokes(answers: Sequence[Recorded | Revocation]) -> bool:
    return any(isinstance(answer, Revocation) for answer in answers)
