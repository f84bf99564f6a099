"""An event loop in a thread of its own, for callers without one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Mapping
from typing import TypeVar

from angzarr.caller import Transport

T = TypeVar("T")


class LoopThread:
    """A running loop; `run` may be called from any thread but its own."""

    def __init__(self, name: str = "angzarr") -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Run it in the loop and wait; an interrupt of the waiting thread cancels it."""
        if self._loop.is_closed():
            work.close()
            raise RuntimeError("it is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the loop and its thread. Idempotent."""
        if self._loop.is_closed():
            return
        self.run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class BridgedTransport:
    """An asynchronous transport, called from threads: a `caller_sync.SyncTransport`."""

    def __init__(self, transport: Transport, thread: LoopThread) -> None:
        self._transport = transport
        self._thread = thread

    @property
    def transport(self) -> Transport:
        """What is called."""
        return self._transport

    @property
    def thread(self) -> LoopThread:
        """Where it lives."""
        return self._thread

    def unary(
        self,
        method: str,
        request: bytes,
        *,
        timeout_s: float | None = None,
        metadata: Mapping[str, str | bytes] = {},
    ) -> bytes:
        """As the transport's own, waiting for the answer."""
        return self._thread.run(
            self._transport.unary(method, request, timeout_s=timeout_s, metadata=metadata)
        )

    def stream(
        self,
        method: str,
        request: bytes,
        *,
        timeout_s: float | None = None,
        metadata: Mapping[str, str | bytes] = {},
    ) -> Iterator[bytes]:
        """As the transport's own; leaving the iteration cancels the call."""
        answers = self._transport.stream(method, request, timeout_s=timeout_s, metadata=metadata)
        try:
            while (answer := self._thread.run(_next(answers))) is not None:
                yield answer
        finally:
            self._thread.run(_close(answers))

    def close(self) -> None:
        """Close the transport, then the loop."""
        try:
            self._thread.run(self._transport.close())
        finally:
            self._thread.close()


async def _next(answers: AsyncIterator[bytes]) -> bytes | None:
    return await anext(answers, None)


async def _close(answers: AsyncIterator[bytes]) -> None:
    if isinstance(answers, AsyncGenerator):
        await answers.aclose()
