"""What a request's sync mode asks for after the append: synchronous projectors and reactions
(SYNC-1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from angzarr.ports.components import CallContext


@dataclass(frozen=True, slots=True)
class Reacted:
    """projections: encoded Projections. cascade_errors: encoded CascadeErrors."""

    projections: tuple[bytes, ...] = ()
    cascade_errors: tuple[bytes, ...] = ()


NOTHING = Reacted()


class Reactions(Protocol):
    """Runs what follows from a book within the caller's request."""

    async def run(
        self, book: bytes, *, sync_mode: int, cascade_error_mode: int, context: CallContext
    ) -> Reacted:
        """Answer for an encoded EventBook of new pages, or of pages that were accepted before
        (CMD-28).

        sync_mode: SYNC_MODE_SIMPLE or SYNC_MODE_CASCADE; ASYNC requests never get here.
        """
        ...


class NoReactions:
    """A host with neither projectors nor sagas."""

    async def run(
        self, book: bytes, *, sync_mode: int, cascade_error_mode: int, context: CallContext
    ) -> Reacted:
        return NOTHING
