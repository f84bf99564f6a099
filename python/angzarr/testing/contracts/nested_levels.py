"""A chain of branches to make claims about: main 0-9, `l1` from 4, `l2` from 6, `l3` from 8 on."""

from __future__ import annotations

from typing import Final

from angzarr.cover import Cover
from angzarr.ports.stores import Stores
from angzarr.testing.clock import START_NS
from angzarr.testing.pages import cover_of, page

MAIN: Final = cover_of()
LEVELS: Final = [1, 2, 3]
BEGINNINGS: Final = {0: 0, 1: 4, 2: 6, 3: 8}
LENGTHS: Final = {0: 10, 1: 4, 2: 3, 3: 2}
"""First own sequence and count of own pages on each level; every level ends beyond where the next
one begins."""


def own_page(level: int, sequence: int) -> bytes:
    """A page that tells its level, and whose time follows from its sequence."""
    value = b"level %d, %d" % (level, sequence)
    return page(sequence, value=value, created_at_ns=START_NS + sequence)


def own_pages(level: int) -> list[bytes]:
    """What a level has itself."""
    first = BEGINNINGS[level]
    return [own_page(level, n) for n in range(first, first + LENGTHS[level])]


def expected_at(level: int) -> list[bytes]:
    """The composite pages of a level."""
    if not level:
        return own_pages(0)
    return [*expected_at(level - 1)[: BEGINNINGS[level]], *own_pages(level)]


async def given_levels(
    stores: Stores, level: int, *, is_written: bool = True
) -> tuple[Cover, list[bytes]]:
    """Write the levels up to `level`; its stream and that one's composite pages.

    is_written: else the stream is that of a branch of the last one written, which has no pages.
    """
    await stores.events.append(MAIN, 0, own_pages(0))
    for number in range(1, level + 1):
        name = f"l{number}"
        if number > 1:
            await stores.editions.declare(name, parent=f"l{number - 1}")
        if number < level or is_written:
            first = BEGINNINGS[number]
            await stores.events.append(MAIN.on(name), first, own_pages(number), divergence=first)
    return MAIN.on(f"l{level}"), expected_at(level if is_written else level - 1)
