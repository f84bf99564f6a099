"""The app of the hop benches: an order that is paid is shipped. `angzarr serve benches/hops_app.py
--select saga:shipping` is its saga in a process of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from angzarr import Aggregate, App, Saga, Send, applies, command, handles


@dataclass(frozen=True)
class Pay:
    amount_cents: int


@dataclass(frozen=True)
class Paid:
    amount_cents: int


@dataclass(frozen=True)
class Ship:
    amount_cents: int


@dataclass(frozen=True)
class Shipped:
    amount_cents: int


class Order(Aggregate, domain="order"):
    paid_cents: int = 0

    @command
    def pay(self, command: Pay) -> Paid:
        return Paid(command.amount_cents)

    @applies
    def on_paid(self, event: Paid) -> None:
        self.paid_cents += event.amount_cents


class Shipment(Aggregate, domain="shipment"):
    shipped_cents: int = 0

    @command
    def ship(self, command: Ship) -> Shipped:
        return Shipped(command.amount_cents)

    @applies
    def on_shipped(self, event: Shipped) -> None:
        self.shipped_cents += event.amount_cents


class Shipping(Saga, source=Order, targets=[Shipment]):
    @handles
    def on_paid(self, event: Paid) -> Send:
        return Send(Ship(event.amount_cents))


app = App(Order, Shipment, Shipping)
