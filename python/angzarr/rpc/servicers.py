"""Ordinary gRPC servicers on our own server: what generated code registers, as `Rpc`s.

Methods may be asynchronous or not, as with grpc.aio; those that are not run in a bounded pool of
threads.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeAlias, TypeVar, cast

import grpc
import grpc.aio

from angzarr.errors import InvalidInput
from angzarr.rpc.servicer_contexts import EOF, AsyncContext, ThreadContext
from angzarr.rpc.services import Exchange, Rpc
from angzarr.rpc.status import Code, Status

THREADS_MAX: Final = 16
"""Methods of one servicer that run in threads at once; further ones wait."""

S = TypeVar("S")
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # messages of the servicer's own types


def servicer_rpcs(
    add_to_server: Callable[[S, grpc.aio.Server], None],
    servicer: S,
    *,
    threads_max: int = THREADS_MAX,
) -> tuple[Rpc, ...]:
    """The methods of a servicer, to be given to a Server.

    add_to_server: generated code's `add_…Servicer_to_server`. A method's exception ends its call as
    in grpc, with our kinds beside (WIRE-11); an AngzarrError ends it as it does anywhere here.

    Raises InvalidInput for a registration whose methods can't be listed.
    """
    methods = methods_of(add_to_server, servicer)
    pool = ThreadPoolExecutor(threads_max, thread_name_prefix="angzarr-servicer")
    return tuple(_rpc(path, handler, pool) for path, handler in methods)


def methods_of(
    add_to_server: Callable[[S, grpc.aio.Server], None], servicer: S
) -> tuple[tuple[str, Handler], ...]:
    """Paths and handlers of what generated code registers. Raises InvalidInput where they can't be
    listed.
    """
    registry = _Registry()
    add_to_server(servicer, cast("grpc.aio.Server", registry))
    return tuple(registry.handlers.items())


class _Registry:
    """The part of a `grpc.Server` that generated code calls."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[object]) -> None:
        for generic in generic_rpc_handlers:
            # grpc's own class has no other way to list them; code that was generated before 2024
            # calls nothing but this.
            handlers: dict[str, Handler] | None = getattr(generic, "_method_handlers", None)
            if handlers is None:
                limit = "made by grpc.method_handlers_generic_handler"
                raise InvalidInput("servicer handlers", limit, type(generic).__name__)
            self.handlers.update(handlers)

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, Handler]
    ) -> None:
        for method, handler in method_handlers.items():
            self.handlers[f"/{service_name}/{method}"] = handler


def _rpc(path: str, handler: Handler, pool: ThreadPoolExecutor) -> Rpc:
    _, service, method = path.split("/")
    return Rpc(
        service=service,
        method=method,
        whole=_Asynchronous(handler).run if _is_async(handler) else _Threaded(handler, pool).run,
        has_many_requests=handler.request_streaming,
    )


def _call_of(handler: Handler) -> Callable[[Any, Any], Any]:
    call = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )
    assert call
    return call


def _is_async(handler: Handler) -> bool:
    call = _call_of(handler)
    calls = (call, getattr(call, "__call__", call))  # noqa: B004  an object's method
    return any(inspect.iscoroutinefunction(c) or inspect.isasyncgenfunction(c) for c in calls)


def _as_it_is(message: bytes) -> bytes:
    return message


class _Asynchronous:
    """A method that is a coroutine function, or an asynchronous generator."""

    def __init__(self, handler: Handler) -> None:
        self._call = _call_of(handler)
        self._has_many_requests = handler.request_streaming
        self._has_many_answers = handler.response_streaming
        self._parse = handler.request_deserializer or _as_it_is
        self._encode = handler.response_serializer or _as_it_is

    async def run(self, exchange: Exchange) -> Status:
        context: AsyncContext[Any, Any] = AsyncContext(exchange, self._parse, self._encode)
        is_cancelled = False
        try:
            requests = _requests(context) if self._has_many_requests else await context.read()
            if self._has_many_answers:
                await self._write_all(context, self._call(requests, context))
            else:
                answer = await self._call(requests, context)
                if context.code() is Code.OK:
                    await context.write(answer)
            return context.status()
        except asyncio.CancelledError:
            is_cancelled = True
            raise
        except Exception as error:
            return context.failed(error)
        finally:
            context.end(is_cancelled=is_cancelled)

    async def _write_all(
        self, context: AsyncContext[Any, Any], answers: AsyncIterator[Any] | Awaitable[None]
    ) -> None:
        if isinstance(answers, Awaitable):
            return await answers  # which writes by itself
        try:
            async for answer in answers:
                await context.write(answer)
        finally:
            if isinstance(answers, AsyncGenerator):
                await answers.aclose()


class _Threaded:
    """A method that is a function, or a generator."""

    def __init__(self, handler: Handler, pool: ThreadPoolExecutor) -> None:
        self._call = _call_of(handler)
        self._has_many_requests = handler.request_streaming
        self._has_many_answers = handler.response_streaming
        self._parse = handler.request_deserializer or _as_it_is
        self._encode = handler.response_serializer or _as_it_is
        self._pool = pool

    async def run(self, exchange: Exchange) -> Status:
        context: ThreadContext[Any, Any] = ThreadContext(exchange, self._parse, self._encode)
        is_cancelled = False
        try:
            request = None if self._has_many_requests else await exchange.read()
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(self._pool, self._work, context, request)
            if answer is not None:
                await exchange.send(answer)
            return context.status()
        except asyncio.CancelledError:
            is_cancelled = True
            raise
        except Exception as error:
            return context.failed(error)
        finally:
            context.end(is_cancelled=is_cancelled)

    def _work(self, context: ThreadContext[Any, Any], request: bytes | None) -> bytes | None:
        """In a thread. The one answer, which the loop sends; None where there are many or none."""
        requests = context.requests() if request is None else context.parsed(request)
        if not self._has_many_answers:
            answer = self._call(requests, context)
            return self._encode(answer) if context.code() is Code.OK else None
        answers: Iterator[Any] = self._call(requests, context)
        try:
            for answer in answers:
                context.write(answer)
        finally:
            close = getattr(answers, "close", None)  # of a generator
            if close is not None:
                close()
        return None


async def _requests(context: AsyncContext[Any, Any]) -> AsyncIterator[Any]:
    while (request := await context.read()) is not EOF:
        yield request
