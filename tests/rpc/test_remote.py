"""Components in other processes: deadlines, metadata, errors, health."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import any_pb2

from angzarr import errors, wire
from angzarr.handlers.local import LocalCommandHandler
from angzarr.ports.components import CallContext, CommandHandler
from angzarr.rpc import channels, remote
from angzarr.rpc.remote import (
    Endpoint,
    RemoteCommandHandler,
    RemoteCoordinator,
    RemoteUpcaster,
)
from angzarr.rpc.server import Server, ServerOptions
from angzarr.rpc.services import Rpc

Serve = Callable[..., Awaitable[Any]]
HANDLER = "angzarr.CommandHandlerService"
CONTEXT = CallContext()


class FakeHandler:
    """A handler process' service: answers with the request, or with a status of its choice."""

    def __init__(self) -> None:
        self.seen: list[CallContext] = []
        self.error: errors.RemoteError | None = None
        self.state = any_pb2.Any()

    def rpcs(self) -> tuple[Rpc, ...]:
        return (
            Rpc(service=HANDLER, method="Handle", unary=self.handle),
            Rpc(service=HANDLER, method="Replay", unary=self.replay),
            Rpc(service="angzarr.UpcasterService", method="Upcast", unary=self.handle),
        )

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        self.seen.append(context)
        if self.error:
            raise self.error
        return request

    async def replay(self, request: bytes, context: CallContext) -> bytes:
        return wire.ReplayResponse(state=self.state).SerializeToString()


class Peer:
    """A handler process, and our endpoint of it."""

    def __init__(self, server: Server, handler: FakeHandler, endpoint: Endpoint) -> None:
        self.server, self.handler, self.endpoint = server, handler, endpoint
        self.remote = RemoteCommandHandler("aggregate:account", endpoint)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    handler = FakeHandler()
    server = Server(rpcs=handler.rpcs(), options=ServerOptions(port=0, grace_s=0))
    endpoint = Endpoint("tcp://" + (await server.start())[0])
    yield Peer(server, handler, endpoint)
    await endpoint.close()
    await server.stop()


async def test_bytes_go_to_the_handler_and_back_untouched(peer: Peer) -> None:
    assert await peer.remote.handle(b"\xff raw", CONTEXT) == b"\xff raw"
    assert (peer.remote.name, peer.remote.is_local) == ("aggregate:account", False)


@pytest.mark.spec("DEP-3")
def test_handlers_near_and_far_have_the_face_of_one_protocol(peer: Peer) -> None:
    face = {name for name in vars(CommandHandler) if not name.startswith("_")}

    for handler in (RemoteCommandHandler, LocalCommandHandler):
        assert face <= {name for name in dir(handler) if not name.startswith("_")}


async def test_upcaster_is_reached_on_its_path(peer: Peer) -> None:
    assert await RemoteUpcaster(peer.endpoint).upcast(b"pages", CONTEXT) == b"pages"


@pytest.mark.spec("CMD-11", "COMPAT-5")
@pytest.mark.parametrize("code", ["FAILED_PRECONDITION", "INVALID_ARGUMENT", "UNKNOWN", "ABORTED"])
async def test_error_status_is_final_and_unchanged(peer: Peer, code: str) -> None:
    peer.handler.error = errors.RemoteError(code, "Sequence mismatch? no: é", details=b"\x00d")

    with pytest.raises(errors.RemoteError) as caught:
        await peer.remote.handle(b"", CONTEXT)

    found = caught.value
    assert (found.code, found.message, found.details) == (
        code,
        "Sequence mismatch? no: é",
        b"\x00d",
    )
    assert len(peer.handler.seen) == 1


async def test_error_of_a_handler_without_kinds_has_none() -> None:
    """A 0.3 handler sends no `angzarr-error-kind`; then none is made up."""

    async def refuse(_request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no funds")
        return b""

    server = grpc.aio.server()
    handlers = {"Handle": grpc.unary_unary_rpc_method_handler(refuse)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(HANDLER, handlers),))
    endpoint = Endpoint(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    await server.start()

    with pytest.raises(errors.RemoteError) as caught:
        await RemoteCommandHandler("aggregate:account", endpoint).handle(b"", CONTEXT)

    assert (caught.value.code, caught.value.error_kind) == ("FAILED_PRECONDITION", "")
    await endpoint.close()
    await server.stop(0)


@pytest.mark.spec("DEP-4")
async def test_deadline_is_passed_on(peer: Peer) -> None:
    deadline_ns = time.monotonic_ns() + 20_000_000_000

    await peer.remote.handle(b"", CallContext(deadline_ns))

    seen_ns = peer.handler.seen[0].deadline_ns
    assert seen_ns is not None
    assert abs(seen_ns - deadline_ns) < 2e9


@pytest.mark.spec("DEP-4")
async def test_passed_deadline_is_not_called(peer: Peer) -> None:
    with pytest.raises(errors.RemoteError) as caught:
        await peer.remote.handle(b"", CallContext(time.monotonic_ns() - 1))

    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert peer.handler.seen == []


@pytest.mark.spec("WIRE-12", "DEP-4")
async def test_metadata_is_passed_on_without_what_belongs_to_the_connection(peer: Peer) -> None:
    sent: dict[str, str | bytes] = {
        "x-correlation-id": "c-1",
        "traceparent": "00-1-2-01",
        "angzarr-provenance-bin": b"\x00\xff",
        "angzarr-cascade-depth": "2",
        "user-agent": "the caller's",
        "grpc-accept-encoding": "gzip",
    }

    await peer.remote.handle(b"", CallContext(None, sent))

    seen = peer.handler.seen[0].metadata
    assert {key: seen[key] for key in list(sent)[:4]} == {key: sent[key] for key in list(sent)[:4]}
    assert seen["user-agent"] != "the caller's"


@pytest.mark.spec("DEP-4")
async def test_coordinator_elsewhere_gets_command_deadline_and_metadata(served: Any) -> None:
    endpoint = Endpoint(served.address)
    forward = RemoteCoordinator(endpoint)
    context = CallContext(time.monotonic_ns() + 20_000_000_000, {"angzarr-provenance-bin": b"\0p"})

    answers = [
        await forward.handle_command(b"1", context),
        await forward.handle_event(b"2", context),
        await forward.handle_speculative(b"3", context),
        await forward.handle_compensation(b"4", context),
    ]

    assert answers == [b"1", b"2", b"3", b"4"]
    assert [name for name, _, _ in served.commands.seen] == [
        "handle_command", "handle_event", "handle_speculative", "handle_compensation",
    ]  # fmt: skip
    assert all(
        seen.metadata["angzarr-provenance-bin"] == b"\0p" for _, _, seen in served.commands.seen
    )
    assert all(seen.deadline_ns for _, _, seen in served.commands.seen)
    await endpoint.close()


@pytest.mark.spec("DEP-4", "CMD-11")
async def test_coordinators_error_is_forwarded_with_kind_and_details(served: Any) -> None:
    served.commands.error = errors.CascadeConflict(errors.Cover("a", bytes(16)), ["c"], ["gold"])
    endpoint = Endpoint(served.address)

    with pytest.raises(errors.RemoteError) as caught:
        await RemoteCoordinator(endpoint).handle_command(b"", CONTEXT)

    assert (caught.value.code, caught.value.error_kind) == ("ABORTED", "cascade_conflict")
    detail = wire.CascadeConflictDetail.FromString(caught.value.details)
    assert list(detail.cascade_ids) == ["c"]
    await endpoint.close()


@pytest.mark.spec("OPS-11")
async def test_one_call_does_not_wait_for_another(served: Any) -> None:
    served.commands.hold = asyncio.Event()
    endpoint = Endpoint(served.address)
    forward = RemoteCoordinator(endpoint)
    slow = asyncio.ensure_future(forward.handle_command(b"slow", CONTEXT))
    await served.commands.entered.wait()

    served.commands.hold, held = None, served.commands.hold
    quick = await forward.handle_event(b"quick", CONTEXT)

    assert (quick, slow.done()) == (b"quick", False)
    held.set()
    assert await slow == b"slow"
    await endpoint.close()


@pytest.mark.spec("OPS-2", "COMPAT-18")
async def test_component_serves_as_soon_as_health_does(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "BACKOFF_S_MIN", 0.01)
    asked = asyncio.Event()
    is_serving = peer.server.health.is_serving
    peer.server.health.block("starting")

    def spy(name: str = "") -> bool | None:
        asked.set()
        return is_serving(name)

    monkeypatch.setattr(peer.server.health, "is_serving", spy)
    peer.endpoint.start()
    await asked.wait()
    before = peer.endpoint.is_serving

    peer.server.health.unblock("starting")
    await peer.endpoint.wait_serving()

    assert (before, peer.endpoint.is_serving) == (False, True)


@pytest.mark.spec("OPS-2")
async def test_absent_component_is_reported_after_thirty_tries_and_still_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = 0
    pauses: list[float] = []
    reports: list[tuple[int, bool]] = []
    back = asyncio.Event()

    async def probe(_call: object, _name: str) -> bool:
        nonlocal tries
        tries += 1
        return tries == 40

    async def no_pause(waiting: Any, pause_s: float) -> None:
        waiting.close()
        pauses.append(pause_s)
        if tries >= 40:
            back.set()
            await asyncio.Event().wait()

    monkeypatch.setattr(remote, "_is_serving", probe)
    monkeypatch.setattr(remote.asyncio, "wait_for", no_pause)
    endpoint = Endpoint("127.0.0.1:9", on_state=lambda up: reports.append((tries, up)))

    endpoint.start()
    await back.wait()

    assert reports == [(30, False), (40, True)]
    assert pauses[:7] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    assert set(pauses[7:]) == {5.0}
    await endpoint.close()


@pytest.mark.spec("DEP-13", "OPS-2")
async def test_component_that_goes_is_noticed_by_the_next_call(peer: Peer) -> None:
    gone = asyncio.Event()
    endpoint = Endpoint(peer.endpoint.address, on_state=lambda up: None if up else gone.set())
    await endpoint.wait_serving()
    await peer.server.stop()

    with contextlib.suppress(errors.RemoteError):
        await endpoint.unary(f"/{HANDLER}/Handle", b"", CONTEXT)

    await gone.wait()
    assert not endpoint.is_serving
    await endpoint.close()


@pytest.mark.spec("CMD-22")
async def test_states_are_compared_by_the_descriptors_of_the_handlers_reflection(
    peer: Peer,
) -> None:
    before, after = any_pb2.Any(), any_pb2.Any()
    before.Pack(wire.AggregateRoot(domain="a", root=wire.UUID(value=b"r")))
    after.Pack(wire.AggregateRoot(domain="b", root=wire.UUID(value=b"r")))
    peer.handler.state = after

    unknown = peer.remote.diff(before.SerializeToString(), after.SerializeToString())
    await peer.remote.replay(b"", CONTEXT)

    assert unknown == {"*"}
    assert peer.remote.diff(before.SerializeToString(), after.SerializeToString()) == {"domain"}


@pytest.mark.spec("CMD-22")
async def test_states_without_descriptors_are_equal_bytes_or_everything() -> None:
    handler = FakeHandler()
    handler.state = any_pb2.Any(type_url="x/no.such.Type", value=b"1")
    options = ServerOptions(port=0, grace_s=0, reflection=False)
    server = Server(rpcs=handler.rpcs(), options=options)
    endpoint = Endpoint((await server.start())[0])
    found = RemoteCommandHandler("aggregate:account", endpoint)
    one = handler.state.SerializeToString()
    two = any_pb2.Any(type_url="x/no.such.Type", value=b"2").SerializeToString()

    await found.replay(b"", CONTEXT)

    assert (found.diff(one, one), found.diff(one, two)) == (frozenset(), {"*"})
    await endpoint.close()
    await server.stop()


@pytest.mark.spec("OPS-12", "DEP-2", "COMPAT-20")
@pytest.mark.parametrize(
    ("endpoint", "target"),
    [
        ("tcp://10.0.0.1:1310", "10.0.0.1:1310"),
        ("order:1310", "order:1310"),
        ("tls://order:1310", "order:1310"),
        ("tcp://[::1]:1310", "[::1]:1310"),
        ("unix:///run/x.sock", "unix:/run/x.sock"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
        ("/run/x.sock", "unix:/run/x.sock"),
    ],
)
def test_endpoint_has_a_target(endpoint: str, target: str) -> None:
    assert channels.target_of(endpoint) == target


@pytest.mark.parametrize("endpoint", ["", "order", "ftp://x:1", "tcp://x:http", ":1310"])
def test_endpoint_of_another_form_is_refused(endpoint: str) -> None:
    with pytest.raises(errors.InvalidInput, match="endpoint"):
        channels.target_of(endpoint)
