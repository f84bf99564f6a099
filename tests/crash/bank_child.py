"""One process of the bank, forked by bank_zygote.py: it works until it is killed.

It says on its socket, a message each: `ready`, `at POINT` just before it kills itself, `failed`;
and is told there the point to die at.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bank_app import Feed, make_app
from bank_points import Point, Points, WatchedStores, watched_function, watched_method

from angzarr import assembly
from angzarr.config import store_settings
from angzarr.readstores import sqlite
from angzarr.rpc import remote

SOCKET_FILE: Final = Path("s")
"""Short, since a socket's whole path has a limit of 107 bytes."""


@dataclass(frozen=True, slots=True)
class Job:
    """role: what log files and failures call it. directory: of the store, and where it works.

    select: components. store: its URL. listens: whether it serves others on `SOCKET_FILE`.
    settings: of the configuration. failpoints: of the engine. point: where it kills itself, "" for
    nowhere until it is told.
    """

    role: str
    directory: str
    select: str
    store: str
    listens: bool
    settings: dict[str, object]
    failpoints: str = ""
    point: str = ""


def live(job: Job, parent: socket.socket) -> None:
    """The process's life; it returns only if something failed, and never raises."""
    try:
        os.chdir(job.directory)
        log = os.open(f"{job.role}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        logging.basicConfig(format=f"{os.getpid()} %(asctime)s %(name)s %(levelname)s %(message)s")
        os.environ["ANGZARR_FAILPOINTS"] = job.failpoints
        asyncio.run(_serve(job, parent))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        parent.send(b"failed")


async def _serve(job: Job, parent: socket.socket) -> None:
    def tell(line: str) -> None:
        parent.send(line.encode())

    points = Points(lambda point: tell(f"at {point}"))
    if job.point:
        points.arm(Point.parse(job.point))
    watch(points)
    parent.setblocking(False)
    app = make_app()
    app.configure({**store_settings(job.store), **job.settings}, select=job.select)
    async with app:
        _kept = await app.serve(socket=SOCKET_FILE) if job.listens else None
        asyncio.get_running_loop().add_reader(parent, _listen, parent, points)
        tell("ready")
        await asyncio.Event().wait()


def _listen(parent: socket.socket, points: Points) -> None:
    data = parent.recv(4096)
    if not data:
        os._exit(0)  # nobody is left to work for
    points.arm(Point.parse(data.decode()))


def watch(points: Points) -> None:
    """Make steps of all durable writes of this process."""
    open_store = assembly.open_store
    assembly.open_store = lambda *arguments: WatchedStores(open_store(*arguments), points)
    model = sqlite.SqliteModel

    def is_commit(_self: object, *, is_committed: bool) -> bool:
        return is_committed

    model.end = watched_function(model.end, "statement.commit", points, is_step=is_commit)
    Feed._put = watched_function(Feed._put, "feed.put", points)
    elsewhere = remote.RemoteCoordinator
    for name in ("handle_command", "handle_event", "handle_compensation"):
        setattr(elsewhere, name, watched_method(getattr(elsewhere, name), "command.sent", points))
