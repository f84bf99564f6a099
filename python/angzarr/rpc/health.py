"""grpc.health.v1: the state of the server, its services and its components (OPS-1, DEP-13)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Final

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from angzarr.errors import InvalidInput, RemoteError
from angzarr.ports.components import CallContext
from angzarr.rpc.services import Rpc

SERVICE: Final = "grpc.health.v1.Health"

_Status = health_pb2.HealthCheckResponse.ServingStatus
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """States by name; "" serves while every name does and nothing blocks the server.

    names: wire services `angzarr.<Service>` and components `kind:name`; serving from the start. A
    name that is not here is unknown: it belongs to another process.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._states = dict.fromkeys(names, True)
        self._blocks: set[str] = set()
        self._is_draining = False
        self._changed = asyncio.Event()

    def set(self, name: str, is_serving: bool) -> None:
        """Set the state of one name, which is added where it is new."""
        if self._states.get(name) is not is_serving:
            self._states[name] = is_serving
            self._announce()

    def block(self, cause: str) -> None:
        """Nothing serves until `unblock(cause)`, as while the store is lost."""
        self._blocks.add(cause)
        self._announce()

    def unblock(self, cause: str) -> None:
        """Take back `block(cause)`; other causes stay."""
        self._blocks.discard(cause)
        self._announce()

    def drain(self) -> None:
        """Nothing serves any more, and those who watch are told so and let go."""
        self._is_draining = True
        self._announce()

    def is_serving(self, name: str = "") -> bool | None:
        """Whether `name` serves, None where it is unknown here."""
        is_up = not (self._blocks or self._is_draining)
        if name == "":
            return is_up and all(self._states.values())
        state = self._states.get(name)
        return None if state is None else state and is_up

    def names(self) -> dict[str, bool]:
        """Every name but "" with its state, in order of names."""
        return {name: bool(self.is_serving(name)) for name in sorted(self._states)}

    def rpcs(self) -> tuple[Rpc, ...]:
        """Check and Watch."""
        return (
            Rpc(service=SERVICE, method="Check", unary=self._check),
            Rpc(service=SERVICE, method="Watch", stream=self._watch),
        )

    def _announce(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _check(self, request: bytes, _context: CallContext) -> bytes:
        name = _service_name(request)
        is_serving = self.is_serving(name)
        if is_serving is None:
            raise RemoteError("NOT_FOUND", f"unknown service {name}", error_kind="not_found")
        return _response(is_serving)

    async def _watch(self, request: bytes, _context: CallContext) -> AsyncIterator[bytes]:
        name = _service_name(request)
        last = b""
        while True:
            changed, is_last = self._changed, self._is_draining
            if (state := _response(self.is_serving(name))) != last:
                last = state
                yield state
            if is_last:
                return
            await changed.wait()


def _response(is_serving: bool | None) -> bytes:
    status = _SERVICE_UNKNOWN if is_serving is None else _SERVING if is_serving else _NOT_SERVING
    return health_pb2.HealthCheckResponse(status=status).SerializeToString()


def _service_name(request: bytes) -> str:
    try:
        return health_pb2.HealthCheckRequest.FromString(request).service
    except DecodeError as error:
        raise InvalidInput("request", "a HealthCheckRequest", error) from error
