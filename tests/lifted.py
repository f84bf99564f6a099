"""A shop in two versions on one store, for tests of upcasting.

It is written by the application as it was, and read by it as it is now: `Placed` has become
`Ordered`, and the watch's `Noted` has become `Counted`. No class of today knows the old types, so a
path that forgets to upcast sees an event that it skips, or JSON.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import grpc

from angzarr import (
    Aggregate,
    App,
    Compensation,
    ProcessManager,
    Projector,
    Rejection,
    Saga,
    Schedule,
    Send,
    Sqlite,
    Upcaster,
    applies,
    command,
    compensates,
    handles,
    projects,
    reject,
    rejected,
    upcasts,
    wakes,
    wire,
)
from angzarr.cover import Cover, root_of
from angzarr.errors import InvalidInput
from angzarr.handlers import LocalUpcaster
from angzarr.ports.components import CallContext
from angzarr.readstores import SqliteReader
from angzarr.testing.clock import ManualClock

O1 = Cover("order", root_of("o-1"))


# --- as it was


@dataclass(frozen=True)
class Place:
    item: str


@dataclass(frozen=True)
class Placed:
    item: str


class OldOrder(Aggregate, domain="order"):
    item: str = ""

    @command
    def place(self, cmd: Place) -> Placed:
        return Placed(cmd.item)

    @applies
    def placed(self, event: Placed) -> None:
        self.item = event.item


@dataclass(frozen=True)
class Note:
    count: int


@dataclass(frozen=True)
class Noted:
    count: int


class OldWatch(Aggregate, domain="watch"):
    """Stands for the process manager as it was: its streams are written by commands here."""

    @command
    def note(self, cmd: Note) -> Noted:
        return Noted(cmd.count)

    @applies
    def noted(self, event: Noted) -> None:
        pass


# --- as it is


@dataclass(frozen=True)
class Add:
    item: str


@dataclass(frozen=True)
class Mark:
    pass


@dataclass(frozen=True)
class Ordered:
    items: list[str]


@dataclass(frozen=True)
class Marked:
    text: str


@dataclass(frozen=True)
class Reserve:
    item: str


@dataclass(frozen=True)
class Reserved:
    item: str


class Order(Aggregate, domain="order"):
    items: tuple[str, ...] = ()
    text: str = ""

    @command
    def add(self, cmd: Add) -> Ordered:
        return Ordered([cmd.item])

    @command
    def mark(self, cmd: Mark) -> Marked:
        return Marked(" ".join(self.items))

    @rejected
    def on_rejected(self, rejection: Rejection[Reserve]) -> Marked:
        return Marked(f"refused: {' '.join(self.items)}")

    @compensates
    def on_compensated(self, compensation: Compensation) -> Marked:
        return Marked(f"undone: {' '.join(self.items)}")

    @applies
    def ordered(self, event: Ordered) -> None:
        self.items = (*self.items, *event.items)

    @applies
    def marked(self, event: Marked) -> None:
        self.text = event.text


class OrderHistory(Upcaster, domain="order"):
    @upcasts
    def to_list(self, old: Placed) -> Ordered:
        return Ordered([old.item.upper()])


class Stock(Aggregate, domain="stock"):
    items: tuple[str, ...] = ()

    @command
    def reserve(self, cmd: Reserve) -> Reserved:
        if cmd.item == "NOTHING":
            reject("there is none")
        return Reserved(cmd.item)

    @applies
    def reserved(self, event: Reserved) -> None:
        self.items = (*self.items, event.item)


class Reserving(Saga, source="order", targets=["stock"]):
    fails: ClassVar[bool] = False

    @handles
    def ordered(self, event: Ordered) -> list[Send]:
        if self.fails:
            raise InvalidInput("item", "one in the catalogue", event.items)
        return [Send(Reserve(item), root=item) for item in event.items]


@dataclass(frozen=True)
class Counted:
    count: int
    why: str = ""


@dataclass(frozen=True)
class Remind:
    pass


class Watch(ProcessManager, domain="watch", source="order", targets=["stock"]):
    total: int = 0

    @handles
    def ordered(self, event: Ordered) -> list[Counted | Schedule | Send]:
        return [
            Counted(self.total + len(event.items), event.items[0]),
            Schedule("remind", Remind(), after=timedelta(hours=1)),
            *([Send(Reserve("NOTHING"), root="x")] if "REFUSED" in event.items else []),
        ]

    @wakes
    def remind(self, payload: Remind) -> Counted:
        return Counted(self.total, "woken")

    @rejected
    def on_rejected(self, rejection: Rejection[Reserve]) -> Counted:
        return Counted(self.total, "refused")

    @applies
    def counted(self, event: Counted) -> None:
        self.total += event.count


class WatchHistory(Upcaster, domain="watch"):
    @upcasts
    def counting(self, old: Noted) -> Counted:
        return Counted(100 * old.count, "lifted")


class Listed(Projector, source="order", synchronous=True):
    """Keeps its rows itself, in memory."""

    rows: ClassVar[list[str]] = []

    @projects
    def ordered(self, event: Ordered) -> None:
        self.rows.extend(event.items)


SCHEMA = "CREATE TABLE IF NOT EXISTS line (item TEXT)"


class Lines(Projector, source="order", read_store=Sqlite("lines.sqlite", SCHEMA)):
    fails: ClassVar[bool] = False

    @projects
    def ordered(self, event: Ordered, db: sqlite3.Connection) -> Ordered:
        if self.fails:
            raise InvalidInput("item", "one in the catalogue", event.items)
        db.executemany("INSERT INTO line VALUES (?)", [(item,) for item in event.items])
        return event


def lines() -> list[str]:
    return [row[0] for row in SqliteReader(Path("lines.sqlite")).rows("SELECT item FROM line")]


# --- the store, and the two versions on it


class Shop:
    """The application on the store in `data`. address: of its upcasters, "" in process."""

    def __init__(self, address: str = "") -> None:
        self.address = address
        self.clock = ManualClock()

    @asynccontextmanager
    async def old(self) -> AsyncIterator[App]:
        async with App(OldOrder, OldWatch, store="rocksdict://data", clock=self.clock) as app:
            yield app

    @asynccontextmanager
    async def now(self, *classes: type, **config: object) -> AsyncIterator[App]:
        """It with its aggregates, and what of the rest is given."""
        settings = {key.replace("__", "."): value for key, value in config.items()}
        upcasters: tuple[type, ...] = (OrderHistory, WatchHistory)
        if self.address:
            upcasters = ()
            settings |= {"upcaster.enabled": True, "upcaster.address": self.address}
        definitions = (Order, Stock, *classes, *upcasters)
        store = "rocksdict://data"
        async with App(*definitions, store=store, clock=self.clock, config=settings) as app:
            yield app
            await app.settled()

    async def placed(self, *items: str, **more: Any) -> None:
        """Events of the old type in o-1."""
        async with self.old() as app:
            for item in items:
                await app.domain(OldOrder).send("o-1", Place(item), **more)

    async def noted(self, count: int) -> None:
        """An event of the old type in the watch of c-1."""
        async with self.old() as app:
            await app.domain(OldWatch).send("c-1", Note(count))


def upcaster_service() -> grpc.GenericRpcHandler:
    """UpcasterService over the classes, as a client of ours might serve it."""
    local = {"order": LocalUpcaster(OrderHistory), "watch": LocalUpcaster(WatchHistory)}

    async def upcast(request: bytes, _context: object) -> bytes:
        asked = wire.UpcastRequest.FromString(request)
        if asked.domain not in local:
            return wire.UpcastResponse(events=asked.events).SerializeToString()
        return await local[asked.domain].upcast(request, CallContext())

    method = grpc.unary_unary_rpc_method_handler(upcast)
    return grpc.method_handlers_generic_handler("angzarr.UpcasterService", {"Upcast": method})
