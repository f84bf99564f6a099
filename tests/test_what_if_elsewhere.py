"""Branches of apps whose handlers, store, aggregates or sagas are in other processes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from angzarr import App
from angzarr.errors import UnknownDomain
from angzarr.handlers.aggregate import Aggregate
from angzarr.handlers.local import LocalCommandHandler
from angzarr.ports.components import CallContext
from angzarr.rpc.server import Server, ServerOptions
from angzarr.rpc.services import Rpc
from angzarr.testing.clock import ManualClock

from .test_what_if import shop, traces
from .what_if_shop import SHOP, Order, Place, Shipment, Shipping

HANDLER = "angzarr.CommandHandlerService"


@asynccontextmanager
async def handled(
    cls: type[Aggregate], *, has_replay: bool = True
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A client's server with the handler alone; its address, and the commands that it was sent."""
    handler, seen = LocalCommandHandler(cls), list[bytes]()

    async def handle(request: bytes, context: CallContext) -> bytes:
        seen.append(request)
        return await handler.handle(request, context)

    rpcs = [Rpc(service=HANDLER, method="Handle", unary=handle)]
    if has_replay:
        rpcs.append(Rpc(service=HANDLER, method="Replay", unary=handler.replay))
    server = Server(rpcs=rpcs, options=ServerOptions(port=0, grace_s=0))
    (address,) = await server.start()
    yield address, seen
    await server.stop(0)


def elsewhere(name: str, address: str, **more: Any) -> dict[str, Any]:
    return {"components": {name: {"endpoint": f"tcp://{address}", **more}}}


@pytest.mark.spec("SPEC-6", "CMD-22")
async def test_a_clients_handler_decides_on_the_branch() -> None:
    async with (
        handled(Order) as (address, seen),
        shop("book", config=elsewhere("aggregate:order", address), clock=ManualClock()) as app,
    ):
        before, seen[:] = await traces(app), []

        tried = await app.speculate([(Order, "o-1", Place("hat"))], reactions=True)

        assert tried.state(Order, "o-1").items == "book hat "
        assert tried.state(Shipment, "o-1").items == "book hat "
        assert len(seen) == 1
        assert await traces(app) == before


@pytest.mark.spec("SPEC-6", "CMD-22")
async def test_a_state_without_replay_is_absent() -> None:
    async with (
        handled(Order, has_replay=False) as (address, _),
        shop("book", config=elsewhere("aggregate:order", address)) as app,
    ):
        tried = await app.speculate([(Order, "o-1", Place("hat"))])

        assert tried.state("order", "o-1") is None
        assert list(tried.next_sequences.values()) == [2]


@pytest.mark.spec("SPEC-6", "DEP-11")
async def test_the_base_may_be_the_store_of_another_process() -> None:
    clock = ManualClock()
    async with shop("book", "pen", clock=clock) as owner:
        server = await owner.serve(port=0)
        async with App(*SHOP, store=f"grpc://{server.addresses[0]}", clock=clock) as app:
            before = await traces(owner)

            async with app.what_if(at=0, of=(Order, "o-1")) as branch:
                await branch.domain(Order).send("o-1", Place("hat"), correlation_id="c-1")
                await branch.settled()

                assert (await branch.domain(Order).state("o-1")).items == "book hat "
                assert (await branch.domain(Shipment).state("o-1")).items == "hat "
                assert await traces(owner) == before

                await branch.store("hats")

            assert (await owner.domain(Order, edition="hats").state("o-1")).items == "book hat "
        await server.stop(0)


@asynccontextmanager
async def apart(select: str) -> AsyncIterator[App]:
    """A shop, what is selected being in another process on the same store."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = elsewhere(select, f"127.0.0.1:{port}", role="coordinator")
    classes = (Order, Shipment, Shipping)
    async with App(*classes, store="memory://", config=config) as owner:
        server = await owner.serve(port=0)
        store = f"grpc://{server.addresses[0]}"
        async with App(*classes, store=store, config=config, select=select) as other:
            beside = await other.serve(port=port)
            await owner._running().endpoints[select].wait_serving()
            yield owner
            await beside.stop(0)
        await server.stop(0)


@pytest.mark.spec("SPEC-6", "DEP-4")
async def test_what_another_process_decides_is_refused() -> None:
    async with apart("aggregate:shipment") as app:
        head = await app.stores.events.log_head()

        tried = await app.speculate([(Order, "o-1", Place("hat"))], reactions=True)
        other = await app.speculate([("shipment", "o-1", Place("hat"))])

        assert "another process" in tried.outcomes[0].cascade_errors[0].error_message
        assert isinstance(other.error, UnknownDomain)
        assert await app.stores.events.log_head() == head


@pytest.mark.spec("SPEC-6", "DEP-12")
async def test_a_saga_of_another_process_does_not_react_on_the_branch() -> None:
    async with apart("saga:shipping") as app:
        head = await app.stores.events.log_head()

        tried = await app.speculate([(Order, "o-1", Place("hat"))], reactions=True)

        assert [cover.domain for cover in tried.states] == ["order"]
        assert await app.stores.events.log_head() == head
