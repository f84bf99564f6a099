"""A gRPC service of the user's that another process serves: its calls pass through as bytes, so
that clients need not know where it runs (DEP-7, DEP-12).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import grpc
import grpc.aio

from angzarr.errors import RemoteError
from angzarr.rpc.conversations import Conversation, pairs
from angzarr.rpc.remote import Endpoint
from angzarr.rpc.servicers import Handler, methods_of
from angzarr.rpc.services import Exchange, Rpc
from angzarr.rpc.status import KIND, Status, Trailers, kind_of

_NOT_FORWARDED: Final = frozenset({"content-type", "grpc-encoding", "grpc-accept-encoding"})


def forwarded_rpcs(
    add_to_server: Callable[[Any, grpc.aio.Server], None], endpoint: Endpoint
) -> tuple[Rpc, ...]:
    """The methods of a service, to be given to a Server, each answered by the server at `endpoint`.

    add_to_server: generated code's `add_…Servicer_to_server`. Deadline, metadata both ways,
    cancellation, code, message, details and trailers are passed on; compression is not.

    Raises InvalidInput for a registration whose methods can't be listed.
    """
    methods = methods_of(add_to_server, _Nobody())
    return tuple(_rpc(path, handler, endpoint) for path, handler in methods)


class _Nobody:
    """In the place of a servicer: it has every method, and none is called."""

    def __getattr__(self, name: str) -> Callable[[object, object], None]:
        return _uncalled


def _uncalled(_request: object, _context: object) -> None:
    raise AssertionError("a forwarded method runs elsewhere")


def _rpc(path: str, handler: Handler, endpoint: Endpoint) -> Rpc:
    _, service, method = path.split("/")
    has_one_each = not (handler.request_streaming or handler.response_streaming)
    return Rpc(
        service=service,
        method=method,
        whole=partial(_forward_one if has_one_each else _forward, endpoint, path),
        has_many_requests=handler.request_streaming,
    )


async def _forward_one(endpoint: Endpoint, path: str, exchange: Exchange) -> Status:
    """Pass on a call with one request and one answer; `_forward` can do that, too, at twice the
    time.
    """
    request = await exchange.read()
    call = endpoint.begin(path, b"" if request is None else request, exchange.context)
    try:
        code = await call.code()
        if begun := _own(pairs(await call.initial_metadata())):
            exchange.accept(begun)
        if code is grpc.StatusCode.OK:
            await exchange.send(await call)
        trailers = _own(pairs(await call.trailing_metadata()))
        return _status(code, await call.details() or "", trailers)
    finally:
        call.cancel()


async def _forward(endpoint: Endpoint, path: str, exchange: Exchange) -> Status:
    """Pass on one call. On the wire all kinds of methods are one: messages both ways."""
    conversation = endpoint.converse(path, exchange.context)
    requests = asyncio.ensure_future(_pass_requests(exchange, conversation))
    answers = asyncio.ensure_future(_pass_answers(exchange, conversation))
    try:
        await asyncio.wait({requests, answers}, return_when=asyncio.FIRST_COMPLETED)
        if requests.done():
            requests.result()  # one that can't be taken ends the call
        return await answers
    finally:
        requests.cancel()
        answers.cancel()
        conversation.cancel()
        await asyncio.gather(requests, answers, return_exceptions=True)


async def _pass_requests(exchange: Exchange, conversation: Conversation) -> None:
    """Send what comes, until the client or the peer ends it."""
    with contextlib.suppress(RemoteError):  # the peer has ended the call, and the answers say how
        while (request := await exchange.read()) is not None:
            await conversation.send(request)
        await conversation.finish()


async def _pass_answers(exchange: Exchange, conversation: Conversation) -> Status:
    """Send what the peer answers; how it has ended the call."""
    begun = _own(await conversation.initial_metadata())
    if begun:
        exchange.accept(begun)
    with contextlib.suppress(RemoteError):  # its end is told as it came
        while (answer := await conversation.receive()) is not None:
            await exchange.send(answer)
    end = await conversation.ended()
    return _status(end.code, end.message, _own(end.trailers))


def _own(metadata: Trailers) -> Trailers:
    """Without what belongs to one connection."""
    return tuple((key, value) for key, value in metadata if key not in _NOT_FORWARDED)


def _status(code: grpc.StatusCode, message: str, trailers: Trailers) -> Status:
    """The peer's status; a failure carries a kind (WIRE-11)."""
    if code is not grpc.StatusCode.OK and KIND not in dict(trailers):
        trailers = (*trailers, (KIND, kind_of(code.name, message)))
    return Status(code, message, trailers)
