"""The log as columns (see `angzarr.ports.columns`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from angzarr.errors import StoreClosed
from angzarr.ports.stores import Stores
from angzarr.testing.contracts.base import StoreContract

CALLS: dict[str, Callable[[Stores], Awaitable[object]]] = {
    "events.scan": lambda s: s.events.scan(0),
}


class ScanContract(StoreContract):
    """Claims about `scan`."""

    @pytest.mark.spec("STO-5")
    async def test_a_scan_is_refused_after_close(self, stores: Stores) -> None:
        await stores.close()

        with pytest.raises(StoreClosed):
            await CALLS["events.scan"](stores)
