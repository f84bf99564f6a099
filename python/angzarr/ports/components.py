"""Ports to what users write: the same for a handler in process and one behind gRPC (DEP-3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from angzarr import wire


@dataclass(frozen=True, slots=True)
class CallContext:
    """What travels beside a message.

    deadline_ns: monotonic clock (time.monotonic_ns) by which the answer is wanted; None is no
    deadline.
    metadata: request metadata with lower-case keys; binary values (`…-bin`) as bytes.
    """

    deadline_ns: int | None = None
    metadata: Mapping[str, str | bytes] = field(default_factory=dict[str, str | bytes])


class CommandHandler(Protocol):
    """Decides on commands of one domain. Messages are encoded; in-process and remote handlers
    answer alike."""

    @property
    def name(self) -> str:
        """The component's name, `aggregate:<domain>`."""
        ...

    @property
    def is_local(self) -> bool:
        """In this process, so snapshots are safe to give and states cost no RPC (COMPAT-4,
        CMD-22)."""
        ...

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        """ContextualCommand → BusinessResponse.

        Raises CommandRejected or another AngzarrError, HandlerFailed for any other exception of
        the user's code,
        RemoteError with code, message, kind and details unchanged for a remote handler's status
        (CMD-11).
        """
        ...

    async def replay(self, request: bytes, context: CallContext) -> bytes:
        """ReplayRequest → ReplayResponse. RemoteError UNIMPLEMENTED where the handler has none
        (COMPAT-12)."""
        ...

    def diff(self, before: bytes, after: bytes) -> frozenset[str]:
        """Top-level state fields that differ between two encoded `Any` states; {"*"} if that can't
        be told (CMD-21).

        b"" is the state of an empty stream.
        """
        ...


@runtime_checkable
class Deciding(Protocol):
    """A CommandHandler in this process that takes messages as they are, so that nothing is encoded
    only to be parsed again."""

    async def decide(
        self, events: wire.EventBook, command: wire.CommandBook, context: CallContext
    ) -> wire.BusinessResponse:
        """As CommandHandler.handle. The arguments stay as they are, the answer is the caller's.
        Sequences of a deferred command are not filled in.
        """
        ...


class Upcaster(Protocol):
    """Lifts old events of a domain to current types (UPC-1 to UPC-5)."""

    async def upcast(self, request: bytes, context: CallContext) -> bytes:
        """UpcastRequest → UpcastResponse with as many pages in the same order."""
        ...


@runtime_checkable
class KnownUpcaster(Protocol):
    """An Upcaster of which it is known what it changes."""

    @property
    def takes(self) -> tuple[str, ...]:
        """Full names of the stored types that it makes other ones of; the others pass through."""
        ...


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a consumer gets of the log (SAGA-3).

    domain: exact, `*`, or `prefix.*`. types: full names, or their last components; none is all.
    """

    domain: str
    types: tuple[str, ...] = ()


class Saga(Protocol):
    """Turns events of some domains into commands and facts for others, without a state."""

    @property
    def name(self) -> str:
        """The component's name, `saga:<name>`."""
        ...

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """Its inputs; at least one."""
        ...

    @property
    def targets(self) -> tuple[str, ...]:
        """Its declared output domains; none leaves them open (SAGA-6, SAGA-17)."""
        ...

    def routed(self, domain: str, source: bytes) -> bytes | None:
        """The declared routing: the root that a source EventBook leads to in an output domain; None
        where none is declared, so that SAGA-6's rule holds. Pure.
        """
        ...

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        """SagaHandleRequest → SagaResponse. Raises as CommandHandler.handle."""
        ...

    async def refused(self, request: bytes, context: CallContext) -> bytes | None:
        """Notification of a rejected command of its own → SagaResponse with what makes up for it;
        None where it has no say, as every remote saga: the source is notified then (COMP-13).
        """
        ...


@runtime_checkable
class Reacting(Protocol):
    """A Saga in this process that takes messages as they are, as Deciding does."""

    async def react_to(
        self, source: wire.EventBook, next_sequences: Mapping[str, int], context: CallContext
    ) -> wire.SagaResponse:
        """As Saga.handle. The arguments stay as they are, the answer is the caller's."""
        ...


class ProcessManager(Protocol):
    """Coordinates a workflow: reacts to events with a state of its own, keyed by correlation id."""

    @property
    def name(self) -> str:
        """The component's name, `process_manager:<name>`."""
        ...

    @property
    def domain(self) -> str:
        """The domain of its state streams (PM-2)."""
        ...

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """Its inputs; at least one."""
        ...

    @property
    def targets(self) -> tuple[str, ...]:
        """Its declared output domains; none leaves them open."""
        ...

    async def prepare(self, request: bytes, context: CallContext) -> bytes:
        """ProcessManagerPrepareRequest → ProcessManagerPrepareResponse. RemoteError UNIMPLEMENTED
        means no destinations (PM-3)."""
        ...

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        """ProcessManagerHandleRequest → ProcessManagerHandleResponse. Raises as
        CommandHandler.handle."""
        ...

    async def refused(self, request: bytes, context: CallContext) -> bytes | None:
        """ContextualCommand{its state, the Notification's command} → BusinessResponse, as an
        aggregate answers; None where it has no rejection handlers, as every remote one (PM-12).
        """
        ...


class Projector(Protocol):
    """Makes a read model of events."""

    @property
    def name(self) -> str:
        """The component's name, `projector:<name>`."""
        ...

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """Its inputs; at least one."""
        ...

    @property
    def editions(self) -> tuple[str, ...] | None:
        """Editions that it is fed; None is every one (PROJ-1)."""
        ...

    @property
    def is_synchronous(self) -> bool:
        """Whether SIMPLE and CASCADE requests run it before they are answered (PROJ-7)."""
        ...

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        """EventBook → Projection. Raises as CommandHandler.handle."""
        ...

    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes:
        """EventBook → Projection, without effect. RemoteError UNIMPLEMENTED where it has none
        (PROJ-12)."""
        ...
