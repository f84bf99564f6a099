"""The process that crash tests kill: many tasks write to one store and print what was acknowledged.

Reads one line of JSON from stdin: path, round, client_count, is_sync, failpoints, backup (a
directory or ""), url (of a store elsewhere, or ""). Runs until it is killed, or until stdin is
closed; with 3 it ends when the store elsewhere is gone.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from itertools import count
from pathlib import Path

from workload import EDITION, changes_of, page_of, provenance_of, snapshot_of, stream_of

from angzarr.cover import Cover
from angzarr.errors import SequenceConflict, StoreUnavailable
from angzarr.ports.event_store import COMMIT, ROLLBACK
from angzarr.ports.stores import Stores
from angzarr.stores import open_stores

PAGES_BEFORE_BACKUP = 200


def acknowledge(*fields: object) -> None:
    """Tell the parent, with one write, so that a line is whole or absent."""
    os.write(1, (" ".join(map(str, fields)) + "\n").encode())


class Client:
    """One task's writes; which ones follows from its count."""

    def __init__(self, stores: Stores, round_number: int, number: int) -> None:
        self.stores = stores
        self.events = stores.events
        self.number = number
        self.prefix = f"r{round_number}c{number}n"

    async def run(self) -> None:
        own, shared = stream_of(f"own-{self.number}"), stream_of(f"shared-{self.number % 2}")
        for step in count():
            label = f"{self.prefix}{step}"
            await self.append((own, shared, own, own.on(EDITION))[step % 4], label, step)
            if step % 7 == 3:
                await self.cascade(stream_of(f"cascade-{self.number}"), label + "x", step)
            if step % 6 == 4:
                await self.stores.positions.put_cursor(self.prefix, step)
                acknowledge("cursor", self.prefix, step)
            if step % 11 == 5:
                acknowledge("letter", await self.stores.dead_letters.put(label.encode()), label)

    async def append(self, cover: Cover, label: str, step: int) -> None:
        """One batch at the stream's head; again at the new head if another client was first."""
        page_count = 1 + step % 4
        while True:
            first = await self.events.next_sequence(cover)
            pages = [page_of(first + i, label, i, page_count) for i in range(page_count)]
            try:
                await self.events.append(
                    cover,
                    first,
                    pages,
                    provenance=provenance_of(label) if step % 3 == 0 else None,
                    obligations=changes_of(label, step, f"timer-{self.number}"),
                    snapshot=snapshot_of(first + page_count - 1) if step % 5 == 2 else None,
                )
            except SequenceConflict:
                continue
            acknowledge("append", cover.edition, cover.root.hex(), first, page_count, label)
            return

    async def cascade(self, cover: Cover, label: str, step: int) -> None:
        """Pending pages, their decision and its marker."""
        first = await self.events.next_sequence(cover)
        pages = [page_of(first + i, label, i, 2, cascade_id=label) for i in range(2)]
        await self.events.append(cover, first, pages, cascade_id=label)
        acknowledge("append", cover.edition, cover.root.hex(), first, 2, label)
        outcome = (COMMIT, ROLLBACK)[step % 2]
        await self.events.decide_cascade(label, outcome)
        acknowledge("decide", label, outcome)
        await self.events.resolve_cascade(cover, label)
        acknowledge("resolve", label)


async def main(job: dict[str, object]) -> None:
    os.environ["ANGZARR_FAILPOINTS"] = str(job["failpoints"])
    url = str(job["url"] or f"rocksdb://{job['path']}")
    stores = open_stores(url, sync=bool(job["is_sync"]))
    acknowledge("open")
    clients = [
        Client(stores, int(str(job["round"])), n) for n in range(int(str(job["client_count"])))
    ]
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.run())
        if job["backup"]:
            await stores.events.tail(PAGES_BEFORE_BACKUP, wait_s=60)
            await stores.backup(Path(str(job["backup"])))
            acknowledge("backup", job["backup"])


if __name__ == "__main__":
    line = sys.stdin.readline()
    if line:
        job = json.loads(line)
        try:
            asyncio.run(main(job))
        except* StoreUnavailable:
            if not job["url"]:
                raise
            os._exit(3)
