"""What a request's sync mode asks for beside the append: synchronous projectors and reactions
(SYNC-1).
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from angzarr.cover import Cover
from angzarr.ports.components import CallContext


@dataclass(frozen=True, slots=True)
class Reacted:
    """projections: encoded Projections. cascade_errors: encoded CascadeErrors. book: what the
    request is answered with in place of the book that was given, None where that one holds.
    """

    projections: tuple[bytes, ...] = ()
    cascade_errors: tuple[bytes, ...] = ()
    book: bytes | None = None


NOTHING = Reacted()


class SyncWork(Protocol):
    """The work of one request."""

    async def run(self, book: bytes) -> Reacted:
        """Answer for an encoded EventBook of new pages, or of pages that were accepted before
        (CMD-28), with the stream's cover and the request's correlation id.

        Raises ReactionFailed, CascadeRolledBack, CascadeUndecided, StoreUnavailable.
        """
        ...


class Reactions(Protocol):
    """Runs what follows from a book within the caller's request."""

    def begin(
        self,
        cover: Cover,
        *,
        sync_mode: int,
        cascade_error_mode: int,
        cascade_id: str,
        context: CallContext,
    ) -> AbstractAsyncContextManager[SyncWork]:
        """Take the request's turns at the stream, before its append (PROJ-16, SYNC-10), and give
        them back in the end.

        sync_mode: SYNC_MODE_SIMPLE or SYNC_MODE_CASCADE; ASYNC requests never get here.
        cascade_id: "" without one.
        """
        ...
