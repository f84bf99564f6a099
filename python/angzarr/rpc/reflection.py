"""grpc.reflection: which services a server has and what their messages look like (OPS-4).

The package grpcio-reflection knows the older name v1alpha only; both names have the same messages.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, Protocol, cast

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection, reflection_pb2

from angzarr._wire import admin_pb2, command_handler_pb2, history_pb2, query_pb2, stream_pb2
from angzarr.errors import InvalidInput
from angzarr.ports.components import CallContext
from angzarr.rpc.services import Rpc

SERVICE: Final = "grpc.reflection.v1.ServerReflection"
SERVICE_ALPHA: Final = "grpc.reflection.v1alpha.ServerReflection"
METHOD: Final = "ServerReflectionInfo"

DESCRIBED: Final = tuple(
    module.DESCRIPTOR.name
    for module in (admin_pb2, command_handler_pb2, history_pb2, query_pb2, stream_pb2)
)
"""Files with the services we serve; importing them makes them known to reflection."""

Request = reflection_pb2.ServerReflectionRequest
Response = reflection_pb2.ServerReflectionResponse


class _Servicer(Protocol):
    """What grpcio-reflection, which has no types, gives us."""

    def ServerReflectionInfo(
        self, request_iterator: AsyncIterator[Request], unused_context: object
    ) -> AsyncIterator[Response]: ...


def reflection_rpcs(services: Iterable[str]) -> tuple[Rpc, ...]:
    """Reflection over `services`, full names, and over itself."""
    names = sorted({*services, SERVICE, SERVICE_ALPHA})
    pool = _pool_with_v1()
    make = cast("Callable[..., _Servicer]", reflection.aio.ReflectionServicer)
    servicer = make(names, pool)

    async def info(requests: AsyncIterator[bytes], _context: CallContext) -> AsyncIterator[bytes]:
        async for answer in servicer.ServerReflectionInfo(_parsed(requests), None):
            yield answer.SerializeToString()

    return tuple(Rpc(service=name, method=METHOD, both=info) for name in (SERVICE, SERVICE_ALPHA))


async def _parsed(requests: AsyncIterator[bytes]) -> AsyncIterator[Request]:
    async for request in requests:
        try:
            yield Request.FromString(request)
        except DecodeError as error:
            raise InvalidInput("request", "a ServerReflectionRequest", error) from error


def _pool_with_v1() -> descriptor_pool.DescriptorPool:
    """The process's descriptors, and reflection's own under its v1 name."""
    pool = descriptor_pool.Default()
    try:
        pool.FindFileContainingSymbol(SERVICE)
    except KeyError:
        alpha = descriptor_pb2.FileDescriptorProto()
        reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
        pool.Add(_renamed(alpha))
    return pool


def _renamed(alpha: descriptor_pb2.FileDescriptorProto) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto()
    file.CopyFrom(alpha)
    file.name = "grpc/reflection/v1/reflection.proto"
    file.package = "grpc.reflection.v1"
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = _moved(field.type_name)
    for service in file.service:
        for method in service.method:
            method.input_type = _moved(method.input_type)
            method.output_type = _moved(method.output_type)
    return file


def _moved(name: str) -> str:
    return name.replace(".grpc.reflection.v1alpha.", ".grpc.reflection.v1.")
