"""The story in each shape, told once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the modules that other processes import, too

from . import shapes, telling
from .watching import CONSUMERS

NOT_OF_PEERS = frozenset({"saga-wrapping"})
"""Has rejection handlers, which sagas of the published client have not."""


@pytest.fixture(scope="session")
def whole() -> Iterator[telling.Told]:
    """In one process."""
    with telling.place() as site:
        yield asyncio.run(telling.tell(site, shapes.Site.whole, telling.PARTS, CONSUMERS))


@pytest.fixture(scope="session")
def split() -> Iterator[telling.Told]:
    """Each component in a process of its own."""
    with telling.place() as site:
        yield asyncio.run(telling.tell(site, shapes.Site.split, telling.PARTS, CONSUMERS))


@pytest.fixture(scope="session")
def peers(peer: Path) -> Iterator[telling.Told]:
    """Handlers of the published client, as far as they can do the same."""
    consumers = {name: CONSUMERS[name] for name in CONSUMERS if name not in NOT_OF_PEERS}
    with telling.place() as site:
        yield asyncio.run(
            telling.tell(site, lambda site: site.peers(peer), telling.PARTS_OF_PEERS, consumers)
        )
