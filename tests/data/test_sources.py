"""What can be read: stores on disk, and the one of a server."""

from __future__ import annotations

import asyncio
import pathlib

from angzarr import App, data
from angzarr.client import connect_sync

from .conftest import Account, Deposit


async def test_a_store_on_disk_is_read_by_its_path(tmp_path: pathlib.Path) -> None:
    async with App(Account, store=f"rocksdict://{tmp_path}/db", sync=False) as app:
        await app.domain(Account).send("a", Deposit(5))

    rows = await asyncio.to_thread(
        data.read, f"rocksdict://{tmp_path}/db", fields=["cents"], definitions=[Account]
    )

    assert rows["cents"].tolist() == [5]


async def test_a_client_reads_its_servers_store(app: App) -> None:
    async with app:
        server = await app.serve(port=0)
        await app.domain(Account).send("a", Deposit(5))

        def read() -> data.Batch:
            with connect_sync(server.addresses[0]) as client:
                return data.read(client, fields=["cents"], definitions=[Account])

        rows = await asyncio.to_thread(read)
        await server.stop()

    assert rows["cents"].tolist() == [5]
