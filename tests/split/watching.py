"""What a shop's store holds: the log, positions, dead letters, obligations, read models."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from angzarr import wire
from angzarr.codec import full_name
from angzarr.cover import MAIN, Cover
from angzarr.errors import StoreUnavailable
from angzarr.ports.clock import SystemClock
from angzarr.ports.event_store import LogEntry
from angzarr.ports.stores import Stores

from .driving import shown

FAR_NS: Final = 60 * 10**9
"""Duties that are due later than that wait for their time; leases of what is worked on are shorter.
"""
LOOK_S: Final = 0.02
PAGE: Final = 1_000

Wanted = Mapping[str, frozenset[str]]
"""By consumer: the domains, or `domain:Type`, that are delivered to it."""

CONSUMERS: Final[dict[str, frozenset[str]]] = {
    "saga-confirming": frozenset({"stock:Reserved"}),
    "saga-shipping": frozenset({"order:Paid"}),
    "saga-wrapping": frozenset({"order:WrapAsked"}),
    "process-manager-fulfilment": frozenset(
        {"order:Placed", "order:Cancelled", "shipment:Shipped", "fulfilment:Failed"}
    ),
    "projector-orders": frozenset({"order", "shipment"}),
    "projector-totals": frozenset({"order"}),
}
CORRELATED: Final = frozenset({"process-manager-fulfilment"})
ON_MAIN: Final = frozenset({"projector-orders", "projector-totals"})


@dataclass(frozen=True)
class Seen:
    """All that is compared.

    log: an entry a line, in the order of positions. stored: by stream, its pages as they lie in the
    store. positions: by consumer and stream. rows: by read model and table, without the cursor,
    which is copied now and then.
    """

    log: list[str]
    stored: dict[str, list[str]]
    positions: dict[str, int | None]
    letters: list[str]
    next_due: int | None = field(compare=False)
    rows: dict[str, list[tuple[object, ...]]] = field(default_factory=dict)


async def settled(stores: Stores, consumers: Wanted = CONSUMERS) -> None:
    """Return when all that is in the log was reacted to, and no duty is due soon.

    A process that restarts meanwhile is waited for.
    """
    while True:
        try:
            head = await stores.events.log_head()
            if (
                await _are_done(stores, consumers)
                and await _is_idle(stores)
                and await stores.events.log_head() == head
            ):
                return
            await stores.events.tail(head, wait_s=LOOK_S)
        except StoreUnavailable:
            continue


async def log_of(stores: Stores) -> AsyncIterator[LogEntry]:
    """The whole log; one answer need not have all that was asked for."""
    after = 0
    while entries := await stores.events.tail(after, limit=PAGE):
        for entry in entries:
            yield entry
        after = entries[-1].position


async def passed(stores: Stores, consumers: Wanted, position: int) -> None:
    """Return when all consumers have passed a position in the log, which goes on."""
    while True:
        places = [await stores.positions.cursor(consumer) or 0 for consumer in consumers]
        if min(places) >= position:
            return
        await stores.events.tail(await stores.events.log_head(), wait_s=LOOK_S)


async def _are_done(stores: Stores, consumers: Wanted) -> bool:
    last = dict.fromkeys(consumers, 0)
    async for entry in log_of(stores):
        book = wire.EventBook.FromString(entry.book)
        names = {full_name(page.event.type_url).rpartition(".")[2] for page in book.pages}
        kinds = {book.cover.domain, *(f"{book.cover.domain}:{name}" for name in names)}
        for consumer in consumers:
            if consumer in CORRELATED and not book.cover.correlation_id:
                continue
            if consumer in ON_MAIN and book.cover.edition.name not in ("", MAIN):
                continue
            if kinds & consumers[consumer]:
                last[consumer] = entry.position
    for consumer, position in last.items():
        if (await stores.positions.cursor(consumer) or 0) < position:
            return False
    return True


async def _is_idle(stores: Stores) -> bool:
    due_ns = await stores.obligations.next_due()
    return due_ns is None or due_ns > SystemClock().now_ns() + FAR_NS


async def seen(
    stores: Stores, read_models: Mapping[str, Path], plain: Callable[[str], str]
) -> Seen:
    """What is there now. plain: takes out of a text what was made up in this run."""
    log: list[str] = []
    covers: dict[str, Cover] = {}
    async for entry in log_of(stores):
        book = wire.EventBook.FromString(entry.book)
        log.append(plain(f"{entry.position}: {shown(book)}"))
        cover = Cover(book.cover.domain, book.cover.root.value, book.cover.edition.name)
        covers[str(cover)] = cover
    stored = {
        name: [plain(shown(page)) for page in await _pages(stores, cover)]
        for name, cover in covers.items()
    }
    positions = {
        f"{consumer} {name}": await stores.positions.get(consumer, cover)
        for consumer in CONSUMERS
        for name, cover in sorted(covers.items())
    }
    letters = [
        plain(shown(wire.AngzarrDeadLetter.FromString(letter.letter)))
        for letter in reversed(await stores.dead_letters.list(limit=500))
    ]
    rows = {name: rows_of(path) for name, path in read_models.items()}
    return Seen(log, stored, positions, letters, await stores.obligations.next_due(), rows)


async def _pages(stores: Stores, cover: Cover) -> Sequence[wire.EventPage]:
    return wire.EventBook.FromString((await stores.events.load(cover)).data).pages


async def cursors(stores: Stores) -> dict[str, int | None]:
    """Of each consumer; exact when its process has ended."""
    return {consumer: await stores.positions.cursor(consumer) for consumer in CONSUMERS}


def rows_of(path: Path) -> list[tuple[object, ...]]:
    """All rows of a read model, with the positions of streams."""
    found: list[tuple[object, ...]] = []
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        tables = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        for (table,) in tables.fetchall():
            if table != "angzarr_read_model":
                found += [(table, *row) for row in sorted(db.execute(f"SELECT * FROM {table}"))]
    return found
