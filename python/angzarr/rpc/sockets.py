"""Unix sockets: where they are, who owns them, and what becomes of old ones (OPS-12)."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from angzarr.errors import InvalidInput

DIRECTORY_MODE = 0o700
PATH_BYTES_MAX = 107
"""What fits into a Unix socket's address on Linux."""


def default_base() -> Path:
    """`$XDG_RUNTIME_DIR/angzarr`, else `/tmp/angzarr-{uid}`."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime, "angzarr") if runtime else Path(f"/tmp/angzarr-{os.getuid()}")


def socket_path(service: str, qualifier: str, base: Path | None = None) -> Path:
    """Where the socket of a service is: `{base}/{service}-{qualifier}.sock`."""
    return (base or default_base()) / f"{service}-{qualifier}.sock"


def is_socket_address(address: str) -> bool:
    """Whether an address names a Unix socket: it starts with `/` or `unix:`."""
    return address.startswith(("/", "unix:"))


def path_of(address: str) -> Path:
    """The path in `/path`, `unix:path`, `unix:/path` or `unix:///path`."""
    path = address.removeprefix("unix:")
    return Path("/" + path.lstrip("/") if path.startswith("/") else path)


def claim(path: Path) -> None:
    """Make `path` free to listen on: its directory exists, and what a dead server left is removed.

    A directory that is made here is for its owner only; the default one is checked to be so. Raises
    InvalidInput with the path where a server answers on it, where something else is in its place,
    and where others may write the default directory.
    """
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        raise InvalidInput("transport.uds", f"a path of at most {PATH_BYTES_MAX} bytes", path)
    _claim_directory(path.parent)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise InvalidInput("transport.uds", "a socket or a free path", path)
    if is_live(path):
        raise InvalidInput("transport.uds", "a socket on which no other server listens", path)
    path.unlink(missing_ok=True)


def is_live(path: Path) -> bool:
    """Whether something accepts connections on the socket at `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full backlog is a live server, too
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
        return True


def _claim_directory(directory: Path) -> None:
    directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    if directory != default_base():
        return
    found = directory.stat()
    if found.st_uid != os.getuid():
        raise InvalidInput("transport.uds.base_path", "a directory of this user", directory)
    if stat.S_IMODE(found.st_mode) != DIRECTORY_MODE:
        directory.chmod(DIRECTORY_MODE)
