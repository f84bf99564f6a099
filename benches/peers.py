"""The systems that we compare with, started on loopback or a socket and ended by who started
them."""

from __future__ import annotations

import contextlib
import glob
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import umadb

from benches.harness import scratch

POSTGRES_BIN = "/usr/lib/postgresql/15/bin"
START_S = 30.0


@contextlib.contextmanager
def umadb_server() -> Iterator[str]:
    """A umadb server on a fresh database; its URL."""
    with scratch() as folder:
        address = f"127.0.0.1:{free_port()}"
        program = [shutil.which("umadb", path=str(pathlib.Path(sys.executable).parent)) or "umadb"]
        arguments = ["--listen", address, "--db-path", str(folder / "uma.db")]
        with process([*program, *arguments]):
            url = f"http://{address}"
            wait(lambda: umadb.Client(url).head() is None or True, "umadb")
            yield url


@contextlib.contextmanager
def postgres_server() -> Iterator[pathlib.Path]:
    """A PostgreSQL 15 cluster with Debian's defaults and no TCP; the folder of its socket.

    As root it runs under the `postgres` user, since PostgreSQL refuses to be root.
    """
    binaries = pathlib.Path(POSTGRES_BIN)
    if not (binaries / "postgres").exists():
        raise SystemExit(
            f"the benches need PostgreSQL 15 in {binaries} (Debian package postgresql-15)"
        )
    with scratch() as folder:
        user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        if user:
            shutil.chown(folder, **user)
        data = folder / "data"
        setup = [binaries / "initdb", "-D", data, "-U", "bench", "-A", "trust", "--no-sync"]
        subprocess.run(setup, check=True, stdout=subprocess.DEVNULL, cwd="/", **user)
        options = [
            "-c",
            "listen_addresses=",
            "-c",
            f"unix_socket_directories={folder}",
            "-c",
            "max_connections=100",
        ]
        with process([binaries / "postgres", "-D", data, *options], cwd="/", **user):
            wait(lambda: bool(glob.glob(f"{folder}/.s.PGSQL.*[0-9]")), "postgres")
            yield folder


@contextlib.contextmanager
def process(command: list[object], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A child that is terminated, and killed if it does not heed that."""
    child = subprocess.Popen(
        [str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def wait(is_up: Callable[[], bool], what: str) -> None:
    """Until `is_up` is true and raises no more, at most START_S."""
    end = time.monotonic() + START_S
    while True:
        error: Exception | None = None
        try:
            if is_up():
                return
        except Exception as caught:
            error = caught
        if time.monotonic() > end:
            raise SystemExit(f"{what} did not start: {error}")
        time.sleep(0.05)


def free_port() -> int:
    """A TCP port that the system says is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
