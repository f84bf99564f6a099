"""Ports to what users write: the same for a handler in process and one behind gRPC (DEP-3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


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


class Upcaster(Protocol):
    """Lifts old events of a domain to current types (UPC-1 to UPC-5)."""

    async def upcast(self, request: bytes, context: CallContext) -> bytes:
        """UpcastRequest → UpcastResponse with as many pages in the same order."""
        ...
