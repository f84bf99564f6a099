"""Components that run in another process, as a request's work meets them: their log is read there,
so that process has to hear of the request before it writes (SYNC-10, PROJ-16).
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from angzarr.cover import Cover
from angzarr.ports.components import CallContext


class Attendance(Protocol):
    """A request's intent to write to a stream, as another process knows it.

    Neither call raises: a process that can't be told delivers the pages by itself, which the keys
    of reactions make harmless.
    """

    async def holds(self) -> None:
        """Return when the other process has heard of it, or can't be reached."""
        ...

    async def wrote(self, first: int, last: int) -> None:
        """Say which sequences were written; nothing, which is last < first, ends it."""
        ...


@runtime_checkable
class Attending(Protocol):
    """A saga or process manager elsewhere."""

    def attend(self, cover: Cover, context: CallContext) -> AbstractAsyncContextManager[Attendance]:
        """Announce that the request is about to write to the stream and to have it react; until the
        context is left, the log does not deliver that. Entering never waits for the other process.
        """
        ...


@runtime_checkable
class TakingTurns(Protocol):
    """A projector elsewhere."""

    def turn(self, cover: Cover, context: CallContext) -> AbstractAsyncContextManager[None]:
        """Its turn at the stream, entered when it has come, or when the process can't be reached;
        books of the stream that are projected meanwhile are within it.
        """
        ...
