"""The shop's handlers with the published client, run in its environment: `peer_shop.py COMPONENT`.

Each is what `shop_app.py` has under the same name. The client has no rejection handlers of sagas
and process managers in the process that sends: a process manager's rejections go to the command
handler of its domain. Timers, an addition to its protocol, are commands like others.
"""

import os
import pathlib
import sqlite3
import sys
import time
from types import SimpleNamespace

import shop_messages as m
import structlog
from angzarr_client import (
    CommandHandler,
    Destinations,
    ProcessManagerHandler,
    ProjectorHandler,
    Saga,
    SagaHandler,
    applies,
    domain_class,
    event_handles,
    handles,
    output_domain,
    rejected,
    run_command_handler_server,
    run_process_manager_server,
    run_projector_server,
    run_saga_server,
)
from angzarr_client.errors import CommandRejectedError
from angzarr_client.proto.angzarr import process_manager_pb2, saga_pb2, types_pb2
from google.protobuf import any_pb2, descriptor_pool, message_factory

PORT = "50052"  # it listens where its environment says

timer_pb2 = SimpleNamespace()
"""`proto/angzarr/timer.proto`, which is no part of the client, by its file's descriptor."""
PATIENCE_NS = {"slow": 300_000_000}
HOUR_NS = 3_600 * 10**9


def load_timers() -> None:
    """What generated code would do: messages from the descriptor in the file TIMERS."""
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(pathlib.Path(os.environ["TIMERS"]).read_bytes())
    for name in ("ScheduleTimer", "CancelTimer", "TimerFired"):
        descriptor = pool.FindMessageTypeByName(f"angzarr.{name}")
        setattr(timer_pb2, name, message_factory.GetMessageClass(descriptor))


def packed(message) -> any_pb2.Any:
    wrapped = any_pb2.Any()
    wrapped.Pack(message)
    return wrapped


def book(domain: str, root: bytes, command) -> types_pb2.CommandBook:
    """A command as a user of the client builds it: without edition and correlation id."""
    made = types_pb2.CommandBook()
    made.cover.domain, made.cover.root.value = domain, root
    made.pages.add().command.CopyFrom(packed(command))
    return made


class State:
    """What an aggregate knows; the client doesn't mind what it is."""

    def __init__(self) -> None:
        self.item, self.cents, self.count = "", 0, 0
        self.order = b""
        self.is_paid = self.is_cancelled = False


class Order(CommandHandler[State]):
    domain = "order"

    def _create_empty_state(self) -> State:
        return State()

    @handles(m.Place)
    def place(self, cmd: m.Place) -> m.Placed:
        if self.state.item:
            raise CommandRejectedError("placed already")
        return m.Placed(item=cmd.item, shelf=cmd.shelf, cents=cmd.cents)

    @handles(m.Confirm)
    def confirm(self, cmd: m.Confirm) -> m.Confirmed:
        return m.Confirmed()

    @handles(m.Pay)
    def pay(self, cmd: m.Pay) -> m.Paid:
        if not self.state.item:
            raise CommandRejectedError("not placed")
        if self.state.is_paid:
            raise CommandRejectedError("paid already")
        return m.Paid(item=self.state.item, cents=self.state.cents)

    @handles(m.Cancel)
    def cancel(self, cmd: m.Cancel) -> m.Cancelled:
        if self.state.is_cancelled:
            raise CommandRejectedError("cancelled already")
        return m.Cancelled(reason=cmd.reason)

    @rejected(domain="shipment", command="Ship")
    def not_shipped(self, notification: types_pb2.Notification) -> m.Cancelled:
        return m.Cancelled(reason=reason_of(notification))

    @applies(m.Placed)
    def placed(self, state: State, event: m.Placed) -> None:
        state.item, state.cents = event.item, event.cents

    @applies(m.Confirmed)
    def confirmed(self, state: State, event: m.Confirmed) -> None: ...

    @applies(m.Paid)
    def paid(self, state: State, event: m.Paid) -> None:
        state.is_paid = True

    @applies(m.Cancelled)
    def cancelled(self, state: State, event: m.Cancelled) -> None:
        state.is_cancelled = True


class Stock(CommandHandler[State]):
    domain = "stock"

    def _create_empty_state(self) -> State:
        return State()

    @handles(m.Fill)
    def fill(self, cmd: m.Fill) -> m.Filled:
        return m.Filled(count=cmd.count)

    @handles(m.Reserve)
    def reserve(self, cmd: m.Reserve) -> m.Reserved:
        if not self.state.count:
            raise CommandRejectedError("out of stock")
        return m.Reserved(order=cmd.order)

    @applies(m.Filled)
    def filled(self, state: State, event: m.Filled) -> None:
        state.count += event.count

    @applies(m.Reserved)
    def reserved(self, state: State, event: m.Reserved) -> None:
        state.count -= 1


class Shipment(CommandHandler[State]):
    domain = "shipment"

    def _create_empty_state(self) -> State:
        return State()

    @handles(m.Ship)
    def ship(self, cmd: m.Ship) -> m.Shipped:
        if cmd.item == "piano":
            raise CommandRejectedError("too heavy")
        return m.Shipped(item=cmd.item)

    @applies(m.Shipped)
    def shipped(self, state: State, event: m.Shipped) -> None: ...


class Ledger(CommandHandler[State]):
    domain = "ledger"

    def _create_empty_state(self) -> State:
        return State()

    @applies(m.Income)
    def income(self, state: State, event: m.Income) -> None: ...


class Failures(CommandHandler[State]):
    """Hears of the process manager's rejections, and writes to its streams."""

    domain = "fulfilment"

    def _create_empty_state(self) -> State:
        return State()

    @rejected(domain="stock", command="Reserve")
    def not_reserved(self, notification: types_pb2.Notification) -> m.Failed:
        return m.Failed(reason=reason_of(notification))

    @applies(m.Waiting)
    def waiting(self, state: State, event: m.Waiting) -> None: ...

    @applies(m.Finished)
    def finished(self, state: State, event: m.Finished) -> None: ...

    @applies(m.Failed)
    def failed(self, state: State, event: m.Failed) -> None: ...

    @applies(m.GaveUp)
    def gave_up(self, state: State, event: m.GaveUp) -> None: ...


def reason_of(notification: types_pb2.Notification) -> str:
    told = types_pb2.RejectionNotification()
    notification.payload.Unpack(told)
    return told.rejection_reason


def each(source: types_pb2.EventBook, kind: type):
    """The book's events of a type, with their pages."""
    for page in source.pages:
        event = kind()
        if page.event.Unpack(event):
            yield page, event


# Sagas. Whose commands all go to the source's root may be written without books (Confirming).


@domain_class("stock")
@output_domain("order")
class Confirming(Saga):
    name = "saga-confirming"

    @event_handles(m.Reserved)
    def on_reserved(self, event: m.Reserved, destinations: Destinations) -> types_pb2.CommandBook:
        return book("order", event.order, m.Confirm())


@domain_class("order")
@output_domain("shipment")
class Shipping(Saga):
    name = "saga-shipping"

    @event_handles(m.Paid)
    def on_paid(self, event: m.Paid, destinations: Destinations) -> m.Ship:
        return m.Ship(item=event.item)


def ship(source: types_pb2.EventBook, sequences: dict[str, int]) -> saga_pb2.SagaResponse:
    """As Shipping, but for a set, which is two parcels."""
    destinations = Destinations(dict(sequences))
    response = saga_pb2.SagaResponse()
    root = source.cover.root.value
    for _, event in each(source, m.Paid):
        if event.item != "set":
            return Shipping.handle(source, dict(sequences))
        for item, to in (("book", root), ("piano", b"set" + root[3:])):
            command = book("shipment", to, m.Ship(item=item))
            destinations.stamp_command(command, "shipment")
            response.commands.append(command)
    return response


# The process manager


class Fulfilment:
    """One call: the workflow as it is, and what it wants."""

    def __init__(self, process_state: types_pb2.EventBook) -> None:
        self.order = self.item = None
        self.response = process_manager_pb2.ProcessManagerHandleResponse()
        for _, event in each(process_state, m.Waiting):
            self.order, self.item = event.order, event.item

    def on_placed(self, event: m.Placed, order: bytes, destinations: Destinations) -> None:
        self.record(m.Waiting(order=order, item=event.item))
        reserve = book("stock", event.shelf, m.Reserve(order=order))
        destinations.stamp_command(reserve, "stock")
        timer = timer_pb2.ScheduleTimer(name="patience", payload=packed(m.Patience()))
        timer.due_at.FromNanoseconds(time.time_ns() + PATIENCE_NS.get(event.item, HOUR_NS))
        self.send(reserve, book("_angzarr", b"", timer))

    def on_shipped(self, order: bytes) -> None:
        order = self.order or order  # events of two streams may come in any order
        self.record(m.Finished(order=order))
        self.cancel_timer()
        fact = self.response.facts.add()
        fact.cover.domain, fact.cover.root.value = "ledger", order
        page = fact.pages.add()
        page.header.external_deferred.SetInParent()  # which marks it as a fact
        page.event.CopyFrom(packed(m.Income(cents=1)))

    def on_failed(self, event: m.Failed) -> None:
        self.cancel_timer()
        self.send(book("order", self.order, m.Cancel(reason=event.reason)))

    def on_time(self) -> None:
        self.record(m.GaveUp(order=self.order))
        self.send(book("order", self.order, m.Cancel(reason="never paid")))

    def cancel_timer(self) -> None:
        self.send(book("_angzarr", b"", timer_pb2.CancelTimer(name="patience")))

    def record(self, event) -> None:
        self.response.process_events.pages.add().event.CopyFrom(packed(event))

    def send(self, *commands: types_pb2.CommandBook) -> None:
        self.response.commands.extend(commands)


def prepare(
    trigger: types_pb2.EventBook, process_state: types_pb2.EventBook
) -> list[types_pb2.Cover]:
    shelves = [event.shelf for _, event in each(trigger, m.Placed)]
    return [types_pb2.Cover(domain="stock", root=types_pb2.UUID(value=root)) for root in shelves]


def manage(
    trigger: types_pb2.EventBook, process_state: types_pb2.EventBook, sequences: dict[str, int]
) -> process_manager_pb2.ProcessManagerHandleResponse:
    workflow = Fulfilment(process_state)
    source = trigger.cover
    if source.domain == "order":
        for _, event in each(trigger, m.Placed):
            workflow.on_placed(event, source.root.value, Destinations(dict(sequences)))
        for _ in each(trigger, m.Cancelled):
            workflow.cancel_timer()
    elif source.domain == "shipment":
        for _ in each(trigger, m.Shipped):
            workflow.on_shipped(source.root.value)
    else:
        for _, event in each(trigger, m.Failed):
            workflow.on_failed(event)
        for _ in each(trigger, timer_pb2.TimerFired):
            workflow.on_time()
    return workflow.response


# Projectors keep their rows themselves, and may be given an event again.


def rows(path: str, schema: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    db.execute(schema)
    return db


def orders():
    db = rows(
        "orders.sqlite",
        "CREATE TABLE IF NOT EXISTS orders "
        "(root BLOB PRIMARY KEY, item TEXT, status TEXT, pages INTEGER)",
    )
    moves = {m.Paid: "paid", m.Shipped: "shipped", m.Cancelled: "cancelled"}

    def project(source: types_pb2.EventBook) -> types_pb2.Projection:
        root = source.cover.root.value
        for page in source.pages:
            event = m.Placed()
            if page.event.Unpack(event):
                db.execute("INSERT INTO orders VALUES (?, ?, 'placed', 1)", (root, event.item))
            for kind, status in moves.items():
                if page.event.Is(kind.DESCRIPTOR):
                    move = "UPDATE orders SET status = ?, pages = pages + 1 WHERE root = ?"
                    db.execute(move, (status, root))
        return types_pb2.Projection()

    return ProjectorHandler("orders", "order", "shipment").with_handle(project)


def totals():
    db = rows(
        "totals.sqlite", "CREATE TABLE IF NOT EXISTS paid (root BLOB PRIMARY KEY, cents INTEGER)"
    )

    def project(source: types_pb2.EventBook) -> types_pb2.Projection:
        projection = types_pb2.Projection()
        for _, event in each(source, m.Paid):
            row = (source.cover.root.value, event.cents)
            db.execute("INSERT OR REPLACE INTO paid VALUES (?, ?)", row)
            [(cents,)] = db.execute("SELECT sum(cents) FROM paid")
            projection.projection.CopyFrom(packed(m.Total(cents=cents)))
        return projection

    return ProjectorHandler("totals", "order").with_handle(project)


def main(component: str) -> None:
    load_timers()
    kind, _, name = component.partition(":")
    logger = structlog.get_logger()
    aggregates = {made.domain: made for made in (Order, Stock, Shipment, Ledger, Failures)}
    sagas = {
        "confirming": SagaHandler(Confirming),
        "shipping": SagaHandler(Shipping).with_handle(ship),
    }
    if kind == "aggregate":
        run_command_handler_server(aggregates[name], PORT, logger=logger)
    elif kind == "saga":
        run_saga_server(f"saga-{name}", PORT, sagas[name], logger=logger)
    elif kind == "process_manager":
        handler = ProcessManagerHandler(name).with_prepare(prepare).with_handle(manage)
        run_process_manager_server(handler, PORT, logger=logger)
    else:
        handler = {"orders": orders, "totals": totals}[name]()
        run_projector_server(name, PORT, handler, logger=logger)


if __name__ == "__main__":
    main(sys.argv[1])
