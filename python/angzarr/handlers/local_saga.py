"""A saga class behind the Saga port, in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial

from angzarr import wire
from angzarr.handlers.notifications import told_by
from angzarr.handlers.outputs import OUTPUTS, Output
from angzarr.handlers.placing import Place, write
from angzarr.handlers.reactions import Handled, decoded, require_room, walk, wrong_result
from angzarr.handlers.requests import parse
from angzarr.handlers.saga import Saga
from angzarr.handlers.targets import Targets
from angzarr.handlers.trigger import trigger_of
from angzarr.ports.components import CallContext, Subscription


class LocalSaga:
    """Runs a saga's methods on encoded messages: ports.components.Saga.

    Raises what making an object of the class without arguments raises.
    """

    def __init__(self, cls: type[Saga]) -> None:
        self._cls = cls
        self.table = cls.table()
        cls()  # an __init__ that wants arguments is told now, not at the first event

    @property
    def name(self) -> str:
        """`saga:<name>`."""
        return self.table.component

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """Its sources, each with the types that a method takes."""
        return self.table.subscriptions

    @property
    def targets(self) -> tuple[str, ...]:
        """Its declared output domains."""
        return self.table.targets.names

    def routed(self, domain: str, source: bytes) -> bytes | None:
        """The root that the `@routes` methods name for an EventBook in an output domain, by the
        first of its events that they know; None without one. Raises as `handle`.
        """
        if not self.table.has_routes:
            return None
        book = parse(wire.EventBook, source, "source")
        me = self._made()
        for page in book.pages:
            found = decoded(self.table.handles, book.cover.domain, page)
            if found is None:
                continue
            trigger = trigger_of(book.cover, page, {})
            handled = Handled(found[0].name, found[1], page.event.type_url, trigger)
            root = self.table.route(me, handled, domain)
            if root is not None:
                return root
        return None

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        """SagaHandleRequest → SagaResponse: the commands and timers of all pages, and the facts.

        NoOps, and events that no method takes, are passed over. Raises InvalidInput for an output
        that can't be sent (SAGA-17) or a timer that no method takes, CorruptData for a page that
        does not parse, HandlerFailed for any other exception of the user's code.
        """
        outputs = await self.react(parse(wire.SagaHandleRequest, request, "request"))
        return self._answer(outputs).SerializeToString()

    async def react_to(
        self, source: wire.EventBook, next_sequences: Mapping[str, int], context: CallContext
    ) -> wire.SagaResponse:
        """The same on messages: ports.components.Reacting. Raises as `handle`."""
        return self._answer(await self._outputs(source, next_sequences))

    async def refused(self, request: bytes, context: CallContext) -> bytes | None:
        """Notification of a rejected command → SagaResponse; None where no method takes the
        command, or has nothing to say to it (COMP-13). Raises as `handle`.
        """
        outputs = await self.make_up(parse(wire.Notification, request, "notification"))
        return self._answer(outputs).SerializeToString() if outputs else None

    async def react(self, request: wire.SagaHandleRequest) -> list[Output]:
        """The completed outputs, in the order in which the methods gave them."""
        return await self._outputs(request.source, dict(request.destination_sequences))

    async def _outputs(
        self, source: wire.EventBook, next_sequences: Mapping[str, int]
    ) -> list[Output]:
        table, me = self.table, self._made()
        outputs: list[Output] = []

        def take(handled: Handled, item: object) -> None:
            _add(outputs, item, self.place(me, handled), handled.who)

        await walk(table, table.reaction_to, me, source, next_sequences, take)
        return outputs

    async def make_up(self, notification: wire.Notification) -> list[Output]:
        """The completed outputs of the `@rejected` method for a refused command; none without."""
        table = self.table
        told = told_by(notification)
        if not isinstance(told, wire.RejectionNotification):
            return []
        found = table.rejections.find(told)
        if found is None:
            return []
        method, rejection = found
        who = f"{table.cls.__name__}.{method.__name__}"
        place = self.place_of_rejection(notification)
        outputs: list[Output] = []
        call = partial(method, self._made(), rejection)
        await table.run(who, call, lambda item: _add(outputs, item, place, who))
        return outputs

    def place(self, me: Saga, handled: Handled) -> Place:
        """What completes the outputs for an event."""
        trigger = handled.trigger
        return self._place(
            self.table.targets,
            lambda domain: self.table.route(me, handled, domain) or trigger.root,
            trigger.created_at,
        )

    def place_of_rejection(self, notification: wire.Notification) -> Place:
        """What completes the outputs that make up for a rejected command: the source's domain may
        take them, too.
        """
        cover = notification.cover
        tables = (s.table for s in self.table.sources if s.pattern == cover.domain)
        targets = self.table.targets.beside(cover.domain, next(tables, None))
        return self._place(
            targets, lambda _: cover.root.value, notification.sent_at.ToDatetime(UTC)
        )

    def _made(self) -> Saga:
        try:
            return self._cls()
        except Exception as error:
            raise self.table.failed("making an object of it", error) from error

    def _place(self, targets: Targets, root: Callable[[str], bytes], since: datetime) -> Place:
        return Place(targets, root, since, self.table.wakes, self.table.domain)

    def _answer(self, outputs: list[Output]) -> wire.SagaResponse:
        response = wire.SagaResponse()
        try:
            write(outputs, self.table.domain, response.commands, response.events)
        except Exception as error:
            raise self.table.failed("encoding what it returned", error) from error
        return response


def _add(outputs: list[Output], item: object, place: Place, who: str) -> None:
    require_room(outputs, who)
    if not isinstance(item, OUTPUTS):
        raise wrong_result(who, item, "Send, Record, Schedule or Cancel")
    outputs.append(place.complete(item, who))
