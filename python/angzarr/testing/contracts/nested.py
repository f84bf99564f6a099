"""Branches of branches: what they read, where they start, what they inherit (EDN-21, EDN-22)."""

from __future__ import annotations

import pytest

from angzarr.ports.event_store import EventStore
from angzarr.ports.stores import Stores
from angzarr.testing.contracts.base import StoreContract
from angzarr.testing.pages import book_of, cover_of, page, pages

MAIN = cover_of()
A, B, C, D = (MAIN.on(name) for name in "abcd")


async def given_example(stores: Stores) -> dict[str, list[bytes]]:
    """EDN-21's example, up to `a` writing 7; own pages by edition."""
    events, editions = stores.events, stores.editions
    own = {
        "main": pages(0, 10),
        "a": [page(n, value=b"a %d" % n) for n in (4, 5, 6, 7)],
        "b": [page(n, value=b"b %d" % n) for n in (6, 7)],
    }
    await editions.declare("b", parent="a")
    await editions.declare("c", parent="b")
    await editions.declare("d", parent="a")
    await events.append(MAIN, 0, own["main"])
    await events.append(A, 4, own["a"][:3], divergence=4)
    await events.append(B, 6, own["b"], divergence=6)
    await events.append(A, 7, own["a"][3:])
    return own


class NestedEditionContract(StoreContract):
    """Claims about branches of declared parents."""

    @pytest.mark.spec("EDN-21")
    async def test_a_branch_of_a_branch_is_the_specs_example(self, stores: Stores) -> None:
        own = await given_example(stores)
        events: EventStore = stores.events

        of_a = [*own["main"][:4], *own["a"]]
        of_b = [*own["main"][:4], *own["a"][:2], *own["b"]]
        assert (await events.load(A)).data == book_of(A, of_a)
        assert (await events.load(B)).data == book_of(B, of_b)
        of_c = await events.load(C, divergence=3)
        assert (of_c.data, of_c.next_sequence) == (book_of(C, own["main"][:3]), 3)
        of_d = await events.load(D)
        assert (of_d.data, of_d.next_sequence) == (book_of(D, of_a), 8)
