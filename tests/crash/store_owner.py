"""The process that has a store open for others, in crash tests: it serves it until it is killed.

Reads one line of JSON from stdin as child.py does, and says `at HOST:PORT` when it is ready.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from angzarr.rpc.server import Server, ServerOptions
from angzarr.rpc.store import StoreService
from angzarr.stores import open_stores

MESSAGE_BYTES_MAX = 10 * 1024 * 1024


async def main(job: dict[str, object]) -> None:
    os.environ["ANGZARR_FAILPOINTS"] = str(job["failpoints"])
    stores = open_stores(f"rocksdb://{job['path']}", sync=bool(job["is_sync"]))
    service = StoreService(stores, message_bytes_max=MESSAGE_BYTES_MAX)
    server = Server(store=service, options=ServerOptions(port=0))
    [address] = await server.start()
    os.write(1, f"at {address}\n".encode())
    await server.wait()


if __name__ == "__main__":
    line = sys.stdin.readline()
    if line:
        asyncio.run(main(json.loads(line)))
