"""Components in other processes, behind the ports that in-process ones have (DEP-3)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from angzarr import wire
from angzarr.errors import InvalidInput
from angzarr.ports.components import CallContext, Subscription
from angzarr.rpc import reflection
from angzarr.rpc.channels import MESSAGE_SIZE_KB, forwarded, open_channel, timeout_s
from angzarr.rpc.conversations import Conversation
from angzarr.rpc.descriptors import Types
from angzarr.rpc.services import COMMANDS, HISTORY
from angzarr.rpc.status import remote_error
from angzarr.rpc.tls import TlsFiles

HANDLER: Final = "/angzarr.CommandHandlerService/"
PROJECTOR: Final = "/angzarr.ProjectorService/"
UPCASTER: Final = "/angzarr.UpcasterService/Upcast"
HEALTH: Final = "/grpc.health.v1.Health/Check"

BACKOFF_S_MIN: Final = 0.1
BACKOFF_S_MAX: Final = 5.0
TRIES_BEFORE_REPORT: Final = 30
"""Failed tries until a component is reported as not serving, OPS-2; trying goes on."""

PROBE_S: Final = 2.0
"""What one health or reflection call may take."""


class Endpoint:
    """One kept connection to a component, and whether the component serves (OPS-2, COMPAT-18).

    on_state: called with True when its health answers SERVING, with False when it no longer does or
    hasn't after 30 tries. health: the name that is asked about; "" is the whole process, and so is
    a name that it does not know. Two processes of ours that wait for each other ask for what they
    need of each other, not for all.
    """

    def __init__(
        self,
        address: str,
        *,
        tls: TlsFiles | None = None,
        message_size_kb: int = MESSAGE_SIZE_KB,
        on_state: Callable[[bool], None] | None = None,
        health: str = "",
    ) -> None:
        self.address = address
        self._health = health
        self._channel = open_channel(address, tls=tls, message_size_kb=message_size_kb)
        self._calls: dict[str, grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = {}
        self._on_state = on_state
        self._reported: bool | None = None
        self._serving = asyncio.Event()
        self._doubt = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None

    @property
    def is_serving(self) -> bool:
        """Whether the last health answer was SERVING."""
        return self._serving.is_set()

    def start(self) -> None:
        """Begin to watch health; returns at once."""
        if self._watcher is None:
            self._watcher = asyncio.ensure_future(self._watch())

    async def wait_serving(self) -> None:
        """Return when the component serves; waits as long as it takes."""
        self.start()
        await self._serving.wait()

    async def unary(self, path: str, request: bytes, context: CallContext) -> bytes:
        """One call with the caller's deadline and metadata.

        Raises RemoteError with the peer's code, message, kind and details as they came.
        """
        call = self.begin(path, request, context)
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            self._notice(error.code())
            raise remote_error(error) from error

    def begin(
        self, path: str, request: bytes, context: CallContext
    ) -> grpc.aio.UnaryUnaryCall[bytes, bytes]:
        """As `unary`, to be awaited. Raises RemoteError for a deadline that has passed."""
        call = self._calls.get(path)
        if call is None:
            call = self._calls[path] = self._channel.unary_unary(path)
        metadata = forwarded(context.metadata) if context.metadata else None
        return call(request, timeout=timeout_s(context), metadata=metadata)

    async def stream(self, path: str, request: bytes, context: CallContext) -> AsyncIterator[bytes]:
        """One request, many answers, as `unary`; the call ends with the iteration."""
        start: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(path)
        metadata = forwarded(context.metadata) if context.metadata else None
        call = start(request, timeout=timeout_s(context), metadata=metadata)
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            self._notice(error.code())
            raise remote_error(error) from error
        finally:
            call.cancel()

    def converse(self, path: str, context: CallContext) -> Conversation:
        """Begin a call with many messages both ways. Raises RemoteError for a deadline that has
        passed.
        """
        start: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(path)
        call = start(timeout=timeout_s(context), metadata=forwarded(context.metadata))
        return Conversation(call, self._notice)

    async def describe(self, name: str) -> list[bytes]:
        """Descriptor files of the message `name` by the peer's reflection; empty without any."""
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=name)
        for service in (reflection.SERVICE, reflection.SERVICE_ALPHA):
            start: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(
                f"/{service}/{reflection.METHOD}"
            )
            try:
                async for data in start(_once(request.SerializeToString()), timeout=PROBE_S):
                    answer = reflection_pb2.ServerReflectionResponse.FromString(data)
                    return list(answer.file_descriptor_response.file_descriptor_proto)
            except (grpc.aio.AioRpcError, DecodeError):
                continue  # not served under this name; without either states are compared as bytes
        return []

    async def close(self) -> None:
        """Stop watching and let go of the connection. Idempotent."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
        await self._channel.close()

    def _notice(self, code: grpc.StatusCode) -> None:
        """Look at its health if it may be gone."""
        if code is grpc.StatusCode.UNAVAILABLE:
            self._doubt.set()

    async def _watch(self) -> None:
        probe: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(HEALTH)
        backoff_s, failed_count = BACKOFF_S_MIN, 0
        while True:
            self._doubt.clear()
            if await _is_serving(probe, self._health):
                backoff_s, failed_count = BACKOFF_S_MIN, 0
                self._serving.set()
                self._report(True)
                pause_s = BACKOFF_S_MAX
            else:
                failed_count += 1
                was_serving = self._serving.is_set()
                self._serving.clear()
                if was_serving or failed_count >= TRIES_BEFORE_REPORT:
                    self._report(False)
                pause_s, backoff_s = backoff_s, min(2 * backoff_s, BACKOFF_S_MAX)
            with contextlib.suppress(TimeoutError):
                # A call that found the peer gone cuts short the pause while it counts as serving.
                doubt = self._doubt if self._serving.is_set() else asyncio.Event()
                await asyncio.wait_for(doubt.wait(), pause_s)

    def _report(self, is_serving: bool) -> None:
        if self._on_state is not None and self._reported is not is_serving:
            self._reported = is_serving
            self._on_state(is_serving)


class RemoteCommandHandler:
    """A command handler in another process; `ports.components.CommandHandler` over gRPC.

    name: `aggregate:<domain>`. An error status is final: it comes as RemoteError with code, kind,
    message and details unchanged, and is not tried again here (CMD-11, COMPAT-5).
    """

    is_local = False

    def __init__(self, name: str, endpoint: Endpoint, *, types: Types | None = None) -> None:
        self._name = name
        self._types = types or Types()
        self._asked: set[str] = set()
        self.endpoint = endpoint

    @property
    def name(self) -> str:
        """The component's name, `aggregate:<domain>`."""
        return self._name

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        """ContextualCommand → BusinessResponse."""
        return await self.endpoint.unary(HANDLER + "Handle", request, context)

    async def replay(self, request: bytes, context: CallContext) -> bytes:
        """ReplayRequest → ReplayResponse; learns the state's type, which `diff` needs."""
        answer = await self.endpoint.unary(HANDLER + "Replay", request, context)
        await self._learn(answer)
        return answer

    def diff(self, before: bytes, after: bytes) -> frozenset[str]:
        """Top-level fields that differ between two `Any` states; {"*"} if that can't be told."""
        return self._types.diff(before, after)

    async def _learn(self, answer: bytes) -> None:
        """Ask the handler's reflection once for the type of its state (CMD-22)."""
        try:
            state: any_pb2.Any = wire.ReplayResponse.FromString(answer).state
        except DecodeError:
            return  # the coordinator parses it, too, and says so
        name = state.type_url.rpartition("/")[2]
        if not name or name in self._asked or self._types.knows(name):
            return
        self._asked.add(name)
        files = await self.endpoint.describe(name)
        with contextlib.suppress(InvalidInput):  # incomplete: as if there were no reflection
            self._types.add(files, self.endpoint.address)


class RemoteUpcaster:
    """An upcaster in another process; `ports.components.Upcaster` over gRPC (UPC-1)."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    async def upcast(self, request: bytes, context: CallContext) -> bytes:
        """UpcastRequest → UpcastResponse."""
        return await self.endpoint.unary(UPCASTER, request, context)


class RemoteProjector:
    """A projector in another process; `ports.components.Projector` over gRPC (COMPAT-14).

    name: `projector:<name>`. What it is fed is configured here, since it can't be asked.
    """

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        subscriptions: tuple[Subscription, ...],
        *,
        editions: tuple[str, ...] | None = ("main",),
        is_synchronous: bool = False,
    ) -> None:
        self.name = name
        self.endpoint = endpoint
        self.subscriptions = subscriptions
        self.editions = editions
        self.is_synchronous = is_synchronous

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        """EventBook → Projection."""
        return await self.endpoint.unary(PROJECTOR + "Handle", request, context)

    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes:
        """EventBook → Projection, without effect."""
        return await self.endpoint.unary(PROJECTOR + "HandleSpeculative", request, context)


class RemoteCoordinator:
    """A coordinator in another process, to which commands are forwarded as they came (DEP-4).

    Deadline, metadata (provenance, correlation, cascade depth) and bytes are the caller's.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    async def handle_command(self, request: bytes, context: CallContext) -> bytes:
        """CommandRequest → CommandResponse."""
        return await self._forward("HandleCommand", request, context)

    async def handle_event(self, request: bytes, context: CallContext) -> bytes:
        """EventRequest → FactInjectionResponse."""
        return await self._forward("HandleEvent", request, context)

    async def handle_speculative(self, request: bytes, context: CallContext) -> bytes:
        """SpeculateCommandHandlerRequest → CommandResponse."""
        return await self._forward("HandleSyncSpeculative", request, context)

    async def handle_compensation(self, request: bytes, context: CallContext) -> bytes:
        """CommandRequest → BusinessResponse."""
        return await self._forward("HandleCompensation", request, context)

    async def get_state(self, request: bytes, context: CallContext) -> bytes:
        """Query → StateResponse."""
        return await self.endpoint.unary(f"/{HISTORY}/GetState", request, context)

    async def _forward(self, method: str, request: bytes, context: CallContext) -> bytes:
        return await self.endpoint.unary(f"/{COMMANDS}/{method}", request, context)


async def _is_serving(
    probe: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes], name: str = ""
) -> bool:
    request = health_pb2.HealthCheckRequest(service=name).SerializeToString()
    try:
        answer = await probe(request, timeout=PROBE_S)
        status = health_pb2.HealthCheckResponse.FromString(answer).status
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND and name:
            return await _is_serving(probe)
        # A peer without the health service is up: it has answered.
        return error.code() is grpc.StatusCode.UNIMPLEMENTED
    except DecodeError:
        return False
    return status == health_pb2.HealthCheckResponse.SERVING


async def _once(item: bytes) -> AsyncIterator[bytes]:
    yield item
