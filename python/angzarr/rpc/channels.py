"""Connections to other processes: endpoints, options and what travels beside a message (OPS-11)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import grpc
import grpc.aio

from angzarr.errors import InvalidInput, RemoteError
from angzarr.ports.components import CallContext
from angzarr.rpc import sockets
from angzarr.rpc.tls import TlsFiles, channel_credentials

MESSAGE_SIZE_KB: Final = 10_240
METADATA_BYTES_MAX: Final = 64 * 1024
"""What we read of a peer's trailers: more than gRPC's 8 KiB, since error details are in them."""

Metadata = tuple[tuple[str, str | bytes], ...]

_NONE: Final[Mapping[str, int | str]] = {}

_HOP_KEYS = frozenset(
    {"user-agent", "te", "content-type", "host", "connection", "accept-encoding", "via"}
)


def target_of(endpoint: str) -> str:
    """gRPC's name for an endpoint: `tcp://host:port`, `tls://host:port`, `host:port`, or a socket.

    Raises InvalidInput for anything else.
    """
    if sockets.is_socket_address(endpoint):
        return f"unix:{sockets.path_of(endpoint)}"
    scheme, separator, address = endpoint.rpartition("://")
    host, colon, port = address.rpartition(":")
    is_known = not separator or scheme in ("tcp", "tls", "http", "https", "grpc")
    if not is_known or not host or not colon or not port.isdecimal():
        raise InvalidInput("endpoint", "tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH", endpoint)
    return address


def is_tls(endpoint: str, tls: TlsFiles | None) -> bool:
    """Whether an endpoint is reached over TLS: its scheme says so, or files are configured."""
    return tls is not None or endpoint.startswith(("tls://", "https://"))


def open_channel(
    endpoint: str,
    *,
    tls: TlsFiles | None = None,
    message_size_kb: int = MESSAGE_SIZE_KB,
    more: Mapping[str, int | str] = _NONE,
) -> grpc.aio.Channel:
    """A channel that is kept and reconnects by itself; connecting begins with the first call.

    more: gRPC's own options beside, or in place of, those of `options_for`.
    """
    target = target_of(endpoint)
    options = tuple({**dict(options_for(tls, message_size_kb)), **more}.items())
    if is_tls(endpoint, tls):
        credentials = channel_credentials(tls or TlsFiles())
        return grpc.aio.secure_channel(target, credentials, options=options)
    return grpc.aio.insecure_channel(target, options=options)


def open_sync_channel(
    endpoint: str, *, tls: TlsFiles | None = None, message_size_kb: int = MESSAGE_SIZE_KB
) -> grpc.Channel:
    """As `open_channel`, for threads."""
    target, options = target_of(endpoint), options_for(tls, message_size_kb)
    if is_tls(endpoint, tls):
        return grpc.secure_channel(target, channel_credentials(tls or TlsFiles()), options=options)
    return grpc.insecure_channel(target, options=options)


def options_for(tls: TlsFiles | None, message_size_kb: int) -> tuple[tuple[str, int | str], ...]:
    """Channel options: limits, quick reconnects, a connection of its own.

    What gRPC calls the shortest backoff is how long one attempt to connect may take; a busy machine
    may need more than a moment for it.
    """
    size_bytes = message_size_kb * 1024
    options: tuple[tuple[str, int | str], ...] = (
        ("grpc.max_receive_message_length", 2 * size_bytes),
        ("grpc.max_send_message_length", 2 * size_bytes),
        ("grpc.max_metadata_size", METADATA_BYTES_MAX),
        ("grpc.absolute_max_metadata_size", 2 * METADATA_BYTES_MAX),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 5_000),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.use_local_subchannel_pool", 1),
    )
    if tls is not None and tls.server_name:
        options = (*options, ("grpc.ssl_target_name_override", tls.server_name))
    return options


def timeout_s(context: CallContext) -> float | None:
    """What is left of the caller's deadline. Raises RemoteError DEADLINE_EXCEEDED if nothing is."""
    if context.deadline_ns is None:
        return None
    left_s = (context.deadline_ns - time.monotonic_ns()) / 1e9
    if left_s <= 0:
        raise RemoteError("DEADLINE_EXCEEDED", "Deadline Exceeded", error_kind="unavailable")
    return left_s


def forwarded(metadata: Mapping[str, str | bytes]) -> Metadata:
    """The caller's metadata without what belongs to one connection (WIRE-12, DEP-4)."""
    return tuple(
        (key, value)
        for key, value in metadata.items()
        if key not in _HOP_KEYS and not key.startswith((":", "grpc-"))
    )
