"""A shop whose orders are shipped by a saga and watched by a process manager, for speculations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from angzarr import (
    Aggregate,
    ProcessManager,
    Rejection,
    Saga,
    Schedule,
    Send,
    Trigger,
    applies,
    command,
    handles,
    reject,
    rejected,
    wakes,
)


@dataclass(frozen=True)
class Place:
    item: str


@dataclass(frozen=True)
class Placed:
    item: str


@dataclass(frozen=True)
class Refund:
    pass


@dataclass(frozen=True)
class Refunded:
    why: str


@dataclass(frozen=True)
class Ship:
    item: str


@dataclass(frozen=True)
class Shipped:
    item: str


class Order(Aggregate, domain="order"):
    items: str = ""
    why: str = ""

    @command
    def place(self, cmd: Place) -> Placed:
        if cmd.item in self.items.split():
            reject(f"{cmd.item} is ordered already")
        return Placed(cmd.item)

    @command
    def refund(self, cmd: Refund) -> Refunded:
        return Refunded("asked for")

    @applies
    def placed(self, event: Placed) -> None:
        self.items += f"{event.item} "

    @applies
    def refunded(self, event: Refunded) -> None:
        self.why = event.why

    @rejected
    def not_shipped(self, rejection: Rejection[Ship]) -> Refunded:
        return Refunded(rejection.reason)


class Shipment(Aggregate, domain="shipment"):
    items: str = ""

    @command
    def ship(self, cmd: Ship) -> Shipped:
        if cmd.item == "piano":
            reject("too heavy")
        return Shipped(cmd.item)

    @applies
    def shipped(self, event: Shipped) -> None:
        self.items += f"{event.item} "


class Shipping(Saga, source="order", targets=["shipment"]):
    @handles
    def on_placed(self, event: Placed) -> Send:
        if event.item == "ghost":
            raise ValueError("no box for a ghost")
        return Send(Ship(event.item))


@dataclass(frozen=True)
class Patience:
    pass


@dataclass(frozen=True)
class Watched:
    item: str


class Watch(ProcessManager, sources=["order"], domain="watch", targets=["order"]):
    count: int = 0

    @handles
    def on_placed(self, event: Placed, at: Trigger) -> tuple[Watched, Schedule]:
        return Watched(event.item), Schedule("patience", Patience(), after=timedelta(seconds=60))

    @wakes
    def out_of_patience(self, timer: Patience, at: Trigger) -> Send:
        return Send(Refund(), root="o-1")

    @applies
    def watched(self, event: Watched) -> None:
        self.count += 1


SHOP = (Order, Shipment, Shipping, Watch)
