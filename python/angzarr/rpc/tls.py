"""TLS files and what is made of them: servers and clients, TCP and Unix sockets (OPS-10)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from angzarr.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Paths of PEM files.

    cert and key: what this side shows; a server needs both, a client for mutual TLS. ca: whom this
    side trusts; "" trusts the system's authorities. require_client_cert: servers, mutual TLS.
    server_name: clients, the name to expect in the certificate where it isn't the address, as on a
    Unix socket.
    """

    cert: str = ""
    key: str = ""
    ca: str = ""
    require_client_cert: bool = False
    server_name: str = ""


def server_pems(tls: TlsFiles) -> tuple[bytes, bytes, bytes | None]:
    """What to listen with: certificates, key, and who signs clients' certificates if they need one.

    Raises InvalidInput for a file that can't be read.
    """
    if not tls.cert or not tls.key:
        raise InvalidInput("transport.tls", "a cert and a key", tls.cert or tls.key)
    if tls.require_client_cert and not tls.ca:
        raise InvalidInput("transport.tls.ca", "set where client certificates are required", "")
    ca = _read("ca", tls.ca) if tls.require_client_cert else None
    return _read("cert", tls.cert), _read("key", tls.key), ca


def channel_credentials(tls: TlsFiles) -> grpc.ChannelCredentials:
    """Credentials to connect with. Raises InvalidInput as `server_pems`."""
    return grpc.ssl_channel_credentials(
        root_certificates=_read("ca", tls.ca) if tls.ca else None,
        private_key=_read("key", tls.key) if tls.key else None,
        certificate_chain=_read("cert", tls.cert) if tls.cert else None,
    )


def _read(name: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidInput(f"transport.tls.{name}", "a readable PEM file", path) from error
