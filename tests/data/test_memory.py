"""What a reading keeps in memory does not grow with the log."""

from __future__ import annotations

import tracemalloc

import pytest

from angzarr import data
from angzarr.cover import Cover
from angzarr.data.made import Made
from angzarr.ports.stores import Stores
from angzarr.stores import open_stores

from .conftest import Account

ROWS = 1_000
URL = "json.angzarr.io/account.Deposited"


async def filled(count: int) -> Stores:
    """A store of so many deposits in streams of a thousand, each with a note of 100 bytes."""
    stores = open_stores("memory://")
    for stream in range(count // ROWS):
        pages = [
            Made(n, n, URL, b'{"cents":%d,"note":"%098d"}' % (n, stream * ROWS + n)).encoded()
            for n in range(ROWS)
        ]
        await stores.events.append(Cover.of("account", f"a{stream}"), 0, pages)
    return stores


async def peak_bytes(stores: Stores, **options: object) -> int:
    """The most that was allocated at one time while all was read."""
    tracemalloc.start()
    found = data.batches(
        stores,
        fields={"cents": "cents", "note": data.Field("account.Deposited", "note", "strings")},
        definitions=[Account],
        batch_rows=ROWS,
        **options,  # type: ignore[arg-type]
    )
    count = 0
    async for batch in found:
        count += len(batch)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count >= ROWS
    return peak


@pytest.mark.spec("DATA-9")
@pytest.mark.parametrize("options", [{}, {"payloads": True}, {"inherited": True}])
async def test_a_long_log_takes_no_more_memory_than_a_short_one(options: dict[str, object]) -> None:
    await peak_bytes(await filled(2 * ROWS), **options)  # what is imported and cached at first
    short = await peak_bytes(await filled(5 * ROWS), **options)

    long = await peak_bytes(await filled(40 * ROWS), **options)

    assert long < 1.3 * short
    assert long < 6_000_000
