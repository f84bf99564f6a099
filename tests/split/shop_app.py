"""A shop with a component of every kind, as `angzarr serve` takes it.

`peer_shop.py` is the same with the published client.

An order that is placed has its item reserved in stock by the process manager, which waits for the
shipment, or for its patience to end; what is paid is shipped by a saga, and what can't be shipped
is undone. Each event leads to one reaction that writes, so that the order of the whole log is the
same in each run. What fails does so by the item's name:

    ghost   is not in stock              piano   can't be shipped
    slow    is never paid                set     is a book, which is shipped, and a piano
    cactus  breaks the saga              bomb    breaks the shipment
    glass   breaks the projectors

SHOP_RUNS: a file that gets a line for each event that a saga or the process manager is given.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from shop_messages import (
    Cancel as CancelOrder,
)
from shop_messages import (
    Cancelled,
    Confirm,
    Confirmed,
    Failed,
    Fill,
    Filled,
    Finished,
    GaveUp,
    Income,
    Note,
    Noted,
    Pack,
    Packed,
    Paid,
    Patience,
    Pay,
    Place,
    Placed,
    Reserve,
    Reserved,
    Ship,
    Shipped,
    TakenBack,
    Total,
    Waiting,
    Wrap,
    WrapAsked,
)
from shop_queries import SERVICE

from angzarr import (
    Aggregate,
    Cancel,
    Compensation,
    Cover,
    ProcessManager,
    Projector,
    Record,
    Rejection,
    Saga,
    Schedule,
    Send,
    Sqlite,
    Trigger,
    applies,
    command,
    compensates,
    handles,
    prepares,
    projects,
    reject,
    rejected,
    routes,
    wakes,
)

PATIENCE = {"slow": timedelta(milliseconds=300)}


def note(component: str, at: Trigger) -> None:
    """One line of SHOP_RUNS, in one write, since several processes add to the file."""
    path = os.environ.get("SHOP_RUNS")
    if path:
        line = f"{component} {at.domain}/{at.root.hex()}/{at.sequence} {os.getpid()}\n"
        with Path(path).open("a") as runs:
            runs.write(line)


class Order(Aggregate, domain="order"):
    item: str = ""
    cents: int = 0
    is_paid: bool = False
    why_cancelled: str = ""

    @command
    def place(self, cmd: Place) -> Placed:
        if self.item:
            reject("placed already")
        return Placed(item=cmd.item, shelf=cmd.shelf, cents=cmd.cents)

    @command
    def confirm(self, cmd: Confirm) -> Confirmed:
        return Confirmed()

    @command
    def pay(self, cmd: Pay) -> Paid:
        if not self.item:
            reject("not placed")
        if self.is_paid:
            reject("paid already")
        return Paid(item=self.item, cents=self.cents)

    @command
    def cancel(self, cmd: CancelOrder) -> Cancelled:
        if self.why_cancelled:
            reject("cancelled already")
        return Cancelled(reason=cmd.reason)

    @command
    def wrap(self, cmd: Wrap) -> WrapAsked:
        return WrapAsked(item=self.item)

    @command
    def note(self, cmd: Note) -> Noted:
        return Noted(text=cmd.text)

    @rejected
    def not_shipped(self, rejection: Rejection[Ship]) -> Cancelled:
        return Cancelled(reason=rejection.reason)

    @applies
    def placed(self, event: Placed) -> None:
        self.item, self.cents = event.item, event.cents

    @applies
    def confirmed(self, event: Confirmed) -> None: ...

    @applies
    def paid(self, event: Paid) -> None:
        self.is_paid = True

    @applies
    def cancelled(self, event: Cancelled) -> None:
        self.why_cancelled = event.reason

    @applies
    def wrap_asked(self, event: WrapAsked) -> None: ...

    @applies
    def noted(self, event: Noted) -> None: ...


class Confirming(Saga, source="stock", targets=["order"]):
    """Declared on the aggregate whose events it takes."""

    @handles
    def on_reserved(self, event: Reserved, at: Trigger) -> Send:
        note("saga:confirming", at)
        return Send(Confirm())

    @routes
    def to_order(self, event: Reserved) -> bytes:
        return event.order


class Stock(Aggregate, domain="stock", sagas=[Confirming]):
    count: int = 0

    @command
    def fill(self, cmd: Fill) -> Filled:
        return Filled(count=cmd.count)

    @command
    def reserve(self, cmd: Reserve) -> Reserved:
        if not self.count:
            reject("out of stock")
        return Reserved(order=cmd.order)

    @applies
    def filled(self, event: Filled) -> None:
        self.count += event.count

    @applies
    def reserved(self, event: Reserved) -> None:
        self.count -= 1


class Shipment(Aggregate, domain="shipment"):
    items: str = ""

    @command
    def ship(self, cmd: Ship) -> Shipped:
        if cmd.item == "bomb":
            raise ZeroDivisionError("boom")
        if cmd.item == "piano":
            reject("too heavy")
        return Shipped(item=cmd.item)

    @command
    def pack(self, cmd: Pack) -> Packed:
        reject("no paper")

    @compensates
    def take_back(self, compensation: Compensation) -> TakenBack:
        return TakenBack(reason=compensation.reason)

    @applies
    def shipped(self, event: Shipped) -> None:
        self.items += f"{event.item} "

    @applies
    def packed(self, event: Packed) -> None: ...

    @applies
    def taken_back(self, event: TakenBack) -> None: ...


class Ledger(Aggregate, domain="ledger"):
    """What was earned, told as facts."""

    cents: int = 0

    @applies
    def income(self, event: Income) -> None:
        self.cents += event.cents


class Shipping(Saga, source="order", targets=["shipment"]):
    @handles
    def on_paid(self, event: Paid, at: Trigger) -> list[Send]:
        note("saga:shipping", at)
        if event.item == "cactus":
            raise ValueError("no box for a cactus")
        if event.item == "set":
            return [Send(Ship(item="book")), Send(Ship(item="piano"), root=b"set" + at.root[3:])]
        return [Send(Ship(item=event.item))]


class Wrapping(Saga, source="order", targets=["shipment"]):
    """Has a say in what was refused, as no saga of the published client has."""

    @handles
    def on_asked(self, event: WrapAsked, at: Trigger) -> Send:
        note("saga:wrapping", at)
        return Send(Pack(item=event.item))

    @rejected
    def not_packed(self, rejection: Rejection[Pack]) -> Send:
        return Send(Note(text=rejection.reason), domain="order")


class Fulfilment(
    ProcessManager,
    domain="fulfilment",
    sources=["order", "shipment", "fulfilment"],
    targets=["order", "stock", "ledger"],
):
    order: bytes = b""
    item: str = ""

    @prepares
    def shelf(self, event: Placed) -> Cover:
        return Cover("stock", event.shelf)

    @handles(source="order")
    def on_placed(self, event: Placed, at: Trigger) -> Iterator[Waiting | Send | Schedule]:
        note("process_manager:fulfilment", at)
        yield Waiting(order=at.root, item=event.item)
        yield Send(Reserve(order=at.root), domain="stock", root=event.shelf)
        after = PATIENCE.get(self.item, timedelta(hours=1))
        yield Schedule("patience", Patience(), after=after)

    @handles(source="shipment")
    def on_shipped(self, event: Shipped, at: Trigger) -> Iterator[Finished | Cancel | Record]:
        note("process_manager:fulfilment", at)
        order = self.order or at.root  # events of two streams may come in any order
        yield Finished(order=order)
        yield Cancel("patience")
        yield Record(Income(cents=1), domain="ledger", root=order)

    @handles(source="fulfilment")
    def on_failed(self, event: Failed, at: Trigger) -> list[Cancel | Send]:
        note("process_manager:fulfilment", at)
        cancel = Send(CancelOrder(reason=event.reason), domain="order", root=self.order)
        return [Cancel("patience"), cancel]

    @handles(source="order")
    def on_cancelled(self, event: Cancelled, at: Trigger) -> Cancel:
        note("process_manager:fulfilment", at)
        return Cancel("patience")

    @wakes
    def out_of_patience(self, timer: Patience, at: Trigger) -> Iterator[GaveUp | Send]:
        note("process_manager:fulfilment", at)
        yield GaveUp(order=self.order)
        yield Send(CancelOrder(reason="never paid"), domain="order", root=self.order)

    @rejected
    def not_reserved(self, rejection: Rejection[Reserve]) -> Failed:
        return Failed(reason=rejection.reason)

    @applies
    def waiting(self, event: Waiting) -> None:
        self.order, self.item = event.order, event.item

    @applies
    def finished(self, event: Finished) -> None: ...

    @applies
    def failed(self, event: Failed) -> None: ...

    @applies
    def gave_up(self, event: GaveUp) -> None: ...


ORDERS = Sqlite(
    "orders.sqlite",
    "CREATE TABLE IF NOT EXISTS orders "
    "(root BLOB PRIMARY KEY, item TEXT, status TEXT, pages INTEGER)",
)
MOVE = "UPDATE orders SET status = ?, pages = pages + 1 WHERE root = ?"


class Orders(Projector, sources=["order", "shipment"], read_store=ORDERS, query=SERVICE):
    """An order's row: its item, how far it has come, and how many events said so."""

    @projects
    def placed(self, event: Placed, at: Trigger, db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO orders VALUES (?, ?, 'placed', 1)", (at.root, event.item))

    @projects
    def paid(self, event: Paid, at: Trigger, db: sqlite3.Connection) -> None:
        db.execute(MOVE, ("paid", at.root))

    @projects
    def shipped(self, event: Shipped, at: Trigger, db: sqlite3.Connection) -> None:
        db.execute(MOVE, ("shipped", at.root))

    @projects
    def cancelled(self, event: Cancelled, at: Trigger, db: sqlite3.Connection) -> None:
        db.execute(MOVE, ("cancelled", at.root))


TOTALS = Sqlite(
    "totals.sqlite", "CREATE TABLE IF NOT EXISTS paid (root BLOB PRIMARY KEY, cents INTEGER)"
)


class Totals(Projector, source="order", read_store=TOTALS, synchronous=True):
    """What was paid in all; requests that ask for it are answered with the sum."""

    @projects
    def paid(self, event: Paid, at: Trigger, db: sqlite3.Connection) -> Total:
        if event.item == "glass":
            raise ValueError("it broke")
        db.execute("INSERT INTO paid VALUES (?, ?)", (at.root, event.cents))
        [(cents,)] = db.execute("SELECT sum(cents) FROM paid")
        return Total(cents=cents)
