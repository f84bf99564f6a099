"""Calls with more than one message, over a kept connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar, cast

import grpc
import grpc.aio

from angzarr.errors import RemoteError
from angzarr.rpc.status import Trailers, as_it_came

Call: TypeAlias = "grpc.aio.StreamStreamCall[bytes, bytes]"
T = TypeVar("T")

CLOBBERED: Final = "Internal error from Core"
"""What grpc.aio says of a call that the peer ended while a message was on its way there: whatever
the peer said of its end, before or after that, is told by no call of its own any more."""
LOOKS_MAX: Final = 500
LOOK_S: Final = 0.002


@dataclass(frozen=True, slots=True)
class End:
    """How the peer has ended a call."""

    code: grpc.StatusCode
    message: str
    trailers: Trailers

    def error(self) -> RemoteError:
        """What it stands for, of a failed call."""
        return as_it_came(self.code.name, self.message, self.trailers)


class Conversation:
    """One call with messages both ways, each of them encoded.

    `send` and `receive` raise RemoteError with the peer's code, message, kind and details when the
    call is over with an error. `cancel` lets go of it in any case. told: hears the code of the end.
    """

    def __init__(self, call: Call, told: Callable[[grpc.StatusCode], None]) -> None:
        self._call = call
        self._told = told
        self._end: End | None = None
        call.add_done_callback(self._note)

    async def send(self, message: bytes) -> None:
        """Send one message; returns when it is on its way. RemoteError UNAVAILABLE if the peer has
        ended the call without an error.
        """
        try:
            await self._call.write(message)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            end = await self.ended()
            if end.code is grpc.StatusCode.OK:
                raise RemoteError("UNAVAILABLE", "the peer has ended the call") from error
            raise end.error() from error

    async def receive(self) -> bytes | None:
        """The next message; None when the peer has ended the call without an error."""
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            end = await self.ended()
            if end.code is grpc.StatusCode.OK:
                return None
            raise end.error() from error
        # Untyped in grpc: the end is an object of its own.
        return message if isinstance(message, bytes) else None

    async def finish(self) -> None:
        """Say that nothing more will be sent. A call that is over already stays as it is."""
        if not self._call.done():
            await self._call.done_writing()

    async def initial_metadata(self) -> Trailers:
        """What the peer began its answer with; returns when it has."""
        return pairs(await self._call.initial_metadata())

    async def ended(self) -> End:
        """The call's end; returns when it has come."""
        await self._call.code()
        end = self._end
        for _ in range(LOOKS_MAX):
            if end is not None and end.message != CLOBBERED:
                break
            await asyncio.sleep(LOOK_S)  # the peer's own is on its way
            end = _end_of(self._call)
        assert end is not None, "a call that is over has an end"
        self._told(end.code)
        return end

    def cancel(self) -> None:
        """End it. Idempotent."""
        self._call.cancel()

    def _note(self, _call: object) -> None:
        """Keep the end as it was told first."""
        self._end = _end_of(self._call)


def _end_of(call: Call) -> End:
    """The end of a call that is over, as it is told now."""
    trailers = pairs(_at_once(call.trailing_metadata()))
    return End(_at_once(call.code()), _at_once(call.details()) or "", trailers)


def _at_once(work: Coroutine[object, object, T]) -> T:
    """The result of a coroutine that has nothing to wait for."""
    try:
        work.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    work.close()
    raise AssertionError("the call is not over")


def pairs(metadata: object) -> Trailers:
    """A call's metadata, which grpc leaves untyped: an iterable of pairs, or None."""
    found = cast("Trailers | None", metadata)
    return tuple((key, value) for key, value in found or ())
