"""SagaCoordinatorService and ProcessManagerCoordinatorService: a caller's book to the sagas or
process managers that this process answers for (SAGA-19, PM-11, SPEC-5).

Requests name no component, so those are meant that subscribe to something in the book. Requests and
answers are encoded messages of the 0.3 protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import Protocol

from angzarr import wire
from angzarr.coordinators import books
from angzarr.coordinators.chosen import meant, unnamed
from angzarr.coordinators.process_manager import check_trigger
from angzarr.coordinators.saga import check_source
from angzarr.coordinators.subscriptions import Filter
from angzarr.coordinators.turns import Turns
from angzarr.ports.components import CallContext, Subscription


class Saga(Protocol):
    """A saga's coordinator, or one elsewhere. name: `saga:<name>`. consumer: has the turns."""

    @property
    def name(self) -> str: ...
    @property
    def consumer(self) -> str: ...
    @property
    def subscriptions(self) -> tuple[Subscription, ...]: ...
    async def execute(self, request: bytes, context: CallContext) -> bytes:
        """SagaHandleRequest → an empty SagaResponse."""
        ...

    async def execute_speculative(self, request: bytes, context: CallContext) -> bytes:
        """SpeculateSagaRequest → SagaResponse."""
        ...


class ProcessManager(Protocol):
    """A process manager's coordinator, or one elsewhere. name: `process_manager:<name>`."""

    @property
    def name(self) -> str: ...
    @property
    def domain(self) -> str: ...
    @property
    def consumer(self) -> str: ...
    @property
    def subscriptions(self) -> tuple[Subscription, ...]: ...
    async def handle(self, request: bytes, context: CallContext) -> bytes:
        """ProcessManagerCoordinatorRequest → an empty ProcessManagerHandleResponse."""
        ...

    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes:
        """SpeculatePmRequest → ProcessManagerHandleResponse."""
        ...


class SagaService:
    """Serves the sagas, in the given order. turns: shared with the log's deliveries."""

    def __init__(self, sagas: Sequence[Saga], turns: Turns) -> None:
        self._sagas = {saga.name: (saga, Filter(saga.subscriptions)) for saga in sagas}
        self._turns = turns

    async def execute(self, request: bytes, context: CallContext) -> bytes:
        """SagaHandleRequest → an empty SagaResponse, when each subscribed saga is done with it.

        All run, whichever fails; then the first failure is raised, as SagaCoordinator.execute does.
        """
        message = books.parse(wire.SagaHandleRequest, request)
        cover = check_source(message, "SagaHandleRequest")
        book = message.source

        async def run(saga: Saga, wanted: wire.EventBook) -> None:
            asked = _with_source(message, wanted).SerializeToString()
            async with self._turns.book(saga.consumer, cover, _first(book)):
                await saga.execute(asked, unnamed(context))

        await _all(run(saga, wanted) for saga, wanted in self._subscribed(book, context))
        return b""

    async def execute_speculative(self, request: bytes, context: CallContext) -> bytes:
        """SpeculateSagaRequest → what the subscribed sagas would put out, one after the other;
        nothing is sent. Raises as SagaCoordinator.execute_speculative.
        """
        message = books.parse(wire.SpeculateSagaRequest, request).request
        check_source(message, "SpeculateSagaRequest.request")
        response = wire.SagaResponse()
        for saga, wanted in self._subscribed(message.source, context):
            asked = wire.SpeculateSagaRequest(request=_with_source(message, wanted))
            answer = await saga.execute_speculative(asked.SerializeToString(), unnamed(context))
            response.MergeFromString(answer)  # which appends what is repeated
        return response.SerializeToString(deterministic=True)

    def _subscribed(
        self, book: wire.EventBook, context: CallContext
    ) -> list[tuple[Saga, wire.EventBook]]:
        found = ((saga, wants.kept(book)) for saga, wants in meant(self._sagas, context))
        return [(saga, wanted) for saga, wanted in found if wanted is not None]


class ProcessManagerService:
    """Serves the process managers, in the given order. turns: shared with the log's deliveries."""

    def __init__(self, managers: Sequence[ProcessManager], turns: Turns) -> None:
        self._managers = {item.name: (item, Filter(item.subscriptions)) for item in managers}
        self._turns = turns

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        """ProcessManagerCoordinatorRequest → an empty ProcessManagerHandleResponse, when each
        subscribed process manager is done with it.

        All run, whichever fails; then the first failure is raised, as
        ProcessManagerCoordinator.handle does.
        """
        message = books.parse(wire.ProcessManagerCoordinatorRequest, request)
        trigger = message.trigger
        cover = check_trigger(
            message.HasField("trigger"), trigger, "ProcessManagerCoordinatorRequest"
        )

        async def run(manager: ProcessManager, wanted: wire.EventBook) -> None:
            asked = wire.ProcessManagerCoordinatorRequest()
            asked.CopyFrom(message)
            asked.trigger.CopyFrom(wanted)
            async with self._turns.book(manager.consumer, cover, _first(trigger)):
                await manager.handle(asked.SerializeToString(), unnamed(context))

        await _all(run(manager, wanted) for manager, wanted in self._subscribed(trigger, context))
        return b""

    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes:
        """SpeculatePmRequest → the ProcessManagerHandleResponse of the subscribed process manager
        whose domain process_state names, else of the first one; an empty one where none is
        subscribed. Nothing is stored or sent.

        Raises as ProcessManagerCoordinator.handle_speculative.
        """
        message = books.parse(wire.SpeculatePmRequest, request).request
        check_trigger(message.HasField("trigger"), message.trigger, "SpeculatePmRequest.request")
        subscribed = self._subscribed(message.trigger, context)
        if not subscribed:
            return b""
        domain = message.process_state.cover.domain
        named = [(manager, wanted) for manager, wanted in subscribed if manager.domain == domain]
        manager, wanted = (named or subscribed)[0]
        asked = wire.SpeculatePmRequest(request=message)
        asked.request.trigger.CopyFrom(wanted)
        return await manager.handle_speculative(asked.SerializeToString(), unnamed(context))

    def _subscribed(
        self, book: wire.EventBook, context: CallContext
    ) -> list[tuple[ProcessManager, wire.EventBook]]:
        found = ((item, wants.kept(book)) for item, wants in meant(self._managers, context))
        return [(manager, wanted) for manager, wanted in found if wanted is not None]


async def _all(runs: Iterable[Awaitable[None]]) -> None:
    """Run all side by side; raise the first failure when all are done."""
    for result in await asyncio.gather(*runs, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def _with_source(message: wire.SagaHandleRequest, source: wire.EventBook) -> wire.SagaHandleRequest:
    made = wire.SagaHandleRequest()
    made.CopyFrom(message)
    made.source.CopyFrom(source)
    return made


def _first(book: wire.EventBook) -> int:
    return book.pages[0].header.sequence
