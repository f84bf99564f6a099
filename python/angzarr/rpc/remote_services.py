"""Sagas, process managers and projectors of ours in another process, as the coordinators' services
of 0.3 answer for them: a client asks one address, wherever they run (DEP-12).
"""

from __future__ import annotations

from angzarr.coordinators import books
from angzarr.coordinators.chosen import named
from angzarr.coordinators.subscriptions import Filter, editions_of
from angzarr.cover import Cover
from angzarr.ports.components import CallContext, Subscription
from angzarr.rpc.remote import Endpoint
from angzarr.rpc.services import PROCESS_MANAGERS, PROJECTORS, SAGAS


class SagaElsewhere:
    """A saga for `coordinators.reaction_services.SagaService`.

    name: `saga:<name>`. endpoint: of the server that runs it. All calls raise RemoteError with what
    that one answers.
    """

    def __init__(
        self,
        name: str,
        consumer: str,
        subscriptions: tuple[Subscription, ...],
        endpoint: Endpoint,
    ) -> None:
        self.name = name
        self.consumer = consumer
        self.subscriptions = subscriptions
        self._endpoint = endpoint

    async def execute(self, request: bytes, context: CallContext) -> bytes:
        """SagaHandleRequest → an empty SagaResponse."""
        return await self._ask("Execute", request, context)

    async def execute_speculative(self, request: bytes, context: CallContext) -> bytes:
        """SpeculateSagaRequest → SagaResponse."""
        return await self._ask("ExecuteSpeculative", request, context)

    async def _ask(self, method: str, request: bytes, context: CallContext) -> bytes:
        return await self._endpoint.unary(f"/{SAGAS}/{method}", request, named(context, self.name))


class ProcessManagerElsewhere:
    """A process manager for `coordinators.reaction_services.ProcessManagerService`.

    name: `process_manager:<name>`. domain: of its state streams. endpoint: as a saga's.
    """

    def __init__(
        self,
        name: str,
        domain: str,
        consumer: str,
        subscriptions: tuple[Subscription, ...],
        endpoint: Endpoint,
    ) -> None:
        self.name = name
        self.domain = domain
        self.consumer = consumer
        self.subscriptions = subscriptions
        self._endpoint = endpoint

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        """ProcessManagerCoordinatorRequest → an empty ProcessManagerHandleResponse."""
        return await self._ask("Handle", request, context)

    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes:
        """SpeculatePmRequest → ProcessManagerHandleResponse."""
        return await self._ask("HandleSpeculative", request, context)

    async def _ask(self, method: str, request: bytes, context: CallContext) -> bytes:
        path = f"/{PROCESS_MANAGERS}/{method}"
        return await self._endpoint.unary(path, request, named(context, self.name))


class ProjectorElsewhere:
    """A projector for `coordinators.projector_service.ProjectorService`.

    component: `projector:<name>`. editions: that it is fed, None is every one. endpoint: as a
    saga's.
    """

    is_elsewhere = True

    def __init__(
        self,
        component: str,
        consumer: str,
        subscriptions: tuple[Subscription, ...],
        editions: tuple[str, ...] | None,
        endpoint: Endpoint,
    ) -> None:
        self.component = component
        self.name = component.partition(":")[2]
        self.consumer = consumer
        self._filter = Filter(subscriptions)
        self._editions = editions_of(editions)
        self._endpoint = endpoint

    def wants(self, cover: Cover) -> bool:
        """Whether it is for a stream, by domain and edition."""
        if self._editions is not None and cover.edition not in self._editions:
            return False
        return self._filter.wants(cover.domain)

    async def project(self, book: bytes, context: CallContext) -> bytes:
        """EventBook → Projection, when it has applied it."""
        return await self._ask("HandleSync", books.frame(books.TAG_1, book), context)

    async def speculate(self, book: bytes, context: CallContext) -> bytes:
        """EventBook → Projection, without effect."""
        return await self._ask("HandleSpeculative", books.frame(books.TAG_1, book), context)

    async def _ask(self, method: str, request: bytes, context: CallContext) -> bytes:
        path = f"/{PROJECTORS}/{method}"
        return await self._endpoint.unary(path, request, named(context, self.component))
