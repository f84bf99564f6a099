"""Clients of a server: `connect` for asyncio, `connect_sync` for everything else.

async with connect("127.0.0.1:1310") as client:
    await client.domain("account").send("alice", Deposit(500))

with connect_sync() as client:
    client.domain("account").send("alice", Deposit(500))
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from angzarr.caller import Caller
from angzarr.caller_sync import SyncCaller
from angzarr.handlers.aggregate import Aggregate

if TYPE_CHECKING:
    from angzarr.rpc.tls import TlsFiles

DEFAULT_ADDRESS: Final = "127.0.0.1:1310"


def connect(
    address: str = DEFAULT_ADDRESS,
    *,
    ca: str | Path = "",
    cert: str | Path = "",
    key: str | Path = "",
    server_name: str = "",
    aggregates: Iterable[type[Aggregate]] = (),
) -> Caller:
    """A client over one kept connection, for the event loop that runs now.

    address: `host:port`, `tls://host:port`, `/path` or `unix:/path` of a socket. ca, cert, key:
    PEM files for TLS.
    server_name: the name in the server's certificate where it is not the address.
    aggregates: the classes of domains that are then named: events come decoded, states typed.

    Connecting begins with the first call; a server that is away is RemoteError UNAVAILABLE there,
    and a later call connects again by itself. Raises InvalidInput for an address that does not
    parse, RuntimeError without a loop.
    """
    import asyncio

    asyncio.get_running_loop()
    from angzarr.rpc.client_transport import GrpcTransport

    transport = GrpcTransport(address, tls=_tls(ca, cert, key, server_name))
    return Caller(transport, aggregates)


def connect_sync(
    address: str = DEFAULT_ADDRESS,
    *,
    ca: str | Path = "",
    cert: str | Path = "",
    key: str | Path = "",
    server_name: str = "",
    aggregates: Iterable[type[Aggregate]] = (),
) -> SyncCaller:
    """The same without an event loop; it may be used from several threads."""
    from angzarr.rpc.client_transport import SyncGrpcTransport

    transport = SyncGrpcTransport(address, tls=_tls(ca, cert, key, server_name))
    return SyncCaller(transport, aggregates)


def _tls(ca: str | Path, cert: str | Path, key: str | Path, server_name: str) -> TlsFiles | None:
    if not (ca or cert or key):
        return None
    from angzarr.rpc.tls import TlsFiles

    return TlsFiles(ca=str(ca), cert=str(cert), key=str(key), server_name=server_name)
