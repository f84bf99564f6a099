"""Addresses, one port for all, draining."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from angzarr import errors
from angzarr.rpc.client_transport import GrpcTransport
from angzarr.rpc.server import Server, ServerOptions

Serve = Callable[..., Awaitable[Any]]
HANDLE = "/angzarr.CommandHandlerCoordinatorService/HandleCommand"
SUBSCRIBE = "/angzarr.EventStreamService/Subscribe"


@pytest.mark.spec("OPS-10", "COMPAT-1")
def test_default_address_is_loopback_1310() -> None:
    options = ServerOptions()

    assert (options.host, options.port) == ("127.0.0.1", 1310)


@pytest.mark.spec("WIRE-15", "DEP-5", "COMPAT-1")
async def test_one_channel_reaches_every_service(served: Any) -> None:
    unary, stream = served.channel.unary_unary, served.channel.unary_stream

    assert await unary(HANDLE)(b"command") == b"command"
    assert await unary("/angzarr.EventQueryService/GetEventBook")(b"") == b"one"
    assert await unary("/grpc.health.v1.Health/Check")(b"")
    subscription = stream(SUBSCRIBE)(b"c")
    await subscription.initial_metadata()
    subscription.cancel()


@pytest.mark.spec("WIRE-15")
async def test_service_that_is_not_served_is_unimplemented(served: Any) -> None:
    with pytest.raises(errors.RemoteError) as caught:
        await served.transport.unary("/angzarr.SagaCoordinatorService/Execute", b"")

    assert caught.value.code == "UNIMPLEMENTED"


async def test_taken_port_is_refused_by_name(served: Any) -> None:
    port = int(served.address.rpartition(":")[2])

    with pytest.raises(errors.InvalidInput, match=f"127.0.0.1:{port}"):
        await Server(options=ServerOptions(port=port)).start()


async def test_address_of_another_machine_is_refused_by_name() -> None:
    with pytest.raises(errors.InvalidInput, match=r"192\.0\.2\.1"):
        await Server(options=ServerOptions(host="192.0.2.1", port=0)).start()


async def test_refused_server_lets_go_of_what_it_had_bound(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    path.write_text("mine")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    for _ in range(2):
        with pytest.raises(errors.InvalidInput, match=str(path)):
            await Server(options=ServerOptions(port=port, socket=path)).start()
    path.unlink()

    async with Server(options=ServerOptions(port=port, socket=path, grace_s=0)) as server:
        assert server.addresses == (f"127.0.0.1:{port}", f"unix:{path}")


@pytest.mark.parametrize("host", ["localhost", "::1", "[::1]"])
async def test_host_names_and_ipv6_are_listened_on(serve: Serve, host: str) -> None:
    if "::1" in host and not has_ipv6():
        pytest.skip("this machine has no IPv6")

    served = await serve(host=host)

    assert await served.transport.unary(HANDLE, b"hello") == b"hello"
    port = int(served.address.rpartition(":")[2])
    assert served.address == f"{'[::1]' if '::1' in host else host}:{port}"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def test_server_without_an_address_is_refused() -> None:
    with pytest.raises(errors.InvalidInput):
        await Server(options=ServerOptions(port=None)).start()


@pytest.mark.spec("OPS-12", "COMPAT-20", "DEP-17")
async def test_tcp_and_unix_socket_serve_side_by_side(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "angzarr-x.sock"
    served = await serve(socket=path)
    over_socket = GrpcTransport(f"unix://{path}")

    assert await served.transport.unary(HANDLE, b"tcp") == b"tcp"
    assert await over_socket.unary(HANDLE, b"uds") == b"uds"

    assert served.server.addresses == (served.address, f"unix:{path}")
    await over_socket.close()


@pytest.mark.spec("OPS-12")
async def test_sockets_directory_is_its_owners_alone(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "made" / "x.sock"

    await serve(socket=path)

    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.spec("OPS-12")
async def test_socket_is_its_owners_alone(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "x.sock"

    await serve(socket=path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.spec("OPS-12")
async def test_socket_that_another_server_put_in_the_place_stays(
    serve: Serve, tmp_path: Path
) -> None:
    path = tmp_path / "x.sock"
    served = await serve(socket=path)
    path.unlink()
    await serve(socket=path)

    await served.server.stop()

    transport = GrpcTransport(f"unix:{path}")
    assert await transport.unary(HANDLE, b"still") == b"still"
    await transport.close()


@pytest.mark.spec("OPS-12")
async def test_stale_socket_is_replaced(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    served = await serve(socket=path)

    transport = GrpcTransport(str(path))
    assert await transport.unary(HANDLE, b"alive") == b"alive"
    assert served.server.addresses[1] == f"unix:{path}"
    await transport.close()


@pytest.mark.spec("OPS-12")
async def test_live_socket_is_refused_with_its_path_and_goes_on(
    serve: Serve, tmp_path: Path
) -> None:
    path = tmp_path / "x.sock"
    await serve(socket=path)

    with pytest.raises(errors.InvalidInput, match=str(path)):
        await Server(options=ServerOptions(port=None, socket=path)).start()

    transport = GrpcTransport(f"unix:{path}")
    assert await transport.unary(HANDLE, b"still") == b"still"
    await transport.close()


@pytest.mark.spec("OPS-12")
async def test_socket_file_goes_on_exit(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    server = Server(options=ServerOptions(port=None, socket=path, grace_s=0))
    await server.start()
    assert path.exists()

    await server.stop()

    assert not path.exists()


@pytest.mark.spec("OPS-12")
async def test_file_in_the_sockets_place_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    path.write_text("mine")

    with pytest.raises(errors.InvalidInput, match=str(path)):
        await Server(options=ServerOptions(port=None, socket=path)).start()

    assert path.read_text() == "mine"


@pytest.mark.spec("OPS-3")
async def test_running_call_finishes_within_grace(serve: Serve) -> None:
    served = await serve(grace_s=20)
    served.commands.hold = asyncio.Event()
    call = asyncio.ensure_future(served.transport.unary(HANDLE, b"late"))
    await served.commands.entered.wait()

    stopping = asyncio.ensure_future(served.server.stop())
    await asyncio.sleep(0)
    served.commands.hold.set()

    assert await call == b"late"
    await stopping


@pytest.mark.spec("OPS-3")
async def test_call_that_outlasts_grace_is_cut_off(serve: Serve) -> None:
    served = await serve()
    served.commands.hold = asyncio.Event()
    call = asyncio.ensure_future(served.transport.unary(HANDLE, b"never"))
    await served.commands.entered.wait()

    await served.server.stop(0)

    with pytest.raises(errors.AngzarrError):
        await call


@pytest.mark.spec("OPS-3")
async def test_no_new_calls_after_stop(served: Any) -> None:
    await served.transport.unary(HANDLE, b"")

    await served.server.stop()

    with pytest.raises(errors.RemoteError) as caught:
        await served.transport.unary(HANDLE, b"", timeout_s=5)
    assert caught.value.code == "UNAVAILABLE"
    assert len(served.commands.seen) == 1


@pytest.mark.spec("OPS-3")
async def test_live_stream_ends_at_once_with_unavailable(serve: Serve) -> None:
    served = await serve(grace_s=20)
    call = served.channel.unary_stream(SUBSCRIBE)(b"c")
    await call.initial_metadata()

    await served.server.stop()

    assert await call.code() is grpc.StatusCode.UNAVAILABLE


async def test_stop_is_idempotent(served: Any) -> None:
    await served.server.stop()
    await served.server.stop()


@pytest.mark.spec("OPS-12")
def test_default_base_follows_the_runtime_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from angzarr.rpc import sockets

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with_runtime = sockets.socket_path("business", "player")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    without = sockets.socket_path("business", "player")

    assert with_runtime == tmp_path / "angzarr" / "business-player.sock"
    assert without == Path(f"/tmp/angzarr-{os.getuid()}/business-player.sock")


@pytest.mark.spec("OPS-12")
@pytest.mark.parametrize(
    ("address", "is_socket"),
    [("/run/x.sock", True), ("unix:x.sock", True), ("unix:///x", True), ("127.0.0.1:1", False)],
)
def test_address_that_starts_with_slash_or_unix_is_a_socket(address: str, is_socket: bool) -> None:
    from angzarr.rpc import sockets

    assert sockets.is_socket_address(address) is is_socket
