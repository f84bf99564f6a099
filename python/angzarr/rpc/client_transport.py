"""The client's transports: bytes to a server and back, for asyncio and for threads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final

import grpc
import grpc.aio

from angzarr.rpc.channels import MESSAGE_SIZE_KB, open_channel, open_sync_channel
from angzarr.rpc.status import error_from_rpc
from angzarr.rpc.tls import TlsFiles

_NONE: Final[Mapping[str, str | bytes]] = {}


class GrpcTransport:
    """Calls over one kept connection; `angzarr.caller.Transport`.

    endpoint: `host:port`, `tcp://…`, `tls://…`, or a socket. Errors of calls are those that the
    server raised, by `status.error_of`; RemoteError UNAVAILABLE where none is reached.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        tls: TlsFiles | None = None,
        message_size_kb: int = MESSAGE_SIZE_KB,
    ) -> None:
        self.endpoint, self.tls = endpoint, tls
        self._channel = open_channel(endpoint, tls=tls, message_size_kb=message_size_kb)
        self._unary: dict[str, grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = {}

    async def unary(
        self,
        method: str,
        request: bytes,
        *,
        timeout_s: float | None = None,
        metadata: Mapping[str, str | bytes] = _NONE,
    ) -> bytes:
        """One request, one answer. timeout_s: None waits as long as it takes."""
        call = self._unary.get(method)
        if call is None:
            call = self._unary[method] = self._channel.unary_unary(method)
        try:
            return await call(request, timeout=_timeout(timeout_s), metadata=_pairs(metadata))
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error

    async def stream(
        self,
        method: str,
        request: bytes,
        *,
        timeout_s: float | None = None,
        metadata: Mapping[str, str | bytes] = _NONE,
    ) -> AsyncIterator[bytes]:
        """One request, many answers; ending the iteration early cancels the call."""
        start: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(method)
        call = start(request, timeout=_timeout(timeout_s), metadata=_pairs(metadata))
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error
        finally:
            call.cancel()

    async def close(self) -> None:
        """Let go of the connection; calls in flight are cancelled. Idempotent."""
        await self._channel.close()


class SyncGrpcTransport:
    """As GrpcTransport, for threads; `angzarr.caller_sync.Transport`."""

    def __init__(
        self,
        endpoint: str,
        *,
        tls: TlsFiles | None = None,
        message_size_kb: int = MESSAGE_SIZE_KB,
    ) -> None:
        self.endpoint, self.tls = endpoint, tls
        self._channel = open_sync_channel(endpoint, tls=tls, message_size_kb=message_size_kb)
        self._unary: dict[str, grpc.UnaryUnaryMultiCallable[bytes, bytes]] = {}

    def unary(
        self,
        method: str,
        request: bytes,
        *,
        timeout_s: float | None = None,
        metadata: Mapping[str, str | bytes] = _NONE,
    ) -> bytes:
        """One request, one answer. timeout_s: None waits as long as it takes."""
        call = self._unary.get(method)
        if call is None:
            call = self._unary[method] = self._channel.unary_unary(method)
        try:
            return call(request, timeout=_timeout(timeout_s), metadata=_pairs(metadata))
        except grpc.RpcError as error:
            raise error_from_rpc(error) from error

    def stream(
        self,
        method: str,
        request: bytes,
        *,
        timeout_s: float | None = None,
        metadata: Mapping[str, str | bytes] = _NONE,
    ) -> Iterator[bytes]:
        """One request, many answers; ending the iteration early cancels the call."""
        start: grpc.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(method)
        call = start(request, timeout=_timeout(timeout_s), metadata=_pairs(metadata))
        try:
            yield from call
        except grpc.RpcError as error:
            raise error_from_rpc(error) from error
        finally:
            call.cancel()

    def close(self) -> None:
        """Let go of the connection; calls in flight are cancelled. Idempotent."""
        self._channel.close()


def _timeout(timeout_s: float | None) -> float | None:
    """gRPC takes 0 for no deadline; to us it is one that has passed."""
    return timeout_s if timeout_s is None else max(timeout_s, 1e-6)


def _pairs(metadata: Mapping[str, str | bytes]) -> tuple[tuple[str, str | bytes], ...] | None:
    return tuple(metadata.items()) if metadata else None
