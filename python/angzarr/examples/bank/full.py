"""A fuller account: it is opened for an owner, refuses what it must, and lists its movements."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from angzarr import Aggregate, applies, command, reject


@dataclass(frozen=True)
class Open:
    owner: str
    limit_cents: int = 0


@dataclass(frozen=True)
class Deposit:
    amount_cents: int


@dataclass(frozen=True)
class Withdraw:
    amount_cents: int


@dataclass(frozen=True)
class Close:
    on: date


@dataclass(frozen=True)
class Opened:
    owner: str
    limit_cents: int


@dataclass(frozen=True)
class Deposited:
    amount_cents: int


@dataclass(frozen=True)
class Withdrawn:
    amount_cents: int


@dataclass(frozen=True)
class Closed:
    on: date


class Account(Aggregate, domain="account"):
    """owner: "" until it is opened. limit_cents: how far the balance may go below zero."""

    owner: str = ""
    limit_cents: int = 0
    balance_cents: int = 0
    closed_on: date | None = None

    @command
    def open(self, cmd: Open) -> Opened:
        if self.owner:
            reject(f"the account is {self.owner}'s")
        if not cmd.owner:
            reject("an account needs an owner")
        return Opened(cmd.owner, cmd.limit_cents)

    @command
    def deposit(self, cmd: Deposit) -> Deposited:
        self._require_open(cmd.amount_cents)
        return Deposited(cmd.amount_cents)

    @command(merge="strict")
    def withdraw(self, cmd: Withdraw) -> Withdrawn:
        self._require_open(cmd.amount_cents)
        if self.balance_cents + self.limit_cents < cmd.amount_cents:
            reject(f"insufficient funds: {self.balance_cents} cents")
        return Withdrawn(cmd.amount_cents)

    @command
    def close(self, cmd: Close) -> list[Withdrawn | Closed]:
        """Pays out what is left, and closes."""
        self._require_open()
        if self.balance_cents < 0:
            reject(f"the owner owes {-self.balance_cents} cents")
        rest = [Withdrawn(self.balance_cents)] if self.balance_cents else []
        return [*rest, Closed(cmd.on)]

    @applies
    def opened(self, event: Opened) -> None:
        self.owner = event.owner
        self.limit_cents = event.limit_cents

    @applies
    def deposited(self, event: Deposited) -> None:
        self.balance_cents += event.amount_cents

    @applies
    def withdrawn(self, event: Withdrawn) -> None:
        self.balance_cents -= event.amount_cents

    @applies
    def closed(self, event: Closed) -> None:
        self.closed_on = event.on

    def _require_open(self, amount_cents: int = 1) -> None:
        if not self.owner or self.closed_on is not None:
            reject("the account is not open")
        if amount_cents <= 0:
            reject("an amount is more than zero")
