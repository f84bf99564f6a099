"""A child for strace: opens a store, says BEGIN-APPENDS, appends one event at a time, says
END-APPENDS."""

import asyncio
import os
import sys

from angzarr.stores import open_stores
from benches.pages import PAGES, fresh


async def main(path: str, count: int) -> None:
    stores = open_stores(f"rocksdb://{path}")
    cover = fresh()
    await stores.events.append(cover, 0, (PAGES[0],))
    os.write(1, b"BEGIN-APPENDS")
    for sequence in range(1, count + 1):
        await stores.events.append(cover, sequence, (PAGES[sequence],))
    os.write(1, b"END-APPENDS")
    await stores.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
