"""What a reaction inherits of the request that caused it, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from angzarr import wire
from angzarr.cover import Provenance
from angzarr.errors import AngzarrError
from angzarr.ports.components import CallContext

DEPTH: Final = "angzarr-cascade-depth"
"""Metadata that counts how deep in a cascade a request is, in decimal (SYNC-4)."""


def depth_of(context: CallContext) -> int:
    """How deep in a cascade a request is; 0 for a client's own."""
    given = context.metadata.get(DEPTH, "0")
    text = given.decode("ascii", "replace") if isinstance(given, bytes) else given
    return int(text) if text.isascii() and text.isdecimal() else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The request that a reaction runs in (SAGA-4).

    sync_mode, error_mode: those of the request; ASYNC and FAIL_FAST for deliveries of the log.
    cascade_id: "" without one. context: its deadline and metadata.
    """

    sync_mode: int = wire.SYNC_MODE_ASYNC
    error_mode: int = wire.CASCADE_ERROR_FAIL_FAST
    cascade_id: str = ""
    context: CallContext = CallContext()

    @property
    def is_cascade(self) -> bool:
        return self.sync_mode == wire.SYNC_MODE_CASCADE

    @property
    def has_to_be_undone(self) -> bool:
        """Whether a failure has to be told to all that was executed, so that all must be known."""
        is_compensate = self.error_mode == wire.CASCADE_ERROR_COMPENSATE
        return self.is_cascade and is_compensate and not self.cascade_id


LOG_DELIVERY: Final = Flow()


@dataclass(frozen=True, slots=True)
class Executed:
    """An accepted command. index: its number among the reaction's outputs. book: what its stream
    answered with, the pages of a repeat included. cascade_errors: of what followed from it within
    the same request. provenance: its own.
    """

    index: int
    book: wire.EventBook
    cascade_errors: tuple[wire.CascadeError, ...] = ()
    provenance: Provenance | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A command that its destination refused for good. is_parked: the destination has put it into
    the dead letters itself, so nobody is notified (SAGA-13)."""

    index: int
    command: wire.CommandBook
    error: AngzarrError
    is_parked: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reaction came to.

    failure: why it is not finished, as a handler that raised or a fact that was not taken; what it
    executed stays executed.
    """

    executed: tuple[Executed, ...] = ()
    refused: tuple[Refused, ...] = ()
    failure: AngzarrError | None = None

    @property
    def error(self) -> AngzarrError | None:
        """The first reason for which it counts as failed (SYNC-6); None for a success."""
        return self.failure or (self.refused[0].error if self.refused else None)
