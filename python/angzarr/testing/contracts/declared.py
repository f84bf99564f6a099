"""Declared editions: their records, limits and branches (EDN-20, EDN-23 to EDN-25)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from angzarr.errors import StoreClosed
from angzarr.ports.stores import Stores
from angzarr.testing.contracts.base import StoreContract

CALLS: dict[str, Callable[[Stores], Awaitable[object]]] = {
    "editions.declare": lambda s: s.editions.declare("kid"),
    "editions.get": lambda s: s.editions.get("kid"),
    "editions.list": lambda s: s.editions.list(),
    "editions.forget": lambda s: s.editions.forget("kid"),
    "editions.usage": lambda s: s.editions.usage("kid"),
    "editions.branches": lambda s: s.editions.branches("account", "kid"),
}


class DeclaredEditionContract(StoreContract):
    """Claims about the edition store."""

    @pytest.mark.spec("STO-5")
    @pytest.mark.parametrize("name", sorted(CALLS))
    async def test_editions_are_refused_after_close(self, stores: Stores, name: str) -> None:
        await stores.close()

        with pytest.raises(StoreClosed):
            await CALLS[name](stores)
