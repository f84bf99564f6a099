"""A shop's accounts: events of many shapes, and stores that hold them."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import pytest

from angzarr import Aggregate, App, Upcaster, applies, command, reject, upcasts
from angzarr.caller_sync import SyncCaller


@dataclass(frozen=True)
class Place:
    city: str
    floor: int | None = None


@dataclass(frozen=True)
class Deposit:
    cents: int
    note: str = ""
    rate: float = 1.0
    chips: int | Decimal = 0
    is_large: bool = False
    at: datetime.datetime | None = None
    place: Place | None = None


@dataclass(frozen=True)
class Withdraw:
    cents: int


@dataclass(frozen=True)
class Deposited:
    cents: int
    note: str = ""
    rate: float = 1.0
    chips: int | Decimal = 0
    is_large: bool = False
    at: datetime.datetime | None = None
    place: Place | None = None
    currency: str = "EUR"
    fee: int = 7


@dataclass(frozen=True)
class Withdrawn:
    cents: int


class Account(Aggregate, domain="account"):
    balance: int = 0

    @command
    def deposit(self, cmd: Deposit) -> Deposited:
        return Deposited(cmd.cents, cmd.note, cmd.rate, cmd.chips, cmd.is_large, cmd.at, cmd.place)

    @command
    def withdraw(self, cmd: Withdraw) -> Withdrawn:
        if cmd.cents > self.balance:
            reject("insufficient")
        return Withdrawn(cmd.cents)

    @applies
    def deposited(self, event: Deposited) -> None:
        self.balance += event.cents

    @applies
    def withdrawn(self, event: Withdrawn) -> None:
        self.balance -= event.cents


@dataclass(frozen=True)
class Open:
    owner: str


@dataclass(frozen=True)
class Opened:
    owner: str


class Shop(Aggregate, domain="shop"):
    owner: str = ""

    @command
    def open(self, cmd: Open) -> Opened:
        return Opened(cmd.owner)

    @applies
    def opened(self, event: Opened) -> None:
        self.owner = event.owner


@dataclass(frozen=True)
class OldDeposited:
    """What Account's deposits were before they were counted in cents."""

    __type_name__ = "account.OldDeposited"

    euros: int


class History(Upcaster, domain="account"):
    @upcasts
    def in_cents(self, old: OldDeposited) -> Deposited:
        return Deposited(old.euros * 100)


@pytest.fixture
def app() -> App:
    """Not started."""
    return App(Account, Shop, store="memory://")


@pytest.fixture
def shop(app: App) -> Iterator[SyncCaller]:
    """Its calls, with three accounts and a branch: eleven events in all."""
    with app as calls:
        account = calls.domain(Account)
        for number in range(6):
            account.send(f"a{number % 3}", Deposit(number * 100, f"n{number % 2}"))
        calls.domain(Shop).send("s", Open("ann"))
        account.send("a0", Withdraw(50))
        branch = account.on("what-if")
        branch.send("a0", Withdraw(10))
        branch.send("a0", Withdraw(20))
        account.send("a1", Withdraw(5))
        yield calls
