"""grpc.health.v1 as orchestrators and clients see it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from angzarr.rpc.health import Health

Serve = Callable[..., Awaitable[Any]]
UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN = range(4)


async def check(served: Any, name: str) -> int:
    stub = health_pb2_grpc.HealthStub(served.channel)
    return (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status


@pytest.mark.spec("OPS-1", "DEP-13")
@pytest.mark.parametrize(
    "name",
    [
        "",
        "angzarr.CommandHandlerCoordinatorService",
        "angzarr.EventQueryService",
        "angzarr.EventStreamService",
        "aggregate:account",
    ],
)
async def test_server_services_and_components_have_names(serve: Serve, name: str) -> None:
    served = await serve(components=("aggregate:account",))

    assert await check(served, name) == SERVING


@pytest.mark.spec("DEP-13")
async def test_component_that_is_not_here_is_unknown(served: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await check(served, "aggregate:elsewhere")

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.spec("DEP-13")
async def test_watch_of_a_component_that_is_not_here_says_service_unknown(served: Any) -> None:
    stub = health_pb2_grpc.HealthStub(served.channel)
    call = stub.Watch(health_pb2.HealthCheckRequest(service="aggregate:elsewhere"))

    assert (await call.read()).status == SERVICE_UNKNOWN
    call.cancel()


@pytest.mark.spec("OPS-1", "DEP-13")
async def test_component_out_of_service_takes_the_server_with_it_and_back(serve: Serve) -> None:
    served = await serve(components=("aggregate:account", "aggregate:order"))

    served.server.health.set("aggregate:account", False)
    down = [await check(served, n) for n in ("aggregate:account", "aggregate:order", "")]
    served.server.health.set("aggregate:account", True)

    assert down == [NOT_SERVING, SERVING, NOT_SERVING]
    assert await check(served, "") == SERVING


@pytest.mark.spec("OPS-1")
def test_lost_store_turns_every_name_and_back() -> None:
    health = Health(["aggregate:account", "angzarr.EventQueryService"])

    health.block("store")
    lost = {**health.names(), "": health.is_serving()}
    health.unblock("store")

    assert set(lost.values()) == {False}
    assert {**health.names(), "": health.is_serving()} == dict.fromkeys(lost, True)


@pytest.mark.spec("OPS-3")
async def test_watch_sees_not_serving_when_the_server_drains_and_then_ends(serve: Serve) -> None:
    served = await serve(grace_s=20)
    stub = health_pb2_grpc.HealthStub(served.channel)
    call = stub.Watch(health_pb2.HealthCheckRequest())
    states: list[int] = []
    first = asyncio.Event()

    async def collect() -> None:
        async for answer in call:
            states.append(answer.status)
            first.set()

    collecting = asyncio.ensure_future(collect())
    await first.wait()

    await served.server.stop()
    await collecting

    assert states == [SERVING, NOT_SERVING]
