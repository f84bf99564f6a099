"""Sagas and process managers of the published client's services, behind our ports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from angzarr import wire
from angzarr.cover import root_of
from angzarr.errors import InvalidInput, RemoteError
from angzarr.handlers.local_process_manager import LocalProcessManager
from angzarr.handlers.local_saga import LocalSaga
from angzarr.ports.components import CallContext, ProcessManager, Saga, Subscription
from angzarr.rpc.remote import Endpoint
from angzarr.rpc.remote_reactions import RemoteProcessManager, RemoteSaga
from angzarr.rpc.server import Server, ServerOptions
from angzarr.rpc.services import Rpc

CONTEXT = CallContext()
ORDERS = (Subscription("order", ("OrderPaid",)), Subscription("other"))
UUID = "00112233-4455-6677-8899-aabbccddeeff"


@dataclass
class Peer:
    """A process that serves both; `methods` in the order that they were called."""

    endpoint: Endpoint
    methods: list[tuple[str, bytes]] = field(default_factory=list)
    error: RemoteError | None = None

    def saga(self, **more: Any) -> RemoteSaga:
        return RemoteSaga("saga:shipping", self.endpoint, ORDERS, **more)

    def manager(self) -> RemoteProcessManager:
        name, domain = "process_manager:fulfilment", "fulfilment"
        return RemoteProcessManager(name, domain, self.endpoint, ORDERS, ("shipment",))


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    made: list[Peer] = []

    def answering(name: str) -> Rpc:
        service, method = name.split("/")

        async def answer(request: bytes, context: CallContext) -> bytes:
            made[0].methods.append((name, request))
            if made[0].error:
                raise made[0].error
            return b"re:" + request

        return Rpc(service=f"angzarr.{service}", method=method, unary=answer)

    names = ("SagaService/Handle", "ProcessManagerService/Prepare", "ProcessManagerService/Handle")
    server = Server(rpcs=map(answering, names), options=ServerOptions(port=0, grace_s=0))
    made.append(Peer(Endpoint((await server.start())[0])))
    yield made[0]
    await made[0].endpoint.close()
    await server.stop()


def source(correlation_id: str = "") -> bytes:
    cover = wire.Cover(domain="order", correlation_id=correlation_id)
    return wire.EventBook(cover=cover).SerializeToString()


def face(protocol: type) -> set[str]:
    return {name for name in vars(protocol) if not name.startswith("_")}


@pytest.mark.spec("DEP-3")
def test_near_and_far_have_the_face_of_one_protocol(peer: Peer) -> None:
    assert face(Saga) <= set(dir(peer.saga())) & set(dir(LocalSaga))
    assert face(ProcessManager) <= set(dir(peer.manager())) & set(dir(LocalProcessManager))


async def test_bytes_go_to_the_services_and_back_untouched(peer: Peer) -> None:
    saga, manager = peer.saga(), peer.manager()

    answers = [
        await saga.handle(b"\xff1", CONTEXT),
        await manager.prepare(b"\xff2", CONTEXT),
        await manager.handle(b"\xff3", CONTEXT),
    ]

    assert answers == [b"re:\xff1", b"re:\xff2", b"re:\xff3"]
    assert peer.methods == [
        ("SagaService/Handle", b"\xff1"),
        ("ProcessManagerService/Prepare", b"\xff2"),
        ("ProcessManagerService/Handle", b"\xff3"),
    ]


@pytest.mark.spec("CMD-11", "SAGA-5")
async def test_errors_come_as_they_are(peer: Peer) -> None:
    peer.error = RemoteError("UNIMPLEMENTED", "no Prepare", details=b"\0")

    for call in (peer.manager().prepare, peer.manager().handle, peer.saga().handle):
        with pytest.raises(RemoteError) as caught:
            await call(b"", CONTEXT)
        assert (caught.value.code, caught.value.details) == ("UNIMPLEMENTED", b"\0")


@pytest.mark.spec("COMP-13", "PM-12")
async def test_they_have_no_say_in_what_was_rejected(peer: Peer) -> None:
    assert await peer.saga().refused(b"", CONTEXT) is None
    assert await peer.manager().refused(b"", CONTEXT) is None
    assert peer.methods == []


@pytest.mark.spec("SAGA-1", "SAGA-6")
@pytest.mark.parametrize("routing", [None, {"shipment": "source_root"}, {"ledger": "correlation"}])
async def test_without_another_word_the_source_root_is_described(peer: Peer, routing: Any) -> None:
    saga = peer.saga(targets=("shipment", "ledger"), routing=routing)

    assert saga.routed("shipment", source("c-1")) is None


@pytest.mark.spec("SAGA-1", "PM-2")
@pytest.mark.parametrize("correlation_id", ["c-1", UUID])
async def test_correlation_routes_to_the_root_that_the_id_makes(
    peer: Peer, correlation_id: str
) -> None:
    saga = peer.saga(targets=("shipment",), routing={"shipment": "correlation"})

    found = saga.routed("shipment", source(correlation_id))

    assert found == root_of(correlation_id)


@pytest.mark.spec("SAGA-1")
async def test_correlation_without_an_id_leads_nowhere(peer: Peer) -> None:
    """Else all that have none would meet at one root."""
    saga = peer.saga(routing={"shipment": "correlation"})

    assert saga.routed("shipment", source()) is None


@pytest.mark.spec("SAGA-1", "OPS-9")
@pytest.mark.parametrize("routing", [{"shipment": "root"}, {"nowhere": "correlation"}])
async def test_other_routings_are_refused(peer: Peer, routing: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="routing"):
        peer.saga(targets=("shipment",), routing=routing)
