"""How much of a stream was in the log at a position of it (QRY-16)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from angzarr.errors import StoreClosed
from angzarr.ports.stores import Stores
from angzarr.testing.contracts.base import StoreContract
from angzarr.testing.pages import cover_of

CALLS: dict[str, Callable[[Stores], Awaitable[object]]] = {
    "events.length_at": lambda s: s.events.length_at(cover_of(), 1),
}


class LengthContract(StoreContract):
    """Claims about `length_at`."""

    @pytest.mark.spec("STO-5")
    async def test_a_length_is_refused_after_close(self, stores: Stores) -> None:
        await stores.close()

        with pytest.raises(StoreClosed):
            await CALLS["events.length_at"](stores)
