"""Reflection as grpcurl uses it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2

from angzarr import errors

Serve = Callable[..., Awaitable[Any]]
V1 = "grpc.reflection.v1.ServerReflection"
ALPHA = "grpc.reflection.v1alpha.ServerReflection"


async def ask(served: Any, name: str, **request: str) -> reflection_pb2.ServerReflectionResponse:
    call = served.channel.stream_stream(
        f"/{name}/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )(iter([reflection_pb2.ServerReflectionRequest(**request)]))
    return await anext(aiter(call))


@pytest.mark.spec("OPS-4", "COMPAT-1")
@pytest.mark.parametrize("name", [V1, ALPHA])
async def test_reflection_lists_exactly_the_served_services(served: Any, name: str) -> None:
    answer = await ask(served, name, list_services="")

    listed = {service.name for service in answer.list_services_response.service}
    assert listed == {
        "angzarr.CommandHandlerCoordinatorService",
        "angzarr.EventQueryService",
        "angzarr.EventStreamService",
        "grpc.health.v1.Health",
        V1,
        ALPHA,
    }
    assert listed == set(served.server.services)


@pytest.mark.spec("OPS-4", "WIRE-1")
@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        ("angzarr.EventQueryService", "angzarr/query.proto"),
        ("angzarr.CommandHandlerCoordinatorService", "angzarr/command_handler.proto"),
        ("angzarr.CommandRequest", "angzarr/types.proto"),
        (V1, "grpc/reflection/v1/reflection.proto"),
        ("grpc.health.v1.Health", "health.proto"),
    ],
)
async def test_reflection_describes_each_service(served: Any, symbol: str, file: str) -> None:
    answer = await ask(served, V1, file_containing_symbol=symbol)

    files = [
        descriptor_pb2.FileDescriptorProto.FromString(data)
        for data in answer.file_descriptor_response.file_descriptor_proto
    ]
    assert any(found.name.endswith(file) for found in files)


@pytest.mark.spec("OPS-4")
async def test_reflection_is_off_when_configured_so(serve: Serve) -> None:
    served = await serve(reflection=False)

    with pytest.raises(errors.RemoteError) as caught:
        await served.transport.unary(f"/{V1}/ServerReflectionInfo", b"")

    assert caught.value.code == "UNIMPLEMENTED"
    assert V1 not in served.server.services
