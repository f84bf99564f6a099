"""Waiting until nothing is on its way in the bank any more, and reading what is there then."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bank_app import EVENTS, FEED_FILE, STATEMENT_FILE, Feed, Statement
from bank_cluster import Cluster
from bank_history import Found, Happened, ReadModel, Row

from angzarr import wire
from angzarr.calls import decoder
from angzarr.errors import StoreUnavailable
from angzarr.handlers import LocalProjector
from angzarr.ports.stores import Stores
from angzarr.readstores._sqlite import statements

CONSUMERS: Final = (
    "saga-transfers",
    "saga-audit",
    "process-manager-watch",
    "projector-statement",
    "projector-feed",
)
LOOK_S: Final = 0.015
"""Between two looks at whether everything is done."""
DECODERS: Final = {domain: decoder(types, domain) for domain, types in EVENTS.items()}


async def settled(cluster: Cluster) -> None:
    """Wait until every consumer has finished the whole log and no obligation is open.

    Nobody sends anything meanwhile, so nothing comes after that.
    """
    life = 0
    while True:
        connection = await cluster.connection(after=life)
        try:
            while not await _is_settled(connection.stores):  # noqa: ASYNC110  it is elsewhere
                await asyncio.sleep(LOOK_S)
            return
        except StoreUnavailable:
            life = connection.number


async def _is_settled(stores: Stores) -> bool:
    """Asked often, so that it stops at the first thing that is left to do."""
    head = await stores.events.log_head()
    for name in CONSUMERS:
        if await stores.positions.cursor(name) != head:
            return False
    if await stores.obligations.next_due() is not None:
        return False
    return await stores.events.log_head() == head


async def found(cluster: Cluster) -> Found:
    """All that the processes have left, read while they run."""
    connection = await cluster.connection()
    books = await _books(connection.stores)
    return Found(
        log=[happened for book in books for happened in _events(book)],
        read=_read(cluster.directory),
        replayed=await _replayed(books),
        letters=await _letters(connection.stores),
    )


async def unsettled(cluster: Cluster) -> str:
    """Why it does not settle."""
    stores = (await cluster.connection()).stores
    try:
        head = await stores.events.log_head()
        cursors = {name: await stores.positions.cursor(name) for name in CONSUMERS}
        duties = await stores.obligations.due(2**62, limit=1_000, lease_s=0)
    except StoreUnavailable as error:
        return str(error)
    return f"head {head}, cursors {cursors}, obligations {duties}"


async def _books(stores: Stores) -> list[wire.EventBook]:
    books: list[wire.EventBook] = []
    position = 0
    while entries := await stores.events.tail(position, limit=1_000):
        books += [wire.EventBook.FromString(entry.book) for entry in entries]
        position = entries[-1].position
    return books


def _events(book: wire.EventBook) -> list[Happened]:
    domain, root = book.cover.domain, book.cover.root.value
    decode = DECODERS.get(domain) or decoder(())
    return [Happened(domain, root, page.header.sequence, decode(page)) for page in book.pages]


async def _letters(stores: Stores) -> list[Row]:
    letters: list[Row] = []
    before: str | None = None
    while page := await stores.dead_letters.list(before=before, limit=100):
        letters += [_letter(wire.AngzarrDeadLetter.FromString(one.letter)) for one in page]
        before = page[-1].id
    return letters


def _letter(letter: wire.AngzarrDeadLetter) -> Row:
    """What is in it; a command instead of events is shown whole, as something unexpected."""
    cover, pages = letter.cover, letter.rejected_events.pages
    if not pages:
        return (letter.source_component, str(letter))
    return letter.source_component, cover.domain, cover.root.value, pages[0].header.sequence


def _read(directory: Path) -> ReadModel:
    """The rows as any reader would see them now."""
    statement = sqlite3.connect(f"file:{directory / STATEMENT_FILE}?mode=ro", uri=True)
    feed = sqlite3.connect(f"file:{directory / FEED_FILE}?mode=ro", uri=True)
    try:
        return _model(statement, feed)
    finally:
        statement.close()
        feed.close()


async def _replayed(books: Sequence[wire.EventBook]) -> ReadModel:
    """The read models of a fresh replay in memory."""
    statement = sqlite3.connect(":memory:", isolation_level=None)
    try:
        for sql in statements(Statement.projector_table().read_store.schema):
            statement.execute(sql)
        Feed.path = ":memory:"
        lines, feed = LocalProjector(Statement), LocalProjector(Feed)
        for book in books:
            if book.cover.domain not in EVENTS:
                continue
            if book.cover.domain == "account":
                await lines.apply(book, statement)
            await feed.apply(book, None)
        return _model(statement, Feed.db)
    finally:
        statement.close()
        Feed.db.close()


def _model(statement: sqlite3.Connection, feed: sqlite3.Connection) -> ReadModel:
    return ReadModel(
        lines=statement.execute("SELECT root, sequence, cents FROM line").fetchall(),
        balances=statement.execute("SELECT root, cents FROM balance").fetchall(),
        feed=feed.execute("SELECT domain, root, sequence, what FROM happened").fetchall(),
    )
