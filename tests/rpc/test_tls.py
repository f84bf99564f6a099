"""TLS and mutual TLS on TCP and Unix sockets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from angzarr import errors
from angzarr.ports.components import CallContext
from angzarr.rpc.client_transport import GrpcTransport
from angzarr.rpc.remote import Endpoint
from angzarr.rpc.server import Server, ServerOptions
from angzarr.rpc.services import Rpc
from angzarr.rpc.tls import TlsFiles

PATH = "/test.Echo/Echo"


def tls(pems: Path, name: str, **options: object) -> TlsFiles:
    files = {"ca": str(pems / "ca.pem"), "server_name": "localhost"}
    if name:
        files |= {"cert": str(pems / f"{name}.pem"), "key": str(pems / f"{name}.key")}
    return TlsFiles(**files, **options)  # type: ignore[arg-type]


async def echo(request: bytes, _context: CallContext) -> bytes:
    return request


async def start(files: TlsFiles, socket: Path) -> Server:
    server = Server(
        rpcs=(Rpc(service="test.Echo", method="Echo", unary=echo),),
        options=ServerOptions(port=0, socket=socket, tls=files, grace_s=0),
    )
    await server.start()
    return server


@pytest.mark.spec("OPS-10", "DEP-17", "COMPAT-20")
@pytest.mark.parametrize("index", [0, 1], ids=["tcp", "uds"])
async def test_tls_works_on_both_transports(pems: Path, tmp_path: Path, index: int) -> None:
    server = await start(tls(pems, "localhost"), tmp_path / "x.sock")
    transport = GrpcTransport(server.addresses[index], tls=tls(pems, ""))

    assert await transport.unary(PATH, b"secret") == b"secret"

    await transport.close()
    await server.stop()


@pytest.mark.spec("OPS-10")
async def test_remote_component_is_reached_over_tls(pems: Path, tmp_path: Path) -> None:
    server = await start(tls(pems, "localhost"), tmp_path / "x.sock")
    endpoint = Endpoint("tls://" + server.addresses[0], tls=tls(pems, ""))

    await endpoint.wait_serving()

    assert await endpoint.unary(PATH, b"secret", CallContext()) == b"secret"
    await endpoint.close()
    await server.stop()


@pytest.mark.spec("OPS-10")
async def test_client_without_a_certificate_is_refused_where_one_is_required(
    pems: Path, tmp_path: Path
) -> None:
    files = tls(pems, "localhost", require_client_cert=True)
    server = await start(files, tmp_path / "x.sock")
    without = GrpcTransport(server.addresses[0], tls=tls(pems, ""))
    with_one = GrpcTransport(server.addresses[0], tls=tls(pems, "client"))

    with pytest.raises(errors.RemoteError):
        await without.unary(PATH, b"", timeout_s=10)

    assert await with_one.unary(PATH, b"mutual") == b"mutual"
    await without.close()
    await with_one.close()
    await server.stop()


@pytest.mark.spec("OPS-10")
async def test_plain_client_is_refused_by_a_tls_server(pems: Path, tmp_path: Path) -> None:
    server = await start(tls(pems, "localhost"), tmp_path / "x.sock")
    plain = GrpcTransport(server.addresses[0])

    with pytest.raises(errors.RemoteError):
        await plain.unary(PATH, b"", timeout_s=10)

    await plain.close()
    await server.stop()


@pytest.mark.spec("OPS-10")
@pytest.mark.parametrize("wrong", ["cert", "key", "ca"])
async def test_file_that_is_no_pem_is_refused_by_name(pems: Path, wrong: str) -> None:
    files = tls(pems, "localhost", require_client_cert=True)
    nothing = pems / "nothing.pem"
    nothing.write_text("nothing")

    with pytest.raises(errors.InvalidInput, match=rf"transport\.tls\.{wrong}"):
        await Server(
            options=ServerOptions(port=0, tls=replace(files, **{wrong: str(nothing)}))
        ).start()


@pytest.mark.spec("OPS-10")
@pytest.mark.parametrize(
    "files",
    [
        TlsFiles(cert="/nowhere.pem", key="/nowhere.key"),
        TlsFiles(cert="/nowhere.pem"),
        TlsFiles(cert="/nowhere.pem", key="/nowhere.key", require_client_cert=True),
    ],
)
async def test_incomplete_or_missing_files_are_refused(files: TlsFiles) -> None:
    with pytest.raises(errors.InvalidInput, match=r"transport\.tls"):
        await Server(options=ServerOptions(port=0, tls=files)).start()
