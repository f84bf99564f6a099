"""Calls to coordinators in this process: bytes both ways, as over gRPC (DEP-9)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from angzarr.errors import RemoteError
from angzarr.ports.components import CallContext

Unary = Callable[[bytes, CallContext], Awaitable[bytes]]
Stream = Callable[[bytes, CallContext], AsyncIterator[bytes]]

_NONE: Final[Mapping[str, str | bytes]] = {}
_PLAIN: Final = CallContext()


@dataclass(frozen=True, slots=True)
class Calls:
    """What answers which gRPC path."""

    unary: Mapping[str, Unary]
    streams: Mapping[str, Stream]


class LocalTransport:
    """An `angzarr.caller.Transport` over coordinators.

    calls: gives the table at each call, and raises where the app does not run. Errors are the very
    ones that the coordinators raise; a deadline that passes is RemoteError DEADLINE_EXCEEDED, and
    cancels the call.
    """

    def __init__(self, calls: Callable[[], Calls]) -> None:
        self._calls = calls

    async def unary(
        self,
        method: str,
        request: bytes,
        *,
        timeout_s: float | None = None,
        metadata: Mapping[str, str | bytes] = _NONE,
    ) -> bytes:
        """One request, one answer."""
        call = self._calls().unary.get(method)
        if call is None:
            raise _unimplemented(method)
        if timeout_s is None:
            return await call(request, CallContext(None, metadata) if metadata else _PLAIN)
        context = CallContext(time.monotonic_ns() + int(timeout_s * 1e9), metadata)
        deadline = asyncio.timeout(timeout_s)
        try:
            async with deadline:
                return await call(request, context)
        except TimeoutError as error:
            raise _late(deadline, error) from None

    async def stream(
        self,
        method: str,
        request: bytes,
        *,
        timeout_s: float | None = None,
        metadata: Mapping[str, str | bytes] = _NONE,
    ) -> AsyncIterator[bytes]:
        """One request, many answers."""
        call = self._calls().streams.get(method)
        if call is None:
            raise _unimplemented(method)
        loop = asyncio.get_running_loop()
        ends_at = None if timeout_s is None else loop.time() + timeout_s
        deadline_ns = None if timeout_s is None else time.monotonic_ns() + int(timeout_s * 1e9)
        answers = call(request, CallContext(deadline_ns, metadata))
        try:
            while True:
                # The deadline cancels the wait for an answer, never the reader's own work.
                deadline = asyncio.timeout_at(ends_at)
                try:
                    async with deadline:
                        answer = await anext(answers, None)
                except TimeoutError as error:
                    raise _late(deadline, error) from None
                if answer is None:
                    return
                yield answer
        finally:
            if isinstance(answers, AsyncGenerator):
                await answers.aclose()

    async def close(self) -> None:
        """Nothing to let go of; the app that owns the coordinators stops them."""


def _late(deadline: asyncio.Timeout, error: TimeoutError) -> Exception:
    """The deadline's error, unless the TimeoutError is the work's own."""
    if not deadline.expired():
        return error
    return RemoteError("DEADLINE_EXCEEDED", "Deadline Exceeded", error_kind="unavailable")


def _unimplemented(method: str) -> RemoteError:
    return RemoteError("UNIMPLEMENTED", f"{method} is not selected in this process")
