"""Which coordinator call answers which gRPC method.

No handler has a serializer: a request's bytes go to the coordinator and its bytes go out.
`rpc/door.py` runs the calls.
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import unquote

from angzarr.errors import NotPermitted, TooLarge
from angzarr.ports.components import CallContext
from angzarr.rpc.status import Status, status_of

COMMANDS: Final = "angzarr.CommandHandlerCoordinatorService"
QUERIES: Final = "angzarr.EventQueryService"
HISTORY: Final = "angzarr.HistoryService"
STREAMS: Final = "angzarr.EventStreamService"
DEAD_LETTERS: Final = "angzarr.DlqAdminService"
EDITIONS: Final = "angzarr.EditionService"
PROJECTORS: Final = "angzarr.ProjectorCoordinatorService"
SAGAS: Final = "angzarr.SagaCoordinatorService"
PROCESS_MANAGERS: Final = "angzarr.ProcessManagerCoordinatorService"
SPECULATIONS: Final = "angzarr.SpeculationService"

Unary = Callable[[bytes, CallContext], Awaitable[bytes]]
ServerStream = Callable[[bytes, CallContext], AsyncIterator[bytes]]
Live = Callable[[bytes], Awaitable["Subscription"]]
BothStream = Callable[[AsyncIterator[bytes], CallContext], AsyncIterator[bytes]]
Whole = Callable[["Exchange"], Awaitable[Status]]


class Commands(Protocol):
    """What answers CommandHandlerCoordinatorService: our coordinator, or a remote one (DEP-4)."""

    async def handle_command(self, request: bytes, context: CallContext) -> bytes: ...
    async def handle_event(self, request: bytes, context: CallContext) -> bytes: ...
    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes: ...
    async def handle_compensation(self, request: bytes, context: CallContext) -> bytes: ...


class Queries(Protocol):
    """What answers EventQueryService."""

    async def get_event_book(self, request: bytes, context: CallContext) -> bytes: ...
    def get_events(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]: ...
    def synchronize(
        self, requests: AsyncIterator[bytes], context: CallContext
    ) -> AsyncIterator[bytes]: ...
    def get_aggregate_roots(self, context: CallContext) -> AsyncIterator[bytes]: ...


class Histories(Protocol):
    """What answers HistoryService."""

    async def get_state(self, request: bytes, context: CallContext) -> bytes: ...
    async def get_position(self, request: bytes, context: CallContext) -> bytes: ...


class Projectors(Protocol):
    """What answers ProjectorCoordinatorService."""

    async def handle_sync(self, request: bytes, context: CallContext) -> bytes: ...
    async def handle(self, request: bytes, context: CallContext) -> bytes: ...
    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes: ...


class Sagas(Protocol):
    """What answers SagaCoordinatorService."""

    async def execute(self, request: bytes, context: CallContext) -> bytes: ...
    async def execute_speculative(self, request: bytes, context: CallContext) -> bytes: ...


class ProcessManagers(Protocol):
    """What answers ProcessManagerCoordinatorService."""

    async def handle(self, request: bytes, context: CallContext) -> bytes: ...
    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes: ...


class Speculations(Protocol):
    """What answers SpeculationService."""

    async def run(self, request: bytes, context: CallContext) -> bytes: ...


class Subscription(Protocol):
    """Books as they come; `close` ends the iteration, from anywhere, and lets go of it."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    def close(self) -> None: ...


class Streams(Protocol):
    """What answers EventStreamService; `open` returns when what is published will be delivered."""

    async def open(self, request: bytes) -> Subscription: ...


class DeadLetters(Protocol):
    """What answers DlqAdminService."""

    async def list_letters(self, request: bytes, context: CallContext) -> bytes: ...
    async def get_letter(self, request: bytes, context: CallContext) -> bytes: ...
    async def delete_letter(self, request: bytes, context: CallContext) -> bytes: ...
    async def replay(self, request: bytes, context: CallContext) -> bytes: ...
    async def redeliver(self, request: bytes, context: CallContext) -> bytes: ...


class Editions(Protocol):
    """What answers EditionService."""

    async def declare(self, request: bytes, context: CallContext) -> bytes: ...
    async def get(self, request: bytes, context: CallContext) -> bytes: ...
    def list_editions(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]: ...
    def list_branches(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]: ...
    async def delete(self, request: bytes, context: CallContext) -> bytes: ...
    def diff(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]: ...
    def promote(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]: ...


class Exchange(Protocol):
    """One call, with all that its answer may be made of."""

    @property
    def context(self) -> CallContext: ...

    @property
    def peer(self) -> str:
        """gRPC's name of the caller: `ipv4:HOST:PORT`, `ipv6:[HOST]:PORT`, `unix:`."""
        ...

    async def read(self) -> bytes | None:
        """The next request, None after the last. Raises TooLarge."""
        ...

    def accept(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Begin the answer with initial metadata; only before the first `send`, and once.

        Raises ValueError for metadata that can't travel.
        """
        ...

    async def send(self, answer: bytes) -> None:
        """Send one answer; returns when there is room for another one. Raises TooLarge."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rpc:
    """One method: full service name, method name, and the call that answers it, one of five kinds.

    live: a stream that ends when the server drains; its initial metadata says that it is accepted.
    whole: for those that need all of a call; has_many_requests: whether clients may send many.
    too_large_hint: what to do instead when an answer is over the message limit.
    is_local_only: for callers on this machine only. status: what an exception of it comes to.
    """

    service: str
    method: str
    unary: Unary | None = None
    stream: ServerStream | None = None
    live: Live | None = None
    both: BothStream | None = None
    whole: Whole | None = None
    has_many_requests: bool = False
    too_large_hint: str = ""
    is_local_only: bool = False
    status: Callable[[BaseException], Status] = status_of

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.method}"


def command_rpcs(commands: Commands) -> tuple[Rpc, ...]:
    """The methods of CommandHandlerCoordinatorService."""
    return (
        Rpc(service=COMMANDS, method="HandleCommand", unary=commands.handle_command),
        Rpc(service=COMMANDS, method="HandleEvent", unary=commands.handle_event),
        Rpc(service=COMMANDS, method="HandleSyncSpeculative", unary=commands.handle_speculative),
        Rpc(service=COMMANDS, method="HandleCompensation", unary=commands.handle_compensation),
    )


def query_rpcs(queries: Queries) -> tuple[Rpc, ...]:
    """The methods of EventQueryService."""

    def get_aggregate_roots(_request: bytes, context: CallContext) -> AsyncIterator[bytes]:
        return queries.get_aggregate_roots(context)

    return (
        Rpc(
            service=QUERIES,
            method="GetEventBook",
            unary=queries.get_event_book,
            too_large_hint="; read it with GetEvents, which splits long streams",
        ),
        Rpc(service=QUERIES, method="GetEvents", stream=queries.get_events),
        Rpc(service=QUERIES, method="Synchronize", both=queries.synchronize),
        Rpc(service=QUERIES, method="GetAggregateRoots", stream=get_aggregate_roots),
    )


def history_rpcs(history: Histories) -> tuple[Rpc, ...]:
    """The methods of HistoryService."""
    return (
        Rpc(service=HISTORY, method="GetState", unary=history.get_state),
        Rpc(service=HISTORY, method="GetPosition", unary=history.get_position),
    )


def stream_rpcs(streams: Streams) -> tuple[Rpc, ...]:
    """The methods of EventStreamService."""
    return (Rpc(service=STREAMS, method="Subscribe", live=streams.open),)


def dlq_rpcs(letters: DeadLetters) -> tuple[Rpc, ...]:
    """The methods of DlqAdminService."""
    return (
        Rpc(service=DEAD_LETTERS, method="List", unary=letters.list_letters),
        Rpc(service=DEAD_LETTERS, method="Get", unary=letters.get_letter),
        Rpc(service=DEAD_LETTERS, method="Delete", unary=letters.delete_letter),
        Rpc(service=DEAD_LETTERS, method="Replay", unary=letters.replay),
        Rpc(service=DEAD_LETTERS, method="Redeliver", unary=letters.redeliver),
    )


def edition_rpcs(editions: Editions) -> tuple[Rpc, ...]:
    """The methods of EditionService."""
    return (
        Rpc(service=EDITIONS, method="Declare", unary=editions.declare),
        Rpc(service=EDITIONS, method="Get", unary=editions.get),
        Rpc(service=EDITIONS, method="List", stream=editions.list_editions),
        Rpc(service=EDITIONS, method="ListBranches", stream=editions.list_branches),
        Rpc(service=EDITIONS, method="Delete", unary=editions.delete),
        Rpc(service=EDITIONS, method="Diff", stream=editions.diff),
        Rpc(service=EDITIONS, method="Promote", stream=editions.promote),
    )


def projector_rpcs(projectors: Projectors) -> tuple[Rpc, ...]:
    """The methods of ProjectorCoordinatorService."""
    return (
        Rpc(service=PROJECTORS, method="HandleSync", unary=projectors.handle_sync),
        Rpc(service=PROJECTORS, method="Handle", unary=projectors.handle),
        Rpc(service=PROJECTORS, method="HandleSpeculative", unary=projectors.handle_speculative),
    )


def saga_rpcs(sagas: Sagas) -> tuple[Rpc, ...]:
    """The methods of SagaCoordinatorService."""
    return (
        Rpc(service=SAGAS, method="Execute", unary=sagas.execute),
        Rpc(service=SAGAS, method="ExecuteSpeculative", unary=sagas.execute_speculative),
    )


def process_manager_rpcs(managers: ProcessManagers) -> tuple[Rpc, ...]:
    """The methods of ProcessManagerCoordinatorService."""
    return (
        Rpc(service=PROCESS_MANAGERS, method="Handle", unary=managers.handle),
        Rpc(
            service=PROCESS_MANAGERS, method="HandleSpeculative", unary=managers.handle_speculative
        ),
    )


def speculation_rpcs(speculations: Speculations) -> tuple[Rpc, ...]:
    """The method of SpeculationService."""
    return (Rpc(service=SPECULATIONS, method="Run", unary=speculations.run),)


def too_large(rpc: Rpc, what: str, size_bytes: int, limit_bytes: int) -> TooLarge:
    """The error for a `request` or an `answer` over the message limit (WIRE-14)."""
    hint = rpc.too_large_hint if what == "answer" else ""
    limit = f"at most {limit_bytes} bytes"
    message = f"{what} of {rpc.method} has {size_bytes} bytes, the limit is {limit}{hint}"
    return TooLarge(what, limit, size_bytes, message)


def check_peer(rpc: Rpc, peer: str) -> None:
    """Raise NotPermitted if `rpc` is for callers on this machine only and `peer` is not one."""
    if rpc.is_local_only and not is_local_peer(peer):
        raise NotPermitted(f"{rpc.method} is for callers on this machine, not for {peer}")


def is_local_peer(peer: str) -> bool:
    """Whether gRPC's name of a peer is a Unix socket or a loopback address."""
    scheme, _, address = unquote(peer).partition(":")
    if scheme == "unix":
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback
