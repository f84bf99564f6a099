"""A warehouse that the tests of reactions share: orders, shipments, and what runs between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from angzarr import (
    Aggregate,
    Cancel,
    ProcessManager,
    Record,
    Rejection,
    Revocation,
    Saga,
    Schedule,
    Send,
    Trigger,
    applies,
    codec,
    command,
    handles,
    rejected,
    wakes,
    wire,
)
from angzarr.codec import Payload
from angzarr.cover import root_of
from angzarr.handlers import LocalProcessManager, LocalSaga
from angzarr.ports.components import CallContext

ORDER, SHIPMENT, FULFILMENT = "order", "shipment", "fulfilment"
ROOT = root_of("o-1")
CORRELATION = "o-1"
CREATED = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class OrderPaid:
    address: str


@dataclass(frozen=True)
class OrderCancelled:
    reason: str = ""


@dataclass(frozen=True)
class Shipped:
    carrier: str = "bike"


@dataclass(frozen=True)
class Ship:
    address: str


@dataclass(frozen=True)
class Recall:
    pass


@dataclass(frozen=True)
class CancelOrder:
    reason: str = ""


@dataclass(frozen=True)
class Remind:
    count: int = 0


@dataclass(frozen=True)
class Waiting:
    address: str


@dataclass(frozen=True)
class Done:
    pass


class Order(Aggregate, domain=ORDER):
    address: str = ""

    @command
    def cancel(self, cmd: CancelOrder) -> OrderCancelled:
        return OrderCancelled(cmd.reason)

    @applies
    def paid(self, event: OrderPaid) -> None:
        self.address = event.address

    @applies
    def cancelled(self, event: OrderCancelled) -> None:
        self.address = ""


class Shipment(Aggregate, domain=SHIPMENT):
    carrier: str = ""

    @command(merge="strict")
    def ship(self, cmd: Ship) -> Shipped:
        return Shipped()

    @command
    def recall(self, cmd: Recall) -> None: ...

    @applies
    def shipped(self, event: Shipped) -> None:
        self.carrier = event.carrier


class Shipping(Saga, source=ORDER, targets=[SHIPMENT]):
    @handles
    def on_paid(self, event: OrderPaid) -> Send:
        return Send(Ship(event.address))

    @handles
    def on_cancelled(self, event: OrderCancelled, at: Trigger) -> list[Send | Record]:
        return [Record(Shipped("none")), Send(Recall()), Send(Recall(), root=at.root)]

    @rejected
    def refused(self, rejection: Rejection[Ship]) -> Send | None:
        return Send(CancelOrder(rejection.reason), domain=ORDER) if rejection.reason else None


class Fulfilment(
    ProcessManager, domain=FULFILMENT, sources=[Order, Shipment], targets=[Order, Shipment]
):
    address: str = ""
    reminders: int = 0

    @handles
    def on_paid(self, event: OrderPaid, at: Trigger) -> Iterator[Waiting | Send | Schedule]:
        yield Waiting(event.address)
        yield Send(Ship(self.address), root=at.root)
        yield Schedule("remind", Remind(1), after=HOUR)

    @handles
    async def on_shipped(self, event: Shipped) -> tuple[Done, Cancel]:
        return Done(), Cancel("remind")

    @wakes
    def remind(self, payload: Remind, at: Trigger) -> Send:
        return Send(CancelOrder(f"{payload.count} to {self.address}"), root=at.correlation_id)

    @applies
    def waiting(self, event: Waiting) -> None:
        self.address = event.address

    @applies
    def done(self, event: Done) -> None:
        self.address = ""

    @rejected
    def refused(self, rejection: Rejection[Ship]) -> Done | Revocation | None:
        match rejection.reason:
            case "":
                return None
            case "unknown street":
                return Done()
            case reason:
                return Revocation(reason, escalate=True)


def book(
    domain: str,
    *events: Payload | Any,
    first: int = 0,
    root: bytes = ROOT,
    correlation_id: str = CORRELATION,
) -> wire.EventBook:
    """A published book of events from sequence `first` on."""
    published = wire.EventBook(next_sequence=first + len(events))
    published.cover.domain = domain
    published.cover.root.value = root
    published.cover.correlation_id = correlation_id
    published.cover.edition.name = "angzarr"
    for sequence, event in enumerate(events, first):
        packed = event if isinstance(event, Any) else codec.pack(event, domain)
        page = published.pages.add(event=packed, committed=True)
        page.header.sequence = sequence
        page.created_at.FromDatetime(CREATED)
    return published


def framework(message: Message) -> Any:
    """A framework event as it is stored."""
    name = message.DESCRIPTOR.full_name
    return Any(type_url=f"type.angzarr.io/{name}", value=message.SerializeToString())


def fired(payload: Payload | None, domain: str, name: str = "remind") -> Any:
    """A timer's wake-up (TIMER-4)."""
    woken = wire.TimerFired(name=name)
    if payload is not None:
        woken.payload.CopyFrom(codec.pack(payload, domain))
    return codec.pack(woken, "")


def rejection(
    command: Payload, reason: str = "unknown street", *, domain: str = SHIPMENT, source: str = ORDER
) -> wire.Notification:
    """What is told of a refused command (COMP-2)."""
    refused = wire.RejectionNotification(rejection_reason=reason)
    refused.rejected_command.CopyFrom(wire.CommandBook(cover=book(domain).cover))
    refused.rejected_command.pages.add(command=codec.pack(command, domain))
    notification = wire.Notification(cover=book(source).cover, payload=codec.pack(refused, ""))
    notification.sent_at.FromDatetime(CREATED)
    return notification


async def reacted(cls: type[Saga], source: wire.EventBook, **numbers: int) -> wire.SagaResponse:
    """What a saga answers to a book."""
    request = wire.SagaHandleRequest(source=source)
    request.destination_sequences.update(numbers)
    answer = await LocalSaga(cls).handle(request.SerializeToString(), CallContext())
    return wire.SagaResponse.FromString(answer)


async def made_up(cls: type[Saga], told: wire.Notification) -> wire.SagaResponse | None:
    answer = await LocalSaga(cls).refused(told.SerializeToString(), CallContext())
    return None if answer is None else wire.SagaResponse.FromString(answer)


def returning(*outputs: object, targets: list[str | type] = ["shipment"]) -> type[Saga]:  # noqa: B006
    """A saga that answers each OrderPaid with these."""

    class Returning(Saga, source="order", targets=targets):
        @handles
        def on(self, event: OrderPaid):
            return list(outputs)

        @wakes
        def woken(self, payload: Remind) -> None: ...

    return Returning


async def managed(
    cls: type[ProcessManager],
    trigger: wire.EventBook,
    state: wire.EventBook | None = None,
    **numbers: int,
) -> wire.ProcessManagerHandleResponse:
    """What a process manager answers to a book."""
    request = wire.ProcessManagerHandleRequest(trigger=trigger, process_state=state)
    request.destination_sequences.update(numbers)
    answer = await LocalProcessManager(cls).handle(request.SerializeToString(), CallContext())
    return wire.ProcessManagerHandleResponse.FromString(answer)


async def refused(
    cls: type[ProcessManager], notification: wire.Notification, state: wire.EventBook | None = None
) -> wire.BusinessResponse | None:
    """What a process manager answers to a rejection; None where it has no say."""
    request = wire.ContextualCommand(events=state)
    request.command.pages.add(command=codec.pack(notification, ""))
    answer = await LocalProcessManager(cls).refused(request.SerializeToString(), CallContext())
    return None if answer is None else wire.BusinessResponse.FromString(answer)


def timer(sent: wire.CommandBook, cls: type) -> object:
    """The message to `_angzarr` in a command."""
    assert sent.cover == wire.Cover(domain="_angzarr")
    (page,) = sent.pages
    assert not page.HasField("header")
    assert page.command.type_url == f"type.googleapis.com/{cls.DESCRIPTOR.full_name}"
    return cls.FromString(page.command.value)


def commands(books: Sequence[wire.CommandBook], *classes: type) -> list[object]:
    """The payloads of commands."""
    return [_decoded(b.cover.domain, page.command, classes) for b in books for page in b.pages]


def events(books: Sequence[wire.EventBook], *classes: type, domain: str = "") -> list[object]:
    """The payloads of events."""
    pages = [(domain or b.cover.domain, page.event) for b in books for page in b.pages]
    return [_decoded(domain, event, classes) for domain, event in pages]


def _decoded(domain: str, packed: Any, classes: Sequence[type]) -> object:
    kinds = {kind.name: kind for kind in (codec.payload_type(c, domain) for c in classes)}
    return kinds[codec.full_name(packed.type_url)].decode(packed.value)
